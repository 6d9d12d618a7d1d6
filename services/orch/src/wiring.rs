//! How services are put together from their ports: once for all in one process (`up`), and for
//! each as a process of its own. Only the adapters differ.

mod bus;
mod control_plane;
mod data;
mod edge;
mod health;
mod listen;
mod process;
mod secrets;
mod serve;
mod state_key;
mod wait;
mod worker;

pub(crate) use self::bus::open_bus;
pub(crate) use self::control_plane::ClusterControlPlane;
pub(crate) use self::data::{LOG_FILE, VIEWS_FILE, make_private};
pub(crate) use self::edge::{RunningEdge, start_edge};
pub(crate) use self::health::{follow_bus, follow_configuration, follow_store};
pub(crate) use self::listen::{AdminPort, Endpoint, Listening, open, open_admin};
pub(crate) use self::process::Process;
pub(crate) use self::secrets::{open_local, open_secrets};
pub(crate) use self::serve::serve;
pub(crate) use self::state_key::{make_state_key, state_key};
pub(crate) use self::wait::until_there;
pub(crate) use self::worker::{jitter, worker_config};

use std::time::Duration;

/// How long calls that are under way may take to finish when a process is asked to stop.
pub(crate) const GRACE: Duration = Duration::from_secs(10);
/// How long connections may take to close after that.
pub(crate) const CLOSING: Duration = Duration::from_secs(5);
