//! Handing a call to the worker that owns its server: sent, and sent again as long as no worker
//! accepted it and one may come.

use std::sync::Arc;
use std::time::Instant;

use backplane::exchange::Exchange;
use bus::{BusError, Connectivity};
use domain::ServerId;
use domain::connection::ConnectionState;
use futures::FutureExt;
use futures::future::BoxFuture;
use proto::internal::v1::{ExchangeKind, ExchangeOpen};
use tokio_util::sync::CancellationToken;

use super::Call;
use super::patience::{BUS_LIMIT, Patience};
use crate::edge::Shared;

/// Why there is no exchange.
pub(super) enum Unopened {
    /// The client gave up before a worker had it.
    Cancelled,
    /// As of [`bus::Bus::open`], in the end.
    Failed(BusError),
}

/// How it went.
pub(super) struct Opened {
    pub(super) outcome: Result<Exchange, Unopened>,
    /// What is left of it.
    pub(super) patience: Patience,
}

/// Goes on however often whoever waits for it is dropped, until it is dropped itself.
pub(super) type Opening = BoxFuture<'static, Opened>;

struct Attempt {
    shared: Arc<Shared>,
    server: ServerId,
    open: ExchangeOpen,
    cancel: CancellationToken,
    patience: Patience,
}

impl Call {
    /// Sends `open`, after a pause if it `failed` before.
    pub(super) fn opening(
        &self,
        open: ExchangeOpen,
        patience: Patience,
        failed: Option<BusError>,
    ) -> Opening {
        let attempt = Attempt {
            shared: Arc::clone(&self.shared),
            server: self.server().id,
            open,
            cancel: self.cancel.clone(),
            patience,
        };
        attempt.run(failed).boxed()
    }

    /// Takes the call over from an edge that is gone, from the frame after that number on.
    pub(super) fn adopting(
        &self,
        after_frame: u64,
        patience: Patience,
        failed: Option<BusError>,
    ) -> Opening {
        let open = ExchangeOpen {
            kind: ExchangeKind::Adoption.into(),
            tenant: self.meta.tenant.to_string(),
            server: self.server().id.to_string(),
            call_id: self.meta.id.to_string(),
            after_frame,
            ..ExchangeOpen::default()
        };
        self.opening(open, patience, failed)
    }
}

impl Attempt {
    async fn run(mut self, mut failed: Option<BusError>) -> Opened {
        let outcome = loop {
            if let Some(error) = failed.take() {
                let pause = self.patience.pause(&error, Instant::now());
                let Some(pause) = pause.filter(|_| self.may_help(&error)) else {
                    break Err(Unopened::Failed(error));
                };
                tokio::select! {
                    () = self.cancel.cancelled() => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
            if self.cancel.is_cancelled() {
                break Err(Unopened::Cancelled);
            }
            // To its end, whatever happens: only then it is known whether a worker has it.
            match Exchange::open(self.shared.bus.as_ref(), self.server, &self.open).await {
                Ok(exchange) => break Ok(exchange),
                Err(error) => failed = Some(error),
            }
        };
        Opened { outcome, patience: self.patience }
    }

    /// Whether waiting may help: a worker may come to own the server, because there are others, and
    /// it is not known that the server itself does not work.
    fn may_help(&self, error: &BusError) -> bool {
        if !self.shared.config.cluster {
            return false;
        }
        if matches!(error, BusError::Unavailable { .. }) {
            let connectivity = self.shared.bus.connectivity();
            let is_long = match *connectivity.borrow() {
                Connectivity::Connected => false,
                Connectivity::Disconnected { since } => since.elapsed() >= BUS_LIMIT,
            };
            if is_long {
                return false;
            }
        }
        let configuration = self.shared.replica.read();
        let is_enabled =
            configuration.server(&self.server).is_some_and(|entry| !entry.server.disabled);
        let observation = &configuration.connection(&self.server).observation;
        let is_broken =
            observation.state == ConnectionState::Failed && !observation.cause.is_empty();
        is_enabled && !is_broken
    }
}
