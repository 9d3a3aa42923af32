//! Forms with a POST policy in Signature V2: read here, for they share all but credentials and signature with those of
//! Signature V4.

use super::authorization::{Authorization, Carrier, Scheme};
use super::form::{PostForm, SignedForm, VerifiedForm};
use super::head::RequestHead;
use super::refusal::Refusal;
use super::request::SignedRequest;
use super::time::UnixSeconds;

/// A form with credentials of Signature V2 whose policy can be read, nothing of which has been verified.
#[derive(Debug)]
pub struct FormV2<'a> {
    form: SignedForm<'a>,
    access_key_id: &'a str,
    signature: &'a str,
}

impl<'a> FormV2<'a> {
    /// Finds the credentials among the fields and reads the policy.
    ///
    /// # Errors
    /// If there are none, others as well, or something of the form or its policy is not well formed.
    pub fn parse(head: &RequestHead<'a>, form: &PostForm<'a>) -> Result<Self, Refusal> {
        let (named, target) = SignedRequest::read_head(head)?;
        Authorization::find_none(&named, &target)?;
        let form = SignedForm::read(head, &named, &target, form)?;
        match Authorization::from_form(form.fields(), form.expiration()) {
            Err(Refusal::UnsupportedScheme(Scheme::V2(_))) => {}
            Err(refusal) => return Err(refusal),
            Ok(_) => {
                let name = super::ALGORITHM.to_owned();
                return Err(Refusal::UnsupportedScheme(Scheme::Other(Carrier::Form, name)));
            }
        }
        let names = ["AWSAccessKeyId", "signature"];
        let [Some(access_key_id), Some(signature)] = names.map(|name| form.fields().get(name)) else {
            let parts = names.into_iter().filter(|name| form.fields().get(name).is_none()).collect();
            return Err(Refusal::MissingParts { carrier: Carrier::Form, parts });
        };
        Ok(Self { form, access_key_id, signature })
    }

    /// The id that the form claims.
    pub fn access_key_id(&self) -> &'a str {
        self.access_key_id
    }

    /// What is signed: the policy as it stands in the form.
    pub fn policy(&self) -> &'a str {
        self.form.policy_text()
    }

    /// The signature as it stands in the form: base64 of an HMAC-SHA1.
    pub fn signature(&self) -> &'a str {
        self.signature
    }

    /// Whether a session token came among the fields.
    pub fn has_session_token(&self) -> bool {
        self.form.fields().get("x-amz-security-token").is_some()
    }

    /// The last second of the policy.
    pub fn valid_until(&self) -> UnixSeconds {
        self.form.expiration().unix()
    }

    /// The policy is not over, and the form is what it demands.
    ///
    /// # Errors
    /// If it is, or is not.
    pub fn check(&self, now: UnixSeconds) -> Result<VerifiedForm, Refusal> {
        self.form.check_expiration(now)?;
        self.form.check_conditions()
    }
}
