//! What is told of a request that was accepted, whichever way it was signed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Accepted, Principal, PrincipalSource, SignatureVersion, Streaming};
use crate::authority::{self, AcceptedBy, AcceptedV2, AcceptedV4a, Holder};
use crate::sigv4::{PayloadStatus, SignedHeaders, Verified};
use crate::sigv4a::VerifiedV4a;

pub(super) fn of(accepted: &AcceptedBy<'_>, want_signing_key: bool) -> Accepted {
    match accepted {
        AcceptedBy::V4(accepted) => v4(accepted, want_signing_key),
        AcceptedBy::V4a(accepted) => v4a(accepted),
        AcceptedBy::V2(accepted) => v2(accepted),
    }
}

fn v4(accepted: &authority::Accepted<'_>, want_signing_key: bool) -> Accepted {
    let (verified, holder) = (&accepted.verified, accepted.holder());
    let scope = verified.scope();
    Accepted {
        signature_version: SignatureVersion::V4,
        access_key_id: verified.access_key_id().to_owned(),
        account: holder.account().to_string(),
        principal: principal(holder),
        principal_source: principal_source(holder),
        credential_scope: format!("{}/{}/{}/aws4_request", scope.date(), scope.region(), scope.service()),
        signed_headers: names(&verified.signed_headers()),
        payload: verified.payload(),
        form: verified.form().cloned(),
        streaming: streaming(verified),
        signing_key: want_signing_key.then(|| accepted.signing_key().clone()),
        public_key: None,
        valid_until: time(verified.valid_until()),
        deny_list_as_of: time(accepted.deny_list_as_of),
        waited_for_hsm: accepted.waited,
    }
}

/// There is no signing key to want: chunks are verified with the public key.
fn v4a(accepted: &AcceptedV4a<'_>) -> Accepted {
    let AcceptedV4a { verified, deny_list_as_of, waited, holder, public_key } = accepted;
    Accepted {
        signature_version: SignatureVersion::V4a,
        access_key_id: verified.access_key_id().to_owned(),
        account: holder.account().to_string(),
        principal: principal(holder),
        principal_source: principal_source(holder),
        credential_scope: verified.scope().to_string(),
        signed_headers: names(&verified.signed_headers()),
        payload: verified.payload(),
        form: None,
        streaming: streaming_v4a(verified),
        signing_key: None,
        public_key: Some(public_key.clone()),
        valid_until: time(verified.valid_until()),
        deny_list_as_of: time(*deny_list_as_of),
        waited_for_hsm: *waited,
    }
}

/// There is neither a scope nor a key that could be handed out.
fn v2(accepted: &AcceptedV2) -> Accepted {
    let AcceptedV2 { verified, deny_list_as_of, holder } = accepted;
    Accepted {
        signature_version: SignatureVersion::V2,
        access_key_id: verified.access_key_id().to_owned(),
        account: holder.account().to_string(),
        principal: principal(holder),
        principal_source: principal_source(holder),
        credential_scope: String::new(),
        signed_headers: verified.signed_headers().to_vec(),
        payload: verified.payload(),
        form: verified.form().cloned(),
        streaming: None,
        signing_key: None,
        public_key: None,
        valid_until: time(verified.valid_until()),
        deny_list_as_of: time(*deny_list_as_of),
        waited_for_hsm: true,
    }
}

fn names(headers: &SignedHeaders<'_>) -> Vec<String> {
    headers.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

fn streaming(verified: &Verified<'_>) -> Option<Streaming> {
    match verified.payload() {
        PayloadStatus::Streaming(kind) => {
            Some(Streaming { kind, date: verified.date(), seed_signature: verified.signature().to_vec() })
        }
        PayloadStatus::Checked | PayloadStatus::Unsigned | PayloadStatus::NotChecked => None,
    }
}

fn streaming_v4a(verified: &VerifiedV4a<'_>) -> Option<Streaming> {
    match verified.payload() {
        PayloadStatus::Streaming(kind) => {
            Some(Streaming { kind, date: verified.date(), seed_signature: verified.signature().to_vec() })
        }
        PayloadStatus::Checked | PayloadStatus::Unsigned | PayloadStatus::NotChecked => None,
    }
}

fn principal_source(holder: &Holder) -> PrincipalSource {
    match holder {
        Holder::Row(_) => PrincipalSource::Registry,
        Holder::Unresolved(_) => PrincipalSource::None,
    }
}

fn principal(holder: &Holder) -> Option<Principal> {
    let Holder::Row(key) = holder else { return None };
    let (kind, user_id) = match &key.user {
        Some(user) => ("user", user.user_id.to_string()),
        None => ("root", key.account.to_string()),
    };
    Some(Principal { kind: kind.into(), arn: key.arn(), user_id })
}

fn time(unix: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(unix.max(0) as u64)
}
