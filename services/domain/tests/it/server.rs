//! Servers.

use std::collections::BTreeSet;

use domain::event::ServerEvent;
use domain::server::{
    self, HttpTarget, Isolation, Server, ServerCommand, ServerConfig, ServerName, Transport,
};
use domain::{ErrorCode, ProjectId, Refusal, SecretRef};
use proptest::prelude::*;

use crate::scenario::{self, Aggregate, Given};

struct Servers;

impl Aggregate for Servers {
    type State = Server;
    type Command = ServerCommand;
    type Event = ServerEvent;

    fn decide(state: &Server, command: ServerCommand) -> Result<Vec<ServerEvent>, Refusal> {
        server::decide(state, command)
    }

    fn evolve(state: Server, event: &ServerEvent) -> Server {
        server::evolve(state, event)
    }
}

fn given(events: impl IntoIterator<Item = ServerEvent>) -> Given<Servers> {
    scenario::given(events)
}

fn project() -> ProjectId {
    "search".parse().unwrap()
}

fn name(text: &str) -> ServerName {
    ServerName::parse("name", text).unwrap()
}

fn stdio(command: &str) -> Transport {
    Transport::Stdio {
        command: command.to_owned(),
        shown_args: vec![],
        env_names: vec![],
        cwd: None,
    }
}

fn http(url: &str) -> HttpTarget {
    HttpTarget { url: url.to_owned(), header_names: vec![], ca_file: None, proxy: None }
}

fn config(transport: Transport) -> ServerConfig {
    ServerConfig {
        transport,
        launch: None,
        timeout_s: ServerConfig::DEFAULT_TIMEOUT_S,
        read_timeout_s: Some(ServerConfig::DEFAULT_READ_TIMEOUT_S),
        auto_approve: vec![],
        isolation: Isolation::Shared,
        placement_labels: BTreeSet::new(),
    }
}

fn register_as(config: ServerConfig, disabled: bool) -> ServerCommand {
    ServerCommand::Register { project: project(), name: name("files"), config, disabled }
}

fn register(config: ServerConfig) -> ServerCommand {
    register_as(config, false)
}

fn registered_as(config: ServerConfig, disabled: bool) -> ServerEvent {
    ServerEvent::Registered { project: project(), name: name("files"), config, disabled }
}

fn registered() -> ServerEvent {
    registered_as(config(stdio("uvx")), false)
}

fn tool(enabled: bool) -> ServerCommand {
    ServerCommand::SetTool { tool: "read".to_owned(), enabled }
}

#[test]
fn a_server_is_registered_once() {
    given([]).when(register(config(stdio("uvx")))).then([registered()]);
    given([registered()])
        .when(register(config(stdio("uvx"))))
        .then_refused(ErrorCode::AlreadyExists);
    given([registered(), ServerEvent::Deleted])
        .when(register(config(stdio("uvx"))))
        .then_refused(ErrorCode::AlreadyExists);
}

#[test]
fn a_name_has_its_rule() {
    for good in ["a", "web search", "a.b_c-D", &"x".repeat(64)] {
        assert!(ServerName::parse("name", good).is_ok(), "{good:?}");
    }
    assert_eq!(name("  web  ").as_str(), "web");
    for bad in ["", " ", "a/b", "ü", "a\nb", &"x".repeat(65)] {
        let refusal = ServerName::parse("spec.name", bad).unwrap_err();
        assert_eq!(refusal.field.as_deref(), Some("spec.name"), "{bad:?}");
    }
}

#[test]
fn a_command_has_its_rules() {
    for bad in ["", "  ", "uv\0x"] {
        given([]).when(register(config(stdio(bad)))).then_invalid("command");
    }
    let cwd = Some("/a\0".to_owned());
    let elsewhere =
        Transport::Stdio { command: "uvx".to_owned(), shown_args: vec![], env_names: vec![], cwd };
    given([]).when(register(config(elsewhere))).then_invalid("command");
}

#[test]
fn a_url_has_its_rules() {
    for make in [Transport::Sse, Transport::StreamableHttp, Transport::Probe] {
        for good in ["http://localhost:3000/sse", "https://mcp.example.com", "https://a/b@c"] {
            let config = config(make(http(good)));
            given([]).when(register(config.clone())).then([registered_as(config, false)]);
        }
        let long = format!("https://a/{}", "x".repeat(2_048));
        for bad in ["", "ftp://a", "http://", "http:///a", "https://?a=b", "file:///etc", &long] {
            given([]).when(register(config(make(http(bad))))).then_invalid("url");
        }
    }
}

#[test]
fn what_may_be_secret_in_a_url_is_refused() {
    for bad in ["https://user:pass@mcp.example.com/", "https://token@a", "https://a/b?key=1"] {
        given([]).when(register(config(Transport::Probe(http(bad))))).then_invalid("url");
    }
    let proxied =
        HttpTarget { proxy: Some("http://user:pass@proxy:3128".to_owned()), ..http("https://a") };
    given([]).when(register(config(Transport::Sse(proxied)))).then_invalid("proxy");
}

#[test]
fn timeouts_have_their_ranges() {
    let with = |timeout_s, read_timeout_s| {
        given([]).when(register(ServerConfig { timeout_s, read_timeout_s, ..config(stdio("uvx")) }))
    };
    for bad in [0, 3_601] {
        with(bad, None).then_invalid("timeout");
    }
    for bad in [0, 86_401] {
        with(30, Some(bad)).then_invalid("read_timeout");
    }
    for (timeout_s, read_timeout_s) in [(1, None), (3_600, Some(86_400)), (30, Some(1))] {
        let config = ServerConfig { timeout_s, read_timeout_s, ..config(stdio("uvx")) };
        with(timeout_s, read_timeout_s).then([registered_as(config, false)]);
    }
}

#[test]
fn lists_are_limited() {
    let many = || vec!["x".to_owned(); 1_001];
    let approving = ServerConfig { auto_approve: many(), ..config(stdio("uvx")) };
    given([]).when(register(approving)).then_invalid("auto_approve");
    let stdio = |shown_args, env_names| {
        config(Transport::Stdio { command: "uvx".to_owned(), shown_args, env_names, cwd: None })
    };
    given([]).when(register(stdio(many(), vec![]))).then_invalid("args");
    given([]).when(register(stdio(vec![], many()))).then_invalid("env");
    let headed = HttpTarget { header_names: many(), ..http("https://a") };
    given([]).when(register(config(Transport::Sse(headed)))).then_invalid("headers");
}

#[test]
fn an_entry_without_a_way_to_reach_it_is_taken_over_disabled_only() {
    let unset = || config(Transport::Unset);
    given([]).when(register(unset())).then_invalid("command");
    given([]).when(register_as(unset(), true)).then([registered_as(unset(), true)]);
    let enable = ServerCommand::Change { name: None, config: None, disabled: Some(false) };
    given([registered_as(unset(), true)]).when(enable).then_invalid("command");
    let complete = ServerCommand::Change {
        name: None,
        config: Some(config(stdio("uvx"))),
        disabled: Some(false),
    };
    given([registered_as(unset(), true)])
        .when(complete)
        .then([ServerEvent::Reconfigured { config: config(stdio("uvx")) }, ServerEvent::Enabled]);
}

#[test]
fn only_what_differs_is_changed() {
    let same = ServerCommand::Change {
        name: Some(name("files")),
        config: Some(config(stdio("uvx"))),
        disabled: Some(false),
    };
    given([registered()]).when(same).then_nothing();
    let other = ServerCommand::Change {
        name: Some(name("docs")),
        config: Some(config(stdio("npx"))),
        disabled: Some(true),
    };
    given([registered()]).when(other).then([
        ServerEvent::Renamed { name: name("docs") },
        ServerEvent::Reconfigured { config: config(stdio("npx")) },
        ServerEvent::Disabled,
    ]);
}

#[test]
fn a_new_version_of_the_sealed_values_is_a_change() {
    let launch = |version| {
        let launch = SecretRef { path: "servers/1/launch".to_owned(), version };
        ServerConfig { launch: Some(launch), ..config(stdio("uvx")) }
    };
    let change = ServerCommand::Change { name: None, config: Some(launch(2)), disabled: None };
    given([registered_as(launch(1), false)])
        .when(change)
        .then([ServerEvent::Reconfigured { config: launch(2) }]);
}

#[test]
fn a_tool_is_hidden_and_shown_again() {
    let hidden = ServerEvent::ToolDisabled { tool: "read".to_owned() };
    let shown = ServerEvent::ToolEnabled { tool: "read".to_owned() };
    given([registered()]).when(tool(false)).then([hidden.clone()]);
    given([registered()]).when(tool(true)).then_nothing();
    given([registered(), hidden.clone()]).when(tool(false)).then_nothing();
    given([registered(), hidden]).when(tool(true)).then([shown]);
    for bad in ["", &"x".repeat(257)] {
        let command = ServerCommand::SetTool { tool: bad.to_owned(), enabled: false };
        given([registered()]).when(command).then_invalid("tool");
    }
}

#[test]
fn hidden_tools_are_limited_and_survive_a_new_configuration() {
    let hidden = |n| ServerEvent::ToolDisabled { tool: format!("tool {n}") };
    let many = || std::iter::once(registered()).chain((0..10_000).map(hidden));
    given(many()).when(tool(false)).then_refused(ErrorCode::ResourceExhausted);
    let again = ServerCommand::SetTool { tool: "tool 1".to_owned(), enabled: true };
    given(many().chain([ServerEvent::Reconfigured { config: config(stdio("npx")) }]))
        .when(again)
        .then([ServerEvent::ToolEnabled { tool: "tool 1".to_owned() }]);
}

fn approve(tool: &str, hash: &str) -> ServerCommand {
    ServerCommand::ApproveTool { tool: tool.to_owned(), hash: hash.to_owned() }
}

fn approved(tool: &str, hash: &str) -> ServerEvent {
    ServerEvent::ToolApproved { tool: tool.to_owned(), hash: hash.to_owned() }
}

#[test]
fn a_definition_is_approved_once_and_another_in_its_place() {
    let (first, second) = ("a".repeat(64), "0".repeat(64));
    given([registered()]).when(approve("read", &first)).then([approved("read", &first)]);
    given([registered(), approved("read", &first)]).when(approve("read", &first)).then_nothing();
    given([registered(), approved("read", &first)])
        .when(approve("read", &second))
        .then([approved("read", &second)]);
}

#[test]
fn an_approval_has_its_rules() {
    let hash = "a".repeat(64);
    for bad in ["", &"x".repeat(65_537)] {
        given([registered()]).when(approve(bad, &hash)).then_invalid("tool");
    }
    for bad in ["", "abc", &"A".repeat(64), &"g".repeat(64), &"a".repeat(65)] {
        given([registered()]).when(approve("read", bad)).then_invalid("hash");
    }
    let many = (0..10_000).map(|n| approved(&format!("tool {n}"), &hash));
    let full: Vec<_> = std::iter::once(registered()).chain(many).collect();
    given(full.clone()).when(approve("read", &hash)).then_refused(ErrorCode::ResourceExhausted);
    let another = "b".repeat(64);
    given(full).when(approve("tool 1", &another)).then([approved("tool 1", &another)]);
}

#[test]
fn approvals_survive_a_new_configuration() {
    let hash = "a".repeat(64);
    let reconfigured = ServerEvent::Reconfigured { config: config(stdio("npx")) };
    given([registered(), approved("read", &hash), reconfigured])
        .when(approve("read", &hash))
        .then_nothing();
}

#[test]
fn another_isolation_is_another_configuration() {
    let alone = ServerConfig { isolation: Isolation::Session, ..config(stdio("uvx")) };
    let change = ServerCommand::Change { name: None, config: Some(alone.clone()), disabled: None };
    given([registered()]).when(change).then([ServerEvent::Reconfigured { config: alone }]);
}

#[test]
fn nothing_can_be_asked_of_a_server_that_is_not_there() {
    let change = ServerCommand::Change { name: None, config: None, disabled: None };
    for command in [change, tool(false), approve("read", &"a".repeat(64)), ServerCommand::Delete] {
        given([]).when(command.clone()).then_refused(ErrorCode::NotFound);
        given([registered(), ServerEvent::Deleted]).when(command).then_refused(ErrorCode::NotFound);
    }
    given([registered()]).when(ServerCommand::Delete).then([ServerEvent::Deleted]);
}

#[test]
fn a_server_may_need_labels_of_its_worker() {
    let labels = |labels: &[&str]| ServerConfig {
        placement_labels: labels.iter().map(|&label| label.to_owned()).collect(),
        ..config(stdio("uvx"))
    };
    let wanted = labels(&["docker", "gpu=a100", "eu-west/1", "a.b_c"]);
    given([]).when(register(wanted.clone())).then([registered_as(wanted, false)]);
    let long = "a".repeat(64);
    for bad in ["", "Docker", "a b", "a,b", "ä", long.as_str()] {
        given([]).when(register(labels(&[bad]))).then_invalid("placement_labels");
    }
    let many: Vec<String> = (0..17).map(|number| format!("l{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    given([]).when(register(labels(&many))).then_invalid("placement_labels");
    given([]).when(register(labels(&many[..16]))).then([registered_as(labels(&many[..16]), false)]);
    // Another place is another configuration; the same one is none.
    let change =
        |config| ServerCommand::Change { name: None, config: Some(config), disabled: None };
    let docker = labels(&["docker"]);
    given([registered()])
        .when(change(docker.clone()))
        .then([ServerEvent::Reconfigured { config: docker.clone() }]);
    given([registered_as(docker.clone(), false)]).when(change(docker)).then([]);
}

fn any_config() -> impl Strategy<Value = ServerConfig> {
    let transport = prop_oneof![
        ".{0,3}".prop_map(|command| stdio(&command)),
        "(https?://)?[a-z@?/]{0,4}".prop_map(|url| Transport::Probe(http(&url))),
        Just(Transport::Unset),
    ];
    (transport, 0..4_000_u32, proptest::option::of(0..90_000_u32)).prop_map(
        |(transport, timeout_s, read_timeout_s)| ServerConfig {
            timeout_s,
            read_timeout_s,
            ..config(transport)
        },
    )
}

fn command() -> impl Strategy<Value = ServerCommand> {
    let named = || "[a-c]".prop_map(|text| name(&text));
    prop_oneof![
        2 => (named(), any_config(), any::<bool>()).prop_map(|(name, config, disabled)| {
            ServerCommand::Register { project: project(), name, config, disabled }
        }),
        3 => (
            proptest::option::of(named()),
            proptest::option::of(any_config()),
            proptest::option::of(any::<bool>()),
        )
            .prop_map(|(name, config, disabled)| ServerCommand::Change { name, config, disabled }),
        3 => ("[ab]{0,2}", any::<bool>())
            .prop_map(|(tool, enabled)| ServerCommand::SetTool { tool, enabled }),
        3 => ("[ab]{0,2}", "[01]{64}").prop_map(|(tool, hash)| approve(&tool, &hash)),
        1 => Just(ServerCommand::Delete),
    ]
}

proptest! {
    #[test]
    fn replaying_gives_the_live_state_and_a_server_in_use_can_be_reached(
        commands in proptest::collection::vec(command(), 0..40),
    ) {
        let (log, state) = scenario::live::<Servers>(commands, |state| {
            if let Server::Active(server) = state {
                assert!(server.disabled || server.config.transport != Transport::Unset);
            }
        });
        prop_assert_eq!(scenario::fold::<Servers>(&log), state);
    }

    #[test]
    fn asking_again_changes_nothing(
        commands in proptest::collection::vec(command(), 0..20),
        last in command(),
    ) {
        let (_, before) = scenario::live::<Servers>(commands, |_| {});
        if let Ok(events) = server::decide(&before, last.clone()) {
            let after = events.iter().fold(before, server::evolve);
            let again = server::decide(&after, last);
            prop_assert!(again.is_err() || again.as_ref().is_ok_and(Vec::is_empty), "{:?}", again);
        }
    }
}
