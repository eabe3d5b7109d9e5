//! What mapping costs: time and allocations of one message on one core, beside `hl7-parser` reading the same message whole.
//!
//! Both messages are those of a busy hospital, with Chinese names: an admission, and an ORU^R01 with ten OBX, each through the
//! example mapping of its source. The three steps of one message take turns in batches shorter than a time slice, so that a busy
//! machine slows all of them; the figure is that of the fastest tenth. Times include the counting of allocations.
//!
//! `cargo bench --bench mapping`; `HEYI_BENCH_SECONDS` (2 for each message) changes the run. Compare figures of one run only.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench that cannot go on shall stop")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the figures")]

#[allow(dead_code, reason = "the messages of the whole daemon.s benches, of which two are enough")]
#[path = "hospital/messages.rs"]
mod messages;
#[allow(dead_code, unused_imports, reason = "the tests' own HL7, of which the messages need a part")]
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use heyi::hl7v2::{CharsetSetting, Limits, Message};
use heyi::mapping::{Context, Mapping};
use jiff::tz::TimeZone;
use mimalloc::MiMalloc;
use stats_alloc::{Region, StatsAlloc};

/// The product's allocator, counted.
static ALLOCATOR: StatsAlloc<MiMalloc> = StatsAlloc::new(MiMalloc);
#[global_allocator]
static COUNTED: &StatsAlloc<MiMalloc> = &ALLOCATOR;

/// Times that a step runs in one batch.
const BATCH: u32 = 10;

/// One thing that is done to a message.
struct Step<'s> {
    name: &'static str,
    work: &'s dyn Fn(),
}

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("mapping measures and asserts nothing; run it with `cargo bench --bench mapping`");
        return;
    }
    let seconds = std::env::var("HEYI_BENCH_SECONDS").map_or(2.0, |text| text.parse().expect("seconds"));
    let duration = Duration::from_secs_f64(seconds);
    let mut written = messages::Messages::new(0, 1);
    let (mut admission, mut report) = (String::new(), String::new());
    written.next(&mut admission);
    written.next(&mut report);
    println!("{:26}  {:>6}  {:>11}  {:>10}  {:>8}", "one message", "µs", "allocations", "bytes", "ratio");
    measure("ADT^A01", &admission, &load("mappings/his.toml"), duration);
    measure("ORU^R01 with ten OBX", &report, &load("mappings/lis.toml"), duration);
}

fn load(name: &str) -> Mapping {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    Mapping::load(name, &|name| std::fs::read_to_string(root.join(name))).expect("a shipped mapping")
}

fn measure(title: &str, text: &str, mapping: &Mapping, duration: Duration) {
    let limits = Limits::default();
    let read = || Message::read(text.as_bytes(), &CharsetSetting::Auto, &limits).expect("a message").0;
    let zone = TimeZone::get("Asia/Shanghai").expect("a zone");
    let context = Context { zone: &zone, facility: None, explain: false };
    let message = read();
    let mapped = mapping.apply(&message, &context).expect("a message that the mapping takes");
    assert!(mapped.records.len() > 1 && mapped.rejected.is_empty(), "{title}: {mapped:?}");

    let steps = [
        Step { name: "hl7-parser, whole", work: &|| drop(black_box(hl7_parser::parse_message(black_box(text)))) },
        Step { name: "read: decode and index", work: &|| drop(black_box(read())) },
        Step { name: "map", work: &|| drop(black_box(mapping.apply(black_box(&message), &context))) },
    ];
    let mut batches = vec![Vec::new(); steps.len()];
    let end = Instant::now() + duration;
    while Instant::now() < end {
        for (step, batches) in steps.iter().zip(&mut batches) {
            let started = Instant::now();
            (0..BATCH).for_each(|_| (step.work)());
            batches.push(started.elapsed().as_secs_f64() * 1e6 / f64::from(BATCH));
        }
    }
    println!("{title}, {} bytes", text.len());
    let times: Vec<f64> = batches.iter_mut().map(|batches| fastest_tenth(batches)).collect();
    for (step, time) in steps.iter().zip(&times) {
        let region = Region::new(&ALLOCATOR);
        (step.work)();
        let change = region.change();
        let allocations = change.allocations + change.reallocations;
        let ratio = time / times[0];
        println!("  {:24}  {time:>6.1}  {allocations:>11}  {:>10}  {ratio:>8.2}", step.name, change.bytes_allocated);
    }
}

/// The time that a tenth of the batches stayed below.
fn fastest_tenth(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 10]
}
