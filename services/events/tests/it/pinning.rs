//! Which definitions of tools are approved, given what was observed and what Owners said.

use domain::connection::{CatalogueSummary, ToolDefinition};
use domain::event::{ConnectionEvent, ProjectEvent, ServerEvent};
use domain::project::{ProjectSettings, ToolPinning};
use domain::server::Transport;
use domain::{Event, ServerId, StreamId, StreamKind, TenantId, Timestamp, UserId};
use events::{ChangeKind, Configuration, Sightings};
use uuid::Uuid;

use crate::sample::{config, name, project};

const TENANT: TenantId = TenantId::from_uuid(Uuid::from_u128(1));
const SERVER: ServerId = ServerId::from_uuid(Uuid::from_u128(2));

/// A project with one server, and what happened to it.
struct Given(Configuration);

impl Given {
    fn server() -> Self {
        let mut given = Self(Configuration::default());
        let owner = UserId::from_uuid(Uuid::from_u128(3));
        given.project(ProjectEvent::Created {
            name: "Search".to_owned(),
            description: String::new(),
            owner,
        });
        given.registered()
    }

    fn record(&mut self, kind: StreamKind, id: impl ToString, event: Event) -> ChangeKind {
        let stream = StreamId::new(TENANT, kind, id);
        self.0.apply(&stream, &event, Timestamp::from_micros(1)).kind
    }

    fn project(&mut self, event: ProjectEvent) -> ChangeKind {
        self.record(StreamKind::Project, project(), Event::Project(event))
    }

    fn on_server(mut self, event: ServerEvent) -> Self {
        assert!(
            self.record(StreamKind::Server, SERVER, Event::Server(event)) != ChangeKind::Nothing
        );
        self
    }

    fn registered(self) -> Self {
        let config = config(Transport::Unset);
        let (project, name) = (project(), name("files"));
        self.on_server(ServerEvent::Registered { project, name, config, disabled: false })
    }

    /// A catalogue of tools with (one-character) hashes was seen.
    fn seen(mut self, tools: &[(&str, &str)]) -> Self {
        let definitions = tools
            .iter()
            .map(|(tool, hash)| ToolDefinition { tool: (*tool).into(), hash: (*hash).into() });
        let summary =
            CatalogueSummary { definitions: definitions.collect(), ..CatalogueSummary::default() };
        let event = ConnectionEvent::CatalogueObserved { project: project(), summary };
        let kind = self.record(StreamKind::Connection, SERVER, Event::Connection(event));
        assert_eq!(kind, ChangeKind::Catalogue);
        self
    }

    fn approved(self, tool: &str, hash: &str) -> Self {
        self.on_server(ServerEvent::ToolApproved { tool: tool.into(), hash: hash.into() })
    }

    #[track_caller]
    fn then_changed(self, tools: &[(&str, bool)]) -> Self {
        for (tool, changed) in tools {
            assert_eq!(self.0.definition_changed(&SERVER, tool), *changed, "{tool}");
        }
        self
    }
}

#[test]
fn the_first_definition_is_approved_by_itself_and_another_is_not() {
    Given::server()
        .then_changed(&[("read", false)])
        .seen(&[("read", "a"), ("write", "b")])
        .then_changed(&[("read", false), ("write", false)])
        .seen(&[("read", "x"), ("write", "b"), ("new", "c")])
        .then_changed(&[("read", true), ("write", false), ("new", false)])
        .seen(&[("read", "a")])
        .then_changed(&[("read", false)]);
}

#[test]
fn a_tool_that_went_and_came_back_is_still_known() {
    Given::server()
        .seen(&[("read", "a")])
        .seen(&[])
        .seen(&[("read", "x")])
        .then_changed(&[("read", true)]);
}

#[test]
fn an_owner_approves_another_and_the_former_is_a_change_then() {
    let given = Given::server()
        .seen(&[("read", "a")])
        .seen(&[("read", "x")])
        .approved("read", "x")
        .then_changed(&[("read", false)])
        .seen(&[("read", "a")])
        .then_changed(&[("read", true)]);
    assert_eq!(given.0.approved_definition(&SERVER, "read"), Some("x"));
    assert!(given.0.is_approved(&SERVER, "read", "x"), "a session may have it");
    assert!(!given.0.is_approved(&SERVER, "read", "a"));
    assert!(!given.0.is_approved(&SERVER, "unheard of", "a"));
}

#[test]
fn an_approval_may_come_before_its_observation() {
    Given::server().approved("read", "x").seen(&[("read", "x")]).then_changed(&[("read", false)]);
    Given::server().approved("read", "x").seen(&[("read", "a")]).then_changed(&[("read", true)]);
}

#[test]
fn approvals_survive_another_configuration_and_end_with_the_server() {
    let config = config(Transport::Unset);
    Given::server()
        .seen(&[("read", "a")])
        .on_server(ServerEvent::Reconfigured { config })
        .seen(&[("read", "x")])
        .then_changed(&[("read", true)])
        .on_server(ServerEvent::Deleted)
        .then_changed(&[("read", false)])
        .registered()
        .seen(&[("read", "x")])
        .then_changed(&[("read", false)]);
}

#[test]
fn of_tools_of_one_name_the_first_counts() {
    Given::server()
        .seen(&[("read", "a"), ("read", "x")])
        .then_changed(&[("read", false)])
        .seen(&[("read", "x"), ("read", "a")])
        .then_changed(&[("read", true)]);
}

#[test]
fn a_tool_without_a_recorded_definition_is_not_the_approved_one() {
    Given::server().seen(&[("read", "a")]).seen(&[]).then_changed(&[("read", true)]);
}

#[test]
fn tools_beyond_the_limit_are_not_approved_by_themselves() {
    let names: Vec<String> = (0..=Sightings::MAX_TOOLS).map(|n| format!("t{n}")).collect();
    let tools: Vec<(&str, &str)> = names.iter().map(|tool| (tool.as_str(), "a")).collect();
    let last = names.last().unwrap().as_str();
    Given::server()
        .seen(&tools)
        .then_changed(&[("t0", false), (last, true)])
        .approved(last, "a")
        .then_changed(&[(last, false)]);
}

#[test]
fn what_a_change_leads_to_is_the_projects_to_say() {
    let mut given = Given::server();
    assert_eq!(given.0.tool_pinning(&project()), ToolPinning::Off);
    let settings = ProjectSettings { tool_pinning: ToolPinning::Block, ..Default::default() };
    given.project(ProjectEvent::Changed {
        name: None,
        description: None,
        settings: Some(settings),
    });
    assert_eq!(given.0.tool_pinning(&project()), ToolPinning::Block);
    given.project(ProjectEvent::Deleted);
    assert_eq!(given.0.tool_pinning(&project()), ToolPinning::Off, "there is none");
}
