//! Signature V2: evaluated, and marked as refused by default.

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
