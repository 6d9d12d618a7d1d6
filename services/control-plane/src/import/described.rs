//! One server, as clients' files and the REST interface describe it in JSON.
//!
//! Each field has the names that clients in use give it: `autoApprove`, `auto_approve` and
//! `alwaysAllow` are one field. Unknown fields are ignored.

use domain::Refusal;
use proto::control::v1::{Isolation, ServerSpec, Transport};

use super::fields::Fields;

const TYPE: &[&str] = &["type", "transport_type", "transportType", "transport"];
const COMMAND: &[&str] = &["command"];
const URL: &[&str] = &["url", "serverUrl", "httpUrl"];

/// A server and which fields of it were given. Has no `Debug`: it holds secrets.
#[derive(Clone)]
pub struct Described {
    /// What was given; the rest is empty. The name is not part of a description.
    pub spec: ServerSpec,
    /// The fields that were given, by their names in [`ServerSpec`].
    pub given: Vec<&'static str>,
}

impl Described {
    /// Reads a description. A type that is not said follows from what is: `command` means stdio,
    /// a URL alone is to be probed.
    ///
    /// # Errors
    /// `InvalidArgument` that names the field.
    pub fn read(fields: &Fields) -> Result<Self, Refusal> {
        let mut this = Self { spec: ServerSpec::default(), given: Vec::new() };
        this.launch(fields)?;
        this.settings(fields)?;
        let transport = match fields.text(TYPE)? {
            Some(name) => Some(transport_of(&name)?),
            None if fields.has(COMMAND) => Some(Transport::Stdio),
            None if fields.has(&["httpUrl"]) => Some(Transport::StreamableHttp),
            None if fields.has(URL) => Some(Transport::Probe),
            None => None,
        };
        if let Some(transport) = transport {
            this.spec.transport = transport.into();
            this.given.push("transport");
        }
        Ok(this)
    }

    /// Whether the type was said, and not concluded.
    pub fn says_type(fields: &Fields) -> bool {
        fields.has(TYPE)
    }

    fn launch(&mut self, fields: &Fields) -> Result<(), Refusal> {
        let Self { spec, given } = self;
        // Zed's older form keeps program, arguments and environment in an object of their own.
        if let Ok(Some(command)) = fields.object(COMMAND) {
            take(given, "command", &mut spec.command, command.text(&["path"])?);
            take(given, "args", &mut spec.args, command.texts(&["args"])?);
            take(given, "env", &mut spec.env, command.map(&["env"])?);
        } else {
            take(given, "command", &mut spec.command, fields.text(COMMAND)?);
            take(given, "args", &mut spec.args, fields.texts(&["args"])?);
            take(given, "env", &mut spec.env, fields.map(&["env"])?);
        }
        take(given, "cwd", &mut spec.cwd, fields.text(&["cwd"])?);
        take(given, "url", &mut spec.url, fields.text(URL)?);
        take(given, "headers", &mut spec.headers, fields.map(&["headers"])?);
        take(given, "ca_file", &mut spec.ca_file, fields.text(&["ca_file", "caFile"])?);
        take(given, "proxy", &mut spec.proxy, fields.text(&["proxy"])?);
        Ok(())
    }

    fn settings(&mut self, fields: &Fields) -> Result<(), Refusal> {
        const TIMEOUT: &[&str] = &["timeout", "timeout_s"];
        const READ_TIMEOUT: &[&str] = &["read_timeout", "readTimeout", "read_timeout_s"];
        const APPROVED: &[&str] = &["autoApprove", "auto_approve", "alwaysAllow"];
        let Self { spec, given } = self;
        let timeout = fields.number(TIMEOUT)?;
        if timeout == Some(0) {
            return Err(Refusal::invalid("timeout", "must be 1 to 3600 seconds"));
        }
        take(given, "timeout_s", &mut spec.timeout_s, timeout);
        if let Some(read_timeout) = fields.number(READ_TIMEOUT)? {
            spec.read_timeout_s = Some(read_timeout);
            given.push("read_timeout_s");
        }
        take(given, "auto_approve", &mut spec.auto_approve, fields.texts(APPROVED)?);
        let enabled = fields.flag(&["enabled"])?;
        let disabled = fields.flag(&["disabled"])?.or(enabled.map(|enabled| !enabled));
        take(given, "disabled", &mut spec.disabled, disabled);
        let isolation = fields.text(&["isolation"])?.map(|name| isolation_of(&name)).transpose()?;
        take(given, "isolation", &mut spec.isolation, isolation.map(i32::from));
        let labels = fields.texts(&["placement_labels", "placementLabels"])?;
        take(given, "placement_labels", &mut spec.placement_labels, labels);
        Ok(())
    }
}

fn take<T>(given: &mut Vec<&'static str>, name: &'static str, field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
        given.push(name);
    }
}

fn transport_of(name: &str) -> Result<Transport, Refusal> {
    match name {
        "stdio" => Ok(Transport::Stdio),
        "sse" => Ok(Transport::Sse),
        "http" | "streamable-http" | "streamableHttp" | "streamable_http" => {
            Ok(Transport::StreamableHttp)
        }
        "probe" => Ok(Transport::Probe),
        _ => Err(Refusal::invalid("type", "must be stdio, sse or streamable_http")),
    }
}

fn isolation_of(name: &str) -> Result<Isolation, Refusal> {
    match name {
        "shared" => Ok(Isolation::Shared),
        "session" => Ok(Isolation::Session),
        _ => Err(Refusal::invalid("isolation", "must be shared or session")),
    }
}

/// The name of a transport in answers.
pub(crate) fn transport_name(transport: &domain::server::Transport) -> &'static str {
    match transport {
        domain::server::Transport::Stdio { .. } | domain::server::Transport::Unset => "stdio",
        domain::server::Transport::Sse(_) => "sse",
        domain::server::Transport::StreamableHttp(_) => "streamable_http",
        domain::server::Transport::Probe(_) => "probe",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Described, Refusal> {
        Described::read(&Fields::parse(json.as_bytes()).unwrap())
    }

    fn transport(json: &str) -> Transport {
        read(json).unwrap().spec.transport()
    }

    #[test]
    fn the_type_is_believed_and_else_concluded() {
        assert_eq!(transport(r#"{"command":"npx"}"#), Transport::Stdio);
        assert_eq!(transport(r#"{"url":"http://h/sse"}"#), Transport::Probe);
        assert_eq!(transport(r#"{"serverUrl":"http://h/mcp"}"#), Transport::Probe);
        assert_eq!(transport(r#"{"type":"sse","url":"http://h/mcp"}"#), Transport::Sse);
        assert_eq!(transport(r#"{"transport_type":"sse","url":"http://h/x"}"#), Transport::Sse);
        for name in ["http", "streamable-http", "streamableHttp", "streamable_http"] {
            let json = format!(r#"{{"type":"{name}","url":"http://h/sse"}}"#);
            assert_eq!(transport(&json), Transport::StreamableHttp, "{name}");
        }
        assert_eq!(read(r#"{"type":"ws"}"#).err().unwrap().field.as_deref(), Some("type"));
        assert_eq!(transport(r#"{"disabled":true}"#), Transport::Unspecified);
    }

    #[test]
    fn the_names_that_clients_use_are_known() {
        let both = [r#"{"autoApprove":["a"]}"#, r#"{"auto_approve":["a"]}"#];
        for json in both {
            assert_eq!(read(json).unwrap().spec.auto_approve, ["a"]);
        }
        let zed = read(r#"{"command":{"path":"npx","args":["-y"],"env":{"A":"b"}}}"#).unwrap();
        assert_eq!((zed.spec.command.as_str(), zed.spec.env["A"].as_str()), ("npx", "b"));
        assert!(read(r#"{"enabled":false}"#).unwrap().spec.disabled);
    }

    #[test]
    fn an_isolation_is_an_extension_that_files_of_clients_may_have() {
        let described = read(r#"{"command":"x","isolation":"session"}"#).unwrap();
        assert_eq!(described.spec.isolation(), Isolation::Session);
        assert!(described.given.contains(&"isolation"));
        let absent = read(r#"{"command":"x"}"#).unwrap();
        assert!(!absent.given.contains(&"isolation"));
        for bad in [r#"{"isolation":"alone"}"#, r#"{"isolation":true}"#] {
            assert_eq!(read(bad).err().unwrap().field.as_deref(), Some("isolation"), "{bad}");
        }
    }

    #[test]
    fn what_was_given_is_known_apart_from_what_was_not() {
        let described = read(r#"{"timeout":60,"headers":{},"unknown":[1]}"#).unwrap();
        assert_eq!(described.given, ["headers", "timeout_s"]);
        assert!(read(r#"{"timeout":0}"#).is_err());
    }
}
