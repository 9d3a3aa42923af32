//! Issuers and verifiers as separate processes.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{self, Dev, Pair, REDERIVE, sign};
use serde_json::Value;

/// A token and a registry, and who serves them.
pub struct Fleet {
    pub directory: tempfile::TempDir,
    pub root: Pair,
    pub public_key: String,
    pub issuer: Option<Node>,
    /// What verifiers take for the issuer: it can be cut.
    pub wire: Wire,
}

/// A `serve`, killed when dropped.
pub struct Node {
    pub process: Child,
    pub log: PathBuf,
    pub endpoint: Option<String>,
    pub rpc: String,
}

impl Fleet {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// On a database: configured once, so that every issuer of it finds the way there.
    pub fn on_postgres(url: &str) -> Self {
        Self::start_with(&[("REDERIVE_REGISTRY__URL", url)])
    }

    pub fn start_with(environment: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new(REDERIVE);
        command.envs(environment.iter().copied());
        let dev = Dev::start_by(command, directory.path());
        let root = dev.ready.root.clone();
        drop(dev);
        let config = directory.path().join("rederive.toml");
        let text = std::fs::read_to_string(&config).expect("a configuration");
        let layout = environment.iter().find(|(name, _)| *name == "REDERIVE_ISSUING__LAYOUT");
        let layout = layout.map_or(String::new(), |(_, layout)| format!("\n[issuing]\nlayout = \"{layout}\"\n"));
        let url = environment.iter().find(|(name, _)| *name == "REDERIVE_REGISTRY__URL");
        let url = url.map_or(String::new(), |(_, url)| format!("\n[registry]\nurl = \"{url}\"\n"));
        std::fs::write(&config, text + &layout + &url).expect("writable");
        let key = Command::new(REDERIVE).args(["feed", "key", "--config"]).arg(&config).output().expect("runs");
        let public_key = String::from_utf8(key.stdout).expect("text").trim().to_owned();
        let mut fleet = Self { directory, root, public_key, issuer: None, wire: Wire::new() };
        fleet.start_issuer();
        fleet
    }

    pub fn start_issuer(&mut self) {
        let node = Node::start(&self.config(), "issuer", &self.path("issuer.log"));
        common::wait_until("a ready issuer", || common::get(&format!("{}/readyz", node.rpc)).0 == 200);
        self.wire.lead_to(&node.rpc);
        self.issuer = Some(node);
    }

    /// A further issuer on the same registry and token, with files of its own.
    pub fn another_issuer(&self, name: &str, settings: &[(&str, &str)]) -> Node {
        let state = self.path(name);
        let state = [("REDERIVE_STATE_DIR", state.to_str().expect("a path"))];
        let settings = [&state[..], settings].concat();
        let node = Node::start_with(&self.config(), "issuer", &self.path(&format!("{name}.log")), &settings);
        common::wait_until("a ready issuer", || common::get(&format!("{}/readyz", node.rpc)).0 == 200);
        node
    }

    pub fn issuer(&self) -> &Node {
        self.issuer.as_ref().expect("it runs")
    }

    /// A verifier in a directory of its own, with what is to stand in its `[feed]` besides the key.
    pub fn verifier(&self, name: &str, feed: &str) -> Node {
        let node = Node::start(
            &self.verifier_config(name, feed, &self.public_key),
            "verifier",
            &self.path(&format!("{name}.log")),
        );
        common::wait_until("a ready verifier", || common::get(&format!("{}/readyz", node.rpc)).0 == 200);
        node
    }

    pub fn verifier_config(&self, name: &str, feed: &str, public_key: &str) -> PathBuf {
        let text = std::fs::read_to_string(self.config()).expect("a configuration");
        let token = &text[text.find("[[token]]").expect("a token")..];
        let token = token
            .split("\n[issuing]")
            .next()
            .and_then(|text| text.split("\n[registry]").next())
            .and_then(|text| text.split("[[caller]]").next())
            .expect("a part");
        let state = self.path(name);
        let config = self.path(&format!("{name}.toml"));
        let text = format!(
            "state_dir = {state:?}\n[rpc]\nlisten = \"127.0.0.1:0\"\n[verify]\nunknown_keys = \"accept\"\n\
             [feed]\npublic_keys = [\"{public_key}\"]\n{feed}\n[[issuer]]\nurl = \"http://{}\"\n{token}",
            self.wire.address
        );
        std::fs::write(&config, text).expect("writable");
        config
    }

    pub fn config(&self) -> PathBuf {
        self.path("rederive.toml")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A call of IAM by the root key, expected to work; gives its XML.
    pub fn iam(&self, body: &str) -> String {
        let (status, text) = self.issuer().iam(&self.root, body);
        assert_eq!(status, 200, "{body}: {text}");
        text
    }

    pub fn user(&self, name: &str) -> Pair {
        self.iam(&format!("Action=CreateUser&UserName={name}"));
        self.key(name)
    }

    pub fn key(&self, name: &str) -> Pair {
        pair(&self.iam(&format!("Action=CreateAccessKey&UserName={name}")))
    }

    pub fn set_status(&self, name: &str, pair: &Pair, status: &str) {
        self.iam(&format!("Action=UpdateAccessKey&UserName={name}&AccessKeyId={}&Status={status}", pair.access_key_id));
    }

    /// An operator's command on the issuer's configuration.
    pub fn operator(&self, arguments: &[&str]) -> String {
        let output = Command::new(REDERIVE).args(arguments).arg("--config").arg(self.config()).output().expect("runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs statements on the registry past rederive.
    pub fn sql(&self, statements: &str) {
        let script = "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); c.executescript(sys.argv[2]); c.commit()";
        let registry = self.path("registry.sqlite");
        let status = Command::new("python3").args(["-c", script]).arg(registry).arg(statements).status();
        assert!(status.expect("python3 runs").success(), "{statements}");
    }
}

/// The key in an answer to CreateAccessKey.
pub fn pair(xml: &str) -> Pair {
    let field = |tag: &str| {
        let rest = xml.split(&format!("<{tag}>")).nth(1).unwrap_or_else(|| panic!("no {tag} in {xml}"));
        rest.split('<').next().expect("an end").to_owned()
    };
    Pair { access_key_id: field("AccessKeyId"), secret_access_key: field("SecretAccessKey") }
}

impl Node {
    pub fn start(config: &Path, role: &str, log: &Path) -> Self {
        Self::start_with(config, role, log, &[])
    }

    pub fn start_with(config: &Path, role: &str, log: &Path, settings: &[(&str, &str)]) -> Self {
        let process = spawn_with(config, role, log, settings);
        let mut node = Self { process, log: log.to_owned(), endpoint: None, rpc: String::new() };
        common::wait_until("serving", || {
            assert!(node.process.try_wait().is_ok_and(|ended| ended.is_none()), "it ended: {}", node.log());
            let text = node.log();
            let Some(line) = text.lines().find(|line| line.contains("\"serving\"")) else { return false };
            let line: Value = serde_json::from_str(line).expect("JSON");
            node.endpoint = line["fields"]["endpoint"].as_str().map(str::to_owned);
            node.rpc = line["fields"]["rpc_endpoint"].as_str().expect("told").to_owned();
            true
        });
        node
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// A call of IAM: status and XML.
    pub fn iam(&self, by: &Pair, body: &str) -> (u16, String) {
        self.send(&self.iam_call(by, body))
    }

    /// The same, by a client that signs again where it is told to: two equal calls within a second are one request.
    pub fn iam_with_patience(&self, by: &Pair, body: &str) -> (u16, String) {
        loop {
            let answer = self.iam(by, body);
            if !answer.1.contains("<Code>Throttling</Code>") {
                return answer;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The same, signed and not sent.
    pub fn iam_call(&self, by: &Pair, body: &str) -> sign::Signed {
        let host = self.endpoint.as_deref().expect("an issuer has one").trim_start_matches("http://");
        sign::query(by, "local", host, "iam", &format!("{body}&Version=2010-05-08"))
    }

    /// Sends a call of IAM.
    pub fn send(&self, call: &sign::Signed) -> (u16, String) {
        self.try_to_send(call).expect("an answer")
    }

    /// The same, to one that may be gone.
    pub fn try_to_send(&self, call: &sign::Signed) -> Result<(u16, String), ureq::Error> {
        let endpoint = self.endpoint.as_deref().expect("an issuer has one");
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let mut request = agent.post(endpoint);
        for (name, value) in call.headers.iter().filter(|(name, _)| name != "host") {
            request = request.header(name, value);
        }
        let mut answer = request.send(&call.body)?;
        Ok((answer.status().as_u16(), answer.body_mut().read_to_string()?))
    }

    pub fn ask(&self, call: &sign::Signed) -> (u16, Value) {
        common::post_json(&format!("{}/v1/verify", self.rpc), &call.call())
    }

    /// What it says about a request of a key: `accept`, `refuse` or `unavailable`.
    pub fn says(&self, pair: &Pair) -> String {
        let (_, answer) = self.ask(&sign::s3_get(pair, "local", "h", "/b/k"));
        answer["decision"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    pub fn soon_says(&self, pair: &Pair, what: &str) {
        common::wait_until(&format!("{} {what}", pair.access_key_id), || self.says(pair) == what);
    }

    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    pub fn kill_by_hand(&self) {
        common::kill(self.process.id(), "KILL");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn spawn(config: &Path, role: &str, log: &Path) -> Child {
    spawn_with(config, role, log, &[])
}

fn spawn_with(config: &Path, role: &str, log: &Path, settings: &[(&str, &str)]) -> Child {
    Command::new(REDERIVE)
        .envs(settings.iter().copied())
        .args(["serve", "--role", role, "--config"])
        .arg(config)
        .env("REDERIVE_LOG__FORMAT", "json")
        .stderr(common::new_log(log))
        .spawn()
        .expect("rederive starts")
}

/// A TCP relay whose far end can change, and which can be cut.
pub struct Wire {
    pub address: std::net::SocketAddr,
    ends: Arc<Mutex<Ends>>,
}

#[derive(Default)]
pub struct Ends {
    far: Option<String>,
    open: HashMap<u64, Vec<TcpStream>>,
}

impl Wire {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let ends = Arc::new(Mutex::new(Ends::default()));
        let shared = ends.clone();
        std::thread::spawn(move || {
            for (number, near) in (0..).zip(listener.incoming().flatten()) {
                let mut ends = shared.lock().expect("no panic");
                let Some(far) = ends.far.as_ref().and_then(|far| TcpStream::connect(far).ok()) else { continue };
                let pair = |stream: &TcpStream| stream.try_clone().expect("cloned");
                ends.open.insert(number, vec![pair(&near), pair(&far)]);
                relay(pair(&near), pair(&far));
                relay(far, near);
            }
        });
        Self { address, ends }
    }

    pub fn lead_to(&self, url: &str) {
        self.ends.lock().expect("no panic").far = Some(url.split("://").last().expect("an address").to_owned());
    }

    pub fn cut(&self) {
        let mut ends = self.ends.lock().expect("no panic");
        ends.far = None;
        for stream in ends.open.drain().flat_map(|(_, streams)| streams) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

fn relay(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}

/// Ends the load even where an assertion fails.
pub struct Stop<'a>(pub &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
