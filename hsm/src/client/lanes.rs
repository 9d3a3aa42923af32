//! Lanes: verification, issuing and our own small requests wait apart, so that a flood of one starves no other.
//!
//! Only so many requests of a lane are with the workers at a time; the others wait in line here. So a worker's own queue stays
//! short, and a request of a quiet lane finds a short line behind a flood.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::wire::Request;

/// Requests of a lane that are with the workers at a time, for each worker.
const VERIFY: usize = 64;
const ISSUE: usize = 16;
const OWN: usize = 16;

/// One line of callers.
struct Lane {
    room: Semaphore,
    waiting: AtomicUsize,
    at_most: usize,
}

/// The lanes of a pool of workers.
pub(super) struct Lanes {
    verify: Lane,
    issue: Lane,
    /// Tag keys and signatures of the feed's head.
    own: Lane,
}

/// The line is full.
#[derive(Debug)]
pub(super) struct Full;

/// Counts one who waits, for as long as it lives.
struct Waiter<'a>(&'a AtomicUsize);

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lanes {
    /// For so many workers; so many callers may wait in each lane.
    pub(super) fn new(workers: usize, at_most: usize) -> Self {
        let lane = |room| Lane { room: Semaphore::new(room * workers), waiting: AtomicUsize::new(0), at_most };
        Self { verify: lane(VERIFY), issue: lane(ISSUE), own: lane(OWN) }
    }

    /// Waits for room in the lane of a request; tells at once when the line is full.
    pub(super) async fn enter(&self, request: &Request) -> Result<SemaphorePermit<'_>, Full> {
        let lane = match request {
            Request::Issue { .. } => &self.issue,
            Request::TagKey(_) | Request::Check(_) | Request::SignHead(_) | Request::Tally(_) => &self.own,
            Request::SigningKey { .. } | Request::SigV4aPublicKey { .. } | Request::MatchesV2(_) => &self.verify,
        };
        lane.enter().await
    }
}

impl Lane {
    async fn enter(&self) -> Result<SemaphorePermit<'_>, Full> {
        if let Ok(permit) = self.room.try_acquire() {
            return Ok(permit);
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiter = Waiter(&self.waiting);
        if before >= self.at_most {
            return Err(Full);
        }
        self.room.acquire().await.map_err(|_| Full)
    }
}
