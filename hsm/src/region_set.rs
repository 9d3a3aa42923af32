//! The regions that a request of Signature V4A is good for: patterns with commas between them.

/// The most patterns of a set, and the most characters of one.
const MOST: usize = 32;

/// Patterns of regions, such as `us-east-1,eu-*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionSet(Vec<String>);

impl RegionSet {
    /// Reads a list of 1 to 32 patterns of 1 to 32 letters, digits, hyphens and `*`; blanks around them do not count.
    /// `None` if it is anything else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let patterns: Vec<_> = text.split(',').map(|pattern| pattern.trim_matches([' ', '\t'])).collect();
        let is_pattern = |pattern: &&str| {
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'*');
            (1..=MOST).contains(&pattern.len()) && pattern.bytes().all(is_allowed)
        };
        let is_set = patterns.len() <= MOST && patterns.iter().all(is_pattern);
        is_set.then(|| Self(patterns.into_iter().map(str::to_owned).collect()))
    }

    /// Whether one of the patterns stands for this region; `*` stands for any characters, or none.
    pub fn contains(&self, region: &str) -> bool {
        self.0.iter().any(|pattern| matches(pattern, region))
    }

    /// Whether every region of this set is one of the other's, as far as single patterns show it.
    pub fn is_within(&self, other: &Self) -> bool {
        // A `*` of the one is met by nothing but a `*` of the other, so whatever it stands for is met as well.
        self.0.iter().all(|pattern| other.contains(pattern))
    }
}

impl std::fmt::Display for RegionSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

/// The first piece must be the beginning, the last the end, and those between come one after the other.
fn matches(pattern: &str, region: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == region };
    let Some(mut region) = region.strip_prefix(first) else { return false };
    let (between, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in between.split('*') {
        match region.split_once(piece) {
            Some((_, after)) => region = after,
            None => return false,
        }
    }
    region.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let set = |text: &str| RegionSet::parse(text.as_bytes()).expect("a set");
        for (patterns, region, expected) in [
            ("us-east-1", "us-east-1", true),
            ("us-east-1", "us-east-10", false),
            ("us-east-1, eu-west-1", "eu-west-1", true),
            ("*", "us-east-1", true),
            ("us-*", "us-east-1", true),
            ("us-*", "eu-west-1", false),
            ("*-1", "eu-west-1", true),
            ("us-*-1", "us-east-1", true),
            ("us-*-1", "us-1", false),
            ("u*-*st-*", "us-east-1", true),
            ("us-east-1*", "us-east-1", true),
            ("**", "x", true),
        ] {
            assert_eq!(set(patterns).contains(region), expected, "{patterns} {region}");
        }
    }

    #[test]
    fn sets_within_sets() {
        let set = |text: &str| RegionSet::parse(text.as_bytes()).expect("a set");
        for (inner, outer, within) in [
            ("eu-1", "eu-*", true),
            ("eu-*", "eu-*", true),
            ("eu-west-*,eu-1", "eu-*", true),
            ("*-west-1", "*", true),
            ("*", "eu-*", false),
            ("e*", "eu-*", false),
            ("eu-1,us-1", "eu-*", false),
            ("eu-*-1", "eu-*,us-1", true),
        ] {
            assert_eq!(set(inner).is_within(&set(outer)), within, "{inner} {outer}");
        }
    }

    #[test]
    fn what_is_no_set() {
        for text in ["", ",", "us-east-1,", "us east", "us_east", "a/b", &"a".repeat(33), &["a"; 33].join(",")] {
            assert_eq!(RegionSet::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(RegionSet::parse(b"\xff"), None);
    }
}
