//! The kinds of bodies in chunks, by what x-amz-content-sha256 calls them.

use super::authorization::Algorithm;

/// How a body in chunks is signed. The names are those of x-amz-content-sha256, which the signature covers.
///
/// Source: "Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks".
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StreamingKind {
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`: each chunk has a signature.
    SignedChunks,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER`: each chunk has a signature, and so has the trailer.
    SignedChunksAndTrailer,
    /// `STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD`: each chunk has a signature of Signature V4A.
    EcdsaSignedChunks,
    /// `STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER`: each chunk has a signature of Signature V4A, and so has the
    /// trailer.
    EcdsaSignedChunksAndTrailer,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`: neither chunks nor trailer have a signature; a checksum in the trailer is all.
    UnsignedWithTrailer,
}

impl StreamingKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::SignedChunks,
        Self::SignedChunksAndTrailer,
        Self::EcdsaSignedChunks,
        Self::EcdsaSignedChunksAndTrailer,
        Self::UnsignedWithTrailer,
    ];

    /// By the value of x-amz-content-sha256; `None` for one that is not such a kind.
    pub fn parse(text: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str().as_bytes() == text)
    }

    /// The value of x-amz-content-sha256.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SignedChunks => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            Self::SignedChunksAndTrailer => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
            Self::EcdsaSignedChunks => "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
            Self::EcdsaSignedChunksAndTrailer => "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
            Self::UnsignedWithTrailer => "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        }
    }

    /// Whether each chunk has a signature.
    pub fn is_signed(self) -> bool {
        self.algorithm().is_some()
    }

    /// What chunks and trailer are signed with, if they are.
    pub(crate) fn algorithm(self) -> Option<Algorithm> {
        match self {
            Self::SignedChunks | Self::SignedChunksAndTrailer => Some(Algorithm::HmacSha256),
            Self::EcdsaSignedChunks | Self::EcdsaSignedChunksAndTrailer => Some(Algorithm::EcdsaP256Sha256),
            Self::UnsignedWithTrailer => None,
        }
    }

    /// Whether a trailer follows the chunks.
    pub fn has_trailer(self) -> bool {
        match self {
            Self::SignedChunks | Self::EcdsaSignedChunks => false,
            Self::SignedChunksAndTrailer | Self::EcdsaSignedChunksAndTrailer | Self::UnsignedWithTrailer => true,
        }
    }
}
