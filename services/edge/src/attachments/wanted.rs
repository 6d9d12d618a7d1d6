//! What an attachment told its worker to want, and who waits for it.

use std::collections::{HashMap, HashSet};
use std::mem;

use backplane::exchange::Answer;
use bytes::Bytes;
use mcp::LogLevel;
use proto::internal::v1::{Interest, InterestDone, interest};
use tokio::sync::oneshot;

type Waiter = oneshot::Sender<Answer>;

/// Most changes that the worker was told and did not answer.
const MAX_UNDER_WAY: usize = 1_024;

/// A resource that the worker was told to subscribe to.
enum Subscription {
    /// It was not answered yet: those wait for it.
    Asked(Vec<Waiter>),
    Active,
}

/// What becomes of an interest.
enum About {
    Subscribe(String),
    Unsubscribe(Option<Waiter>),
    Level(Vec<oneshot::Sender<()>>),
}

/// What was told over one exchange. It begins empty with each.
#[derive(Default)]
pub(super) struct Wanted {
    last_id: u64,
    level: Option<LogLevel>,
    subscriptions: HashMap<String, Subscription>,
    under_way: HashMap<u64, About>,
    /// Resources to be told of when there is room.
    left_out: Vec<String>,
}

impl Wanted {
    /// Whether the worker may be told one more change.
    pub(super) fn has_room(&self) -> bool {
        self.under_way.len() < MAX_UNDER_WAY
    }

    /// All of these are wanted, and those that were not told of are to be.
    pub(super) fn leave_out(&mut self, wanted: HashSet<String>) {
        let new = wanted.into_iter().filter(|uri| !self.subscriptions.contains_key(uri));
        self.left_out = new.collect();
    }

    /// One of them, if there is room.
    pub(super) fn next_left_out(&mut self) -> Option<String> {
        if self.has_room() { self.left_out.pop() } else { None }
    }

    fn interest(&mut self, change: interest::Change, about: About) -> Interest {
        self.last_id += 1;
        self.under_way.insert(self.last_id, about);
        Interest { id: self.last_id, change: Some(change) }
    }

    /// Wants messages from `level` on. `None` leaves it as it is: servers cannot be told to go
    /// back to what they said before.
    pub(super) fn level(
        &mut self,
        level: Option<LogLevel>,
        done: Option<oneshot::Sender<()>>,
    ) -> Option<Interest> {
        // Without room it is told with the next change.
        let news = level.filter(|level| self.level != Some(*level) && self.has_room());
        let Some(wanted) = news else {
            // What is told last is done last.
            let last = self.under_way.values_mut().find_map(|about| match about {
                About::Level(waiters) => Some(waiters),
                _ => None,
            });
            match (last, done) {
                (Some(waiters), Some(done)) => waiters.push(done),
                (None, Some(done)) => drop(done.send(())),
                (_, None) => {}
            }
            return None;
        };
        self.level = Some(wanted);
        let change = interest::Change::LogLevel(wanted.as_str().to_owned());
        Some(self.interest(change, About::Level(done.into_iter().collect())))
    }

    /// Wants updates of a resource.
    pub(super) fn subscribe(&mut self, uri: &str, done: Option<Waiter>) -> Option<Interest> {
        match self.subscriptions.get_mut(uri) {
            Some(Subscription::Active) => {
                answer(done, Ok(done_result()));
                return None;
            }
            Some(Subscription::Asked(waiters)) => {
                waiters.extend(done);
                return None;
            }
            None => {}
        }
        let asked = Subscription::Asked(done.into_iter().collect());
        self.subscriptions.insert(uri.to_owned(), asked);
        let change = interest::Change::Subscribe(uri.to_owned());
        Some(self.interest(change, About::Subscribe(uri.to_owned())))
    }

    /// Wants no updates of a resource any more.
    pub(super) fn unsubscribe(&mut self, uri: &str, done: Option<Waiter>) -> Option<Interest> {
        if self.subscriptions.remove(uri).is_none() {
            answer(done, Ok(done_result()));
            return None;
        }
        let change = interest::Change::Unsubscribe(uri.to_owned());
        Some(self.interest(change, About::Unsubscribe(done)))
    }

    /// The resources that nobody wants any more, as many as there is room for.
    pub(super) fn unwanted(&self, wanted: &HashSet<String>) -> Vec<String> {
        let is_active = |subscription: &Subscription| matches!(subscription, Subscription::Active);
        let active = self.subscriptions.iter().filter(|(_, asked)| is_active(asked));
        let unwanted = active.filter(|(uri, _)| !wanted.contains(*uri));
        let room = MAX_UNDER_WAY.saturating_sub(self.under_way.len());
        unwanted.map(|(uri, _)| uri.clone()).take(room).collect()
    }

    /// Tells those who wait that the worker saw to it.
    pub(super) fn done(&mut self, done: &InterestDone) {
        let outcome: Answer = match done.error.is_empty() {
            true => Ok(done_result()),
            false => Err(done.error.clone()),
        };
        match self.under_way.remove(&done.id) {
            Some(About::Subscribe(uri)) => {
                let waiters = match (&outcome, self.subscriptions.get_mut(&uri)) {
                    (Ok(_), Some(known)) => Some(mem::replace(known, Subscription::Active)),
                    // It was given up before it was done.
                    (Ok(_), None) => None,
                    (Err(_), _) => self.subscriptions.remove(&uri),
                };
                if let Some(Subscription::Asked(waiters)) = waiters {
                    for waiter in waiters {
                        let _ = waiter.send(outcome.clone());
                    }
                }
            }
            Some(About::Unsubscribe(waiter)) => answer(waiter, outcome),
            Some(About::Level(waiters)) => {
                for waiter in waiters {
                    let _ = waiter.send(());
                }
            }
            None => {}
        }
    }
}

fn done_result() -> Bytes {
    Bytes::from_static(mcp::server::EMPTY_RESULT)
}

fn answer(waiter: Option<Waiter>, answer: Answer) {
    if let Some(waiter) = waiter {
        let _ = waiter.send(answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(interest: &Interest, error: &'static str) -> InterestDone {
        InterestDone { id: interest.id, error: Bytes::from_static(error.as_bytes()) }
    }

    #[test]
    fn a_resource_is_subscribed_to_once_and_all_who_wait_are_told() {
        let mut wanted = Wanted::default();
        let (one, mut first) = oneshot::channel();
        let (two, mut second) = oneshot::channel();
        let asked = wanted.subscribe("a://1", Some(one)).unwrap();
        assert_eq!(asked.change, Some(interest::Change::Subscribe("a://1".to_owned())));
        assert_eq!(wanted.subscribe("a://1", Some(two)), None);
        assert!(first.try_recv().is_err());
        wanted.done(&done(&asked, ""));
        assert!(first.try_recv().unwrap().is_ok());
        assert!(second.try_recv().unwrap().is_ok());
        let (three, mut third) = oneshot::channel();
        assert_eq!(wanted.subscribe("a://1", Some(three)), None);
        assert!(third.try_recv().unwrap().is_ok());
        assert_eq!(wanted.unwanted(&HashSet::new()), ["a://1"]);
        let ended = wanted.unsubscribe("a://1", None).unwrap();
        assert_eq!(ended.change, Some(interest::Change::Unsubscribe("a://1".to_owned())));
        assert_eq!(wanted.unsubscribe("a://1", None), None);
    }

    #[test]
    fn a_refused_subscription_is_none_and_may_be_asked_for_again() {
        let mut wanted = Wanted::default();
        let (one, mut first) = oneshot::channel();
        let asked = wanted.subscribe("a://1", Some(one)).unwrap();
        wanted.done(&done(&asked, r#"{"code":-32002}"#));
        assert_eq!(first.try_recv().unwrap(), Err(Bytes::from_static(br#"{"code":-32002}"#)));
        assert!(wanted.subscribe("a://1", None).is_some());
    }

    #[test]
    fn what_was_given_up_before_it_was_done_is_subscribed_to_anew() {
        let mut wanted = Wanted::default();
        let asked = wanted.subscribe("a://1", None).unwrap();
        let given_up = wanted.unsubscribe("a://1", None).unwrap();
        wanted.done(&done(&asked, ""));
        wanted.done(&done(&given_up, ""));
        assert!(wanted.subscribe("a://1", None).is_some());
    }

    #[test]
    fn a_worker_that_does_not_answer_is_not_told_without_end() {
        let mut wanted = Wanted::default();
        let uris = || (0..2 * MAX_UNDER_WAY).map(|number| format!("a://{number}"));
        wanted.leave_out(uris().collect());
        let mut told = Vec::new();
        while let Some(uri) = wanted.next_left_out() {
            told.extend(wanted.subscribe(&uri, None));
        }
        assert_eq!(told.len(), MAX_UNDER_WAY);
        assert!(!wanted.has_room());
        assert_eq!(wanted.level(Some(LogLevel::Info), None), None);
        assert_eq!(wanted.unwanted(&HashSet::new()), Vec::<String>::new());
        // Each answer makes room for one more.
        while let Some(interest) = told.pop() {
            wanted.done(&done(&interest, ""));
            while let Some(uri) = wanted.next_left_out() {
                told.extend(wanted.subscribe(&uri, None));
            }
        }
        assert!(uris().all(|uri| wanted.subscribe(&uri, None).is_none()));
        assert!(wanted.level(Some(LogLevel::Info), None).is_some());
    }

    #[test]
    fn a_level_is_told_when_it_is_another() {
        let mut wanted = Wanted::default();
        let (one, mut first) = oneshot::channel();
        let (two, mut second) = oneshot::channel();
        assert_eq!(wanted.level(None, None), None);
        let asked = wanted.level(Some(LogLevel::Info), Some(one)).unwrap();
        assert_eq!(wanted.level(Some(LogLevel::Info), Some(two)), None);
        assert!(first.try_recv().is_err());
        wanted.done(&done(&asked, r#"{"code":-32601}"#));
        assert!(first.try_recv().is_ok());
        assert!(second.try_recv().is_ok());
        assert!(wanted.level(Some(LogLevel::Debug), None).is_some());
    }
}
