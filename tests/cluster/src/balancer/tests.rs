//! The balancer in front of small servers that say who they are.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Backend, Backends, Balancer};

/// Answers every request with its name, and `/readyz` with 200.
async fn server(name: &'static str) -> Backend {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut read = [0; 4096];
                let _ = stream.read(&mut read).await;
                let length = name.len();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n");
                let answer = format!("{head}connection: close\r\n\r\n{name}");
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    Backend { address, admin: address }
}

/// Nobody listens there.
async fn nobody() -> Backend {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    Backend { address, admin: address }
}

async fn get(balancer: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(balancer).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[tokio::test]
async fn requests_go_by_their_path_and_in_turn() {
    let edges = vec![server("edge 1").await, server("edge 2").await];
    let control_planes = vec![server("control").await];
    let balancer = Balancer::start(0, Backends { edges, control_planes }).await.unwrap();
    let path = "/projects/p/unified/mcp?x=1";
    let mut bodies = Vec::new();
    for _ in 0..4 {
        bodies.push(get(balancer.address(), path).await.1);
    }
    assert_eq!(bodies, ["edge 1", "edge 2", "edge 1", "edge 2"]);
    assert_eq!(get(balancer.address(), "/projects").await.1, "control");
}

#[tokio::test]
async fn who_cannot_be_reached_is_passed_over() {
    let edges = vec![nobody().await, server("edge 2").await];
    let backends = Backends { edges, control_planes: vec![nobody().await] };
    let balancer = Balancer::start(0, backends).await.unwrap();
    for _ in 0..4 {
        assert_eq!(get(balancer.address(), "/projects/p/unified/sse").await.1, "edge 2");
    }
    let (status, _) = get(balancer.address(), "/projects").await;
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
}
