//! Whole messages on their way from a server to its clients.

use std::ops::Range;
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;

use super::places::Places;
use super::{Namespace, Prefix};
use crate::scan::Fault;
use crate::splice::{self, SpliceError};

impl Namespace {
    /// The result of a request as clients see it: URIs in the contents of `resources/read` and in
    /// the links and embedded resources of `tools/call`, `prompts/get` and of what tasks kept;
    /// ids in tasks; all of them in requests that a result holds. Other results, unknown members
    /// and `structuredContent` are left alone.
    ///
    /// # Errors
    /// [`SpliceError::Scan`].
    pub fn expose_result(&self, method: &str, result: &Bytes) -> Result<Bytes, SpliceError> {
        self.exposed(result, |places| places.result(method))
    }

    /// The parameters of a notification as clients see them: the resource that was updated, the
    /// task whose state changed, and the task that any other belongs to.
    ///
    /// # Errors
    /// [`SpliceError::Scan`].
    pub fn expose_notification(&self, method: &str, params: &Bytes) -> Result<Bytes, SpliceError> {
        self.exposed(params, |places| places.notification(method))
    }

    /// The parameters of a request that the server makes to a client, as the client sees them:
    /// URIs in the messages of `sampling/createMessage`, and the task that a request belongs to.
    ///
    /// # Errors
    /// [`SpliceError::Scan`].
    pub fn expose_request(&self, method: &str, params: &Bytes) -> Result<Bytes, SpliceError> {
        self.exposed(params, |places| places.request(0, method))
    }

    /// An error object as clients see it: the `uri` of its data, which says what was not found.
    ///
    /// # Errors
    /// [`SpliceError::Scan`].
    pub fn expose_error(&self, error: &Bytes) -> Result<Bytes, SpliceError> {
        self.exposed(error, |places| places.error(0))
    }

    /// Raw parameters or another object with the URI at `path` as clients see it.
    ///
    /// # Errors
    /// As [`splice::find`].
    pub fn expose_at(&self, json: &Bytes, path: &[&str]) -> Result<Bytes, SpliceError> {
        let Some(prefix) = &self.0 else {
            return Ok(json.clone());
        };
        let span = splice::find(json, path)?.filter(|span| json[span.start] == b'"');
        Ok(prefix.rewrite(json, span.into_iter().collect(), Vec::new()))
    }

    fn exposed<'j>(
        &self,
        json: &'j Bytes,
        find: impl FnOnce(&mut Places<'j>) -> Result<(), Fault>,
    ) -> Result<Bytes, SpliceError> {
        let Some(prefix) = &self.0 else {
            return Ok(json.clone());
        };
        if !may_have_places(json) {
            return Ok(json.clone());
        }
        let mut places = Places::of(json);
        find(&mut places)?;
        let Places { uris, tasks, .. } = places;
        Ok(prefix.rewrite(json, uris, tasks))
    }
}

/// Whether a message has any of the keys that lead to a place: most have none. Where a key might
/// be spelled with escapes, it might.
fn may_have_places(json: &[u8]) -> bool {
    static NEEDLES: LazyLock<[Finder<'static>; 4]> =
        LazyLock::new(|| ["uri", "taskId", "\\u", "resourceSubscriptions"].map(Finder::new));
    NEEDLES.iter().any(|needle| needle.find(json).is_some())
}

impl Prefix {
    fn rewrite(&self, json: &Bytes, uris: Vec<Range<usize>>, tasks: Vec<Range<usize>>) -> Bytes {
        if uris.is_empty() && tasks.is_empty() {
            return json.clone();
        }
        // The prefix is plain ASCII: it goes in behind the opening quote and nothing is re-quoted.
        let prefix = Bytes::copy_from_slice(self.0.as_bytes());
        let prefixed = |span: &Range<usize>| (span.start + 1..span.start + 1, prefix.clone());
        let mut edits: Vec<_> = tasks.iter().map(prefixed).collect();
        for span in uris {
            // Text with half a character pair is no Unicode: it stays as it is written.
            let uri = splice::unquote(&json[span.clone()]);
            match uri.filter(|uri| !self.suits(uri)) {
                Some(uri) => edits.push((span, splice::quote(&self.expose(&uri)))),
                None => edits.push(prefixed(&span)),
            }
        }
        edits.sort_unstable_by_key(|(span, _)| span.start);
        // Something that says twice what it is is met twice.
        edits.dedup_by_key(|(span, _)| span.start);
        splice::replace_spans(json, &edits)
    }
}
