//! What needs the HSM, against the raw module; and what must not need it.
//!
//! 1. `cold`: verifications of requests whose signing key is in no cache, through worker and wire, against `C_Sign` of the module
//!    and the key ladder alone, with as many processes and sessions on the same token, in turns;
//! 2. `flood`: the slowest of a valid key's requests beside 100,000 made-up ids a second, and without them, in turns.
//!
//! `cargo bench --bench cold`. Needs SoftHSM, as `make run` does. `WORKERS=2` compares two processes, and so on; `COPIES=1` copies of the
//! master on session objects, in the workers and in the raw module.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use rederive::authority::{Authority, Content, NotAccepted};
use rederive::config::Config;
use rederive::sigv4::{Body, Expectation, Limits, Regions, RequestHead};
use rederive::site::Site;
use rederive_hsm::access_key_id::AccessKeyId;
use rederive_hsm::derivation::{secret_access_key, secret_message};
use rederive_hsm::pkcs11::cka_id;
use rederive_hsm::secret::Secret32;
use rederive_hsm::signing_key::SigningKey;

#[path = "../tests/common/mod.rs"]
mod common;
use common::{Dev, Pair, sign};

const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(500);
/// Callers that ask at a time, for each worker.
const CALLERS: usize = 32;
/// Verifications a second, at most.
const MOST: usize = 240_000;
/// Made-up ids a second.
const FLOOD: u64 = 100_000;

fn main() {
    if let Ok(id) = std::env::var("RAW_ID") {
        return raw(&id);
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (mut config, mut root) = prepare(directory.path());
    if with_copies() {
        root = copyable(&directory.path().join("rederive.toml"));
        config.token[0].session_copies = [1].into();
    }
    let workers: u16 = std::env::var("WORKERS").map_or(1, |text| text.parse().expect("a number"));
    config.token[0].workers = workers;
    config.hsm.per_account = u32::MAX;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let site = Site { program: env!("CARGO_BIN_EXE_rederive").into(), ..Site::new(config.clone()) };
    let (authority, _supervisor) = runtime.block_on(async {
        let started = site.authority().await.expect("an authority");
        started.0.hsm().settled().await;
        started.0.ask_for_tag_keys().await;
        started
    });
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|argument| argument == name);
    if wanted("cold") {
        cold(&runtime, &authority, &config, &root, usize::from(workers));
    }
    if wanted("flood") {
        flood(&runtime, &authority, &root);
    }
}

/// A state directory with token, generation and root key, made by `rederive dev` itself.
fn prepare(state: &Path) -> (Config, Pair) {
    let root = Dev::start_in(state).ready.root.clone();
    (Config::load(&state.join("rederive.toml")).expect("a configuration"), root)
}

fn with_copies() -> bool {
    std::env::var_os("COPIES").is_some_and(|value| value != "0")
}

/// A second generation, which may be copied, and a root key in it.
fn copyable(config: &Path) -> Pair {
    let run = |arguments: &[&str]| {
        let ran = Command::new(env!("CARGO_BIN_EXE_rederive")).args(arguments).arg("--config").arg(config).output();
        let ran = ran.expect("runs");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).expect("text")
    };
    run(&["generation", "create", "--class", "copyable"]);
    // Until then the newest generation is not announced.
    std::thread::sleep(Duration::from_secs(5));
    let printed = run(&["account", "create"]);
    let field = |label: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix(label));
        line.expect("printed").trim().to_owned()
    };
    let root = Pair { access_key_id: field("access key id"), secret_access_key: field("secret access key") };
    assert_eq!(AccessKeyId::parse(root.access_key_id.as_bytes()).expect("an id").fields().generation().number(), 1);
    root
}

/// One process of the baseline: a session of the module, asked for as long as it is told to, and the key ladder.
fn raw(id: &str) {
    let variable = |name: &str| std::env::var(name).expect("given");
    let module = Pkcs11::new(variable("RAW_MODULE")).expect("loads");
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).expect("initialises");
    let slot = module.get_slots_with_initialized_token().expect("slots")[0];
    let session = module.open_ro_session(slot).expect("a session");
    session.login(UserType::User, Some(&AuthPin::from(variable("RAW_PIN")))).expect("logs in");
    let id = AccessKeyId::parse(id.as_bytes()).expect("an id");
    let master = [Attribute::Id(cka_id(id.fields().generation()))];
    let mut key = *session.find_objects(&master).expect("searches").first().expect("the master");
    if with_copies() {
        key = session.copy_object(key, &[Attribute::Token(false), Attribute::Modifiable(false)]).expect("copies");
    }
    let message = secret_message(&id, None);
    println!("ready");
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let (since, mut count) = (Instant::now(), 0_u64);
        while since.elapsed() < ROUND {
            let answer = session.sign(&Mechanism::Sha256Hmac, key, &message).expect("signs");
            let mut answer: [u8; 32] = answer.try_into().expect("32 bytes");
            let secret = secret_access_key(&Secret32::take(&mut answer));
            let region = format!("{line}{count}");
            std::hint::black_box(SigningKey::derive(&secret, b"20260102", &region, "s3"));
            count += 1;
        }
        println!("{}", count as f64 / since.elapsed().as_secs_f64());
    }
}

/// The processes of the baseline.
struct Raw(Vec<(Child, BufReader<std::process::ChildStdout>)>);

impl Raw {
    fn start(config: &Config, root: &Pair, processes: usize) -> Self {
        let token = &config.token[0];
        let pin = std::fs::read_to_string(token.pin_file.as_ref().expect("a file")).expect("a PIN");
        let start = |_| {
            let mut child = Command::new(std::env::current_exe().expect("a path"))
                .envs(&token.environment)
                .envs([("RAW_ID", root.access_key_id.as_str()), ("RAW_PIN", pin.trim())])
                .env("RAW_MODULE", token.module.as_ref().expect("a module"))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("starts");
            let mut output = BufReader::new(child.stdout.take().expect("piped"));
            // One after the other, as workers are: SoftHSM hides objects from who looks while another process logs in.
            output.read_line(&mut String::new()).expect("it is ready");
            (child, output)
        };
        Self((0..processes).map(start).collect())
    }

    /// Derivations a second of all of them.
    fn round(&mut self) -> f64 {
        for (child, _) in &mut self.0 {
            child.stdin.as_mut().expect("piped").write_all(b"r\n").expect("it listens");
        }
        let rates = self.0.iter_mut().map(|(_, output)| {
            let mut line = String::new();
            output.read_line(&mut line).expect("a line");
            line.trim().parse::<f64>().expect("a rate")
        });
        rates.sum()
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        for (child, _) in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A GET that was signed for a region.
fn get(root: &Pair, region: &str) -> Vec<u8> {
    let signed = sign::s3_get(root, region, "examplebucket.s3.example.test:9000", "/photos/2026/a-photo.jpg");
    let headers: String = signed.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{} {} HTTP/1.1\r\n{headers}\r\n", signed.method, signed.target).into_bytes()
}

async fn verify(authority: &Authority, raw: &[u8]) -> Result<(), NotAccepted> {
    let (head, _) = RequestHead::parse(raw, &Limits::default()).expect("a head");
    let expectation = Expectation { service: "s3", regions: Regions::Any };
    authority.verify(&head, Content::Body(Body::Absent), &expectation).await.map(drop)
}

/// What a round of verifications gave: so many a second, how long each took, sorted, and the processor time of each in this process
/// and in its workers, in microseconds.
struct Round {
    rate: f64,
    times: Vec<Duration>,
    spent: [f64; 2],
}

/// The processor time so far of this process and of its workers, in nanoseconds.
fn spent() -> [u64; 2] {
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let of = |process: &Path| {
        let threads = std::fs::read_dir(process.join("task")).into_iter().flatten().flatten();
        let time = |text: String| text.split(' ').next().and_then(|text| text.parse::<u64>().ok());
        threads.filter_map(|thread| time(read(&thread.path().join("schedstat")))).sum::<u64>()
    };
    let parent = format!("PPid:\t{}\n", std::process::id());
    let is_worker = |process: &Path| {
        read(&process.join("status")).contains(&parent) && read(&process.join("cmdline")).contains("hsm-worker")
    };
    let processes = std::fs::read_dir("/proc").expect("there").flatten().map(|entry| entry.path());
    [of(Path::new("/proc/self")), processes.filter(|process| is_worker(process)).map(|worker| of(&worker)).sum()]
}

impl Round {
    fn at(&self, part: f64) -> Duration {
        self.times[((self.times.len() - 1) as f64 * part) as usize]
    }
}

/// So many callers verify for a while, each request in a region that was never named before.
fn verifications(runtime: &tokio::runtime::Runtime, authority: &Arc<Authority>, root: &Pair, callers: usize) -> Round {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // Signed before the clock starts; more than two quick sessions answer.
    let requests = MOST * ROUND.as_millis() as usize / 1000;
    let requests = (0..requests).map(|_| get(root, &format!("r-{}", NEXT.fetch_add(1, Ordering::Relaxed))));
    let (requests, next) = (Arc::new(requests.collect::<Vec<_>>()), Arc::new(AtomicUsize::new(0)));
    let (before, since) = (spent(), Instant::now());
    let most = requests.len() / callers * 2;
    let caller = |_| {
        let (authority, requests, next) = (authority.clone(), requests.clone(), next.clone());
        runtime.spawn(async move {
            // With room for all of them: what is measured is not how a list grows.
            let mut times = Vec::with_capacity(most);
            while since.elapsed() < ROUND {
                let request = &requests[next.fetch_add(1, Ordering::Relaxed)];
                let asked = Instant::now();
                verify(&authority, request).await.map_err(|why| format!("{why:?}")).expect("accepted");
                times.push(asked.elapsed());
            }
            times
        })
    };
    let callers: Vec<_> = (0..callers).map(caller).collect();
    let times = callers.into_iter().map(|caller| runtime.block_on(caller).expect("no panic"));
    let mut times: Vec<Duration> = times.flatten().collect();
    let (rate, after) = (times.len() as f64 / since.elapsed().as_secs_f64(), spent());
    let spent = [0, 1].map(|at| (after[at] - before[at]) as f64 / 1e3 / times.len() as f64);
    times.sort();
    Round { rate, times, spent }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn cold(runtime: &tokio::runtime::Runtime, authority: &Arc<Authority>, config: &Config, root: &Pair, workers: usize) {
    let callers = CALLERS * workers;
    let mut baseline = Raw::start(config, root, workers);
    baseline.round();
    verifications(runtime, authority, root, callers);
    let (mut raw, mut rounds, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        raw.push(baseline.round());
        rounds.push(verifications(runtime, authority, root, callers));
        alone.push(verifications(runtime, authority, root, workers));
    }
    let of = |rounds: &[Round], what: &dyn Fn(&Round) -> f64| median(rounds.iter().map(what).collect());
    let micros = |part: f64| move |round: &Round| round.at(part).as_secs_f64() * 1e6;
    let mut ratios: Vec<f64> = raw.iter().zip(&rounds).map(|(raw, round)| 100.0 * round.rate / raw).collect();
    ratios.sort_by(f64::total_cmp);
    let (least, most, ratio) = (ratios[0], ratios[ratios.len() - 1], median(ratios));
    let (raw, rate) = (median(raw), of(&rounds, &|round| round.rate));
    let by = if with_copies() { "copies on session objects" } else { "token keys" };
    println!("cold, {workers} processes of 1 session, {callers} callers, {by}:");
    println!("  raw module and key ladder  {raw:.0}/s");
    println!(
        "  verifications              {rate:.0}/s, {ratio:.0} % of it ({least:.0} to {most:.0} % over the rounds)"
    );
    println!(
        "  processor time of each: {:.1} µs here, {:.1} µs in the workers",
        of(&rounds, &|round| round.spent[0]),
        of(&rounds, &|round| round.spent[1]),
    );
    println!(
        "  latency with the wait for a session: p50 {:.0} µs, p99 {:.0} µs = {:.2} x callers / rate",
        of(&rounds, &micros(0.5)),
        of(&rounds, &micros(0.99)),
        of(&rounds, &|round| round.at(0.99).as_secs_f64() * round.rate / callers as f64),
    );
    println!(
        "  latency without (as many callers as sessions): p50 {:.0} µs, p99 {:.0} µs, {:.0}/s",
        of(&alone, &micros(0.5)),
        of(&alone, &micros(0.99)),
        of(&alone, &|round| round.rate),
    );
}

/// The 99th percentile of a valid key's requests, 2,000 a second, beside made-up ids or not.
fn flood(runtime: &tokio::runtime::Runtime, authority: &Arc<Authority>, root: &Pair) {
    let valid = get(root, "local");
    runtime.block_on(verify(authority, &valid)).map_err(|why| format!("{why:?}")).expect("accepted");
    let (is_on, stop, sent) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
    let asked = || authority.hsm().counts().signing_key.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                if is_on.load(Ordering::Relaxed) {
                    runtime.block_on(made_up_for_a_while(authority, &valid, root, &sent));
                } else {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        let before = asked();
        let round = |flood: bool| {
            is_on.store(flood, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(50));
            let mut times: Vec<Duration> = Vec::new();
            let since = Instant::now();
            while since.elapsed() < ROUND {
                let began = Instant::now();
                runtime.block_on(verify(authority, &valid)).map_err(|why| format!("{why:?}")).expect("accepted");
                times.push(began.elapsed());
                std::thread::sleep(Duration::from_micros(500));
            }
            times.sort();
            times[times.len() * 99 / 100].as_secs_f64() * 1e6
        };
        let (mut without, mut with) = (Vec::new(), Vec::new());
        let mut flooded = Duration::ZERO;
        for _ in 0..ROUNDS * 2 {
            without.push(round(false));
            let since = Instant::now();
            with.push(round(true));
            flooded += since.elapsed();
        }
        stop.store(true, Ordering::Relaxed);
        let ratio = median(without.iter().zip(&with).map(|(without, with)| with / without).collect());
        let sent = sent.load(Ordering::Relaxed);
        println!("flood of {:.0} made-up ids a second, in process:", sent as f64 / flooded.as_secs_f64());
        println!(
            "  p99 of a valid request {:.1} µs, without {:.1} µs: ratio {ratio:.2}",
            median(with),
            median(without)
        );
        println!("  of {sent} made-up ids {} reached the HSM", asked() - before);
    });
}

/// Made-up ids for 10 ms, at the rate that was asked for.
async fn made_up_for_a_while(authority: &Authority, valid: &[u8], root: &Pair, sent: &AtomicU64) {
    const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let at = valid.windows(20).position(|text| text == root.access_key_id.as_bytes()).expect("the id is there");
    let (since, mut request) = (Instant::now(), valid.to_vec());
    for number in 0..FLOOD / 100 {
        let mut drawn = (sent.fetch_add(1, Ordering::Relaxed) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        for place in &mut request[at + 14..at + 20] {
            *place = BASE32[(drawn >> 59) as usize];
            drawn <<= 5;
        }
        assert!(verify(authority, &request).await.is_err(), "nobody issued it");
        if number % 50 == 49 {
            let due = Duration::from_secs_f64((number + 1) as f64 / FLOOD as f64);
            std::thread::sleep(due.saturating_sub(since.elapsed()));
        }
    }
}
