//! One cell: a number of sessions that call echo in a closed loop until the calls are used up.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use crate::error::Error;
use crate::sample::Latencies;
use crate::session::{Endpoint, Session};

/// Makes each message about as long as a short tool argument.
const PADDING: &str = "the quick brown fox jumps over the lazy dog";

/// What came of one cell.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) latencies: Latencies,
    pub(crate) elapsed: Duration,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
}

/// Sessions that are open and warm.
pub(crate) struct Load {
    sessions: Vec<Session>,
    /// Part of each message, so that no two cells of a run share one.
    name: String,
}

impl Load {
    /// Opens the sessions and makes `warm_up` calls with each. `name` must be unique in the run.
    pub(crate) async fn open(
        endpoints: &[Endpoint],
        sessions: usize,
        warm_up: usize,
        name: &str,
    ) -> Result<Self, Error> {
        let mut load = Self { sessions: Vec::new(), name: name.to_owned() };
        for endpoint in endpoints.iter().cycle().take(sessions) {
            load.sessions.push(Session::open(endpoint).await?);
        }
        let outcome = load.run("warm-up", warm_up * sessions).await;
        match outcome.first_error {
            Some(error) => Err(Error::unexpected(format!("{name}: {error}"))),
            None => Ok(load),
        }
    }

    /// Makes `calls` calls, each session one after the other. A wrong answer is counted; after
    /// a hundred of them a session gives up.
    pub(crate) async fn run(&mut self, phase: &str, calls: usize) -> Outcome {
        let outcome = Rc::new(RefCell::new(Outcome::default()));
        let budget = Rc::new(Cell::new(calls));
        let tasks = LocalSet::new();
        let start = Instant::now();
        let mut running = Vec::new();
        for (index, mut session) in self.sessions.drain(..).enumerate() {
            let (outcome, budget) = (Rc::clone(&outcome), Rc::clone(&budget));
            let prefix = format!("{}-{phase}-{index}", self.name);
            running.push(tasks.spawn_local(async move {
                let mut own_errors = 0;
                while own_errors < 100 && budget.get() > 0 {
                    let left = budget.get() - 1;
                    budget.set(left);
                    let answer = session.echo(&format!("{prefix}-{left} {PADDING}")).await;
                    let mut outcome = outcome.borrow_mut();
                    match answer {
                        Ok(latency) => outcome.latencies.add(latency),
                        Err(error) => {
                            own_errors += 1;
                            outcome.errors += 1;
                            outcome.first_error.get_or_insert_with(|| error.to_string());
                        }
                    }
                }
                session
            }));
        }
        tasks.await;
        let elapsed = start.elapsed();
        for session in running {
            self.sessions.extend(session.await.ok());
        }
        let mut outcome = outcome.take();
        outcome.errors += budget.get() as u64; // Calls that nobody was left to make.
        Outcome { elapsed, ..outcome }
    }

    /// Lists the tools `times` times with the first session.
    pub(crate) async fn list(&mut self, times: usize) -> Result<Latencies, Error> {
        let mut latencies = Latencies::default();
        if let Some(session) = self.sessions.first_mut() {
            for _ in 0..times {
                latencies.add(session.list().await?);
            }
        }
        Ok(latencies)
    }

    /// Ends the sessions.
    pub(crate) async fn close(self) {
        for session in self.sessions {
            session.close().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use fixtures::upstream::{Options, Server, serve_http};
    use tokio::net::TcpListener;

    use super::*;
    use crate::session::Wire;

    /// The real upstream, in this process; both wires of it.
    async fn upstream(options: Options) -> (std::sync::Arc<Server>, [Endpoint; 2]) {
        let server = Server::new(options).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve_http(std::sync::Arc::clone(&server), listener));
        let endpoint =
            |wire, path| Endpoint::new(wire, &format!("http://{address}/{path}"), "echo").unwrap();
        (server, [endpoint(Wire::Streamable, "mcp"), endpoint(Wire::Sse, "sse")])
    }

    #[tokio::test]
    async fn each_call_is_executed_once_over_either_wire() {
        for sse_answers in [false, true] {
            let (server, endpoints) = upstream(Options { sse_answers, ..Options::default() }).await;
            let mut load = Load::open(&endpoints, 4, 5, "cell").await.unwrap();
            let outcome = load.run("timed", 200).await;
            assert_eq!((outcome.latencies.len(), outcome.errors), (200, 0));
            let stats = server.stats();
            assert_eq!((stats.executions, stats.distinct), (220, 220));
            load.close().await;
        }
    }

    #[tokio::test]
    async fn wrong_answers_are_counted_and_end_the_load() {
        let (_, endpoints) = upstream(Options::default()).await;
        for endpoint in endpoints {
            let endpoint = Endpoint { tool: "fail".to_owned(), ..endpoint };
            let mut load = Load::open(&[endpoint], 2, 0, "cell").await.unwrap();
            let outcome = load.run("timed", 1000).await;
            assert_eq!((outcome.latencies.len(), outcome.errors), (0, 1000));
            assert!(outcome.first_error.unwrap().contains("wrong answer to call 1"));
        }
    }

    #[tokio::test]
    async fn a_load_that_cannot_warm_up_is_refused() {
        let (_, [endpoint, _]) = upstream(Options::default()).await;
        let endpoint = Endpoint { tool: "rpc_error".to_owned(), ..endpoint };
        assert!(Load::open(&[endpoint], 1, 1, "cell").await.is_err());
    }
}
