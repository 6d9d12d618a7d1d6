//! What is measured of each server, for Prometheus.

use std::time::Duration;

use domain::ProjectId;
use domain::call::CallOutcome;
use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

const SETUP: &str = "mcp_orch_connection_setup_seconds";
const RESPONSE: &str = "mcp_orch_response_seconds";
const REQUESTS: &str = "mcp_orch_requests_total";
const SESSIONS: &str = "mcp_orch_session_connections";
const CHECKOUTS: &str = "mcp_orch_session_checkouts_total";
const ATTACHMENTS: &str = "mcp_orch_attachments";
const ORPHANED: &str = "mcp_orch_calls_orphaned_total";
const ADOPTED: &str = "mcp_orch_calls_adopted_total";

/// Where the connection of a client session came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checkout {
    /// It stood already.
    Reused,
    /// The spare process was at hand.
    Warm,
    /// It had to be set up from the start.
    Cold,
    /// A limit was reached.
    Refused,
}

impl Checkout {
    const ALL: [Self; 4] = [Self::Reused, Self::Warm, Self::Cold, Self::Refused];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Reused => "reused",
            Self::Warm => "warm",
            Self::Cold => "cold",
            Self::Refused => "refused",
        }
    }
}

/// Says what the numbers mean; once a process.
pub(crate) fn describe() {
    describe_histogram!(
        SETUP,
        Unit::Seconds,
        "From the start of setting up a connection to its end."
    );
    describe_histogram!(
        RESPONSE,
        Unit::Seconds,
        "From handing a request to an upstream to its answer."
    );
    describe_counter!(
        REQUESTS,
        "Requests to upstreams by how they ended: their rate is the throughput, the share of what \
         is not ok or cancelled the error rate."
    );
    describe_gauge!(SESSIONS, "Connections of single clients that stand or are being set up.");
    describe_counter!(
        CHECKOUTS,
        "Connections of single clients that were asked for, by where they came from."
    );
    describe_counter!(ORPHANED, "Calls that go on although their edge left.");
    describe_counter!(ADOPTED, "Calls that were taken over by another edge.");
    describe_gauge!(ATTACHMENTS, "Edges and sessions that listen to a server.");
}

/// The edge of a call left, and the call goes on.
pub(crate) fn orphaned() {
    counter!(ORPHANED).increment(1);
}

/// Another edge has the call.
pub(crate) fn adopted() {
    counter!(ADOPTED).increment(1);
}

/// The meters of one server, looked up once.
pub(crate) struct Meters {
    setup: Histogram,
    response: Histogram,
    requests: [Counter; CallOutcome::ALL.len()],
    sessions: Gauge,
    checkouts: [Counter; Checkout::ALL.len()],
    attachments: Gauge,
}

impl Meters {
    /// The meters of the server with that name.
    pub(crate) fn of(project: &ProjectId, server: &str) -> Self {
        let (project, server) = (project.to_string(), server.to_owned());
        let labels = [("project", project.clone()), ("server", server.clone())];
        let request = |outcome: CallOutcome| {
            counter!(
                REQUESTS,
                "project" => project.clone(),
                "server" => server.clone(),
                "outcome" => outcome.as_str(),
            )
        };
        let checkout = |how: Checkout| {
            counter!(
                CHECKOUTS,
                "project" => project.clone(),
                "server" => server.clone(),
                "from" => how.as_str(),
            )
        };
        Self {
            sessions: gauge!(SESSIONS, &labels),
            checkouts: Checkout::ALL.map(checkout),
            attachments: gauge!(ATTACHMENTS, &labels),
            setup: histogram!(SETUP, &labels),
            response: histogram!(RESPONSE, &labels),
            requests: CallOutcome::ALL.map(request),
        }
    }

    /// A connection stands.
    pub(crate) fn set_up(&self, took: Duration) {
        self.setup.record(took);
    }

    /// The connection of a client session is being set up.
    pub(crate) fn session_began(&self) {
        self.sessions.increment(1.0);
    }

    /// The connection of a client session is gone.
    pub(crate) fn session_ended(&self) {
        self.sessions.decrement(1.0);
    }

    /// A connection for a client session was asked for.
    pub(crate) fn checked_out(&self, how: Checkout) {
        let place = Checkout::ALL.iter().position(|known| *known == how);
        if let Some(counter) = place.and_then(|place| self.checkouts.get(place)) {
            counter.increment(1);
        }
    }

    /// Somebody listens.
    pub(crate) fn attached(&self) {
        self.attachments.increment(1.0);
    }

    /// And no longer.
    pub(crate) fn detached(&self) {
        self.attachments.decrement(1.0);
    }

    /// A request ended; `upstream` is how long the upstream had it, where it answered.
    pub(crate) fn ended(&self, outcome: CallOutcome, upstream: Option<Duration>) {
        if let Some(upstream) = upstream {
            self.response.record(upstream);
        }
        let place = CallOutcome::ALL.iter().position(|known| *known == outcome);
        if let Some(counter) = place.and_then(|place| self.requests.get(place)) {
            counter.increment(1);
        }
    }
}
