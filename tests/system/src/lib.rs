//! The whole system, as its users meet it: the binary `mcp-orch` in a data directory of its own,
//! real MCP servers behind it and real MCP clients in front of it.
//!
//! All of it is in `tests/it`; the clients that are not written in Rust are in `clients`, and are
//! driven by lines of JSON. What always holds: a test leaves no process behind, fails with the
//! command that installs what it misses, and waits for conditions, never for time.
