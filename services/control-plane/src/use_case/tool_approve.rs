//! Taking changed definitions of a server's tools as the ones that clients may use.

use authz::Action;
use domain::event::ServerEvent;
use domain::server::{Server, ServerCommand};
use domain::{ErrorCode, ProjectId, Refusal, ServerId};

use super::server_get::require_server;
use crate::app::App;
use crate::context::Ctx;
use crate::shell::{self, Done, Fingerprint, Target};
use crate::views::Definition;

/// Most tools that one request approves.
pub const MAX_TOOLS: usize = 256;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct ApproveTool {
    /// Where.
    pub project: ProjectId,
    /// Of which server.
    pub server: ServerId,
    /// Which tools.
    pub what: Approving,
    /// Makes a repeated command one command.
    pub idempotency_key: Option<String>,
}

/// Which tools of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approving {
    /// One.
    One {
        /// The upstream's own name.
        tool: String,
        /// The hash of the definition that the caller has seen; none takes what is there.
        hash: Option<String>,
    },
    /// All whose definition changed, as they are now.
    AllChanged,
}

impl Approving {
    /// Reads what a request says with three fields.
    ///
    /// # Errors
    /// `InvalidArgument` when neither a tool nor all are named, or both.
    pub fn read(tool: String, hash: String, all: bool) -> Result<Self, Refusal> {
        match (all, tool.is_empty()) {
            (true, true) if hash.is_empty() => Ok(Self::AllChanged),
            (true, true) => Err(Refusal::invalid("hash", "belongs to one tool, not to all")),
            (true, false) => Err(Refusal::invalid("tool", "is one, and all are named besides")),
            (false, true) => Err(Refusal::invalid("tool", "is missing: name one, or all")),
            (false, false) => Ok(Self::One { tool, hash: (!hash.is_empty()).then_some(hash) }),
        }
    }
}

/// A tool with the definition that is approved now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovedTool {
    /// The upstream's own name.
    pub tool: String,
    /// SHA-256 over the definition, lower-case hexadecimal.
    pub hash: String,
}

/// Approves. Owner. Answers with the tool that was named, or with all that had changed; a
/// definition that is approved already stays so. A repeated command answers what it did the first
/// time, whatever became of the definitions since.
///
/// # Errors
/// `NotFound`, `PermissionDenied`; `Conflict` when the definition is not the one that the caller
/// has seen; `ResourceExhausted` when more than [`MAX_TOOLS`] changed.
pub async fn approve_tool(
    app: &App,
    ctx: &Ctx,
    command: ApproveTool,
) -> Result<Vec<ApprovedTool>, Refusal> {
    let (project, server) = (&command.project, command.server);
    require_server(app, ctx, project, server, Action::ServersApprove).await?;
    let fingerprint = Fingerprint::of("server.approve_tool").debug(&command);
    let key = command.idempotency_key.as_deref();
    let idempotency = shell::idempotency(app, ctx, key, fingerprint).await?;
    if let Some(done) = shell::former(app, ctx.tenant, idempotency.as_ref()).await? {
        return approved_by(app, ctx, &done).await;
    }
    let definitions = app.views.definitions(ctx.tenant, server).await?;
    let wanted = choose(&definitions, &command.what)?;
    let target = Target::of::<Server>(ctx.tenant, server).under(idempotency);
    let done = shell::execute::<Server>(app, ctx, target, |state| {
        let mut events = Vec::new();
        for definition in wanted.iter().filter(|definition| definition.changed()) {
            let approve = ServerCommand::ApproveTool {
                tool: definition.tool.clone(),
                hash: definition.current_hash.clone(),
            };
            events.extend(domain::server::decide(state, approve)?);
        }
        Ok(events.into())
    })
    .await?;
    if done.replayed {
        return approved_by(app, ctx, &done).await;
    }
    let approved = wanted.into_iter().map(|definition| ApprovedTool {
        tool: definition.tool.clone(),
        hash: definition.current_hash.clone(),
    });
    Ok(approved.collect())
}

/// What a command approved, as the log has it.
async fn approved_by(app: &App, ctx: &Ctx, done: &Done) -> Result<Vec<ApprovedTool>, Refusal> {
    let made = shell::made::<Server>(app, ctx.tenant, done).await?;
    let approved = made.into_iter().filter_map(|event| match event {
        ServerEvent::ToolApproved { tool, hash } => Some(ApprovedTool { tool, hash }),
        _ => None,
    });
    Ok(approved.collect())
}

fn choose<'a>(
    definitions: &'a [Definition],
    what: &Approving,
) -> Result<Vec<&'a Definition>, Refusal> {
    match what {
        Approving::One { tool, hash } => {
            let found = definitions.iter().find(|definition| definition.tool == *tool);
            let found = found.filter(|definition| !definition.current_hash.is_empty());
            let found = found.ok_or_else(|| Refusal::not_found("tool"))?;
            if hash.as_ref().is_some_and(|hash| *hash != found.current_hash) {
                return Err(Refusal {
                    field: Some("hash".to_owned()),
                    ..Refusal::new(
                        ErrorCode::Conflict,
                        "the tool has another definition now: read it again",
                    )
                });
            }
            Ok(vec![found])
        }
        Approving::AllChanged => {
            let changed: Vec<_> =
                definitions.iter().filter(|definition| definition.changed()).collect();
            if changed.len() > MAX_TOOLS {
                return Err(Refusal::new(
                    ErrorCode::ResourceExhausted,
                    "more than 256 tools changed: approve them one by one, or register the \
                     server anew",
                ));
            }
            Ok(changed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_one_tool_or_all() {
        let read = |tool: &str, hash: &str, all| {
            Approving::read(tool.to_owned(), hash.to_owned(), all).map_err(|refusal| refusal.field)
        };
        let tool = || "read".to_owned();
        assert_eq!(read("", "", true), Ok(Approving::AllChanged));
        assert_eq!(read("read", "", false), Ok(Approving::One { tool: tool(), hash: None }));
        let seen = Approving::One { tool: tool(), hash: Some("ab".to_owned()) };
        assert_eq!(read("read", "ab", false), Ok(seen));
        assert_eq!(read("", "", false), Err(Some("tool".to_owned())));
        assert_eq!(read("read", "", true), Err(Some("tool".to_owned())));
        assert_eq!(read("", "ab", true), Err(Some("hash".to_owned())));
    }
}
