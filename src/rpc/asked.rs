//! Requests of batches and streams, read from their bytes.
//!
//! To build and drop a message of owned fields costs a sixth of the verification. Nearly every request has its head in one piece,
//! what is expected and no form, and is read where it stands; any other is decoded as the message that it is.

use bytes::Bytes;
use prost::encoding::{DecodeContext, WireType, check_wire_type, decode_key, decode_varint, skip_field};
use prost::{DecodeError, Message as _};
use tonic::Status;

use super::call::{form_of, head_of_bytes};
use super::{VerifyCall, v1};
use crate::sigv4::{Body, HeadPlace};

/// The bytes of each request of a `VerifyBatchRequest`: all of them, or one more than `limit`.
pub(super) fn requests_of(batch: &[u8], limit: usize) -> Result<Vec<&[u8]>, Status> {
    let (mut requests, mut rest) = (Vec::with_capacity(64), batch);
    while !rest.is_empty() && requests.len() <= limit {
        let (tag, wire_type) = decode_key(&mut rest).map_err(undecodable)?;
        if tag == 1 {
            check_wire_type(WireType::LengthDelimited, wire_type).map_err(undecodable)?;
            requests.push(delimited(&mut rest).ok_or_else(|| Status::internal("a request of the batch is cut off"))?);
        } else {
            skip_field(wire_type, tag, &mut rest, DecodeContext::default()).map_err(undecodable)?;
        }
    }
    Ok(requests)
}

/// The message.
pub(super) fn decode(request: Bytes) -> Result<v1::VerifyRequest, Status> {
    v1::VerifyRequest::decode(request).map_err(undecodable)
}

fn undecodable(error: DecodeError) -> Status {
    Status::internal(error.to_string())
}

/// The call that a `VerifyRequest` is, its head in that place. `None` says nothing: it is to be decoded.
pub(super) fn plain_call<'h, 'a>(request: &'a [u8], place: &'h mut HeadPlace<'a>) -> Option<VerifyCall<'h, 'a>> {
    let (mut head, mut body, mut expect) = (None, Body::Absent, None);
    let (mut want_signing_key, mut explain) = (false, false);
    let mut rest = request;
    while !rest.is_empty() {
        match (field(&mut rest)?, body) {
            ((2, Value::Bytes(bytes)), _) if head.is_none() => head = Some(bytes),
            ((3, Value::Bytes(bytes)), Body::Absent) => body = Body::Bytes(bytes),
            ((4, Value::Bytes(hash)), Body::Absent) => body = Body::Sha256(hash.try_into().ok()?),
            ((5, Value::Bytes(message)), _) if expect.is_none() => expect = Some(read_expect(message)?),
            ((7, Value::Number(number)), _) => want_signing_key = number != 0,
            ((8, Value::Number(number)), _) => explain = number != 0,
            _ => return None,
        }
    }
    let (expect_service, expect_region) = expect?;
    let head = head_of_bytes(place, head?).ok()?;
    let form = form_of(None, head, body, expect_service).ok()?;
    let call = VerifyCall { head, body, form, expect_service, expect_region, want_signing_key, explain };
    call.check().ok().map(|()| call)
}

/// Service and region of an `Expect`.
fn read_expect(mut message: &[u8]) -> Option<(&str, Option<&str>)> {
    let (mut service, mut region) = (None, None);
    while !message.is_empty() {
        match field(&mut message)? {
            (1, Value::Bytes(name)) if service.is_none() => service = Some(std::str::from_utf8(name).ok()?),
            (2, Value::Bytes(name)) if region.is_none() => region = Some(std::str::from_utf8(name).ok()?),
            _ => return None,
        }
    }
    Some((service?, region))
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Takes a field off the front: its tag and its value. None here is of another kind.
fn field<'a>(rest: &mut &'a [u8]) -> Option<(u32, Value<'a>)> {
    let (tag, wire_type) = decode_key(rest).ok()?;
    let value = match wire_type {
        WireType::Varint => Value::Number(decode_varint(rest).ok()?),
        WireType::LengthDelimited => Value::Bytes(delimited(rest)?),
        _ => return None,
    };
    Some((tag, value))
}

/// Takes a length and as many bytes off the front.
fn delimited<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(decode_varint(rest).ok()?).ok()?;
    rest.split_off(..length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rpc::grpc::verify_call;
    use crate::rpc::v1::verify_request::{Payload, RequestHead};

    const HEAD: &[u8] = b"GET /a%20b HTTP/1.1\r\nhost: h\r\n\r\n";

    fn plain() -> v1::VerifyRequest {
        v1::VerifyRequest {
            request_head: Some(RequestHead::Head(HEAD.into())),
            expect: Some(v1::Expect { service: "s3".into(), region: None }),
            ..v1::VerifyRequest::default()
        }
    }

    /// What a call says, in a form that can be compared.
    fn told(call: &VerifyCall<'_, '_>) -> impl PartialEq + std::fmt::Debug + use<> {
        let body = match call.body {
            Body::Absent => None,
            Body::Bytes(bytes) => Some(Ok(bytes.to_vec())),
            Body::Sha256(hash) => Some(Err(hash)),
        };
        let head = call.head.headers().iter().map(|it| (it.name.to_vec(), it.value.to_vec())).collect::<Vec<_>>();
        (
            (call.head.method().to_vec(), call.head.target().to_vec(), head, body, call.form.is_some()),
            (call.expect_service.to_owned(), call.expect_region.map(str::to_owned)),
            (call.want_signing_key, call.explain),
        )
    }

    /// Whether it is read where it stands; then it must be the same call as that of the message.
    fn is_read(request: &[u8]) -> bool {
        let mut place = HeadPlace::default();
        let Some(call) = plain_call(request, &mut place) else { return false };
        let message = v1::VerifyRequest::decode(request).expect("what is read can be decoded");
        let mut place = HeadPlace::default();
        let decoded = verify_call(&message, &mut place).expect("what is read is well-formed");
        assert_eq!(told(&call), told(&decoded));
        true
    }

    #[test]
    fn plain_requests_are_read_and_others_decoded() {
        let expect = |service: &str, region: Option<&str>| {
            Some(v1::Expect { service: service.into(), region: region.map(Into::into) })
        };
        let fields = v1::RequestFields { method: "GET".into(), target: "/".into(), headers: Vec::new() };
        let post = b"POST /b HTTP/1.1\r\nhost: h\r\n\r\n".as_slice();
        let rows = [
            (plain(), true),
            (v1::VerifyRequest { payload: Some(Payload::Body("".into())), ..plain() }, true),
            (v1::VerifyRequest { payload: Some(Payload::Body(vec![7; 300].into())), ..plain() }, true),
            (v1::VerifyRequest { payload: Some(Payload::PayloadSha256(vec![7; 32].into())), ..plain() }, true),
            (v1::VerifyRequest { expect: expect("s3", Some("eu-1")), explain: true, ..plain() }, true),
            (v1::VerifyRequest { want_signing_key: true, ..plain() }, true),
            (v1::VerifyRequest { request_head: Some(RequestHead::Head(post.into())), ..plain() }, true),
            (v1::VerifyRequest { payload: Some(Payload::PayloadSha256(vec![7; 31].into())), ..plain() }, false),
            (v1::VerifyRequest { expect: None, ..plain() }, false),
            (v1::VerifyRequest { expect: expect("s 3", None), ..plain() }, false),
            (v1::VerifyRequest { expect: expect("s3", Some("")), ..plain() }, false),
            (v1::VerifyRequest { request_head: None, ..plain() }, false),
            (v1::VerifyRequest { request_head: Some(RequestHead::Head("GET /".into())), ..plain() }, false),
            (v1::VerifyRequest { request_head: Some(RequestHead::Fields(fields)), ..plain() }, false),
            (v1::VerifyRequest { form: Some(Box::default()), ..plain() }, false),
        ];
        for (request, expected) in rows {
            assert_eq!(is_read(&request.encode_to_vec()), expected, "{request:?}");
        }
    }

    #[test]
    fn what_stands_twice_is_left_to_the_decoder() {
        let bytes = plain().encode_to_vec();
        for twice in [
            v1::VerifyRequest { expect: None, ..plain() },
            v1::VerifyRequest { request_head: None, ..plain() },
            v1::VerifyRequest { request_head: None, expect: None, form: Some(Box::default()), ..plain() },
        ] {
            assert!(!is_read(&[&*bytes, &twice.encode_to_vec()].concat()), "{twice:?}");
        }
        let flag = |explain| v1::VerifyRequest { explain, ..v1::VerifyRequest::default() }.encode_to_vec();
        assert!(is_read(&[&*flag(true), &*bytes, b"\x40\x00"].concat()), "the last one holds, as with any message");
        assert!(!is_read(&[&*bytes, b"\x48\x00"].concat()), "a field that nobody knows");
    }

    #[test]
    fn a_batch_is_taken_apart_up_to_its_limit() {
        let batch = v1::VerifyBatchRequest { requests: vec![plain(), v1::VerifyRequest::default(), plain()] };
        let bytes = batch.encode_to_vec();
        let decode_all = |bytes: &[u8], limit| {
            let requests = requests_of(bytes, limit).map_err(|status| status.code())?;
            Ok(requests.into_iter().map(|it| decode(it.to_vec().into()).expect("a request")).collect::<Vec<_>>())
        };
        assert_eq!(decode_all(&bytes, 3), Ok(batch.requests.clone()));
        assert_eq!(decode_all(&[b"\x10\x07".as_slice(), &bytes, b"\x1a\x01x"].concat(), 3), Ok(batch.requests.clone()));
        assert_eq!(decode_all(&bytes, 1).expect("two are read").len(), 2);
        assert_eq!(decode_all(&bytes[..bytes.len() - 1], 3), Err(tonic::Code::Internal));
        assert_eq!(decode_all(b"\x08\x01", 3), Err(tonic::Code::Internal), "a number in place of a request");
        assert_eq!(decode_all(b"", 3), Ok(Vec::new()));
    }

    proptest! {
        /// Whatever is changed in the bytes: what is read is what the decoder reads.
        #[test]
        fn reads_nothing_otherwise_than_the_decoder(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            cut in any::<prop::sample::Index>(),
            end in any::<[u8; 4]>(),
        ) {
            let payload = Some(Payload::PayloadSha256(vec![7; 32].into()));
            let region = Some("eu-1".to_owned());
            let expect = Some(v1::Expect { service: "s3".into(), region });
            let mut bytes = v1::VerifyRequest { payload, expect, explain: true, ..plain() }.encode_to_vec();
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            prop_assert!(is_read(&bytes) || !changes.is_empty());
            is_read(&bytes[..cut.index(bytes.len())]);
            bytes.extend(end);
            is_read(&bytes);
        }
    }
}
