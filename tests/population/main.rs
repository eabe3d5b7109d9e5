//! How well records become persons: populations whose truth is known, through the real pipeline.
//!
//! The town is invented (`town/`), what can be told from two of its rows is said without the matcher (`truth`), and pairs are
//! counted (`score`). What is asserted here are bounds far from the figures; the figures are printed.
//!
//! ```text
//! HEYI_POPULATION=20000 cargo test --release --test population -- --nocapture
//! ```
//! `HEYI_POPULATION_SEED` makes another town, `HEYI_POPULATION_ORDERS` plays one in more orders, `HEYI_POPULATION_SAMPLES` prints more
//! of what went wrong, `HEYI_POPULATION_RATES` makes a harder town (`town/rates`), `HEYI_POPULATION_SETTINGS` tries other settings.
//! FEBRL: see `febrl`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is tests")]
#![allow(clippy::print_stdout, reason = "the figures")]

mod febrl;
mod keys;
mod learn;
mod play;
mod score;
mod town;
mod truth;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use febrl::NumberPlace;
use heyi::identity::train;
use heyi::pipeline::{Site, draw};
use play::{Key, Stage, cpu_seconds, source, town_keys, town_messages};
use score::{Score, pairs, share};
use town::Town;
use town::random::Random;
use town::rows::{BirthKind, NameKind, NumberKind, PhoneKind};
use truth::{REASONS, RELATIONS, decidable, differences, line, relation};

/// People of an ordinary run.
const PEOPLE: usize = 1_500;
/// People who are played in several orders.
const PEOPLE_REORDERED: usize = 400;

/// CPU time is the process's: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn seed() -> u64 {
    setting("HEYI_POPULATION_SEED", 1) as u64
}

fn samples() -> usize {
    setting("HEYI_POPULATION_SAMPLES", 20)
}

#[test]
fn a_town_is_linked_without_false_pairs() {
    let _alone = alone();
    let town = Town::new(seed(), setting("HEYI_POPULATION", PEOPLE));
    let (messages, keys) = (town_messages(&town), town_keys(&town));
    let mut stage = Stage::new();
    let (started, before) = (Instant::now(), cpu_seconds());
    let failed = stage.play(&messages);
    let (cpu, elapsed) = (cpu_seconds() - before, started.elapsed());
    let found = stage.persons(&keys);
    let truth: Vec<usize> = town.rows.iter().map(|row| row.person).collect();
    let score = Score::of(&found, &truth);

    let is_decidable = |pair: &&(usize, usize)| decidable(&town, &town.rows[pair.0], &town.rows[pair.1]).is_some();
    let decided = score.found.iter().filter(is_decidable).count();
    let open: Vec<_> = score.missed.iter().filter(is_decidable).copied().collect();
    let recall = share(decided, decided + open.len());

    println!("{} people, {} records, {} messages ({failed} failed)", town.people.len(), keys.len(), messages.len());
    println!("{:.3} ms CPU for a record, {elapsed:.1?} in all", cpu * 1000.0 / keys.len() as f64);
    println!("persons found: {}", found.iter().collect::<HashSet<_>>().len());
    println!(
        "precision {:.5}  ({} true pairs linked, {} false)",
        score.precision(),
        score.found.len(),
        score.wrong.len()
    );
    println!("recall    {:.5}  of {} true pairs", score.recall(), score.found.len() + score.missed.len());
    println!("recall    {recall:.5}  of {} decidable pairs; missed {}", decided + open.len(), open.len());
    print_reasons(&town, &score);
    keys::print(stage.store(), &keys, &truth);
    print_wrong(&town, &stage, &keys, &score);
    print_missed(&town, &stage, &keys, &open);

    assert_eq!(failed, 0, "every message is understood");
    assert!(score.precision() >= 0.9998, "{} false pairs", score.wrong.len());
    assert!(recall >= 0.4, "recall {recall}");
}

/// Decidable pairs by what they can be told by.
fn print_reasons(town: &Town, score: &Score) {
    let count = |pairs: &[(usize, usize)], reason| {
        pairs.iter().filter(|(one, other)| decidable(town, &town.rows[*one], &town.rows[*other]) == reason).count()
    };
    println!("{:12} {:>7} {:>7} {:>8}", "told by", "linked", "missed", "recall");
    for reason in REASONS.map(Some).into_iter().chain([None]) {
        let (linked, missed) = (count(&score.found, reason), count(&score.missed, reason));
        let name = reason.map_or("nothing".to_owned(), |reason| format!("{reason:?}"));
        println!("{name:12} {linked:>7} {missed:>7} {:>8.4}", share(linked, linked + missed));
    }
}

fn print_wrong(town: &Town, stage: &Stage, keys: &[Key], score: &Score) {
    let related = |(one, other): &(usize, usize)| relation(town, town.rows[*one].person, town.rows[*other].person);
    let count = |wanted| score.wrong.iter().filter(|pair| related(pair) == wanted).count();
    let counts: Vec<String> = RELATIONS.iter().map(|relation| format!("{relation:?} {}", count(*relation))).collect();
    println!("false pairs: {}", counts.join(", "));
    for pair in score.wrong.iter().take(samples()) {
        println!("  {:?}\n    {}\n    {}", related(pair), line(&town.rows[pair.0]), line(&town.rows[pair.1]));
        println!("    {}", stage.why(&keys[pair.0], &keys[pair.1]));
    }
}

fn print_missed(town: &Town, stage: &Stage, keys: &[Key], missed: &[(usize, usize)]) {
    let mut groups: BTreeMap<String, Vec<(usize, usize)>> = BTreeMap::new();
    for (one, other) in missed {
        groups.entry(differences(town, &town.rows[*one], &town.rows[*other])).or_default().push((*one, *other));
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, pairs)| std::cmp::Reverse(pairs.len()));
    println!("missed pairs that could be decided, by what differs:");
    for (place, (difference, pairs)) in groups.iter().enumerate().take(40) {
        println!("{:>6}  {difference}", pairs.len());
        if place < samples() {
            for (one, other) in pairs.iter().take(3) {
                let asked = stage.question(&keys[*one], &keys[*other]);
                println!(
                    "          {}\n          {}\n            asked: {asked}\n            {}",
                    line(&town.rows[*one]),
                    line(&town.rows[*other]),
                    stage.why(&keys[*one], &keys[*other]),
                );
            }
        }
    }
}

#[test]
fn what_a_town_teaches_is_near_its_truth() {
    let _alone = alone();
    let town = Town::new(seed() + 2, setting("HEYI_POPULATION", PEOPLE));
    let mut stage = Stage::new();
    assert_eq!(stage.play(&town_messages(&town)), 0, "every message is understood");
    let site = Site::default();
    let drawn = draw(stage.store(), &site, 200_000).expect("an open store");
    let training = train(&site.model, &drawn.sample, "site");
    let truth = learn::shares(stage.store(), &town_keys(&town), &town);

    println!("{:36} {:>7} {:>7} {:>8} {:>8} {:>9}", "", "before", "now", "share", "truth", "matches");
    let mut compared = 0;
    for learned in &training.learned {
        let (Some(found), Some(matches)) = (learned.share, learned.matches) else { continue };
        let true_share = truth.get(&(learned.setting.section, learned.setting.key)).copied().unwrap_or_default();
        let (name, before) = (format!("{}.{}", learned.setting.section, learned.setting.key), learned.setting.value);
        let kept = learned.kept.map_or("", |kept| kept.name());
        println!(
            "{name:36} {before:>+7.1} {:>+7.1} {found:>8.4} {true_share:>8.4} {matches:>9.1} {kept}",
            learned.value
        );
        if learned.kept.is_none() {
            compared += 1;
            // As weights: within a bit and a half where it is rare, within a tenth where it is common.
            let bits = (found / true_share).log2().abs();
            assert!(bits < if true_share > 0.5 { 0.15 } else { 1.5 }, "{name}: {found} for {true_share}");
        }
    }
    for block in &training.blocks {
        println!(
            "{:20} {:>8} pairs {:>9.1} matches {:>4} steps",
            block.blocking.name(),
            block.pairs,
            block.matches,
            block.iterations
        );
    }
    assert!(compared >= 8, "{compared} weights were learned");
}

#[test]
fn the_order_of_arrival_changes_nobody_s_company() {
    let _alone = alone();
    let town = Town::new(seed() + 1, setting("HEYI_POPULATION", PEOPLE_REORDERED));
    let (mut messages, keys) = (town_messages(&town), town_keys(&town));
    let mut random = Random::new(seed());
    let truth: Vec<usize> = town.rows.iter().map(|row| row.person).collect();
    let mut expected: Option<Vec<usize>> = None;
    for order in 0..=setting("HEYI_POPULATION_ORDERS", 3) {
        let mut stage = Stage::new();
        stage.play(&messages);
        let found = stage.persons(&keys);
        if let Some(expected) = &expected {
            let (before, now): (HashSet<_>, HashSet<_>) =
                (pairs(expected).into_iter().collect(), pairs(&found).into_iter().collect());
            let wrong = Score::of(&found, &truth).wrong;
            let (one_ids, asked) = stage.asked(&keys);
            // What another order links, this one links or asks about: of two records, or of what each is linked with.
            let is_open = |pair: &&(usize, usize)| asked.contains(&(one_ids[pair.0].clone(), one_ids[pair.1].clone()));
            let (open, silent): (Vec<_>, Vec<_>) = before.difference(&now).partition(is_open);
            println!(
                "order {order}: {} pairs are linked, {} only here, {} only by time: {} of them asked about; {} false",
                now.len(),
                now.difference(&before).count(),
                open.len() + silent.len(),
                open.len(),
                wrong.len(),
            );
            for (one, other) in silent.iter().take(samples()) {
                println!("  {}\n  {}", line(&town.rows[*one]), line(&town.rows[*other]));
            }
            assert!(silent.len() * 500 <= before.len(), "{} pairs that nobody is asked about", silent.len());
            assert_eq!(wrong.len(), 0, "false pairs");
        }
        expected.get_or_insert(found);
        random.shuffle(&mut messages);
    }
}

#[test]
fn a_town_is_what_its_seed_says_and_as_hard_as_it_should_be() {
    let town = Town::new(7, 5_000);
    let all = town_messages(&town);
    let again = town_messages(&Town::new(7, 5_000));
    assert!(
        all.iter().map(|(_, text)| text).eq(again.iter().map(|(_, text)| text)),
        "the same seed, the same messages"
    );
    assert!(!all.iter().map(|(_, text)| text).eq(town_messages(&Town::new(8, 5_000)).iter().map(|(_, text)| text)));

    let people = town.people.len() as f64;
    let rows = town.rows.len() as f64;
    let count = |wanted: &dyn Fn(&town::rows::Row) -> bool| town.rows.iter().filter(|row| wanted(row)).count() as f64;
    let named = |kind| move |row: &town::rows::Row| row.sheet.name_kind == kind;
    let born = |kind| move |row: &town::rows::Row| row.sheet.birth_date.kind == kind;
    let numbered =
        |kind| move |row: &town::rows::Row| row.sheet.resident.as_ref().is_some_and(|said| said.kind == kind);
    let called = |kind| move |row: &town::rows::Row| row.sheet.phone.as_ref().is_some_and(|said| said.kind == kind);
    let mut bearers: HashMap<String, usize> = HashMap::new();
    for person in &town.people {
        *bearers.entry(person.name.whole()).or_default() += 1;
    }
    let homonyms: usize = bearers.values().filter(|bearers| **bearers > 1).sum();
    let surnames = town.people.iter().map(|person| person.name.surname.clone());
    for (what, value, low, high) in [
        ("rows a person", rows / people, 2.0, 2.6),
        ("the frequent surnames", town::names::share_of_frequent_surnames(surnames), 0.83, 0.90),
        ("people who share a name", homonyms as f64 / people, 0.1, 0.5),
        ("twins", town.people.iter().filter(|person| person.twin.is_some()).count() as f64 / people, 0.015, 0.08),
        ("newborns", town.people.iter().filter(|person| person.is_newborn).count() as f64 / people, 0.008, 0.05),
        ("names as newborns", count(&named(NameKind::Newborn)) / rows, 0.004, 0.05),
        ("unknown names", count(&named(NameKind::Unknown)) / rows, 0.002, 0.02),
        ("homophones", count(&named(NameKind::SameSound)) / rows, 0.01, 0.04),
        ("one other character", count(&named(NameKind::OneCharacter)) / rows, 0.003, 0.02),
        ("pinyin", count(&named(NameKind::Pinyin)) / rows, 0.005, 0.03),
        ("lost characters", count(&named(NameKind::Lost)) / rows, 0.001, 0.02),
        ("birth dates missing", count(&born(BirthKind::Missing)) / rows, 0.01, 0.06),
        ("1900-01-01", count(&born(BirthKind::Placeholder)) / rows, 0.004, 0.03),
        ("day and month swapped", count(&born(BirthKind::Swapped)) / rows, 0.0005, 0.01),
        ("one digit of a birth date", count(&born(BirthKind::OneDigit)) / rows, 0.002, 0.02),
        ("lunar dates", count(&born(BirthKind::Lunar)) / rows, 0.001, 0.02),
        ("own numbers", count(&numbered(NumberKind::Own)) / rows, 0.5, 0.85),
        ("numbers with a typing error", count(&numbered(NumberKind::Typo)) / rows, 0.003, 0.02),
        ("a relative's number", count(&numbered(NumberKind::Relatives)) / rows, 0.002, 0.04),
        ("placeholders", count(&numbered(NumberKind::Placeholder)) / rows, 0.01, 0.07),
        ("a relative's phone", count(&called(PhoneKind::Relatives)) / rows, 0.05, 0.3),
        ("the hospital's phone", count(&called(PhoneKind::Desk)) / rows, 0.001, 0.02),
        ("one digit of a phone", count(&called(PhoneKind::Typo)) / rows, 0.003, 0.02),
        ("sex wrong", count(&|row| row.sheet.sex_is_wrong) / rows, 0.002, 0.01),
    ] {
        println!("{what:28} {value:.4}");
        assert!((low..=high).contains(&value), "{what}: {value}");
    }
}

#[test]
fn the_public_sets_are_linked_without_false_pairs() {
    let Some(directory) = std::env::var_os("HEYI_FEBRL").map(PathBuf::from) else {
        println!("skipped: HEYI_FEBRL names no directory with the FEBRL sets");
        return;
    };
    let _alone = alone();
    let place = match std::env::var("HEYI_FEBRL_NUMBER").as_deref() {
        Err(_) | Ok("PID-19") => NumberPlace::Pid19,
        Ok(kind) => NumberPlace::Pid3(kind.to_owned()),
    };
    let source = source("febrl", "hl7v2");
    for (name, files) in [("FEBRL3", &["dataset3.csv"][..]), ("FEBRL4", &["dataset4a.csv", "dataset4b.csv"])] {
        let set = febrl::read(&directory, files, &place, &source);
        let mut stage = Stage::new();
        let before = cpu_seconds();
        let failed = stage.play(&set.messages);
        let cpu = cpu_seconds() - before;
        let score = Score::of(&stage.persons(&set.keys), &set.truth);
        println!(
            "{name} ({place:?}): precision {:.5}, recall {:.5} of {} pairs, {} false; {:.3} ms CPU for a record",
            score.precision(),
            score.recall(),
            score.found.len() + score.missed.len(),
            score.wrong.len(),
            cpu * 1000.0 / set.keys.len() as f64,
        );
        for (what, pairs) in [("false", &score.wrong), ("missed", &score.missed)] {
            for (one, other) in pairs.iter().take(samples()) {
                println!(
                    "  {what}; asked: {}\n    {}\n    {}\n    {}",
                    stage.question(&set.keys[*one], &set.keys[*other]),
                    stage.why(&set.keys[*one], &set.keys[*other]),
                    set.lines[*one],
                    set.lines[*other]
                );
            }
        }
        assert_eq!(failed, 0, "{name}: every message is understood");
        assert_eq!(score.wrong.len(), 0, "{name}: false pairs");
    }
}
