//! Identity-based policies: a documented subset of AWS's language, and its evaluation. Pure.
//!
//! What is in the subset: `Version` 2012-10-17 and 2008-10-17, `Id`, `Sid`, `Effect`, `Action` or `NotAction`, `Resource` or
//! `NotResource`, wildcards, policy variables (version 2012-10-17), and `Condition` with the operators of `condition.rs` on the keys of
//! `context.rs`. Whatever else a document holds is refused when it is stored, never ignored: an element that is not understood might
//! be the one that forbids.
//!
//! The evaluation is the published one: an explicit deny wins, then an allow, and what nothing allows is denied.
//!
//! Source: IAM User Guide, "IAM JSON policy element reference" and "Policy evaluation logic".

mod address;
mod condition;
mod context;
mod document;
mod json;
mod managed;
mod pattern;

pub use context::{Context, Key};
pub use document::{Policy, PolicyError};
pub use managed::{MANAGED, Managed};

/// What is asked: may it be done to this?
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `iam:CreateUser`.
    pub action: &'a str,
    /// An ARN, or `*` where an action is about nothing in particular.
    pub resource: &'a str,
    /// What conditions and variables may look at.
    pub context: &'a Context,
}

/// What policies say to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A statement allows it, and none denies it.
    Allowed,
    /// A statement denies it.
    ExplicitlyDenied,
    /// No statement is about it.
    ImplicitlyDenied,
}

/// Evaluates all policies of a caller together.
pub fn evaluate<'p>(policies: impl IntoIterator<Item = &'p Policy>, request: &Request<'_>) -> Verdict {
    let mut verdict = Verdict::ImplicitlyDenied;
    for policy in policies {
        match policy.verdict(request) {
            Verdict::ExplicitlyDenied => return Verdict::ExplicitlyDenied,
            Verdict::Allowed => verdict = Verdict::Allowed,
            Verdict::ImplicitlyDenied => {}
        }
    }
    verdict
}
