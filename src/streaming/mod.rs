//! Bodies in chunks: `aws-chunked`, decoded and verified while they arrive; pure, no I/O.
//!
//! The signature of such a request covers its head alone. What speaks for the body depends on its
//! [`StreamingKind`](crate::sigv4::StreamingKind): a signature on each chunk, each chained to the one before and the first to
//! that of the request; or nothing but a checksum at the end. So there is no such thing as a decoded body that "is verified" before its end was seen:
//!
//! - [`Piece::Signed`] holds bytes that the client signed, in this place of this body. That more follow is still open: a
//!   body that is cut short shows it only at its end.
//! - [`Piece::Unsigned`] holds bytes that nobody signed.
//! - [`Decoder::finish`] alone gives a [`VerifiedBody`]: the body is complete, of the length that was announced, every
//!   signature and checksum is right, and nothing follows. **What was written before it must not be seen by anybody until
//!   then.** It tells by [`Vouched`] what spoke for the body.
//!
//! A [`Seed`] is what the decoder needs of the request: it comes from a [`Verified`](crate::sigv4::Verified) one, or from
//! its parts, as the verification RPC gives them to a gateway that holds no secret access key.
//!
//! ```
//! use rederive::sigv4::{AmzDate, CredentialScope, Limits, PreparedSigningKey, RequestHead, StreamingKind};
//! use rederive::streaming::{ChunkLimits, Decoder, Seed, Vouched};
//! use rederive_hsm::signing_key::SigningKey;
//!
//! // What is known of a request that was verified: its head, signature, time and scope; and the signing key.
//! let head = b"PUT /b/k HTTP/1.1\r\nHost: h\r\nx-amz-decoded-content-length: 5\r\n\r\n";
//! let (head, _) = RequestHead::parse(head, &Limits::default())?;
//! let scope = CredentialScope::new("20260102", "local", "s3").expect("well formed");
//! let date = AmzDate::parse(b"20260102T030405Z").expect("a time");
//! let key = SigningKey::derive_from_text(b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", b"20260102", "local", "s3");
//! let key = PreparedSigningKey::new(key).into();
//! let seed = Seed::new(StreamingKind::SignedChunks, key, &date, &scope, &[0x2a; 32]).expect("signed with such a key");
//!
//! let mut decoder = Decoder::new(seed, &head, &ChunkLimits::default())?;
//! let mut object = Vec::new();
//! // The bytes of the body, in pieces of any size, as they come from the socket.
//! for mut input in [
//!     &b"5;chunk-signature=88140d97f4692758"[..],
//!     b"abc92a845642e9e3fc40ef54c0024e058430b63f10fa6ec7\r\nhello\r\n0;chunk-signature=",
//!     b"ddfa7e1a4fb61d7a4ae16da1e7e4dd125c4642818cd7618da7379fa79d0da18f\r\n\r\n",
//! ] {
//!     while let Some(piece) = decoder.decode(&mut input)? {
//!         object.extend_from_slice(piece.bytes());
//!     }
//! }
//! let body = decoder.finish()?;
//! assert_eq!((body.length(), body.vouched(), &object[..]), (5, Vouched::BySignatures, &b"hello"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Sources: "Transferring Payload in Multiple Chunks", "… Including trailing headers"; botocore, aws-c-auth and minio-go for
//! what clients send.

mod announced;
mod chain;
mod checksum;
mod chunk_header;
mod decoder;
mod error;
mod seed;
mod trailer;

pub use checksum::{ChecksumAlgorithm, Checksums};
pub use decoder::{ChunkLimits, Decoder, Piece, VerifiedBody, Vouched};
pub use error::{BodyError, BodyFault};
pub use seed::Seed;
