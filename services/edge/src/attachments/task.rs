//! The life of one attachment: opened, told what is wanted, listened to, opened again.

use std::collections::{HashSet, VecDeque};
use std::future::pending;
use std::sync::{Arc, Weak};

use backplane::exchange::{Answer, Exchange, Frame};
use bytes::Bytes;
use mcp::envelope::{self, code};
use mcp::{Catalogue, splice};
use proto::internal::v1::{
    ExchangeKind, ExchangeOpen, Interest, Notification, ServerRequest, SessionCatalogue,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::backoff::Backoff;
use super::hearer::may_hear;
use super::wanted::Wanted;
use super::{COMMANDS, Command, Hearers, Own, Target, hear, too_many, unreachable};
use crate::edge::Shared;
use crate::session::{Asker, Reaction, Session};
use crate::view::tell_changes;

pub(super) struct Task {
    shared: Weak<Shared>,
    target: Target,
    hearers: Arc<Hearers>,
    own: watch::Sender<Own>,
}

/// Subscriptions that wait for the attachment to be opened again; whoever waits for them does so for
/// a while.
#[derive(Default)]
struct Held(VecDeque<(String, oneshot::Sender<Answer>)>);

impl Held {
    fn put(&mut self, uri: String, done: oneshot::Sender<Answer>) {
        self.0.retain(|(_, waiting)| !waiting.is_closed());
        if self.0.len() >= COMMANDS {
            let _ = done.send(Err(too_many()));
        } else {
            self.0.push_back((uri, done));
        }
    }

    /// Those that somebody still waits for.
    fn take(&mut self) -> Self {
        let mut held = std::mem::take(self);
        held.0.retain(|(_, waiting)| !waiting.is_closed());
        held
    }
}

/// An exchange that is open.
struct Open {
    exchange: Exchange,
    wanted: Wanted,
    asker: Option<Asker>,
}

impl Task {
    pub(super) fn new(
        shared: &Arc<Shared>,
        target: Target,
        hearers: Arc<Hearers>,
        own: watch::Sender<Own>,
    ) -> Self {
        Self { shared: Arc::downgrade(shared), target, hearers, own }
    }

    pub(super) async fn run(self, mut commands: mpsc::Receiver<Command>, end: CancellationToken) {
        let peer = self.target.peer.as_ref().map(|peer| peer.session.as_str());
        let mut backoff = Backoff::new(self.target.server, &peer);
        let mut held = Held::default();
        loop {
            let opened = Instant::now();
            let opening = tokio::select! {
                () = end.cancelled() => return,
                open = self.open() => open,
            };
            match opening {
                Some(open) => {
                    let serving = self.serve(open, &mut commands, held.take());
                    tokio::select! {
                        () = end.cancelled() => return,
                        is_over = serving => if is_over { return },
                    }
                    backoff.lost(opened, Instant::now());
                }
                None => self.failed(),
            }
            let now = Instant::now();
            let again = now + backoff.next(now);
            tokio::select! {
                () = end.cancelled() => return,
                is_over = self.wait(again, &mut commands, &mut held) => if is_over { return },
            }
        }
    }

    fn failed(&self) {
        self.own.send_if_modified(|own| {
            let is_new = matches!(own, Own::Awaited);
            if is_new {
                *own = Own::Failed;
            }
            is_new
        });
    }

    async fn open(&self) -> Option<Open> {
        let shared = self.shared.upgrade()?;
        let open = ExchangeOpen {
            tenant: self.target.tenant.to_string(),
            project: self.target.project.to_string(),
            server: self.target.server.to_string(),
            call_id: Uuid::now_v7().to_string(),
            kind: ExchangeKind::Attachment.into(),
            peer: self.target.peer.clone(),
            ..ExchangeOpen::default()
        };
        let opening = Exchange::open(shared.bus.as_ref(), self.target.server, &open);
        match opening.await {
            Ok(exchange) => {
                let owner = self.target.owner.as_ref().and_then(Weak::upgrade);
                let server = self.target.server;
                let asker = owner.map(|owner| Asker::new(&owner, server));
                Some(Open { exchange, wanted: Wanted::default(), asker })
            }
            Err(error) => {
                tracing::debug!(server = %self.target.server, %error, "not attached");
                None
            }
        }
    }

    /// Nothing is open until `again`. True at the end.
    async fn wait(
        &self,
        again: Instant,
        commands: &mut mpsc::Receiver<Command>,
        held: &mut Held,
    ) -> bool {
        // Where another worker takes the server over, that is soon.
        let may_move = self.shared.upgrade().is_some_and(|shared| shared.config.cluster);
        loop {
            let command = tokio::select! {
                () = tokio::time::sleep_until(again) => return false,
                command = commands.recv() => command,
            };
            match command {
                Some(Command::Subscribe(uri, done)) if may_move => held.put(uri, done),
                Some(Command::Subscribe(_, done)) => drop(done.send(Err(unreachable()))),
                // Nothing is subscribed to, which is what was wanted.
                Some(Command::Unsubscribe(_, done)) => drop(done.send(Ok(Bytes::new()))),
                // It is told when there is somebody to tell it to.
                Some(Command::Wants(done)) => drop(done.map(|done| done.send(()))),
                Some(Command::Notify(..)) => {}
                None => return true,
            }
        }
    }

    /// Until the exchange breaks (false), or nobody needs the attachment any more (true).
    async fn serve(
        &self,
        mut open: Open,
        commands: &mut mpsc::Receiver<Command>,
        held: Held,
    ) -> bool {
        if self.begin(&mut open, held).await.is_none() {
            self.lost();
            return false;
        }
        loop {
            let done = tokio::select! {
                frame = open.exchange.next() => match frame {
                    Ok(frame) => self.take(&mut open, frame).await,
                    Err(_) => None,
                },
                command = commands.recv() => match command {
                    Some(command) => self.obey(&mut open, command).await,
                    None => return true,
                },
                reaction = reaction(&mut open.asker) => {
                    pass(&open.exchange, reaction).await
                }
            };
            if done.is_none() {
                self.lost();
                return false;
            }
        }
    }

    /// Tells what is wanted, first of all by those who wait for it. `None` when the exchange is
    /// over.
    async fn begin(&self, open: &mut Open, held: Held) -> Option<()> {
        for (uri, done) in held.0 {
            self.obey(open, Command::Subscribe(uri, done)).await?;
        }
        self.tell_wants(open, None).await
    }

    /// What the connection offered is not known any more.
    fn lost(&self) {
        if self.target.owner.is_some() {
            self.failed();
        }
    }

    /// `None` when the exchange is over.
    async fn obey(&self, open: &mut Open, command: Command) -> Option<()> {
        match command {
            Command::Wants(done) => self.tell_wants(open, done).await,
            Command::Subscribe(uri, done) => {
                if !open.wanted.has_room() {
                    let _ = done.send(Err(too_many()));
                    return Some(());
                }
                let interest = open.wanted.subscribe(&uri, Some(done));
                tell(&open.exchange, interest).await
            }
            Command::Unsubscribe(uri, done) => {
                if self.subscriptions().contains(&uri) || !open.wanted.has_room() {
                    // Another one wants it, or it is given up with what else is unwanted.
                    let _ = done.send(Ok(Bytes::new()));
                    return Some(());
                }
                let interest = open.wanted.unsubscribe(&uri, Some(done));
                tell(&open.exchange, interest).await
            }
            Command::Notify(method, params) => open.exchange.notify(&method, params).await.ok(),
        }
    }

    fn subscriptions(&self) -> HashSet<String> {
        let hearers = self.hearers.all().into_iter();
        hearers.flat_map(|hearer| hearer.subscriptions(self.target.server)).collect()
    }

    /// Tells what all hearers together want, as far as it was not told.
    async fn tell_wants(&self, open: &mut Open, done: Option<oneshot::Sender<()>>) -> Option<()> {
        let hearers = self.hearers.all();
        let level = hearers.iter().filter_map(|hearer| hearer.log_level()).min();
        let interest = open.wanted.level(level, done);
        tell(&open.exchange, interest).await?;
        let subscriptions = self.subscriptions();
        for uri in open.wanted.unwanted(&subscriptions) {
            let interest = open.wanted.unsubscribe(&uri, None);
            tell(&open.exchange, interest).await?;
        }
        open.wanted.leave_out(subscriptions);
        self.catch_up(open).await
    }

    /// Tells of the subscriptions that were left out, as many as there is room for.
    async fn catch_up(&self, open: &mut Open) -> Option<()> {
        let mut still_wanted = None;
        while let Some(uri) = open.wanted.next_left_out() {
            // Meanwhile it may have been given up.
            let still_wanted = still_wanted.get_or_insert_with(|| self.subscriptions());
            if still_wanted.contains(&uri) {
                let interest = open.wanted.subscribe(&uri, None);
                tell(&open.exchange, interest).await?;
            }
        }
        Some(())
    }

    /// `None` when the exchange is over.
    async fn take(&self, open: &mut Open, frame: Frame) -> Option<()> {
        match frame {
            Frame::Notification(said) => self.hear(open, said).await,
            Frame::Request(request) => return self.ask(open, request).await,
            Frame::InterestDone(done) => {
                open.wanted.done(&done);
                return self.catch_up(open).await;
            }
            Frame::Catalogue(catalogue) => self.offered(&catalogue).await,
            // Only calls have them.
            Frame::Paused(_) => {}
            Frame::Finished(_) => return None,
        }
        Some(())
    }

    async fn hear(&self, open: &mut Open, said: Notification) {
        if said.method == "notifications/cancelled" {
            let id = splice::find_string(&said.params, &["requestId"]).ok().flatten();
            let asker = open.asker.as_mut();
            let withdrawn = asker.and_then(|asker| asker.withdraw(id?.as_ref()));
            let owner = self.target.owner.as_ref().and_then(Weak::upgrade);
            if let (Some(owner), Some(message)) = (owner, withdrawn) {
                owner.tell(&message);
            }
            return;
        }
        if let Some(shared) = self.shared.upgrade() {
            hear(&shared, self.target.server, self.hearers.all(), &said).await;
        }
    }

    /// Asks the session's client what belongs to no call, over the stream of what is said unasked.
    async fn ask(&self, open: &mut Open, request: ServerRequest) -> Option<()> {
        let owner = self.target.owner.as_ref().and_then(Weak::upgrade);
        let id = request.id.clone();
        let asked = match (owner, &mut open.asker) {
            (Some(owner), Some(asker)) if owner.is_heard() && self.may_hear(&owner) => {
                let asked = asker.ask(self.exposed(request).await, None);
                asked.map(|message| owner.tell(&message))
            }
            (Some(_), _) => Err(refused("the client has no stream open on which it can be asked")),
            (None, _) => Err(refused("it belongs to no call, and the connection to no client")),
        };
        match asked {
            Ok(()) => Some(()),
            Err(error) => open.exchange.answer(&id, Err(error)).await.ok(),
        }
    }

    fn may_hear(&self, owner: &Session) -> bool {
        self.shared.upgrade().is_some_and(|shared| may_hear(&shared, owner.key))
    }

    async fn exposed(&self, mut request: ServerRequest) -> ServerRequest {
        let owner = self.target.owner.as_ref().and_then(Weak::upgrade);
        let (Some(shared), Some(owner)) = (self.shared.upgrade(), owner) else { return request };
        let merged = shared.catalogues.get(&owner.scope).await;
        let place = merged.servers.iter().position(|known| known.id == self.target.server);
        let space = place.and_then(|place| merged.catalogue.namespace(place));
        let params = space
            .filter(|_| !request.params.is_empty())
            .and_then(|space| space.expose_request(&request.method, &request.params).ok());
        if let Some(params) = params {
            request.params = params;
        }
        request
    }

    async fn offered(&self, catalogue: &SessionCatalogue) {
        match Catalogue::from_json(&catalogue.catalogue) {
            Ok(catalogue) => {
                self.own.send_replace(Own::Catalogue(Arc::new(catalogue)));
                let owner = self.target.owner.as_ref().and_then(Weak::upgrade);
                if let (Some(shared), Some(owner)) = (self.shared.upgrade(), owner) {
                    tell_changes(&shared, &owner).await;
                }
            }
            Err(error) => {
                let server = self.target.server;
                tracing::warn!(%server, %error, "a session's catalogue cannot be read");
                self.failed();
            }
        }
    }
}

fn refused(message: &str) -> Bytes {
    envelope::error_object(code::METHOD_NOT_FOUND, message, None)
}

async fn reaction(asker: &mut Option<Asker>) -> Reaction {
    match asker {
        Some(asker) if asker.is_open() => asker.reaction().await,
        _ => pending().await,
    }
}

async fn pass(exchange: &Exchange, reaction: Reaction) -> Option<()> {
    match reaction {
        Reaction::Answer(id, answer) => exchange.answer(&id, answer).await.ok(),
        Reaction::Progress(params) => exchange.notify("notifications/progress", params).await.ok(),
    }
}

async fn tell(exchange: &Exchange, interest: Option<Interest>) -> Option<()> {
    match interest {
        Some(interest) => exchange.interest(interest).await.ok(),
        None => Some(()),
    }
}
