//! A worker that keeps its calls for an edge that takes them over, as the exchange's contract says.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use backplane::exchange::{Answering, FollowUp, Frame, OUTCOME_UNKNOWN};
use backplane::subject;
use bus::Bus;
use proto::events::v1::CallOutcome;
use proto::internal::v1::{
    ExchangeFailure, ExchangeKind, ExchangeOpen, Finished, ServerRequest, finished,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::stage::soon;
use crate::world::{World, server};

/// Serves one server; its calls are told by the test.
pub(crate) struct Keeper {
    calls: mpsc::Receiver<Call>,
    begun: Arc<AtomicUsize>,
    adopted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Keeper {
    pub(crate) async fn start(world: &World, number: u128) -> Self {
        let mut requests =
            world.bus.serve(subject::exchange(server(number)).into(), 1_024).await.unwrap();
        let (sender, calls) = mpsc::channel(1_024);
        let (begun, adopted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (begins, adopts) = (Arc::clone(&begun), Arc::clone(&adopted));
        let task = tokio::spawn(async move {
            let mut lines = HashMap::<String, Call>::new();
            while let Some(incoming) = requests.accept().await {
                let (open, answering) = Answering::accept(incoming).unwrap();
                match open.kind() {
                    ExchangeKind::Adoption => {
                        adopts.fetch_add(1, Ordering::SeqCst);
                        match lines.get(&open.call_id).cloned() {
                            Some(line) => drop(tokio::spawn(line.adopt(open, answering))),
                            None => drop(tokio::spawn(refuse(answering))),
                        }
                    }
                    // It stands, and says nothing.
                    ExchangeKind::Attachment => {
                        tokio::spawn(
                            async move { while answering.next_follow_up().await.is_some() {} },
                        );
                    }
                    ExchangeKind::Unspecified => {
                        begins.fetch_add(1, Ordering::SeqCst);
                        let call = Call::new(open, answering);
                        lines.insert(call.open.call_id.clone(), call.clone());
                        sender.send(call).await.unwrap();
                    }
                }
            }
        });
        Self { calls, begun, adopted, task }
    }

    /// The next call.
    pub(crate) async fn next(&mut self) -> Call {
        soon(self.calls.recv()).await.unwrap()
    }

    /// How many calls were sent here to be run.
    pub(crate) fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    /// How many were asked for by edges that took them over.
    pub(crate) fn adopted(&self) -> usize {
        self.adopted.load(Ordering::SeqCst)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A call that is kept.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) open: ExchangeOpen,
    line: Arc<tokio::sync::Mutex<Line>>,
    follow_ups: Arc<tokio::sync::Mutex<mpsc::Receiver<FollowUp>>>,
    said: mpsc::Sender<FollowUp>,
    answered: Arc<Mutex<HashSet<String>>>,
}

struct Line {
    kept: Vec<Frame>,
    holder: Option<Arc<Answering>>,
}

impl Call {
    fn new(open: ExchangeOpen, answering: Answering) -> Self {
        let (said, follow_ups) = mpsc::channel(64);
        let line = Arc::new(tokio::sync::Mutex::new(Line { kept: Vec::new(), holder: None }));
        let follow_ups = Arc::new(tokio::sync::Mutex::new(follow_ups));
        let call = Self { open, line, follow_ups, said, answered: Arc::default() };
        let holder = Arc::new(answering);
        call.line.try_lock().unwrap().holder = Some(Arc::clone(&holder));
        call.listen(holder);
        call
    }

    fn listen(&self, holder: Arc<Answering>) {
        let (said, answered) = (self.said.clone(), Arc::clone(&self.answered));
        tokio::spawn(async move {
            while let Some(follow_up) = holder.next_follow_up().await {
                if let FollowUp::Answer { id, .. } = &follow_up {
                    answered.lock().unwrap().insert(id.clone());
                }
                let _ = said.send(follow_up).await;
            }
        });
    }

    /// Gives it to another edge, once the one that had it is gone.
    async fn adopt(self, open: ExchangeOpen, answering: Answering) {
        let before = self.line.lock().await.holder.take();
        if let Some(before) = before {
            soon(before.closed()).await;
        }
        let mut line = self.line.lock().await;
        let answered = self.answered.lock().unwrap().clone();
        for (number, frame) in (1..).zip(&line.kept) {
            let is_open = matches!(frame, Frame::Request(asked) if !answered.contains(&asked.id));
            if number > open.after_frame || is_open {
                let _ = answering.send(frame.clone().encode(number)).await;
            }
        }
        let holder = Arc::new(answering);
        if matches!(line.kept.last(), Some(Frame::Finished(_))) {
            holder.end();
        }
        line.holder = Some(Arc::clone(&holder));
        self.listen(holder);
    }

    /// The bus says that the edge is gone which has it. Inside one process only what is dropped is
    /// gone, and an edge that is killed cannot drop what its own parts hold of each other.
    pub(crate) async fn edge_is_gone(&self) {
        self.line.lock().await.holder = None;
    }

    pub(crate) async fn say(&self, frame: Frame) {
        let mut line = self.line.lock().await;
        line.kept.push(frame.clone());
        let number = line.kept.len() as u64;
        if let Some(holder) = &line.holder {
            // Whoever comes next gets it.
            let _ = holder.send(frame.encode(number)).await;
        }
    }

    pub(crate) async fn progress(&self, step: u32) {
        self.say(Frame::Notification(crate::worker::progress(step))).await;
    }

    pub(crate) async fn ask(&self, id: &str, method: &str, params: &'static str) {
        let (id, method) = (id.to_owned(), method.to_owned());
        self.say(Frame::Request(ServerRequest { id, method, params: params.into() })).await;
    }

    pub(crate) async fn finish(&self, finished: Finished) {
        self.say(Frame::Finished(finished)).await;
    }

    /// What an edge says to it.
    pub(crate) async fn follow_up(&self) -> FollowUp {
        soon(async { self.follow_ups.lock().await.recv().await }).await.unwrap()
    }
}

async fn refuse(answering: Answering) {
    let failure = ExchangeFailure {
        reason: OUTCOME_UNKNOWN.to_owned(),
        message: "nobody knows the call".to_owned(),
    };
    let finished = Finished {
        answer: Some(finished::Answer::Failure(failure)),
        outcome: CallOutcome::Unknown.into(),
        ..Finished::default()
    };
    let _ = answering.finish(finished).await;
}
