//! The deny feed: everything that verifiers must hear of, numbered without gaps, each entry's hash covering all before it,
//! its head signed by the issuers.
//!
//! Pure: bytes and numbers. The registry writes the feed, issuers sign and serve it, verifiers follow it and keep a copy.

mod chain;
mod change;
mod head;
mod sessions;

pub use chain::{Chain, Epoch, Hash, NotNext, OutOfOrder};
pub use change::{Change, ChangeKind};
pub use head::{NotSigned, PublicKey, SignedHead};
pub use sessions::SessionDenials;
