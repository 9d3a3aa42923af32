//! The Host that a client may have signed.

use super::given::{Given, first_segment};
use super::variants::{Part, Step};
use crate::sigv2::bucket_of_host;
use crate::sigv4::CredentialScope;

/// Headers in which gateways hand on the host that they received.
pub(super) const FORWARDED: [&str; 5] =
    ["x-forwarded-host", "x-original-host", "x-host", "x-forwarded-server", ":authority"];

/// Ports that S3-like servers and gateways listen on.
const PORTS: [&str; 13] =
    ["80", "443", "8080", "8443", "9000", "7480", "8333", "3900", "8000", "8888", "9020", "9021", "4566"];

/// All forms of the value of Host; `None` where it is not signed.
pub(super) fn part(given: &Given<'_, '_>, scope: Option<&CredentialScope<'_>>) -> Option<Part> {
    if !given.is_signed(b"host") {
        return None;
    }
    let host = given.header("host").unwrap_or_default();
    let mut part = Part::with_base(host);
    let bare = without_port(host);
    part.add(bare, vec![step("without-port", bare, "the signer left the port out, or it was added on the way")]);
    for port in given.header("x-forwarded-port").into_iter().chain(PORTS.map(str::as_bytes)) {
        let with_port = [bare, b":", port].concat();
        let step = step("with-port", &with_port, "the port was dropped or changed on the way");
        part.add(with_port, vec![step]);
    }
    if let Some(port) = port_of(host) {
        let twice = [host, b":", port].concat();
        part.add(
            &twice[..],
            vec![step("port-twice", &twice, "the signer put the port there twice, as boto 2 does in URLs")],
        );
    }
    for name in named(given) {
        rewritten(&mut part, &name);
    }
    part.add(bare.to_ascii_lowercase(), vec![step("case", &bare.to_ascii_lowercase(), "it was signed in lower case")]);
    part.add(host.to_ascii_lowercase(), vec![step("case", &host.to_ascii_lowercase(), "it was signed in lower case")]);
    for name in bucket_forms(given, host).into_iter().chain(scope.map(aws_names).unwrap_or_default()) {
        rewritten(&mut part, &name);
    }
    Some(part)
}

/// The bucket that the host names, or none. Without names of the service to compare the host with, each beginning of
/// the host may be one.
pub(super) fn buckets(host: &[u8], names: &[String]) -> Vec<Option<Vec<u8>>> {
    if !names.is_empty() {
        return vec![bucket_of_host(host, names)];
    }
    let bare = host.split(|byte| *byte == b':').next().unwrap_or_default().to_ascii_lowercase();
    let dots = memchr::memchr_iter(b'.', &bare).map(|dot| Some(bare[..dot].to_vec()));
    let is_address = bare.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') || host.starts_with(b"[");
    let in_host = dots.chain([Some(bare.clone())]).take(8).filter(|_| !is_address);
    std::iter::once(None).chain(in_host).collect()
}

/// Names that the request or the caller gives, with and without their ports.
fn named(given: &Given<'_, '_>) -> Vec<Vec<u8>> {
    let lists = FORWARDED.iter().flat_map(|name| given.values(name.as_bytes()));
    let mut names: Vec<Vec<u8>> =
        lists.flat_map(|list| list.split(|byte| *byte == b',')).map(|name| name.trim_ascii().to_vec()).collect();
    names.extend(given.values(b"forwarded").flat_map(forwarded_hosts));
    names.extend(given.authority().map(<[u8]>::to_vec));
    names.extend(given.hosts.iter().map(|name| name.clone().into_bytes()));
    let port = port_of(given.header("host").unwrap_or_default());
    let other_ports: Vec<_> = names
        .iter()
        .flat_map(|name| {
            let bare = without_port(name);
            let ports = [given.header("x-forwarded-port"), port].into_iter().flatten();
            ports.map(move |port| [bare, b":", port].concat()).chain([bare.to_vec()]).collect::<Vec<_>>()
        })
        .collect();
    names.into_iter().chain(other_ports).filter(|name| !name.is_empty()).collect()
}

/// `host=` of a Forwarded header (RFC 7239).
fn forwarded_hosts(value: &[u8]) -> Vec<Vec<u8>> {
    let pairs = value.split(|byte| matches!(byte, b',' | b';')).map(<[u8]>::trim_ascii);
    let host = |pair: &[u8]| {
        let (name, value) = pair.split_at_checked(5)?;
        let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
        name.eq_ignore_ascii_case(b"host=").then(|| value.to_vec())
    };
    pairs.filter_map(host).collect()
}

/// The bucket in the host instead of the path, and the other way round.
fn bucket_forms(given: &Given<'_, '_>, host: &[u8]) -> Vec<Vec<u8>> {
    let (path, _) = given.path_and_query();
    let in_host = first_segment(path).map(|(bucket, _)| [bucket, b".", host].concat());
    let in_path = memchr::memchr(b'.', host).map(|dot| host[dot + 1..].to_vec());
    let given_names = given.hosts.iter();
    let bucket_of_given =
        given_names.filter_map(|name| first_segment(path).map(|(bucket, _)| [bucket, b".", name.as_bytes()].concat()));
    in_host.into_iter().chain(in_path).chain(bucket_of_given).collect()
}

/// The names under which AWS itself has this service: what a client signs that is led elsewhere by DNS or a proxy.
fn aws_names(scope: &CredentialScope<'_>) -> Vec<Vec<u8>> {
    let (service, region) = (scope.service(), scope.region());
    let names = [
        format!("{service}.amazonaws.com"),
        format!("{service}.{region}.amazonaws.com"),
        format!("{service}-{region}.amazonaws.com"),
        format!("{service}.dualstack.{region}.amazonaws.com"),
    ];
    names.into_iter().map(String::into_bytes).collect()
}

fn rewritten(part: &mut Part, name: &[u8]) {
    part.add(name, vec![step("rewritten", name, "a proxy rewrote Host")]);
}

fn step(form: &str, host: &[u8], why: &str) -> Step {
    let host = String::from_utf8_lossy(host);
    Step::new(format!("host={form}"), format!("Host were `{host}`: {why}"))
}

fn without_port(host: &[u8]) -> &[u8] {
    port_of(host).map_or(host, |port| &host[..host.len() - port.len() - 1])
}

fn port_of(host: &[u8]) -> Option<&[u8]> {
    let colon = memchr::memrchr(b':', host)?;
    let port = &host[colon + 1..];
    (!port.is_empty() && port.iter().all(u8::is_ascii_digit)).then_some(port)
}
