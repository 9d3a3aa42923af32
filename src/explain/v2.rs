//! Requests of Signature V2: what they would be if it were switched on, and how they deviate.

use zeroize::Zeroizing;

use super::deviations::describe_steps;
use super::given::first_segment;
use super::headers::common_values;
use super::host::{self, FORWARDED};
use super::seals::other_secrets;
use super::variants::Step;
use super::{ExplainOptions, Explanation};
use crate::sigv2::{ApiRequest, DateLine, FormRequest, Reading, S3Request, StringToSign, TimelyS3Request, Values};
use crate::sigv4::{
    Body, Family, Place, PostForm, Refusal, RequestHead, UnixSeconds, decode, put_encoded, put_reencoded,
};

/// Headers beside `x-amz-…` that are signed where they are.
const SIGNED_LINES: [&str; 2] = ["content-md5", "content-type"];

/// Whether a request is one to a query API in Signature V2.
pub(super) fn is_api(head: &RequestHead<'_>, body: Body<'_>) -> bool {
    ApiRequest::is_one(head, form(body))
}

/// The most deviations of which two are tried together.
const MOST_PAIRED: usize = 100;

/// A request to a query API.
pub(super) fn explain_api(head: &RequestHead<'_>, body: Body<'_>, options: &ExplainOptions<'_>, to: &mut Explanation) {
    to.refused_by_default = true;
    let request = match ApiRequest::parse(head, form(body)) {
        Ok(request) => request,
        Err(refusal) => return to.refuse(&refusal, Family::Query),
    };
    to.show_string_to_sign(request.read(None).text());
    let refusal = match request.check_time(options.at) {
        Ok(timely) => judge(timely.string_to_sign(), options, to),
        Err(refusal) => Some(refusal),
    };
    let Some(refusal) = refusal else { return };
    to.refuse(&refusal, Family::Query);
    let read = |host: &[u8]| request.read(Some(host));
    let hosts = hosts(head, request.host(), options);
    let found = first_right(options, || {
        let received = std::iter::once((request.host().to_vec(), vec![]));
        received.chain(hosts.iter().cloned()).map(|(host, steps)| (read(&host), steps))
    });
    to.deviations = found.map_or(Vec::new(), |steps| describe_steps(steps, time_step(&refusal)));
}

/// A form with a POST policy. Only other secrets are tried.
pub(super) fn explain_form<'a>(
    head: &RequestHead<'a>,
    form: &PostForm<'a>,
    options: &ExplainOptions<'_>,
    to: &mut Explanation,
) {
    to.refused_by_default = true;
    let request = match FormRequest::parse(head, form) {
        Ok(request) => request,
        Err(refusal) => return to.refuse(&refusal, Family::S3),
    };
    to.show_string_to_sign(request.policy().as_bytes());
    let refusal = match request.string_to_sign(options.at) {
        Ok(string_to_sign) => judge(string_to_sign, options, to),
        Err(refusal) => Some(refusal),
    };
    let Some(refusal) = refusal else { return };
    to.refuse(&refusal, Family::S3);
    let text = || request.string_to_sign(options.at).ok().map(|text| (text, vec![])).into_iter();
    to.deviations = first_right(options, text).map_or(Vec::new(), |steps| describe_steps(steps, vec![]));
}

/// Whether a form was what its policy demands when that was made.
pub(super) fn is_as_its_policy_demands<'a>(head: &RequestHead<'a>, form: &PostForm<'a>) -> bool {
    FormRequest::parse(head, form).is_ok_and(|request| request.string_to_sign(UnixSeconds::MIN).is_ok())
}

/// A request to S3.
pub(super) fn explain_s3(head: &RequestHead<'_>, options: &ExplainOptions<'_>, to: &mut Explanation) {
    to.refused_by_default = true;
    let request = match S3Request::parse(head) {
        Ok(request) => request,
        Err(refusal) => return to.refuse(&refusal, Family::S3),
    };
    let buckets = host::buckets(request.host().unwrap_or_default(), options.hosts);
    to.show_string_to_sign(request.read(&reading(buckets.first())).text());
    let refusal = match request.check_time(options.at) {
        Ok(timely) => judge_buckets(&timely, &buckets, options, to),
        Err(refusal) => Some(refusal),
    };
    let Some(refusal) = refusal else { return };
    to.refuse(&refusal, Family::S3);
    let others = Others::of(head, &request);
    let found = first_right(options, || {
        let base = buckets.iter().map(|bucket| (reading(Some(bucket)), vec![]));
        let one = buckets.iter().flat_map(|bucket| deviating(&others, &reading(Some(bucket))));
        let one = one.map(|(reading, step)| (reading, vec![step]));
        let two = buckets.iter().flat_map(|bucket| deviating_twice(&others, &reading(Some(bucket))));
        base.chain(one).chain(two).map(|(reading, steps)| (request.read(&reading), steps))
    });
    to.deviations = found.map_or(Vec::new(), |steps| describe_steps(steps, time_step(&refusal)));
}

/// The refusal, unless the signature is right with one of the buckets.
fn judge_buckets(
    timely: &TimelyS3Request<'_, '_, '_>,
    buckets: &[Option<Vec<u8>>],
    options: &ExplainOptions<'_>,
    to: &mut Explanation,
) -> Option<Refusal> {
    let mut refusal = None;
    for bucket in buckets {
        for string_to_sign in timely.strings_to_sign(bucket.as_deref()) {
            let text = string_to_sign.text().to_vec();
            match judge(string_to_sign, options, to) {
                Some(wrong) => refusal = refusal.or(Some(wrong)),
                None => {
                    to.show_string_to_sign(&text);
                    let bucket = bucket.as_deref().map(String::from_utf8_lossy);
                    to.notes.extend(bucket.map(|bucket| format!("the bucket `{bucket}` stands in the host")));
                    return None;
                }
            }
        }
    }
    refusal
}

fn reading(bucket: Option<&Option<Vec<u8>>>) -> Reading<'_> {
    Reading { bucket: bucket.and_then(Option::as_deref), ..Reading::default() }
}

/// The refusal, or nothing where the signature is right or there is no secret to tell.
fn judge(string_to_sign: StringToSign<'_>, options: &ExplainOptions<'_>, to: &mut Explanation) -> Option<Refusal> {
    let Some(secret) = options.secret else {
        to.message = Some("every check passes that needs no key; the signature is not checked".to_owned());
        return None;
    };
    match string_to_sign.verify(secret) {
        Ok(_) => {
            to.accept();
            None
        }
        Err(refusal) => Some(refusal),
    }
}

fn form(body: Body<'_>) -> &[u8] {
    match body {
        Body::Bytes(bytes) => bytes,
        Body::Sha256(_) | Body::Absent => b"",
    }
}

/// Tries the secrets that there are on the texts that there are, in their order; the other secrets come last.
fn first_right<'s, I: Iterator<Item = (StringToSign<'s>, Vec<Step>)>>(
    options: &ExplainOptions<'_>,
    tried: impl Fn() -> I,
) -> Option<Vec<Step>> {
    let secret = options.secret?;
    let own = (Zeroizing::new(secret.to_vec()), None);
    let others = other_secrets(secret, options).into_iter().map(|(secret, step)| (secret, Some(step)));
    for (secret, step) in std::iter::once(own).chain(others) {
        // Another secret and another deviation at once would be a guess too many.
        let most = if step.is_some() { 0 } else { usize::MAX };
        let mut right = tried().filter(|(_, steps)| steps.len() <= most);
        let found = right.find_map(|(text, steps)| text.verify(&secret).is_ok().then_some(steps));
        if let Some(steps) = found {
            return Some(steps.into_iter().chain(step).collect());
        }
    }
    None
}

/// What other readings are made of.
struct Others {
    paths: Vec<(Vec<u8>, &'static str, String)>,
    /// Headers that are signed where they are, in lower case; those that stand in the query as well.
    headers: Vec<Vec<u8>>,
    parameters: Vec<Vec<u8>>,
}

impl Others {
    fn of(head: &RequestHead<'_>, request: &S3Request<'_, '_>) -> Self {
        let is_amz = |name: &Vec<u8>| name.starts_with(b"x-amz-");
        let parameters: Vec<_> = request.parameter_names().map(<[u8]>::to_vec).collect();
        let lines = SIGNED_LINES.iter().map(|name| name.as_bytes().to_vec());
        let sent = head.headers().iter().map(|header| header.name.to_ascii_lowercase());
        let headers = lines.chain(sent.chain(parameters.clone()).filter(is_amz)).collect();
        Self { paths: paths(request), headers, parameters }
    }
}

/// The readings that deviate in one thing.
fn deviating<'x>(others: &'x Others, base: &Reading<'x>) -> Vec<(Reading<'x>, Step)> {
    let mut tried = Vec::new();
    let mut add = |reading: Reading<'x>, name: String, condition: String| {
        tried.push((reading, Step::new(name, condition)));
    };
    for method in ["GET", "HEAD", "PUT", "POST", "DELETE"] {
        let reading = Reading { method: Some(method.as_bytes()), ..base.clone() };
        add(reading, format!("method={method}"), format!("the method were {method}: it was changed on the way"));
    }
    let condition = "the value of x-amz-date stood in the line of the date, as a page of the documentation has it";
    add(Reading { date_line: DateLine::AmzDate, ..base.clone() }, "date=amz-date".into(), condition.into());
    let condition = "the value of Date stood in its line, where an x-amz-date stands among the headers as well";
    add(Reading { date_line: DateLine::Date, ..base.clone() }, "date=date-header".into(), condition.into());
    for (path, name, condition) in &others.paths {
        add(Reading { path: Some(path), ..base.clone() }, format!("path={name}"), condition.clone());
    }
    for name in &others.headers {
        let shown = String::from_utf8_lossy(name);
        let condition = format!("`{shown}` were not there: it was added after signing, or the signer leaves it out");
        add(Reading { without_header: Some(name), ..base.clone() }, format!("header=without:{shown}"), condition);
    }
    for value in common_values("content-type") {
        let condition = format!("`content-type` were `{value}`: it was changed on the way");
        let reading = Reading { content_type: Some(value.as_bytes()), ..base.clone() };
        add(reading, "header=changed:content-type".into(), condition);
    }
    for name in &others.parameters {
        let shown = String::from_utf8_lossy(name);
        let condition = format!("`{shown}` in the query were not signed: it was added, or the signer leaves it out");
        add(Reading { without_parameter: Some(name), ..base.clone() }, format!("resource=without:{shown}"), condition);
        let condition = format!("`{shown}` in the query were signed: the signer takes it for a sub-resource");
        add(Reading { with_parameter: Some(name), ..base.clone() }, format!("resource=with:{shown}"), condition);
    }
    let condition = "sub-resources were signed in the order that they were sent in, not sorted";
    add(Reading { unsorted: true, ..base.clone() }, "resource=unsorted".into(), condition.into());
    for (values, name, condition) in [
        (Values::AsSent, "as-sent", "the values of sub-resources were signed as they were sent, not decoded"),
        (Values::LiteralPlus, "literal-plus", "a `+` in the value of a sub-resource meant a plus, not a blank"),
    ] {
        add(Reading { values, ..base.clone() }, format!("resource={name}"), condition.into());
    }
    let condition = "every parameter of the query were signed, not only those that name a sub-resource";
    add(Reading { all_parameters: true, ..base.clone() }, "resource=all-parameters".into(), condition.into());
    tried
}

/// The readings that deviate in two things, where there are not too many of them.
fn deviating_twice<'x>(
    others: &'x Others,
    base: &Reading<'x>,
) -> impl Iterator<Item = (Reading<'x>, Vec<Step>)> + use<'x> {
    let mut once = deviating(others, base);
    if once.len() > MOST_PAIRED {
        once.clear();
    }
    once.into_iter().enumerate().flat_map(|(at, (reading, first))| {
        let further = deviating(others, &reading).into_iter().skip(at + 1);
        further.map(|(reading, second)| (reading, vec![first.clone(), second])).collect::<Vec<_>>()
    })
}

/// Other forms of the path.
fn paths(request: &S3Request<'_, '_>) -> Vec<(Vec<u8>, &'static str, String)> {
    let path = request.path();
    let mut paths = Vec::new();
    let is_bucket = first_segment(path).is_some_and(|(_, rest)| rest == b"/") && !path.ends_with(b"/");
    if is_bucket {
        paths.push(([path, b"/"].concat(), "bucket-slash", "the bucket were signed with a slash after it".to_owned()));
    }
    if let Some(without) = path.strip_suffix(b"/") {
        paths.push((without.to_vec(), "no-slash", "the slash at the end of the path were not signed".to_owned()));
    }
    let segment = memchr::memrchr(b'/', path).unwrap_or_default();
    if let Some(mark) = memchr::memchr(b';', &path[segment..]) {
        let condition = "the path ended in front of the `;` of its last segment: Python's urlparse parts it there";
        paths.push((path[..segment + mark].to_vec(), "cut-at-semicolon", condition.to_owned()));
    }
    let (mut reencoded, mut double) = (Vec::new(), Vec::new());
    put_reencoded(&mut reencoded, path, Place::Path);
    for piece in path.split_inclusive(|byte| *byte == b'/') {
        let (text, slash) = piece.strip_suffix(b"/").map_or((piece, &b""[..]), |text| (text, b"/"));
        put_encoded(&mut double, text);
        double.extend_from_slice(slash);
    }
    paths.push((reencoded, "reenc", "the path were signed decoded once and encoded once".to_owned()));
    paths.push((decode(path, Place::Path).into_owned(), "decoded", "the path were signed decoded".to_owned()));
    paths.push((double, "double", "the path were signed encoded once more".to_owned()));
    if let Some((prefix, rest)) = first_segment(path) {
        let prefix = String::from_utf8_lossy(prefix);
        let condition = format!("the path did not begin with `/{prefix}`: a proxy added it, or moved the bucket there");
        paths.push((rest.to_vec(), "prefix-added", condition));
    }
    paths
}

/// Hosts that the request may have been signed for.
fn hosts(head: &RequestHead<'_>, host: &[u8], options: &ExplainOptions<'_>) -> Vec<(Vec<u8>, Vec<Step>)> {
    let bare = host.split(|byte| *byte == b':').next().unwrap_or_default();
    let ports = ["80", "443", "8080", "8443"].map(|port| [bare, b":", port.as_bytes()].concat());
    let with_port = |host: Vec<u8>| {
        let condition = format!("Host were `{}`: the port was dropped or changed", String::from_utf8_lossy(&host));
        (host, vec![Step::new("host=with-port", condition)])
    };
    let condition = format!("Host were `{}`: the signer left the port out", String::from_utf8_lossy(bare));
    let without = (bare.to_vec(), vec![Step::new("host=without-port", condition)]);
    let forwarded = FORWARDED.iter().flat_map(|name| {
        let headers = head.headers().iter().filter(|header| header.name.eq_ignore_ascii_case(name.as_bytes()));
        headers.map(|header| header.value.to_vec()).collect::<Vec<_>>()
    });
    let named = options.hosts.iter().map(|name| name.clone().into_bytes()).chain(forwarded).map(|host| {
        let condition = format!("Host were `{}`: a proxy rewrote Host", String::from_utf8_lossy(&host));
        (host, vec![Step::new("host=rewritten", condition)])
    });
    std::iter::once(without).chain(ports.map(with_port)).chain(named).collect()
}

fn time_step(refusal: &Refusal) -> Vec<Step> {
    match refusal {
        Refusal::Skewed { signed, .. } => vec![Step::new("clock=skewed", format!("it were {signed} now"))],
        Refusal::Expired { signed, .. } => {
            vec![Step::new("clock=expired", format!("the URL had not expired: it was good until {signed}"))]
        }
        _ => Vec::new(),
    }
}
