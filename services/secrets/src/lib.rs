//! Where secret values live: put, resolve, rotate and delete, by reference.
//!
//! What always holds:
//! - A value leaves this crate only through [`SecretValue::expose`]; `Debug` of every type here
//!   shows no value, and there is no `Display` or `Serialize` of one.
//! - Everybody else holds a [`SecretRef`]: tenant, path and version, which is safe in events,
//!   logs and answers.
//! - A version is written once. Rotating a secret is a [`SecretStore::put`] of the next version;
//!   a number is never used twice, not even after [`SecretStore::delete`].
//! - A tenant's path never resolves to another tenant's value.
//!
//! Adapters: [`LocalStore`] (sealed files beside the data), [`VaultStore`] (a server with Vault's
//! API) and [`MemoryStore`] (for tests of pure logic). A new adapter implements [`SecretStore`]
//! and passes the contract suite. [`migrate`] moves what is local to Vault.

mod local;
mod memory;
mod migration;
mod path;
mod store;
mod value;
mod vault;

pub use local::{ListError, LocalStore, OpenError};
pub use memory::MemoryStore;
pub use migration::{MigrateError, Report, migrate};
pub use path::{InvalidSecretPath, SecretPath, SecretRef};
pub use store::{MAX_VERSIONS, SecretError, SecretStore};
pub use value::{NotText, SecretValue};
pub use vault::{Credential, TransitConfig, VaultConfig, VaultLogin, VaultStanding, VaultStore};
