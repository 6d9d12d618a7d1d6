//! What a worker is given: limits and the ways out of the process.

use std::time::Duration;

use backplane::WorkerIdentity;

use crate::ReaperCommand;

/// The configuration of a worker; every limit has a default.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// How the supervisors of child processes are started.
    pub reaper: ReaperCommand,
    /// What of the worker's own environment every child gets: `PATH`, `HOME` and `LANG`.
    pub base_env: Vec<(String, String)>,
    /// Most exchanges under way with one server; more are refused.
    pub max_in_flight: usize,
    /// Most attachments of edges and sessions to one server; more are refused.
    pub max_attachments: usize,
    /// Most connections of single clients to one server with isolation `session`.
    pub max_sessions_per_server: usize,
    /// Most connections of single clients to all servers of a project.
    pub max_sessions_per_project: usize,
    /// How long a client's connection that nobody uses is kept.
    pub session_idle: Duration,
    /// The same, once the client's session ended.
    pub session_left_idle: Duration,
    /// How long a client's connection is kept at the most, used or not.
    pub session_max_age: Duration,
    /// Most connections that are set up at a time without anybody waiting for them.
    pub max_starts: usize,
    /// How long a list of an upstream may take.
    pub list_timeout: Duration,
    /// Between two looks at whether a connection still answers.
    pub ping_interval: Duration,
    /// How long the answer to that may take.
    pub ping_timeout: Duration,
    /// How long exchanges under way may take to end when a connection is to end.
    pub grace: Duration,
    /// How long a server that flooded its stderr must be quiet until nothing is wrong with it;
    /// looked at with each ping.
    pub flood_quiet: Duration,
    /// The largest message of an upstream, in bytes.
    pub max_message_bytes: usize,
    /// What is special about this worker, e.g. `docker`: servers that ask for a label go only to
    /// workers that have it. See [`detect_labels`](crate::detect_labels).
    pub labels: Vec<String>,
    /// Its share of the servers, relative to the other workers.
    pub weight: u32,
    /// Most servers that it takes; 0 for no limit of its own.
    pub capacity: u32,
    /// At a shutdown: how long others may take to be ready for the servers of this worker.
    pub hand_over: Duration,
    /// Most calls whose edge may be replaced by another one; further ones end with their edge.
    pub max_adoptable_calls: usize,
    /// Most bytes of the frames that are kept for that, over all calls.
    pub max_adoptable_bytes: usize,
    /// How long an edge that wants to adopt a call waits for the one before it to be gone.
    pub adoption_patience: Duration,
}

impl WorkerConfig {
    /// The defaults around a reaper and the environment of this process.
    pub fn new(reaper: ReaperCommand) -> Self {
        let base_env = ["PATH", "HOME", "LANG"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
            .collect();
        Self {
            reaper,
            base_env,
            max_in_flight: 1_024,
            max_attachments: 4_096,
            max_sessions_per_server: 64,
            max_sessions_per_project: 256,
            session_idle: Duration::from_secs(600),
            session_left_idle: Duration::from_secs(60),
            session_max_age: Duration::from_secs(24 * 3_600),
            max_starts: 32,
            list_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(10),
            grace: Duration::from_secs(10),
            flood_quiet: Duration::from_secs(60),
            max_message_bytes: 16 * 1024 * 1024,
            labels: Vec::new(),
            weight: 1,
            capacity: 0,
            // Longer than the control-plane waits for others to be ready.
            hand_over: Duration::from_secs(12),
            max_adoptable_calls: 16_384,
            max_adoptable_bytes: 256 * 1024 * 1024,
            // That a process is dead is seen on the bus within four seconds.
            adoption_patience: Duration::from_secs(6),
        }
    }

    /// What the worker says of itself when it asks for servers; `instance` is its name on the bus.
    pub fn identity(&self, instance: &str) -> WorkerIdentity {
        WorkerIdentity {
            instance: instance.to_owned(),
            labels: self.labels.clone(),
            weight: self.weight,
            capacity: self.capacity,
        }
    }
}
