//! Cases 15 to 21, 24 and 25: what a family shares makes nobody one person.

use super::hospital::{Hospital, Patient, id_of, patient, site};
use crate::support::hl7::resident_number;

/// A child of one household, named by `name`.
fn child(system: &str, number: &str, name: &str) -> Patient {
    patient(system, number).name(name).born("2016-04-09").sex("M").phone("13900001501").address("花园里12号楼3单元501")
}

#[test]
fn case_15_twins_without_numbers_are_looked_at_and_never_linked() {
    let site = site();
    let hospital = Hospital::open(&site);
    let (one, other) = (child("HIS", "1", "林子涵"), child("HIS", "2", "林子轩"));
    hospital.register_all(&[&one, &other]);
    hospital.expect_review(&one, &other);
    // What another system says of one of them goes to that one.
    let again = child("LIS", "71", "林子涵");
    hospital.register(&again);
    hospital.expect_two(&other, &again);
    hospital.expect_two(&one, &other);
}

#[test]
fn case_16_twins_whose_names_sound_alike_stay_two() {
    let site = site();
    let hospital = Hospital::open(&site);
    let (one, other) = (
        child("HIS", "1", "林子涵").resident_id(&resident_number("20160409", 11)),
        child("LIS", "71", "林梓涵").resident_id(&resident_number("20160409", 13)),
    );
    hospital.register_all(&[&one, &other]);
    hospital.expect_apart_without_review(&one, &other);
    let ordered = |number: &str, name: &str, order: &str| {
        let born = patient("HIS", number).name(name).born("2018-11-22").sex("F").phone("13900001602");
        born.address("花园里9号楼").birth_order(order)
    };
    let (first, second) = (ordered("3", "宋雨桐", "1"), ordered("4", "宋语桐", "2"));
    hospital.register_all(&[&first, &second]);
    hospital.expect_apart_without_review(&first, &second);
}

/// A newborn on the mother's ward.
fn newborn(number: &str, name: &str, born: &str, mother: &str) -> Patient {
    let child = patient("HIS", number).name(name).born(born).sex("M").phone("13900001701").address("临江路6号");
    child.mother(mother)
}

fn mother(number: &str) -> Patient {
    patient("HIS", number).name("王素芳").born("1993-03-14").sex("F").phone("13900001701").address("临江路6号")
}

#[test]
fn case_17_newborn_twins_are_two_and_have_a_mother() {
    let site = site();
    let hospital = Hospital::open(&site);
    let mother = mother("M1");
    let (one, other) =
        (newborn("B1", "王素芳之子A", "2024-03-01", "M1"), newborn("B2", "王素芳之子B", "2024-03-01", "M1"));
    hospital.register_all(&[&mother, &one, &other]);
    hospital.expect_apart_without_review(&one, &other);
    for child in [&one, &other] {
        hospital.expect_apart_without_review(&mother, child);
        let known = hospital.person_of(child);
        assert_eq!(known["mother_identifier"]["value"], "M1", "{known}");
    }
}

#[test]
fn case_18_a_newborn_is_not_its_mother() {
    let site = site();
    let hospital = Hospital::open(&site);
    let mother = mother("M1");
    let child = newborn("B1", "王素芳之子", "2024-03-01", "M1");
    hospital.register_all(&[&mother, &child]);
    hospital.expect_apart_without_review(&mother, &child);
    // Nor where another system says so of both, without the mother's number.
    let again = patient("LIS", "71").name("王素芳之子").born("2024-03-01").sex("M").phone("13900001701");
    let mother_again = mother.at("LIS", "72");
    hospital.register_all(&[&again, &mother_again]);
    hospital.expect_two(&mother, &again);
    hospital.expect_linked(&mother, &mother_again);
    hospital.expect_two(&child, &mother_again);
}

#[test]
fn case_19_a_newborn_that_is_named_under_its_number_stays_the_same() {
    let site = site();
    let hospital = Hospital::open(&site);
    let child = newborn("B1", "王素芳之子", "2024-03-01", "M1");
    hospital.register_all(&[&mother("M1"), &child]);
    let one_id = hospital.one_id(&child);
    let named = child.clone().name("李沐阳").resident_id(&resident_number("20240301", 15));
    hospital.update(&named);
    assert_eq!(hospital.one_id(&named), one_id);
    assert_eq!(hospital.links().len(), 2);
    let person = hospital.person(&one_id);
    assert_eq!(person["name"], "李沐阳", "{person}");
    let history = hospital.json(&format!("/v1/persons/{one_id}/history"));
    let known = [person["other_names"].to_string(), history.to_string()];
    assert!(known.iter().any(|text| text.contains("王素芳之子")), "the first name is kept: {person} {history}");
    assert_eq!(hospital.events("patient.created").len(), 2);
}

#[test]
fn case_20_a_newborn_that_is_named_under_a_new_number_is_looked_at_first_of_all() {
    let site = site();
    let hospital = Hospital::open(&site);
    // Something weaker waits already.
    let weak = patient("HIS", "8").name("李娜").born("1981-05-05").sex("F");
    let weak_other = weak.at("LIS", "78").name("LI NA");
    hospital.register_all(&[&weak, &weak_other]);
    hospital.expect_review(&weak, &weak_other);
    let mother = mother("M1");
    let (child, named) = (newborn("B1", "王素芳之子", "2024-03-01", "M1"), newborn("B2", "李沐阳", "2024-03-01", "M1"));
    hospital.register_all(&[&mother, &child, &named]);
    let review = hospital.expect_review(&child, &named);
    hospital.expect_apart_without_review(&mother, &named);
    let queue: Vec<String> = hospital.open_reviews().iter().map(id_of).collect();
    assert_eq!(queue.first(), Some(&id_of(&review)), "{:?}", hospital.open_reviews());
    hospital.merge(&named, &child);
    hospital.expect_linked(&named, &child);
    let open: Vec<String> = hospital.open_reviews().iter().map(id_of).collect();
    assert!(!open.contains(&id_of(&review)), "the source has settled it: {:?}", hospital.open_reviews());
}

#[test]
fn case_21_children_of_one_mother_from_two_births_are_two() {
    let site = site();
    let hospital = Hospital::open(&site);
    let (elder, younger) =
        (newborn("B1", "王素芳之子", "2022-02-11", "M1"), newborn("B2", "王素芳之子", "2024-03-01", "M1"));
    hospital.register_all(&[&mother("M1"), &elder, &younger]);
    hospital.expect_apart_without_review(&elder, &younger);
}

#[test]
fn case_24_a_phone_of_the_family_is_nobodys_identity() {
    let site = site();
    let hospital = Hospital::open(&site);
    let household = |patient: Patient| patient.phone("13900002401").address("柳荫街24号");
    let mother = household(patient("HIS", "1").name("罗佩瑜").born("1984-07-07").sex("F"));
    let child = household(patient("LIS", "71").name("罗一诺").born("2014-01-18").sex("F"));
    let grandmother = household(patient("EMR", "E1").name("罗桂芬").born("1955-12-30").sex("F"));
    hospital.register_all(&[&mother, &child, &grandmother]);
    hospital.expect_apart_without_review(&mother, &child);
    hospital.expect_apart_without_review(&mother, &grandmother);
    hospital.expect_apart_without_review(&child, &grandmother);
}

#[test]
fn case_25_father_and_son_with_names_of_one_style_are_two() {
    let site = site();
    let hospital = Hospital::open(&site);
    let at_home = |patient: Patient| patient.sex("M").phone("13900002501").address("柳荫街25号");
    let father = at_home(patient("HIS", "1").name("卢志强").born("1960-05-20"));
    let son = at_home(patient("LIS", "71").name("卢志刚").born("1985-05-20"));
    hospital.register_all(&[&father, &son]);
    hospital.expect_apart_without_review(&father, &son);
}
