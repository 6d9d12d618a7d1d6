//! What each part of a process says of itself, and what follows for the whole.
//!
//! A part that is degraded is ready: it works, and says what it lacks. A process that drains is
//! not, so that nobody sends it new requests, while it still answers those it has.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::{Value, json};

/// How a part is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not ready yet.
    Starting,
    /// As it should be.
    Ok,
    /// It works, but something is missing.
    Degraded(String),
    /// It does not work.
    Down(String),
}

impl Health {
    fn cause(&self) -> Option<&str> {
        match self {
            Self::Degraded(cause) | Self::Down(cause) => Some(cause),
            Self::Starting | Self::Ok => None,
        }
    }

    const fn status(&self) -> Status {
        match self {
            Self::Starting => Status::Starting,
            Self::Ok => Status::Ok,
            Self::Degraded(_) => Status::Degraded,
            Self::Down(_) => Status::Down,
        }
    }
}

/// How a whole process is: as bad as its worst part. The order is from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All parts are as they should be.
    Ok,
    /// All work, and some lack something.
    Degraded,
    /// Some are not ready yet, or there are none.
    Starting,
    /// Some do not work.
    Down,
    /// It ends: what runs may finish, nothing new should come.
    Draining,
}

impl Status {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Starting => "starting",
            Self::Down => "down",
            Self::Draining => "draining",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The parts of this process and how they are. Cheap to clone; all clones show the same.
#[derive(Clone, Debug, Default)]
pub struct HealthRegistry {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    parts: BTreeMap<&'static str, Health>,
    is_draining: bool,
}

impl HealthRegistry {
    /// Registers a part, which counts as starting until it reports.
    pub fn register(&self, part: &'static str) -> HealthReporter {
        self.set(part, Health::Starting);
        HealthReporter { registry: self.clone(), part }
    }

    /// Every part and how it is, by name.
    pub fn parts(&self) -> BTreeMap<&'static str, Health> {
        self.inner().parts.clone()
    }

    /// From now on, and until the end, the process is not ready. Its parts go on.
    pub fn drain(&self) {
        self.inner().is_draining = true;
    }

    /// How the process is.
    pub fn status(&self) -> Status {
        self.inner().status()
    }

    /// Whether requests should come: every registered part is ready, there is one, and the
    /// process does not drain.
    pub fn is_ready(&self) -> bool {
        matches!(self.status(), Status::Ok | Status::Degraded)
    }

    /// The status, and the parts it is of, e.g. `degraded: bus` or `ok`.
    pub fn summary(&self) -> String {
        self.inner().summary()
    }

    /// One line a part, e.g. `bus: degraded: reconnecting`.
    pub fn report(&self) -> String {
        let inner = self.inner();
        let mut text = if inner.is_draining { "draining\n".to_owned() } else { String::new() };
        for (part, health) in &inner.parts {
            let status = health.status();
            let line = match health.cause() {
                Some(cause) => format!("{part}: {status}: {cause}\n"),
                None => format!("{part}: {status}\n"),
            };
            text.push_str(&line);
        }
        text
    }

    /// The same for machines: `status`, `summary`, `ready`, and `parts` with `status` and
    /// `cause`.
    pub fn to_json(&self) -> Value {
        let inner = self.inner();
        let parts: BTreeMap<&str, Value> = inner
            .parts
            .iter()
            .map(|(part, health)| {
                let status = health.status();
                let value = match health.cause() {
                    Some(cause) => json!({ "status": status, "cause": cause }),
                    None => json!({ "status": status }),
                };
                (*part, value)
            })
            .collect();
        let status = inner.status();
        json!({
            "status": status,
            "ready": matches!(status, Status::Ok | Status::Degraded),
            "summary": inner.summary(),
            "parts": parts,
        })
    }

    fn set(&self, part: &'static str, health: Health) {
        let before = self.inner().parts.insert(part, health.clone());
        let Some(before) = before.filter(|before| before.status() != health.status()) else {
            return;
        };
        let (was, status) = (before.status(), health.status());
        match health.cause() {
            Some(cause) => tracing::warn!(part, %was, %status, cause, "a part's health changed"),
            None => tracing::info!(part, %was, %status, "a part's health changed"),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn status(&self) -> Status {
        if self.is_draining {
            return Status::Draining;
        }
        self.parts.values().map(Health::status).max().unwrap_or(Status::Starting)
    }

    fn summary(&self) -> String {
        let status = self.status();
        let is_of = |health: &Health| status != Status::Ok && health.status() == status;
        let parts: Vec<&str> =
            self.parts.iter().filter(|(_, health)| is_of(health)).map(|(part, _)| *part).collect();
        if parts.is_empty() {
            status.to_string()
        } else {
            format!("{status}: {}", parts.join(", "))
        }
    }
}

/// With this a part says how it is.
#[derive(Clone, Debug)]
pub struct HealthReporter {
    registry: HealthRegistry,
    part: &'static str,
}

impl HealthReporter {
    /// Says how the part is from now on.
    pub fn set(&self, health: Health) {
        self.registry.set(self.part, health);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_degraded_part_is_ready_and_a_starting_or_down_one_is_not() {
        let registry = HealthRegistry::default();
        assert!(!registry.is_ready(), "there is nothing that could be ready");
        let store = registry.register("store");
        let bus = registry.register("bus");
        assert!(!registry.is_ready());
        store.set(Health::Ok);
        assert!(!registry.is_ready(), "the other has not said anything");
        bus.set(Health::Degraded("reconnecting".into()));
        assert!(registry.is_ready());
        assert_eq!(registry.report(), "bus: degraded: reconnecting\nstore: ok\n");
        store.set(Health::Down("disk full".into()));
        assert!(!registry.is_ready());
    }

    #[test]
    fn the_whole_is_as_bad_as_its_worst_parts_and_names_them() {
        let registry = HealthRegistry::default();
        let parts = ["bus", "secrets", "store"].map(|part| registry.register(part));
        assert_eq!(registry.summary(), "starting: bus, secrets, store");
        parts.iter().for_each(|part| part.set(Health::Ok));
        assert_eq!(registry.summary(), "ok");
        parts[0].set(Health::Degraded("reconnecting".into()));
        assert_eq!(registry.summary(), "degraded: bus");
        parts[1].set(Health::Degraded("sealed".into()));
        assert_eq!(registry.summary(), "degraded: bus, secrets");
        parts[2].set(Health::Down("disk full".into()));
        assert_eq!(registry.summary(), "down: store");
        assert_eq!(registry.status(), Status::Down);
    }

    #[test]
    fn a_draining_process_is_not_ready_whatever_its_parts_say() {
        let registry = HealthRegistry::default();
        let store = registry.register("store");
        store.set(Health::Ok);
        registry.drain();
        assert!(!registry.is_ready());
        store.set(Health::Ok);
        assert_eq!((registry.summary().as_str(), registry.is_ready()), ("draining", false));
        assert_eq!(registry.report(), "draining\nstore: ok\n");
    }

    #[test]
    fn machines_read_the_same() {
        let registry = HealthRegistry::default();
        registry.register("store").set(Health::Ok);
        registry.register("bus").set(Health::Degraded("reconnecting".into()));
        let expected = json!({
            "status": "degraded",
            "ready": true,
            "summary": "degraded: bus",
            "parts": {
                "bus": { "status": "degraded", "cause": "reconnecting" },
                "store": { "status": "ok" },
            },
        });
        assert_eq!(registry.to_json(), expected);
    }
}
