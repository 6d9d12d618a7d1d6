//! A whole cluster on one machine, without an engine of containers: the processes that the
//! compose file describes, with its commands, environment, order and health checks, on free ports
//! and in a directory of their own.
//!
//! What always holds: nothing of a cluster outlives its handle, however the process that holds
//! it ends; two clusters share neither ports nor directories; what is said of a service here is
//! said in the compose file, and nowhere else.

pub mod balancer;
mod cluster;
mod compose;
mod health;
mod instance;
mod place;
mod postgres;
mod program;

pub use cluster::{Cluster, Options, Ready};
pub use compose::{Compose, Condition, Service};
pub use instance::Instance;
pub use program::Programs;
