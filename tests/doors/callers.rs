//! Who may ask: bearer tokens and client certificates, and what each is granted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rederive::http::server_config;
use rederive::rpc::Callers;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::support::{Answer, Served, ask, ask_over, config, file, rpc};

const ONE: &str = "token-one-0123456789-0123456789-01";
const TWO: &str = "token-two-0123456789-0123456789-02";
const THREE: &str = "token-three-0123456789-0123456789-03";

fn caller(name: &str, key: &str, value: &str, services: &str, regions: &str) -> String {
    format!("[[caller]]\nname = \"{name}\"\n{key} = \"{value}\"\nservices = [{services}]\nregions = [{regions}]\n")
}

fn call(service: &str, region: Option<&str>) -> String {
    let expect = json!({"service": service, "region": region});
    json!({"method": "GET", "target": "/", "headers": [], "expect": expect}).to_string()
}

#[tokio::test]
async fn tokens_open_what_they_are_granted() {
    let one = file("one.token", &format!("{ONE}\n"));
    let two = file("two.token", TWO);
    let three = file("three.token", THREE);
    let lines = [
        "[verify]\nservices = [\"s3\", \"sqs\"]\nregions = [\"eu-1\", \"eu-2\"]\n",
        &caller("one", "token_file", &one.display().to_string(), "\"s3\"", "\"eu-1\""),
        &caller("two", "token_file", &two.display().to_string(), "\"*\"", "\"*\""),
        &caller("three", "token_file", &three.display().to_string(), "\"*\"", "\"us-1\""),
    ];
    let (served, authority) = rpc(&config(&lines.concat())).await;
    let bearer = |token: &str| format!("\nauthorization: Bearer {token}");
    let both = bearer(ONE) + &bearer(TWO);
    #[rustfmt::skip]
    let rows = [
        // Authorization, service, region, status, caller or `at`
        (String::new(), "s3", None, 401, ""),
        (bearer(""), "s3", None, 401, ""),
        (bearer("token-one-0123456789-0123456789-00"), "s3", None, 401, ""),
        (bearer(&ONE[..33]), "s3", None, 401, ""),
        (format!("\nauthorization: Basic {ONE}"), "s3", None, 401, ""),
        (format!("\nauthorization: {ONE}"), "s3", None, 401, ""),
        (both, "s3", None, 401, ""),
        (bearer(ONE), "s3", None, 200, "one"),
        (format!("\nauthorization: bearer {ONE}"), "s3", Some("eu-1"), 200, "one"),
        (bearer(ONE), "sqs", None, 403, "expect.service"),
        (bearer(ONE), "s3", Some("eu-2"), 403, "expect.region"),
        (bearer(TWO), "sqs", Some("eu-2"), 200, "two"),
        // Granted to the caller, but not served by the node.
        (bearer(TWO), "sts", None, 403, "expect.service"),
        (bearer(TWO), "s3", Some("eu-3"), 403, "expect.region"),
        // None of its regions is one of the node's.
        (bearer(THREE), "s3", None, 403, "expect.region"),
    ];
    for (authorization, service, region, status, told) in rows {
        let asked = authority.times();
        let head = format!("POST /v1/verify{authorization}");
        let answer = ask(served.address, &head, call(service, region)).await;
        assert_eq!(answer.status, status, "{head} {service} {region:?} {}", answer.text());
        match status {
            200 => assert_eq!(authority.last().caller, told),
            403 => assert_eq!((&answer.json()["error"], &answer.json()["at"]), (&json!("not_granted"), &json!(told))),
            _ => assert_eq!((answer.header("www-authenticate"), &answer.json()["at"]), ("Bearer", &Value::Null)),
        }
        assert_eq!(authority.times() - asked, usize::from(status == 200));
    }
    for (request, status) in [
        ("GET /healthz".to_owned(), 200),
        ("GET /readyz".to_owned(), 200),
        ("GET /metrics".to_owned(), 401),
        (format!("GET /metrics{}", bearer(ONE)), 200),
    ] {
        assert_eq!(ask(served.address, &request, "").await.status, status, "{request}");
    }
}

#[tokio::test]
async fn callers_that_cannot_be_set_up_are_named() {
    let good = file("good.token", ONE).display().to_string();
    let short = file("short.token", "0123456789").display().to_string();
    let lines = file("lines.token", &format!("{ONE}\n{TWO}\n")).display().to_string();
    let any = |name: &str, path: &str| caller(name, "token_file", path, "\"*\"", "\"*\"");
    let tls = "[rpc]\ntls_cert = \"c\"\ntls_key = \"k\"\nclient_ca = \"ca\"\n";
    for (callers, expected) in [
        (any("a", "no/such.token"), "[[caller]] a token_file: cannot read no/such.token"),
        (any("a", &short), "does not hold one line of at least 32"),
        (any("a", &lines), "does not hold one line of at least 32"),
        (any("a", &good) + &any("b", &good), "[[caller]] b token_file: holds the token of another caller"),
        (tls.to_owned() + &caller("a", "mtls_san", "not a name", "\"*\"", "\"*\""), "`not a name` is neither"),
    ] {
        let error = Callers::new(&config(&callers)).expect_err("refused").to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains(ONE), "{error}");
    }
    assert!(Callers::new(&config(&any("a", &good))).is_ok());
}

/// Certificates made for these tests, as files.
struct Authority {
    name: &'static str,
    issuer: Issuer<'static, KeyPair>,
    pem: PathBuf,
}

impl Authority {
    fn new(name: &'static str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed");
        let pem = file(&format!("{name}.ca.pem"), &certificate.pem());
        Self { name, issuer: Issuer::new(params, key), pem }
    }

    /// Certificate and key for names.
    fn issue(&self, names: &[&str]) -> (PathBuf, PathBuf) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let stem = format!("{}.{}", self.name, names.join(".").replace('*', "any"));
        let params = CertificateParams::new(names).expect("good names");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        (file(&format!("{stem}.pem"), &certificate.pem()), file(&format!("{stem}.key"), &key.serialize_pem()))
    }
}

/// A TLS connection to the door, with a client certificate or without.
async fn connect(
    served: &Served,
    ca: &Path,
    client: Option<&(PathBuf, PathBuf)>,
    protocol: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let certificate = |path: &Path| CertificateDer::from_pem_file(path).expect("PEM");
    let mut roots = RootCertStore::empty();
    roots.add(certificate(ca)).expect("a CA");
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("ring");
    let builder = builder.with_root_certificates(roots);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let key = PrivateKeyDer::from_pem_file(key).expect("PEM");
            builder.with_client_auth_cert(vec![certificate(cert)], key).expect("a pair")
        }
    };
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = TcpStream::connect(served.address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

async fn verify(served: &Served, ca: &Path, client: Option<&(PathBuf, PathBuf)>, more: &str) -> Option<Answer> {
    let stream = connect(served, ca, client, "http/1.1").await.ok()?;
    ask_over(stream, &format!("POST /v1/verify{more}"), call("s3", None)).await.ok()
}

#[tokio::test]
async fn certificates_open_what_they_are_granted() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let (cert, key) = ours.issue(&["localhost"]);
    let token = file("beside.token", TWO);
    let lines = [
        format!("[rpc]\ntls_cert = \"{}\"\ntls_key = \"{}\"\n", cert.display(), key.display()),
        format!("client_ca = \"{}\"\n", ours.pem.display()),
        caller("one", "mtls_san", "one.internal", "\"*\"", "\"*\""),
        caller("two", "mtls_san", "two.internal", "\"*\"", "\"*\""),
        caller("address", "mtls_san", "10.0.0.7", "\"*\"", "\"*\""),
        caller("limited", "mtls_san", "limited.internal", "\"sqs\"", "\"*\""),
        caller("beside", "token_file", &token.display().to_string(), "\"*\"", "\"*\""),
    ];
    let (served, authority) = rpc(&config(&lines.concat())).await;
    for (names, status, expected) in [
        (["one.internal"].as_slice(), 200, "one"),
        (&["elsewhere.internal", "two.internal"], 200, "two"),
        (&["10.0.0.7"], 200, "address"),
        (&["limited.internal"], 403, "not_granted"),
        (&["three.internal"], 401, "unauthenticated"),
        // Which caller's grants are meant would be a guess.
        (&["*.internal"], 401, "unauthenticated"),
        (&["one.internal", "two.internal"], 401, "unauthenticated"),
    ] {
        let answer = verify(&served, &ours.pem, Some(&ours.issue(names)), "").await.expect("answered");
        assert_eq!(answer.status, status, "{names:?} {}", answer.text());
        if status == 200 {
            assert_eq!(authority.last().caller, expected);
        } else {
            assert_eq!(answer.json()["error"], expected);
        }
    }
    // No certificate: a token will do, and nothing else will.
    let bearer = format!("\nauthorization: Bearer {TWO}");
    assert_eq!(verify(&served, &ours.pem, None, "").await.expect("answered").status, 401);
    assert_eq!(verify(&served, &ours.pem, None, &bearer).await.expect("answered").status, 200);
    assert_eq!(authority.last().caller, "beside");
    // A wrong token is not made good by a certificate.
    let one = ours.issue(&["one.internal"]);
    let wrong = verify(&served, &ours.pem, Some(&one), &bearer.replace("two", "too")).await.expect("answered");
    assert_eq!(wrong.status, 401);
    // The right name, signed by somebody else, and plain HTTP: no answer at all.
    assert!(verify(&served, &ours.pem, Some(&other.issue(&["one.internal"])), "").await.is_none());
    let plain = TcpStream::connect(served.address).await.expect("it listens");
    assert!(ask_over(plain, "GET /healthz", "").await.is_err());
}

#[tokio::test]
async fn http_2_is_negotiated() {
    let ours = Authority::new("h2");
    let (cert, key) = ours.issue(&["localhost"]);
    let lines = format!("[rpc]\ntls_cert = \"{}\"\ntls_key = \"{}\"\n", cert.display(), key.display());
    let (served, _) = rpc(&config(&lines)).await;
    for protocol in ["h2", "http/1.1"] {
        let stream = connect(&served, &ours.pem, None, protocol).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
    }
}

#[test]
fn tls_files_that_cannot_be_used_are_named() {
    let ours = Authority::new("files");
    let ((cert, key), (_, other_key)) = (ours.issue(&["localhost"]), ours.issue(&["elsewhere"]));
    let missing = PathBuf::from("no/such.pem");
    let empty = file("files.empty.pem", "");
    for (cert, key, client_ca, expected) in [
        (&missing, &key, None, "no/such.pem: cannot read the certificate"),
        (&cert, &missing, None, "no/such.pem: cannot read the private key"),
        (&empty, &key, None, "holds no certificate in PEM"),
        (&cert, &cert, None, "holds no private key in PEM"),
        (&cert, &other_key, None, "cannot be used"),
        (&cert, &key, Some(&empty), "files.empty.pem: holds no certificate"),
    ] {
        let error = server_config(cert, key, client_ca.map(PathBuf::as_path)).expect_err("refused").to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(server_config(&cert, &key, Some(&ours.pem)).is_ok());
}

#[tokio::test]
async fn signing_keys_are_granted_apart_and_never_those_of_iam_and_sts() {
    let (one, two) = (file("key-one.token", ONE), file("key-two.token", TWO));
    let granted =
        caller("one", "token_file", &one.display().to_string(), "\"*\"", "\"*\"") + "want_signing_key = true\n";
    let plain = caller("two", "token_file", &two.display().to_string(), "\"*\"", "\"*\"");
    let (served, authority) = rpc(&config(&(granted + &plain))).await;
    for (token, service, wants, is_given) in [
        (ONE, "s3", true, Some(true)),
        (ONE, "s3", false, Some(false)),
        (ONE, "iam", false, Some(false)),
        (ONE, "iam", true, None),
        (ONE, "sts", true, None),
        (TWO, "s3", false, Some(false)),
        (TWO, "s3", true, None),
        (TWO, "iam", true, None),
    ] {
        let mut call: Value = serde_json::from_str(&call(service, None)).expect("JSON");
        call["want_signing_key"] = wants.into();
        let asked = authority.times();
        let head = format!("POST /v1/verify\nauthorization: Bearer {token}");
        let answer = ask(served.address, &head, call.to_string()).await;
        match is_given {
            Some(given) => assert_eq!((answer.status, answer.json()["signing_key"].is_string()), (200, given)),
            None => {
                let (error, at) = (&answer.json()["error"], &answer.json()["at"]);
                assert_eq!((answer.status, error, at), (403, &json!("not_granted"), &json!("want_signing_key")));
                assert_eq!(authority.times(), asked, "it is not even decided");
            }
        }
    }
}

#[tokio::test]
async fn refusals_are_explained_to_whom_it_is_granted() {
    let (one, two) = (file("why-one.token", ONE), file("why-two.token", TWO));
    let granted = caller("one", "token_file", &one.display().to_string(), "\"*\"", "\"*\"") + "explain = true\n";
    let plain = caller("two", "token_file", &two.display().to_string(), "\"*\"", "\"*\"");
    let (served, authority) = rpc(&config(&(granted + &plain))).await;
    for (token, explain, status, deviations) in [
        (ONE, true, 200, json!([{"name": "query=unsorted", "message": "matches if", "same_as": ["query=raw"]}])),
        (ONE, false, 200, Value::Null),
        (TWO, false, 200, Value::Null),
        (TWO, true, 403, Value::Null),
    ] {
        let mut call: Value = serde_json::from_str(&call("refuse", None)).expect("JSON");
        call["explain"] = explain.into();
        let asked = authority.times();
        let head = format!("POST /v1/verify\nauthorization: Bearer {token}");
        let answer = ask(served.address, &head, call.to_string()).await;
        assert_eq!((answer.status, &answer.json()["deviations"]), (status, &deviations), "{explain}");
        if status == 403 {
            assert_eq!((&answer.json()["error"], &answer.json()["at"]), (&json!("not_granted"), &json!("explain")));
            assert_eq!(authority.times(), asked, "it is not even decided");
        }
    }
}
