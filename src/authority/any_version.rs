//! A verification by whichever signature version a request names.

use super::verify::{Content, NotAccepted, too_late};
use super::verify_v2::AcceptedV2;
use super::verify_v4a::AcceptedV4a;
use super::{Accepted, Authority};
use crate::sigv2::ApiRequest;
use crate::sigv4::{Body, Expectation, Family, Refusal, RequestHead, Scheme};

/// A request that was accepted, by its signature version.
#[expect(
    clippy::large_enum_variant,
    reason = "V4 is nearly all there is, and does not pay an allocation for the others"
)]
pub enum AcceptedBy<'a> {
    /// Signature V4.
    V4(Accepted<'a>),
    /// Signature V4A.
    V4a(Box<AcceptedV4a<'a>>),
    /// Signature V2.
    V2(Box<AcceptedV2>),
}

/// What a request that is none of Signature V4 names.
enum Named<'a> {
    V4a(Body<'a>),
    V2,
}

impl Authority {
    /// Verifies a request of any version that is accepted for the service: V4 and V4A everywhere, V2 where it is opted in.
    pub async fn verify_any<'a>(
        &self,
        head: &RequestHead<'a>,
        content: Content<'_, 'a>,
        expectation: &Expectation<'_>,
    ) -> Result<AcceptedBy<'a>, NotAccepted> {
        let refusal = match self.verify(head, content, expectation).await {
            Ok(accepted) => return Ok(AcceptedBy::V4(accepted)),
            Err(NotAccepted::Refused(refusal)) => refusal,
            Err(undecided) => return Err(undecided),
        };
        match self.named(&refusal, head, content, expectation.service) {
            Some(Named::V4a(body)) => {
                let steps = Box::pin(self.verify_v4a(head, body, expectation));
                self.in_time(steps).await.map(|it| AcceptedBy::V4a(Box::new(it)))
            }
            Some(Named::V2) => {
                let steps = Box::pin(self.verify_v2(head, content, expectation));
                self.in_time(steps).await.map(|it| AcceptedBy::V2(Box::new(it)))
            }
            None => Err(NotAccepted::Refused(refusal)),
        }
    }

    /// One deadline bounds all that a decision asks of the HSM and the registry, as in [`Self::verify`].
    async fn in_time<T>(&self, steps: impl Future<Output = Result<T, NotAccepted>>) -> Result<T, NotAccepted> {
        tokio::time::timeout(self.policy.for_a_decision(), steps).await.map_err(too_late)?
    }

    /// The version that a request names, by how Signature V4 refused it; `None` if it is none that the service takes, so
    /// that the refusal stands.
    fn named<'a>(
        &self,
        refusal: &Refusal,
        head: &RequestHead<'a>,
        content: Content<'_, 'a>,
        service: &str,
    ) -> Option<Named<'a>> {
        let takes_v2 = self.policy.signature_v2.contains(service);
        match (refusal, content) {
            (Refusal::UnsupportedScheme(Scheme::V4a(_)), Content::Body(body)) => Some(Named::V4a(body)),
            (Refusal::UnsupportedScheme(Scheme::V2(_)), _) if takes_v2 => Some(Named::V2),
            // The parameters of a query API may stand in the body of a POST, its credentials among them.
            (Refusal::MissingCredentials, Content::Body(Body::Bytes(form)))
                if takes_v2 && Family::of(service) == Family::Query && ApiRequest::is_one(head, form) =>
            {
                Some(Named::V2)
            }
            _ => None,
        }
    }
}
