//! A process that never dumps core, keeps its memory out of swap where it may, and can be gone at once.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Pid, Resource, Signal, getpid, getrlimit, kill_process};

use crate::dumps;

/// No core dumps, no reading of its memory by its own user, and memory locked as far as the limit allows.
pub(super) fn harden() {
    dumps::forbid();
    // MCL_FUTURE under a limit makes later allocations fail, so it is for unlimited processes only.
    let unlimited = getrlimit(Resource::Memlock).current.is_none();
    let flags = if unlimited { MlockAllFlags::CURRENT | MlockAllFlags::FUTURE } else { MlockAllFlags::CURRENT };
    if let Err(error) = mlockall(flags) {
        tracing::debug!(%error, "memory is not locked (RLIMIT_MEMLOCK)");
    }
}

/// Ends the process without running exit handlers: modules crash in them while their threads are at work.
pub(super) fn be_gone() -> ! {
    let pid: Pid = getpid();
    let _ = kill_process(pid, Signal::KILL);
    std::process::abort()
}

/// Ends the process so if it is still there after a time.
pub(super) fn be_gone_after(time: Duration) {
    let watch = std::thread::Builder::new().name("drain watch".into()).spawn(move || {
        std::thread::sleep(time);
        be_gone();
    });
    if watch.is_err() {
        be_gone();
    }
}

/// Ends the process so if it is still there a time after the other end of a socket has closed.
pub(super) fn be_gone_when_left(socket: UnixStream, time: Duration) -> Result<(), std::io::Error> {
    let watch = move || {
        // Of what comes it is not woken.
        let mut closed = [PollFd::new(&socket, PollFlags::RDHUP)];
        while poll(&mut closed, None) == Err(Errno::INTR) {}
        be_gone_after(time);
    };
    std::thread::Builder::new().name("hang-up watch".into()).spawn(watch).map(drop)
}
