//! Which server a client's request goes to, and as what: for URIs, tasks and completions.

use bytes::Bytes;

use super::{ListKind, MergedCatalogue};
use crate::splice::{self, SpliceError};

/// Where a tool or prompt lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route<'a> {
    /// The server's place in the list that was merged.
    pub server: usize,
    /// The name its server gave it.
    pub name: &'a str,
}

/// Where a resource lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UriRoute {
    /// The server's place in the list that was merged.
    pub server: usize,
    /// The URI as its server knows it.
    pub uri: String,
}

/// Where a task lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRoute {
    /// The server's place in the list that was merged.
    pub server: usize,
    /// The task's id as its server knows it.
    pub id: String,
}

/// A request as its server must get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutedRequest {
    /// The server's place in the list that was merged.
    pub server: usize,
    /// The prompt's name, the URI or the task's id, as the server knows it.
    pub target: String,
    /// The parameters with it in place of what the client said; all other bytes are the client's.
    pub params: Bytes,
}

/// Why a request goes to no server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteRefusal {
    /// The parameters are no JSON, or say twice where they go.
    #[error(transparent)]
    Unreadable(#[from] SpliceError),
    /// What decides the route is missing; what that is.
    #[error("{0} is missing or not a string")]
    Missing(&'static str),
    /// A kind of reference that is not known.
    #[error("unknown kind of reference")]
    UnknownReference,
    /// There is no such prompt; the name that was asked for.
    #[error("unknown prompt")]
    UnknownPrompt(String),
    /// No server has such a URI; the one that was asked for.
    #[error("unknown resource")]
    UnknownResource(String),
    /// No server has such a task; the id that was asked for.
    #[error("unknown task")]
    UnknownTask(String),
}

impl MergedCatalogue {
    /// The tool that clients call by `name`: its exposed name, or `{server}.{tool}`.
    #[must_use]
    pub fn tool(&self, name: &str) -> Option<Route<'_>> {
        self.named(ListKind::Tools, name)
    }

    /// The prompt that clients ask for by `name`: its exposed name, or `{server}.{prompt}`.
    #[must_use]
    pub fn prompt(&self, name: &str) -> Option<Route<'_>> {
        self.named(ListKind::Prompts, name)
    }

    /// The server that a URI leads to, listed or made from a template or neither: the namespace
    /// alone decides, and whether the resource exists is for the server to say.
    #[must_use]
    pub fn resource(&self, uri: &str) -> Option<UriRoute> {
        self.spaces().iter().enumerate().find_map(|(server, space)| {
            let uri = space.original(uri)?.into_owned();
            Some(UriRoute { server, uri })
        })
    }

    /// The server that a task's id leads to; whether the task exists is for the server to say.
    #[must_use]
    pub fn task(&self, id: &str) -> Option<TaskRoute> {
        self.spaces().iter().enumerate().find_map(|(server, space)| {
            let id = space.original_task(id)?.to_owned();
            Some(TaskRoute { server, id })
        })
    }

    /// Where `tasks/get`, `tasks/result`, `tasks/cancel` and `tasks/update` go: by
    /// `params.taskId`.
    ///
    /// # Errors
    /// [`RouteRefusal`].
    pub fn task_request(&self, params: &Bytes) -> Result<RoutedRequest, RouteRefusal> {
        let (span, asked) = string_at(params, &["taskId"], "taskId")?;
        let Some(TaskRoute { server, id }) = self.task(&asked) else {
            return Err(RouteRefusal::UnknownTask(asked));
        };
        Ok(routed(server, id, params, span, &asked))
    }

    /// Where `completion/complete` goes: by the prompt, URI or URI template of `params.ref`.
    ///
    /// # Errors
    /// [`RouteRefusal`].
    pub fn completion(&self, params: &Bytes) -> Result<RoutedRequest, RouteRefusal> {
        let (_, kind) = string_at(params, &["ref", "type"], "ref.type")?;
        match kind.as_str() {
            "ref/prompt" => {
                let (span, asked) = string_at(params, &["ref", "name"], "ref.name")?;
                let Some(Route { server, name }) = self.prompt(&asked) else {
                    return Err(RouteRefusal::UnknownPrompt(asked));
                };
                Ok(routed(server, name.to_owned(), params, span, &asked))
            }
            "ref/resource" => {
                let (span, asked) = string_at(params, &["ref", "uri"], "ref.uri")?;
                let Some(UriRoute { server, uri }) = self.resource(&asked) else {
                    return Err(RouteRefusal::UnknownResource(asked));
                };
                Ok(routed(server, uri, params, span, &asked))
            }
            _ => Err(RouteRefusal::UnknownReference),
        }
    }
}

fn string_at(
    params: &Bytes,
    path: &[&str],
    what: &'static str,
) -> Result<(std::ops::Range<usize>, String), RouteRefusal> {
    let span = splice::find(params, path)?.ok_or(RouteRefusal::Missing(what))?;
    let text = splice::unquote(&params[span.clone()]).ok_or(RouteRefusal::Missing(what))?;
    Ok((span, text.into_owned()))
}

fn routed(
    server: usize,
    target: String,
    params: &Bytes,
    span: std::ops::Range<usize>,
    asked: &str,
) -> RoutedRequest {
    let params = if target == asked {
        params.clone()
    } else {
        splice::replace_span(params, span, &splice::quote(&target))
    };
    RoutedRequest { server, target, params }
}
