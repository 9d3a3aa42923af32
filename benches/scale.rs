//! What a fleet costs when it is large: ten million keys issued over twenty accounts, one million of them denied.
//!
//! `cargo bench --bench scale`; with `-- KEYS DENIED` other numbers; with `-- issuance` new keys a second alone, which takes seconds.
//! Needs SoftHSM, 6 GB of disk and some minutes. Rows are written past `rederive`, as it would have written them; everything that is
//! measured is a `rederive serve` of its own, but issuance, which is measured in process.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use rederive::authority::{Authority, IssueError, KeyRequest, NewKeySpec};
use rederive::config::Config;
use rederive::feed::{Chain, Change, ChangeKind};
use rederive::registry::{NewUser, Owner, UsedSignature, UserId};
use rederive::site::Site;
use rederive_hsm::access_key_id::{AccessKeyId, Account, Fields, Generation, Prefix, TagKey};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Executor};

#[path = "../tests/common/mod.rs"]
mod common;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/fleet/support.rs"]
mod support;

use common::{Pair, sign};
use support::{Fleet, Node};

const ACCOUNTS: u64 = 20;
/// Rows of one statement.
const ROWS: usize = 500;
/// Statements of one transaction.
const STATEMENTS: usize = 1000;
/// Clients that have keys made at a time.
const CLIENTS: usize = 64;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if arguments.iter().any(|argument| argument == "issuance") {
        let mut fleet = Fleet::start();
        stop_issuer(&mut fleet);
        runtime.block_on(issuance(&fleet));
        return;
    }
    let numbers: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let keys = numbers.first().copied().unwrap_or(10_000_000);
    let denied = numbers.get(1).copied().unwrap_or(1_000_000);
    let mut fleet = Fleet::start();
    measure_verifier(&fleet, "nothing issued");
    stop_issuer(&mut fleet);

    let tag_key = runtime.block_on(issuance(&fleet));
    let registry = fleet.path("registry.sqlite");
    runtime.block_on(insert_keys(&registry, &tag_key, keys));
    println!("{keys} keys over {ACCOUNTS} accounts: registry of {} MB", size(&registry) / 1_000_000);
    start_issuer(&mut fleet);
    measure_verifier(&fleet, &format!("{keys} keys issued, nothing denied"));
    stop_issuer(&mut fleet);

    runtime.block_on(deny(&registry, &tag_key, keys, denied));
    std::fs::remove_dir_all(fleet.path("feed")).expect("what the issuer has seen of its feed");
    start_issuer(&mut fleet);
    let since = Instant::now();
    let verifier = fleet.verifier("new", "");
    let last = id(&tag_key, keys, denied - 1);
    common::wait_until("everything heard", || says(&verifier, &last) == "InvalidAccessKeyId");
    println!("a new verifier has followed {denied} denials after {:?}", since.elapsed());
    drop(verifier);
    println!("its copy: {} MB", size(&fleet.path("new/feed.log")) / 1_000_000);
    fleet.wire.cut();
    let since = Instant::now();
    let verifier = Node::start(&fleet.path("new.toml"), "verifier", &fleet.path("new.log"));
    common::wait_until("ready", || common::get(&format!("{}/readyz", verifier.rpc)).0 == 200);
    println!("started again with its copy alone: ready after {:?}", since.elapsed());
    report_memory("a verifier with its copy", verifier.process.id());
    checks(&verifier, &tag_key, keys, denied);
}

/// The time from the start of the process to its readiness, and its memory, with a copy of the feed that is there already.
fn measure_verifier(fleet: &Fleet, what: &str) {
    drop(fleet.verifier("verifier", ""));
    let since = Instant::now();
    let verifier = fleet.verifier("verifier", "");
    println!("{what}: a verifier is ready after {:?}", since.elapsed());
    report_memory(what, verifier.process.id());
}

fn start_issuer(fleet: &mut Fleet) {
    let since = Instant::now();
    fleet.start_issuer();
    println!("an issuer is ready after {:?}", since.elapsed());
    report_memory("the issuer", fleet.issuer().process.id());
}

fn stop_issuer(fleet: &mut Fleet) {
    let mut issuer = fleet.issuer.take().expect("it runs");
    common::kill(issuer.process.id(), "TERM");
    issuer.process.wait().expect("it ends");
}

/// Memory of `serve`, without its worker.
fn report_memory(what: &str, process: u32) {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let of = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("?").trim().to_owned();
    println!("{what}: {} resident, of them {} anonymous; at most {}", of("VmRSS:"), of("RssAnon:"), of("VmHWM:"));
}

fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}

/// New keys a second through the authority, each asked for by a root key and durable before it is told, beside what the disk does alone.
async fn issuance(fleet: &Fleet) -> TagKey {
    let config = Config::load(&fleet.config()).expect("a configuration");
    let site = Site { program: common::REDERIVE.into(), ..Site::new(config) };
    let (authority, supervisor) = site.authority().await.expect("an authority");
    authority.hsm().settled().await;
    authority.ask_for_tag_keys().await;
    let mut owners = Vec::new();
    for account in (0..ACCOUNTS).map(account) {
        let registry = authority.registry().expect("an issuer");
        let root = authority.new_account(account, 1).await.expect("made").id;
        registry.set_keys_per_user(account, Some(1000)).await.expect("set");
        for number in 0..4 {
            let user_id = UserId::random().expect("random");
            let new = NewUser { user_id, account, name: format!("u{number}"), path: "/".into(), tags: vec![], at: 1 };
            let user_id = Some(registry.create_user(&new).await.expect("made").user_id);
            owners.push((Owner { account, user_id }, root));
        }
    }
    for clients in [1, CLIENTS] {
        let (made, took) = issue_for(Duration::from_secs(4), clients, &authority, &owners).await;
        let rate = made as f64 / took.as_secs_f64();
        println!("{clients} clients: {rate:.0} durable keys a second");
    }
    println!("the disk alone: {:.0} fdatasync a second, each after 4 KiB appended", fsync_rate(&fleet.path("fsync")));
    let tag_key = authority.hsm().tag_key(generation()).await.expect("a tag key");
    authority.hsm().stop().await;
    supervisor.await.expect("ended");
    authority.registry().expect("an issuer").close().await;
    tag_key
}

async fn issue_for(
    time: Duration,
    clients: usize,
    authority: &std::sync::Arc<Authority>,
    owners: &[(Owner, AccessKeyId)],
) -> (usize, Duration) {
    let since = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..clients {
        let (authority, owners) = (authority.clone(), owners.to_vec());
        tasks.spawn(async move {
            let mut made = 0;
            while since.elapsed() < time {
                // In turns, so that no quota is full.
                let (owner, root) = &owners[(client + made * clients) % owners.len()];
                let (request, now) = (signed_by(*root), sign::now());
                match authority.issue_key(owner, Some(&request), now).await {
                    Ok(_) => made += 1,
                    // Above the cap of its worker, 5,000 a second.
                    Err(IssueError::Hsm(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
                    Err(error) => panic!("{error}"),
                }
            }
            made
        });
    }
    let made = tasks.join_all().await.into_iter().sum();
    (made, since.elapsed())
}

/// What the door makes of a request that a root key has signed.
fn signed_by(root: AccessKeyId) -> KeyRequest {
    let mut hash = [0; 32];
    getrandom::fill(&mut hash).expect("random");
    let signature = UsedSignature { hash, expires_at: sign::now() + 1200 };
    KeyRequest { by: root, signature, token: None, new: NewKeySpec::default() }
}

fn fsync_rate(path: &Path) -> f64 {
    let mut file = std::fs::File::create(path).expect("a file");
    let (since, mut count) = (Instant::now(), 0_u32);
    while since.elapsed() < Duration::from_secs(2) {
        file.write_all(&[1; 4096]).and_then(|()| file.sync_data()).expect("written");
        count += 1;
    }
    f64::from(count) / since.elapsed().as_secs_f64()
}

fn account(number: u64) -> Account {
    Account::new(200_000_000_000 + number).expect("twelve digits")
}

fn generation() -> Generation {
    Generation::new(0).expect("7 bits")
}

/// The id of a key, the keys of an account one after the other.
fn id(tag_key: &TagKey, keys: usize, number: usize) -> AccessKeyId {
    let each = keys.div_ceil(ACCOUNTS as usize);
    let serial = u32::try_from(number % each).expect("20 bits");
    let account = account((number / each) as u64);
    let fields = Fields::Account { account, generation: generation(), needs_row: false, serial };
    AccessKeyId::assemble(Prefix::parse("AKIA").expect("four letters"), &fields, tag_key)
}

/// Every key is root's here: there is no quota past `rederive`.
async fn insert_keys(registry: &Path, tag_key: &TagKey, keys: usize) {
    let mut connection = open(registry).await;
    let numbers: Vec<usize> = (0..keys).collect();
    for transaction in numbers.chunks(ROWS * STATEMENTS) {
        let statements = transaction.chunks(ROWS).map(|rows| {
            let rows = rows.iter().map(|number| {
                let id = id(tag_key, keys, *number);
                let account = id.fields().account().expect("in its id");
                format!("('{id}',{},0,'active',1795262400,1795262400)", account.number())
            });
            let rows = rows.collect::<Vec<_>>().join(",");
            // An id that was issued above stays as it is.
            format!(
                "INSERT OR IGNORE INTO access_keys (id, account, generation, status, created_at, status_changed_at) VALUES {rows}"
            )
        });
        run_all(&mut connection, statements).await;
    }
    connection.close().await.expect("closed");
}

/// Switches the first keys off, as so many calls of UpdateAccessKey would have.
async fn deny(registry: &Path, tag_key: &TagKey, keys: usize, denied: usize) {
    let mut connection = open(registry).await;
    let (epoch, number, hash): (Vec<u8>, i64, Vec<u8>) =
        sqlx::query_as("SELECT epoch, number, hash FROM feed_head").fetch_one(&mut connection).await.expect("a head");
    assert_eq!(epoch.len(), 16);
    let mut chain = Chain { number, hash: hash.try_into().expect("32 bytes") };
    let numbers: Vec<usize> = (0..denied).collect();
    for transaction in numbers.chunks(ROWS * STATEMENTS) {
        let mut statements = Vec::new();
        for rows in transaction.chunks(ROWS) {
            let (mut changes, mut ids) = (Vec::new(), Vec::new());
            for number in rows {
                let (seq, subject) = (chain.number + 1, id(tag_key, keys, *number).to_string());
                let (at, detail) = (sign::now(), String::new());
                let change = Change { seq, at, kind: ChangeKind::KeyDeactivated, subject, detail };
                chain = chain.with(&change).expect("follows");
                let (subject, hash) = (&change.subject, sign::hex(&chain.hash));
                changes.push(format!("({seq},{at},'key-deactivated','{subject}','',x'{hash}')"));
                ids.push(format!("'{subject}'"));
            }
            statements.push(format!(
                "INSERT INTO changes (seq, at, kind, subject, detail, hash) VALUES {}; \
                 UPDATE access_keys SET status = 'inactive' WHERE id IN ({})",
                changes.join(","),
                ids.join(",")
            ));
        }
        let (number, hash) = (chain.number, sign::hex(&chain.hash));
        statements.push(format!(
            "UPDATE change_counter SET last = {number}; UPDATE feed_head SET number = {number}, hash = x'{hash}'"
        ));
        run_all(&mut connection, statements).await;
    }
    connection.close().await.expect("closed");
}

async fn open(registry: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(registry).disable_statement_logging();
    let mut connection = options.connect().await.expect("opens");
    connection.execute("PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000").await.expect("set");
    connection
}

async fn run_all(connection: &mut SqliteConnection, statements: impl IntoIterator<Item = String>) {
    connection.execute("BEGIN").await.expect("begun");
    for statement in statements {
        connection.execute(&*statement).await.expect("the SQL is right");
    }
    connection.execute("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)").await.expect("committed");
}

/// The code of a refusal: of a key whose secret nobody has.
fn says(verifier: &Node, id: &AccessKeyId) -> String {
    let (_, answer) = verifier.ask(&request(id));
    answer["code"].as_str().unwrap_or("undecided").to_owned()
}

fn request(id: &AccessKeyId) -> sign::Signed {
    let pair = Pair { access_key_id: id.to_string(), secret_access_key: "x".repeat(40) };
    sign::s3_get(&pair, "local", "h", "/b/k")
}

/// Checks through the public door, one after the other: of denied keys, and of ids that the tag refuses before the list is asked.
fn checks(verifier: &Node, tag_key: &TagKey, keys: usize, denied: usize) {
    const CHECKS: usize = 5_000;
    let requests = |ids: Vec<AccessKeyId>| ids.iter().map(request).collect::<Vec<_>>();
    let step = (denied / CHECKS).max(1);
    let listed = requests((0..denied).step_by(step).map(|number| id(tag_key, keys, number)).collect());
    let other = TagKey::new(&rederive_hsm::secret::Secret32::take(&mut [7; 32]));
    let unknown = (0..denied).step_by(step).map(|number| (id(&other, keys, number), id(tag_key, keys, number)));
    // One in 2,048 has the right tag.
    let unknown = requests(unknown.filter(|(id, ours)| id != ours).map(|(id, _)| id).collect());
    let time = |requests: &[sign::Signed]| {
        let since = Instant::now();
        for request in requests {
            assert_eq!(verifier.ask(request).1["code"], "InvalidAccessKeyId");
        }
        since.elapsed() / requests.len() as u32
    };
    time(&unknown);
    let (denied_took, unknown_took) = (time(&listed), time(&unknown));
    println!(
        "one after the other over HTTP: {denied_took:?} for a denied key, {unknown_took:?} for an id with a wrong tag"
    );
}
