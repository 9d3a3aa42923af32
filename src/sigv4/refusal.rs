//! Every cause for which a request is refused. What a client is told of it is in `outside`.

use super::authorization::{Carrier, Scheme};
use super::scope::ScopePart;
use super::target::TargetFault;
use super::time::{AmzDate, UnixSeconds};

/// Why a request is refused, with what its message needs. Texts are what the client itself sent, cut to a sane length.
///
/// Trouble of our own is never a refusal: it is "cannot decide", and has no place here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    // Step 1: the credentials and where they stand.
    /// No credentials of any kind.
    MissingCredentials,
    /// More than one kind of credentials, such as an Authorization header and a presigned query.
    SeveralCredentials,
    /// Credentials of a kind that is known by name and not accepted.
    UnsupportedScheme(Scheme),
    /// A header that may come once came twice.
    RepeatedHeader(&'static str),
    /// A parameter of a presigned query came twice, or in another case than it is defined in.
    RepeatedParameter(&'static str),
    /// A parameter of a presigned query in another case than it is defined in.
    MiscasedParameter(&'static str),
    /// Parts of the credentials that are not there.
    MissingParts {
        /// Where the credentials are.
        carrier: Carrier,
        /// Their names as AWS writes them.
        parts: Vec<&'static str>,
    },
    /// The Authorization header is not a list of `name=value`.
    MalformedAuthorization(AuthorizationFault),
    /// The credential is not `id/date/region/service/aws4_request`.
    MalformedCredential {
        /// Where the credentials are.
        carrier: Carrier,
        /// What is wrong with it.
        fault: CredentialFault,
    },
    /// The signature is not of the form that it must have: for Signature V4, 64 lower-case hexadecimal digits.
    MalformedSignature {
        /// What came instead.
        got: String,
    },
    /// The date is not of the form that it must have, or not in the calendar.
    MalformedDate {
        /// Where the credentials are.
        carrier: Carrier,
        /// What came instead.
        got: String,
    },
    /// X-Amz-Expires is not a whole number of seconds from 1 to 604800.
    MalformedExpires {
        /// What came instead.
        got: String,
    },
    /// The request target cannot be the one that was signed.
    MalformedTarget(TargetFault),
    /// A form with a POST policy is not what it must be.
    Form(FormFault),
    /// A request of Signature V2 could be read in two ways that have the same signature.
    SignatureV2(V2Fault),

    // Step 2 and 3: the key, judged by the authority.
    /// No such key was ever issued, or it is of a generation that is closed.
    UnknownAccessKeyId(String),
    /// The key is inactive, deleted or expired. Outside, the same as an unknown one.
    InactiveKey(String),
    /// Keys of sessions are not served here.
    TemporaryKeyNotSupported(String),
    /// A session token that does not belong to the key, or came with a long-term key.
    InvalidToken,

    // Step 4: time and scope.
    /// A header-signed request too old, or from too far ahead.
    Skewed {
        /// The request's own time.
        signed: AmzDate,
        /// Our time.
        now: UnixSeconds,
        /// How far it may be off in the direction in which it is off, in seconds.
        tolerance: i64,
    },
    /// A presigned URL after its time.
    Expired {
        /// The URL's own time.
        signed: AmzDate,
        /// X-Amz-Expires, in seconds.
        expires: u32,
        /// Our time.
        now: UnixSeconds,
    },
    /// A presigned URL before its time.
    NotYetValid {
        /// The URL's own time.
        signed: AmzDate,
        /// Our time.
        now: UnixSeconds,
        /// How far ahead it may be, in seconds.
        tolerance: i64,
    },
    /// Signed for another region, service or date than it must be.
    WrongScope {
        /// Where the credentials are.
        carrier: Carrier,
        /// What is wrong with it; at least one.
        faults: Vec<ScopeFault>,
    },
    /// The key was used in more regions today than one key may.
    TooManyRegions {
        /// The most that are allowed.
        limit: usize,
    },

    // Step 5: what the signature has to cover.
    /// Headers that must be signed and are not: `host`, or `x-amz-…` that were received.
    HeadersNotSigned(Vec<String>),
    /// The list of signed headers is not as it must be.
    SignedHeaders(SignedHeadersFault),
    /// S3 demands x-amz-content-sha256, and it is not there.
    MissingContentSha256,
    /// x-amz-content-sha256 has a value that is not allowed here.
    IllegalContentSha256 {
        /// The value.
        got: String,
    },

    // Step 7: the signature, and the body that it signs.
    /// The signature is not the one that this request has under this key.
    SignatureDoesNotMatch {
        /// The id that was presented.
        access_key_id: String,
        /// The signature that was presented.
        provided: String,
        /// What should have been signed: made of the request alone, no secret has a part in it.
        string_to_sign: String,
    },
    /// The signature is right, and the body is not the one that was signed.
    BodyMismatch {
        /// SHA-256 in x-amz-content-sha256.
        claimed: [u8; 32],
        /// SHA-256 of the body.
        computed: [u8; 32],
    },

    // After verification.
    /// The caller is known, and may not do this.
    AccessDenied {
        /// What to tell the caller.
        message: String,
    },
}

/// What Signature V2 leaves open, and is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum V2Fault {
    /// The host is not one by which the service is known, so that its bucket is not known, either.
    UnknownHost(String),
    /// A parameter that means another thing to whoever reads it than to whoever verifies it; its name.
    AmbiguousParameter(String),
    /// A header that is folded over several lines where the signature has one; its name.
    FoldedHeader(&'static str),
    /// The string to sign is longer than a worker takes.
    TooLong {
        /// The most bytes that it may have.
        limit: usize,
    },
}

/// Why an Authorization header cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorizationFault {
    /// A part without an equals sign.
    NotNameValue(String),
    /// A part with a name that Signature V4 does not have.
    UnknownPart(String),
    /// A part that came twice.
    RepeatedPart(&'static str),
}

/// Why a credential cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialFault {
    /// Not exactly five parts between slashes.
    NotFiveParts(String),
    /// The id is not 1 to 128 letters, digits and underscores.
    AccessKeyId(String),
    /// A part of the scope is not well formed.
    Scope(ScopePart, String),
    /// The last part is not `aws4_request`.
    Terminator(String),
}

/// What is wrong with a form that has a POST policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormFault {
    /// Not a POST of `multipart/form-data`.
    NotMultipart,
    /// Neither does the path name a bucket and nothing else, nor did the caller name one.
    NotToABucket,
    /// The target has a query, which a form's signature does not cover.
    Query,
    /// The body is not `multipart/form-data`, or could be read in two ways.
    Malformed(&'static str),
    /// More than [`MAX_FORM_FIELDS`](super::MAX_FORM_FIELDS) bytes, or more than 100 fields, in front of the file.
    FieldsTooLong,
    /// No file, or more than one.
    NotOneFile,
    /// A field came twice.
    RepeatedField(String),
    /// A field that must be there is not.
    MissingField(&'static str),
    /// The key names `${filename}`, and the file has no name.
    NoFileName,
    /// The object key is too long.
    KeyTooLong {
        /// Its length in bytes.
        length: usize,
        /// The most that it may have.
        limit: usize,
    },
    /// The policy document cannot be read, and why.
    Policy(String),
    /// The policy is over.
    Expired,
    /// A condition of the policy is not met; its text.
    ConditionFailed(String),
    /// Fields that no condition of the policy names.
    ExtraFields(Vec<String>),
    /// The file is smaller than the policy allows.
    FileTooSmall {
        /// Its size in bytes.
        size: u64,
        /// The least that it may have.
        least: u64,
    },
    /// The file is larger than the policy allows.
    FileTooLarge {
        /// Its size in bytes.
        size: u64,
        /// The most that it may have.
        most: u64,
    },
}

/// What a list of signed headers must not be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedHeadersFault {
    /// A name that is not the lower-case name of a header that was received.
    Absent(String),
    /// Not in the order of the bytes, or a name came twice.
    NotSorted,
}

/// What is wrong with a scope that is well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScopeFault {
    /// Signed for another region.
    Region {
        /// The region of the scope.
        got: String,
        /// The region that would have been right.
        expected: String,
    },
    /// Signed for another service.
    Service {
        /// The service of the scope.
        got: String,
        /// The service that would have been right.
        expected: String,
    },
    /// The date of the scope is not that of the request.
    Date {
        /// The date of the scope.
        got: String,
        /// The time of the request.
        signed: AmzDate,
    },
}

/// At most a hundred characters of what a client sent, for its own error message.
#[cold]
pub(crate) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(100)]).into_owned()
}
