//! Learning what an upstream offers: every page of every list it declares.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future;
use tokio::time::timeout;

use super::link::Link;
use super::start::{self, Ask};
use super::{Connection, Reply, RequestError, RequestMeta};
use crate::catalogue::{Catalogue, Item, ListKind};
use crate::envelope::code;
use crate::{ErrorObject, splice};

/// How much is asked for and taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LearnLimits {
    /// The most pages of one list.
    pub max_pages: usize,
    /// The most items of one list.
    pub max_items: usize,
    /// The most bytes of one list's items.
    pub max_bytes: usize,
    /// How long one list may take, all its pages together.
    pub list_timeout: Duration,
}

impl Default for LearnLimits {
    fn default() -> Self {
        Self {
            max_pages: 100,
            max_items: 10_000,
            max_bytes: 16 * 1024 * 1024,
            list_timeout: Duration::from_secs(30),
        }
    }
}

/// Why a list could not be learned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// It was not there in time.
    #[error("no answer in time")]
    Timeout,
    /// The request failed.
    #[error("{0}")]
    Request(RequestError),
    /// The upstream answered with an error; the words are its own, at most 1,024 characters.
    #[error("{message} ({code})")]
    Refused {
        /// The JSON-RPC error code.
        code: i64,
        /// The upstream's words.
        message: String,
    },
    /// The result is not a list of named items.
    #[error("the result is not a list")]
    NotAList,
    /// The upstream gave a cursor that it had given before.
    #[error("the pages go in a circle")]
    Circle,
    /// A limit of [`LearnLimits`] was reached; its name.
    #[error("more than the limit of {0}")]
    TooMuch(&'static str),
}

/// A list that could not be learned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {error}", .list.method())]
pub struct ListFailure {
    /// The list.
    pub list: ListKind,
    /// What went wrong.
    pub error: ListError,
}

/// What was learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogueOutcome {
    /// The catalogue; a list that failed is empty in it.
    pub catalogue: Catalogue,
    /// The lists that failed.
    pub failures: Vec<ListFailure>,
}

/// Asks for every list that the upstream declares, all at once: one that hangs holds up no other
/// for longer than its own time.
pub async fn learn_catalogue(connection: &Connection, limits: &LearnLimits) -> CatalogueOutcome {
    let mut catalogue = connection.hello().to_catalogue();
    let declared = ListKind::ALL.map(|kind| catalogue.declares(kind.capability()));
    let lists = ListKind::ALL.into_iter().zip(declared).filter(|(_, declared)| *declared);
    let learned = future::join_all(lists.map(|(kind, _)| async move {
        let items =
            timeout(limits.list_timeout, learn_list(&connection.0.link, kind, limits)).await;
        (kind, items.unwrap_or(Err(ListError::Timeout)))
    }));
    let mut failures = Vec::new();
    for (list, items) in learned.await {
        match items {
            Ok(items) => catalogue.set_items(list, connection.note_items(list, items)),
            Err(error) => failures.push(ListFailure { list, error }),
        }
    }
    CatalogueOutcome { catalogue, failures }
}

/// Every page of a list.
pub(super) async fn learn_list(
    link: &Arc<Link>,
    kind: ListKind,
    limits: &LearnLimits,
) -> Result<Vec<Item>, ListError> {
    let mut items = Vec::new();
    let mut bytes = 0;
    let mut cursors = HashSet::new();
    let mut cursor: Option<Bytes> = None;
    for _ in 0..limits.max_pages {
        let Some(page) = ask(link, kind, cursor.as_deref(), limits).await? else {
            return Ok(items);
        };
        let spans = splice::elements(&page, &[kind.member()]).map_err(|_| ListError::NotAList)?;
        let spans = spans.ok_or(ListError::NotAList)?;
        let (before, listed) = (items.len(), spans.len());
        for span in spans {
            bytes += span.len();
            items.extend(Item::parse(kind, page.slice(span)));
        }
        // One item that nobody can ask for hides no other; where there is no other, it is no list.
        if items.len() == before && listed > 0 {
            return Err(ListError::NotAList);
        }
        if items.len() > limits.max_items {
            return Err(ListError::TooMuch("items"));
        }
        if bytes > limits.max_bytes {
            return Err(ListError::TooMuch("bytes"));
        }
        let next = splice::slice(&page, &["nextCursor"]).map_err(|_| ListError::NotAList)?;
        match next.filter(|next| next.starts_with(b"\"")) {
            None => return Ok(items),
            Some(next) if !cursors.insert(next.clone()) => return Err(ListError::Circle),
            next => cursor = next,
        }
    }
    Err(ListError::TooMuch("pages"))
}

/// One page; `None` if the upstream does not have the list at all, as many that have resources do
/// not have templates.
async fn ask(
    link: &Arc<Link>,
    kind: ListKind,
    cursor: Option<&[u8]>,
    limits: &LearnLimits,
) -> Result<Option<Bytes>, ListError> {
    let params = cursor.map_or_else(
        || Bytes::from_static(b"{}"),
        |cursor| [b"{\"cursor\":", cursor, b"}"].concat().into(),
    );
    let pending = start::request(
        link,
        Ask {
            method: kind.method(),
            params: Some(params),
            read_timeout: Some(limits.list_timeout),
            stamp: link.is_stateless().then_some(&RequestMeta::NONE),
            listens: false,
        },
    );
    match pending.reply().await {
        Ok(Reply::Result(page)) => Ok(Some(page)),
        Ok(Reply::Error(error)) => {
            let error = ErrorObject::parse(&error);
            if error.code == code::METHOD_NOT_FOUND {
                return Ok(None);
            }
            let message = error.message.chars().take(1024).collect();
            Err(ListError::Refused { code: error.code, message })
        }
        Err(RequestError::Timeout) => Err(ListError::Timeout),
        Err(error) => Err(ListError::Request(error)),
    }
}
