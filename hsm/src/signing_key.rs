//! The signing-key chain of Signature Version 4: secret → date → region → service → signing key.
//!
//! Source: "Create a signed AWS API request", step "Calculate the signature".

use crate::secret::{Secret32, SecretAccessKey, hmac_sha256};
use hmac::Mac as _;
use zeroize::Zeroizing;

/// `HMAC("AWS4" ‖ secret, date)`.
pub struct DateKey(Secret32);
/// `HMAC(date key, region)`.
pub struct DateRegionKey(Secret32);
/// `HMAC(date-region key, service)`.
pub struct DateRegionServiceKey(Secret32);

/// `kSigning`: a secret narrowed to a date, region and service.
#[derive(Debug)]
pub struct SigningKey(Secret32);

impl DateKey {
    /// `date` is the eight digits of the credential scope.
    pub fn derive(secret: &SecretAccessKey, date: &[u8; 8]) -> Self {
        Self::derive_from_text(secret.expose().as_bytes(), date)
    }

    /// The same for a secret of any length and alphabet: keys that are not ours, in tests and `explain`.
    pub fn derive_from_text(secret: &[u8], date: &[u8; 8]) -> Self {
        let mut key = Zeroizing::new(Vec::with_capacity(4 + secret.len()));
        key.extend_from_slice(b"AWS4");
        key.extend_from_slice(secret);
        let mut mac = hmac_sha256(&key);
        mac.update(date);
        let mut out: [u8; 32] = mac.finalize().into_bytes().into();
        Self(Secret32::take(&mut out))
    }

    /// The next step of the chain.
    pub fn region(&self, region: &str) -> DateRegionKey {
        DateRegionKey(self.0.hmac(region.as_bytes()))
    }
}

impl DateRegionKey {
    /// The next step of the chain.
    pub fn service(&self, service: &str) -> DateRegionServiceKey {
        DateRegionServiceKey(self.0.hmac(service.as_bytes()))
    }
}

impl DateRegionServiceKey {
    /// The last step of the chain.
    pub fn signing_key(&self) -> SigningKey {
        SigningKey(self.0.hmac(b"aws4_request"))
    }
}

impl SigningKey {
    /// The whole chain for a secret of ours.
    pub fn derive(secret: &SecretAccessKey, date: &[u8; 8], region: &str, service: &str) -> Self {
        DateKey::derive(secret, date).region(region).service(service).signing_key()
    }

    /// The whole chain for a secret that is not ours.
    pub fn derive_from_text(secret: &[u8], date: &[u8; 8], region: &str, service: &str) -> Self {
        DateKey::derive_from_text(secret, date).region(region).service(service).signing_key()
    }

    /// From the 32 bytes that came over the wire.
    pub fn from_secret(bytes: Secret32) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, for the one computation that needs them.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}
