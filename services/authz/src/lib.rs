//! Who may do what in a project: the casbin model, its rules, and the decision made from them.
//!
//! The rules are text, in `rules/`, embedded when this crate is built. [`Authorizer::new`] loads
//! them into casbin's enforcer once and asks it for every role and every [`Action`]; a decision
//! then reads that table and costs nothing. There is no rule in code: to let a role do something
//! else, edit `rules/policy.csv` and accept the new matrix in the test.
//!
//! What always holds: what no rule allows is denied; this crate keeps no state besides the rules.
//! Who has which role in which project is in the events, not here: so no casbin adapter to a
//! database is used, since a second record of memberships could contradict the log.

mod action;
mod authorizer;

pub use action::{Action, UnknownAction};
pub use authorizer::{Authorizer, RulesError};
