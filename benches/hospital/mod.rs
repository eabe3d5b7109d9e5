//! What benches of the whole daemon share: a hospital's messages, a client that sends them, and what a process has used.

pub(crate) mod load;
mod messages;

use std::time::Duration;

/// Linux counts CPU time in these, on every architecture that Heyi runs on (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

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

/// CPU time that a process has used, all threads (`/proc/PID/stat`, utime and stime).
pub(crate) fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("a process of ours");
    let after_name = stat.rsplit_once(") ").expect("the name in parentheses").1;
    // utime and stime are the 14th and 15th fields; the state after the name is the third.
    let ticks: f64 = after_name.split(' ').skip(11).take(2).map(|field| field.parse::<f64>().expect("ticks")).sum();
    ticks / TICKS_PER_SECOND
}
