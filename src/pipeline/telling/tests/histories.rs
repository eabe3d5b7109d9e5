//! Whatever becomes of a server's Patients, and whenever Heyi hears and tells of it: in the end all is as if everything had been read at once.
//!
//! `HEYI_FHIR_PATIENTS=20000` runs more histories than the few of every run; `HEYI_FHIR_SEED=7` runs others.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use serde_json::{Value as Json, json};

use super::giving_way::numbered;
use super::{Server, visit_of_patient};

/// Who the Patients are: nobody can be taken for another one.
const PEOPLE: [(&str, &str); 7] = [
    ("孙丽", "1962-04-09"),
    ("周丽", "1971-12-30"),
    ("吴丽", "1985-01-17"),
    ("郑丽", "1993-08-22"),
    ("欧阳丽", "2004-06-05"),
    ("司马建国", "1948-10-01"),
    ("诸葛志强", "2011-03-14"),
];

/// Patients that are there from the beginning.
const FIRST: usize = 5;

/// Patient numbers of an authority: fewer than Patients.
const NUMBERS: usize = 5;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    /// A Patient is created or changed: its number, or none; whom it gives way to.
    Put(usize, Option<(&'static str, usize)>, Option<usize>),
    Delete(usize),
    /// Heyi hears of what changed of some Patients.
    Hear(u16),
    /// It tells so many of those that are due.
    Tell(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    let number = prop_oneof![
        6 => (Just("HIS"), 0..NUMBERS).prop_map(Some),
        2 => (Just("LAB"), 0..NUMBERS).prop_map(Some),
        1 => Just(None),
    ];
    prop_oneof![
        6 => (0..PEOPLE.len(), number, prop::option::weighted(0.5, 0..PEOPLE.len()))
            .prop_map(|(id, number, into)| Step::Put(id, number, into.filter(|into| *into < id))),
        2 => (0..PEOPLE.len()).prop_map(Step::Delete),
        3 => any::<u16>().prop_map(Step::Hear),
        3 => prop_oneof![1..4_usize, Just(usize::MAX)].prop_map(Step::Tell),
    ]
}

fn patient(id: usize) -> String {
    format!("Patient/{id}")
}

fn content(id: usize, number: Option<(&str, usize)>, into: Option<usize>) -> Json {
    let (name, born) = PEOPLE[id];
    let (system, value) = number.unwrap_or_default();
    let mut content = numbered(system, &format!("{value}"), name, born);
    if number.is_none() {
        content["identifier"] = json!([]);
    }
    if let Some(into) = into {
        content["link"] = json!([{"other": {"reference": patient(into)}, "type": "replaced-by"}]);
    }
    content
}

/// The Patients of a server, and when each changed last; `None`: deleted.
type Patients = BTreeMap<usize, (i64, Option<Json>)>;

/// Heyi hears of the Patients of `heard` what it has not heard.
fn hear(server: &mut Server, now: &Patients, known: &mut Patients, heard: u16) {
    let clock = server.clock;
    for (id, (at, content)) in now.iter().filter(|(id, _)| heard & (1 << **id) != 0) {
        if known.get(id).is_some_and(|(known, _)| known == at) {
            continue;
        }
        server.clock = *at;
        match content {
            Some(content) => server.enter(vec![
                server.read(&patient(*id), content.clone()),
                server.read(&format!("Encounter/{id}"), visit_of_patient(&patient(*id))),
            ]),
            None => server.forget(&patient(*id)),
        }
        known.insert(*id, (*at, content.clone()));
    }
    server.clock = clock;
}

/// Whom each Patient is one with, and whose its visit is: `3 with {3, 4}: visit of 郑丽`.
fn state(server: &Server, now: &Patients) -> Vec<String> {
    let ids: Vec<usize> = now.iter().filter(|(_, (_, content))| content.is_some()).map(|(id, _)| *id).collect();
    let one_ids: BTreeMap<usize, String> = ids.iter().map(|id| (*id, server.one_id_of(&patient(*id)))).collect();
    let shown = |id: &usize| {
        let same: BTreeSet<&usize> = ids.iter().filter(|other| one_ids[other] == one_ids[id]).collect();
        format!("{id} with {same:?}: visit of {}", server.visit_person(&id.to_string()))
    };
    ids.iter().map(shown).collect()
}

fn follow(steps: &[Step]) -> (Server, Patients) {
    let mut server = Server::without_owners();
    let first = |id| (id, (0, Some(content(id, Some(("HIS", id)), None))));
    let mut now: Patients = (0..FIRST).map(first).collect();
    let mut known = Patients::new();
    hear(&mut server, &now, &mut known, u16::MAX);
    for step in steps {
        server.clock += 1;
        match step {
            Step::Put(id, number, into) => {
                _ = now.insert(*id, (server.clock, Some(content(*id, *number, *into))));
            }
            Step::Delete(id) => {
                if let Some(patient) = now.get_mut(id) {
                    *patient = (server.clock, None);
                }
            }
            Step::Hear(heard) => hear(&mut server, &now, &mut known, *heard),
            Step::Tell(limit) => _ = server.tell_some(*limit),
        }
    }
    hear(&mut server, &now, &mut known, u16::MAX);
    // Of a visit whose Patient was gone before it was told nothing can be made.
    server.tell_all();
    (server, now)
}

fn read_at_once(now: &Patients, clock: i64) -> Server {
    let mut server = Server::without_owners();
    server.clock = clock;
    let mut present = now.clone();
    present.retain(|_, (_, content)| content.is_some());
    hear(&mut server, &present, &mut Patients::new(), u16::MAX);
    server.tell();
    server
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn what_is_followed_ends_as_what_is_read_at_once() {
    let mut runner = TestRunner::new(ProptestConfig {
        cases: setting("HEYI_FHIR_PATIENTS").and_then(|count| count.try_into().ok()).unwrap_or(24),
        rng_seed: RngSeed::Fixed(setting("HEYI_FHIR_SEED").unwrap_or(1)),
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&prop::collection::vec(any_step(), 1..40), |steps| {
        let (followed, now) = follow(&steps);
        let read = read_at_once(&now, followed.clock);
        prop_assert_eq!(state(&followed, &now), state(&read, &now), "followed, read");
        Ok(())
    });
    assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
}
