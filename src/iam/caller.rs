//! Who calls, as the verification of the request's signature found it.

use http::Method;
use rederive_hsm::access_key_id::{AccessKeyId, Account};

use crate::registry::{KeyUser, Owner, user_arn};

/// The caller of an action, authenticated.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The account of its key.
    pub account: Account,
    /// The key that signed.
    pub access_key_id: AccessKeyId,
    /// Who the key belongs to.
    pub principal: Principal,
    /// How the request was signed.
    pub signed: Signed,
    /// Where the request came from.
    pub origin: Origin,
    /// The request's id, for the answer and the log.
    pub request_id: String,
}

/// Who a key belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// The account itself.
    Root,
    /// A user of the account.
    User(KeyUser),
}

/// Where a request came from, for the audit log.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The IP address of the connection.
    pub address: String,
    /// The header `User-Agent`.
    pub user_agent: Option<String>,
    /// The region in the credential scope.
    pub region: String,
}

/// What matters of a request's signature after it was verified.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Where it stood.
    pub place: SignaturePlace,
    /// The request's method.
    pub method: Method,
    /// The time it was signed for.
    pub at: i64,
    /// SHA-256 of the signature.
    pub hash: [u8; 32],
}

/// Where a signature stands in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignaturePlace {
    /// In the `Authorization` header.
    Header,
    /// In the query: a presigned URL.
    Query,
}

impl Caller {
    /// The caller's ARN.
    pub fn arn(&self) -> String {
        match &self.principal {
            Principal::Root => format!("arn:aws:iam::{}:root", self.account),
            Principal::User(user) => user_arn(self.account, &user.path, &user.name),
        }
    }

    /// The caller as an owner of keys.
    pub fn owner(&self) -> Owner {
        let user_id = match &self.principal {
            Principal::Root => None,
            Principal::User(user) => Some(user.user_id.clone()),
        };
        Owner { account: self.account, user_id }
    }
}
