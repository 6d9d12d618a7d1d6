//! The operator's token in the data directory, renewed while `up` runs.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use control_plane::use_case::operator_token;
use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;

use super::system::System;
use crate::remote::{RUN_FILE, Saved};

/// Less than the hour that a token is good for.
const RENEW: Duration = Duration::from_secs(30 * 60);

/// Writes the file; the future that it gives renews it until `stop`, and then removes it.
///
/// Whoever was told that the system is ready finds the file there.
pub(super) async fn keep<'a>(
    system: &'a System,
    data: &Path,
    url: String,
    stop: CancellationToken,
) -> Result<impl Future<Output = Result<()>> + use<'a>> {
    let path = data.join(RUN_FILE);
    write(system, &path, &url).await?;
    Ok(async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(RENEW) => write(system, &path, &url).await?,
            }
        }
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(%error, "the operator's token is left behind; it ends by itself");
        }
        Ok(())
    })
}

async fn write(system: &System, path: &Path, url: &str) -> Result<()> {
    let token = operator_token(&system.app(), &system.ctx(), system.project()).await?;
    let saved = Saved { url: url.to_owned(), token: token.expose_secret().to_owned() };
    saved.write(path)
}
