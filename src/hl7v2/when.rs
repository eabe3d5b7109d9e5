//! HL7 times to the form of records.

use std::borrow::Cow;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

/// Why a text is no time. Without the text: it may be a birth date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WhenError {
    /// Not `YYYY[MM[DD[HH[MM[SS[.S...]]]]]][+/-ZZZZ]`.
    #[error("not a time: expected YYYY[MM[DD[HH[MM[SS[.S]]]]]][+/-ZZZZ]")]
    Form,
    /// A month 13, a 30th of February, an hour 24, a second 60.
    #[error("no such date or time of day")]
    Impossible,
    /// An offset that no place on Earth has.
    #[error("no such offset from UTC")]
    Offset,
}

/// Places on Earth are from 12 hours behind UTC to 14 before it; the standard sets no bound (HL7 v2.5.1 chapter 2A, DTM).
const OFFSET_MINUTES: i32 = 14 * 60;
/// Digits of a fraction that are read; the standard allows 4, databases send up to 9.
const FRACTION_DIGITS: usize = 9;

/// An HL7 date or time (DT, DTM, TS.1) in the form that records use.
///
/// | sent | becomes |
/// |---|---|
/// | `2024`, `202403`, `20240305` | `2024`, `2024-03`, `2024-03-05`; an offset is left out, a date has none |
/// | `20240305103000.1+0800` | `2024-03-05T10:30:00.1+08:00`; the digits of the fraction stay |
/// | `2024030510`, `202403051030` | `2024-03-05T10:00:00+08:00`, filled with zeros because RFC 3339 has no shorter form |
/// | no offset | the one that `zone` has then; where clocks were changed, the one before |
/// | `2024-03-05 10:30:00`, `2024/3/5`, `2024-03-05T02:30:00Z`, `20240305 1030` | the same, because it is seen |
/// | `00000000`, `202400000000`, `20240300` | nothing, `2024`, `2024-03`: zeros stand for what is not known |
///
/// `None`: empty or all zeros.
pub fn parse(text: &str, zone: &TimeZone) -> Result<Option<String>, WhenError> {
    let text = text.trim();
    if text.bytes().all(|byte| byte == b'0') {
        return Ok(None);
    }
    let sent = read(text).ok_or(WhenError::Form)?;
    let [year, month, day, hour, minute, second] = sent.parts.map(|part| part.unwrap_or(0));
    let known = [year, month, day].iter().take_while(|part| **part > 0).count();
    if known < 3 && sent.parts[known..].iter().flatten().any(|part| *part > 0) {
        return Err(WhenError::Impossible);
    }
    let small = |part: i16| i8::try_from(part).map_err(|_| WhenError::Impossible);
    let date = Date::new(year.max(1), small(month.max(1))?, small(day.max(1))?).map_err(|_| WhenError::Impossible)?;
    match known {
        0 => return Ok(None),
        1 => return Ok(Some(format!("{year:04}"))),
        2 => return Ok(Some(format!("{year:04}-{month:02}"))),
        _ if sent.parts[3].is_none() => return Ok(Some(date.to_string())),
        _ => {}
    }
    let time = Time::new(small(hour)?, small(minute)?, small(second)?, 0).map_err(|_| WhenError::Impossible)?;
    let minutes = match sent.offset {
        Some(minutes) if minutes.abs() <= OFFSET_MINUTES => minutes,
        Some(_) => return Err(WhenError::Offset),
        // Before railways offsets had seconds, which RFC 3339 cannot write.
        None => offset_in(zone, date.to_datetime(time)).seconds() / 60,
    };
    let sign = if minutes < 0 { '-' } else { '+' };
    let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
    // By hand: `format!` takes a multiple of the time, and every message has a dozen of these.
    let mut written = String::with_capacity(32);
    push_two(&mut written, None, year / 100);
    for (before, number) in [(None, year % 100), (Some('-'), month), (Some('-'), day)] {
        push_two(&mut written, before, number);
    }
    for (before, number) in [('T', hour), (':', minute), (':', second)] {
        push_two(&mut written, Some(before), number);
    }
    written.push_str(&sent.fraction);
    // Less than a day, so both fit.
    push_two(&mut written, Some(sign), hours as i16);
    push_two(&mut written, Some(':'), minutes as i16);
    Ok(Some(written))
}

/// A time of day alone (TM: `HH[MM[SS[.S...]]][+/-ZZZZ]`) as `10:30`, `10:30:45.12+08:00`: an hour alone is written with its minutes, an
/// offset stays where it was sent. `None`: no time of day.
pub fn time_of_day(text: &str) -> Option<String> {
    let dated = format!("20000101 {}", text.trim());
    let Sent { parts: [_, _, _, hour, minute, second], fraction, offset } = read(&dated)?;
    let small = |part: Option<i16>| i8::try_from(part.unwrap_or(0)).ok();
    Time::new(small(Some(hour?))?, small(minute)?, small(second)?, 0).ok()?;
    let mut written = String::with_capacity(16);
    push_two(&mut written, None, hour?);
    push_two(&mut written, Some(':'), minute.unwrap_or(0));
    if let Some(second) = second {
        push_two(&mut written, Some(':'), second);
        written.push_str(&fraction);
    }
    if let Some(minutes) = offset.filter(|minutes| minutes.abs() <= OFFSET_MINUTES) {
        push_two(&mut written, Some(if minutes < 0 { '-' } else { '+' }), (minutes.abs() / 60) as i16);
        push_two(&mut written, Some(':'), (minutes.abs() % 60) as i16);
    }
    Some(written)
}

/// Two digits of a number below 100.
fn push_two(text: &mut String, before: Option<char>, number: i16) {
    text.extend(before);
    let digit = |number: i16| char::from(b'0' + (number % 10) as u8);
    text.push(digit(number / 10));
    text.push(digit(number));
}

/// The offset of a zone's local time; where clocks were changed, the one before.
fn offset_in(zone: &TimeZone, local: DateTime) -> Offset {
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset,
        AmbiguousOffset::Gap { before, .. } | AmbiguousOffset::Fold { before, .. } => before,
    }
}

/// What is written, not yet whether it can be.
struct Sent<'t> {
    /// Year to second; `None`: not given.
    parts: [Option<i16>; 6],
    /// With its point, or empty.
    fraction: Cow<'t, str>,
    /// Minutes before UTC.
    offset: Option<i32>,
}

fn read(text: &str) -> Option<Sent<'_>> {
    if let Some(parts) = digits_alone(text) {
        return Some(Sent { parts, fraction: Cow::Borrowed(""), offset: None });
    }
    let mut parts = [None; 6];
    let mut rest = text;
    parts[0] = Some(digits(&mut rest, 4, 4)?);
    let mut given = 1;
    if let Some(separator) = date_separator(rest) {
        for part in &mut parts[1..3] {
            if given > 1 && !rest.starts_with(separator) {
                break;
            }
            rest = rest.strip_prefix(separator)?;
            *part = Some(digits(&mut rest, 1, 2)?);
            given += 1;
        }
    }
    while given < 6 {
        let apart = match given {
            3 => {
                rest.starts_with(['T', ' '])
                    && rest.trim_start_matches(['T', ' ']).starts_with(|next: char| next.is_ascii_digit())
            }
            4 | 5 => rest.starts_with(':'),
            _ => false,
        };
        if apart {
            rest = rest.trim_start_matches(['T', ' ', ':']);
        } else if !rest.starts_with(|next: char| next.is_ascii_digit()) {
            break;
        }
        parts[given] = Some(digits(&mut rest, if apart { 1 } else { 2 }, 2)?);
        given += 1;
    }
    let fraction = if given == 6 { read_fraction(&mut rest)? } else { Cow::Borrowed("") };
    Some(Sent { parts, fraction, offset: read_offset(rest.trim_start())? })
}

/// Year to second as the standard writes them, and nothing else: what nearly all senders do.
fn digits_alone(text: &str) -> Option<[Option<i16>; 6]> {
    let bytes = text.as_bytes();
    if !matches!(bytes.len(), 8 | 12 | 14) || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let two = |at: usize| {
        let digits = bytes.get(at..at + 2)?;
        Some(digits.iter().fold(0, |number, digit| number * 10 + i16::from(digit - b'0')))
    };
    let year = two(0)?.checked_mul(100)?.checked_add(two(2)?)?;
    Some([Some(year), two(4), two(6), two(8), two(10), two(12)])
}

/// Between `least` and `most` digits as a number, taken off `rest`.
fn digits(rest: &mut &str, least: usize, most: usize) -> Option<i16> {
    let count = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (number, after) = rest.split_at(count);
    *rest = after;
    if count < least { None } else { number.parse().ok() }
}

/// What divides year, month and day, if anything does: `-0330` behind a year is an offset, `-03` a month.
fn date_separator(rest: &str) -> Option<char> {
    let separator = rest.chars().next().filter(|next| matches!(next, '-' | '/' | '.'))?;
    let number = rest[1..].bytes().take_while(u8::is_ascii_digit).count();
    (1..=2).contains(&number).then_some(separator)
}

/// `.123`, or the `123` of `20240305103000123`, as some databases write it.
fn read_fraction<'t>(rest: &mut &'t str) -> Option<Cow<'t, str>> {
    let pointed = rest.starts_with(['.', ',']);
    let number = &rest[usize::from(pointed)..];
    let count = number.bytes().take_while(u8::is_ascii_digit).count();
    let (number, after) = number.split_at(count);
    *rest = after;
    match (pointed, count) {
        (false, 0) => Some(Cow::Borrowed("")),
        (false, 3) | (true, 1..=FRACTION_DIGITS) => Some(Cow::Owned(format!(".{number}"))),
        _ => None,
    }
}

/// Nothing, `Z`, `+0800`, `+08:00` or `+08`; no other text.
fn read_offset(rest: &str) -> Option<Option<i32>> {
    let sign = match rest.chars().next() {
        None => return Some(None),
        Some('Z' | 'z') if rest.len() == 1 => return Some(Some(0)),
        Some('+') => 1,
        Some('-') => -1,
        Some(_) => return None,
    };
    let mut rest = &rest[1..];
    let hours = digits(&mut rest, 2, 2)?;
    let minutes = match rest {
        "" => 0,
        _ => {
            rest = rest.strip_prefix(':').unwrap_or(rest);
            digits(&mut rest, 2, 2)?
        }
    };
    (rest.is_empty() && minutes < 60).then(|| Some(sign * (i32::from(hours) * 60 + i32::from(minutes))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(sent: &str, expected: Result<Option<&str>, WhenError>) {
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        assert_eq!(parse(sent, &zone), expected.map(|when| when.map(str::to_owned)), "{sent:?}");
    }

    #[test]
    fn precision_is_kept() {
        check("2024", Ok(Some("2024")));
        check("202403", Ok(Some("2024-03")));
        check("20240305", Ok(Some("2024-03-05")));
        check("2024030510", Ok(Some("2024-03-05T10:00:00+08:00")));
        check("202403051030", Ok(Some("2024-03-05T10:30:00+08:00")));
        check("20240305103015", Ok(Some("2024-03-05T10:30:15+08:00")));
        check("20240305103015.1", Ok(Some("2024-03-05T10:30:15.1+08:00")));
        check("20240305103015.123456789", Ok(Some("2024-03-05T10:30:15.123456789+08:00")));
        check("20240305000000", Ok(Some("2024-03-05T00:00:00+08:00")));
    }

    #[test]
    fn offsets_are_kept() {
        check("20240305103000.1234+0900", Ok(Some("2024-03-05T10:30:00.1234+09:00")));
        check("202403051030-0030", Ok(Some("2024-03-05T10:30:00-00:30")));
        check("20240305103000+08", Ok(Some("2024-03-05T10:30:00+08:00")));
        check("20240305103000Z", Ok(Some("2024-03-05T10:30:00+00:00")));
        check("20240305103000+1400", Ok(Some("2024-03-05T10:30:00+14:00")));
        check("2024-0330", Ok(Some("2024")));
        check("20240305+0800", Ok(Some("2024-03-05")));
        check("20240305103000+1500", Err(WhenError::Offset));
        check("20240305103000+0860", Err(WhenError::Form));
        check("20240305103000+8", Err(WhenError::Form));
    }

    #[test]
    fn the_zone_of_the_source_stands_in() {
        // Summer time of 1988; the hour that is left out; the hour that comes twice; and before zones had whole minutes.
        check("198807010800", Ok(Some("1988-07-01T08:00:00+09:00")));
        check("198804170230", Ok(Some("1988-04-17T02:30:00+08:00")));
        check("198809110130", Ok(Some("1988-09-11T01:30:00+09:00")));
        check("18991231120000", Ok(Some("1899-12-31T12:00:00+08:05")));
    }

    #[test]
    fn a_time_of_day_alone_is_written_with_colons() {
        for (sent, expected) in [
            ("1030", Some("10:30")),
            ("10", Some("10:00")),
            ("103045", Some("10:30:45")),
            ("103045.12+0800", Some("10:30:45.12+08:00")),
            ("0930-0330", Some("09:30-03:30")),
            ("9:05", Some("09:05")),
            ("10:30:45", Some("10:30:45")),
            ("0000", Some("00:00")),
            ("2460", None),
            ("25", None),
            ("abc", None),
            ("20240305", None),
            ("", None),
        ] {
            assert_eq!(time_of_day(sent).as_deref(), expected, "{sent}");
        }
    }

    #[test]
    fn what_is_seen_is_read() {
        for sent in [
            "2024-03-05 10:30:00",
            "2024/3/5 10:30:00",
            "2024.03.05 10:30",
            "20240305 1030",
            "2024-03-05T10:30:00+08:00",
        ] {
            check(sent, Ok(Some("2024-03-05T10:30:00+08:00")));
        }
        check(" 20240305 ", Ok(Some("2024-03-05")));
        check("2024-03-05", Ok(Some("2024-03-05")));
        check("2024-3", Ok(Some("2024-03")));
        check("2024/03/05 8:05", Ok(Some("2024-03-05T08:05:00+08:00")));
        check("20240305103015123", Ok(Some("2024-03-05T10:30:15.123+08:00")));
        check("2024-03-05 10:30:00,5", Ok(Some("2024-03-05T10:30:00.5+08:00")));
    }

    #[test]
    fn zeros_stand_for_what_is_not_known() {
        for sent in ["", "  ", "0", "0000", "00000000", "00000000000000", "0000-00-00", "0000-00-00 00:00:00"] {
            check(sent, Ok(None));
        }
        check("202400000000", Ok(Some("2024")));
        check("20240300", Ok(Some("2024-03")));
        check("20240300000000", Ok(Some("2024-03")));
        check("20240015", Err(WhenError::Impossible));
        check("00000305", Err(WhenError::Impossible));
        check("202403001030", Err(WhenError::Impossible));
    }

    #[test]
    fn defect_10_impossible_times_are_errors_and_not_panics() {
        for sent in
            ["20230229", "202313", "20240230", "20240305240000", "20240305106000", "20240305103060", "2024030599"]
        {
            check(sent, Err(WhenError::Impossible));
        }
        check("19000000", Ok(Some("1900")));
        check("20240229", Ok(Some("2024-02-29")));
        for sent in [
            "soon",
            "24",
            "202",
            "2024035",
            "202403051",
            "20240305103",
            "20240305x",
            "20240305103000.",
            "2024-03-05T",
            "2024年",
            "20240305103000.1234567890",
            "２０２４",
        ] {
            check(sent, Err(WhenError::Form));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_time_or_an_error(text in ".{0,30}", digits in "[0-9TZ .:/+-]{0,26}") {
            let zone = TimeZone::get("Asia/Shanghai").unwrap();
            for text in [text, digits] {
                let _ = time_of_day(&text);
                if let Ok(Some(when)) = parse(&text, &zone) {
                    prop_assert!(crate::record::when::instant(&when, &zone).is_some(), "{}", when);
                }
            }
        }
    }
}
