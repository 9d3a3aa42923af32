//! What must be refused, in memory: denied key ids, accounts and sessions. It follows the deny feed.
//!
//! Whoever looks takes no lock: the list is never changed in place, a new one takes its place.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ahash::AHashSet;
use arc_swap::ArcSwap;
use rederive_hsm::access_key_id::{AccessKeyId, Account};
use rederive_hsm::session_token::Claims;

use super::denied_ids::DeniedIds;
use crate::feed::{Change, ChangeKind, SessionDenials};

/// The list is older than allowed, so nothing can be decided by it.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the deny list is {age} s old, more than the {allowed} s allowed: it cannot be followed")]
pub struct Stale {
    /// Its age in seconds.
    pub age: i64,
    /// `max_staleness` in seconds.
    pub allowed: i64,
}

/// What is denied, and up to when that is known.
#[derive(Default)]
pub struct DenyList {
    denied: ArcSwap<Denied>,
    /// Held by whoever changes it.
    changing: Mutex<()>,
    as_of: AtomicI64,
}

#[derive(Clone, Default)]
struct Denied {
    ids: DeniedIds,
    accounts: AHashSet<Account>,
    /// Shared by the lists that differ in keys alone.
    sessions: Arc<SessionDenials>,
}

impl DenyList {
    /// With what is denied at a time.
    pub fn load(&self, ids: &[AccessKeyId], accounts: Vec<Account>, sessions: SessionDenials, at: i64) {
        let ids = DeniedIds::new(ids.iter().map(AccessKeyId::packed).collect());
        let accounts = accounts.into_iter().collect();
        self.change(|denied| *denied = Denied { ids, accounts, sessions: sessions.into() });
        self.is_current_at(at);
    }

    /// Takes in changes, all of them at once.
    pub fn apply(&self, changes: &[Change]) {
        if !changes.iter().any(|change| concerns(change.kind)) {
            return;
        }
        self.change(|denied| {
            changes.iter().for_each(|change| denied.apply(change));
            denied.ids.tidy();
        });
    }

    /// Every change up to this time was taken in. The time may lie before the last one, when the clock was set right.
    pub fn is_current_at(&self, at: i64) {
        self.as_of.store(at, Ordering::Release);
    }

    /// Up to when it is known, in seconds since 1970.
    pub fn as_of(&self) -> i64 {
        self.as_of.load(Ordering::Acquire)
    }

    /// Refuses to speak when it is too old.
    pub fn check_fresh(&self, now: i64, allowed: i64) -> Result<(), Stale> {
        let age = now - self.as_of();
        if age > allowed { Err(Stale { age, allowed }) } else { Ok(()) }
    }

    /// Whether an id, or the account that it names, is denied.
    pub fn holds(&self, id: &AccessKeyId) -> bool {
        let denied = self.denied.load();
        let account = || id.fields().account();
        denied.ids.contains(id)
            || (!denied.accounts.is_empty() && account().is_some_and(|it| denied.accounts.contains(&it)))
    }

    /// Whether an account is denied: for ids that don't name theirs.
    pub fn holds_account(&self, account: Account) -> bool {
        self.denied.load().accounts.contains(&account)
    }

    /// Whether a session is denied: by when it was issued, or through the keys and the account that it comes from. (Its user's keys
    /// are denied one by one, and so its root parent is.)
    pub fn holds_session(&self, session: &Claims) -> bool {
        let denied = self.denied.load();
        let key = |id: &str| AccessKeyId::parse(id.as_bytes()).is_some_and(|id| denied.ids.contains(&id));
        let account = || Account::parse(&session.principal.account);
        denied.sessions.deny(session)
            || key(&session.parent)
            || key(&session.root_parent)
            || account().is_some_and(|account| denied.accounts.contains(&account))
    }

    fn change(&self, change: impl FnOnce(&mut Denied)) {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut denied = Denied::clone(&self.denied.load());
        change(&mut denied);
        self.denied.store(denied.into());
    }
}

fn concerns(kind: ChangeKind) -> bool {
    use ChangeKind as Kind;
    SessionDenials::concerns(kind)
        || matches!(
            kind,
            Kind::KeyActivated
                | Kind::KeyDeactivated
                | Kind::KeyDeleted
                | Kind::KeyDenied
                | Kind::KeyLifted
                | Kind::AccountDenied
                | Kind::AccountLifted
        )
}

impl Denied {
    /// A subject that does not read is the name of nothing that a request could bear.
    fn apply(&mut self, change: &Change) {
        use ChangeKind as Kind;
        if SessionDenials::concerns(change.kind) {
            return Arc::make_mut(&mut self.sessions).apply(change);
        }
        let id = AccessKeyId::parse(change.subject.as_bytes());
        let account = Account::parse(&change.subject);
        match (change.kind, id, account) {
            (Kind::KeyDeactivated | Kind::KeyDeleted | Kind::KeyDenied, Some(id), _) => self.ids.insert(&id),
            (Kind::KeyActivated | Kind::KeyLifted, Some(id), _) => self.ids.remove(&id),
            (Kind::AccountDenied, _, Some(account)) => drop(self.accounts.insert(account)),
            (Kind::AccountLifted, _, Some(account)) => drop(self.accounts.remove(&account)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytes::Bytes;
    use rederive_hsm::access_key_id::{Fields, Generation, Prefix, TagKey};
    use rederive_hsm::feed_head::FeedHead;
    use rederive_hsm::secret::Secret32;
    use rederive_hsm::session_token::Principal;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;
    use crate::feed::{Chain, SignedHead};
    use crate::follower::FeedCopy;

    fn id(number: u32) -> AccessKeyId {
        let (account, generation) = (Account::new((number >> 20).into()), Generation::new(0).expect("small"));
        let fields = Fields::Account { account: account.expect("small"), generation, needs_row: false, serial: number };
        let tag_key = TagKey::new(&Secret32::take(&mut [7; 32]));
        AccessKeyId::assemble(Prefix::parse("AKIA").expect("four letters"), &fields, &tag_key)
    }

    /// From a verifier's copy on disk to a list that answers; with SOAK set a million denied keys, and the figures.
    #[test]
    fn a_copy_of_many_denials_becomes_a_list() {
        let count: u32 = if std::env::var_os("SOAK").is_some() { 1_000_000 } else { 3_000 };
        let directory = tempfile::tempdir().expect("a directory");
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed");
        let pinned = [pair.public_key().as_ref().try_into().expect("32 bytes")];
        let mut chain = Chain::begin(&[1; 16]);
        let mut entries = Vec::new();
        for number in 0..count {
            let seq = i64::from(number) + 1;
            let subject = id(number).to_string();
            let change = Change { seq, at: 1, kind: ChangeKind::KeyDeactivated, subject, detail: String::new() };
            chain = chain.with(&change).expect("follows");
            entries.push(Bytes::from(change.encode().expect("short")));
        }
        let head = FeedHead { epoch: [1; 16], number: count.into(), hash: chain.hash, time: 1 };
        let signature = pair.sign(&head.message()).as_ref().try_into().expect("64 bytes");
        let head = SignedHead::check(head, pinned[0], signature, &pinned).expect("signed");
        let (mut copy, none) = FeedCopy::open(directory.path(), &pinned, |_| {}).expect("empty");
        assert_eq!(none, None);
        copy.add(&entries, &head).expect("written");
        drop((copy, entries));

        let since = Instant::now();
        let list = DenyList::default();
        let (_, found) = FeedCopy::open(directory.path(), &pinned, |changes| list.apply(changes)).expect("opens");
        let took = since.elapsed();
        assert_eq!(found, Some(head));
        assert!((0..count).all(|number| list.holds(&id(number))));
        assert!(!(count..count + 1000).any(|number| list.holds(&id(number))), "the control");
        let since = Instant::now();
        let misses = (count..count + 10_000).map(id).collect::<Vec<_>>();
        let made = since.elapsed();
        let hits = misses.iter().filter(|id| list.holds(id)).count();
        let size = directory.path().join("feed.log").metadata().expect("there").len();
        println!(
            "{count} denied: ready in {took:?}, {size} bytes on disk; 10,000 misses in {:?}, {hits} hits",
            since.elapsed() - made
        );
    }

    #[test]
    fn a_session_is_denied_by_its_time_its_keys_and_its_account() {
        let (parent, root_parent, user) = (id(1), id(2), "AIDAEXAMPLE");
        let session = |issued_at| Claims {
            issued_at,
            expires_at: issued_at + 3600,
            principal: Principal {
                account: "000000000007".into(),
                arn: "arn:aws:iam::000000000007:user/alice".into(),
                user_id: user.into(),
                session_name: None,
            },
            parent: parent.to_string(),
            root_parent: root_parent.to_string(),
            policy: None,
            tags: Default::default(),
            mfa: false,
        };
        use ChangeKind as Kind;
        let change = |kind, subject: &str, detail: &str| Change {
            seq: 1,
            at: 1,
            kind,
            subject: subject.into(),
            detail: detail.into(),
        };
        for (denied, lifted) in [
            (change(Kind::KeyDenied, parent.as_str(), ""), change(Kind::KeyLifted, parent.as_str(), "")),
            (
                change(Kind::KeyDeactivated, root_parent.as_str(), ""),
                change(Kind::KeyActivated, root_parent.as_str(), ""),
            ),
            (change(Kind::AccountDenied, "000000000007", ""), change(Kind::AccountLifted, "000000000007", "")),
            (
                change(Kind::SessionsDenied, "user:AIDAEXAMPLE", "issued-before=100"),
                change(Kind::SessionsLifted, "user:AIDAEXAMPLE", ""),
            ),
        ] {
            let list = DenyList::default();
            assert!(!list.holds_session(&session(50)), "the control");
            list.apply(std::slice::from_ref(&denied));
            assert!(list.holds_session(&session(50)), "{denied:?}");
            let by_time = denied.kind == Kind::SessionsDenied;
            assert_eq!(list.holds_session(&session(100)), !by_time, "{denied:?}");
            list.apply(&[lifted]);
            assert!(!list.holds_session(&session(50)), "{denied:?}");
        }
        let list = DenyList::default();
        let sessions = SessionDenials::from_iter([("account:000000000007".to_owned(), 100)]);
        list.load(&[], Vec::new(), sessions, 1);
        assert!(list.holds_session(&session(99)) && !list.holds_session(&session(100)), "as an issuer starts");
    }
}
