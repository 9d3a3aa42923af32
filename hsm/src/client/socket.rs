//! The authority's end of a connection to a worker.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A socket that wakes its reader alone: the kernel would wake who asks to be told of room for more each time the worker reads,
/// once for nearly every request, and there is always room.
pub(super) struct Socket(AsyncFd<UnixStream>);

impl Socket {
    /// Over a socket that does not block.
    pub(super) fn new(socket: UnixStream) -> Result<Self, std::io::Error> {
        register(socket, Interest::READABLE).map(Self)
    }

    /// Waits for bytes; 0 of them when the other end has closed.
    pub(super) async fn read(&self, place: &mut [u8]) -> Result<usize, std::io::Error> {
        loop {
            let mut ready = self.0.readable().await?;
            match ready.get_inner().read(place) {
                Ok(read) => {
                    // Then there is nothing more: who tries is told so by the kernel, which costs a call.
                    if read < place.len() {
                        ready.clear_ready();
                    }
                    return Ok(read);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes all of them.
    pub(super) async fn write_all(&self, mut bytes: &[u8]) -> Result<(), std::io::Error> {
        while !bytes.is_empty() {
            match self.0.get_ref().write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.room().await?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until there is room for more.
    async fn room(&self) -> Result<(), std::io::Error> {
        let other = register(self.0.get_ref().try_clone()?, Interest::WRITABLE)?;
        other.writable().await.map(drop)
    }
}

#[expect(
    deprecated,
    reason = "what it cannot know of every type is so of a UnixStream: it never has another descriptor"
)]
fn register(socket: UnixStream, interest: Interest) -> Result<AsyncFd<UnixStream>, std::io::Error> {
    AsyncFd::with_interest(socket, interest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Socket, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        ours.set_nonblocking(true).expect("it does not block");
        (Socket::new(ours).expect("a runtime"), theirs)
    }

    #[tokio::test]
    async fn more_than_there_is_room_for_is_written_when_there_is() {
        let (socket, mut theirs) = pair();
        let sent: Vec<u8> = (0..4_000_000_u32).map(|at| (at / 7) as u8).collect();
        let length = sent.len();
        let reader = std::thread::spawn(move || {
            let mut come = vec![0; length];
            theirs.read_exact(&mut come).map(|()| (come, theirs))
        });
        socket.write_all(&sent).await.expect("all is written");
        let (come, theirs) = reader.join().expect("no panic").expect("all came");
        assert!(come == sent);
        drop(theirs);
        assert!(socket.write_all(&sent).await.is_err(), "the other end has closed");
    }

    #[tokio::test]
    async fn what_comes_is_read_whole_through_a_small_place_until_the_end() {
        let (socket, mut theirs) = pair();
        let mut place = [0; 3];
        for text in [&b"abc"[..], b"defgh", b"i"] {
            let mut come = Vec::new();
            theirs.write_all(text).expect("there is room");
            while come.len() < text.len() {
                let read = socket.read(&mut place).await.expect("bytes");
                come.extend_from_slice(&place[..read]);
            }
            assert_eq!(come, text);
        }
        drop(theirs);
        assert_eq!(socket.read(&mut place).await.expect("the end"), 0);
    }
}
