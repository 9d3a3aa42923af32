//! What this door needs of the authority.

use tokio::sync::watch;

use super::{Accepted, Decision, Grants, VerifyCall};
use crate::http::RequestId;

/// Decides about signed requests.
///
/// `caller` is granted `call.expect_service` and, where one is named, `call.expect_region`; where none is, the region of the
/// credential scope has to be among [`Grants::regions`].
pub trait Verifier: Send + Sync + 'static {
    /// Decides one call.
    fn verify<'a>(
        &self,
        call: &VerifyCall<'_, 'a>,
        caller: &Grants,
        request_id: &RequestId,
    ) -> impl Future<Output = Decision<'a>> + Send;

    /// Accepts one call, if nothing has to be waited for. `None` says nothing about the request: [`Self::verify`] decides.
    fn verify_at_hand<'a>(&self, call: &VerifyCall<'_, 'a>, caller: &Grants) -> Option<Accepted<'a>>;

    /// Becomes true when this node is about to end, so that streams end first. Without more ado it never does.
    fn draining(&self) -> watch::Receiver<bool> {
        watch::Sender::new(false).subscribe()
    }
}

/// Knows whether this node can decide now.
pub trait Readiness: Send + Sync + 'static {
    /// What keeps it from deciding, one line each; nothing when it is ready.
    fn troubles(&self) -> impl Future<Output = Vec<String>> + Send;
}
