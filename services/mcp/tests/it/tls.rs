//! HTTPS with a private certificate authority.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use mcp::client::{ClientOptions, ConnectError, HttpTarget, Target};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::peer::{connect, initialize_result, sessions};

/// An authority and a server configuration with a certificate of it for `localhost`.
fn authority() -> (String, ServerConfig) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (issuer.pem(), config)
}

struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.listener.accept().await.unwrap();
            // A client that does not trust us ends the handshake.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

async fn answer(body: Bytes) -> axum::Json<Value> {
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    axum::Json(json!({"jsonrpc": "2.0", "id": request["id"], "result": initialize_result()}))
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_it_is_configured_and_nowhere_else() {
    let (pem, config) = authority();
    let directory = tempfile::tempdir().unwrap();
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, pem).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let listener = TlsListener { listener, acceptor: TlsAcceptor::from(Arc::new(config)) };
    let router = Router::new().fallback(answer);
    let server = tokio::spawn(async move { axum::serve(listener, router).await });

    let attempt = async |host: &str, options: ClientOptions| {
        let url = format!("https://{host}:{port}/mcp").parse().unwrap();
        let headers = http::HeaderMap::new();
        connect(Target::StreamableHttp(HttpTarget { url, headers }), &options).await
    };
    let trusting = || ClientOptions { ca_file: Some(ca_file.clone()), ..sessions() };
    attempt("localhost", trusting()).await.unwrap();
    let stranger = attempt("localhost", sessions()).await.unwrap_err();
    assert!(matches!(stranger, ConnectError::Unreachable { .. }), "{stranger:?}");
    assert!(stranger.to_string().contains("certificate"), "{stranger}");
    let other_name = attempt("127.0.0.1", trusting()).await.unwrap_err();
    assert!(matches!(other_name, ConnectError::Unreachable { .. }), "{other_name:?}");
    server.abort();
}
