//! The secret hunt: after issuing keys and under load, no secret that was issued is in the registry, the state directory, the
//! log at its most verbose level, or a core dump of the serving process.

mod common;

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Dev, Pair, sign};

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
    // A filter on two bytes, so that a core dump of a hundred megabytes takes seconds.
    let mut heads = vec![false; 1 << 16];
    for window in windows {
        heads[usize::from(u16::from_be_bytes([window[0], window[1]]))] = true;
    }
    bytes
        .windows(WINDOW)
        .filter(|window| heads[usize::from(u16::from_be_bytes([window[0], window[1]]))] && windows.contains(*window))
        .count()
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).expect("readable").flatten();
    let walk = |entry: std::fs::DirEntry| {
        let path = entry.path();
        if path.is_dir() { files(&path) } else { vec![path] }
    };
    entries.flat_map(walk).collect()
}

fn core_dump(process: u32, into: &Path) -> Vec<u8> {
    let output =
        Command::new("gcore").arg("-o").arg(into.join("core")).arg(process.to_string()).output().expect("gcore runs");
    let path = into.join(format!("core.{process}"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
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
    let planted = "plantedSecretAsUserAgent/0123456789+abcd";

    let stop = AtomicBool::new(false);
    let dump = std::thread::scope(|scope| {
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
        stop.store(true, Ordering::Relaxed);
        dump
    });
    assert!(dump.len() > 1 << 20, "a whole dump");
    assert_eq!(hits(&dump, &windows), 0, "secrets in a core dump of serve");
    let control = self::windows(&[planted.to_owned()]);
    assert!(hits(&dump, &control) > 0, "the control: the planted secret is found in the dump");

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
