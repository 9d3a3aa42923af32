//! Who signed, as it is told: the same for every request under one signing key.

use std::borrow::Cow;

use super::verify::Holder;

/// A key, whose it is, and the scope that it signed for.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The key that signed.
    pub access_key_id: String,
    /// Its account, twelve digits.
    pub account: String,
    /// Whose key it is, if this node knows.
    pub principal: Option<Principal>,
    /// How the principal is known.
    pub principal_source: PrincipalSource,
    /// `date/region/service/aws4_request`; without the region for Signature V4A, and empty for V2.
    pub credential_scope: String,
}

/// Whose key it is.
#[derive(Clone, Debug)]
pub struct Principal {
    /// `root` or `user`.
    pub kind: Cow<'static, str>,
    /// Its ARN.
    pub arn: String,
    /// Its unique id.
    pub user_id: String,
}

/// How a principal is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrincipalSource {
    /// From the registry.
    Registry,
    /// From the session token.
    Token,
    /// It is not.
    None,
}

impl Identity {
    /// Of a key with its holder. A key without a row has no principal: never take that for the root.
    pub(crate) fn new(access_key_id: &str, holder: &Holder, credential_scope: String) -> Self {
        let principal = principal(holder);
        Self {
            access_key_id: access_key_id.to_owned(),
            account: holder.account().to_string(),
            principal_source: principal.as_ref().map_or(PrincipalSource::None, |_| PrincipalSource::Registry),
            principal,
            credential_scope,
        }
    }
}

impl PrincipalSource {
    /// As the answers spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Token => "token",
            Self::None => "none",
        }
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
