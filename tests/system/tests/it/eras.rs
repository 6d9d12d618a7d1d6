//! Clients of both eras of the protocol, and what must survive on their way.

mod abandoned;
mod bytes;
mod fleet;
mod matrix;
mod peer;
mod resumption;
mod scenarios;
