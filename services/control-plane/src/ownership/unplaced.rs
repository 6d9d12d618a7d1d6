//! Says of servers that no worker may run why that is, as their state: "no worker has the label
//! docker". Only the leading replica does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use domain::connection::{ConnectionState, Observation};
use domain::event::ConnectionEvent;
use domain::{Event, Refusal, ServerId, StreamId, StreamKind, TenantId};
use event_store::{Append, AppendError, Expected};
use tokio::time::Instant;

use super::placement::Unplaced;
use super::survey::{Survey, SurveyError, Surveyor};
use crate::app::App;
use crate::backbone::Leader;
use crate::fault;
use crate::shell;

const EVERY: Duration = Duration::from_secs(1);
/// Servers of which it is said in one go.
const BATCH: usize = 256;

/// Tells until it is dropped; `after` is how long a server has no place before it is told.
pub(crate) async fn tell_unplaced(
    app: Arc<App>,
    surveyor: Arc<Surveyor>,
    leader: Leader,
    after: Duration,
) {
    let mut ticks = tokio::time::interval(EVERY.min(after.max(Duration::from_millis(10))));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut watched = Watched::default();
    loop {
        ticks.tick().await;
        match look(&app, &surveyor, &leader, &mut watched, after).await {
            Ok(0) => {}
            Ok(told) => tracing::warn!(servers = told, "servers that no worker may run"),
            Err(error) => tracing::warn!(%error, "servers without a place were not looked for"),
        }
    }
}

/// Servers without a place.
#[derive(Default)]
struct Watched {
    /// Since when each has none.
    since: HashMap<ServerId, Instant>,
    /// How many were looked at: each has its turn.
    turn: usize,
}

impl Watched {
    /// Those that have had no place for `after`, at most [`BATCH`], others each time.
    fn due(&mut self, nowhere: &HashMap<ServerId, &Unplaced>, after: Duration) -> Vec<ServerId> {
        self.since.retain(|server, _| nowhere.contains_key(server));
        let mut due = Vec::new();
        for server in nowhere.keys() {
            let begin = self.since.entry(*server).or_insert_with(Instant::now);
            if begin.elapsed() >= after {
                due.push(*server);
            }
        }
        due.sort_unstable();
        if due.len() > BATCH {
            let turn = self.turn % due.len();
            due.rotate_left(turn);
            due.truncate(BATCH);
            self.turn = turn + BATCH;
        }
        due
    }
}

/// Why it was not looked.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Survey(#[from] SurveyError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl From<crate::views::ViewError> for LookError {
    fn from(error: crate::views::ViewError) -> Self {
        Self::Refused(error.into())
    }
}

async fn look(
    app: &App,
    surveyor: &Surveyor,
    leader: &Leader,
    watched: &mut Watched,
    after: Duration,
) -> Result<usize, LookError> {
    let survey = surveyor.current().await?;
    if !survey.settled {
        return Ok(0);
    }
    let nowhere = nowhere(&survey);
    let due = watched.due(&nowhere, after);
    if due.is_empty() {
        return Ok(0);
    }
    let mut appends = Vec::new();
    for seen in app.views.seen_of(&due).await? {
        let Some(why) = nowhere.get(&seen.server) else { continue };
        let cause = why.to_string();
        if seen.state == ConnectionState::Failed.as_str() && seen.cause == cause {
            continue;
        }
        let observation =
            Observation { state: ConnectionState::Failed, cause, ..Observation::default() };
        let event = ConnectionEvent::StateObserved { project: seen.project, observation };
        appends.push(append(app, leader, seen.tenant, seen.server, event));
    }
    if appends.is_empty() {
        return Ok(0);
    }
    let told = appends.len();
    for result in app.store.append_all(appends).await {
        result?;
    }
    let head = app.store.head().await.map_err(fault::store)?;
    shell::read_back(app, head).await?;
    Ok(told)
}

/// The servers that have no place and that nobody has.
fn nowhere(survey: &Survey) -> HashMap<ServerId, &Unplaced> {
    let unplaced = survey.placement.unplaced().iter();
    unplaced
        .filter(|(server, _)| !survey.holders.contains_key(server))
        .map(|(server, why)| (*server, why))
        .collect()
}

fn append(
    app: &App,
    leader: &Leader,
    tenant: TenantId,
    server: ServerId,
    event: ConnectionEvent,
) -> Append {
    let stream = StreamId::new(tenant, StreamKind::Connection, server);
    let event = shell::system_event(app, &Event::Connection(event));
    let append = Append::new(stream, Expected::Any, vec![event]);
    Append { fence: leader.fence(), ..append }
}
