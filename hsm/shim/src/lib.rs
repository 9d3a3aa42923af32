//! A PKCS#11 module for tests: it forwards to a real one, and fails as it is told through shared memory.
//!
//! Two variables of the process that loads it say which module ([`MODULE`]) and which file is the shared memory ([`CONTROL`]). A test
//! maps the same file ([`Control`]), arms faults in it and reads counts from it. What it can do to a call is a [`Deed`]; besides, it
//! counts calls that break the rules of the standard: in a process that forked, or on one session at the same time.

mod calls;
mod control;
mod kept;
mod module;
mod values;

pub use calls::Call;
pub use control::{Control, Deed, Fault, How, SLOTS, Shared, When};
pub use values::RETURN_VALUES;

/// The variable that names the real module.
pub const MODULE: &str = "REDERIVE_SHIM_MODULE";
/// The variable with the parameters that NSS softokn takes from who loads it, where the standard has a reserved pointer.
pub const PARAMETERS: &str = "REDERIVE_SHIM_PARAMETERS";
/// The variable that names the directory of SoftHSM's token stores, if it is to outlive a process that is killed while it logs in.
pub const STORE: &str = "REDERIVE_SHIM_STORE";
/// The variable that names the file of the shared memory.
pub const CONTROL: &str = "REDERIVE_SHIM_CONTROL";
