//! What edges and workers hold: a snapshot, then every change as it happens.

use std::sync::Arc;

use backplane::{Replica, ReplicaHandle};
use bytes::Bytes;
use domain::connection::{CatalogueSummary, Observation, ToolDefinition};
use domain::event::{ConnectionEvent, ServerEvent};
use domain::{Event, EventId, StreamId, StreamKind};
use event_store::{Append, EventStore as _, Expected, NewEvent};
use prost::Message as _;
use proto::control::v1 as pb;
use proto::internal::v1::SnapshotFrame;
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use crate::support::World;

fn follow(world: &World) -> ReplicaHandle {
    let clock = world.clock.clone();
    let clock = Arc::new(move || clock.now());
    Replica::start(Arc::clone(&world.bus), "edge", clock, world.shutdown.clone())
}

/// Waits until the replica shows what `look` looks for.
async fn shows(replica: &ReplicaHandle, look: impl Fn(&ReplicaHandle) -> bool) {
    let mut changes = replica.changes();
    let seen = async {
        while !look(replica) {
            changes.next().await.unwrap();
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), seen).await.unwrap();
}

#[tokio::test]
async fn a_replica_gets_a_snapshot_and_then_every_change() {
    let (world, owner) = World::bootstrapped().await;
    let before = owner.caller.register(&owner.project, "before").await;
    let replica = follow(&world);
    replica.ready().await.unwrap();
    assert!(replica.read().server(&before.id.parse().unwrap()).is_some());
    assert!(replica.read().project(&owner.project).is_some());
    let hash = control_plane::identity::api_key::hash(owner.first.api_key.expose_secret());
    assert!(replica.read().key(&hash).is_some());

    let after = owner.caller.register(&owner.project, "after").await;
    let id = after.id.parse().unwrap();
    shows(&replica, |replica| replica.read().server(&id).is_some()).await;
    let delete = pb::DeleteServerRequest {
        project_id: owner.project.to_string(),
        server_id: before.id.clone(),
        ..Default::default()
    };
    owner.caller.servers().delete_server(delete).await.unwrap();
    let id = before.id.parse().unwrap();
    shows(&replica, |replica| replica.read().server(&id).is_none()).await;
}

#[tokio::test]
async fn a_snapshot_of_many_events_comes_in_frames_and_is_complete() {
    let (world, owner) = World::bootstrapped().await;
    let server = owner.caller.register(&owner.project, "a").await;
    let stream = StreamId::new(owner.tenant, StreamKind::Server, &server.id);
    for batch in 0..3 {
        let tools = (0..200).map(|index| {
            let tool = format!("t{batch}-{index}");
            new_event(&Event::Server(ServerEvent::ToolDisabled { tool }))
        });
        let append = Append::new(stream.clone(), Expected::Any, tools.collect());
        world.store.append(append).await.unwrap();
    }
    let replica = follow(&world);
    replica.ready().await.unwrap();
    let entry = replica.read().server(&server.id.parse().unwrap()).cloned().unwrap();
    assert_eq!(entry.server.disabled_tools.len(), 600);
}

#[tokio::test]
async fn a_snapshot_leaves_out_what_later_observations_replace_and_nothing_that_counts() {
    let (world, owner) = World::bootstrapped().await;
    let server = owner.caller.register(&owner.project, "a").await;
    let stream = StreamId::new(owner.tenant, StreamKind::Connection, &server.id);
    let project = &owner.project;
    let seen = |number: u32| {
        let hash = if number < 100 { "a" } else { "b" }.repeat(64);
        let tools = [ToolDefinition { tool: "read".to_owned(), hash }];
        let summary = CatalogueSummary {
            hash: number.to_string(),
            definitions: tools.into(),
            ..CatalogueSummary::default()
        };
        let observation = Observation { cause: number.to_string(), ..Observation::default() };
        [
            ConnectionEvent::CatalogueObserved { project: project.clone(), summary },
            ConnectionEvent::StateObserved { project: project.clone(), observation },
        ]
    };
    let observed: Vec<_> =
        (0..1_000).flat_map(seen).map(|event| new_event(&Event::Connection(event))).collect();
    for batch in observed.chunks(200) {
        let append = Append::new(stream.clone(), Expected::Any, batch.to_vec());
        world.store.append(append).await.unwrap();
    }

    let exchange = world.bus.open(&backplane::subject::snapshot(), Bytes::new()).await.unwrap();
    let (mut observations, mut whole) = (0, false);
    while let Some(frame) = exchange.next_frame().await {
        let frame = SnapshotFrame::decode(frame.unwrap()).unwrap();
        observations += frame.events.iter().filter(|event| event.kind == "connection").count();
        whole |= frame.last;
    }
    assert!(whole && observations == 3, "first sighting, last catalogue, last state");

    let replica = follow(&world);
    replica.ready().await.unwrap();
    let (configuration, id) = (replica.read(), server.id.parse().unwrap());
    let view = configuration.connection(&id);
    assert_eq!(view.observation.cause, "999");
    assert_eq!(view.catalogue.as_ref().unwrap().hash, "999");
    assert!(configuration.definition_changed(&id, "read"), "the first one is what counts");
}

pub(crate) fn new_event(event: &Event) -> NewEvent {
    let encoded = events::encode(event);
    NewEvent {
        id: EventId::from_uuid(Uuid::now_v7()),
        event_type: encoded.event_type.into(),
        schema_version: encoded.schema_version,
        payload: encoded.payload,
        occurred_at: domain::Timestamp::default(),
        actor_type: "system".into(),
        actor_id: String::new(),
        causation_id: None,
        correlation_id: None,
        body: None,
    }
}
