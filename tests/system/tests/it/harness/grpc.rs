//! The public contract over gRPC.

use proto::control::v1::api_key_service_client::ApiKeyServiceClient;
use proto::control::v1::audit_service_client::AuditServiceClient;
use proto::control::v1::call_service_client::CallServiceClient;
use proto::control::v1::server_service_client::ServerServiceClient;
use proto::control::v1::{AuditEntry, CallWithBody, ListAuditEntriesRequest, ListCallsRequest};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// The largest page.
const PAGE: u32 = 500;

/// Puts the token into each request.
#[derive(Clone)]
pub(crate) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

type Authorized = InterceptedService<Channel, Bearer>;

/// A connection as somebody.
#[derive(Clone)]
pub(crate) struct Grpc {
    channel: Channel,
    bearer: Bearer,
}

impl Grpc {
    pub(crate) async fn connect(url: &str, token: &str) -> Self {
        Self::try_connect(url, token).await.unwrap()
    }

    /// Connects where the other side may be gone.
    pub(crate) async fn try_connect(url: &str, token: &str) -> Result<Self, String> {
        let endpoint = Endpoint::from_shared(url.to_owned()).unwrap();
        let channel = endpoint.connect().await.map_err(|error| format!("{error:?}"))?;
        Ok(Self { channel, bearer: Bearer(format!("Bearer {token}").parse().unwrap()) })
    }

    pub(crate) fn servers(&self) -> ServerServiceClient<Authorized> {
        ServerServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub(crate) fn keys(&self) -> ApiKeyServiceClient<Authorized> {
        ApiKeyServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub(crate) fn calls(&self) -> CallServiceClient<Authorized> {
        CallServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
            .max_decoding_message_size(64 << 20)
    }

    pub(crate) fn audit(&self) -> AuditServiceClient<Authorized> {
        AuditServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
            .max_decoding_message_size(64 << 20)
    }

    /// Every call of a project with its arguments, all pages, the newest first.
    pub(crate) async fn all_calls(&self, project_id: &str) -> Vec<CallWithBody> {
        let mut request = ListCallsRequest {
            project_id: project_id.to_owned(),
            page_size: PAGE,
            include_arguments: true,
            ..ListCallsRequest::default()
        };
        let mut calls = Vec::new();
        loop {
            let page = self.calls().list_calls(request.clone()).await.unwrap().into_inner();
            calls.extend(page.calls);
            if page.next_page_token.is_empty() {
                return calls;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Every audit entry of a project, all pages, the newest first.
    pub(crate) async fn all_entries(&self, project_id: &str, action: &str) -> Vec<AuditEntry> {
        let mut request = ListAuditEntriesRequest {
            project_id: project_id.to_owned(),
            action: action.to_owned(),
            page_size: PAGE,
            ..ListAuditEntriesRequest::default()
        };
        let mut entries = Vec::new();
        loop {
            let page = self.audit().list_audit_entries(request.clone()).await.unwrap();
            let page = page.into_inner();
            entries.extend(page.entries);
            if page.next_page_token.is_empty() {
                return entries;
            }
            request.page_token = page.next_page_token;
        }
    }
}
