//! The search for the fewest deviations under which a signature is right.

use sha2::{Digest as _, Sha256};

use super::effort::Effort;
use super::headers::HOST;
use super::variants::{Part, Step, Variant};

/// Deviations beyond those that cannot be helped.
const MOST_DEVIATIONS: usize = 3;

/// The parts of a canonical request, each in all its forms.
pub(super) struct CanonicalForms {
    pub method: Part,
    pub uri: Part,
    pub query: Part,
    pub headers: Part,
    /// `None` where it is not signed.
    pub host: Option<Part>,
    pub payload: Part,
}

/// Judges a hash.
pub(super) type Judge = dyn Fn(&[u8; 32]) -> bool;

/// A key, and a string to sign but for the hash at its end, under which the signature is tried.
pub(super) struct Seal {
    /// Whether the signature is right over a canonical request with this SHA-256.
    pub is_right: Box<Judge>,
    pub steps: Vec<Step>,
}

/// A deviation under which, with the others found, the signature is right.
pub(super) struct Found {
    pub step: Step,
    /// Names of others that come to the same in this request.
    pub same_as: Vec<String>,
}

const PARTS: usize = 6;

struct Search<'s> {
    parts: [Vec<Variant>; PARTS],
    seals: &'s [Seal],
    effort: Effort,
    chosen: [usize; PARTS],
}

/// What was found: the deviations, none if the signature is right as AWS documents it. `None` if nothing was found
/// within the effort.
pub(super) fn search(forms: CanonicalForms, seals: &[Seal], effort: Effort) -> Option<Vec<Found>> {
    let CanonicalForms { method, uri, query, headers, host, payload } = forms;
    let host = host.unwrap_or_else(|| Part::with_base(b""));
    let parts = [method, uri, query, headers, host, payload].map(Part::into_sorted);
    // A part that has no documented form in this request takes deviations in any case.
    let needed: usize = parts.iter().map(|part| part.first().map_or(0, |variant| variant.steps.len())).sum();
    let mut search = Search { parts, seals, effort, chosen: [0; PARTS] };
    (needed..=needed + MOST_DEVIATIONS).find_map(|deviations| search.walk(0, deviations))
}

impl Search<'_> {
    /// Chooses a form of each part from `part` on, so that all deviations together are `left`.
    fn walk(&mut self, part: usize, left: usize) -> Option<Vec<Found>> {
        if part == PARTS {
            return self.try_seals(left);
        }
        for index in 0..self.parts[part].len() {
            let steps = self.parts[part][index].steps.len();
            if steps > left || self.effort.is_spent() {
                break;
            }
            self.chosen[part] = index;
            if let Some(found) = self.walk(part + 1, left - steps) {
                return Some(found);
            }
        }
        None
    }

    fn try_seals(&mut self, left: usize) -> Option<Vec<Found>> {
        let mut seals = self.seals.iter().filter(|seal| seal.steps.len() == left).peekable();
        seals.peek()?;
        let hash = self.hash();
        let right = seals.find(|seal| self.effort.spend(0) && (seal.is_right)(&hash))?;
        let variants = (0..PARTS).map(|part| &self.parts[part][self.chosen[part]]);
        let found = |step: &Step, same_as: &[String]| Found { step: step.clone(), same_as: same_as.to_vec() };
        let steps = variants.flat_map(|variant| variant.steps.iter().map(|step| found(step, &variant.same_as)));
        Some(steps.chain(right.steps.iter().map(|step| found(step, &[]))).collect())
    }

    /// SHA-256 of the canonical request that is chosen.
    fn hash(&mut self) -> [u8; 32] {
        let [method, uri, query, headers, host, payload] =
            std::array::from_fn(|part| &self.parts[part][self.chosen[part]].text[..]);
        let mut hash = Sha256::new();
        for line in [method, uri, query] {
            hash.update(line);
            hash.update(b"\n");
        }
        let mut pieces = headers.split(|byte| *byte == HOST);
        hash.update(pieces.next().unwrap_or_default());
        for piece in pieces {
            hash.update(host);
            hash.update(piece);
        }
        hash.update(b"\n");
        hash.update(payload);
        let length = [method, uri, query, headers, host, payload].iter().map(|text| text.len()).sum();
        self.effort.spend(length);
        hash.finalize().into()
    }
}
