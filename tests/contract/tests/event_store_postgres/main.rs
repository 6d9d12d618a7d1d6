//! What only the event store in PostgreSQL can do wrong: many processes, a server that dies,
//! roles and rows, migrations.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod appending;
mod copying;
#[path = "../event_store/postgres.rs"]
mod harness;
mod migrations;
mod outage;
mod rows;
mod sequencing;
