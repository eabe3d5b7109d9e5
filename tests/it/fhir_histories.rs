//! Whatever happens on a FHIR server while it is polled, and however often Heyi is killed meanwhile: in the end all is as if everything had
//! been read at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fhir::{Emr, encounter, observation, patient, report};
use crate::fhir_server::{Histories, Manner, Paging};
use crate::support::daemon::Daemon;
use crate::support::site::Site;

/// Patients of one history: few enough that resources meet.
const PATIENTS: u64 = 5;
/// Steps of one history.
const STEPS: u64 = 30;
/// Two daemons that differ and change no more differ for good after this long...
const REST: Duration = Duration::from_secs(20);
/// ... and after so many requests to the server: on a busy machine a pass may take long. Several sweeps and looks into the history.
const REQUESTS_OF_REST: u64 = 400;
/// Whatever moves: a history that has not ended by then goes in circles.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// Numbers that look random and are the same for the same seed (SplitMix64; Steele, Lea, Flood 2014).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// A patient who can be nobody else: who they are is no matter of this test.
fn somebody(id: u64, number: &str, given: u64) -> Value {
    let place = id as usize;
    let (family, given) = (["孙", "周", "吴", "郑", "欧阳"][place], ["丽", "建国", "志强"][given as usize]);
    let mut content = patient(number, &format!("{family}{given}"));
    content["birthDate"] = json!(["1962-04-09", "1971-12-30", "1985-01-17", "1993-08-22", "2004-06-05"][place]);
    content
}

/// The number of a patient under the other authority.
fn of_another_authority(mut content: Value, number: &str) -> Value {
    content["identifier"][0]["system"] = json!("REGION");
    content["identifier"][0]["value"] = json!(number);
    content
}

fn without_number(mut content: Value) -> Value {
    content.as_object_mut().unwrap().remove("identifier");
    content
}

/// One thing that happens on the server.
fn happen(emr: &Emr, dice: &mut Dice, merges: bool) {
    let id = dice.roll(PATIENTS);
    let of = format!("Patient/{id}");
    match dice.roll(15) {
        // Two Patients of one number, who are two; or one of them gives way to the other, until it is told otherwise.
        12 => emr.put(&of, somebody(id, &format!("M{}", dice.roll(PATIENTS)), 0)),
        13 if merges && id > 0 => {
            let replaced = somebody(id, &format!("M{id}"), 0);
            let mut replaced = match dice.roll(4) {
                0 => of_another_authority(replaced, &format!("R{id}")),
                1 => without_number(replaced),
                _ => replaced,
            };
            let other = format!("Patient/{}", dice.roll(id));
            replaced["link"] = json!([{"other": {"reference": other}, "type": "replaced-by"}]);
            emr.put(&of, replaced);
        }
        // Deleted, and perhaps made anew under another id.
        14 => {
            emr.delete(&of);
            if dice.roll(2) == 0 {
                emr.put(&format!("Patient/{id}-anew"), somebody(id, &format!("M{id}"), 0));
            }
        }
        0 => emr.put(&of, somebody(id, &format!("M{id}"), dice.roll(3))),
        // Its patient number is another one, one of another authority, or there is none any more.
        1 if dice.roll(2) == 0 => emr.put(&of, of_another_authority(somebody(id, "", 0), &format!("R{id}"))),
        1 => emr.put(&of, somebody(id, &format!("N{id}"), 0)),
        2 => emr.put(&of, without_number(somebody(id, "", 0))),
        3..=5 => {
            let visit = dice.roll(4);
            let status = ["planned", "arrived", "in-progress", "finished", "cancelled"][dice.roll(5) as usize];
            let number = if dice.roll(4) == 0 { format!("W{id}-{visit}") } else { format!("V{id}-{visit}") };
            emr.put(&format!("Encounter/{id}-{visit}"), encounter(&number, status, &of));
        }
        6 | 7 => {
            let name = format!("Observation/{id}-{}", dice.roll(6));
            emr.put(&name, observation(&format!("C{}", dice.roll(3)), dice.roll(90) as f64 / 10.0, &of));
        }
        8 | 9 => {
            let results: Vec<String> =
                (0..6).filter(|_| dice.roll(2) == 0).map(|place| format!("Observation/{id}-{place}")).collect();
            let results: Vec<&str> = results.iter().map(String::as_str).collect();
            let mut content = report(&results, &of, &format!("Encounter/{id}-{}", dice.roll(4)));
            content["status"] = json!(["final", "preliminary", "amended"][dice.roll(3) as usize]);
            emr.put(&format!("DiagnosticReport/{id}-{}", dice.roll(2)), content);
        }
        10 => emr.delete(&format!("Encounter/{id}-{}", dice.roll(4))),
        _ => match dice.roll(3) {
            0 => emr.delete(&format!("Observation/{id}-{}", dice.roll(6))),
            _ => emr.delete(&format!("DiagnosticReport/{id}-{}", dice.roll(2))),
        },
    }
}

/// Every patient's visits and reports that are not withdrawn, without what depends on how they came to be.
fn state(daemon: &Daemon<'_>) -> BTreeMap<String, Value> {
    let mut state = BTreeMap::new();
    let mut persons = BTreeMap::new();
    for event in daemon.feed() {
        let subject = event["subject"].as_str().unwrap().to_owned();
        persons.insert(subject, ());
    }
    for one_id in persons.into_keys() {
        let person = daemon.json(&format!("/v1/persons/{one_id}"));
        if person["merged_into"].is_string() {
            continue;
        }
        for kind in ["visits", "lab-reports"] {
            let found = daemon.json(&format!("/v1/persons/{one_id}/{kind}?limit=200"));
            for mut record in found[kind.replace('-', "_")].as_array().unwrap().iter().cloned() {
                if record["status"] == "entered_in_error" {
                    continue;
                }
                let id = record[if kind == "visits" { "visit_id" } else { "report_id" }].as_str().unwrap().to_owned();
                let members = record.as_object_mut().unwrap();
                members.retain(|name, _| {
                    !matches!(name.as_str(), "one_id" | "version" | "updated_at" | "mapping" | "first_visit")
                });
                members.insert("of".to_owned(), person["name"].clone());
                state.insert(id, record);
            }
        }
        // Of a Patient that the server has no more, whoever comes only now knows nothing.
        let lives = |source: &&Value| source["deactivated"] != true;
        let said: Vec<&Value> = person["sources"].as_array().unwrap().iter().filter(lives).collect();
        let numbers = said.iter().flat_map(|source| source["identifiers"].as_array().into_iter().flatten());
        let mut numbers: Vec<Value> = numbers.cloned().collect();
        numbers.sort_by_key(Value::to_string);
        numbers.dedup();
        if numbers.is_empty() {
            continue;
        }
        let mut known = person.clone();
        let members = known.as_object_mut().unwrap();
        members.retain(|name, _| matches!(name.as_str(), "identifiers" | "name" | "sex" | "birth_date"));
        known["identifiers"] = numbers.into();
        state.insert(format!("person {} {}", known["identifiers"], known["name"]), known);
    }
    state
}

fn history(seed: u64, manner: Manner) {
    let mut dice = Dice(seed);
    let emr = Emr::start(manner);
    (0..PATIENTS).for_each(|id| emr.put(&format!("Patient/{id}"), somebody(id, &format!("M{id}"), 0)));
    let configuration = emr.configuration(
        "100ms",
        ", page_size = 3, sweep_interval = \"300ms\", history_interval = \"200ms\", overlap = \"5s\"",
    );
    // The server may merge: nobody else has a say in the authority.
    let configuration = configuration.replace("authorities = [\"HIS\"]", "");
    let site = Site::configured(&configuration);
    let mut daemon = site.start();
    for step in 0..STEPS {
        happen(&emr, &mut dice, seed.is_multiple_of(2));
        std::thread::sleep(Duration::from_millis(dice.roll(60)));
        if step % 10 == 9 {
            daemon.kill();
            happen(&emr, &mut dice, seed.is_multiple_of(2));
            daemon = site.start();
        }
    }
    // Of who is not there nobody who comes only now can know whose the visits are.
    for id in 0..PATIENTS {
        let is_there = {
            let shared = emr.server.shared();
            shared.model.current("Patient", &id.to_string()).is_some_and(|version| !version.deleted)
        };
        if !is_there {
            emr.delete(&format!("Patient/{id}-anew"));
            emr.put(&format!("Patient/{id}"), somebody(id, &format!("M{id}"), 0));
        }
    }
    let fresh_site = Site::configured(&configuration);
    let fresh = fresh_site.start();
    let is_at_rest = |daemon: &Daemon<'_>| {
        let sources = daemon.get("/v1/sources", daemon.site.engineer()).ok().json();
        let polling = &sources["sources"][1]["polling"];
        polling["state"] == "polling" || polling["state"] == "degraded"
    };
    let mut patience = Patience::new();
    while !is_at_rest(&fresh) {
        patience.wait(&[&fresh], "no fresh reading yet");
    }
    eprintln!("seed {seed}, the patients on the server, the newest first: {}", patients(&emr));
    let mut last = None;
    loop {
        let (followed, read) = (state(&daemon), state(&fresh));
        // Nothing would be the same as nothing.
        if followed == read && followed.len() > 5 {
            return;
        }
        let difference = difference(&followed, &read);
        if last.as_ref() != Some(&difference) {
            eprintln!("seed {seed}, not yet the same: {difference}");
            for (what, site) in [("followed", &site), ("read", &fresh_site)] {
                let links = site.run(&["person", "links", "--csv"]).exits(0).stdout;
                eprintln!("links as {what}: {}", links.trim().replace("\r\n", " ").replace('\n', " "));
            }
        }
        patience.wait(&[&daemon, &fresh], &format!("seed {seed}: {difference}"));
        last = Some(difference);
    }
}

/// Waits as long as daemons still change something, however slow the machine is.
struct Patience {
    began: Instant,
    /// What daemons have read and told when that last changed, with their requests until then.
    moved: (Instant, String, u64),
}

impl Patience {
    fn new() -> Self {
        Self { began: Instant::now(), moved: (Instant::now(), String::new(), 0) }
    }

    /// Waits a moment; fails with `why` if nothing has moved for long.
    fn wait(&mut self, daemons: &[&Daemon<'_>], why: &str) {
        std::thread::sleep(Duration::from_millis(200));
        let (mut moving, mut requests) = (String::new(), 0);
        for daemon in daemons {
            let sources = daemon.get("/v1/sources", daemon.site.engineer()).ok().json();
            let polling = &sources["sources"][1]["polling"];
            requests += polling["requests"].as_u64().unwrap_or_default();
            let types = polling["types"].as_object().into_iter().flatten();
            let read: Vec<_> = types.map(|(name, found)| (name, &found["changed"], &found["deleted"])).collect();
            let told = daemon.feed().len();
            moving.push_str(&format!("{read:?} {told} {why}"));
        }
        let (since, known, before) = &self.moved;
        if *known != moving {
            self.moved = (Instant::now(), moving, requests);
        } else {
            assert!(since.elapsed() < REST || requests < before + REQUESTS_OF_REST, "nothing moves any more; {why}");
        }
        assert!(self.began.elapsed() < LONGEST, "no end after {LONGEST:?}; {why}");
    }
}

/// Every version of every Patient: number, name, whom it gives way to.
fn patients(emr: &Emr) -> String {
    let shared = emr.server.shared();
    let versions = shared.model.history("Patient").into_iter().map(|(id, version)| {
        let content = &version.content;
        let (number, name) = (&content["identifier"][0]["value"], &content["name"][0]["text"]);
        format!("\n  {id}: {number} {name} {}", content["link"][0]["other"]["reference"])
    });
    versions.collect()
}

fn difference(followed: &BTreeMap<String, Value>, read: &BTreeMap<String, Value>) -> String {
    let keys = followed.keys().chain(read.keys()).filter(|key| followed.get(*key) != read.get(*key));
    let shown = keys
        .take(4)
        .map(|key| format!("\n  {key}\n    followed {:?}\n    read     {:?}", followed.get(key), read.get(key)));
    shown.collect()
}

fn seeds() -> Vec<u64> {
    // More on request: HEYI_FHIR_HISTORIES=50; HEYI_FHIR_SEED=7 is one of them.
    let more = std::env::var("HEYI_FHIR_HISTORIES").ok().and_then(|count| count.parse().ok());
    let first = std::env::var("HEYI_FHIR_SEED").ok().and_then(|seed| seed.parse().ok());
    match first {
        Some(seed) => vec![seed],
        None => (1..=more.unwrap_or(2)).collect(),
    }
}

#[test]
fn what_is_followed_ends_as_what_is_read_at_once() {
    for seed in seeds() {
        history(seed, Manner::default());
    }
}

#[test]
fn so_it_does_at_a_server_without_history_that_pages_by_offset() {
    for seed in seeds() {
        let manner = Manner { histories: Histories::No, paging: Paging::Offset, ..Manner::default() };
        history(1_000 + seed, manner);
    }
}
