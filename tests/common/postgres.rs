//! A PostgreSQL server for the tests of one process: started when it is first asked for, gone when the process is.
#![allow(dead_code, reason = "each suite uses its part")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

/// Makes a cluster in a folder and runs the server until standard input ends, which it does with the process of the tests,
/// however that ends. Arguments: where the programs are, the folder, further settings. Tells each new server's process.
///
/// Text is sorted as in English: what rederive sorts must not depend on it.
const SUPERVISOR: &str = r#"
set -eu; umask 077; export LC_ALL=C
bin=$1; folder=$2; shift 2
gone() { while kill -0 "$pid" 2>/dev/null; do sleep 0.02; done; }
stop() { kill -CONT "$pid" 2>/dev/null || true; kill -QUIT "$pid" 2>/dev/null || true; gone; }
start() {
    "$bin/postgres" -D "$folder/data" -k "$folder" -c listen_addresses= -c max_connections=300 \
        -c shared_buffers=32MB "$@" >>"$folder/server.log" 2>&1 </dev/null &
    pid=$!
    until "$bin/pg_isready" -q -h "$folder"; do kill -0 "$pid" || { cat "$folder/server.log" >&2; exit 1; }; sleep 0.02; done
    echo "$pid"
}
trap 'rm -rf "$folder"' EXIT
"$bin/initdb" --no-sync --auth=trust --username=rederive --encoding=UTF8 --locale=C.UTF-8 \
    --locale-provider=icu --icu-locale=en-US --pgdata="$folder/data" >"$folder/server.log" 2>&1 ||
    { cat "$folder/server.log" >&2; exit 1; }
start "$@"
while read -r command; do
    case $command in
        stop) stop; echo stopped ;;
        start) start "$@" ;;
    esac
done
stop
"#;

/// What makes a server quicker and its disk worthless: for tests that never kill the machine.
const QUICK: [&str; 4] = ["-c", "fsync=off", "-c", "full_page_writes=off"];

/// A running server.
pub struct Server {
    folder: PathBuf,
    port: u16,
    supervisor: Mutex<Supervisor>,
    databases: AtomicU32,
}

struct Supervisor {
    process: Child,
    /// `None` once it was told to end.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    server: u32,
}

/// The one that the tests of this process share.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(&QUICK))
}

/// The URL of a new, empty database on it.
pub fn database() -> String {
    server().database()
}

/// Runs statements on a database.
pub fn sql(url: &str, statements: &str) {
    let output = Command::new(programs().join("psql"))
        .args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--command", statements, url])
        .output()
        .expect("psql runs");
    assert!(output.status.success(), "{statements}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Server {
    /// One of its own, which keeps what it acknowledged.
    pub fn durable() -> Self {
        Self::start(&[])
    }

    /// One that listens at 127.0.0.1, with a certificate and its key in PEM.
    pub fn with_tls(certificate: &str, key: &str) -> Self {
        let settings =
            "-c listen_addresses=127.0.0.1 -c ssl=on -c ssl_cert_file=../server.pem -c ssl_key_file=../server.key";
        let settings: Vec<_> = settings.split(' ').chain(QUICK).collect();
        let files = [("server.pem", certificate), ("server.key", key)];
        // It cannot be told to find a port by itself, and somebody else may take the one that was free.
        let free = || std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port();
        (0..10).find_map(|_| Self::try_to_start(&settings, &files, free())).expect("it starts")
    }

    /// Where it listens, if it does.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn start(settings: &[&str]) -> Self {
        // Of a socket in a folder of its own, the port is a part of the name.
        Self::try_to_start(settings, &[], 5432).expect("it starts")
    }

    fn try_to_start(settings: &[&str], files: &[(&str, &str)], port: u16) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("rederive-postgres").tempdir().expect("a folder").keep();
        for (name, text) in files {
            let file =
                std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(folder.join(name));
            file.and_then(|mut file| file.write_all(text.as_bytes())).expect("writable");
        }
        let user = if rustix::process::getuid().is_root() { Some("postgres") } else { None };
        let mut command = match user {
            None => Command::new("sh"),
            // The server refuses to run as root.
            Some(user) => {
                let given = Command::new("chown").args(["-R", user]).arg(&folder).status().expect("chown runs");
                assert!(given.success(), "there is a user {user}");
                let mut command = Command::new("setpriv");
                command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups", "sh"]);
                command
            }
        };
        let mut process = command
            .args(["-c", SUPERVISOR, "sh"])
            .args([&programs(), &folder])
            .args(settings)
            .current_dir(&folder)
            .env("PGPORT", port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell runs");
        let (commands, answers) = (process.stdin.take(), BufReader::new(process.stdout.take().expect("piped")));
        let mut supervisor = Supervisor { process, commands, answers, server: 0 };
        supervisor.server = supervisor.answer().parse().ok()?;
        Some(Self { folder, port, supervisor: Mutex::new(supervisor), databases: AtomicU32::new(0) })
    }

    /// The URL of a new, empty database.
    pub fn database(&self) -> String {
        let _alone = self.supervisor.lock().expect("no panic");
        let name = format!("registry{}", self.databases.fetch_add(1, Ordering::Relaxed));
        sql(&self.url("postgres"), &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// Ends it at once, as when the machine goes.
    pub fn stop(&self) {
        assert_eq!(self.supervisor.lock().expect("no panic").ask("stop"), "stopped");
    }

    /// Starts it again.
    pub fn start_again(&self) {
        let mut supervisor = self.supervisor.lock().expect("no panic");
        supervisor.server = supervisor.ask("start").parse().expect("a server");
    }

    /// Stops every process of it where it is, and says nothing to anybody.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets them go on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let server = self.supervisor.lock().expect("no panic").server;
        // The server first: it makes no further ones then.
        for process in std::iter::once(server).chain(children(server)) {
            let _ =
                Command::new("kill").args([&format!("-{signal}"), &process.to_string()]).stderr(Stdio::null()).status();
        }
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://rederive@localhost:{}/{database}?host={}", self.port, self.folder.display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let supervisor = self.supervisor.get_mut().expect("no panic");
        drop(supervisor.commands.take());
        let _ = supervisor.process.wait();
    }
}

impl Supervisor {
    fn ask(&mut self, command: &str) -> String {
        writeln!(self.commands.as_ref().expect("it runs"), "{command}").expect("it listens");
        self.answer()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("a line");
        line.trim().to_owned()
    }
}

/// The processes that a process has made.
fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("readable").flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |process: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // Behind the name, which may hold anything: state and parent.
        stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)) == Some(&parent.to_string())
    };
    numbers.filter(is_child).collect()
}

/// Where the server's programs are: Debian keeps them beside the path, a folder for each version.
fn programs() -> PathBuf {
    let on_path = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect::<Vec<_>>();
    let mut versions: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    versions.sort();
    let mut places = versions.into_iter().rev().chain(on_path);
    places.find(|place| place.join("initdb").exists()).expect("PostgreSQL is installed: 'make test-tools' does that")
}
