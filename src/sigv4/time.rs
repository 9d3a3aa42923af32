//! Points in time as Signature Version 4 writes them: `YYYYMMDD'T'HHMMSS'Z'`. There is no clock here.

use std::fmt;
use std::time::UNIX_EPOCH;

use time::{Date, Month, OffsetDateTime};

/// Seconds since 1970-01-01T00:00:00Z.
pub type UnixSeconds = i64;

/// A point in time of the calendar, in the basic form of ISO 8601, which is what the string to sign holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AmzDate {
    text: Text,
    unix: UnixSeconds,
}

/// The 16 characters. Aligned, they are moved by whole words; else the compiler puts them next to some flag byte, and each
/// move waits for the stores of the one before.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(align(8))]
struct Text([u8; 16]);

impl AmzDate {
    /// Reads `YYYYMMDD'T'HHMMSS'Z'`; `None` if it is written in any other way or does not exist in the calendar.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text: [u8; 16] = text.try_into().ok()?;
        let [date, time] = text.as_chunks::<8>().0 else { return None };
        let ([b'T', _, _, _, _, _, _, b'Z'], [century, year, month, day]) = (time, pairs(u64::from_le_bytes(*date))?)
        else {
            return None;
        };
        // The last pair is no part of it: zeros where `Z` stands.
        let [hour, minute, second, _] = pairs(u64::from_le_bytes(*time) >> 8 & u64::MAX >> 16 | ZEROS << 48)?;
        let year = century * 100 + year;
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let date = calendar_date(year, month, day)?;
        Some(Self { text: Text(text), unix: midnight(date) + i64::from(hour * 3600 + minute * 60 + second) })
    }

    /// Reads the value of a `Date` header: RFC 1123 with its older forms (RFC 9110, 5.6.7), or the basic form.
    pub fn parse_date_header(text: &[u8]) -> Option<Self> {
        if let Some(date) = Self::parse(text) {
            return Some(date);
        }
        let time = httpdate::parse_http_date(std::str::from_utf8(text).ok()?).ok()?;
        let unix = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
        Some(Self::at(i64::try_from(unix).ok()?))
    }

    /// The time that many seconds after 1970; beyond the years 0 to 9999, their first or last second.
    pub fn at(unix: UnixSeconds) -> Self {
        const FIRST: i64 = -62_167_219_200;
        const LAST: i64 = 253_402_300_799;
        let unix = unix.clamp(FIRST, LAST);
        let time = OffsetDateTime::from_unix_timestamp(unix).expect("within the years 0 to 9999");
        let mut text = *b"00000000T000000Z";
        put_digits(&mut text[..4], time.year().unsigned_abs());
        put_digits(&mut text[4..6], u32::from(u8::from(time.month())));
        put_digits(&mut text[6..8], u32::from(time.day()));
        put_digits(&mut text[9..11], u32::from(time.hour()));
        put_digits(&mut text[11..13], u32::from(time.minute()));
        put_digits(&mut text[13..15], u32::from(time.second()));
        Self { text: Text(text), unix }
    }

    /// Seconds since 1970.
    pub fn unix(&self) -> UnixSeconds {
        self.unix
    }

    /// `YYYYMMDD'T'HHMMSS'Z'`.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text.0).expect("digits, T and Z")
    }

    /// The 16 ASCII characters.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.text.0
    }

    /// The date alone: `YYYYMMDD`.
    pub fn date(&self) -> &str {
        &self.as_str()[..8]
    }

    /// The extended form, `YYYY-MM-DD'T'HH:MM:SS'Z'`, as S3 writes it in its answers.
    pub fn extended(&self) -> String {
        let t = self.as_str();
        format!("{}-{}-{}T{}:{}:{}Z", &t[..4], &t[4..6], &t[6..8], &t[9..11], &t[11..13], &t[13..15])
    }
}

impl fmt::Display for AmzDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for AmzDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn calendar_date(year: u32, month: u32, day: u32) -> Option<Date> {
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?).ok()
}

fn midnight(date: Date) -> UnixSeconds {
    const JULIAN_DAY_OF_1970: i64 = 2_440_588;
    (i64::from(date.to_julian_day()) - JULIAN_DAY_OF_1970) * 86_400
}

/// The values of four pairs of digits, the first in the lowest bytes; `None` if one is no digit. All at once, in one word.
#[inline]
fn pairs(text: u64) -> Option<[u32; 4]> {
    const HIGH: u64 = u64::MAX / 0xff * 0xf0;
    // Adding six carries into the upper half what is above nine, and nothing into the next byte.
    let above_nine = (text & !HIGH) + u64::MAX / 0xff * 6;
    if (text ^ ZEROS | above_nine) & HIGH != 0 {
        return None;
    }
    let digits = text & !HIGH;
    let pairs = digits * 10 + (digits >> 8);
    Some([0, 16, 32, 48].map(|shift| (pairs >> shift & 0xff) as u32))
}

/// Eight times `0`.
const ZEROS: u64 = u64::MAX / 0xff * b'0' as u64;

fn put_digits(place: &mut [u8], mut value: u32) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte at every place: read as by the digits one after the other.
    #[test]
    fn words_read_what_digits_say() {
        for place in 0..16 {
            for byte in 0..=u8::MAX {
                let mut text = *b"20281231T225858Z";
                text[place] = byte;
                let number = |range: std::ops::Range<usize>| {
                    text[range].iter().try_fold(0, |sum, byte| char::from(*byte).to_digit(10).map(|it| sum * 10 + it))
                };
                let expected = (|| {
                    let date = calendar_date(number(0..4)?, number(4..6)?, number(6..8)?)?;
                    let (hour, minute, second) = (number(9..11)?, number(11..13)?, number(13..15)?);
                    let is_time = hour < 24 && minute < 60 && second < 60 && text[8] == b'T' && text[15] == b'Z';
                    is_time.then(|| midnight(date) + i64::from(hour * 3600 + minute * 60 + second))
                })();
                assert_eq!(AmzDate::parse(&text).map(|date| date.unix()), expected, "{byte} at {place}");
            }
        }
        assert_eq!(AmzDate::parse(b"20281231T225858Z").map(|date| date.to_string()), Some("20281231T225858Z".into()));
    }
}
