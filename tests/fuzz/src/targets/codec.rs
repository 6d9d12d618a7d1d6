//! Names and URIs that must lead back.

use mcp::naming::Naming;
use mcp::uri::Namespace;

use crate::pieces::line;

/// A byte for the longest name, then lines: a server and a tool, another server and another tool.
/// Names fit every client, and two that keep their text never meet.
pub fn naming(data: &[u8]) {
    let Some((max, rest)) = data.split_first() else {
        return;
    };
    let (server, rest) = line(rest);
    let (tool, rest) = line(rest);
    let (other_server, rest) = line(rest);
    let (other_tool, _) = line(rest);
    for naming in [Naming::prefixed(usize::from(*max)), Naming::unprefixed(usize::from(*max))] {
        let name = naming.expose(&server, &tool);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        assert!(!name.is_empty() && name.len() <= naming.max_chars() && name.bytes().all(is_plain));
        assert_eq!(naming.expose(&server, &tool), name);
        assert_eq!(naming.keeps(&server, &tool), {
            let prefix = if naming.is_prefixed() { format!("{server}__") } else { String::new() };
            let is_sound = !naming.is_prefixed()
                || !(server.is_empty() || server.contains("__") || server.ends_with('_'));
            !tool.is_empty() && is_sound && name == format!("{prefix}{tool}")
        });
        let both_keep = naming.keeps(&server, &tool) && naming.keeps(&other_server, &other_tool);
        if both_keep && naming.expose(&other_server, &other_tool) == name {
            assert_eq!(tool, other_tool);
            assert!(!naming.is_prefixed() || server == other_server);
        }
    }
}

/// Lines: a server, another server; the rest is a URI. It leads back to its own server only, and
/// every client can read it.
pub fn uri(data: &[u8]) {
    let (server, rest) = line(data);
    let (other, rest) = line(rest);
    let uri = String::from_utf8_lossy(rest);
    let space = Namespace::of_server(&server);
    let (exposed, template) = (space.expose(&uri), space.expose_template(&uri));
    let task = space.expose_task(&uri);
    assert_eq!(space.original(&exposed).as_deref(), Some(&*uri));
    assert_eq!(space.original(&template).as_deref(), Some(&*uri));
    assert_eq!(space.original_task(&task), Some(&*uri));
    assert!(url::Url::parse(&exposed).is_ok(), "{exposed:?} is no URL");
    // Some clients write schemes their own way.
    assert!(space.original(&exposed.to_ascii_uppercase()).is_some());
    if server != other {
        let other = Namespace::of_server(&other);
        assert_eq!(other.original(&exposed), None);
        assert_eq!(other.original(&template), None);
        assert_eq!(other.original_task(&task), None);
    }
    // Anything a client may send is either nobody's or leads to something.
    let _ = space.original(&uri).map(|original| original.len());
}

/// A header's value in the encoding of the stateless era comes to an end, and is never longer
/// than what was sent.
pub fn header_value(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(value) = mcp::server::stateless::decode_header_value(&text) {
        assert!(value.len() <= text.len());
    }
}
