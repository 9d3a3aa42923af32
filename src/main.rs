//! The `rederive` binary.

fn main() {}
