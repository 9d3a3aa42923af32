//! What can be wrong with a body in chunks, for the log and for the client.

use super::checksum::ChecksumAlgorithm;
use crate::sigv4::Outside;

/// What is wrong with a body, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset} of the body: {fault}")]
pub struct BodyError {
    /// How many bytes of the body, framing included, come before the line or chunk that is wrong.
    pub offset: u64,
    /// What is wrong.
    pub fault: BodyFault,
}

/// What is wrong with a body. Texts are what the client itself sent, cut to a sane length.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// The head does not say how long the body is.
    #[error("x-amz-decoded-content-length is missing")]
    MissingDecodedLength,
    /// A header that may come once came twice.
    #[error("the header {0} came twice")]
    RepeatedHeader(&'static str),
    /// A header that says something of the body cannot be read.
    #[error("the header {name} cannot be `{got}`")]
    MalformedHeader {
        /// The header.
        name: &'static str,
        /// Its value.
        got: String,
    },
    /// x-amz-trailer names what nobody here can verify.
    #[error("x-amz-trailer names `{0}`, which is not a checksum that is known here")]
    UnknownTrailer(String),
    /// The line before a chunk's data cannot be read.
    #[error("this is not the header of a chunk: {0}")]
    ChunkHeader(&'static str),
    /// A chunk larger than [`ChunkLimits::most`](super::ChunkLimits::most).
    #[error("a chunk of {size} bytes; the limit for signed ones is {most}")]
    ChunkTooLarge {
        /// Its size.
        size: u64,
        /// The limit in force.
        most: u64,
    },
    /// A chunk smaller than [`ChunkLimits::least`](super::ChunkLimits::least) that is not the last with data.
    #[error("more follows a chunk of {size} bytes; only the last may be under {least}")]
    ChunkTooSmall {
        /// Its size.
        size: u64,
        /// The limit in force.
        least: u64,
    },
    /// No CRLF stands after the data of a chunk.
    #[error("no CR LF follows the data of the chunk before")]
    DataNotEnded,
    /// More data than x-amz-decoded-content-length announces.
    #[error("more than the {announced} bytes that x-amz-decoded-content-length announces")]
    TooLong {
        /// Bytes announced.
        announced: u64,
    },
    /// Less data than x-amz-decoded-content-length announces.
    #[error("{came} bytes, where x-amz-decoded-content-length announces {announced}")]
    TooShort {
        /// Bytes announced.
        announced: u64,
        /// Bytes that came.
        came: u64,
    },
    /// The signature of a chunk is another.
    #[error("the signature of this chunk is not the right one")]
    ChunkSignature,
    /// The signature of the trailer is another.
    #[error("the signature of the trailer is not the right one")]
    TrailerSignature,
    /// The trailer is not what the head announces.
    #[error("the trailer is not as it must be: {0}")]
    Trailer(&'static str),
    /// Something follows the end.
    #[error("the body is complete, and more follows")]
    AfterEnd,
    /// A checksum in the trailer is not base64 of its size.
    #[error("{name} in the trailer is not base64 of its size", name = .0.header())]
    MalformedChecksum(ChecksumAlgorithm),
    /// A checksum is another than that of the body.
    #[error("the {name} of the body is another than stated", name = .0.as_str())]
    ChecksumMismatch(ChecksumAlgorithm),
    /// The body ended before it was complete.
    #[error("the body ended {0}")]
    Ended(&'static str),
}

impl BodyError {
    /// What the client is told.
    pub fn outside(&self) -> Outside {
        self.fault.outside()
    }
}

impl BodyFault {
    /// What the client is told, in the codes of S3: no other service takes bodies in chunks.
    pub fn outside(&self) -> Outside {
        match self {
            Self::MissingDecodedLength => {
                Outside::new("MissingContentLength", 411, "You must provide the Content-Length HTTP header.")
            }
            Self::RepeatedHeader(name) => {
                Outside::new("InvalidArgument", 400, format!("The header {name} may be given only once"))
                    .with("ArgumentName", *name)
            }
            Self::MalformedHeader { name, .. } => invalid_value(name, "header"),
            Self::UnknownTrailer(_) => invalid("The value specified in the x-amz-trailer header is not supported"),
            Self::ChunkTooLarge { most, .. } => invalid(&format!("A signed chunk may have {most} bytes at most")),
            Self::ChunkTooSmall { least, .. } => Outside::new(
                "InvalidChunkSizeError",
                400,
                format!("Only the last chunk is allowed to have a size less than {least} bytes"),
            ),
            Self::ChunkHeader(_)
            | Self::DataNotEnded
            | Self::TooLong { .. }
            | Self::TooShort { .. }
            | Self::Ended(_) => Outside::new("IncompleteBody", 400, "The request body terminated unexpectedly"),
            Self::ChunkSignature | Self::TrailerSignature => Outside::new(
                "SignatureDoesNotMatch",
                403,
                "The request signature we calculated does not match the signature you provided. Check your key and \
                 signing method.",
            ),
            Self::Trailer(_) | Self::AfterEnd => Outside::new(
                "MalformedTrailerError",
                400,
                "The request contained trailing data that was not well-formed or did not conform to our published \
                 schema.",
            ),
            Self::MalformedChecksum(algorithm) => invalid_value(algorithm.header(), "trailing header"),
            Self::ChecksumMismatch(algorithm) => Outside::new(
                "BadDigest",
                400,
                format!("The {} you specified did not match the calculated checksum.", algorithm.as_str()),
            ),
        }
    }
}

fn invalid(message: &str) -> Outside {
    Outside::new("InvalidRequest", 400, message)
}

fn invalid_value(name: &str, place: &str) -> Outside {
    invalid(&format!("Value for {name} {place} is invalid."))
}
