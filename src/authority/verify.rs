//! A verification, step by step. The pure steps are in [`crate::sigv4`]; here are those that need to know something.

use std::sync::Arc;

use rederive_hsm::access_key_id::{AccessKeyId, Lifetime};
use rederive_hsm::client::Unavailable;

use super::Authority;
use super::clock::Jumped;
use super::deny_list::Stale;
use super::generations::Filtered;
use super::regions::REGIONS_A_DAY;
use super::signing_keys::{Found, KeyName, ScopeText};
use crate::registry::{KeyRow, RegistryError};
use crate::sigv4::{
    Body, CredentialScope, Expectation, Refusal, RequestHead, SignedRequest, StringToSignError, Verified,
};

/// A request whose signature is right, by a key that is good.
pub struct Accepted<'a> {
    /// What was verified; only [`crate::sigv4`] can build it.
    pub verified: Verified<'a>,
    /// The key and whose it is.
    pub key: Arc<KeyRow>,
    /// Up to when denials were known, in seconds since 1970.
    pub deny_list_as_of: i64,
    /// Whether the HSM had to be waited for.
    pub waited: bool,
}

/// Why a request is not accepted.
#[derive(Debug)]
pub enum NotAccepted {
    /// The request is refused: the client's affair.
    Refused(Refusal),
    /// Nobody can tell now: our affair, never a refusal.
    CannotDecide(CannotDecide),
    /// The signature covers a hash of the body, and neither came: the affair of whoever asks.
    BodyRequired,
}

/// What keeps us from deciding. The texts are for the log and for whoever operates the caller.
#[derive(Debug, thiserror::Error)]
pub enum CannotDecide {
    /// The worker did not answer.
    #[error(transparent)]
    Hsm(#[from] Unavailable),
    /// The worker has not given the tag key of a generation yet.
    #[error("the HSM worker has not told the tag key of generation {0} yet")]
    NoTagKey(rederive_hsm::access_key_id::Generation),
    /// The registry did not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The deny list is too old.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// The clock jumped.
    #[error(transparent)]
    Clock(#[from] Jumped),
    /// Registry and id contradict each other.
    #[error("the registry says that {0} belongs to another account than its id does")]
    Contradiction(AccessKeyId),
}

impl CannotDecide {
    /// What is told outside: which part is missing, and nothing of why.
    pub fn outside(&self) -> &'static str {
        match self {
            Self::Hsm(_) | Self::NoTagKey(_) => "the HSM cannot answer now",
            Self::Registry(_) | Self::Contradiction(_) => "the registry cannot answer now",
            Self::Stale(_) => "denials are not known up to now",
            Self::Clock(_) => "the clock is not trusted now",
        }
    }
}

/// Trouble of ours, on its way out.
fn undecided(trouble: impl Into<CannotDecide>) -> NotAccepted {
    NotAccepted::CannotDecide(trouble.into())
}

impl Authority {
    /// Verifies a request. Every step before 6 costs the HSM nothing.
    pub async fn verify<'a>(
        &self,
        head: &RequestHead<'a>,
        body: Body<'a>,
        expectation: &Expectation<'_>,
    ) -> Result<Accepted<'a>, NotAccepted> {
        let now = self.clock.now().map_err(undecided)?;
        // 1. The authorization: header, query or none of ours.
        let request = SignedRequest::parse(head).map_err(NotAccepted::Refused)?;
        // 2. The id: prefix, layout, tag, share; its generation is live.
        let id = self.our_id(&request)?;
        let at_hand = self.principals.at_hand(&id);
        self.filter(&id, at_hand.is_some())?;
        // 3. The deny list, if it is fresh enough.
        let deny_list_as_of = self.denied.as_of();
        self.not_denied(&id, now)?;
        // 4. Scope and time.
        let scoped = request.check_scope_and_time(expectation, now).map_err(NotAccepted::Refused)?;
        // 5. The canonical request, hashed; the signed headers are complete.
        let string_to_sign = scoped.string_to_sign(body).map_err(not_signable)?;
        // 6. The key's row and its signing key: at hand, else from registry and worker.
        let key = self.known_key(&id, at_hand).await?;
        let name = key_name(id, string_to_sign.scope());
        let found = self.signing_key(&name, string_to_sign.scope(), now).await?;
        // 7. The comparison, in constant time; and whether the key was denied while the registry and the HSM were waited for.
        self.not_denied(&id, now)?;
        let verified = string_to_sign.verify(&found.key).map_err(NotAccepted::Refused)?;
        let waited = found.waited;
        self.signing_keys.matched(&name, found);
        self.uses.note(id, now, expectation.service, string_to_sign.scope().region());
        Ok(Accepted { verified, key, deny_list_as_of, waited })
    }

    fn our_id(&self, request: &SignedRequest<'_, '_>) -> Result<AccessKeyId, NotAccepted> {
        let text = request.access_key_id();
        let unknown = || NotAccepted::Refused(Refusal::UnknownAccessKeyId(text.to_owned()));
        let id = AccessKeyId::parse(text.as_bytes()).ok_or_else(unknown)?;
        match self.prefixes.lifetime(id.prefix()) {
            Some(Lifetime::LongTerm) if request.session_token().is_some() => {
                return Err(NotAccepted::Refused(Refusal::InvalidToken));
            }
            Some(Lifetime::LongTerm) => {}
            Some(Lifetime::Temporary) => {
                return Err(NotAccepted::Refused(Refusal::TemporaryKeyNotSupported(text.to_owned())));
            }
            None => return Err(unknown()),
        }
        Ok(id)
    }

    /// Refuses an id that was never ours before anybody is asked about it. The tag and share of an id never change, so one
    /// whose row is at hand needs no second look at them.
    fn filter(&self, id: &AccessKeyId, is_known: bool) -> Result<(), NotAccepted> {
        let filtered = match is_known {
            true => self.generations().is_live(id).map_or_else(Filtered::NotOurs, |()| Filtered::Ours),
            false => self.generations().filter(id),
        };
        match filtered {
            Filtered::Ours => Ok(()),
            Filtered::Unknown(generation) => Err(undecided(CannotDecide::NoTagKey(generation))),
            Filtered::NotOurs(why) => {
                self.log_refused_id(id, &why);
                Err(NotAccepted::Refused(Refusal::UnknownAccessKeyId(id.to_string())))
            }
        }
    }

    fn not_denied(&self, id: &AccessKeyId, now: i64) -> Result<(), NotAccepted> {
        self.denied.check_fresh(now, self.policy.max_staleness).map_err(undecided)?;
        if self.denied.holds(id) {
            self.log_refused_id(id, &"it is inactive or deleted");
            return Err(NotAccepted::Refused(Refusal::InactiveKey(id.to_string())));
        }
        Ok(())
    }

    /// The row of a key that was issued. One that nobody issued is refused before the HSM is asked.
    async fn known_key(&self, id: &AccessKeyId, at_hand: Option<Arc<KeyRow>>) -> Result<Arc<KeyRow>, NotAccepted> {
        let row = match at_hand {
            Some(row) => row,
            None => self.principals.read(id, &self.registry).await.map_err(undecided)?.ok_or_else(|| {
                self.log_refused_id(id, &"its tag is right, but the registry has no such active key");
                NotAccepted::Refused(Refusal::UnknownAccessKeyId(id.to_string()))
            })?,
        };
        match id.fields().account() {
            Some(account) if account != row.account => Err(undecided(CannotDecide::Contradiction(*id))),
            _ => Ok(row),
        }
    }

    async fn signing_key(&self, name: &KeyName, scope: CredentialScope<'_>, now: i64) -> Result<Found, NotAccepted> {
        if let Some(found) = self.signing_keys.at_hand(name) {
            return Ok(found);
        }
        if is_global(scope.service()) && !self.regions.admit(name.id, name.date, name.region, now) {
            return Err(NotAccepted::Refused(Refusal::TooManyRegions { limit: REGIONS_A_DAY }));
        }
        let fetch = self.hsm.signing_key(name.id, name.date, scope.region(), scope.service());
        self.signing_keys.ask(name, fetch).await.map_err(undecided)
    }
}

/// Services whose requests may name any region.
fn is_global(service: &str) -> bool {
    matches!(service, "iam" | "sts")
}

fn not_signable(error: StringToSignError) -> NotAccepted {
    match error {
        StringToSignError::Refused(refusal) => NotAccepted::Refused(refusal),
        StringToSignError::BodyRequired => NotAccepted::BodyRequired,
    }
}

fn key_name(id: AccessKeyId, scope: CredentialScope<'_>) -> KeyName {
    let text = |part| ScopeText::new(part).expect("a scope's parts are at most 32 characters");
    let date = scope.date().as_bytes().try_into().expect("a scope's date is eight digits");
    KeyName { id, token: None, date, region: text(scope.region()), service: text(scope.service()) }
}
