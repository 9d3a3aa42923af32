//! Before a request is refused with a signing key that never matched anything, the key is derived once more elsewhere.
//!
//! Whoever derives it again has to compute the recorded check value as well.
//!
//! A token that flips one bit of an HMAC shows it nowhere. Without this, every request of the scope would be refused for as long
//! as the key is in the cache.

use rederive_hsm::client::Unavailable;

use super::signing_keys::KeyName;
use super::verify::{Found, undecided};
use super::{Authority, NotAccepted};
use crate::sigv4::Refusal;

impl Authority {
    /// What a signature that did not match is to be compared with instead; the refusal, if the key is right beyond doubt.
    pub(super) async fn second_opinion(
        &self,
        name: &KeyName<'_>,
        found: Found,
        refusal: Refusal,
    ) -> Result<Found, NotAccepted> {
        let Found { unproven: Some(first), holder, .. } = found else { return Err(refusal.into()) };
        let (scope, source) = (&name.scope, first.source);
        let date = scope.date().as_bytes().try_into().expect("a scope's date is eight digits");
        let derive = async || {
            let asked = self.hsm.signing_key_again(name.id, date, scope.region(), scope.service(), source);
            let (key, second) = asked.await?;
            self.hsm.vouch(second, name.id.fields().generation()).await.map(|()| key)
        };
        // Once more where the first who was asked could not vouch for itself.
        let again = async {
            match derive().await {
                Ok(key) => Ok(key),
                Err(_) => derive().await,
            }
        };
        let Some(second) = first.contradicted_by(again).await.map_err(undecided)? else {
            return Err(refusal.into());
        };
        self.signing_keys.forget(name);
        self.hsm.contradicted(source);
        Ok(Found { key: second, unproven: None, holder, waited: true })
    }
}

/// Two derivations differ, and the signature is of neither: nobody can tell which was right.
pub(super) fn undecided_without_match(refusal: Refusal) -> NotAccepted {
    match refusal {
        Refusal::SignatureDoesNotMatch { .. } => {
            undecided(Unavailable { reason: "two workers derive different signing keys".into() })
        }
        other => other.into(),
    }
}
