//! `given(events).when(command).then(events)`, for every aggregate.

use std::fmt::Debug;

use domain::{ErrorCode, Refusal};

/// An aggregate, as its two functions.
pub(crate) trait Aggregate {
    type State: Default + Clone + PartialEq + Debug;
    type Command: Clone + Debug;
    type Event: PartialEq + Debug;

    fn decide(state: &Self::State, command: Self::Command) -> Result<Vec<Self::Event>, Refusal>;
    fn evolve(state: Self::State, event: &Self::Event) -> Self::State;
}

/// The state after `events`.
pub(crate) fn fold<'a, A: Aggregate>(events: impl IntoIterator<Item = &'a A::Event>) -> A::State
where
    A::Event: 'a,
{
    events.into_iter().fold(A::State::default(), A::evolve)
}

/// What happened before.
pub(crate) struct Given<A: Aggregate>(A::State);

pub(crate) fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    Given(events.into_iter().fold(A::State::default(), |state, event| A::evolve(state, &event)))
}

impl<A: Aggregate> Given<A> {
    pub(crate) fn when(self, command: A::Command) -> When<A> {
        When(A::decide(&self.0, command))
    }
}

/// What a command came to.
pub(crate) struct When<A: Aggregate>(Result<Vec<A::Event>, Refusal>);

impl<A: Aggregate> When<A> {
    #[track_caller]
    pub(crate) fn then(self, expected: impl IntoIterator<Item = A::Event>) {
        assert_eq!(self.0, Ok(expected.into_iter().collect()));
    }

    #[track_caller]
    pub(crate) fn then_nothing(self) {
        self.then([]);
    }

    #[track_caller]
    pub(crate) fn then_refused(self, code: ErrorCode) {
        let refusal = self.0.expect_err("it should be refused");
        assert_eq!(refusal.code, code, "{refusal}");
        assert!(!refusal.message.is_empty(), "a refusal says what to do");
    }

    #[track_caller]
    pub(crate) fn then_invalid(self, field: &str) {
        let refusal = self.0.expect_err("it should be refused");
        assert_eq!(refusal.code, ErrorCode::InvalidArgument, "{refusal}");
        assert_eq!(refusal.field.as_deref(), Some(field), "{refusal}");
    }
}

/// Runs `commands` one after the other and returns the events they made and the state that was
/// kept along the way. Refused commands change nothing.
pub(crate) fn live<A: Aggregate>(
    commands: impl IntoIterator<Item = A::Command>,
    mut after_each: impl FnMut(&A::State),
) -> (Vec<A::Event>, A::State) {
    let (mut log, mut state) = (Vec::new(), A::State::default());
    for command in commands {
        for event in A::decide(&state, command).unwrap_or_default() {
            state = A::evolve(state, &event);
            log.push(event);
        }
        after_each(&state);
    }
    (log, state)
}
