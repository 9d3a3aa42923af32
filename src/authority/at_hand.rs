//! A verification for which all is at hand: the way that nearly every request goes.

use std::sync::Arc;

use super::signing_keys::ProvenKey;
use super::{Accepted, Authority};
use crate::sigv4::{Body, Claimed, CredentialText, Expectation, RequestHead, SignedRequest, Verified};

/// What a request is judged by.
#[derive(Clone, Copy)]
struct Terms<'e, 'a> {
    body: Body<'a>,
    expectation: &'e Expectation<'e>,
    now: i64,
    /// The last change of denials and generations.
    change: u64,
}

/// A request whose signature is right by its key.
struct Matched<'a> {
    verified: Verified<'a>,
    deny_list_as_of: i64,
}

impl<'a> Matched<'a> {
    #[inline]
    fn by(self, known: Arc<ProvenKey>) -> Accepted<'a> {
        let Self { verified, deny_list_as_of } = self;
        Accepted { verified, deny_list_as_of, waited: false, known }
    }
}

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
        let terms = Terms { body, expectation, now: self.clock.now().ok()?, change: self.change() };
        // 1. The authorization: written as its key was met before, or read from the beginning.
        if let Some(claimed) = Claimed::find(head) {
            // Who is not known by this text will not be known by what is read of it.
            let known = self.signing_keys.proven_as_claimed(claimed.credential)?;
            // Borrowed where it was built: what was just written is slow to move.
            if let Some(request) = &known.shapes.read(head, &claimed, &known.credential) {
                let matched = self.check(request, &known, &terms)?;
                return Some(matched.by(known));
            }
        }
        let request = SignedRequest::parse(head).ok().filter(|request| !request.has_session_token())?;
        let name = CredentialText::new(request.access_key_id(), &request.scope());
        let known = self.signing_keys.proven_as_claimed(name.as_bytes())?;
        let matched = self.check(&request, &known, &terms)?;
        known.shapes.learn(&request, &self.shapes);
        Some(matched.by(known))
    }

    /// The steps after the first, for the key that the request names.
    #[inline]
    fn check<'a>(
        &self,
        request: &SignedRequest<'_, 'a>,
        known: &ProvenKey,
        terms: &Terms<'_, 'a>,
    ) -> Option<Matched<'a>> {
        let Terms { body, expectation, now, change } = *terms;
        // 2. The id, and 3. the deny list: judged as of this change, when it was kept as the name of a key.
        if known.good_as_of != change || known.holder.has_expired(now) {
            return None;
        }
        let deny_list_as_of = self.fresh_as_of(now).ok()?;
        // 4. Scope and time.
        let Ok(scoped) = request.check_scope_and_time(expectation, now) else { return None };
        // 5. The canonical request, hashed; the signed headers are complete.
        let Ok(string_to_sign) = &scoped.string_to_sign(body) else { return None };
        // 6. The key is at hand. 7. The comparison, unless something has changed meanwhile.
        if self.change() != change {
            return None;
        }
        let Ok(verified) = string_to_sign.verify(&known.key) else { return None };
        if known.is_first_use_at(now) {
            self.note_use(known.id, now, expectation.service, request.scope().region());
        }
        Some(Matched { verified, deny_list_as_of })
    }
}
