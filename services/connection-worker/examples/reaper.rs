//! A reaper alone, as the tests of this crate start it: what `mcp-orch reaper` is in the product.

use std::process::ExitCode;

fn main() -> ExitCode {
    connection_worker::reaper::main(std::env::args_os().skip(1))
}
