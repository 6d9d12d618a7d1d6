//! A snapshot without the observations that later ones replace.

use domain::event::{ConnectionEvent, ProjectEvent, ServerEvent};
use domain::{Event, StreamId, StreamKind, TenantId, Timestamp};
use events::{Configuration, LatestObservations};
use proptest::prelude::*;
use uuid::Uuid;

use crate::arbitrary;
use crate::sample::{config, name};

type Entry = (StreamId, Event, Timestamp);

fn entry(at: usize, kind: StreamKind, id: String, event: Event) -> Entry {
    let tenant = TenantId::from_uuid(Uuid::from_u128(1));
    (StreamId::new(tenant, kind, id), event, Timestamp::from_micros(i64::try_from(at).unwrap()))
}

fn fold<'a>(log: impl IntoIterator<Item = &'a Entry>) -> Configuration {
    let mut configuration = Configuration::default();
    for (stream, event, at) in log {
        configuration.apply(stream, event, *at);
    }
    configuration
}

/// What is left of a log.
fn thinned(log: &[Entry]) -> Vec<&Entry> {
    let mut latest = LatestObservations::default();
    let mut rest: Vec<&Entry> =
        log.iter().filter_map(|entry| latest.take(&entry.0, &entry.1, entry)).collect();
    rest.extend(latest.into_kept());
    rest
}

/// All in few projects and few servers, so that they meet; observations above all.
fn log() -> impl Strategy<Value = Vec<Entry>> {
    let event = prop_oneof![
        3 => arbitrary::event(),
        1 => (0..2_u8, any::<bool>()).prop_map(|(project, disabled)| {
            Event::Server(ServerEvent::Registered {
                project: format!("p{project}").parse().unwrap(),
                name: name("files"),
                config: config(domain::server::Transport::Unset),
                disabled,
            })
        }),
        1 => Just(Event::Project(ProjectEvent::Deleted)),
        12 => arbitrary::connection_event().prop_map(Event::Connection),
    ];
    proptest::collection::vec((event, 0..2_u128), 0..80).prop_map(|events| {
        let placed = events.into_iter().enumerate().map(|(at, (event, number))| {
            let server = Uuid::from_u128(100 + number).to_string();
            match &event {
                Event::Server(_) => entry(at, StreamKind::Server, server, event),
                Event::Connection(_) => entry(at, StreamKind::Connection, server, event),
                Event::Project(_) => entry(at, StreamKind::Project, format!("p{number}"), event),
                _ => entry(at, StreamKind::ApiKey, server, event),
            }
        });
        placed.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_is_left_of_a_log_folds_to_the_same_configuration(log in log()) {
        prop_assert_eq!(fold(thinned(&log)), fold(&log));
    }
}

#[test]
fn of_many_observations_the_last_are_left() {
    let server = Uuid::from_u128(100).to_string();
    let registered = ServerEvent::Registered {
        project: "p0".parse().unwrap(),
        name: name("files"),
        config: config(domain::server::Transport::Unset),
        disabled: false,
    };
    let mut log = vec![entry(0, StreamKind::Server, server.clone(), Event::Server(registered))];
    for at in 1..=1_000 {
        let project = "p0".parse().unwrap();
        let event = if at % 2 == 0 {
            ConnectionEvent::StateObserved { project, observation: Default::default() }
        } else {
            let changed = ["0", "1"][at / 2 % 2].repeat(64);
            let seen = domain::connection::ToolDefinition { tool: "read".into(), hash: changed };
            let summary = domain::connection::CatalogueSummary {
                tools: 1,
                definitions: [seen].into(),
                ..Default::default()
            };
            ConnectionEvent::CatalogueObserved { project, summary }
        };
        log.push(entry(at, StreamKind::Connection, server.clone(), Event::Connection(event)));
    }
    let left: Vec<i64> = thinned(&log).iter().map(|entry| entry.2.as_micros()).collect();
    assert_eq!(left, [0, 1, 999, 1_000], "registered, first sighting, last catalogue, last state");
}
