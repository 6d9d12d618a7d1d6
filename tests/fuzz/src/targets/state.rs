//! The state that a client carries for us.

use std::sync::LazyLock;

use mcp::server::stateless::{Binding, SealedState, StateKey, request_digest};

use crate::pieces::line;

static KEY: LazyLock<StateKey> = LazyLock::new(|| StateKey::from_bytes(&[7; 32]));

/// A line with a state as a client might bring it, then the parameters that it brings it with. No
/// state opens that was not made here, and one that was opens until it is changed.
pub fn request_state(data: &[u8]) {
    let (text, params) = line(data);
    let params = bytes::Bytes::copy_from_slice(params);
    let digest = request_digest(&params);
    let binding = Binding { principal: "key", scope: "project", method: "tools/call", digest };
    assert!(KEY.open(&binding, &text, 0).is_err(), "a foreign state was opened");
    let state = SealedState::Upstream { server: "s".to_owned(), state: text.clone() };
    let sealed = KEY.seal(&binding, &state, 1);
    assert_eq!(KEY.open(&binding, &sealed, 0), Ok(state));
    assert!(KEY.open(&binding, &sealed, 1).is_err());
    assert!(KEY.open(&binding, &format!("{sealed}{text}x"), 0).is_err());
    assert!(KEY.open(&binding, sealed.get(1..).unwrap_or_default(), 0).is_err());
}
