//! How the parts that a service does not own are: the bus, the log, the secrets, and how fresh
//! the configuration is.
//!
//! What is away makes a service degraded, not down: it goes on with what it can do without. Only
//! what makes every request fail is down.

use std::sync::Arc;
use std::time::Duration;

use backplane::ReplicaHandle;
use bus::{Bus, Connectivity};
use event_store::EventStore;
use runtime::clock::Clock;
use runtime::health::{Health, HealthRegistry, HealthReporter};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// How long the log may take to say where its end is.
const LIMIT: Duration = Duration::from_secs(2);

/// Follows whether the bus is there.
pub(crate) fn follow_bus(reporter: HealthReporter, bus: &Arc<dyn Bus>) {
    let mut connectivity = bus.connectivity();
    tokio::spawn(async move {
        loop {
            let now = *connectivity.borrow_and_update();
            reporter.set(match now {
                Connectivity::Connected => Health::Ok,
                Connectivity::Disconnected { .. } => Health::Degraded("reconnecting".to_owned()),
            });
            if connectivity.changed().await.is_err() {
                return;
            }
        }
    });
}

/// Looks again and again whether the log answers.
pub(crate) fn follow_store(reporter: HealthReporter, store: Arc<dyn EventStore>) {
    tokio::spawn(async move {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            reporter.set(match timeout(LIMIT, store.head()).await {
                Ok(Ok(_)) => Health::Ok,
                Ok(Err(error)) => Health::Degraded(error.to_string()),
                Err(_) => Health::Degraded("no answer".to_owned()),
            });
        }
    });
}

/// Looks again and again how old the configuration is that an edge decides from.
pub(crate) fn follow_configuration(
    health: &HealthRegistry,
    replica: ReplicaHandle,
    clock: Clock,
    stale_after: Duration,
) {
    let reporter = health.register("configuration");
    tokio::spawn(async move {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            reporter.set(match replica.freshness(clock()) {
                None => Health::Down("not there yet".to_owned()),
                Some(age) if age > stale_after => {
                    Health::Down(format!("{} s old: every request is refused", age.as_secs()))
                }
                Some(age) if age > stale_after / 6 => {
                    Health::Degraded(format!("{} s old", age.as_secs()))
                }
                Some(_) => Health::Ok,
            });
        }
    });
}
