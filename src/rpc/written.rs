//! Answers of `rederive.v1.Verifier`, written to their bytes as they are.
//!
//! An acceptance as a message of owned strings costs as much to build, encode and drop as the whole verification. The bytes are
//! those of the message: `tests/doors/grpc.rs` reads them with it.

use std::collections::VecDeque;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use tonic::Status;
use tonic::codec::{DecodeBuf, Decoder, EncodeBuf, Encoder};

use super::{Accepted, Identity, PrincipalSource, SignatureVersion, v1};
use crate::sigv4::{PayloadStatus, UnixSeconds};

/// Bytes of a typical acceptance, and some more.
const TYPICAL: usize = 512;
/// Bytes of all that a stream has under way, if they are typical.
const ROOM: usize = 16 * 1024;

/// A message as its bytes.
pub struct Written(BytesMut);

impl Written {
    /// A message that is written by its own code.
    pub(super) fn of(message: &impl Message) -> Self {
        let mut bytes = BytesMut::with_capacity(message.encoded_len());
        message.encode(&mut bytes).expect("there is room for it, and it grows");
        Self(bytes)
    }

    /// `Outcome` with an acceptance.
    pub(super) fn accepted_outcome(accepted: &Accepted<'_>) -> Self {
        let mut bytes = BytesMut::new();
        put_accepted(accepted, &mut bytes);
        Self(bytes)
    }

    /// `VerifyResponse` with an acceptance.
    pub(super) fn accepted_response(accepted: &Accepted<'_>, request_id: &str) -> Self {
        let mut bytes = BytesMut::new();
        put_accepted(accepted, &mut bytes);
        put_string(3, request_id, &mut bytes);
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A `VerifyBatchResponse` of outcomes that are written one by one.
pub(super) struct WrittenBatch(BytesMut);

impl WrittenBatch {
    pub fn with_capacity(outcomes: usize) -> Self {
        Self(BytesMut::with_capacity(outcomes * TYPICAL))
    }

    /// Where the next outcome will stand.
    pub fn end(&self) -> usize {
        self.0.len()
    }

    pub fn push_accepted(&mut self, accepted: &Accepted<'_>) {
        put_message(1, &mut self.0, |to| put_accepted(accepted, to));
    }

    /// Puts outcomes in between, each with where it belongs, in their order.
    pub fn insert(&mut self, late: &[(usize, Written)]) {
        let (early, mut done) = (std::mem::take(&mut self.0), 0);
        for (at, outcome) in late {
            self.0.extend_from_slice(&early[done..*at]);
            put_bytes(1, outcome.as_bytes(), &mut self.0);
            done = *at;
        }
        self.0.extend_from_slice(&early[done..]);
    }

    pub fn finish(mut self, request_id: &str) -> Written {
        put_string(2, request_id, &mut self.0);
        Written(self.0)
    }
}

/// Messages `Outcome` that are written together, and are taken one by one.
#[derive(Default)]
pub(super) struct WrittenOutcomes {
    bytes: BytesMut,
    lengths: VecDeque<usize>,
}

impl WrittenOutcomes {
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    pub fn push_accepted(&mut self, accepted: &Accepted<'_>) {
        if self.is_empty() {
            // The room of those that were taken and sent is used again.
            self.bytes.reserve(ROOM);
        }
        let start = self.bytes.len();
        put_accepted(accepted, &mut self.bytes);
        self.lengths.push_back(self.bytes.len() - start);
    }

    pub fn pop(&mut self) -> Option<Written> {
        self.lengths.pop_front().map(|length| Written(self.bytes.split_to(length)))
    }
}

/// The only field of `Outcome`, and the first of `VerifyResponse`, for an acceptance.
fn put_accepted(accepted: &Accepted<'_>, to: &mut BytesMut) {
    to.reserve(TYPICAL);
    put_message(1, to, |to| put_accept(accepted, to));
}

/// A message as a field, with a tag under 16, written in its place. Nearly all have a length of two bytes: there is room for it.
fn put_message(tag: u32, to: &mut BytesMut, put: impl FnOnce(&mut BytesMut)) {
    const ROOM: usize = 2;
    encode_key(tag, WireType::LengthDelimited, to);
    let place = to.len();
    to.put_bytes(0, ROOM);
    put(to);
    let length = to.len() - place - ROOM;
    let needed = encoded_len_varint(length as u64);
    if needed != ROOM {
        to.put_bytes(0, needed.saturating_sub(ROOM));
        to.copy_within(place + ROOM..place + ROOM + length, place + needed);
        to.truncate(place + needed + length);
    }
    encode_varint(length as u64, &mut &mut to[place..place + needed]);
}

/// `Accept`: its fields by their numbers, those with the default value left out.
fn put_accept(accepted: &Accepted<'_>, to: &mut BytesMut) {
    put_identity(&accepted.identity, to);
    accepted.signed_headers.for_each(|name| put_bytes(6, name, to));
    put_enum(7, payload(accepted.payload).into(), to);
    put_time(8, accepted.valid_until, to);
    put_time(9, accepted.deny_list_as_of, to);
    put_rare(accepted, to);
    put_enum(13, signature_version(accepted.signature_version).into(), to);
    if let Some(key) = &accepted.public_key {
        put_bytes(14, &key.to_sec1(), to);
    }
}

fn put_identity(identity: &Identity, to: &mut BytesMut) {
    put_string(1, &identity.access_key_id, to);
    put_string(2, &identity.account, to);
    if let Some(principal) = &identity.principal {
        let parts = [&*principal.kind, &principal.arn, &principal.user_id];
        put_length(3, parts.iter().filter(|part| !part.is_empty()).map(|part| length_of(part)).sum(), to);
        (1..).zip(parts).for_each(|(tag, part)| put_string(tag, part, to));
    }
    put_enum(4, principal_source(identity.principal_source).into(), to);
    put_string(5, &identity.credential_scope, to);
}

/// Fields 10 to 12.
fn put_rare(accepted: &Accepted<'_>, to: &mut BytesMut) {
    if let Some(form) = &accepted.form {
        let range = form.content_length_range.map(|(least, most)| v1::ContentLengthRange { least, most });
        let form = v1::VerifiedForm { bucket: form.bucket.clone(), key: form.key.clone(), content_length_range: range };
        prost::encoding::message::encode(10, &form, to);
    }
    if let Some(streaming) = &accepted.streaming {
        let streaming = v1::Streaming {
            kind: streaming.kind.as_str().into(),
            date: streaming.date.as_str().into(),
            seed_signature: streaming.seed_signature.clone().into(),
        };
        prost::encoding::message::encode(11, &streaming, to);
    }
    if let Some(key) = &accepted.signing_key {
        put_bytes(12, key.signing_key().expose(), to);
    }
}

/// Nearly all lengths fit one byte, as do all of these tags: two bytes at once.
#[inline]
fn put_length(tag: u32, length: usize, to: &mut BytesMut) {
    if length < 0x80 && tag < 16 {
        to.extend_from_slice(&[(tag << 3 | WireType::LengthDelimited as u32) as u8, length as u8]);
    } else {
        encode_key(tag, WireType::LengthDelimited, to);
        encode_varint(length as u64, to);
    }
}

fn put_bytes(tag: u32, bytes: &[u8], to: &mut BytesMut) {
    put_length(tag, bytes.len(), to);
    to.extend_from_slice(bytes);
}

fn put_string(tag: u32, text: &str, to: &mut BytesMut) {
    if !text.is_empty() {
        put_bytes(tag, text.as_bytes(), to);
    }
}

/// Of a string that is not empty, with a tag under 16.
fn length_of(text: &str) -> usize {
    1 + encoded_len_varint(text.len() as u64) + text.len()
}

fn put_enum(tag: u32, value: i32, to: &mut BytesMut) {
    if value != 0 {
        prost::encoding::int32::encode(tag, &value, to);
    }
}

/// `Timestamp` of whole seconds: nothing here is known more exactly.
fn put_time(tag: u32, seconds: UnixSeconds, to: &mut BytesMut) {
    prost::encoding::message::encode(tag, &prost_types::Timestamp { seconds, nanos: 0 }, to);
}

fn payload(status: PayloadStatus) -> v1::Payload {
    match status {
        PayloadStatus::Checked => v1::Payload::Checked,
        PayloadStatus::Unsigned => v1::Payload::Unsigned,
        PayloadStatus::NotChecked => v1::Payload::NotChecked,
        PayloadStatus::Streaming(_) => v1::Payload::Streaming,
    }
}

fn signature_version(version: SignatureVersion) -> v1::SignatureVersion {
    match version {
        SignatureVersion::V4 => v1::SignatureVersion::V4,
        SignatureVersion::V4a => v1::SignatureVersion::V4a,
        SignatureVersion::V2 => v1::SignatureVersion::V2,
    }
}

fn principal_source(source: PrincipalSource) -> v1::PrincipalSource {
    match source {
        PrincipalSource::Registry => v1::PrincipalSource::Registry,
        PrincipalSource::Token => v1::PrincipalSource::Token,
        PrincipalSource::None => v1::PrincipalSource::None,
    }
}

/// Takes messages as their bytes, and sends what is written.
#[derive(Default)]
pub struct Codec;

impl tonic::codec::Codec for Codec {
    type Encode = Written;
    type Decode = Bytes;
    type Encoder = WrittenEncoder;
    type Decoder = BytesDecoder;

    fn encoder(&mut self) -> WrittenEncoder {
        WrittenEncoder
    }

    fn decoder(&mut self) -> BytesDecoder {
        BytesDecoder
    }
}

/// Takes a message out of the buffer, without a copy.
pub struct BytesDecoder;

impl Decoder for BytesDecoder {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

pub struct WrittenEncoder;

impl Encoder for WrittenEncoder {
    type Item = Written;
    type Error = Status;

    fn encode(&mut self, item: Written, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.reserve(item.as_bytes().len());
        to.put_slice(item.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::rpc::{HeaderNames, Principal, Streaming};
    use crate::sigv4::{AmzDate, StreamingKind, VerifiedForm};

    fn accepted() -> Accepted<'static> {
        let principal = Principal { kind: "root".into(), arn: "arn:aws:iam::1:root".into(), user_id: "1".into() };
        Accepted {
            signature_version: SignatureVersion::V4,
            identity: Arc::new(Identity {
                access_key_id: "AKIA".into(),
                account: "1".into(),
                principal: Some(principal),
                principal_source: PrincipalSource::Registry,
                credential_scope: "20261121/local/s3/aws4_request".into(),
            }),
            signed_headers: HeaderNames::Named(vec!["host".into(), "x-amz-date".into()]),
            payload: PayloadStatus::Checked,
            form: None,
            streaming: None,
            signing_key: None,
            public_key: None,
            valid_until: 1_795_262_400,
            deny_list_as_of: 0,
            waited_for_hsm: false,
        }
    }

    #[test]
    fn has_the_bytes_of_the_message() {
        let date = AmzDate::at(1_795_261_500);
        let streaming = Streaming { kind: StreamingKind::SignedChunks, date, seed_signature: vec![7; 32] };
        let form = VerifiedForm { bucket: "b".into(), key: "k".repeat(200), content_length_range: Some((0, 5)) };
        let nobody = Identity {
            principal: None,
            principal_source: PrincipalSource::None,
            credential_scope: String::new(),
            ..Identity::clone(&accepted().identity)
        };
        let rows = [
            accepted(),
            Accepted { streaming: Some(Box::new(streaming)), ..accepted() },
            Accepted { form: Some(Box::new(form)), signature_version: SignatureVersion::V2, ..accepted() },
            Accepted { identity: Arc::new(nobody), payload: PayloadStatus::Unsigned, ..accepted() },
        ];
        let mut batch = WrittenBatch::with_capacity(rows.len());
        for accepted in &rows {
            let outcome = Written::accepted_outcome(accepted);
            let read = v1::Outcome::decode(outcome.as_bytes()).expect("the message");
            assert_eq!(read.encode_to_vec(), outcome.as_bytes());
            assert!(matches!(read.outcome, Some(v1::outcome::Outcome::Accept(_))), "{read:?}");
            batch.push_accepted(accepted);
            let response = Written::accepted_response(accepted, "an id");
            let read = v1::VerifyResponse::decode(response.as_bytes()).expect("the message");
            assert_eq!((read.encode_to_vec(), &*read.request_id), (response.as_bytes().to_vec(), "an id"));
        }
        let batch = batch.finish("an id");
        let read = v1::VerifyBatchResponse::decode(batch.as_bytes()).expect("the message");
        assert_eq!((read.encode_to_vec(), read.outcomes.len()), (batch.as_bytes().to_vec(), rows.len()));
    }

    #[test]
    fn any_length_stands_in_front_of_a_message() {
        for length in [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, 0x1f_ffff, 0x20_0000] {
            let mut written = BytesMut::from(&b"before"[..]);
            put_message(5, &mut written, |to| to.put_bytes(b'x', length));
            let mut expected = BytesMut::from(&b"before"[..]);
            prost::encoding::bytes::encode(5, &vec![b'x'; length], &mut expected);
            assert!(written == expected, "{length}");
        }
    }

    #[test]
    fn late_outcomes_stand_where_they_belong() {
        let early = |place: i64| Accepted { valid_until: place, ..accepted() };
        let late = |place: i64| {
            let unavailable = v1::Unavailable { reason: String::new(), retry_after_ms: place as u64 };
            Written::of(&v1::Outcome { outcome: Some(v1::outcome::Outcome::Unavailable(unavailable)) })
        };
        let is_late = |place| [0, 2, 3].contains(&place);
        let (mut batch, mut waited) = (WrittenBatch::with_capacity(5), Vec::new());
        for place in 0..5 {
            match is_late(place) {
                true => waited.push((batch.end(), late(place))),
                false => batch.push_accepted(&early(place)),
            }
        }
        batch.insert(&waited);
        let written = batch.finish("");
        let read = v1::VerifyBatchResponse::decode(written.as_bytes()).expect("the message");
        let expected = (0..5).map(|place| {
            let outcome = if is_late(place) { late(place) } else { Written::accepted_outcome(&early(place)) };
            v1::Outcome::decode(outcome.as_bytes()).expect("the message")
        });
        assert_eq!(read.outcomes, expected.collect::<Vec<_>>());
    }

    #[test]
    fn a_streams_outcomes_come_out_as_they_went_in() {
        let mut outcomes = WrittenOutcomes::default();
        for round in 0..3 {
            let of = |place: i64| Accepted { valid_until: round * 10 + place, ..accepted() };
            (0..5).for_each(|place| outcomes.push_accepted(&of(place)));
            for place in 0..5 {
                let outcome = outcomes.pop().expect("as many as went in");
                assert_eq!(outcome.as_bytes(), Written::accepted_outcome(&of(place)).as_bytes());
            }
            assert!(outcomes.pop().is_none() && outcomes.is_empty());
        }
    }
}
