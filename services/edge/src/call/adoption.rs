//! A call that goes on at another edge: what that one must know of it, and how it takes it over.
//!
//! A call that was taken over is never sent again: the worker that has it knows what came of it, or
//! nobody does.

use std::sync::Arc;
use std::time::Instant;

use backplane::exchange::OUTCOME_UNKNOWN;
use bytes::Bytes;
use domain::call::{CallOutcome, CallSubject};
use domain::project::AuditMode;
use domain::{ApiKeyId, CallId, ProjectId, ServerId, TenantId, Timestamp};
use mcp::server::Method;
use mcp::splice;
use proto::internal::v1::ForwardedCall;

use super::live::Live;
use super::{Call, Caller, Running, failure};
use crate::edge::Shared;
use crate::merged::Merged;
use crate::record::{self, CallMeta, Ending};

impl Live {
    /// What another edge must know of it.
    pub(super) fn forwarded(&self) -> ForwardedCall {
        let (meta, peer) = (&self.call.meta, self.call.peer.clone());
        ForwardedCall {
            call_id: meta.id.to_string(),
            tenant: meta.tenant.to_string(),
            api_key: meta.key.to_string(),
            project: meta.subject.project.to_string(),
            server: meta.subject.server.to_string(),
            server_name: meta.subject.server_name.clone(),
            method: meta.subject.method.clone(),
            target: meta.subject.target.clone(),
            params: self.sent.clone(),
            arguments_bytes: meta.arguments_bytes,
            audit_mode: meta.mode.as_str().to_owned(),
            started_at_us: meta.subject.started_at.as_micros(),
            client: meta.client.clone(),
            mcp_session: meta.mcp_session.clone(),
            peer,
            round: self.place().0,
        }
    }
}

/// Takes a call over from an edge that is gone, from the frame after that number on. Whoever asks
/// has seen that it belongs to the caller.
///
/// # Errors
/// The raw error for the client: its outcome is not known here.
pub(crate) async fn adopted(
    shared: &Arc<Shared>,
    merged: Arc<Merged>,
    caller: Caller,
    forwarded: ForwardedCall,
    after_frame: u64,
) -> Result<Running, Bytes> {
    let Some(known) = Known::read(&forwarded) else {
        return Err(failure(OUTCOME_UNKNOWN, "what is known of the call cannot be read"));
    };
    let place = merged.servers.iter().position(|server| server.id == known.server);
    let permit = Arc::clone(&shared.permits).try_acquire_owned().ok();
    let (peer, params, round) = (forwarded.peer.clone(), forwarded.params.clone(), forwarded.round);
    let method = known.method;
    let meta = known.meta(forwarded);
    let (Some(server), Some(permit), Some(slot)) = (place, permit, caller.slot) else {
        let why = match place {
            Some(_) => "too many calls are under way",
            None => "its server is not there any more",
        };
        let message = format!("the call may have run, and cannot go on: {why}");
        let ending = Ending::without_answer(CallOutcome::Unknown);
        let now = (shared.clock)();
        if record::finish(&shared.journal, meta, ending, now).await.is_err() {
            tracing::warn!("the end of a call that was not taken over is not recorded");
        }
        return Err(failure(OUTCOME_UNKNOWN, &message));
    };
    let call = Call {
        shared: Arc::clone(shared),
        method,
        server,
        merged,
        meta,
        peer,
        conduct: caller.conduct,
        orphan: caller.orphan,
        is_repeatable: false,
        arrived: Instant::now(),
        cancel: caller.cancel,
        guard: caller.guard,
        _permit: permit,
    };
    Ok(Running::new(Live::adopted(call, params, round, after_frame), slot))
}

/// What is known of a call, read.
struct Known {
    call: CallId,
    tenant: TenantId,
    key: ApiKeyId,
    project: ProjectId,
    server: ServerId,
    method: Method,
    mode: AuditMode,
}

impl Known {
    fn read(forwarded: &ForwardedCall) -> Option<Self> {
        let mode = AuditMode::ALL.into_iter().find(|mode| mode.as_str() == forwarded.audit_mode);
        Some(Self {
            call: forwarded.call_id.parse().ok()?,
            tenant: forwarded.tenant.parse().ok()?,
            key: forwarded.api_key.parse().ok()?,
            project: forwarded.project.parse().ok()?,
            server: forwarded.server.parse().ok()?,
            method: Method::parse(&forwarded.method)?,
            mode: mode?,
        })
    }

    fn meta(self, forwarded: ForwardedCall) -> CallMeta {
        let arguments = splice::slice(&forwarded.params, &["arguments"]).ok().flatten();
        CallMeta {
            id: self.call,
            tenant: self.tenant,
            key: self.key,
            mode: self.mode,
            subject: CallSubject {
                project: self.project,
                server: self.server,
                server_name: forwarded.server_name,
                method: forwarded.method,
                target: forwarded.target,
                api_key: Some(self.key),
                started_at: Timestamp::from_micros(forwarded.started_at_us),
            },
            client: forwarded.client,
            mcp_session: forwarded.mcp_session,
            arguments_bytes: forwarded.arguments_bytes,
            arguments: arguments.unwrap_or_default(),
        }
    }
}
