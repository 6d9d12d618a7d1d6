//! Which calls may be run again when nobody knows whether they ran: none, unless the project says
//! so of those that change nothing, or change nothing more when they run twice.

use bytes::Bytes;
use domain::project::RetryPolicy;
use mcp::server::Method;
use mcp::splice;

use crate::facts::Hints;

/// Whether the policy lets a request be run again; `hints` are those of its tool.
pub(super) fn is_repeatable(
    policy: RetryPolicy,
    method: Method,
    hints: Hints,
    params: &Bytes,
) -> bool {
    if policy == RetryPolicy::Never {
        return false;
    }
    let hints = match method {
        // What runs as a task would leave another task behind.
        Method::CallTool if is_task(params) => return false,
        Method::CallTool => hints,
        Method::ReadResource | Method::GetPrompt => Hints { read_only: true, idempotent: true },
        _ => return false,
    };
    match policy {
        RetryPolicy::Never => false,
        RetryPolicy::ReadOnly => hints.read_only,
        RetryPolicy::Idempotent => hints.read_only || hints.idempotent,
    }
}

fn is_task(params: &Bytes) -> bool {
    memchr::memmem::find(params, b"\"task\"").is_some()
        && !matches!(splice::find(params, &["task"]), Ok(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Bytes = Bytes::from_static(b"{\"name\":\"find\"}");
    const NOTHING: Hints = Hints { read_only: false, idempotent: false };
    const READS: Hints = Hints { read_only: true, idempotent: false };
    const IDEMPOTENT: Hints = Hints { read_only: false, idempotent: true };

    #[test]
    fn only_what_the_policy_names_is_run_again() {
        let tool = |policy, hints| is_repeatable(policy, Method::CallTool, hints, &PLAIN);
        for hints in [NOTHING, READS, IDEMPOTENT] {
            assert!(!tool(RetryPolicy::Never, hints));
        }
        assert!(tool(RetryPolicy::ReadOnly, READS));
        assert!(!tool(RetryPolicy::ReadOnly, IDEMPOTENT));
        assert!(tool(RetryPolicy::Idempotent, READS));
        assert!(tool(RetryPolicy::Idempotent, IDEMPOTENT));
        assert!(!tool(RetryPolicy::Idempotent, NOTHING));
    }

    #[test]
    fn resources_and_prompts_are_read_and_nothing_else_is() {
        let reads = |method| is_repeatable(RetryPolicy::ReadOnly, method, NOTHING, &PLAIN);
        assert!(reads(Method::ReadResource) && reads(Method::GetPrompt));
        for method in [Method::Complete, Method::CancelTask, Method::TaskResult] {
            assert!(!reads(method), "{method:?}");
        }
        let never = is_repeatable(RetryPolicy::Never, Method::ReadResource, READS, &PLAIN);
        assert!(!never);
    }

    #[test]
    fn a_task_is_not_made_twice() {
        let task = |params: &'static str| {
            is_repeatable(RetryPolicy::ReadOnly, Method::CallTool, READS, &params.into())
        };
        assert!(!task(r#"{"name":"find","task":{}}"#));
        assert!(task(r#"{"name":"find","arguments":{"task":{}}}"#));
    }
}
