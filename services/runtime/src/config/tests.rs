use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Sample {
    listen: SocketAddr,
    workers: u32,
    token: Option<String>,
    token_file: Option<PathBuf>,
    mode: Mode,
    labels: BTreeMap<String, String>,
    bus: BusSample,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct BusSample {
    urls: Vec<String>,
    name: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Fast,
    Safe,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 1)),
            workers: 1,
            token: None,
            token_file: None,
            mode: Mode::Safe,
            labels: BTreeMap::new(),
            bus: BusSample::default(),
        }
    }
}

impl Default for BusSample {
    fn default() -> Self {
        Self { urls: vec!["nats://127.0.0.1:4222".to_owned()], name: "bus".to_owned() }
    }
}

#[derive(Default, Serialize)]
struct Flags {
    #[serde(skip_serializing_if = "Option::is_none")]
    workers: Option<u32>,
}

/// Loads with a file of this name and text, variables and a flag.
fn loaded(
    file: Option<(&str, &str)>,
    variables: &[(&str, &str)],
    workers: Option<u32>,
) -> Result<Sample, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = file.map(|(name, text)| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    });
    let variables = variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
    let sample = layered(path.as_deref(), "SAMPLE_", variables, &Flags { workers });
    sample.map_err(|error| error.to_string())
}

fn refusal(file: Option<(&str, &str)>, variables: &[(&str, &str)]) -> String {
    loaded(file, variables, None).unwrap_err()
}

#[test]
fn flags_weigh_more_than_the_environment_that_more_than_the_file_and_that_more_than_defaults() {
    let file = Some(("a.toml", "workers = 2\n[bus]\nname = \"file\""));
    let variables = [("SAMPLE_WORKERS", "3"), ("SAMPLE_BUS__NAME", "environment")];
    let workers = |file, variables: &[_], flag| loaded(file, variables, flag).unwrap().workers;
    assert_eq!(workers(None, &[], None), 1);
    assert_eq!(workers(file, &[], None), 2);
    assert_eq!(workers(file, &variables, None), 3);
    assert_eq!(workers(file, &variables, Some(4)), 4);
    assert_eq!(loaded(file, &[], None).unwrap().bus.name, "file");
    assert_eq!(loaded(file, &variables, Some(4)).unwrap().bus.name, "environment");
    assert_eq!(loaded(file, &[], None).unwrap().bus.urls, BusSample::default().urls);
}

#[test]
fn json_says_the_same_as_toml() {
    let json = r#"{"workers": 7, "bus": {"urls": ["a", "b"]}, "mode": "fast"}"#;
    let toml = "workers = 7\nmode = \"fast\"\nbus.urls = [\"a\", \"b\"]";
    let (json, toml) = (Some(("a.json", json)), Some(("a.toml", toml)));
    assert_eq!(loaded(json, &[], None).unwrap(), loaded(toml, &[], None).unwrap());
    assert_eq!(loaded(json, &[], None).unwrap().bus.urls, ["a", "b"]);
}

#[test]
fn lists_and_texts_come_from_the_environment_too() {
    let variables =
        [("SAMPLE_BUS__URLS", "[nats://a:4222,nats://b:4222]"), ("SAMPLE_TOKEN", "\"12345\"")];
    let sample = loaded(None, &variables, None).unwrap();
    let numeric = loaded(None, &[("SAMPLE_BUS__NAME", "12345")], None).unwrap();
    assert_eq!(numeric.bus.name, "12345", "its default is a text");
    assert_eq!(sample.bus.urls, ["nats://a:4222", "nats://b:4222"]);
    assert_eq!(sample.token.as_deref(), Some("12345"));
}

#[test]
fn a_wrong_type_names_key_and_source_and_what_to_give() {
    let from_file = refusal(Some(("a.toml", "workers = \"many\"")), &[]);
    assert!(from_file.contains("workers (from the file "), "{from_file}");
    assert!(from_file.contains("a.toml): give a whole number from 0, not a text"), "{from_file}");
    let variables = [("SAMPLE_WORKERS", "many")];
    let from_variable = refusal(Some(("a.toml", "workers = 1")), &variables);
    let said = "workers (from the variable SAMPLE_WORKERS): give a whole number from 0";
    assert!(from_variable.contains(said), "{from_variable}");
    let nested = refusal(None, &[("SAMPLE_TOKEN", "12345")]);
    let said = "token (from the variable SAMPLE_TOKEN): give a text, not a whole number";
    assert!(nested.contains(said) && nested.contains("quote it"), "{nested}");
    let mode = refusal(Some(("a.toml", "mode = \"slow\"")), &[]);
    assert!(mode.contains("give one of fast, safe"), "{mode}");
    let address = refusal(Some(("a.toml", "listen = \"here\"")), &[]);
    assert!(address.contains("listen (from the file"), "{address}");
}

#[test]
fn a_flag_of_a_wrong_type_is_said_to_be_one() {
    #[derive(Serialize)]
    struct Wrong {
        workers: &'static str,
    }
    let error = load_with_prefix::<Sample, _>(None, "SAMPLE_", &Wrong { workers: "many" });
    let error = error.unwrap_err().to_string();
    assert!(error.contains("workers (from a flag): give a whole number from 0"), "{error}");
}

#[test]
fn a_key_that_nobody_reads_is_refused_in_a_file() {
    let text = "worker = 1\nlabels.any = \"x\"\n[bus]\nurl = \"a\"\n";
    let error = refusal(Some(("a.toml", text)), &[]);
    assert!(error.contains("there is no key worker: did you mean workers?"), "{error}");
    assert!(error.contains("in bus, there is no key url: did you mean urls?"), "{error}");
    assert!(!error.contains("labels.any") && !error.contains("key any"), "{error}");
    let colour = refusal(Some(("a.json", r#"{"colour": 1}"#)), &[]);
    assert!(colour.contains("there is no key colour: remove it; the keys are bus, "), "{colour}");
    let shared = [("SAMPLE_SOMETHING_OF_ANOTHER", "1")];
    assert_eq!(loaded(None, &shared, None).unwrap(), Sample::default());
}

#[test]
fn no_error_shows_a_value() {
    let canary = "hunter2-canary";
    let errors = [
        refusal(Some(("a.toml", &format!("workers = \"{canary}\""))), &[]),
        refusal(Some(("a.toml", &format!("listen = \"{canary}\""))), &[]),
        refusal(Some(("a.toml", &format!("mode = \"{canary}\""))), &[]),
        refusal(Some(("a.toml", &format!("token = [\"{canary}\"]"))), &[]),
        refusal(Some(("a.toml", &format!("token = {canary}"))), &[]),
        refusal(Some(("a.toml", &format!("token = \"{canary}"))), &[]),
        refusal(Some(("a.json", &format!("{{\"token\": \"{canary}\""))), &[]),
        refusal(None, &[("SAMPLE_WORKERS", canary)]),
        refusal(None, &[("SAMPLE_BUS", canary)]),
    ];
    for error in errors {
        assert!(!error.contains("hunter2"), "{error}");
        assert!(error.len() > 30, "{error}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let missing = load::<Sample, _>(Some(Path::new("/no/such")), &Flags::default()).unwrap_err();
    assert!(missing.to_string().contains("the file /no/such: "), "{missing}");
    let directory = load::<Sample, _>(Some(Path::new("/")), &Flags::default()).unwrap_err();
    assert!(directory.to_string().contains("it is no file"), "{directory}");
    let malformed = refusal(Some(("a.toml", "workers = \n")), &[]);
    assert!(malformed.contains("a.toml") && malformed.contains("line 1"), "{malformed}");
    let malformed = refusal(Some(("a.json", "{")), &[]);
    assert!(malformed.contains("a.json") && malformed.contains("line 1"), "{malformed}");
    let large = format!("token = \"{}\"", "x".repeat(1024 * 1024));
    let large = refusal(Some(("a.toml", &large)), &[]);
    assert!(large.contains("more than 1048576 bytes"), "{large}");
}
