//! `rederive.v1.Verifier` over cleartext HTTP/2, with the generated client.

use std::net::SocketAddr;

use futures_util::{StreamExt as _, stream};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rederive::rpc::v1::outcome::Outcome as OneOutcome;
use rederive::rpc::v1::verifier_client::VerifierClient;
use rederive::rpc::v1::verify_request::{Payload as Body, RequestHead};
use rederive::rpc::v1::verify_response::Decision;
use rederive::rpc::v1::{
    ContentLengthRange, Element, Expect, FormField, Header, Outcome, Payload, PostForm, PrincipalSource, RequestFields,
    VerifiedForm, VerifyBatchRequest, VerifyRequest, VerifyResponse,
};
use tonic::{Code, Status};

use super::support::{SIGNING_KEY, config, file, rpc};

fn client(address: SocketAddr) -> VerifierClient<Client<HttpConnector, tonic::body::Body>> {
    let http = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    VerifierClient::with_origin(http, format!("http://{address}").parse().expect("a URI"))
}

fn request(service: &str) -> VerifyRequest {
    let header = |name: &'static str, value: &'static [u8]| Header { name: name.into(), value: value.into() };
    VerifyRequest {
        request_head: Some(RequestHead::Fields(RequestFields {
            method: "GET".into(),
            target: "/a%20b?x=1".into(),
            headers: vec![header("Host", b"h"), header("X-Raw", b"\xff\xfe")],
        })),
        payload: None,
        expect: Some(Expect { service: service.into(), region: None }),
        ..VerifyRequest::default()
    }
}

/// The same with its head in one piece.
fn raw_request(service: &str) -> VerifyRequest {
    let head = RequestHead::Head("GET /a%20b?x=1 HTTP/1.1\r\nHost: h\r\n\r\n".into());
    VerifyRequest { request_head: Some(head), ..request(service) }
}

async fn verify(address: SocketAddr, request: VerifyRequest) -> Result<VerifyResponse, Status> {
    client(address).verify(request).await.map(|answer| {
        let in_header = answer.metadata().get("x-request-id").cloned().expect("an id");
        assert_eq!(answer.get_ref().request_id, in_header.to_str().expect("ASCII"));
        answer.into_inner()
    })
}

#[tokio::test]
async fn accepted() {
    let (served, authority) = rpc(&config("")).await;
    let answer = verify(served.address, request("s3")).await.expect("decided");
    let Some(Decision::Accept(accept)) = answer.decision else { panic!("{answer:?}") };
    assert_eq!((accept.access_key_id.as_str(), accept.account.as_str()), ("AKIARZPUZDIKAAERULUU", "123456789012"));
    assert_eq!(accept.credential_scope, "20261121/local/s3/aws4_request");
    assert_eq!(accept.signed_headers, ["host", "x-amz-date"]);
    assert_eq!((accept.payload(), accept.principal_source()), (Payload::Checked, PrincipalSource::Registry));
    assert_eq!(accept.valid_until.map(|until| (until.seconds, until.nanos)), Some((1_795_262_400, 0)));
    let principal = accept.principal.expect("known");
    assert_eq!((principal.r#type.as_str(), principal.user_id.as_str()), ("User", "AIDAEXAMPLE"));
    let asked = authority.last();
    assert_eq!(asked.head, b"GET /a%20b?x=1\nHost: h\nX-Raw: \xff\xfe\n");
    assert_eq!((asked.body, asked.payload_sha256, asked.region), (None, None, None));
}

#[tokio::test]
async fn the_call_arrives_as_it_was_sent() {
    let (served, authority) = rpc(&config("")).await;
    let raw = b"GET / HTTP/1.1\r\nx-raw: \xff\r\n\r\n";
    let sent = VerifyRequest {
        request_head: Some(RequestHead::Head(raw.as_slice().into())),
        payload: Some(Body::Body("".into())),
        expect: Some(Expect { service: "s3".into(), region: Some("eu-1".into()) }),
        ..VerifyRequest::default()
    };
    verify(served.address, sent.clone()).await.expect("decided");
    let asked = authority.last();
    assert_eq!(asked.head, b"GET /\nx-raw: \xff\n");
    assert_eq!((asked.body, asked.region), (Some(vec![]), Some("eu-1".into())));
    let hashed = VerifyRequest { payload: Some(Body::PayloadSha256(vec![7; 32].into())), ..sent };
    verify(served.address, hashed).await.expect("decided");
    assert_eq!((authority.last().body, authority.last().payload_sha256), (None, Some([7; 32])));
}

#[tokio::test]
async fn what_a_decoder_of_the_body_needs() {
    let (served, _) = rpc(&config("[rpc]\nanyone = { want_signing_key = true }\n")).await;
    let answer = verify(served.address, request("chunks")).await.expect("decided");
    let Some(Decision::Accept(accept)) = answer.decision else { panic!("{answer:?}") };
    let streaming = accept.streaming.expect("in chunks");
    assert_eq!((&*streaming.kind, &*streaming.date), ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "20261121T114500Z"));
    assert_eq!((&*streaming.seed_signature, &*accept.signing_key), (&[0x5e; 32][..], &b""[..]));

    let wanted = VerifyRequest { want_signing_key: true, ..request("s3") };
    let answer = verify(served.address, wanted).await.expect("decided");
    let shown = format!("{answer:?}");
    let Some(Decision::Accept(accept)) = answer.decision else { panic!("{answer:?}") };
    let digits: String = accept.signing_key.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digits, SIGNING_KEY);
    assert!(shown.contains("AKIA") && !shown.contains("signing_key"), "{shown}");
}

#[tokio::test]
async fn a_signing_key_is_for_those_who_are_granted_it() {
    let (served, authority) = rpc(&config("")).await;
    let wanted = VerifyRequest { want_signing_key: true, ..request("s3") };
    let status = verify(served.address, wanted).await.expect_err("not granted");
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "anyone may not have signing keys"));
    assert_eq!(authority.times(), 0);
}

#[tokio::test]
async fn refused() {
    let (served, _) = rpc(&config("")).await;
    let answer = verify(served.address, request("refuse")).await.expect("decided");
    let Some(Decision::Refuse(refuse)) = answer.decision else { panic!("{answer:?}") };
    assert_eq!((refuse.code.as_str(), refuse.http_status), ("SignatureDoesNotMatch", 403));
    assert_eq!(refuse.elements, [Element { name: "Region".into(), value: "eu-1".into() }]);
}

#[tokio::test]
async fn forms() {
    let (served, authority) = rpc(&config("")).await;
    let field = |name: &str, value: &str| FormField { name: name.into(), value: value.into() };
    let form = PostForm { fields: vec![field("key", "k")], bucket: Some("b".into()), ..PostForm::default() };
    let answer =
        verify(served.address, VerifyRequest { form: Some(Box::new(form)), ..request("form") }).await.expect("decided");
    let fields = "Fields([(\"key\", \"k\")], FormFile { name: None, size: None })";
    assert_eq!(authority.last().form, Some(format!("PostForm {{ content: {fields}, bucket: Some(\"b\") }}")));
    let Some(Decision::Accept(accept)) = answer.decision else { panic!("{answer:?}") };
    let range = Some(ContentLengthRange { least: 1, most: 5 });
    let expected = VerifiedForm { bucket: "b".into(), key: "up/a".into(), content_length_range: range };
    assert_eq!(accept.form, Some(Box::new(expected)));
}

#[tokio::test]
async fn not_decided() {
    let (served, _) = rpc(&config("")).await;
    let status = verify(served.address, request("unavailable")).await.expect_err("not decided");
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the HSM does not answer"));
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").expect("a time"), "1500");
}

#[tokio::test]
async fn a_malformed_call_is_told_what_and_where() {
    let (served, authority) = rpc(&config("")).await;
    let with = |change: fn(&mut VerifyRequest)| {
        let mut request = request("s3");
        change(&mut request);
        request
    };
    let rows = [
        (with(|call| call.expect = None), "missing_field", "expect"),
        (with(|call| call.expect = Some(Expect::default())), "bad_field", "expect.service"),
        (with(|call| call.request_head = None), "missing_field", "request_head"),
        (with(|call| call.payload = Some(Body::PayloadSha256(vec![0; 31].into()))), "bad_field", "payload_sha256"),
        (with(|call| call.payload = Some(Body::Body(vec![0; 1024 * 1024 + 1].into()))), "too_large", "body"),
        (
            with(|call| call.request_head = Some(RequestHead::Head("GET / HTTP/1.1\na: b\n\nbody".into()))),
            "bad_head",
            "head",
        ),
    ];
    for (call, error, at) in rows {
        let status = verify(served.address, call).await.expect_err("malformed");
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert_eq!(status.metadata().get("rederive-error").expect("a code"), error, "{status:?}");
        assert_eq!(status.metadata().get("rederive-at").expect("a field"), at, "{status:?}");
    }
    let huge = with(|call| call.payload = Some(Body::Body(vec![0; 2 * 1024 * 1024].into())));
    assert_eq!(verify(served.address, huge).await.expect_err("too large").code(), Code::OutOfRange);
    assert_eq!(authority.times(), 0);
    let status = verify(served.address, request("malformed")).await.expect_err("malformed");
    assert_eq!(status.metadata().get("rederive-error").expect("a code"), "body_required");
}

#[tokio::test]
async fn an_unknown_method_and_a_panic_are_statuses() {
    let (served, _) = rpc(&config("")).await;
    let status = verify(served.address, request("panic")).await.expect_err("an error of ours");
    assert_eq!((status.code(), status.message()), (Code::Internal, "an error on our side: it is in our log"));
    let unknown =
        super::support::ask(served.address, "POST /rederive.v1.Verifier/Nope\ncontent-type: application/grpc", "");
    assert_eq!(unknown.await.header("grpc-status"), "12");
}

#[tokio::test]
async fn callers_are_told_apart() {
    let token = file("grpc.token", "grpc-token-0123456789-0123456789\n");
    let caller = format!(
        "[[caller]]\nname = \"g\"\ntoken_file = \"{}\"\nservices = [\"s3\"]\nregions = [\"*\"]\n",
        token.display()
    );
    let (served, authority) = rpc(&config(&caller)).await;
    let ask = async |authorization: &str, service: &str| {
        let mut call = tonic::Request::new(request(service));
        if !authorization.is_empty() {
            call.metadata_mut().insert("authorization", authorization.parse().expect("ASCII"));
        }
        client(served.address).verify(call).await.map_or_else(|status| status.code(), |_| Code::Ok)
    };
    let bearer = "Bearer grpc-token-0123456789-0123456789";
    assert_eq!(ask("", "s3").await, Code::Unauthenticated);
    assert_eq!(ask("Bearer grpc-token-0123456789-012345678X", "s3").await, Code::Unauthenticated);
    assert_eq!(ask(bearer, "sts").await, Code::PermissionDenied);
    assert_eq!(authority.times(), 0);
    assert_eq!(ask(bearer, "s3").await, Code::Ok);
    assert_eq!(authority.last().caller, "g");
}

/// Services of the made-up authority, and what comes of a request for each.
const MANY: [(&str, &str); 10] = [
    ("hand", "accept"),
    ("slow", "accept"),
    ("hand", "accept"),
    ("refuse", "SignatureDoesNotMatch"),
    ("s3", "accept"),
    ("unavailable", "the HSM does not answer"),
    ("malformed", "body_required"),
    ("", "bad_field"),
    ("slow", "accept"),
    ("hand", "accept"),
];

fn told(outcome: Outcome) -> String {
    match outcome.outcome.expect("one is set") {
        OneOutcome::Accept(accept) if accept.access_key_id == "AKIARZPUZDIKAAERULUU" => "accept".into(),
        OneOutcome::Accept(accept) => panic!("{accept:?}"),
        OneOutcome::Refuse(refuse) => refuse.code,
        OneOutcome::Unavailable(unavailable) => unavailable.reason,
        OneOutcome::Malformed(malformed) => malformed.error,
    }
}

#[tokio::test]
async fn many_at_once() {
    let (served, authority) = rpc(&config("")).await;
    for (round, request) in (1..).zip([request, raw_request]) {
        let sent = VerifyBatchRequest { requests: MANY.iter().map(|(service, _)| request(service)).collect() };
        let answer = client(served.address).verify_batch(sent).await.expect("an answer").into_inner();
        assert_eq!(answer.outcomes.into_iter().map(told).collect::<Vec<_>>(), MANY.map(|(_, outcome)| outcome));
        assert!(!answer.request_id.is_empty());
        assert_eq!(authority.times(), round * (MANY.len() - 1), "each was decided once, but for the malformed one");
    }
    let too_many = VerifyBatchRequest { requests: vec![raw_request("s3"); 257] };
    let too_many = client(served.address).verify_batch(too_many).await.expect_err("too many");
    assert_eq!(too_many.metadata().get("rederive-at").expect("a field"), "requests");
}

#[tokio::test]
async fn many_after_each_other() {
    let (served, _) = rpc(&config("")).await;
    let rounds = 40;
    let of = |round| if round % 2 == 0 { request } else { raw_request };
    let sent: Vec<_> = (0..rounds).flat_map(|round| MANY.map(|(service, _)| of(round)(service))).collect();
    let mut answers = client(served.address).verify_stream(stream::iter(sent)).await.expect("a stream").into_inner();
    for _ in 0..rounds {
        for (service, expected) in MANY {
            let outcome = answers.message().await.expect("no error").expect("an outcome");
            assert_eq!(told(outcome), expected, "{service}");
        }
    }
    assert_eq!(answers.message().await.expect("no error"), None);
}

#[tokio::test]
async fn a_stream_ends_when_the_node_is_about_to() {
    let (served, authority) = rpc(&config("")).await;
    let open = stream::iter([request("s3")]).chain(stream::pending());
    let mut answers = client(served.address).verify_stream(open).await.expect("a stream").into_inner();
    let outcome = answers.message().await.expect("no error").expect("an outcome");
    assert_eq!(told(outcome), "accept");
    authority.draining.send_replace(true);
    let status = answers.message().await.expect_err("it has ended");
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "this node is about to end"));
}

#[tokio::test]
async fn among_many_each_is_held_to_what_is_granted() {
    const TOKEN: &str = "many-token-0123456789-0123456789";
    let path = file("many-token", TOKEN);
    let caller =
        format!("[[caller]]\nname = \"gateway\"\ntoken_file = {path:?}\nservices = [\"s3\"]\nregions = [\"*\"]\n");
    let (served, authority) = rpc(&config(&caller)).await;
    let mut sent = tonic::Request::new(VerifyBatchRequest { requests: vec![request("s3"), request("iam")] });
    sent.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().expect("ASCII"));
    let answer = client(served.address).verify_batch(sent).await.expect("an answer").into_inner();
    assert_eq!(answer.outcomes.into_iter().map(told).collect::<Vec<_>>(), ["accept", "not_granted"]);
    assert_eq!(authority.times(), 1);
}

#[tokio::test]
async fn a_refusal_is_explained_where_that_is_granted() {
    let (served, _) = rpc(&config("[rpc]\nanyone = { explain = true }\n")).await;
    let wanted = VerifyRequest { explain: true, ..request("refuse") };
    let answer = client(served.address).verify(wanted.clone()).await.expect("an answer").into_inner();
    let Some(Decision::Refuse(refuse)) = answer.decision else { panic!("{answer:?}") };
    assert_eq!((refuse.deviations[0].name.as_str(), refuse.deviations.len()), ("query=unsorted", 1));

    let (served, _) = rpc(&config("")).await;
    let status = client(served.address).verify(wanted).await.expect_err("it is not granted");
    assert_eq!(status.code(), Code::PermissionDenied);
}
