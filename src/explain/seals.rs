//! Keys and scopes under which a signature is tried.

use std::sync::Arc;

use rederive_hsm::signing_key::SigningKey;

use super::search::Seal;
use super::variants::Step;
use super::{ExplainOptions, given::Given};
use crate::sigv4::{ALGORITHM, AmzDate, Authorization, CredentialScope, PreparedSigningKey, TERMINATOR, lower_hex};

/// Regions that clients fall back to.
const REGIONS: [&str; 3] = ["us-east-1", "aws-global", "US"];
const SERVICES: [&str; 6] = ["s3", "iam", "sts", "execute-api", "es", "s3express"];

/// A key, and what has to be otherwise for it to be the right one.
pub(super) struct Key {
    pub key: Arc<PreparedSigningKey>,
    pub steps: Vec<Step>,
}

/// Every key that the options allow, where the scope has no part in what is signed.
pub(super) fn keys(given: &Given<'_, '_>, authorization: &Authorization<'_>, options: &ExplainOptions<'_>) -> Vec<Key> {
    let Some(secret) = options.secret else { return Vec::new() };
    let scope = Scope::of(&authorization.scope);
    let scopes = other_scopes(given, authorization, options);
    let scopes = scopes.into_iter().map(|(other, step)| Key { key: other.derive(secret), steps: vec![step] });
    let secrets = other_secrets(secret, options);
    let secrets = secrets.into_iter().map(|(other, step)| Key { key: scope.derive(&other), steps: vec![step] });
    std::iter::once(Key { key: scope.derive(secret), steps: Vec::new() }).chain(scopes).chain(secrets).collect()
}

/// Every key that the options allow, for every scope that a client may have meant.
pub(super) fn offline(
    given: &Given<'_, '_>,
    authorization: &Authorization<'_>,
    options: &ExplainOptions<'_>,
) -> Vec<Seal> {
    let Some(secret) = options.secret else { return Vec::new() };
    let (scope, date) = (Scope::of(&authorization.scope), &authorization.date);
    let mut seals = with_key(given, authorization, &scope.derive(secret));
    for (other, step) in other_scopes(given, authorization, options) {
        let key = other.derive(secret);
        for named in [&scope, &other] {
            seals.push(seal(authorization, key.clone(), date, named, vec![step.clone()]));
        }
    }
    for (other, step) in other_secrets(secret, options) {
        seals.push(seal(authorization, scope.derive(&other), date, &scope, vec![step]));
    }
    seals
}

/// What one key of the stated scope allows.
pub(super) fn with_key(
    given: &Given<'_, '_>,
    authorization: &Authorization<'_>,
    key: &Arc<PreparedSigningKey>,
) -> Vec<Seal> {
    let scope = Scope::of(&authorization.scope);
    let mut seals = vec![seal(authorization, key.clone(), &authorization.date, &scope, vec![])];
    let date = given.header("date").and_then(AmzDate::parse_date_header).filter(|date| *date != authorization.date);
    if let Some(date) = date {
        let condition = format!("the time of signing were that of the Date header, {date}");
        let step = Step::new("date=date-header", condition);
        seals.push(seal(authorization, key.clone(), &date, &scope, vec![step]));
    }
    seals
}

fn seal(
    authorization: &Authorization<'_>,
    key: Arc<PreparedSigningKey>,
    date: &AmzDate,
    Scope { date: day, region, service }: &Scope,
    steps: Vec<Step>,
) -> Seal {
    let start = format!("{ALGORITHM}\n{date}\n{day}/{region}/{service}/{TERMINATOR}\n");
    let signature = authorization.signature.decode();
    let is_right = move |hash: &[u8; 32]| key.matches(&[start.as_bytes(), &lower_hex(hash)].concat(), &signature);
    Seal { is_right: Box::new(is_right), steps }
}

/// A credential scope, owned.
#[derive(Clone, PartialEq, Eq)]
struct Scope {
    date: String,
    region: String,
    service: String,
}

impl Scope {
    fn of(scope: &CredentialScope<'_>) -> Self {
        Self { date: scope.date().into(), region: scope.region().into(), service: scope.service().into() }
    }

    fn derive(&self, secret: &[u8]) -> Arc<PreparedSigningKey> {
        let date = self.date.as_bytes().try_into().expect("a scope's date is eight digits");
        Arc::new(PreparedSigningKey::new(SigningKey::derive_from_text(secret, date, &self.region, &self.service)))
    }
}

/// Scopes that may have been meant, one part changed in each.
fn other_scopes(
    given: &Given<'_, '_>,
    authorization: &Authorization<'_>,
    options: &ExplainOptions<'_>,
) -> Vec<(Scope, Step)> {
    let stated = Scope::of(&authorization.scope);
    let host = String::from_utf8_lossy(given.header("host").unwrap_or_default()).into_owned();
    let labels: Vec<&str> = host.split(['.', ':']).filter(|label| !label.is_empty()).collect();
    let regions = options.region.into_iter().chain(REGIONS).chain(labels.iter().copied());
    let services = options.service.into_iter().chain(SERVICES).chain(labels.iter().copied());
    let days = [0, -86_400, 86_400].map(|seconds| AmzDate::at(authorization.date.unix() + seconds));
    let regions = regions.map(|region| ("region", region, Scope { region: region.into(), ..stated.clone() }));
    let services = services.map(|service| ("service", service, Scope { service: service.into(), ..stated.clone() }));
    let days = days.iter().map(|day| ("date", day.date(), Scope { date: day.date().into(), ..stated.clone() }));
    let mut scopes: Vec<(Scope, Step)> = Vec::new();
    for (kind, text, scope) in regions.chain(services).chain(days) {
        if scope == stated || scopes.iter().any(|(known, _)| *known == scope) {
            continue;
        }
        let condition = format!("the key were made for the {kind} `{text}`, which is not the one of the credential");
        scopes.push((scope, Step::new(format!("scope={kind}:{text}"), condition)));
    }
    scopes
}

/// Other secrets, and the one at hand as it may have been mistaken.
pub(super) fn other_secrets(secret: &[u8], options: &ExplainOptions<'_>) -> Vec<(zeroize::Zeroizing<Vec<u8>>, Step)> {
    let mut secrets = Vec::new();
    for (index, other) in options.other_secrets.iter().enumerate() {
        let number = index + 1;
        let condition = format!("the other secret number {number} were the key's: the request was signed with it");
        secrets.push((other.to_vec(), Step::new(format!("secret=other:{number}"), condition)));
    }
    let mistaken: [(&str, &str, Vec<u8>); 5] = [
        ("newline", "the signer had a line end after its secret", [secret, b"\n"].concat()),
        ("carriage-return", "the signer had a CR after its secret", [secret, b"\r"].concat()),
        ("blank", "the signer had a blank after its secret", [secret, b" "].concat()),
        ("quoted", "the signer had its secret in quotation marks", [b"\"", secret, b"\""].concat()),
        ("plus-as-blank", "the signer had blanks for the plus signs of its secret", replace(secret, b"+", b" ")),
    ];
    let mistaken =
        mistaken.into_iter().map(|(name, condition, text)| (text, Step::new(format!("secret={name}"), condition)));
    secrets.extend(mistaken.filter(|(text, _)| text != secret));
    secrets.into_iter().map(|(text, step)| (zeroize::Zeroizing::new(text), step)).collect()
}

fn replace(text: &[u8], what: &[u8], by: &[u8]) -> Vec<u8> {
    text.split(|byte| what.contains(byte)).collect::<Vec<_>>().join(by)
}
