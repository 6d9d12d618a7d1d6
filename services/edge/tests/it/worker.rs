//! A worker's end of the exchanges of one server.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use backplane::exchange::Answering;
use backplane::subject;
use bus::Bus;
use bytes::Bytes;
use proto::events::v1::CallOutcome;
use proto::internal::v1::{ExchangeOpen, Finished, Notification, finished};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::stage::soon;
use crate::world::{World, server};

/// Serves a server's exchanges, each with `answer`, until it is dropped.
pub(crate) struct Worker {
    pub(crate) seen: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Worker {
    pub(crate) async fn start<F, A>(world: &World, number: u128, answer: F) -> Self
    where
        F: Fn(ExchangeOpen, Answering) -> A + Send + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        let mut requests =
            world.bus.serve(subject::exchange(server(number)).into(), 1_024).await.unwrap();
        let seen = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Some(incoming) = requests.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (open, answering) = Answering::accept(incoming).unwrap();
                tokio::spawn(answer(open, answering));
            }
        });
        Self { seen, task }
    }

    /// Answers with what it was asked.
    pub(crate) async fn echo(world: &World, number: u128) -> Self {
        Self::start(world, number, async |open, answering| {
            let seen = String::from_utf8(open.params.to_vec()).unwrap();
            let result = format!(r#"{{ "method":"{}","seen":{seen} }}"#, open.method);
            answering.finish(ok(&result)).await.unwrap();
        })
        .await
    }

    /// Hands the exchanges to the test.
    pub(crate) async fn by_hand(world: &World, number: u128) -> (Self, Exchanges) {
        let (sender, receiver) = mpsc::channel(1_024);
        let worker = Self::start(world, number, move |open, answering| {
            let sender = sender.clone();
            async move { sender.send((open, answering)).await.unwrap() }
        });
        (worker.await, Exchanges(receiver))
    }

    pub(crate) fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Exchanges that came in.
pub(crate) struct Exchanges(mpsc::Receiver<(ExchangeOpen, Answering)>);

impl Exchanges {
    pub(crate) async fn next(&mut self) -> (ExchangeOpen, Answering) {
        soon(self.0.recv()).await.unwrap()
    }
}

pub(crate) fn ok(result: &str) -> Finished {
    Finished {
        answer: Some(finished::Answer::Result(Bytes::copy_from_slice(result.as_bytes()))),
        outcome: CallOutcome::Ok.into(),
        queue_us: 5,
        upstream_us: 7,
        ..Finished::default()
    }
}

pub(crate) fn progress(step: u32) -> Notification {
    let params = format!(r#"{{"progressToken":"t","progress":{step}}}"#);
    Notification { method: "notifications/progress".to_owned(), params: params.into() }
}
