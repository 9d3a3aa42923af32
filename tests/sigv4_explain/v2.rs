//! Signature V2: evaluated, and marked as refused by default.

use base64::prelude::*;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rederive::explain::{Decision, ExplainOptions, Explanation, explain};

/// A request of Signature V2 out of the documentation, with some text in it replaced.
fn explain_v2(changes: &[(&str, &str)]) -> Explanation {
    let mut request = "GET /photos/puppy.jpg HTTP/1.1\r\nHost: awsexamplebucket1.us-west-1.s3.amazonaws.com\r\n\
        Date: Tue, 27 Mar 2007 19:36:42 +0000\r\n\
        Authorization: AWS AKIAIOSFODNN7EXAMPLE:qgk2+6Sv9/oM7G3qLEjTH1a1l1g=\r\n\r\n"
        .to_owned();
    for (from, to) in changes {
        assert!(request.contains(from), "{from}");
        request = request.replace(from, to);
    }
    let secret = Some(&b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"[..]);
    explain(request.as_bytes(), &ExplainOptions { secret, at: 1_175_024_202, ..ExplainOptions::default() })
}

#[test]
fn v2_is_evaluated_and_marked() {
    let explanation = explain_v2(&[]);
    assert_eq!((explanation.decision, explanation.refused_by_default), (Decision::Accept, true));
    let json = serde_json::to_value(&explanation).expect("JSON");
    assert_eq!(json["refused_by_default"], true);
}

#[test]
fn v2_requests_that_were_changed_are_refused() {
    for (change, deviation) in [
        (("puppy.jpg", "puppy.jpg?acl"), Some("resource=without:acl")),
        (("puppy.jpg", "puppy.jpg?policy"), Some("resource=without:policy")),
        (("puppy.jpg", "puppy.jpg?x-amz-acl=public-read"), Some("header=without:x-amz-acl")),
        (("Date:", "x-amz-copy-source: /a/b\r\nDate:"), Some("header=without:x-amz-copy-source")),
        (("GET", "DELETE"), Some("method=GET")),
        (("/photos", "//photos"), None),
        (("19:36", "19:37"), None),
        (("19:36", "20:36"), None),
        (("qgk2", "qgk3"), None),
        (("Date:", "Date: Tue, 27 Mar 2007 19:36:42 +0000\r\nDate:"), Some("header=repeated:date")),
        (("puppy.jpg", "puppy.jpg?AWSAccessKeyId=a&Signature=b&Expires=1"), Some("credentials=several")),
    ] {
        let explanation = explain_v2(&[change]);
        assert_eq!(explanation.decision, Decision::Refuse, "{change:?}: {explanation:?}");
        let named = explanation.deviations.first().map(|deviation| &*deviation.name);
        assert_eq!(named, deviation, "{change:?}: {explanation:?}");
    }
}

/// A request of which this was signed as its resource.
fn explain_resource(target: &str, resource: &str) -> Explanation {
    const DATE: &str = "Tue, 27 Mar 2007 19:36:42 +0000";
    let secret = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(secret).expect("a key");
    mac.update(format!("PUT\n\n\n{DATE}\n{resource}").as_bytes());
    let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    let request = format!(
        "PUT {target} HTTP/1.1\r\nHost: s3.example\r\nDate: {DATE}\r\nAuthorization: AWS AKIAIOSFODNN7EXAMPLE:{signature}\r\n\r\n"
    );
    explain(
        request.as_bytes(),
        &ExplainOptions { secret: Some(secret), at: 1_175_024_202, ..ExplainOptions::default() },
    )
}

#[test]
fn v2_values_of_sub_resources_are_decoded() {
    let target = "/b/k?uploadId=VX%2B+/I%3D%3D&partNumber=1&x=%20";
    let accepted = explain_resource(target, "/b/k?partNumber=1&uploadId=VX+ /I==");
    assert_eq!(accepted.decision, Decision::Accept, "{accepted:?}");
    for (resource, names) in [
        ("/b/k?partNumber=1&uploadId=VX%2B+/I%3D%3D", &["resource=as-sent"][..]),
        ("/b/k?uploadId=VX+ /I==", &["resource=without:partNumber"]),
        ("/b/k?partNumber=1&uploadId=VX+ /I==&x= ", &["resource=with:x"]),
        ("/b/k?partNumber=1&uploadId=VX++/I==", &["resource=literal-plus"]),
        ("/b/k?uploadId=VX+ /I==&partNumber=1", &["resource=unsorted"]),
        ("/b/k?uploadId=VX%2B+/I%3D%3D&partNumber=1", &["resource=unsorted", "resource=as-sent"]),
        ("/b/k?partNumber=1&uploadId=VX+ /I==&y=2", &[]),
        ("/b/k?partNumber=1&uploadId=VX", &[]),
    ] {
        let explanation = explain_resource(target, resource);
        assert_eq!(explanation.decision, Decision::Refuse, "{resource}: {explanation:?}");
        let named: Vec<_> = explanation.deviations.iter().map(|deviation| &*deviation.name).collect();
        assert_eq!(named, names, "{resource}");
    }
}

#[test]
fn v2_paths_that_are_written_otherwise_are_named() {
    for (resource, names) in [
        ("/b/k;v=1/a%20b;c", &[][..]),
        ("/b/k;v=1/a%20b", &["path=cut-at-semicolon"]),
        ("/b/k;v=1/a b;c", &["path=decoded"]),
        ("/b/k", &[]),
    ] {
        let explanation = explain_resource("/b/k;v=1/a%20b;c", resource);
        let named: Vec<_> = explanation.deviations.iter().map(|deviation| &*deviation.name).collect();
        assert_eq!(named, names, "{resource}");
    }
}

#[test]
fn v2_lines_that_are_written_otherwise_are_named() {
    const DATE: &str = "Tue, 27 Mar 2007 19:36:42 +0000";
    let secret = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    let explained = |content_type: &str, date: &str, amz: &str| {
        let mut mac = Hmac::<sha1::Sha1>::new_from_slice(secret).expect("a key");
        mac.update(format!("PUT\n\n{content_type}\n{date}\n{amz}/b/k").as_bytes());
        let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
        let request = format!(
            "PUT /b/k HTTP/1.1\r\nHost: s3.example\r\nContent-Type: text/html\r\nDate: {DATE}\r\nx-amz-date: 20070327T193642Z\r\n\
             Authorization: AWS AKIAIOSFODNN7EXAMPLE:{signature}\r\n\r\n"
        );
        let secret = Some(&secret[..]);
        let options = ExplainOptions { secret, at: 1_175_024_202, ..ExplainOptions::default() };
        let explanation = explain(request.as_bytes(), &options);
        explanation.deviations.into_iter().map(|deviation| deviation.name).collect::<Vec<_>>()
    };
    let amz = "x-amz-date:20070327T193642Z\n";
    assert!(explained("text/html", "", amz).is_empty());
    assert_eq!(explained("text/html", DATE, amz), ["date=date-header"]);
    assert_eq!(explained("text/html", "20070327T193642Z", ""), ["date=amz-date"]);
    assert_eq!(explained("text/html", DATE, ""), ["header=without:x-amz-date"]);
    assert_eq!(explained("application/octet-stream", "", amz), ["header=changed:content-type"]);
    assert_eq!(explained("", "", amz), ["header=without:content-type"]);
}
