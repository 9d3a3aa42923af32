//! The terms of an access key: until when it is good, and for which services and regions. Pure.
//!
//! Terms are set when a key is made and never change. Such a key has R set in its id: who does not know its terms cannot decide.

use std::fmt;

use rederive_hsm::region_set::RegionSet;
use rederive_hsm::wire::is_scope_name;

/// The most services that a scope names.
const MOST_SERVICES: usize = 32;

/// Under which terms a key is good. The default is none at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyTerms {
    /// From when on the key is not good any more, in seconds since 1970.
    pub expires_at: Option<i64>,
    /// What it is good for.
    pub scope: KeyScope,
}

/// What a key is good for. The default is everything that its owner may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyScope {
    /// These services and no others.
    pub services: Option<ServiceSet>,
    /// These regions and no others: patterns such as `eu-*`.
    pub regions: Option<RegionSet>,
}

/// Names of services, such as `s3,sqs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSet(Vec<String>);

/// A request outside of what its key is good for. The text is for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("This access key is good for {0} only.")]
pub struct OutOfScope(KeyScope);

impl KeyTerms {
    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the key's time is over.
    pub fn have_expired(&self, now: i64) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Whether these terms allow nothing that the others do not.
    pub fn are_within(&self, others: &Self) -> bool {
        let ends_no_later = match (self.expires_at, others.expires_at) {
            (_, None) => true,
            (Some(end), Some(latest)) => end <= latest,
            (None, Some(_)) => false,
        };
        ends_no_later && self.scope.is_within(&others.scope)
    }

    /// The terms as a text for the deny feed, such as `expires-at=1798761600;services=s3;regions=eu-*`, without what is not set.
    pub fn encode(&self) -> String {
        let parts = [
            self.expires_at.map(|at| format!("expires-at={at}")),
            self.scope.services.as_ref().map(|services| format!("services={services}")),
            self.scope.regions.as_ref().map(|regions| format!("regions={regions}")),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(";")
    }

    /// Reads what [`encode`](Self::encode) gives; `None` if it is anything else, such as terms of a later version.
    pub fn decode(text: &str) -> Option<Self> {
        let mut terms = Self::default();
        for part in text.split(';') {
            match part.split_once('=')? {
                ("expires-at", at) => terms.expires_at = Some(at.parse().ok()?),
                ("services", services) => terms.scope.services = Some(ServiceSet::parse(services)?),
                ("regions", regions) => terms.scope.regions = Some(RegionSet::parse(regions.as_bytes())?),
                _ => return None,
            }
        }
        // One text for one set of terms: what came twice, or in another order, does not read.
        (terms.encode() == text).then_some(terms)
    }
}

impl KeyScope {
    /// Whether a request for a service in a region is within it. `region` may be a pattern, which is within it only as a whole;
    /// a request that names none is not within any regions.
    pub fn check(&self, service: &str, region: Option<&str>) -> Result<(), OutOfScope> {
        let within = |regions: &RegionSet| region.is_some_and(|region| regions.contains(region));
        self.judge(service, self.regions.as_ref().is_none_or(within))
    }

    /// The same for a request that is good for a set of regions: all of them are to be within it.
    pub fn check_set(&self, service: &str, set: &RegionSet) -> Result<(), OutOfScope> {
        let good_region = self.regions.as_ref().is_none_or(|regions| set.is_within(regions));
        self.judge(service, good_region)
    }

    fn judge(&self, service: &str, good_region: bool) -> Result<(), OutOfScope> {
        let good_service = self.services.as_ref().is_none_or(|services| services.contains(service));
        if good_service && good_region { Ok(()) } else { Err(OutOfScope(self.clone())) }
    }

    fn is_within(&self, other: &Self) -> bool {
        let services = match (&self.services, &other.services) {
            (_, None) => true,
            (Some(own), Some(others)) => own.0.iter().all(|service| others.contains(service)),
            (None, Some(_)) => false,
        };
        let regions = match (&self.regions, &other.regions) {
            (_, None) => true,
            (Some(own), Some(others)) => own.is_within(others),
            (None, Some(_)) => false,
        };
        services && regions
    }
}

impl ServiceSet {
    /// Reads a list of 1 to 32 names with commas between them; blanks around them do not count. `None` if it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let names: Vec<_> = text.split(',').map(|name| name.trim_matches([' ', '\t'])).collect();
        let is_set = names.len() <= MOST_SERVICES && names.iter().all(|name| is_scope_name(name.as_bytes()));
        is_set.then(|| Self(names.into_iter().map(str::to_owned).collect()))
    }

    /// Whether a service is among them.
    pub fn contains(&self, service: &str) -> bool {
        self.0.iter().any(|known| known == service)
    }
}

impl fmt::Display for ServiceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

/// `s3,sqs in eu-*`.
impl fmt::Display for KeyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.services, &self.regions) {
            (None, None) => f.write_str("everything"),
            (Some(services), None) => write!(f, "{services}"),
            (None, Some(regions)) => write!(f, "everything in {regions}"),
            (Some(services), Some(regions)) => write!(f, "{services} in {regions}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str) -> KeyTerms {
        if text.is_empty() { KeyTerms::default() } else { KeyTerms::decode(text).expect(text) }
    }

    #[test]
    fn what_reads_and_what_does_not() {
        for text in ["expires-at=7", "services=s3", "regions=eu-*,us-1", "expires-at=7;services=s3,sqs;regions=*-1"] {
            assert_eq!(terms(text).encode(), text);
        }
        for text in [
            "",
            ";",
            "services=",
            "services=s3,",
            "services=s*",
            "regions=eu_*",
            "expires-at=x",
            "expires-at=+7",
            "services=s3;expires-at=7",
            "services=s3;services=s3",
            "services=s3;networks=10.0.0.0/8",
            "services",
        ] {
            assert_eq!(KeyTerms::decode(text), None, "{text}");
        }
    }

    #[test]
    fn what_a_scope_allows() {
        for (scope, service, region, good) in [
            ("", "s3", Some("eu-1"), true),
            ("", "s3", None, true),
            ("services=s3", "s3", None, true),
            ("services=s3", "sqs", Some("eu-1"), false),
            ("services=s3;regions=eu-*", "s3", Some("eu-1"), true),
            ("services=s3;regions=eu-*", "s3", Some("us-1"), false),
            ("services=s3;regions=eu-*", "sqs", Some("eu-1"), false),
            ("services=s3;regions=eu-*", "s3", None, false),
            ("regions=eu-*", "s3", Some("eu-*"), true),
            ("regions=eu-*", "s3", Some("*"), false),
        ] {
            assert_eq!(terms(scope).scope.check(service, region).is_ok(), good, "{scope} {service} {region:?}");
        }
        let set = |text: &str| RegionSet::parse(text.as_bytes()).expect("a set");
        for (scope, regions, good) in [
            ("regions=eu-*", "eu-1,eu-w*", true),
            ("regions=eu-*", "eu-1,us-1", false),
            ("services=s3;regions=eu-*", "eu-1", true),
            ("services=sqs", "eu-1", false),
            ("", "*", true),
        ] {
            assert_eq!(terms(scope).scope.check_set("s3", &set(regions)).is_ok(), good, "{scope} {regions}");
        }
    }

    #[test]
    fn what_is_within_what() {
        for (own, others, within) in [
            ("", "", true),
            ("services=s3", "", true),
            ("", "services=s3", false),
            ("services=s3", "services=s3,sqs", true),
            ("services=s3,iam", "services=s3,sqs", false),
            ("regions=eu-w*", "regions=eu-*", true),
            ("regions=eu-*", "regions=eu-w*", false),
            ("expires-at=7", "expires-at=7", true),
            ("expires-at=8", "expires-at=7", false),
            ("", "expires-at=7", false),
            ("expires-at=8", "services=s3", false),
        ] {
            assert_eq!(terms(own).are_within(&terms(others)), within, "{own} within {others}");
        }
    }
}
