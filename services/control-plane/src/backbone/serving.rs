//! Taking requests off the bus, a bounded number at the same time.

use std::sync::Arc;

use bus::{Incoming, Server};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Hands each request to `answer` until `shutdown`; those that were taken are finished. At most
/// `concurrent` are under way, further ones wait in the server's queue.
pub(crate) async fn serve_each<F>(
    mut server: Server,
    concurrent: usize,
    shutdown: CancellationToken,
    mut answer: impl FnMut(Incoming) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(concurrent));
    let mut running = JoinSet::new();
    loop {
        let permit = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            permit = Arc::clone(&permits).acquire_owned() => permit,
        };
        let Ok(permit) = permit else { break };
        let incoming = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            incoming = server.accept() => incoming,
        };
        let Some(incoming) = incoming else { break };
        let answer = answer(incoming);
        running.spawn(async move {
            let _permit = permit;
            answer.await;
        });
        while running.try_join_next().is_some() {}
    }
    while running.join_next().await.is_some() {}
}
