//! Secrets that are looked for everywhere, in every form in which they may be written.

mod places;
mod scanner;
