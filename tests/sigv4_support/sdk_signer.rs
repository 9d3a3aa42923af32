//! Random requests, signed by the signer of AWS's own Rust SDK.

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningInstructions,
    SigningSettings, UriPathNormalizationMode,
};
use proptest::prelude::*;
use rederive::sigv4::UnixSeconds;

pub const ID: &str = "AKIAIOSFODNN7EXAMPLE";
pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
pub const NOW: UnixSeconds = 1_767_323_045;

/// A request as a client would have it before it is signed.
#[derive(Clone, Debug)]
pub struct Unsigned {
    pub service: &'static str,
    pub method: &'static str,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub in_query: bool,
    pub token: Option<String>,
}

/// The encoding of the documentation, written anew so that the code under test does not check itself.
pub fn uri_encode(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Text with all that is awkward in keys and parameters.
pub fn awkward() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[a-zA-Z0-9 +%/&=;:@!$'()*,?~_.äß語\\-]{1,12}").expect("a pattern")
}

pub fn unsigned() -> impl Strategy<Value = Unsigned> {
    let segment = awkward().prop_filter("dot segments are the vectors' part", |s| s != "." && s != "..");
    let headers = proptest::collection::btree_map(
        "x-amz-meta-[a-z]{1,6}|my-[a-z]{1,8}",
        "[!-~]{1,8}( {1,3}[!-~]{1,8}){0,2}",
        0..5,
    );
    (
        prop_oneof![Just("s3"), Just("iam"), Just("execute-api")],
        prop_oneof![Just("GET"), Just("PUT"), Just("POST"), Just("DELETE")],
        proptest::collection::vec(prop_oneof![4 => segment, 1 => Just(String::new())], 0..4),
        proptest::collection::vec((awkward(), prop_oneof![awkward(), Just(String::new())]), 0..4),
        headers,
        proptest::collection::vec(any::<u8>(), 0..40),
        any::<bool>(),
        proptest::option::of("[A-Za-z0-9+/]{20,40}=="),
    )
        .prop_map(|(service, method, segments, query, headers, body, in_query, token)| Unsigned {
            service,
            method,
            path: format!("/{}", segments.iter().map(|s| uri_encode(s)).collect::<Vec<_>>().join("/")),
            query,
            headers: headers.into_iter().collect(),
            body,
            in_query,
            token,
        })
}

/// What the signer is told of a request beside the request itself.
pub struct Signing<'a> {
    pub id: &'a str,
    pub service: &'a str,
    pub region: &'a str,
    pub at: UnixSeconds,
    /// Seconds, in the query.
    pub expires: Option<u64>,
    pub token: Option<String>,
}

impl Signing<'_> {
    fn settings(&self) -> SigningSettings {
        let mut settings = SigningSettings::default();
        if self.service == "s3" {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        if let Some(seconds) = self.expires {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = Some(Duration::from_secs(seconds));
        }
        settings
    }

    /// The headers or parameters that the SDK adds, and the signature; `None` for what the SDK does not take for a request.
    pub fn sign<'h>(
        &self,
        method: &'h str,
        url: String,
        headers: impl Iterator<Item = (&'h str, &'h str)>,
        body: SignableBody<'h>,
    ) -> Option<(SigningInstructions, String)> {
        let identity = Credentials::new(self.id, SECRET, self.token.clone(), None, "test").into();
        let parameters = aws_sigv4::sign::v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(self.service)
            .time(UNIX_EPOCH + Duration::from_secs(self.at.unsigned_abs()))
            .settings(self.settings())
            .build()
            .expect("all that is needed")
            .into();
        let signable = SignableRequest::new(method, url, headers, body).ok()?;
        Some(aws_sigv4::http_request::sign(signable, &parameters).ok()?.into_parts())
    }
}

/// Signs, and writes the request as it goes over the wire.
pub fn sign(request: &Unsigned) -> Vec<u8> {
    let signing = Signing {
        id: ID,
        service: request.service,
        region: "local",
        at: NOW,
        expires: request.in_query.then_some(600),
        token: request.token.clone(),
    };
    let query: Vec<_> =
        request.query.iter().map(|(name, value)| format!("{}={}", uri_encode(name), uri_encode(value))).collect();
    let mut target = request.path.clone();
    if !query.is_empty() {
        target = format!("{target}?{}", query.join("&"));
    }
    let headers = || request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let body = match (request.service, request.in_query) {
        ("s3", true) => SignableBody::UnsignedPayload,
        _ => SignableBody::Bytes(&request.body),
    };
    let url = format!("http://host.example{target}");
    let (instructions, _) = signing.sign(request.method, url, headers(), body).expect("it signs");
    for (name, value) in instructions.params() {
        let mark = if target.contains('?') { '&' } else { '?' };
        target = format!("{target}{mark}{name}={}", uri_encode(value));
    }
    let mut raw = format!("{} {target} HTTP/1.1\r\nHost: host.example\r\n", request.method);
    for (name, value) in headers().chain(instructions.headers()) {
        raw += &format!("{name}: {value}\r\n");
    }
    [format!("{raw}\r\n").into_bytes(), request.body.clone()].concat()
}
