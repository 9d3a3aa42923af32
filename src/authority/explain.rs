//! Why a refused request is refused, for callers that may know: the steps of a verification up to its key once more, and
//! a search under that key.

use tokio::sync::Semaphore;

use super::signing_keys::KeyName;
use super::verify::undecided;
use super::{Authority, Content, NotAccepted};
use crate::explain::{Deviation, form_with_key, readable_if, with_key};
use crate::sigv4::{Expectation, Refusal, RequestHead, SignedRequest};

/// A search takes milliseconds of one core: only one at a time does.
static SEARCHING: Semaphore = Semaphore::const_new(1);

impl Authority {
    /// The deviations under which the signature of a refused request would match, or what keeps it from being read; none if that
    /// is not known.
    ///
    /// Only the signing key for the scope of the request takes part, and only where everything is right that is checked
    /// before it: what is denied, unknown, or signed for another service, region or time is not looked into.
    pub async fn deviations<'a>(
        &self,
        head: &RequestHead<'a>,
        content: Content<'_, 'a>,
        expectation: &Expectation<'_>,
        refusal: &Refusal,
    ) -> Vec<Deviation> {
        let found = match is_of_the_signature(refusal) {
            true => self.search(head, content, expectation, refusal).await.unwrap_or_default(),
            false => Vec::new(),
        };
        if found.is_empty() { readable_if(refusal, head) } else { found }
    }

    async fn search<'a>(
        &self,
        head: &RequestHead<'a>,
        content: Content<'_, 'a>,
        expectation: &Expectation<'_>,
        refusal: &Refusal,
    ) -> Result<Vec<Deviation>, NotAccepted> {
        let now = self.clock.now().map_err(undecided)?;
        let request = match content {
            Content::Body(_) => SignedRequest::parse(head)?,
            Content::Form(form) => SignedRequest::parse_form(head, form)?,
        };
        let name = KeyName { id: self.our_id(&request)?, token: None, scope: request.scope() };
        self.filter(&name.id)?;
        self.fresh_as_of(now)?;
        self.not_denied(&name.id)?;
        request.check_scope_and_time(expectation, now).map_err(NotAccepted::Refused)?;
        let found = self.find(&name, now).await?;
        let _turn = SEARCHING.acquire().await;
        Ok(match (content, request.policy()) {
            (Content::Body(body), _) => with_key(&request, head, body, &found.key, refusal),
            (Content::Form(_), Some(policy)) => form_with_key(&request, policy, &found.key),
            (Content::Form(_), None) => Vec::new(),
        })
    }
}

/// Whether a refusal comes of what is signed, and not of the key, the time or the place.
fn is_of_the_signature(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::SignatureDoesNotMatch { .. }
            | Refusal::BodyMismatch { .. }
            | Refusal::HeadersNotSigned(_)
            | Refusal::SignedHeaders(_)
            | Refusal::MissingContentSha256
    )
}
