//! A verification, step by step. The pure steps are in [`crate::sigv4`]; here are those that need to know something.

use std::pin::pin;
use std::sync::Arc;

use rederive_hsm::access_key_id::{AccessKeyId, Account, Lifetime};
use rederive_hsm::client::Unavailable;

use super::clock::Jumped;
use super::cold::UsedUp;
use super::deny_list::Stale;
use super::generations::Filtered;
use super::regions::REGIONS_A_DAY;
use super::second_opinion::undecided_without_match;
use super::signing_keys::{KeyName, ProvenKey, UnprovenKey};
use super::{Authority, Identity};
use crate::key_terms::KeyTerms;
use crate::registry::{KeyRow, Registry, RegistryError};
use crate::sigv4::{
    Body, Expectation, PostForm, PreparedSigningKey, Refusal, RequestHead, SignedRequest, StringToSignError, Verified,
};

/// A request whose signature is right, by a key that is good.
pub struct Accepted<'a> {
    /// What was verified; only [`crate::sigv4`] can build it.
    pub verified: Verified<'a>,
    /// Up to when denials were known, in seconds since 1970.
    pub deny_list_as_of: i64,
    /// Whether the HSM had to be waited for.
    pub waited: bool,
    pub(super) known: Arc<ProvenKey>,
}

impl Accepted<'_> {
    /// Who signed, as it is told.
    pub fn identity(&self) -> &Arc<Identity> {
        self.known.identity.get_or_init(|| {
            let scope = self.verified.scope();
            let scope = format!("{}/{}/{}/aws4_request", scope.date(), scope.region(), scope.service());
            Arc::new(Identity::new(self.verified.access_key_id(), &self.known.holder, scope))
        })
    }

    /// Whose key it is, as far as this node knows.
    pub fn holder(&self) -> &Holder {
        &self.known.holder
    }

    /// The signing key of its scope.
    pub fn signing_key(&self) -> &Arc<PreparedSigningKey> {
        &self.known.key
    }
}

/// Whose a key is.
#[derive(Clone, Debug)]
pub enum Holder {
    /// As the registry says.
    Row(Arc<KeyRow>),
    /// Somebody's of this account, never its root's: a verifier has no registry to know more than the terms of keys that have
    /// any.
    Unresolved(Account, Option<Arc<KeyTerms>>),
}

impl Holder {
    /// The account.
    pub fn account(&self) -> Account {
        match self {
            Self::Row(row) => row.account,
            Self::Unresolved(account, _) => *account,
        }
    }
}

/// What a request brings beside its head.
#[derive(Clone, Copy)]
pub enum Content<'r, 'a> {
    /// Its body, as far as it is known; the credentials stand in the head.
    Body(Body<'a>),
    /// A form with a POST policy, in which the credentials stand. Of the head nothing is signed.
    Form(&'r PostForm<'a>),
}

impl<'a> Content<'_, 'a> {
    /// The body that the signature may cover: what a form signs is its policy.
    fn body(self) -> Body<'a> {
        match self {
            Self::Body(body) => body,
            Self::Form(_) => Body::Absent,
        }
    }
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
    /// The account, or the caller, has had its part of the HSM for this second.
    #[error("more is asked of the HSM {0}")]
    TooManyCold(UsedUp),
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
    /// The key may be accepted only by a node that knows its row, or its terms, and this one has neither.
    #[error("{0} needs its row, and this verifier has not heard of its terms: ask an issuer")]
    NeedsRow(AccessKeyId),
    /// Registry and id contradict each other.
    #[error("the registry says that {0} belongs to another account than its id does")]
    Contradiction(AccessKeyId),
}

impl CannotDecide {
    /// What is told outside: which part is missing, and nothing of why.
    pub fn outside(&self) -> &'static str {
        match self {
            Self::Hsm(_) | Self::NoTagKey(_) => "the HSM cannot answer now",
            Self::TooManyCold(_) => "the HSM is asked too much for this account, or by this caller, now",
            Self::NeedsRow(_) => "this key cannot be judged here: ask an issuer",
            Self::Registry(_) | Self::Contradiction(_) => "the registry cannot answer now",
            Self::Stale(_) => "denials are not known up to now",
            Self::Clock(_) => "the clock is not trusted now",
        }
    }
}

impl From<Refusal> for NotAccepted {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StringToSignError> for NotAccepted {
    fn from(error: StringToSignError) -> Self {
        match error {
            StringToSignError::Refused(refusal) => Self::Refused(refusal),
            StringToSignError::BodyRequired => Self::BodyRequired,
        }
    }
}

/// Trouble of ours, on its way out.
pub(super) fn undecided(trouble: impl Into<CannotDecide>) -> NotAccepted {
    NotAccepted::CannotDecide(trouble.into())
}

/// The deadline of a decision has passed.
pub(super) fn too_late(_: tokio::time::error::Elapsed) -> NotAccepted {
    undecided(Unavailable { reason: "no decision within the deadline".into() })
}

impl Authority {
    /// Verifies a request. Every step before 6 costs the HSM nothing.
    ///
    /// What can be accepted with what is at hand, is; the rest goes through all steps, from the first.
    pub async fn verify<'a>(
        &self,
        head: &RequestHead<'a>,
        content: Content<'_, 'a>,
        expectation: &Expectation<'_>,
    ) -> Result<Accepted<'a>, NotAccepted> {
        if let Content::Body(body) = content
            && let Some(accepted) = self.verify_at_hand(head, body, expectation)
        {
            return Ok(accepted);
        }
        // Where it is: to move it costs as much as to parse the request.
        let steps = pin!(self.verify_step_by_step(head, content, expectation));
        tokio::time::timeout(self.policy.for_a_decision(), steps).await.map_err(too_late)?
    }

    async fn verify_step_by_step<'a>(
        &self,
        head: &RequestHead<'a>,
        content: Content<'_, 'a>,
        expectation: &Expectation<'_>,
    ) -> Result<Accepted<'a>, NotAccepted> {
        let (now, change) = (self.clock.now().map_err(undecided)?, self.change());
        // 1. The authorization: header, query, form, or none of ours.
        let request = match content {
            Content::Body(_) => SignedRequest::parse(head)?,
            Content::Form(form) => SignedRequest::parse_form(head, form)?,
        };
        let name = KeyName { id: self.our_id(&request)?, token: None, scope: request.scope() };
        // 2. The id: prefix, layout, tag, share; its generation is live, as far as the feed of denials and generations is
        //    fresh enough to tell.
        let deny_list_as_of = self.fresh_as_of(now)?;
        self.filter(&name.id)?;
        // 3. The deny list.
        self.not_denied(&name.id)?;
        // 4. Scope and time.
        let scoped = request.check_scope_and_time(expectation, now)?;
        // 5. The canonical request, hashed; the signed headers are complete.
        let string_to_sign = scoped.string_to_sign(content.body())?;
        // 6. The key's row and its signing key: at hand, else from registry and worker.
        let mut found = self.find(&name, now).await?;
        // 7. The comparison, in constant time; and whether the id is still good after what was waited for.
        self.still_good(change, &name.id, &found.holder)?;
        let verified = match string_to_sign.verify(&found.key) {
            Err(refusal @ Refusal::SignatureDoesNotMatch { .. }) => {
                found = self.second_opinion(&name, found, refusal).await?;
                string_to_sign.verify(&found.key).map_err(undecided_without_match)?
            }
            outcome => outcome?,
        };
        found.holder.check_scope(name.scope.service(), Some(name.scope.region()))?;
        let Found { key, holder, waited, .. } = found;
        let known = self.signing_keys.matched(&name, ProvenKey::new(&name, key, holder, change));
        if known.is_first_use_at(now) {
            self.note_use(name.id, now, expectation.service, name.scope.region());
        }
        Ok(Accepted { verified, deny_list_as_of, waited, known })
    }

    /// Judges an id anew if denials or generations have changed since it was judged.
    pub(super) fn still_good(&self, since: u64, id: &AccessKeyId, holder: &Holder) -> Result<(), NotAccepted> {
        if self.change() == since {
            return Ok(());
        }
        self.filter(id)?;
        self.not_denied(id)?;
        self.account_not_denied(id, holder.account())
    }

    /// Where there is no registry, uses are not recorded; that an id is in use at all is reported.
    pub(super) fn note_use(&self, id: AccessKeyId, now: i64, service: &str, region: &str) {
        match &self.registry {
            Some(_) => self.uses.note(id, now, service, region),
            None => self.first_seen.note(&id),
        }
    }

    #[inline]
    pub(super) fn our_id(&self, request: &SignedRequest<'_, '_>) -> Result<AccessKeyId, NotAccepted> {
        self.our_long_term_id(request.access_key_id(), request.session_token().is_some())
    }

    /// The same for an id as text, with or without a session token beside it.
    #[inline]
    pub(super) fn our_long_term_id(&self, text: &str, has_token: bool) -> Result<AccessKeyId, NotAccepted> {
        let unknown = || NotAccepted::Refused(Refusal::UnknownAccessKeyId(text.to_owned()));
        let id = AccessKeyId::parse(text.as_bytes()).ok_or_else(unknown)?;
        match self.prefixes.lifetime(id.prefix()) {
            Some(Lifetime::LongTerm) if has_token => {
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

    /// Refuses an id that was never ours before anybody is asked about it.
    pub(super) fn filter(&self, id: &AccessKeyId) -> Result<(), NotAccepted> {
        match self.generations().filter(id) {
            Filtered::Ours => Ok(()),
            Filtered::Unknown(generation) => Err(undecided(CannotDecide::NoTagKey(generation))),
            Filtered::NotOurs(why) => {
                self.log_refused_id(id, &why);
                Err(NotAccepted::Refused(Refusal::UnknownAccessKeyId(id.to_string())))
            }
        }
    }

    /// Up to when the deny list is known, if that is late enough.
    pub(super) fn fresh_as_of(&self, now: i64) -> Result<i64, NotAccepted> {
        let as_of = self.denied.as_of();
        self.denied.check_fresh(now, self.policy.max_staleness).map_err(undecided)?;
        Ok(as_of)
    }

    pub(super) fn not_denied(&self, id: &AccessKeyId) -> Result<(), NotAccepted> {
        if self.denied.holds(id) {
            self.log_refused_id(id, &"it is inactive, deleted or denied");
            return Err(NotAccepted::Refused(Refusal::InactiveKey(id.to_string())));
        }
        Ok(())
    }

    /// The row and the signing key of an id that was judged good, from the caches or from registry and worker.
    pub(super) async fn find(&self, name: &KeyName<'_>, now: i64) -> Result<Found, NotAccepted> {
        let holder = self.holder(&name.id).await?;
        self.account_not_denied(&name.id, holder.account())?;
        if let Some(known) = self.signing_keys.proven(name) {
            return Ok(Found { key: known.key.clone(), unproven: None, holder, waited: false });
        }
        if let Some(key) = self.signing_keys.unproven(name) {
            return Ok(Found::unproven(key, holder, false));
        }
        let scope = &name.scope;
        if is_global(scope.service()) && !self.regions.admit(name.id, scope, now) {
            return Err(NotAccepted::Refused(Refusal::TooManyRegions { limit: REGIONS_A_DAY }));
        }
        self.admit_cold(&name.id, holder.account(), now)?;
        let date = scope.date().as_bytes().try_into().expect("a scope's date is eight digits");
        let fetch = self.hsm.signing_key(name.id, date, scope.region(), scope.service());
        let key = self.signing_keys.ask(name, fetch).await.map_err(undecided)?;
        Ok(Found::unproven(key, holder, true))
    }

    /// An id of the opaque layout does not name its account; its row does.
    pub(super) fn account_not_denied(&self, id: &AccessKeyId, account: Account) -> Result<(), NotAccepted> {
        if self.denied.holds_account(account) {
            self.log_refused_id(id, &"its account is denied");
            return Err(NotAccepted::Refused(Refusal::InactiveKey(id.to_string())));
        }
        Ok(())
    }

    /// Whose a key is. Without a registry that is what the id tells; where it does not tell enough, nobody can decide.
    pub(super) async fn holder(&self, id: &AccessKeyId) -> Result<Holder, NotAccepted> {
        let holder = match (&self.registry, id.fields().account()) {
            (Some(registry), _) => Holder::Row(self.issued_key(id, registry).await?),
            (None, Some(account)) => Holder::Unresolved(account, self.terms_heard(id)?),
            (None, None) => return Err(undecided(CannotDecide::NeedsRow(*id))),
        };
        // Once it is switched off for that, the deny list has it; until then, and where it was in use, this has.
        if holder.has_expired(self.clock.now().map_err(undecided)?) {
            self.log_refused_id(id, &"it has expired");
            return Err(NotAccepted::Refused(Refusal::InactiveKey(id.to_string())));
        }
        Ok(holder)
    }

    /// The row of a key that was issued. One that nobody issued is refused before the HSM is asked.
    async fn issued_key(&self, id: &AccessKeyId, registry: &Registry) -> Result<Arc<KeyRow>, NotAccepted> {
        let row = match self.principals.at_hand(id) {
            Some(row) => row,
            None => self.principals.read(id, registry).await.map_err(undecided)?.ok_or_else(|| {
                self.log_refused_id(id, &"its tag is right, but the registry has no such active key");
                NotAccepted::Refused(Refusal::UnknownAccessKeyId(id.to_string()))
            })?,
        };
        match id.fields().account() {
            Some(account) if account != row.account => Err(undecided(CannotDecide::Contradiction(*id))),
            _ => Ok(row),
        }
    }
}

/// What a signature is compared by: a key whose id was judged good for this request.
pub(super) struct Found {
    pub key: Arc<PreparedSigningKey>,
    /// The same, if nothing has matched under it yet.
    pub unproven: Option<Arc<UnprovenKey>>,
    pub holder: Holder,
    pub waited: bool,
}

impl Found {
    fn unproven(unproven: Arc<UnprovenKey>, holder: Holder, waited: bool) -> Self {
        Self { key: unproven.key.clone(), unproven: Some(unproven), holder, waited }
    }
}

/// Services whose requests may name any region.
fn is_global(service: &str) -> bool {
    matches!(service, "iam" | "sts")
}
