//! Points in time as sources write them. Anything that is not one is `None`, never a panic and never "now".

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ToSpan as _};

/// Reads RFC 3339 and its usual relatives (a space for `T`, offsets as `-0600` or ` +09:00`, fractions up to
/// nanoseconds, no offset meaning UTC), Unix time in seconds, milli-, micro- or nanoseconds, `7/9/2024 10:34:10 PM`,
/// and `Jan 18 2022 12:06:41 UTC` as CEF and LEEF write it.
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if text.len() > 64 || !text.is_ascii() {
        return None;
    }
    let bytes = text.as_bytes();
    match bytes.first()? {
        b'0'..=b'9' if matches!(bytes.get(4), Some(b'-' | b'/')) => iso(text),
        b'0'..=b'9' if text.contains('/') => american(text),
        b'0'..=b'9' => unix(text),
        b'A'..=b'Z' | b'a'..=b'z' => month_first(text, None),
        _ => None,
    }
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn digits(&mut self, min: usize, max: usize) -> Option<i32> {
        let n = self.0.iter().take(max).take_while(|b| b.is_ascii_digit()).count();
        if n < min {
            return None;
        }
        let (head, rest) = self.0.split_at(n);
        self.0 = rest;
        Some(head.iter().fold(0, |v, d| v * 10 + i32::from(d - b'0')))
    }

    fn eat(&mut self, any: &[u8]) -> bool {
        match self.0 {
            [b, rest @ ..] if any.contains(b) => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn spaces(&mut self) {
        while self.eat(b" ") {}
    }

    /// `hh:mm[:ss[.fraction]]` as hour, minute, second, nanosecond.
    fn clock(&mut self) -> Option<(i32, i32, i32, i32)> {
        let hour = self.digits(1, 2)?;
        if !self.eat(b":") {
            return None;
        }
        let minute = self.digits(2, 2)?;
        let mut second = 0;
        let mut nanos = 0;
        if self.eat(b":") {
            second = self.digits(2, 2)?;
            if self.eat(b".,") {
                let before = self.0.len();
                let fraction = self.digits(1, 9)?;
                let used = before - self.0.len();
                nanos = fraction * 10_i32.pow(9 - used as u32);
                while self.0.first().is_some_and(u8::is_ascii_digit) {
                    self.0 = &self.0[1..];
                }
            }
        }
        Some((hour, minute, second, nanos))
    }

    /// Nothing (UTC), `Z`, `UTC`, `+hh`, `+hhmm`, `+hh:mm`; a zone name we do not know is an error.
    fn offset(&mut self) -> Option<Offset> {
        self.spaces();
        let rest = self.0;
        if rest.is_empty() || rest == b"Z" || rest == b"z" || rest == b"UTC" || rest == b"GMT" {
            return Some(Offset::UTC);
        }
        let negative = rest[0] == b'-';
        if !self.eat(b"+-") {
            return named_offset(rest);
        }
        let hours = self.digits(2, 2)?;
        self.eat(b":");
        let minutes = if self.0.is_empty() { 0 } else { self.digits(2, 2)? };
        if !self.0.is_empty() || hours > 23 || minutes > 59 {
            return None;
        }
        let seconds = (hours * 60 + minutes) * 60;
        Offset::from_seconds(if negative { -seconds } else { seconds }).ok()
    }
}

/// The zone names RFC 822 fixes, and the two that CEF sources in Europe write.
fn named_offset(name: &[u8]) -> Option<Offset> {
    let hours = match name {
        b"EST" => -5,
        b"EDT" => -4,
        b"CST" => -6,
        b"CDT" => -5,
        b"MST" => -7,
        b"MDT" => -6,
        b"PST" => -8,
        b"PDT" => -7,
        b"CET" => 1,
        b"CEST" => 2,
        _ => return None,
    };
    Offset::from_hours(hours).ok()
}

fn at(date: (i32, i32, i32), clock: (i32, i32, i32, i32), offset: Offset) -> Option<Timestamp> {
    let (year, month, day) = date;
    let (hour, minute, second, nanos) = clock;
    // A leap second is shown as the second before it, as jiff does.
    let second = if second == 60 { 59 } else { second };
    let dt = DateTime::new(
        i16::try_from(year).ok()?,
        i8::try_from(month).ok()?,
        i8::try_from(day).ok()?,
        i8::try_from(hour).ok()?,
        i8::try_from(minute).ok()?,
        i8::try_from(second).ok()?,
        nanos,
    )
    .ok()?;
    offset.to_timestamp(dt).ok()
}

fn iso(text: &str) -> Option<Timestamp> {
    let mut c = Cursor(text.as_bytes());
    let year = c.digits(4, 4)?;
    c.eat(b"-/");
    let month = c.digits(2, 2)?;
    c.eat(b"-/");
    let day = c.digits(2, 2)?;
    if c.0.is_empty() {
        return at((year, month, day), (0, 0, 0, 0), Offset::UTC);
    }
    if !c.eat(b"Tt _") {
        return None;
    }
    let clock = c.clock()?;
    let offset = c.offset()?;
    at((year, month, day), clock, offset)
}

/// `7/9/2024 10:34:10 PM`: month first, as Microsoft's property bags write it.
fn american(text: &str) -> Option<Timestamp> {
    let mut c = Cursor(text.as_bytes());
    let month = c.digits(1, 2)?;
    c.eat(b"/");
    let day = c.digits(1, 2)?;
    c.eat(b"/");
    let year = c.digits(4, 4)?;
    c.spaces();
    if c.0.is_empty() {
        return at((year, month, day), (0, 0, 0, 0), Offset::UTC);
    }
    let (mut hour, minute, second, nanos) = c.clock()?;
    c.spaces();
    match c.0 {
        b"AM" | b"am" => hour %= 12,
        b"PM" | b"pm" => hour = hour % 12 + 12,
        b"" | b"Z" => {}
        _ => return None,
    }
    at((year, month, day), (hour, minute, second, nanos), Offset::UTC)
}

/// Unix time; the unit follows from the size: below 10^11 seconds (year 5138), then milli, micro, nano.
fn unix(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let n: i64 = whole.parse().ok()?;
    if n < 100_000_000_000 {
        let mut nanos = 0_i32;
        if !fraction.is_empty() {
            let digits = &fraction[..fraction.len().min(9)];
            nanos = digits.parse::<i32>().ok()? * 10_i32.pow(9 - digits.len() as u32);
        }
        return Timestamp::new(n, nanos).ok();
    }
    if n < 100_000_000_000_000 {
        Timestamp::from_millisecond(n).ok()
    } else if n < 100_000_000_000_000_000 {
        Timestamp::from_microsecond(n).ok()
    } else {
        Timestamp::from_nanosecond(i128::from(n)).ok()
    }
}

/// Reads `Jun  1 00:00:01` (the year is the one that puts it nearest before `now`), or with a year as
/// `Jan 18 2022 12:06:41.123 UTC`. RFC 3164 names no year and no zone; UTC is assumed.
pub fn month_first(text: &str, now: Option<Timestamp>) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let month = month(bytes.get(..3)?)?;
    let mut c = Cursor(&bytes[3..]);
    if !c.eat(b" ") {
        return None;
    }
    c.spaces();
    let day = c.digits(1, 2)?;
    if !c.eat(b" ,") {
        return None;
    }
    c.spaces();
    let mut year = None;
    if c.0.len() >= 5 && c.0[..4].iter().all(u8::is_ascii_digit) && c.0[4] == b' ' {
        year = c.digits(4, 4);
        c.spaces();
    }
    let clock = c.clock()?;
    let offset = c.offset()?;
    if let Some(year) = year {
        return at((year, month, day), clock, offset);
    }
    let now = now.unwrap_or_else(Timestamp::now);
    let this = i32::from(TimeZone::UTC.to_datetime(now).year());
    // A day ahead is a clock that runs fast or a zone; further ahead it is last year's.
    let limit = now.checked_add(24.hours()).ok()?;
    // The 29th of February needs a leap year: look back far enough to find one.
    (0..8).filter_map(|back| at((this - back, month, day), clock, offset)).find(|t| *t <= limit)
}

/// 1 to 12 from `Jan` to `Dec`, any case.
pub fn month(name: &[u8]) -> Option<i32> {
    const NAMES: [&[u8; 3]; 12] =
        [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
    let lower = [name.first()?, name.get(1)?, name.get(2)?].map(u8::to_ascii_lowercase);
    NAMES.iter().position(|n| **n == lower).map(|i| i as i32 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(text: &str) -> String {
        parse(text).map(|t| t.to_string()).unwrap_or_default()
    }

    #[test]
    fn reads_what_sources_write() {
        for (text, want) in [
            ("2015-03-29T11:01:38.221126-0600", "2015-03-29T17:01:38.221126Z"),
            ("2019-01-02T03:50:11.315110", "2019-01-02T03:50:11.31511Z"),
            ("2024-07-04 22:35:00.746663+00:00", "2024-07-04T22:35:00.746663Z"),
            ("2021-12-23 00:00:00.000 +09:00", "2021-12-22T15:00:00Z"),
            ("2020-10-19 07:30:42.056", "2020-10-19T07:30:42.056Z"),
            ("2024-07-02T07:28:40.7133644Z", "2024-07-02T07:28:40.7133644Z"),
            ("1686346750.7870717", "2023-06-09T21:39:10.7870717Z"),
            ("1642411593", "2022-01-17T09:26:33Z"),
            ("1682347463218", "2023-04-24T14:44:23.218Z"),
            ("7/9/2024 10:34:10 PM", "2024-07-09T22:34:10Z"),
            ("07/04/2024 12:33:57 AM", "2024-07-04T00:33:57Z"),
            ("Jan 18 2022 12:06:41 UTC", "2022-01-18T12:06:41Z"),
            ("Jan 18 2022 12:06:41.5", "2022-01-18T12:06:41.5Z"),
            ("2015/06/17T00:00:00.083", "2015-06-17T00:00:00.083Z"),
            ("2023-01-13", "2023-01-13T00:00:00Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
        ] {
            assert_eq!(t(text), want, "{text}");
        }
    }

    #[test]
    fn nonsense_is_none() {
        for text in
            ["", "-", "yesterday", "2024-13-40T00:00:00Z", "99999999999999999999", "2024-01-01T25:00:00Z", "1/2"]
        {
            assert_eq!(t(text), "", "{text}");
        }
    }

    #[test]
    fn a_date_without_year_is_the_latest_that_has_been() {
        let now: Timestamp = "2026-01-05T00:00:00Z".parse().expect("valid");
        let at = |s| month_first(s, Some(now)).map(|t| t.to_string()).unwrap_or_default();
        assert_eq!(at("Jan  5 12:00:00"), "2026-01-05T12:00:00Z");
        assert_eq!(at("Dec 31 23:59:59"), "2025-12-31T23:59:59Z");
        assert_eq!(at("Feb 29 01:00:00"), "2024-02-29T01:00:00Z");
    }
}
