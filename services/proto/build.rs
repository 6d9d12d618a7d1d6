//! Compiles the contracts without protoc and keeps their descriptors for reflection.

use std::error::Error;
use std::path::PathBuf;

const FILES: [&str; 13] = [
    "mcp_orch/control/v1/api_key.proto",
    "mcp_orch/control/v1/audit.proto",
    "mcp_orch/control/v1/call.proto",
    "mcp_orch/control/v1/common.proto",
    "mcp_orch/control/v1/project.proto",
    "mcp_orch/control/v1/server.proto",
    "mcp_orch/events/v1/configuration.proto",
    "mcp_orch/events/v1/observation.proto",
    "mcp_orch/internal/v1/exchange.proto",
    "mcp_orch/internal/v1/forward.proto",
    "mcp_orch/internal/v1/journal.proto",
    "mcp_orch/internal/v1/lease.proto",
    "mcp_orch/internal/v1/session.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = "../../proto";
    println!("cargo:rerun-if-changed={root}");
    let descriptors = protox::compile(FILES, [root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let encoded = prost::Message::encode_to_vec(&descriptors);
    std::fs::write(out.join("descriptors.bin"), &encoded)?;
    tonic_prost_build::configure()
        .bytes(".mcp_orch.internal.v1")
        .compile_well_known_types(false)
        .compile_fds(descriptors)?;
    pbjson_build::Builder::new()
        .register_descriptors(&encoded)?
        .ignore_unknown_fields()
        .build(&[".mcp_orch.events.v1"])?;
    Ok(())
}
