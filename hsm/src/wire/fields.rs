//! Reading a body, field by field.

use super::{Malformed, is_scope_name};
use crate::access_key_id::{AccessKeyId, Generation, ID_LEN};

/// What is left of a body that is being read.
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed("too short"))?;
        self.0 = rest;
        Ok(*head)
    }

    pub fn byte(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("flag")),
        }
    }

    pub fn generation(&mut self) -> Result<Generation, Malformed> {
        Generation::new(self.byte()?).ok_or(Malformed("generation"))
    }

    pub fn id(&mut self) -> Result<AccessKeyId, Malformed> {
        AccessKeyId::parse(&self.array::<ID_LEN>()?).ok_or(Malformed("access key id"))
    }

    pub fn name(&mut self) -> Result<String, Malformed> {
        let length = usize::from(self.byte()?);
        let (name, rest) = self.0.split_at_checked(length).ok_or(Malformed("too short"))?;
        if !is_scope_name(name) {
            return Err(Malformed("region or service"));
        }
        self.0 = rest;
        Ok(String::from_utf8_lossy(name).into_owned())
    }

    /// All that is left: the last field.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }

    pub fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("bytes after the last field")) }
    }
}
