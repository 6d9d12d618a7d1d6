//! One port: gRPC, grpc-web, health and reflection.

use prost::Message as _;
use proto::control::v1 as pb;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::support::World;

#[tokio::test]
async fn health_and_reflection_answer() {
    let world = World::empty().await;
    let service = "mcp_orch.control.v1.ServerService".to_owned();
    let mut health = HealthClient::new(world.channel().await);
    let answer = health.check(HealthCheckRequest { service }).await.unwrap().into_inner();
    assert_eq!(answer.status, 1);

    let mut reflection = ServerReflectionClient::new(world.channel().await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let requests = tokio_stream::iter([request]);
    let answers = reflection.server_reflection_info(requests).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("no list")
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    for name in ["ProjectService", "ServerService", "ApiKeyService", "CallService", "AuditService"]
    {
        assert!(names.contains(&format!("mcp_orch.control.v1.{name}").as_str()), "{names:?}");
    }
}

/// A request over HTTP/1.1, and the whole answer.
async fn http1(world: &World, head: &str, body: &[u8]) -> Vec<u8> {
    let mut stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let head = format!(
        "{head}\r\nHost: localhost\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn grpc_web_works_over_http_1() {
    let (world, owner) = World::bootstrapped().await;
    let request = pb::GetProjectRequest { project_id: owner.project.to_string() };
    let message = request.encode_to_vec();
    let mut body = vec![0];
    body.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend_from_slice(&message);
    let head = format!(
        "POST /mcp_orch.control.v1.ProjectService/GetProject HTTP/1.1\r\n\
         Content-Type: application/grpc-web+proto\r\nAuthorization: Bearer {}",
        owner.caller.token()
    );
    let answer = http1(&world, &head, &body).await;
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert!(text.contains("grpc-status:0"), "{text}");
    assert!(text.contains("/unified/sse"), "{text}");
    let anonymous = http1(
        &world,
        "POST /mcp_orch.control.v1.ProjectService/GetProject HTTP/1.1\r\n\
         Content-Type: application/grpc-web+proto",
        &body,
    )
    .await;
    assert!(String::from_utf8_lossy(&anonymous).contains("grpc-status: 16"));
}
