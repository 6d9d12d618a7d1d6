//! Real clients in front, real servers behind: the reference server over each transport, another
//! one from PyPI, and the fixture, which counts.

mod bridge;
mod concurrency;
mod fleet;
mod inspector;
mod sdk;
