//! What a connection is to be, as far as the worker cares.

use std::time::Duration;

use domain::server::{ServerConfig, Transport};
use domain::{ProjectId, ServerId, TenantId};
use events::ServerEntry;

/// A process may have to be downloaded before it starts: it gets at least this long until it
/// answers `initialize`.
const MIN_STDIO_INITIALIZE: Duration = Duration::from_secs(60);

/// One version of a server, as configured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ConnectionSpec {
    /// Whose it is.
    pub(crate) tenant: TenantId,
    /// In which project.
    pub(crate) project: ProjectId,
    /// Which server.
    pub(crate) server: ServerId,
    /// For people: metrics and logs.
    pub(crate) name: String,
    /// How to reach it.
    pub(crate) config: ServerConfig,
}

impl ConnectionSpec {
    /// What the configuration says of a server.
    pub(crate) fn of(entry: &ServerEntry) -> Self {
        Self {
            tenant: entry.tenant,
            project: entry.server.project.clone(),
            server: entry.id,
            name: entry.server.name.to_string(),
            config: entry.server.config.clone(),
        }
    }

    /// Whether a connection of `self` cannot serve as one of `next`.
    pub(crate) fn needs_restart(&self, next: &Self) -> bool {
        let relevant = |spec: &Self| {
            let ServerConfig {
                transport,
                launch,
                timeout_s,
                read_timeout_s,
                auto_approve: _,
                isolation,
                placement_labels: _,
            } = spec.config.clone();
            let timeouts = (timeout_s, read_timeout_s);
            (spec.tenant, spec.project.clone(), transport, launch, timeouts, isolation)
        };
        relevant(self) != relevant(next)
    }

    /// How long the transport may take to stand.
    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_secs(self.config.timeout_s.into())
    }

    /// How long `initialize` may take.
    pub(crate) fn initialize_timeout(&self) -> Duration {
        match self.config.transport {
            Transport::Stdio { .. } => self.connect_timeout().max(MIN_STDIO_INITIALIZE),
            _ => self.connect_timeout(),
        }
    }

    /// How long an answer may take.
    pub(crate) fn read_timeout(&self) -> Option<Duration> {
        self.config.read_timeout_s.map(|seconds| Duration::from_secs(seconds.into()))
    }
}
