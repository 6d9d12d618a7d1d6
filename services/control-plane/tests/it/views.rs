//! The views are a fold of the log: they catch up, are rebuilt, and lies in them are found.

use std::sync::Arc;

use control_plane::use_case::{CreateProject, create_project};
use control_plane::verify::{DifferenceKind, VerifyReport, verify};
use control_plane::{Ctx, Principal};
use domain::{ErrorCode, EventId, StreamId, StreamKind};
use event_store::{Append, EventStore as _, Expected, NewEvent, SqliteConfig, SqliteEventStore};
use proto::control::v1 as pb;
use runtime::health::Health;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use uuid::Uuid;

use crate::support::World;

async fn filled() -> (World, crate::support::Owner) {
    let (world, owner) = World::bootstrapped().await;
    world.member(&owner, "dave", pb::Role::Developer).await;
    for name in ["a", "b", "c"] {
        owner.caller.register(&owner.project, name).await;
    }
    (world, owner)
}

async fn verified(world: &World) -> VerifyReport {
    verify(Arc::new(world.store.clone()), &world.views_path()).await.unwrap()
}

async fn server_names(world: &World, owner: &crate::support::Owner) -> Vec<String> {
    let password = secrecy::ExposeSecret::expose_secret(&owner.first.password);
    let caller = world.log_in(&owner.first.email, password).await;
    let request =
        pb::ListServersRequest { project_id: owner.project.to_string(), ..Default::default() };
    let page = caller.servers().list_servers(request).await.unwrap().into_inner();
    page.servers.into_iter().map(|server| server.name).collect()
}

#[tokio::test]
async fn views_that_are_gone_are_rebuilt_from_the_log() {
    let (world, owner) = filled().await;
    let world = world
        .restart_after(async |folder| {
            for suffix in ["", "-wal", "-shm"] {
                std::fs::remove_file(folder.join(format!("views.db{suffix}"))).ok();
            }
        })
        .await;
    assert_eq!(server_names(&world, &owner).await, ["a", "b", "c"]);
    assert!(verified(&world).await.is_clean());
}

#[tokio::test]
async fn views_of_another_schema_are_rebuilt() {
    let (world, owner) = filled().await;
    let world = world
        .restart_after(async |folder| {
            alter(&folder.join("views.db"), "UPDATE _sqlx_migrations SET checksum = x'00'").await;
            alter(&folder.join("views.db"), "DELETE FROM server").await;
        })
        .await;
    assert_eq!(server_names(&world, &owner).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn what_was_appended_while_no_projector_ran_is_taken_in_by_the_next_start() {
    let (world, owner) = filled().await;
    let world = world
        .restart_after(async |folder| {
            let clock: event_store::Clock =
                Arc::new(|| domain::Timestamp::from_micros(1_900_000_000_000_000));
            let config = SqliteConfig::new(folder.join("events.db"), clock);
            let store = SqliteEventStore::open(config).await.unwrap();
            let event = domain::Event::Project(domain::event::ProjectEvent::Changed {
                name: Some("Renamed meanwhile".into()),
                description: None,
                settings: None,
            });
            let stream = StreamId::new(owner.tenant, StreamKind::Project, &owner.project);
            store.append(append(stream, &events::encode(&event))).await.unwrap();
            store.close().await;
        })
        .await;
    let password = secrecy::ExposeSecret::expose_secret(&owner.first.password);
    let caller = world.log_in(&owner.first.email, password).await;
    let get = pb::GetProjectRequest { project_id: owner.project.to_string() };
    let project = caller.projects().get_project(get).await.unwrap().into_inner();
    assert_eq!(project.project.unwrap().name, "Renamed meanwhile");
    assert!(verified(&world).await.is_clean());
}

fn append(stream: StreamId, encoded: &events::Encoded) -> Append {
    let event = NewEvent {
        id: EventId::from_uuid(Uuid::now_v7()),
        event_type: encoded.event_type.into(),
        schema_version: encoded.schema_version,
        payload: encoded.payload.clone(),
        occurred_at: domain::Timestamp::default(),
        actor_type: "system".into(),
        actor_id: String::new(),
        causation_id: None,
        correlation_id: None,
        body: None,
    };
    Append::new(stream, Expected::Any, vec![event])
}

async fn alter(path: &std::path::Path, sql: &str) {
    let url = format!("sqlite://{}", path.display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let changed = sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await;
    assert!(changed.unwrap().rows_affected() > 0, "{sql}");
    connection.close().await.unwrap();
}

#[tokio::test]
async fn verify_finds_each_row_that_was_altered_by_hand() {
    let (world, owner) = filled().await;
    let clean = verified(&world).await;
    assert!(clean.is_clean(), "{clean:?}");
    assert_eq!(clean.events, clean.position);
    assert_eq!(clean.tables.iter().find(|table| table.table == "server").unwrap().rows, 3);
    assert!(!world.folder.path().join("verify.tmp").exists());

    let lies = [
        ("UPDATE server SET name = 'z' WHERE name = 'a'", "server", "altered"),
        ("DELETE FROM member WHERE role = 'developer'", "member", "missing"),
        ("UPDATE api_key SET revoked = 1", "api_key", "altered"),
        ("INSERT INTO disabled_tool VALUES ('x', 'y')", "disabled_tool", "extra"),
        ("UPDATE audit_entry SET outcome = 'denied' WHERE position = 1", "audit_entry", "altered"),
    ];
    for (sql, ..) in lies {
        alter(&world.views_path(), sql).await;
    }
    let report = verified(&world).await;
    assert!(!report.is_clean());
    assert!(report.log_faults.is_empty());
    for (sql, name, kind) in lies {
        let table = report.tables.iter().find(|table| table.table == name).unwrap();
        assert_eq!(table.differences.len(), 1, "{sql}");
        let found = match &table.differences[0].kind {
            DifferenceKind::Altered(columns) => {
                assert_eq!(columns.len(), 1, "{columns:?}");
                "altered"
            }
            DifferenceKind::Missing => "missing",
            DifferenceKind::Extra => "extra",
        };
        assert_eq!(found, kind, "{sql}");
    }
    let others = report.tables.iter().filter(|table| !table.differences.is_empty()).count();
    assert_eq!(others, lies.len());
    drop(owner);
}

#[tokio::test]
async fn an_event_that_cannot_be_taken_in_stops_the_views_loudly() {
    let (world, owner) = filled().await;
    let stream = StreamId::new(owner.tenant, StreamKind::Project, &owner.project);
    let unknown = events::Encoded {
        event_type: "project.from_the_future",
        schema_version: 1,
        payload: bytes::Bytes::from_static(b"{}"),
    };
    world.store.append(append(stream, &unknown)).await.unwrap();
    let ctx =
        Ctx { principal: Principal::User(owner.caller.user), ..world.app.system(owner.tenant) };
    let command = CreateProject {
        name: "x".into(),
        description: String::new(),
        id: None,
        idempotency_key: None,
    };
    let refusal = create_project(&world.app, &ctx, command).await.unwrap_err();
    assert_eq!(refusal.code, ErrorCode::Unavailable);
    let parts = world.health.parts();
    assert!(matches!(parts["control-plane views"], Health::Down(_)), "{parts:?}");
    assert!(world.app.views().progress().halted);
    // Reads go on with what is known.
    let get = pb::GetProjectRequest { project_id: owner.project.to_string() };
    assert!(owner.caller.projects().get_project(get).await.is_ok());
}
