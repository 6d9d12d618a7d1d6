//! Who dies next, from a seed.

use std::fmt;
use std::time::Duration;

/// A service of the cluster, of which there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Commands, queries, the log.
    ControlPlane,
    /// Connections to upstreams.
    Worker,
    /// MCP clients.
    Edge,
}

/// What happens to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL of one of a service's processes; it is started again.
    Kill(Service, usize),
    /// SIGSTOP of one of them, and SIGCONT after a while.
    Pause(Service, usize, Duration),
    /// PostgreSQL ends without a checkpoint and is started again.
    StopPostgres,
    /// SIGKILL of the NATS server; it is started again.
    KillNats,
    /// SIGSTOP of the NATS server, and SIGCONT after a while.
    PauseNats(Duration),
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(service, which) => write!(formatter, "kill {service:?} {which}"),
            Self::Pause(service, which, time) => {
                write!(formatter, "pause {service:?} {which} for {time:?}")
            }
            Self::StopPostgres => formatter.write_str("stop PostgreSQL"),
            Self::KillNats => formatter.write_str("kill NATS"),
            Self::PauseNats(time) => write!(formatter, "pause NATS for {time:?}"),
        }
    }
}

/// An endless plan. The same seed gives the same plan.
#[derive(Clone, Debug)]
pub struct Plan {
    state: u64,
    replicas: usize,
}

impl Plan {
    /// The plan of a seed for services with so many processes each.
    #[must_use]
    pub const fn new(seed: u64, replicas: usize) -> Self {
        Self { state: seed, replicas }
    }

    /// The next fault, and how long the load runs before it.
    pub fn next_fault(&mut self) -> (Duration, Fault) {
        let wait = Duration::from_millis(100 + self.below(900));
        let service = match self.below(3) {
            0 => Service::ControlPlane,
            1 => Service::Worker,
            _ => Service::Edge,
        };
        let which = usize::try_from(self.below(self.replicas as u64)).unwrap_or(0);
        let fault = match self.below(20) {
            0..=13 => Fault::Kill(service, which),
            14..=15 => {
                Fault::Pause(service, which, Duration::from_millis(2_000 + self.below(6_000)))
            }
            16..=17 => Fault::StopPostgres,
            18 => Fault::KillNats,
            _ => Fault::PauseNats(Duration::from_millis(1_000 + self.below(4_000))),
        };
        (wait, fault)
    }

    /// SplitMix64: neighbouring seeds have plans with nothing in common.
    fn below(&mut self, limit: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64) -> Vec<Fault> {
        let mut plan = Plan::new(seed, 2);
        (0..200).map(|_| plan.next_fault().1).collect()
    }

    #[test]
    fn a_seed_gives_the_same_plan_again() {
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
    }

    #[test]
    fn a_long_plan_spares_nobody() {
        let plan = plan(7);
        for service in [Service::ControlPlane, Service::Worker, Service::Edge] {
            for which in 0..2 {
                assert!(plan.contains(&Fault::Kill(service, which)), "{service:?} {which}");
            }
        }
        assert!(plan.contains(&Fault::StopPostgres) && plan.contains(&Fault::KillNats));
        assert!(plan.iter().any(|fault| matches!(fault, Fault::PauseNats(_))));
    }
}
