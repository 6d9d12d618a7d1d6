//! What a session's client asks to hear: log messages from a level on, updates of resources.

use std::sync::Arc;

use bytes::Bytes;
use domain::ErrorCode;
use futures::future::join_all;
use mcp::catalogue::Feature;
use mcp::envelope::{self, code};
use mcp::server::{EMPTY_RESULT, Method};
use mcp::{LogLevel, splice};

use crate::attachments::{attach, attach_all};
use crate::call::{self, failure};
use crate::edge::Shared;
use crate::roaming;
use crate::session::Session;
use crate::view::view;

/// `logging/setLevel`: filters what this client is told, and has every server say as much as any
/// of its clients wants. Servers without log messages are passed over.
///
/// # Errors
/// The raw error for the client.
pub(crate) async fn set_log_level(
    shared: &Arc<Shared>,
    session: &Arc<Session>,
    params: Option<&Bytes>,
) -> Result<Bytes, Bytes> {
    let Some(level) = params.and_then(LogLevel::of_params) else {
        let message = "level must be one of debug, info, notice, warning, error, critical, alert \
                       and emergency";
        return Err(envelope::error_object(code::INVALID_PARAMS, message, None));
    };
    session.hearing.set_level(level);
    roaming::changed(shared, session).await;
    let merged = view(shared, session).await;
    attach_all(shared, session, &merged);
    let places = merged.catalogue.servers_offering(Feature::Logging);
    let attachments = places.filter_map(|place| merged.servers.get(place));
    let attachments: Vec<_> =
        attachments.filter_map(|server| session.hearing.attachment(server.id)).collect();
    join_all(attachments.iter().map(|attachment| attachment.tell_wants())).await;
    Ok(Bytes::from_static(EMPTY_RESULT))
}

/// `resources/subscribe`.
///
/// # Errors
/// The raw error for the client: of the server, or of ours.
pub(crate) async fn subscribe(
    shared: &Arc<Shared>,
    session: &Arc<Session>,
    params: Option<Bytes>,
) -> Result<Bytes, Bytes> {
    let exposed = uri_in(params.as_ref());
    let merged = view(shared, session).await;
    let placed = call::place(shared, &merged, Method::Subscribe, params)?;
    let (server, uri) = (placed.server(), placed.target());
    if !merged.catalogue.offers(placed.place(), Feature::Subscriptions) {
        let message = format!("{} has no subscriptions", server.name);
        return Err(envelope::error_object(code::METHOD_NOT_FOUND, &message, None));
    }
    let most = shared.config.limits.subscriptions;
    if session.hearing.subscribe(server.id, uri.to_owned(), exposed, most).is_err() {
        let message = "too many subscriptions: end one";
        return Err(failure(ErrorCode::ResourceExhausted.reason(), message));
    }
    let subscribed = match attach(shared, session, &merged, server) {
        Some(attachment) => attachment.subscribe(uri).await,
        None => Err(failure(ErrorCode::Unavailable.reason(), "the session has ended")),
    };
    if let Err(error) = subscribed {
        session.hearing.unsubscribe(server.id, uri);
        return Err(error);
    }
    roaming::changed(shared, session).await;
    Ok(Bytes::from_static(EMPTY_RESULT))
}

/// `resources/unsubscribe`; of what is not subscribed to, too.
///
/// # Errors
/// The raw error for the client: of the server, or of ours.
pub(crate) async fn unsubscribe(
    shared: &Arc<Shared>,
    session: &Arc<Session>,
    params: Option<Bytes>,
) -> Result<Bytes, Bytes> {
    let merged = view(shared, session).await;
    let placed = call::place(shared, &merged, Method::Unsubscribe, params)?;
    let (server, uri) = (placed.server().id, placed.target());
    if session.hearing.unsubscribe(server, uri)
        && let Some(attachment) = session.hearing.attachment(server)
    {
        attachment.unsubscribe(uri).await?;
    }
    roaming::changed(shared, session).await;
    Ok(Bytes::from_static(EMPTY_RESULT))
}

fn uri_in(params: Option<&Bytes>) -> String {
    let uri = params.and_then(|params| splice::find_string(params, &["uri"]).ok().flatten());
    uri.unwrap_or_default().into_owned()
}
