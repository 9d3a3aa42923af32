//! A client token: the same one by the same caller leads to the same key, whose secret is derived again.

use sha2::{Digest, Sha256};

use crate::registry::{Owner, UsedToken, UserId};

const ROW: &[u8] = b"rederive/v1/client-token/row\0";
const NONCE: &[u8] = b"rederive/v1/client-token/nonce\0";

/// A client token in the hands of its caller, for one request.
///
/// ```text
/// who = account (8 bytes) ‖ length of user id (1) ‖ user id ‖ token          integers are big-endian; root has no user id
/// row's hash = SHA-256("rederive/v1/client-token/row" ‖ 0x00 ‖ who)
/// nonce of attempt n = SHA-256("rederive/v1/client-token/nonce" ‖ 0x00 ‖ who ‖ n (4 bytes))
/// ```
///
/// The registry keeps the row's hash. It does not tell the nonce: who has both a registry and an issuer, but no token, cannot
/// have a key made again.
pub struct ClientToken {
    who: Vec<u8>,
    request: [u8; 32],
}

impl ClientToken {
    /// `request` is the hash of what is asked for with it.
    pub fn new(caller: &Owner, token: &str, request: [u8; 32]) -> Self {
        let user_id = caller.user_id.as_ref().map_or("", UserId::as_str);
        let mut who = caller.account.number().to_be_bytes().to_vec();
        who.push(u8::try_from(user_id.len()).expect("a user id has 21 characters"));
        who.extend_from_slice(user_id.as_bytes());
        who.extend_from_slice(token.as_bytes());
        Self { who, request }
    }

    /// What the worker makes the serial number from.
    pub(super) fn nonce(&self, attempt: u32) -> [u8; 32] {
        let hash = Sha256::new().chain_update(NONCE).chain_update(&self.who).chain_update(attempt.to_be_bytes());
        hash.finalize().into()
    }

    /// What the registry is told of it.
    pub(super) fn used(&self, attempt: u32) -> UsedToken {
        let hash = Sha256::new().chain_update(ROW).chain_update(&self.who).finalize().into();
        UsedToken { hash, request: self.request, attempt }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rederive_hsm::access_key_id::Account;

    use super::*;

    #[test]
    fn each_caller_token_and_attempt_has_hashes_of_its_own() {
        let user = |id: &str| Some(UserId::parse(id).expect("an id"));
        let mut hashes = HashSet::new();
        let mut count = 0;
        for account in [1, 2] {
            for user_id in [None, user("AIDAAAAAAAAAAAAAAAAAA"), user("AIDAAAAAAAAAAAAAAAAAB")] {
                for token in ["a", "b", "AIDAAAAAAAAAAAAAAAAAAa"] {
                    let caller = Owner { account: Account::new(account).expect("a number"), user_id: user_id.clone() };
                    let token = ClientToken::new(&caller, token, [0; 32]);
                    hashes.extend([token.nonce(0), token.nonce(1), token.used(0).hash]);
                    assert_eq!(token.used(0).hash, token.used(1).hash);
                    count += 3;
                }
            }
        }
        assert_eq!(hashes.len(), count);
    }
}
