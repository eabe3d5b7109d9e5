//! What FHIRPath costs: time and allocations of one path on one resource, on one core.
//!
//! The resource is a patient with three names and three identifiers. The figure is that of the fastest tenth of short batches, so
//! that a busy machine does not show. `cargo bench --bench fhirpath`; `HEYI_BENCH_SECONDS` (0.5 for each path) changes the run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench that cannot go on shall stop")]
#![allow(clippy::print_stdout, reason = "the figures")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use heyi::fhir::{Path, Scope, Types, Unit};
use mimalloc::MiMalloc;
use stats_alloc::{Region, StatsAlloc};

/// The product's allocator, counted.
static ALLOCATOR: StatsAlloc<MiMalloc> = StatsAlloc::new(MiMalloc);
#[global_allocator]
static COUNTED: &StatsAlloc<MiMalloc> = &ALLOCATOR;

/// Times that a path is evaluated in one batch.
const BATCH: u32 = 1_000;

const PATIENT: &str = r#"{"resourceType": "Patient", "id": "1", "active": true, "gender": "female", "birthDate": "1974-12-25",
  "identifier": [{"use": "usual", "system": "urn:oid:1.2.3", "value": "12345"}, {"system": "urn:a", "value": "a"}, {"system": "urn:b", "value": "b"}],
  "name": [{"use": "official", "family": "Chalmers", "given": ["Peter", "James"]}, {"use": "usual", "given": ["Jim"]}, {"use": "maiden", "family": "Windsor"}],
  "extension": [{"url": "urn:e", "valueQuantity": {"value": 1.5, "unit": "mg"}}], "maritalStatus": {"coding": [{"code": "M"}]}}"#;

const PATHS: [&str; 10] = [
    "birthDate",
    "maritalStatus.coding.code",
    "name.family",
    "name.given",
    "Patient.gender",
    "identifier.where(system = 'urn:a').value",
    "name.where(use = 'official').given.first()",
    "extension('urn:e').value.ofType(Quantity).value",
    "birthDate > @1970 and active",
    "name.first().given.first() & ' ' & name.first().family",
];

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("fhirpath measures and asserts nothing; run it with `cargo bench --bench fhirpath`");
        return;
    }
    let seconds = std::env::var("HEYI_BENCH_SECONDS").map_or(0.5, |text| text.parse().expect("seconds"));
    let unit = Unit::parse(PATIENT.as_bytes()).expect("the patient is a resource");
    let scope = Scope::focal(&unit);
    let patient = Types::resource("Patient").expect("there are patients");
    println!("{:56}  {:>6}  {:>11}", "one path", "ns", "allocations");
    for source in PATHS {
        let path = Path::parse_in(source, &patient).expect("the paths are right");
        assert!(!path.evaluate(&scope).expect("the paths fit").is_empty());
        let (mut times, end) = (Vec::new(), Instant::now() + Duration::from_secs_f64(seconds));
        while Instant::now() < end {
            let start = Instant::now();
            for _ in 0..BATCH {
                black_box(black_box(&path).evaluate(&scope).is_ok());
            }
            times.push(start.elapsed() / BATCH);
        }
        times.sort();
        let region = Region::new(&ALLOCATOR);
        black_box(path.evaluate(&scope).is_ok());
        let allocations = region.change().allocations;
        println!("{source:56}  {:>6}  {allocations:>11}", times[times.len() / 10].as_nanos());
    }
    let start = Instant::now();
    for _ in 0..100 {
        black_box(Path::parse_in(PATHS[5], &patient).is_ok());
    }
    println!("compiling {}: {} ns", PATHS[5], (start.elapsed() / 100).as_nanos());
    let start = Instant::now();
    for _ in 0..1_000 {
        black_box(Unit::parse(PATIENT.as_bytes()).is_ok());
    }
    println!("reading the resource: {} ns", (start.elapsed() / 1_000).as_nanos());
}
