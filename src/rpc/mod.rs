//! The door for services: JSON and gRPC verification, health, readiness and metrics, on one listener.
//!
//! What decides is behind [`Verifier`]; this module reads calls, knows callers, and writes answers.

mod acceptance;
mod answer;
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

pub use call::{MAX_BODY, VerifyCall};
pub use callers::{CallerError, Callers, Grants};
pub use decision::{Accepted, Decision, Malformed, Principal, PrincipalSource, Refused, SignatureVersion, Streaming};
pub use door::RpcDoor;
pub use feed::MAX_REPORTED;
pub use metrics::{Metrics, Readings};
pub use verifier::{Readiness, Verifier};

/// The messages, the service and a client of `proto/rederive/v1/verifier.proto`.
pub mod v1 {
    tonic::include_proto!("rederive.v1");
}
