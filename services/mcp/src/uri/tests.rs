//! URIs and tasks lead back to their server, and nothing else in a message changes.

use proptest::prelude::*;

use super::*;
use crate::envelope::{self, Envelope, Id};

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn space() -> Namespace {
    Namespace::of_server("s")
}

fn result(method: &str, result: &'static str) -> String {
    let exposed = space().expose_result(method, &Bytes::from_static(result.as_bytes())).unwrap();
    text(&exposed).to_owned()
}

#[test]
fn a_uri_gets_a_scheme_that_leads_back() {
    let docs = Namespace::of_server("docs");
    assert_eq!(docs.expose("file:///a?q"), "mcp+docs+file:///a?q");
    assert_eq!(docs.expose_template("file:///a{?q}"), "mcp+docs+file:///a{?q}");
    assert_eq!(docs.original("mcp+docs+file:///a").as_deref(), Some("file:///a"));
    assert_eq!(docs.original("MCP+Docs+file:///A").as_deref(), Some("file:///A"));
    assert_eq!(docs.original("mcp+doc+file:///a"), None);
    assert_eq!(docs.original("mcp+docs"), None);
    assert_eq!(docs.original("é"), None);
    assert_eq!(Namespace::of_server("My_x").expose("a:b"), "mcp+.4dy.5fx+a:b");
    assert_eq!(Namespace::identity().original("a:b").as_deref(), Some("a:b"));
}

#[test]
fn what_is_no_uri_is_encoded() {
    let docs = Namespace::of_server("docs");
    assert_eq!(docs.expose("not a uri"), "mcp+docs:not%20a%20uri");
    assert_eq!(docs.original("mcp+docs:not%20a%20uri").as_deref(), Some("not a uri"));
    assert_eq!(docs.original("mcp+docs:%ff"), None);
    // What a client makes of a template is for the server to judge.
    assert_eq!(docs.original("mcp+docs+not a uri").as_deref(), Some("not a uri"));
    assert_eq!(Namespace::identity().expose("not a uri"), "not a uri");
}

#[test]
fn uris_in_results_are_exposed_and_all_else_stays() {
    assert_eq!(
        result("resources/read", r#"{ "contents":[{"uri":"a:\u0031","text":"uri"},{}] }"#),
        r#"{ "contents":[{"uri":"mcp+s+a:\u0031","text":"uri"},{}] }"#
    );
    assert_eq!(
        result(
            "tools/call",
            r#"{"content":[{"type":"text","uri":"x"},{"type":"resource_link","uri":"a:1"},
                {"type":"resource","resource":{"uri":"a:2"}}],"structuredContent":{"uri":"a:3"},
                "contents":[{"uri":"a:4"}],"messages":[{"content":{"type":"resource_link","uri":"a:5"}}]}"#
        ),
        r#"{"content":[{"type":"text","uri":"x"},{"type":"resource_link","uri":"mcp+s+a:1"},
                {"type":"resource","resource":{"uri":"mcp+s+a:2"}}],"structuredContent":{"uri":"a:3"},
                "contents":[{"uri":"a:4"}],"messages":[{"content":{"type":"resource_link","uri":"a:5"}}]}"#
    );
    assert_eq!(
        result(
            "prompts/get",
            r#"{"messages":[{"content":{"type":"resource","resource":{"uri":"a:1"}}},
                {"content":[{"type":"resource_link","uri":"b:1"}]},{"content":7},null]}"#
        ),
        r#"{"messages":[{"content":{"type":"resource","resource":{"uri":"mcp+s+a:1"}}},
                {"content":[{"type":"resource_link","uri":"mcp+s+b:1"}]},{"content":7},null]}"#
    );
    assert_eq!(result("ping", r#"{"uri":"a"}"#), r#"{"uri":"a"}"#);
}

#[test]
fn keys_are_found_however_they_are_spelled_and_however_often() {
    assert_eq!(
        result("resources/read", r#"{"contents":[{"\u0075ri":"a:1","uri":"a:2","uri":3}]}"#),
        r#"{"contents":[{"\u0075ri":"mcp+s+a:1","uri":"mcp+s+a:2","uri":3}]}"#
    );
    assert_eq!(
        result("tools/call", r#"{"content":[{"type":"text","uri":"a:1","type":"resource_link"}]}"#),
        r#"{"content":[{"type":"text","uri":"mcp+s+a:1","type":"resource_link"}]}"#
    );
    assert_eq!(
        result(
            "tools/call",
            r#"{"content":[{"type":"resource_link","type":"resource_link","uri":"a:1"}]}"#
        ),
        r#"{"content":[{"type":"resource_link","type":"resource_link","uri":"mcp+s+a:1"}]}"#
    );
    // Half a character is no Unicode: the prefix goes before it all the same.
    assert_eq!(
        result("resources/read", r#"{"contents":[{"uri":"a:\ud800"},{"uri":"b b"}]}"#),
        r#"{"contents":[{"uri":"mcp+s+a:\ud800"},{"uri":"mcp+s:b%20b"}]}"#
    );
}

#[test]
fn tasks_are_exposed_in_the_shapes_of_both_eras() {
    let related = r#""_meta":{"io.modelcontextprotocol/related-task":{"taskId":"1"}}"#;
    let exposed = r#""_meta":{"io.modelcontextprotocol/related-task":{"taskId":"mcp+s+1"}}"#;
    let cases = [
        (
            "tools/call",
            r#"{"task":{"taskId":"1","ttl":1.0}}"#,
            r#"{"task":{"taskId":"mcp+s+1","ttl":1.0}}"#,
        ),
        (
            "tools/call",
            r#"{"resultType":"task","taskId":"1"}"#,
            r#"{"resultType":"task","taskId":"mcp+s+1"}"#,
        ),
        (
            "tools/call",
            r#"{"resultType":"complete","taskId":"1"}"#,
            r#"{"resultType":"complete","taskId":"1"}"#,
        ),
        ("tasks/get", r#"{"taskId":"1"}"#, r#"{"taskId":"mcp+s+1"}"#),
        ("tasks/cancel", r#"{"taskId":"1"}"#, r#"{"taskId":"mcp+s+1"}"#),
        (
            "tasks/list",
            r#"{"tasks":[{"taskId":"1"},{"taskId":2}]}"#,
            r#"{"tasks":[{"taskId":"mcp+s+1"},{"taskId":2}]}"#,
        ),
        (
            "tasks/get",
            r#"{"taskId":"1","result":{"content":[{"type":"resource_link","uri":"a:1"}],"structuredContent":{"uri":"a:1"}}}"#,
            r#"{"taskId":"mcp+s+1","result":{"content":[{"type":"resource_link","uri":"mcp+s+a:1"}],"structuredContent":{"uri":"a:1"}}}"#,
        ),
        (
            "tasks/get",
            r#"{"error":{"data":{"uri":"a:1"}}}"#,
            r#"{"error":{"data":{"uri":"mcp+s+a:1"}}}"#,
        ),
    ];
    for (method, said, expected) in cases {
        assert_eq!(result(method, said), expected, "{method}");
    }
    for method in ["tools/call", "tasks/result", "elicitation/create", "ping"] {
        let said = Bytes::from(format!("{{{related},\"x\":1}}"));
        let seen = space().expose_result(method, &said).unwrap();
        assert_eq!(text(&seen), format!("{{{exposed},\"x\":1}}"), "{method}");
    }
}

#[test]
fn requests_inside_a_result_are_exposed_like_requests() {
    let said = r#"{"resultType":"input_required","requestState":"uri","inputRequests":{
        "a":{"params":{"messages":[{"content":{"type":"tool_result","content":[{"type":"resource","resource":{"uri":"a:1"}}]}}]},"method":"sampling/createMessage"},
        "b":{"method":"elicitation/create","params":{"messages":[{"content":{"type":"resource_link","uri":"a:2"}}]}},
        "c":null}}"#;
    let expected = said.replace("a:1", "mcp+s+a:1");
    for method in ["tools/call", "prompts/get", "resources/read", "tasks/get"] {
        assert_eq!(result(method, said), expected, "{method}");
    }
}

#[test]
fn notifications_requests_and_errors_are_exposed_too() {
    let space = space();
    let notified = |method: &str, params: &'static str| {
        let seen = space.expose_notification(method, &Bytes::from_static(params.as_bytes()));
        text(&seen.unwrap()).to_owned()
    };
    assert_eq!(
        notified("notifications/resources/updated", r#"{"uri":"a:1"}"#),
        r#"{"uri":"mcp+s+a:1"}"#
    );
    assert_eq!(
        notified("notifications/tasks/status", r#"{"taskId":"1"}"#),
        r#"{"taskId":"mcp+s+1"}"#
    );
    assert_eq!(
        notified("notifications/tasks", r#"{"taskId":"1","result":{"content":[]}}"#),
        r#"{"taskId":"mcp+s+1","result":{"content":[]}}"#
    );
    assert_eq!(
        notified(
            "notifications/subscriptions/acknowledged",
            r#"{"notifications":{"resourceSubscriptions":["a:1",2]}}"#
        ),
        r#"{"notifications":{"resourceSubscriptions":["mcp+s+a:1",2]}}"#
    );
    let message = r#"{"level":"info","data":{"uri":"a:1","taskId":"1"}}"#;
    assert_eq!(notified("notifications/message", message), message);

    let params = Bytes::from_static(
        br#"{"messages":[{"role":"user","content":[{"type":"resource_link","uri":"a:1"}]}],"tools":[{"uri":"a:2"}]}"#,
    );
    let seen = space.expose_request("sampling/createMessage", &params).unwrap();
    assert_eq!(text(&seen), text(&params).replace("a:1", "mcp+s+a:1"));
    assert_eq!(space.expose_request("tasks/get", &params), Ok(params));

    let error = Bytes::from_static(br#"{"code":-32002,"message":"uri","data":{"uri":"a:1"}}"#);
    let seen = space.expose_error(&error).unwrap();
    assert_eq!(text(&seen), r#"{"code":-32002,"message":"uri","data":{"uri":"mcp+s+a:1"}}"#);
}

#[test]
fn the_way_back_restores_the_task_of_this_server_only() {
    let space = space();
    let with = |id: &str| {
        Bytes::from(format!(
            r#"{{"_meta":{{"io.modelcontextprotocol/related-task":{{"taskId":"{id}"}}}},"x":1.0}}"#
        ))
    };
    assert_eq!(space.restore(&with("mcp+s+7")), Ok(with("7")));
    assert_eq!(space.restore(&with("own")), Ok(with("own")));
    assert_eq!(space.restore(&with("mcp+t+7")), Ok(with("mcp+t+7")));
    assert_eq!(Namespace::identity().restore(&with("mcp+s+7")), Ok(with("mcp+s+7")));
}

proptest! {
    #[test]
    fn every_uri_leads_back_to_its_own_server_only(name in "\\PC{0,12}", other in "\\PC{0,12}", uri in "\\PC{0,20}|[ a-c:/%\\x00-\\x20+]{0,8}") {
        let space = Namespace::of_server(&name);
        let exposed = space.expose(&uri).into_owned();
        let template = space.expose_template(&uri).into_owned();
        let task = space.expose_task(&uri).into_owned();
        prop_assert_eq!(space.original(&exposed), Some(Cow::Borrowed(uri.as_str())));
        prop_assert_eq!(space.original(&template), Some(Cow::Borrowed(uri.as_str())));
        prop_assert_eq!(space.original_task(&task), Some(uri.as_str()));
        prop_assert!(Url::parse(&exposed).is_ok());
        if name != other {
            let other = Namespace::of_server(&other);
            prop_assert_eq!(other.original(&exposed), None);
            prop_assert_eq!(other.original(&template), None);
            prop_assert_eq!(other.original_task(&task), None);
        }
    }
}

/// A piece of a message: text that must stay, or the inside of a string that gets the prefix.
#[derive(Debug, Clone)]
enum Piece {
    Kept(String),
    Exposed(String),
}

type Pieces = Vec<Piece>;

fn kept(text: impl Into<String>) -> Pieces {
    vec![Piece::Kept(text.into())]
}

/// JSON as somebody else might write it: any spelling of numbers and strings, any white space.
fn spelling() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        "true|false",
        "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
        "\"([a-z é/]|\\\\u00[0-7][0-9a-f]|\\\\[\"\\\\/bnrt]|\\\\ud83d\\\\ude00){0,8}\"",
        "\"(uri|taskId|a:1)\"",
    ];
    let key = "\"(uri|taskId|type|content|x|\\\\u0078y)\"";
    leaf.prop_recursive(3, 24, 4, move |inner| {
        let space = "[ \\n\\t]{0,2}";
        let array = proptest::collection::vec((space, inner.clone()), 0..4);
        let object = proptest::collection::vec((space, key, space, inner), 0..4);
        prop_oneof![
            array.prop_map(|all| {
                let all: Vec<_> =
                    all.into_iter().map(|(gap, value)| format!("{gap}{value}{gap}")).collect();
                format!("[{}]", all.join(","))
            }),
            object.prop_map(|all| {
                let all: Vec<_> = all
                    .into_iter()
                    .map(|(gap, key, more, value)| format!("{gap}{key}{more}:{value}{gap}"))
                    .collect();
                format!("{{{}}}", all.join(","))
            }),
        ]
    })
}

/// An object of known members among unknown ones, in any order.
fn object(known: Vec<(&'static str, BoxedStrategy<Pieces>)>) -> BoxedStrategy<Pieces> {
    let known = known.into_iter().map(|(key, value)| (Just(key.to_owned()), value).boxed());
    let unknown = ("[a-z]{1,6}_", spelling().prop_map(kept));
    let unknown = proptest::collection::vec(unknown, 0..3);
    (known.collect::<Vec<_>>(), unknown, "[ \\n]{0,2}")
        .prop_flat_map(|(known, unknown, gap)| {
            let members: Vec<_> = known.into_iter().chain(unknown).collect();
            (Just(members).prop_shuffle(), Just(gap))
        })
        .prop_map(|(members, gap)| {
            let mut pieces = kept(format!("{gap}{{"));
            for (index, (key, value)) in members.into_iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                pieces.extend(kept(format!("{comma}{gap}\"{key}\":{gap}")));
                pieces.extend(value);
            }
            pieces.extend(kept(format!("}}{gap}")));
            pieces
        })
        .boxed()
}

fn array(item: BoxedStrategy<Pieces>) -> BoxedStrategy<Pieces> {
    proptest::collection::vec(item, 0..4)
        .prop_map(|items| {
            let mut pieces = kept("[");
            for (index, item) in items.into_iter().enumerate() {
                pieces.extend(kept(if index > 0 { " ," } else { "" }));
                pieces.extend(item);
            }
            pieces.extend(kept("]\n"));
            pieces
        })
        .boxed()
}

fn exposed() -> BoxedStrategy<Pieces> {
    "(a:1|file:\\\\/\\\\/\\\\/x|test://[a-z]{1,5}|x:\\\\u0031)"
        .prop_map(|inside| {
            vec![Piece::Kept("\"".into()), Piece::Exposed(inside), Piece::Kept("\"".into())]
        })
        .boxed()
}

fn constant(text: &'static str) -> BoxedStrategy<Pieces> {
    Just(kept(text)).boxed()
}

fn block() -> BoxedStrategy<Pieces> {
    prop_oneof![
        object(vec![("type", constant("\"resource_link\"")), ("uri", exposed())]),
        object(vec![
            ("type", constant("\"resource\"")),
            ("resource", object(vec![("uri", exposed())])),
            ("uri", constant("\"b:2\"")),
        ]),
        object(vec![("type", constant("\"text\"")), ("uri", constant("\"c:3\""))]),
    ]
    .boxed()
}

/// A method and a result of it.
fn answer() -> impl Strategy<Value = (&'static str, Pieces)> {
    let structured = || spelling().prop_map(kept).boxed();
    let call = object(vec![("content", array(block())), ("structuredContent", structured())]);
    let message =
        prop_oneof![object(vec![("content", block())]), object(vec![("content", array(block()))])];
    let read = object(vec![("contents", array(object(vec![("uri", exposed())])))]);
    prop_oneof![
        call.prop_map(|pieces| ("tools/call", pieces)),
        object(vec![("messages", array(message.boxed()))])
            .prop_map(|pieces| ("prompts/get", pieces)),
        read.prop_map(|pieces| ("resources/read", pieces)),
        object(vec![("task", object(vec![("taskId", exposed())]))])
            .prop_map(|pieces| ("tools/call", pieces)),
        spelling().prop_map(|text| ("completion/complete", kept(text))),
    ]
}

fn joined(pieces: &[Piece], prefix: &str) -> String {
    let text = |piece: &Piece| match piece {
        Piece::Kept(text) => text.clone(),
        Piece::Exposed(text) => format!("{prefix}{text}"),
    };
    pieces.iter().map(text).collect()
}

proptest! {
    /// Whatever an upstream answers, its client reads the same bytes but for the places that the
    /// protocol names.
    #[test]
    fn only_the_named_places_of_a_result_change((method, pieces) in answer(), name in "[a-zA-Z_]{1,6}") {
        let said = Bytes::from(joined(&pieces, ""));
        let space = Namespace::of_server(&name);
        let seen = space.expose_result(method, &said).unwrap();
        let expected = joined(&pieces, &space.expose_template(""));
        prop_assert_eq!(text(&seen), expected.as_str());
        // And so it goes over the wire.
        let id = Id::string(&name);
        let frame = envelope::response(&id, &seen);
        let read = Envelope::parse(frame, usize::MAX).unwrap();
        prop_assert_eq!(read.id(), Some(&id));
        prop_assert_eq!(read.body().unwrap(), expected.trim());
        prop_assert_eq!(Namespace::identity().expose_result(method, &said), Ok(said));
    }
}
