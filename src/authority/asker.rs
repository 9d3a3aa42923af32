//! Who asks for a verification, as far as the use of the HSM is concerned. Nothing is decided by it.
//!
//! It goes along beside the request, for none of the steps of a verification needs it, and only what costs the HSM an answer
//! looks at it.

use std::sync::Arc;

use super::cold::PerSecond;

tokio::task_local! {
    static ASKER: Arc<Asker>;
}

/// A caller of the door for services, and its part of the HSM.
#[derive(Debug)]
pub struct Asker {
    /// Its name in the configuration.
    pub name: String,
    cold: PerSecond,
}

impl Asker {
    /// One that may have so many answers a second that are in no cache.
    pub fn new(name: impl Into<String>, cold_per_second: u32) -> Arc<Self> {
        Arc::new(Self { name: name.into(), cold: PerSecond::new(cold_per_second) })
    }

    /// What is done on its behalf: its answers of the HSM are counted.
    pub async fn asks<F: Future>(self: &Arc<Self>, work: F) -> F::Output {
        ASKER.scope(self.clone(), work).await
    }

    /// On whose behalf this is done, if on a caller's.
    pub(super) fn present() -> Option<Arc<Self>> {
        ASKER.try_with(Arc::clone).ok()
    }

    /// Counts one answer; `false` when it is one too many.
    pub(super) fn admits(&self, now: i64) -> bool {
        self.cold.admit(now)
    }
}
