//! What is told of a request that was accepted, whichever way it was signed.

use std::sync::Arc;

use super::{Accepted, HeaderNames, SignatureVersion, Streaming};
use crate::authority::{self, AcceptedBy, AcceptedV2, AcceptedV4a, Holder, Identity};
use crate::sigv4::{AmzDate, PayloadStatus, UnixSeconds};

pub(super) fn of(accepted: AcceptedBy<'_>, want_signing_key: bool) -> Accepted<'_> {
    match accepted {
        AcceptedBy::V4(accepted) => v4(&accepted, want_signing_key),
        AcceptedBy::V4a(accepted) => v4a(*accepted),
        AcceptedBy::V2(accepted) => v2(&accepted),
    }
}

pub(super) fn v4<'a>(accepted: &authority::Accepted<'a>, want_signing_key: bool) -> Accepted<'a> {
    let verified = &accepted.verified;
    Accepted {
        signature_version: SignatureVersion::V4,
        identity: accepted.identity().clone(),
        signed_headers: HeaderNames::Listed(verified.signed_headers()),
        payload: verified.payload(),
        form: verified.form().cloned().map(Box::new),
        streaming: streaming(verified.payload(), verified.date(), || verified.signature().to_vec()),
        signing_key: want_signing_key.then(|| accepted.signing_key().clone()),
        public_key: None,
        valid_until: valid_until(verified.valid_until(), accepted.holder()),
        deny_list_as_of: accepted.deny_list_as_of,
        waited_for_hsm: accepted.waited,
    }
}

/// There is no signing key to want: chunks are verified with the public key.
fn v4a(accepted: AcceptedV4a<'_>) -> Accepted<'_> {
    let AcceptedV4a { verified, deny_list_as_of, waited, holder, public_key } = accepted;
    let identity = Identity::new(verified.access_key_id(), &holder, verified.scope().to_string());
    Accepted {
        signature_version: SignatureVersion::V4a,
        identity: Arc::new(identity),
        signed_headers: HeaderNames::Listed(verified.signed_headers()),
        payload: verified.payload(),
        form: None,
        streaming: streaming(verified.payload(), verified.date(), || verified.signature().to_vec()),
        signing_key: None,
        public_key: Some(Box::new(public_key)),
        valid_until: valid_until(verified.valid_until(), &holder),
        deny_list_as_of,
        waited_for_hsm: waited,
    }
}

/// There is neither a scope nor a key that could be handed out.
fn v2<'a>(accepted: &AcceptedV2) -> Accepted<'a> {
    let AcceptedV2 { verified, deny_list_as_of, holder } = accepted;
    Accepted {
        signature_version: SignatureVersion::V2,
        identity: Arc::new(Identity::new(verified.access_key_id(), holder, String::new())),
        signed_headers: HeaderNames::Named(verified.signed_headers().to_vec()),
        payload: verified.payload(),
        form: verified.form().cloned().map(Box::new),
        streaming: None,
        signing_key: None,
        public_key: None,
        valid_until: valid_until(verified.valid_until(), holder),
        deny_list_as_of: *deny_list_as_of,
        waited_for_hsm: true,
    }
}

fn streaming(payload: PayloadStatus, date: AmzDate, signature: impl FnOnce() -> Vec<u8>) -> Option<Box<Streaming>> {
    match payload {
        PayloadStatus::Streaming(kind) => Some(Box::new(Streaming { kind, date, seed_signature: signature() })),
        PayloadStatus::Checked | PayloadStatus::Unsigned | PayloadStatus::NotChecked => None,
    }
}

/// Until when the signature is good, or the key, if that ends first.
fn valid_until(signature: i64, holder: &Holder) -> UnixSeconds {
    let end = holder.terms().and_then(|terms| terms.expires_at);
    end.map_or(signature, |end| end.min(signature))
}
