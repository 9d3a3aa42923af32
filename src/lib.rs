//! `rederive`: a derived-secret authority.
//!
//! Issues AWS-style access keys and verifies AWS-signed requests, and stores no secret access key anywhere:
//! `secret = HMAC(master key, access key id)`, with the master key in a PKCS#11 HSM.

pub mod api;
pub mod audit;
pub mod authority;
pub mod ceremony;
pub mod config;
pub mod explain;
pub mod feed;
pub mod follower;
pub mod http;
pub mod iam;
pub mod key_terms;
pub mod node;
pub mod operator;
pub mod policy;
pub mod registry;
pub mod rpc;
pub mod sigv2;
pub mod sigv4;
pub mod sigv4a;
pub mod site;
pub mod streaming;
