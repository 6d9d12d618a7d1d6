//! `mcp-orch migrate`: brings the tables of PostgreSQL to this version.

use std::path::Path;

use anyhow::{Context, Result};
use event_store::postgres;
use secrecy::SecretString;

use super::table::say;
use crate::cli::cluster::MigrateArgs;
use crate::config::read_secret;

/// Runs the migrations, and gives the roles their passwords where it was told these.
pub(crate) async fn run(args: &MigrateArgs) -> Result<()> {
    let admin = admin_url(args)?;
    postgres::migrate(&admin).await?;
    say("the tables are of this version");
    if let (Some(app), Some(log)) = (&args.app_password_file, &args.log_password_file) {
        let read = |path: &Path| read_secret(path).context("the password of a role");
        postgres::set_passwords(&admin, &read(app)?, &read(log)?).await?;
        say("the roles have their passwords");
    }
    Ok(())
}

/// The URL of a role that may make tables and roles.
///
/// # Errors
/// When it is not given, or its file cannot be read.
pub(crate) fn admin_url(args: &MigrateArgs) -> Result<SecretString> {
    match (&args.admin_url, &args.admin_url_file) {
        (Some(url), _) => Ok(url.clone().into()),
        (None, Some(file)) => read_secret(file),
        (None, None) => anyhow::bail!("--admin-url-file or --admin-url is missing"),
    }
}
