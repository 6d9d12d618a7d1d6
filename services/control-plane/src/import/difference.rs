//! What differs between a server as it is and as it is to be, in words without secret values.

use std::collections::{BTreeMap, BTreeSet};

use domain::server::{HttpTarget, Isolation, Transport};

use super::described::transport_name;
use crate::launch::LaunchBundle;

/// A server's whole configuration. Has no `Debug`: it holds secrets.
#[derive(Clone, PartialEq)]
pub(super) struct Side {
    pub(super) transport: Transport,
    pub(super) bundle: LaunchBundle,
    pub(super) timeout_s: u32,
    pub(super) read_timeout_s: Option<u32>,
    pub(super) auto_approve: Vec<String>,
    pub(super) isolation: Isolation,
    pub(super) placement_labels: BTreeSet<String>,
    pub(super) disabled: bool,
}

impl Side {
    fn target(&self) -> Option<&HttpTarget> {
        match &self.transport {
            Transport::Sse(target)
            | Transport::StreamableHttp(target)
            | Transport::Probe(target) => Some(target),
            Transport::Stdio { .. } | Transport::Unset => None,
        }
    }

    fn program(&self) -> (&str, &str) {
        match &self.transport {
            Transport::Stdio { command, cwd, .. } => (command, cwd.as_deref().unwrap_or_default()),
            _ => ("", ""),
        }
    }
}

/// The differences, one per field; empty when there is none.
pub(super) fn differences(before: &Side, after: &Side) -> Vec<String> {
    let mut changes = Changes(Vec::new());
    changes.of("type", transport_name(&before.transport), transport_name(&after.transport));
    let ((command, cwd), (new_command, new_cwd)) = (before.program(), after.program());
    changes.of("command", command, new_command);
    changes.of("cwd", cwd, new_cwd);
    if before.bundle.args != after.bundle.args {
        changes.0.push("args".to_owned());
    }
    changes.names("env", &before.bundle.env, &after.bundle.env);
    changes.names("headers", &before.bundle.headers, &after.bundle.headers);
    let (target, new_target) = (before.target(), after.target());
    let url = |target: Option<&HttpTarget>| target.map_or("", |t| &t.url).to_owned();
    changes.of("url", &url(target), &url(new_target));
    if url(target) == url(new_target) && before.bundle.url != after.bundle.url {
        changes.0.push("url: another query or user".to_owned());
    }
    let ca_file = |target: Option<&HttpTarget>| target.and_then(|t| t.ca_file.clone());
    changes.of("ca_file", &text(ca_file(target)), &text(ca_file(new_target)));
    let proxy = |target: Option<&HttpTarget>| target.and_then(|t| t.proxy.clone());
    changes.of("proxy", &text(proxy(target)), &text(proxy(new_target)));
    if proxy(target) == proxy(new_target) && before.bundle.proxy != after.bundle.proxy {
        changes.0.push("proxy: another query or user".to_owned());
    }
    changes.of("timeout", &before.timeout_s.to_string(), &after.timeout_s.to_string());
    let seconds = |limit: Option<u32>| limit.unwrap_or(0).to_string();
    changes.of("read_timeout", &seconds(before.read_timeout_s), &seconds(after.read_timeout_s));
    if before.auto_approve != after.auto_approve {
        changes.0.push(format!("autoApprove: {}", after.auto_approve.join(", ")));
    }
    changes.of("isolation", before.isolation.as_str(), after.isolation.as_str());
    let labels = |side: &Side| Vec::from_iter(side.placement_labels.clone()).join(", ");
    changes.of("placement_labels", &labels(before), &labels(after));
    changes.of("disabled", &before.disabled.to_string(), &after.disabled.to_string());
    changes.0
}

fn text(value: Option<String>) -> String {
    value.unwrap_or_default()
}

struct Changes(Vec<String>);

impl Changes {
    fn of(&mut self, field: &str, before: &str, after: &str) {
        if before != after {
            let show = |text: &str| if text.is_empty() { "none" } else { text }.to_owned();
            self.0.push(format!("{field}: {} → {}", show(before), show(after)));
        }
    }

    fn names(
        &mut self,
        field: &str,
        before: &BTreeMap<String, String>,
        after: &BTreeMap<String, String>,
    ) {
        let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        let changes =
            names.into_iter().filter_map(|name| match (before.get(name), after.get(name)) {
                (None, Some(_)) => Some(format!("{name} added")),
                (Some(_), None) => Some(format!("{name} removed")),
                (old, new) if old != new => Some(format!("{name} changed")),
                _ => None,
            });
        let changes: Vec<_> = changes.collect();
        if !changes.is_empty() {
            self.0.push(format!("{field}: {}", changes.join(", ")));
        }
    }
}
