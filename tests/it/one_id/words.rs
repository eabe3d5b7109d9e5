//! What a source says of its numbers and patients after it, or somebody, has said something else: what was decided stands, what a
//! source declared outlives its next word, and a number that was used again means its present patient.

use serde_json::json;

use super::hospital::{Hospital, Patient, contains, patient, site};
use super::splits::segment_pv1;
use crate::support::hl7::resident_number;

/// Two patients who have nothing in common, and a third.
fn three() -> [Patient; 3] {
    [
        patient("HIS", "A").name("秦怀玉").born("1951-02-03").sex("M"),
        patient("HIS", "B").name("窦文涛").born("1968-05-06").sex("M"),
        patient("HIS", "C").name("阮玲玉").born("1999-09-09").sex("F"),
    ]
}

fn numbered(patient: &Patient, birth: &str, order: u16) -> Patient {
    patient.clone().resident_id(&resident_number(birth, order))
}

#[test]
fn a_number_that_was_given_up_is_the_survivors_when_it_comes_with_all_that_is_the_survivors() {
    let site = site();
    let hospital = Hospital::open(&site);
    let [wrong, right, stranger] = three();
    let (wrong, right) = (numbered(&wrong, "19510203", 11), numbered(&right, "19680506", 13));
    hospital.register_all(&[&wrong, &right]);
    hospital.merge(&right, &wrong);
    let one_id = hospital.one_id(&right);
    // A system that goes on using the number it knows, of the patient who has it by now.
    hospital.admit(&right.at("HIS", "A"), "V1");
    assert_eq!(hospital.rows(&wrong).len(), 1, "{:?}", hospital.links());
    assert_eq!(hospital.one_id(&wrong), one_id);
    assert_eq!(hospital.visits(&one_id), ["his:V1"]);
    assert!(hospital.reviews("kind=number_reused").is_empty());
    // Used again for somebody who is neither, it is a number of its own.
    hospital.register(&numbered(&stranger, "19990909", 22).at("HIS", "A"));
    assert_eq!(hospital.rows(&wrong).len(), 2);
    assert_eq!(hospital.reviews("kind=number_reused").len(), 1);
}

#[test]
fn a_merge_of_a_number_that_was_used_again_is_of_its_present_patient_alone() {
    let site = site();
    let hospital = Hospital::open(&site);
    let [former, ..] = three();
    let former = numbered(&former, "19510203", 11);
    // The laboratory names the number while it is the former patient's.
    let at_lis = former.at("LIS", "77").also_as(&former);
    hospital.register_all(&[&former, &at_lis]);
    let before = hospital.one_id(&former);
    let present = numbered(&patient("HIS", "A").name("阮玲玉").born("1999-09-09").sex("F"), "19990909", 22);
    hospital.register(&present);
    let again = patient("HIS", "D").name("阮玲芝").born("1999-09-19").sex("F");
    hospital.register(&again);
    let splits = hospital.events("patient.split").len();
    hospital.merge(&again, &present);
    let mut of_number: Vec<String> = hospital.rows(&former).into_iter().map(|row| row.one_id).collect();
    of_number.retain(|one_id| *one_id != before);
    assert_eq!(of_number, [hospital.one_id(&again)], "{:?}", hospital.links());
    assert_eq!(hospital.one_id(&at_lis), before);
    assert_eq!(hospital.events("patient.split").len(), splits, "nobody was brought along and sent away again");
    assert!(hospital.reviews("state=open&kind=source_merge_conflict").is_empty());
    // Who names the number now means the present patient as well.
    let newcomer = patient("LIS", "78").name("阮玲玉").born("1999-09-09").sex("F").also_as(&present);
    hospital.register(&newcomer);
    assert_eq!(hospital.one_id(&newcomer), hospital.one_id(&again));
}

#[test]
fn what_is_moved_from_a_number_does_not_part_whom_somebody_has_put_together() {
    let site = site();
    let hospital = Hospital::open(&site);
    let [a, b, c] = three();
    hospital.register_all(&[&a, &b, &c]);
    let one_id = hospital.one_id(&a);
    hospital.command(&["merge", &hospital.one_id(&b), &one_id, "--reason", "two cards, one patient"]);
    hospital.accept("his", "A43", &[c.pid(), a.mrg()]);
    assert_eq!([hospital.one_id(&a), hospital.one_id(&b)], [one_id.clone(), one_id]);
    let asked = hospital.reviews("state=open&kind=source_merge_conflict");
    assert!(asked.iter().any(|review| contains(&review["records"], "HIS|A") && contains(&review["records"], "HIS|C")));
}

#[test]
fn a_source_that_merges_whom_a_case_has_told_apart_is_asked_about_and_once() {
    let site = site();
    let hospital = Hospital::open(&site);
    let known = patient("HIS", "A").name("秦怀玉").born("1951-02-03").sex("M").phone("13900004901");
    let other = patient("HIS", "B").name("秦怀璧").born("1951-02-03").sex("M").phone("13900004901");
    hospital.register_all(&[&known, &other]);
    let case = hospital.expect_review(&known, &other)["id"].clone();
    let decide = |decision: &str| {
        hospital.post(&format!("/v1/reviews/{case}"), &json!({"decision": decision, "reason": "twins"}));
    };
    decide("reject");
    hospital.merge(&other, &known);
    hospital.expect_two(&known, &other);
    let open = hospital.reviews("state=open&kind=source_merge_conflict");
    assert_eq!(open.iter().map(|review| &review["id"]).collect::<Vec<_>>(), [&case]);
    // Whoever has answered that is not asked again.
    decide("reject");
    hospital.merge(&other, &known);
    assert!(hospital.open_reviews().is_empty());
    hospital.expect_two(&known, &other);
    decide("link");
    hospital.expect_linked(&known, &other);
}

#[test]
fn a_link_that_a_source_declared_outlives_the_next_word_of_either() {
    let site = site();
    let hospital = Hospital::open(&site);
    let [a, b, _] = three();
    hospital.register_all(&[&a, &b]);
    let pair = [a.pid(), segment_pv1(), b.pid()];
    hospital.accept("his", "A24", &pair);
    let one_id = hospital.one_id(&a);
    for patient in [&a, &b] {
        hospital.update(&patient.clone().phone("13900004902"));
        assert_eq!([hospital.one_id(&a), hospital.one_id(&b)], [one_id.clone(), one_id.clone()]);
    }
    let asked = hospital.reviews("state=open&kind=data_quality");
    assert_eq!(asked.len(), 1, "that they differ is asked about: {asked:?}");
    assert!(hospital.events("patient.split").is_empty());
    // Its own word takes it back, and then facts count again.
    hospital.accept("his", "A37", &pair);
    hospital.expect_two(&a, &b);
}

#[test]
fn a_link_of_two_resident_numbers_is_done_and_looked_at() {
    let site = site();
    let hospital = Hospital::open(&site);
    let [a, b, _] = three();
    let (a, b) = (numbered(&a, "19510203", 11), numbered(&b, "19680506", 13));
    hospital.register_all(&[&a, &b]);
    hospital.accept("his", "A24", &[a.pid(), segment_pv1(), b.pid()]);
    assert_eq!(hospital.one_id(&a), hospital.one_id(&b));
    assert_eq!(hospital.reviews("state=open&kind=source_merge_conflict").len(), 1);
}

#[test]
fn an_unlink_leaves_a_merge_of_numbers_as_it_is() {
    let site = site();
    let hospital = Hospital::open(&site);
    let [a, b, c] = three();
    hospital.register_all(&[&a, &b, &c]);
    let one_id = hospital.one_id(&a);
    let pair = [a.pid(), segment_pv1(), b.pid()];
    hospital.accept("his", "A24", &pair);
    hospital.merge(&c, &b);
    assert_eq!([hospital.one_id(&a), hospital.one_id(&b)], [hospital.one_id(&c), hospital.one_id(&c)]);
    hospital.accept("his", "A37", &pair);
    assert_eq!(hospital.one_id(&a), one_id, "as before they were linked");
    assert_eq!(hospital.one_id(&b), hospital.one_id(&c));
    assert_ne!(hospital.one_id(&c), one_id);
}

#[test]
fn whoever_changes_does_not_leave_whom_somebody_has_put_together_with_it() {
    let site = site();
    let hospital = Hospital::open(&site);
    let [a, b, _] = three();
    let b = numbered(&b, "19680506", 13);
    let by_rule = b.at("LIS", "77");
    hospital.register_all(&[&a, &b, &by_rule]);
    hospital.expect_linked(&b, &by_rule);
    let one_id = hospital.one_id(&b);
    hospital.command(&["link", "HIS|A", &one_id, "--reason", "seen at the desk"]);
    hospital.update(&patient("HIS", "B").name("阮玲玉").born("1999-09-09").sex("F"));
    assert_eq!(hospital.one_id(&a), hospital.one_id(&b), "{:?}", hospital.links());
    assert!(!hospital.reviews("state=open&kind=data_quality").is_empty());
}

#[test]
fn whom_somebody_has_put_together_a_merge_of_numbers_brings_along_together() {
    let site = site();
    let hospital = Hospital::open(&site);
    let [a, b, c] = three();
    let named = patient("LIS", "77").name("秦怀玉").born("1951-02-03").sex("M").also_as(&patient("HIS", "N"));
    hospital.register_all(&[&a, &b, &c, &named]);
    hospital.command(&["merge", &hospital.one_id(&named), &hospital.one_id(&b), "--reason", "seen at the desk"]);
    // The number that the laboratory names is another one's: its person comes along, and nobody leaves whom it was put together with.
    hospital.accept("his", "A40", &[c.pid(), patient("HIS", "N").mrg()]);
    assert_eq!(hospital.one_id(&named), hospital.one_id(&b), "{:?}", hospital.links());
}

#[test]
fn who_was_linked_by_hand_stays_so_when_its_source_merges_it_with_one_of_its_person() {
    let site = site();
    let hospital = Hospital::open(&site);
    let number = resident_number("19680506", 13);
    let [a, b, c] = three();
    let (b, c) = (b.resident_id(&number), c.name("窦文涛").born("1968-05-06").sex("M").resident_id(&number));
    hospital.register_all(&[&a, &b, &c]);
    hospital.expect_linked(&b, &c);
    let one_id = hospital.one_id(&b);
    hospital.command(&["link", "HIS|A", &one_id, "--reason", "seen at the desk"]);
    hospital.merge(&b, &a);
    assert!(hospital.rows(&a).iter().all(|row| row.link == "manual"), "{:?}", hospital.links());
}
