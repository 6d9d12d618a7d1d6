//! Rewriting touches the span it names and nothing else.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn nested_members_are_found_whatever_stands_around_them() {
    let json = br#" { "a" : [1,{"name":"no"}], "params" : { "n\u0061me" : "x\u0041" , "z":{} } } "#;
    let span = find(json, &["params", "name"]).unwrap().unwrap();
    assert_eq!(text(&json[span]), r#""x\u0041""#);
    assert_eq!(find_string(json, &["params", "name"]).unwrap().as_deref(), Some("xA"));
    assert_eq!(find(json, &["params", "absent"]), Ok(None));
    assert_eq!(find(json, &["a", "name"]), Ok(None));
    assert_eq!(find(json, &[]).unwrap().map(|span| span.start), Some(1));
}

#[test]
fn a_routed_key_that_is_there_twice_is_refused() {
    let twice = br#"{"name":"a","n\u0061me":"b"}"#;
    assert_eq!(find(twice, &["name"]), Err(SpliceError::Ambiguous));
    assert_eq!(set(twice, &["name"], b"1"), Err(SpliceError::Ambiguous));
    assert_eq!(remove(twice, &["name"]), Err(SpliceError::Ambiguous));
    // Other members may repeat: they route nothing.
    let other = br#"{"x":1,"x":2,"name":"a"}"#;
    assert_eq!(
        text(&replace(other, &["name"], b"1").unwrap().unwrap()),
        r#"{"x":1,"x":2,"name":1}"#
    );
}

#[test]
fn text_that_is_not_json_is_refused() {
    for broken in ["", "{", "{\"a\":1}}", "{\"a\":01}", "{'a':1}"] {
        assert!(find(broken.as_bytes(), &["a"]).is_err(), "{broken}");
    }
}

#[test]
fn values_are_set_and_missing_objects_are_made() {
    let cases: [(&str, &[&str], &str); 6] = [
        ("{}", &["a"], r#"{"a":7}"#),
        (r#"{ "b":1}"#, &["a"], r#"{"a":7, "b":1}"#),
        (r#"{"a": 1 }"#, &["a"], r#"{"a": 7 }"#),
        ("{}", &["_meta", "x\"y"], r#"{"_meta":{"x\"y":7}}"#),
        (r#"{"_meta":{"b":1}}"#, &["_meta", "a"], r#"{"_meta":{"a":7,"b":1}}"#),
        (r#"{"p":{"_meta":{ }}}"#, &["p", "_meta", "a", "c"], r#"{"p":{"_meta":{"a":{"c":7} }}}"#),
    ];
    for (before, path, after) in cases {
        assert_eq!(text(&set(before.as_bytes(), path, b"7").unwrap()), after);
    }
    assert_eq!(set(br#"{"a":[]}"#, &["a", "b"], b"7"), Err(SpliceError::NotAnObject));
    assert_eq!(set(b"[]", &["a"], b"7"), Err(SpliceError::NotAnObject));
}

#[test]
fn members_are_removed_with_one_comma() {
    let cases = [
        (r#"{"a":1}"#, "{}"),
        (r#"{ "a" : 1 }"#, "{  }"),
        (r#"{"a":1,"b":2}"#, r#"{"b":2}"#),
        (r#"{"b":2, "a":1}"#, r#"{"b":2}"#),
        (r#"{"b":2,"a":[1,2] ,"c":3}"#, r#"{"b":2,"c":3}"#),
    ];
    for (before, after) in cases {
        let removed = remove(before.as_bytes(), &["a"]).unwrap().unwrap();
        assert_eq!(text(&removed), after, "{before}");
    }
    assert_eq!(remove(b"{}", &["a"]), Ok(None));
    assert_eq!(remove(b"[]", &["a"]), Ok(None));
}

#[test]
fn numbers_that_no_double_holds_are_mended_and_no_others() {
    let mended = |json: &'static str| {
        let json = mend(&Bytes::from_static(json.as_bytes()));
        String::from_utf8(json.to_vec()).unwrap()
    };
    for whole in [r#"[1e308,-0.0,1E-999,12345678901234567890123]"#, r#"{"1e999":"-1e999 \"1e999"}"#]
    {
        assert_eq!(mended(whole), whole);
    }
    assert_eq!(
        mended(r#"{"a":[1e999,-44e4444,7],"b":"x"}"#),
        r#"{"a":[1.7976931348623157e308,-1.7976931348623157e308,7],"b":"x"}"#
    );
}

#[test]
fn halves_of_characters_are_mended_and_nothing_else() {
    let mended = |json: &'static str| {
        let json = mend(&Bytes::from_static(json.as_bytes()));
        text(&json).to_owned()
    };
    for whole in [r#""\ud83d\ude00""#, r#""\\ud800""#, r#""\\\"\u0041""#, "{}", ""] {
        assert_eq!(mended(whole), whole);
    }
    assert_eq!(
        mended(r#"["\ud83d","\ude00\ud83d","\uDFFFx"]"#),
        r#"["\ufffd","\ufffd\ufffd","\ufffdx"]"#
    );
    assert_eq!(mended(r#""\ud83d\ud83d\ude00""#), r#""\ufffd\ud83d\ude00""#);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        "[\"\\\\{}\\[\\],:\n]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::hash_map("[a-d\"\\\\]{0,2}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn spelled(value: &Value, pretty: bool) -> String {
    if pretty {
        serde_json::to_string_pretty(value).unwrap()
    } else {
        serde_json::to_string(value).unwrap()
    }
}

proptest! {
    #[test]
    fn only_the_named_span_changes(json in any_json(), path in proptest::collection::vec("[a-d]", 0..4), pretty: bool) {
        let before = spelled(&json, pretty);
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let pointer: String = path.iter().map(|key| format!("/{key}")).collect();
        // A pointer also walks into arrays, by number; keys here are letters.
        let expected = json.pointer(&pointer);
        let span = find(before.as_bytes(), &path).unwrap();
        prop_assert_eq!(
            span.clone().map(|span| serde_json::from_str::<Value>(&before[span]).unwrap()),
            expected.cloned()
        );
        if let Some(span) = span {
            let after = replace(before.as_bytes(), &path, b"[\"new\"]").unwrap().unwrap();
            let after = text(&after);
            prop_assert_eq!(&after[..span.start], &before[..span.start]);
            prop_assert_eq!(&after[span.start + 7..], &before[span.end..]);
            let mut model = json;
            *model.pointer_mut(&pointer).unwrap() = serde_json::json!(["new"]);
            prop_assert_eq!(serde_json::from_str::<Value>(after).unwrap(), model);
        }
    }

    #[test]
    fn what_is_set_is_found_and_what_is_removed_is_not(json in any_json(), key in "[a-d\"\\\\]{0,2}", pretty: bool) {
        let before = spelled(&json, pretty);
        let path = [key.as_str()];
        if !json.is_object() {
            prop_assert_eq!(set(before.as_bytes(), &path, b"7"), Err(SpliceError::NotAnObject));
            return Ok(());
        }
        let mut model = json;
        model[&key] = 7.into();
        let after = set(before.as_bytes(), &path, b"7").unwrap();
        prop_assert_eq!(serde_json::from_slice::<Value>(&after).unwrap(), model.clone());
        let removed = remove(&after, &path).unwrap().unwrap();
        model.as_object_mut().unwrap().remove(&key);
        prop_assert_eq!(serde_json::from_slice::<Value>(&removed).unwrap(), model);
    }

    #[test]
    fn quoting_and_unquoting_are_inverse(text in "\\PC{0,20}|[\\x00-\\x1f\"\\\\]{0,6}") {
        let quoted = quote(&text);
        let unquoted = unquote(&quoted);
        prop_assert_eq!(unquoted.as_deref(), Some(text.as_str()));
    }
}
