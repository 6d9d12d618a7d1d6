//! Echo at several numbers of sessions: direct, through the floor, and through the unified
//! endpoint over Streamable HTTP and SSE, in both audit modes.

mod cell;
mod figures;
mod goals;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use comfy_table::Table;
use serde::Serialize;
use serde_json::json;

use self::cell::{Cell, Total};
use self::figures::Row;
use crate::affinity::Cores;
use crate::error::Error;
use crate::goal::Goal;
use crate::orchestrator::Orchestrator;
use crate::session::{Endpoint, Wire};

/// A way from the load to the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// No hop.
    Direct,
    /// The bare proxy.
    Floor,
    /// The unified endpoint over Streamable HTTP.
    HttpBuffered,
    /// The same; no answer before its record is durable.
    HttpAcknowledged,
    /// The unified endpoint over legacy SSE.
    SseBuffered,
    /// The same; no answer before its record is durable.
    SseAcknowledged,
    /// The unified endpoint over Streamable HTTP, with the upstream over stdio.
    HttpBufferedStdio,
}

impl Mode {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Direct, "direct"),
        (Self::Floor, "floor"),
        (Self::HttpBuffered, "http-buffered"),
        (Self::HttpAcknowledged, "http-acknowledged"),
        (Self::SseBuffered, "sse-buffered"),
        (Self::SseAcknowledged, "sse-acknowledged"),
        (Self::HttpBufferedStdio, "http-buffered-stdio"),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(mode, _)| *mode == self).map_or("", |(_, name)| name)
    }

    /// The project's audit mode; `None` where the product is not on the way.
    fn audit(self) -> Option<&'static str> {
        match self {
            Self::Direct | Self::Floor => None,
            Self::HttpBuffered | Self::SseBuffered | Self::HttpBufferedStdio => Some("buffered"),
            Self::HttpAcknowledged | Self::SseAcknowledged => Some("acknowledged"),
        }
    }

    fn wire(self) -> Wire {
        match self {
            Self::SseBuffered | Self::SseAcknowledged => Wire::Sse,
            _ => Wire::Streamable,
        }
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text);
        found.map(|(mode, _)| *mode).ok_or_else(|| {
            let names = Self::ALL.map(|(_, name)| name).join(", ");
            format!("unknown mode {text}; there are {names}")
        })
    }
}

/// How much of it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Calls of each cell (a mode at a number of sessions), all rounds together.
    #[arg(long, default_value_t = 20_000)]
    calls: usize,
    /// Rounds; each runs every cell once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Calls of each session before a cell is timed.
    #[arg(long, default_value_t = 100)]
    warm_up: usize,
    /// Numbers of sessions.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 32])]
    sessions: Vec<usize>,
    /// Modes to run; all by default.
    #[arg(long, value_delimiter = ',')]
    modes: Vec<Mode>,
    /// Worker threads of the floor; 0 serves on one thread, the cheapest on one core.
    #[arg(long, default_value_t = 0)]
    floor_workers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            calls: 20_000,
            rounds: 5,
            warm_up: 100,
            sessions: vec![1, 8, 32],
            modes: Vec::new(),
            floor_workers: 0,
        }
    }
}

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Transport {
    rows: Vec<Row>,
    /// The first error of each cell that had one.
    pub(crate) errors: Vec<String>,
    pub(crate) goals: Vec<Goal>,
}

impl Transport {
    pub(crate) fn table(&self) -> Table {
        figures::table(&self.rows)
    }
}

/// The processes of a run.
struct Stage {
    upstream: fixtures::Upstream,
    floor: fixtures::Floor,
    up: Option<Orchestrator>,
    journal: PathBuf,
    _directory: tempfile::TempDir,
}

impl Stage {
    async fn set(
        options: &Options,
        cores: &Cores,
        modes: &[Mode],
        bin: impl FnOnce() -> std::io::Result<PathBuf>,
    ) -> Result<Self, Error> {
        let none: [&str; 0] = [];
        let upstream = cores.with_servers(|| Ok(fixtures::Upstream::start(none)?))?;
        let floor = cores.with_servers(|| {
            Ok(fixtures::Floor::start(upstream.address(), options.floor_workers)?)
        })?;
        let directory = tempfile::tempdir()?;
        let journal = directory.path().join("journal");
        let mut up = None;
        if modes.iter().any(|mode| mode.audit().is_some()) {
            let bin = bin()?;
            let up = up.insert(cores.with_servers(|| Orchestrator::start(&bin))?);
            let server = json!({
                "name": "bench", "type": "streamable_http", "url": upstream.mcp_url(),
            });
            up.register(&server).await?;
            let path = journal.to_string_lossy();
            let (command, args) = fixtures::Upstream::stdio(&["--journal", &path])?;
            let server = json!({
                "name": "local", "type": "stdio", "command": command, "args": args, "env": {},
            });
            up.register(&server).await?;
            up.wait_active(&["bench", "local"]).await?;
        }
        Ok(Self { upstream, floor, up, journal, _directory: directory })
    }

    fn endpoint(&self, mode: Mode) -> Result<Endpoint, Error> {
        let plain = |address| Endpoint::new(mode.wire(), &format!("http://{address}/mcp"), "echo");
        match (mode, &self.up) {
            (Mode::Direct, _) => plain(self.upstream.address()),
            (Mode::Floor, _) => plain(self.floor.address()),
            (Mode::HttpBufferedStdio, Some(up)) => up.endpoint(mode.wire(), "local__echo"),
            (_, Some(up)) => up.endpoint(mode.wire(), "bench__echo"),
            (_, None) => Err(Error::unexpected("up was not started")),
        }
    }

    /// The process between the load and the upstream.
    fn hop(&self, mode: Mode) -> Option<u32> {
        match mode {
            Mode::Direct => None,
            Mode::Floor => Some(self.floor.id()),
            _ => self.up.as_ref().map(Orchestrator::id),
        }
    }

    /// Executions so far, as the upstream itself counts them.
    fn executions(&self, mode: Mode) -> Result<u64, Error> {
        if mode == Mode::HttpBufferedStdio {
            return Ok(fixtures::process::journal(&self.journal)?.len() as u64);
        }
        Ok(self.upstream.stats()?.executions)
    }
}

pub(crate) async fn run(
    options: &Options,
    cores: &Cores,
    bin: impl FnOnce() -> std::io::Result<PathBuf>,
) -> Result<Transport, Error> {
    let modes = match options.modes.as_slice() {
        [] => Mode::ALL.map(|(mode, _)| mode).to_vec(),
        chosen => chosen.to_vec(),
    };
    let mut stage = Stage::set(options, cores, &modes, bin).await?;
    let mut totals: BTreeMap<(usize, Mode), Total> = BTreeMap::new();
    for round in 0..options.rounds {
        for turn in 0..modes.len() {
            let mode = modes[(turn + round) % modes.len()];
            if let (Some(audit), Some(up)) = (mode.audit(), &mut stage.up) {
                up.set_audit_mode(audit).await?;
            }
            for &sessions in &options.sessions {
                let calls = options.calls / options.rounds.max(1);
                let name = format!("{}-{sessions}-{round}", mode.name());
                let cell = Cell { mode, sessions, calls, warm_up: options.warm_up, name };
                totals.entry((sessions, mode)).or_default().add(cell.run(&stage).await?);
            }
        }
    }
    cores.release()?;
    let errors = totals
        .iter()
        .filter_map(|((sessions, mode), total)| {
            let error = total.first_error.as_ref()?;
            Some(format!("{} at {sessions} sessions: {error}", mode.name()))
        })
        .collect();
    let rows = figures::rows(totals);
    let goals = goals::goals(&rows);
    Ok(Transport { rows, errors, goals })
}
