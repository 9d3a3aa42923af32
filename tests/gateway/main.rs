//! Stock S3 clients against a small gateway, which has every request verified by `rederive dev`.
//!
//! The gateway shows how one is built: [`guard`] forwards the raw head of a request to the RPC and reads the body through
//! the decoder; it never sees a secret access key. Clients that are not to be had everywhere are run by `make clients`.

#[path = "../common/mod.rs"]
mod common;

mod clients;
mod forged;
mod guard;
mod objects;
mod s3;
mod server;
mod xml;
