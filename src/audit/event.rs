//! What happened, with CloudTrail's names for its fields where it has them.
//!
//! Nothing here takes a secret, a signature, a header that authenticates, a query or a body: a field exists for what may be told, and
//! for nothing else.

use rederive_hsm::access_key_id::Account;
use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::now;
use super::torn::Torn;
use crate::http::RequestId;

/// The version of CloudTrail's record that the names are from.
const VERSION: &str = "1.11";
/// The most characters of a text that a client chose freely.
const FREE_TEXT: usize = 512;

/// Who did it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "as CloudTrail names them")]
pub struct UserIdentity {
    pub r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
}

impl UserIdentity {
    /// The operator: whoever runs a command on a node, by the number of the system's user.
    pub fn operator() -> Self {
        Self::operator_of(rustix::process::getuid().as_raw())
    }

    /// The operator, by the number of the system's user.
    pub fn operator_of(user: u32) -> Self {
        Self { r#type: "Operator", principal_id: Some(format!("uid:{user}")), ..Self::default() }
    }

    /// The node itself.
    pub fn node() -> Self {
        Self { r#type: "Node", ..Self::default() }
    }

    /// Somebody whose request was refused: all that is known is the id that it claims.
    pub fn unknown(access_key_id: Option<&str>) -> Self {
        Self { r#type: "Unknown", access_key_id: access_key_id.map(str::to_owned), ..Self::default() }
    }
}

/// One event.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    event_version: &'static str,
    user_identity: UserIdentity,
    event_time: String,
    event_source: String,
    event_name: String,
    aws_region: String,
    #[serde(rename = "sourceIPAddress")]
    source_ip_address: String,
    user_agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
    request_parameters: Value,
    response_elements: Value,
    #[serde(skip_serializing_if = "Map::is_empty")]
    additional_event_data: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_event_details: Option<Value>,
    #[serde(rename = "requestID", skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(rename = "eventID")]
    event_id: String,
    read_only: bool,
    event_type: &'static str,
    management_event: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    recipient_account_id: Option<String>,
    event_category: &'static str,
}

impl Event {
    /// An event that changes something and belongs to no account, until it is told otherwise. `at` is in unix seconds.
    fn new(identity: UserIdentity, source: impl Into<String>, name: impl Into<String>, at: i64) -> Self {
        Self {
            event_version: VERSION,
            user_identity: identity,
            event_time: timestamp(at),
            event_source: source.into(),
            event_name: name.into(),
            aws_region: "local".into(),
            source_ip_address: "rederive".into(),
            user_agent: None,
            error_code: None,
            error_message: None,
            request_parameters: Value::Null,
            response_elements: Value::Null,
            additional_event_data: Map::new(),
            service_event_details: None,
            request_id: None,
            event_id: RequestId::random().to_string(),
            read_only: false,
            event_type: "AwsApiCall",
            management_event: true,
            recipient_account_id: None,
            event_category: "Management",
        }
    }

    /// A call of the IAM or STS API. `service` is `iam` or `sts`.
    pub fn api_call(identity: UserIdentity, service: &str, action: &str, at: i64) -> Self {
        Self::new(identity, format!("{service}.amazonaws.com"), action, at)
    }

    /// What an operator did by a command.
    pub fn command(name: &str, at: i64) -> Self {
        Self::by_operator(UserIdentity::operator(), name, at)
    }

    /// The same, by a command or by the API.
    pub fn by_operator(operator: UserIdentity, name: &str, at: i64) -> Self {
        let event = Self::new(operator, "rederive", name, at);
        Self { event_type: "OperatorCommand", user_agent: Some("rederive".into()), ..event }
    }

    /// Requests that were not accepted, of one class. `service` is the one that they were to be for.
    pub fn refused(identity: UserIdentity, service: &str, code: &str, at: i64) -> Self {
        let event = Self::new(identity, format!("{service}.amazonaws.com"), "VerifyRequest", at);
        Self { read_only: true, management_event: false, event_category: "Refusal", ..event }.with_error(code, None)
    }

    /// The HSM was asked about a key that is in no cache, for a request that names it. Who signed is not known yet.
    pub fn derivation(access_key_id: Option<&str>, account: Option<Account>, caller: &str, at: i64) -> Self {
        let event = Self::new(UserIdentity::unknown(access_key_id), "rederive", "DeriveKey", at);
        let account = account.map(|account| account.to_string());
        let event = Self { event_type: "AwsServiceEvent", recipient_account_id: account, ..event };
        Self { read_only: true, management_event: false, event_category: "Derivation", ..event }
            .with_data("caller", caller)
    }

    /// A node has started, or ended.
    pub fn node(name: &str, role: &str) -> Self {
        Self::service(name, now()).with_data("role", role).with_data("version", env!("CARGO_PKG_VERSION"))
    }

    /// What the audit log says of itself.
    pub(super) fn service(name: &str, at: i64) -> Self {
        Self { event_type: "AwsServiceEvent", ..Self::new(UserIdentity::node(), "rederive", name, at) }
    }

    /// A write was cut short before this entry.
    pub(super) fn recovered(torn: &Torn, at: i64) -> Self {
        let details = serde_json::to_value(torn).ok();
        Self { service_event_details: details, ..Self::service("AuditLogRecovered", at) }
    }

    /// From where it came.
    #[must_use]
    pub fn from_client(self, address: String, user_agent: Option<&str>, region: &str) -> Self {
        Self { source_ip_address: address, user_agent: user_agent.map(cut), aws_region: cut(region), ..self }
    }

    /// The account that it was about, and the id of the request.
    #[must_use]
    pub fn about(self, account: Account, request_id: Option<&str>) -> Self {
        Self { recipient_account_id: Some(account.to_string()), request_id: request_id.map(str::to_owned), ..self }
    }

    /// It changes nothing.
    #[must_use]
    pub fn read_only(self, read_only: bool) -> Self {
        Self { read_only, ..self }
    }

    /// It was not done.
    #[must_use]
    pub fn with_error(self, code: &str, message: Option<&str>) -> Self {
        Self { error_code: Some(code.to_owned()), error_message: message.map(cut), ..self }
    }

    /// What was asked for.
    #[must_use]
    pub fn with_parameters(self, parameters: Value) -> Self {
        Self { request_parameters: parameters, ..self }
    }

    /// What came of it.
    #[must_use]
    pub fn with_response(self, elements: Value) -> Self {
        Self { response_elements: elements, ..self }
    }

    /// More that CloudTrail has no name for.
    #[must_use]
    pub fn with_data(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.additional_event_data.insert(name.to_owned(), value.into());
        self
    }

    /// As JSON.
    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers are JSON")
    }
}

fn cut(text: &str) -> String {
    text.chars().take(FREE_TEXT).collect()
}

fn timestamp(at: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(at).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_else(|_| "1970-01-01T00:00:00Z".into())
}
