//! The contracts of `proto/`, generated when this crate is built.
//!
//! [`control`] is public; [`events`] is the stored form, with its JSON mapping; [`internal`] is
//! what the services say to each other.

/// Public: what the console, the command line and SDKs use.
pub mod control {
    /// Version 1.
    #[expect(
        missing_docs,
        unused_qualifications,
        clippy::clone_on_ref_ptr,
        clippy::too_many_lines,
        reason = "generated from proto/"
    )]
    pub mod v1 {
        tonic::include_proto!("mcp_orch.control.v1");
    }
}

/// Stored: the payloads of events.
pub mod events {
    /// Version 1.
    #[expect(
        missing_docs,
        unused_qualifications,
        clippy::too_many_lines,
        reason = "generated from proto/"
    )]
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/mcp_orch.events.v1.rs"));
        include!(concat!(env!("OUT_DIR"), "/mcp_orch.events.v1.serde.rs"));
    }
}

/// Internal: between services of version N and N-1.
pub mod internal {
    /// Version 1.
    #[expect(missing_docs, reason = "generated from proto/")]
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/mcp_orch.internal.v1.rs"));
    }
}

/// All descriptors, encoded, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
