//! The pure core of Signature Version 4: bytes, time and keys in, a decision out; no I/O, no clock.
