//! What it costs to say whose a record is, as the store grows: CPU time of one record, in windows from an empty store on.
//!
//! The records are those of an invented town (`tests/population/town`), through the pipeline as in service, durability on; the first
//! column is reading and mapping, which does not grow, the second identity, state, events and their commit. CPU time is that
//! of the whole process, with the writer's and the checkpointer's threads, so that a busy machine does not count; what it does to
//! caches does.
//!
//! Within a size the cost rises because ever more records find their person, whose records are read and whose golden record is written
//! anew: in a full town nearly all do. How the cost grows with the store show the last lines of the sizes beside each other.
//!
//! `cargo bench --bench identity`; `HEYI_BENCH_RECORDS=10000,100000` (default `100000`) are the sizes, each with a store of its own.
//! All messages of a size are made before it begins and stay in memory; a million of them take minutes of a core.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench that cannot go on shall stop")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the figures")]

#[allow(dead_code, reason = "the tests' own, of which a bench needs a part")]
#[path = "../tests/population/play.rs"]
mod play;
#[allow(dead_code, reason = "the tests' own, of which a bench needs a part")]
#[path = "../tests/population/town/mod.rs"]
mod town;

use mimalloc::MiMalloc;

use crate::play::{Stage, cpu_seconds, town_messages};
use crate::town::Town;
use crate::town::random::Random;

/// The product's allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Lines of a curve.
const WINDOWS: usize = 10;
/// Messages that are read and mapped before they are committed.
const STEP: usize = 10_000;

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("identity measures and asserts nothing; run it with `cargo bench --bench identity`");
        return;
    }
    let sizes = std::env::var("HEYI_BENCH_RECORDS").unwrap_or_else(|_| "100000".to_owned());
    for records in sizes.split(',').map(|text| text.trim().parse::<usize>().expect("a number of records")) {
        measure(records);
    }
}

fn measure(records: usize) {
    // A town has 2.3 rows for each of its people.
    let town = Town::new(1, records * 10 / 22);
    let mut messages = town_messages(&town);
    drop(town);
    // As they come to a hospital that begins: nobody's records stand together.
    Random::new(records as u64).shuffle(&mut messages);
    messages.truncate(records);
    println!("{} messages; ms CPU for a message", messages.len());
    println!("{:>10}  {:>8}  {:>8}  {:>8}", "until", "mapped", "stored", "both");
    let mut stage = Stage::new();
    let (mut mapped, mut stored, mut done, mut since) = (0.0, 0.0, 0, 0);
    let window = records.div_ceil(WINDOWS).max(1);
    for step in messages.chunks(STEP.min(window)) {
        let before = cpu_seconds();
        let units = stage.prepare(step);
        let between = cpu_seconds();
        let failed = stage.commit(units);
        assert_eq!(failed, 0, "every message is understood");
        mapped += between - before;
        stored += cpu_seconds() - between;
        done += step.len();
        since += step.len();
        if since >= window || done == messages.len() {
            let one = |seconds: f64| seconds * 1000.0 / since as f64;
            println!("{done:>10}  {:>8.4}  {:>8.4}  {:>8.4}", one(mapped), one(stored), one(mapped + stored));
            (mapped, stored, since) = (0.0, 0.0, 0);
        }
    }
}
