//! What a client is told of a refusal: the codes, statuses and texts of AWS, which clients and SDKs act on.
//!
//! No text tells what the right signature would have been.

mod form;
mod query;
mod s3;

use super::refusal::{Refusal, SignedHeadersFault, V2Fault};
use super::scope::Family;

/// An AWS error: what the body of the answer says, in whichever format the door has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    /// The error code, which SDKs act on.
    pub code: &'static str,
    /// The HTTP status.
    pub http_status: u16,
    /// For people.
    pub message: String,
    /// Further elements of S3's error body, in order.
    pub elements: Vec<(&'static str, String)>,
}

impl Outside {
    pub(crate) fn new(code: &'static str, http_status: u16, message: impl Into<String>) -> Self {
        Self { code, http_status, message: message.into(), elements: Vec::new() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.elements.push((name, value.into()));
        self
    }
}

impl Refusal {
    /// What the client is told, in the manner of the service's family.
    pub fn outside(&self, family: Family) -> Outside {
        match family {
            Family::S3 => s3::outside(self),
            Family::Query => query::outside(self),
        }
    }
}

fn signed_headers_fault(fault: &SignedHeadersFault) -> String {
    match fault {
        SignedHeadersFault::Absent(name) => format!("The signed header '{name}' is not in the request."),
        SignedHeadersFault::NotSorted => "SignedHeaders is not sorted, or names a header twice.".to_owned(),
    }
}

fn v2_fault(fault: &V2Fault) -> String {
    match fault {
        V2Fault::UnknownHost(host) => format!("'{host}' is not a host for which Signature V2 is accepted."),
        V2Fault::AmbiguousParameter(name) => {
            format!("The parameter '{name}' is not accepted with Signature V2, which does not tell it from others.")
        }
        V2Fault::FoldedHeader(name) => format!("The header {name} is folded, which Signature V2 does not tell."),
        V2Fault::TooLong { limit } => format!("The string to sign of Signature V2 may have {limit} bytes at most."),
    }
}
