//! Signature V2, pure: what old S3 clients and query APIs sign. Legacy: weaker than V4, for it covers neither the body
//! nor most headers, and SHA-1 or a bare secret key take part. Nothing accepts it unless it is told to.
//!
//! [`S3Request`] reads what S3 clients send, in the Authorization header (`AWS id:signature`) or in a URL; [`ApiRequest`]
//! what clients of query APIs send (`SignatureVersion=2`). Both give a [`StringToSign`], whose comparison alone makes a
//! [`VerifiedV2`]: with the secret access key itself, or by the word of a worker that has it.
//!
//! Sources: "Signing and Authenticating REST Requests" (S3, Signature V2); "Signature Version 2 signing process" (AWS
//! General Reference); botocore `auth.py` (HmacV1Auth, HmacV1QueryAuth, SigV2Auth).
//!
//! ```
//! use rederive::sigv2::S3Request;
//! use rederive::sigv4::{Limits, RequestHead};
//!
//! // A worked example of the S3 documentation.
//! let head = "GET /photos/puppy.jpg HTTP/1.1\r\n\
//!     Host: awsexamplebucket1.us-west-1.s3.amazonaws.com\r\n\
//!     Date: Tue, 27 Mar 2007 19:36:42 +0000\r\n\
//!     Authorization: AWS AKIAIOSFODNN7EXAMPLE:qgk2+6Sv9/oM7G3qLEjTH1a1l1g=\r\n\r\n";
//! let (head, _) = RequestHead::parse(head.as_bytes(), &Limits::default())?;
//! let request = S3Request::parse(&head).expect("well formed");
//! let timely = request.check_time(1175024202).expect("signed now");
//! let mut strings_to_sign = timely.strings_to_sign(Some(b"awsexamplebucket1")).into_iter();
//! assert!(strings_to_sign.any(|text| text.verify(b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY").is_ok()));
//! # Ok::<(), rederive::sigv4::HeadError>(())
//! ```

mod ambiguous;
mod api;
mod date;
mod form;
mod parameters;
mod s3;
mod signature;
mod sub_resources;

pub use api::{ApiRequest, TimelyApiRequest};
pub use form::FormRequest;
pub(crate) use s3::{DateLine, Reading, Values};
pub use s3::{S3Request, TimelyS3Request, bucket_of_host};
pub use signature::{StringToSign, VerifiedV2};
