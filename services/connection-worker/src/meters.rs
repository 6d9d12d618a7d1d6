//! What is measured of each server, for Prometheus.

use std::time::Duration;

use domain::ProjectId;
use domain::call::CallOutcome;
use metrics::{Counter, Histogram, Unit, counter, describe_counter, describe_histogram, histogram};

const SETUP: &str = "mcp_orch_connection_setup_seconds";
const RESPONSE: &str = "mcp_orch_response_seconds";
const REQUESTS: &str = "mcp_orch_requests_total";

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
}

/// The meters of one server, looked up once.
pub(crate) struct Meters {
    setup: Histogram,
    response: Histogram,
    requests: [Counter; CallOutcome::ALL.len()],
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
        Self {
            setup: histogram!(SETUP, &labels),
            response: histogram!(RESPONSE, &labels),
            requests: CallOutcome::ALL.map(request),
        }
    }

    /// A connection stands.
    pub(crate) fn set_up(&self, took: Duration) {
        self.setup.record(took);
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
