//! What a reaper tells its worker: one line for each thing that happened.
//!
//! `started PID`, `not-started ERRNO`, `exited CODE`, `signaled NUMBER`.

use std::fmt;

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl Exit {
    /// The exit code that says the same, as shells have it.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Code(code) => u8::try_from(code & 0xff).unwrap_or(u8::MAX),
            Self::Signal(number) => 128_u8.saturating_add(u8::try_from(number).unwrap_or(u8::MAX)),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with status {code}"),
            Self::Signal(number) => match nix::sys::signal::Signal::try_from(*number) {
                Ok(signal) => write!(f, "was ended by {}", signal.as_str()),
                Err(_) => write!(f, "was ended by signal {number}"),
            },
        }
    }
}

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The program runs; it leads a process group of its own.
    Started {
        /// Its process id.
        pid: u32,
    },
    /// The program could not be started.
    NotStarted {
        /// The error of the system; 0 when it has none.
        errno: i32,
    },
    /// The program ended.
    Ended(Exit),
}

impl Report {
    /// The line, its end included.
    pub(crate) fn to_line(self) -> String {
        match self {
            Self::Started { pid } => format!("started {pid}\n"),
            Self::NotStarted { errno } => format!("not-started {errno}\n"),
            Self::Ended(Exit::Code(code)) => format!("exited {code}\n"),
            Self::Ended(Exit::Signal(number)) => format!("signaled {number}\n"),
        }
    }

    /// From a line without its end; `None` for anything else.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (what, number) = line.split_once(' ')?;
        match what {
            "started" => number.parse().ok().map(|pid| Self::Started { pid }),
            "not-started" => number.parse().ok().map(|errno| Self::NotStarted { errno }),
            "exited" => number.parse().ok().map(|code| Self::Ended(Exit::Code(code))),
            "signaled" => number.parse().ok().map(|signal| Self::Ended(Exit::Signal(signal))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_round_trip() {
        for report in [
            Report::Started { pid: 12 },
            Report::NotStarted { errno: 2 },
            Report::Ended(Exit::Code(3)),
            Report::Ended(Exit::Signal(9)),
        ] {
            assert_eq!(Report::parse(report.to_line().trim_end()), Some(report));
        }
        for other in ["", "started", "started x", "exploded 1"] {
            assert_eq!(Report::parse(other), None, "{other:?}");
        }
    }

    #[test]
    fn an_exit_reads_as_a_cause() {
        assert_eq!(Exit::Code(3).to_string(), "exited with status 3");
        assert_eq!(Exit::Signal(9).to_string(), "was ended by SIGKILL");
        assert_eq!((Exit::Code(3).code(), Exit::Signal(15).code()), (3, 143));
    }
}
