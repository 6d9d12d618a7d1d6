//! An edge that takes over a call of an edge that is gone.

use backplane::exchange::{Answering, OUTCOME_UNKNOWN};
use domain::TenantId;
use domain::call::CallOutcome;
use proto::internal::v1::ExchangeOpen;

use super::Served;
use super::answer::Ended;
use super::line::NotAdopted;
use super::lines::CallKey;

/// Hands the call over, or says that there is none to be had; of a call that is not the tenant's
/// the same as of one that never was.
pub(super) async fn adopt(served: Served, open: ExchangeOpen, edge: Answering) {
    let server = served.slot.spec.server;
    let line = key(&served, &open).and_then(|key| served.deps.lines.find(&key));
    let Some(line) = line else { return refuse(edge).await };
    let patience = served.deps.config.adoption_patience;
    match line.adopt(edge, open.after_frame, patience).await {
        Ok(()) => tracing::debug!(%server, call = open.call_id, "a call was adopted"),
        Err((NotAdopted::Left, _)) => {}
        Err((NotAdopted::Refused, edge)) => refuse(edge).await,
    }
}

fn key(served: &Served, open: &ExchangeOpen) -> Option<CallKey> {
    let spec = &served.slot.spec;
    let tenant: TenantId = open.tenant.parse().ok()?;
    let is_meant = tenant == spec.tenant && open.server.parse() == Ok(spec.server);
    is_meant.then(|| CallKey { tenant, server: spec.server, call: open.call_id.clone() })
}

async fn refuse(edge: Answering) {
    let message = "the call is not known here any more".to_owned();
    let ended = Ended::failed(CallOutcome::Unknown, OUTCOME_UNKNOWN, message);
    // Whoever left needs no answer.
    drop(edge.finish(ended.into_message()).await);
}
