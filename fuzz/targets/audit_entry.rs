//! A line of the audit log: any bytes are an entry or are not, and what is one was sealed so.
#![no_main]

use rederive::audit::chain::{Entry, Link, seal};
use rederive::audit::check::{Checker, MixedChecker};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (mut checker, mut mixed) = (Checker::new(Link::START, Vec::new()), MixedChecker::default());
    for (number, line) in (1..).zip(bytes.split(|b| *b == b'\n')) {
        if let Ok(entry) = Entry::read(line) {
            let event = [b"{", entry.fields, b"}"].concat();
            let after = Link { number: entry.link.number - 1, hash: entry.previous };
            assert_eq!(seal(&entry.log, &after, &event), (line.to_vec(), entry.link));
        }
        let _ = (checker.line(number, line), mixed.line(number, line));
    }
    let _ = (checker.finish(1, true), mixed.finish(1));
});
