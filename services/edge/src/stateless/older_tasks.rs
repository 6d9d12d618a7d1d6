//! Tasks of revision 2025-11-25, for clients that know those of the extension.
//!
//! There a task's result is asked for by a request of its own, over which the server asks the
//! client, too. So when a task waits for input, that request is held open here, with what was
//! asked, until the client has answered: as a call that waits, see [`super::parking`].

use std::sync::Arc;
use std::time::Duration;

use backplane::exchange::Answer;
use bytes::{BufMut, Bytes, BytesMut};
use domain::ErrorCode;
use mcp::envelope::{self, ErrorObject, code};
use mcp::server::Method;
use mcp::server::stateless::{
    Refusal, input_requests, input_responses, missing_for_input, task_to_extension,
};
use mcp::splice;
use mcp::uri::RELATED_TASK;
use proto::internal::v1::ServerRequest;
use ring::digest::{Context, SHA256};
use tokio::time::{Instant, timeout_at};

use crate::call::{self, Placed, Running, Said, failure};
use crate::merged::Merged;
use crate::roaming::unshare_parked;

use super::caller::caller;
use super::dispatch::Asked;
use super::elsewhere;
use super::input::{expires_at_ms, now_ms, questions, sort};
use super::parking::Parked;
use super::tasks::place;

/// How long a server may take to ask what it said that it waits for.
const ASK_WAIT: Duration = Duration::from_secs(1);

/// The task, with what became of it if it is over, or with what it asks.
pub(super) async fn get(asked: &Asked<'_>, merged: &Arc<Merged>) -> Result<Bytes, Bytes> {
    let task = request(asked, place(asked, merged, Method::GetTask)?).await?;
    let status = splice::find_string(&task, &["status"]).ok().flatten();
    match status.as_deref() {
        Some("completed" | "failed") => {
            let ending = request(asked, place(asked, merged, Method::TaskResult)?).await;
            // What was held open for its input is not needed any more.
            drop(take(asked, merged)?);
            ended(&task, &ending)
        }
        Some("input_required") => {
            let Held { mut running, asked: questions } = match take(asked, merged)? {
                Some(held) => held,
                None => Held::open(asked, merged).await?,
            };
            match listen(asked, &mut running, questions).await {
                Ok(questions) => {
                    let more = [b",\"inputRequests\":".as_slice(), &told(&questions)].concat();
                    hold(asked, merged, Held { running, asked: questions }).await?;
                    task_to_extension(&task, "complete", &more).map_err(unreadable)
                }
                Err(ending) => ended(&task, &ending),
            }
        }
        _ => task_to_extension(&task, "complete", b"").map_err(unreadable),
    }
}

/// Takes the client's answers to what the task asks. Those to what was not asked are passed over.
pub(super) async fn update(asked: &Asked<'_>, merged: &Arc<Merged>) -> Result<Bytes, Bytes> {
    let done = Bytes::from_static(b"{}");
    let answers = input_responses(&asked.params)
        .map_err(|_| Refusal::Parameters("inputResponses must be an object of answers").error())?;
    let Some(Held { mut running, asked: questions }) = take(asked, merged)? else {
        // Whether there is such a task is for its server to say.
        return request(asked, place(asked, merged, Method::GetTask)?).await.map(|_| done);
    };
    let (given, open) = match sort(&questions, answers) {
        Ok(sorted) => sorted,
        Err(error) => {
            hold(asked, merged, Held { running, asked: questions }).await?;
            return Err(error);
        }
    };
    for (id, answer) in given {
        running.answer(&id, Ok(answer)).await;
    }
    hold(asked, merged, Held { running, asked: open }).await?;
    Ok(done)
}

/// Cancels a task; one that is over already is as good as cancelled.
pub(super) async fn cancel(
    asked: &Asked<'_>,
    merged: &Arc<Merged>,
    placed: Placed,
) -> Result<Bytes, Bytes> {
    let done = Bytes::from_static(b"{}");
    drop(take(asked, merged)?);
    match request(asked, placed).await {
        Ok(_) => Ok(done),
        Err(error) if ErrorObject::parse(&error).code == code::INVALID_PARAMS => {
            request(asked, place(asked, merged, Method::GetTask)?).await.map(|_| done)
        }
        Err(error) => Err(error),
    }
}

/// The task with its end. A tool that ran and failed has a result here; only what did not run has
/// failed.
fn ended(task: &Bytes, ending: &Answer) -> Result<Bytes, Bytes> {
    let (status, member, value) = match ending {
        Ok(result) => ("completed", "result", without_task(result)),
        Err(error) => ("failed", "error", error.clone()),
    };
    let mut more = BytesMut::with_capacity(value.len() + 16);
    more.put_slice(format!(",\"{member}\":").as_bytes());
    more.put_slice(&value);
    let task = splice::set(task, &["status"], &splice::quote(status)).map_err(unreadable)?;
    task_to_extension(&task, "complete", &more).map_err(unreadable)
}

/// The result without the task that it says it is of: here it stands inside of it.
fn without_task(result: &Bytes) -> Bytes {
    let without = splice::remove(result, &["_meta", RELATED_TASK]).ok().flatten();
    without.unwrap_or_else(|| result.clone())
}

fn unreadable(_: splice::SpliceError) -> Bytes {
    failure(ErrorCode::Internal.reason(), "the server's task is not a legal object")
}

fn told(asked: &[ServerRequest]) -> Bytes {
    input_requests(&questions(asked))
}

/// A request for a task's result that is held open, and what came of questions over it.
struct Held {
    running: Running,
    asked: Vec<ServerRequest>,
}

impl Held {
    async fn open(asked: &Asked<'_>, merged: &Arc<Merged>) -> Result<Self, Bytes> {
        let running = begin(asked, place(asked, merged, Method::TaskResult)?)?;
        Ok(Self { running, asked: Vec::new() })
    }
}

/// The number of the held request of a task: nobody else's key makes the same.
fn number(asked: &Asked<'_>, merged: &Arc<Merged>) -> Result<[u8; 16], Bytes> {
    let placed = place(asked, merged, Method::GetTask)?;
    let (key, server) = (asked.grant.key.to_string(), placed.server().id.to_string());
    let mut context = Context::new(&SHA256);
    for part in ["task", &key, &server, placed.target()] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut number = [0; 16];
    number.copy_from_slice(&context.finish().as_ref()[..16]);
    Ok(number)
}

/// The edge at which the held request of the task is, if that is another one.
pub(super) async fn elsewhere(
    asked: &Asked<'_>,
    merged: &Arc<Merged>,
) -> Result<Option<String>, Bytes> {
    elsewhere::fetch(asked, merged, number(asked, merged)?).await
}

fn take(asked: &Asked<'_>, merged: &Arc<Merged>) -> Result<Option<Held>, Bytes> {
    let number = number(asked, merged)?;
    let parked = asked.shared.stateless.parking.take(number, now_ms(asked.shared));
    if let (Some(roaming), true) = (&asked.shared.roaming, parked.is_some()) {
        unshare_parked(roaming, &number);
    }
    Ok(parked.map(|Parked { running, asked, .. }| Held { running, asked }))
}

async fn hold(asked: &Asked<'_>, merged: &Arc<Merged>, held: Held) -> Result<(), Bytes> {
    let parked = Parked {
        running: held.running,
        asked: held.asked,
        key: asked.grant.key,
        scope: asked.grant.scope.clone(),
        expires_at_ms: expires_at_ms(asked.shared),
    };
    let number = number(asked, merged)?;
    asked.shared.stateless.parking.put_back(number, parked).map_err(|_| {
        let message = "too many calls wait for input: answer them, or retry later";
        failure(ErrorCode::ResourceExhausted.reason(), message)
    })?;
    elsewhere::share(asked.shared, number).await;
    Ok(())
}

/// What is open, with what is asked now; or how the task ended meanwhile.
async fn listen(
    asked: &Asked<'_>,
    running: &mut Running,
    mut questions: Vec<ServerRequest>,
) -> Result<Vec<ServerRequest>, Answer> {
    let gather = asked.shared.config.limits.stateless.gather;
    // However much else is said meanwhile.
    let mut until = Instant::now() + if questions.is_empty() { ASK_WAIT } else { gather };
    loop {
        match timeout_at(until, running.next()).await {
            Err(_) => return Ok(questions),
            Ok(Said::Notification(_) | Said::Paused(_)) => {}
            Ok(Said::Request(question)) => match refusal(asked, &question) {
                Some(refusal) => running.answer(&question.id, Err(refusal.error())).await,
                None => {
                    if questions.is_empty() {
                        until = until.min(Instant::now() + gather);
                    }
                    questions.push(question);
                }
            },
            Ok(Said::Answer(answer)) => return Err(answer.unwrap_or_else(|| Err(cancelled()))),
        }
    }
}

/// Why a question is not put to the client.
fn refusal(asked: &Asked<'_>, question: &ServerRequest) -> Option<Refusal> {
    let params: &[u8] = if question.params.is_empty() { b"{}" } else { &question.params };
    missing_for_input(&question.method, params, &asked.meta.capabilities)
        .map(Refusal::MissingCapability)
}

fn cancelled() -> Bytes {
    failure(ErrorCode::Internal.reason(), "the request was cancelled")
}

fn begin(asked: &Asked<'_>, placed: Placed) -> Result<Running, Bytes> {
    let Asked { shared, grant, meta, .. } = asked;
    let caller = caller(shared, grant, meta, placed.isolation, None);
    call::begin(shared, grant, caller, placed)
}

/// Sends a request, and waits for its answer alone.
async fn request(asked: &Asked<'_>, placed: Placed) -> Answer {
    let mut running = begin(asked, placed)?;
    loop {
        match running.next().await {
            Said::Notification(_) | Said::Paused(_) => {}
            Said::Request(question) => {
                let message = "Method not found: nobody can be asked here";
                let error = envelope::error_object(code::METHOD_NOT_FOUND, message, None);
                running.answer(&question.id, Err(error)).await;
            }
            Said::Answer(answer) => return answer.unwrap_or_else(|| Err(cancelled())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_stands_inside_its_task() {
        let related = Bytes::from(format!(r#"{{"_meta":{{"{RELATED_TASK}":{{}},"a":1}}}}"#));
        assert_eq!(without_task(&related), r#"{"_meta":{"a":1}}"#);
        let task = Bytes::from_static(br#"{"taskId":"1","status":"failed","ttl":null}"#);
        let done = ended(&task, &Ok(Bytes::from_static(b"{}"))).unwrap();
        let told = r#"{"resultType":"complete","taskId":"1","status":"completed","ttlMs":null,"result":{}}"#;
        assert_eq!(done, told);
    }
}
