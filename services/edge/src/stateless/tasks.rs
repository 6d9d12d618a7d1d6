//! Tasks: requests about one go to the server that has it. A server of revision 2025-11-25 has
//! tasks of another kind, which are told in the words of the extension: see [`older`].

use std::sync::Arc;

use bytes::Bytes;
use mcp::server::Method;
use mcp::server::stateless::{
    Refusal, TaskMethod, declares_tasks, task_to_extension, tasks_requirement, without_hop,
};
use mcp::splice;

use crate::call::{self, Placed};
use crate::merged::Merged;

use super::answer::Whole;
use super::dispatch::{Asked, Reply, forward};
use super::older_tasks as older;

/// Handles a request about a task. An error is the raw error.
pub(super) async fn request(asked: Asked<'_>, method: TaskMethod) -> Result<Reply, Bytes> {
    if !declares_tasks(&asked.meta.capabilities) {
        return Ok(Reply::Whole(undeclared(&asked)));
    }
    let merged = asked.shared.catalogues.get(&asked.grant.scope).await;
    let wire = match method {
        TaskMethod::Get => Method::GetTask,
        TaskMethod::Update => Method::UpdateTask,
        TaskMethod::Cancel => Method::CancelTask,
    };
    let placed = place(&asked, &merged, wire)?;
    asked.shared.sessions.tasks.learn(placed.server().id, placed.target()).await;
    if !placed.server().facts.has_sessions() {
        return forward(asked, placed, None, None).await;
    }
    if let Some(home) = older::elsewhere(&asked, &merged).await? {
        return Ok(Reply::Elsewhere(home));
    }
    let result = match method {
        TaskMethod::Get => older::get(&asked, &merged).await?,
        TaskMethod::Cancel => older::cancel(&asked, &merged, placed).await?,
        TaskMethod::Update => older::update(&asked, &merged).await?,
    };
    Ok(Reply::Whole(Whole::completed(asked.shared, asked.id, &result, None)))
}

/// The answer to a client that did not declare the extension.
pub(super) fn undeclared(asked: &Asked<'_>) -> Whole {
    Whole::refusal(asked.id, &Refusal::MissingCapability(tasks_requirement()))
}

/// The request about the same task as `asked` is.
pub(super) fn place(
    asked: &Asked<'_>,
    merged: &Arc<Merged>,
    method: Method,
) -> Result<Placed, Bytes> {
    let placed = call::place(asked.shared, merged, method, Some(asked.params.clone()))?;
    let params = without_hop(placed.params()).map_err(ambiguous)?;
    // What the extension alone knows is no parameter of the older methods.
    let params = match method {
        Method::UpdateTask => params,
        _ => splice::remove(&params, &["inputResponses"]).map_err(ambiguous)?.unwrap_or(params),
    };
    Ok(placed.with_params(params))
}

/// The parameters of a call that has to become a task, for a server of revision 2025-11-25.
pub(super) fn as_task(params: &Bytes) -> Result<Bytes, Bytes> {
    splice::set(params, &["task"], b"{}").map_err(ambiguous)
}

/// The parameters of a call that must not become one: who may want tasks here is not the client.
pub(super) fn not_as_task(params: &Bytes) -> Result<Bytes, Bytes> {
    let without = splice::remove(params, &["task"]).map_err(ambiguous)?;
    Ok(without.unwrap_or_else(|| params.clone()))
}

/// The result of a call that became a task in the words of the extension; others as they are.
pub(super) fn created(result: &Bytes) -> Bytes {
    let told = match splice::slice(result, &["task"]) {
        Ok(Some(task)) => task_to_extension(&task, "task", b"").ok(),
        Ok(None) | Err(_) => None,
    };
    told.unwrap_or_else(|| result.clone())
}

fn ambiguous(_: splice::SpliceError) -> Bytes {
    Refusal::Parameters("the parameters are ambiguous").error()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_of_the_older_kind_is_made_and_told() {
        let params = Bytes::from_static(br#"{"name":"t"}"#);
        let with = as_task(&params).unwrap();
        assert_eq!(with, r#"{"task":{},"name":"t"}"#);
        assert_eq!(not_as_task(&with).unwrap(), params);
        assert_eq!(not_as_task(&params).unwrap(), params);
        let result = Bytes::from_static(br#"{"task":{"taskId":"1","status":"working","ttl":5}}"#);
        let told = r#"{"resultType":"task","taskId":"1","status":"working","ttlMs":5}"#;
        assert_eq!(created(&result), told);
        let plain = Bytes::from_static(br#"{"content":[]}"#);
        assert_eq!(created(&plain), plain);
    }
}
