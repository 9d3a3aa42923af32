//! What the suites share: a running `rederive dev`, and stock clients that talk to it.
#![allow(dead_code, reason = "each suite uses its part")]

pub mod sign;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

/// The binary under test.
pub const REDERIVE: &str = env!("CARGO_BIN_EXE_rederive");

/// An access key with its secret.
#[derive(Clone, Deserialize)]
pub struct Pair {
    #[serde(alias = "AccessKeyId")]
    pub access_key_id: String,
    #[serde(alias = "SecretAccessKey")]
    pub secret_access_key: String,
}

#[derive(Deserialize)]
pub struct Ready {
    pub endpoint: String,
    pub rpc_endpoint: String,
    #[serde(flatten)]
    pub root: Pair,
    pub region: String,
    pub account: String,
}

/// A `rederive dev` on ports of its own, stopped when dropped.
pub struct Dev {
    pub ready: Ready,
    pub state: PathBuf,
    pub process: Child,
    directory: Option<tempfile::TempDir>,
}

impl Dev {
    /// In a new state directory.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let state = directory.path().join("state");
        let mut dev = Self::start_in(&state);
        dev.directory = Some(directory);
        dev
    }

    /// In a state directory that stays. The log, at the most verbose level, goes to `log` in it.
    pub fn start_in(state: &Path) -> Self {
        Self::start_by(Command::new(REDERIVE), state)
    }

    /// The same, by a command that runs `rederive` with the arguments it is given.
    pub fn start_by(mut command: Command, state: &Path) -> Self {
        std::fs::create_dir_all(state).expect("a directory");
        let log = std::fs::File::options().create(true).append(true).open(state.join("log")).expect("a log file");
        let mut process = command
            .args(["dev", "--json", "--listen", "127.0.0.1:0", "--rpc-listen", "127.0.0.1:0", "--state"])
            .arg(state)
            .env("REDERIVE_LOG__LEVEL", "trace")
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("rederive starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let ready = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{error} in {line:?}; log: {}", tail(&state.join("log"))));
        Self { ready, state: state.to_owned(), process, directory: None }
    }

    /// The stock AWS CLI with a key.
    pub fn aws(&self, pair: &Pair, arguments: &str) -> Output {
        self.client("aws", pair)
            .args(["--endpoint-url", &self.ready.endpoint])
            .args(arguments.split(' '))
            .output()
            .expect("aws runs")
    }

    /// The same, expected to work; gives its JSON.
    pub fn aws_json(&self, pair: &Pair, arguments: &str) -> Value {
        let output = self.aws(pair, arguments);
        assert!(output.status.success(), "aws {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        if output.stdout.is_empty() { json!(null) } else { serde_json::from_slice(&output.stdout).expect("JSON") }
    }

    /// The same, expected to fail with an error code.
    pub fn aws_refused(&self, pair: &Pair, arguments: &str, code: &str) {
        let output = self.aws(pair, arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(&format!("({code})")), "aws {arguments}: {error}");
    }

    /// A script of `tests/clients` with a key in its environment.
    pub fn python(&self, script: &str, pair: &Pair, arguments: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
        self.client("python3", pair).arg(script).args(arguments).output().expect("python3 runs")
    }

    /// A client with a key in its environment and nothing of whoever runs the tests.
    pub fn client(&self, program: &str, pair: &Pair) -> Command {
        let mut command = Command::new(program);
        command
            .env_remove("AWS_PROFILE")
            .env_remove("AWS_SESSION_TOKEN")
            .env("AWS_CONFIG_FILE", "/nonexistent")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            // botocore's own signers, not those of awscrt, which is there for Signature V4A.
            .env("BOTO_DISABLE_CRT", "true")
            .env("AWS_ACCESS_KEY_ID", &pair.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", &pair.secret_access_key)
            .env("AWS_DEFAULT_REGION", &self.ready.region)
            .env("AWS_DEFAULT_OUTPUT", "json")
            .env("AWS_MAX_ATTEMPTS", "1")
            .env("AWS_ENDPOINT_URL", &self.ready.endpoint)
            .env("RPC_ENDPOINT", &self.ready.rpc_endpoint);
        command
    }

    /// A user with a key.
    pub fn user(&self, name: &str) -> Pair {
        self.aws_json(&self.ready.root, &format!("iam create-user --user-name {name}"));
        self.key(name)
    }

    /// Another key of a user.
    pub fn key(&self, name: &str) -> Pair {
        let created = self.aws_json(&self.ready.root, &format!("iam create-access-key --user-name {name}"));
        serde_json::from_value(created["AccessKey"].clone()).expect("a key")
    }

    /// Calls `/v1/verify`: status and JSON.
    pub fn verify(&self, call: &Value) -> (u16, Value) {
        post_json(&format!("{}/v1/verify", self.ready.rpc_endpoint), call)
    }

    /// The value of a metric, all its labels in braces included in the name; 0 when it is not there.
    pub fn metric(&self, name: &str) -> f64 {
        let (_, text) = get(&format!("{}/metrics", self.ready.rpc_endpoint));
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        line.unwrap_or(0.0)
    }

    /// All worker requests so far.
    pub fn hsm_requests(&self, kind: &str) -> f64 {
        self.metric(&format!("rederive_hsm_requests_total{{kind=\"{kind}\"}}"))
    }

    /// The process id of the worker.
    pub fn worker(&self) -> Option<u32> {
        children(self.process.id()).into_iter().next()
    }

    pub fn signal(&self, signal: &str) {
        kill(self.process.id(), signal);
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        kill(self.process.id(), "TERM");
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.process.try_wait().is_ok_and(|status| status.is_none()) {
            if Instant::now() > deadline {
                let _ = self.process.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Sends a signal by name.
pub fn kill(process: u32, signal: &str) {
    let _ = Command::new("kill").args([&format!("-{signal}"), &process.to_string()]).stderr(Stdio::null()).status();
}

/// The running children of a process.
pub fn children(of: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{of}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

/// Far beyond what anything takes that a test waits for, on a machine that does much else.
pub const LONG: Duration = Duration::from_secs(120);

/// Waits until something holds. How soon it does is no matter of a test.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come within {LONG:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A log file for one process and those that it starts. Always a new one: what a killed process leaves running for a moment still
/// writes to the file of before, which would put its lines into the middle of these.
pub fn new_log(path: &Path) -> std::fs::File {
    let _ = std::fs::remove_file(path);
    std::fs::File::create_new(path).expect("a log file")
}

/// A log, once it has this text: lines are written by a thread of their own, some time after what they tell of.
pub fn log_that_says(path: &Path, text: &str) -> String {
    let log = || std::fs::read_to_string(path).unwrap_or_default();
    wait_until(&format!("{text:?} in {}", path.display()), || log().contains(text));
    log()
}

/// GET: status and text.
pub fn get(url: &str) -> (u16, String) {
    let mut response = agent().get(url).call().expect("an answer");
    (response.status().as_u16(), response.body_mut().read_to_string().expect("text"))
}

/// POST of JSON: status and JSON.
pub fn post_json(url: &str, body: &Value) -> (u16, Value) {
    let mut response = agent().post(url).content_type("application/json").send(body.to_string()).expect("an answer");
    let text = response.body_mut().read_to_string().expect("text");
    (response.status().as_u16(), serde_json::from_str(&text).unwrap_or_else(|_| panic!("JSON, not {text:?}")))
}

fn agent() -> ureq::Agent {
    static AGENT: std::sync::OnceLock<ureq::Agent> = std::sync::OnceLock::new();
    let build = || ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    AGENT.get_or_init(build).clone()
}

fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().rev().take(20).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// Whether the long forms were asked for (`make soak`).
pub fn long() -> bool {
    std::env::var_os("SOAK").is_some()
}
