//! Several tokens that fail: SoftHSM behind a module that fails on demand (`hsm/shim`), a running `serve`, and an oracle that
//! compares every answer with software that knows the master.

mod attacker;
mod cells;
mod ceremony;
#[path = "../common/mod.rs"]
mod common;
mod copies;
mod derivations;
mod matrix;
mod modules;
mod opencryptoki;
mod oracle;
mod own_worker;
mod pin;
mod place;
mod plant;
mod queue;
mod replicas;
mod rotation;
mod soak;
mod split;
mod units;
