//! What an upstream offers, learned and made ready for the record.

use std::sync::Arc;
use std::time::Duration;

use bus::Bus;
use bytes::Bytes;
use domain::connection::{CatalogueSummary, ToolDefinition};
use mcp::client::{LearnLimits, learn_catalogue};
use mcp::{Catalogue, ListKind};

use super::{ConnectionSpec, Link, cause};

/// What was learned.
pub(crate) struct Learned {
    /// What stands in the event.
    pub(crate) summary: CatalogueSummary,
    /// The catalogue as it is kept.
    pub(crate) body: Bytes,
    /// Which lists failed, in words for people, secrets masked; empty when none did.
    pub(crate) cause: String,
}

/// Where the last catalogue in the record is found.
pub(crate) struct Kept<'a> {
    /// The way to it.
    pub(crate) bus: &'a dyn Bus,
    /// Whose it is.
    pub(crate) spec: &'a ConnectionSpec,
    /// Its hash; empty when there is none.
    pub(crate) hash: &'a str,
}

/// Keeps the last catalogue of a connection, so that a list that fails keeps what it had.
#[derive(Default)]
pub(crate) struct Shelf {
    last: Option<Catalogue>,
}

impl Shelf {
    /// Asks the upstream for its lists. Those that fail are taken from the catalogue before, at
    /// first from what is kept; where that cannot be had, they are empty.
    pub(crate) async fn learn(
        &mut self,
        link: &Link,
        list_timeout: Duration,
        kept: Kept<'_>,
    ) -> Learned {
        let limits = LearnLimits { list_timeout, ..LearnLimits::default() };
        let outcome = learn_catalogue(&link.connection, &limits).await;
        let mut catalogue = outcome.catalogue;
        if !outcome.failures.is_empty() && self.last.is_none() {
            self.last = fetch(kept).await;
        }
        for failure in &outcome.failures {
            if let Some(last) = &self.last {
                catalogue.set_items(failure.list, last.items(failure.list).to_vec());
            }
        }
        let cause = cause::cut(&cause::lists(&outcome.failures, list_timeout, &link.masker));
        // The record holds no secret, even where an upstream puts one into a description.
        let body = catalogue.to_json();
        if let Some(masked) = link.catalogue_masker.mask_json(&body)
            && let Ok(masked) = Catalogue::from_json(&masked)
        {
            catalogue = masked;
        }
        let learned = Learned { summary: summary(&catalogue), body: catalogue.to_json(), cause };
        self.last = Some(catalogue);
        learned
    }
}

async fn fetch(kept: Kept<'_>) -> Option<Catalogue> {
    let Kept { bus, spec, hash } = kept;
    if hash.is_empty() {
        return None;
    }
    match backplane::fetch_catalogue(bus, spec.tenant, spec.server, hash).await {
        Ok(body) => Catalogue::from_json(&body?).ok(),
        Err(error) => {
            tracing::debug!(server = %spec.server, %error, "last catalogue not at hand");
            None
        }
    }
}

/// What each tool is known to be, by the bytes that clients get to see.
fn definitions(catalogue: &Catalogue) -> Arc<[ToolDefinition]> {
    let tools = catalogue.tool_definitions().into_iter();
    let tools = tools.map(|(tool, hash)| ToolDefinition { tool: tool.to_owned(), hash });
    CatalogueSummary::bounded(tools)
}

fn summary(catalogue: &Catalogue) -> CatalogueSummary {
    let count = |kind| u32::try_from(catalogue.items(kind).len()).unwrap_or(u32::MAX);
    CatalogueSummary {
        hash: catalogue.hash(),
        tools: count(ListKind::Tools),
        resources: count(ListKind::Resources),
        resource_templates: count(ListKind::ResourceTemplates),
        prompts: count(ListKind::Prompts),
        definitions: definitions(catalogue),
    }
}
