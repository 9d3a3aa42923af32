//! The signing-key chain of Signature Version 4: secret → date → region → service → signing key.
//!
//! Source: "Create a signed AWS API request", step "Calculate the signature".

use crate::secret::{Secret32, SecretAccessKey};

/// The date of a credential scope: eight digits that are a day of the calendar.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ScopeDate([u8; 8]);

impl ScopeDate {
    /// `yyyymmdd`; `None` for the 30th of February and the like.
    pub fn parse(digits: &[u8; 8]) -> Option<Self> {
        Self(*digits).calendar()?;
        Some(Self(*digits))
    }

    /// The day that is so many days after 1 January 1970, in this and the coming millennia.
    pub fn of_day(days_since_1970: i64) -> Option<Self> {
        let first = time::Date::from_ordinal_date(1970, 1).ok()?;
        let date = first.checked_add(time::Duration::days(days_since_1970))?;
        let text = format!("{:04}{:02}{:02}", date.year(), u8::from(date.month()), date.day());
        Self::parse(text.as_bytes().try_into().ok()?)
    }

    /// The eight digits.
    pub fn digits(&self) -> &[u8; 8] {
        &self.0
    }

    /// Days since 1 January 1970.
    pub fn days_since_1970(&self) -> i64 {
        let day = self.calendar().expect("checked when it was parsed");
        i64::from(day.to_julian_day() - time::Date::from_ordinal_date(1970, 1).expect("a day").to_julian_day())
    }

    fn calendar(&self) -> Option<time::Date> {
        let number = |range: std::ops::Range<usize>| {
            self.0[range].iter().try_fold(0u16, |n, c| c.is_ascii_digit().then(|| n * 10 + u16::from(c - b'0')))
        };
        let month = time::Month::try_from(number(4..6)? as u8).ok()?;
        time::Date::from_calendar_date(i32::from(number(0..4)?), month, number(6..8)? as u8).ok()
    }
}

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
        Self(Secret32::hmac_with(&[b"AWS4", secret], date))
    }

    /// The next step of the chain.
    pub fn region(self, region: &str) -> DateRegionKey {
        DateRegionKey(self.0.into_hmac(region.as_bytes()))
    }
}

impl DateRegionKey {
    /// The next step of the chain.
    pub fn service(self, service: &str) -> DateRegionServiceKey {
        DateRegionServiceKey(self.0.into_hmac(service.as_bytes()))
    }
}

impl DateRegionServiceKey {
    /// The last step of the chain.
    pub fn signing_key(self) -> SigningKey {
        SigningKey(self.0.into_hmac(b"aws4_request"))
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

    /// The 32 bytes, for the wire.
    pub fn into_secret(self) -> Secret32 {
        self.0
    }

    /// Whether two keys are the same, in constant time.
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0)
    }

    /// The 32 bytes, for the one computation that needs them.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}
