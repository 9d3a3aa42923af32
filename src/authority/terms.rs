//! Terms of keys: as the registry has them, or, where there is none, as the deny feed has told them.

use std::sync::{Arc, PoisonError, RwLock};

use ahash::AHashMap;
use rederive_hsm::access_key_id::{AccessKeyId, PackedId};

use super::Authority;
use super::verify::{CannotDecide, Holder, NotAccepted, undecided};
use crate::feed::{Change, ChangeKind};
use crate::key_terms::{KeyTerms, OutOfScope};
use crate::sigv4::{Expectation, Refusal, Regions};
use crate::sigv4a::RegionSet;

/// The terms that a node without a registry has heard of. Asked for keys with R alone, when they are not in use.
///
/// What is deleted, or switched off because its time is over, is forgotten: the deny list has it, for good.
#[derive(Default)]
pub(super) struct TermsHeard(RwLock<AHashMap<PackedId, Arc<KeyTerms>>>);

impl TermsHeard {
    pub(super) fn of(&self, id: &AccessKeyId) -> Option<Arc<KeyTerms>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&id.packed()).cloned()
    }

    /// Takes in what the feed tells of terms.
    pub(super) fn apply(&self, changes: &[Change]) {
        if !changes.iter().any(|change| concerns(change.kind)) {
            return;
        }
        let mut heard = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for change in changes.iter().filter(|change| concerns(change.kind)) {
            let Some(id) = AccessKeyId::parse(change.subject.as_bytes()) else { continue };
            match change.kind {
                ChangeKind::KeyTerms => match KeyTerms::decode(&change.detail) {
                    Some(terms) => drop(heard.insert(id.packed(), Arc::new(terms))),
                    // Of a later version: without them nobody decides about this key.
                    None => {
                        tracing::warn!(access_key_id = %id, "the terms of this key are not known to this version");
                        heard.remove(&id.packed());
                    }
                },
                ChangeKind::KeyDeactivated => {
                    if heard.get(&id.packed()).is_some_and(|terms| terms.have_expired(change.at)) {
                        heard.remove(&id.packed());
                    }
                }
                _ => drop(heard.remove(&id.packed())),
            }
        }
    }
}

fn concerns(kind: ChangeKind) -> bool {
    matches!(kind, ChangeKind::KeyTerms | ChangeKind::KeyDeactivated | ChangeKind::KeyDeleted)
}

impl Authority {
    /// What the feed has told of a key: nothing of one that has no terms, and of one with R at least when it was made.
    pub(super) fn terms_heard(&self, id: &AccessKeyId) -> Result<Option<Arc<KeyTerms>>, NotAccepted> {
        if !id.fields().needs_row() {
            return Ok(None);
        }
        self.terms.of(id).map(Some).ok_or_else(|| undecided(CannotDecide::NeedsRow(*id)))
    }
}

impl Holder {
    /// Under which terms the key is good, if there are any.
    pub fn terms(&self) -> Option<&KeyTerms> {
        match self {
            Self::Row(row) => Some(&row.terms),
            Self::Unresolved(_, terms) => terms.as_deref(),
        }
    }

    /// Whether the key's time is over.
    pub(super) fn has_expired(&self, now: i64) -> bool {
        self.terms().is_some_and(|terms| terms.have_expired(now))
    }

    /// Whether the key is good for a service in a region. Told only to who has shown that it has the key: after the comparison.
    pub(super) fn check_scope(&self, service: &str, region: Option<&str>) -> Result<(), NotAccepted> {
        self.terms().map_or(Ok(()), |terms| terms.scope.check(service, region)).map_err(refused)
    }

    /// The same for a signature that is good in a set of regions: the one that is served, or else all of them, are to be in scope.
    pub(super) fn check_scope_of_set(&self, expectation: &Expectation<'_>, set: &RegionSet) -> Result<(), NotAccepted> {
        match expectation.regions {
            Regions::Named(region) => self.check_scope(expectation.service, Some(region)),
            Regions::Any | Regions::OneOf(_) => {
                self.terms().map_or(Ok(()), |terms| terms.scope.check_set(expectation.service, set)).map_err(refused)
            }
        }
    }
}

/// As AWS words what a caller that is known may not do.
fn refused(out: OutOfScope) -> NotAccepted {
    NotAccepted::Refused(Refusal::AccessDenied { message: out.to_string() })
}
