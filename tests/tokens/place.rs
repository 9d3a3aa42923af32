//! A node on tokens that fail on demand: SoftHSM behind the shim, every token with the same known master.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rederive::config::Config;
use rederive::registry::{GenerationRow, GenerationState};
use rederive::site::Site;
use rederive_hsm::access_key_id::Generation;
use rederive_hsm::client::admin;
use rederive_hsm::config::{KeyClass, TokenConfig};
use rederive_hsm::derivation::{Purpose, subkey_message};
use rederive_hsm::secret::Secret32;
use rederive_hsm::softhsm::Store;
use rederive_hsm::worker::AdminRequest;
use rederive_shim::{CONTROL, Control, MODULE, PARAMETERS, STORE};
use serde_json::Value;

use crate::common::{self, LONG, Pair, REDERIVE, sign};
use crate::opencryptoki;

pub const ACCOUNT: &str = "123456789012";

/// The master that every token holds.
pub fn master() -> Secret32 {
    let mut bytes: [u8; 32] = std::array::from_fn(|at| at as u8);
    Secret32::take(&mut bytes)
}

/// The module that this test was built with: it stands beside the test.
fn shim() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let module = test.parent().expect("a directory").join("librederive_shim.so");
    assert!(module.exists(), "{} is not built", module.display());
    module
}

/// One token: its store and the shared memory of its workers.
pub struct Token {
    pub name: &'static str,
    pub control: Control,
    pub environment: Vec<(String, String)>,
    /// What its module cannot tell of a key, as the configuration names it.
    pub cannot_tell: &'static [&'static str],
}

/// A module that tokens are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Module {
    SoftHsm,
    /// NSS softokn, whose token is a directory that `certutil` makes.
    Nss,
    /// opencryptoki's soft token, which is there in namespaces of its own alone.
    Opencryptoki,
}

/// Tokens, a registry that knows their master as generation 0, an account.
pub struct Place {
    pub directory: tempfile::TempDir,
    pub tokens: Vec<Token>,
    pub root: Pair,
}

impl Place {
    /// With so many workers for each token.
    pub fn new(names: &[&'static str], workers: usize) -> Self {
        Self::on(Module::SoftHsm, names, workers)
    }

    /// The same on any module.
    pub fn on(module: Module, names: &[&'static str], workers: usize) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let tokens: Vec<Token> = names.iter().map(|name| token(module, directory.path(), name)).collect();
        let mut config = format!(
            "state_dir = {:?}\n[api]\nlisten = \"127.0.0.1:0\"\n[rpc]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n",
            directory.path().join("state")
        );
        for token in &tokens {
            let environment = token.environment.iter().map(|(name, value)| format!("{name} = {value:?}"));
            config += &format!(
                "[[token]]\nname = {0:?}\nmodule = {1:?}\nlabel = {0:?}\npin_file = {2:?}\nworkers = {workers}\n\
                 replicas = [0]\ncannot_tell = {4:?}\nenvironment = {{ {3} }}\n",
                token.name,
                shim(),
                directory.path().join(token.name).join("pin"),
                environment.collect::<Vec<_>>().join(", "),
                token.cannot_tell
            );
        }
        std::fs::write(directory.path().join("rederive.toml"), config).expect("writable");
        let root = Pair { access_key_id: String::new(), secret_access_key: String::new() };
        let mut place = Self { directory, tokens, root };
        place.register();
        place.root = place.root_pair();
        place
    }

    pub fn config(&self) -> PathBuf {
        self.directory.path().join("rederive.toml")
    }

    /// Tells the registry of the master.
    fn register(&self) {
        let site = Site::new(Config::load(&self.config()).expect("a configuration"));
        let row = GenerationRow {
            number: Generation::new(0).expect("in range"),
            state: GenerationState::Issuing,
            check_value: *master().hmac(&subkey_message(Purpose::CheckValue)).expose(),
            class: KeyClass::Strict,
            shares: 0..=u16::MAX,
            created_at: 0,
        };
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let (registry, _) = site.open_registry().await.expect("opens");
            registry.insert_generation(&row).await.expect("inserted");
            registry.close().await;
        });
    }

    fn root_pair(&self) -> Pair {
        let mut printed = String::new();
        // On a busy machine the HSM's deadline may pass; an account is made whole or not at all.
        common::wait_until("an account", || {
            let create = self.try_to_run(&["account", "create", "--number", ACCOUNT]);
            let failed = |said: String| assert!(said.contains("the HSM cannot answer"), "account create: {said}");
            create.map(|said| printed = said).map_err(failed).is_ok()
        });
        let field = |label: &str| {
            let line = printed.lines().find_map(|line| line.strip_prefix(label));
            line.unwrap_or_else(|| panic!("no {label} in {printed}")).trim().to_owned()
        };
        Pair { access_key_id: field("access key id"), secret_access_key: field("secret access key") }
    }

    /// What a command printed, expected to work.
    pub fn run(&self, arguments: &[&str]) -> String {
        self.try_to_run(arguments).unwrap_or_else(|said| panic!("{arguments:?}: {said}"))
    }

    /// What a command printed, or said when it failed.
    fn try_to_run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(REDERIVE).args(arguments).arg("--config").arg(self.config()).output().expect("runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stdout) + &text(&output.stderr))
        }
    }

    /// A `serve` that listens; it need not be ready.
    pub fn serve(&self) -> Node {
        let log = self.directory.path().join("serve.log");
        let mut process = Command::new(REDERIVE)
            .args(["serve", "--config"])
            .arg(self.config())
            .stdout(Stdio::null())
            .stderr(common::new_log(&log))
            .spawn()
            .expect("rederive starts");
        let endpoints = || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let line = text.lines().find(|line| line.contains("\"rpc_endpoint\""))?;
            let line: Value = serde_json::from_str(line).ok()?;
            let field = |name: &str| line["fields"][name].as_str().map(str::to_owned);
            Some((field("rpc_endpoint")?, field("endpoint")?))
        };
        common::wait_until("serving", || {
            assert!(process.try_wait().is_ok_and(|ended| ended.is_none()), "it ended: {}", tail(&log));
            endpoints().is_some()
        });
        let (rpc, api) = endpoints().expect("told");
        Node { process, rpc, api, log }
    }

    /// A `serve` that is ready.
    pub fn ready(&self) -> Node {
        let node = self.serve();
        common::wait_until("ready", || common::get(&format!("{}/readyz", node.rpc)).0 == 200);
        node
    }

    /// A `serve` that is ready, with a trusted worker for each token.
    pub fn whole(&self) -> Node {
        let node = self.ready();
        let is_whole = || self.tokens.iter().all(|token| node.workers(token.name, "trusted") > 0.0);
        common::wait_until("every token", is_whole);
        node
    }
}

/// A token with the known master in it.
fn token(module: Module, directory: &Path, name: &'static str) -> Token {
    let (environment, cannot_tell): (_, &[&str]) = match module {
        Module::SoftHsm => (softhsm(directory, name), &[]),
        Module::Nss => (nss(directory, name), NSS_CANNOT_TELL),
        Module::Opencryptoki => (opencryptoki::token(directory, name), opencryptoki::CANNOT_TELL),
    };
    let control = directory.join(name).join("control");
    let mut token = Token { name, control: Control::open(&control).expect("mapped"), environment, cannot_tell };
    token.environment.push((CONTROL.into(), control.display().to_string()));
    token.control.seed(name.bytes().map(u64::from).sum());
    let said = token.plant(directory);
    assert!(said.contains("planted"), "{said}");
    token
}

/// What NSS softokn 3.87 does not know, and one attribute that it forgets.
const NSS_CANNOT_TELL: &[&str] = &["CKA_ALLOWED_MECHANISMS", "CKA_COPYABLE", "CKA_DESTROYABLE", "CKA_LOCAL"];

impl Token {
    /// Puts the known master into it. A module finds its store by variables of its process, so it is done by one of its own.
    pub fn plant(&self, directory: &Path) -> String {
        let pin = std::fs::read_to_string(directory.join(self.name).join("pin")).expect("a PIN");
        let planted = Command::new(std::env::current_exe().expect("a path"))
            .args(["--exact", "plant::a_known_master", "--nocapture"])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs([("PLANT_MODULE", shim().as_os_str()), ("PLANT_PIN", pin.trim().as_ref())])
            .envs([("PLANT_LABEL", self.name), ("PLANT_CANNOT_TELL", &self.cannot_tell.join(" "))])
            .output()
            .expect("runs");
        String::from_utf8_lossy(&planted.stdout).into_owned() + &String::from_utf8_lossy(&planted.stderr)
    }
}

/// An NSS database as a token; gives the variables by which it is found.
fn nss(directory: &Path, name: &str) -> Vec<(String, String)> {
    const MODULES: [&str; 3] = [
        "/usr/lib/x86_64-linux-gnu/libsoftokn3.so",
        "/usr/lib/aarch64-linux-gnu/libsoftokn3.so",
        "/usr/lib64/libsoftokn3.so",
    ];
    let module = MODULES.iter().find(|path| Path::new(path).exists()).expect("NSS softokn is installed (libnss3)");
    let store = directory.join(name);
    std::fs::create_dir_all(&store).expect("a directory");
    std::fs::write(store.join("pin"), "0123456789abcdef\n").expect("writable");
    let database = format!("sql:{}", store.display());
    let made = Command::new("certutil").args(["-N", "-d", &database, "-f"]).arg(store.join("pin")).output();
    assert!(made.expect("certutil is installed (libnss3-tools)").status.success());
    let parameters =
        format!("configdir='{database}' certPrefix='' keyPrefix='' secmod='' flags= dbTokenDescription='{name}'");
    vec![(MODULE.into(), (*module).into()), (PARAMETERS.into(), parameters)]
}

/// A SoftHSM token; gives the variables by which it is found.
fn softhsm(directory: &Path, name: &str) -> Vec<(String, String)> {
    let store = Store::prepare(&directory.join(name)).expect("a store");
    let config = TokenConfig { label: Some(name.into()), ..store.token(name).expect("SoftHSM is installed") };
    let request = AdminRequest::Initialise { token: config.clone() };
    admin(Path::new(REDERIVE), &store.environment(), &request, LONG).expect("an answer");
    let mut environment = store.environment();
    environment.push((MODULE.into(), config.module.display().to_string()));
    environment.push((STORE.into(), directory.join(name).join("tokens").display().to_string()));
    environment
}

/// A running `serve`, killed when dropped.
pub struct Node {
    pub process: Child,
    pub rpc: String,
    api: String,
    pub log: PathBuf,
}

impl Node {
    /// The answer to a request: `accept`, `refuse CODE`, or the status.
    pub fn verdict(&self, signed: &sign::Signed) -> String {
        let (status, answer) = common::post_json(&format!("{}/v1/verify", self.rpc), &signed.call());
        match (status, answer["decision"].as_str(), answer["code"].as_str()) {
            (200, Some("refuse"), Some(code)) => format!("refuse {code}"),
            (200, Some(decision), _) => decision.to_owned(),
            _ => status.to_string(),
        }
    }

    /// Makes a user with a key: the key, or the status that said no.
    pub fn new_key(&self, root: &Pair, name: &str) -> Result<Pair, u16> {
        self.iam(root, &format!("Action=CreateUser&UserName={name}"))?;
        let xml = self.iam(root, &format!("Action=CreateAccessKey&UserName={name}"))?;
        let field = |tag: &str| {
            let rest = xml.split(&format!("<{tag}>")).nth(1).unwrap_or_else(|| panic!("no {tag}"));
            rest.split('<').next().unwrap_or_default().to_owned()
        };
        Ok(Pair { access_key_id: field("AccessKeyId"), secret_access_key: field("SecretAccessKey") })
    }

    pub fn iam(&self, root: &Pair, body: &str) -> Result<String, u16> {
        let host = self.api.trim_start_matches("http://");
        let call = sign::query(root, "local", host, "iam", &format!("{body}&Version=2010-05-08"));
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let mut request = agent.post(&self.api);
        for (name, value) in call.headers.iter().filter(|(name, _)| name != "host") {
            request = request.header(name, value);
        }
        let mut answer = request.send(&call.body).expect("an answer");
        let text = answer.body_mut().read_to_string().expect("text");
        if answer.status() == 200 { Ok(text) } else { Err(answer.status().as_u16()) }
    }

    pub fn metric(&self, name: &str) -> f64 {
        let (_, text) = common::get(&format!("{}/metrics", self.rpc));
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0.0)
    }

    pub fn workers(&self, token: &str, state: &str) -> f64 {
        self.metric(&format!("rederive_hsm_workers{{token=\"{token}\",state=\"{state}\"}}"))
    }

    /// The processes of a token's workers.
    pub fn worker_ids(&self, token: &str) -> Vec<u32> {
        let named = format!("\"name\":\"{token}\"");
        let command = |id: &u32| std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let is_of_it = |id: &u32| String::from_utf8_lossy(&command(id)).contains(&named);
        common::children(self.process.id()).into_iter().filter(is_of_it).collect()
    }

    /// Open descriptors and threads. The descriptors of a process that is not dumpable are told to root alone.
    pub fn holds(&self) -> (usize, usize) {
        if !rustix::process::getuid().is_root() {
            println!("SKIPPED, the open descriptors: only root may count them");
        }
        let count =
            |what: &str| std::fs::read_dir(format!("/proc/{}/{what}", self.process.id())).map_or(0, Iterator::count);
        (count("fd"), count("task"))
    }

    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().is_ok_and(|ended| ended.is_none())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        common::kill(self.process.id(), "KILL");
        let _ = self.process.wait();
    }
}

pub fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().rev().take(20).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
}
