//! What the node may answer, told by software that knows the secret: everything else is counted against it.

use std::sync::atomic::{AtomicU64, Ordering};

use rederive_hsm::access_key_id::AccessKeyId;
use rederive_hsm::derivation::{secret_access_key, secret_message};

use crate::common::{Pair, sign};
use crate::place::{Node, master};

/// What was asked, and whether it is right to accept it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// The signature is of the right secret.
    Valid,
    /// It is of another.
    Forged,
}

/// Answers compared so far.
#[derive(Default, Debug)]
pub struct Tally {
    pub compared: u64,
    pub unavailable: u64,
    /// Accepted though forged, or a secret that is not the master's.
    pub wrong: Vec<String>,
    /// Refused though valid.
    pub refused: Vec<String>,
}

impl Tally {
    /// Compares an answer with the truth.
    pub fn judge(&mut self, truth: Truth, verdict: &str, what: &str) {
        self.compared += 1;
        let said = || format!("{what}: {truth:?} was answered {verdict}");
        match (truth, verdict) {
            (Truth::Valid, "accept") | (Truth::Forged, "refuse SignatureDoesNotMatch") => {}
            (_, "503") => self.unavailable += 1,
            (Truth::Forged, "accept") => self.wrong.push(said()),
            _ => self.refused.push(said()),
        }
    }

    /// Compares the answer to a valid request whose signing key is cached: nothing but "accept" is right.
    pub fn judge_cached(&mut self, verdict: &str, what: &str) {
        self.compared += 1;
        if verdict != "accept" {
            self.refused.push(format!("{what}: a cached request was answered {verdict}"));
        }
    }

    /// Compares a new key with what software derives for its id.
    pub fn judge_key(&mut self, key: &Pair, what: &str) {
        self.compared += 1;
        let id = AccessKeyId::parse(key.access_key_id.as_bytes()).expect("an id");
        let secret = secret_access_key(&master().hmac(&secret_message(&id, None)));
        if secret.expose() != key.secret_access_key {
            self.wrong.push(format!("{what}: {id} was given a secret that is not the master's"));
        }
    }

    pub fn add(&mut self, other: Self) {
        self.compared += other.compared;
        self.unavailable += other.unavailable;
        self.wrong.extend(other.wrong);
        self.refused.extend(other.refused);
    }

    /// Nothing may ever be wrong.
    pub fn check(&self) {
        assert!(self.wrong.is_empty() && self.refused.is_empty(), "{:#?} {:#?}", self.wrong, self.refused);
    }
}

/// A region that was never named before, so that its key is not in any cache.
pub fn fresh_region() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("r-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A request in a fresh region, and its truth.
pub fn cold(pair: &Pair, truth: Truth) -> sign::Signed {
    cold_in(&fresh_region(), pair, truth)
}

pub fn cold_in(region: &str, pair: &Pair, truth: Truth) -> sign::Signed {
    let mut pair = pair.clone();
    if truth == Truth::Forged {
        let first = if pair.secret_access_key.starts_with('A') { "B" } else { "A" };
        pair.secret_access_key.replace_range(..1, first);
    }
    sign::s3_get(&pair, region, "h", "/b/k")
}

/// Asks for both truths, a few times at once, each cold.
pub fn ask_both(node: &Node, pair: &Pair, times: usize, what: &str) -> Tally {
    let one = |at: usize| {
        let truth = if at.is_multiple_of(2) { Truth::Valid } else { Truth::Forged };
        let mut tally = Tally::default();
        tally.judge(truth, &node.verdict(&cold(pair, truth)), what);
        tally
    };
    let one = &one;
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..2 * times).map(|at| scope.spawn(move || one(at))).collect();
        let mut tally = Tally::default();
        asked.into_iter().for_each(|one| tally.add(one.join().expect("no panic")));
        tally
    })
}
