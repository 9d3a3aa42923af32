//! A worker of its own: it listens on a Unix socket, answers the users that its configuration names, and tells its watchdog that it
//! lives.

use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::net::UnixListener;

use super::desk::Desk;
use super::report::{Counted, Report};
use super::{Failure, start};
use crate::config::{Listen, WorkerConfig};
use crate::seldom::Seldom;

/// How often it tells its watchdog that it lives.
const BEAT: Duration = Duration::from_millis(50);
/// How long a peer may take to read an answer before its connection is closed.
const PATIENCE: Duration = Duration::from_secs(1);
/// Connections at a time.
const CONNECTIONS: usize = 64;

/// Who came.
#[derive(Default)]
struct Door {
    open: AtomicUsize,
    connections: AtomicU64,
    turned_away: AtomicU64,
}

/// A place among the connections, free again when dropped: also by a thread that panics.
struct Seat(Arc<Door>);

impl Seat {
    fn take(door: &Arc<Door>) -> Self {
        door.open.fetch_add(1, Ordering::Relaxed);
        Self(door.clone())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers until the watchdog closes its end, or is gone.
pub(super) fn run(watchdog: UnixStream, listen: &Listen, config: &WorkerConfig) -> Result<(), Failure> {
    let started = match start(config) {
        Ok(started) => started,
        Err(failure) => {
            let report = Report::Failed { pin_refused: failure.pin_refused, text: failure.text };
            return Ok(report.send(&watchdog)?);
        }
    };
    let (desk, sessions) = Desk::open(started, false)?;
    let door = Arc::new(Door::default());
    open_door(listen.clone(), desk.clone(), door.clone())?;
    Report::Ready.send(&watchdog)?;
    let told = beat(watchdog, &desk, &door);
    sessions.end(&desk)?;
    Ok(told?)
}

fn beat(mut watchdog: UnixStream, desk: &Desk, door: &Door) -> Result<(), std::io::Error> {
    watchdog.set_read_timeout(Some(BEAT))?;
    loop {
        match watchdog.read(&mut [0]) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        let longest_call_ms = desk.longest_call().as_millis() as u64;
        let counted = Counted {
            connections: door.connections.load(Ordering::Relaxed),
            turned_away: door.turned_away.load(Ordering::Relaxed),
            ..desk.counted()
        };
        Report::Alive { longest_call_ms, counted }.send(&watchdog)?;
    }
}

/// Listens, and attends to whoever may connect, in threads of their own that end with the process.
fn open_door(listen: Listen, desk: Arc<Desk>, door: Arc<Door>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let listener = runtime.block_on(async { bind(&listen.socket) })?;
    std::thread::Builder::new()
        .name("door".into())
        .spawn(move || runtime.block_on(admit(listener, listen, desk, door)))?;
    Ok(())
}

/// Puts a socket in the place of one that a worker before has left. Who may connect is told by the peer's user, not by the file's
/// mode.
fn bind(path: &Path) -> Result<UnixListener, Failure> {
    let failed = |error: std::io::Error| format!("cannot listen on {}: {error}", path.display());
    let new = Listen::beside(path, "new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error).into()),
        _ => {}
    }
    let listener = UnixListener::bind(&new).map_err(failed)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o666)).map_err(failed)?;
    std::fs::rename(&new, path).map_err(failed)?;
    Ok(listener)
}

async fn admit(listener: UnixListener, listen: Listen, desk: Arc<Desk>, door: Arc<Door>) {
    let mut alarm = Seldom::default();
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            // Out of descriptors: some will be closed.
            tokio::time::sleep(BEAT).await;
            continue;
        };
        let Ok(peer) = socket.peer_cred() else { continue };
        let turned_away = if !listen.peers.contains(&peer.uid()) {
            "it runs as a user that the configuration does not name"
        } else if door.open.load(Ordering::Relaxed) >= CONNECTIONS {
            "there are too many connections"
        } else {
            tracing::info!(uid = peer.uid(), pid = peer.pid(), "connected");
            door.connections.fetch_add(1, Ordering::Relaxed);
            let desk = desk.clone();
            let _ = socket.into_std().and_then(|socket| attend(socket, &door, move |socket| desk.attend(socket, None)));
            continue;
        };
        door.turned_away.fetch_add(1, Ordering::Relaxed);
        if let Some(untold) = alarm.tells(Instant::now()) {
            let (uid, pid) = (peer.uid(), peer.pid());
            tracing::error!(uid, pid, untold, "ALARM: a peer was turned away: {turned_away}");
        }
    }
}

/// A connection's own thread, in which it is answered.
fn attend(
    socket: UnixStream,
    door: &Arc<Door>,
    answer: impl FnOnce(UnixStream) -> Result<(), std::io::Error> + Send + 'static,
) -> Result<(), std::io::Error> {
    socket.set_nonblocking(false)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let seat = Seat::take(door);
    let thread = std::thread::Builder::new().name("connection".into()).spawn(move || {
        let _seat = seat;
        match answer(socket) {
            Ok(()) => tracing::info!("a connection was closed"),
            Err(error) => tracing::warn!(%error, "a connection ended badly"),
        }
    });
    thread.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In which whatever comes, comes: a test that fails does not hang.
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_connection_whose_thread_panics_leaves_its_place() {
        let door = Arc::new(Door::default());
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let seen = door.clone();
        attend(ours, &door, move |_| panic!("planted, while {} is open", seen.open.load(Ordering::Relaxed)))
            .expect("a thread");
        // The thread has ended, or drops what it has: first the socket, then its place.
        theirs.set_read_timeout(Some(LONG)).expect("a bound");
        assert_eq!(theirs.read(&mut [0]).expect("closed"), 0);
        let until = Instant::now() + LONG;
        while door.open.load(Ordering::Relaxed) > 0 {
            assert!(Instant::now() < until, "it never left its place");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
