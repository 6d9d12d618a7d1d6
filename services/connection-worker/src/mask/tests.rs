use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;

use super::*;

fn masker(values: &[&str]) -> Masker {
    Masker::new(values.iter().copied()).unwrap()
}

fn masked(values: &[&str], json: &str) -> Option<String> {
    let masked = masker(values).mask_json(&Bytes::copy_from_slice(json.as_bytes()))?;
    Some(String::from_utf8(masked.to_vec()).unwrap())
}

#[test]
fn what_holds_no_secret_stays_as_it_is() {
    assert_eq!(masked(&["hunter2!"], r#"{"text":"nothing \n here %41"}"#), None);
    assert_eq!(masked(&[], r#"{"text":"hunter2!"}"#), None);
    assert_eq!(masked(&["short"], r#"{"text":"short"}"#), None);
    assert!(matches!(masker(&["hunter2!"]).mask_text("nothing"), Cow::Borrowed("nothing")));
}

#[test]
fn strings_keys_and_numbers_are_masked() {
    assert_eq!(
        masked(&["hunter2!", "123456"], r#"{"hunter2!":"a hunter2! b","n":11234567,"m":[12]}"#),
        Some(r#"{"***":"a *** b","n":"***","m":[12]}"#.to_owned())
    );
}

#[test]
fn a_match_within_an_escape_takes_the_escape_along() {
    let text = masked(&["nsecret"], r#"{"text":"\nsecret"}"#).unwrap();
    assert_eq!(text, r#"{"text":"***"}"#);
    let text = masked(&["tail\\x"], r#"{"text":"tail\\xyz"}"#).unwrap();
    assert_eq!(text, r#"{"text":"***yz"}"#);
}

#[test]
fn every_way_of_escaping_is_seen_through() {
    let secret = "sl/ash \"q\"";
    for json in [
        r#"{"t":"sl\/ash \"q\""}"#,
        r#"{"t":"\u0073l/ash \u0022q\u0022"}"#,
        r#"{"t":"{\"u\":\"sl\\/ash \\\"q\\\"\"}"}"#,
        r#"{"t":"sl%2fash%20%22q%22"}"#,
        r#"{"t":"sl%2Fash+%22q%22"}"#,
    ] {
        let text = masked(&[secret], json).expect(json);
        assert!(text.contains("***") && !text.contains("ash"), "{text}");
        serde_json::from_str::<serde_json::Value>(&text).expect(&text);
    }
}

#[test]
fn a_stray_percent_sign_before_an_encoded_secret_hides_nothing() {
    let text = masked(&["00A~0é"], r#"{"t":"%00A%7E0%C3%A9"}"#).unwrap();
    assert_eq!(text, r#"{"t":"%***"}"#);
}

#[test]
fn each_line_of_a_value_is_a_secret() {
    let masker = masker(&["-----KEY-----\nabcdefgh\nijklmnop\n"]);
    assert_eq!(masker.mask_text("got ijklmnop"), "got ***");
}

#[test]
fn too_much_to_search_for_is_refused() {
    let long = "x".repeat(MAX_SECRET_BYTES + 1);
    assert_eq!(Masker::new([long.as_str()]).err(), Some(TooManySecrets));
}

/// The secret in one of the forms that must not survive: alone where it has a form of its own,
/// and within a text.
fn encoded(secret: &str, form: usize, before: &str, after: &str) -> (String, String) {
    let surrounded = format!("{before}{secret}{after}");
    let plain = |form: String| (form.clone(), format!("{before}{form}{after}"));
    match form {
        0 => plain(secret.to_owned()),
        1 => (String::new(), STANDARD.encode(&surrounded)),
        2 => (String::new(), URL_SAFE.encode(&surrounded)),
        3 => plain(STANDARD_NO_PAD.encode(secret)),
        4 => plain(URL_SAFE_NO_PAD.encode(secret)),
        5 => plain(utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string()),
        6 => plain(utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string().to_lowercase()),
        7 => plain(secret.bytes().map(|byte| format!("{byte:02X}")).collect()),
        8 => plain(serde_json::to_string(secret).unwrap()),
        _ => plain(secret.bytes().map(|byte| format!("%{byte:02x}")).collect()),
    }
}

/// Whether `text` says `secret`, as it is or in base64 that begins with the text or a run.
fn says(text: &str, secret: &str) -> bool {
    let mut runs = text.split(|c: char| !(c.is_ascii_alphanumeric() || "+/-_".contains(c)));
    let from_base64 = |run: &str| {
        let mut run = run.replace('-', "+").replace('_', "/");
        if run.len() % 4 == 1 {
            run.pop();
        }
        run.push_str(&"A".repeat((4 - run.len() % 4) % 4));
        let decoded = STANDARD.decode(run).unwrap_or_default();
        decoded.windows(secret.len()).any(|window| window == secret.as_bytes())
    };
    text.contains(secret) || runs.any(from_base64)
}

proptest! {
    #[test]
    fn no_encoded_form_survives_and_json_stays_valid(
        secret in "[A-Za-z0-9 !-~é]{6,40}",
        form in 0_usize..10,
        before in "[a-z{\\\\\"%, ]{0,12}",
        after in "[a-z}\\\\\"%, ]{0,12}",
        nested in any::<bool>(),
    ) {
        let secret = secret.trim();
        prop_assume!(secret.len() >= MIN_SECRET_BYTES);
        let (alone, text) = encoded(secret, form, &before, &after);
        let mut json = serde_json::json!({"text": text});
        if nested {
            json = serde_json::json!({"outer": json.to_string()});
        }
        let json = Bytes::from(json.to_string());
        let masker = Masker::new([secret]).unwrap();
        let masked = masker.mask_json(&json).expect("something to mask");

        let value: serde_json::Value = serde_json::from_slice(&masked).expect("valid JSON");
        let said = value["text"].as_str().or(value["outer"].as_str()).unwrap();
        for said in [said, masker.mask_text(&text).as_ref()] {
            prop_assert!(said.contains(REPLACEMENT), "{said:?}");
            prop_assert!(!says(said, secret), "{said:?}");
            prop_assert!(alone.is_empty() || !said.contains(&alone), "{said:?}");
        }
    }

    #[test]
    fn any_json_stays_valid(
        secret in "[a-z0-9\\\\\"nu]{6,8}",
        text in "[a-z0-9\\\\\"nu%]{0,60}",
        number in any::<u64>(),
    ) {
        let json = Bytes::from(serde_json::json!({text.clone(): text, "n": number}).to_string());
        let digits = number.to_string();
        let masker = Masker::new([secret.as_str(), &digits[..digits.len().min(7)]]).unwrap();
        if let Some(masked) = masker.mask_json(&json) {
            serde_json::from_slice::<serde_json::Value>(&masked).expect("valid JSON");
        }
    }
}
