//! A node: an authority behind its two doors, from bound listeners to the last answered request.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::api::ApiDoor;
use crate::authority::Authority;
use crate::config::Config;
use crate::http::{BindError, Door, TlsError, server_config};
use crate::rpc::RpcDoor;

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The callers cannot be set up.
    #[error(transparent)]
    Callers(#[from] crate::rpc::CallerError),
}

/// A node whose doors are bound.
pub struct Node {
    authority: Arc<Authority>,
    supervisor: JoinHandle<()>,
    api: Door,
    rpc: Door,
    rpc_handler: RpcDoor<Authority>,
}
