//! The kinds of bodies in chunks, by what x-amz-content-sha256 calls them.

/// How a body in chunks is signed. The names are those of x-amz-content-sha256, which the signature covers.
///
/// Source: "Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks".
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StreamingKind {
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`: each chunk has a signature.
    SignedChunks,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER`: each chunk has a signature, and so has the trailer.
    SignedChunksAndTrailer,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`: neither chunks nor trailer have a signature; a checksum in the trailer is all.
    UnsignedWithTrailer,
}

impl StreamingKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::SignedChunks, Self::SignedChunksAndTrailer, Self::UnsignedWithTrailer];

    /// By the value of x-amz-content-sha256; `None` for one that is not such a kind.
    pub fn parse(text: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str().as_bytes() == text)
    }

    /// The value of x-amz-content-sha256.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SignedChunks => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            Self::SignedChunksAndTrailer => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
            Self::UnsignedWithTrailer => "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        }
    }

    /// Whether each chunk has a signature.
    pub fn is_signed(self) -> bool {
        match self {
            Self::SignedChunks | Self::SignedChunksAndTrailer => true,
            Self::UnsignedWithTrailer => false,
        }
    }

    /// Whether a trailer follows the chunks.
    pub fn has_trailer(self) -> bool {
        match self {
            Self::SignedChunks => false,
            Self::SignedChunksAndTrailer | Self::UnsignedWithTrailer => true,
        }
    }
}
