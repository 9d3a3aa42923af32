//! The canonical query in the forms in which signers write it, and with what may have been changed in it on the way.

use super::path::{lower_hex, put_but, replace};
use super::variants::{Part, Step};
use crate::sigv4::{Place, decode, put_encoded, put_reencoded};

/// The most parameters of which each is tried to be left out.
const MOST_LEFT_OUT: usize = 24;

/// `name`, or `name=value`, as sent.
#[derive(Clone, Copy)]
struct Piece<'a> {
    name: &'a [u8],
    value: Option<&'a [u8]>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    /// Decoded once, `+` into a blank, and encoded once.
    Reencoded,
    LiteralPlus,
    /// Decoded, and `+` taken for a blank once more.
    PlusAsBlank,
    Raw,
    /// What was sent without an escape is escaped, but for `=`: s3fs does so.
    Escaped,
    EqualsKept,
    SpaceAsPlus,
    SlashKept,
    Script,
    /// `application/x-www-form-urlencoded`: blanks as `+`, `*` kept, `~` encoded.
    Form,
    LowerHex,
    /// `~` encoded as well.
    Tilde,
    /// What is not UTF-8 replaced by U+FFFD.
    Lossy,
    Double,
    Decoded,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// By name, then by value, as encoded.
    Sorted,
    AsSent,
    /// As whole texts, the equals sign included.
    AsText,
    NamesOnly,
    NoCase,
    /// As decoded: an encoded character stands before letters, and most of those that are encoded after them.
    Decoded,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Equals {
    Always,
    AsSent,
    /// Not even where an empty value was sent.
    NotBeforeNothing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeated {
    All,
    First,
    Last,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Style {
    coding: Coding,
    order: Order,
    equals: Equals,
    repeated: Repeated,
}

const DOCUMENTED: Style =
    Style { coding: Coding::Reencoded, order: Order::Sorted, equals: Equals::Always, repeated: Repeated::All };
const RAW: Style = Style { coding: Coding::Raw, order: Order::AsSent, equals: Equals::AsSent, ..DOCUMENTED };

const CODINGS: [Coding; 14] = [
    Coding::LiteralPlus,
    Coding::PlusAsBlank,
    Coding::Raw,
    Coding::SlashKept,
    Coding::SpaceAsPlus,
    Coding::Script,
    Coding::Form,
    Coding::LowerHex,
    Coding::Tilde,
    Coding::Lossy,
    Coding::Double,
    Coding::EqualsKept,
    Coding::Escaped,
    Coding::Decoded,
];
const ORDERS: [Order; 5] = [Order::AsSent, Order::AsText, Order::NamesOnly, Order::NoCase, Order::Decoded];
const EQUALS: [Equals; 2] = [Equals::AsSent, Equals::NotBeforeNothing];
const REPEATED: [Repeated; 2] = [Repeated::First, Repeated::Last];

/// All forms of the query. `others` are queries that may have been sent instead.
pub(super) fn part(query: &[u8], others: &[(Vec<u8>, Step)]) -> Part {
    let pieces = pieces(query);
    let mut part = Part::with_base(write(&pieces, DOCUMENTED));
    for style in styles() {
        part.add(write(&pieces, style), steps(style));
    }
    part.add(raw(query), steps(RAW));
    for (left_out, piece) in pieces.iter().enumerate().take(MOST_LEFT_OUT) {
        let rest: Vec<_> = pieces.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, p)| *p).collect();
        part.add(write(&rest, DOCUMENTED), vec![without(piece)]);
    }
    let condition = "a `;` in the query parted parameters as `&` does";
    let parted = replace(query, b';', b"&");
    part.add(write(&self::pieces(&parted), DOCUMENTED), vec![Step::new("query=semicolon", condition)]);
    for (rest, step) in shortened(query, &pieces) {
        part.add(write(&rest, DOCUMENTED), vec![step.clone()]);
        for style in singles() {
            part.add(write(&rest, style), [vec![step.clone()], steps(style)].concat());
        }
    }
    if !pieces.is_empty() {
        part.add(Vec::new(), vec![Step::new("query=without-all", "the query were not signed at all")]);
    }
    for (query, step) in others {
        part.add(write(&self::pieces(query), DOCUMENTED), vec![step.clone()]);
    }
    part
}

/// What is left of the query for signers that lose some of it, where that is less than there is. What they keep is encoded in
/// one way or another.
fn shortened<'a>(query: &'a [u8], pieces: &[Piece<'a>]) -> Vec<(Vec<Piece<'a>>, Step)> {
    // Python's parse_qs takes parameters without a value for none.
    let has_value = |piece: &&Piece<'_>| piece.value.is_some_and(|value| !value.is_empty());
    let with_value: Vec<_> = pieces.iter().filter(has_value).copied().collect();
    // Who splits at each `=` and takes the second text.
    let to_equals = |value: &'a [u8]| memchr::memchr(b'=', value).map_or(value, |mark| &value[..mark]);
    let cut: Vec<_> = pieces.iter().map(|piece| Piece { value: piece.value.map(to_equals), ..*piece }).collect();
    // requests-aws4auth up to 0.9 decodes the query and splits it at blanks.
    let blank = memchr::memmem::find(query, b"%20").map(|mark| &query[..mark]);
    let forms = [
        (Some(with_value), "query=without-empty", "parameters without a value were not signed"),
        (Some(cut), "query=cut-at-equals", "values in the query ended in front of an equals sign within them"),
        (blank.map(self::pieces), "query=cut-at-blank", "the query ended in front of its first blank"),
    ];
    let lost_some = |rest: &Vec<Piece<'_>>| write(rest, DOCUMENTED) != write(pieces, DOCUMENTED);
    let step = |(rest, name, condition): (Option<Vec<Piece<'a>>>, &'static str, &'static str)| {
        Some((rest.filter(lost_some)?, Step::new(name, condition)))
    };
    forms.into_iter().filter_map(step).collect()
}

/// With one deviation each.
fn singles() -> Vec<Style> {
    let codings = CODINGS.map(|coding| Style { coding, ..DOCUMENTED });
    let orders = ORDERS.map(|order| Style { order, ..DOCUMENTED });
    let equals = EQUALS.map(|equals| Style { equals, ..DOCUMENTED });
    let repeated = REPEATED.map(|repeated| Style { repeated, ..DOCUMENTED });
    [&orders[..], &equals, &codings, &[RAW], &repeated].concat()
}

/// Those with one deviation first.
fn styles() -> Vec<Style> {
    let singles = singles();
    let of_two = |a: &Style| {
        let two = |b: &Style| Style {
            coding: if a.coding == DOCUMENTED.coding { b.coding } else { a.coding },
            order: if a.order == DOCUMENTED.order { b.order } else { a.order },
            equals: if a.equals == DOCUMENTED.equals { b.equals } else { a.equals },
            repeated: if a.repeated == DOCUMENTED.repeated { b.repeated } else { a.repeated },
        };
        singles.iter().map(two).filter(|style| steps(*style).len() == 2).collect::<Vec<_>>()
    };
    let pairs: Vec<_> = singles.iter().flat_map(of_two).collect();
    singles.into_iter().chain(pairs).collect()
}

fn steps(style: Style) -> Vec<Step> {
    if style == RAW {
        return vec![Step::new("query=raw", "the query were signed as it was sent, neither encoded nor sorted")];
    }
    let parts = [
        order_step(style.order),
        equals_step(style.equals),
        coding_step(style.coding),
        match style.repeated {
            Repeated::All => None,
            Repeated::First => {
                Some(("first-of-repeated", "of a parameter that comes more than once only the first were signed"))
            }
            Repeated::Last => {
                Some(("last-of-repeated", "of a parameter that comes more than once only the last were signed"))
            }
        },
    ];
    parts.into_iter().flatten().map(|(name, condition)| Step::new(format!("query={name}"), condition)).collect()
}

fn order_step(order: Order) -> Option<(&'static str, &'static str)> {
    match order {
        Order::Sorted => None,
        Order::AsSent => Some(("unsorted", "the query were signed in the order it was sent in, not sorted")),
        Order::AsText => {
            Some(("sorted-as-text", "the query were sorted as `name=value` texts, not by name and then by value"))
        }
        Order::NamesOnly => Some(("sorted-by-name", "the query were sorted by name alone, not by value as well")),
        Order::Decoded => Some(("sorted-decoded", "the query were sorted as decoded, not as encoded")),
        Order::NoCase => Some(("sorted-nocase", "the query were sorted without regard to case")),
    }
}

fn equals_step(equals: Equals) -> Option<(&'static str, &'static str)> {
    match equals {
        Equals::Always => None,
        Equals::AsSent => {
            Some(("no-eq", "a parameter that was sent without `=` were signed without it (it takes `name=`)"))
        }
        Equals::NotBeforeNothing => Some(("no-eq-if-empty", "a parameter with an empty value were signed without `=`")),
    }
}

fn coding_step(coding: Coding) -> Option<(&'static str, &'static str)> {
    Some(match coding {
        Coding::Reencoded => return None,
        Coding::LiteralPlus => ("literal-plus", "a `+` in the query meant a plus, not a blank"),
        Coding::PlusAsBlank => ("plus-as-blank", "pluses in the query, sent as `%2B`, were signed as blanks"),
        Coding::Raw => ("raw-sorted", "the query were signed with its characters as they were sent, sorted"),
        Coding::Escaped => (
            "escaped",
            "what stands unescaped in the query were escaped, `=` excepted, and its escapes were signed as they are",
        ),
        Coding::EqualsKept => ("equals-kept", "equals signs within values were signed as they are, not as `%3D`"),
        Coding::SpaceAsPlus => ("space-as-plus", "blanks in the query were signed as `+`, not as `%20`"),
        Coding::SlashKept => ("slash-kept", "slashes in the query were signed as they are, not as `%2F`"),
        Coding::Script => ("script", "`!'()*` in the query were signed as they are"),
        Coding::Form => ("form", "the query were signed encoded as a form (blanks as `+`, `*` kept, `~` encoded)"),
        Coding::LowerHex => ("lower-hex", "the escapes in the query were signed with lower-case digits"),
        Coding::Tilde => ("tilde", "`~` in the query were signed as `%7E`"),
        Coding::Lossy => ("lossy", "U+FFFD were signed for what is not UTF-8 in the query"),
        Coding::Double => ("double", "the query were encoded once more"),
        Coding::Decoded => ("decoded", "the query were signed decoded"),
    })
}

fn without(piece: &Piece<'_>) -> Step {
    let name = String::from_utf8_lossy(&decode(piece.name, Place::Query)).into_owned();
    Step::new(
        format!("query=without:{name}"),
        format!("the query did not hold `{name}`: it was added after signing, or the signer leaves it out"),
    )
}

/// The pieces between `&`; empty ones are none, and the signature itself is never signed.
fn pieces(query: &[u8]) -> Vec<Piece<'_>> {
    let split = query.split(|byte| *byte == b'&').filter(|text| !text.is_empty());
    split
        .map(|text| match memchr::memchr(b'=', text) {
            Some(mark) => Piece { name: &text[..mark], value: Some(&text[mark + 1..]) },
            None => Piece { name: text, value: None },
        })
        .filter(|piece| *decode(piece.name, Place::Query) != *b"X-Amz-Signature")
        .collect()
}

/// As it was sent, empty pieces included.
fn raw(query: &[u8]) -> Vec<u8> {
    let is_signature = |text: &&[u8]| text.starts_with(b"X-Amz-Signature=");
    query.split(|byte| *byte == b'&').filter(|text| !is_signature(text)).collect::<Vec<_>>().join(&b'&')
}

fn write(pieces: &[Piece<'_>], style: Style) -> Vec<u8> {
    let mut encoded: Vec<(Vec<u8>, Vec<u8>, bool)> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let value = piece.value.unwrap_or_default();
        let has_equals = match style.equals {
            Equals::Always => true,
            Equals::AsSent => piece.value.is_some(),
            Equals::NotBeforeNothing => !value.is_empty(),
        };
        let name = encode(piece.name, style.coding);
        let known = encoded.iter().position(|(other, ..)| *other == name);
        match (style.repeated, known) {
            (Repeated::First, Some(_)) => continue,
            (Repeated::Last, Some(known)) => encoded[known] = (name, encode(value, style.coding), has_equals),
            _ => encoded.push((name, encode(value, style.coding), has_equals)),
        }
    }
    match style.order {
        Order::AsSent => {}
        Order::Sorted => encoded.sort(),
        Order::AsText => encoded.sort_by_key(|(name, value, _)| [name, &b"="[..], value].concat()),
        Order::NamesOnly => encoded.sort_by(|a, b| a.0.cmp(&b.0)),
        Order::Decoded => {
            let decoded = |text: &[u8]| decode(text, Place::Path).into_owned();
            encoded.sort_by_key(|(name, value, _)| (decoded(name), decoded(value)));
        }
        Order::NoCase => encoded.sort_by_key(|(name, value, _)| (name.to_ascii_lowercase(), value.clone())),
    }
    let texts = encoded.iter().map(|(name, value, has_equals)| match has_equals {
        true => [&name[..], b"=", value].concat(),
        false => [&name[..], value].concat(),
    });
    texts.collect::<Vec<_>>().join(&b'&')
}

fn encode(text: &[u8], coding: Coding) -> Vec<u8> {
    let decoded = || decode(text, Place::Query);
    let mut encoded = Vec::with_capacity(text.len());
    match coding {
        Coding::Reencoded => put_reencoded(&mut encoded, text, Place::Query),
        Coding::LiteralPlus => put_encoded(&mut encoded, &decode(text, Place::Path)),
        Coding::PlusAsBlank => put_encoded(&mut encoded, &replace(&decoded(), b'+', b" ")),
        Coding::Raw => encoded.extend_from_slice(text),
        Coding::Escaped => put_but(&mut encoded, text, b"%="),
        Coding::EqualsKept => put_but(&mut encoded, &decoded(), b"="),
        Coding::SpaceAsPlus => put_with_plus(&mut encoded, &decoded(), b""),
        Coding::SlashKept => put_but(&mut encoded, &decoded(), b"/"),
        Coding::Script => put_but(&mut encoded, &decoded(), b"!'()*"),
        Coding::Form => {
            put_with_plus(&mut encoded, &decoded(), b"*");
            encoded = replace(&encoded, b'~', b"%7E");
        }
        Coding::LowerHex => {
            put_reencoded(&mut encoded, text, Place::Query);
            lower_hex(&mut encoded);
        }
        Coding::Tilde => {
            put_reencoded(&mut encoded, text, Place::Query);
            encoded = replace(&encoded, b'~', b"%7E");
        }
        Coding::Lossy => put_encoded(&mut encoded, String::from_utf8_lossy(&decoded()).as_bytes()),
        Coding::Double => put_encoded(&mut encoded, text),
        Coding::Decoded => encoded.extend_from_slice(&decoded()),
    }
    encoded
}

fn put_with_plus(encoded: &mut Vec<u8>, text: &[u8], kept: &[u8]) {
    for byte in text {
        match byte {
            b' ' => encoded.push(b'+'),
            _ => put_but(encoded, std::slice::from_ref(byte), kept),
        }
    }
}
