//! The bus contract over a real NATS server, and what only this adapter promises.

mod failures;
mod limits;
mod security;
mod split;
mod streams;

use std::sync::Arc;

use bus::{Bus, NatsBus, NatsConfig};

use self::split::Split;

pub(crate) mod one_connection {
    contract::bus_contract!(async {
        let config = super::config("control-plane", &super::url(), &fixtures::nats::namespace());
        super::Arc::new(super::connect(config).await) as super::Arc<dyn super::Bus>
    });
}

pub(crate) mod two_connections {
    contract::bus_contract!(async {
        super::Arc::new(super::Split::connect().await) as super::Arc<dyn super::Bus>
    });
}

pub(crate) mod memory {
    contract::shared_memory_contract!(async {
        let namespace = fixtures::nats::namespace();
        let one = super::connect(super::config("edge", &super::url(), &namespace)).await;
        let two = super::connect(super::config("edge", &super::url(), &namespace)).await;
        (super::Arc::new(one) as super::Arc<_>, super::Arc::new(two) as super::Arc<_>)
    });
}

/// Of a server that is only used.
fn url() -> String {
    fixtures::nats::url().unwrap()
}

fn config(service: &'static str, url: &str, namespace: &str) -> NatsConfig {
    NatsConfig {
        urls: vec![url.to_owned()],
        service,
        nkey_seed: None,
        ca: None,
        namespace: namespace.to_owned(),
        replicas: 1,
    }
}

async fn connect(config: NatsConfig) -> NatsBus {
    NatsBus::connect(config).await.unwrap()
}
