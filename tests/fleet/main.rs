//! Issuers and verifiers as separate processes, on both registries.

#[path = "../common/mod.rs"]
mod common;
mod drills;
mod feed;
mod flood;
mod histories;
mod history;
#[path = "../common/postgres.rs"]
mod postgres;
mod restored;
mod shared;
mod support;
