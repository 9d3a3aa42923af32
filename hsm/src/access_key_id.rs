//! The access key id: four prefix letters and 80 bits in base32, which name the account, the generation and a tag.
//!
//! The layouts are specified in `docs/derivation.md`. Bits are numbered 79 (first) to 0 (last), big-endian.

use std::fmt;

use base32::Alphabet;

use crate::secret::{Secret32, hmac_sha256};

/// Characters in an access key id.
pub const ID_LEN: usize = 20;
/// The largest account number: twelve decimal digits.
pub const MAX_ACCOUNT: u64 = 999_999_999_999;
/// The largest generation number: seven bits.
pub const MAX_GENERATION: u8 = 127;

/// The number of an account, at most twelve decimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Account(u64);

impl Account {
    /// `None` above 999 999 999 999.
    pub fn new(number: u64) -> Option<Self> {
        (number <= MAX_ACCOUNT).then_some(Self(number))
    }

    /// The twelve digits as AWS prints them, leading zeros included.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().ok().and_then(Self::new)).flatten()
    }

    /// The number.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012}", self.0)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The number of a master key, 0 to 127.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Generation(u8);

impl Generation {
    /// `None` above 127.
    pub fn new(number: u8) -> Option<Self> {
        (number <= MAX_GENERATION).then_some(Self(number))
    }

    /// The number.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Four upper-case letters in front of an id.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix([u8; 4]);

impl Prefix {
    /// `None` unless the text is four letters A to Z.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 4] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(u8::is_ascii_uppercase).then_some(Self(bytes))
    }

    /// The letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("letters A to Z")
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether an id names a long-term key or one that comes with a session token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lifetime {
    /// A key of a user or an account, good until it is denied.
    LongTerm,
    /// A key of a session, good with its session token only.
    Temporary,
}

/// The prefixes a deployment has used. The first of each list is the one that new ids get; the others keep verifying.
#[derive(Clone, Debug)]
pub struct Prefixes {
    long_term: Vec<Prefix>,
    temporary: Vec<Prefix>,
}

impl Prefixes {
    /// `None` if a list is empty or a prefix stands in both.
    pub fn new(long_term: Vec<Prefix>, temporary: Vec<Prefix>) -> Option<Self> {
        let distinct = long_term.iter().all(|prefix| !temporary.contains(prefix));
        (!long_term.is_empty() && !temporary.is_empty() && distinct).then_some(Self { long_term, temporary })
    }

    /// What a prefix stands for, if it is one of ours.
    pub fn lifetime(&self, prefix: Prefix) -> Option<Lifetime> {
        if self.long_term.contains(&prefix) {
            Some(Lifetime::LongTerm)
        } else {
            self.temporary.contains(&prefix).then_some(Lifetime::Temporary)
        }
    }

    /// The prefix of new ids.
    pub fn issuing(&self, lifetime: Lifetime) -> Prefix {
        match lifetime {
            Lifetime::LongTerm => self.long_term[0],
            Lifetime::Temporary => self.temporary[0],
        }
    }

    /// All prefixes of a kind, the issuing one first.
    pub fn all(&self, lifetime: Lifetime) -> &[Prefix] {
        match lifetime {
            Lifetime::LongTerm => &self.long_term,
            Lifetime::Temporary => &self.temporary,
        }
    }
}

impl Default for Prefixes {
    /// `AKIA` and `ASIA`.
    fn default() -> Self {
        Self { long_term: vec![Prefix(*b"AKIA")], temporary: vec![Prefix(*b"ASIA")] }
    }
}

/// How the 80 bits are divided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// The account is readable from the id, as in AWS's own ids of today.
    Account,
    /// Nothing but the generation shows, as in AWS's older ids.
    Opaque,
}

/// What the bits of an id say. Every id of ours has exactly one such reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fields {
    /// 1 ‖ account (40) ‖ generation (7) ‖ R (1) ‖ serial (20) ‖ tag (11).
    Account {
        /// The account the key belongs to.
        account: Account,
        /// The generation whose master derives the secret.
        generation: Generation,
        /// R: only a verifier that knows the key's row may accept it.
        needs_row: bool,
        /// 20 bits.
        serial: u32,
    },
    /// 0100 ‖ generation (7) ‖ R (1) ‖ serial (44) ‖ tag (20) ‖ 0000.
    Opaque {
        /// The generation whose master derives the secret.
        generation: Generation,
        /// R, always meant for this layout.
        needs_row: bool,
        /// 44 bits.
        serial: u64,
    },
}

impl Fields {
    /// The generation, in whichever layout.
    pub fn generation(&self) -> Generation {
        match *self {
            Self::Account { generation, .. } | Self::Opaque { generation, .. } => generation,
        }
    }

    /// The account, where the layout shows it.
    pub fn account(&self) -> Option<Account> {
        match *self {
            Self::Account { account, .. } => Some(account),
            Self::Opaque { .. } => None,
        }
    }

    /// Whether only a verifier that knows the key's row may accept it (R, or a layout without the account).
    pub fn needs_row(&self) -> bool {
        match *self {
            Self::Account { needs_row, .. } => needs_row,
            Self::Opaque { .. } => true,
        }
    }

    fn layout(&self) -> Layout {
        match self {
            Self::Account { .. } => Layout::Account,
            Self::Opaque { .. } => Layout::Opaque,
        }
    }

    /// The 80 bits with the tag bits 0.
    fn untagged_bits(&self) -> u128 {
        match *self {
            Self::Account { account, generation, needs_row, serial } => {
                1 << 79
                    | u128::from(account.0) << 39
                    | u128::from(generation.0) << 32
                    | u128::from(needs_row) << 31
                    | u128::from(serial & 0xf_ffff) << 11
            }
            Self::Opaque { generation, needs_row, serial } => {
                0b0100 << 76
                    | u128::from(generation.0) << 69
                    | u128::from(needs_row) << 68
                    | u128::from(serial & 0xfff_ffff_ffff) << 24
            }
        }
    }
}

impl Layout {
    /// Bits of serial number that an id of this layout holds.
    pub fn serial_bits(self) -> u32 {
        match self {
            Self::Account => 20,
            Self::Opaque => 44,
        }
    }

    /// Width of the tag and how far it stands from the right.
    fn tag_place(self) -> (u32, u32) {
        match self {
            Self::Account => (11, 0),
            Self::Opaque => (20, 4),
        }
    }
}

/// Bytes of a [`PackedId`].
pub const PACKED_LEN: usize = 14;

/// An access key id as [`AccessKeyId::packed`] gives it.
pub type PackedId = [u8; PACKED_LEN];

/// A well-formed access key id: known alphabet, known layout, re-encodes to itself. Its tag may still be wrong.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AccessKeyId([u8; ID_LEN]);

impl AccessKeyId {
    /// Reads the 20 characters of an id; `None` if they are not one in any layout. Prefixes are judged by [`Prefixes`].
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text: [u8; ID_LEN] = text.try_into().ok()?;
        text[..4].iter().all(u8::is_ascii_uppercase).then_some(())?;
        read_fields(decode(&text[4..])?)?;
        Some(Self(text))
    }

    /// The id with these fields, its tag made with the tag key of the generation.
    pub fn assemble(prefix: Prefix, fields: &Fields, tag_key: &TagKey) -> Self {
        let bits = fields.untagged_bits();
        let (_, shift) = fields.layout().tag_place();
        let tagged = bits | u128::from(tag_key.tag(prefix, bits, fields.layout())) << shift;
        let mut text = [0; ID_LEN];
        text[..4].copy_from_slice(&prefix.0);
        text[4..].copy_from_slice(base32::encode(Alphabet::Rfc4648 { padding: false }, &bytes_of(tagged)).as_bytes());
        Self(text)
    }

    /// The 20 ASCII characters.
    pub fn as_bytes(&self) -> &[u8; ID_LEN] {
        &self.0
    }

    /// The 20 ASCII characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an id is ASCII")
    }

    /// The first four letters.
    pub fn prefix(&self) -> Prefix {
        Prefix([self.0[0], self.0[1], self.0[2], self.0[3]])
    }

    /// The id in 14 bytes: the prefix and the 80 bits, big-endian. For lists that hold many.
    pub fn packed(&self) -> PackedId {
        let mut packed = [0; PACKED_LEN];
        packed[..4].copy_from_slice(&self.0[..4]);
        packed[4..].copy_from_slice(&bytes_of(self.bits()));
        packed
    }

    /// What its bits say.
    pub fn fields(&self) -> Fields {
        read_fields(self.bits()).expect("an id is parsed before it is built")
    }

    /// The 80 bits that the text stands for.
    fn bits(&self) -> u128 {
        decode(&self.0[4..]).expect("an id is parsed before it is built")
    }

    /// Whether the tag is the one that the generation's tag key makes. A filter, not a security boundary.
    pub fn has_tag_of(&self, tag_key: &TagKey) -> bool {
        let bits = self.bits();
        let layout = self.fields().layout();
        let (width, shift) = layout.tag_place();
        let mask = ((1u128 << width) - 1) << shift;
        let given = ((bits & mask) >> shift) as u32;
        given == tag_key.tag(self.prefix(), bits & !mask, layout)
    }
}

impl fmt::Display for AccessKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for AccessKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The key of a generation's id tags: `subkey("access-key-id-tag")`. Lets its holder filter ids, not derive secrets.
///
/// Holds the HMAC's first state, so that a tag costs two compressions.
pub struct TagKey(hmac::Hmac<sha2::Sha256>);

impl TagKey {
    /// From the 32 bytes that the worker answers with.
    pub fn new(subkey: &Secret32) -> Self {
        Self(hmac_sha256(subkey.expose()))
    }

    /// The leading bits of HMAC(tag key, prefix ‖ the 10 bytes with the tag bits 0), as many as the layout has.
    fn tag(&self, prefix: Prefix, untagged_bits: u128, layout: Layout) -> u32 {
        use hmac::Mac as _;
        let mut message = [0; 14];
        message[..4].copy_from_slice(&prefix.0);
        message[4..].copy_from_slice(&bytes_of(untagged_bits));
        let mut mac = self.0.clone();
        mac.update(&message);
        let mac = mac.finalize().into_bytes();
        u32::from_be_bytes([mac[0], mac[1], mac[2], mac[3]]) >> (32 - layout.tag_place().0)
    }
}

fn read_fields(bits: u128) -> Option<Fields> {
    let field = |low: u32, width: u32| (bits >> low) & ((1 << width) - 1);
    if field(79, 1) == 1 {
        Some(Fields::Account {
            account: Account::new(field(39, 40) as u64)?,
            generation: Generation::new(field(32, 7) as u8)?,
            needs_row: field(31, 1) == 1,
            serial: field(11, 20) as u32,
        })
    } else if field(76, 4) == 0b0100 && field(0, 4) == 0 {
        Some(Fields::Opaque {
            generation: Generation::new(field(69, 7) as u8)?,
            needs_row: field(68, 1) == 1,
            serial: field(24, 44) as u64,
        })
    } else {
        None
    }
}

/// Sixteen characters of RFC 4648 base32, upper case, to 80 bits. 16 × 5 = 80, so every text re-encodes to itself.
fn decode(text: &[u8]) -> Option<u128> {
    let (high, low) = text.split_at_checked(8)?;
    Some(u128::from(decode_half(high)?) << 40 | u128::from(decode_half(low)?))
}

/// Eight characters to 40 bits.
fn decode_half(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0, |bits, &c| {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'2'..=b'7' => c - b'2' + 26,
            _ => return None,
        };
        Some(bits << 5 | u64::from(value))
    })
}

fn bytes_of(bits: u128) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes.copy_from_slice(&bits.to_be_bytes()[6..]);
    bytes
}
