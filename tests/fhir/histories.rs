//! Random histories: resources are created, changed and deleted while the poller reads, the server misbehaves, the poller is killed. When it is
//! quiet again, the mirror is what the server is.
//!
//! `HEYI_FHIR_HISTORIES=10000` runs more than the few of every run, `HEYI_FHIR_SEED=7` only that one.

use std::time::Duration;

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::json;

use crate::fhir_server::{Fault, Histories, Manner, Model, Paging, Precision};
use crate::rig::{Rig, TYPES};

/// Histories of an ordinary run.
const HISTORIES: u64 = 40;

/// One that ended wrong before: a patient's pass of two turns, whose second told nothing new, was gone on with for ever.
const ENDED_WRONG: u64 = 2214;

/// Histories at once: most of the time of one is waiting for repeats and for the network.
const AT_ONCE: usize = 32;

/// Small numbers from a seed.
struct Chance(TestRng);

impl Chance {
    fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.0.next_u32() % bound
    }

    fn one_in(&mut self, bound: u32) -> bool {
        self.below(bound) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(u32::try_from(all.len()).unwrap()) as usize]
    }
}

/// One change of a resource, or of the clock.
fn change(model: &mut Model, chance: &mut Chance, old_times: bool) {
    // Often none: many rows in one instant.
    if chance.one_in(2) {
        model.advance(Duration::from_millis(u64::from(chance.below(1_500))));
    }
    let name = chance.of(&TYPES);
    let id = format!("x{}", chance.below(25));
    let mut content = json!({"n": chance.below(1_000_000)});
    if name != "Patient" {
        content["subject"] = json!({"reference": format!("Patient/x{}", chance.below(25))});
    }
    match chance.below(12) {
        0..=1 => model.delete(name, &id),
        2 => model.put_late(name, &id, content, 1 + chance.below(6)),
        3 if old_times => {
            let at = model.now.checked_sub(jiff::SignedDuration::from_hours(40)).unwrap();
            model.put_at(name, &id, content, at);
        }
        _ => model.put(name, &id, content),
    }
}

fn fault(chance: &mut Chance) -> Fault {
    match chance.below(9) {
        0 => Fault::Status(500, None),
        1 => Fault::Status(429, Some(("retry-after", chance.below(30).to_string()))),
        2 => Fault::Status(503, None),
        3 => Fault::Html,
        4 => Fault::Outcome,
        5 => Fault::CutOff,
        6 => Fault::CutJson,
        7 => Fault::CutGzip,
        _ => Fault::Close,
    }
}

struct Plan {
    manner: Manner,
    precision: Precision,
    undated: bool,
    page_size: u32,
    /// One request in so many goes wrong.
    faults: u32,
    /// One page in so many is gone.
    expires: u32,
    /// Rows are written with times long past.
    old_times: bool,
    /// What no poll can see, only a comparison of all ids.
    needs_sweep: bool,
}

fn plan(chance: &mut Chance) -> Plan {
    let paging = chance.of(&[Paging::Cursor, Paging::Cursor, Paging::Frozen, Paging::Offset, Paging::None]);
    let manner = Manner {
        paging,
        page_cap: if paging == Paging::None { 1_000 } else { chance.of(&[1_000, 1_000, 4, 9]) },
        total: paging == Paging::None || chance.one_in(2),
        own_link: !chance.one_in(4),
        ignores_sort: chance.one_in(6),
        ignores_last_updated: chance.one_in(8),
        refuses_sort: chance.one_in(10),
        refuses_last_updated: chance.one_in(12),
        wants_patient: chance.one_in(10),
        ignores_id: chance.one_in(6),
        histories: chance.of(&[Histories::Yes, Histories::Yes, Histories::No]),
        forgets_deleted: chance.one_in(5),
        metadata: !chance.one_in(5),
        includes: chance.one_in(3),
        export_post: chance.one_in(4),
        export_get: chance.one_in(8),
        gzip: chance.one_in(3),
        ..Manner::default()
    };
    let undated = chance.one_in(12);
    let old_times = chance.one_in(8);
    let unordered = manner.ignores_sort || manner.refuses_sort;
    // Rows that move between pages that count rows, or behind a page that never came, are found by comparing ids.
    let shifts = paging == Paging::Offset || paging == Paging::None;
    Plan {
        needs_sweep: old_times || undated || unordered && shifts || manner.page_cap < 100 && shifts,
        precision: chance.of(&[Precision::Seconds, Precision::Milliseconds, Precision::Ticks]),
        undated,
        page_size: chance.of(&[1, 3, 7, 20, 200]),
        faults: chance.of(&[1_000_000, 20, 6]),
        expires: chance.of(&[1_000_000, 10]),
        old_times,
        manner,
    }
}

/// Runs one history; the differences that are left, and when.
async fn run(seed: u64) -> Vec<String> {
    let mut chance = Chance::new(seed);
    let plan = plan(&mut chance);
    let page_size = plan.page_size;
    let mut rig = Rig::with(plan.manner.clone(), |settings| {
        settings.page_size = page_size;
        settings.limits.turn = 7;
        settings.limits.breaker = 8;
    })
    .await;
    {
        let mut shared = rig.server.shared();
        shared.model.precision = plan.precision;
        shared.model.undated = plan.undated;
        for _ in 0..chance.below(120) {
            change(&mut shared.model, &mut chance, false);
        }
        let mut inner = Chance::new(seed ^ 0xF41);
        let (faults, expires, old_times) = (plan.faults, plan.expires, plan.old_times);
        shared.hook = Some(Box::new(move |request, model| {
            // Whoever reads row by row must be quicker than those who write.
            let changes = if page_size > 3 { inner.below(3) } else { u32::from(inner.one_in(3)) };
            for _ in 0..changes {
                change(model, &mut inner, old_times);
            }
            if inner.one_in(faults) {
                return fault(&mut inner);
            }
            if request.target.contains("place=") && inner.one_in(expires) {
                return Fault::Status(410, None);
            }
            Fault::Nothing
        }));
    }
    for _ in 0..20 + chance.below(30) {
        rig.round().await;
        if chance.one_in(8) {
            rig.restart();
        }
        if chance.one_in(4) {
            rig.server.advance(Duration::from_secs(u64::from(chance.below(120))));
        }
    }
    {
        let mut shared = rig.server.shared();
        shared.hook = None;
        shared.model.settle();
    }
    // Everything within the overlap, the rests and the scans comes due.
    let hidden = matches!(plan.manner.histories, Histories::No);
    rig.pass_time(Duration::from_secs(2 * 3600), 10).await;
    let mut left = differences(&rig, plan.manner.wants_patient);
    if hidden {
        left.retain(|difference| !difference.contains("no longer"));
    }
    if !left.is_empty() && !plan.needs_sweep {
        left.push(format!("after two hours; {:?} page size {page_size}; {:?}", plan.manner, rig.status()));
        return left;
    }
    let days = if plan.manner.histories == Histories::Yes { 8 } else { 4 };
    rig.pass_time(Duration::from_secs(days * 25 * 3600), u32::try_from(days).unwrap()).await;
    let mut left = differences(&rig, plan.manner.wants_patient);
    if !left.is_empty() {
        left.push(format!("after sweeps; {:?} page size {page_size}; {:?}", plan.manner, rig.status()));
    }
    left
}

/// What is left between server and mirror. Where only patients are asked about, nobody can see what belongs to none.
fn differences(rig: &Rig, per_patient: bool) -> Vec<String> {
    let mut left = rig.all_differences();
    if per_patient {
        let shared = rig.server.shared();
        left.retain(|difference| {
            let Some((name, id)) = difference.split(' ').next().and_then(|key| key.split_once('/')) else {
                return true;
            };
            let subject = shared.model.current(name, id).and_then(|version| {
                Some(version.content["subject"]["reference"].as_str()?.strip_prefix("Patient/")?.to_owned())
            });
            let lives = |patient: &String| shared.model.current("Patient", patient).is_some_and(|one| !one.deleted);
            subject.is_none_or(|patient| lives(&patient))
        });
    }
    left.truncate(5);
    left
}

#[tokio::test(flavor = "multi_thread")]
async fn after_any_history_the_mirror_is_what_the_server_is() {
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse::<u64>().ok());
    let (seeds, again) = match number("HEYI_FHIR_SEED") {
        Some(seed) => (seed..seed + 1, None),
        None => (0..number("HEYI_FHIR_HISTORIES").unwrap_or(HISTORIES), Some(ENDED_WRONG)),
    };
    let mut seeds = seeds.chain(again);
    let mut running = tokio::task::JoinSet::new();
    let mut wrong = Vec::new();
    loop {
        while running.len() < AT_ONCE {
            let Some(seed) = seeds.next() else { break };
            running.spawn(async move { (seed, run(seed).await) });
        }
        let Some(done) = running.join_next().await else { break };
        let (seed, left) = done.unwrap();
        if !left.is_empty() {
            wrong.push(format!("seed {seed}: {left:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} histories ended with differences:\n{}", wrong.len(), wrong.join("\n"));
}
