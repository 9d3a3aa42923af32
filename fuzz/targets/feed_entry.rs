//! An entry of the deny feed: any bytes are read or refused, and what is read is written as it came.
#![no_main]

use rederive::feed::{Chain, Change};
use rederive::registry::GenerationRow;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(change) = Change::decode(bytes) {
        assert_eq!(change.encode().as_deref(), Some(bytes));
        let _ = GenerationRow::of_change(&change);
    }
    let _ = Chain::begin(&[0; 16]).with_entry(bytes);
});
