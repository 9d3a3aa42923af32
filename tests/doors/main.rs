//! The doors as their clients see them: HTTP, TLS, callers, JSON and gRPC, in front of an authority that is made up.

mod callers;
mod grpc;
mod http;
mod support;
mod verify_json;
