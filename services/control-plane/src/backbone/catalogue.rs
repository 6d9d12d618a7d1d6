//! The last catalogue of a server, by its hash.

use std::sync::Arc;

use bus::{Incoming, Server};
use domain::Refusal;
use prost::Message as _;
use proto::internal::v1::{CatalogueReply, CatalogueRequest};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::fault;
use crate::shell;

/// Catalogues that are read at the same time; further requests wait.
const CONCURRENT: usize = 16;

/// Serves catalogues until `shutdown`.
pub(crate) async fn catalogues(app: Arc<App>, mut server: Server, shutdown: CancellationToken) {
    let permits = Arc::new(Semaphore::new(CONCURRENT));
    let mut running = JoinSet::new();
    loop {
        let permit = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            permit = Arc::clone(&permits).acquire_owned() => permit,
        };
        let Ok(permit) = permit else { return };
        let incoming = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            incoming = server.accept() => incoming,
        };
        let Some(incoming) = incoming else { return };
        let app = Arc::clone(&app);
        running.spawn(async move {
            let _permit = permit;
            answer(&app, incoming).await;
        });
        while running.try_join_next().is_some() {}
    }
}

async fn answer(app: &App, incoming: Incoming) {
    let Ok(request) = CatalogueRequest::decode(incoming.first) else { return };
    match find(app, &request).await {
        Ok(reply) => {
            incoming.exchange.reply(reply.encode_to_vec().into()).await.ok();
            incoming.exchange.finish();
        }
        // Without an answer the asker asks again.
        Err(error) => tracing::warn!(%error, server = request.server, "no catalogue"),
    }
}

async fn find(app: &App, request: &CatalogueRequest) -> Result<CatalogueReply, Refusal> {
    let (Ok(tenant), Ok(server)) = (request.tenant.parse(), request.server.parse()) else {
        return Ok(CatalogueReply::default());
    };
    let mut event = app.views.catalogue_event(tenant, server, &request.hash).await?;
    if event.is_none() {
        // The asker may have heard of it before the views took it in.
        let head = app.store.head().await.map_err(fault::store)?;
        shell::read_back(app, head).await?;
        event = app.views.catalogue_event(tenant, server, &request.hash).await?;
    }
    let Some(event) = event else { return Ok(CatalogueReply::default()) };
    let body = app.store.body(tenant, event).await.map_err(fault::store)?;
    Ok(CatalogueReply { found: body.is_some(), catalogue: body.unwrap_or_default() })
}
