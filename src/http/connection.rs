//! One connection, and each request on it.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use hyper::body::Body as _;
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
/// The most bytes of an HTTP/2 frame. Each frame is read and handed on by itself: a batch comes in few of this size. (Clients in Go
/// send 16 KiB at a time, whatever they may.)
const MAX_FRAME: u32 = 64 * 1024;
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
        Self { name, handler, http: http(head_timeout, H::STREAMS), head_timeout, tls, closing }
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
        let activity = Arc::new(Activity::default());
        let service = {
            let (this, peer, activity) = (self.clone(), peer.clone(), activity.clone());
            service_fn(move |request| {
                let (this, peer, busy) = (this.clone(), peer.clone(), activity.begin());
                async move {
                    let answer = this.answer(request, peer).await;
                    Ok::<_, std::convert::Infallible>(busy_while_streaming(answer, busy))
                }
            })
        };
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), service));
        let mut closing = self.closing.clone();
        let mut looks = tokio::time::interval(self.head_timeout);
        looks.tick().await;
        let mut draining = false;
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
                // hyper times each head of HTTP/1, but neither HTTP/2, nor bytes that are neither yet, nor a client that
                // does not read its answers: a connection without a request in progress between two looks is closed.
                _ = looks.tick() => if activity.was_idle() { return },
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

/// Whether a connection is of use: how many requests are in progress, and whether any was since the last look.
#[derive(Default)]
struct Activity {
    in_progress: AtomicUsize,
    seen: AtomicBool,
}

/// A request in progress, until dropped.
struct Busy(Arc<Activity>);

impl Activity {
    fn begin(self: &Arc<Self>) -> Busy {
        self.in_progress.fetch_add(1, Ordering::Relaxed);
        self.seen.store(true, Ordering::Relaxed);
        Busy(self.clone())
    }

    /// Whether nothing was in progress since the last look.
    fn was_idle(&self) -> bool {
        !self.seen.swap(false, Ordering::Relaxed) && self.in_progress.load(Ordering::Relaxed) == 0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.in_progress.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer whose end is open, such as a stream of gRPC, is a request in progress until its body ends or is dropped.
fn busy_while_streaming(answer: Response, busy: Busy) -> Response {
    if answer.body().size_hint().exact().is_some() {
        return answer;
    }
    answer.map(|body| {
        let frames = body.map_frame(move |frame| {
            let _ = &busy;
            frame
        });
        frames.boxed_unsync()
    })
}

fn http(head_timeout: Duration, streams: u32) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head_timeout).max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(head_timeout)
        .max_header_list_size(MAX_HEAD as u32)
        .max_frame_size(MAX_FRAME)
        .max_concurrent_streams(streams);
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
