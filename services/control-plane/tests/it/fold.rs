//! Any sequence of commands: the views say what the fold of the log says, and every project
//! keeps an Owner.

use std::collections::BTreeSet;

use control_plane::use_case::{
    ApproveTool, Approving, CreateServer, DeleteServer, RemoveMember, SetMember, SetServerEnabled,
    SetToolEnabled, UpdateProject, UpdateServer, UserRef, approve_tool, create_server,
    delete_server, list_members, list_servers, remove_member, set_member, set_server_enabled,
    set_tool_enabled, update_project, update_server,
};
use control_plane::{Ctx, Paging, Principal};
use domain::connection::{CatalogueSummary, ToolDefinition};
use domain::event::ConnectionEvent;
use domain::project::ToolPinning;
use domain::{Event, Role, ServerId, StreamId, StreamKind, UserId};
use event_store::{Append, EventStore as _, Expected, Position, ReadFilter};
use events::Configuration;
use proptest::prelude::*;

use crate::replica::new_event;
use crate::support::{Owner, World, stdio};

#[derive(Clone, Debug)]
enum Step {
    Create(u8),
    Delete(u8),
    Rename(u8, u8),
    Enable(u8, bool),
    Tool(u8, u8, bool),
    Seen(u8, Vec<(u8, bool)>),
    Approve(u8, Option<u8>),
    Retention(u32),
    Pinning(ToolPinning),
    Member(u8, Role),
    Remove(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let role = prop_oneof![Just(Role::Owner), Just(Role::Developer), Just(Role::Reporter)];
    let tools = proptest::collection::vec((0..3_u8, any::<bool>()), 0..4);
    prop_oneof![
        (0..6_u8).prop_map(Step::Create),
        (0..6_u8).prop_map(Step::Delete),
        (0..6_u8, 0..6_u8).prop_map(|(from, to)| Step::Rename(from, to)),
        (0..6_u8, any::<bool>()).prop_map(|(server, on)| Step::Enable(server, on)),
        (0..6_u8, 0..3_u8, any::<bool>()).prop_map(|(s, tool, on)| Step::Tool(s, tool, on)),
        (0..6_u8, tools).prop_map(|(server, tools)| Step::Seen(server, tools)),
        (0..6_u8, proptest::option::of(0..3_u8)).prop_map(|(s, tool)| Step::Approve(s, tool)),
        (0..5_000_u32).prop_map(Step::Retention),
        proptest::sample::select(ToolPinning::ALL.as_slice()).prop_map(Step::Pinning),
        (0..3_u8, role).prop_map(|(user, role)| Step::Member(user, role)),
        (0..3_u8).prop_map(Step::Remove),
    ]
}

struct Story<'a> {
    world: &'a World,
    owner: &'a Owner,
    users: Vec<UserId>,
}

impl Story<'_> {
    fn ctx(&self) -> Ctx {
        Ctx { principal: Principal::System, ..self.world.app.system(self.owner.tenant) }
    }

    async fn named(&self, name: u8) -> ServerId {
        let paging = Paging::new(500, "").unwrap();
        let (app, project) = (&self.world.app, &self.owner.project);
        let page = list_servers(app, &self.ctx(), project, &paging).await.unwrap();
        let found = page.items.iter().find(|server| server.name == format!("s{name}"));
        found.map_or(ServerId::from_uuid(uuid::Uuid::from_u128(1)), |server| server.id)
    }

    /// Carries out a step. Refusals are part of the story.
    async fn tell(&self, step: &Step) {
        let (app, ctx) = (&self.world.app, &self.ctx());
        let project = self.owner.project.clone();
        let idempotency_key = None;
        match step.clone() {
            Step::Create(name) => {
                let spec = stdio(&format!("s{name}"));
                let command = CreateServer { project, spec, idempotency_key };
                create_server(app, ctx, command).await.ok();
            }
            Step::Delete(name) => {
                let server = self.named(name).await;
                let command = DeleteServer { project, server, idempotency_key };
                delete_server(app, ctx, command).await.ok();
            }
            Step::Rename(from, to) => {
                let server = self.named(from).await;
                let (spec, mask) = (stdio(&format!("s{to}")), vec!["name".into()]);
                let command = UpdateServer { project, server, spec, mask, idempotency_key };
                update_server(app, ctx, command).await.ok();
            }
            Step::Enable(name, enabled) => {
                let server = self.named(name).await;
                let command = SetServerEnabled { project, server, enabled, idempotency_key };
                set_server_enabled(app, ctx, command).await.ok();
            }
            Step::Tool(name, tool, enabled) => {
                let (server, tool) = (self.named(name).await, format!("t{tool}"));
                let command = SetToolEnabled { project, server, tool, enabled, idempotency_key };
                set_tool_enabled(app, ctx, command).await.ok();
            }
            Step::Seen(name, tools) => self.observe(self.named(name).await, &tools).await,
            Step::Approve(name, tool) => {
                let what = match tool {
                    Some(tool) => Approving::One { tool: format!("t{tool}"), hash: None },
                    None => Approving::AllChanged,
                };
                let server = self.named(name).await;
                let command = ApproveTool { project, server, what, idempotency_key };
                approve_tool(app, ctx, command).await.ok();
            }
            Step::Retention(days) => self.change(Some(days), None).await,
            Step::Pinning(pinning) => self.change(None, Some(pinning)).await,
            Step::Member(user, role) => {
                let user = UserRef::Id(self.users[usize::from(user)]);
                let command = SetMember { project, user, role, idempotency_key };
                set_member(app, ctx, command).await.ok();
            }
            Step::Remove(user) => {
                let user = self.users[usize::from(user)];
                let command = RemoveMember { project, user, idempotency_key };
                remove_member(app, ctx, command).await.ok();
            }
        }
    }

    async fn change(&self, body_retention_days: Option<u32>, tool_pinning: Option<ToolPinning>) {
        let command = UpdateProject {
            project: self.owner.project.clone(),
            name: None,
            description: None,
            audit_mode: None,
            naming: None,
            unified_enabled: None,
            body_retention_days,
            tool_pinning,
            retry_policy: None,
            idempotency_key: None,
        };
        update_project(&self.world.app, &self.ctx(), command).await.ok();
    }

    /// A worker saw tools, each with one of two definitions. The server may be gone.
    async fn observe(&self, server: ServerId, tools: &[(u8, bool)]) {
        let definitions = tools.iter().map(|(tool, other)| ToolDefinition {
            tool: format!("t{tool}"),
            hash: if *other { "b" } else { "a" }.repeat(64),
        });
        let project = self.owner.project.clone();
        let summary = CatalogueSummary { definitions: definitions.collect(), ..Default::default() };
        let event = Event::Connection(ConnectionEvent::CatalogueObserved { project, summary });
        let stream = StreamId::new(self.owner.tenant, StreamKind::Connection, server);
        let append = Append::new(stream, Expected::Any, vec![new_event(&event)]);
        let appended = self.world.store.append(append).await.unwrap();
        let position = self.world.store.wait_position(&appended).await.unwrap();
        self.world.app.views().reached(position).await.unwrap();
    }

    /// The fold of the whole log, by the aggregates' own rules.
    async fn fold(&self) -> Configuration {
        let mut fold = Configuration::default();
        let mut after = Position::START;
        loop {
            let page = self.world.store.read(after, &ReadFilter::configuration(), 500).await;
            let page = page.unwrap();
            if page.events.is_empty() {
                return fold;
            }
            for event in &page.events {
                let decoded =
                    events::decode(&event.event_type, event.schema_version, &event.payload);
                let stream = &event.stream;
                fold.apply(stream, &decoded.unwrap(), event.recorded_at);
            }
            after = page.next;
        }
    }

    async fn check(&self) {
        let (app, ctx, project) = (&self.world.app, self.ctx(), &self.owner.project);
        let fold = self.fold().await;
        let paging = Paging::new(500, "").unwrap();
        let servers = list_servers(app, &ctx, project, &paging).await.unwrap().items;
        let folded = fold.servers_of(project);
        assert_eq!(servers.len(), folded.len());
        for (view, entry) in servers.iter().zip(&folded) {
            assert_eq!(view.id, entry.id);
            assert_eq!(view.name, entry.server.name.as_str());
            assert_eq!(view.config, entry.server.config);
            assert_eq!(view.disabled, entry.server.disabled);
            assert!(view.disabled_tools.iter().eq(entry.server.disabled_tools.iter()));
            let seen = fold.connection(&entry.id).catalogue.clone().unwrap_or_default();
            let tools: BTreeSet<_> = seen.definitions.iter().map(|one| &one.tool).collect();
            let changed = tools.iter().filter(|tool| fold.definition_changed(&entry.id, tool));
            assert_eq!(view.changed_tools, u32::try_from(changed.count()).unwrap());
        }
        let entry = fold.project(project).unwrap();
        let members = list_members(app, &ctx, project, &paging).await.unwrap().items;
        let shown = members.iter().map(|member| (member.user, member.role));
        assert!(shown.eq(entry.project.members.iter().map(|(user, role)| (*user, *role))));
        assert!(members.iter().any(|member| member.role == Role::Owner));
        let shown = control_plane::use_case::get_project(app, &ctx, project).await.unwrap();
        assert_eq!(shown.settings, entry.project.settings);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn the_views_are_the_fold_of_the_log(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.unwrap().block_on(async {
            let (world, owner) = World::bootstrapped().await;
            let mut users = vec![owner.caller.user];
            for name in ["ann", "bob"] {
                users.push(world.person(&owner, name).await.user);
            }
            let story = Story { world: &world, owner: &owner, users };
            for step in &steps {
                story.tell(step).await;
            }
            story.check().await;
        });
    }
}
