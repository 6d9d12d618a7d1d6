//! What to do so that the connections that are kept are those that are configured.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::ServerId;
use domain::connection::ConnectionState;

use crate::connection::ConnectionSpec;

/// A server as it is configured.
#[derive(Clone, Debug)]
pub(crate) struct Desired {
    /// How to reach it.
    pub(crate) spec: Arc<ConnectionSpec>,
    /// Whether there is to be a connection.
    pub(crate) enabled: bool,
    /// The state that the record has of it; `None` without one.
    pub(crate) recorded: Option<ConnectionState>,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Keep a connection from now on.
    Start(Arc<ConnectionSpec>),
    /// The connection that is kept is one of another configuration: end it, keep this one.
    Restart(Arc<ConnectionSpec>),
    /// The connection stays; its server has another name.
    Rename(Arc<ConnectionSpec>),
    /// Keep it no longer.
    Stop(ServerId),
    /// The record does not say yet that the server is disabled.
    NoteDisabled(Arc<ConnectionSpec>),
}

/// Compares what is configured with what is kept. What ends comes first.
pub(crate) fn plan(
    desired: &[Desired],
    kept: &BTreeMap<ServerId, Arc<ConnectionSpec>>,
) -> Vec<Action> {
    let mut actions: Vec<Action> = kept
        .keys()
        .filter(|server| !desired.iter().any(|want| want.enabled && want.spec.server == **server))
        .map(|server| Action::Stop(*server))
        .collect();
    for want in desired {
        let spec = Arc::clone(&want.spec);
        match kept.get(&spec.server) {
            _ if !want.enabled => {
                if want.recorded != Some(ConnectionState::Disabled) {
                    actions.push(Action::NoteDisabled(spec));
                }
            }
            None => actions.push(Action::Start(spec)),
            Some(current) if current.needs_restart(&spec) => actions.push(Action::Restart(spec)),
            Some(current) if current.name != spec.name => actions.push(Action::Rename(spec)),
            Some(_) => {}
        }
    }
    actions
}

#[cfg(test)]
mod tests {
    use domain::server::{Isolation, ServerConfig, Transport};
    use domain::{SecretRef, TenantId};
    use uuid::Uuid;

    use super::*;

    fn spec(id: u128, change: impl FnOnce(&mut ConnectionSpec)) -> Arc<ConnectionSpec> {
        let mut spec = ConnectionSpec {
            tenant: TenantId::from_uuid(Uuid::from_u128(1)),
            project: "project".parse().unwrap(),
            server: server(id),
            name: format!("server {id}"),
            config: ServerConfig {
                transport: Transport::Unset,
                launch: Some(SecretRef { path: "servers/1/launch".to_owned(), version: 1 }),
                timeout_s: 30,
                read_timeout_s: None,
                auto_approve: vec![],
                isolation: Isolation::default(),
            },
        };
        change(&mut spec);
        Arc::new(spec)
    }

    fn server(id: u128) -> ServerId {
        ServerId::from_uuid(Uuid::from_u128(id))
    }

    fn enabled(spec: &Arc<ConnectionSpec>) -> Desired {
        Desired { spec: Arc::clone(spec), enabled: true, recorded: None }
    }

    fn given(kept: &[&Arc<ConnectionSpec>]) -> BTreeMap<ServerId, Arc<ConnectionSpec>> {
        kept.iter().map(|spec| (spec.server, Arc::clone(spec))).collect()
    }

    #[test]
    fn what_is_new_is_started_and_what_is_gone_is_stopped_first() {
        let (old, new) = (spec(1, |_| {}), spec(2, |_| {}));
        assert_eq!(
            plan(&[enabled(&new)], &given(&[&old])),
            [Action::Stop(server(1)), Action::Start(new)]
        );
    }

    #[test]
    fn what_is_as_configured_is_left_alone() {
        let same = spec(1, |_| {});
        assert_eq!(plan(&[enabled(&same)], &given(&[&same])), []);
        let approving = spec(1, |spec| spec.config.auto_approve.push("tool".to_owned()));
        assert_eq!(plan(&[enabled(&approving)], &given(&[&same])), []);
    }

    #[test]
    fn what_decides_how_to_connect_restarts() {
        let before = spec(1, |_| {});
        for change in [
            |spec: &mut ConnectionSpec| spec.config.timeout_s = 31,
            |spec: &mut ConnectionSpec| spec.config.read_timeout_s = Some(5),
            |spec: &mut ConnectionSpec| {
                spec.config.launch =
                    Some(SecretRef { path: "servers/1/launch".to_owned(), version: 2 });
            },
            |spec: &mut ConnectionSpec| {
                spec.config.transport = Transport::Stdio {
                    command: "node".to_owned(),
                    shown_args: vec![],
                    env_names: vec![],
                    cwd: None,
                };
            },
        ] {
            let after = spec(1, change);
            assert_eq!(
                plan(&[enabled(&after)], &given(&[&before])),
                [Action::Restart(Arc::clone(&after))]
            );
        }
    }

    #[test]
    fn another_name_keeps_the_connection() {
        let (before, after) = (spec(1, |_| {}), spec(1, |spec| spec.name = "other".to_owned()));
        assert_eq!(
            plan(&[enabled(&after)], &given(&[&before])),
            [Action::Rename(Arc::clone(&after))]
        );
    }

    #[test]
    fn a_disabled_server_is_stopped_and_noted_once() {
        let spec = spec(1, |_| {});
        let mut want = Desired { enabled: false, ..enabled(&spec) };
        assert_eq!(
            plan(std::slice::from_ref(&want), &given(&[&spec])),
            [Action::Stop(server(1)), Action::NoteDisabled(Arc::clone(&spec))]
        );
        want.recorded = Some(ConnectionState::Disabled);
        assert_eq!(plan(&[want], &given(&[])), []);
    }
}
