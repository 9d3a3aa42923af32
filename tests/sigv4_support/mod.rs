//! What the suites of the signature core share: running a raw request through it, and lists of known divergences.

// Each suite is a crate of its own and uses a part of this.
#![allow(dead_code)]

pub mod shapes;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::prelude::*;
use rederive::sigv4::{
    AmzDate, Body, Expectation, HeadError, Limits, Outside, PayloadStatus, PreparedSigningKey, Refusal, Regions,
    RequestHead, SignedRequest, StringToSignError, UnixSeconds,
};
use rederive_hsm::signing_key::SigningKey;
use serde::Deserialize;

/// A folder or file under `tests/`.
pub fn tests_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// The content of a file under `tests/`.
pub fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The content of a text file, if it is there.
pub fn read_text(path: &Path) -> String {
    String::from_utf8(read(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A JSON file under `tests/`.
pub fn read_json<T: serde::de::DeserializeOwned>(name: &str) -> T {
    serde_json::from_slice(&read(&tests_path(name))).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// `request-cases.json`: requests under one secret, each with what a strict verifier says of it.
#[derive(Deserialize)]
pub struct RequestCases {
    pub secret: String,
    pub cases: Vec<RequestCase>,
}

/// One of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestCase {
    pub id: String,
    pub service: String,
    now: String,
    pub expect: Expect,
    /// Codes with `|` between them, each with an explanation in brackets at will.
    #[serde(default)]
    pub code: String,
    #[serde(rename = "why")]
    _why: String,
    request_b64: String,
}

/// What a strict verifier says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expect {
    Accept,
    Reject,
    RejectAtBody,
    Policy,
    AcceptOrReject,
}

impl RequestCases {
    pub fn read() -> Self {
        read_json("vectors/computed/request-cases.json")
    }
}

impl RequestCase {
    pub fn raw(&self) -> Vec<u8> {
        BASE64_STANDARD.decode(&self.request_b64).expect("base64")
    }

    pub fn now(&self) -> UnixSeconds {
        unix(&self.now)
    }
}

/// The folders in a folder, at any depth, that hold files.
pub fn case_folders(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut has_files = false;
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            found.extend(case_folders(&path));
        } else {
            has_files = true;
        }
    }
    if has_files {
        found.push(folder.to_owned());
    }
    found.sort();
    found
}

/// How a request is verified.
#[derive(Clone, Copy)]
pub struct Verifier<'a> {
    pub secret: &'a str,
    pub service: &'a str,
    pub now: UnixSeconds,
}

/// What came out.
#[derive(Debug)]
pub enum Verdict {
    Accepted(PayloadStatus),
    Refused(Refusal, Outside),
    BodyRequired,
    Malformed(HeadError),
}

impl Verdict {
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted(_))
    }

    /// The AWS code of a refusal.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::Refused(_, outside) => Some(outside.code),
            _ => None,
        }
    }
}

impl Verifier<'_> {
    /// Verifies a raw request whose body is what follows the head.
    pub fn verify(&self, raw: &[u8]) -> Verdict {
        match RequestHead::parse(raw, &Limits::default()) {
            Ok((head, body)) => self.verify_head(&head, Body::Bytes(&raw[body..])),
            Err(error) => Verdict::Malformed(error),
        }
    }

    pub fn verify_head<'a>(&self, head: &RequestHead<'a>, body: Body<'a>) -> Verdict {
        let outcome = SignedRequest::parse(head).map_err(StringToSignError::from).and_then(|request| {
            let outcome = self.steps(&request, body);
            if outcome.is_ok() {
                shapes::learn(&request);
            }
            outcome
        });
        shapes::each_alike(head, |request| shapes::must_agree(head, &outcome, &self.steps(request, body)));
        match outcome {
            Ok(payload) => Verdict::Accepted(payload),
            Err(StringToSignError::BodyRequired) => Verdict::BodyRequired,
            Err(StringToSignError::Refused(refusal)) => {
                let outside = refusal.outside(rederive::sigv4::Family::of(self.service));
                Verdict::Refused(refusal, outside)
            }
        }
    }

    fn steps<'a>(&self, request: &SignedRequest<'_, 'a>, body: Body<'a>) -> Result<PayloadStatus, StringToSignError> {
        let expectation = Expectation { service: self.service, regions: Regions::Any };
        let scoped = request.check_scope_and_time(&expectation, self.now)?;
        let string_to_sign = scoped.string_to_sign(body)?;
        let scope = string_to_sign.scope();
        let date = scope.date().as_bytes().try_into().expect("eight digits");
        let key = SigningKey::derive_from_text(self.secret.as_bytes(), date, scope.region(), scope.service());
        let verified = string_to_sign.verify(&PreparedSigningKey::new(key))?;
        Ok(verified.payload())
    }
}

/// The time of an ISO 8601 text, in its basic or its extended form.
pub fn unix(text: &str) -> UnixSeconds {
    let basic: String = text.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    AmzDate::parse(basic.as_bytes()).unwrap_or_else(|| panic!("{text} is not a time")).unix()
}

/// A list of divergences: what is known to come out otherwise than published, each with its reason.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Divergences {
    divergence: Vec<Divergence>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Divergence {
    cases: Vec<String>,
    reason: String,
}

/// Results by case; checked against the list in which the expected failures stand.
#[derive(Default)]
pub struct Results {
    by_case: BTreeMap<String, Result<(), String>>,
}

impl Results {
    pub fn add(&mut self, case: impl Into<String>, result: Result<(), String>) {
        let case = case.into();
        assert!(self.by_case.insert(case.clone(), result).is_none(), "{case} ran twice");
    }

    pub fn compare<T: PartialEq + std::fmt::Debug>(&mut self, case: impl Into<String>, got: T, expected: T) {
        let result = if got == expected { Ok(()) } else { Err(format!("got {got:?}\nexpected {expected:?}")) };
        self.add(case, result);
    }

    pub fn count(&self, part: &str) -> usize {
        self.by_case.keys().filter(|case| case.contains(part)).count()
    }

    /// Fails if a case fails that is not listed, or passes though it is listed, or is listed and was never run.
    pub fn check_against(&self, list: &str) {
        let text = read_text(&tests_path(list));
        let divergences: Divergences = toml::from_str(&text).unwrap_or_else(|error| panic!("{list}: {error}"));
        let mut problems = Vec::new();
        let mut listed = std::collections::BTreeSet::new();
        for divergence in &divergences.divergence {
            assert!(divergence.reason.len() > 20, "{list}: a divergence needs a reason");
            for case in &divergence.cases {
                assert!(listed.insert(case.clone()), "{list} lists {case} twice");
                match self.by_case.get(case) {
                    None => problems.push(format!("{case}: listed in {list}, never run")),
                    Some(Ok(())) => problems.push(format!("{case}: listed in {list}, and passes")),
                    Some(Err(_)) => {}
                }
            }
        }
        for (case, result) in &self.by_case {
            if let Err(why) = result
                && !listed.contains(case)
            {
                problems.push(format!("{case}: {why}"));
            }
        }
        assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    }
}
