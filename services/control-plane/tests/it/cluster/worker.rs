//! What a worker says about leases, one message at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::{Bus, BusError, InProcessBus};
use bytes::Bytes;
use prost::Message as _;
use proto::internal::v1::{HeldLease, LeaseRelease, LeaseReply, LeaseRequest};

pub(crate) struct Worker {
    bus: InProcessBus,
    pub(crate) name: String,
    pub(crate) labels: Vec<String>,
    pub(crate) held: BTreeMap<String, u64>,
    pub(crate) prepared: Vec<String>,
    pub(crate) draining: bool,
}

impl Worker {
    pub(crate) fn new(bus: &InProcessBus, name: &str) -> Self {
        Self {
            bus: bus.another_instance(),
            name: name.to_owned(),
            labels: vec![],
            held: BTreeMap::new(),
            prepared: vec![],
            draining: false,
        }
    }

    /// Asks once, and takes what is granted.
    pub(crate) async fn ask(&mut self) -> LeaseReply {
        self.try_ask().await.unwrap()
    }

    pub(crate) async fn try_ask(&mut self) -> Result<LeaseReply, BusError> {
        let held = self.held.iter();
        let request = LeaseRequest {
            worker: self.name.clone(),
            held: held
                .map(|(server, epoch)| HeldLease { server: server.clone(), epoch: *epoch })
                .collect(),
            prepared: self.prepared.clone(),
            labels: self.labels.clone(),
            draining: self.draining,
            ..LeaseRequest::default()
        };
        let payload = Bytes::from(request.encode_to_vec());
        let subject = backplane::subject::lease();
        let answer = self.bus.request(&subject, payload, Duration::from_secs(2)).await?;
        let reply = LeaseReply::decode(answer).unwrap();
        self.held = reply.owned.iter().map(|held| (held.server.clone(), held.epoch)).collect();
        Ok(reply)
    }

    /// Gives servers up and says so.
    pub(crate) async fn release(&mut self, servers: &[String]) {
        let released = servers
            .iter()
            .filter_map(|server| {
                Some(HeldLease { server: server.clone(), epoch: self.held.remove(server)? })
            })
            .collect();
        let release = LeaseRelease { worker: self.name.clone(), released };
        let payload = Bytes::from(release.encode_to_vec());
        let subject = backplane::subject::lease_release();
        self.bus.request(&subject, payload, Duration::from_secs(2)).await.unwrap();
    }
}
