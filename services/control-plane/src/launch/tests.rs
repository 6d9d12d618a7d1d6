use proptest::prelude::*;

use super::*;

fn stdio(args: &[&str]) -> ServerSpec {
    ServerSpec {
        name: "a".into(),
        transport: pb::Transport::Stdio.into(),
        command: "npx".into(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        ..ServerSpec::default()
    }
}

fn http(url: &str) -> ServerSpec {
    ServerSpec {
        name: "a".into(),
        transport: pb::Transport::Sse.into(),
        url: url.into(),
        ..ServerSpec::default()
    }
}

fn field_of(spec: &ServerSpec) -> String {
    let refusal = split(spec).err().expect("refused");
    refusal.field.expect("a field")
}

fn args_shown(args: &[&str]) -> Vec<String> {
    shown_args(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
}

#[test]
fn flags_and_the_package_are_shown_and_values_are_not() {
    for (args, shown) in [
        (
            vec!["-y", "@modelcontextprotocol/server-github", "--token", "abc"],
            vec!["-y", "@modelcontextprotocol/server-github", "--token", "…"],
        ),
        (
            vec!["-m", "mcp_server_time", "--local-timezone=UTC"],
            vec!["-m", "mcp_server_time", "--local-timezone=…"],
        ),
        (
            vec!["run", "-i", "--rm", "-e", "TOKEN=abc", "image"],
            vec!["run", "-i", "--rm", "-e", "…", "…"],
        ),
        (vec!["--directory", "/srv/x", "run"], vec!["--directory", "…", "…"]),
        (vec!["TOKEN=abc", "node", "x.js"], vec!["…", "…", "…"]),
        (vec!["postgres://user:pass@host/db"], vec!["…"]),
        (vec!["user:pass@host"], vec!["…"]),
        (vec!["mcp-server@1.2.3"], vec!["mcp-server@1.2.3"]),
        (vec!["/opt/servers/echo.py", "--verbose"], vec!["/opt/servers/echo.py", "--verbose"]),
        (vec!["-psecret"], vec!["…"]),
        (vec!["-c", "export A=b; run"], vec!["-c", "…"]),
        (vec!["sk-abcdef"], vec!["…"]),
        (vec!["--token", "--x7Kp93"], vec!["--token", "…"]),
    ] {
        assert_eq!(args_shown(&args), shown, "{args:?}");
    }
}

#[test]
fn a_plain_url_stays_as_it_is_written_and_needs_no_sealing() {
    let (transport, bundle) = split(&http("http://10.150.0.36:8000/mcp")).unwrap();
    let Transport::Sse(target) = transport else { panic!("not SSE") };
    assert_eq!(target.url, "http://10.150.0.36:8000/mcp");
    assert!(bundle == LaunchBundle::default());
}

#[test]
fn query_user_info_and_fragment_of_a_url_are_sealed() {
    let url = "https://user:canary@host:8443/sse?key=canary#canary";
    let spec = ServerSpec { proxy: "http://u:canary@proxy:3128".into(), ..http(url) };
    let (transport, bundle) = split(&spec).unwrap();
    let Transport::Sse(target) = &transport else { panic!("not SSE") };
    assert_eq!(target.url, "https://host:8443/sse");
    assert_eq!(target.proxy.as_deref(), Some("http://proxy:3128/"));
    assert_eq!(bundle.url.as_deref(), Some(url));
    assert_eq!(bundle.proxy.as_deref(), Some("http://u:canary@proxy:3128"));
    assert!(!format!("{transport:?}").contains("canary"));
}

#[test]
fn names_are_shown_and_values_are_sealed() {
    let mut spec = http("https://analytics-mcp.example.com/sse");
    spec.headers.insert("X-API-Key".into(), "canary".into());
    spec.env.insert("LEFT".into(), "over".into());
    let (transport, bundle) = split(&spec).unwrap();
    let Transport::Sse(target) = &transport else { panic!("not SSE") };
    assert_eq!(target.header_names, ["X-API-Key"]);
    assert_eq!(bundle.headers["X-API-Key"], "canary");
    assert!(bundle.env.is_empty(), "fields of the other transport are dropped");
}

#[test]
fn a_server_without_command_and_url_is_taken_only_disabled() {
    let partial = ServerSpec {
        transport: pb::Transport::Stdio.into(),
        disabled: true,
        ..ServerSpec::default()
    };
    let (transport, _) = split(&partial).unwrap();
    assert_eq!(transport, Transport::Unset);
    let enabled = ServerSpec { disabled: false, ..partial };
    let (transport, _) = split(&enabled).unwrap();
    assert!(matches!(transport, Transport::Stdio { .. }), "the domain refuses it by its rule");
}

#[test]
fn what_breaks_a_rule_is_refused_by_field_without_the_value() {
    let with = |change: fn(&mut ServerSpec), mut spec: ServerSpec| {
        change(&mut spec);
        spec
    };
    let url = "http://h/sse";
    for (spec, field) in [
        (ServerSpec::default(), "spec.transport"),
        (http("ftp://canary"), "spec.url"),
        (http(""), "spec.url"),
        (http("http://user:canary@"), "spec.url"),
        (with(|s| s.proxy = "canary".into(), http(url)), "spec.proxy"),
        (with(|s| drop(s.headers.insert("a b".into(), "x".into())), http(url)), "spec.headers"),
        (
            with(|s| drop(s.headers.insert("X".into(), "canary\n".into())), http(url)),
            "spec.headers",
        ),
        (with(|s| drop(s.headers.insert("Host".into(), "x".into())), http(url)), "spec.headers"),
        (with(|s| drop(s.env.insert("A=B".into(), "x".into())), stdio(&[])), "spec.env"),
        (with(|s| drop(s.env.insert("A".into(), "canary\0".into())), stdio(&[])), "spec.env"),
        (stdio(&["canary\0"]), "spec.args"),
        (with(|s| s.command = "npx -y canary".into(), stdio(&[])), "spec.command"),
        (stdio(&["x"; 1_001]), "spec.args"),
        (with(|s| s.args = vec!["x".repeat(MAX_VALUE_BYTES + 1)], stdio(&[])), "spec"),
    ] {
        let refusal = split(&spec).err().unwrap();
        assert!(!refusal.message.contains("canary"), "{}", refusal.message);
        assert_eq!(field_of(&spec), field);
    }
}

/// Values that tokens have: at least 12 characters, a digit and a capital among them.
fn secret() -> impl Strategy<Value = String> {
    "[A-Za-z0-9+/=_-]{12,48}".prop_map(|text| format!("Q7{text}9"))
}

proptest! {
    #[test]
    fn no_value_of_an_argument_is_shown(
        secret in secret(),
        package in "(@[a-z]{1,8}/)?[a-z]{2,12}",
        position in 0..7_usize,
    ) {
        let value = match position {
            0 => vec!["--token".to_owned(), secret.clone()],
            1 => vec![format!("--token={secret}")],
            2 => vec!["-e".to_owned(), format!("KEY={secret}")],
            3 => vec![secret.clone()],
            4 => vec![format!("https://u:{secret}@host/x?k={secret}")],
            5 => vec![format!("-p{secret}")],
            _ => vec!["--token".to_owned(), format!("-{secret}")],
        };
        let mut args = vec!["-y".to_owned(), package.clone()];
        args.extend(value);
        let spec = ServerSpec { args: args.clone(), ..stdio(&[]) };
        let (transport, bundle) = split(&spec).unwrap();
        let shown = format!("{transport:?}");
        prop_assert!(!shown.contains(&secret), "{shown}");
        prop_assert!(shown.contains(&package));
        prop_assert!(bundle.args == args);
    }

    #[test]
    fn no_value_of_environment_header_or_url_is_shown(secret in "[a-zA-Z0-9]{8,40}") {
        let secret = format!("zz{secret}");
        let mut spec = stdio(&["server"]);
        spec.env.insert("KEY".into(), secret.clone());
        let shown = format!("{:?}", split(&spec).unwrap().0);
        prop_assert!(!shown.contains(&secret));
        let url = format!("https://{secret}:{secret}@host/sse?{secret}={secret}&a#{secret}");
        let mut spec = ServerSpec { proxy: format!("http://{secret}@proxy"), ..http(&url) };
        spec.headers.insert("X-Key".into(), secret.clone());
        let (transport, bundle) = split(&spec).unwrap();
        let shown = format!("{transport:?}");
        prop_assert!(!shown.contains(&secret), "{shown}");
        prop_assert!(bundle.url == Some(url));
    }

    #[test]
    fn a_lone_token_is_not_taken_for_a_package(secret in "[A-Za-z0-9]{20,40}") {
        let secret = format!("k3y5{secret}7");
        prop_assert_eq!(args_shown(&[&secret]), [HIDDEN]);
    }

    #[test]
    fn splitting_never_panics(
        args in prop::collection::vec(".{0,20}", 0..6),
        url in ".{0,60}",
        transport in 0..6_i32,
    ) {
        let spec = ServerSpec { args, url, transport, command: "c".into(), ..ServerSpec::default() };
        let _ = split(&spec);
    }
}
