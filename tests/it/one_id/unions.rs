//! Cases 56 to 58: records that lie between two persons.

use super::hospital::{Hospital, patient, site};
use crate::support::hl7::resident_number;

#[test]
fn case_56_a_record_that_is_two_persons_is_neither_and_all_three_are_looked_at() {
    let site = site();
    let hospital = Hospital::open(&site);
    let number = resident_number("19770525", 11);
    // By themselves the two share a name and nothing else.
    let one = patient("HIS", "1").name("钟离慕白").born("1977-05-25").sex("M").resident_id(&number);
    let other = patient("EMR", "E1")
        .name("钟离慕白")
        .sex("M")
        .phone("13900005601")
        .address("槐荫路56号")
        .identifier("PPN", "E56565656");
    hospital.register_all(&[&one, &other]);
    hospital.expect_two(&one, &other);
    let both = one.at("LIS", "71").phone("13900005601").address("槐荫路56号").identifier("PPN", "E56565656");
    hospital.register(&both);
    hospital.expect_review(&both, &one);
    hospital.expect_review(&both, &other);
    hospital.expect_review(&one, &other);
    assert_eq!(hospital.partition().len(), 3);
}

#[test]
fn case_57_who_was_told_apart_is_not_brought_together_by_a_third() {
    let site = site();
    let hospital = Hospital::open(&site);
    let number = resident_number("19770525", 13);
    let one =
        patient("HIS", "1").name("钟离慕白").born("1977-05-25").sex("M").phone("13900005701").resident_id(&number);
    let other = one.at("EMR", "E1");
    hospital.register_all(&[&one, &other]);
    hospital.expect_linked(&one, &other);
    hospital.command(&["unlink", &other.record(), "--reason", "two patients, the desk typed one card twice"]);
    hospital.expect_two(&one, &other);
    let third = one.at("LIS", "71");
    hospital.register(&third);
    hospital.expect_two(&one, &other);
    hospital.expect_review(&third, &one);
    hospital.expect_review(&third, &other);
    // Nor by a person, unknowingly: linking the third to each of them in turn moves it, not them.
    let target = hospital.one_id(&one);
    hospital.command(&["link", &third.record(), &target, "--reason", "the file says so"]);
    hospital.expect_two(&one, &other);
    for patient in [&one, &other, &third] {
        hospital.update(patient);
    }
    hospital.expect_two(&one, &other);
    assert_eq!(hospital.one_id(&third), hospital.one_id(&one));
}

#[test]
fn case_58_two_matches_whose_ends_exclude_each_other_do_not_make_three() {
    for middle_last in [false, true] {
        let site = site();
        let hospital = Hospital::open(&site);
        let base = patient("HIS", "1").name("钟离慕白").born("1977-05-25").sex("M");
        // The middle shares phone and address with one end, the phone alone with the other.
        let near =
            base.clone().phone("13900005801").address("槐荫路58号").resident_id(&resident_number("19770525", 15));
        let far = base.at("EMR", "E1").phone("13900005801").resident_id(&resident_number("19770525", 17));
        let middle = base.at("LIS", "71").phone("13900005801").address("槐荫路58号");
        hospital.register_all(&if middle_last { [&near, &far, &middle] } else { [&near, &middle, &far] });
        hospital.expect_two(&near, &far);
        if middle_last {
            // Both ends pull: linked to the nearer one, or to neither.
            hospital.expect_linked_or_review(&near, &middle);
        } else {
            hospital.expect_linked(&near, &middle);
        }
        hospital.expect_two(&middle, &far);
        hospital.expect_review(&near, &far);
        assert!(!hospital.reviews_of(&far).is_empty(), "the other match is asked for");
    }
}
