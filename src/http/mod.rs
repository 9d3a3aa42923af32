//! What both doors share: a listener with TLS, limits and graceful shutdown, and an id for each request.
//!
//! A door gives a [`Handler`]; [`Door::serve`] calls it once for each request, catches its panics, and logs one line.
//! Neither queries nor header values that authenticate nor bodies are ever logged.
//!
//! The target of a request is its URI as received: percent-escapes, slashes and case of the path and query are untouched.
//! (hyper refuses targets that are not UTF-8, and cuts a fragment off, before the handler sees them.)

mod body;
mod connection;
mod door;
mod request_id;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use tokio_rustls::rustls::pki_types::CertificateDer;

pub use body::{BodyError, read_body};
pub(crate) use connection::isolated;
pub use door::{BindError, Door};
pub use request_id::RequestId;
pub use tls::{TlsError, server_config};

/// A request with its body still on the wire.
pub type Request = hyper::Request<Incoming>;
/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;
/// An answer.
pub type Response = hyper::Response<Body>;

/// A body that is at hand.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    http_body_util::Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// What is known about a request beside itself.
#[derive(Clone, Debug)]
pub struct Context {
    /// Ours, new for each request.
    pub request_id: RequestId,
    /// The other end of the connection.
    pub peer: Arc<Peer>,
}

/// The other end of a connection.
#[derive(Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Its client certificate, verified up to one of the configured authorities.
    pub certificate: Option<CertificateDer<'static>>,
}

/// What a door does with a request.
pub trait Handler: Send + Sync + 'static {
    /// Requests that an HTTP/2 connection may have open at a time.
    const STREAMS: u32 = 256;

    /// Answers one request. A client that goes away drops this future where it stands: what must be finished once begun
    /// runs in a task of its own.
    fn handle(&self, request: Request, context: Context) -> impl Future<Output = Response> + Send;

    /// The answer when [`handle`](Self::handle) panicked: status 500, in the format of the door.
    fn internal_error(&self, context: &Context) -> Response;
}
