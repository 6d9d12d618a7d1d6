//! The control plane as its callers see it: gRPC over a real socket, a real log and real views
//! in files, sealed secrets, and the real bus with the parts that edges and workers use.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod api_keys;
mod audit;
mod bootstrap;
mod cluster;
mod fold;
mod idempotency;
mod identity;
mod journal;
mod pinning;
mod projects;
mod replica;
mod rest;
mod roles;
mod servers;
mod support;
mod views;
mod wire;
