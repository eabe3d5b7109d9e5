//! What every HTTP client of the program has in common: certificates that are renewed, waits that a server asks for, errors without URLs.
//!
//! It must never put a URL, a header or a body into an error: they hold patients' data and secrets.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use reqwest::header::HeaderMap;

use crate::tls::ClientFiles;

/// How the program calls itself.
pub const USER_AGENT: &str = concat!("heyi/", env!("CARGO_PKG_VERSION"));

/// Time of change and length of a file: changes whenever it is replaced or rewritten.
pub type Stamp = Option<(SystemTime, u64)>;

/// The stamp of a file; `None` where it cannot be looked at.
pub fn stamp(path: &std::path::Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// The stamps of a client's certificates and key.
pub fn stamps(files: &ClientFiles) -> Vec<Stamp> {
    let identity = files.identity.as_ref();
    let paths: [Option<&PathBuf>; 3] =
        [files.ca.as_ref(), identity.map(|files| &files.certificate), identity.map(|files| &files.key_file)];
    paths.into_iter().flatten().map(|path| stamp(path)).collect()
}

/// Seconds or a date (RFC 9110 §10.2.3), or Microsoft's milliseconds. `now` is the server's clock, if it told, else ours.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(after) = text("retry-after") {
        if let Ok(seconds) = after.parse::<u64>() {
            return Some(Duration::from_secs(seconds));
        }
        if let Some(date) = http_date(after) {
            return Some(until(now, date));
        }
    }
    text("x-ms-retry-after-ms").or_else(|| text("retry-after-ms"))?.parse().ok().map(Duration::from_millis)
}

/// A date of an HTTP header (RFC 9110 §5.6.7, the preferred form).
pub fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp())
}

/// From `from` until `to`; nothing, if that is past.
pub fn until(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// Between half of `wait` and all of it, by 64 random bits: who failed together must not come back together.
pub fn jittered(wait: Duration, random: u64) -> Duration {
    let share = f64::from(u32::try_from(random >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX);
    wait.mul_f64(0.5 + share / 2.0)
}

/// 64 random bits.
pub fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness of the system the clock is random enough for waits; assertions are signed and expire.
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_ne_bytes(bytes),
        Err(_) => u64::from(Timestamp::now().subsec_nanosecond().unsigned_abs()),
    }
}

/// The innermost cause of a failure, which is the system's or rustls's: what stands around it quotes URLs.
pub fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn a_wait_is_told_in_seconds_as_a_date_or_in_milliseconds() {
        let now = "2026-03-01T00:00:00Z".parse().unwrap();
        let wait = |name: &'static str, value: &'static str| {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))]);
            retry_after(&headers, now).map(|wait| wait.as_millis())
        };
        assert_eq!(wait("retry-after", "7"), Some(7_000));
        assert_eq!(wait("retry-after", "Sun, 01 Mar 2026 00:00:30 GMT"), Some(30_000));
        assert_eq!(wait("retry-after", "Sat, 28 Feb 2026 00:00:30 GMT"), Some(0));
        assert_eq!(wait("x-ms-retry-after-ms", "250"), Some(250));
        assert_eq!(wait("retry-after", "soon"), None);
    }

    #[test]
    fn a_wait_is_cut_by_half_at_most() {
        let wait = Duration::from_secs(10);
        assert_eq!((jittered(wait, 0), jittered(wait, u64::MAX)), (wait / 2, wait));
    }
}
