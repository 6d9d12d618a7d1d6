//! Where `up` listens, and under which URL it is reached.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, bail};
use tokio::net::TcpListener;

use crate::cli::UpArgs;

/// The sockets and the URLs that lead to them.
pub(super) struct Listening {
    pub(super) main: TcpListener,
    pub(super) admin: TcpListener,
    pub(super) admin_url: String,
    /// Without a slash at the end.
    pub(super) public_url: String,
    pub(super) loopback: bool,
}

/// Opens both sockets, before anything slow or lasting happens.
pub(super) async fn open(args: &UpArgs) -> Result<Listening> {
    check_plaintext(args)?;
    let main = TcpListener::bind(args.listen).await.with_context(|| {
        format!("cannot listen on {}: is it in use? choose another with --listen", args.listen)
    })?;
    let address = main.local_addr()?;
    let admin = open_admin(args.admin_listen).await?;
    let admin_url = format!("http://{}", reachable(admin.local_addr()?));
    let public_url = match &args.public_url {
        Some(url) => checked(url)?,
        None => format!("http://{}", reachable(address)),
    };
    Ok(Listening { main, admin, admin_url, public_url, loopback: address.ip().is_loopback() })
}

fn check_plaintext(args: &UpArgs) -> Result<()> {
    let encrypted = args.public_url.as_ref().is_some_and(|url| url.starts_with("https://"));
    if args.listen.ip().is_loopback() || args.allow_plaintext || encrypted {
        return Ok(());
    }
    bail!(
        "{} can be reached from other machines, and this is plain HTTP: keys and passwords would \
         cross the network readable. Put TLS in front and give its URL with --public-url https://…, \
         or accept it with --allow-plaintext",
        args.listen
    )
}

/// The port that was asked for, or any when it is taken: metrics must not keep a second
/// installation from starting.
async fn open_admin(wanted: SocketAddr) -> Result<TcpListener> {
    match TcpListener::bind(wanted).await {
        Ok(listener) => Ok(listener),
        Err(error) => {
            tracing::warn!(%wanted, %error, "the admin address is taken, taking any free port");
            let any = SocketAddr::new(wanted.ip(), 0);
            TcpListener::bind(any).await.with_context(|| format!("cannot listen on {any}"))
        }
    }
}

fn checked(url: &str) -> Result<String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.contains(['?', '#', ' ']) => {
            Ok(url.trim_end_matches('/').to_owned())
        }
        _ => bail!("--public-url must be http://… or https://…, without query or fragment"),
    }
}

/// An address that a client on this machine can use.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port())
    } else {
        address
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn args(more: &[&str]) -> UpArgs {
        let all = ["mcp-orch", "up"].iter().chain(more);
        match Cli::parse_from(all).command {
            Command::Up(args) => args,
            _ => panic!("another command"),
        }
    }

    #[test]
    fn plain_http_for_others_must_be_asked_for() {
        assert!(check_plaintext(&args(&["--listen", "127.0.0.1:1"])).is_ok());
        assert!(check_plaintext(&args(&["--listen", "0.0.0.0:1"])).is_err());
        assert!(check_plaintext(&args(&["--listen", "0.0.0.0:1", "--allow-plaintext"])).is_ok());
        let behind_tls = ["--listen", "0.0.0.0:1", "--public-url", "https://mcp.example.com"];
        assert!(check_plaintext(&args(&behind_tls)).is_ok());
    }

    #[test]
    fn a_public_url_has_no_slash_at_its_end_and_no_query() {
        assert_eq!(checked("https://a.example/x/").unwrap(), "https://a.example/x");
        for bad in ["a.example", "ftp://a", "https://a?b", "http://"] {
            assert!(checked(bad).is_err(), "{bad}");
        }
    }
}
