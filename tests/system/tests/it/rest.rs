//! The REST API by the bodies of the guide that asked for it, row by row, over the running binary.

mod client_config;
mod failures;
mod import;
mod server;
