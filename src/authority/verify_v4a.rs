//! A verification of Signature V4A, step by step. The steps are those of [`super::verify`]; the key is a public one.

use rederive_hsm::access_key_id::{AccessKeyId, Account};

use super::Authority;
use super::verify::{Holder, NotAccepted, undecided};
use crate::sigv4::{Body, Expectation, Regions, RequestHead};
use crate::sigv4a::{PublicKey, V4aRequest, VerifiedV4a};

/// A request whose Signature V4A is right, by a key that is good.
pub struct AcceptedV4a<'a> {
    /// What was verified; only [`crate::sigv4a`] can build it.
    pub verified: VerifiedV4a<'a>,
    /// Up to when denials were known, in seconds since 1970.
    pub deny_list_as_of: i64,
    /// Whether the HSM had to be waited for.
    pub waited: bool,
    /// Whose key it is.
    pub holder: Holder,
    /// The key, which signed chunks are verified with.
    pub public_key: PublicKey,
}

impl Authority {
    /// Verifies a request of Signature V4A. Every step before 6 costs the HSM nothing.
    pub(super) async fn verify_v4a<'a>(
        &self,
        head: &RequestHead<'a>,
        body: Body<'a>,
        expectation: &Expectation<'_>,
    ) -> Result<AcceptedV4a<'a>, NotAccepted> {
        let (now, change) = (self.clock.now().map_err(undecided)?, self.change());
        // 1. The authorization.
        let request = V4aRequest::parse(head)?;
        let id = self.our_id(request.unsigned())?;
        // 2. The id, and 3. the deny list.
        let deny_list_as_of = self.fresh_as_of(now)?;
        self.filter(&id)?;
        self.not_denied(&id)?;
        // 4. Service, regions, date and time.
        let scoped = request.check_scope_and_time(expectation, now)?;
        // 5. The canonical request, hashed; the signed headers are complete.
        let string_to_sign = scoped.string_to_sign(body)?;
        // 6. The key's row and its public key: at hand, else from registry and worker.
        let holder = self.holder(&id).await?;
        self.account_not_denied(&id, holder.account())?;
        let (public_key, waited) = self.public_key(id, &request, holder.account(), now).await?;
        // 7. The signature; and whether the id is still good after what was waited for.
        self.still_good(change, &id, &holder)?;
        let verified = string_to_sign.verify(&public_key)?;
        holder.check_scope_of_set(expectation, verified.region_set())?;
        self.note_use(id, now, expectation.service, &used_region(expectation, &verified));
        Ok(AcceptedV4a { verified, deny_list_as_of, waited, holder, public_key })
    }

    /// The public key, and whether it had to be waited for.
    async fn public_key(
        &self,
        id: AccessKeyId,
        request: &V4aRequest<'_, '_>,
        account: Account,
        now: i64,
    ) -> Result<(PublicKey, bool), NotAccepted> {
        if let Some(key) = self.public_keys.at_hand(&id) {
            return Ok((key, false));
        }
        self.admit_cold(&id, account, now)?;
        let scope = request.scope();
        let date = scope.date().as_bytes().try_into().expect("a scope's date is eight digits");
        let fetch = self.hsm.sigv4a_public_key(id, date, scope.service(), request.region_set());
        let key = self.public_keys.ask(&id, fetch).await.map_err(undecided)?;
        Ok((key, true))
    }
}

/// The region that is noted as the last one: the one that was asked for, else the patterns of the request.
fn used_region(expectation: &Expectation<'_>, verified: &VerifiedV4a<'_>) -> String {
    match expectation.regions {
        Regions::Named(region) => region.to_owned(),
        Regions::Any | Regions::OneOf(_) => verified.region_set().to_string(),
    }
}
