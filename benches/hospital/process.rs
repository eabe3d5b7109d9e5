//! What a process has used.

/// Linux counts CPU time in these, on every architecture that Heyi runs on (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time that a process has used, all threads (`/proc/PID/stat`, utime and stime).
pub(crate) fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("a process of ours");
    let after_name = stat.rsplit_once(") ").expect("the name in parentheses").1;
    // utime and stime are the 14th and 15th fields; the state after the name is the third.
    let ticks: f64 = after_name.split(' ').skip(11).take(2).map(|field| field.parse::<f64>().expect("ticks")).sum();
    ticks / TICKS_PER_SECOND
}
