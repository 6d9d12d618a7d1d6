//! What is said when a system is ready: one line for scripts, or the next steps for a person.

use control_plane::use_case::Bootstrapped;
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use super::table::say;

/// What there is to say.
pub(crate) struct Ready {
    pub(crate) url: String,
    /// Where metrics and health are, if that is one place.
    pub(crate) admin_url: Option<String>,
    pub(crate) project_id: String,
    /// Only on the first start of a data directory.
    pub(crate) first: Option<FirstStart>,
    /// Lines about servers that were taken over.
    pub(crate) notes: Vec<String>,
}

/// Shown once, never again.
pub(crate) struct FirstStart {
    pub(crate) api_key: String,
    pub(crate) email: String,
    pub(crate) password: String,
}

/// Key and password of a first start; the second time there is nothing.
pub(crate) fn first(bootstrapped: Bootstrapped) -> Option<FirstStart> {
    bootstrapped.first.map(|first| FirstStart {
        api_key: first.api_key.expose_secret().to_owned(),
        email: first.email,
        password: first.password.expose_secret().to_owned(),
    })
}

impl Ready {
    fn endpoint(&self, transport: &str) -> String {
        format!("{}/projects/{}/unified/{transport}", self.url, self.project_id)
    }

    /// Says it.
    pub(crate) fn announce(&self, json: bool) {
        if json {
            say(&self.line().to_string());
            return;
        }
        for note in &self.notes {
            say(note);
        }
        say(&self.steps());
    }

    fn line(&self) -> Value {
        let mut line = Map::new();
        line.insert("url".to_owned(), json!(self.url));
        line.insert("project_id".to_owned(), json!(self.project_id));
        line.insert("sse_url".to_owned(), json!(self.endpoint("sse")));
        line.insert("mcp_url".to_owned(), json!(self.endpoint("mcp")));
        if let Some(admin_url) = &self.admin_url {
            line.insert("admin_url".to_owned(), json!(admin_url));
        }
        if let Some(first) = &self.first {
            line.insert("api_key".to_owned(), json!(first.api_key));
            let admin = json!({ "email": first.email, "password": first.password });
            line.insert("admin".to_owned(), admin);
        }
        Value::Object(line)
    }

    fn steps(&self) -> String {
        let key = self.first.as_ref().map_or("api_key_…", |first| first.api_key.as_str());
        let mcp = self.endpoint("mcp");
        let mut text = format!("\nmcp-orch is ready at {}\n\n", self.url);
        match &self.first {
            Some(first) => text.push_str(&format!(
                "  API key   {key}\n  Owner     {}\n  Password  {}\n\
                 \n  Key and password are shown this once. A JWT for the API:\n\
                 \n    mcp-orch login --system {} --email {} --print\n",
                first.email, first.password, self.url, first.email,
            )),
            None => text.push_str(
                "  The first key was shown on the first start; make another with\n\n    \
                 mcp-orch key create NAME\n",
            ),
        }
        text.push_str(&format!(
            "\nOne URL for all servers of the project:\n\n  Streamable HTTP  {mcp}\n  \
             SSE              {}\n",
            self.endpoint("sse"),
        ));
        let snippet = json!({ "mcpServers": { "mcp-orch": {
            "url": mcp, "headers": { "Authorization": format!("Bearer {key}") } } } });
        let snippet = serde_json::to_string_pretty(&snippet).unwrap_or_default();
        text.push_str(&format!("\nFor Cursor (~/.cursor/mcp.json):\n\n{}\n", indent(&snippet)));
        text.push_str(&format!(
            "\nTry it:\n\n    curl -N -H \"Authorization: Bearer {key}\" \\\n         {}\n\
             \nAdd a server:\n\n    mcp-orch server add time -- uvx mcp-server-time\n",
            self.endpoint("sse"),
        ));
        if let Some(admin_url) = &self.admin_url {
            text.push_str(&format!("\nMetrics and health: {admin_url}/metrics\n"));
        }
        text
    }
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(first: bool) -> Ready {
        Ready {
            url: "http://127.0.0.1:8080".into(),
            admin_url: Some("http://127.0.0.1:9464".into()),
            project_id: "p".into(),
            first: first.then(|| FirstStart {
                api_key: "api_key_x".into(),
                email: "a@b.c".into(),
                password: "secret".into(),
            }),
            notes: vec![],
        }
    }

    #[test]
    fn the_line_for_scripts_has_key_and_password_on_the_first_start_only() {
        let line = ready(true).line();
        assert_eq!(line["mcp_url"], "http://127.0.0.1:8080/projects/p/unified/mcp");
        assert_eq!(line["sse_url"], "http://127.0.0.1:8080/projects/p/unified/sse");
        assert_eq!(line["api_key"], "api_key_x");
        assert_eq!(line["admin"]["password"], "secret");
        let later = ready(false).line();
        assert!(later.get("api_key").is_none() && later.get("admin").is_none());
    }

    #[test]
    fn a_later_start_shows_no_secret() {
        assert!(ready(true).steps().contains("secret"));
        assert!(!ready(false).steps().contains("api_key_x"));
    }
}
