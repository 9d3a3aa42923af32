//! A whole node, measured against what it cannot avoid. Each figure is a ratio of medians over rounds in turn, in one run:
//!
//! 1. in process: [`Authority::verify`] with the signing key at hand (tag, deny list and cache look-ups included) against the
//!    bare hashing of the same bytes with the same crate;
//! 2. over HTTP: `/v1/verify` against the same door, the same JSON and the same answer with nothing decided in between;
//! 3. over gRPC: batches of 64 and a stream, in the server's CPU time for a request, against the same with nothing decided.
//!
//! `cargo bench --bench node`. Needs SoftHSM, as `make run` does.

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rederive::audit::Audit;
use rederive::authority::{Authority, Content};
use rederive::config::{Config, Limits};
use rederive::http::{Door, RequestId};
use rederive::rpc::v1::verifier_client::VerifierClient;
use rederive::rpc::{
    Accepted, Callers, Decision, Grants, HeaderNames, Identity, Metrics, Principal, PrincipalSource, Readiness,
    Readings, RpcDoor, SignatureVersion, Verifier, VerifyCall, v1,
};
use rederive::sigv4::{Body, Expectation, HeadPlace, PayloadStatus, Regions};
use rederive::site::Site;
use sha2::{Digest, Sha256};

#[path = "../tests/common/mod.rs"]
mod common;
use common::{Dev, Pair, sign};

const ROUNDS: usize = 31;
/// In process, many short rounds: some of them are left alone by whatever else the machine does.
const SHORT_ROUNDS: usize = 2000;
const SHORT_ROUND: u32 = 1000;
const HOST: &str = "s3.storage.example";

fn main() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (config, root) = prepare(directory.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let site = Site { program: env!("CARGO_BIN_EXE_rederive").into(), ..Site::new(config.clone()) };
    let (authority, _supervisor) = runtime.block_on(async {
        let started = site.authority().await.expect("an authority");
        started.0.hsm().settled().await;
        started.0.ask_for_tag_keys().await;
        started
    });
    let request = typical_get(&root);
    // `cargo bench --bench node -- http` measures over HTTP only, and so on: `process`, `http`, `grpc`.
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|argument| argument == name);
    if wanted("process") {
        in_process(&runtime, &authority, &root, &request);
    }
    if wanted("http") {
        over_http(&runtime, authority.clone(), &config, &request);
    }
    if wanted("grpc") {
        over_grpc(&runtime, authority, &config, &request);
    }
}

/// A state directory with token, generation and root key, made by `rederive dev` itself.
fn prepare(state: &Path) -> (Config, Pair) {
    let root = Dev::start_in(state).ready.root.clone();
    (Config::load(&state.join("rederive.toml")).expect("a configuration"), root)
}

/// As in `verify`: 9 headers, 6 of them signed, a canonical request of some 400 bytes.
fn typical_get(root: &Pair) -> sign::Signed {
    let empty = sign::hex(&Sha256::digest(b""));
    let extra = [
        ("range", "bytes=0-1048575"),
        ("x-amz-checksum-mode", "ENABLED"),
        ("x-amz-content-sha256", &empty),
        ("x-amz-request-payer", "requester"),
    ];
    let extra = extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut signed = sign::sign(
        root,
        ("GET", "/photos/2026/sunset-lake.jpg", ""),
        ("s3", "local"),
        HOST,
        extra,
        &empty,
        sign::now(),
    );
    signed.headers.push(("accept-encoding".into(), "identity".into()));
    signed.headers.push((
        "user-agent".into(),
        "aws-sdk-go-v2/1.36.3 os/linux lang/go#1.24.2 md/GOOS#linux md/GOARCH#amd64 api/s3#1.79.2".into(),
    ));
    signed
}

fn in_process(runtime: &tokio::runtime::Runtime, authority: &Authority, root: &Pair, request: &sign::Signed) {
    let raw = raw_head(request);
    let (canonical, to_sign) = canonical(request);
    let key = signing_key(root, request);
    let expectation = Expectation { service: "s3", regions: Regions::Any };
    let verify = |count: u32| {
        runtime.block_on(async {
            for _ in 0..count {
                let mut place = HeadPlace::default();
                let (head, _) = place.parse(black_box(&raw), &rederive::sigv4::Limits::default()).expect("a head");
                let accepted = authority.verify(head, Content::Body(Body::Absent), &expectation).await;
                black_box(accepted.map_err(|_| "refused").expect("accepted").verified.valid_until());
            }
        });
    };
    let at_hand = |count: u32| {
        for _ in 0..count {
            let mut place = HeadPlace::default();
            let (head, _) = place.parse(black_box(&raw), &rederive::sigv4::Limits::default()).expect("a head");
            let accepted = authority.verify_at_hand(head, Body::Absent, &expectation);
            black_box(accepted.expect("accepted").verified.valid_until());
        }
    };
    let bare = |count: u32| {
        for _ in 0..count {
            black_box(Sha256::digest(black_box(&canonical)));
            let mut mac = Hmac::<Sha256>::new_from_slice(black_box(&key)).expect("any length");
            mac.update(black_box(&to_sign));
            black_box(mac.finalize());
        }
    };
    verify(1000);
    println!("in process, key at hand, canonical request of {} bytes (target: a ratio of at most 2)", canonical.len());
    for (name, verify) in [("verify", &verify as &dyn Fn(u32)), ("verify_at_hand, as the RPC calls it first", &at_hand)]
    {
        let rounds: Vec<_> =
            (0..SHORT_ROUNDS).map(|_| [time(|| verify(SHORT_ROUND)), time(|| bare(SHORT_ROUND))]).collect();
        // What else runs on the processor slows the hash, which waits for itself, much less than all other code.
        for (share, what) in [(2, "the middle of the rounds"), (10, "the quickest tenth of them")] {
            let [ours, theirs] = [0, 1].map(|which| {
                let mut times: Vec<_> = rounds.iter().map(|round| round[which]).collect();
                times.sort_by(f64::total_cmp);
                times[times.len() / share] / f64::from(SHORT_ROUND) * 1e9
            });
            println!("  {name}, {what}: {ours:.0} ns, bare hashing {theirs:.0} ns, ratio {:.2}", ours / theirs);
        }
    }
}

/// A verifier that decides nothing.
struct ParsesOnly {
    identity: Arc<Identity>,
    since: i64,
}

impl ParsesOnly {
    fn new() -> Arc<Self> {
        let principal = Principal {
            kind: "root".into(),
            arn: "arn:aws:iam::123456789012:root".into(),
            user_id: "123456789012".into(),
        };
        let identity = Identity {
            access_key_id: "AKIARZPUZDIKAAERULUU".into(),
            account: "123456789012".into(),
            principal: Some(principal),
            principal_source: PrincipalSource::Registry,
            credential_scope: "20260102/local/s3/aws4_request".into(),
        };
        Arc::new(Self { identity: Arc::new(identity), since: sign::now() })
    }

    fn accept<'a>(&self, call: &VerifyCall<'_, 'a>) -> Accepted<'a> {
        black_box(call.head.headers().len());
        // As many bytes as the six names have; to make them one by one is no part of what cannot be avoided.
        let names = "amz-sdk-invocation-id;amz-sdk-request;host;range;x-amz-content-sha256;x-amz-date;----";
        Accepted {
            signature_version: SignatureVersion::V4,
            identity: self.identity.clone(),
            signed_headers: HeaderNames::Named(vec![names.into()]),
            payload: PayloadStatus::Checked,
            form: None,
            streaming: None,
            signing_key: None,
            public_key: None,
            valid_until: self.since,
            deny_list_as_of: self.since,
            waited_for_hsm: false,
        }
    }
}

impl Verifier for ParsesOnly {
    async fn verify<'a>(&self, call: &VerifyCall<'_, 'a>, _: &Grants, _: &RequestId) -> Decision<'a> {
        Decision::Accept(self.accept(call))
    }

    fn verify_at_hand<'a>(&self, call: &VerifyCall<'_, 'a>, _: &Grants) -> Option<Accepted<'a>> {
        Some(self.accept(call))
    }
}

impl Readiness for ParsesOnly {
    async fn troubles(&self) -> Vec<String> {
        Vec::new()
    }
}

fn over_http(runtime: &tokio::runtime::Runtime, authority: Arc<Authority>, config: &Config, request: &sign::Signed) {
    let ours = serve(runtime, authority, config);
    let theirs = serve(runtime, ParsesOnly::new(), config);
    let call = request.call().to_string();
    let (ours, theirs) = in_turn(|| load(ours, &call), || load(theirs, &call));
    println!(
        "over HTTP, 8 connections: verify {:.0} requests/s, parse and answer only {:.0} requests/s",
        1.0 / ours,
        1.0 / theirs
    );
    println!("  ratio {:.0} % (target: at least 70 %)", theirs / ours * 100.0);
}

fn over_grpc(runtime: &tokio::runtime::Runtime, authority: Arc<Authority>, config: &Config, request: &sign::Signed) {
    let server =
        tokio::runtime::Builder::new_multi_thread().thread_name(SERVER).enable_all().build().expect("a runtime");
    let ours = serve(&server, authority, config);
    let theirs = serve(&server, ParsesOnly::new(), config);
    let call = v1::VerifyRequest {
        request_head: Some(v1::verify_request::RequestHead::Head(raw_head(request).into())),
        expect: Some(v1::Expect { service: "s3".into(), region: None }),
        ..v1::VerifyRequest::default()
    };
    for (what, work) in [("batches of 64", batches as Load), ("a stream", one_stream as Load)] {
        let measure = |address| {
            let (cpu, since) = (server_cpu(), Instant::now());
            runtime.block_on(work(address, call.clone()));
            [server_cpu() - cpu, since.elapsed().as_secs_f64()]
        };
        let ([cpu, took], [their_cpu, their_took]) = medians(|| measure(ours), || measure(theirs));
        let per = |seconds: f64| seconds / f64::from(ITEMS) * 1e6;
        println!(
            "over gRPC, {what}: verify {:.2} us of server CPU and {:.0} requests/s, parse and answer only {:.2} us and {:.0}",
            per(cpu),
            f64::from(ITEMS) / took,
            per(their_cpu),
            f64::from(ITEMS) / their_took,
        );
    }
}

/// Names the threads whose CPU time is counted.
const SERVER: &str = "server";
const ITEMS: u32 = 64 * 500;

type Load = fn(SocketAddr, v1::VerifyRequest) -> Pin<Box<dyn Future<Output = ()>>>;

fn batches(address: SocketAddr, call: v1::VerifyRequest) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        let mut client = client(address);
        let batch = v1::VerifyBatchRequest { requests: vec![call; 64] };
        for _ in 0..ITEMS / 64 {
            let answer = client.verify_batch(batch.clone()).await.expect("an answer").into_inner();
            assert!(answer.outcomes.iter().all(is_accept));
        }
    })
}

fn one_stream(address: SocketAddr, call: v1::VerifyRequest) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        let calls = futures_util::stream::iter((0..ITEMS).map(move |_| call.clone()));
        let mut answers = client(address).verify_stream(calls).await.expect("a stream").into_inner();
        while let Some(outcome) = answers.message().await.expect("an outcome") {
            assert!(is_accept(&outcome));
        }
    })
}

fn client(address: SocketAddr) -> VerifierClient<Client<HttpConnector, tonic::body::Body>> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let http = Client::builder(TokioExecutor::new()).http2_only(true).build(connector);
    VerifierClient::with_origin(http, format!("http://{address}").parse().expect("a URI"))
}

fn is_accept(outcome: &v1::Outcome) -> bool {
    matches!(outcome.outcome, Some(v1::outcome::Outcome::Accept(_)))
}

/// Seconds that the server's threads have run.
fn server_cpu() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux").map(|thread| thread.expect("a thread").path());
    let is_server =
        |thread: &PathBuf| std::fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.trim() == SERVER);
    let nanoseconds = |thread: PathBuf| {
        let text = std::fs::read_to_string(thread.join("schedstat")).expect("the kernel counts");
        text.split(' ').next().expect("a number").parse::<f64>().expect("a number")
    };
    threads.filter(is_server).map(nanoseconds).sum::<f64>() / 1e9
}

/// Medians of CPU and time of two kinds of work that take turns.
fn medians(ours: impl Fn() -> [f64; 2], theirs: impl Fn() -> [f64; 2]) -> ([f64; 2], [f64; 2]) {
    let (ours, theirs): (Vec<_>, Vec<_>) = (0..9).map(|_| (ours(), theirs())).unzip();
    let median = |rounds: &[[f64; 2]], which: usize| {
        let mut values: Vec<_> = rounds.iter().map(|round| round[which]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    ([0, 1].map(|which| median(&ours, which)), [0, 1].map(|which| median(&theirs, which)))
}

fn serve<A: Verifier + Readiness>(runtime: &tokio::runtime::Runtime, authority: Arc<A>, config: &Config) -> SocketAddr {
    let any = "127.0.0.1:0".parse().expect("an address");
    let door = runtime.block_on(Door::bind(any, None, &Limits::default())).expect("a free port");
    let address = door.address();
    let callers = Callers::new(config).expect("no callers");
    let handler =
        RpcDoor::new(authority, callers, Arc::new(Metrics::new(Readings::default)), Audit::off(), &Limits::default());
    runtime.spawn(door.serve("bench", handler, std::future::pending()));
    address
}

/// Seconds a request, over connections that are kept open.
fn load(address: SocketAddr, call: &str) -> f64 {
    const CONNECTIONS: usize = 8;
    const REQUESTS: usize = 250;
    let request = format!(
        "POST /v1/verify HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{call}",
        call.len()
    );
    let seconds = time(|| {
        std::thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                scope.spawn(|| {
                    let mut connection = TcpStream::connect(address).expect("connects");
                    connection.set_nodelay(true).expect("a socket");
                    let mut buffer = vec![0; 16 * 1024];
                    for _ in 0..REQUESTS {
                        connection.write_all(request.as_bytes()).expect("sent");
                        read_answer(&mut connection, &mut buffer);
                    }
                });
            }
        });
    });
    seconds / (CONNECTIONS * REQUESTS) as f64
}

/// Reads one answer: a head, and as many bytes as it says.
fn read_answer(connection: &mut TcpStream, buffer: &mut [u8]) {
    let mut filled = 0;
    loop {
        let read = connection.read(&mut buffer[filled..]).expect("an answer");
        assert!(read > 0, "the connection ended");
        filled += read;
        let text = std::str::from_utf8(&buffer[..filled]).expect("text");
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        assert!(head.starts_with("HTTP/1.1 200"), "{text}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        if body.len() == length.parse::<usize>().expect("a number") {
            assert!(body.contains("\"accept\""), "{body}");
            return;
        }
    }
}

fn raw_head(request: &sign::Signed) -> Vec<u8> {
    let headers: String = request.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{} {} HTTP/1.1\r\n{headers}\r\n", request.method, request.target).into_bytes()
}

/// The canonical request and the string to sign, by the code that explains them.
fn canonical(request: &sign::Signed) -> (Vec<u8>, Vec<u8>) {
    use rederive::explain::{ExplainOptions, explain};
    let options = ExplainOptions { at: sign::now(), ..ExplainOptions::default() };
    let explained = explain(&raw_head(request), &options);
    let text = |part: Option<String>| part.expect("a well-formed request").into_bytes();
    (text(explained.canonical_request), text(explained.string_to_sign))
}

fn signing_key(root: &Pair, request: &sign::Signed) -> [u8; 32] {
    let stamp = request.headers.iter().find(|(name, _)| name == "x-amz-date").expect("a date");
    let date = stamp.1.as_bytes()[..8].try_into().expect("eight digits");
    *rederive_hsm::signing_key::SigningKey::derive_from_text(root.secret_access_key.as_bytes(), date, "local", "s3")
        .expose()
}

fn time(work: impl FnOnce()) -> f64 {
    let since = Instant::now();
    work();
    since.elapsed().max(Duration::from_nanos(1)).as_secs_f64()
}

/// The medians of two measurements that take turns.
fn in_turn(mut ours: impl FnMut() -> f64, mut theirs: impl FnMut() -> f64) -> (f64, f64) {
    let mut seconds: [Vec<f64>; 2] = Default::default();
    for _ in 0..ROUNDS {
        seconds[0].push(ours());
        seconds[1].push(theirs());
    }
    let [a, b] = seconds.map(|mut list| {
        list.sort_by(f64::total_cmp);
        list[list.len() / 2]
    });
    (a, b)
}
