//! The credentials of Signature V2 in a head that holds no others: found here, for the rules of what may stand beside what
//! are those of Signature V4.

use super::authorization::{Authorization, Carrier, Scheme};
use super::encode::Place;
use super::head::RequestHead;
use super::refusal::Refusal;
use super::request::SignedRequest;

/// What a head holds of credentials of Signature V2.
#[derive(Clone, Copy, Debug)]
pub struct HeadV2 {
    /// Where they stand; `None` if they stand nowhere in the head.
    pub carrier: Option<Carrier>,
    /// Whether a session token came, in a header or in the query.
    pub has_session_token: bool,
}

impl HeadV2 {
    /// # Errors
    /// If the head has other credentials, or something in it could be read in two ways.
    pub fn read(head: &RequestHead<'_>) -> Result<Self, Refusal> {
        let (named, target) = SignedRequest::read_head(head)?;
        let carrier = match Authorization::find(head, &named, &target) {
            Err(Refusal::UnsupportedScheme(Scheme::V2(carrier))) => Some(carrier),
            Err(Refusal::MissingCredentials) => None,
            Err(refusal) => return Err(refusal),
            Ok(Authorization { carrier, .. }) => {
                return Err(Refusal::UnsupportedScheme(Scheme::Other(carrier, super::ALGORITHM.to_owned())));
            }
        };
        let is_token = |name: &[u8]| name.eq_ignore_ascii_case(b"x-amz-security-token") || name == b"SecurityToken";
        let in_query = target.parameters.iter().any(|parameter| is_token(&parameter.name.decoded(Place::Query)));
        Ok(Self { carrier, has_session_token: in_query || named.session_token.is_some() })
    }
}
