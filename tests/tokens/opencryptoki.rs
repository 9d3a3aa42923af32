//! opencryptoki's soft token: Debian's packages, unpacked by the Makefile and never installed. Its daemon, its group and its one store for
//! the whole machine are in namespaces of their own, so that a test neither needs them nor leaves anything (`opencryptoki.sh`).

use std::path::Path;
use std::process::{Command, Output};

use rederive_shim::MODULE;

/// Four to eight characters, says the token.
const PIN: &str = "01234567";
/// Set by the script: where the module is.
const INSIDE: &str = "OPENCRYPTOKI_MODULE";
/// The only token.
pub const NAME: &str = "a";

/// What version 3.8 does not know.
pub const CANNOT_TELL: &[&str] = &["CKA_ALLOWED_MECHANISMS", "CKA_COPYABLE", "CKA_DESTROYABLE"];

/// Whether this process is beside the daemon; if it is not, the test runs itself there, and it has to pass. Where namespaces are not
/// allowed, as in many containers, nothing can be said of this module, and that is what is said.
pub fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-opencryptoki");
    assert!(root.join("ready").exists(), "{} is missing: 'make test-tools' unpacks it", root.display());
    let allowed =
        in_namespaces().args(["mount", "-t", "tmpfs", "tmpfs", "/run"]).output().expect("unshare is installed");
    if !allowed.status.success() {
        eprintln!("NOT RUN: {test}: this machine allows no namespaces of one's own: {}", said(&allowed));
        return false;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tokens/opencryptoki.sh");
    let mut again = in_namespaces();
    again.arg("sh").arg(script).arg(&root).args([PIN, NAME]).arg(std::env::current_exe().expect("a path"));
    let ran = again.args(["--exact", test, "--nocapture"]).output().expect("unshare is installed");
    assert!(passed(&ran), "opencryptoki, in namespaces of its own: {}", said(&ran));
    false
}

/// Runs what follows in namespaces of its own, as their root.
fn in_namespaces() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    if !rustix::process::getuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
}

fn passed(ran: &Output) -> bool {
    ran.status.success() && said(ran).contains("test result: ok. 1 passed")
}

fn said(ran: &Output) -> String {
    String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr)
}

/// The token that the script has made; gives the variables by which it is found.
pub fn token(directory: &Path, name: &str) -> Vec<(String, String)> {
    assert_eq!(name, NAME, "there is one token");
    let store = directory.join(name);
    std::fs::create_dir_all(&store).expect("a directory");
    std::fs::write(store.join("pin"), format!("{PIN}\n")).expect("writable");
    let module = std::env::var(INSIDE).expect("the script has set it");
    let libraries = std::env::var("LD_LIBRARY_PATH").expect("the script has set it");
    vec![(MODULE.into(), module), ("LD_LIBRARY_PATH".into(), libraries)]
}
