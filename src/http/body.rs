//! Reading a request body, bounded in bytes and time.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::Body;

/// Why a body was not read. [`status`](Self::status) is the answer that fits.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// More bytes than the door takes.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The most that is read.
        limit: usize,
    },
    /// It did not arrive in time.
    #[error("the body did not arrive in time")]
    Late,
    /// The connection broke, or the framing of the body is wrong.
    #[error("the body could not be read")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl BodyError {
    /// 413, 408 or 400.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Late => StatusCode::REQUEST_TIMEOUT,
            Self::Broken(_) => StatusCode::BAD_REQUEST,
        }
    }
}

/// Reads at most `limit` bytes within `timeout`. A body that says it is longer is refused before it is read.
pub async fn read_body<B>(body: B, limit: usize, timeout: Duration) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    if body.size_hint().lower() > limit as u64 {
        return Err(BodyError::TooLarge { limit });
    }
    match tokio::time::timeout(timeout, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge { limit }),
        Ok(Err(error)) => Err(BodyError::Broken(error)),
        Err(_) => Err(BodyError::Late),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{Empty, Full};
    use hyper::body::Frame;

    const LONG: Duration = Duration::from_secs(600);

    type Chunk = Result<Frame<Bytes>, std::io::Error>;

    /// A body of unknown length: the chunks from last to first, which then ends.
    struct Chunks(Vec<Chunk>);

    impl Body for Chunks {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Chunk>> {
            std::task::Poll::Ready(self.0.pop())
        }
    }

    /// A body that never comes.
    struct Silent;

    impl Body for Silent {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Chunk>> {
            std::task::Poll::Pending
        }
    }

    fn chunk(text: &'static str) -> Chunk {
        Ok(Frame::data(Bytes::from_static(text.as_bytes())))
    }

    #[tokio::test]
    async fn reads_up_to_the_limit_and_no_further() {
        assert_eq!(read_body(Full::from("12345"), 5, LONG).await.expect("fits"), "12345");
        assert_eq!(read_body(Empty::new(), 0, LONG).await.expect("fits"), "");
        assert_eq!(read_body(Chunks(vec![chunk("45"), chunk("123")]), 5, LONG).await.expect("fits"), "12345");
        let said = read_body(Full::from("123456"), 5, LONG).await.expect_err("announced as too long");
        let sent = read_body(Chunks(vec![chunk("6"), chunk("12345")]), 5, LONG).await.expect_err("turns out too long");
        assert_eq!((said.status(), sent.status()), (StatusCode::PAYLOAD_TOO_LARGE, StatusCode::PAYLOAD_TOO_LARGE));
    }

    #[tokio::test]
    async fn tells_a_broken_body_from_a_late_one() {
        let broken = Chunks(vec![Err(std::io::Error::other("reset"))]);
        assert_eq!(read_body(broken, 5, LONG).await.expect_err("broken").status(), StatusCode::BAD_REQUEST);
        let late = read_body(Silent, 5, Duration::from_millis(1)).await.expect_err("late");
        assert_eq!(late.status(), StatusCode::REQUEST_TIMEOUT);
    }
}
