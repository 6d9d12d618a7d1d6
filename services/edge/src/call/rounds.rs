//! Rounds of a call whose upstream is stateless, for a client that is not: a result that requires
//! input becomes requests to the client, and the call is sent again with their results.

use std::future::pending;

use backplane::exchange::Answer;
use bytes::Bytes;
use domain::ErrorCode;
use mcp::server::InputRequired;
use proto::events::v1::CallOutcome as WireOutcome;
use proto::internal::v1::{Finished, ServerRequest, finished};

use super::ending::failed;

/// How often an upstream may require input for one call.
const MAX_ROUNDS: usize = 10;
/// How much it may require at once.
const MAX_INPUTS: usize = 32;

/// What is required in one round.
pub(super) struct Inputs {
    required: InputRequired,
    /// The parameters of the round before.
    params: Bytes,
    round: usize,
    /// How many were asked for already.
    asked: usize,
    /// In the order of the requests.
    results: Vec<Option<Bytes>>,
    /// The error that the client answered with.
    refused: Option<Bytes>,
    /// What may be stored of the arguments: no worker looks at them again if it goes no further.
    stored_arguments: Option<Bytes>,
}

pub(super) enum Next {
    /// This is asked of the client.
    Ask(ServerRequest),
    /// All is there: the parameters of the next round.
    Complete(Bytes),
    /// It goes no further.
    Refused(Finished),
}

/// The round that a result calls for; `None` for a result that is complete.
pub(super) fn next_round(
    params: &Bytes,
    finished: &Finished,
    round: usize,
) -> Result<Option<Inputs>, Box<Finished>> {
    let Some(finished::Answer::Result(result)) = &finished.answer else {
        return Ok(None);
    };
    let stored_arguments = finished.stored_arguments.clone();
    let refused = |message: &str| {
        let stored_arguments = stored_arguments.clone();
        Box::new(Finished { stored_arguments, ..unusable(message) })
    };
    let Some(required) = InputRequired::parse(result).map_err(|_| refused(UNREADABLE))? else {
        return Ok(None);
    };
    if round >= MAX_ROUNDS || required.requests.len() > MAX_INPUTS {
        return Err(refused("the server requires too much input"));
    }
    let results = vec![None; required.requests.len()];
    let (params, asked, refused) = (params.clone(), 0, None);
    Ok(Some(Inputs { required, params, round, asked, results, refused, stored_arguments }))
}

const UNREADABLE: &str = "the input that the server requires cannot be read";

fn unusable(message: &str) -> Finished {
    failed(WireOutcome::UpstreamError, ErrorCode::UpstreamUnavailable.reason(), message)
}

fn input_id(round: usize, index: usize) -> String {
    format!("input-{round}-{index}")
}

impl Inputs {
    /// What is to be done next. Cancel-safe.
    pub(super) async fn next(&mut self) -> Next {
        if let Some(error) = self.refused.take() {
            return Next::Refused(Finished {
                answer: Some(finished::Answer::Error(error)),
                outcome: WireOutcome::UpstreamError.into(),
                stored_arguments: self.stored_arguments.clone(),
                ..Finished::default()
            });
        }
        if let Some(request) = self.required.requests.get(self.asked) {
            let id = input_id(self.round, self.asked);
            self.asked += 1;
            return Next::Ask(ServerRequest {
                id,
                method: request.method.clone(),
                params: request.params.clone().unwrap_or_default(),
            });
        }
        if self.results.iter().any(Option::is_none) {
            return pending().await;
        }
        let keys = self.required.requests.iter().map(|request| &request.key);
        let results = keys.zip(self.results.iter().flatten());
        match self.required.next_params(&self.params, results) {
            Ok(params) => Next::Complete(params),
            Err(_) => Next::Refused(Finished {
                stored_arguments: self.stored_arguments.clone(),
                ..unusable(UNREADABLE)
            }),
        }
    }

    /// Takes the client's answer to one of them.
    pub(super) fn answer(&mut self, id: &str, answer: Answer) {
        let place = (0..self.asked).find(|index| input_id(self.round, *index) == id);
        let Some(result) = place.and_then(|place| self.results.get_mut(place)) else { return };
        match answer {
            Ok(said) => *result = Some(said),
            // There is no way to tell the upstream of it: without this input it cannot go on.
            Err(error) => self.refused = Some(error),
        }
    }

    /// The end of a call that is cancelled while it waits for input: nothing runs.
    pub(super) fn cancelled(&self) -> Finished {
        failed(WireOutcome::Cancelled, "CANCELLED", "cancelled while input was asked for")
    }
}
