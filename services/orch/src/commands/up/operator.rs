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

/// Writes the file at once and renews it until `stop`; then removes it.
pub(super) fn keep<'a>(
    system: &'a System,
    data: &Path,
    url: String,
    stop: CancellationToken,
) -> impl Future<Output = Result<()>> + 'a {
    let path = data.join(RUN_FILE);
    async move {
        loop {
            write(system, &path, &url).await?;
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(RENEW) => {}
            }
        }
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(%error, "the operator's token is left behind; it ends by itself");
        }
        Ok(())
    }
}

async fn write(system: &System, path: &Path, url: &str) -> Result<()> {
    let token = operator_token(&system.app(), &system.ctx(), system.project()).await?;
    let saved = Saved { url: url.to_owned(), token: token.expose_secret().to_owned() };
    saved.write(path)
}
