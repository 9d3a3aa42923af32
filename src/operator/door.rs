//! The socket of the operator API: a Unix socket that answers the users whom the configuration names, and nobody else.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rederive_hsm::seldom::Seldom;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::api::{self, Place};
use crate::audit::Audit;
use crate::authority::Authority;
use crate::config::{Config, OperatorSocket};

/// Connections at a time; more wait.
const CONNECTIONS: usize = 16;

/// The socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("[operator] socket {path}: {source}")]
pub struct OperatorBindError {
    path: PathBuf,
    source: io::Error,
}

/// A bound socket that is not serving yet.
pub struct OperatorDoor {
    listener: UnixListener,
    users: Vec<u32>,
    head_timeout: Duration,
    drain: Duration,
    place: Arc<Place>,
}

impl OperatorDoor {
    /// Binds, if the configuration names a socket.
    pub fn bind(config: &Config, authority: Arc<Authority>, audit: Audit) -> Result<Option<Self>, OperatorBindError> {
        let OperatorSocket { socket: Some(path), users } = &config.operator else { return Ok(None) };
        let failed = |source| OperatorBindError { path: path.clone(), source };
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let unknown = |user| failed(io::Error::other(format!("there is no user {user:?} in /etc/passwd")));
        let users = users.iter().map(|user| user.uid(&passwd).ok_or_else(|| unknown(user)));
        Ok(Some(Self {
            users: users.collect::<Result<_, _>>()?,
            listener: listen(path).map_err(failed)?,
            head_timeout: Duration::from_millis(config.limits.head_timeout_ms),
            drain: Duration::from_millis(config.limits.drain_ms),
            place: Arc::new(Place { authority, audit }),
        }))
    }

    /// Serves until `shutdown` is ready, and ends when open requests have been answered, or their time is over.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let mut open = JoinSet::new();
        let mut alarm = Seldom::default();
        let accept = async {
            loop {
                while open.len() >= CONNECTIONS {
                    open.join_next().await;
                }
                match self.listener.accept().await {
                    Ok((stream, _)) => self.admit(stream, &mut open, &mut alarm),
                    Err(error) => {
                        tracing::warn!(%error, "the operator's socket cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        };
        tokio::select! {
            () = accept => {}
            () = shutdown => {}
        }
        let _ = tokio::time::timeout(self.drain, async { while open.join_next().await.is_some() {} }).await;
    }

    /// The system tells who is at the other end; the file's mode tells nothing.
    fn admit(&self, stream: UnixStream, open: &mut JoinSet<()>, alarm: &mut Seldom) {
        let Ok(peer) = stream.peer_cred() else { return };
        let (uid, place) = (peer.uid(), self.place.clone());
        if !self.users.contains(&uid) {
            // Whoever can reach the socket can do this over and over.
            if let Some(untold) = alarm.tells(Instant::now()) {
                let what = "a user whom [operator] users does not name was turned away from the operator's socket";
                tracing::error!(uid, untold, "ALARM: {what}");
            }
            return;
        }
        let mut http = http1::Builder::new();
        // One request a connection: so none is open in vain when the node ends.
        http.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(self.head_timeout);
        open.spawn(async move {
            let service = service_fn(move |request| {
                let place = place.clone();
                async move { Ok::<_, std::convert::Infallible>(api::answer(place, uid, request).await) }
            });
            if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "a connection of an operator ended early");
            }
        });
    }
}

/// Puts a socket in the place of one that a node before has left.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let mut new = path.to_owned().into_os_string();
    new.push(".new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&new)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o666))?;
    std::fs::rename(&new, path)?;
    Ok(listener)
}
