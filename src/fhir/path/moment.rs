//! Dates, times of day and points in time as far as they are known: `1974`, `2015-02-04T14:34+09:00`, `T12:00`.

use std::cmp::Ordering;
use std::fmt;

use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, Span};

/// Minutes that an offset from UTC may have.
const MAXIMUM_OFFSET: i32 = 14 * 60;
const NANOSECONDS: i64 = 1_000_000_000;

/// What a moment is known to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Precision {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    /// With a fraction or without: both are one precision (FHIRPath, "Date/Time Equality").
    Second,
}

/// A date, a point in time or, with the date of year 1, a time of day.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    civil: DateTime,
    precision: Precision,
    /// Digits of the fraction of a second.
    fraction: u8,
    /// Minutes east of UTC.
    offset: Option<i32>,
    is_time: bool,
}

impl Moment {
    /// `1974`, `1974-12`, `1974-12-25`
    pub(super) fn date(text: &str) -> Option<Self> {
        Self::date_time(text).filter(|moment| moment.precision <= Precision::Day && !text.contains('T'))
    }

    /// A date, or a date with `T` and perhaps a time of day and an offset.
    pub(super) fn date_time(text: &str) -> Option<Self> {
        let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
        let mut parts = date.split('-');
        let year = number(parts.next()?, 4)?;
        let month = parts.next().map(|month| number(month, 2)).map_or(Some(None), |month| month.map(Some))?;
        let day = parts.next().map(|day| number(day, 2)).map_or(Some(None), |day| day.map(Some))?;
        if parts.next().is_some() {
            return None;
        }
        let precision = match (month, day) {
            (None, _) => Precision::Year,
            (_, None) => Precision::Month,
            _ => Precision::Day,
        };
        let civil = Date::new(i16::try_from(year).ok()?, short(month.unwrap_or(1))?, short(day.unwrap_or(1))?).ok()?;
        let dated = Self { civil: civil.into(), precision, fraction: 0, offset: None, is_time: false };
        match time {
            None | Some("") => Some(dated),
            Some(time) if precision == Precision::Day => dated.with_time(time),
            Some(_) => None,
        }
    }

    /// `12`, `12:30`, `12:30:15.250`
    pub(super) fn time(text: &str) -> Option<Self> {
        let midnight = Date::new(1, 1, 1).ok()?;
        let dated =
            Self { civil: midnight.into(), precision: Precision::Day, fraction: 0, offset: None, is_time: true };
        dated.with_time(text).filter(|moment| moment.offset.is_none())
    }

    fn with_time(mut self, text: &str) -> Option<Self> {
        let (clock, offset) = match text.find(['Z', '+', '-']) {
            Some(at) => (text.get(..at)?, Some(offset(text.get(at..)?)?)),
            None => (text, None),
        };
        let mut parts = clock.split(':');
        let hour = number(parts.next()?, 2)?;
        let minute = parts.next().map(|minute| number(minute, 2)).map_or(Some(None), |minute| minute.map(Some))?;
        let second = parts.next();
        if parts.next().is_some() {
            return None;
        }
        let (mut seconds, mut nanoseconds) = (0, 0);
        self.precision = match (minute, second) {
            (None, _) => Precision::Hour,
            (_, None) => Precision::Minute,
            (_, Some(second)) => {
                let (whole, fraction) =
                    second.split_once('.').map_or((second, None), |(whole, rest)| (whole, Some(rest)));
                seconds = number(whole, 2)?;
                if let Some(fraction) = fraction {
                    let is_number = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
                    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
                    nanoseconds = is_number.then(|| digits.parse::<i32>().ok())??;
                    self.fraction = u8::try_from(fraction.len().min(9)).ok()?;
                }
                Precision::Second
            }
        };
        // A leap second is the last moment of its minute.
        let seconds = seconds.min(if seconds == 60 { 59 } else { seconds });
        let time =
            jiff::civil::Time::new(short(hour)?, short(minute.unwrap_or(0))?, short(seconds)?, nanoseconds).ok()?;
        self.civil = self.civil.date().to_datetime(time);
        self.offset = offset;
        Some(self)
    }

    /// Only its date.
    pub(super) fn to_date(self) -> Self {
        Self {
            civil: self.civil.date().into(),
            precision: self.precision.min(Precision::Day),
            fraction: 0,
            offset: None,
            is_time: false,
        }
    }

    /// `None`: it depends on what is not known. FHIRPath 6.2, "Comparison", goes from the year on and stops at what only one has.
    pub(super) fn compare(self, other: Self) -> Option<Ordering> {
        if self.is_time != other.is_time {
            return None;
        }
        let known = self.precision.min(other.precision);
        let (left, right) = match (self.offset, other.offset) {
            (Some(left), Some(right)) if known > Precision::Day => (self.utc(left)?, other.utc(right)?),
            (None, None) => (self.civil, other.civil),
            _ if known <= Precision::Day => (self.civil, other.civil),
            // Offsets span from -14:00 to +14:00; what is further apart than that is ordered wherever it was.
            _ => {
                let apart = self.civil.duration_since(other.civil);
                let far = apart.abs() > SignedDuration::from_mins(i64::from(MAXIMUM_OFFSET) * 2);
                return far.then(|| self.civil.cmp(&other.civil));
            }
        };
        let parts = |moment: DateTime| {
            [
                (Precision::Year, i64::from(moment.year())),
                (Precision::Month, i64::from(moment.month())),
                (Precision::Day, i64::from(moment.day())),
                (Precision::Hour, i64::from(moment.hour())),
                (Precision::Minute, i64::from(moment.minute())),
                (Precision::Second, i64::from(moment.second()) * NANOSECONDS + i64::from(moment.subsec_nanosecond())),
            ]
        };
        for ((precision, left), (_, right)) in parts(left).into_iter().zip(parts(right)) {
            if precision > known {
                break;
            }
            if left != right {
                return Some(left.cmp(&right));
            }
        }
        (self.precision == other.precision).then_some(Ordering::Equal)
    }

    /// Whether both say the same to the same precision.
    pub(super) fn is_same(self, other: Self) -> bool {
        self.precision == other.precision && self.compare(other) == Some(Ordering::Equal)
    }

    fn utc(self, offset: i32) -> Option<DateTime> {
        self.civil.checked_sub(Span::new().try_minutes(offset).ok()?).ok()
    }

    /// `amount` calendar units later, or earlier; a unit finer than what is known counts in whole coarser ones.
    pub(super) fn add(mut self, amount: i64, unit: Unit) -> Option<Self> {
        let months = |amount: i64| Span::new().try_months(amount).ok();
        let days = |amount: i64| Span::new().try_days(amount).ok();
        let nanoseconds = |amount: i64, each: i64| Span::new().try_nanoseconds(amount.checked_mul(each)?).ok();
        let second = NANOSECONDS;
        if self.is_time {
            let each = match unit {
                Unit::Hour => 3_600 * second,
                Unit::Minute => 60 * second,
                Unit::Second => second,
                Unit::Millisecond => second / 1_000,
                _ => return None,
            };
            // Around the clock.
            let day = 86_400 * second;
            let now = self.civil.time().duration_since(jiff::civil::Time::midnight()).as_nanos();
            let sum = (now + i128::from(amount) * i128::from(each)).rem_euclid(i128::from(day));
            let time =
                jiff::civil::Time::midnight().checked_add(Span::new().try_nanoseconds(i64::try_from(sum).ok()?).ok()?);
            self.civil = self.civil.date().to_datetime(time.ok()?);
            return Some(self);
        }
        let span = match (self.precision, unit) {
            (_, Unit::Year) => Span::new().try_years(amount).ok(),
            (Precision::Year, Unit::Month) => Span::new().try_years(amount / 12).ok(),
            (_, Unit::Month) => months(amount),
            (Precision::Year, _) => Span::new().try_years(unit.days(amount) / 365).ok(),
            (Precision::Month, _) => months(unit.days(amount) / 30),
            (_, Unit::Week) => days(amount.checked_mul(7)?),
            (Precision::Day, _) => days(unit.days(amount)),
            (_, Unit::Day) => days(amount),
            (_, Unit::Hour) => nanoseconds(amount, 3_600 * second),
            (_, Unit::Minute) => nanoseconds(amount, 60 * second),
            (_, Unit::Second) => nanoseconds(amount, second),
            (_, Unit::Millisecond) => nanoseconds(amount, second / 1_000),
        }?;
        self.civil = self.civil.checked_add(span).ok()?;
        if unit == Unit::Millisecond && self.precision == Precision::Second {
            self.fraction = self.fraction.max(3);
        }
        (self.civil.year() > 0).then_some(self)
    }
}

/// A unit of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Year,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
    Millisecond,
}

impl Unit {
    /// By its name in FHIRPath, one or many, or by its code in UCUM where that means the same.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "year" | "years" => Self::Year,
            "month" | "months" => Self::Month,
            "week" | "weeks" | "wk" => Self::Week,
            "day" | "days" | "d" => Self::Day,
            "hour" | "hours" | "h" => Self::Hour,
            "minute" | "minutes" | "min" => Self::Minute,
            "second" | "seconds" | "s" => Self::Second,
            "millisecond" | "milliseconds" | "ms" => Self::Millisecond,
            _ => return None,
        })
    }

    /// As FHIRPath writes one of it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Month => "month",
            Self::Week => "week",
            Self::Day => "day",
            Self::Hour => "hour",
            Self::Minute => "minute",
            Self::Second => "second",
            Self::Millisecond => "millisecond",
        }
    }

    /// Whole days of so many.
    fn days(self, amount: i64) -> i64 {
        match self {
            Self::Year => amount.saturating_mul(365),
            Self::Month => amount.saturating_mul(30),
            Self::Week => amount.saturating_mul(7),
            Self::Day => amount,
            Self::Hour => amount / 24,
            Self::Minute => amount / 1_440,
            Self::Second => amount / 86_400,
            Self::Millisecond => amount / 86_400_000,
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (moment, precision) = (self.civil, self.precision);
        if !self.is_time {
            write!(formatter, "{:04}", moment.year())?;
            if precision >= Precision::Month {
                write!(formatter, "-{:02}", moment.month())?;
            }
            if precision >= Precision::Day {
                write!(formatter, "-{:02}", moment.day())?;
            }
        }
        if precision >= Precision::Hour {
            write!(formatter, "{}{:02}", if self.is_time { "" } else { "T" }, moment.hour())?;
        }
        if precision >= Precision::Minute {
            write!(formatter, ":{:02}", moment.minute())?;
        }
        if precision >= Precision::Second {
            write!(formatter, ":{:02}", moment.second())?;
            if self.fraction > 0 {
                let digits = format!("{:09}", moment.subsec_nanosecond());
                write!(formatter, ".{}", digits.get(..usize::from(self.fraction)).unwrap_or(&digits))?;
            }
        }
        match self.offset {
            Some(0) => write!(formatter, "Z"),
            Some(offset) => {
                let sign = if offset < 0 { '-' } else { '+' };
                write!(formatter, "{sign}{:02}:{:02}", offset.abs() / 60, offset.abs() % 60)
            }
            None => Ok(()),
        }
    }
}

fn offset(text: &str) -> Option<i32> {
    if text == "Z" {
        return Some(0);
    }
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    let total = hours * 60 + minutes;
    let total = if text.starts_with('-') { -total } else { total };
    (minutes < 60 && total.abs() <= MAXIMUM_OFFSET).then_some(total)
}

fn number(text: &str, digits: usize) -> Option<i32> {
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

fn short(number: i32) -> Option<i8> {
    i8::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Moment {
        match text.strip_prefix('T') {
            Some(time) => Moment::time(time),
            None => Moment::date_time(text),
        }
        .unwrap_or_else(|| panic!("{text}"))
    }

    fn compare(left: &str, right: &str) -> Option<Ordering> {
        moment(left).compare(moment(right))
    }

    #[test]
    fn moments_are_written_as_they_were_read() {
        for text in
            ["1974", "1974-12", "1974-12-25", "2015-02-04T14", "2015-02-04T14:34:28Z", "2015-02-04T14:34:28.120+09:30"]
        {
            assert_eq!(moment(text).to_string(), text);
        }
        assert_eq!(moment("T14:34:28.1").to_string(), "14:34:28.1");
        for text in [
            "",
            "74",
            "1974-13",
            "1974-02-30",
            "1974-1-1",
            "2015T10",
            "2015-02-04T25",
            "2015-02-04T10:00+15:00",
            "2015-02-04T10:00:00.",
        ] {
            assert!(Moment::date_time(text).is_none(), "{text}");
        }
        assert!(Moment::time("10:00Z").is_none() && Moment::date("2015-02-04T10").is_none());
    }

    #[test]
    fn what_is_not_known_decides_nothing() {
        assert_eq!(compare("2018-03", "2018-03-01"), None);
        assert_eq!(compare("2018-03", "2018-04-01"), Some(Ordering::Less));
        assert_eq!(compare("2018-03-01T10:30", "2018-03-01T10:30:00"), None);
        assert_eq!(compare("2018-03-01T10:30:00", "2018-03-01T10:30:00.0"), Some(Ordering::Equal));
        assert_eq!(compare("2017-11-05T01:30:00.0-04:00", "2017-11-05T00:15:00.0-05:00"), Some(Ordering::Greater));
        assert_eq!(compare("2017-11-05T01:30:00Z", "2017-11-05T00:15:00"), None);
        assert_eq!(compare("2017-11-05T01:30:00Z", "2017-11-07T00:15:00"), Some(Ordering::Less));
        assert_eq!(compare("T10:30", "T10:31"), Some(Ordering::Less));
        assert_eq!(compare("T10:30", "2018"), None);
    }

    #[test]
    fn calendar_units_are_added_to_what_is_known() {
        let add = |text: &str, amount, unit| moment(text).add(amount, unit).map(|sum| sum.to_string());
        assert_eq!(add("2012-02-29", 1, Unit::Year).as_deref(), Some("2013-02-28"));
        assert_eq!(add("2014", 24, Unit::Month).as_deref(), Some("2016"));
        assert_eq!(add("2019-03-01", 24, Unit::Hour).as_deref(), Some("2019-03-02"));
        assert_eq!(add("2019-03-01T23:59:59Z", 1, Unit::Second).as_deref(), Some("2019-03-02T00:00:00Z"));
        assert_eq!(add("T23:30", 2, Unit::Hour).as_deref(), Some("01:30"));
        assert_eq!(add("9999", i64::MAX, Unit::Year), None);
        assert_eq!(add("0001", -1, Unit::Year), None);
        assert_eq!(add("T10", 1, Unit::Day), None);
    }
}
