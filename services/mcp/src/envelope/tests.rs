//! What is a message and what is not, and that its parts keep their bytes.

use proptest::prelude::*;

use super::*;

const LIMIT: usize = 10_000;

fn parse(text: &str) -> Result<Envelope, EnvelopeError> {
    Envelope::parse(Bytes::copy_from_slice(text.as_bytes()), LIMIT)
}

fn reason(text: &str) -> &'static str {
    match parse(text) {
        Err(EnvelopeError::NotJsonRpc { reason, .. }) => reason,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn the_four_kinds_are_told_apart() {
    let request = parse(r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{ "x":1 }}"#).unwrap();
    assert_eq!(request.kind(), Kind::Request);
    assert_eq!(request.method(), "a");
    assert_eq!(request.id(), Some(&Id::number(1)));
    assert_eq!(request.body().unwrap(), r#"{ "x":1 }"#);

    let notification = parse(r#"{"method":"n\/x","jsonrpc":"2.0"}"#).unwrap();
    assert_eq!(notification.kind(), Kind::Notification);
    assert_eq!(
        (notification.method(), notification.id(), notification.body()),
        ("n/x", None, None)
    );

    let result = parse(r#"{"jsonrpc":"2.0","id":"1","result":null}"#).unwrap();
    assert_eq!((result.kind(), result.body().unwrap()), (Kind::Result, "null".into()));
    assert_eq!(result.id(), Some(&Id::string("1")));

    let error = parse(r#"{"jsonrpc":"2.0","id":null,"error":{"code":1}}"#).unwrap();
    assert_eq!((error.kind(), error.id()), (Kind::Error, None));
}

#[test]
fn a_string_and_a_number_are_different_ids_and_big_ones_survive() {
    assert_ne!(Id::string("1"), Id::number(1));
    let big = "123456789012345678901234567890";
    let request = parse(&format!(r#"{{"jsonrpc":"2.0","id":{big},"method":"a"}}"#)).unwrap();
    assert_eq!(request.id().unwrap().raw(), big);
    assert_eq!(request.id().unwrap().as_u64(), None);
    assert_eq!(Id::number(u64::MAX).as_u64(), Some(u64::MAX));
    assert_eq!(Id::string("1").as_u64(), None);
}

#[test]
fn what_is_no_message_is_refused_with_its_id_where_it_has_one() {
    assert_eq!(parse("{"), Err(EnvelopeError::NotJson));
    assert_eq!(parse("nonsense"), Err(EnvelopeError::NotJson));
    assert_eq!(parse(r#"{"jsonrpc":"2.0","method":"a"} x"#), Err(EnvelopeError::NotJson));
    let frame = Bytes::from_static(b"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\"}");
    assert_eq!(Envelope::parse(frame.clone(), LIMIT), Err(EnvelopeError::NotJson));
    assert_eq!(Envelope::parse(frame, 10), Err(EnvelopeError::TooLarge(10)));
    let deep = format!(r#"{{"jsonrpc":"2.0","method":"a","params":{{"a":{}"#, "[".repeat(200));
    assert_eq!(parse(&deep), Err(EnvelopeError::TooDeep));

    assert_eq!(reason("[]"), "not an object");
    assert_eq!(reason(r#"{"jsonrpc":"1.0","id":1,"method":"a"}"#), "jsonrpc is not \"2.0\"");
    assert_eq!(reason(r#"{"id":1,"method":"a"}"#), "jsonrpc is not \"2.0\"");
    assert_eq!(
        reason(r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"a"}"#),
        "a member is present more than once"
    );
    assert_eq!(
        reason(r#"{"jsonrpc":"2.0","id":1,"method":"a","m\u0065thod":"b"}"#),
        "a member is present more than once"
    );
    assert_eq!(
        reason(r#"{"jsonrpc":"2.0","id":null,"method":"a"}"#),
        "the id of a request is null"
    );
    assert_eq!(
        reason(r#"{"jsonrpc":"2.0","id":[1],"method":"a"}"#),
        "id is neither a string nor a number"
    );
    assert_eq!(reason(r#"{"jsonrpc":"2.0","id":1,"method":3}"#), "method is not a string");
    assert_eq!(reason(r#"{"jsonrpc":"2.0","method":"a","params":[]}"#), "params is not an object");
    assert_eq!(reason(r#"{"jsonrpc":"2.0","id":1}"#), "neither method, result nor error");
    assert_eq!(
        reason(r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{}}"#),
        "not exactly one of result and error under an id"
    );
    assert_eq!(
        reason(r#"{"jsonrpc":"2.0","id":1,"method":"a","result":1}"#),
        "both a method and an answer"
    );
    assert_eq!(reason(r#"{"jsonrpc":"2.0","id":1,"error":"x"}"#), "error is not an object");

    let with_id = parse(r#"{"jsonrpc":"1.0","id":"x","result":1}"#).unwrap_err();
    assert_eq!(with_id.id(), Some(&Id::string("x")));
    assert_eq!(with_id.code(), code::INVALID_REQUEST);
    assert!(matches!(with_id, EnvelopeError::NotJsonRpc { is_answer: true, .. }));
}

#[test]
fn a_message_has_few_members_and_a_method_of_bounded_length() {
    let with = |count: usize| {
        let more: String = (0..count).map(|n| format!(r#","x{n}":1"#)).collect();
        format!(r#"{{"jsonrpc":"2.0","method":"a"{more}}}"#)
    };
    assert!(parse(&with(Envelope::MAX_MEMBERS - 2)).is_ok());
    assert_eq!(reason(&with(Envelope::MAX_MEMBERS - 1)), "too many members");
    let method = |bytes: usize| format!(r#"{{"jsonrpc":"2.0","method":"{}"}}"#, "m".repeat(bytes));
    assert!(parse(&method(Envelope::MAX_METHOD_BYTES)).is_ok());
    assert_eq!(reason(&method(Envelope::MAX_METHOD_BYTES + 1)), "method is too long");
    let wide = format!(r#"{{{}"z":1}}"#, r#""a":1,"#.repeat(scan::MAX_MEMBERS));
    let wide = Envelope::parse(wide.into(), usize::MAX).unwrap_err();
    assert_eq!((&wide, wide.code()), (&EnvelopeError::TooWide, code::INVALID_REQUEST));
}

#[test]
fn a_byte_order_mark_is_passed_over_once() {
    let message = "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}";
    let envelope = parse(message).unwrap();
    assert_eq!(envelope.frame(), &message[3..]);
    assert_eq!(envelope.body().unwrap(), "{}");
    assert_eq!(parse(&format!("\u{feff}{message}")), Err(EnvelopeError::NotJson));
    let batch = Bytes::from_static("\u{feff} [1]".as_bytes());
    assert!(is_batch(&batch));
    assert_eq!(split_batch(&batch, 1).unwrap(), [Bytes::from("1")]);
}

#[test]
fn parts_are_slices_of_the_frame() {
    let frame = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"result":{"a":"b"}}"#);
    let body = Envelope::parse(frame.clone(), LIMIT).unwrap().body().unwrap();
    assert!(frame.as_ptr_range().contains(&body.as_ptr()));
}

#[test]
fn batches_are_split_within_limits() {
    assert!(is_batch(b" \n[{}]"));
    assert!(!is_batch(b"{}"));
    let frame = Bytes::from_static(br#"[ {"a":1} , {"b":2} ]"#);
    let parts = split_batch(&frame, 2).unwrap();
    assert_eq!(parts, [Bytes::from(r#"{"a":1}"#), Bytes::from(r#"{"b":2}"#)]);
    assert!(split_batch(&frame, 1).is_err());
    assert!(split_batch(&Bytes::from_static(b"[]"), 2).is_err());
    assert!(split_batch(&Bytes::from_static(b"[1"), 2).is_err());
}

#[test]
fn errors_are_built_and_read() {
    let message =
        error(Some(&Id::number(3)), code::INVALID_PARAMS, "no \"x\"\n", Some(b"{\"k\":1}"));
    let envelope = Envelope::parse(message, LIMIT).unwrap();
    let object = ErrorObject::parse(&envelope.body().unwrap());
    assert_eq!((object.code, object.message.as_str()), (code::INVALID_PARAMS, "no \"x\"\n"));
    assert_eq!(object.data.unwrap(), r#"{"k":1}"#);
    let odd = ErrorObject::parse(&Bytes::from_static(br#"{"code":"x"}"#));
    assert_eq!((odd.code, odd.message.as_str()), (code::INTERNAL_ERROR, ""));
    assert_eq!(
        error(None, -1, "m", None),
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"m"}}"#
    );
}

impl PartialEq for Envelope {
    fn eq(&self, other: &Self) -> bool {
        self.frame == other.frame
    }
}

proptest! {
    #[test]
    fn what_is_built_is_read_back_byte_for_byte(
        id in prop_oneof![any::<u64>().prop_map(Id::number), "\\PC{0,12}".prop_map(|t| Id::string(&t))],
        method in "\\PC{1,12}|[\"\\\\\n/]{1,4}",
        key in "\\PC{0,8}",
        value in any::<f64>().prop_filter("JSON has no infinities", |v| v.is_finite()),
    ) {
        let params = format!("{{ {} :\t{value:?} }}", serde_json::to_string(&key).unwrap());
        let envelope = Envelope::parse(request(&id, &method, Some(params.as_bytes())), LIMIT).unwrap();
        prop_assert_eq!(envelope.id(), Some(&id));
        prop_assert_eq!(envelope.method(), &method);
        prop_assert_eq!(envelope.body().unwrap(), params.as_bytes());
        let envelope = Envelope::parse(response(&id, params.as_bytes()), LIMIT).unwrap();
        prop_assert_eq!((envelope.kind(), envelope.id()), (Kind::Result, Some(&id)));
        prop_assert_eq!(envelope.body().unwrap(), params);
    }
}
