//! The part of a compose file that says how processes are started: commands, environment, ports,
//! volumes, order and health.
//!
//! What is not understood here but changes how a process runs is an error, so that what is
//! tested is what is deployed. What only an engine of containers can do (capabilities, networks,
//! restart) is passed over.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// A compose file.
#[derive(Clone, Debug, Deserialize)]
pub struct Compose {
    /// By name.
    pub services: BTreeMap<String, Service>,
}

/// A service of it.
#[derive(Clone, Debug, Deserialize)]
pub struct Service {
    /// What runs, such as `postgres:17`.
    pub image: String,
    /// In place of the image's own entrypoint.
    #[serde(default)]
    pub entrypoint: Option<Vec<String>>,
    /// Arguments for the entrypoint.
    #[serde(default)]
    pub command: Vec<String>,
    /// Variables, by name.
    #[serde(default)]
    pub environment: BTreeMap<String, Text>,
    /// Ports that other services reach.
    #[serde(default)]
    pub expose: Vec<Text>,
    /// Ports that are reached from outside: `[address:]outside:inside`.
    #[serde(default)]
    pub ports: Vec<String>,
    /// Mounts.
    #[serde(default)]
    pub volumes: Vec<Volume>,
    /// Directories in memory.
    #[serde(default)]
    pub tmpfs: Vec<String>,
    /// What must be before this.
    #[serde(default)]
    pub depends_on: BTreeMap<String, Dependency>,
    /// How it is seen to be ready.
    #[serde(default)]
    pub healthcheck: Option<Healthcheck>,
    /// How many there are.
    #[serde(default)]
    pub deploy: Deploy,
}

/// A mount.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Volume {
    /// `source:target[:ro]`, or a target alone.
    Short(String),
    /// A named volume, or a folder of it.
    Long {
        /// The volume.
        source: String,
        /// Where it is inside.
        target: String,
        /// Which part of it.
        #[serde(default)]
        volume: Part,
    },
}

/// A part of a volume.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Part {
    /// A folder; all of it without one.
    #[serde(default)]
    pub subpath: String,
}

/// A string, a number or a boolean of YAML, as the environment gets it.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Text {
    /// `true` or `false`.
    Flag(bool),
    /// A number without a fraction.
    Number(i64),
    /// Anything else.
    Words(String),
}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => flag.fmt(formatter),
            Self::Number(number) => number.fmt(formatter),
            Self::Words(words) => words.fmt(formatter),
        }
    }
}

/// What another service must have reached.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Dependency {
    /// How far.
    pub condition: Condition,
}

/// How far a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Condition {
    /// It runs.
    #[serde(rename = "service_started")]
    Started,
    /// Its health check passes.
    #[serde(rename = "service_healthy")]
    Healthy,
    /// It ended, with success.
    #[serde(rename = "service_completed_successfully")]
    Completed,
}

/// How a service is seen to be ready.
#[derive(Clone, Debug, Deserialize)]
pub struct Healthcheck {
    /// `CMD`, a program and its arguments.
    pub test: Vec<String>,
}

/// How many there are of a service.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Deploy {
    /// Processes.
    #[serde(default = "one")]
    pub replicas: usize,
}

impl Default for Deploy {
    fn default() -> Self {
        Self { replicas: one() }
    }
}

const fn one() -> usize {
    1
}

impl Compose {
    /// Reads a file's text; `variable` gives what `${NAME}` stands for.
    ///
    /// # Errors
    /// When it is no compose file, or names a variable that has neither a value nor a default.
    pub fn parse(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let text = interpolate(text, &variable)?;
        let compose: Self = serde_saphyr::from_str(&text).context("this is no compose file")?;
        for (name, service) in &compose.services {
            service.check().with_context(|| format!("service {name}"))?;
            let unknown = service.depends_on.keys().find(|on| !compose.services.contains_key(*on));
            if let Some(unknown) = unknown {
                bail!("service {name} depends on {unknown}, which is not there");
            }
        }
        Ok(compose)
    }

    /// The names in an order in which everything comes after what it depends on.
    ///
    /// # Errors
    /// When services depend on each other in a circle.
    pub fn in_order(&self) -> Result<Vec<&str>> {
        let mut order: Vec<&str> = Vec::new();
        while order.len() < self.services.len() {
            let next = self.services.iter().find(|(name, service)| {
                !order.contains(&name.as_str())
                    && service.depends_on.keys().all(|on| order.contains(&on.as_str()))
            });
            let (name, _) = next.context("services depend on each other in a circle")?;
            order.push(name);
        }
        Ok(order)
    }
}

impl Service {
    /// The ports that it listens on, without those that are given twice.
    ///
    /// # Errors
    /// When one is no number.
    pub fn inner_ports(&self) -> Result<Vec<u16>> {
        let exposed = self.expose.iter().map(Text::to_string);
        let published =
            self.ports.iter().map(|port| port.rsplit(':').next().unwrap_or(port).to_owned());
        let mut ports = Vec::new();
        for port in exposed.chain(published) {
            let port = port.parse().with_context(|| format!("{port} is no port"))?;
            if !ports.contains(&port) {
                ports.push(port);
            }
        }
        Ok(ports)
    }

    /// Whether others wait for its end: such a service runs once.
    #[must_use]
    pub fn is_one_shot(name: &str, compose: &Compose) -> bool {
        compose.services.values().any(|service| {
            service.depends_on.get(name).is_some_and(|on| on.condition == Condition::Completed)
        })
    }

    fn check(&self) -> Result<()> {
        self.inner_ports()?;
        if let Some(check) = &self.healthcheck
            && check.test.first().map(String::as_str) != Some("CMD")
        {
            bail!("its health check must begin with CMD: no shell is in the images");
        }
        Ok(())
    }
}

/// Fills in `${NAME}` and `${NAME:-default}`; `$$` is a dollar sign.
fn interpolate(text: &str, variable: &impl Fn(&str) -> Option<String>) -> Result<String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        filled.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            filled.push('$');
            rest = after;
            continue;
        }
        let inside = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let (inside, after) = inside.context("a dollar sign must be ${NAME} or $$")?;
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        let value = variable(name).or_else(|| default.map(str::to_owned));
        filled.push_str(&value.with_context(|| format!("{name} has no value and no default"))?);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
x-common: &common
  image: ${IMAGE:-mcp-orch:latest}
  environment: &environment
    LEVEL: INFO
    FLAG: true
services:
  worker:
    <<: *common
    command: [worker]
    environment:
      <<: *environment
      COST: "$$5"
    deploy: { replicas: 2 }
    depends_on:
      prepare: { condition: service_completed_successfully }
  prepare:
    <<: *common
    command: [prepare]
    expose: [9464, "8080"]
    ports: ["127.0.0.1:80:8080"]
    healthcheck: { test: [CMD, "mcp-orch", "health"] }
"#;

    fn parse(text: &str) -> Result<Compose> {
        Compose::parse(text, |_| None)
    }

    #[test]
    fn anchors_merges_and_variables_are_filled_in() {
        let compose = parse(FILE).unwrap();
        let worker = &compose.services["worker"];
        assert_eq!(worker.image, "mcp-orch:latest");
        assert_eq!(worker.deploy.replicas, 2);
        let environment: Vec<_> =
            worker.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(environment, ["COST=$5", "FLAG=true", "LEVEL=INFO"]);
        assert_eq!(compose.services["prepare"].inner_ports().unwrap(), [9464, 8080]);
        let other = Compose::parse(FILE, |name| (name == "IMAGE").then(|| "x:1".to_owned()));
        assert_eq!(other.unwrap().services["worker"].image, "x:1");
    }

    #[test]
    fn what_is_depended_on_comes_first() {
        let compose = parse(FILE).unwrap();
        assert_eq!(compose.in_order().unwrap(), ["prepare", "worker"]);
        assert!(Service::is_one_shot("prepare", &compose));
        assert!(!Service::is_one_shot("worker", &compose));
    }

    #[test]
    fn the_deployed_file_can_be_followed() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/compose/compose.yaml");
        let compose = parse(&std::fs::read_to_string(path).unwrap()).unwrap();
        let order = compose.in_order().unwrap();
        assert_eq!(order.first(), Some(&"prepare"));
        assert_eq!(order.last(), Some(&"balancer"));
        for service in ["control-plane", "worker", "edge"] {
            assert_eq!(compose.services[service].deploy.replicas, 2, "{service}");
            assert!(compose.services[service].healthcheck.is_some(), "{service}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_followed_is_refused() {
        for (wrong, why) in [
            (FILE.replace("${IMAGE:-mcp-orch:latest}", "${IMAGE}"), "no value"),
            (FILE.replace("prepare: {", "other: {"), "not there"),
            (FILE.replace("CMD,", "CMD-SHELL,"), "no shell"),
            (FILE.replace("service_completed_successfully", "service_done"), "no compose file"),
        ] {
            let error = format!("{:#}", parse(&wrong).unwrap_err());
            assert!(error.contains(why), "{error}");
        }
    }
}
