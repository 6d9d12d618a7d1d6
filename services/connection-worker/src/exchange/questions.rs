//! What an upstream asked in one exchange and was not answered yet.
//!
//! What always holds: the client sees names of ours, unique within the exchange; what is left when
//! the exchange ends is refused.

use std::collections::HashMap;

use bytes::Bytes;
use mcp::client::ServerRequest;
use mcp::splice;
use proto::internal::v1::ServerRequest as Question;

use crate::connection::Asked;

/// Most questions of one exchange that wait for an answer.
const MAX_OPEN: usize = 64;

/// Open questions by the names that the client knows. `A` is what an answer is given to.
pub(super) struct Questions<A = Asked> {
    last: u64,
    open: HashMap<String, A>,
}

/// Something that asks.
pub(super) trait Asking {
    /// What is asked.
    fn asked(&self) -> Option<&ServerRequest>;
}

impl Asking for Asked {
    fn asked(&self) -> Option<&ServerRequest> {
        self.request()
    }
}

impl<A: Asking> Questions<A> {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { last: 0, open: HashMap::new() }
    }

    /// Notes a question, and says how the client is asked.
    ///
    /// # Errors
    /// The question, where there are too many.
    pub(super) fn note(&mut self, asked: A) -> Result<Question, A> {
        let Some(request) = asked.asked().filter(|_| self.open.len() < MAX_OPEN) else {
            return Err(asked);
        };
        self.last += 1;
        let question = Question {
            id: self.last.to_string(),
            method: request.method.clone(),
            params: request.params.clone().unwrap_or_default(),
        };
        self.open.insert(question.id.clone(), asked);
        Ok(question)
    }

    /// The question that is answered, if it is open.
    pub(super) fn take(&mut self, name: &str) -> Option<A> {
        self.open.remove(name)
    }

    /// The upstream takes a question back: its name, the parameters of the notification in the
    /// client's words, and the question; `None` if it is not from here.
    pub(super) fn take_back(&mut self, params: &Bytes) -> Option<(String, Bytes, A)> {
        let span = splice::find(params, &["requestId"]).ok()??;
        let id = &params[span.clone()];
        let of_this = |asked: &A| asked.asked().is_some_and(|request| request.id.raw() == id);
        let name = self.open.iter().find(|(_, asked)| of_this(asked))?.0.clone();
        let asked = self.open.remove(&name)?;
        let params = splice::replace_span(params, span, &splice::quote(&name));
        Some((name, params, asked))
    }
}

#[cfg(test)]
mod tests {
    use mcp::Id;

    use super::*;

    impl Asking for ServerRequest {
        fn asked(&self) -> Option<&ServerRequest> {
            Some(self)
        }
    }

    fn request(id: Id) -> ServerRequest {
        ServerRequest { id, method: "roots/list".to_owned(), params: None }
    }

    #[test]
    fn questions_get_names_and_are_answered_once() {
        let mut questions = Questions::new();
        let first = questions.note(request(Id::number(7))).unwrap();
        let second = questions.note(request(Id::string("7"))).unwrap();
        assert_eq!((first.id.as_str(), second.id.as_str()), ("1", "2"));
        assert_eq!(first.method, "roots/list");
        assert_eq!(questions.take("1").unwrap().id, Id::number(7));
        assert!(questions.take("1").is_none());
    }

    #[test]
    fn one_that_is_taken_back_is_named_as_the_client_knows_it() {
        let mut questions = Questions::new();
        questions.note(request(Id::number(7))).unwrap();
        questions.note(request(Id::string("7"))).unwrap();
        let params = Bytes::from_static(br#"{"reason":"late", "requestId": "7" }"#);
        let (name, told, asked) = questions.take_back(&params).unwrap();
        assert_eq!(name, "2");
        assert_eq!(&told[..], br#"{"reason":"late", "requestId": "2" }"#);
        assert_eq!(asked.id, Id::string("7"));
        assert!(questions.take_back(&params).is_none());
    }

    #[test]
    fn there_is_a_limit() {
        let mut questions = Questions::new();
        for number in 0..MAX_OPEN as u64 {
            questions.note(request(Id::number(number))).unwrap();
        }
        assert!(questions.note(request(Id::number(999))).is_err());
    }
}
