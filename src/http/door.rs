//! A door: one listener, from bind to the last open request.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::connection::Connections;
use super::{Handler, Peer};
use crate::config::Limits;

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    /// The address asked for.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
}

/// A bound listener that is not serving yet: connections wait in its backlog.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    limits: Limits,
}

impl Door {
    /// Binds; port 0 picks a free one, which [`address`](Self::address) tells.
    pub async fn bind(address: SocketAddr, tls: Option<Arc<ServerConfig>>, limits: &Limits) -> Result<Self, BindError> {
        let failed = |source| BindError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, tls, limits: limits.clone() })
    }

    /// The address that is listened on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether clients must speak TLS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Serves until `shutdown` is ready, then accepts nothing more, lets open requests finish, and returns when they have or
    /// when `limits.drain_ms` are over. `name` is the door's name in the log.
    pub async fn serve<H: Handler>(self, name: &'static str, handler: H, shutdown: impl Future<Output = ()>) {
        let (closing, closed) = watch::channel(false);
        let connections =
            Arc::new(Connections::new(name, handler, &self.limits, self.tls.map(TlsAcceptor::from), closed));
        let mut open = JoinSet::new();
        let accept = accept_all(self.listener, self.limits.connections, |stream, address, permit| {
            while open.try_join_next().is_some() {}
            let connections = connections.clone();
            open.spawn(async move {
                connections.serve(stream, address).await;
                drop(permit);
            });
        });
        tokio::select! {
            never = accept => match never {},
            () = shutdown => {}
        }
        closing.send_replace(true);
        drain(name, open, Duration::from_millis(self.limits.drain_ms)).await;
    }
}

/// Hands on each connection, at most `limit` at a time. The listener is closed when this is dropped.
async fn accept_all(
    listener: TcpListener,
    limit: usize,
    mut serve: impl FnMut(TcpStream, SocketAddr, OwnedSemaphorePermit),
) -> std::convert::Infallible {
    let places = Arc::new(Semaphore::new(limit));
    loop {
        let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, address)) => serve(stream, address, place),
            // Out of file descriptors, most often: the connection stays in the backlog until some are closed.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn drain(name: &str, mut open: JoinSet<()>, deadline: Duration) {
    let all_done = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(deadline, all_done).await.is_err() {
        tracing::warn!(door = name, connections = open.len(), "requests were still open at the end of the drain");
    }
    open.shutdown().await;
}

impl Peer {
    pub(super) fn new(
        address: SocketAddr,
        certificate: Option<tokio_rustls::rustls::pki_types::CertificateDer<'static>>,
    ) -> Arc<Self> {
        Arc::new(Self { address, certificate })
    }
}
