//! Where a service listens, and under which URL it is reached.
//!
//! What always holds: keys and passwords do not cross a network in plain HTTP unless somebody
//! said so.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, bail};
use tokio::net::TcpListener;

/// What an operator says of it.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// Where requests come.
    pub(crate) listen: SocketAddr,
    /// Where metrics and health are.
    pub(crate) admin_listen: SocketAddr,
    /// The URL under which clients reach it.
    pub(crate) public_url: Option<String>,
    /// Plain HTTP on an address that others can reach.
    pub(crate) allow_plaintext: bool,
}

/// The sockets and the URLs that lead to them.
pub(crate) struct Listening {
    /// For requests.
    pub(crate) main: TcpListener,
    /// For metrics and health.
    pub(crate) admin: TcpListener,
    /// Where those are.
    pub(crate) admin_url: String,
    /// Without a slash at the end.
    pub(crate) public_url: String,
    /// Whether nobody else can reach it.
    pub(crate) loopback: bool,
}

/// What happens when the address for metrics and health is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AdminPort {
    /// It does not start: something looks there.
    AsGiven,
    /// Any other port will do: metrics must not keep a second installation from starting.
    OrAny,
}

/// Opens both sockets, before anything slow or lasting happens.
///
/// # Errors
/// When an address is taken, the URL is none, or plain HTTP would leave the machine unasked.
pub(crate) async fn open(endpoint: &Endpoint, admin: AdminPort) -> Result<Listening> {
    check_plaintext(endpoint)?;
    let main = TcpListener::bind(endpoint.listen).await.with_context(|| {
        format!("cannot listen on {}: is it in use? choose another with --listen", endpoint.listen)
    })?;
    let address = main.local_addr()?;
    let admin = open_admin(endpoint.admin_listen, admin).await?;
    let admin_url = format!("http://{}", reachable(admin.local_addr()?));
    let public_url = match &endpoint.public_url {
        Some(url) => checked(url)?,
        None => format!("http://{}", reachable(address)),
    };
    Ok(Listening { main, admin, admin_url, public_url, loopback: address.ip().is_loopback() })
}

fn check_plaintext(endpoint: &Endpoint) -> Result<()> {
    let encrypted = endpoint.public_url.as_ref().is_some_and(|url| url.starts_with("https://"));
    if endpoint.listen.ip().is_loopback() || endpoint.allow_plaintext || encrypted {
        return Ok(());
    }
    bail!(
        "{} can be reached from other machines, and this is plain HTTP: keys and passwords would \
         cross the network readable. Put TLS in front and give its URL with --public-url https://…, \
         or accept it with --allow-plaintext",
        endpoint.listen
    )
}

/// Opens the listener for metrics and health.
///
/// # Errors
/// When the address is taken and no other one will do.
pub(crate) async fn open_admin(wanted: SocketAddr, admin: AdminPort) -> Result<TcpListener> {
    match TcpListener::bind(wanted).await {
        Ok(listener) => Ok(listener),
        Err(error) if admin == AdminPort::AsGiven => {
            Err(error).with_context(|| format!("cannot listen on {wanted}"))
        }
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
    use super::*;

    fn endpoint(listen: &str) -> Endpoint {
        Endpoint {
            listen: listen.parse().unwrap(),
            admin_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            public_url: None,
            allow_plaintext: false,
        }
    }

    #[test]
    fn plain_http_for_others_must_be_asked_for() {
        assert!(check_plaintext(&endpoint("127.0.0.1:1")).is_ok());
        let open = endpoint("0.0.0.0:1");
        assert!(check_plaintext(&open).is_err());
        assert!(check_plaintext(&Endpoint { allow_plaintext: true, ..open.clone() }).is_ok());
        let public_url = Some("https://mcp.example.com".to_owned());
        assert!(check_plaintext(&Endpoint { public_url, ..open }).is_ok());
    }

    #[tokio::test]
    async fn a_taken_address_of_metrics_matters_only_where_something_looks_there() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = taken.local_addr().unwrap();
        assert!(open_admin(address, AdminPort::AsGiven).await.is_err());
        let other = open_admin(address, AdminPort::OrAny).await.unwrap();
        assert_ne!(other.local_addr().unwrap(), address);
    }

    #[test]
    fn a_public_url_has_no_slash_at_its_end_and_no_query() {
        assert_eq!(checked("https://a.example/x/").unwrap(), "https://a.example/x");
        for bad in ["a.example", "ftp://a", "https://a?b", "http://"] {
            assert!(checked(bad).is_err(), "{bad}");
        }
    }
}
