//! The registry through its public API, on both engines, and through SQL from outside where a test needs a damaged one.
#![expect(clippy::duplicate_mod, reason = "the same suite runs on both engines")]

mod files;
mod place;
mod postgres;
#[path = "../common/postgres.rs"]
mod server;
mod shared;
mod sqlite;
