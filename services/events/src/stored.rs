//! Stored messages of what edges and workers see, for those who send events inside messages of
//! their own: the journal's entries, and the frames of an exchange.

pub use crate::codec::{
    access_denied, call_finished, call_started, catalogue_observed, outcome, read_access_denied,
    read_call_finished, read_call_started, read_catalogue_observed, read_outcome,
    read_state_observed, state_observed,
};
