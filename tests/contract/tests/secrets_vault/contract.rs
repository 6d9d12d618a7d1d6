//! The suite, with values as they are and with values sealed by transit.

use std::sync::Arc;

use secrets::SecretStore;

use super::Seat;

mod plain {
    use super::{Arc, Seat, SecretStore};

    contract::secret_store_contract!(async {
        let seat = Seat::new();
        (Arc::new(seat.store().await) as Arc<dyn SecretStore>, seat)
    });
}

mod transit {
    use super::{Arc, Seat, SecretStore};

    contract::secret_store_contract!(async {
        let seat = Seat::with_transit();
        (Arc::new(seat.store().await) as Arc<dyn SecretStore>, seat)
    });
}
