//! `tests/vectors/streaming/cases.toml`: bodies row by row, each accepted or refused with its code.

use rederive::streaming::{ChunkLimits, Vouched};
use serde::Deserialize;

use crate::signer::{Outcome, SEED, Signer, Wire, hex, kind};
use crate::sigv4_support::{read_text, tests_path};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    case: Vec<Case>,
}

/// The head of the file tells what the fields are.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    kind: String,
    headers: Vec<String>,
    #[serde(default)]
    most: Option<u64>,
    body: String,
    #[serde(default)]
    pub data: Option<String>,
    #[serde(default)]
    pub code: Option<String>,
    #[serde(default)]
    says: Option<String>,
    #[serde(default)]
    offset: Option<u64>,
}

impl Case {
    pub fn wire(&self) -> Wire {
        let header = |line: &String| {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line} is no header"));
            (name.to_owned(), value.to_owned())
        };
        let mut limits = ChunkLimits::default();
        limits.most = self.most.unwrap_or(limits.most);
        let headers = self.headers.iter().map(header).collect();
        Wire { kind: kind(&self.kind), headers, seed: SEED, limits, body: fill(&self.body) }
    }
}

pub fn cases() -> Vec<Case> {
    let name = "vectors/streaming/cases.toml";
    let cases: Cases = toml::from_str(&read_text(&tests_path(name))).unwrap_or_else(|error| panic!("{name}: {error}"));
    cases.case
}

/// Puts in what `<…>` stands for.
fn fill(template: &str) -> Vec<u8> {
    let (mut signer, mut body) = (Signer::new(&hex(&SEED)), Vec::new());
    let mut rest = template;
    while let Some((before, tail)) = rest.split_once('<') {
        let (token, after) = tail.split_once('>').expect("a closing bracket");
        body.extend_from_slice(before.as_bytes());
        match token.split_once(' ') {
            Some(("sign", data)) => body.extend_from_slice(signer.chunk(&expand(data)).as_bytes()),
            Some(("seal", lines)) => {
                let lines: String = lines.split(' ').map(|line| format!("{line}\n")).collect();
                body.extend_from_slice(signer.trailer(&lines).as_bytes());
            }
            Some(("again", data)) => body.extend_from_slice(first(&SEED, data).as_bytes()),
            Some(("other", data)) => body.extend_from_slice(first(&[0x0e; 32], data).as_bytes()),
            _ => body.extend_from_slice(&expand(token)),
        }
        rest = after;
    }
    body.extend_from_slice(rest.as_bytes());
    body
}

/// The signature of the first chunk after that of a request.
fn first(seed: &[u8; 32], data: &str) -> String {
    Signer::new(&hex(seed)).chunk(&expand(data))
}

/// `8192*a` is so many of the letter; anything else is itself, and `-` is nothing.
fn expand(data: &str) -> Vec<u8> {
    match data.split_once('*') {
        Some((count, letter)) => letter.repeat(count.parse().expect("a number")).into_bytes(),
        None if data == "-" => Vec::new(),
        None => data.as_bytes().to_vec(),
    }
}

fn check(case: &Case, outcome: &Outcome) -> Result<(), String> {
    match (&case.data, &case.code, &outcome.end) {
        (Some(data), None, Ok(body)) => {
            let data = data.split(' ').flat_map(expand).collect::<Vec<u8>>();
            let vouched = if case.kind.contains("UNSIGNED") { Vouched::ByChecksums } else { Vouched::BySignatures };
            let is_right = outcome.data == data && body.length() == data.len() as u64 && body.vouched() == vouched;
            if is_right { Ok(()) } else { Err(format!("{body:?}")) }
        }
        (None, Some(code), Err(error)) => {
            let outside = error.outside();
            assert!(!outside.message.is_empty() && (400..412).contains(&outside.http_status));
            let says = case.says.as_deref().unwrap_or_else(|| panic!("{}: what does it say?", case.name));
            let is_there = case.offset.is_none_or(|offset| offset == error.offset);
            let is_right = outside.code == code && error.to_string().contains(says) && is_there;
            if is_right { Ok(()) } else { Err(format!("{}: {error}", outside.code)) }
        }
        (_, _, end) => Err(format!("{end:?}")),
    }
}

#[test]
fn bodies_come_out_as_listed() {
    let (mut problems, mut accepted, mut refused) = (Vec::new(), 0, 0);
    for case in cases() {
        let outcome = case.wire().decode();
        match outcome.end {
            Ok(_) => accepted += 1,
            Err(_) => refused += 1,
        }
        if let Err(why) = check(&case, &outcome) {
            problems.push(format!("{}: {why}", case.name));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(accepted >= 15 && refused >= 50, "{accepted} accepted, {refused} refused");
}
