//! End-to-end load with durability on: MLLP in, event readable at `GET /v1/feed`, as a ratio to a bare durable sink in the
//! same run.
//!
//! The sink keeps the raw row in SQLite (WAL, `synchronous=FULL`, unique sender and MSH-10), commits what waits as one
//! group, then answers: what this design costs at least. Heyi decodes, maps, identifies, keeps state and writes events
//! before it answers, and a consumer reads them all the while. Both are processes of their own on loopback, loaded by the
//! same client, round about, so that a busy machine slows both. Half of the messages are ADT, half ORU^R01 with ten OBX, with
//! Chinese names; every connection waits for each answer.
//!
//! `cargo bench --bench end_to_end`; `HEYI_BENCH_SECONDS`, `HEYI_BENCH_ROUNDS` and `HEYI_BENCH_CONNECTIONS` (`1,16,64`)
//! change the run. Compare figures of one run only.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench that cannot go on shall stop")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the figures, and a failing daemon's last words")]

#[allow(dead_code, reason = "the other bench's hospital, of which this one needs a part")]
#[path = "../hospital/mod.rs"]
mod hospital;
mod sink;
#[allow(dead_code, unused_imports, reason = "the tests' own site and daemon, of which a bench needs a part")]
#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::hospital::load::{Load, Outcome};
use crate::hospital::{cpu_seconds, median, quantile, setting};
use crate::support::daemon::Daemon;
use crate::support::http::request;
use crate::support::site::Site;

/// What one system did in one cell.
struct Figures {
    /// Messages a second, until the last one was answered and, with Heyi, its events were read.
    rate: f64,
    /// Messages a second by their answers alone.
    answers: f64,
    p50: Duration,
    p99: Duration,
    /// CPU seconds of the server for 100,000 messages.
    cpu: f64,
    peak_megabytes: f64,
}

fn main() {
    if let Some(path) = std::env::var_os("HEYI_BENCH_SINK") {
        return sink::serve(path.as_ref());
    }
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("end_to_end measures and asserts nothing; run it with `cargo bench --bench end_to_end`");
        return;
    }
    let seconds = Duration::from_secs_f64(setting("HEYI_BENCH_SECONDS", "3").parse().expect("seconds"));
    let rounds: usize = setting("HEYI_BENCH_ROUNDS", "3").parse().expect("a number of rounds");
    let cells = setting("HEYI_BENCH_CONNECTIONS", "1,16,64");
    println!("{rounds} rounds of {seconds:?} a cell; medians; CPU seconds for 100,000 messages");
    println!(
        "{:>11}  {:>6}  {:>9}  {:>9}  {:>8}  {:>8}  {:>6}  {:>7}",
        "connections", "system", "feed/s", "answers/s", "p50 ms", "p99 ms", "CPU", "peak MB"
    );
    for connections in cells.split(',').map(|text| text.parse::<usize>().expect("connections")) {
        let (mut sinks, mut heyis) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let load = Load { connections, first: 0, duration: seconds, seed: round as u64, rate: None };
            sinks.push(measure_sink(&load));
            heyis.push(measure_heyi(&load));
        }
        let mut ratios: Vec<f64> = sinks.iter().zip(&heyis).map(|(sink, heyi)| heyi.rate / sink.rate).collect();
        print_row(connections, "sink", &sinks);
        print_row(connections, "heyi", &heyis);
        let (low, high) =
            ratios.iter().fold((f64::MAX, 0.0_f64), |(low, high), ratio| (low.min(*ratio), high.max(*ratio)));
        println!("{connections:>11}  ratio   {:.2} ({low:.2} to {high:.2})", median(&mut ratios));
    }
}

fn measure_sink(load: &Load) -> Figures {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let sink = sink::Process::start(&directory.path().join("sink.db"));
    let before = cpu_seconds(sink.id());
    let started = Instant::now();
    let outcome = load.run(sink.address);
    figures(outcome, started.elapsed(), cpu_seconds(sink.id()) - before, sink.id())
}

fn measure_heyi(load: &Load) -> Figures {
    let site = Site::new();
    site.consumer();
    let daemon = site.start_with(&["--log", "warn"]);
    let before = cpu_seconds(daemon.id());
    let started = Instant::now();
    let sent_all = AtomicBool::new(false);
    let (outcome, last_read) = std::thread::scope(|scope| {
        let consumer = scope.spawn(|| follow(&daemon, &sent_all));
        let outcome = load.run(daemon.address("his"));
        sent_all.store(true, Ordering::SeqCst);
        let (events, last_read) = consumer.join().expect("the consumer");
        assert!(events >= outcome.answers.len(), "{events} events of {} messages", outcome.answers.len());
        (outcome, last_read)
    });
    figures(outcome, last_read - started, cpu_seconds(daemon.id()) - before, daemon.id())
}

#[derive(Deserialize)]
struct Page {
    events: Vec<IgnoredAny>,
    next: String,
}

/// Reads the feed until all is sent and read: how many events, and when the last came.
fn follow(daemon: &Daemon<'_>, sent_all: &AtomicBool) -> (usize, Instant) {
    let address: SocketAddr = daemon.address("http");
    let bearer = format!("Bearer {}", daemon.site.consumer());
    let (mut events, mut cursor, mut last) = (0, "start".to_owned(), Instant::now());
    loop {
        let complete = sent_all.load(Ordering::SeqCst);
        let target = format!("/v1/feed?after={cursor}&limit=1000&wait=1");
        let response = request(address, "GET", &target, &[("Authorization", &bearer)], b"").ok();
        let page: Page = serde_json::from_slice(&response.body).expect("a page");
        if page.events.is_empty() && complete {
            return (events, last);
        }
        if !page.events.is_empty() {
            (events, last) = (events + page.events.len(), Instant::now());
        }
        cursor = page.next;
    }
}

fn figures(outcome: Outcome, until_read: Duration, cpu: f64, process: u32) -> Figures {
    let latencies = outcome.latencies();
    let count = latencies.len() as f64;
    Figures {
        rate: count / until_read.as_secs_f64(),
        answers: outcome.rate(),
        p50: quantile(&latencies, 0.5),
        p99: quantile(&latencies, 0.99),
        cpu: cpu / count * 100_000.0,
        peak_megabytes: peak_megabytes(process),
    }
}

fn print_row(connections: usize, name: &str, runs: &[Figures]) {
    let middle = |value: fn(&Figures) -> f64| median(&mut runs.iter().map(value).collect::<Vec<_>>());
    println!(
        "{connections:>11}  {name:>6}  {:>9.0}  {:>9.0}  {:>8.2}  {:>8.2}  {:>6.1}  {:>7.0}",
        middle(|run| run.rate),
        middle(|run| run.answers),
        middle(|run| run.p50.as_secs_f64() * 1000.0),
        middle(|run| run.p99.as_secs_f64() * 1000.0),
        middle(|run| run.cpu),
        middle(|run| run.peak_megabytes),
    );
}

/// The largest resident size so far (`VmHWM`).
fn peak_megabytes(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a process of ours");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("VmHWM");
    line.split_whitespace().nth(1).and_then(|text| text.parse::<f64>().ok()).expect("kilobytes") / 1024.0
}
