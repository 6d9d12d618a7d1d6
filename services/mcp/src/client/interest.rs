//! What is wanted of a server besides answers, whatever era it speaks: updates of resources, log
//! messages from a level on, a sign of life.

use std::time::Duration;

use bytes::Bytes;

use super::{Connection, Reply, RequestError, RequestOptions};
use crate::splice;

/// Why a server does not do what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InterestError {
    /// The server refused: the raw error object.
    #[error("the server refused")]
    Refused(Bytes),
    /// There is no answer.
    #[error("{0}")]
    Failed(#[from] RequestError),
}

impl Connection {
    /// Asks for `notifications/resources/updated` of a resource. Subscribing twice is the same as
    /// once.
    ///
    /// # Errors
    /// [`InterestError`].
    pub async fn subscribe(&self, uri: &str) -> Result<(), InterestError> {
        match &self.0.wanted {
            Some(wanted) => wanted.subscribe(uri).await,
            None => self.ask("resources/subscribe", "uri", uri).await,
        }
    }

    /// Takes [`Self::subscribe`] back.
    ///
    /// # Errors
    /// [`InterestError`].
    pub async fn unsubscribe(&self, uri: &str) -> Result<(), InterestError> {
        match &self.0.wanted {
            Some(wanted) => {
                wanted.unsubscribe(uri);
                Ok(())
            }
            None => self.ask("resources/unsubscribe", "uri", uri).await,
        }
    }

    /// Asks for log messages from a level on (as it is written on the wire). Done without a word
    /// to the server where it declares no logging. A stateless server is told with each request.
    ///
    /// # Errors
    /// [`InterestError`].
    pub async fn set_log_level(&self, level: &str) -> Result<(), InterestError> {
        if !self.hello().declares("logging") {
            return Ok(());
        }
        if self.0.link.is_stateless() {
            self.0.link.hop.set_log_level(level);
            return Ok(());
        }
        self.ask("logging/setLevel", "level", level).await
    }

    /// Asks for a sign of life: an error is one, too.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn ping(&self, read_timeout: Duration) -> Result<(), RequestError> {
        let method = if self.0.link.is_stateless() { "server/discover" } else { "ping" };
        let options =
            RequestOptions { read_timeout: Some(read_timeout), ..RequestOptions::default() };
        self.request(method, None, options).reply().await.map(drop)
    }

    async fn ask(&self, method: &str, key: &str, value: &str) -> Result<(), InterestError> {
        let mut params = format!("{{\"{key}\":").into_bytes();
        params.extend_from_slice(&splice::quote(value));
        params.push(b'}');
        let pending = self.request(method, Some(params.into()), RequestOptions::default());
        match pending.reply().await? {
            Reply::Result(_) => Ok(()),
            Reply::Error(error) => Err(InterestError::Refused(error)),
        }
    }
}
