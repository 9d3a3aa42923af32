//! What is done with the masters: one request in, one answer out. The rules have already allowed it.

use std::sync::Arc;

use super::{MasterKeys, Rules};
use crate::access_key_id::{AccessKeyId, Account, Fields, Generation, Layout};
use crate::derivation::{Purpose, secret_access_key, secret_message, serial, serial_message, subkey_message};
use crate::pkcs11::TokenError;
use crate::secret::SecretAccessKey;
use crate::signing_key::SigningKey;
use crate::sigv4a_key::PublicKey;
use crate::wire::{Answer, Request};

/// Two independent ways to the same masters. New secrets are derived on both and compared, because one flipped bit
/// in an HMAC shows nowhere else until the key does not work.
pub struct Keeper<M> {
    first: M,
    second: M,
    rules: Arc<Rules>,
}

impl<M: MasterKeys> Keeper<M> {
    /// With two sessions, for the requests that these rules allow.
    pub fn new(first: M, second: M, rules: Arc<Rules>) -> Self {
        Self { first, second, rules }
    }

    /// Computes the answer to a request that was allowed.
    pub fn answer(&mut self, request: &Request) -> Result<Answer, TokenError> {
        match request {
            Request::SigningKey { id, date, region, service } => {
                let key = SigningKey::derive(&self.secret(id)?, date, region, service);
                Ok(Answer::Key(key.into_secret()))
            }
            Request::SigV4aPublicKey { id, .. } => {
                let key = PublicKey::derive(self.secret(id)?.expose().as_bytes(), id.as_str());
                Ok(key.map_or_else(|| Answer::Trouble("this secret makes no key pair".into()), Answer::PublicKey))
            }
            Request::MatchesV2(question) => {
                let secret = self.secret(question.id())?;
                Ok(Answer::Matches(question.is_answered_by(secret.expose().as_bytes())))
            }
            Request::TagKey(generation) => {
                self.first.hmac(*generation, &subkey_message(Purpose::AccessKeyIdTag)).map(Answer::Key)
            }
            Request::Check(generation) => {
                let message = subkey_message(Purpose::CheckValue);
                let value = self.first.hmac(*generation, &message)?;
                // Both sessions are used, so neither is idle for long enough to be closed by the token.
                let other = self.second.hmac(*generation, &message)?;
                if !value.ct_eq(&other) {
                    return Ok(differ("the check value"));
                }
                Ok(Answer::CheckValue(*value.expose()))
            }
            Request::SignHead(head) => {
                let (public_key, signature) = self.first.sign_head(&head.message())?;
                Ok(Answer::SignedHead { public_key, signature })
            }
            Request::Issue { generation, account, needs_row, nonce } => {
                self.issue(*generation, *account, *needs_row, nonce)
            }
        }
    }

    /// A secret that lives for one answer, and is not part of it.
    fn secret(&mut self, id: &AccessKeyId) -> Result<SecretAccessKey, TokenError> {
        let derived = self.first.hmac(id.fields().generation(), &secret_message(id, None))?;
        Ok(secret_access_key(&derived))
    }

    fn issue(
        &mut self,
        generation: Generation,
        account: Account,
        needs_row: bool,
        nonce: &[u8; 32],
    ) -> Result<Answer, TokenError> {
        let answer = self.first.hmac(generation, &serial_message(account, nonce))?;
        let (prefix, layout) = self.rules.issuing_form();
        let serial = serial(&answer, layout);
        let fields = match layout {
            Layout::Account => Fields::Account { account, generation, needs_row, serial: serial as u32 },
            Layout::Opaque => Fields::Opaque { generation, needs_row: true, serial },
        };
        let tag_key = match self.rules.tag_key(generation) {
            Ok(tag_key) => tag_key,
            Err(reason) => return Ok(Answer::Refused(reason)),
        };
        let id = AccessKeyId::assemble(prefix, &fields, tag_key);
        self.derive_twice(generation, id)
    }

    fn derive_twice(&mut self, generation: Generation, id: AccessKeyId) -> Result<Answer, TokenError> {
        let message = secret_message(&id, None);
        let secret = self.first.hmac(generation, &message)?;
        let again = self.second.hmac(generation, &message)?;
        if !secret.ct_eq(&again) {
            return Ok(differ("a new secret"));
        }
        Ok(Answer::Issued(id, secret_access_key(&secret)))
    }
}

fn differ(what: &str) -> Answer {
    tracing::error!(what, "ALARM: two sessions of the token gave different answers");
    Answer::Trouble(format!("two sessions of the token gave different answers for {what}"))
}
