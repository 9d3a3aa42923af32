//! `rederive.v1.DenyFeed`: an issuer's deny feed for verifiers, and their reports.

use std::sync::Arc;
use std::time::Duration;

use rederive_hsm::access_key_id::AccessKeyId;
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::grpc::Asking;
use super::v1::deny_feed_server::{DenyFeed, DenyFeedServer};
use super::v1::{DenialBatch, ReportKeysRequest, ReportKeysResponse, WatchDenialsRequest};
use crate::authority::{Authority, CannotDecide};
use crate::feed::{Chain, SignedHead};
use crate::registry::{Registry, RegistryError};

/// Ids that one report may hold.
pub const MAX_REPORTED: usize = 1000;
/// Entries in a message.
const PAGE: u32 = 1000;
/// Messages that wait for a slow reader.
const WAITING: usize = 4;
/// How long one who watches may take to read.
const READ: Duration = Duration::from_secs(30);

/// The feed of an authority with a registry.
pub(super) struct Feed(Arc<Authority>);

impl Feed {
    pub fn server(authority: Arc<Authority>) -> DenyFeedServer<Self> {
        DenyFeedServer::new(Self(authority))
    }
}

#[tonic::async_trait]
impl DenyFeed for Feed {
    type WatchDenialsStream = ReceiverStream<Result<DenialBatch, Status>>;

    async fn watch_denials(
        &self,
        request: Request<WatchDenialsRequest>,
    ) -> Result<Response<Self::WatchDenialsStream>, Status> {
        check_granted(request.extensions())?;
        let registry = self.0.registry().map_err(inside)?.clone();
        let from = start(&registry, request.get_ref()).await?;
        if self.0.signed_heads().borrow().is_none() {
            return Err(Status::unavailable(
                "the head of the deny feed is not signed now: the log of this issuer tells why",
            ));
        }
        let (sender, stream) = mpsc::channel(WAITING);
        tokio::spawn(send_forever(self.0.clone(), registry, from, sender));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn report_keys(&self, request: Request<ReportKeysRequest>) -> Result<Response<ReportKeysResponse>, Status> {
        check_granted(request.extensions())?;
        let reported = &request.get_ref().access_key_ids;
        if reported.len() > MAX_REPORTED {
            return Err(Status::invalid_argument(format!("access_key_ids: more than {MAX_REPORTED}")));
        }
        let ids: Vec<_> = reported.iter().filter_map(|id| AccessKeyId::parse(id.as_bytes())).collect();
        let denied = self.0.judge_reported(&ids).await.map_err(undecided)?;
        Ok(Response::new(ReportKeysResponse { denied: denied.iter().map(ToString::to_string).collect() }))
    }
}

fn check_granted(extensions: &tonic::Extensions) -> Result<(), Status> {
    let Asking { caller, .. } = extensions.get().expect("the door lets nothing in without it");
    match caller.deny_feed {
        true => Ok(()),
        false => Err(Status::permission_denied(format!("{} is not granted the deny feed", caller.caller))),
    }
}

/// Where to go on; refuses who has followed another feed than this.
async fn start(registry: &Registry, request: &WatchDenialsRequest) -> Result<Chain, Status> {
    let (epoch, head) = registry.feed_head().await.map_err(inside)?;
    if request.epoch.is_empty() {
        return Ok(Chain::begin(&epoch));
    }
    if request.epoch[..] != epoch {
        return Err(Status::failed_precondition(
            "this issuer's deny feed is of another epoch: its registry is another",
        ));
    }
    let after =
        i64::try_from(request.after).map_err(|_| Status::invalid_argument("after: is no number of an entry"))?;
    match registry.hash_of_change(after).await.map_err(inside)? {
        Some(known) if request.hash[..] == known.hash => Ok(known),
        Some(_) => Err(Status::failed_precondition(format!(
            "the deny feeds have forked: entry {after} has another hash here. The registry is not the one that was followed, or \
             goes on from an old copy of it"
        ))),
        None => Err(Status::failed_precondition(format!(
            "this issuer's deny feed ends at entry {}, before entry {after}: its registry is an old copy",
            head.number
        ))),
    }
}

/// Sends until the reader goes away, or this node is about to end.
async fn send_forever(
    authority: Arc<Authority>,
    registry: Registry,
    from: Chain,
    sender: mpsc::Sender<Result<DenialBatch, Status>>,
) {
    let mut sent = from.number;
    let (mut heads, mut draining) = (authority.signed_heads(), authority.draining());
    loop {
        // Who followed another issuer may be ahead of what this one has signed yet.
        let newest = heads.borrow_and_update().filter(|head| head.chain().number >= sent);
        if let Some(head) = newest {
            match send_up_to(&head, &registry, &mut sent, &sender).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    let _ = sender.try_send(Err(inside(error)));
                    return;
                }
            }
        }
        tokio::select! {
            changed = heads.changed() => if changed.is_err() { return },
            _ = draining.wait_for(|draining| *draining) => {
                let _ = sender.try_send(Err(Status::unavailable("this issuer is about to end")));
                return;
            }
            () = sender.closed() => return,
        }
    }
}

/// Sends the entries that a head covers and then the head; says whether the reader is still there.
async fn send_up_to(
    head: &SignedHead,
    registry: &Registry,
    sent: &mut i64,
    sender: &mpsc::Sender<Result<DenialBatch, Status>>,
) -> Result<bool, RegistryError> {
    let last = head.chain().number;
    loop {
        let mut page = if *sent < last { registry.changes_since(*sent, PAGE).await? } else { Vec::new() };
        page.retain(|change| change.seq <= last);
        *sent = page.last().map_or(last, |change| change.seq);
        let entries = page.iter().filter_map(|change| change.encode()).map(Into::into).collect();
        let head = (*sent >= last).then(|| head.into());
        let is_last = head.is_some();
        let sending = sender.send_timeout(Ok(DenialBatch { entries, head }), READ);
        if sending.await.is_err() {
            return Ok(false);
        }
        if is_last {
            return Ok(true);
        }
    }
}

fn undecided(trouble: CannotDecide) -> Status {
    tracing::warn!(%trouble, "reported ids cannot be judged now");
    Status::unavailable(trouble.outside())
}

fn inside(error: RegistryError) -> Status {
    tracing::error!(%error, "the deny feed cannot be read");
    Status::unavailable("the registry cannot answer now")
}

impl From<&SignedHead> for super::v1::SignedHead {
    fn from(signed: &SignedHead) -> Self {
        let head = signed.head();
        Self {
            epoch: head.epoch.to_vec().into(),
            number: head.number,
            hash: head.hash.to_vec().into(),
            time: head.time,
            public_key: signed.public_key().to_vec().into(),
            signature: signed.signature().to_vec().into(),
        }
    }
}
