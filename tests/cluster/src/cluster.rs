//! The processes of a compose file, started in its order, and found again by name.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde::Deserialize;
use tempfile::TempDir;

use crate::balancer::{Backend, Backends, Balancer};
use crate::compose::{Compose, Condition, Service};
use crate::health;
use crate::instance::{Instance, Launch};
use crate::place::{Place, Ports, mounts};
use crate::postgres;
use crate::program::{Kind, Programs};

/// How long a service may take until its health check passes, a debug build's included.
const HEALTHY_LIMIT: Duration = Duration::from_secs(60);
/// How long what runs once may take.
const ONE_SHOT_LIMIT: Duration = Duration::from_secs(120);
/// How long a service may take to end when it is asked to.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks at a health check.
const STEP: Duration = Duration::from_millis(50);
/// The service that makes the first owner, and says so as a line of JSON.
const BOOTSTRAP: &str = "bootstrap";

/// How a cluster is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The port of the balancer; any free one without it.
    pub port: Option<u16>,
    /// Where everything is kept; a directory that goes with the cluster without it.
    pub directory: Option<PathBuf>,
    /// Further arguments of the service that makes the first owner, such as `--demo`.
    pub bootstrap: Vec<String>,
    /// Further variables for all services of ours.
    pub environment: Vec<(String, String)>,
}

/// What there is after the first start. Key and password come with that one only.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Ready {
    /// The URL of the balancer.
    pub url: String,
    /// The first project.
    pub project_id: String,
    /// Its unified endpoint over SSE.
    pub sse_url: String,
    /// Its unified endpoint over Streamable HTTP.
    pub mcp_url: String,
    /// The first key.
    pub api_key: Option<String>,
    /// The first owner's login.
    pub admin: Option<Admin>,
}

/// The first owner's login.
#[derive(Clone, Debug, Deserialize)]
pub struct Admin {
    /// The address.
    pub email: String,
    /// Only after the first start.
    pub password: Option<String>,
}

/// A running cluster. Everything of it is killed when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    compose: Compose,
    base: PathBuf,
    root: PathBuf,
    _temporary: Option<TempDir>,
    programs: Programs,
    options: Options,
    ports: Ports,
    instances: BTreeMap<(String, usize), Instance>,
    checks: BTreeMap<(String, usize), Launch>,
    balancer: Option<Balancer>,
    ready: Ready,
    /// The line that said so, for whoever passes it on.
    line: String,
}

impl Cluster {
    /// Starts everything that the compose file at `path` describes, and returns when its health
    /// checks pass.
    ///
    /// # Errors
    /// When something cannot be started or does not get healthy, with the end of its log.
    pub async fn start(path: &Path, programs: Programs, options: Options) -> Result<Self> {
        let balancer = match options.port {
            Some(port) => port,
            None => fixtures::process::free_port()?,
        };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let compose = Compose::parse(&text, |name| match name {
            "MCP_ORCH_PUBLIC_URL" => Some(format!("http://127.0.0.1:{balancer}")),
            _ => None,
        })?;
        let temporary = match &options.directory {
            Some(directory) => {
                std::fs::create_dir_all(directory)?;
                None
            }
            None => Some(tempfile::Builder::new().prefix("mcp-orch-").tempdir()?),
        };
        let root = match (&options.directory, &temporary) {
            (Some(directory), _) => directory.clone(),
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => bail!("no directory"),
        };
        open_for_others(&root)?;
        std::fs::create_dir_all(root.join("home"))?;
        let base = path.parent().context("a compose file is in a folder")?.canonicalize()?;
        let mut cluster = Self {
            ports: find_ports(&compose, balancer)?,
            compose,
            base,
            root,
            _temporary: temporary,
            programs,
            options,
            instances: BTreeMap::new(),
            checks: BTreeMap::new(),
            balancer: None,
            ready: Ready::default(),
            line: String::new(),
        };
        cluster.start_all().await?;
        Ok(cluster)
    }

    /// What the first start made.
    #[must_use]
    pub const fn ready(&self) -> &Ready {
        &self.ready
    }

    /// The same as the line of JSON that it came as.
    #[must_use]
    pub fn ready_line(&self) -> &str {
        &self.line
    }

    /// Where everything of this cluster is kept.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.root
    }

    /// The home directory of all processes of ours, by which they are told from others.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// A process, by its service and its replica, from 0.
    ///
    /// # Errors
    /// When there is none.
    pub fn instance(&mut self, service: &str, replica: usize) -> Result<&mut Instance> {
        self.instances
            .get_mut(&(service.to_owned(), replica))
            .with_context(|| format!("there is no {service} {replica}"))
    }

    /// All processes that are to run.
    pub fn instances(&mut self) -> impl Iterator<Item = &mut Instance> {
        self.instances.values_mut()
    }

    /// Where a port of a process is reached.
    ///
    /// # Errors
    /// When there is none.
    pub fn address(&self, service: &str, inner: u16, replica: usize) -> Result<SocketAddr> {
        let port = self.ports.get(service, inner, replica);
        let port = port.with_context(|| format!("{service} {replica} has no port {inner}"))?;
        Ok(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// How many there are of a service.
    #[must_use]
    pub fn replicas(&self, service: &str) -> usize {
        self.compose.services.get(service).map_or(0, |service| service.deploy.replicas)
    }

    /// Waits until the health check of a process passes.
    ///
    /// # Errors
    /// When it does not within a minute, or the process ended, with the end of its log.
    pub async fn healthy(&mut self, service: &str, replica: usize) -> Result<()> {
        let key = (service.to_owned(), replica);
        let Some(check) = self.checks.get(&key).cloned() else { return Ok(()) };
        let started = Instant::now();
        loop {
            let Err(reason) = health::check(&check).await else { return Ok(()) };
            let instance = self.instance(service, replica)?;
            if !instance.is_running()? || started.elapsed() > HEALTHY_LIMIT {
                bail!("{} is not healthy: {reason:#}\n{}", instance.name(), instance.tail());
            }
            tokio::time::sleep(STEP).await;
        }
    }

    /// Ends all services of ours with SIGTERM; stores, bus and secrets go on.
    ///
    /// # Errors
    /// When one does not end with success in time.
    pub async fn stop_services(&mut self) -> Result<()> {
        for service in ["edge", "worker", "control-plane"] {
            // First all are asked, then all are waited for.
            for replica in 0..self.replicas(service) {
                let instance = self.instance(service, replica)?;
                if instance.is_running()? {
                    instance.signal(Signal::SIGTERM)?;
                }
            }
            for replica in 0..self.replicas(service) {
                let instance = self.instance(service, replica)?;
                let Some(status) = instance.ended(STOP_LIMIT).await? else { continue };
                if !status.success() {
                    bail!("{} ended with {status}: {}", instance.name(), instance.tail());
                }
            }
        }
        Ok(())
    }

    /// Ends everything in order, so that what is kept in a directory can be started again.
    ///
    /// # Errors
    /// When something does not end in time.
    pub async fn stop(mut self) -> Result<()> {
        self.stop_services().await?;
        for instance in self.instances.values_mut() {
            if instance.is_running()? {
                // PostgreSQL waits for nobody then; the others know no difference.
                instance.signal(Signal::SIGINT)?;
                instance.ended(STOP_LIMIT).await?;
            }
        }
        Ok(())
    }

    /// Starts all services of ours that do not run, and waits for their health checks.
    ///
    /// # Errors
    /// As of [`start`](Self::start).
    pub async fn start_services(&mut self) -> Result<()> {
        let services = ["control-plane", "worker", "edge"];
        for service in services {
            for replica in 0..self.replicas(service) {
                let instance = self.instance(service, replica)?;
                if !instance.is_running()? {
                    instance.start()?;
                }
            }
        }
        for service in services {
            for replica in 0..self.replicas(service) {
                self.healthy(service, replica).await?;
            }
        }
        Ok(())
    }

    async fn start_all(&mut self) -> Result<()> {
        let order: Vec<String> = self.compose.in_order()?.into_iter().map(str::to_owned).collect();
        for name in &order {
            let service = self.compose.services[name].clone();
            for (on, dependency) in &service.depends_on {
                if dependency.condition == Condition::Healthy {
                    for replica in 0..self.replicas(on) {
                        self.healthy(on, replica).await?;
                    }
                }
            }
            self.start_service(name, &service).await?;
        }
        for name in &order {
            for replica in 0..self.replicas(name) {
                self.healthy(name, replica).await?;
            }
        }
        Ok(())
    }

    async fn start_service(&mut self, name: &str, service: &Service) -> Result<()> {
        let kind = Kind::of(&service.image)?;
        if kind == Kind::Balancer {
            self.balancer = Some(self.start_balancer(service).await?);
            return Ok(());
        }
        for replica in 0..service.deploy.replicas {
            let own = self.root.join(format!("{name}-{}", replica + 1));
            std::fs::create_dir_all(&own)?;
            let place = Place {
                service: name,
                replica,
                ports: &self.ports,
                mounts: mounts(&service.volumes, &service.tmpfs, &self.base, &self.root, &own)?,
            };
            let place = with_rewritten_files(place, &own)?;
            let environment = self.environment(kind, service, &place);
            let arguments: Vec<String> =
                service.command.iter().map(|word| place.rewrite_word(word)).collect();
            let check = service.healthcheck.as_ref().map(|check| {
                let words: Vec<String> =
                    check.test.iter().map(|word| place.rewrite_word(word)).collect();
                self.launch(kind, &words[1..], &environment, &own)
            });
            let key = (name.to_owned(), replica);
            if let Some(check) = check {
                self.checks.insert(key.clone(), check);
            }
            let label = format!("{name} {}", replica + 1);
            if kind == Kind::Postgres {
                self.start_postgres(key, label, &own, arguments, &environment).await?;
                continue;
            }
            let words = [vec![entrypoint(kind, service)?], arguments].concat();
            let mut launch = self.launch(kind, &words, &environment, &own);
            if name == BOOTSTRAP {
                launch.arguments.extend(self.options.bootstrap.iter().map(OsString::from));
                launch.arguments.push("--json".into());
            }
            let mut instance = Instance::new(label, launch);
            if Service::is_one_shot(name, &self.compose) || name == BOOTSTRAP {
                let printed = instance.run(ONE_SHOT_LIMIT).await?;
                if name == BOOTSTRAP {
                    self.line = printed.trim().to_owned();
                    self.ready = serde_json::from_str(&self.line)
                        .with_context(|| format!("not a readiness line: {printed}"))?;
                }
                continue;
            }
            instance.start()?;
            self.instances.insert(key, instance);
        }
        Ok(())
    }

    async fn start_postgres(
        &mut self,
        key: (String, usize),
        label: String,
        own: &Path,
        arguments: Vec<String>,
        environment: &BTreeMap<String, String>,
    ) -> Result<()> {
        let inner = self.compose.services[&key.0].inner_ports()?;
        let inner = inner.first().context("the database exposes no port")?;
        let port = self.address(&key.0, *inner, key.1)?.port();
        let programs = self.programs.postgres.clone();
        let server = postgres::prepare(&programs, own, port, environment, arguments).await?;
        let mut instance = Instance::new(label, server.launch.clone());
        instance.start()?;
        self.instances.insert(key.clone(), instance);
        self.healthy(&key.0, key.1).await?;
        postgres::create_database(&server, &programs, port, environment).await
    }

    /// How a program of a service is started, by its words.
    fn launch(
        &self,
        kind: Kind,
        words: &[String],
        environment: &BTreeMap<String, String>,
        own: &Path,
    ) -> Launch {
        let name = words.first().map_or("", String::as_str);
        let program = match (kind, name) {
            (_, "mcp-orch") => self.programs.orch.clone(),
            (_, "nats-server") => self.programs.nats.clone(),
            (_, "bao") => self.programs.bao.clone(),
            (Kind::Postgres, name) => self.programs.postgres.join(name),
            (_, name) => PathBuf::from(name),
        };
        Launch {
            program,
            arguments: words.iter().skip(1).map(OsString::from).collect(),
            environment: environment.clone().into_iter().collect(),
            user: None,
            directory: own.to_owned(),
        }
    }

    fn environment(
        &self,
        kind: Kind,
        service: &Service,
        place: &Place<'_>,
    ) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::new();
        for (name, value) in &service.environment {
            environment.insert(name.clone(), place.rewrite(&value.to_string()));
        }
        if kind == Kind::Orch {
            environment.extend(self.options.environment.iter().cloned());
        }
        // One for all of ours, and passed on to every child: it tells whose a process is.
        let home = if kind == Kind::Orch { self.home() } else { self.root.clone() };
        environment.insert("HOME".to_owned(), home.display().to_string());
        environment
    }

    async fn start_balancer(&self, service: &Service) -> Result<Balancer> {
        let backends = |name: &str| -> Result<Vec<Backend>> {
            let backend = |replica| {
                Ok(Backend {
                    address: self.address(name, 8080, replica)?,
                    admin: self.address(name, 9464, replica)?,
                })
            };
            (0..self.replicas(name)).map(backend).collect()
        };
        let published = service.ports.first().context("the balancer publishes no port")?;
        let inner = published.rsplit(':').next().unwrap_or(published).parse()?;
        let port = self.address("balancer", inner, 0)?.port();
        let backends =
            Backends { edges: backends("edge")?, control_planes: backends("control-plane")? };
        Balancer::start(port, backends).await
    }
}

/// Other users may pass through to what is theirs, such as the database's.
fn open_for_others(root: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o711))?;
    Ok(())
}

fn entrypoint(kind: Kind, service: &Service) -> Result<String> {
    if let Some(entrypoint) = &service.entrypoint {
        return entrypoint.first().cloned().context("an empty entrypoint");
    }
    Ok(match kind {
        Kind::Orch => "mcp-orch",
        Kind::Nats => "nats-server",
        Kind::Bao => "bao",
        Kind::Postgres => "postgres",
        Kind::Balancer => "haproxy",
    }
    .to_owned())
}

/// Free ports for all that listens. They are all held at once, so that none is given twice.
fn find_ports(compose: &Compose, balancer: u16) -> Result<Ports> {
    let mut ports = Ports::default();
    let mut held = Vec::new();
    for (name, service) in &compose.services {
        for inner in service.inner_ports()? {
            if Kind::of(&service.image)? == Kind::Balancer {
                ports.set(name, inner, vec![balancer]);
                continue;
            }
            let mut found = Vec::new();
            for _ in 0..service.deploy.replicas {
                let listener = TcpListener::bind(("127.0.0.1", 0))?;
                found.push(listener.local_addr()?.port());
                held.push(listener);
            }
            ports.set(name, inner, found);
        }
    }
    Ok(ports)
}

/// Files that are mounted hold ports and paths, too: the process gets a copy with its own.
fn with_rewritten_files<'a>(mut place: Place<'a>, own: &Path) -> Result<Place<'a>> {
    let files: Vec<(usize, PathBuf)> = place
        .mounts
        .iter()
        .enumerate()
        .filter(|(_, (_, outer))| outer.is_file())
        .map(|(index, (_, outer))| (index, outer.clone()))
        .collect();
    let mut copies = Vec::new();
    for (index, outer) in files {
        let text = std::fs::read_to_string(&outer)
            .with_context(|| format!("cannot read {}", outer.display()))?;
        let name = outer.file_name().context("a file without a name")?;
        let copy = own.join(name);
        std::fs::write(&copy, place.rewrite(&text))?;
        copies.push((index, copy));
    }
    for (index, copy) in copies {
        place.mounts[index].1 = copy;
    }
    Ok(place)
}
