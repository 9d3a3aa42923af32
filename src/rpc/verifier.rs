//! What this door needs of the authority.

use super::{Decision, Grants, VerifyCall};
use crate::http::RequestId;

/// Decides about signed requests.
pub trait Verifier: Send + Sync + 'static {
    /// Decides one call. `caller` is granted `call.expect_service` and, where one is named, `call.expect_region`; where none
    /// is, the region of the credential scope has to be among [`Grants::regions`].
    fn verify(
        &self,
        call: VerifyCall<'_>,
        caller: &Grants,
        request_id: &RequestId,
    ) -> impl Future<Output = Decision> + Send;
}

/// Knows whether this node can decide now.
pub trait Readiness: Send + Sync + 'static {
    /// What keeps it from deciding, one line each; nothing when it is ready.
    fn troubles(&self) -> impl Future<Output = Vec<String>> + Send;
}
