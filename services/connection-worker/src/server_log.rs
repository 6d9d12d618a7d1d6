//! Shows the last lines that a server's processes wrote to stderr, secrets masked.

use std::sync::Arc;

use bus::Server;
use prost::Message;
use proto::internal::v1::{StderrReply, StderrRequest};
use tokio_util::sync::CancellationToken;

use crate::connection::Slot;
use crate::owner::is_of_tenant;

/// Most lines of one answer.
const MAX_LINES: usize = 1_000;

/// Takes requests for a server's log until `stop` is cancelled.
pub(crate) async fn serve(slot: Arc<Slot>, mut server: Server, stop: CancellationToken) {
    loop {
        let incoming = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            incoming = server.accept() => incoming,
        };
        let Some(incoming) = incoming else { return };
        let Ok(request) = StderrRequest::decode(incoming.first) else {
            tracing::warn!("a request for a log that cannot be read was dropped");
            continue;
        };
        let lines = if is_of_tenant(&slot.spec, &request.tenant) {
            let wanted = usize::try_from(request.max_lines).unwrap_or(MAX_LINES);
            slot.stderr.last(wanted.min(MAX_LINES))
        } else {
            Vec::new()
        };
        let reply = StderrReply { lines }.encode_to_vec();
        // Who asked may be gone; a single frame never waits.
        if incoming.exchange.reply(reply.into()).await.is_ok() {
            incoming.exchange.finish();
        }
    }
}
