//! What every service needs and no use case knows: typed configuration, telemetry, health,
//! shutdown, the clock, and the one map from error codes to gRPC and HTTP.

pub mod admin;
pub mod clock;
pub mod config;
pub mod error;
pub mod health;
pub mod shutdown;
pub mod telemetry;
