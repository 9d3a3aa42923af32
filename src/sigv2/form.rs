//! Forms with a POST policy that are signed with Signature V2: HMAC-SHA1 over the policy.

use super::s3::read_signature;
use rederive_hsm::sigv2::Hash;

use super::signature::{Signed, StringToSign};
use crate::sigv4::form_v2::FormV2;
use crate::sigv4::{PayloadStatus, PostForm, Refusal, RequestHead, UnixSeconds};

/// A form with credentials of Signature V2 that are well formed, nothing of which has been verified.
pub struct FormRequest<'a> {
    form: FormV2<'a>,
    signature: Vec<u8>,
}

impl<'a> FormRequest<'a> {
    /// Finds the credentials and reads them.
    ///
    /// # Errors
    /// If there are none, others as well, or something of the form or its policy is not well formed.
    pub fn parse(head: &RequestHead<'a>, form: &PostForm<'a>) -> Result<Self, Refusal> {
        let form = FormV2::parse(head, form)?;
        let signature = read_signature(form.signature().as_bytes())?;
        Ok(Self { form, signature })
    }

    /// The id that the form claims.
    pub fn access_key_id(&self) -> &'a str {
        self.form.access_key_id()
    }

    /// Whether a session token came among the fields.
    pub fn has_session_token(&self) -> bool {
        self.form.has_session_token()
    }

    /// The string to sign, for a form that is what its policy demands.
    ///
    /// # Errors
    /// If the policy is over, or the form is not what it demands.
    pub fn string_to_sign(&self, now: UnixSeconds) -> Result<StringToSign<'_>, Refusal> {
        let signed = Signed {
            headers: Vec::new(),
            valid_until: self.form.valid_until(),
            payload: PayloadStatus::Unsigned,
            form: Some(self.form.check(now)?),
        };
        let (access_key_id, text) = (self.form.access_key_id(), self.policy().as_bytes().to_vec());
        Ok(StringToSign { access_key_id, text, hash: Hash::Sha1, signature: &self.signature, signed })
    }

    /// The policy as it stands in the form.
    pub fn policy(&self) -> &'a str {
        self.form.policy()
    }
}
