//! `cluster up`: a whole cluster, from the compose file, until Ctrl-C or the end of stdin.
//! `cluster servers`: what tests share.
#![expect(clippy::print_stdout, reason = "a command-line tool speaks on its terminal")]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use cluster::{Cluster, Options, Programs};
use fixtures::nats::Nats;
use fixtures::postgres::Postgres;
use fixtures::vault::Vault;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start everything that a compose file describes, as processes
    Up(Up),
    /// Start a database, a bus and a store of secrets for tests, until stdin ends, and print what
    /// tests find them by
    Servers,
}

#[derive(clap::Args)]
struct Up {
    /// The compose file
    #[arg(long, default_value = "deploy/compose/compose.yaml")]
    compose: PathBuf,
    /// Where everything is kept; without it in a directory that goes at the end
    #[arg(long)]
    data: Option<PathBuf>,
    /// The balancer's port; any free one without it
    #[arg(long)]
    port: Option<u16>,
    /// Register the built-in demo server
    #[arg(long)]
    demo: bool,
    /// One line of JSON when ready, for scripts
    #[arg(long)]
    json: bool,
    /// End when stdin ends, as it does when the process that started this one dies
    #[arg(long)]
    end_with_stdin: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the answer to whoever typed the command")]
fn complain(message: &str) {
    eprintln!("cluster: {message}");
}

async fn run(arguments: Arguments) -> Result<()> {
    match arguments.command {
        Command::Up(up) => run_cluster(up).await,
        Command::Servers => servers().await,
    }
}

/// One of each, for all tests of a run.
async fn servers() -> Result<()> {
    let started = tokio::task::spawn_blocking(|| -> std::io::Result<_> {
        Ok((Postgres::start()?, Nats::start()?, Vault::own()?))
    });
    let (postgres, nats, vault) = started.await??;
    let environment = serde_json::json!({
        "MCP_ORCH_TEST_POSTGRES_URL": postgres.admin_url("postgres"),
        "MCP_ORCH_TEST_NATS_URL": nats.url(),
        "MCP_ORCH_TEST_VAULT_ADDR": vault.address(),
        "MCP_ORCH_TEST_VAULT_TOKEN": vault.token(),
    });
    println!("{environment}");
    stdin_ends().await;
    tokio::task::spawn_blocking(|| drop((postgres, nats, vault))).await?;
    Ok(())
}

async fn run_cluster(up: Up) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stopped = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = stdin_ends(), if up.end_with_stdin => {}
        }
    };
    tokio::pin!(stopped);
    let options = Options {
        port: up.port,
        directory: up.data.clone(),
        bootstrap: if up.demo { vec!["--demo".to_owned()] } else { Vec::new() },
        environment: Vec::new(),
    };
    let programs = Programs::find()?;
    let mut cluster = tokio::select! {
        () = &mut stopped => return Ok(()),
        started = Cluster::start(&up.compose, programs, options) => started?,
    };
    if up.json {
        println!("{}", cluster.ready_line());
    } else {
        println!("{}", shown(&mut cluster)?);
    }
    stopped.await;
    cluster.stop().await.context("not everything ended as it should")
}

/// What a person needs next.
fn shown(cluster: &mut Cluster) -> Result<String> {
    let ready = cluster.ready().clone();
    let key = ready.api_key.as_deref().unwrap_or("api_key_…");
    let mut text = format!("\nthe cluster is ready at {}\n\n  API key   {key}\n", ready.url);
    if let Some(admin) = &ready.admin {
        let password = admin.password.as_deref().unwrap_or("…");
        text.push_str(&format!("  Owner     {}\n  Password  {password}\n", admin.email));
    }
    text.push_str(&format!(
        "\nOne URL for all servers of the project:\n\n  Streamable HTTP  {}\n  SSE              {}\n",
        ready.mcp_url, ready.sse_url
    ));
    let snippet = serde_json::json!({ "mcpServers": { "mcp-orch": {
        "url": ready.mcp_url, "headers": { "Authorization": format!("Bearer {key}") } } } });
    let snippet = serde_json::to_string_pretty(&snippet)?;
    text.push_str("\nFor Cursor (~/.cursor/mcp.json):\n\n");
    for line in snippet.lines() {
        text.push_str(&format!("    {line}\n"));
    }
    text.push_str("\nIts processes, each with a log in its directory:\n\n");
    for instance in cluster.instances() {
        let (name, pid) = (instance.name().to_owned(), instance.pid()?);
        text.push_str(&format!("  {name:<18}{pid:>8}  {}\n", instance.directory().display()));
    }
    Ok(text)
}

async fn stdin_ends() {
    let mut stdin = tokio::io::stdin();
    let mut bytes = [0; 256];
    while stdin.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
}
