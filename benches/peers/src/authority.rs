//! An authority as `rederive serve` has it, with a token, a registry and a worker of its own.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rederive::authority::{Authority, Content};
use rederive::config::Config;
use rederive::sigv4::{Body, Expectation, HeadPlace, Limits, Regions};
use rederive::site::Site;
use tokio::runtime::Runtime;

use crate::{Pair, REGION};

/// The authority, and a key that it has issued.
pub struct Running {
    authority: Arc<Authority>,
    runtime: Runtime,
    pub pair: Pair,
}

impl Running {
    /// `program` is a `rederive`: its `dev` makes all that is needed in the directory, and its `worker` asks the token.
    pub fn start(program: &Path, state: &Path) -> Self {
        let pair = prepare(program, state);
        let config = Config::load(&state.join("rederive.toml")).expect("a configuration");
        let runtime = Runtime::new().expect("a runtime");
        let authority = runtime.block_on(async {
            let site = Site { program: program.to_owned(), ..Site::new(config) };
            let (authority, _supervisor) = site.authority().await.expect("an authority");
            authority.hsm().settled().await;
            authority.ask_for_tag_keys().await;
            authority
        });
        Self { authority, runtime, pair }
    }

    /// All steps of a verification, with whatever the HSM is needed for.
    pub fn accepts(&self, request: &[u8]) -> bool {
        let mut place = HeadPlace::default();
        let (head, _) = place.parse(request, &Limits::default()).expect("a request");
        self.runtime.block_on(self.authority.verify(head, Content::Body(Body::Absent), &expectation())).is_ok()
    }

    /// From head bytes to `Accepted`, the key at hand: the clock, the tag, the deny list and the caches included.
    pub fn accepts_at_hand(&self, request: &[u8]) -> bool {
        let mut place = HeadPlace::default();
        let (head, _) = place.parse(request, &Limits::default()).expect("a request");
        self.authority.verify_at_hand(head, Body::Absent, &expectation()).is_some()
    }
}

fn expectation() -> Expectation<'static> {
    Expectation { service: "s3", regions: Regions::Named(REGION) }
}

/// Lets `rederive dev` make a token, a registry and a key, and end.
fn prepare(program: &Path, state: &Path) -> Pair {
    let mut dev = Command::new(program)
        .args(["dev", "--json", "--listen", "127.0.0.1:0", "--rpc-listen", "127.0.0.1:0", "--state"])
        .arg(state)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("rederive starts");
    let mut line = String::new();
    BufReader::new(dev.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    let _ = Command::new("kill").args(["-TERM", &dev.id().to_string()]).status();
    dev.wait().expect("it ends");
    let ready: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let text = |name: &str| ready[name].as_str().expect("text").to_owned();
    Pair { id: text("access_key_id"), secret: text("secret_access_key") }
}
