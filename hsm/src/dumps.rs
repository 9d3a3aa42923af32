//! A process of which nobody has a core dump, and whose memory no other process of its user may read.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// From now on this process writes no core dump, and is read and traced by root at the most. As much memory may be locked as the hard
/// limit lets.
pub fn forbid() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "cannot forbid core dumps");
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "cannot make the process undumpable");
    }
    let locked = getrlimit(Resource::Memlock);
    // What fails here shows in `rederive_secret_memory_bytes`.
    let _ = setrlimit(Resource::Memlock, Rlimit { current: locked.maximum, ..locked });
}
