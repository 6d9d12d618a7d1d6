//! What a project's servers offer, as last learnt.

use authz::Action;
use bytes::Bytes;
use domain::project::Naming as NamingRule;
use domain::{ProjectId, Refusal, ServerId};
use mcp::catalogue::{Catalogue, ListKind};
use mcp::naming::Naming;
use serde::Deserialize;

use super::authorize::authorize;
use super::server_get::require_server;
use crate::app::{App, Page, Paging};
use crate::context::Ctx;
use crate::fault;
use crate::views::{Definition, ServerView, ToolView};

const LIST: &str = "tools";
/// Most servers that one listing looks at.
const MAX_SERVERS: u32 = 1_000;

/// The tools of one server, or of all, by server and in the upstream's order.
///
/// # Errors
/// `NotFound`; `InvalidArgument` for a page token of another list.
pub async fn list_tools(
    app: &App,
    ctx: &Ctx,
    project: &ProjectId,
    server: Option<ServerId>,
    paging: &Paging,
) -> Result<Page<ToolView>, Refusal> {
    let role = authorize(app, ctx, project, Action::ServersRead).await?;
    let all = app.views.servers(ctx.tenant, project, None, MAX_SERVERS).await?;
    let servers = match server {
        Some(id) => vec![require_server(app, ctx, project, id, Action::ServersRead).await?],
        None => all.clone(),
    };
    let rule = app.views.project(ctx.tenant, project, role).await?;
    let rule = rule.map(|project| project.settings.naming).unwrap_or_default();
    let naming = naming(rule, &all);
    let (after_server, skip) = start(paging)?;
    let mut tools = Vec::new();
    for server in servers.iter().filter(|server| server.name >= after_server) {
        let skip = if server.name == after_server { skip } else { 0 };
        let wanted = paging.size() as usize + 1 - tools.len();
        let offered = tools_of(app, ctx, server, naming).await?;
        tools.extend(offered.into_iter().enumerate().skip(skip).take(wanted));
        if tools.len() > paging.size() as usize {
            break;
        }
    }
    let page = Page::cut(tools, paging, LIST, |(index, tool)| {
        format!("{}\n{}", tool.server_name, index + 1)
    });
    Ok(page.map(|(_, tool)| tool))
}

/// Where the page starts: at which server, after how many of its tools.
fn start(paging: &Paging) -> Result<(String, usize), Refusal> {
    let Some(key) = paging.after(LIST)? else { return Ok((String::new(), 0)) };
    key.split_once('\n')
        .and_then(|(server, index)| Some((server.to_owned(), index.parse().ok()?)))
        .ok_or_else(|| Refusal::invalid("page_token", "is not one of ours"))
}

fn naming(rule: NamingRule, servers: &[ServerView]) -> Naming {
    let single = servers.iter().filter(|server| !server.disabled).count() == 1;
    match rule {
        NamingRule::PlainWhenSingle if single => Naming::unprefixed(Naming::DEFAULT_MAX_CHARS),
        _ => Naming::default(),
    }
}

async fn tools_of(
    app: &App,
    ctx: &Ctx,
    server: &ServerView,
    naming: Naming,
) -> Result<Vec<ToolView>, Refusal> {
    let Some(event) = server.catalogue_event else { return Ok(vec![]) };
    let body = app.store.body(ctx.tenant, event).await.map_err(fault::store)?;
    let Some(body) = body else { return Ok(vec![]) };
    let catalogue = Catalogue::from_json(&body).map_err(|error| fault::internal(&error))?;
    let definitions = app.views.definitions(ctx.tenant, server.id).await?;
    let tools = catalogue.items(ListKind::Tools).iter();
    Ok(tools.map(|tool| show(server, naming, &definitions, tool.key(), tool.raw())).collect())
}

/// `definitions` is sorted by name.
fn show(
    server: &ServerView,
    naming: Naming,
    definitions: &[Definition],
    name: &str,
    raw: &Bytes,
) -> ToolView {
    #[derive(Deserialize)]
    struct Described {
        description: Option<String>,
    }
    let found = definitions.binary_search_by(|one| one.tool.as_str().cmp(name));
    let (definition_hash, approved_hash) = match found {
        Ok(index) => {
            let definition = &definitions[index];
            (definition.current_hash.clone(), definition.approved().to_owned())
        }
        Err(_) => Default::default(),
    };
    let described: Option<Described> = serde_json::from_slice(raw).ok();
    ToolView {
        server: server.id,
        server_name: server.name.clone(),
        name: name.to_owned(),
        unified_name: naming.expose(&server.name, name),
        description: described.and_then(|tool| tool.description).unwrap_or_default(),
        enabled: server.disabled_tools.binary_search_by(|tool| tool.as_str().cmp(name)).is_err(),
        definition_json: String::from_utf8_lossy(raw).into_owned(),
        definition_hash,
        approved_hash,
    }
}
