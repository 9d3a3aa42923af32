//! What is done with the masters: one request in, one answer out. The rules have already allowed it.

use std::sync::Arc;

use super::{MasterKeys, Rules};
use crate::access_key_id::{AccessKeyId, Account, Fields, Generation, Layout};
use crate::derivation::{Purpose, secret_access_key, secret_message, serial, serial_message, subkey_message};
use crate::pkcs11::{TokenError, hex};
use crate::secret::{Secret32, SecretAccessKey};
use crate::signing_key::SigningKey;
use crate::sigv2::Question;
use crate::sigv4a_key::PublicKey;
use crate::wire::{Answer, Reason, Request};

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
            Request::SigV4aPublicKey { id, .. } => self.public_key(id),
            Request::MatchesV2(question) => self.matches(question),
            Request::TagKey(generation) => {
                let key = self.twice(*generation, &subkey_message(Purpose::AccessKeyIdTag))?;
                Ok(key.map_or_else(|| differ("the tag key"), Answer::Key))
            }
            Request::Check(generation) => {
                // Both sessions are used, so neither is idle for long enough to be closed by the token.
                let value = self.twice(*generation, &subkey_message(Purpose::CheckValue))?;
                Ok(value.map_or_else(|| differ("the check value"), |value| Answer::CheckValue(*value.expose())))
            }
            Request::SignHead(head) => match self.first.sign_head(&head.message()) {
                Ok((public_key, signature)) => Ok(Answer::SignedHead { public_key, signature }),
                Err(TokenError::NoControlKey { .. }) => Ok(Answer::Refused(Reason::NoControlKey)),
                Err(error) => Err(error),
            },
            Request::Tally(_) => Ok(Answer::Trouble("counts are no matter of the token".into())),
            Request::Issue { generation, account, needs_row, nonce } => {
                self.issue(*generation, *account, *needs_row, nonce)
            }
        }
    }

    /// A secret that lives for one answer, and is not part of it.
    fn secret(&mut self, id: &AccessKeyId) -> Result<SecretAccessKey, TokenError> {
        let derived = self.first.hmac(id.fields().generation(), &secret_message(id, None))?;
        // Whoever asks for the same again is answered by the other session.
        std::mem::swap(&mut self.first, &mut self.second);
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

    /// Derived twice: it is kept for long, and a wrong one would refuse whatever its owner signs.
    fn public_key(&mut self, id: &AccessKeyId) -> Result<Answer, TokenError> {
        let Some(derived) = self.twice(id.fields().generation(), &secret_message(id, None))? else {
            return Ok(differ("a secret"));
        };
        let key = PublicKey::derive(secret_access_key(&derived).expose().as_bytes(), id.as_str());
        Ok(key.map_or_else(|| Answer::Trouble("this secret makes no key pair".into()), Answer::PublicKey))
    }

    /// A no is the second session's as well. A yes cannot come of a wrong secret.
    fn matches(&mut self, question: &Question) -> Result<Answer, TokenError> {
        if question.is_answered_by(self.secret(question.id())?.expose().as_bytes()) {
            return Ok(Answer::Matches(true));
        }
        match self.twice(question.id().fields().generation(), &secret_message(question.id(), None))? {
            Some(derived) => {
                Ok(Answer::Matches(question.is_answered_by(secret_access_key(&derived).expose().as_bytes())))
            }
            None => Ok(differ("a secret")),
        }
    }

    fn derive_twice(&mut self, generation: Generation, id: AccessKeyId) -> Result<Answer, TokenError> {
        let Some(secret) = self.twice(generation, &secret_message(&id, None))? else {
            return Ok(differ("a new secret"));
        };
        // A token that is wrong in the same way on both sessions shows it here.
        self.prove()?;
        Ok(Answer::Issued(id, secret_access_key(&secret)))
    }

    /// An HMAC on both sessions; `None` if they differ.
    fn twice(&mut self, generation: Generation, message: &[u8]) -> Result<Option<Secret32>, TokenError> {
        let value = self.first.hmac(generation, message)?;
        let again = self.second.hmac(generation, message)?;
        Ok(value.ct_eq(&again).then_some(value))
    }

    /// Makes both sessions compute the recorded check values. A token that gives another one is not asked anything more.
    pub fn prove(&mut self) -> Result<(), TokenError> {
        for config in self.rules.generations() {
            let Some(generation) = config.generation() else { continue };
            for session in [&mut self.first, &mut self.second] {
                let found = hex(session.hmac(generation, &subkey_message(Purpose::CheckValue))?.expose());
                if found != config.check_value {
                    let token = self.rules.token();
                    return Err(TokenError::check_value(token, generation, &found, &config.check_value));
                }
            }
        }
        Ok(())
    }
}

fn differ(what: &str) -> Answer {
    tracing::error!(what, "ALARM: two sessions of the token gave different answers");
    Answer::Trouble(format!("two sessions of the token gave different answers for {what}"))
}
