//! `mcp-orch login`: a short-lived token for a password.

use std::io::Read;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::table::say;
use crate::cli::LoginArgs;
use crate::remote::{Saved, login_file, url_of};

/// Logs in, and keeps or prints the token.
pub(crate) async fn run(args: LoginArgs) -> Result<()> {
    let url = url_of(&args.remote);
    let password = match args.password {
        Some(password) => password,
        None => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("standard input")?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
    };
    let response = reqwest::Client::new()
        .post(format!("{}/api/auth/login", url.trim_end_matches('/')))
        .json(&json!({ "email": args.email, "password": password }))
        .send()
        .await
        .with_context(|| format!("cannot reach {url}"))?;
    let status = response.status();
    let body: Value = response.json().await.unwrap_or_default();
    let Some(token) = body["access_token"].as_str() else {
        let why = body["error"]["message"].as_str().unwrap_or("no token in the answer");
        bail!("login refused: {why} (HTTP {status})");
    };
    if args.print {
        say(token);
        return Ok(());
    }
    let path = login_file()?;
    Saved { url, token: token.to_owned() }.write(&path)?;
    say(&format!("logged in; the token is kept in {}", path.display()));
    Ok(())
}
