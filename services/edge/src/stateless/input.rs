//! Rounds of input: what a client brings back, and where it leads.

use std::sync::Arc;

use bytes::Bytes;
use mcp::server::stateless::{
    Binding, InputRequest, Refusal, SealedState, StateRefused, check_response, input_responses,
    request_digest, requested_state,
};
use mcp::splice;
use proto::internal::v1::ServerRequest;

use crate::auth::Grant;
use crate::edge::Shared;
use crate::merged::Merged;
use crate::roaming::unshare_parked;
use crate::scope::Scope;

use super::dispatch::Asked;
use super::elsewhere;
use super::parking::Parked;

/// To whom and what states are bound.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    principal: String,
    scope: String,
    method: &'static str,
    digest: [u8; 32],
}

impl Bound {
    pub(super) fn new(grant: &Grant, method: &'static str, params: &Bytes) -> Self {
        let scope = match &grant.scope {
            Scope::Unified(project) => format!("{project}"),
            Scope::Server(project, server) => format!("{project}/{server}"),
        };
        let principal = format!("{}/{}", grant.tenant, grant.key);
        Self { principal, scope, method, digest: request_digest(params) }
    }

    fn binding(&self) -> Binding<'_> {
        Binding {
            principal: &self.principal,
            scope: &self.scope,
            method: self.method,
            digest: self.digest,
        }
    }

    /// Seals a state for the client.
    pub(super) fn seal(&self, shared: &Shared, state: &SealedState) -> String {
        shared.stateless.states.seal(&self.binding(), state, expires_at_ms(shared))
    }

    fn open(&self, shared: &Shared, text: &str) -> Result<SealedState, Bytes> {
        let key = &shared.stateless.states;
        key.open(&self.binding(), text, now_ms(shared)).map_err(|refused| {
            let said = match refused {
                StateRefused::Invalid => "requestState is not valid for this request",
                StateRefused::Expired => EXPIRED,
            };
            Refusal::Parameters(said).error()
        })
    }
}

pub(super) const EXPIRED: &str =
    "requestState was used, or has expired: send the request again without requestState";

pub(super) fn now_ms(shared: &Shared) -> i64 {
    (shared.clock)().as_micros() / 1_000
}

/// When what begins to wait now has waited long enough.
pub(super) fn expires_at_ms(shared: &Shared) -> i64 {
    let wait = shared.config.limits.stateless.input_wait.as_millis();
    now_ms(shared).saturating_add(i64::try_from(wait).unwrap_or(i64::MAX))
}

/// What a request brings along.
pub(super) enum Brought {
    /// Nothing of ours: it is a request like any other.
    Nothing,
    /// A call that waited here, and the raw answers for it.
    Call { number: [u8; 16], parked: Box<Parked>, answers: Answers },
    /// A call that waits at that edge.
    Elsewhere(String),
    /// An upstream's own state, and the server that it belongs to.
    Upstream { server: String, state: String },
}

/// Reads what a request brings along. An error is the raw error.
pub(super) async fn brought(
    asked: &Asked<'_>,
    merged: &Arc<Merged>,
    bound: &Bound,
) -> Result<Brought, Bytes> {
    let (shared, params) = (asked.shared, &asked.params);
    let refuse = |what| Refusal::Parameters(what).error();
    let answers = input_responses(params)
        .map_err(|_| refuse("inputResponses must be an object of answers"))?;
    let span = splice::find(params, &["requestState"])
        .map_err(|_| refuse("requestState is there more than once"))?;
    if span.is_none() {
        return Ok(Brought::Nothing);
    }
    let text = requested_state(params).ok().flatten();
    let text = text.ok_or_else(|| refuse("requestState must be a string"))?;
    match bound.open(shared, &text)? {
        SealedState::Parked(number) => {
            if let Some(home) = elsewhere::fetch(asked, merged, number).await? {
                return Ok(Brought::Elsewhere(home));
            }
            let parked = shared.stateless.parking.take(number, now_ms(shared));
            let parked = Box::new(parked.ok_or_else(|| refuse(EXPIRED))?);
            if let Some(roaming) = &shared.roaming {
                unshare_parked(roaming, &number);
            }
            Ok(Brought::Call { number, parked, answers })
        }
        SealedState::Upstream { server, state } => Ok(Brought::Upstream { server, state }),
    }
}

/// A client's answers, by what they answer.
pub(super) type Answers = Vec<(String, Bytes)>;

/// What an upstream asks, as a result that asks for input lists it.
pub(super) fn questions(asked: &[ServerRequest]) -> Vec<InputRequest> {
    let question = |request: &ServerRequest| InputRequest {
        key: request.id.clone(),
        method: request.method.clone(),
        params: request.params.clone(),
    };
    asked.iter().map(question).collect()
}

/// The answers that fit what was asked, and what is still open. Answers to what nobody asked are
/// passed over. An error is the raw error.
pub(super) fn sort(
    asked: &[ServerRequest],
    answers: Answers,
) -> Result<(Answers, Vec<ServerRequest>), Bytes> {
    let method = |key: &str| {
        let request = asked.iter().find(|request| request.id == key)?;
        Some(request.method.as_str())
    };
    let mut given = Vec::new();
    for (key, answer) in answers {
        let Some(method) = method(&key) else { continue };
        if check_response(method, &answer).is_err() {
            let what = "an input response does not fit what was asked";
            return Err(Refusal::Parameters(what).error());
        }
        given.push((key, answer));
    }
    let open = asked.iter().filter(|request| given.iter().all(|(key, _)| *key != request.id));
    let open = open.cloned().collect();
    Ok((given, open))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(id: &str, method: &str) -> ServerRequest {
        ServerRequest { id: id.to_owned(), method: method.to_owned(), params: Bytes::new() }
    }

    #[test]
    fn answers_go_to_what_was_asked_and_the_rest_stays_open() {
        let asked = [asked("1", "elicitation/create"), asked("2", "roots/list")];
        let accept = Bytes::from_static(br#"{"action":"accept"}"#);
        let answers = vec![("1".to_owned(), accept.clone()), ("9".to_owned(), accept)];
        let (given, open) = sort(&asked, answers).unwrap();
        assert_eq!((given.len(), given[0].0.as_str()), (1, "1"));
        assert_eq!((open.len(), open[0].id.as_str()), (1, "2"));
        let wrong = vec![("1".to_owned(), Bytes::from_static(b"12345"))];
        assert!(sort(&asked, wrong).is_err());
    }
}
