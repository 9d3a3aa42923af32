//! The IAM (2010-05-08) and STS (2011-06-15) query APIs as stock AWS clients speak them.
//!
//! [`answer`] takes an authenticated [`Caller`] and the [`Parameters`] of its request and gives the XML to send. It knows
//! neither HTTP serving nor signatures: who calls it has verified the request before. Reads and users go to the registry,
//! keys go through the [`KeyOffice`].

mod access_keys;
mod action;
mod authorize;
mod call;
mod caller;
mod constraint;
mod error;
mod marker;
mod office;
mod parameters;
mod policies;
mod record;
mod reports;
mod sts;
mod terms;
mod user_changes;
mod users;
mod xml;

pub use action::Service;
pub use call::{Answer, answer};
pub use caller::{Caller, Origin, Principal, SignaturePlace, Signed};
pub use error::ApiError;
pub use office::KeyOffice;
pub use parameters::Parameters;
pub use user_changes::is_description;
pub use xml::timestamp;
