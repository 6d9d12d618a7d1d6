//! What an exchange costs in process, and over a NATS server: one request, one frame, the finish.
//!
//! `round_trip [URL]`; without a URL only in process. Client and server are two connections of
//! this process, so that both adapters share the same runtime and the same machine.

#![expect(clippy::print_stdout, reason = "the numbers are the output")]

use std::time::{Duration, Instant};

use bus::nats::DEFAULT_NAMESPACE;
use bus::{Bus, BusError, InProcessBus, Incoming, NatsBus, NatsConfig, Subject};

const WARM_UP: usize = 2_000;
const MEASURED: usize = 10_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let in_process = InProcessBus::default();
    let Some(url) = std::env::args().nth(1) else {
        show("in process", &measure(&in_process, &in_process).await?);
        return Ok(());
    };
    let config = |service| NatsConfig {
        urls: vec![url.clone()],
        service,
        nkey_seed: None,
        ca: None,
        namespace: format!("{DEFAULT_NAMESPACE}-round-trip-{}", std::process::id()),
        replicas: 1,
    };
    let client = NatsBus::connect(config("edge")).await?;
    let server = NatsBus::connect(config("worker")).await?;
    for _ in 0..3 {
        show("in process", &measure(&in_process, &in_process).await?);
        show("nats", &measure(&client, &server).await?);
    }
    client.close().await;
    server.close().await;
    Ok(())
}

async fn measure(client: &dyn Bus, server: &dyn Bus) -> Result<Vec<Duration>, BusError> {
    let subject = Subject::new("x.round-trip")
        .map_err(|error| BusError::Unavailable { detail: error.to_string() })?;
    let mut served = server.serve(subject.clone().into(), 16).await?;
    let serving = tokio::spawn(async move {
        while let Some(Incoming { first, exchange, .. }) = served.accept().await {
            if exchange.reply(first).await.is_ok() {
                exchange.finish();
            }
        }
    });
    let payload = bytes::Bytes::from(vec![b'x'; 300]);
    let mut times = Vec::with_capacity(MEASURED);
    for number in 0..WARM_UP + MEASURED {
        let begun = Instant::now();
        client.request(&subject, payload.clone(), Duration::from_secs(5)).await?;
        if number >= WARM_UP {
            times.push(begun.elapsed());
        }
    }
    serving.abort();
    times.sort_unstable();
    Ok(times)
}

fn show(name: &str, times: &[Duration]) {
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    println!("{name:>10}: p50 {:?}, p90 {:?}, p99 {:?}", at(50), at(90), at(99));
}
