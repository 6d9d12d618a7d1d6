//! What each part of a process says of itself: `ok`, `degraded: why` or `down: why`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

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

/// The parts of this process and how they are. Cheap to clone; all clones show the same.
#[derive(Clone, Debug, Default)]
pub struct HealthRegistry {
    parts: Arc<Mutex<BTreeMap<&'static str, Health>>>,
}

impl HealthRegistry {
    /// Registers a part, which counts as starting until it reports.
    pub fn register(&self, part: &'static str) -> HealthReporter {
        self.set(part, Health::Starting);
        HealthReporter { registry: self.clone(), part }
    }

    /// Every part and how it is, by name.
    pub fn parts(&self) -> BTreeMap<&'static str, Health> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether requests should come: no part is starting or down.
    pub fn is_ready(&self) -> bool {
        self.parts().values().all(|health| matches!(health, Health::Ok | Health::Degraded(_)))
    }

    /// One line a part, e.g. `bus: degraded: reconnecting`.
    pub fn report(&self) -> String {
        let mut text = String::new();
        for (part, health) in self.parts() {
            let line = match health {
                Health::Starting => format!("{part}: starting\n"),
                Health::Ok => format!("{part}: ok\n"),
                Health::Degraded(why) => format!("{part}: degraded: {why}\n"),
                Health::Down(why) => format!("{part}: down: {why}\n"),
            };
            text.push_str(&line);
        }
        text
    }

    fn set(&self, part: &'static str, health: Health) {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).insert(part, health);
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
        let store = registry.register("store");
        let bus = registry.register("bus");
        assert!(!registry.is_ready());
        store.set(Health::Ok);
        bus.set(Health::Degraded("reconnecting".into()));
        assert!(registry.is_ready());
        assert_eq!(registry.report(), "bus: degraded: reconnecting\nstore: ok\n");
        store.set(Health::Down("disk full".into()));
        assert!(!registry.is_ready());
    }
}
