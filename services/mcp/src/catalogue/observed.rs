//! The catalogue of one upstream, as it was learned.

use std::collections::HashSet;

use bytes::{BufMut, Bytes, BytesMut};

use super::ListKind;
use crate::digest;
use crate::splice::{self, SpliceError};

/// Why bytes are not a stored catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// Not JSON, or with a member that counts twice.
    #[error("catalogue unreadable: {0}")]
    Unreadable(#[from] SpliceError),
    /// A member has another type than it must have; its name.
    #[error("catalogue without a legal {0}")]
    Member(&'static str),
}

/// One item of a list as the upstream sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    key: String,
    raw: Bytes,
}

impl Item {
    /// An item of a list of this kind; `None` if it lacks the name or URI that identifies it.
    #[must_use]
    pub fn parse(kind: ListKind, raw: Bytes) -> Option<Self> {
        let key = splice::find_string(&raw, &[kind.key()]).ok()??.into_owned();
        Some(Self { key, raw })
    }

    /// The name, URI or URI template of the item.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The item's JSON.
    #[must_use]
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }
}

/// What one upstream said about itself and offers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Catalogue {
    /// The revision that was agreed on, as it is written on the wire.
    pub protocol_version: String,
    /// The raw `serverInfo` object.
    pub server_info: Option<Bytes>,
    /// The raw `capabilities` object.
    pub capabilities: Option<Bytes>,
    /// The instructions for the model.
    pub instructions: Option<String>,
    lists: [Vec<Item>; 4],
}

impl Catalogue {
    /// The items of a list, in the upstream's order.
    #[must_use]
    pub fn items(&self, kind: ListKind) -> &[Item] {
        &self.lists[kind.index()]
    }

    /// Replaces a list.
    pub fn set_items(&mut self, kind: ListKind, items: Vec<Item>) {
        self.lists[kind.index()] = items;
    }

    /// Whether the upstream declared a capability with this name.
    #[must_use]
    pub fn declares(&self, capability: &str) -> bool {
        let Some(capabilities) = &self.capabilities else {
            return false;
        };
        splice::find(capabilities, &[capability])
            .is_ok_and(|span| span.is_some_and(|span| &capabilities[span] != b"null"))
    }

    /// The tools' names and the SHA-256 of their definitions, as lowercase hexadecimal over exactly
    /// the bytes that the upstream sent, in the order of the list. Of a tool that is listed twice
    /// the first definition counts, as it does for clients.
    #[must_use]
    pub fn tool_definitions(&self) -> Vec<(&str, String)> {
        let mut seen = HashSet::new();
        let items = self.items(ListKind::Tools).iter().filter(|item| seen.insert(item.key()));
        items.map(|item| (item.key(), digest::sha256_hex(item.raw()))).collect()
    }

    /// The stored form: one JSON object, the same bytes for the same content.
    #[must_use]
    pub fn to_json(&self) -> Bytes {
        let items = self.lists.iter().flatten().map(|item| item.raw.len() + 1).sum::<usize>();
        let mut out = BytesMut::with_capacity(items + 1024);
        out.put_slice(b"{\"protocolVersion\":");
        out.put_slice(&splice::quote(&self.protocol_version));
        let instructions = self.instructions.as_deref().map(splice::quote);
        for (name, value) in [
            ("serverInfo", &self.server_info),
            ("capabilities", &self.capabilities),
            ("instructions", &instructions),
        ] {
            if let Some(value) = value {
                put_key(&mut out, name);
                out.put_slice(value);
            }
        }
        for kind in ListKind::ALL {
            put_key(&mut out, kind.member());
            put_array(&mut out, self.items(kind).iter().map(|item| &item.raw[..]));
        }
        out.put_u8(b'}');
        out.freeze()
    }

    /// Reads the stored form. The items are slices of `json`.
    ///
    /// # Errors
    /// [`CatalogueError`].
    pub fn from_json(json: &Bytes) -> Result<Self, CatalogueError> {
        let text =
            |name| splice::find_string(json, &[name]).map(|text| text.map(|t| t.into_owned()));
        let mut catalogue = Self {
            protocol_version: text("protocolVersion")?
                .ok_or(CatalogueError::Member("protocolVersion"))?,
            server_info: splice::slice(json, &["serverInfo"])?,
            capabilities: splice::slice(json, &["capabilities"])?,
            instructions: text("instructions")?,
            lists: Default::default(),
        };
        for kind in ListKind::ALL {
            let member = CatalogueError::Member(kind.member());
            let spans = splice::elements(json, &[kind.member()])?.ok_or(member)?;
            let items = spans.into_iter().map(|span| Item::parse(kind, json.slice(span)));
            catalogue.set_items(kind, items.collect::<Option<_>>().ok_or(member)?);
        }
        Ok(catalogue)
    }

    /// SHA-256 over [`Self::to_json`], as lowercase hexadecimal: the same for the same content.
    #[must_use]
    pub fn hash(&self) -> String {
        digest::sha256_hex(&self.to_json())
    }
}

fn put_key(out: &mut BytesMut, name: &str) {
    out.put_slice(b",\"");
    out.put_slice(name.as_bytes());
    out.put_slice(b"\":");
}

/// Puts raw values together as an array.
pub(super) fn put_array<'a>(out: &mut BytesMut, items: impl IntoIterator<Item = &'a [u8]>) {
    out.put_u8(b'[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        out.put_slice(item);
    }
    out.put_u8(b']');
}
