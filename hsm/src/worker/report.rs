//! What a worker of its own tells its watchdog: one line of JSON after the other.

use std::io::Write;
use std::os::unix::net::UnixStream;

use serde::{Deserialize, Serialize};

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
    },
}

impl Report {
    /// Writes the line.
    pub(super) fn send(&self, mut watchdog: &UnixStream) -> Result<(), std::io::Error> {
        let mut line = serde_json::to_vec(self).map_err(std::io::Error::other)?;
        line.push(b'\n');
        watchdog.write_all(&line)
    }
}
