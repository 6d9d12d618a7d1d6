//! What the scenarios share: the system under test, its peers, and ways to speak to it.

mod canned;
mod cli;
mod client;
mod database;
mod grpc;
mod leftovers;
mod orch;
mod peers;
mod program;
mod rest;
mod sse;
mod streamable;
mod wait;

pub(crate) use canned::Canned;
pub(crate) use client::{Client, Mode, Sdk};
pub(crate) use database::sql;
pub(crate) use grpc::Grpc;
pub(crate) use orch::{Options, Orch};
pub(crate) use peers::{
    Everything, conformance_stdio, everything_http, everything_stdio, python_server, stdio_fixture,
};
pub(crate) use program::{Program, inspect};
pub(crate) use rest::Rest;
pub(crate) use sse::{SseClient, read_event};
pub(crate) use streamable::Streamable;
pub(crate) use wait::eventually;
