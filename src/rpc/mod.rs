//! The door for services: JSON and gRPC verification, health, readiness and metrics, on one listener.
//!
//! What decides is behind [`Verifier`]; this module reads calls, knows callers, and writes answers.

mod acceptance;
mod answer;
mod asked;
mod authority;
mod call;
mod callers;
mod decide;
mod decision;
mod door;
mod feed;
mod grpc;
mod json;
mod many;
mod metrics;
mod verifier;
mod written;

pub use call::{MAX_BODY, VerifyCall};
pub use callers::{CallerError, Callers, Grants};
pub use decision::{Accepted, Decision, HeaderNames, Malformed, Refused, SignatureVersion, Streaming};
pub use door::RpcDoor;
pub use feed::MAX_REPORTED;
pub use metrics::{Metrics, Readings};
pub use verifier::{Readiness, Verifier};

pub use crate::authority::{Identity, Principal, PrincipalSource};

/// The messages of `proto/rederive/v1`, clients of its services, and the server of the deny feed.
pub mod v1 {
    tonic::include_proto!("rederive.v1");
    include!(concat!(env!("OUT_DIR"), "/feed/rederive.v1.rs"));
}
