//! Who asks, and what they may ask for.

use std::path::PathBuf;
use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use zeroize::Zeroizing;

use super::VerifyCall;
use crate::authority::Asker;
use crate::config::{Caller, Config, Names, Verify};
use crate::http::Peer;

/// The fewest characters of a bearer token.
const MIN_TOKEN: usize = 32;

/// What a caller may have verified.
#[derive(Clone, Debug)]
pub struct Grants {
    /// Its name in the configuration, for the log.
    pub caller: String,
    /// Services.
    pub services: Names,
    /// Regions.
    pub regions: Names,
    /// Whether it may have signing keys.
    pub signing_keys: bool,
    /// Whether refusals are explained to it.
    pub explain: bool,
    /// Whether it may follow the deny feed, as verifiers do.
    pub deny_feed: bool,
    /// Its part of the HSM.
    pub asker: Arc<Asker>,
}

/// A caller asks for what it is not granted: an answer about the caller, not about the signed request.
#[derive(Debug)]
pub(super) struct NotGranted {
    pub at: &'static str,
    pub message: String,
}

impl Grants {
    pub(super) fn check(&self, call: &VerifyCall<'_, '_>) -> Result<(), NotGranted> {
        self.check_scope(call)?;
        if call.want_signing_key {
            self.check_signing_key(call.expect_service)?;
        }
        if call.explain && !self.explain {
            let message =
                format!("refusals are not explained to {}: it takes `explain = true` in its grants", self.caller);
            return Err(NotGranted { at: "explain", message });
        }
        Ok(())
    }

    /// A signing key of iam or sts makes access keys: nobody but the issuer has a use for it.
    fn check_signing_key(&self, service: &str) -> Result<(), NotGranted> {
        let refuse = |message| Err(NotGranted { at: "want_signing_key", message });
        match service {
            "iam" | "sts" => refuse("signing keys of iam and sts are never handed out".into()),
            _ if self.signing_keys => Ok(()),
            _ => refuse(format!("{} may not have signing keys", self.caller)),
        }
    }

    fn check_scope(&self, call: &VerifyCall<'_, '_>) -> Result<(), NotGranted> {
        if !self.services.contains(call.expect_service) {
            let message = format!("{} may not ask for service `{}`", self.caller, call.expect_service);
            return Err(NotGranted { at: "expect.service", message });
        }
        match call.expect_region {
            Some(region) if !self.regions.contains(region) => {
                let message = format!("{} may not ask for region `{region}`", self.caller);
                Err(NotGranted { at: "expect.region", message })
            }
            None if self.regions.is_empty() => {
                Err(NotGranted { at: "expect.region", message: format!("{} may ask for no region", self.caller) })
            }
            _ => Ok(()),
        }
    }
}

/// Why a caller cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("[[caller]] {caller} {key}: {problem}")]
pub struct CallerError {
    /// Its name.
    pub caller: String,
    /// The key of the configuration.
    pub key: &'static str,
    /// What is wrong.
    pub problem: String,
}

/// Everyone who may ask.
#[derive(Debug)]
pub struct Callers {
    /// Set where no caller is configured: whoever reaches the listener may ask for all that the node verifies.
    open: Option<Arc<Grants>>,
    tokens: Vec<([u8; 32], Arc<Grants>)>,
    certificates: Vec<(ServerName<'static>, Arc<Grants>)>,
}

impl Callers {
    /// Reads the token files. What a caller is granted is never more than what the node verifies.
    pub fn new(config: &Config) -> Result<Self, CallerError> {
        let verify = &config.verify;
        let anyone = || {
            let (Verify { services, regions, .. }, anyone) = (verify.clone(), &config.rpc.anyone);
            let (signing_keys, explain) = (anyone.want_signing_key, anyone.explain);
            let asker = Asker::new("anyone", config.hsm.per_caller);
            let caller = "anyone".into();
            Arc::new(Grants { caller, services, regions, signing_keys, explain, deny_feed: true, asker })
        };
        let open = config.caller.is_empty().then(anyone);
        let mut callers = Self { open, tokens: Vec::new(), certificates: Vec::new() };
        for caller in &config.caller {
            let grants = Grants {
                caller: caller.name.clone(),
                services: caller.services.intersect(&verify.services),
                regions: caller.regions.intersect(&verify.regions),
                signing_keys: caller.want_signing_key,
                explain: caller.explain,
                deny_feed: caller.deny_feed,
                asker: Asker::new(&caller.name, caller.hsm_per_second.unwrap_or(config.hsm.per_caller)),
            };
            callers.add(caller, Arc::new(grants))?;
        }
        Ok(callers)
    }

    fn add(&mut self, caller: &Caller, grants: Arc<Grants>) -> Result<(), CallerError> {
        let refuse = |key, problem: String| CallerError { caller: caller.name.clone(), key, problem };
        if let Some(path) = &caller.token_file {
            let hash = token_hash(path).map_err(|problem| refuse("token_file", problem))?;
            if self.tokens.iter().any(|(known, _)| *known == hash) {
                return Err(refuse("token_file", "holds the token of another caller: each needs its own".into()));
            }
            self.tokens.push((hash, grants));
        } else if let Some(san) = &caller.mtls_san {
            let name = ServerName::try_from(san.clone())
                .map_err(|_| refuse("mtls_san", format!("`{san}` is neither a DNS name nor an IP address")))?;
            self.certificates.push((name, grants));
        }
        Ok(())
    }

    /// Who asks: by bearer token where there is one, else by certificate. The text of an error is for the caller.
    pub(super) fn identify(&self, headers: &HeaderMap, peer: &Peer) -> Result<&Arc<Grants>, &'static str> {
        if let Some(open) = &self.open {
            return Ok(open);
        }
        if headers.contains_key(AUTHORIZATION) {
            return self.by_token(headers);
        }
        match &peer.certificate {
            Some(certificate) => self.by_certificate(certificate),
            None => Err("say who is asking, with a bearer token or a client certificate"),
        }
    }

    fn by_token(&self, headers: &HeaderMap) -> Result<&Arc<Grants>, &'static str> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err("there is more than one Authorization header");
        };
        let token = bearer(value.as_bytes()).ok_or("the Authorization header is not `Bearer` and a token")?;
        let hash: [u8; 32] = Sha256::digest(token).into();
        // Hashes differ in every bit, and every one is compared to its end: the time tells nothing about the tokens.
        let matching = self.tokens.iter().fold(
            None,
            |found, (known, grants)| {
                if known.ct_eq(&hash).into() { Some(grants) } else { found }
            },
        );
        matching.ok_or("the bearer token is not one of ours")
    }

    fn by_certificate(&self, certificate: &CertificateDer<'_>) -> Result<&Arc<Grants>, &'static str> {
        let certificate = webpki::EndEntityCert::try_from(certificate).map_err(|_| "the certificate cannot be read")?;
        let is = |name: &ServerName<'_>| certificate.verify_is_valid_for_subject_name(name).is_ok();
        let mut matching = self.certificates.iter().filter(|(name, _)| is(name));
        match (matching.next(), matching.next()) {
            (Some((_, grants)), None) => Ok(grants),
            (None, _) => Err("the client certificate is none of the callers'"),
            // As a wildcard does. Which caller's grants are meant would be a guess.
            (Some(_), Some(_)) => Err("the client certificate fits more than one caller"),
        }
    }
}

/// What follows `Bearer ` (RFC 6750; the scheme is case-insensitive, RFC 9110).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token.trim_ascii())
}

/// Only the hash of a token is kept.
fn token_hash(path: &PathBuf) -> Result<[u8; 32], String> {
    let text = std::fs::read(path).map(Zeroizing::new);
    let text = text.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let token = text.trim_ascii();
    let is_token = token.len() >= MIN_TOKEN && token.iter().all(u8::is_ascii_graphic);
    if is_token {
        Ok(Sha256::digest(token).into())
    } else {
        Err(format!("{} does not hold one line of at least {MIN_TOKEN} visible ASCII characters", path.display()))
    }
}
