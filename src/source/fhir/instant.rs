//! Points in time as FHIR servers write them (`instant`): parsed for comparing, kept as text for looking at.
//!
//! Servers write seconds, milliseconds or seven digits of a second, in `Z` or with an offset. Whoever compares must know what a value
//! stands for: one without a fraction may be any moment of its second.

use std::fmt;
use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An `instant` with the text that it came as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instant {
    time: Timestamp,
    text: String,
}

impl Instant {
    /// Reads an `instant`, or a `dateTime` with time and zone. `None` for anything less exact than a second or without a zone.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // RFC 3339 has at most this much; the rest would be annotations that FHIR does not know.
        if text.len() > 40 || text.contains('[') {
            return None;
        }
        Some(Self { time: text.parse().ok()?, text: text.to_owned() })
    }

    /// The moment (the first, if the text stands for a whole second).
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// As the server wrote it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first moment that is certainly later: a text without a fraction stands for its whole second, one with three digits for its
    /// millisecond, and so on.
    #[must_use]
    pub fn end(&self) -> Timestamp {
        let digits =
            self.text.split_once('.').map_or(0, |(_, rest)| rest.bytes().take_while(u8::is_ascii_digit).count().min(9));
        let nanoseconds = 10_u64.pow(9_u32.saturating_sub(u32::try_from(digits).unwrap_or(9)));
        self.time.checked_add(Duration::from_nanos(nanoseconds)).unwrap_or(self.time)
    }
}

impl From<Timestamp> for Instant {
    /// A time that no server wrote as text, such as one of an HTTP header.
    fn from(time: Timestamp) -> Self {
        Self { time, text: query_text(time) }
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not an instant"))
    }
}

/// A time for a query: `Z`, because the `+` of an offset arrives as a blank, and exactly three digits of a second, because some servers demand
/// them and some take no more. Cut, never rounded up: it stands behind `ge`.
#[must_use]
pub fn query_text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.").to_string() + &format!("{:03}Z", milliseconds(time))
}

/// The millisecond within its second; jiff counts towards zero before 1970.
fn milliseconds(time: Timestamp) -> i64 {
    time.as_millisecond().rem_euclid(1000)
}

/// `time` less `span`, or the earliest time there is.
#[must_use]
pub fn earlier(time: Timestamp, span: Duration) -> Timestamp {
    let seconds = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    time.checked_sub(seconds.min(1_000_000_000).seconds())
        .and_then(|time| time.checked_sub(i64::from(span.subsec_nanos()).nanoseconds()))
        .unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_three_digits_and_no_offset() {
        for (text, query) in [
            ("2026-03-01T08:00:00+08:00", "2026-03-01T00:00:00.000Z"),
            ("2026-03-01T00:00:00.9999999Z", "2026-03-01T00:00:00.999Z"),
            ("2026-03-01T00:00:00.5Z", "2026-03-01T00:00:00.500Z"),
        ] {
            assert_eq!(query_text(Instant::parse(text).unwrap().time()), query);
        }
    }

    #[test]
    fn a_time_stands_for_all_that_its_digits_leave_open() {
        let span = |text| {
            let instant = Instant::parse(text).unwrap();
            instant.end().duration_since(instant.time()).as_nanos()
        };
        assert_eq!(span("2026-03-01T00:00:00Z"), 1_000_000_000);
        assert_eq!(span("2026-03-01T00:00:00.123Z"), 1_000_000);
        assert_eq!(span("2026-03-01T00:00:00.1234567+08:00"), 100);
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in ["2026-03-01", "2026-03-01T00:00:00", "", "now", "2026-03-01T00:00:00Z[Asia/Shanghai]"] {
            assert_eq!(Instant::parse(text), None, "{text}");
        }
    }
}
