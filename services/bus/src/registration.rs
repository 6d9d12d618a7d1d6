//! What takes somebody off the bus again when dropped.

use std::fmt;

/// Runs an adapter's clean-up once, on drop.
pub(crate) struct Registration(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Registration {
    pub(crate) fn new(withdraw: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(withdraw)))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(withdraw) = self.0.take() {
            withdraw();
        }
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registration")
    }
}
