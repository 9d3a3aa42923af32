//! A place whose worker has a process tree of its own: `rederive hsm-worker` beside `rederive serve`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::common::{self, REDERIVE};
use crate::place::{Place, tail};

/// A place with one token, whose worker has a configuration of its own.
pub struct Split {
    pub place: Place,
}

impl Split {
    /// The worker answers for this table of rights; `serve` reaches it through its socket.
    pub fn new(rights: &str) -> Self {
        let place = Place::new(&["a"], 1);
        let directory = place.directory.path().to_owned();
        let whole = std::fs::read_to_string(place.config()).expect("readable");
        std::fs::write(directory.join("operator.toml"), &whole).expect("writable");
        let (node, token) = whole.split_once("[[token]]").expect("a token");
        let socket = directory.join("hsm.sock");
        let reach = format!("{node}[[token]]\nname = \"a\"\nsocket = {socket:?}\n");
        let split = Self { place };
        let generations = split.place.run(&["generation", "list", "--toml"]);
        std::fs::write(split.place.config(), reach).expect("writable");
        let worker = format!(
            "listen = {socket:?}\npeers = [{}]\nstate_dir = {:?}\n[token]{token}deadline_ms = 5000\n{generations}\n[rights]\n{rights}\n[log]\n\
             format = \"json\"\n",
            rustix::process::getuid().as_raw(),
            directory.join("worker-state"),
        );
        std::fs::write(split.config(), worker).expect("writable");
        split
    }

    /// The worker's.
    pub fn config(&self) -> PathBuf {
        self.path("worker.toml")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.place.directory.path().join(name)
    }

    /// Changes the worker's configuration.
    pub fn change(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.config()).expect("readable");
        assert!(text.contains(from), "no {from} in {text}");
        std::fs::write(self.config(), text.replace(from, to)).expect("writable");
    }

    /// The worker, listening.
    pub fn start(&self) -> Watchdog {
        let watchdog = self.launch();
        common::wait_until("the worker", || {
            assert!(watchdog.is_running(), "it ended: {}", tail(&watchdog.log));
            watchdog.told("the HSM worker is ready") > 0
        });
        watchdog
    }

    /// The worker, which need not start.
    pub fn launch(&self) -> Watchdog {
        let log = self.path("worker.log");
        let process = Command::new(REDERIVE)
            .args(["hsm-worker", "--config"])
            .arg(self.config())
            .stdout(Stdio::null())
            .stderr(common::new_log(&log))
            .spawn()
            .expect("rederive starts");
        Watchdog { process, log }
    }
}

/// A running `rederive hsm-worker`, killed when dropped.
pub struct Watchdog {
    pub process: Child,
    pub log: PathBuf,
}

impl Watchdog {
    /// The process of the worker, if it has one.
    pub fn worker(&self) -> Option<u32> {
        common::children(self.process.id()).into_iter().next()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// In how many lines of the log a text stands.
    pub fn told(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    /// Waits until a text stands in one more line than before.
    pub fn tells(&self, text: &str, before: usize) {
        common::wait_until(text, || self.told(text) > before);
    }

    pub fn signal(&self, signal: &str) {
        common::kill(self.process.id(), signal);
    }

    fn is_running(&self) -> bool {
        Path::new(&format!("/proc/{}/exe", self.process.id())).exists()
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.signal("TERM");
        let ended = (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            self.process.try_wait().is_ok_and(|ended| ended.is_some())
        });
        if !ended {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}
