//! Forms as browsers post them to S3, whose credentials and policy stand among their fields.
//!
//! A signature of such a form covers its policy, and nothing else of the request: not the path, not a header, not the
//! file. What the policy demands is therefore checked here against the bucket and every field in front of the file, and
//! [`VerifiedForm`] tells what is left for whoever stores the file.
//!
//! Source: S3's "Browser-Based Uploads Using POST (AWS Signature Version 4)": "Creating an HTML Form" and "Creating a
//! POST Policy".

mod conditions;
mod fields;
mod multipart;
mod policy;

use memchr::memchr;

use super::encode::Place;
use super::head::RequestHead;
use super::headers::NamedHeaders;
use super::refusal::{FormFault, Refusal, shown};
use super::target::Target;
use super::time::{AmzDate, UnixSeconds};
pub(super) use fields::Fields;
use policy::Policy;

/// The most bytes of a form in front of its file, names and values of its fields included: 20 KiB, as S3 has it.
pub const MAX_FORM_FIELDS: usize = 20 * 1024;
/// The longest object key, in bytes.
const MAX_KEY: usize = 1024;

/// A form that was posted, as far as its content is at hand.
#[derive(Clone, Debug)]
pub struct PostForm<'a> {
    /// Its fields.
    pub content: FormContent<'a>,
    /// The bucket that the file is to be put into. `None` for the one that the path names, as `/bucket` or `/bucket/`.
    pub bucket: Option<&'a str>,
}

/// The content of a form, in one of two shapes.
#[derive(Clone, Debug)]
pub enum FormContent<'a> {
    /// The whole body of the request, in the format that its Content-Type names.
    Body(&'a [u8]),
    /// Names and values of the fields in front of the file, in their order, and the file.
    Fields(Vec<(&'a str, &'a str)>, FormFile<'a>),
}

/// The file of a form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FormFile<'a> {
    /// Its name as the form has it, if it has one.
    pub name: Option<&'a str>,
    /// Its size in bytes, if it is known already.
    pub size: Option<u64>,
}

/// What a policy that was verified says of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedForm {
    /// The bucket that the policy is for.
    pub bucket: String,
    /// The object key, with the file's name where the form says `${filename}`.
    pub key: String,
    /// The least and the most bytes that the file may have, if the policy bounds them and the size was not known: whoever
    /// reads the file must hold it to them.
    pub content_length_range: Option<(u64, u64)>,
}

/// A form whose policy can be read and has not been checked.
#[derive(Debug)]
pub(super) struct SignedForm<'a> {
    fields: Fields<'a>,
    file: FormFile<'a>,
    bucket: String,
    key: String,
    policy_text: &'a str,
    policy: Policy,
}

impl<'a> SignedForm<'a> {
    /// # Errors
    /// If something in the request would go unsigned, the form cannot be read, or its policy cannot.
    pub fn read(
        head: &RequestHead<'a>,
        named: &NamedHeaders<'a>,
        target: &Target<'a>,
        form: &PostForm<'a>,
    ) -> Result<Self, Refusal> {
        nothing_beside_the_form(head, named, target)?;
        let bucket = match form.bucket {
            Some(bucket) => bucket.to_owned(),
            None => bucket_of_path(target).ok_or(Refusal::Form(FormFault::NotToABucket))?,
        };
        let (fields, file) = Fields::of(head, &form.content).map_err(Refusal::Form)?;
        let policy_text = fields.policy()?;
        let policy =
            Policy::read(policy_text).map_err(|why| Refusal::Form(FormFault::Policy(shown(why.as_bytes()))))?;
        let key = resolve_key(&fields, &file).map_err(Refusal::Form)?;
        Ok(Self { fields, file, bucket, key, policy_text, policy })
    }

    pub fn fields(&self) -> &Fields<'a> {
        &self.fields
    }

    /// What is signed: the policy as it stands in the form.
    pub fn policy_text(&self) -> &'a str {
        self.policy_text
    }

    pub fn expiration(&self) -> AmzDate {
        self.policy.expiration
    }

    /// # Errors
    /// If the policy is over.
    pub fn check_expiration(&self, now: UnixSeconds) -> Result<(), Refusal> {
        if now > self.policy.expiration.unix() { Err(Refusal::Form(FormFault::Expired)) } else { Ok(()) }
    }

    /// # Errors
    /// If a condition is not met, or a field has none.
    pub fn check_conditions(&self) -> Result<VerifiedForm, Refusal> {
        let content_length_range = conditions::check(self).map_err(Refusal::Form)?;
        Ok(VerifiedForm { bucket: self.bucket.clone(), key: self.key.clone(), content_length_range })
    }
}

/// The signature of a form covers no query and no header: one that a server could obey must not be there.
fn nothing_beside_the_form(
    head: &RequestHead<'_>,
    named: &NamedHeaders<'_>,
    target: &Target<'_>,
) -> Result<(), Refusal> {
    if !target.parameters.is_empty() {
        return Err(Refusal::Form(FormFault::Query));
    }
    if named.amz != 0 {
        let headers = head.headers().iter().enumerate().filter(|(index, _)| named.amz >> index & 1 == 1);
        return Err(Refusal::HeadersNotSigned(headers.map(|(_, header)| shown(header.name)).collect()));
    }
    Ok(())
}

/// The bucket of a path `/bucket` or `/bucket/`.
fn bucket_of_path(target: &Target<'_>) -> Option<String> {
    let path = target.path.decoded(Place::Path);
    let name = path.strip_prefix(b"/")?;
    let name = name.strip_suffix(b"/").unwrap_or(name);
    let is_one = !name.is_empty() && memchr(b'/', name).is_none();
    is_one.then(|| String::from_utf8(name.to_vec()).ok()).flatten()
}

/// The object key: what the form says, with the last part of the file's name for `${filename}`.
fn resolve_key(fields: &Fields<'_>, file: &FormFile<'_>) -> Result<String, FormFault> {
    const VARIABLE: &str = "${filename}";
    let key = fields.get("key").filter(|key| !key.is_empty()).ok_or(FormFault::MissingField("key"))?;
    let uses = key.matches(VARIABLE).count();
    let name = match (uses, file.name.map(|path| path.rsplit(['/', '\\']).next().unwrap_or_default())) {
        (0, _) => "",
        (_, Some(name)) if !name.is_empty() => name,
        (_, _) => return Err(FormFault::NoFileName),
    };
    let length = key.len() - uses * VARIABLE.len() + uses * name.len();
    if length > MAX_KEY {
        Err(FormFault::KeyTooLong { length, limit: MAX_KEY })
    } else {
        Ok(key.replace(VARIABLE, name))
    }
}
