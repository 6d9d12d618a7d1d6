//! Who grants leases in the control-plane's place: it says what it is told to say.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use backplane::subject;
use bus::Bus;
use domain::ServerId;
use prost::Message;
use proto::internal::v1::{HeldLease, LeaseRelease, LeaseReply, LeaseRequest};

#[derive(Clone, Default)]
pub(crate) struct Authority(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    replies: BTreeMap<String, LeaseReply>,
    requests: BTreeMap<String, LeaseRequest>,
    released: Vec<HeldLease>,
    is_silent: bool,
}

impl Authority {
    pub(crate) async fn serve(bus: &dyn Bus) -> Self {
        let authority = Self::default();
        let mut leases = bus.serve(subject::lease().into(), 64).await.unwrap();
        let mut releases = bus.serve(subject::lease_release().into(), 64).await.unwrap();
        let granting = authority.clone();
        tokio::spawn(async move {
            while let Some(incoming) = leases.accept().await {
                let request = LeaseRequest::decode(incoming.first).unwrap();
                let Some(reply) = granting.answer(request) else { continue };
                drop(incoming.exchange.reply(reply.encode_to_vec().into()).await);
                incoming.exchange.finish();
            }
        });
        let hearing = authority.clone();
        tokio::spawn(async move {
            while let Some(incoming) = releases.accept().await {
                let release = LeaseRelease::decode(incoming.first).unwrap();
                hearing.hear(release);
                drop(incoming.exchange.reply(Vec::new().into()).await);
                incoming.exchange.finish();
            }
        });
        authority
    }

    fn answer(&self, request: LeaseRequest) -> Option<LeaseReply> {
        let mut state = self.0.lock().unwrap();
        let nothing = LeaseReply { valid_ms: 3_000, ..LeaseReply::default() };
        let reply = state.replies.get(&request.worker).cloned().unwrap_or(nothing);
        state.requests.insert(request.worker.clone(), request);
        (!state.is_silent).then_some(reply)
    }

    /// What was released is granted no more.
    fn hear(&self, release: LeaseRelease) {
        let mut state = self.0.lock().unwrap();
        if let Some(reply) = state.replies.get_mut(&release.worker) {
            reply.owned.retain(|held| !release.released.contains(held));
        }
        state.released.extend(release.released);
    }

    /// From now on a worker owns these, under these epochs.
    pub(crate) fn grant(&self, worker: &str, servers: &[(ServerId, u64)]) {
        self.say(worker, servers, |_| {});
    }

    pub(crate) fn say(
        &self,
        worker: &str,
        servers: &[(ServerId, u64)],
        change: impl FnOnce(&mut LeaseReply),
    ) {
        let held = |(server, epoch): &(ServerId, u64)| HeldLease {
            server: server.to_string(),
            epoch: *epoch,
        };
        let owned = servers.iter().map(held).collect();
        let mut reply = LeaseReply { owned, valid_ms: 3_000, ..LeaseReply::default() };
        change(&mut reply);
        self.0.lock().unwrap().replies.insert(worker.to_owned(), reply);
    }

    /// From now on nobody is answered, as if there was no control-plane.
    pub(crate) fn fall_silent(&self) {
        self.0.lock().unwrap().is_silent = true;
    }

    /// What a worker asked for last.
    pub(crate) fn last(&self, worker: &str) -> LeaseRequest {
        self.0.lock().unwrap().requests.get(worker).cloned().unwrap_or_default()
    }

    pub(crate) fn has_released(&self, server: ServerId, epoch: u64) -> bool {
        let released = HeldLease { server: server.to_string(), epoch };
        self.0.lock().unwrap().released.contains(&released)
    }
}
