//! What to do so that the connections that are kept are those that are configured and leased.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::ServerId;
use domain::connection::ConnectionState;

use crate::connection::ConnectionSpec;

/// What the lease of a server allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// It is another worker's, or nobody's.
    Away,
    /// It will come: a connection is to stand by then.
    Prepare,
    /// It is this worker's.
    Serve,
    /// It is this worker's for as long as it takes to stop serving it.
    LetGo,
}

/// A server as it is configured and leased.
#[derive(Clone, Debug)]
pub(crate) struct Desired {
    /// How to reach it.
    pub(crate) spec: Arc<ConnectionSpec>,
    /// Whether there is to be a connection.
    pub(crate) enabled: bool,
    /// Whose it is.
    pub(crate) hold: Hold,
    /// The state that the record has of it; `None` without one.
    pub(crate) recorded: Option<ConnectionState>,
}

/// A connection that is kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kept {
    /// Of what it is.
    pub(crate) spec: Arc<ConnectionSpec>,
    /// Whether the server is served, or only prepared.
    pub(crate) is_served: bool,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Keep a connection from now on, and serve it.
    Start(Arc<ConnectionSpec>),
    /// Keep a connection from now on, and do not serve it.
    Prepare(Arc<ConnectionSpec>),
    /// Serve what was prepared.
    Serve(ServerId),
    /// The connection that is kept is one of another configuration: end it, keep this one.
    Restart(Arc<ConnectionSpec>),
    /// The connection stays; its server has another name.
    Rename(Arc<ConnectionSpec>),
    /// Keep it no longer; what is under way has its time.
    Stop(ServerId),
    /// As [`Stop`](Self::Stop), and give the lease up as soon as nothing new is served.
    LetGo(ServerId),
    /// The lease is lost: nothing of it may go on.
    Lose(ServerId),
    /// The record does not say yet that the server is disabled.
    NoteDisabled(Arc<ConnectionSpec>),
}

/// Compares what is configured and leased with what is kept. What ends comes first.
pub(crate) fn plan(desired: &[Desired], kept: &BTreeMap<ServerId, Kept>) -> Vec<Action> {
    let wanted: BTreeMap<ServerId, &Desired> =
        desired.iter().map(|want| (want.spec.server, want)).collect();
    let ends = kept.iter().filter_map(|(server, kept)| end(*server, kept, wanted.get(server)));
    let mut actions: Vec<Action> = ends.collect();
    for want in desired {
        let current = kept.get(&want.spec.server);
        if want.enabled {
            keep(want, current, &mut actions);
        } else if want.recorded != Some(ConnectionState::Disabled)
            && (want.hold != Hold::Away || current.is_some())
        {
            actions.push(Action::NoteDisabled(Arc::clone(&want.spec)));
        }
    }
    actions
}

/// How a connection ends that is not to be kept.
fn end(server: ServerId, kept: &Kept, want: Option<&&Desired>) -> Option<Action> {
    let hold = want.filter(|want| want.enabled).map(|want| want.hold);
    match (hold, kept.is_served) {
        (Some(Hold::Serve), _) | (Some(Hold::Prepare), false) => None,
        (Some(Hold::LetGo), true) => Some(Action::LetGo(server)),
        (Some(Hold::Away | Hold::Prepare), true) => Some(Action::Lose(server)),
        (None, _) | (Some(Hold::LetGo | Hold::Away), false) => Some(Action::Stop(server)),
    }
}

/// What is to be done for a connection that is to be kept.
fn keep(want: &Desired, current: Option<&Kept>, actions: &mut Vec<Action>) {
    let spec = &want.spec;
    let Some(current) = current else {
        match want.hold {
            Hold::Serve => actions.push(Action::Start(Arc::clone(spec))),
            Hold::Prepare => actions.push(Action::Prepare(Arc::clone(spec))),
            Hold::Away | Hold::LetGo => {}
        }
        return;
    };
    let goes_on = match want.hold {
        Hold::Serve => true,
        Hold::Prepare => !current.is_served,
        Hold::Away | Hold::LetGo => false,
    };
    if !goes_on {
        return;
    }
    if current.spec.needs_restart(spec) {
        actions.push(Action::Restart(Arc::clone(spec)));
    } else if current.spec.name != spec.name {
        actions.push(Action::Rename(Arc::clone(spec)));
    }
    if want.hold == Hold::Serve && !current.is_served {
        actions.push(Action::Serve(spec.server));
    }
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
                placement_labels: Default::default(),
            },
        };
        change(&mut spec);
        Arc::new(spec)
    }

    fn server(id: u128) -> ServerId {
        ServerId::from_uuid(Uuid::from_u128(id))
    }

    fn enabled(spec: &Arc<ConnectionSpec>) -> Desired {
        Desired { spec: Arc::clone(spec), enabled: true, hold: Hold::Serve, recorded: None }
    }

    fn held(spec: &Arc<ConnectionSpec>, hold: Hold) -> [Desired; 1] {
        [Desired { hold, ..enabled(spec) }]
    }

    fn given(kept: &[&Arc<ConnectionSpec>]) -> BTreeMap<ServerId, Kept> {
        let served = kept.iter().map(|spec| {
            let kept = Kept { spec: Arc::clone(spec), is_served: true };
            (spec.server, kept)
        });
        served.collect()
    }

    fn prepared(spec: &Arc<ConnectionSpec>) -> BTreeMap<ServerId, Kept> {
        let mut kept = given(&[spec]);
        for kept in kept.values_mut() {
            kept.is_served = false;
        }
        kept
    }

    #[test]
    fn what_is_not_leased_is_not_started_and_what_will_come_is_prepared() {
        let spec = spec(1, |_| {});
        assert_eq!(plan(&held(&spec, Hold::Away), &given(&[])), []);
        assert_eq!(plan(&held(&spec, Hold::LetGo), &given(&[])), []);
        assert_eq!(
            plan(&held(&spec, Hold::Prepare), &given(&[])),
            [Action::Prepare(Arc::clone(&spec))]
        );
        assert_eq!(plan(&held(&spec, Hold::Prepare), &prepared(&spec)), []);
        assert_eq!(
            plan(&held(&spec, Hold::Serve), &prepared(&spec)),
            [Action::Serve(server(1))],
            "without another connection"
        );
        assert_eq!(
            plan(&held(&spec, Hold::Away), &prepared(&spec)),
            [Action::Stop(server(1))],
            "it does not come after all"
        );
    }

    #[test]
    fn a_lost_lease_ends_at_once_and_one_to_let_go_in_time() {
        let spec = spec(1, |_| {});
        let kept = given(&[&spec]);
        assert_eq!(plan(&held(&spec, Hold::Away), &kept), [Action::Lose(server(1))]);
        assert_eq!(plan(&held(&spec, Hold::Prepare), &kept), [Action::Lose(server(1))]);
        assert_eq!(plan(&held(&spec, Hold::LetGo), &kept), [Action::LetGo(server(1))]);
        assert_eq!(plan(&held(&spec, Hold::LetGo), &prepared(&spec)), [Action::Stop(server(1))]);
        // Another configuration is nothing that a lease is lost over.
        assert_eq!(plan(&[], &kept), [Action::Stop(server(1))]);
    }

    #[test]
    fn what_was_prepared_of_another_configuration_is_started_anew_and_served() {
        let (before, after) = (spec(1, |_| {}), spec(1, |spec| spec.config.timeout_s = 31));
        assert_eq!(
            plan(&held(&after, Hold::Serve), &prepared(&before)),
            [Action::Restart(Arc::clone(&after)), Action::Serve(server(1))]
        );
    }

    #[test]
    fn only_who_has_or_had_a_server_notes_that_it_is_disabled() {
        let spec = spec(1, |_| {});
        let away = Desired { enabled: false, hold: Hold::Away, ..enabled(&spec) };
        assert_eq!(plan(std::slice::from_ref(&away), &given(&[])), []);
        assert_eq!(
            plan(&[away], &given(&[&spec])),
            [Action::Stop(server(1)), Action::NoteDisabled(spec)]
        );
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
