//! Cases 54, 55, 59 and 60: what comes late, again, in another order, or under another model.

use std::collections::BTreeMap;

use serde_json::Value;

use super::hospital::{Hospital, Patient, adt, contains, is_doubt, patient, site, texts};
use crate::support::PATIENCE;
use crate::support::hl7::resident_number;
use crate::support::mllp::{Received, framed};

#[test]
fn case_54_an_older_word_is_history_and_changes_nothing_that_is_newer() {
    let site = site();
    let hospital = Hospital::open(&site);
    let number = resident_number("19620701", 11);
    let now = patient("HIS", "1").name("左思远").born("1962-07-01").sex("M").phone("13900005401").resident_id(&number);
    let linked = now.at("LIS", "71");
    hospital.register_all(&[&now, &linked]);
    let (one_id, links) = (hospital.one_id(&now), hospital.links());
    let before = now.clone().name("左小远").phone("13900005400").address("老街54号");
    let late = adt("A08", "OLD1", "20230101080000", &[before.pid()]);
    assert_eq!(hospital.send("his", &late).code(), "AA");
    let person = hospital.person(&one_id);
    assert_eq!(
        (person["name"].as_str(), texts(&person["phones"], "value")),
        (Some("左思远"), vec!["13900005401".into()])
    );
    // What nobody has said since is not contradicted by anything newer.
    assert_eq!(texts(&person["addresses"], "text"), ["老街54号"], "{person}");
    assert_eq!(hospital.links(), links);
    let kept = hospital.daemon.json("/v1/messages?control_id=OLD1");
    assert_eq!(kept["messages"][0]["state"], "processed", "{kept}");
}

#[test]
fn case_55_a_record_sent_a_thousand_times_is_one_row_and_no_news() {
    const TIMES: usize = 1_000;
    /// As many as a line prepares at once.
    const WINDOW: usize = 32;
    let site = site();
    let hospital = Hospital::open(&site);
    let known = patient("HIS", "1").name("左思远").born("1962-07-01").sex("M").phone("13900005501");
    hospital.register(&known);
    let (told, links) = (hospital.told(), hospital.links());
    let mut line = hospital.daemon.connect("his");
    let messages: Vec<Vec<u8>> = (0..TIMES)
        .map(|index| {
            // Every other one under a control id and a time of its own.
            let own = if index % 2 == 0 { 0 } else { index };
            let time = format!("202403{:02}{:02}{:02}00", 6 + own / 1440, own / 60 % 24, own % 60);
            framed(adt("A08", &format!("R{own}"), &time, &[known.pid()]).as_bytes())
        })
        .collect();
    for window in messages.chunks(WINDOW) {
        line.write(&window.concat());
        for _ in window {
            match line.receive(PATIENCE) {
                Received::Frame(answer) => assert_eq!(crate::support::hl7::Ack::parse(&answer).code(), "AA"),
                other => panic!("no answer: {other:?}"),
            }
        }
    }
    assert_eq!((hospital.told(), hospital.links()), (told, links));
    assert!(hospital.reviews("").is_empty());
}

/// What three systems know of some families: links by number, by phone, by a rare name, twins, newborns, homonyms, typing errors.
fn a_town() -> Vec<Patient> {
    let mut all = Vec::new();
    for index in 0..6_u16 {
        let surname = ["上官", "司徒", "慕容", "诸葛", "皇甫", "尉迟"][usize::from(index)];
        let home =
            |patient: Patient| patient.phone(&format!("1390005900{index}")).address(&format!("梧桐巷{}号", 10 + index));
        let number = resident_number(&format!("197{index}0312"), 21);
        let father = home(
            patient("HIS", &format!("F{index}"))
                .name(&format!("{surname}建业"))
                .born(&format!("197{index}-03-12"))
                .sex("M"),
        );
        // By number, by phone and birth date, with a typing error, and under a homonym's other number.
        all.push(father.clone().resident_id(&number));
        all.push(father.at("LIS", &format!("F{index}")).resident_id(&number));
        all.push(father.at("EMR", &format!("F{index}")));
        let homonym =
            patient("EMR", &format!("G{index}")).name(&format!("{surname}建业")).born(&format!("197{index}-03-12"));
        all.push(homonym.sex("M").resident_id(&resident_number(&format!("197{index}0312"), 23)));
        let child = |number: String, name: &str| {
            home(
                patient("HIS", &number)
                    .name(&format!("{surname}{name}"))
                    .born(&format!("2015-0{}-20", 1 + index))
                    .sex("F"),
            )
        };
        let (one, other) = (child(format!("K{index}"), "雨桐"), child(format!("L{index}"), "雨欣"));
        all.push(one.at("LIS", &format!("K{index}")));
        all.push(other.at("LIS", &format!("L{index}")));
        all.extend([one, other]);
        let newborn = patient("HIS", &format!("N{index}")).name(&format!("{surname}建业之女"));
        all.push(home(newborn.born(&format!("2024-02-0{}", 1 + index)).sex("F")));
    }
    all
}

/// Another order of the same, by a seed.
fn shuffled(mut all: Vec<Patient>, mut seed: u64) -> Vec<Patient> {
    for last in (1..all.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        all.swap(last, usize::try_from((seed >> 33) % (last as u64 + 1)).unwrap());
    }
    all
}

/// How two records stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    OnePerson,
    AskedFor,
    Apart,
}

/// Every pair of records, by name, after these came in this order.
fn standings(all: &[Patient]) -> BTreeMap<(String, String), Standing> {
    let site = site();
    let hospital = Hospital::open(&site);
    all.iter().for_each(|patient| hospital.register(patient));
    let persons: BTreeMap<String, String> = hospital.links().into_iter().map(|row| (row.record, row.one_id)).collect();
    assert_eq!(persons.len(), all.len());
    let reviews: Vec<_> = hospital.open_reviews().into_iter().filter(is_doubt).collect();
    let mut standings = BTreeMap::new();
    for (one, its) in &persons {
        for (other, others) in persons.range(one.clone()..).skip(1) {
            let has_part = |review: &Value, record: &str, one_id: &str| {
                contains(&review["records"], record) || contains(&review["persons"], one_id)
            };
            let asked = || reviews.iter().any(|review| has_part(review, one, its) && has_part(review, other, others));
            let standing = match its == others {
                true => Standing::OnePerson,
                false if asked() => Standing::AskedFor,
                false => Standing::Apart,
            };
            standings.insert((one.clone(), other.clone()), standing);
        }
    }
    standings
}

#[test]
fn case_59_the_order_of_arrival_decides_nothing_but_what_is_asked() {
    let town = a_town();
    let orders = [town.clone(), shuffled(town.clone(), 7), shuffled(town, 19)];
    let found: Vec<_> = orders.iter().map(|order| standings(order)).collect();
    for (pair, expected) in &found[0] {
        for (order, standings) in found.iter().enumerate().skip(1) {
            let both = [*expected, standings[pair]];
            let parted = both.contains(&Standing::OnePerson) && both.contains(&Standing::Apart);
            assert!(!parted, "{pair:?} in the first order and in order {order}: {both:?}");
        }
    }
    // Whatever the order: what must be, and what must never be one person.
    for standings in &found {
        for index in 0..6 {
            let standing = |one: &str, other: &str| {
                let (one, other) = (format!("{one}{index}"), format!("{other}{index}"));
                standings[&if one < other { (one, other) } else { (other, one) }]
            };
            for (one, other) in [("HIS|K", "HIS|L"), ("HIS|F", "EMR|G"), ("HIS|F", "HIS|N"), ("LIS|K", "HIS|L")] {
                assert_ne!(standing(one, other), Standing::OnePerson, "{one}{index} and {other}{index}");
            }
            assert_eq!(standing("HIS|F", "LIS|F"), Standing::OnePerson, "F{index}");
        }
    }
}

/// The shipped configuration of matching with the threshold of the automatic link, `[decide] link`, set to `value`.
fn with_threshold(value: &str) -> String {
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/identity.toml");
    let text = std::fs::read_to_string(&shipped).expect("config/identity.toml ships");
    let mut found = false;
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            let bare = line.trim_start_matches(['#', ' ']);
            match bare.split_once('=') {
                Some((key, _)) if key.trim() == "link" => {
                    found = true;
                    format!("{}= {value}", key)
                }
                _ => line.to_owned(),
            }
        })
        .collect();
    assert!(found, "a threshold of the automatic link is in config/identity.toml");
    lines.join("\n")
}

#[test]
fn case_60_another_threshold_moves_nobody_by_itself() {
    let site = site();
    let known = patient("HIS", "1").name("ZHAN WEI").born("1987-06-15").sex("M");
    let number = resident_number("19620701", 13);
    let linked = patient("HIS", "2").name("左思远").born("1962-07-01").sex("M").phone("13900006002");
    let (doubtful, sure) = (known.at("LIS", "71").name("詹伟"), linked.at("LIS", "72"));
    let gated = patient("HIS", "3").name("费无极").born("1962-07-01").sex("M").resident_id(&number);
    let (links, told) = {
        let hospital = Hospital::open(&site);
        hospital.register_all(&[&known, &linked, &gated, &doubtful, &sure, &gated.at("LIS", "73")]);
        hospital.expect_linked(&linked, &sure);
        hospital.expect_review(&known, &doubtful);
        (hospital.links(), hospital.told())
    };
    for threshold in ["0.9", "0.9999999999"] {
        site.write("config/identity.toml", with_threshold(threshold));
        let hospital = Hospital::open(&site);
        assert_eq!((hospital.links(), hospital.told()), (links.clone(), told.clone()), "threshold {threshold}");
        // What is only said again moves nobody either.
        let known_again = adt("A31", &format!("again-{threshold}"), "20240401080000", &[sure.pid()]);
        assert_eq!(hospital.send("lis", &known_again).code(), "AA");
        assert_eq!(hospital.links(), links, "threshold {threshold}");
        site.run(&["identity", "compare", "config/identity.toml"]).exits(0);
        assert_eq!((hospital.links(), hospital.told()), (links.clone(), told.clone()), "a comparison moves nobody");
    }
}
