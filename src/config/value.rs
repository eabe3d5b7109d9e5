//! The forms of values: durations, sizes, addresses, networks, names.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use jiff::tz::TimeZone;

use crate::document::{Placed, Section};

/// The networks of `allow`, if the key is there.
pub(super) fn networks(section: &mut Section<'_>) -> Option<Vec<IpNet>> {
    let problems = section.problems();
    let read = |network: Placed<String>| {
        let parsed = network.value.parse::<IpNet>();
        let parsed = parsed.or_else(|_| network.value.parse::<std::net::IpAddr>().map(IpNet::from));
        if parsed.is_err() {
            let hint = Some("write an address or a network such as 10.1.0.0/16".to_owned());
            problems.report(network.span, "allow: not a network", hint);
        }
        parsed.ok()
    };
    Some(section.texts("allow")?.into_iter().filter_map(read).collect())
}

pub(super) fn not_empty(path: &str) -> Result<String, &'static str> {
    if path.is_empty() { Err("is empty: name a file, or remove the key") } else { Ok(path.to_owned()) }
}

/// A whole number within bounds; `default` where the key is missing or wrong.
pub(super) fn number(section: &mut Section<'_>, key: &'static str, default: u32, most: u32) -> u32 {
    match section.integer(key) {
        None => default,
        Some(Placed { value, span }) => match u32::try_from(value) {
            Ok(value) if (1..=most).contains(&value) => value,
            _ => {
                section.problems().report(span, format!("{key} must be from 1 to {most}"), None);
                default
            }
        },
    }
}

pub(super) fn time_zone(name: &str) -> Result<TimeZone, &'static str> {
    TimeZone::get(name).map_err(|_| "not a zone of the IANA database, for example Asia/Shanghai")
}

pub(super) fn socket_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "expected ADDRESS:PORT, for example 127.0.0.1:2575, or 0.0.0.0:2575 for all networks")
}

/// What a name looks like.
pub const NAME_RULE: &str = "a name is 1 to 64 letters, digits, `-`, `_` or `.`";

/// Whether a source, consumer or token can be called so. Names become part of visit ids (`SOURCE:NUMBER`), URLs and metric
/// labels.
pub fn is_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=64).contains(&name.len()) && name.chars().all(legal)
}

/// Reports a name that is none.
pub(super) fn check_name(section: &Section<'_>, name: &Placed<String>) {
    if !is_name(&name.value) {
        section.problems().report(name.span.clone(), NAME_RULE, Some("for example `his` or `follow-up`".into()));
    }
}

/// `500ms`, `30s`, `10m`, `2h`, `180d`, `6y` (365 days).
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    const WRONG: &str = "must be a number and a unit: ms, s, m, h, d or y, for example \"30s\"";
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| WRONG)?;
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "y" => 365 * 86_400_000,
        _ => return Err(WRONG),
    };
    match number.checked_mul(milliseconds) {
        Some(0) => Err("must be longer than nothing"),
        // Times are kept in microseconds in 63 bits; nobody means more than a thousand years.
        Some(total) if total <= 1_000 * 365 * 86_400_000 => Ok(Duration::from_millis(total)),
        _ => Err("is too long"),
    }
}

/// A duration that is not below `least`, which people write as `written`.
pub(super) fn at_least(least: Duration, written: &str, text: &str) -> Result<Duration, String> {
    match duration(text)? {
        short if short < least => Err(format!("must be {written} or more")),
        enough => Ok(enough),
    }
}

/// `65536`, `512KiB`, `16MiB`, `1GiB`.
pub(super) fn size(text: &str) -> Result<usize, &'static str> {
    const WRONG: &str = "must be a number of bytes with KiB, MiB or GiB, for example \"16MiB\"";
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: usize = number.parse().map_err(|_| WRONG)?;
    let unit = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(WRONG),
    };
    match number.checked_mul(unit) {
        Some(size) if (1 << 10..=1 << 30).contains(&size) => Ok(size),
        _ => Err("must be from 1KiB to 1GiB"),
    }
}
