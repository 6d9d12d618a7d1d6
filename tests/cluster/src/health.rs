//! The health checks of a compose file, run as they stand there.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::instance::Launch;

/// How long one look may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Runs the check of a service once, in its environment. `wget`, which some images have and some
/// machines have not, is done without it.
///
/// # Errors
/// Why it does not pass.
pub(crate) async fn check(launch: &Launch) -> Result<()> {
    let looked = async {
        if launch.program.ends_with("wget") {
            let url = launch.arguments.last().and_then(|url| url.to_str());
            return get(url.context("wget without a URL")?).await;
        }
        let output = launch.command().output().await?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            bail!("{}: {}", output.status, String::from_utf8_lossy(&said).trim_end());
        }
        Ok(())
    };
    tokio::time::timeout(LIMIT, looked).await.context("no answer")?
}

async fn get(url: &str) -> Result<()> {
    let rest = url.strip_prefix("http://").with_context(|| format!("{url} is not http"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(authority).await?;
    let request = format!("GET /{path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    if &start[9..] != b"200" {
        bail!("{url} answers {}", String::from_utf8_lossy(&start));
    }
    Ok(())
}
