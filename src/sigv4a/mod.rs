//! Signature V4A, pure: `AWS4-ECDSA-P256-SHA256`, for several regions at once, verified with a public key.
//!
//! The canonical request is that of Signature V4, and so are the rules of what must be signed. What differs: the scope
//! names no region; `X-Amz-Region-Set` names those that the request is good for, as patterns; and the signature is
//! ECDSA. [`PublicKey::derive`] makes the key of a secret; whoever verifies needs no more than it.
//!
//! Sources: awslabs/aws-c-auth `key_derivation.c`, `aws_signing.c`; smithy-rs `aws-sigv4` (`sign/v4a.rs`).

mod chunk;

pub use chunk::{ChunkScope, PADDED_SIGNATURE, unpadded};
pub use rederive_hsm::region_set::RegionSet;
pub use rederive_hsm::sigv4a_key::{ALGORITHM, PublicKey};

pub use crate::sigv4::v4a::{ScopedV4aRequest, V4aRequest, V4aStringToSign, VerifiedV4a};
