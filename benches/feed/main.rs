//! What consumers get and what they cost, with durability, One ID and the audit on: pages read while messages come, the delay of the stream,
//! fifty consumers at once, and one that is far behind. Each beside the same load without consumers, in the same run.
//!
//! The daemon is a process of its own on loopback; the senders and the consumers are threads of this one, so on a small machine what they
//! cost is in the figures too: the daemon's own CPU time for a message stands beside them.
//!
//! `cargo bench --bench feed`; `HEYI_BENCH_SECONDS` (10) of each part, `HEYI_BENCH_BACKLOG` (100,000) events that wait at least,
//! `HEYI_BENCH_CONSUMERS` (50), `HEYI_BENCH_ROUNDS` (3) change the run. Compare figures of one run only.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench that cannot go on shall stop")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the figures, and a failing daemon's last words")]

mod consumer;
#[path = "../hospital/mod.rs"]
mod hospital;
#[allow(dead_code, unused_imports, reason = "the tests' own site and daemon, of which a bench needs a part")]
#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::consumer::{Pages, follow_stream};
use crate::hospital::load::{Load, Outcome};
use crate::hospital::{cpu_seconds, median, quantile, setting};
use crate::support::daemon::Daemon;
use crate::support::site::{Site, configuration};

/// Messages a second of a large hospital, and what one consumer shall read meanwhile: the project's aims.
const HOSPITAL_RATE: f64 = 500.0;
const AIM_EVENTS: f64 = 20_000.0;
const AIM_DELAY: Duration = Duration::from_millis(50);

/// Connections of the senders.
const CONNECTIONS: usize = 16;

/// How a consumer reads.
#[derive(Debug, Clone, Copy)]
enum Reading {
    Pages,
    Stream,
}

struct Bench<'site> {
    daemon: Daemon<'site>,
    seconds: Duration,
    /// Of the next load: no two send the same messages.
    load: usize,
}

/// What a load did while something else went on.
struct Loaded<T> {
    outcome: Outcome,
    /// CPU milliseconds of the daemon for a message.
    cpu: f64,
    beside: T,
}

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("feed measures and asserts nothing; run it with `cargo bench --bench feed`");
        return;
    }
    let seconds = Duration::from_secs_f64(setting("HEYI_BENCH_SECONDS", "10").parse().expect("seconds"));
    let rounds: usize = setting("HEYI_BENCH_ROUNDS", "3").parse().expect("a number of rounds");
    let backlog: usize = setting("HEYI_BENCH_BACKLOG", "100000").parse().expect("a number of events");
    let consumers: usize = setting("HEYI_BENCH_CONSUMERS", "50").parse().expect("a number of consumers");
    let names: Vec<String> = (0..consumers).map(|number| format!("consumer{number}")).collect();
    let configured = names.iter().map(|name| format!("[[consumers]]\nname = \"{name}\"\nevents = [\"*\"]\n"));
    let site = Site::configured(&configuration("", &configured.collect::<String>()));
    let tokens: Vec<String> = names.iter().map(|name| site.token(name, "consumer")).collect();
    let token = tokens.first().expect("a consumer").clone();
    let mut bench = Bench { daemon: site.start_with(&["--log", "warn"]), seconds, load: 0 };
    let waiting = bench.fill(backlog, &token);
    println!("{rounds} rounds of {seconds:?} a part; {waiting} events wait; medians");
    bench.pull(&token, rounds);
    bench.stream(&token, rounds);
    bench.many(&tokens, rounds, Reading::Pages);
    bench.many(&tokens, rounds, Reading::Stream);
    bench.behind(&token, rounds);
}

impl Bench<'_> {
    /// Fills the log until so many events are in it.
    fn fill(&mut self, backlog: usize, token: &str) -> usize {
        loop {
            let head =
                self.daemon.get("/v1/feed/cursor", token).ok().json()["head"].as_str().expect("a head").to_owned();
            let count: usize = head.rsplit_once('-').expect("a cursor").1.parse().expect("a number");
            if count >= backlog {
                return count;
            }
            self.load(None, |_, _| ());
        }
    }

    /// One consumer reads everything again and again while a hospital's messages come.
    fn pull(&mut self, token: &str, rounds: usize) {
        let (mut rates, mut kept, mut p99) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let loaded = self.load(Some(HOSPITAL_RATE), |address, done| {
                runtime().block_on(async {
                    let mut pages = Pages::connect(address, token).await;
                    let (started, mut events) = (Instant::now(), 0);
                    while !done.load(Ordering::SeqCst) {
                        events += pages.read_all().await;
                    }
                    events as f64 / started.elapsed().as_secs_f64()
                })
            });
            rates.push(loaded.beside);
            kept.push(loaded.outcome.rate() / HOSPITAL_RATE);
            p99.push(milliseconds(quantile(&loaded.outcome.latencies(), 0.99)));
        }
        let rate = median(&mut rates);
        println!(
            "pull      {rate:>8.0} events/s in pages of 1,000, {:.2} of the aim, beside {:.2} of {HOSPITAL_RATE} messages/s (p99 {:.1} ms)",
            rate / AIM_EVENTS,
            median(&mut kept),
            median(&mut p99),
        );
    }

    /// From the answer to a message to its event in the stream, while a hospital's messages come.
    fn stream(&mut self, token: &str, rounds: usize) {
        let (mut p50, mut p99, mut share) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let Loaded { outcome, beside: came, .. } =
                self.load(Some(HOSPITAL_RATE), |address, done| runtime().block_on(follow_stream(address, token, done)));
            let came: BTreeMap<String, Instant> = came.into_iter().collect();
            // Before the answer was read counts as no delay.
            let mut delays: Vec<Duration> = outcome
                .answers
                .iter()
                .filter_map(|answer| came.get(&answer.id).map(|at| at.saturating_duration_since(answer.at)))
                .collect();
            delays.sort_unstable();
            // Every second message is a report.
            share.push(delays.len() as f64 / (outcome.answers.len() as f64 / 2.0));
            p50.push(milliseconds(quantile(&delays, 0.5)));
            p99.push(milliseconds(quantile(&delays, 0.99)));
        }
        let late = median(&mut p99);
        println!(
            "stream    p50 {:.1} ms, p99 {late:.1} ms after the answer, {:.2} of the aim; {:.3} of the reports came while it ran",
            median(&mut p50),
            late / milliseconds(AIM_DELAY),
            median(&mut share),
        );
    }

    /// All messages that go, without consumers and with many that follow.
    fn many(&mut self, tokens: &[String], rounds: usize, how: Reading) {
        self.compare(&format!("{} {how:?}", tokens.len()).to_lowercase(), rounds, |address, done| {
            runtime().block_on(async {
                let mut following = JoinSet::new();
                for token in tokens {
                    let (token, done) = (token.clone(), Arc::clone(done));
                    following.spawn(async move {
                        match how {
                            Reading::Pages => Pages::connect(address, &token).await.follow(&done).await,
                            Reading::Stream => drop(follow_stream(address, &token, &done).await),
                        }
                    });
                }
                following.join_all().await;
            });
        });
    }

    /// All messages that go, without consumers and with one that has everything to read.
    fn behind(&mut self, token: &str, rounds: usize) {
        self.compare("behind", rounds, |address, done| {
            runtime().block_on(async {
                let mut pages = Pages::connect(address, token).await;
                while !done.load(Ordering::SeqCst) {
                    pages.read_all().await;
                }
            });
        });
    }

    fn compare(&mut self, name: &str, rounds: usize, beside: impl Fn(SocketAddr, &Arc<AtomicBool>) + Sync) {
        for rate in [None, Some(HOSPITAL_RATE)] {
            let (mut ratios, mut cpu, mut waits) = (Vec::new(), [Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
            for _ in 0..rounds {
                let alone = self.load(rate, |_, _| ());
                let together = self.load(rate, |address, done| beside(address, done));
                ratios.push(together.outcome.rate() / alone.outcome.rate());
                for (place, outcome) in [alone.outcome, together.outcome].into_iter().enumerate() {
                    waits[place].push(milliseconds(quantile(&outcome.latencies(), 0.99)));
                }
                cpu[0].push(alone.cpu);
                cpu[1].push(together.cpu);
            }
            let load = rate.map_or("all that go".to_owned(), |rate| format!("{rate} messages/s"));
            println!(
                "{name:<11} {load:>14}: {:.2} of the messages without; CPU ms a message {:.2} beside {:.2}; p99 of answers {:.1} ms beside {:.1}",
                median(&mut ratios),
                median(&mut cpu[1]),
                median(&mut cpu[0]),
                median(&mut waits[1]),
                median(&mut waits[0]),
            );
        }
    }

    /// Sends for the bench's seconds while `beside` goes on; its flag says when the sending has ended.
    fn load<T: Send>(
        &mut self,
        rate: Option<f64>,
        beside: impl FnOnce(SocketAddr, &Arc<AtomicBool>) -> T + Send,
    ) -> Loaded<T> {
        self.load += 1;
        let first = self.load * CONNECTIONS;
        let load = Load { connections: CONNECTIONS, first, duration: self.seconds, seed: self.load as u64, rate };
        let (http, his) = (self.daemon.address("http"), self.daemon.address("his"));
        let done = Arc::new(AtomicBool::new(false));
        let before = cpu_seconds(self.daemon.id());
        let (outcome, beside) = std::thread::scope(|scope| {
            let other = scope.spawn(|| beside(http, &done));
            let outcome = load.run(his);
            done.store(true, Ordering::SeqCst);
            (outcome, other.join().expect("a consumer"))
        });
        let cpu = (cpu_seconds(self.daemon.id()) - before) * 1000.0 / outcome.answers.len() as f64;
        Loaded { outcome, cpu, beside }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
