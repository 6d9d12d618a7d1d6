//! Projects and their members.

use domain::event::ProjectEvent;
use domain::project::{
    self, ActiveProject, AuditMode, Naming, Project, ProjectCommand, ProjectSettings, RetryPolicy,
    ToolPinning,
};
use domain::{ErrorCode, Refusal, Role, UserId};
use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;

use crate::scenario::{self, Aggregate, Given};

struct Projects;

impl Aggregate for Projects {
    type State = Project;
    type Command = ProjectCommand;
    type Event = ProjectEvent;

    fn decide(state: &Project, command: ProjectCommand) -> Result<Vec<ProjectEvent>, Refusal> {
        project::decide(state, command)
    }

    fn evolve(state: Project, event: &ProjectEvent) -> Project {
        project::evolve(state, event)
    }
}

const fn user(number: u128) -> UserId {
    UserId::from_uuid(Uuid::from_u128(number))
}

const OWNER: UserId = user(1);
const FRIEND: UserId = user(2);

fn given(events: impl IntoIterator<Item = ProjectEvent>) -> Given<Projects> {
    scenario::given(events)
}

fn created() -> ProjectEvent {
    ProjectEvent::Created {
        name: "Search".to_owned(),
        description: "Finds things".to_owned(),
        owner: OWNER,
    }
}

fn create(name: &str, description: &str) -> ProjectCommand {
    ProjectCommand::Create {
        name: name.to_owned(),
        description: description.to_owned(),
        owner: OWNER,
    }
}

const NO_CHANGE: ProjectCommand = ProjectCommand::Change {
    name: None,
    description: None,
    audit_mode: None,
    naming: None,
    unified_enabled: None,
    body_retention_days: None,
    tool_pinning: None,
    retry_policy: None,
};

fn rename(name: &str) -> ProjectCommand {
    match NO_CHANGE {
        ProjectCommand::Change {
            description,
            audit_mode,
            naming,
            unified_enabled,
            body_retention_days,
            tool_pinning,
            retry_policy,
            ..
        } => ProjectCommand::Change {
            name: Some(name.to_owned()),
            description,
            audit_mode,
            naming,
            unified_enabled,
            body_retention_days,
            tool_pinning,
            retry_policy,
        },
        other => other,
    }
}

fn change_settings(audit_mode: Option<AuditMode>, days: Option<u32>) -> ProjectCommand {
    ProjectCommand::Change {
        name: None,
        description: None,
        audit_mode,
        naming: None,
        unified_enabled: None,
        body_retention_days: days,
        tool_pinning: None,
        retry_policy: None,
    }
}

const fn added(user: UserId, role: Role) -> ProjectEvent {
    ProjectEvent::MemberAdded { user, role }
}

const fn set(user: UserId, role: Role) -> ProjectCommand {
    ProjectCommand::SetMember { user, role }
}

#[test]
fn a_project_is_created_once() {
    given([]).when(create(" Search ", " Finds things ")).then([created()]);
    given([created()]).when(create("Search", "")).then_refused(ErrorCode::AlreadyExists);
    given([created(), ProjectEvent::Deleted])
        .when(create("Search", ""))
        .then_refused(ErrorCode::AlreadyExists);
}

#[test]
fn its_creator_is_its_owner_and_its_settings_are_the_safe_ones() {
    let Project::Active(project) = scenario::fold::<Projects>([&created()]) else {
        panic!("it exists")
    };
    assert_eq!(project.members.into_iter().collect::<Vec<_>>(), [(OWNER, Role::Owner)]);
    assert_eq!(project.settings.audit_mode, AuditMode::Acknowledged);
    assert_eq!(project.settings.naming, Naming::Prefixed);
    assert!(project.settings.unified_enabled);
}

#[test]
fn texts_have_their_rules() {
    given([]).when(create("", "")).then_invalid("name");
    given([]).when(create("a\0b", "")).then_invalid("name");
    given([]).when(create("a", &"x".repeat(1_001))).then_invalid("description");
    given([created()]).when(rename(&"x".repeat(101))).then_invalid("name");
}

#[test]
fn only_what_differs_is_changed() {
    given([created()]).when(NO_CHANGE).then_nothing();
    given([created()]).when(rename("Search")).then_nothing();
    given([created()])
        .when(change_settings(Some(AuditMode::Acknowledged), Some(30)))
        .then_nothing();
    given([created()]).when(rename("Find")).then([ProjectEvent::Changed {
        name: Some("Find".to_owned()),
        description: None,
        settings: None,
    }]);
    given([created()]).when(change_settings(Some(AuditMode::Strict), None)).then([
        ProjectEvent::Changed {
            name: None,
            description: None,
            settings: Some(ProjectSettings {
                audit_mode: AuditMode::Strict,
                ..ProjectSettings::default()
            }),
        },
    ]);
}

#[test]
fn calls_may_be_run_again() {
    let policy = |policy| ProjectCommand::Change {
        name: None,
        description: None,
        audit_mode: None,
        naming: None,
        unified_enabled: None,
        body_retention_days: None,
        tool_pinning: None,
        retry_policy: Some(policy),
    };
    given([created()]).when(policy(RetryPolicy::Never)).then_nothing();
    let settings =
        ProjectSettings { retry_policy: RetryPolicy::ReadOnly, ..ProjectSettings::default() };
    given([created()]).when(policy(RetryPolicy::ReadOnly)).then([ProjectEvent::Changed {
        name: None,
        description: None,
        settings: Some(settings),
    }]);
}

#[test]
fn changed_tools_may_be_blocked() {
    let pin = |tool_pinning| ProjectCommand::Change {
        name: None,
        description: None,
        audit_mode: None,
        naming: None,
        unified_enabled: None,
        body_retention_days: None,
        tool_pinning: Some(tool_pinning),
        retry_policy: None,
    };
    given([created()]).when(pin(ToolPinning::Off)).then_nothing();
    let settings =
        ProjectSettings { tool_pinning: ToolPinning::Block, ..ProjectSettings::default() };
    given([created()]).when(pin(ToolPinning::Block)).then([ProjectEvent::Changed {
        name: None,
        description: None,
        settings: Some(settings),
    }]);
}

#[test]
fn bodies_are_kept_for_at_most_ten_years() {
    let most = ProjectSettings::MAX_RETENTION_DAYS;
    given([created()])
        .when(change_settings(None, Some(most + 1)))
        .then_invalid("body_retention_days");
    for days in [0, most] {
        let settings = ProjectSettings { body_retention_days: days, ..ProjectSettings::default() };
        given([created()]).when(change_settings(None, Some(days))).then([ProjectEvent::Changed {
            name: None,
            description: None,
            settings: Some(settings),
        }]);
    }
}

#[test]
fn a_member_is_added_and_gets_another_role() {
    let in_it = added(FRIEND, Role::Reporter);
    given([created()]).when(set(FRIEND, Role::Reporter)).then([in_it.clone()]);
    given([created(), in_it.clone()]).when(set(FRIEND, Role::Reporter)).then_nothing();
    given([created(), in_it])
        .when(set(FRIEND, Role::Owner))
        .then([ProjectEvent::MemberRoleChanged { user: FRIEND, role: Role::Owner }]);
}

#[test]
fn a_member_is_removed() {
    let remove = ProjectCommand::RemoveMember { user: FRIEND };
    given([created(), added(FRIEND, Role::Owner)])
        .when(remove.clone())
        .then([ProjectEvent::MemberRemoved { user: FRIEND }]);
    given([created()]).when(remove).then_refused(ErrorCode::NotFound);
}

#[test]
fn the_last_owner_stays_one() {
    let remove = ProjectCommand::RemoveMember { user: OWNER };
    let others = || [created(), added(FRIEND, Role::Developer)];
    given(others()).when(remove.clone()).then_refused(ErrorCode::FailedPrecondition);
    given(others()).when(set(OWNER, Role::Developer)).then_refused(ErrorCode::FailedPrecondition);
    given(others()).when(set(OWNER, Role::Owner)).then_nothing();
    given([created(), added(FRIEND, Role::Owner)])
        .when(remove)
        .then([ProjectEvent::MemberRemoved { user: OWNER }]);
}

#[test]
fn members_are_limited() {
    let many = (0..ActiveProject::MAX_MEMBERS as u128 - 1)
        .map(|number| added(user(1_000 + number), Role::Reporter));
    given(std::iter::once(created()).chain(many))
        .when(set(FRIEND, Role::Reporter))
        .then_refused(ErrorCode::ResourceExhausted);
}

#[test]
fn nothing_can_be_asked_of_a_project_that_is_not_there() {
    let commands = [
        NO_CHANGE,
        set(FRIEND, Role::Owner),
        ProjectCommand::RemoveMember { user: OWNER },
        ProjectCommand::Delete,
    ];
    for command in commands {
        given([]).when(command.clone()).then_refused(ErrorCode::NotFound);
        given([created(), ProjectEvent::Deleted]).when(command).then_refused(ErrorCode::NotFound);
    }
}

#[test]
fn a_project_is_deleted() {
    given([created()]).when(ProjectCommand::Delete).then([ProjectEvent::Deleted]);
}

fn command() -> impl Strategy<Value = ProjectCommand> {
    let somebody = || (1..5_u128).prop_map(user);
    let change = (
        proptest::option::of(".{0,3}"),
        proptest::option::of(".{0,3}"),
        proptest::option::of(select(AuditMode::ALL.as_slice())),
        proptest::option::of(select(Naming::ALL.as_slice())),
        proptest::option::of(any::<bool>()),
        proptest::option::of(0..5_000_u32),
        proptest::option::of(select(ToolPinning::ALL.as_slice())),
        proptest::option::of(select(RetryPolicy::ALL.as_slice())),
    );
    prop_oneof![
        2 => (".{0,3}", ".{0,3}", somebody()).prop_map(|(name, description, owner)| {
            ProjectCommand::Create { name, description, owner }
        }),
        4 => (somebody(), select(Role::ALL.as_slice())).prop_map(|(user, role)| set(user, role)),
        4 => somebody().prop_map(|user| ProjectCommand::RemoveMember { user }),
        2 => change.prop_map(|(name, description, mode, naming, unified, days, pinning, retry)| {
            ProjectCommand::Change {
                name,
                description,
                audit_mode: mode,
                naming,
                unified_enabled: unified,
                body_retention_days: days,
                tool_pinning: pinning,
                retry_policy: retry,
            }
        }),
        1 => Just(ProjectCommand::Delete),
    ]
}

proptest! {
    #[test]
    fn replaying_gives_the_live_state_and_there_is_always_an_owner(
        commands in proptest::collection::vec(command(), 0..40),
    ) {
        let (log, state) = scenario::live::<Projects>(commands, |state| {
            if let Project::Active(project) = state {
                assert!(project.members.values().any(|role| *role == Role::Owner), "{project:?}");
                let days = project.settings.body_retention_days;
                assert!(days <= ProjectSettings::MAX_RETENTION_DAYS);
            }
        });
        prop_assert_eq!(scenario::fold::<Projects>(&log), state);
    }

    #[test]
    fn asking_again_changes_nothing(
        commands in proptest::collection::vec(command(), 0..20),
        last in command(),
    ) {
        let (_, before) = scenario::live::<Projects>(commands, |_| {});
        if let Ok(events) = project::decide(&before, last.clone()) {
            let after = events.iter().fold(before, project::evolve);
            let again = project::decide(&after, last);
            prop_assert!(again.is_err() || again.as_ref().is_ok_and(Vec::is_empty), "{:?}", again);
        }
    }
}
