//! Counts by kind and generation: what was asked over the wire, and what a master was used for.
//!
//! The worker counts the requests that it reads, the authority those that it sends; each kind of request leads to uses of a master
//! that the worker counts apart. Two counts that differ mean that somebody else asked.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::access_key_id::Generation;
use crate::wire::Request;

/// In place of a generation for what has none.
const NO_GENERATION: u8 = 255;

/// Kinds of requests, by the code of [`Request`] on the wire.
const REQUESTS: [(u8, &str); 7] = [
    (1, "signing_key"),
    (2, "tag_key"),
    (3, "check"),
    (4, "issue"),
    (5, "sign_head"),
    (6, "sigv4a_public_key"),
    (7, "matches_v2"),
];

/// What a master is used for, by the shape of the message that it is given.
const PURPOSES: [(u8, &str); 4] = [(1, "secret"), (2, "serial"), (3, "access-key-id-tag"), (4, "check-value")];

/// Counts, each by (code of a kind, number of a generation).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u8, u8, u64)>", into = "Vec<(u8, u8, u64)>")]
pub struct Tally(BTreeMap<(u8, u8), u64>);

/// What a worker has counted, as of one request for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sheet {
    /// What was asked for with, so that the authority knows as of when.
    pub mark: u64,
    /// Names the worker process: its counts begin with it.
    pub instance: [u8; 8],
    /// Requests of this connection.
    pub own: Tally,
    /// Requests of all connections.
    pub all: Tally,
    /// Uses of masters.
    pub uses: Tally,
}

impl Tally {
    /// One more request.
    pub fn count_request(&mut self, request: &Request) {
        if let Some(kind) = kind_of(request) {
            *self.0.entry(kind).or_default() += 1;
        }
    }

    /// Each count with its kind and its generation.
    pub fn iter(&self) -> impl Iterator<Item = ((u8, u8), u64)> {
        self.0.iter().map(|(kind, count)| (*kind, *count))
    }

    /// The requests by their names.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, String, u64)> {
        self.named(&REQUESTS)
    }

    /// The uses by the names of their purposes.
    pub fn purposes(&self) -> impl Iterator<Item = (&'static str, String, u64)> {
        self.named(&PURPOSES)
    }

    fn named(&self, names: &'static [(u8, &'static str)]) -> impl Iterator<Item = (&'static str, String, u64)> {
        self.iter().map(|((code, generation), count)| {
            let name = names.iter().find(|(known, _)| *known == code).map_or("unknown", |(_, name)| name);
            let generation = if generation == NO_GENERATION { String::new() } else { generation.to_string() };
            (name, generation, count)
        })
    }

    /// These and those.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        other.iter().for_each(|(kind, count)| *self.0.entry(kind).or_default() += count);
        self
    }

    /// These without those; what would be less than nothing is nothing.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let of = |kind: &(u8, u8)| other.0.get(kind).copied().unwrap_or(0);
        let left = self.0.iter().map(|(kind, count)| (*kind, count.saturating_sub(of(kind))));
        Self(left.filter(|(_, count)| *count > 0).collect())
    }

    /// Whether there are nowhere more than there.
    pub fn is_within(&self, other: &Self) -> bool {
        self.minus(other).0.is_empty()
    }
}

/// None for the request for a sheet itself.
fn kind_of(request: &Request) -> Option<(u8, u8)> {
    let of = |generation: Generation| generation.number();
    Some(match request {
        Request::SigningKey { id, .. } => (1, of(id.fields().generation())),
        Request::TagKey(generation) => (2, of(*generation)),
        Request::Check(generation) => (3, of(*generation)),
        Request::Issue { generation, .. } => (4, of(*generation)),
        Request::SignHead(_) => (5, NO_GENERATION),
        Request::SigV4aPublicKey { id, .. } => (6, of(id.fields().generation())),
        Request::MatchesV2(question) => (7, of(question.id().fields().generation())),
        Request::Tally(_) => return None,
    })
}

/// Uses of masters, counted by whoever uses them.
#[derive(Debug, Default)]
pub struct Uses(Mutex<Tally>);

impl Uses {
    /// One more, for this message.
    pub fn count(&self, generation: Generation, message: &[u8]) {
        let purpose = match message {
            [0, rest @ ..] if rest.starts_with(b"rederive/v1/serial/") => 2,
            b"\0rederive/v1/access-key-id-tag" => 3,
            b"\0rederive/v1/check-value" => 4,
            // Ids do not begin with 0.
            [0, ..] => 0,
            _ => 1,
        };
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *uses.0.entry((purpose, generation.number())).or_default() += 1;
    }

    /// All so far.
    pub fn so_far(&self) -> Tally {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl From<Vec<(u8, u8, u64)>> for Tally {
    fn from(counts: Vec<(u8, u8, u64)>) -> Self {
        Self(counts.into_iter().map(|(code, generation, count)| ((code, generation), count)).collect())
    }
}

impl From<Tally> for Vec<(u8, u8, u64)> {
    fn from(tally: Tally) -> Self {
        tally.0.into_iter().map(|((code, generation), count)| (code, generation, count)).collect()
    }
}
