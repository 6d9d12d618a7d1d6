//! `mcp-orch control-plane bootstrap`: the first owner, organization, project and key.
//!
//! A control-plane of its own that serves nobody and ends when it is done: it needs what every
//! control-plane needs, and no other one has to run.

use anyhow::{Context, Result};
use control_plane::use_case::{Bootstrap, bootstrap};
use runtime::health::HealthRegistry;
use runtime::shutdown;
use runtime::telemetry::{self, TelemetryConfig};
use secrecy::SecretString;

use super::announce::{Ready, first};
use super::up::demo;
use crate::cli::cluster::BootstrapArgs;
use crate::config::ControlPlaneConfig;
use crate::wiring::ClusterControlPlane;

/// Makes what is missing, and shows key and password where they were made now.
pub(crate) async fn run(config: ControlPlaneConfig, args: BootstrapArgs) -> Result<()> {
    let filter = std::env::var("MCP_LOG_LEVEL").unwrap_or_else(|_| "INFO".to_owned());
    let _telemetry = telemetry::init(&TelemetryConfig { filter, directory: None, console: true })?;
    let stop = shutdown::on_signal()?;
    let url = config.public_url.clone().context("public_url is missing")?;
    let url = url.trim_end_matches('/').to_owned();
    let control =
        ClusterControlPlane::start(&config, &url, &HealthRegistry::default(), &stop).await?;
    let made = make(&control, &url, &args).await;
    control.stop().await;
    made?.announce(args.json);
    Ok(())
}

async fn make(control: &ClusterControlPlane, url: &str, args: &BootstrapArgs) -> Result<Ready> {
    let app = control.app();
    let key = std::env::var("MCP_ORCH_BOOTSTRAP_API_KEY").ok().map(SecretString::from);
    let project_id = args.project_id.as_deref().map(str::parse).transpose()?;
    let wanted = Bootstrap { project_id, api_key: key, ..Bootstrap::default() };
    let bootstrapped = bootstrap(&app, wanted).await?;
    let mut notes = Vec::new();
    if args.demo {
        let ctx = app.system(bootstrapped.tenant);
        notes.extend(demo(&app, &ctx, &bootstrapped.project).await?);
    }
    Ok(Ready {
        url: url.to_owned(),
        admin_url: None,
        project_id: bootstrapped.project.to_string(),
        first: first(bootstrapped),
        notes,
    })
}
