//! The recorder as a process: `crash-recorder SOCKET FILE`.

use std::path::PathBuf;

use anyhow::{Context, Result};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let socket = arguments.next().context("which socket?")?;
    let file = arguments.next().context("which file?")?;
    crash::recorder::serve(&socket, &file).await
}
