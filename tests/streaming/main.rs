//! Bodies in chunks: what is published, what clients sent, what others got wrong, and whatever else.

mod cases;
mod properties;
mod published;
mod signer;
mod splits;

#[path = "../sigv4_support/mod.rs"]
mod sigv4_support;
