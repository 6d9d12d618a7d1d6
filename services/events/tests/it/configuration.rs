//! The configuration, given the events of a log.

use std::sync::Arc;

use domain::api_key::{ApiKey, IssuedKey, KeyHash};
use domain::connection::{CatalogueSummary, ConnectionState, Observation};
use domain::event::{ApiKeyEvent, ConnectionEvent, ProjectEvent, ServerEvent};
use domain::server::Transport;
use domain::{
    ApiKeyId, Event, ProjectId, Role, ServerId, StreamId, StreamKind, TenantId, Timestamp, UserId,
};
use events::{Change, ChangeKind, Configuration};
use proptest::prelude::*;
use uuid::Uuid;

use crate::arbitrary;
use crate::sample::{config, name};

const TENANT: TenantId = TenantId::from_uuid(Uuid::from_u128(1));
const OWNER: UserId = UserId::from_uuid(Uuid::from_u128(2));
const FRIEND: UserId = UserId::from_uuid(Uuid::from_u128(3));
const KEY: ApiKeyId = ApiKeyId::from_uuid(Uuid::from_u128(4));
const HASH: KeyHash = KeyHash([7; 32]);

fn project() -> ProjectId {
    "search".parse().unwrap()
}

const fn server(number: u128) -> ServerId {
    ServerId::from_uuid(Uuid::from_u128(100 + number))
}

/// A log that is folded as it grows.
#[derive(Default)]
struct Log {
    configuration: Configuration,
    clock: i64,
}

impl Log {
    fn with_project() -> Self {
        let mut log = Self::default();
        log.project(ProjectEvent::Created {
            name: "Search".to_owned(),
            description: String::new(),
            owner: OWNER,
        });
        log
    }

    fn record(&mut self, kind: StreamKind, id: impl ToString, event: Event) -> Change {
        self.clock += 1;
        let stream = StreamId::new(TENANT, kind, id);
        self.configuration.apply(&stream, &event, Timestamp::from_micros(self.clock))
    }

    fn project(&mut self, event: ProjectEvent) -> Change {
        self.record(StreamKind::Project, project(), Event::Project(event))
    }

    fn server(&mut self, id: ServerId, event: ServerEvent) -> Change {
        self.record(StreamKind::Server, id, Event::Server(event))
    }

    fn register(&mut self, id: ServerId, named: &str) -> Change {
        let config = config(Transport::Unset);
        let (project, name) = (project(), name(named));
        self.server(id, ServerEvent::Registered { project, name, config, disabled: false })
    }

    fn connection(&mut self, id: ServerId, event: ConnectionEvent) -> Change {
        self.record(StreamKind::Connection, id, Event::Connection(event))
    }

    fn key(&mut self, event: ApiKeyEvent) -> Change {
        self.record(StreamKind::ApiKey, KEY, Event::ApiKey(event))
    }

    fn issue(&mut self, role: Role, creator: UserId) -> Change {
        self.key(ApiKeyEvent::Issued {
            project: project(),
            name: "laptop".to_owned(),
            hash: HASH,
            suffix: "wxyz".to_owned(),
            role,
            creator,
            expires_at: None,
        })
    }

    fn names(&self) -> Vec<String> {
        let servers = self.configuration.servers_of(&project());
        servers.iter().map(|entry| entry.server.name.to_string()).collect()
    }

    fn role_of_key(&self) -> Option<Role> {
        self.configuration.effective_role(self.configuration.key(&HASH).unwrap())
    }
}

#[test]
fn a_project_is_found_with_its_settings_and_members() {
    let log = Log::with_project();
    let entry = log.configuration.project(&project()).unwrap();
    assert_eq!((entry.tenant, &entry.id), (TENANT, &project()));
    assert_eq!(entry.project.members.get(&OWNER), Some(&Role::Owner));
    assert_eq!(log.configuration.projects().len(), 1);
}

#[test]
fn servers_are_found_by_id_and_name_and_listed_by_name() {
    let mut log = Log::with_project();
    let change = log.register(server(1), "web");
    assert_eq!(change.kind, ChangeKind::Server);
    assert_eq!((change.project, change.server), (Some(project()), Some(server(1))));
    log.register(server(2), "files");
    assert_eq!(log.names(), ["files", "web"]);
    let by_name = log.configuration.server_named(&project(), "web").unwrap();
    assert!(Arc::ptr_eq(by_name, log.configuration.server(&server(1)).unwrap()));
    assert!(log.configuration.server_named(&project(), "nothing").is_none());
    assert!(log.configuration.server_named(&project(), "a/b").is_none());
    assert!(log.configuration.server_named(&"other".parse().unwrap(), "web").is_none());
}

#[test]
fn a_renamed_server_leaves_its_name_to_another() {
    let mut log = Log::with_project();
    log.register(server(1), "web");
    log.server(server(1), ServerEvent::Renamed { name: name("search") });
    log.register(server(2), "web");
    assert_eq!(log.names(), ["search", "web"]);
    log.server(server(1), ServerEvent::ToolDisabled { tool: "find".to_owned() });
    let found = |named| log.configuration.server_named(&project(), named).unwrap().id;
    assert_eq!((found("search"), found("web")), (server(1), server(2)));
}

#[test]
fn an_entry_that_was_handed_out_never_changes() {
    let mut log = Log::with_project();
    log.register(server(1), "web");
    let before = Arc::clone(log.configuration.server(&server(1)).unwrap());
    log.server(server(1), ServerEvent::Disabled);
    assert!(!before.server.disabled);
    assert!(log.configuration.server(&server(1)).unwrap().server.disabled);
}

#[test]
fn a_deleted_server_is_gone_with_what_was_observed_of_it() {
    let mut log = Log::with_project();
    log.register(server(1), "web");
    let summary = CatalogueSummary { hash: "ab".to_owned(), ..CatalogueSummary::default() };
    log.connection(
        server(1),
        ConnectionEvent::CatalogueObserved { project: project(), summary: summary.clone() },
    );
    assert_eq!(log.configuration.connection(&server(1)).catalogue, Some(summary));

    let change = log.server(server(1), ServerEvent::Deleted);
    assert_eq!((change.project, change.kind), (Some(project()), ChangeKind::ServerDeleted));
    assert!(log.names().is_empty() && log.configuration.server(&server(1)).is_none());
    assert_eq!(log.configuration.connection(&server(1)).catalogue, None);
}

#[test]
fn observations_are_kept_with_the_time_of_their_record() {
    let mut log = Log::with_project();
    log.register(server(1), "web");
    let unknown = log.configuration.connection(&server(1));
    assert_eq!((unknown.observation.state, unknown.observed_at), (ConnectionState::Starting, None));
    let observation = Observation { state: ConnectionState::Active, ..Observation::default() };
    let observed =
        ConnectionEvent::StateObserved { project: project(), observation: observation.clone() };
    assert_eq!(log.connection(server(1), observed.clone()).kind, ChangeKind::ConnectionState);
    let view = log.configuration.connection(&server(1));
    assert_eq!(
        (&view.observation, view.observed_at),
        (&observation, Some(Timestamp::from_micros(3)))
    );

    let of_nothing = log.connection(server(9), observed);
    assert_eq!(of_nothing, Change::NONE, "nobody has that server");
}

#[test]
fn a_deleted_project_takes_its_servers_along_and_its_keys_open_nothing() {
    let mut log = Log::with_project();
    log.register(server(1), "web");
    log.issue(Role::Owner, OWNER);
    let change = log.project(ProjectEvent::Deleted);
    assert_eq!(change.kind, ChangeKind::ProjectDeleted);
    assert!(log.configuration.project(&project()).is_none());
    assert!(log.configuration.server(&server(1)).is_none() && log.names().is_empty());
    assert!(log.configuration.key(&HASH).is_some(), "the key stays known");
    assert_eq!(log.role_of_key(), None);

    // Registered by a command that ran at the same time.
    assert_eq!(log.register(server(2), "late"), Change::NONE);
    assert!(log.configuration.server(&server(2)).is_none() && log.names().is_empty());
}

#[test]
fn a_key_may_do_the_lesser_of_its_role_and_its_creators() {
    for (of_key, of_creator, expected) in [
        (Role::Owner, Role::Developer, Role::Developer),
        (Role::Developer, Role::Owner, Role::Developer),
        (Role::Reporter, Role::Developer, Role::Reporter),
    ] {
        let mut log = Log::with_project();
        log.project(ProjectEvent::MemberAdded { user: FRIEND, role: of_creator });
        log.issue(of_key, FRIEND);
        assert_eq!(log.role_of_key(), Some(expected));
    }
}

#[test]
fn a_key_follows_its_creator() {
    let mut log = Log::with_project();
    log.project(ProjectEvent::MemberAdded { user: FRIEND, role: Role::Developer });
    log.issue(Role::Developer, FRIEND);
    log.project(ProjectEvent::MemberRoleChanged { user: FRIEND, role: Role::Reporter });
    assert_eq!(log.role_of_key(), Some(Role::Reporter));
    log.project(ProjectEvent::MemberRemoved { user: FRIEND });
    assert_eq!(log.role_of_key(), None, "its creator is no member any more");
}

#[test]
fn a_revoked_key_stays_known_and_may_do_nothing() {
    let mut log = Log::with_project();
    let issued = log.issue(Role::Owner, OWNER);
    assert_eq!((issued.api_key, issued.kind), (Some(KEY), ChangeKind::ApiKey));
    assert_eq!(log.role_of_key(), Some(Role::Owner));
    log.key(ApiKeyEvent::Revoked);
    let entry = log.configuration.key(&HASH).unwrap();
    assert!(matches!(entry.key, ApiKey::Revoked(_)) && entry.id == KEY);
    assert_eq!(log.role_of_key(), None);
    assert!(log.configuration.key_by_id(&KEY).is_some());
    assert!(log.configuration.key(&KeyHash([8; 32])).is_none());
}

#[test]
fn a_key_of_another_tenant_opens_nothing() {
    let mut log = Log::with_project();
    log.issue(Role::Owner, OWNER);
    let mut foreign = log.configuration.key(&HASH).unwrap().as_ref().clone();
    foreign.tenant = TenantId::from_uuid(Uuid::from_u128(9));
    assert_eq!(log.configuration.effective_role(&foreign), None);
    let ApiKey::Active(IssuedKey { .. }) = foreign.key else { panic!("the key is active") };
}

proptest! {
    /// Whatever comes in whatever order: no panic, and the look-ups agree with each other.
    #[test]
    fn look_ups_agree(events in proptest::collection::vec((arbitrary::event(), 0..3_u128), 0..60)) {
        let mut log = Log::with_project();
        for (event, number) in events {
            let (kind, id) = match &event {
                Event::Server(_) => (StreamKind::Server, server(number).to_string()),
                Event::Connection(_) => (StreamKind::Connection, server(number).to_string()),
                Event::Project(_) => (StreamKind::Project, format!("p{number}")),
                Event::ApiKey(_) => (StreamKind::ApiKey, server(number).to_string()),
                _ => (StreamKind::Call, "no id".to_owned()),
            };
            // All servers in few projects, so that they meet.
            let event = match event {
                Event::Server(ServerEvent::Registered { name, config, disabled, .. }) => {
                    let project = format!("p{number}").parse().unwrap();
                    Event::Server(ServerEvent::Registered { project, name, config, disabled })
                }
                other => other,
            };
            log.record(kind, id, event);
            let configuration = &log.configuration;
            for entry in configuration.servers() {
                let project = &entry.server.project;
                let named = configuration.server_named(project, entry.server.name.as_str());
                prop_assert_eq!(named.map(|found| found.id), Some(entry.id));
                prop_assert!(configuration.servers_of(project).contains(entry));
            }
            let listed: usize =
                (0..3).map(|n| configuration.servers_of(&format!("p{n}").parse().unwrap()).len()).sum();
            prop_assert_eq!(listed, configuration.servers().len());
        }
    }
}
