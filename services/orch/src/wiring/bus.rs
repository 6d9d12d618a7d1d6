//! The bus of a cluster's service.

use std::sync::Arc;

use anyhow::Result;
use bus::{Bus, NatsBus};
use runtime::health::HealthRegistry;
use tokio_util::sync::CancellationToken;

use super::{follow_bus, until_there};
use crate::config::NatsSettings;

/// Connects `service` to the bus, and follows whether it is there.
///
/// # Errors
/// When the settings cannot be used, or the process is asked to stop before the bus is there.
pub(crate) async fn open_bus(
    settings: &NatsSettings,
    service: &'static str,
    health: &HealthRegistry,
    stop: &CancellationToken,
) -> Result<NatsBus> {
    let config = settings.to_config(service)?;
    let reporter = health.register("bus");
    let bus =
        until_there("the bus", &reporter, stop, async || NatsBus::connect(config.clone()).await)
            .await?;
    let followed: Arc<dyn Bus> = Arc::new(bus.clone());
    follow_bus(reporter, &followed);
    Ok(bus)
}
