//! Which service a path belongs to.

/// Whether a path is an MCP endpoint, which the edges serve:
/// `/projects/ID/unified/…` and `/projects/ID/servers/NAME/…` with `mcp`, `sse` or `messages`.
pub(super) fn is_mcp(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let rest = match parts.as_slice() {
        ["", "projects", project, "unified", rest @ ..] if !project.is_empty() => rest,
        ["", "projects", project, "servers", name, rest @ ..]
            if !project.is_empty() && !name.is_empty() =>
        {
            rest
        }
        _ => return false,
    };
    matches!(rest, ["mcp" | "sse" | "messages"] | ["messages", ""])
}

#[cfg(test)]
mod tests {
    use super::is_mcp;

    #[test]
    fn the_endpoints_of_mcp_are_the_edges() {
        for path in [
            "/projects/p/unified/mcp",
            "/projects/p/unified/sse",
            "/projects/p/unified/messages",
            "/projects/p/unified/messages/",
            "/projects/p/servers/demo/mcp",
            "/projects/p/servers/mcp/sse",
        ] {
            assert!(is_mcp(path), "{path}");
        }
    }

    #[test]
    fn everything_else_is_the_control_planes() {
        for path in [
            "/",
            "/openapi.json",
            "/projects",
            "/projects/p/servers",
            "/projects/p/servers/mcp",
            "/projects/p/servers/demo/tools",
            "/projects/p/servers/demo/log",
            "/projects/p/unified",
            "/projects//unified/mcp",
            "/mcp_orch.control.v1.ProjectService/ListProjects",
        ] {
            assert!(!is_mcp(path), "{path}");
        }
    }
}
