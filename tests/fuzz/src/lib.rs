//! What must hold of the wire whatever bytes arrive.
//!
//! A target is a function from bytes to nothing, which panics where a rule is broken. Each runs in
//! two ways: as a binary under libFuzzer (`cargo xtask fuzz`, or `cargo fuzz run TARGET --fuzz-dir
//! tests/fuzz`), and over its corpus and seeded mutations of it as an ordinary test, the same on
//! every machine. An input that broke a rule goes into `corpus/TARGET`, and stays.

pub mod mutation;
mod pieces;
pub mod targets;

/// A target and its name, which is also that of its corpus.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name.
    pub name: &'static str,
    /// Panics where an input breaks a rule.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: [Target; 12] = [
    Target { name: "batch", run: targets::batch },
    Target { name: "catalogue", run: targets::catalogue },
    Target { name: "envelope", run: targets::envelope },
    Target { name: "header_value", run: targets::header_value },
    Target { name: "naming", run: targets::naming },
    Target { name: "places", run: targets::places },
    Target { name: "request_state", run: targets::request_state },
    Target { name: "scan", run: targets::scan },
    Target { name: "splice", run: targets::splice },
    Target { name: "sse", run: targets::sse },
    Target { name: "stdio", run: targets::stdio },
    Target { name: "uri", run: targets::uri },
];
