//! What verifiers report, as an issuer judges it.

use rederive_hsm::access_key_id::AccessKeyId;

use super::generations::Filtered;
use super::{Authority, CannotDecide};

impl Authority {
    /// Denies those among the reported ids that nobody issued, and gives them. A signature under such an id has matched: whoever
    /// made it up has a master.
    pub async fn judge_reported(&self, ids: &[AccessKeyId]) -> Result<Vec<AccessKeyId>, CannotDecide> {
        let now = self.clock.now()?;
        let ids = self.ours_among(ids)?;
        let denied = self.registry()?.deny_unissued(&ids, now).await?;
        for id in &denied {
            tracing::error!(
                access_key_id = %id,
                generation = %id.fields().generation(),
                "ALARM: a verifier has accepted a key that nobody issued. It is denied now. Who made it has the master of its \
                 generation, unless the registry was restored from a copy"
            );
        }
        self.catch_up().await?;
        Ok(denied)
    }

    /// An id whose tag is wrong is refused everywhere as it is, and would only fill the list.
    fn ours_among(&self, ids: &[AccessKeyId]) -> Result<Vec<AccessKeyId>, CannotDecide> {
        let generations = self.generations();
        let mut ours = Vec::new();
        for id in ids {
            match generations.filter(id) {
                Filtered::Ours => ours.push(*id),
                Filtered::NotOurs(_) => {}
                Filtered::Unknown(generation) => return Err(CannotDecide::NoTagKey(generation)),
            }
        }
        Ok(ours)
    }
}
