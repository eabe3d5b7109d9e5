//! What benches of the whole daemon share: a hospital's messages, a client that sends them, and what a process has used.

pub(crate) mod load;
mod messages;
mod process;

use std::time::Duration;

pub(crate) use process::cpu_seconds;

/// A setting from the environment.
pub(crate) fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The value that this part of `values`, which are in order, does not pass.
pub(crate) fn quantile(values: &[Duration], part: f64) -> Duration {
    values[((values.len() as f64 * part) as usize).min(values.len() - 1)]
}
