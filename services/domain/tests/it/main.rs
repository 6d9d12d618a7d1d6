//! The rules, as given–when–then, and what holds over any sequence of commands.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api_key;
mod organization;
mod project;
mod scenario;
mod server;
mod user;
mod vocabulary;
