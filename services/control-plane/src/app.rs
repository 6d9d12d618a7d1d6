//! What the use cases work with: the ports, the views and the rules, put together once.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use authz::Authorizer;
use bus::Bus;
use domain::{Refusal, TenantId, Timestamp};
use event_store::{Clock, EventStore, Leases, Position, PostgresEventStore, StoreError};
use secrets::SecretStore;
use tokio::sync::watch;
use tonic_health::server::HealthReporter;
use url::Url;
use uuid::Uuid;

use crate::backbone::DigestKeys;
use crate::context::{Ctx, Principal};
use crate::freshness::Freshness;
use crate::identity::{LoginLimiter, PasswordHashing, TokenAuthority};
use crate::use_case::denial::DenialLimiter;
use crate::views::Views;

/// Makes ids: UUIDs of version 7, never the same twice.
pub type IdSource = Arc<dyn Fn() -> Uuid + Send + Sync>;

/// What a control plane is built on.
#[derive(Clone)]
pub struct Deps {
    /// The log.
    pub store: Arc<dyn EventStore>,
    /// Where values of secrets are.
    pub secrets: Arc<dyn SecretStore>,
    /// The way to edges and workers.
    pub bus: Arc<dyn Bus>,
    /// What time it is.
    pub clock: Clock,
    /// New ids.
    pub ids: IdSource,
    /// Who may act on what, for how long.
    pub leases: Arc<dyn Leases>,
    /// The epoch in which this replica leads, while it does; where there is only one process, see
    /// [`leads_alone`].
    pub leadership: watch::Receiver<Option<u64>>,
    /// How far the log is published; where there is only one process, [`Unmarked`].
    pub published: Arc<dyn PublishedMark>,
}

/// The leadership where nobody else could lead.
pub fn leads_alone() -> watch::Receiver<Option<u64>> {
    watch::channel(Some(1)).1
}

/// How far the log is published, kept where the replica finds it that leads next.
#[async_trait]
pub trait PublishedMark: Send + Sync + 'static {
    /// The mark; none where none is kept: then publishing begins where the views are at the
    /// start.
    async fn published(&self) -> Result<Option<Position>, StoreError>;

    /// Moves the mark, as the leader of `epoch`.
    async fn mark(&self, epoch: u64, position: Position) -> Result<(), StoreError>;
}

/// Keeps no mark: for a process whose followers begin anew with it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unmarked;

#[async_trait]
impl PublishedMark for Unmarked {
    async fn published(&self) -> Result<Option<Position>, StoreError> {
        Ok(None)
    }

    async fn mark(&self, _epoch: u64, _position: Position) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl PublishedMark for PostgresEventStore {
    async fn published(&self) -> Result<Option<Position>, StoreError> {
        PostgresEventStore::published(self).await.map(Some)
    }

    async fn mark(&self, epoch: u64, position: Position) -> Result<(), StoreError> {
        self.mark_published(epoch, position).await
    }
}

/// The control plane as its use cases see it. Shared by every transport.
pub struct App {
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) secrets: Arc<dyn SecretStore>,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) clock: Clock,
    pub(crate) ids: IdSource,
    pub(crate) public_url: Url,
    pub(crate) views: Views,
    pub(crate) authorizer: Authorizer,
    pub(crate) tokens: TokenAuthority,
    pub(crate) passwords: PasswordHashing,
    pub(crate) logins: LoginLimiter,
    pub(crate) denials: DenialLimiter,
    pub(crate) digests: DigestKeys,
    pub(crate) read_back: Duration,
    pub(crate) leases: Arc<dyn Leases>,
    pub(crate) freshness: Freshness,
    /// How long an edge is not there before its calls are over.
    pub(crate) edge_gone: Duration,
    pub(crate) grpc_health: HealthReporter,
}

impl App {
    /// Now.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// A new id.
    pub fn new_id(&self) -> Uuid {
        (self.ids)()
    }

    /// A context for the process's own work in `tenant`.
    pub fn system(&self, tenant: TenantId) -> Ctx {
        Ctx {
            tenant,
            principal: Principal::System,
            correlation: self.new_id().to_string(),
            now: self.now(),
        }
    }

    /// The read models.
    pub fn views(&self) -> &Views {
        &self.views
    }

    /// Where everybody reaches this installation; every emitted URL starts with it.
    pub fn public_url(&self) -> &Url {
        &self.public_url
    }

    /// An absolute URL of `path` (without a leading slash) under the public URL.
    pub fn url_of(&self, path: &str) -> String {
        format!("{}/{path}", self.public_url.as_str().trim_end_matches('/'))
    }
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paging {
    size: u32,
    token: Option<String>,
}

impl Paging {
    /// What a size of 0 means.
    pub const DEFAULT_SIZE: u32 = 50;
    /// The largest page.
    pub const MAX_SIZE: u32 = 500;

    /// Checks a page size (0 means [`Self::DEFAULT_SIZE`]) and takes the token of the page
    /// before; an empty token means the first page.
    ///
    /// # Errors
    /// When the size is above [`Self::MAX_SIZE`] or the token is longer than any of ours.
    pub fn new(size: u32, token: &str) -> Result<Self, Refusal> {
        if size > Self::MAX_SIZE {
            return Err(Refusal::invalid("page_size", "must be 0 to 500"));
        }
        if token.len() > 1_024 {
            return Err(Refusal::invalid("page_token", "is not one of ours"));
        }
        let token = (!token.is_empty()).then(|| token.to_owned());
        Ok(Self { size, token })
    }

    /// How many items the page may have.
    pub fn size(&self) -> u32 {
        if self.size == 0 { Self::DEFAULT_SIZE } else { self.size }
    }

    /// The key after which the page starts in the list named `list`.
    pub(crate) fn after(&self, list: &str) -> Result<Option<String>, Refusal> {
        use base64::Engine as _;
        let Some(token) = &self.token else { return Ok(None) };
        let bad = || Refusal::invalid("page_token", "is not one of ours");
        let bytes =
            base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
        let text = String::from_utf8(bytes).map_err(|_| bad())?;
        let key = text.strip_prefix(list).and_then(|rest| rest.strip_prefix(':'));
        key.map(|key| Some(key.to_owned())).ok_or_else(bad)
    }
}

/// One part of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// The token of the next page; none when this is the last.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Cuts a list that was read with one item more than `paging` wants.
    pub(crate) fn cut(
        mut items: Vec<T>,
        paging: &Paging,
        list: &str,
        key: impl Fn(&T) -> String,
    ) -> Self {
        let size = paging.size() as usize;
        let more = items.len() > size;
        items.truncate(size);
        let next = items.last().filter(|_| more).map(|last| Self::token(list, &key(last)));
        Self { items, next }
    }

    /// The token of the page after the item with that key.
    pub(crate) fn token(list: &str, key: &str) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(format!("{list}:{key}"))
    }

    /// The same page of other items.
    pub fn map<U>(self, show: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(show).collect(), next: self.next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_token_leads_on_and_fits_one_list_only() {
        let first = Paging::new(2, "").unwrap();
        let page = Page::cut(vec!["a", "b", "c"], &first, "letters", |s| (*s).to_owned());
        assert_eq!(page.items, ["a", "b"]);
        let next = Paging::new(2, &page.next.unwrap()).unwrap();
        assert_eq!(next.after("letters"), Ok(Some("b".to_owned())));
        assert!(next.after("numbers").is_err());
        let last = Page::cut(vec!["c"], &next, "letters", |s| (*s).to_owned());
        assert_eq!(last.next, None);
    }

    #[test]
    fn a_page_is_bounded() {
        assert!(Paging::new(501, "").is_err());
        assert_eq!(Paging::new(0, "").unwrap().size(), 50);
        assert!(Paging::new(1, "%%").unwrap().after("x").is_err());
    }
}
