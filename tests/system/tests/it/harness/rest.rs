//! The REST API, and any other plain HTTP.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

/// How long a request may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Requests as somebody.
#[derive(Clone, Debug)]
pub(crate) struct Rest {
    client: Client,
    url: String,
    credential: Option<String>,
    /// Under which commands are given.
    idempotency_key: Option<String>,
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Parsed, or the text itself.
    pub(crate) body: Value,
    /// As it came.
    pub(crate) text: String,
}

impl Answer {
    /// The body, if the status is as expected.
    #[track_caller]
    pub(crate) fn expect_status(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.body
    }
}

impl Rest {
    pub(crate) fn new(url: &str, credential: Option<&str>) -> Self {
        let client = Client::builder().no_proxy().timeout(LIMIT).build().unwrap();
        Self {
            client,
            url: url.to_owned(),
            credential: credential.map(str::to_owned),
            idempotency_key: None,
        }
    }

    /// The same, for one command that may be given more than once.
    pub(crate) fn under(&self, idempotency_key: &str) -> Self {
        Self { idempotency_key: Some(idempotency_key.to_owned()), ..self.clone() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    /// Sends one request; a path that is a URL is taken as it is.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let answer = self.try_send(method, path, body).await;
        answer.unwrap_or_else(|error| panic!("{path}: {error:?}"))
    }

    /// The same, where the other side may be gone.
    pub(crate) async fn try_send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, reqwest::Error> {
        let url = if path.starts_with('/') { format!("{}{path}", self.url) } else { path.into() };
        let mut request = self.client.request(method, url);
        if let Some(credential) = &self.credential {
            request = request.bearer_auth(credential);
        }
        if let Some(key) = &self.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.clone()));
        Ok(Answer { status, headers, body, text })
    }
}
