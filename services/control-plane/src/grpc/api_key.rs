//! `ApiKeyService`.

use domain::Refusal;
use proto::control::v1 as pb;
use proto::control::v1::api_key_service_server::ApiKeyService;
use secrecy::ExposeSecret as _;
use tonic::{Request, Response, Status, async_trait};

use super::{Services, read, show, status};
use crate::use_case::{CreateApiKey, RevokeApiKey, create_api_key, list_api_keys, revoke_api_key};

#[async_trait]
impl ApiKeyService for Services {
    async fn create_api_key(
        &self,
        request: Request<pb::CreateApiKeyRequest>,
    ) -> Result<Response<pb::CreateApiKeyResponse>, Status> {
        let ctx = self.ctx(request.metadata()).await?;
        let command = create(request.into_inner()).map_err(status)?;
        let created = create_api_key(&self.app, &ctx, command).await.map_err(status)?;
        let secret = created.secret.map(|secret| secret.expose_secret().to_owned());
        Ok(Response::new(pb::CreateApiKeyResponse {
            api_key: Some(show::api_key(created.key)),
            secret: secret.unwrap_or_default(),
        }))
    }

    async fn list_api_keys(
        &self,
        request: Request<pb::ListApiKeysRequest>,
    ) -> Result<Response<pb::ListApiKeysResponse>, Status> {
        let ctx = self.ctx(request.metadata()).await?;
        let request = request.into_inner();
        let project = read::project(&request.project_id).map_err(status)?;
        let paging = read::paging(request.page_size, &request.page_token).map_err(status)?;
        let page = list_api_keys(&self.app, &ctx, &project, &paging).await.map_err(status)?;
        let page = page.map(show::api_key);
        Ok(Response::new(pb::ListApiKeysResponse {
            api_keys: page.items,
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn revoke_api_key(
        &self,
        request: Request<pb::RevokeApiKeyRequest>,
    ) -> Result<Response<pb::RevokeApiKeyResponse>, Status> {
        let ctx = self.ctx(request.metadata()).await?;
        let request = request.into_inner();
        let command = RevokeApiKey {
            project: read::project(&request.project_id).map_err(status)?,
            key: read::api_key(&request.api_key_id).map_err(status)?,
            idempotency_key: read::key(request.idempotency_key),
        };
        revoke_api_key(&self.app, &ctx, command).await.map_err(status)?;
        Ok(Response::new(pb::RevokeApiKeyResponse {}))
    }
}

fn create(request: pb::CreateApiKeyRequest) -> Result<CreateApiKey, Refusal> {
    Ok(CreateApiKey {
        project: read::project(&request.project_id)?,
        name: request.name,
        role: read::optional_role(request.role)?,
        expires_at: read::time("expire_time", request.expire_time)?,
        idempotency_key: read::key(request.idempotency_key),
    })
}
