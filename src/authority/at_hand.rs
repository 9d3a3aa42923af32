//! A verification for which all is at hand: the way that nearly every request goes.

use super::signing_keys::ClaimedName;
use super::{Accepted, Authority};
use crate::sigv4::{Body, Expectation, RequestHead, SignedRequest};

impl Authority {
    /// Accepts a request whose signature is right under a key that has matched before, if nothing has changed since by which
    /// its id was judged: tag, generation, deny list, row and what the key is good for hold as long; its end does not. The
    /// steps are those of [`Self::verify`].
    ///
    /// `None` says nothing of the request, but that more has to be done to decide about it, or to say why it is refused.
    pub fn verify_at_hand<'a>(
        &self,
        head: &RequestHead<'a>,
        body: Body<'a>,
        expectation: &Expectation<'_>,
    ) -> Option<Accepted<'a>> {
        let (now, change) = (self.clock.now().ok()?, self.change());
        // 1. The authorization.
        let Ok(request) = SignedRequest::parse(head) else { return None };
        if request.has_session_token() {
            return None;
        }
        // 2. The id, and 3. the deny list: judged as of this change, when it was kept as the name of a key.
        let name = ClaimedName { id: request.access_key_id(), scope: request.scope() };
        let known = self.signing_keys.proven_as_claimed(&name).filter(|known| known.good_as_of == change)?;
        if known.holder.has_expired(now) {
            return None;
        }
        let deny_list_as_of = self.fresh_as_of(now).ok()?;
        // 4. Scope and time.
        let Ok(scoped) = request.check_scope_and_time(expectation, now) else { return None };
        // 5. The canonical request, hashed; the signed headers are complete.
        let Ok(string_to_sign) = scoped.string_to_sign(body) else { return None };
        // 6. The key is at hand. 7. The comparison, unless something has changed meanwhile.
        if self.change() != change {
            return None;
        }
        let Ok(verified) = string_to_sign.verify(&known.key) else { return None };
        if known.is_first_use_at(now) {
            self.note_use(known.id, now, expectation.service, name.scope.region());
        }
        Some(Accepted { verified, deny_list_as_of, waited: false, known })
    }
}
