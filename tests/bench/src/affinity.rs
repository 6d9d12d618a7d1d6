//! Which core runs what: load on the first, all servers on the second, where there are two.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::error::Error;

/// The cores of this run. Without a second core, or when told so, nothing is pinned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    all: CpuSet,
    pinned: Option<(usize, usize)>,
}

impl Cores {
    pub(crate) fn find(pin: bool) -> Result<Self, Error> {
        let all = sched_getaffinity(Pid::from_raw(0))?;
        let mut cores = (0..CpuSet::count()).filter(|core| all.is_set(*core).unwrap_or(false));
        let pinned = cores.next().zip(cores.next()).filter(|_| pin);
        Ok(Self { all, pinned })
    }

    /// How load and servers are placed, for the report.
    pub(crate) fn describe(&self) -> String {
        match self.pinned {
            Some((load, servers)) => format!("load on core {load}, servers on core {servers}"),
            None => "not pinned".to_owned(),
        }
    }

    /// Runs `start` on the servers' core: processes inherit the core of the thread that starts
    /// them. The calling thread is on the load's core afterwards.
    pub(crate) fn with_servers<T>(
        &self,
        start: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let Some((load, servers)) = self.pinned else {
            return start();
        };
        pin(servers)?;
        let started = start();
        pin(load)?;
        started
    }

    /// Lets the calling thread run anywhere again.
    pub(crate) fn release(&self) -> Result<(), Error> {
        Ok(sched_setaffinity(Pid::from_raw(0), &self.all)?)
    }
}

fn pin(core: usize) -> Result<(), Error> {
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}
