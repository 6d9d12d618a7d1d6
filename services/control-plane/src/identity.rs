//! Who somebody is: passwords, session tokens and API keys.
//!
//! What always holds: a password is kept as an argon2id verifier in the secret store; a key as
//! its SHA-256; a session token is signed with Ed25519 and nothing else is accepted.

pub mod api_key;
mod authenticate;
mod password;
mod token;

pub use authenticate::{authenticate_api_key, authenticate_session};
pub use password::{LoginLimiter, PasswordHashing};
pub use token::{Claims, TokenAuthority};
