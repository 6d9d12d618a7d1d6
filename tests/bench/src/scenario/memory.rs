//! Memory of `up` with idle servers, after calls and a login, without its children.

use std::path::Path;

use serde::Serialize;
use serde_json::json;

use crate::cost::{memory_kib, settled_cpu_time};
use crate::error::Error;
use crate::goal::Goal;
use crate::load::Load;
use crate::orchestrator::Orchestrator;
use crate::session::{Expectation, Wire};

/// The stated goal, in megabytes of 1,000,000 bytes.
const LIMIT_MB: f64 = 60.0;
/// Sessions that make the calls.
const SESSIONS: usize = 8;

/// How much of it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Idle servers: the built-in demo server over stdio.
    #[arg(long, default_value_t = 20)]
    servers: usize,
    /// Calls before the measurement, spread over the servers.
    #[arg(long, default_value_t = 1000)]
    calls: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { servers: 20, calls: 1000 }
    }
}

/// Proportional set sizes of `up`.
#[derive(Debug, Serialize)]
pub(crate) struct Memory {
    servers: usize,
    calls: usize,
    errors: u64,
    at_start_mb: f64,
    with_servers_mb: f64,
    after_calls_mb: f64,
    pub(crate) goals: Vec<Goal>,
}

impl Memory {
    pub(crate) fn line(&self) -> String {
        format!(
            "memory of up (PSS, without children): {:.1} MB at start, {:.1} MB with {} servers, \
             {:.1} MB after {} calls and a login",
            self.at_start_mb, self.with_servers_mb, self.servers, self.after_calls_mb, self.calls,
        )
    }
}

pub(crate) async fn run(options: &Options, bin: &Path) -> Result<Memory, Error> {
    let mut up = Orchestrator::start(bin)?;
    let at_start_mb = settled_memory(&up).await?;
    let names: Vec<String> = (1..=options.servers).map(|index| format!("demo{index}")).collect();
    for name in &names {
        up.register(&json!({
            "name": name, "type": "stdio", "command": bin, "args": ["demo-server"], "env": {},
        }))
        .await?;
    }
    up.wait_active(&names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let with_servers_mb = settled_memory(&up).await?;
    up.login().await?;
    let (mut errors, mut made) = (0, 0);
    for (index, name) in names.iter().enumerate() {
        let mut endpoint = up.endpoint(Wire::Streamable, &format!("{name}__echo"))?;
        endpoint.expectation = Expectation::Contains;
        let mut load = Load::open(&[endpoint], SESSIONS, 0, &format!("memory-{name}")).await?;
        let calls = options.calls * (index + 1) / names.len() - made;
        let outcome = load.run("calls", calls).await;
        if let Some(error) = &outcome.first_error {
            return Err(Error::unexpected(format!("{name}: {error}")));
        }
        errors += outcome.errors;
        made += outcome.latencies.len();
        load.close().await;
    }
    let after_calls_mb = settled_memory(&up).await?;
    let goals = vec![
        Goal::at_most("memory of up, MB", after_calls_mb, LIMIT_MB),
        Goal::at_least("memory: calls answered", made as f64, options.calls as f64),
    ];
    Ok(Memory {
        servers: options.servers,
        calls: made,
        errors,
        at_start_mb,
        with_servers_mb,
        after_calls_mb,
        goals,
    })
}

async fn settled_memory(up: &Orchestrator) -> Result<f64, Error> {
    settled_cpu_time(up.id()).await?;
    Ok(memory_kib(up.id())? as f64 * 1024.0 / 1e6)
}
