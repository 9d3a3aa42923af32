//! What a worker of its own tells its watchdog: one line of JSON after the other.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::net::UnixStream;

use serde::{Deserialize, Serialize};

use crate::tally::Tally;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "report")]
pub(crate) enum Report {
    /// It has logged in and listens.
    Ready,
    /// It could not start.
    Failed {
        /// Whether the token refused the PIN: trying again could lock it.
        pin_refused: bool,
        /// For the operator.
        text: String,
    },
    /// It lives.
    Alive {
        /// For how many milliseconds the longest of its calls to the token has lasted.
        longest_call_ms: u64,
        /// Since its start.
        counted: Counted,
    },
}

/// What a worker of its own has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Counted {
    /// Requests that it has read.
    pub requests: Tally,
    /// What its masters were used for.
    pub uses: Tally,
    /// Requests that its rules refused, by [`crate::wire::Reason::word`].
    pub refusals: BTreeMap<String, u64>,
    /// Connections that it took.
    pub connections: u64,
    /// Peers that it turned away.
    pub turned_away: u64,
}

impl Counted {
    /// These and those.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        for (reason, count) in &other.refusals {
            *self.refusals.entry(reason.clone()).or_default() += count;
        }
        Self {
            requests: self.requests.plus(&other.requests),
            uses: self.uses.plus(&other.uses),
            connections: self.connections + other.connections,
            turned_away: self.turned_away + other.turned_away,
            refusals: self.refusals,
        }
    }
}

impl Report {
    /// Writes the line.
    pub(super) fn send(&self, mut watchdog: &UnixStream) -> Result<(), std::io::Error> {
        let mut line = serde_json::to_vec(self).map_err(std::io::Error::other)?;
        line.push(b'\n');
        watchdog.write_all(&line)
    }
}
