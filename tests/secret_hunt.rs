//! The secret hunt: after issuing keys and under load, no secret that was issued is in the registry, the state directory, the
//! log at its most verbose level, a core dump of the serving process, or what root reads of its memory. Nor is a signing key that is
//! in use, where the kernel has memory for secrets. Nor has the worker kept any, whose memory is locked, not dumped, and not even its
//! own user's to read.

mod common;

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Dev, Pair, sign};
use rederive_hsm::signing_key::{ScopeDate, SigningKey};

/// Bytes of a window: shorter ones match by chance, longer ones miss torn copies.
const WINDOW: usize = 16;

/// Every window of every secret: as text, as the bytes that the text stands for, and as base64 of the text.
fn windows(secrets: &[String]) -> HashSet<[u8; WINDOW]> {
    let mut found = HashSet::new();
    let mut add = |bytes: &[u8]| {
        found.extend(bytes.windows(WINDOW).map(|window| <[u8; WINDOW]>::try_from(window).expect("its length")))
    };
    for secret in secrets {
        add(secret.as_bytes());
        if let Ok(raw) = STANDARD.decode(secret) {
            add(&raw);
        }
        for shift in 0..3 {
            let shifted = [vec![b'x'; shift], secret.as_bytes().to_vec()].concat();
            // The first and last group depend on what stands around the secret.
            let text = STANDARD.encode(shifted);
            add(&text.as_bytes()[4..text.len() - 4]);
        }
    }
    found
}

/// How many windows of `bytes` are windows of a secret.
fn hits(bytes: &[u8], windows: &HashSet<[u8; WINDOW]>) -> usize {
    // A filter on three bytes, so that hundreds of megabytes take seconds.
    let head = |window: &[u8]| usize::from(window[0]) << 16 | usize::from(window[1]) << 8 | usize::from(window[2]);
    let mut heads = vec![false; 1 << 24];
    windows.iter().for_each(|window| heads[head(window)] = true);
    // Most of it is zero, and no secret is.
    let is_empty = |page: &[u8]| page.iter().all(|byte| *byte == 0);
    let pages = (0..bytes.len()).step_by(4096).map(|at| &bytes[at..bytes.len().min(at + 4096 + WINDOW - 1)]);
    let found =
        |page: &[u8]| page.windows(WINDOW).filter(|window| heads[head(window)] && windows.contains(*window)).count();
    pages.filter(|page| !is_empty(page)).map(found).sum()
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).expect("readable").flatten();
    let walk = |entry: std::fs::DirEntry| {
        let path = entry.path();
        if path.is_dir() { files(&path) } else { vec![path] }
    };
    entries.flat_map(walk).collect()
}

/// A command as root, whom alone a process that is not dumpable lets look at it.
fn as_root(program: &str) -> Command {
    if rustix::process::getuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    command
}

fn core_dump(process: u32, into: &Path) -> Vec<u8> {
    let output =
        as_root("gcore").arg("-o").arg(into.join("core")).arg(process.to_string()).output().expect("gcore runs");
    let path = into.join(format!("core.{process}"));
    let _ = as_root("chmod").arg("a+r").arg(&path).status();
    std::fs::read(&path).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// All that root may read of a process's memory, and how many bytes were refused.
fn memory(process: u32) -> (Vec<u8>, usize) {
    let script = "import sys\nrefused = 0\nwith open(f'/proc/{sys.argv[1]}/maps') as maps, open(f'/proc/{sys.argv[1]}/mem', 'rb', 0) as mem:\n \
                  for line in maps:\n  at, to = (int(n, 16) for n in line.split()[0].split('-'))\n  if line.split()[1][0] != 'r': continue\n  \
                  try:\n   mem.seek(at)\n   left = to - at\n   while left:\n    part = mem.read(min(left, 1 << 20))\n    if not part: raise OSError\n    \
                  sys.stdout.buffer.write(part); left -= len(part)\n  except (OSError, ValueError, OverflowError):\n   \
                  refused += left if 'secretmem' in line else 0\nprint(refused, file=sys.stderr)\n";
    let output = as_root("python3").args(["-c", script]).arg(process.to_string()).output().expect("python3 runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.stdout, said.trim().parse().unwrap_or_else(|_| panic!("{said}")))
}

/// What a signing key is in memory: itself, and the two states of its HMAC, as words of this machine.
fn traces_of(key: &SigningKey) -> Vec<Vec<u8>> {
    let state = |pad: u8| {
        let mut block = [pad; 64];
        block.iter_mut().zip(key.expose()).for_each(|(byte, key)| *byte ^= key);
        let mut words = [
            0x6a09_e667_u32,
            0xbb67_ae85,
            0x3c6e_f372,
            0xa54f_f53a,
            0x510e_527f,
            0x9b05_688c,
            0x1f83_d9ab,
            0x5be0_cd19,
        ];
        sha2::block_api::compress256(&mut words, &[block]);
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    };
    vec![key.expose().to_vec(), state(0x36), state(0x5c)]
}

fn issue(dev: &Dev, count: usize) -> Vec<Pair> {
    let host = dev.ready.endpoint.trim_start_matches("http://").to_owned();
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let call = |body: &str| {
        let signed = sign::query(&dev.ready.root, &dev.ready.region, &host, "iam", body);
        let mut request = agent.post(&dev.ready.endpoint);
        for (name, value) in signed.headers.iter().filter(|(name, _)| name != "host") {
            request = request.header(name, value);
        }
        request.send(&signed.body).expect("sent").body_mut().read_to_string().expect("text")
    };
    let field = |answer: &str, name: &str| {
        let rest = answer.split(&format!("<{name}>")).nth(1).unwrap_or_else(|| panic!("no {name} in {answer}"));
        rest.split('<').next().unwrap_or_default().to_owned()
    };
    let one = |number: usize| {
        call(&format!("Action=CreateUser&Version=2010-05-08&UserName=u{number}"));
        let answer = call(&format!("Action=CreateAccessKey&Version=2010-05-08&UserName=u{number}"));
        Pair { access_key_id: field(&answer, "AccessKeyId"), secret_access_key: field(&answer, "SecretAccessKey") }
    };
    (0..count).map(one).collect()
}

#[test]
fn no_secret_is_found_anywhere_and_a_planted_one_is() {
    let dev = Dev::start();
    let pairs = issue(&dev, 300);
    let mut secrets: Vec<String> = pairs.iter().map(|pair| pair.secret_access_key.clone()).collect();
    secrets.push(dev.ready.root.secret_access_key.clone());
    let windows = windows(&secrets);
    let date = ScopeDate::of_day(sign::now().div_euclid(86_400)).expect("a day");
    let keys = pairs.iter().map(|pair| {
        SigningKey::derive_from_text(pair.secret_access_key.as_bytes(), date.digits(), &dev.ready.region, "s3")
    });
    let in_use: HashSet<[u8; WINDOW]> = keys
        .flat_map(|key| traces_of(&key))
        .flat_map(|trace| {
            trace.windows(WINDOW).map(|window| window.try_into().expect("its length")).collect::<Vec<_>>()
        })
        .collect();
    let planted = "plantedSecretAsUserAgent/0123456789+abcd";

    let stop = AtomicBool::new(false);
    let (dump, (memory, refused)) = std::thread::scope(|scope| {
        for thread in 0..2 {
            let (dev, pairs, stop) = (&dev, &pairs, &stop);
            scope.spawn(move || {
                for pair in pairs.iter().skip(thread * 150).cycle() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let call = sign::s3_get(pair, &dev.ready.region, "h", "/b/k").call();
                    assert_eq!(dev.verify(&call).1["decision"], "accept");
                }
            });
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
        // The control, while the request that carries it is being served: headers sent, body still to come.
        let mut socket =
            std::net::TcpStream::connect(dev.ready.endpoint.trim_start_matches("http://")).expect("connects");
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\nUser-Agent: {planted}\r\nContent-Length: 10\r\n\r\n12345");
        std::io::Write::write_all(&mut socket, head.as_bytes()).expect("sent");
        std::thread::sleep(std::time::Duration::from_millis(500));
        let dump = core_dump(dev.process.id(), dev.state.parent().expect("a parent"));
        let memory = memory(dev.process.id());
        stop.store(true, Ordering::Relaxed);
        (dump, memory)
    });
    assert!(dump.len() > 1 << 20, "a whole dump");
    assert_eq!(hits(&dump, &windows), 0, "secrets in a core dump of serve");
    assert_eq!(hits(&dump, &in_use), 0, "signing keys in a core dump of serve");
    let control = self::windows(&[planted.to_owned()]);
    assert!(hits(&dump, &control) > 0, "the control: the planted secret is found in the dump");

    assert!(memory.len() > 1 << 20, "all of its memory");
    assert_eq!(hits(&memory, &windows), 0, "secrets in the memory of serve");
    assert!(hits(&memory, &control) > 0, "the control: the planted secret is found in its memory");
    let of_kind = |kind: &str| dev.metric(&format!("rederive_secret_memory_bytes{{kind=\"{kind}\"}}"));
    let found = hits(&memory, &in_use);
    if of_kind("locked") + of_kind("swappable") == 0.0 {
        assert_eq!(found, 0, "signing keys where root can read them");
        assert!(
            refused >= 300 * 96,
            "the control: there are keys, in memory that not even root may read: {refused} bytes"
        );
    } else {
        assert!(found > 0, "the control: they are found where the kernel has no memory for secrets");
        println!("SKIPPED: this kernel has no memfd_secret, so root may read the signing keys in use");
    }
    if !rustix::process::getuid().is_root() {
        let opened = std::fs::File::open(format!("/proc/{}/mem", dev.process.id()));
        assert!(opened.is_err(), "its own user may not read it");
    }

    let mut in_log = 0;
    for path in files(&dev.state) {
        if path.starts_with(dev.state.join("tokens")) {
            continue;
        }
        let bytes = std::fs::read(&path).expect("readable");
        assert_eq!(hits(&bytes, &windows), 0, "a secret in {}", path.display());
        in_log += hits(&bytes, &control);
    }
    assert!(in_log > 0, "the control: the planted secret is found in the log");
    let whole = String::from_utf8_lossy(&std::fs::read(dev.state.join("log")).expect("a log")).len();
    println!("searched a dump of {} MiB and a log of {whole} bytes for {} windows", dump.len() >> 20, windows.len());
}

/// Starts `dev` as somebody who is not root, whom a process that is dumpable lets look at it.
fn start_as_somebody(directory: &Path) -> Dev {
    use std::os::unix::fs::PermissionsExt;
    if !rustix::process::getuid().is_root() {
        return Dev::start_in(&directory.join("state"));
    }
    // Where this test was built may be closed to others.
    let binary = directory.join("rederive");
    std::fs::copy(common::REDERIVE, &binary).expect("copied");
    for (path, mode) in [(directory.to_owned(), 0o755), (directory.join("state"), 0o777)] {
        std::fs::create_dir_all(&path).expect("a directory");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("settable");
    }
    // As the units say, where that is to be had.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -l unlimited 2>/dev/null; exec setpriv \"$@\"", "sh"]).args(NOBODY).arg(binary);
    Dev::start_by(command, &directory.join("state"))
}

/// A user who owns nothing, for `setpriv`.
const NOBODY: [&str; 4] = ["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"];

/// A command as that user, where root runs the tests; as who runs them otherwise.
fn as_nobody() -> Command {
    if !rustix::process::getuid().is_root() {
        return Command::new("env");
    }
    let mut command = Command::new("setpriv");
    command.args(NOBODY);
    command
}

/// Whether the files that show a process's inside are its user's: those of one that is not dumpable are root's.
fn is_dumpable(process: u32) -> bool {
    use std::os::unix::fs::MetadataExt;
    let user = std::fs::metadata(format!("/proc/{process}")).map(|process| process.uid());
    let environment = std::fs::metadata(format!("/proc/{process}/environ")).expect("there").uid();
    // The directory itself is root's too where it is not dumpable.
    environment != 0 && user.is_ok_and(|user| user == environment)
}

/// A line of a file that the kernel writes of a process.
fn line_of(process: u32, file: &str, name: &str) -> String {
    let text = String::from_utf8(as_root("cat").arg(format!("/proc/{process}/{file}")).output().expect("runs").stdout);
    let text = text.expect("text");
    let line = text.lines().find(|line| line.starts_with(name));
    line.unwrap_or_else(|| panic!("no {name} in {text}"))[name.len()..].trim().to_owned()
}

/// Kilobytes of memory of its own that a process may write to, and how many of them may be swapped out.
fn own_memory(process: u32) -> (u64, u64) {
    let smaps = as_root("cat").arg(format!("/proc/{process}/smaps")).output().expect("runs").stdout;
    let (mut all, mut swappable, mut size, mut is_own) = (0, 0, 0, false);
    for line in String::from_utf8(smaps).expect("text").lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [_, flags, _, _, inode, ..] if flags.ends_with('p') => is_own = flags.starts_with("rw") && *inode == "0",
            [_, flags, ..] if flags.len() == 4 && flags.ends_with('s') => is_own = false,
            ["Size:", kilobytes, _] => size = kilobytes.parse().expect("a number"),
            ["VmFlags:", flags @ ..] if is_own => {
                all += size;
                swappable += if flags.contains(&"lo") { 0 } else { size };
            }
            _ => {}
        }
    }
    (all, swappable)
}

#[test]
fn the_worker_is_not_dumped_and_has_kept_no_secret() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let dev = start_as_somebody(directory.path());
    let worker = dev.worker().expect("a worker");
    let mut plain = as_nobody().args(["sleep", "1000"]).spawn().expect("runs");
    common::wait_until("another program", || {
        std::fs::read_to_string(format!("/proc/{}/comm", plain.id())).is_ok_and(|name| name.trim() == "sleep")
    });
    assert!(!is_dumpable(worker) && !is_dumpable(dev.process.id()), "its user may look at it");
    assert!(is_dumpable(plain.id()), "the control: a program of the same user that has done nothing about it");
    let _ = plain.kill().and_then(|()| plain.wait());
    assert_eq!(line_of(worker, "limits", "Max core file size").split_whitespace().next(), Some("0"));

    let pairs = issue(&dev, 60);
    for pair in &pairs {
        let call = sign::s3_get(pair, &dev.ready.region, "h", "/b/k").call();
        assert_eq!(dev.verify(&call).1["decision"], "accept");
    }
    let (all, swappable) = own_memory(worker);
    assert!(all > 1000, "the control: it has memory of its own: {all} kB");
    let limit = line_of(worker, "limits", "Max locked memory");
    let limit: Option<u64> = limit.split_whitespace().next().and_then(|bytes| bytes.parse().ok());
    let locked: u64 = line_of(worker, "status", "VmLck:").trim_end_matches(" kB").parse().expect("a number");
    match limit {
        None => assert_eq!(swappable, 0, "of {all} kB of its own; {locked} kB are locked"),
        // One mapping for secrets.
        Some(bytes @ 1_000_000..) => assert!(locked >= 256, "{locked} kB are locked of {bytes} bytes that may be"),
        Some(bytes) => println!("SKIPPED: only {bytes} bytes may be locked"),
    }
    println!("{locked} kB are locked, {swappable} of {all} kB may be swapped out");
    let (of_self, swappable) = own_memory(std::process::id());
    assert!(swappable > 1000, "the control: this test's memory can be swapped: {swappable} of {of_self} kB");

    let secrets: Vec<String> = pairs.iter().map(|pair| pair.secret_access_key.clone()).collect();
    let windows = windows(&secrets);
    // Whoever looks at it stops it, and `serve` would replace one that does not answer.
    dev.signal("STOP");
    let (dump, (memory, _)) = (core_dump(worker, directory.path()), memory(worker));
    dev.signal("CONT");
    // Its command line is in its memory, and says where its token is.
    let planted = std::fs::read(format!("/proc/{worker}/cmdline")).expect("readable");
    let planted: HashSet<[u8; WINDOW]> =
        planted.windows(WINDOW).map(|window| window.try_into().expect("its length")).collect();
    for (what, bytes) in [("a core dump", dump), ("the memory", memory)] {
        assert!(hits(&bytes, &planted) > 0, "the control: {what} of the worker has what it was told");
        assert_eq!(hits(&bytes, &windows), 0, "secrets in {what} of the worker");
    }
}

/// With a limit, locking all would make allocations fail.
#[test]
fn a_worker_with_unlimited_memlock_has_all_of_its_memory_locked() {
    let unlimited = || {
        let mut command = Command::new("prlimit");
        command.arg("--memlock=unlimited:unlimited");
        command
    };
    if !unlimited().arg("true").output().is_ok_and(|output| output.status.success()) {
        println!("NOT RUN: this user may not raise RLIMIT_MEMLOCK here");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = unlimited();
    command.arg(common::REDERIVE);
    let dev = Dev::start_by(command, directory.path());
    dev.user("alice");
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", dev.worker().expect("a worker"))).expect("readable");
    let kilobytes = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a line");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
    };
    let (locked, all) = (kilobytes("VmLck:"), kilobytes("VmSize:"));
    assert!(locked * 10 > all * 9, "{locked} of {all} kB");
}
