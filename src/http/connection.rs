//! One connection, and each request on it.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use hyper::header::{HeaderName, USER_AGENT};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tracing::Instrument as _;

use super::{Context, Handler, Peer, Request, RequestId, Response};
use crate::config::Limits;

/// The most bytes of a request head.
const MAX_HEAD: usize = 32 * 1024;
/// Header that a client may have put an id of its own into.
const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the connections of a door have in common.
pub(super) struct Connections<H> {
    name: &'static str,
    handler: H,
    http: Builder<TokioExecutor>,
    head_timeout: Duration,
    tls: Option<TlsAcceptor>,
    closing: watch::Receiver<bool>,
}

impl<H: Handler> Connections<H> {
    pub(super) fn new(
        name: &'static str,
        handler: H,
        limits: &Limits,
        tls: Option<TlsAcceptor>,
        closing: watch::Receiver<bool>,
    ) -> Self {
        let head_timeout = Duration::from_millis(limits.head_timeout_ms);
        Self { name, handler, http: http(head_timeout), head_timeout, tls, closing }
    }

    /// Serves one connection to its end. Whatever goes wrong with it is the client's affair, or the network's.
    pub(super) async fn serve(self: Arc<Self>, stream: TcpStream, address: SocketAddr) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(door = self.name, peer = %address, %error, "the connection is gone already");
            return;
        }
        match &self.tls {
            None => self.clone().requests(stream, Peer::new(address, None)).await,
            Some(tls) => match tokio::time::timeout(self.head_timeout, tls.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
                    let peer = Peer::new(address, certificate.map(|der| der.clone().into_owned()));
                    self.clone().requests(stream, peer).await;
                }
                Ok(Err(error)) => tracing::debug!(door = self.name, peer = %address, %error, "TLS handshake failed"),
                Err(_) => tracing::debug!(door = self.name, peer = %address, "TLS handshake took too long"),
            },
        }
    }

    async fn requests<S>(self: Arc<Self>, stream: S, peer: Arc<Peer>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let heard = Arc::new(AtomicBool::new(false));
        let service = {
            let (this, peer, heard) = (self.clone(), peer.clone(), heard.clone());
            service_fn(move |request| {
                heard.store(true, Ordering::Relaxed);
                let (this, peer) = (this.clone(), peer.clone());
                async move { Ok::<_, std::convert::Infallible>(this.answer(request, peer).await) }
            })
        };
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), service));
        let mut closing = self.closing.clone();
        let mut first_request = pin!(tokio::time::sleep(self.head_timeout));
        let (mut draining, mut watching) = (false, true);
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(door = self.name, peer = %peer.address, error, "the connection ended early");
                    }
                    return;
                }
                _ = closing.wait_for(|closing| *closing), if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                // hyper times each head, but not the bytes before it knows whether they are HTTP/1 or 2.
                () = first_request.as_mut(), if watching => {
                    watching = false;
                    if !heard.load(Ordering::Relaxed) {
                        return;
                    }
                }
            }
        }
    }

    async fn answer(&self, request: Request, peer: Arc<Peer>) -> Response {
        let context = Context { request_id: RequestId::random(), peer };
        let span = tracing::info_span!("request", door = self.name, request_id = %context.request_id);
        async {
            log_request(&request, &context);
            let start = Instant::now();
            let answer = isolated(self.handler.handle(request, context.clone())).await;
            let answer = answer.unwrap_or_else(|| self.handler.internal_error(&context));
            tracing::debug!(status = answer.status().as_u16(), elapsed = ?start.elapsed(), "answer");
            answer
        }
        .instrument(span)
        .await
    }
}

fn http(head_timeout: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head_timeout).max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(head_timeout)
        .max_header_list_size(MAX_HEAD as u32)
        .max_concurrent_streams(256);
    builder
}

/// The outcome of a future, or `None` if it panicked.
pub(crate) async fn isolated<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    // A handler that panicked is dropped and never polled again; what it shares with others is behind locks and atomics.
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Some),
        Err(_) => {
            tracing::error!("a request panicked; where is on standard error");
            Poll::Ready(None)
        }
    })
    .await
}

/// What is logged of a request: never its query, its credentials or its body.
fn log_request(request: &Request, context: &Context) {
    let header = |name| request.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    tracing::debug!(
        peer = %context.peer.address,
        method = %request.method(),
        path = request.uri().path(),
        user_agent = ?header(USER_AGENT),
        client_request_id = ?header(CLIENT_REQUEST_ID),
        "request"
    );
}
