//! Where answers go: a connection, and what a session thread has ready for one.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use zeroize::{Zeroize as _, Zeroizing};

use super::frames;
use crate::wire::Answer;

/// Answers that are written together, at most.
const TOGETHER: usize = 8;
/// Bytes that they have room for; an answer that holds a secret takes a fraction of it.
const ROOM: usize = 1024;
/// When this is how long ago the first one of them was begun, no other one is waited for.
const PATIENCE: Duration = Duration::from_micros(200);

/// One connection, for the writers of its answers.
pub(super) struct Connection {
    socket: Mutex<UnixStream>,
    is_gone: AtomicBool,
}

impl Connection {
    /// Over this socket.
    pub(super) fn new(socket: UnixStream) -> Self {
        Self { socket: Mutex::new(socket), is_gone: AtomicBool::new(false) }
    }

    /// Whether nobody waits for answers any more.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Relaxed)
    }

    /// The other end is gone.
    pub(super) fn leave(&self) {
        self.is_gone.store(true, Ordering::Relaxed);
    }

    /// Writes an answer. A connection that does not take it is closed, so that nobody else waits for it.
    pub(super) fn reply(&self, number: u64, answer: &Answer) -> Result<(), std::io::Error> {
        self.write(&frames::of(&answer.encode(number)))
    }

    fn write(&self, frames: &[u8]) -> Result<(), std::io::Error> {
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = socket.write_all(frames);
        if sent.is_err() {
            self.leave();
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        sent
    }
}

/// Answers for one connection that are written together, while more jobs wait: each write wakes the other end, which costs a session
/// half of what an HMAC of a fast token does.
pub(super) struct Outbox {
    to: Option<Arc<Connection>>,
    frames: Zeroizing<Vec<u8>>,
    answers: usize,
    /// When the first of them was begun.
    since: Option<Instant>,
}

impl Default for Outbox {
    fn default() -> Self {
        // With room for all that hold secrets, so that none stays behind in a place that was too small.
        Self { to: None, frames: Zeroizing::new(Vec::with_capacity(ROOM)), answers: 0, since: None }
    }
}

impl Outbox {
    /// Takes an answer that was begun and is ready at these times. Sends what it has when that is enough, or was begun long ago:
    /// where one answer takes long, it waits for no other.
    pub(super) fn put(
        &mut self,
        to: &Arc<Connection>,
        number: u64,
        answer: &Answer,
        (begun, ready): (Instant, Instant),
    ) {
        let is_same = self.to.as_ref().is_none_or(|other| Arc::ptr_eq(other, to));
        if !is_same || self.frames.len() + answer.frame_length() > self.frames.capacity() {
            self.send();
        }
        self.to.get_or_insert_with(|| to.clone());
        answer.put_frame(number, &mut self.frames);
        self.answers += 1;
        let since = *self.since.get_or_insert(begun);
        if self.answers == TOGETHER || ready.saturating_duration_since(since) >= PATIENCE {
            self.send();
        }
    }

    /// Sends what it has.
    pub(super) fn send(&mut self) {
        if let Some(to) = self.to.take() {
            // Who closed the connection waits for nothing.
            let _ = to.write(&self.frames);
        }
        self.frames.as_mut_slice().zeroize();
        self.frames.clear();
        (self.answers, self.since) = (0, None);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read as _};

    use super::*;
    use crate::secret::Secret32;

    /// A connection, and its other end, which does not wait.
    fn connection() -> (Arc<Connection>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        theirs.set_nonblocking(true).expect("it does not wait");
        (Arc::new(Connection::new(ours)), theirs)
    }

    fn key(byte: u8) -> Answer {
        Answer::Key(Secret32::take(&mut [byte; 32]))
    }

    fn frames(answers: impl IntoIterator<Item = (u64, Answer)>) -> Vec<u8> {
        answers.into_iter().flat_map(|(number, answer)| frames::of(&answer.encode(number)).to_vec()).collect()
    }

    /// What has come so far.
    fn come(mut socket: &UnixStream) -> Vec<u8> {
        let mut bytes = vec![0; 64 * 1024];
        match socket.read(&mut bytes) {
            Ok(read) => bytes.truncate(read),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                bytes.clear();
            }
        }
        bytes
    }

    #[test]
    fn answers_are_held_until_they_are_enough_and_come_whole_in_their_order() {
        let ((connection, theirs), now) = (connection(), Instant::now());
        let mut outbox = Outbox::default();
        for number in 1..TOGETHER as u64 {
            outbox.put(&connection, number, &key(number as u8), (now, now));
            assert!(come(&theirs).is_empty(), "answer {number} is held");
        }
        outbox.put(&connection, 99, &Answer::Trouble("in their midst".into()), (now, now));
        let keys = (1..TOGETHER as u64).map(|number| (number, key(number as u8)));
        assert_eq!(come(&theirs), frames(keys.chain([(99, Answer::Trouble("in their midst".into()))])));
        outbox.put(&connection, 100, &key(100), (now, now));
        outbox.send();
        assert_eq!(come(&theirs), frames([(100, key(100))]), "nothing twice");
        outbox.send();
        assert!(come(&theirs).is_empty());
    }

    #[test]
    fn an_answer_that_took_long_waits_for_no_other_and_ends_the_wait_of_those_before_it() {
        let ((connection, theirs), now) = (connection(), Instant::now());
        let mut outbox = Outbox::default();
        outbox.put(&connection, 1, &key(1), (now, now + PATIENCE));
        assert_eq!(come(&theirs), frames([(1, key(1))]));
        outbox.put(&connection, 2, &key(2), (now, now + PATIENCE / 2));
        assert!(come(&theirs).is_empty(), "the control: this one waits");
        outbox.put(&connection, 3, &key(3), (now + PATIENCE / 2, now + PATIENCE));
        assert_eq!(come(&theirs), frames([(2, key(2)), (3, key(3))]));
    }

    #[test]
    fn what_does_not_fit_goes_by_itself_after_those_before_it() {
        let ((connection, theirs), now) = (connection(), Instant::now());
        let mut outbox = Outbox::default();
        let long = Answer::Trouble("x".repeat(2 * ROOM));
        outbox.put(&connection, 1, &key(1), (now, now));
        outbox.put(&connection, 2, &long, (now, now));
        assert_eq!(come(&theirs), frames([(1, key(1))]));
        outbox.send();
        assert_eq!(come(&theirs), frames([(2, long)]));
    }

    #[test]
    fn one_connection_that_is_gone_holds_nobody_elses_answers_up() {
        let (((gone, closed), (here, theirs)), now) = ((connection(), connection()), Instant::now());
        let mut outbox = Outbox::default();
        drop(closed);
        outbox.put(&gone, 1, &key(1), (now, now));
        outbox.put(&here, 2, &key(2), (now, now));
        assert!(gone.is_gone() && !here.is_gone(), "it was sent when another's answer came");
        outbox.send();
        assert_eq!(come(&theirs), frames([(2, key(2))]));
    }
}
