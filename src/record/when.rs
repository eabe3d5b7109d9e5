//! Points in time as records carry them: RFC 3339 with offset, or a date of lower precision.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// The first instant that `text` can mean, for ordering: `2024-03` is the first of March, 0:00, in `zone`.
///
/// Takes what records hold: `YYYY`, `YYYY-MM`, `YYYY-MM-DD` or RFC 3339 with offset. `None` for anything else.
pub fn instant(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    if text.contains('T') {
        return text.parse().ok();
    }
    let mut parts = text.split('-').map(|part| part.parse::<i16>().ok());
    let year = parts.next()??;
    let month = parts.next().map_or(Some(1), |part| part.and_then(|month| i8::try_from(month).ok()))?;
    let day = parts.next().map_or(Some(1), |part| part.and_then(|day| i8::try_from(day).ok()))?;
    let zoned: Zoned = Date::new(year, month, day).ok()?.to_zoned(zone.clone()).ok()?;
    Some(zoned.timestamp())
}

/// The last instant that `text` can mean: of `2024-03` the end of March. Takes what [`instant`] takes.
pub fn last_instant(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let first = instant(text, zone)?;
    let span = match text.len() {
        4 => jiff::Span::new().years(1),
        7 => jiff::Span::new().months(1),
        10 => jiff::Span::new().days(1),
        _ => return Some(first),
    };
    let next = first.to_zoned(zone.clone()).checked_add(span).ok()?.timestamp();
    next.checked_sub(jiff::SignedDuration::from_micros(1)).ok()
}

/// Whether a text is a date as records hold it: `YYYY`, `YYYY-MM` or `YYYY-MM-DD`.
pub fn is_date(text: &str) -> bool {
    matches!(text.len(), 4 | 7 | 10) && instant(text, &TimeZone::UTC).is_some()
}

/// `instant` written as records write it: RFC 3339 with the offset that `zone` has then, seconds and no more than needed.
pub fn written(instant: Timestamp, zone: &TimeZone) -> String {
    let offset = zone.to_offset(instant);
    instant.display_with_offset(offset).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_dates_mean_their_first_instant() {
        let shanghai = TimeZone::get("Asia/Shanghai").unwrap();
        for (text, expected) in [
            ("2024", "2023-12-31T16:00:00Z"),
            ("2024-03", "2024-02-29T16:00:00Z"),
            ("2024-03-05", "2024-03-04T16:00:00Z"),
            ("2024-03-05T10:30:00+08:00", "2024-03-05T02:30:00Z"),
        ] {
            assert_eq!(instant(text, &shanghai).unwrap().to_string(), expected, "{text}");
        }
        for text in ["", "soon", "2024-13", "2024-02-30", "20240305"] {
            assert_eq!(instant(text, &shanghai), None, "{text}");
        }
    }

    #[test]
    fn dates_are_written_with_hyphens() {
        for (text, expected) in [
            ("1980-01-02", true),
            ("1980-01", true),
            ("1980", true),
            ("19800102", false),
            ("1980/01/02", false),
            ("1980-1-2", false),
            ("1980-02-30", false),
            ("", false),
        ] {
            assert_eq!(is_date(text), expected, "{text}");
        }
    }

    #[test]
    fn instants_are_written_with_the_offset_of_their_zone() {
        let shanghai = TimeZone::get("Asia/Shanghai").unwrap();
        let moment = "2024-03-05T02:30:00Z".parse().unwrap();
        assert_eq!(written(moment, &shanghai), "2024-03-05T10:30:00+08:00");
    }
}
