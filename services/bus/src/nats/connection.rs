//! The connection to the servers: options, the check of the version, and what it says of itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions, Event};
use secrecy::ExposeSecret;
use tokio::sync::watch;
use uuid::Uuid;

use super::NatsConfig;
use super::names::Names;
use crate::{BusError, Connectivity, MAX_EVENT_BYTES};

/// The oldest server that does what is needed: key-value buckets, and subject transforms.
const OLDEST_SERVER: (u32, u32) = (2, 10);
/// How long a connection attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The server is asked so often whether it is there; after two questions without an answer the
/// connection counts as lost.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// Most messages that wait for the connection to take them.
const MAX_WAITING: usize = 512;
/// Longest pause between two attempts to connect again.
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(2);

/// What the connection says of itself.
#[derive(Debug)]
pub(super) struct Signals {
    pub(super) connectivity: watch::Sender<Connectivity>,
    /// How often messages to this process may have been lost; from 1.
    pub(super) losses: watch::Sender<u64>,
}

impl Signals {
    fn new() -> Arc<Self> {
        let connectivity = watch::Sender::new(Connectivity::Connected);
        Arc::new(Self { connectivity, losses: watch::Sender::new(1) })
    }

    pub(super) fn connected(&self) {
        if self.connectivity.borrow().is_connected() {
            return;
        }
        tracing::info!("the bus is back");
        // First, so that whoever sees the connection knows of the loss.
        self.may_have_lost();
        self.connectivity.send_replace(Connectivity::Connected);
    }

    pub(super) fn disconnected(&self) {
        let was_there = self.connectivity.send_if_modified(|connectivity| {
            let was_there = connectivity.is_connected();
            if was_there {
                *connectivity = Connectivity::Disconnected { since: Instant::now() };
            }
            was_there
        });
        if was_there {
            tracing::warn!("the bus is away");
        }
    }

    pub(super) fn may_have_lost(&self) {
        self.losses.send_modify(|losses| *losses += 1);
    }

    fn take(&self, event: &Event) {
        match event {
            Event::Connected => self.connected(),
            Event::Disconnected | Event::Closed => self.disconnected(),
            Event::SlowConsumer(_) => self.may_have_lost(),
            Event::ServerError(error) => tracing::warn!(%error, "the bus refused something"),
            Event::ClientError(error) => tracing::warn!(%error, "the connection to the bus"),
            Event::LameDuckMode | Event::Draining => {}
        }
    }
}

/// Connects, once.
pub(super) async fn connect(
    config: &NatsConfig,
    names: &Names,
    instance: &str,
) -> Result<(Client, Arc<Signals>), BusError> {
    // Fails if one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let signals = Signals::new();
    let events = Arc::clone(&signals);
    let mut options = ConnectOptions::new()
        .name(format!("{} {instance}", config.service))
        .custom_inbox_prefix(names.jetstream_inbox())
        .connection_timeout(CONNECT_TIMEOUT)
        .ping_interval(PING_INTERVAL)
        .client_capacity(MAX_WAITING)
        .max_reconnects(None)
        .reconnect_delay_callback(reconnect_delay)
        // Subjects are checked where they are made.
        .skip_subject_validation(true)
        .event_callback(move |event| {
            events.take(&event);
            async {}
        });
    if let Some(seed) = &config.nkey_seed {
        options = options.nkey(seed.expose_secret().to_owned());
    }
    if let Some(ca) = &config.ca {
        options = options.add_root_certificates(ca.clone()).require_tls(true);
    }
    let connecting = options.connect(config.urls.as_slice());
    let client = tokio::time::timeout(2 * CONNECT_TIMEOUT, connecting)
        .await
        .map_err(|_| away("no server answered in time"))?
        .map_err(|error| away(&error.to_string()))?;
    let info = client.server_info();
    check_version(&info.version)?;
    if info.max_payload < MAX_EVENT_BYTES {
        let accepted = info.max_payload;
        return Err(away(&format!(
            "the server takes {accepted} bytes; {MAX_EVENT_BYTES} are sent"
        )));
    }
    Ok((client, signals))
}

/// [`BusError::Unavailable`], for that reason.
pub(super) fn away(detail: &str) -> BusError {
    BusError::Unavailable { detail: detail.to_owned() }
}

fn check_version(version: &str) -> Result<(), BusError> {
    let mut numbers = version.split('.').map(str::parse::<u32>);
    let (oldest_major, oldest_minor) = OLDEST_SERVER;
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= OLDEST_SERVER => Ok(()),
        _ => Err(away(&format!(
            "the server has version {version:?}, and {oldest_major}.{oldest_minor} is needed"
        ))),
    }
}

/// Grows with the attempts, up to a limit, and differs between processes, so that they do not all
/// come back in the same moment.
fn reconnect_delay(attempts: usize) -> Duration {
    let exponent = u32::try_from(attempts).unwrap_or(u32::MAX).min(6);
    let longest = Duration::from_millis(25 * 2_u64.pow(exponent)).min(MAX_RECONNECT_DELAY);
    let (_, random) = Uuid::now_v7().as_u64_pair();
    longest.mul_f64(0.5 + (random % 1_000) as f64 / 2_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_are_refused() {
        for good in ["2.10.0", "2.10.27", "2.12.1-beta", "3.0.0"] {
            assert_eq!(check_version(good), Ok(()), "{good}");
        }
        for bad in ["2.9.10", "1.99.0", "", "2", "new"] {
            assert!(check_version(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pauses_between_attempts_grow_up_to_a_limit() {
        for attempts in 0..100 {
            let delay = reconnect_delay(attempts);
            assert!(delay >= Duration::from_millis(12) && delay <= MAX_RECONNECT_DELAY);
        }
        assert!(reconnect_delay(1) < reconnect_delay(10));
    }

    #[test]
    fn coming_back_is_a_possible_loss_and_says_so_once() {
        let signals = Signals::new();
        signals.connected();
        assert_eq!(*signals.losses.borrow(), 1);
        signals.disconnected();
        assert!(!signals.connectivity.borrow().is_connected());
        signals.connected();
        signals.connected();
        assert_eq!(*signals.losses.borrow(), 2);
    }
}
