//! Sessions that any edge serves: how edges find each other's clients, speak for each other, and
//! go on with what an edge that is gone has left.
//!
//! What always holds:
//!
//! - A session has one home. Who takes it over does so by a compare-and-swap of its record; a home
//!   that finds another one's name there lets the session go.
//! - While its home lives, requests for a session are forwarded to it; it checks them as if they
//!   had come to it. What was forwarded is not forwarded again.
//! - A call is in its session's record before its client knows of a stream to come back to.
//! - No key and no value holds what opens a session: records go by a digest of its id.
//! - What edges share is lossy: what is not there is unknown, and nobody is let in by it.
//!
//! An edge that is alone has none of this.

mod adopt;
mod answer;
mod company;
mod find;
mod forward;
mod keep;
mod kept;
mod parked;
mod task;
mod trail;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderName, StatusCode};
use backplane::Clock;
use bus::{Bus, SharedMemory, Subject};
use ring::digest::{SHA256, digest};
use tokio::sync::{Semaphore, mpsc};

use company::Company;

pub(crate) use answer::serve;
pub(crate) use find::{Found, Request, ask_home, find};
pub(crate) use keep::{changed, drain, keep, record_call, save};
pub(crate) use kept::{Kept, Unsaved};
pub(crate) use parked::{Waiting, give_up_parked, share_parked, take_parked, unshare_parked};
pub(crate) use task::{share_task, shared_task};

/// How long anything that edges share may take, before it counts as not to be had.
const MEMORY_WAIT: Duration = Duration::from_secs(2);
/// Most homes that are remembered.
const MAX_HOMES: usize = 50_000;
/// Adoptions of one session wait for each other; those of others rarely do.
const LANES: usize = 64;

/// The status by which an edge says that a session is not there; clients never see it.
const NOT_HERE: StatusCode = StatusCode::MISDIRECTED_REQUEST;
/// Marks a request that came over the bus.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FromEdge;

/// Headers that belong to one connection.
const HOP: [HeaderName; 5] = [
    axum::http::header::CONNECTION,
    axum::http::header::TRANSFER_ENCODING,
    axum::http::header::CONTENT_LENGTH,
    axum::http::header::UPGRADE,
    axum::http::header::TE,
];

/// What stands for a session, or for a call that waits: nobody can tell from it what it is of.
pub(crate) type Digest = [u8; 32];

/// An edge among others.
pub(crate) struct Roaming {
    bus: Arc<dyn Bus>,
    memory: Arc<dyn SharedMemory>,
    clock: Clock,
    /// The name of this edge.
    instance: String,
    /// Which edges are there.
    company: Company,
    /// Where sessions were last found.
    homes: Mutex<HashMap<Digest, String>>,
    /// Requests that are forwarded from here, and those that are answered here for others.
    forwards: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    adopting: [tokio::sync::Mutex<()>; LANES],
    trail: mpsc::Sender<trail::Step>,
    /// What is written or removed beside what caused it.
    beside: Arc<Semaphore>,
}

impl Roaming {
    /// An edge among others, under its name on the bus.
    pub(crate) fn start(
        bus: Arc<dyn Bus>,
        memory: Arc<dyn SharedMemory>,
        clock: Clock,
        forwards: usize,
    ) -> Arc<Self> {
        let instance = bus.instance().to_owned();
        let trail = trail::start(Arc::clone(&memory));
        Arc::new(Self {
            bus,
            memory,
            clock,
            instance,
            company: Company::default(),
            homes: Mutex::default(),
            forwards: Arc::new(Semaphore::new(forwards)),
            answers: Arc::new(Semaphore::new(forwards)),
            adopting: [const { tokio::sync::Mutex::const_new(()) }; LANES],
            trail,
            beside: Arc::new(Semaphore::new(256)),
        })
    }

    fn now_ms(&self) -> i64 {
        (self.clock)().as_micros() / 1_000
    }

    fn lane(&self, of: &Digest) -> &tokio::sync::Mutex<()> {
        &self.adopting[usize::from(of[0]) % LANES]
    }

    fn home(&self, of: &Digest) -> Option<String> {
        self.homes.lock().unwrap_or_else(PoisonError::into_inner).get(of).cloned()
    }

    fn remember_home(&self, of: Digest, home: &str) {
        let mut homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        if homes.len() >= MAX_HOMES {
            homes.clear();
        }
        homes.insert(of, home.to_owned());
    }

    fn forget_home(&self, of: &Digest) {
        self.homes.lock().unwrap_or_else(PoisonError::into_inner).remove(of);
    }
}

/// The digest of what opens a session, or a call that waits.
pub(crate) fn digest_of(secret: &[u8]) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, secret).as_ref());
    bytes
}

fn session_key(of: &Digest) -> Subject {
    key("mcp_session", of)
}

fn parked_key(of: &Digest) -> Subject {
    key("parked", of)
}

fn trail_key(of: &Digest) -> Subject {
    key("replay", of)
}

fn key(kind: &str, of: &Digest) -> Subject {
    let mut text = format!("{kind}.");
    for byte in of {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Subject::new(text).unwrap_or_else(|error| unreachable!("{error}"))
}

/// A whole number of milliseconds.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
