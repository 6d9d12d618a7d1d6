//! The login of one store: made when it is needed, renewed before it ends, made anew when it was
//! revoked. Whatever fails recovers by itself.
//!
//! What always holds:
//! - One login at a time, however many requests wait for it; a failed one answers all of them,
//!   and those of the second after it, at once.
//! - A request is repeated only after a 403 whose token turned out to be dead.
//! - While Vault is away the token at hand is kept: it may outlive the outage.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use vaultrs::api::AuthInfo;
use vaultrs::error::ClientError;

use super::config::VaultConfig;
use super::failure::Failure;
use super::login::{Session, log_in};
use super::quiet::quietly;
use super::schedule;

/// For so long a failed login answers those who ask for one.
const FAILURE_HOLDS: Duration = Duration::from_secs(1);

/// Whether Vault serves us now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultStanding {
    /// The last request was answered.
    Serving,
    /// It was not, or nobody can log in, and nothing has changed since.
    Away {
        /// Why, for the operator.
        cause: String,
    },
}

/// What waits in the background to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Renew the token, or log in anew.
    Renew,
    /// See whether Vault is back.
    Probe,
}

/// The login of one store.
pub(super) struct Sessions {
    config: VaultConfig,
    state: Mutex<State>,
    standing: watch::Sender<VaultStanding>,
    /// Changes when the plan of the background does.
    replan: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    current: Option<Arc<Session>>,
    /// When the lease was last granted, and for how long.
    lease: Option<(Instant, Duration)>,
    failed: Option<(Instant, Failure)>,
    logins: u64,
}

impl Sessions {
    /// Logs in for the first time.
    pub(super) async fn open(config: VaultConfig) -> Result<Arc<Self>, Failure> {
        let sessions = Arc::new(Self {
            config,
            state: Mutex::default(),
            standing: watch::Sender::new(VaultStanding::Serving),
            replan: watch::Sender::new(0),
        });
        sessions.current().await?;
        Ok(sessions)
    }

    pub(super) const fn config(&self) -> &VaultConfig {
        &self.config
    }

    pub(super) fn standing(&self) -> watch::Receiver<VaultStanding> {
        self.standing.subscribe()
    }

    pub(super) fn replanned(&self) -> watch::Receiver<u64> {
        self.replan.subscribe()
    }

    /// Makes a request, and once more with a new login if the token had been revoked.
    pub(super) async fn run<T, F, Fut>(&self, request: F) -> Result<T, Failure>
    where
        F: Fn(Arc<Session>) -> Fut,
        Fut: Future<Output = Result<T, ClientError>>,
    {
        let session = self.current().await?;
        let first = self.attempt(request(Arc::clone(&session))).await;
        if !first.as_ref().is_err_and(Failure::is_forbidden) || self.is_alive(&session).await? {
            return first;
        }
        let session = self.renewed_login(session.number()).await?;
        self.attempt(request(session)).await
    }

    /// What the background has to do next, and in how long at the earliest.
    pub(super) async fn plan(&self, failures: u32, chance: f64) -> (Task, Duration) {
        let lease = self.state.lock().await.lease;
        let due = lease.map_or(schedule::IDLE, |(since, granted)| {
            schedule::renewal(granted, chance).saturating_sub(since.elapsed())
        });
        let pause = schedule::pause(failures.max(1), chance);
        match *self.standing.borrow() {
            VaultStanding::Away { .. } if due > pause => (Task::Probe, pause),
            _ if failures > 0 => (Task::Renew, due.max(pause)),
            _ => (Task::Renew, due),
        }
    }

    /// Does what was planned.
    pub(super) async fn act(&self, task: Task) -> Result<(), Failure> {
        let session = self.current().await?;
        match task {
            Task::Probe if self.is_alive(&session).await? => Ok(()),
            Task::Probe => self.renewed_login(session.number()).await.map(drop),
            Task::Renew => self.renew(&session).await,
        }
    }

    /// The session at hand; logs in if there is none.
    async fn current(&self) -> Result<Arc<Session>, Failure> {
        let mut state = self.state.lock().await;
        match &state.current {
            Some(session) => Ok(Arc::clone(session)),
            None => self.log_in(&mut state).await,
        }
    }

    /// A session that is none of those up to `number`.
    async fn renewed_login(&self, number: u64) -> Result<Arc<Session>, Failure> {
        let mut state = self.state.lock().await;
        match &state.current {
            Some(session) if session.number() > number => Ok(Arc::clone(session)),
            _ => self.log_in(&mut state).await,
        }
    }

    async fn log_in(&self, state: &mut State) -> Result<Arc<Session>, Failure> {
        if let Some((at, failure)) = &state.failed
            && at.elapsed() < FAILURE_HOLDS
        {
            return Err(failure.clone());
        }
        match log_in(&self.config, state.logins + 1).await {
            Ok(session) => {
                state.logins += 1;
                state.failed = None;
                state.lease = session.granted().map(|granted| (session.since(), granted));
                let session = Arc::new(session);
                state.current = Some(Arc::clone(&session));
                tracing::info!(login = state.logins, "logged in to vault");
                self.note(None);
                self.replan.send_modify(|plan| *plan += 1);
                Ok(session)
            }
            Err(failure) => {
                state.failed = Some((Instant::now(), failure.clone()));
                self.note(Some(&failure));
                Err(failure)
            }
        }
    }

    /// Whether the token still counts, as a 403 may be of a policy as well.
    async fn is_alive(&self, session: &Session) -> Result<bool, Failure> {
        match self.attempt(vaultrs::token::lookup_self(session.client())).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.is_forbidden() => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    async fn renew(&self, session: &Session) -> Result<(), Failure> {
        let Some(first) = session.granted() else {
            return Ok(());
        };
        if !session.is_renewable() {
            return self.renewed_login(session.number()).await.map(drop);
        }
        let asked = Instant::now();
        match self.attempt(vaultrs::token::renew_self(session.client(), None)).await {
            Ok(auth) => {
                let granted = lease_of(auth);
                if schedule::is_ending(first, granted) {
                    return self.renewed_login(session.number()).await.map(drop);
                }
                let mut state = self.state.lock().await;
                if state.current.as_ref().is_some_and(|now| now.number() == session.number()) {
                    state.lease = Some((asked, granted));
                }
                Ok(())
            }
            Err(failure @ Failure::Away { .. }) => Err(failure),
            Err(_) => self.renewed_login(session.number()).await.map(drop),
        }
    }

    /// One request, without a log of the library, and what it says of Vault.
    async fn attempt<T>(
        &self,
        request: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, Failure> {
        let answer = quietly(request).await.map_err(Failure::from);
        // With a dead token the server answers, and still does not serve us.
        if !answer.as_ref().is_err_and(Failure::is_forbidden) {
            self.note(answer.as_ref().err());
        }
        answer
    }

    fn note(&self, failure: Option<&Failure>) {
        let standing = match failure {
            Some(Failure::Away { cause }) => VaultStanding::Away { cause: cause.clone() },
            _ => VaultStanding::Serving,
        };
        let was_serving = *self.standing.borrow() == VaultStanding::Serving;
        let is_serving = standing == VaultStanding::Serving;
        let changed = self.standing.send_if_modified(|now| {
            let changes = *now != standing;
            if changes {
                now.clone_from(&standing);
            }
            changes
        });
        if !changed || was_serving == is_serving {
            return;
        }
        match standing {
            VaultStanding::Serving => tracing::info!("vault serves again"),
            VaultStanding::Away { cause } => tracing::warn!(%cause, "vault is away"),
        }
        self.replan.send_modify(|plan| *plan += 1);
    }
}

/// The lease alone; the token beside it is the one at hand, and wiped.
fn lease_of(mut auth: AuthInfo) -> Duration {
    secrecy::zeroize::Zeroize::zeroize(&mut auth.client_token);
    Duration::from_secs(auth.lease_duration)
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("address", &self.config.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::vault::config::{Credential, VaultLogin};
    use crate::vault::failure::provide_tls;

    #[tokio::test]
    async fn all_who_wait_for_a_login_learn_of_its_failure_at_once() {
        provide_tls();
        // It takes connections, and never answers.
        let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = format!("http://{}", silent.local_addr().unwrap());
        let token = Credential::Value("token".to_owned().into());
        let timeout = Duration::from_millis(300);
        let config = VaultConfig { timeout, ..VaultConfig::new(address, VaultLogin::Token(token)) };
        let sessions = Arc::new(Sessions {
            config,
            state: Mutex::default(),
            standing: watch::Sender::new(VaultStanding::Serving),
            replan: watch::Sender::new(0),
        });
        let start = Instant::now();
        let waiting = (0..20).map(|_| {
            let sessions = Arc::clone(&sessions);
            tokio::spawn(async move { sessions.current().await.err() })
        });
        for failure in waiting.collect::<Vec<_>>() {
            assert!(matches!(failure.await.unwrap(), Some(Failure::Away { .. })));
        }
        assert!(start.elapsed() < 5 * timeout, "{:?}", start.elapsed());
        assert!(matches!(*sessions.standing().borrow(), VaultStanding::Away { .. }));
    }
}
