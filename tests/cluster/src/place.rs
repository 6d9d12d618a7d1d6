//! What a container would have of its own, found for a process: ports and directories.
//!
//! In a compose file every container has its own address and its own file system, so that all of
//! them may listen on the same port and write to the same path. Processes share both. So each
//! port of each service becomes a free one of the loopback, each mount a directory, and every
//! text that names one of them is rewritten. Nothing else of a text changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::compose::Volume;

/// Names under which a service speaks of itself.
const OWN_NAMES: [&str; 3] = ["0.0.0.0", "127.0.0.1", "localhost"];

/// Where the ports of all services are: by service and inner port, one for each replica.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports {
    found: BTreeMap<(String, u16), Vec<u16>>,
}

impl Ports {
    pub(crate) fn set(&mut self, service: &str, inner: u16, ports: Vec<u16>) {
        self.found.insert((service.to_owned(), inner), ports);
    }

    /// The port of a replica, from 0.
    pub(crate) fn get(&self, service: &str, inner: u16, replica: usize) -> Option<u16> {
        self.found.get(&(service.to_owned(), inner))?.get(replica).copied()
    }
}

/// Where one replica is.
#[derive(Clone, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) service: &'a str,
    pub(crate) replica: usize,
    pub(crate) ports: &'a Ports,
    /// Inner and outer path of each mount.
    pub(crate) mounts: Vec<(String, PathBuf)>,
}

impl Place<'_> {
    /// A word of a command: as [`rewrite`](Self::rewrite), and where the whole word is a port of
    /// this service or the address of all networks, that one.
    pub(crate) fn rewrite_word(&self, word: &str) -> String {
        if word == OWN_NAMES[0] {
            return OWN_NAMES[1].to_owned();
        }
        let port =
            word.parse().ok().and_then(|inner| self.ports.get(self.service, inner, self.replica));
        port.map_or_else(|| self.rewrite(word), |port| port.to_string())
    }

    /// The text with this process's ports and paths.
    pub(crate) fn rewrite(&self, text: &str) -> String {
        replace_paths(&self.with_ports(text), &self.mounts)
    }

    fn with_ports(&self, text: &str) -> String {
        let mut rewritten = text.to_owned();
        for ((service, inner), ports) in &self.ports.found {
            let mut names = vec![service.as_str()];
            let mut port = ports.first();
            if service == self.service {
                names.extend(OWN_NAMES);
                port = ports.get(self.replica);
            }
            let Some(port) = port else { continue };
            for name in names {
                let from = format!("{name}:{inner}");
                rewritten = replace_word(&rewritten, &from, &format!("127.0.0.1:{port}"));
            }
        }
        rewritten
    }
}

/// Replaces `from` where it does not stand within a longer name or number.
fn replace_word(text: &str, from: &str, to: &str) -> String {
    let within = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    replace_where(text, from, to, |before, after| {
        !before.is_some_and(within) && !after.is_some_and(|after| after.is_ascii_digit())
    })
}

/// Replaces each mount's path where it begins a path, also after a scheme, and ends with a part of
/// it. In one pass: what a mount became may look like another one.
fn replace_paths(text: &str, mounts: &[(String, PathBuf)]) -> String {
    let of_a_name =
        |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let before = &text[..text.len() - rest.len()];
        let begins = before.ends_with("://")
            || !before.chars().next_back().is_some_and(|last| of_a_name(last) || last == '/');
        let mount = mounts.iter().find(|(inner, _)| {
            let after = rest.strip_prefix(inner.as_str());
            begins && after.is_some_and(|after| !after.chars().next().is_some_and(of_a_name))
        });
        let taken = match mount {
            Some((inner, outer)) => {
                replaced.push_str(&outer.display().to_string());
                inner.len()
            }
            None => {
                replaced.push(first);
                first.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    replaced
}

fn replace_where(
    text: &str,
    from: &str,
    to: &str,
    fits: impl Fn(Option<char>, Option<char>) -> bool,
) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(from) {
        let (before, after) = (&rest[..at], &rest[at + from.len()..]);
        let last = before.chars().next_back().or_else(|| replaced.chars().next_back());
        replaced.push_str(before);
        replaced.push_str(if fits(last, after.chars().next()) { to } else { from });
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}

/// Where the mounts of a replica are. Named volumes are shared below `root/volumes`; what is the
/// replica's own is below `root/NAME-REPLICA`; paths of the host are taken from `base`, the
/// compose file's folder.
pub(crate) fn mounts(
    volumes: &[Volume],
    tmpfs: &[String],
    base: &Path,
    root: &Path,
    own: &Path,
) -> Result<Vec<(String, PathBuf)>> {
    let mut mounts = Vec::new();
    for volume in volumes {
        let shared = |name: &str| root.join("volumes").join(name);
        let (inner, outer) = match volume {
            Volume::Long { source, target, volume } => {
                (target.as_str(), shared(source).join(&volume.subpath))
            }
            Volume::Short(text) => match text.split_once(':') {
                None => (text.as_str(), own.join(text.trim_start_matches('/'))),
                Some((source, target)) => {
                    let target = target.split(':').next().unwrap_or(target);
                    let is_path = source.starts_with('.');
                    (target, if is_path { base.join(source) } else { shared(source) })
                }
            },
        };
        if !outer.exists() {
            std::fs::create_dir_all(&outer)
                .with_context(|| format!("cannot make {}", outer.display()))?;
        }
        mounts.push((inner.to_owned(), outer));
    }
    for target in tmpfs {
        let target = target.split(':').next().unwrap_or(target);
        let outer = own.join(target.trim_start_matches('/'));
        std::fs::create_dir_all(&outer)
            .with_context(|| format!("cannot make {}", outer.display()))?;
        mounts.push((target.to_owned(), outer));
    }
    // Longer paths first: one may lie below another.
    mounts.sort_by_key(|(inner, _)| std::cmp::Reverse(inner.len()));
    Ok(mounts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports() -> Ports {
        let mut ports = Ports::default();
        ports.set("nats", 4222, vec![30_001]);
        ports.set("edge", 8080, vec![30_002, 30_003]);
        ports.set("edge", 9464, vec![30_004, 30_005]);
        ports
    }

    #[test]
    fn a_word_may_be_a_port_alone() {
        let ports = ports();
        let place = Place { service: "nats", replica: 0, ports: &ports, mounts: Vec::new() };
        assert_eq!(place.rewrite_word("4222"), "30001");
        assert_eq!(place.rewrite_word("8080"), "8080", "that is another's");
        assert_eq!(place.rewrite_word("0.0.0.0"), "127.0.0.1");
    }

    fn rewritten(text: &str) -> String {
        let ports = ports();
        let mounts = vec![
            ("/run/mcp-orch".to_owned(), PathBuf::from("/t/volumes/shared")),
            ("/tmp".to_owned(), PathBuf::from("/t/edge-1/tmp")),
        ];
        Place { service: "edge", replica: 1, ports: &ports, mounts }.rewrite(text)
    }

    #[test]
    fn ports_of_others_and_of_itself_are_found() {
        assert_eq!(rewritten("tls://nats:4222"), "tls://127.0.0.1:30001");
        assert_eq!(rewritten("0.0.0.0:8080"), "127.0.0.1:30003");
        assert_eq!(rewritten("http://127.0.0.1:9464/readyz"), "http://127.0.0.1:30005/readyz");
    }

    #[test]
    fn nothing_else_changes() {
        for text in ["nats:42221", "my-nats:4222", "postgres:5432", "10.0.0.0:8080", "a /tmpfile"] {
            assert_eq!(rewritten(text), text);
        }
    }

    #[test]
    fn paths_below_a_mount_are_found() {
        assert_eq!(rewritten("/run/mcp-orch/ca.pem"), "/t/volumes/shared/ca.pem");
        assert_eq!(rewritten("--key=/run/mcp-orch"), "--key=/t/volumes/shared");
        assert_eq!(rewritten("file:///tmp/x"), "file:///t/edge-1/tmp/x");
        assert_eq!(rewritten("/var//tmp/x"), "/var//tmp/x", "no mount begins after a slash");
        assert_eq!(rewritten("/run/mcp-orch2"), "/run/mcp-orch2");
    }

    #[test]
    fn what_was_found_is_not_looked_at_again() {
        let ports = Ports::default();
        let mounts =
            vec![("/keys".into(), "/tmp/x/keys".into()), ("/tmp".into(), "/tmp/x/1".into())];
        let place = Place { service: "worker", replica: 0, ports: &ports, mounts };
        assert_eq!(place.rewrite("/keys/a:/tmp"), "/tmp/x/keys/a:/tmp/x/1");
    }
}
