//! What the image of PostgreSQL does before it starts the server, and the server as a process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::instance::{Instance, Launch};

/// How long making the files of a database may take.
const INITDB_LIMIT: Duration = Duration::from_secs(60);
/// `nobody`: PostgreSQL refuses to run as root.
const NOBODY: u32 = 65_534;

/// How the server is started.
pub(crate) struct Server {
    pub(crate) launch: Launch,
}

/// Makes the files of a new database, by the variables that the image knows.
///
/// # Errors
/// When `initdb` fails.
pub(crate) async fn prepare(
    programs: &Path,
    directory: &Path,
    port: u16,
    environment: &BTreeMap<String, String>,
    arguments: Vec<String>,
) -> Result<Server> {
    // The directory of a process belongs to whom it runs as.
    let other = (std::fs::metadata("/proc/self")?.uid() == 0).then_some(NOBODY);
    let data = directory.join("data");
    let password_file = directory.join("password");
    std::fs::write(&password_file, password(environment)?)?;
    if other.is_some() {
        for path in [directory, &password_file] {
            chown(path, other, other)
                .with_context(|| format!("cannot give {} away", path.display()))?;
        }
    }
    let launch = |program: &str, arguments: Vec<OsString>| Launch {
        program: programs.join(program),
        arguments,
        environment: vec![("LC_ALL".to_owned(), "C.UTF-8".to_owned())],
        user: other,
        directory: directory.to_owned(),
    };
    if !data.exists() {
        let words = ["-E", "UTF8", "--locale=C.UTF-8", "-A", "scram-sha-256", "--no-sync"];
        let mut words: Vec<OsString> = words.iter().map(OsString::from).collect();
        words.extend(["-U".into(), user(environment).into(), "-D".into()]);
        words.extend([data.clone().into(), "--pwfile".into(), password_file.into()]);
        Instance::new("initdb".to_owned(), launch("initdb", words)).run(INITDB_LIMIT).await?;
    }
    let mut words: Vec<OsString> = vec!["-D".into(), data.into(), "-p".into()];
    words.push(port.to_string().into());
    for setting in ["listen_addresses=127.0.0.1".to_owned(), sockets(directory)] {
        words.extend(["-c".into(), setting.into()]);
    }
    words.extend(arguments.into_iter().map(OsString::from));
    Ok(Server { launch: launch("postgres", words) })
}

fn sockets(directory: &Path) -> String {
    format!("unix_socket_directories={}", directory.display())
}

/// Makes the database that the image would have made.
///
/// # Errors
/// When `psql` fails.
pub(crate) async fn create_database(
    server: &Server,
    programs: &Path,
    port: u16,
    environment: &BTreeMap<String, String>,
) -> Result<()> {
    let Some(database) = environment.get("POSTGRES_DB") else { return Ok(()) };
    let password = password(environment)?;
    let url = format!("host=127.0.0.1 port={port} user={} dbname=postgres", user(environment));
    let psql = |sql: String| {
        let mut launch = server.launch.clone();
        launch.program = programs.join("psql");
        launch.environment.push(("PGPASSWORD".to_owned(), password.clone()));
        let words = ["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &url, "-c", &sql];
        launch.arguments = words.iter().map(OsString::from).collect();
        Instance::new("psql".to_owned(), launch)
    };
    let exists = format!("SELECT 1 FROM pg_database WHERE datname = '{database}'");
    if psql(exists).run(INITDB_LIMIT).await?.trim() != "1" {
        psql(format!("CREATE DATABASE \"{database}\"")).run(INITDB_LIMIT).await?;
    }
    Ok(())
}

fn user(environment: &BTreeMap<String, String>) -> &str {
    environment.get("POSTGRES_USER").map_or("postgres", String::as_str)
}

fn password(environment: &BTreeMap<String, String>) -> Result<String> {
    if let Some(password) = environment.get("POSTGRES_PASSWORD") {
        return Ok(password.clone());
    }
    let file = environment.get("POSTGRES_PASSWORD_FILE");
    let file = file.context("neither POSTGRES_PASSWORD nor its file is given")?;
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    Ok(text.trim_end().to_owned())
}
