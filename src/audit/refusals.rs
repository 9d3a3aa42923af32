//! How many refusals of one class are written: the first few of a minute, and how many were not. Pure.

use std::collections::HashMap;

/// Seconds.
const WINDOW: i64 = 60;
/// Lines of one class in a window.
const LINES: u32 = 5;
/// Classes that are told apart; there are fewer.
const CLASSES: usize = 256;

/// A class of refusals: for which service, with which code.
pub(super) type Class = (String, String);

/// Which refusals are written.
#[derive(Debug, Default)]
pub(super) struct Refusals(HashMap<Class, Window>);

#[derive(Debug)]
struct Window {
    begins: i64,
    written: u32,
    withheld: u64,
}

impl Refusals {
    /// Whether one more of a class is written.
    pub fn admit(&mut self, service: &str, code: &str, now: i64) -> bool {
        if self.0.len() == CLASSES && !self.0.contains_key(&(service.to_owned(), code.to_owned())) {
            return false;
        }
        let window = self.0.entry((service.to_owned(), code.to_owned()));
        let window = window.or_insert(Window { begins: now, written: 0, withheld: 0 });
        if window.written < LINES {
            window.written += 1;
            return true;
        }
        window.withheld += 1;
        false
    }

    /// The classes whose minute is over, each with how many were not written.
    pub fn over(&mut self, now: i64) -> Vec<(Class, u64)> {
        let over = self.0.extract_if(|_, window| !(window.begins..window.begins + WINDOW).contains(&now));
        over.map(|(class, window)| (class, window.withheld)).filter(|(_, withheld)| *withheld > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_minute_are_written_and_the_rest_counted() {
        let mut refusals = Refusals::default();
        let written = (0..100).filter(|_| refusals.admit("s3", "SignatureDoesNotMatch", 1000)).count();
        assert_eq!(written, 5);
        assert!(refusals.admit("s3", "InvalidAccessKeyId", 1000), "another class");
        assert_eq!(refusals.over(1059), []);
        let class = ("s3".to_owned(), "SignatureDoesNotMatch".to_owned());
        assert_eq!(refusals.over(1060), [(class, 95)]);
        assert!(refusals.admit("s3", "SignatureDoesNotMatch", 1061), "a new minute");
        assert!((0..CLASSES * 2).filter(|n| refusals.admit("s3", &n.to_string(), 1061)).count() < CLASSES);
    }
}
