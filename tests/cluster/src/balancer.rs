//! A balancer for the processes of a cluster: requests go by their path to the edges or to the
//! control-planes, in turn, to whichever is ready.
//!
//! What always holds: no request is bound to a backend by anything that it carries; a request
//! that reached a backend is never sent to another one; who cannot be connected to, or does not
//! say that it is ready, is passed over while there is another.
//!
//! It stands in for the balancer of the compose file, with the same rules as its configuration.

mod backend;
mod forward;
mod route;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::backend::Backend;
use self::backend::Pool;

/// Where requests may go.
#[derive(Clone, Debug)]
pub struct Backends {
    /// The MCP endpoints.
    pub edges: Vec<Backend>,
    /// Everything else.
    pub control_planes: Vec<Backend>,
}

/// A balancer that runs until it is dropped.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    stop: CancellationToken,
}

struct Pools {
    edges: Pool,
    control_planes: Pool,
}

impl Balancer {
    /// Listens on `port` of the loopback.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start(port: u16, backends: Backends) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port))
            .await
            .with_context(|| format!("cannot listen on port {port}"))?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let pools = Arc::new(Pools {
            edges: Pool::new(backends.edges),
            control_planes: Pool::new(backends.control_planes),
        });
        tokio::spawn(serve(listener, pools, stop.clone()));
        Ok(Self { address, stop })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL that stands for the whole cluster.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve(listener: TcpListener, pools: Arc<Pools>, stop: CancellationToken) {
    let mut tasks = JoinSet::new();
    tasks.spawn(pools.edges.watch());
    tasks.spawn(pools.control_planes.watch());
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
            Some(_) = tasks.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else { continue };
        // Without it small frames of a stream wait for each other.
        let _ = stream.set_nodelay(true);
        let pools = Arc::clone(&pools);
        tasks.spawn(async move {
            let service = service_fn(move |request| {
                let pools = Arc::clone(&pools);
                async move { Ok::<_, std::convert::Infallible>(pools.answer(request).await) }
            });
            let connection = auto::Builder::new(TokioExecutor::new());
            // A client that goes away is nothing to report.
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
    tasks.abort_all();
}

impl Pools {
    async fn answer(
        &self,
        request: http::Request<hyper::body::Incoming>,
    ) -> http::Response<forward::Body> {
        let pool =
            if route::is_mcp(request.uri().path()) { &self.edges } else { &self.control_planes };
        forward::forward(pool, request).await
    }
}
