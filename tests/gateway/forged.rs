//! Uploads in signed chunks, which none of the clients at hand makes: what was signed comes in, and nothing else does.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::clients::Site;
use super::common::sign::{self, Signed};

const KIND: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";

/// A PUT in chunks; the gateway's whole answer.
fn put(site: &Site, path: &str, length: usize, body: impl FnOnce(&Signed) -> Vec<u8>) -> String {
    let host = site.server.http.trim_start_matches("http://");
    let extra = vec![
        ("x-amz-content-sha256".to_owned(), KIND.to_owned()),
        ("x-amz-decoded-content-length".to_owned(), length.to_string()),
    ];
    let region = site.dev.ready.region.as_str();
    let signed = sign::sign(&site.key, ("PUT", path, ""), ("s3", region), host, extra, KIND, sign::now());
    let body = body(&signed);
    let lines: String = signed.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("PUT {path} HTTP/1.1\r\n{lines}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let mut stream = TcpStream::connect(host).expect("it listens");
    stream.write_all(&[head.as_bytes(), &body].concat()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn has(site: &Site, key: &str) -> bool {
    site.gateway.objects.lock().expect("no panic").buckets["chunks"].contains_key(key)
}

#[test]
fn signed_chunks() {
    let site = Site::start();
    site.gateway.objects.lock().expect("no panic").buckets.insert("chunks".to_owned(), Default::default());
    let chunks = [&[b'a'; 65_536][..], b"the rest"];
    let length = chunks.concat().len();
    let honest = |signed: &Signed| sign::in_chunks(signed, &site.key, &chunks);

    let answer = put(&site, "/chunks/honest", length, honest);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let stored = site.gateway.objects.lock().expect("no panic").buckets["chunks"]["honest"].data.clone();
    assert_eq!(stored, chunks.concat());

    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, &str, Change); 5] = [
        ("data", "SignatureDoesNotMatch", |body| body[1000] ^= 1),
        ("last", "SignatureDoesNotMatch", |body| *body.last_chunk_mut::<8>().expect("long") = *b"0000\r\n\r\n"),
        ("cut", "IncompleteBody", |body| body.truncate(65_536 + 90)),
        ("more", "MalformedTrailerError", |body| body.extend_from_slice(b"more\r\n")),
        ("plain", "IncompleteBody", |body| *body = b"10008\r\n".to_vec()),
    ];
    for (name, code, change) in changes {
        let answer = put(&site, &format!("/chunks/{name}"), length, |signed| {
            let mut body = honest(signed);
            change(&mut body);
            body
        });
        assert!(answer.contains(&format!("<Code>{code}</Code>")), "{name}: {answer}");
        assert!(!has(&site, name), "{name} is kept");
    }
    // The chunks of one upload are no good in another.
    let other = put(&site, "/chunks/other", length, |signed| honest(signed));
    assert!(other.starts_with("HTTP/1.1 200"), "{other}");
    let mut of_other = Vec::new();
    put(&site, "/chunks/first", length, |signed| {
        of_other = honest(signed);
        of_other.clone()
    });
    let answer = put(&site, "/chunks/replayed", length, |_| of_other.clone());
    assert!(answer.contains("<Code>SignatureDoesNotMatch</Code>") && !has(&site, "replayed"), "{answer}");
}
