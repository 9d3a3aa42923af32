//! How many events of one class are written, of those that anybody can cause: the first few of a minute, and how many were not. Pure.

use std::collections::HashMap;

/// Seconds.
const WINDOW: i64 = 60;
/// Classes that are told apart; there are fewer.
const CLASSES: usize = 256;

/// A class of refusals: for which service, with which code. Of derivations: by which caller, and nothing.
pub(super) type Class = (String, String);

/// Which events are written.
#[derive(Debug)]
pub(super) struct FirstFew {
    /// Of one class in a window.
    lines: u32,
    classes: HashMap<Class, Window>,
}

#[derive(Debug)]
struct Window {
    begins: i64,
    written: u32,
    withheld: u64,
}

impl FirstFew {
    /// So many lines of a class in a minute.
    pub fn new(lines: u32) -> Self {
        Self { lines, classes: HashMap::new() }
    }

    /// Whether one more of a class is written.
    pub fn admit(&mut self, one: &str, other: &str, now: i64) -> bool {
        let class = (one.to_owned(), other.to_owned());
        if self.classes.len() == CLASSES && !self.classes.contains_key(&class) {
            return false;
        }
        let window = self.classes.entry(class);
        let window = window.or_insert(Window { begins: now, written: 0, withheld: 0 });
        if window.written < self.lines {
            window.written += 1;
            return true;
        }
        window.withheld += 1;
        false
    }

    /// The classes whose minute is over, each with how many were not written.
    pub fn over(&mut self, now: i64) -> Vec<(Class, u64)> {
        let over = self.classes.extract_if(|_, window| !(window.begins..window.begins + WINDOW).contains(&now));
        over.map(|(class, window)| (class, window.withheld)).filter(|(_, withheld)| *withheld > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_minute_are_written_and_the_rest_counted() {
        let mut refusals = FirstFew::new(5);
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
