//! The paths of this door.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::header::{CONTENT_TYPE, HeaderName};
use hyper::{Method, StatusCode};
use hyper_util::service::TowerToHyperService;
use tonic::Status;

use super::decide::Decider;
use super::feed::Feed;
use super::grpc::{Asking, Grpc, VerifierServer};
use super::json::{Call, MAX_CALL};
use super::v1::deny_feed_server::DenyFeedServer;
use super::{Callers, Grants, Metrics, Readiness, Verifier, answer, metrics};
use crate::audit::Audit;
use crate::authority::Authority;
use crate::config::Limits;
use crate::http::{Context, Handler, Request, RequestId, Response, isolated, read_body};
use crate::sigv4::HeadPlace;

/// How the paths of the deny feed begin.
const FEED: &str = "/rederive.v1.DenyFeed/";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The handler of the door for services.
pub struct RpcDoor<A> {
    decider: Arc<Decider<A>>,
    callers: Callers,
    grpc: TowerToHyperService<VerifierServer<Grpc<A>>>,
    /// An issuer's deny feed; a verifier has none to give.
    feed: Option<TowerToHyperService<DenyFeedServer<Feed>>>,
    body_timeout: Duration,
}

impl<A: Verifier + Readiness> RpcDoor<A> {
    /// Of its bounds on time, `limits` gives the one on bodies.
    pub fn new(authority: Arc<A>, callers: Callers, metrics: Arc<Metrics>, audit: Audit, limits: &Limits) -> Self {
        let decider = Arc::new(Decider { authority, metrics, audit });
        let grpc = TowerToHyperService::new(Grpc::server(decider.clone()));
        Self { decider, callers, grpc, feed: None, body_timeout: Duration::from_millis(limits.body_timeout_ms) }
    }

    /// With the deny feed of an authority that has a registry.
    pub fn with_feed(self, authority: Arc<Authority>) -> Self {
        Self { feed: Some(TowerToHyperService::new(Feed::server(authority))), ..self }
    }

    async fn route(&self, request: Request, context: &Context) -> Response {
        let id = &context.request_id;
        match (request.uri().path(), request.method()) {
            ("/v1/verify", &Method::POST) => self.as_caller(request, context, Self::verify).await,
            ("/v1/verify", _) => answer::method_not_allowed(&Method::POST, id),
            ("/healthz", &Method::GET) => answer::text(StatusCode::OK, "running\n".into()),
            ("/readyz", &Method::GET) => self.readiness().await,
            ("/metrics", &Method::GET) => self.as_caller(request, context, Self::scrape).await,
            ("/healthz" | "/readyz" | "/metrics", _) => answer::method_not_allowed(&Method::GET, id),
            _ => answer::not_found(id),
        }
    }

    /// Goes on only for a caller that is known.
    async fn as_caller(
        &self,
        request: Request,
        context: &Context,
        serve: impl AsyncFn(&Self, Request, &Grants, &RequestId) -> Response,
    ) -> Response {
        match self.callers.identify(request.headers(), &context.peer) {
            Ok(caller) => serve(self, request, caller, &context.request_id).await,
            Err(message) => answer::unauthenticated(message, &context.request_id),
        }
    }

    async fn verify(&self, request: Request, caller: &Grants, id: &RequestId) -> Response {
        let bytes = match read_body(request.into_body(), MAX_CALL, self.body_timeout).await {
            Ok(bytes) => bytes,
            Err(error) => return answer::unread(&error, id),
        };
        let call = match Call::parse(&bytes) {
            Ok(call) => call,
            Err(malformed) => return answer::malformed(&malformed, id),
        };
        let mut place = HeadPlace::default();
        let call = match call.as_verify_call(&mut place) {
            Ok(call) => call,
            Err(malformed) => return answer::malformed(&malformed, id),
        };
        if let Err(denied) = caller.check(&call) {
            return answer::not_granted(&denied, id);
        }
        let decision = self.decider.decide(&call, caller, id).await;
        answer::decided(&decision, id)
    }

    /// Any path: tonic answers for those that it does not know.
    async fn grpc(&self, mut request: Request, context: &Context) -> Response {
        let answer = match self.callers.identify(request.headers(), &context.peer) {
            Ok(caller) => {
                request.extensions_mut().insert(Asking { caller: caller.clone(), request_id: context.request_id });
                self.answer_grpc(request).await
            }
            Err(message) => Err(Status::unauthenticated(message)),
        };
        answer.unwrap_or_else(|status| status.into_http()).map(|body| body.map_err(Into::into).boxed_unsync())
    }

    async fn answer_grpc(&self, request: Request) -> Result<hyper::Response<tonic::body::Body>, Status> {
        let is_of_feed = request.uri().path().starts_with(FEED);
        let answer = async {
            match &self.feed {
                Some(feed) if is_of_feed => isolated(hyper::service::Service::call(feed, request)).await,
                _ => isolated(hyper::service::Service::call(&self.grpc, request)).await,
            }
        };
        match tokio::time::timeout(self.body_timeout, answer).await {
            Ok(Some(Ok(answer))) => Ok(answer),
            Ok(Some(Err(never))) => match never {},
            Ok(None) => Err(Status::internal(answer::OUR_ERROR)),
            Err(_) => Err(Status::deadline_exceeded("the call did not arrive in time")),
        }
    }

    async fn scrape(&self, _: Request, _: &Grants, _: &RequestId) -> Response {
        answer::typed(StatusCode::OK, metrics::CONTENT_TYPE, self.decider.metrics.render().into_bytes())
    }

    async fn readiness(&self) -> Response {
        let troubles = self.decider.authority.troubles().await;
        if troubles.is_empty() {
            return answer::text(StatusCode::OK, "ready\n".into());
        }
        answer::text(StatusCode::SERVICE_UNAVAILABLE, troubles.join("\n") + "\n")
    }
}

impl<A: Verifier + Readiness> Handler for RpcDoor<A> {
    async fn handle(&self, request: Request, context: Context) -> Response {
        let answer =
            if is_grpc(&request) { self.grpc(request, &context).await } else { self.route(request, &context).await };
        with_id(answer, &context)
    }

    fn internal_error(&self, context: &Context) -> Response {
        with_id(answer::internal_error(&context.request_id), context)
    }
}

fn is_grpc(request: &Request) -> bool {
    request.headers().get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn with_id(mut response: Response, context: &Context) -> Response {
    response.headers_mut().insert(REQUEST_ID, context.request_id.to_header());
    response
}
