//! The audit log: one line of JSON for each management event and for each class of refusals, chained by hashes.
//!
//! [`chain`] and [`check`] are pure: how an entry is made and how a log is checked. [`Audit`] hands events to a thread that writes
//! them; whoever needs to know that one is on the disk waits for it.

mod anchor;
pub mod chain;
pub mod check;
mod event;
mod file;
mod first_few;
mod sink;
mod torn;
mod writer;

pub use anchor::{anchor_forever, anchor_last};
pub use event::{Event, UserIdentity};
pub use writer::{Audit, Failures};

/// The log cannot be opened or written. The text is for the log and for operators.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the audit log cannot be written: {0}")]
pub struct AuditError(String);

impl AuditError {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// Seconds since 1970, for what the log says of itself.
fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}
