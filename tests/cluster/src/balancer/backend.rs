//! The processes behind the balancer, and whether they want requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Between two looks at a backend.
const INTERVAL: Duration = Duration::from_millis(250);
/// How long a look may take.
const LIMIT: Duration = Duration::from_secs(1);
/// After so many looks without any answer a backend hangs, and nobody waits for it any more.
const SILENT_LOOKS: u32 = 3;

/// A process that takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Where requests go.
    pub address: SocketAddr,
    /// Where `/readyz` is.
    pub admin: SocketAddr,
}

/// What is known of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It wants requests.
    Ready,
    /// It answers, and wants none; or nobody listens there.
    Away,
    /// It does not answer at all.
    Hangs,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) backend: Backend,
    state: watch::Sender<State>,
}

impl Member {
    fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Said by whoever could not connect: the next look may find it back.
    pub(super) fn is_away(&self) {
        self.state.send_replace(State::Away);
    }

    /// Waits until the backend hangs.
    pub(super) async fn hangs(&self) {
        let mut state = self.state.subscribe();
        if state.wait_for(|state| *state == State::Hangs).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The backends of one service.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    members: Arc<[Member]>,
    next: Arc<AtomicUsize>,
}

impl Pool {
    /// All count as ready until the first look.
    pub(super) fn new(backends: Vec<Backend>) -> Self {
        let members = backends
            .into_iter()
            .map(|backend| Member { backend, state: watch::channel(State::Ready).0 });
        Self { members: members.collect(), next: Arc::default() }
    }

    /// All backends in the order in which a request tries them: from the next one on, those that
    /// are ready first.
    pub(super) fn in_turn(&self) -> Vec<&Member> {
        let count = self.members.len().max(1);
        let start = self.next.fetch_add(1, Ordering::Relaxed) % count;
        let mut order: Vec<&Member> = self.members.iter().cycle().skip(start).take(count).collect();
        order.sort_by_key(|member| member.state() != State::Ready);
        order
    }

    /// Looks at every backend again and again.
    pub(super) fn watch(&self) -> impl Future<Output = ()> + use<> {
        let members = Arc::clone(&self.members);
        async move {
            let mut silent = vec![0; members.len()];
            loop {
                for (member, silent) in members.iter().zip(&mut silent) {
                    let looked = tokio::time::timeout(LIMIT, is_ready(member.backend.admin)).await;
                    *silent = if looked.is_err() { *silent + 1 } else { 0 };
                    let state = match looked {
                        Ok(Ok(true)) => State::Ready,
                        Err(_) if *silent >= SILENT_LOOKS => State::Hangs,
                        _ => State::Away,
                    };
                    member.state.send_if_modified(|known| std::mem::replace(known, state) != state);
                }
                tokio::time::sleep(INTERVAL).await;
            }
        }
    }
}

/// Whether `/readyz` answers 200.
async fn is_ready(admin: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(admin).await?;
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await?;
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    Ok(&start == b"HTTP/1.1 200")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(ports: &[u16]) -> Pool {
        let backend = |port: &u16| {
            let address = SocketAddr::from(([127, 0, 0, 1], *port));
            Backend { address, admin: address }
        };
        Pool::new(ports.iter().map(backend).collect())
    }

    fn ports(members: &[&Member]) -> Vec<u16> {
        members.iter().map(|member| member.backend.address.port()).collect()
    }

    #[test]
    fn requests_go_round() {
        let pool = pool(&[1, 2, 3]);
        assert_eq!(ports(&pool.in_turn()), [1, 2, 3]);
        assert_eq!(ports(&pool.in_turn()), [2, 3, 1]);
        assert_eq!(ports(&pool.in_turn()), [3, 1, 2]);
    }

    #[test]
    fn who_is_away_comes_last() {
        let pool = pool(&[1, 2]);
        pool.in_turn()[0].is_away();
        assert_eq!(ports(&pool.in_turn()), [2, 1]);
        assert_eq!(ports(&pool.in_turn()), [2, 1]);
    }
}
