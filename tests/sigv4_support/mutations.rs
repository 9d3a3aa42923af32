//! Mutated requests: accepted if, and only if, an independent verifier finds the signature right.
//!
//! That verifier reads the request anew, hands what it read to the signer of AWS's own Rust SDK, and compares signatures. It
//! knows nothing of our strictness: what it finds right may be refused, but never for its signature. `SOAK=1` runs a million
//! mutated requests, else there are some thousands.

use aws_sigv4::http_request::SignableBody;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rederive::sigv4::{AmzDate, Refusal};
use sha2::{Digest as _, Sha256};

use super::sdk_signer::{NOW, SECRET, Signing, sign, unsigned, uri_encode};
use super::sigv4_support::{Verdict, Verifier};

/// Requests that are mutated, and mutants of each.
fn runs() -> (usize, usize) {
    if std::env::var_os("SOAK").is_some() { (5_000, 200) } else { (152, 100) }
}

/// A request as this file reads it.
struct Read<'a> {
    method: &'a str,
    path: &'a str,
    query: Vec<&'a str>,
    headers: Vec<(String, &'a str)>,
    body: &'a [u8],
}

/// `None` for what is no plain HTTP/1.1 request in UTF-8.
fn read(raw: &[u8]) -> Option<Read<'_>> {
    let end = raw.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&raw[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let [method, target, "HTTP/1.1"] = lines.next()?.split(' ').collect::<Vec<_>>()[..] else { return None };
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_plain = !name.is_empty() && !line.starts_with([' ', '\t']) && !line.contains(['\n', '\r', '\t']);
        is_plain.then(|| (name.to_ascii_lowercase(), value.trim_matches(' ')))
    });
    if !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = query.split('&').filter(|piece| !piece.is_empty()).collect();
    Some(Read { method, path, query, headers: headers.collect::<Option<_>>()?, body: &raw[end + 4..] })
}

fn decode(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

impl Read<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    fn parameter(&self, name: &str) -> Option<String> {
        let value = self.query.iter().find_map(|piece| piece.strip_prefix(name)?.strip_prefix('='))?;
        decode(value)
    }

    /// Decoded once and encoded once, as S3 has it; as it is, for the others.
    fn path(&self, service: &str) -> Option<String> {
        match service {
            "s3" => self
                .path
                .split('/')
                .map(|part| decode(part).map(|part| uri_encode(&part)))
                .collect::<Option<Vec<_>>>()
                .map(|parts| parts.join("/")),
            _ => Some(self.path.to_owned()),
        }
    }

    fn listed<'s>(&'s self, names: &'s str) -> impl Iterator<Item = (&'s str, &'s str)> {
        const ADDED: [&str; 3] = ["x-amz-date", "x-amz-content-sha256", "x-amz-security-token"];
        let is_listed = move |name: &str| names.split(';').any(|listed| listed == name) && !ADDED.contains(&name);
        self.headers.iter().filter(move |(name, _)| is_listed(name)).map(|(name, value)| (name.as_str(), *value))
    }

    /// Whether the signature is the one that the SDK makes of this request; `None` if that cannot be told.
    fn is_signed(&self, service: &str) -> Option<bool> {
        match self.header("authorization") {
            Some(authorization) => self.is_signed_in_header(service, authorization),
            None => self.is_signed_in_query(service),
        }
    }

    fn is_signed_in_header(&self, service: &str, authorization: &str) -> Option<bool> {
        let parts = authorization.strip_prefix("AWS4-HMAC-SHA256 ")?;
        let part = |name: &str| parts.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        let (credential, names, signature) = (part("Credential")?, part("SignedHeaders")?, part("Signature")?);
        let date = self.header("x-amz-date")?;
        let at = AmzDate::parse(date.as_bytes())?.unix();
        // The secret is one and the same here, whatever id names it.
        let [id, day, region, of, end] = credential.split('/').collect::<Vec<_>>().try_into().ok()?;
        if (day, of, end) != (&date[..8], service, "aws4_request") {
            return Some(false);
        }
        let hash = base16ct::lower::encode_string(&Sha256::digest(self.body));
        let body = match service {
            // The text is signed; that the body has this hash is to be seen apart.
            "s3" => SignableBody::Precomputed(self.header("x-amz-content-sha256")?.to_owned()),
            _ => SignableBody::Bytes(self.body),
        };
        let is_body = service != "s3" || self.header("x-amz-content-sha256") == Some(&hash);
        let token = self.header("x-amz-security-token").map(str::to_owned);
        let signing = Signing { id, service, region, at, expires: None, token };
        let url = self.url(service, |_| true)?;
        let (instructions, expected) = signing.sign(self.method, url, self.listed(names), body)?;
        let all_are_listed = instructions.headers().all(|(name, _)| {
            name == "authorization"
                || names.split(';').any(|listed| listed == name)
                || (service != "s3" && name == "x-amz-content-sha256")
        });
        Some(expected == signature && is_body && all_are_listed)
    }

    fn is_signed_in_query(&self, service: &str) -> Option<bool> {
        let credential = self.parameter("X-Amz-Credential")?;
        let [id, day, region, of, end] = credential.split('/').collect::<Vec<_>>().try_into().ok()?;
        let (date, names) = (self.parameter("X-Amz-Date")?, self.parameter("X-Amz-SignedHeaders")?);
        let at = AmzDate::parse(date.as_bytes())?.unix();
        let algorithm = self.parameter("X-Amz-Algorithm")?;
        if (day, of, end, &*algorithm) != (&date[..8], service, "aws4_request", "AWS4-HMAC-SHA256") {
            return Some(false);
        }
        // `0600` says the same, and is another text: the SDK would sign `600`.
        let (expires, seconds) = (self.parameter("X-Amz-Expires")?, |text: &str| text.parse::<u64>().ok());
        let expires = Some(seconds(&expires).filter(|number| number.to_string() == expires)?);
        let signing = Signing { id, service, region, at, expires, token: self.parameter("X-Amz-Security-Token") };
        let body = if service == "s3" { SignableBody::UnsignedPayload } else { SignableBody::Bytes(self.body) };
        let is_credential = |name: &str| {
            let names = ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature", "Security-Token"];
            name.strip_prefix("X-Amz-").is_some_and(|name| names.contains(&name))
        };
        let url = self.url(service, |name| !is_credential(name))?;
        let (_, expected) = signing.sign(self.method, url, self.listed(&names), body)?;
        Some(Some(expected) == self.parameter("X-Amz-Signature"))
    }

    fn url(&self, service: &str, takes: impl Fn(&str) -> bool) -> Option<String> {
        let pieces = self.query.iter().filter(|piece| takes(piece.split('=').next().unwrap_or_default()));
        let query = pieces.copied().collect::<Vec<_>>().join("&");
        let mark = if query.is_empty() { "" } else { "?" };
        let host = self.header("host")?;
        Some(format!("http://{host}{}{mark}{query}", self.path(service)?))
    }
}

/// Changes a request in one to three places, in ways that clients, proxies and attackers do.
fn mutate(raw: &[u8], rng: &mut TestRng) -> Vec<u8> {
    let mut raw = raw.to_vec();
    for _ in 0..rng.random_range(1..=3) {
        mutate_once(&mut raw, rng);
    }
    raw
}

fn mutate_once(raw: &mut Vec<u8>, rng: &mut TestRng) {
    const LINES: [&str; 8] = [
        "x-amz-acl: public-read",
        "x-amz-copy-source: /b/k",
        "X-Forwarded-Host: host.example",
        "Host: other.example",
        "x-amz-meta-a: 1",
        "User-Agent: a",
        "Authorization: AWS a:b",
        "x-amz-date: 20260102T030405Z",
    ];
    const PARAMETERS: [&str; 8] = ["acl", "a=%2b", "a=+", "b=%7e", "X-Amz-Date=1", "x-id=GetObject", "a=1&a=2", "=="];
    let end = raw.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or(raw.len().saturating_sub(4));
    let place = rng.random_range(0..raw.len());
    let line_starts: Vec<_> = (2..end).filter(|at| raw[at - 2..*at] == *b"\r\n").collect();
    let a_line = |rng: &mut TestRng| line_starts[rng.random_range(0..line_starts.len())];
    let target_end = |raw: &[u8]| raw.windows(9).position(|bytes| bytes == b" HTTP/1.1").unwrap_or(0);
    match rng.random_range(0..12) {
        0..=2 => raw[place] ^= 1 << rng.random_range(0..8),
        3 => drop(raw.remove(place)),
        4 => raw.insert(place, b" %/&=+;,a0\t"[rng.random_range(0..11)]),
        5 if !line_starts.is_empty() => {
            let line = LINES[rng.random_range(0..LINES.len())];
            let at = a_line(rng);
            raw.splice(at..at, format!("{line}\r\n").into_bytes());
        }
        6 if !line_starts.is_empty() => {
            // A line twice, or somewhere else.
            let at = a_line(rng);
            let length = raw[at..].windows(2).position(|bytes| bytes == b"\r\n").map_or(0, |length| length + 2);
            let line = raw[at..at + length].to_vec();
            if rng.random_range(0..2) == 0 {
                raw.drain(at..at + length);
            }
            let to = line_starts.iter().copied().find(|start| *start <= at).unwrap_or(at);
            raw.splice(to..to, line);
        }
        7 if !line_starts.is_empty() => {
            let at = a_line(rng);
            raw[at].make_ascii_uppercase();
        }
        8 | 9 => {
            let at = target_end(raw);
            let mark = if raw[..at].contains(&b'?') { '&' } else { '?' };
            let parameter = PARAMETERS[rng.random_range(0..PARAMETERS.len())];
            raw.splice(at..at, format!("{mark}{parameter}").into_bytes());
        }
        10 => {
            // Another way to write the same path, for S3.
            let slash = raw.iter().position(|byte| *byte == b'/').unwrap_or(0);
            if raw.get(slash + 1).is_some_and(u8::is_ascii_alphanumeric) {
                let escaped = format!("%{:02x}", raw[slash + 1]).into_bytes();
                raw.splice(slash + 1..slash + 2, escaped);
            }
        }
        _ => raw.extend_from_slice(b"x"),
    }
}

/// What became of the mutants.
#[derive(Default, Debug)]
struct Tally {
    both_accept: usize,
    both_refuse: usize,
    /// The signature is right, and a rule of ours says no.
    stricter: usize,
    /// The independent verifier cannot read it.
    untold: usize,
}

/// Parts of a run, each with random numbers of its own, at the same time.
const PARTS: usize = 8;

/// A request about which the two disagree, or how many there were of each kind.
fn compare(
    verify: impl Fn(&[u8], &str) -> Verdict + Sync,
    (requests, mutants): (usize, usize),
) -> Result<Tally, String> {
    let requests = requests.div_ceil(PARTS);
    let verify = &verify;
    std::thread::scope(|scope| {
        let start = |part| scope.spawn(move || compare_part(verify, part, (requests, mutants)));
        let parts: Vec<_> = (0..PARTS as u8).map(start).collect();
        let done = parts.into_iter().map(|part| part.join().expect("it does not panic"));
        done.sum::<Result<Tally, String>>()
    })
}

impl std::iter::Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |a, b| Self {
            both_accept: a.both_accept + b.both_accept,
            both_refuse: a.both_refuse + b.both_refuse,
            stricter: a.stricter + b.stricter,
            untold: a.untold + b.untold,
        })
    }
}

fn compare_part(
    verify: impl Fn(&[u8], &str) -> Verdict,
    part: u8,
    (requests, mutants): (usize, usize),
) -> Result<Tally, String> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[part; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut tally = Tally::default();
    for _ in 0..requests {
        let request = unsigned().new_tree(&mut runner).expect("a request").current();
        let signed = sign(&request);
        for _ in 0..mutants {
            let raw = mutate(&signed, runner.rng());
            let verdict = verify(&raw, request.service);
            let told = read(&raw).and_then(|read| read.is_signed(request.service));
            match (&verdict, told) {
                (Verdict::Accepted(_), Some(true)) => tally.both_accept += 1,
                (Verdict::Accepted(_), Some(false))
                | (Verdict::Refused(Refusal::SignatureDoesNotMatch { .. }, _), Some(true)) => {
                    return Err(format!("{verdict:?}, and the SDK says {told:?}:\n{}", String::from_utf8_lossy(&raw)));
                }
                (_, Some(true)) => tally.stricter += 1,
                (_, Some(false)) => tally.both_refuse += 1,
                (_, None) => tally.untold += 1,
            }
        }
    }
    Ok(tally)
}

fn ours(raw: &[u8], service: &str) -> Verdict {
    Verifier { secret: SECRET, service, now: NOW }.verify(raw)
}

#[test]
fn mutated_requests_are_accepted_only_where_the_sdk_signs_the_same() {
    let tally = compare(ours, runs()).unwrap_or_else(|disagreement| panic!("{disagreement}"));
    let all = runs().0 * runs().1;
    println!("{all} mutated requests: {tally:?}");
    // Each kind is there, so that the comparison means something.
    assert!(tally.both_refuse > all / 3 && tally.both_accept > all / 50 && tally.stricter > all / 200, "{tally:?}");
}

/// The control: a verifier with a fault in it, of a kind that there has been, is found out.
#[test]
fn a_planted_fault_is_found() {
    let without_added_parameters = |raw: &[u8], service: &str| {
        let text = String::from_utf8_lossy(raw).replacen("&acl ", " ", 1).replacen("?acl ", " ", 1);
        ours(text.as_bytes(), service)
    };
    let runs = (152, 100);
    assert!(compare(without_added_parameters, runs).is_err());
    let without_the_body = |raw: &[u8], service: &str| ours(raw.strip_suffix(b"x").unwrap_or(raw), service);
    assert!(compare(without_the_body, runs).is_err());
}
