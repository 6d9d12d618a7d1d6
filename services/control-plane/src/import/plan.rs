//! The difference between what a file wants and what there is, as steps. Pure.

use std::collections::BTreeMap;

use domain::server::{ActiveServer, HttpTarget, Server, ServerCommand, ServerName, Transport};
use domain::{ProjectId, Refusal, ServerId};
use proto::control::v1::ServerSpec;

use super::described::Described;
use super::difference::{Side, differences};
use super::file::{ConfigFile, Entry};
use crate::launch::{self, HIDDEN, LaunchBundle};
use crate::use_case::server_create::{config_of, isolation_of};
use crate::views::ServerView;

/// A server that the project has, with its sealed values. Has no `Debug`: it holds secrets.
pub struct Existing {
    /// What is shown of it.
    pub view: ServerView,
    /// The rest.
    pub bundle: LaunchBundle,
}

/// What happens to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportAction {
    /// It was not there.
    Created,
    /// It was there and differs.
    Updated,
    /// It was there, the same.
    Unchanged,
    /// It was there and the file does not name it.
    Deleted,
    /// The file's entry cannot be used.
    Refused,
}

impl ImportAction {
    /// The name in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
            Self::Refused => "refused",
        }
    }
}

/// One step of an import. Has no `Debug`: it holds secrets.
pub struct Step {
    /// The server's name.
    pub name: String,
    /// What is to be done.
    pub action: ImportAction,
    /// The server, if the project has it.
    pub server: Option<ServerId>,
    /// What differs, by field, or why it is refused. Without secret values.
    pub changes: Vec<String>,
    /// What it is to be, for `Created` and `Updated`.
    pub spec: ServerSpec,
    /// The fields of `spec` that count, for `Updated`.
    pub mask: Vec<String>,
}

impl Step {
    fn new(name: &str, action: ImportAction) -> Self {
        Self {
            name: name.to_owned(),
            action,
            server: None,
            changes: Vec::new(),
            spec: ServerSpec::default(),
            mask: Vec::new(),
        }
    }

    /// The entry named `name` cannot be used.
    pub(super) fn refused(name: &str, refusal: &Refusal) -> Self {
        let field = refusal.field.as_deref().map(|field| field.trim_start_matches("spec."));
        let reason = match field {
            Some(field) => format!("{field} {}", refusal.message),
            None => refusal.message.clone(),
        };
        Self { changes: vec![reason], ..Self::new(name, ImportAction::Refused) }
    }
}

/// How a server is started or reached: what a file's entry says as a whole.
const LAUNCH_FIELDS: [&str; 7] = ["transport", "command", "args", "env", "cwd", "url", "headers"];

/// The steps from `existing` to what the file wants, by name. Servers that the file does not
/// name are deleted if `prune` says so, else left alone.
pub fn plan(
    project: &ProjectId,
    existing: &[Existing],
    file: ConfigFile,
    prune: bool,
) -> Vec<Step> {
    let by_name: BTreeMap<&str, &Existing> =
        existing.iter().map(|server| (server.view.name.as_str(), server)).collect();
    let named: Vec<String> = file.entries.iter().map(|entry| entry.name.clone()).collect();
    let mut steps: Vec<Step> = file
        .entries
        .into_iter()
        .map(|Entry { name, server }| {
            let found = by_name.get(name.as_str()).copied();
            let step = server.and_then(|described| match found {
                Some(found) => change(project, found, described),
                None => create(project, &name, described),
            });
            let mut step = step.unwrap_or_else(|refusal| Step::refused(&name, &refusal));
            step.server = found.map(|found| found.view.id);
            step
        })
        .collect();
    if prune {
        let gone = existing.iter().filter(|server| !named.contains(&server.view.name));
        steps.extend(gone.map(|server| Step {
            server: Some(server.view.id),
            ..Step::new(&server.view.name, ImportAction::Deleted)
        }));
    }
    steps
}

fn create(project: &ProjectId, name: &str, described: Described) -> Result<Step, Refusal> {
    let mut spec = described.spec;
    keep_hidden(&mut spec, &LaunchBundle::default(), &[])?;
    let (transport, _) = launch::split(&spec)?;
    let register = ServerCommand::Register {
        project: project.clone(),
        name: ServerName::parse("name", name)?,
        config: config_of(&spec, transport),
        disabled: spec.disabled,
    };
    domain::server::decide(&Server::Absent, register)?;
    Ok(Step { spec, ..Step::new(name, ImportAction::Created) })
}

fn change(project: &ProjectId, existing: &Existing, described: Described) -> Result<Step, Refusal> {
    let view = &existing.view;
    let before = side_of(existing);
    let partial = described.spec.command.trim().is_empty() && described.spec.url.trim().is_empty();
    let given = described.given.iter().copied();
    let (after, spec, mask) = if partial {
        // "Not now, and not said how": what is known of how it is reached stays.
        let after = with_settings(&before, &described);
        let mask = given.filter(|field| !LAUNCH_FIELDS.contains(field)).collect::<Vec<_>>();
        (after, described.spec, mask)
    } else {
        let mask = LAUNCH_FIELDS.into_iter();
        let mask = mask.chain(given.filter(|field| !LAUNCH_FIELDS.contains(field))).collect();
        let (after, spec) = relaunched(existing, &before, described.clone())?;
        (after, spec, mask)
    };
    let name = ServerName::parse("name", &view.name)?;
    let active = ActiveServer {
        project: project.clone(),
        name: name.clone(),
        config: view.config.clone(),
        disabled: view.disabled,
        disabled_tools: view.disabled_tools.iter().cloned().collect(),
        approved_tools: BTreeMap::new(),
    };
    let mut config = view.config.clone();
    config.transport = after.transport.clone();
    config.timeout_s = after.timeout_s;
    config.read_timeout_s = after.read_timeout_s;
    config.auto_approve.clone_from(&after.auto_approve);
    config.isolation = after.isolation;
    config.placement_labels.clone_from(&after.placement_labels);
    let command = ServerCommand::Change {
        name: Some(name),
        config: Some(config),
        disabled: Some(after.disabled),
    };
    domain::server::decide(&Server::Active(active), command)?;
    let mut changes = differences(&before, &after);
    if changes.is_empty() {
        if before.disabled && !described.given.contains(&"disabled") {
            changes.push("stays disabled: the file does not say".to_owned());
        }
        return Ok(Step { changes, ..Step::new(&view.name, ImportAction::Unchanged) });
    }
    let mask = mask.into_iter().map(str::to_owned).collect();
    Ok(Step { changes, spec, mask, ..Step::new(&view.name, ImportAction::Updated) })
}

fn side_of(existing: &Existing) -> Side {
    let config = &existing.view.config;
    Side {
        transport: config.transport.clone(),
        bundle: existing.bundle.clone(),
        timeout_s: config.timeout_s,
        read_timeout_s: config.read_timeout_s,
        auto_approve: config.auto_approve.clone(),
        isolation: config.isolation,
        placement_labels: config.placement_labels.clone(),
        disabled: existing.view.disabled,
    }
}

/// The server with the settings that the entry names.
fn with_settings(before: &Side, described: &Described) -> Side {
    let (spec, given) = (&described.spec, &described.given);
    let mut after = before.clone();
    for field in given {
        match *field {
            "timeout_s" => after.timeout_s = spec.timeout_s,
            "read_timeout_s" => {
                after.read_timeout_s = spec.read_timeout_s.filter(|seconds| *seconds != 0);
            }
            "auto_approve" => after.auto_approve.clone_from(&spec.auto_approve),
            "isolation" => after.isolation = isolation_of(spec),
            "placement_labels" => {
                after.placement_labels = spec.placement_labels.iter().cloned().collect();
            }
            "disabled" => after.disabled = spec.disabled,
            _ => {}
        }
    }
    after
}

/// The server with what the entry says of how it is started or reached.
fn relaunched(
    existing: &Existing,
    before: &Side,
    described: Described,
) -> Result<(Side, ServerSpec), Refusal> {
    let mut after = with_settings(before, &described);
    let mut spec = described.spec;
    let shown = match &before.transport {
        Transport::Stdio { shown_args, .. } => shown_args.as_slice(),
        _ => &[],
    };
    keep_hidden(&mut spec, &existing.bundle, shown)?;
    if let Some(target) = target_of(&before.transport) {
        keep_target(&mut spec, target, &existing.bundle, &described.given);
    }
    spec.disabled = after.disabled;
    (after.transport, after.bundle) = launch::split(&spec)?;
    Ok((after, spec))
}

fn target_of(transport: &Transport) -> Option<&HttpTarget> {
    match transport {
        Transport::Sse(target) | Transport::StreamableHttp(target) | Transport::Probe(target) => {
            Some(target)
        }
        Transport::Stdio { .. } | Transport::Unset => None,
    }
}

/// A URL as it is shown stands for the whole of it; what the file does not name stays.
fn keep_target(
    spec: &mut ServerSpec,
    target: &HttpTarget,
    bundle: &LaunchBundle,
    given: &[&'static str],
) {
    if let Some(full) = bundle.url.as_ref().filter(|_| spec.url.trim() == target.url) {
        spec.url.clone_from(full);
    }
    if !given.contains(&"ca_file") {
        spec.ca_file = target.ca_file.clone().unwrap_or_default();
    }
    if !given.contains(&"proxy") || target.proxy.as_deref() == Some(spec.proxy.trim()) {
        let proxy = bundle.proxy.as_ref().or(target.proxy.as_ref());
        spec.proxy = proxy.cloned().unwrap_or_default();
    }
}

/// Puts back the values that a file from us shows as hidden.
fn keep_hidden(
    spec: &mut ServerSpec,
    old: &LaunchBundle,
    shown_args: &[String],
) -> Result<(), Refusal> {
    let unknown = |what: &str, name: &str| {
        Refusal::invalid(what, format!("{name} is hidden ({HIDDEN}): write its value"))
    };
    let env = spec.env.iter_mut().map(|pair| (pair, &old.env, "env"));
    let headers = spec.headers.iter_mut().map(|pair| (pair, &old.headers, "headers"));
    for ((name, value), kept, field) in env.chain(headers) {
        if value == HIDDEN {
            let kept = kept.get(name).ok_or_else(|| unknown(field, name))?;
            value.clone_from(kept);
        }
    }
    let same_count = shown_args.len() == old.args.len();
    for (index, arg) in spec.args.iter_mut().enumerate() {
        if same_count && arg.contains(HIDDEN) && shown_args.get(index) == Some(arg) {
            arg.clone_from(&old.args[index]);
        } else if arg == HIDDEN {
            return Err(unknown("args", &format!("argument {}", index + 1)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
