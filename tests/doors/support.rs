//! A made-up authority behind a real door, and clients.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rederive::config::Config;
use rederive::explain::Deviation;
use rederive::http::{Door, Handler, RequestId, server_config};
use rederive::rpc::{
    Accepted, Callers, Decision, Grants, HeaderNames, Identity, Malformed, Metrics, Principal, PrincipalSource,
    Readiness, Readings, Refused, RpcDoor, SignatureVersion, Streaming, Verifier, VerifyCall,
};
use rederive::sigv4::{AmzDate, Body, PayloadStatus, PreparedSigningKey, RequestHead, StreamingKind, VerifiedForm};
use rederive_hsm::secret::Secret32;
use rederive_hsm::signing_key::SigningKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// What the authority was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub caller: String,
    pub head: Vec<u8>,
    pub body: Option<Vec<u8>>,
    pub payload_sha256: Option<[u8; 32]>,
    pub region: Option<String>,
    /// The form, as its Debug has it.
    pub form: Option<String>,
}

/// Answers by the name of the expected service.
#[derive(Default)]
pub struct MadeUp {
    pub asked: Mutex<Vec<Asked>>,
    pub troubles: Mutex<Vec<String>>,
    pub draining: watch::Sender<bool>,
}

impl MadeUp {
    pub fn last(&self) -> Asked {
        self.asked.lock().expect("no test panics with it").last().expect("it was asked").clone()
    }

    pub fn times(&self) -> usize {
        self.asked.lock().expect("no test panics with it").len()
    }

    fn note(&self, call: &VerifyCall<'_, '_>, caller: &Grants) {
        self.asked.lock().expect("no test panics with it").push(Asked {
            caller: caller.caller.clone(),
            head: raw(call.head),
            body: if let Body::Bytes(bytes) = call.body { Some(bytes.to_vec()) } else { None },
            payload_sha256: if let Body::Sha256(hash) = call.body { Some(hash) } else { None },
            region: call.expect_region.map(str::to_owned),
            form: call.form.as_ref().map(|form| format!("{form:?}")),
        });
    }
}

impl Verifier for MadeUp {
    fn draining(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }

    async fn verify<'a>(&self, call: &VerifyCall<'_, 'a>, caller: &Grants, _: &RequestId) -> Decision<'a> {
        self.note(call, caller);
        match call.expect_service {
            "refuse" => Decision::Refuse(Refused {
                code: "SignatureDoesNotMatch".into(),
                message: "It does not match.".into(),
                http_status: 403,
                elements: vec![("Region", "eu-1".into())],
                deviations: call.explain.then(|| vec![deviation()]),
            }),
            "form" => Decision::Accept(Accepted {
                form: Some(Box::new(VerifiedForm {
                    bucket: "b".into(),
                    key: "up/a".into(),
                    content_length_range: Some((1, 5)),
                })),
                ..accepted()
            }),
            "unavailable" => Decision::Unavailable { reason: "the HSM does not answer".into(), retry_after_ms: 1500 },
            "malformed" => Decision::Malformed(Malformed::new("body_required", "body", "give the body or its hash")),
            "panic" => panic!("as asked"),
            "nobody" => Decision::Accept(Accepted {
                identity: Arc::new(Identity {
                    principal: None,
                    principal_source: PrincipalSource::None,
                    ..Identity::clone(&accepted().identity)
                }),
                payload: PayloadStatus::NotChecked,
                ..accepted()
            }),
            "slow" => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Decision::Accept(accepted())
            }
            "chunks" => Decision::Accept(Accepted { streaming: Some(Box::new(streaming())), ..accepted() }),
            _ => Decision::Accept(Accepted { signing_key: key_for(call), ..accepted() }),
        }
    }

    fn verify_at_hand<'a>(&self, call: &VerifyCall<'_, 'a>, caller: &Grants) -> Option<Accepted<'a>> {
        let is_at_hand = call.expect_service == "hand";
        is_at_hand.then(|| {
            self.note(call, caller);
            accepted()
        })
    }
}

impl Readiness for MadeUp {
    async fn troubles(&self) -> Vec<String> {
        self.troubles.lock().expect("no test panics with it").clone()
    }
}

fn deviation() -> Deviation {
    Deviation { name: "query=unsorted".into(), message: "matches if".into(), same_as: vec!["query=raw".into()] }
}

fn raw(head: &RequestHead<'_>) -> Vec<u8> {
    let mut bytes = [head.method(), b" ", head.target(), b"\n"].concat();
    head.headers().iter().for_each(|it| bytes.extend([it.name, b": ", it.value, b"\n"].concat()));
    bytes
}

/// The signing key that is handed out, in hexadecimal.
pub const SIGNING_KEY: &str = "2a2b2c2d2e2f303132333435363738393a3b3c3d3e3f40414243444546474849";

fn key_for(call: &VerifyCall<'_, '_>) -> Option<Arc<PreparedSigningKey>> {
    let mut bytes: [u8; 32] = std::array::from_fn(|at| 0x2a + at as u8);
    let key = SigningKey::from_secret(Secret32::take(&mut bytes));
    call.want_signing_key.then(|| Arc::new(PreparedSigningKey::new(key)))
}

fn streaming() -> Streaming {
    let date = AmzDate::at(1_795_261_500);
    Streaming { kind: StreamingKind::SignedChunks, date, seed_signature: vec![0x5e; 32] }
}

fn accepted() -> Accepted<'static> {
    let identity = Identity {
        access_key_id: "AKIARZPUZDIKAAERULUU".into(),
        account: "123456789012".into(),
        principal: Some(Principal {
            kind: "User".into(),
            arn: "arn:aws:iam::123456789012:user/alice".into(),
            user_id: "AIDAEXAMPLE".into(),
        }),
        principal_source: PrincipalSource::Registry,
        credential_scope: "20261121/local/s3/aws4_request".into(),
    };
    Accepted {
        signature_version: SignatureVersion::V4,
        public_key: None,
        identity: Arc::new(identity),
        signed_headers: HeaderNames::Named(vec!["host".into(), "x-amz-date".into()]),
        payload: PayloadStatus::Checked,
        form: None,
        streaming: None,
        signing_key: None,
        valid_until: 1_795_262_400,
        deny_list_as_of: 1_795_261_500,
        waited_for_hsm: true,
    }
}

/// A configuration for tests: the lines given, and what is needed beside them.
pub fn config(lines: &str) -> Config {
    let token = "[[token]]\nname = \"t\"\nmodule = \"m\"\nlabel = \"l\"\npin_env = \"PIN\"\n";
    Config::parse(&format!("state_dir = \"s\"\n{token}{lines}"), []).unwrap_or_else(|error| panic!("{error}"))
}

/// A door that serves until it is told to stop.
pub struct Served {
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Served {
    /// `[rpc]` and `[limits]` of the configuration, on a free port of 127.0.0.1.
    pub async fn start(config: &Config, handler: impl Handler) -> Self {
        let rpc = &config.rpc;
        let pair = rpc.tls_cert.as_ref().zip(rpc.tls_key.as_ref());
        let tls = pair.map(|(cert, key)| server_config(cert, key, rpc.client_ca.as_deref()).expect("good files"));
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let door = Door::bind(free, tls, &config.limits).await.expect("a free port");
        let (stop, stopped) = oneshot::channel();
        let address = door.address();
        let task = tokio::spawn(door.serve("test", handler, async { drop(stopped.await) }));
        Self { address, stop, task }
    }

    /// Begins to drain; the task ends when that is over.
    pub fn stop(self) -> JoinHandle<()> {
        self.stop.send(()).expect("it is still serving");
        self.task
    }
}

/// A door for services with a made-up authority.
pub async fn rpc(config: &Config) -> (Served, Arc<MadeUp>) {
    let authority = Arc::new(MadeUp::default());
    let metrics =
        Metrics::new(|| Readings { hsm_requests: vec![("signing_key", 7), ("check", 2)], ..Readings::default() });
    let callers = Callers::new(config).unwrap_or_else(|error| panic!("{error}"));
    let door =
        RpcDoor::new(authority.clone(), callers, Arc::new(metrics), rederive::audit::Audit::off(), &config.limits);
    (Served::start(config, door).await, authority)
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: hyper::HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), "application/json");
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }
}

/// One request over a new HTTP/1.1 connection. `head` is `METHOD target`, then header lines.
pub async fn ask(address: SocketAddr, head: &str, body: impl Into<Bytes>) -> Answer {
    let stream = TcpStream::connect(address).await.expect("it listens");
    ask_over(stream, head, body).await.expect("it answers")
}

/// The same over a stream that is there already.
pub async fn ask_over<S>(stream: S, head: &str, body: impl Into<Bytes>) -> Result<Answer, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut lines = head.lines().map(str::trim);
    let (method, target) = lines.next().and_then(|line| line.split_once(' ')).expect("METHOD target");
    let mut request = hyper::Request::builder().method(method).uri(target).header("host", "test");
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        request = request.header(name, value);
    }
    let response = sender.send_request(request.body(Full::new(body.into())).expect("a request")).await?;
    let (parts, body) = response.into_parts();
    Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body: body.collect().await?.to_bytes() })
}

/// A file for a test. Names must differ between tests.
pub fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).expect("written");
    path
}
