//! One healthy server alone, and beside three broken neighbours: one hangs in `tools/list`, one
//! exits at start, one floods stderr.

use std::path::Path;

use comfy_table::Table;
use serde::Serialize;
use serde_json::{Value, json};

use crate::affinity::Cores;
use crate::error::Error;
use crate::goal::Goal;
use crate::load::Load;
use crate::orchestrator::Orchestrator;
use crate::report::table;
use crate::sample::Latencies;
use crate::session::{Endpoint, Wire};

/// The healthy server's p99 beside broken neighbours may be this many times that without them.
const P99_RATIO: f64 = 1.5;
/// The broken neighbours: name and the fixture's arguments.
const BROKEN: [(&str, [&str; 2]); 3] = [
    ("hangs", ["--hang-in", "tools/list"]),
    ("exits", ["--exit-at-start", "3"]),
    ("floods", ["--flood-stderr", "1048576"]),
];

/// How much of it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Calls in all, for each of the two sides.
    #[arg(long, default_value_t = 20_000)]
    calls: usize,
    /// Rounds in which the two sides alternate.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    #[arg(long, default_value_t = 8)]
    sessions: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { calls: 20_000, rounds: 10, sessions: 8 }
    }
}

/// What was measured on both sides.
#[derive(Debug, Serialize)]
pub(crate) struct Isolation {
    alone: Side,
    beside_broken: Side,
    p99_ratio: f64,
    /// What the API says about each server beside the broken ones.
    servers: Vec<Value>,
    pub(crate) goals: Vec<Goal>,
}

/// One side.
#[derive(Debug, Serialize)]
struct Side {
    calls: usize,
    errors: u64,
    p50_us: f64,
    p99_us: f64,
    list_p50_us: f64,
    list_max_us: f64,
}

impl Isolation {
    /// What the API says about each server, one per line.
    pub(crate) fn states(&self) -> String {
        self.servers.iter().map(state).collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn table(&self) -> Table {
        let row = |name: &str, side: &Side| {
            let mut row = vec![name.to_owned(), side.calls.to_string(), side.errors.to_string()];
            row.extend(
                [side.p50_us, side.p99_us, side.list_p50_us, side.list_max_us]
                    .map(|figure| format!("{figure:.0}")),
            );
            row
        };
        let columns =
            ["healthy server", "calls", "errors", "p50 µs", "p99 µs", "list p50", "list max"];
        let rows =
            vec![row("alone", &self.alone), row("beside 3 broken ones", &self.beside_broken)];
        table(&columns, 1, rows)
    }
}

/// A server's name, status and last error, as the API shows them.
fn state(server: &Value) -> String {
    let text = |key: &str| server[key].as_str().unwrap_or("-").to_owned();
    format!("{}: {}, {}", text("name"), text("status"), text("last_error"))
}

/// One `up` and what was measured through it.
struct Arm {
    up: Orchestrator,
    endpoint: Endpoint,
    calls: Latencies,
    lists: Latencies,
    errors: u64,
}

impl Arm {
    async fn start(bin: &Path, cores: &Cores, broken: bool) -> Result<Self, Error> {
        let mut up = cores.with_servers(|| Orchestrator::start(bin))?;
        up.register(&fixture("healthy", &[])?).await?;
        if broken {
            for (name, arguments) in BROKEN {
                up.register(&fixture(name, &arguments)?).await?;
            }
        }
        up.wait_active(&["healthy"]).await?;
        let endpoint = up.endpoint(Wire::Streamable, "healthy__echo")?;
        let (calls, lists) = (Latencies::default(), Latencies::default());
        Ok(Self { up, endpoint, calls, lists, errors: 0 })
    }

    async fn measure(&mut self, options: &Options, name: &str) -> Result<(), Error> {
        let endpoints = std::slice::from_ref(&self.endpoint);
        let mut load = Load::open(endpoints, options.sessions, 50, name).await?;
        let outcome = load.run("calls", options.calls / options.rounds.max(1)).await;
        self.calls.extend(&outcome.latencies);
        self.errors += outcome.errors;
        self.lists.extend(&load.list(20).await?);
        load.close().await;
        Ok(())
    }

    fn side(&mut self) -> Side {
        Side {
            calls: self.calls.len(),
            errors: self.errors,
            p50_us: self.calls.percentile_us(50),
            p99_us: self.calls.percentile_us(99),
            list_p50_us: self.lists.percentile_us(50),
            list_max_us: self.lists.percentile_us(100),
        }
    }
}

pub(crate) async fn run(options: &Options, cores: &Cores, bin: &Path) -> Result<Isolation, Error> {
    let mut alone = Arm::start(bin, cores, false).await?;
    let mut beside = Arm::start(bin, cores, true).await?;
    for round in 0..options.rounds {
        // The side that comes first changes, so that neither gains from it.
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                alone.measure(options, &format!("alone-{round}")).await?;
            } else {
                beside.measure(options, &format!("beside-{round}")).await?;
            }
        }
    }
    let servers = beside.up.servers().await?;
    let (alone, beside_broken) = (alone.side(), beside.side());
    cores.release()?;
    let p99_ratio = beside_broken.p99_us / alone.p99_us;
    let goals = vec![
        Goal::at_most("isolation: p99 beside broken ones to alone", p99_ratio, P99_RATIO),
        Goal::at_most("isolation: errors", (alone.errors + beside_broken.errors) as f64, 0.0),
    ];
    Ok(Isolation { alone, beside_broken, p99_ratio, servers, goals })
}

fn fixture(name: &str, arguments: &[&str]) -> Result<Value, Error> {
    let (command, args) = fixtures::Upstream::stdio(arguments)?;
    Ok(json!({ "name": name, "type": "stdio", "command": command, "args": args, "env": {} }))
}
