//! What `rederive` does with its HSM, and the formats that both of its processes share.
//!
//! The master keys live on a PKCS#11 token. One process, the *worker*, loads the token's module and answers a handful of
//! requests over a socket; the authority (`serve`) holds the other end. This crate is both ends and what they agree on:
//!
//! - [`access_key_id`], [`derivation`], [`session_token`], [`signing_key`], [`sigv4a_key`], [`region_set`], [`sigv2`]: the
//!   formats, pure functions of bytes;
//! - [`wire`]: the frames between authority and worker;
//! - [`worker`]: the worker process, which holds the rights and the keys;
//! - [`watchdog`]: keeps a worker of its own running, which holds no key and loads no module;
//! - [`client`]: the authority's end, with deadlines and restarts;
//! - [`pkcs11`]: the token, the only code that calls the module;
//! - [`tally`]: counts that both ends keep of the same requests;
//! - [`seldom`]: alarms that anybody can cause, told once a second;
//! - [`dumps`]: what keeps a process out of core dumps;
//! - [`softhsm`]: makes a SoftHSM token for development and tests.
//!
//! Nothing here knows HTTP, canonical requests or the registry.

pub mod access_key_id;
pub mod client;
pub mod config;
pub mod derivation;
pub mod dumps;
pub mod feed_head;
mod hmac;
pub mod pkcs11;
pub mod region_set;
pub mod secret;
pub mod seldom;
pub mod session_token;
pub mod signing_key;
pub mod sigv2;
pub mod sigv4a_key;
pub mod softhsm;
pub mod tally;
pub mod watchdog;
pub mod wire;
pub mod worker;
