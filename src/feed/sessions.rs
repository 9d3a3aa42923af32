//! Sessions that are denied by when they were issued: of an account, of a user, or of the key that they come from.
//!
//! One number for each of those, however many sessions there are: a session says in its token, which only an issuer's worker can
//! seal, whose it is and when it was issued.

use ahash::AHashMap;
use rederive_hsm::session_token::Claims;

use super::{Change, ChangeKind};

const ISSUED_BEFORE: &str = "issued-before=";

/// What is denied: by `key:ID`, `user:UNIQUE-ID` or `account:NUMBER` the time, in seconds since 1970, before which it was issued.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionDenials(AHashMap<Box<str>, i64>);

impl SessionDenials {
    /// The detail of an entry that denies.
    pub fn detail(issued_before: i64) -> String {
        format!("{ISSUED_BEFORE}{issued_before}")
    }

    /// The time that the detail of an entry tells. One that does not read, of a later version perhaps, denies them all.
    pub fn issued_before(detail: &str) -> i64 {
        detail.strip_prefix(ISSUED_BEFORE).and_then(|time| time.parse().ok()).unwrap_or(i64::MAX)
    }

    /// Whether an entry is one of those that tell of sessions.
    pub fn concerns(kind: ChangeKind) -> bool {
        matches!(kind, ChangeKind::SessionsDenied | ChangeKind::SessionsLifted)
    }

    /// Takes an entry in. A denial takes the place of the one before, a lifting ends it.
    pub fn apply(&mut self, change: &Change) {
        match change.kind {
            ChangeKind::SessionsDenied => {
                self.0.insert(change.subject.as_str().into(), Self::issued_before(&change.detail));
            }
            ChangeKind::SessionsLifted => drop(self.0.remove(change.subject.as_str())),
            _ => {}
        }
    }

    /// Whether a session is denied: through its account, its principal, the key that asked for it, or the long-term key at the start
    /// of its chain of roles. One that was issued in the very second that is named is not.
    pub fn deny(&self, session: &Claims) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let names = [
            format!("account:{}", session.principal.account),
            format!("user:{}", session.principal.user_id),
            format!("key:{}", session.parent),
            format!("key:{}", session.root_parent),
        ];
        names.iter().any(|name| self.0.get(name.as_str()).is_some_and(|before| session.issued_at < *before))
    }
}

impl FromIterator<(String, i64)> for SessionDenials {
    /// From names and times, as the registry keeps them.
    fn from_iter<T: IntoIterator<Item = (String, i64)>>(denials: T) -> Self {
        Self(denials.into_iter().map(|(name, before)| (name.into(), before)).collect())
    }
}

#[cfg(test)]
mod tests {
    use rederive_hsm::session_token::Principal;

    use super::*;

    const ACCOUNT: &str = "123456789012";
    const USER: &str = "AIDAEXAMPLE";
    const ROLE: &str = "AROAEXAMPLE";
    const KEY: &str = "AKIARZPUZDIKAAERULUU";
    const ROOT_KEY: &str = "AKIARZPUZDIKABRANAXZ";

    fn session(issued_at: i64) -> Claims {
        Claims {
            issued_at,
            expires_at: issued_at.saturating_add(3600),
            principal: Principal {
                account: ACCOUNT.into(),
                arn: "arn:aws:iam::123456789012:user/alice".into(),
                user_id: USER.into(),
                session_name: None,
            },
            parent: KEY.into(),
            root_parent: ROOT_KEY.into(),
            policy: None,
            tags: Default::default(),
            mfa: false,
        }
    }

    fn change(kind: ChangeKind, subject: &str, detail: &str) -> Change {
        Change { seq: 1, at: 1, kind, subject: subject.into(), detail: detail.into() }
    }

    fn after(entries: &[(ChangeKind, &str, &str)]) -> SessionDenials {
        let mut denials = SessionDenials::default();
        entries.iter().for_each(|(kind, subject, detail)| denials.apply(&change(*kind, subject, detail)));
        denials
    }

    #[test]
    fn what_was_issued_before_is_denied_and_what_comes_after_is_not() {
        use ChangeKind::{SessionsDenied as Denied, SessionsLifted as Lifted};
        let [account, user, key, root] = [("account", ACCOUNT), ("user", USER), ("key", KEY), ("key", ROOT_KEY)]
            .map(|(of, name)| format!("{of}:{name}"));
        for of in [&account, &user, &key, &root] {
            let denials = after(&[(Denied, of, "issued-before=100")]);
            assert!(denials.deny(&session(99)), "{of}");
            assert!(!denials.deny(&session(100)) && !denials.deny(&session(101)), "{of}");
            let later = after(&[(Denied, of, "issued-before=100"), (Denied, of, "issued-before=200")]);
            assert!(later.deny(&session(199)) && !later.deny(&session(200)), "{of}");
            assert!(!after(&[(Denied, of, "issued-before=100"), (Lifted, of, "")]).deny(&session(1)), "{of}");
            assert!(after(&[(Denied, of, "of a later version")]).deny(&session(i64::MAX - 1)), "{of}");
        }
        // One of several is enough, and what is lifted leaves the others.
        let both = after(&[(Denied, &account, "issued-before=10"), (Denied, &key, "issued-before=100")]);
        assert!(both.deny(&session(50)));
        let one =
            after(&[(Denied, &account, "issued-before=10"), (Denied, &key, "issued-before=100"), (Lifted, &key, "")]);
        assert!(one.deny(&session(9)) && !one.deny(&session(50)));
    }

    #[test]
    fn others_are_not_denied() {
        use ChangeKind::SessionsDenied as Denied;
        let others = [
            "account:000000000001".to_owned(),
            format!("user:{ROLE}"),
            format!("key:{USER}"),
            format!("user:{KEY}"),
            KEY.to_owned(),
        ];
        for of in &others {
            assert!(!after(&[(Denied, of, "issued-before=100")]).deny(&session(1)), "{of}");
        }
        assert!(!after(&[(ChangeKind::KeyDenied, KEY, "")]).deny(&session(1)), "that is another list");
        assert!(!SessionDenials::default().deny(&session(i64::MIN)));
    }

    #[test]
    fn a_detail_reads_back() {
        for time in [0, 1_795_262_400, -1] {
            assert_eq!(SessionDenials::issued_before(&SessionDenials::detail(time)), time);
        }
        for wrong in ["", "issued-before=", "issued-before=1;more", "100"] {
            assert_eq!(SessionDenials::issued_before(wrong), i64::MAX, "{wrong:?}");
        }
    }
}
