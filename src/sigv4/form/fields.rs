//! The fields of a form in front of its file. Their names are the same in any case, and each comes once.

use super::super::head::RequestHead;
use super::super::refusal::{FormFault, Refusal, shown};
use super::{FormContent, FormFile, MAX_FORM_FIELDS, multipart};

/// The most fields; S3's own are some twenty, and metadata adds a few.
const MAX_FIELDS: usize = 100;

/// Names and values, within bounds and without duplicates.
#[derive(Debug)]
pub(in super::super) struct Fields<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Fields<'a> {
    /// # Errors
    /// If the request is no form, or its fields cannot be read.
    pub(super) fn of(head: &RequestHead<'a>, content: &FormContent<'a>) -> Result<(Self, FormFile<'a>), FormFault> {
        let content_type = multipart::content_type(head).ok_or(FormFault::NotMultipart)?;
        let (fields, file) = match content {
            FormContent::Body(body) => multipart::read(content_type, body)?,
            FormContent::Fields(fields, file) => (fields.clone(), *file),
        };
        Ok((Self::check(fields)?, file))
    }

    fn check(fields: Vec<(&'a str, &'a str)>) -> Result<Self, FormFault> {
        let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > MAX_FORM_FIELDS || fields.len() > MAX_FIELDS {
            return Err(FormFault::FieldsTooLong);
        }
        for (at, (name, _)) in fields.iter().enumerate() {
            if fields[..at].iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(name)) {
                return Err(FormFault::RepeatedField(shown(name.as_bytes())));
            }
            if name.eq_ignore_ascii_case("file") {
                return Err(FormFault::NotOneFile);
            }
        }
        Ok(Self(fields))
    }

    pub(in super::super) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.0.iter().map(|(name, _)| *name)
    }

    /// The policy in base64. A form without one is anonymous, or not whole.
    pub(super) fn policy(&self) -> Result<&'a str, Refusal> {
        const CREDENTIALS: [&str; 5] =
            ["x-amz-algorithm", "x-amz-credential", "x-amz-signature", "AWSAccessKeyId", "signature"];
        match self.get("policy") {
            Some(policy) => Ok(policy),
            None if CREDENTIALS.iter().any(|name| self.get(name).is_some()) => {
                Err(Refusal::Form(FormFault::MissingField("policy")))
            }
            None => Err(Refusal::MissingCredentials),
        }
    }
}
