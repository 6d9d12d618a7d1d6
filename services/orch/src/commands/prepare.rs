//! `mcp-orch prepare`: what the parts of a new cluster must know of each other before they can
//! meet: keys of the bus, its certificate, the passwords of the database, the key that unseals
//! the secrets.
//!
//! What always holds: each service has a directory of its own, to be mounted there and nowhere
//! else, with only what it needs; a key that is there is never made again, so that the command can
//! run before every start.

mod certificate;
mod directory;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use ring::rand::{SecureRandom as _, SystemRandom};

pub(super) use self::directory::Directory;
use super::table::say;
use crate::cli::cluster::PrepareArgs;

/// Who connects to the bus.
const SERVICES: [&str; 3] = ["control-plane", "worker", "edge"];

/// What the bus runs on.
const CONFIGURATION: &str = include_str!("../../../../deploy/nats/nats.conf");

/// Makes what is missing.
pub(crate) fn run(args: &PrepareArgs) -> Result<()> {
    let root = Directory::make(&args.directory)?;
    bus(&root, args)?;
    database(&root, &args.database)?;
    // As the server of the secrets reads it: 32 bytes.
    root.below("vault")?.once("unseal.key", || random(32))?;
    say(&format!("everything is in {}", args.directory.display()));
    Ok(())
}

fn bus(root: &Directory, args: &PrepareArgs) -> Result<()> {
    let server = root.below("nats")?;
    if !server.has("ca.pem") {
        let made = certificate::make(&args.bus_names)?;
        server.once("server.key", || Ok(made.key.into_bytes()))?;
        server.once("server.pem", || Ok(made.certificate.into_bytes()))?;
        // Last: it says that the other two are there.
        server.once("ca.pem", || Ok(made.authority.into_bytes()))?;
    }
    let authority = server.read("ca.pem")?;
    let mut settings = vec![
        ("TLS_CERT".to_owned(), server.path_of("server.pem")),
        ("TLS_KEY".to_owned(), server.path_of("server.key")),
        ("STORE".to_owned(), args.bus_store.display().to_string()),
    ];
    for service in SERVICES {
        let directory = root.below(service)?;
        let seed = directory.once("nats.seed", || Ok(KeyPair::new_user().seed()?.into_bytes()))?;
        let key = KeyPair::from_seed(std::str::from_utf8(&seed)?)?;
        settings.push((service.replace('-', "_").to_uppercase(), key.public_key()));
        directory.once("nats-ca.pem", || Ok(authority.clone()))?;
    }
    server.replace("nats.conf", configuration(&settings).as_bytes())
}

/// The configuration as it is deployed everywhere, with what it takes from the environment
/// elsewhere.
fn configuration(settings: &[(String, String)]) -> String {
    let mut text = String::from("# Written by `mcp-orch prepare`.\n");
    for (name, value) in settings {
        text.push_str(&format!("MCP_ORCH_NATS_{name}: \"{value}\"\n"));
    }
    text.push_str(CONFIGURATION);
    text
}

fn database(root: &Directory, place: &str) -> Result<()> {
    let server = root.below("postgres")?;
    let admin = server.once("admin.password", password)?;
    let owner = root.below("migrate")?;
    owner.replace("admin.url", &url("postgres", &admin, place)?)?;
    let control_plane = root.below("control-plane")?;
    for (role, name) in [("mcp_orch_app", "app"), ("mcp_orch_log", "log")] {
        let made = owner.once(&format!("{name}.password"), password)?;
        control_plane.replace(&format!("postgres-{name}.url"), &url(role, &made, place)?)?;
    }
    Ok(())
}

fn url(role: &str, password: &[u8], place: &str) -> Result<Vec<u8>> {
    Ok(format!("postgres://{role}:{}@{place}", std::str::from_utf8(password)?).into_bytes())
}

fn password() -> Result<Vec<u8>> {
    Ok(URL_SAFE_NO_PAD.encode(random(24)?).into_bytes())
}

fn random(bytes: usize) -> Result<Vec<u8>> {
    let mut random = vec![0; bytes];
    let filled = SystemRandom::new().fill(&mut random);
    filled.map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
    Ok(random)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    fn prepare(directory: &Path) -> BTreeMap<String, Vec<u8>> {
        let args = PrepareArgs {
            directory: directory.to_owned(),
            bus_names: vec!["nats".to_owned(), "127.0.0.1".to_owned()],
            bus_store: "/data".into(),
            database: "postgres:5432/mcp_orch".to_owned(),
        };
        run(&args).unwrap();
        let mut files = BTreeMap::new();
        for service in std::fs::read_dir(directory).unwrap() {
            for file in std::fs::read_dir(service.unwrap().path()).unwrap() {
                let path = file.unwrap().path();
                let name = path.strip_prefix(directory).unwrap().display().to_string();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
        files
    }

    #[test]
    fn every_service_gets_what_is_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let files = prepare(directory.path());
        let of = |service: &str| -> Vec<&str> {
            files.keys().filter_map(|name| name.strip_prefix(&format!("{service}/"))).collect()
        };
        assert_eq!(of("edge"), ["nats-ca.pem", "nats.seed"]);
        assert_eq!(of("worker"), ["nats-ca.pem", "nats.seed"]);
        let control_plane = ["nats-ca.pem", "nats.seed", "postgres-app.url", "postgres-log.url"];
        assert_eq!(of("control-plane"), control_plane);
        assert_eq!(of("migrate"), ["admin.url", "app.password", "log.password"]);
        let bus = String::from_utf8(files["nats/nats.conf"].clone()).unwrap();
        assert!(bus.contains("MCP_ORCH_NATS_CONTROL_PLANE: \"U"), "{bus}");
        assert!(!bus.contains("\"SU"), "a seed is with the server");
    }

    #[test]
    fn what_is_there_stays() {
        let directory = tempfile::tempdir().unwrap();
        let first = prepare(directory.path());
        assert_eq!(prepare(directory.path()), first);
        std::fs::remove_file(directory.path().join("edge/nats-ca.pem")).unwrap();
        assert_eq!(prepare(directory.path()), first, "what went missing comes back the same");
    }
}
