//! How the worker introduces itself to an upstream, and what it says of the client that asks.

use bytes::Bytes;
use domain::server::Isolation;
use mcp::client::{EraChoice, RequestMeta, Transport};
use proto::internal::v1::Peer;

/// What is declared where what the upstream asks finds its client: over the stream of the call
/// that it belongs to, or over a connection of the client's own. Clients that cannot answer refuse
/// on their own.
const ALL_CAPABILITIES: &[u8] =
    br#"{"roots":{},"sampling":{"tools":{}},"elicitation":{"form":{},"url":{}}}"#;
/// What is declared where nothing tells to whom a question belongs.
const NO_CAPABILITIES: &[u8] = b"{}";
/// The most bytes of what a client says of itself.
const MAX_BYTES: usize = 64 * 1024;

/// How to open a connection.
#[derive(Clone, Debug)]
pub(crate) struct Introduction {
    /// The era to speak.
    pub(crate) era: EraChoice,
    /// The client that the connection is for; `None` for all of them.
    pub(crate) client: Option<Client>,
    /// Whether each client has a connection of its own, and this one is there to learn what the
    /// server offers.
    isolation: Isolation,
}

/// What a client says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// The raw JSON object of its capabilities.
    pub(crate) capabilities: Bytes,
    /// The raw JSON object of its name and version, if it said them.
    pub(crate) info: Option<Bytes>,
}

impl Introduction {
    /// Of the connection that is a server's own. Where clients have theirs, it declares all that
    /// a client can: the catalogue is then whole, also for those who have no session to ask in.
    pub(crate) const fn of_server(era: EraChoice, isolation: Isolation) -> Self {
        Self { era, client: None, isolation }
    }

    /// Of a connection of one client.
    pub(crate) const fn of_client(era: EraChoice, client: Client) -> Self {
        Self { era, client: Some(client), isolation: Isolation::Session }
    }

    /// The same in another era.
    pub(crate) fn in_era(&self, era: EraChoice) -> Self {
        Self { era, ..self.clone() }
    }

    /// The capabilities that are declared over a transport.
    pub(super) fn capabilities(&self, transport: Transport) -> Bytes {
        match &self.client {
            Some(client) => client.capabilities.clone(),
            None if transport == Transport::StreamableHttp
                || self.isolation == Isolation::Session =>
            {
                Bytes::from_static(ALL_CAPABILITIES)
            }
            None => Bytes::from_static(NO_CAPABILITIES),
        }
    }

    /// Who is said to be asking; `None` for the worker itself.
    pub(super) fn client_info(&self) -> Option<Bytes> {
        self.client.as_ref().and_then(|client| client.info.clone())
    }
}

impl Client {
    /// What an edge says of the client; what is no object, or too large, counts as not said.
    pub(crate) fn of(peer: Option<&Peer>) -> Self {
        let object = |raw: &Bytes| {
            let is_object = raw.first() == Some(&b'{') && raw.len() <= MAX_BYTES;
            (is_object && serde_json::from_slice::<serde::de::IgnoredAny>(raw).is_ok())
                .then(|| raw.clone())
        };
        let capabilities = peer.and_then(|peer| object(&peer.capabilities));
        Self {
            capabilities: capabilities.unwrap_or(Bytes::from_static(NO_CAPABILITIES)),
            info: peer.and_then(|peer| object(&peer.client_info)),
        }
    }

    /// What a stateless upstream is told with a request.
    pub(crate) fn to_meta(&self, log_level: &str) -> RequestMeta {
        RequestMeta {
            capabilities: Some(self.capabilities.clone()),
            client_info: self.info.clone(),
            log_level: (!log_level.is_empty()).then(|| log_level.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_says_of_itself_is_passed_only_as_an_object() {
        let peer = |capabilities: &str| Peer {
            capabilities: Bytes::copy_from_slice(capabilities.as_bytes()),
            client_info: Bytes::from_static(b"{\"name\":\"x\"}"),
            ..Peer::default()
        };
        for (said, passed) in [
            ("{\"roots\":{}}", "{\"roots\":{}}"),
            ("", "{}"),
            ("[1]", "{}"),
            ("{\"roots\":{}},\"injected\":{", "{}"),
        ] {
            assert_eq!(Client::of(Some(&peer(said))).capabilities, passed, "{said}");
        }
        assert_eq!(Client::of(None).info, None);
        let meta = Client::of(Some(&peer(""))).to_meta("info");
        assert_eq!(meta.log_level.as_deref(), Some("info"));
        assert_eq!(meta.client_info.as_deref(), Some(&b"{\"name\":\"x\"}"[..]));
    }

    #[test]
    fn a_shared_connection_declares_what_can_be_carried_over_its_transport() {
        let shared = Introduction::of_server(EraChoice::Probe, Isolation::Shared);
        assert_eq!(shared.capabilities(Transport::Stdio), "{}");
        assert_eq!(shared.capabilities(Transport::Sse), "{}");
        let declared = shared.capabilities(Transport::StreamableHttp);
        assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&declared).is_ok());
        assert!(declared.starts_with(b"{\"roots\""));
        let own = Introduction::of_client(EraChoice::Probe, Client::of(None));
        assert_eq!(own.capabilities(Transport::StreamableHttp), "{}");
        let learning = Introduction::of_server(EraChoice::Probe, Isolation::Session);
        assert_eq!(learning.capabilities(Transport::Stdio), declared);
    }
}
