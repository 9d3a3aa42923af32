//! The credential scope, and which of AWS's two families of rules a service follows.

use std::fmt;

use super::ascii::{Table, is_all, table};

/// The last part of every credential scope.
pub const TERMINATOR: &str = "aws4_request";

/// What a signing key is good for: `date/region/service/aws4_request`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CredentialScope<'a> {
    date: &'a str,
    region: &'a str,
    service: &'a str,
}

/// Which part of a scope is not written as it must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScopePart {
    /// Not eight digits. Whether they are a date shows when they are compared with the request's.
    Date,
    /// Not `[A-Za-z0-9-]{1,32}`.
    Region,
    /// Not `[A-Za-z0-9-]{1,32}`.
    Service,
}

impl<'a> CredentialScope<'a> {
    /// A scope from its parts.
    ///
    /// # Errors
    /// The first part that is not well formed.
    #[inline]
    pub fn new(date: &'a str, region: &'a str, service: &'a str) -> Result<Self, ScopePart> {
        let is_digits = |date: &[u8; 8]| date.iter().fold(true, |all, byte| all & byte.is_ascii_digit());
        if !date.as_bytes().try_into().is_ok_and(|date| is_digits(&date)) {
            return Err(ScopePart::Date);
        }
        if !is_name(region) {
            return Err(ScopePart::Region);
        }
        if !is_name(service) {
            return Err(ScopePart::Service);
        }
        Ok(Self { date, region, service })
    }

    /// A scope from parts that are those of another scope.
    pub(super) fn of_known(date: &'a str, region: &'a str, service: &'a str) -> Self {
        Self { date, region, service }
    }

    /// The scope of a Signature V4A, whose region is empty.
    ///
    /// # Errors
    /// The first part that is not well formed.
    pub fn without_region(date: &'a str, service: &'a str) -> Result<Self, ScopePart> {
        Self::new(date, "none", service).map(|scope| Self { region: "", ..scope })
    }

    /// Eight digits, `YYYYMMDD`.
    pub fn date(&self) -> &'a str {
        self.date
    }

    /// `[A-Za-z0-9-]{1,32}`; empty in the scope of a Signature V4A.
    pub fn region(&self) -> &'a str {
        self.region
    }

    /// The signing name of the service, `[A-Za-z0-9-]{1,32}`.
    pub fn service(&self) -> &'a str {
        self.service
    }
}

impl fmt::Display for CredentialScope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.region {
            "" => write!(f, "{}/{}/{TERMINATOR}", self.date, self.service),
            region => write!(f, "{}/{region}/{}/{TERMINATOR}", self.date, self.service),
        }
    }
}

/// A region or service name; the bound keeps junk out of caches and away from the HSM.
fn is_name(text: &str) -> bool {
    static NAME: Table = table(b"-");
    (1..=32).contains(&text.len()) && is_all(text.as_bytes(), &NAME)
}

/// The two families of AWS services, which differ in canonical path, payload rules, skew and errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// S3 and its kin: s3, s3-outposts, s3-object-lambda, s3express.
    S3,
    /// Every other service, after the IAM and STS query APIs.
    Query,
}

impl Family {
    /// The family of a service, by its signing name.
    pub fn of(service: &str) -> Self {
        match service {
            "s3" | "s3-outposts" | "s3-object-lambda" | "s3express" => Self::S3,
            _ => Self::Query,
        }
    }
}
