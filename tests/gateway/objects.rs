//! Objects in memory.

use std::collections::BTreeMap;
use std::time::SystemTime;

use md5::{Digest, Md5};

use super::xml::Problem;

/// An object; its key is bytes, as in S3.
#[derive(Clone)]
pub struct Object {
    pub data: Vec<u8>,
    pub etag: String,
    /// Content type and metadata.
    pub headers: Vec<(String, String)>,
    pub modified: SystemTime,
}

impl Object {
    pub fn new(data: Vec<u8>, headers: Vec<(String, String)>) -> Self {
        let etag = format!("\"{}\"", hex(&Md5::digest(&data)));
        Self { data, etag, headers, modified: SystemTime::now() }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A multipart upload that is not complete.
#[derive(Clone, Default)]
pub struct Upload {
    pub key: String,
    pub headers: Vec<(String, String)>,
    pub parts: BTreeMap<u32, Object>,
}

/// All that the gateway keeps.
#[derive(Default)]
pub struct Objects {
    pub buckets: BTreeMap<String, BTreeMap<String, Object>>,
    pub uploads: BTreeMap<String, Upload>,
    number: u64,
}

impl Objects {
    pub fn bucket(&mut self, name: &str) -> Result<&mut BTreeMap<String, Object>, Problem> {
        self.buckets.get_mut(name).ok_or_else(|| Problem::new(404, "NoSuchBucket", name))
    }

    pub fn object(&mut self, bucket: &str, key: &str) -> Result<&Object, Problem> {
        self.bucket(bucket)?.get(key).ok_or_else(|| Problem::new(404, "NoSuchKey", key))
    }

    pub fn begin(&mut self, key: &str, headers: Vec<(String, String)>) -> String {
        self.number += 1;
        let id = format!("upload{}", self.number);
        self.uploads.insert(id.clone(), Upload { key: key.to_owned(), headers, parts: BTreeMap::new() });
        id
    }

    pub fn upload(&mut self, id: &str) -> Result<&mut Upload, Problem> {
        self.uploads.get_mut(id).ok_or_else(|| Problem::new(404, "NoSuchUpload", id))
    }

    /// Puts the parts together, in the order given.
    pub fn complete(&mut self, bucket: &str, id: &str, parts: &[u32]) -> Result<String, Problem> {
        let upload = self.upload(id)?.clone();
        let part = |number: &u32| upload.parts.get(number).ok_or_else(|| Problem::new(400, "InvalidPart", id));
        let parts = parts.iter().map(part).collect::<Result<Vec<_>, _>>()?;
        let mut object = Object::new(parts.iter().flat_map(|part| part.data.clone()).collect(), upload.headers);
        object.etag = format!("{}-{}\"", &object.etag[..33], parts.len());
        let etag = object.etag.clone();
        self.bucket(bucket)?.insert(upload.key, object);
        self.uploads.remove(id);
        Ok(etag)
    }
}
