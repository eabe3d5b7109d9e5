//! A first load of a FHIR server with durability on: from an empty store until every resource is in the mirror and every record of it told, and what
//! an idle poll asks for then.
//!
//! The server is in this process, on a thread of its own, and has its pages as bytes before the clock starts; its CPU time is measured and
//! subtracted. The daemon is the program's own [`App`] with the mapping that ships, on a store in a temporary directory. Beside it a bare
//! durable sink keeps the same pages raw: what reading and keeping cost at least.
//!
//! `cargo bench --bench first_load`; `HEYI_BENCH_RESOURCES` (20,000) and `HEYI_BENCH_SECONDS` of idleness (5) change the run. Compare figures of
//! one run only: CPU seconds more than time where the machine has other work.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench that cannot go on shall stop")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the figures")]

#[allow(dead_code, unused_imports, reason = "the tests' own resident numbers, of which a bench needs a part")]
#[path = "../../tests/it/support/hl7.rs"]
mod hl7;
#[path = "../hospital/process.rs"]
mod process;
mod resources;
mod server;
mod sink;
mod support {
    pub(crate) use crate::hl7;
}

use std::path::Path;
use std::time::{Duration, Instant};

use heyi::app::App;
use heyi::store::{Store, resources as mirror};
use mimalloc::MiMalloc;

use crate::process::cpu_seconds;
use crate::resources::POLLED;
use crate::server::Server;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Between two looks whether all is there.
const LOOK: Duration = Duration::from_millis(50);
/// A load that takes longer does not end.
const PATIENCE: Duration = Duration::from_secs(1800);
const SOURCE: &str = "emr";

/// What one load took.
struct Figures {
    count: f64,
    elapsed: f64,
    server: f64,
    cpu: f64,
}

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("first_load measures and asserts nothing; run it with `cargo bench --bench first_load`");
        return;
    }
    let count: usize = setting("HEYI_BENCH_RESOURCES", "20000").parse().expect("a number of resources");
    let idle = Duration::from_secs(setting("HEYI_BENCH_SECONDS", "5").parse().expect("seconds"));
    let hospital = resources::hospital(count);
    let polled: usize = POLLED.iter().map(|kind| hospital[kind].len()).sum();
    let bytes: usize = POLLED.iter().flat_map(|kind| &hospital[kind]).map(|resource| resource.json.len()).sum();
    let server = Server::start(hospital);
    println!("{polled} resources of {} bytes in the middle, pages of {}", bytes / polled, server::PAGE);
    println!(
        "{:>8}  {:>8}  {:>9}  {:>12}  {:>12}  {:>15}",
        "system", "seconds", "server's", "resources/s", "without it/s", "CPU s / 100,000"
    );
    let directory = tempfile::tempdir().expect("a temporary directory");
    let sink = measure(&server, || sink::load(server.address, &directory.path().join("sink.db")));
    sink.print("sink");
    server.asked();
    let heyi = load(&server, directory.path(), polled, idle);
    println!("{:>8}  {:.3}", "ratio", heyi.rate() / sink.rate());
}

fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn measure(server: &Server, work: impl FnOnce() -> usize) -> Figures {
    let (busy, cpu, started) = (server.busy(), cpu_seconds(std::process::id()), Instant::now());
    let count = work();
    let elapsed = started.elapsed().as_secs_f64();
    let server = (server.busy() - busy).as_secs_f64();
    Figures { count: count as f64, elapsed, server, cpu: cpu_seconds(std::process::id()) - cpu - server }
}

impl Figures {
    /// Resources a second, the server's time subtracted.
    fn rate(&self) -> f64 {
        self.count / (self.elapsed - self.server)
    }

    fn print(&self, name: &str) {
        println!(
            "{name:>8}  {:>8.2}  {:>9.2}  {:>12.0}  {:>12.0}  {:>15.1}",
            self.elapsed,
            self.server,
            self.count / self.elapsed,
            self.rate(),
            self.cpu / self.count * 100_000.0
        );
    }
}

fn load(server: &Server, directory: &Path, polled: usize, idle: Duration) -> Figures {
    let file = directory.join("heyi.toml");
    let mappings = Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings/fhir-r4.toml");
    let configuration = format!(
        r#"
[store]
path = "heyi.db"

[http]
listen = "127.0.0.1:0"

[[sources]]
name = "{SOURCE}"
mapping = "{}"
fhir = {{ base_url = "http://{}/fhir", interval = "1s", resources = {POLLED:?} }}
"#,
        mappings.display(),
        server.address
    );
    std::fs::write(&file, configuration).expect("a configuration");
    let (config, _) = heyi::config::load(&file).expect("a configuration that is right");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut mirrored = Duration::ZERO;
    let mut daemon = None;
    let figures = measure(server, || {
        let started = Instant::now();
        let app = runtime.block_on(App::start(&config)).expect("the daemon starts");
        let (store, stop) = (app.store().clone(), app.stop_token());
        daemon = Some((store.clone(), stop, runtime.spawn(app.serve())));
        while !is_told(&store, polled, started, &mut mirrored) {
            assert!(started.elapsed() < PATIENCE, "the load does not end");
            std::thread::sleep(LOOK);
        }
        polled
    });
    figures.print("heyi");
    let (store, stop, served) = daemon.expect("the daemon");
    println!("{:>8}  in the mirror after {:.2} s; {}", "", mirrored.as_secs_f64(), writing(&store));
    println!("{:>8}  asked for: {}", "", told(&server.asked()));
    // What the last round began before all was there is not idle.
    std::thread::sleep(Duration::from_secs(3));
    server.asked();
    let cpu = cpu_seconds(std::process::id());
    std::thread::sleep(idle);
    let asked = server.asked();
    println!(
        "{:>8}  {:.0} s of idleness, polled each second: {} requests, {:.1} a type and second, {:.0} ms of CPU a second",
        "",
        idle.as_secs_f64(),
        asked.values().sum::<u64>(),
        asked.values().sum::<u64>() as f64 / POLLED.len() as f64 / idle.as_secs_f64(),
        (cpu_seconds(std::process::id()) - cpu) * 1000.0 / idle.as_secs_f64(),
    );
    stop.cancel();
    runtime.block_on(served).expect("the daemon ends").expect("and in order");
    figures
}

/// Whether all is in the mirror and nothing is due.
fn is_told(store: &Store, polled: usize, started: Instant, mirrored: &mut Duration) -> bool {
    let read = store.read(|reader| {
        // Counting what is due is cheap where little is; all of the mirror is counted once it may be complete.
        Ok((mirror::held(reader, SOURCE, "Condition", "", polled)?.len(), mirror::due_count(reader, SOURCE)?))
    });
    let (last, due) = read.expect("the store");
    if mirrored.is_zero() && last * 20 >= polled {
        *mirrored = started.elapsed();
    }
    if last * 20 < polled || due > 0 {
        return false;
    }
    let counts = store.read(|reader| mirror::counts(reader, SOURCE)).expect("the store");
    let present: u64 = counts
        .iter()
        .filter(|(kind, state, _)| POLLED.contains(&kind.as_str()) && state == "present")
        .map(|(.., count)| count)
        .sum();
    present == polled as u64 && counts.iter().all(|(_, state, _)| state != "unread")
}

fn writing(store: &Store) -> String {
    let statistics = store.writer_statistics();
    let read = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    format!(
        "{} jobs in {} transactions, {:.2} s of work and {:.2} s of commits",
        read(&statistics.jobs),
        read(&statistics.batches),
        read(&statistics.work_nanoseconds) as f64 / 1e9,
        read(&statistics.commit_nanoseconds) as f64 / 1e9
    )
}

fn told(asked: &std::collections::BTreeMap<String, u64>) -> String {
    asked.iter().map(|(path, count)| format!("{path} {count}")).collect::<Vec<_>>().join(", ")
}
