//! `POST /v1/verify`: the JSON of a call. What can be borrowed from its bytes is not copied.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};

use super::call::{GivenForm, form_of, head_of_bytes, head_of_fields};
use super::{MAX_BODY, Malformed, VerifyCall};
use crate::sigv4::{Body, FormFile, HeadPlace, MAX_HEADERS, RequestHead};

/// The most bytes of a JSON call: a body and a head of the largest size, in base64, with room for the rest.
pub(super) const MAX_CALL: usize = MAX_BODY / 3 * 4 + 256 * 1024;

/// A call as it stands in the JSON, not yet decoded.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields<'a> {
    #[serde(borrow)]
    method: Option<Text<'a>>,
    #[serde(borrow)]
    target: Option<Text<'a>>,
    #[serde(borrow)]
    headers: Option<Headers<'a>>,
    #[serde(borrow)]
    head: Option<Text<'a>>,
    #[serde(borrow)]
    body: Option<Text<'a>>,
    #[serde(borrow)]
    payload_sha256: Option<Text<'a>>,
    #[serde(borrow)]
    form: Option<Form<'a>>,
    #[serde(borrow)]
    expect: Option<Expect<'a>>,
    #[serde(default)]
    want_signing_key: bool,
    #[serde(default)]
    explain: bool,
}

/// The form that holds the credentials; without `fields`, the body is it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form<'a> {
    #[serde(borrow)]
    bucket: Option<Text<'a>>,
    #[serde(borrow)]
    fields: Option<Headers<'a>>,
    #[serde(borrow)]
    file_name: Option<Text<'a>>,
    file_size: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect<'a> {
    #[serde(borrow)]
    service: Text<'a>,
    #[serde(borrow)]
    region: Option<Text<'a>>,
}

/// A decoded call, which [`VerifyCall`] borrows from.
pub(super) struct Call<'a> {
    fields: Fields<'a>,
    head: Option<Vec<u8>>,
    body: Option<Vec<u8>>,
    payload_sha256: Option<[u8; 32]>,
}

impl<'a> Call<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let fields: Fields<'a> = serde_json::from_slice(bytes).map_err(|error| explain(bytes, error))?;
        let head = fields.head.as_deref().map(|text| base64("head", text)).transpose()?;
        let body = fields.body.as_deref().map(|text| base64("body", text)).transpose()?;
        let payload_sha256 = fields.payload_sha256.as_deref().map(sha256).transpose()?;
        Ok(Self { fields, head, body, payload_sha256 })
    }

    /// The call, its head in that place.
    pub fn as_verify_call<'h, 's>(&'s self, place: &'h mut HeadPlace<'s>) -> Result<VerifyCall<'h, 's>, Malformed> {
        let expect = self.fields.expect.as_ref().ok_or_else(|| {
            Malformed::missing(
                "expect",
                "say what the request is verified for: {\"service\": …, \"region\": … or null}",
            )
        })?;
        let (head, body) = (self.head(place)?, self.body()?);
        let call = VerifyCall {
            form: form_of(self.form(), head, body, &expect.service)?,
            head,
            body,
            expect_service: &expect.service,
            expect_region: expect.region.as_deref(),
            want_signing_key: self.fields.want_signing_key,
            explain: self.fields.explain,
        };
        call.check()?;
        Ok(call)
    }

    fn head<'h, 's>(&'s self, place: &'h mut HeadPlace<'s>) -> Result<&'h RequestHead<'s>, Malformed> {
        let Fields { method, target, headers, .. } = &self.fields;
        match (&self.head, method, target, headers) {
            (Some(raw), None, None, None) => head_of_bytes(place, raw),
            (Some(_), ..) => {
                let message = "head is set, and so are method, target or headers: one says what the others do";
                Err(Malformed::new("conflicting_fields", "head", message))
            }
            (None, Some(method), Some(target), Some(headers)) => {
                let headers = headers.0.iter().map(|Header(name, value)| (name.as_bytes(), value.as_bytes()));
                head_of_fields(place, method.as_bytes(), target.as_bytes(), headers)
            }
            (None, None, ..) => Err(Malformed::missing("method", "needed, unless there is a head")),
            (None, _, None, _) => Err(Malformed::missing("target", "needed, unless there is a head")),
            (None, _, _, None) => Err(Malformed::missing("headers", "needed, unless there is a head")),
        }
    }

    fn form(&self) -> Option<GivenForm<'_>> {
        let Form { bucket, fields, file_name, file_size } = self.fields.form.as_ref()?;
        Some(GivenForm {
            bucket: bucket.as_deref(),
            fields: fields.as_ref().map(Headers::pairs),
            file: FormFile { name: file_name.as_deref(), size: *file_size },
        })
    }

    fn body(&self) -> Result<Body<'_>, Malformed> {
        match (&self.body, self.payload_sha256) {
            (Some(bytes), None) => Ok(Body::Bytes(bytes)),
            (None, Some(hash)) => Ok(Body::Sha256(hash)),
            (None, None) => Ok(Body::Absent),
            (Some(_), Some(_)) => {
                let message = "body and payload_sha256 are both set: one says what the other does";
                Err(Malformed::new("conflicting_fields", "payload_sha256", message))
            }
        }
    }
}

fn base64(at: &str, text: &str) -> Result<Vec<u8>, Malformed> {
    STANDARD.decode(text).map_err(|error| Malformed::bad(at, format!("is not standard base64 with padding: {error}")))
}

fn sha256(text: &str) -> Result<[u8; 32], Malformed> {
    let mut hash = [0; 32];
    match base16ct::mixed::decode(text, &mut hash) {
        Ok(decoded) if decoded.len() == 32 => Ok(hash),
        _ => Err(Malformed::bad("payload_sha256", "is not 64 hexadecimal digits")),
    }
}

/// Names the field, which serde_json alone does not. Only a call that is refused is parsed a second time.
fn explain(bytes: &[u8], error: serde_json::Error) -> Malformed {
    let path = || {
        let mut again = serde_json::Deserializer::from_slice(bytes);
        let path = serde_path_to_error::deserialize::<_, Fields<'_>>(&mut again).err()?.path().to_string();
        (path != ".").then_some(path)
    };
    let at = if error.is_data() { path() } else { None };
    Malformed { code: "bad_json", message: error.to_string(), at }
}

/// A string, borrowed from the JSON unless it holds escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Headers in order of arrival, or fields of a form. Reading stops at the limit, so that a call cannot make much memory of few bytes.
struct Headers<'a>(Vec<Header<'a>>);

impl Headers<'_> {
    fn pairs(&self) -> Vec<(&str, &str)> {
        self.0.iter().map(|Header(name, value)| (&**name, &**value)).collect()
    }
}

/// `[name, value]`.
struct Header<'a>(Text<'a>, Text<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Headers<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Headers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of [name, value] pairs")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut pairs: A) -> Result<Self::Value, A::Error> {
                let mut headers = Vec::with_capacity(16);
                while let Some(pair) = pairs.next_element()? {
                    if headers.len() == MAX_HEADERS {
                        return Err(A::Error::custom(format_args!("more than {MAX_HEADERS} headers")));
                    }
                    headers.push(pair);
                }
                Ok(Headers(headers))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Header<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pair;
        impl<'de> Visitor<'de> for Pair {
            type Value = Header<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a [name, value] pair")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Self::Value, A::Error> {
                let name = pair.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
                let value = pair.next_element()?.ok_or_else(|| A::Error::invalid_length(1, &self))?;
                match pair.next_element::<IgnoredAny>()? {
                    None => Ok(Header(name, value)),
                    Some(_) => Err(A::Error::invalid_length(3, &self)),
                }
            }
        }
        deserializer.deserialize_seq(Pair)
    }
}
