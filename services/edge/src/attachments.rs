//! What servers say outside of requests, and to whom it goes.
//!
//! An attachment is a long exchange with the worker that owns a server. Over it come log messages,
//! updates of resources and states of tasks; over it the worker learns what is wanted of them.
//! A shared server has one for all clients of this edge, opened when the first of them wants to
//! hear; a server with a connection for each session has one for each session, which keeps that
//! connection, and over it the server may ask the client something that belongs to no call.
//!
//! What always holds: what is wanted is told again when the attachment is opened again, by whichever
//! worker has the server then; nobody hears what it did not ask for, or may not hear any more; an
//! attachment that nobody hears ends.

mod backoff;
mod hearer;
mod own;
mod task;
mod wanted;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use backplane::exchange::Answer;
use bytes::Bytes;
use domain::{ErrorCode, ProjectId, ServerId, TenantId};
use proto::internal::v1::Peer;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::call::failure;
use crate::edge::Shared;
use crate::merged::MergedServer;
use crate::session::Session;

pub(crate) use hearer::{Hearer, hear};
pub(crate) use own::{attach, attach_all, attach_own, own_catalogues};

/// How long a change of what is wanted may take.
const INTEREST_WAIT: Duration = Duration::from_secs(10);
/// How many changes may wait.
const COMMANDS: usize = 256;

/// What a task is told.
enum Command {
    /// What the hearers want is another than before; `done` when the worker saw to it.
    Wants(Option<oneshot::Sender<()>>),
    Subscribe(String, oneshot::Sender<Answer>),
    Unsubscribe(String, oneshot::Sender<Answer>),
    /// A notification of the client.
    Notify(String, Bytes),
}

/// What is known of the connection of a session.
#[derive(Clone, Debug, Default)]
pub(crate) enum Own {
    /// Nothing yet.
    #[default]
    Awaited,
    /// What it offers.
    Catalogue(Arc<mcp::Catalogue>),
    /// It could not be opened.
    Failed,
}

/// Where an attachment goes.
#[derive(Clone)]
struct Target {
    tenant: TenantId,
    project: ProjectId,
    server: ServerId,
    /// Whose connection it is; `None` of one that all share.
    peer: Option<Peer>,
    /// The session of that connection.
    owner: Option<Weak<Session>>,
}

/// An attachment. It ends when it is dropped.
pub(crate) struct Attachment {
    server: ServerId,
    /// Whether it is of one session.
    is_own: bool,
    hearers: Arc<Hearers>,
    commands: mpsc::Sender<Command>,
    own: watch::Receiver<Own>,
    _end: DropGuard,
}

/// Who hears what comes over an attachment.
#[derive(Default)]
struct Hearers(Mutex<HashMap<Uuid, Weak<dyn Hearer>>>);

impl Hearers {
    fn table(&self) -> MutexGuard<'_, HashMap<Uuid, Weak<dyn Hearer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those who are there.
    fn all(&self) -> Vec<Arc<dyn Hearer>> {
        self.table().values().filter_map(Weak::upgrade).collect()
    }
}

impl Attachment {
    fn open(shared: &Arc<Shared>, target: Target) -> Arc<Self> {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let (own, own_receiver) = watch::channel(Own::Awaited);
        let (hearers, end) = (Arc::new(Hearers::default()), CancellationToken::new());
        let (server, is_own) = (target.server, target.owner.is_some());
        let task = task::Task::new(shared, target, Arc::clone(&hearers), own);
        tokio::spawn(task.run(receiver, end.clone()));
        let own = own_receiver;
        Arc::new(Self { server, is_own, hearers, commands, own, _end: end.drop_guard() })
    }

    pub(crate) fn server(&self) -> ServerId {
        self.server
    }

    /// Whether it is of one session alone.
    pub(crate) fn is_own(&self) -> bool {
        self.is_own
    }

    /// `who` hears from now on; whether it did not before.
    pub(crate) fn join(&self, who: Uuid, hearer: Weak<dyn Hearer>) -> bool {
        self.hearers.table().insert(who, hearer).is_none()
    }

    /// `who` does not hear any more; what only it wanted is given up.
    pub(crate) fn leave(&self, who: Uuid) {
        if self.hearers.table().remove(&who).is_some() {
            // A queue that is full is seen to soon, and then all of it is looked at.
            let _ = self.commands.try_send(Command::Wants(None));
        }
    }

    fn is_heard(&self) -> bool {
        let mut hearers = self.hearers.table();
        hearers.retain(|_, hearer| hearer.strong_count() > 0);
        !hearers.is_empty()
    }

    /// Tells the worker what the hearers want, and waits a while until it is done.
    pub(crate) async fn tell_wants(&self) {
        let (done, told) = oneshot::channel();
        let telling = async {
            if self.commands.send(Command::Wants(Some(done))).await.is_ok() {
                let _ = told.await;
            }
        };
        let _ = tokio::time::timeout(INTEREST_WAIT, telling).await;
    }

    /// Subscribes to a resource by the URI that the server knows. Who hears of it is for the
    /// hearers to know.
    ///
    /// # Errors
    /// The raw error for the client.
    pub(crate) async fn subscribe(&self, uri: &str) -> Result<(), Bytes> {
        self.change(|done| Command::Subscribe(uri.to_owned(), done)).await
    }

    /// Ends a subscription, unless another hearer wants it.
    ///
    /// # Errors
    /// The raw error for the client.
    pub(crate) async fn unsubscribe(&self, uri: &str) -> Result<(), Bytes> {
        self.change(|done| Command::Unsubscribe(uri.to_owned(), done)).await
    }

    async fn change(
        &self,
        command: impl FnOnce(oneshot::Sender<Answer>) -> Command,
    ) -> Result<(), Bytes> {
        let (done, answer) = oneshot::channel();
        let changing = async {
            self.commands.send(command(done)).await.ok()?;
            answer.await.ok()
        };
        match tokio::time::timeout(INTEREST_WAIT, changing).await {
            Ok(Some(answer)) => answer.map(drop),
            Ok(None) | Err(_) => Err(unreachable()),
        }
    }

    /// Passes a notification of the client on; it may be lost while there is no connection.
    pub(crate) fn notify(&self, method: &str, params: Bytes) {
        let _ = self.commands.try_send(Command::Notify(method.to_owned(), params));
    }

    /// What the connection of its session offers.
    pub(crate) fn own(&self) -> watch::Receiver<Own> {
        self.own.clone()
    }
}

fn too_many() -> Bytes {
    let message = "too many changes of what is heard from the server wait for it: retry later";
    failure(ErrorCode::ResourceExhausted.reason(), message)
}

fn unreachable() -> Bytes {
    let message = "the server cannot be reached now: retry";
    failure(ErrorCode::UpstreamUnavailable.reason(), message)
}

/// The attachments to shared servers.
#[derive(Default)]
pub(crate) struct Attachments(Mutex<HashMap<ServerId, Arc<Attachment>>>);

impl Attachments {
    fn table(&self) -> MutexGuard<'_, HashMap<ServerId, Arc<Attachment>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The attachment to a shared server, which `who` hears from now on.
    pub(crate) fn join(
        &self,
        shared: &Arc<Shared>,
        project: &ProjectId,
        server: &MergedServer,
        who: Uuid,
        hearer: Weak<dyn Hearer>,
    ) -> Arc<Attachment> {
        let mut table = self.table();
        let attachment = table.entry(server.id).or_insert_with(|| {
            let (tenant, project) = (server.tenant, project.clone());
            let target = Target { tenant, project, server: server.id, peer: None, owner: None };
            Attachment::open(shared, target)
        });
        attachment.join(who, hearer);
        Arc::clone(attachment)
    }

    /// Ends those that nobody hears, and those to servers that are not there.
    pub(crate) fn sweep(&self, is_there: impl Fn(&ServerId) -> bool) {
        self.table().retain(|server, attachment| attachment.is_heard() && is_there(server));
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.table().len()
    }
}
