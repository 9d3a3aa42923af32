//! The clients, each through the life of a few objects.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use super::common::{Dev, Pair};
use super::guard::Guard;
use super::s3::Gateway;
use super::server::Server;

/// A `rederive dev`, a gateway that asks it, and a key.
pub struct Site {
    pub dev: Dev,
    pub gateway: Arc<Gateway>,
    pub server: Server,
    pub key: Pair,
    pub files: tempfile::TempDir,
}

impl Site {
    pub fn start() -> Self {
        let dev = Dev::start();
        let key = dev.user("alice");
        let guard = Guard { rpc: dev.ready.rpc_endpoint.clone() };
        let gateway = Gateway { guard, objects: Mutex::default(), forms: Mutex::default() };
        let gateway = Arc::new(gateway);
        let server = Server::start(gateway.clone());
        Self { dev, gateway, server, key, files: tempfile::tempdir().expect("a directory") }
    }

    /// A client with the key and the endpoint in its environment.
    fn client(&self, program: &str, endpoint: &str) -> Command {
        let mut command = self.dev.client(program, &self.key);
        command.env("S3_ENDPOINT", endpoint).env("AWS_ENDPOINT_URL", endpoint).env("AWS_CA_BUNDLE", &self.server.ca);
        command.env("HOME", self.files.path()).current_dir(self.files.path());
        command
    }

    fn run(&self, program: &str, endpoint: &str, arguments: &[&str]) -> String {
        let output = self.client(program, endpoint).args(arguments).output();
        succeeded(&format!("{program} {}", arguments.join(" ")), output.unwrap_or_else(|e| panic!("{program}: {e}")))
    }

    fn python(&self, script: &str, endpoint: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
        self.run("python3", endpoint, &[&script.display().to_string()]);
    }

    /// The forms of x-amz-content-sha256 in which requests came so far.
    fn forms(&self) -> BTreeMap<String, usize> {
        self.gateway.forms.lock().expect("no panic").clone()
    }

    fn write(&self, name: &str, content: &[u8]) -> String {
        let path = self.files.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, content).expect("written");
        path.display().to_string()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.files.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

fn succeeded(what: &str, output: Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{what}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Names of files for clients that copy folders: a file system has no `//` and no `..`.
const FILES: [&str; 6] = ["plain.txt", "a folder/with blanks", "a+b & c", "ünï/鍵", "percent%2F %41", "~tilde (1)!"];

/// Too much for one part.
fn large() -> Vec<u8> {
    (0..9_000_000u32).map(|at| (at * 7 + at / 1000) as u8).collect()
}

#[test]
fn boto3() {
    let site = Site::start();
    site.python("s3_boto3.py", &site.server.http);
    assert!(site.forms()["hash"] > 20, "{:?}", site.forms());
    site.python("s3_boto3.py", &site.server.https);
    assert!(site.forms()["STREAMING-UNSIGNED-PAYLOAD-TRAILER"] > 10, "{:?}", site.forms());
}

#[test]
fn minio_py() {
    let site = Site::start();
    site.python("s3_minio.py", &site.server.http);
    site.python("s3_minio.py", &site.server.https);
    assert!(site.forms()["UNSIGNED-PAYLOAD"] > 0, "{:?}", site.forms());
}

#[test]
fn aws_cli() {
    let site = Site::start();
    FILES.iter().for_each(|name| drop(site.write(&format!("up/{name}"), name.as_bytes())));
    site.write("up/large file", &large());
    for endpoint in [&site.server.http, &site.server.https] {
        let aws = |arguments: &[&str]| site.run("aws", endpoint, arguments);
        aws(&["s3", "mb", "s3://cli"]);
        aws(&["s3", "sync", "up", "s3://cli/in here+"]);
        aws(&["s3", "sync", "s3://cli/in here+", "down"]);
        FILES.iter().for_each(|name| assert_eq!(site.read(&format!("down/{name}")), name.as_bytes()));
        assert_eq!(site.read("down/large file"), large());
        let listed = aws(&["s3", "ls", "--recursive", "s3://cli"]);
        FILES.iter().for_each(|name| assert!(listed.contains(name), "{name}: {listed}"));

        aws(&["s3api", "put-object", "--bucket", "cli", "--key", "two//up/../down", "--body", "up/plain.txt"]);
        aws(&["s3api", "get-object", "--bucket", "cli", "--key", "two//up/../down", "got"]);
        assert_eq!(site.read("got"), b"plain.txt");
        let url = aws(&["s3", "presign", "s3://cli/in here+/a+b & c"]);
        let ca = site.server.ca.display().to_string();
        assert_eq!(site.run("curl", endpoint, &["-sSf", "--cacert", &ca, url.trim()]), "a+b & c");
        aws(&["s3", "rb", "--force", "s3://cli"]);
        std::fs::remove_dir_all(site.files.path().join("down")).expect("it was there");
    }
    assert!(site.forms()["STREAMING-UNSIGNED-PAYLOAD-TRAILER"] > 5, "{:?}", site.forms());
}

#[test]
fn s3cmd() {
    let site = Site::start();
    FILES.iter().for_each(|name| drop(site.write(&format!("up/{name}"), name.as_bytes())));
    site.write("up/large file", &large());
    let host = site.server.http.trim_start_matches("http://");
    let config = format!(
        "[default]\naccess_key = {}\nsecret_key = {}\nbucket_location = {}\nhost_base = {host}\nhost_bucket = {host}\n\
         use_https = False\nsignature_v2 = False\nmultipart_chunk_size_mb = 5\n",
        site.key.access_key_id, site.key.secret_access_key, site.dev.ready.region
    );
    let config = site.write("s3cfg", config.as_bytes());
    let s3cmd = |arguments: &[&str]| {
        site.run("s3cmd", &site.server.http, &[&["--config", &config, "--no-progress"], arguments].concat())
    };
    s3cmd(&["mb", "s3://s3cmd"]);
    s3cmd(&["put", "--recursive", "up/", "s3://s3cmd/in here+/"]);
    let listed = s3cmd(&["ls", "--recursive", "s3://s3cmd"]);
    FILES.iter().for_each(|name| assert!(listed.contains(name), "{name}: {listed}"));
    std::fs::create_dir(site.files.path().join("down")).expect("a folder");
    s3cmd(&["get", "--recursive", "s3://s3cmd/in here+/", "down/"]);
    FILES.iter().for_each(|name| assert_eq!(site.read(&format!("down/{name}")), name.as_bytes()));
    assert_eq!(site.read("down/large file"), large());
    s3cmd(&["put", "up/plain.txt", "s3://s3cmd/two//up/../down"]);
    s3cmd(&["get", "s3://s3cmd/two//up/../down", "got"]);
    assert_eq!(site.read("got"), b"plain.txt");
    s3cmd(&["del", "--recursive", "--force", "s3://s3cmd"]);
    s3cmd(&["rb", "s3://s3cmd"]);

    // Its URLs are always of Signature V2, which is refused.
    let url = s3cmd(&["signurl", "s3://s3cmd/a", "+60"]);
    assert!(site.run("curl", &site.server.http, &["-sS", url.trim()]).contains("<Code>InvalidRequest</Code>"));
}

/// curl 7.88 does not send the header that S3 demands by itself.
const UNSIGNED: &str = "x-amz-content-sha256: UNSIGNED-PAYLOAD";

#[test]
fn curl() {
    let site = Site::start();
    let (region, http) = (&site.dev.ready.region, &site.server.http);
    let user = format!("{}:{}", site.key.access_key_id, site.key.secret_access_key);
    let provider = format!("aws:amz:{region}:s3");
    let curl = |arguments: &[&str]| {
        let signed = ["-sSf", "--path-as-is", "--aws-sigv4", &provider, "--user", &user, "-H", UNSIGNED];
        site.run("curl", http, &[&signed, arguments].concat())
    };
    let body = site.write("body", b"from curl");
    curl(&["-X", "PUT", &format!("{http}/curl")]);
    // Escaped as Signature V4 does it: curl signs a path as it is given.
    let keys = ["plain", "a%20b", "a%2Bb", "%C3%BCn%C3%AF", "a//b", "up/../down", "percent%252Fslash", "~tilde-._"];
    for key in keys {
        let url = format!("{http}/curl/{key}");
        curl(&["-T", &body, &url]);
        assert_eq!(curl(&[&url]), "from curl", "{key}");
    }
    let listed = curl(&[&format!("{http}/curl?list-type=2")]);
    for key in ["plain", "a b", "a+b", "ünï", "a//b", "up/../down", "percent%2Fslash", "~tilde-._"] {
        assert!(listed.contains(&format!("<Key>{key}</Key>")), "{key}: {listed}");
    }
    for key in keys {
        curl(&["-X", "DELETE", &format!("{http}/curl/{key}")]);
    }
    assert!(site.gateway.objects.lock().expect("no panic").buckets["curl"].is_empty());
}

#[test]
#[ignore = "rclone is not everywhere: make clients"]
fn rclone() {
    let site = Site::start();
    FILES.iter().for_each(|name| drop(site.write(&format!("up/{name}"), name.as_bytes())));
    site.write("up/large file", &large());
    let region = &site.dev.ready.region;
    let config =
        format!("[s3]\ntype = s3\nprovider = Other\nenv_auth = true\nregion = {region}\nforce_path_style = true\n");
    let config = site.write("rclone.conf", config.as_bytes());
    for endpoint in [&site.server.http, &site.server.https] {
        let ca = site.server.ca.display().to_string();
        let given = ["--config", &config, "--s3-endpoint", endpoint, "--ca-cert", &ca, "--retries", "1"];
        let rclone = |arguments: &[&str]| {
            // Its SDK cannot use the variable, and fails if it is there.
            let mut command = site.client("rclone", endpoint);
            let output = command.env_remove("AWS_CA_BUNDLE").args(given).args(arguments).output();
            succeeded(&format!("rclone {}", arguments.join(" ")), output.expect("rclone runs"))
        };
        rclone(&["mkdir", "s3:rclone"]);
        rclone(&["copy", "--s3-upload-cutoff", "5M", "up", "s3:rclone/in here+"]);
        rclone(&["check", "--download", "up", "s3:rclone/in here+"]);
        let listed = rclone(&["lsf", "--recursive", "s3:rclone"]);
        FILES.iter().for_each(|name| assert!(listed.contains(name), "{name}: {listed}"));
        let url = rclone(&["link", "--expire", "1m", "s3:rclone/in here+/a+b & c"]);
        assert_eq!(site.run("curl", endpoint, &["-sSf", "--cacert", &ca, url.trim()]), "a+b & c");
        rclone(&["purge", "s3:rclone"]);
    }
}

#[test]
#[ignore = "the AWS SDK for JavaScript is not everywhere: make clients"]
fn aws_sdk_for_javascript() {
    let site = Site::start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/js/s3.js").display().to_string();
    for endpoint in [&site.server.http, &site.server.https] {
        let output = site
            .client("node", endpoint)
            .env("AWS_REGION", &site.dev.ready.region)
            .env("NODE_EXTRA_CA_CERTS", &site.server.ca)
            .arg(&script)
            .output();
        succeeded("node", output.expect("node runs"));
    }
    assert!(site.forms()["STREAMING-UNSIGNED-PAYLOAD-TRAILER"] > 1, "{:?}", site.forms());
}

#[test]
#[ignore = "the AWS SDK for Rust takes minutes to build: make clients"]
fn aws_sdk_for_rust() {
    let site = Site::start();
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/debug/s3-client").display().to_string();
    site.run(&client, &site.server.http, &[]);
}
