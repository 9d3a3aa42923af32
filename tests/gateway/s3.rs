//! As much of S3 as the clients need: path-style addresses, and no ifs and buts.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Mutex;

use super::guard::Guard;
use super::objects::{Object, Objects};
use super::server::{Answer, Handler, Head};
use super::xml::{Problem, document, element, text, texts};

/// The gateway: nothing is done before the request is admitted, nothing is kept before its body is read to its end.
pub struct Gateway {
    pub guard: Guard,
    pub objects: Mutex<Objects>,
    /// How many bodies came in each form of x-amz-content-sha256.
    pub forms: Mutex<BTreeMap<String, usize>>,
}

/// What a request names. Bucket and key are read from the same bytes that were verified.
struct Target {
    bucket: String,
    key: String,
    query: BTreeMap<String, String>,
}

impl Target {
    fn parse(target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = path.strip_prefix('/').unwrap_or(path);
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Self { bucket: unescape(bucket), key: unescape(key), query }
    }

    fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(|value| &**value)
    }
}

/// Escapes once undone; a plus in a path is a plus.
fn unescape(path: &str) -> String {
    let query = path.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(query.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}

fn escape(key: &str) -> String {
    form_urlencoded::byte_serialize(key.as_bytes()).collect::<String>().replace('+', "%20").replace("%2F", "/")
}

impl Handler for Gateway {
    fn handle(&self, head: &Head, body: &mut dyn Read) -> Answer {
        self.serve(head, body).unwrap_or_else(|problem| {
            let headers = vec![("content-type".to_owned(), "application/xml".to_owned())];
            Answer { status: problem.status, headers, body: problem.xml().into_bytes() }
        })
    }
}

fn xml(name: &str, inner: &str) -> Result<Answer, Problem> {
    let headers = vec![("content-type".to_owned(), "application/xml".to_owned())];
    Ok(Answer { status: 200, headers, body: document(name, inner) })
}

fn empty(status: u16) -> Result<Answer, Problem> {
    Ok(Answer { status, headers: Vec::new(), body: Vec::new() })
}

fn with_etag(etag: &str) -> Result<Answer, Problem> {
    Ok(Answer { status: 200, headers: vec![("etag".to_owned(), etag.to_owned())], body: Vec::new() })
}

fn kept(head: &Head) -> Vec<(String, String)> {
    let is_kept = |name: &str| name == "content-type" || name.starts_with("x-amz-meta-");
    let lower = head.headers().map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    lower.filter(|(name, _)| is_kept(name)).collect()
}

impl Gateway {
    fn serve(&self, head: &Head, body: &mut dyn Read) -> Result<Answer, Problem> {
        let admitted = self.guard.admit(&head.raw)?;
        let form = head.header("x-amz-content-sha256").unwrap_or("none");
        let form = if form.len() == 64 { "hash" } else { form };
        *self.forms.lock().expect("no panic").entry(form.to_owned()).or_insert(0) += 1;
        let data = admitted.read(&head.raw, body)?;
        let target = Target::parse(&head.target);
        let mut objects = self.objects.lock().expect("no panic");
        match (&*head.method, target.bucket.is_empty(), target.key.is_empty()) {
            ("GET", true, _) => buckets(&objects),
            (method, false, true) => on_bucket(method, &target, &data, &mut objects),
            (method, false, false) => on_object(method, &target, head, data, &mut objects),
            _ => Err(Problem::new(405, "MethodNotAllowed", &*head.method)),
        }
    }
}

fn buckets(objects: &Objects) -> Result<Answer, Problem> {
    let bucket = |name: &String| {
        let date = text("CreationDate", "2026-01-01T00:00:00.000Z");
        element("Bucket", &(text("Name", name) + &date))
    };
    let list: String = objects.buckets.keys().map(bucket).collect();
    let owner = element("Owner", &(text("ID", "1") + &text("DisplayName", "owner")));
    xml("ListAllMyBucketsResult", &(owner + &element("Buckets", &list)))
}

fn on_bucket(method: &str, target: &Target, data: &[u8], objects: &mut Objects) -> Result<Answer, Problem> {
    let name = &target.bucket;
    match method {
        "PUT" => {
            objects.buckets.entry(name.clone()).or_default();
            empty(200)
        }
        "HEAD" => objects.bucket(name).map(|_| ()).and_then(|()| empty(200)),
        "DELETE" => {
            let is_empty = objects.bucket(name)?.is_empty();
            if !is_empty {
                return Err(Problem::new(409, "BucketNotEmpty", name));
            }
            objects.buckets.remove(name);
            empty(204)
        }
        "GET" if target.query("location").is_some() => xml("LocationConstraint", "local"),
        "GET" if target.query("uploads").is_some() => xml("ListMultipartUploadsResult", ""),
        "GET" if target.query("versioning").is_some() => xml("VersioningConfiguration", ""),
        "GET" => list(target, objects.bucket(name)?),
        "POST" if target.query("delete").is_some() => {
            let bucket = objects.bucket(name)?;
            let keys = texts(data, "Key");
            keys.iter().for_each(|key| drop(bucket.remove(key)));
            let deleted: String = keys.iter().map(|key| element("Deleted", &text("Key", key))).collect();
            xml("DeleteResult", &deleted)
        }
        _ => Err(Problem::new(501, "NotImplemented", method)),
    }
}

/// ListObjects and ListObjectsV2. A token is the last key of the page, escaped.
fn list(target: &Target, bucket: &BTreeMap<String, Object>) -> Result<Answer, Problem> {
    let get = |name: &str| target.query(name).unwrap_or_default();
    let (prefix, delimiter, most) = (get("prefix"), get("delimiter"), get("max-keys").parse().unwrap_or(1000));
    let shown = |key: &str| if get("encoding-type") == "url" { escape(key) } else { key.to_owned() };
    let token = unescape(get("continuation-token"));
    let after = [token.as_str(), get("start-after"), get("marker")].into_iter().max().unwrap_or_default();
    let (mut contents, mut groups, mut last, mut truncated) =
        (String::new(), Vec::<String>::new(), String::new(), false);
    let mut count = 0;
    for (key, object) in bucket.iter().filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after) {
        let rest = &key[prefix.len()..];
        let group = rest.find(delimiter).filter(|_| !delimiter.is_empty());
        let group = group.map(|end| format!("{prefix}{}", &rest[..end + delimiter.len()]));
        if group.as_ref().is_some_and(|group| groups.contains(group) || after.starts_with(group)) {
            continue;
        }
        if count == most {
            truncated = true;
            break;
        }
        count += 1;
        match group {
            Some(group) => groups.push(group.clone()),
            None => contents += &entry(&shown(key), object),
        }
        last.clone_from(key);
    }
    let groups: String = groups.iter().map(|group| element("CommonPrefixes", &text("Prefix", shown(group)))).collect();
    let next = if truncated {
        text("NextContinuationToken", escape(&last)) + &text("NextMarker", shown(&last))
    } else {
        String::new()
    };
    let encoding = if get("encoding-type") == "url" { text("EncodingType", "url") } else { String::new() };
    let head =
        text("Name", &target.bucket) + &text("Prefix", shown(prefix)) + &text("Delimiter", delimiter) + &encoding;
    let numbers = text("MaxKeys", most.to_string()) + &text("KeyCount", count.to_string());
    let truncated = text("IsTruncated", truncated.to_string());
    xml("ListBucketResult", &[head, numbers, truncated, next, contents, groups].concat())
}

fn entry(key: &str, object: &Object) -> String {
    let fields = [
        text("Key", key),
        text("LastModified", "2026-01-01T00:00:00.000Z"),
        text("ETag", &object.etag),
        text("Size", object.data.len().to_string()),
        text("StorageClass", "STANDARD"),
    ];
    element("Contents", &fields.concat())
}

fn on_object(
    method: &str,
    target: &Target,
    head: &Head,
    data: Vec<u8>,
    objects: &mut Objects,
) -> Result<Answer, Problem> {
    let Target { bucket, key, .. } = target;
    objects.bucket(bucket)?;
    match (method, target.query("uploadId"), target.query("partNumber")) {
        ("PUT", Some(id), Some(number)) => {
            let number = number.parse().map_err(|_| Problem::new(400, "InvalidArgument", number))?;
            let part = Object::new(data, Vec::new());
            let etag = part.etag.clone();
            objects.upload(id)?.parts.insert(number, part);
            with_etag(&etag)
        }
        ("POST", Some(id), _) => {
            let numbers = texts(&data, "PartNumber");
            let numbers: Vec<u32> = numbers.iter().filter_map(|number| number.parse().ok()).collect();
            let etag = objects.complete(bucket, id, &numbers)?;
            let names = text("Bucket", bucket) + &text("Key", key) + &text("ETag", etag);
            xml("CompleteMultipartUploadResult", &names)
        }
        ("DELETE", Some(id), _) => {
            objects.uploads.remove(id);
            empty(204)
        }
        ("GET", Some(id), _) => list_parts(target, objects.upload(id)?),
        ("POST", None, _) if target.query("uploads").is_some() => {
            let id = objects.begin(key, kept(head));
            let names = text("Bucket", bucket) + &text("Key", key) + &text("UploadId", id);
            xml("InitiateMultipartUploadResult", &names)
        }
        ("PUT", None, _) => put(target, head, data, objects),
        ("GET" | "HEAD", None, _) => get(head, objects.object(bucket, key)?),
        ("DELETE", None, _) => {
            objects.bucket(bucket)?.remove(key);
            empty(204)
        }
        _ => Err(Problem::new(501, "NotImplemented", method)),
    }
}

fn list_parts(target: &Target, upload: &super::objects::Upload) -> Result<Answer, Problem> {
    let part = |(number, part): (&u32, &Object)| {
        let size = text("Size", part.data.len().to_string());
        element("Part", &(text("PartNumber", number.to_string()) + &text("ETag", &part.etag) + &size))
    };
    let parts: String = upload.parts.iter().map(part).collect();
    xml("ListPartsResult", &(text("Bucket", &target.bucket) + &text("Key", &target.key) + &parts))
}

fn put(target: &Target, head: &Head, data: Vec<u8>, objects: &mut Objects) -> Result<Answer, Problem> {
    let copied = match head.header("x-amz-copy-source") {
        Some(source) => {
            let source = Target::parse(&format!("/{}", source.trim_start_matches('/')));
            Some(objects.object(&source.bucket, &source.key)?.clone())
        }
        None => None,
    };
    let is_copy = copied.is_some();
    let object = copied.unwrap_or_else(|| Object::new(data, kept(head)));
    let etag = object.etag.clone();
    objects.bucket(&target.bucket)?.insert(target.key.clone(), object);
    match is_copy {
        true => xml("CopyObjectResult", &(text("LastModified", "2026-01-01T00:00:00.000Z") + &text("ETag", etag))),
        false => with_etag(&etag),
    }
}

fn get(head: &Head, object: &Object) -> Result<Answer, Problem> {
    let all = object.data.len();
    let range = head.header("range").and_then(|value| range(value, all));
    let (from, to) = range.unwrap_or((0, all));
    let mut headers = object.headers.clone();
    headers.push(("etag".to_owned(), object.etag.clone()));
    headers.push(("last-modified".to_owned(), httpdate::fmt_http_date(object.modified)));
    headers.push(("accept-ranges".to_owned(), "bytes".to_owned()));
    if range.is_some() {
        headers.push(("content-range".to_owned(), format!("bytes {from}-{}/{all}", to - 1)));
    }
    headers.push(("content-length".to_owned(), (to - from).to_string()));
    Ok(Answer { status: if range.is_some() { 206 } else { 200 }, headers, body: object.data[from..to].to_vec() })
}

fn range(value: &str, all: usize) -> Option<(usize, usize)> {
    let (from, to) = value.strip_prefix("bytes=")?.split_once('-')?;
    let from: usize = from.parse().ok()?;
    let to = to.parse().map_or(all, |to: usize| to + 1).min(all);
    (from < to).then_some((from, to))
}
