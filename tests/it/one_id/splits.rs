//! Cases 45 to 50: the way back, what a person decided, and numbers that come to mean somebody else.

use serde_json::json;

use super::hospital::{Hospital, Patient, contains, patient, site};
use crate::support::hl7::resident_number;

fn three() -> [Patient; 3] {
    [("A", "秦怀玉", "1951-02-03"), ("B", "窦文涛", "1968-05-06"), ("C", "尚可喜", "1983-08-09")]
        .map(|(number, name, birth)| patient("HIS", number).name(name).born(birth).sex("M"))
}

#[test]
fn case_45_a_merge_is_undone_the_old_one_id_lives_and_what_came_later_is_asked_for() {
    let site = site();
    let hospital = Hospital::open(&site);
    let [a, b, _] = three();
    let number = resident_number("19510203", 11);
    let a = a.resident_id(&number);
    let at_lis = a.at("LIS", "L1");
    hospital.admit(&a, "VA");
    hospital.register(&at_lis);
    hospital.result(&at_lis, "FA", "");
    hospital.admit(&b, "VB");
    let (former, survivor) = (hospital.one_id(&a), hospital.one_id(&b));
    hospital.merge(&b, &a);
    // After the merge: a row that names one of the numbers beside its own. By name and birth date alone it would be asked about, for
    // the laboratory's row is of another name and birth date.
    let later = b.at("EMR", "E1").phone("13900004501").also_as(&b);
    hospital.update(&b.clone().phone("13900004501"));
    hospital.register(&later);
    hospital.admit(&a, "VA2");
    assert_eq!(hospital.one_id(&later), survivor);
    hospital.command(&[
        "split",
        &survivor,
        &a.record(),
        &at_lis.record(),
        "--reason",
        "two patients, looked at the files",
    ]);

    assert_eq!(hospital.one_id(&a), former, "the former One ID lives again");
    assert_eq!(hospital.one_id(&at_lis), former);
    assert_eq!(hospital.one_id(&b), survivor);
    let read = hospital.person(&former);
    assert_eq!((&read["one_id"], &read["name"]), (&json!(former), &json!("秦怀玉")), "{read}");
    assert!(read["merged_into"].is_null(), "{read}");
    assert!(!read.to_string().contains("13900004501"), "{read}");
    let mut visits = hospital.visits(&former);
    visits.sort();
    assert_eq!(visits, ["his:VA", "his:VA2"], "visits stand by the record that they were said of");
    assert_eq!(hospital.visits(&survivor), ["his:VB"]);
    assert_eq!(hospital.reports(&former), ["lis:FA"]);
    // What came in between is asked for.
    let asked = hospital.reviews_of(&later);
    assert!(asked.iter().any(|review| contains(&review["records"], &later.record())), "{asked:?}");

    let split = hospital.events("patient.split");
    assert_eq!(split.len(), 1, "{split:?}");
    let data = &split[0]["data"];
    assert_eq!((&data["one_id"], &data["new_one_id"]), (&json!(survivor), &json!(former)), "{data}");
    let mut moved: Vec<&str> =
        data["records"]["visits"].as_array().unwrap().iter().filter_map(|id| id.as_str()).collect();
    moved.sort_unstable();
    assert_eq!((moved, &data["records"]["lab_reports"]), (vec!["his:VA", "his:VA2"], &json!(["lis:FA"])), "{data}");
    let owners = hospital.told_owners();
    for (id, owner) in [("his:VA", &former), ("his:VA2", &former), ("lis:FA", &former), ("his:VB", &survivor)] {
        assert_eq!(owners.get(id), Some(owner), "{id}: {owners:?}");
    }
    // They were told apart: nothing that only says the same again brings them together, not even the merge.
    hospital.update(&a);
    hospital.update(&b);
    hospital.tell("his", "A40", &[b.pid(), a.mrg()]);
    hospital.expect_two(&a, &b);
}

#[test]
fn case_46_a_step_of_a_chain_is_undone_and_the_later_ones_stand() {
    for undone in ["first", "last"] {
        let site = site();
        let hospital = Hospital::open(&site);
        let [a, b, c] = three();
        [(&a, "VA"), (&b, "VB"), (&c, "VC")].iter().for_each(|(patient, visit)| hospital.admit(patient, visit));
        let [first, second, third] = [&a, &b, &c].map(|patient| hospital.one_id(patient));
        hospital.merge(&b, &a);
        hospital.merge(&c, &b);
        if undone == "first" {
            hospital.command(&["split", &third, &a.record(), "--reason", "A is somebody else"]);
            assert_eq!((hospital.one_id(&a), hospital.one_id(&b)), (first.clone(), third.clone()));
            assert_eq!(hospital.person(&second)["one_id"], third.as_str(), "the later step stands");
            assert_eq!(hospital.visits(&first), ["his:VA"]);
        } else {
            hospital.command(&["split", &third, &a.record(), &b.record(), "--reason", "C is somebody else"]);
            assert_eq!((hospital.one_id(&a), hospital.one_id(&b)), (second.clone(), second.clone()));
            assert_eq!(hospital.person(&first)["one_id"], second.as_str(), "the earlier step stands");
            assert_eq!(hospital.visits(&second).len(), 2);
        }
        assert_eq!(hospital.one_id(&c), third);
        assert_eq!(hospital.told_owners()["his:VC"], third);
    }
}

#[test]
fn case_47_an_unlink_after_a_link_leaves_both_as_they_were_and_apart() {
    let site = site();
    let hospital = Hospital::open(&site);
    let [a, b, _] = three();
    hospital.admit(&a, "VA");
    hospital.admit(&b, "VB");
    let (one, other) = (hospital.one_id(&a), hospital.one_id(&b));
    let pair = [a.pid(), segment_pv1(), b.pid()];
    hospital.accept("his", "A24", &pair);
    assert_eq!(hospital.one_id(&a), hospital.one_id(&b));
    hospital.accept("his", "A24", &pair);
    assert_eq!(hospital.events("patient.merged").len(), 1, "a link said again is no second one");
    hospital.accept("his", "A37", &pair);
    assert_eq!((hospital.one_id(&a), hospital.one_id(&b)), (one.clone(), other.clone()));
    for (patient, name, visit) in [(&a, "秦怀玉", "his:VA"), (&b, "窦文涛", "his:VB")] {
        let one_id = hospital.one_id(patient);
        assert_eq!(hospital.person(&one_id)["name"], name);
        assert_eq!(hospital.visits(&one_id), [visit]);
        assert_eq!(hospital.told_owners()[visit], one_id);
    }
    // Even when everything about them becomes equal.
    let number = resident_number("19510203", 13);
    let twin = |number_of: &Patient| {
        number_of.clone().name("秦怀玉").born("1951-02-03").phone("13900004701").resident_id(&number)
    };
    hospital.update(&twin(&a));
    hospital.update(&twin(&b));
    hospital.expect_two(&a, &b);
}

pub(super) fn segment_pv1() -> String {
    crate::support::hl7::segment("PV1", &[(2, "N")])
}

#[test]
fn case_48_a_link_by_hand_stays_when_the_record_changes_and_somebody_is_told() {
    let site = site();
    let hospital = Hospital::open(&site);
    let known = patient("HIS", "A").name("秦怀玉").born("1951-02-03").sex("M").phone("13900004801");
    let other = patient("LIS", "71").name("窦文涛").born("1968-05-06").sex("M").phone("13900004802");
    hospital.register_all(&[&known, &other]);
    hospital.result(&other, "F1", "");
    let one_id = hospital.one_id(&known);
    hospital.command(&["link", &other.record(), &one_id, "--reason", "same patient, seen at the desk"]);
    assert_eq!(hospital.one_id(&other), one_id);
    assert!(hospital.rows(&other).iter().all(|row| row.link == "manual"), "{:?}", hospital.rows(&other));
    assert_eq!(hospital.told_owners()["lis:F1"], one_id);
    hospital.update(&other.clone().name("阮玲玉").born("1999-09-09").sex("F").phone("13900004803"));
    assert_eq!(hospital.one_id(&other), one_id, "what a person decided stays");
    assert!(hospital.rows(&other).iter().all(|row| row.link == "manual"));
    let told = hospital.reviews("state=open&kind=data_quality");
    assert!(told.iter().any(|review| contains(&review["records"], &other.record())), "{told:?}");
}

#[test]
fn case_49_an_automatic_link_does_not_survive_another_patients_data() {
    let site = site();
    let hospital = Hospital::open(&site);
    let number = resident_number("19510203", 15);
    let known = patient("HIS", "A").name("秦怀玉").born("1951-02-03").sex("M").resident_id(&number);
    let linked = known.at("LIS", "71");
    hospital.register_all(&[&known, &linked]);
    hospital.result(&linked, "F1", "");
    hospital.expect_linked(&known, &linked);
    let one_id = hospital.one_id(&known);
    let other_number = resident_number("19990909", 24);
    let overwritten =
        patient("LIS", "71").name("阮玲玉").born("1999-09-09").sex("F").phone("13900004901").resident_id(&other_number);
    hospital.tell("lis", "A31", &[overwritten.pid()]);
    let person = hospital.person(&one_id);
    assert_eq!((&person["name"], &person["birth_date"]), (&json!("秦怀玉"), &json!("1951-02-03")), "{person}");
    assert!(!person.to_string().contains(&other_number), "{person}");
    assert_eq!(hospital.one_id(&known), one_id);
    // Detached, or kept apart as a new generation of the number: either is told.
    let gone = hospital.rows(&linked).iter().any(|row| row.one_id != one_id);
    let split = hospital.events("patient.split");
    assert!(!hospital.reviews_of(&linked).is_empty() || (gone && !split.is_empty()), "somebody is told");
}

#[test]
fn case_50_a_number_given_to_another_person_years_later_opens_a_new_generation() {
    let site = site();
    let hospital = Hospital::open(&site);
    let before =
        patient("HIS", "A").name("秦怀玉").born("1951-02-03").sex("M").resident_id(&resident_number("19510203", 17));
    hospital.admit(&before, "VOLD");
    let former = hospital.one_id(&before);
    let after =
        patient("HIS", "A").name("阮玲玉").born("1999-09-09").sex("F").resident_id(&resident_number("19990909", 26));
    hospital.admit(&after, "VNEW");
    let person = hospital.person(&former);
    assert_eq!((&person["one_id"], &person["name"]), (&json!(former), &json!("秦怀玉")), "{person}");
    assert_eq!(hospital.visits(&former), ["his:VOLD"]);
    let rows = hospital.rows(&before);
    let new: Vec<_> = rows.iter().filter(|row| row.one_id != former).collect();
    assert_eq!((rows.len(), new.len()), (2, 1), "one row for each generation: {rows:?}");
    let present = &new[0].one_id;
    assert_eq!(hospital.person(present)["name"], "阮玲玉");
    assert_eq!(hospital.visits(present), ["his:VNEW"]);
    let reused = hospital.reviews("state=open&kind=number_reused");
    assert_eq!(reused.len(), 1, "{reused:?}");
    assert!(contains(&reused[0]["records"], "HIS|A"), "{reused:?}");
    // The next word under the number is of the present patient, and asks nothing anew.
    hospital.update(&after.clone().phone("13900005001"));
    assert_eq!(hospital.rows(&before).len(), 2);
    assert!(hospital.person(present)["phones"].to_string().contains("13900005001"));
    assert!(hospital.person(&former)["phones"].is_null());
    assert_eq!(hospital.reviews("kind=number_reused").len(), 1);
}

#[test]
fn a_number_given_to_somebody_of_whom_nothing_is_known_before_opens_a_new_generation_too() {
    let site = site();
    let hospital = Hospital::open(&site);
    let before = patient("HIS", "A").name("秦怀玉").born("1951-02-03").sex("M").phone("13900005101");
    hospital.admit(&before, "VOLD");
    let former = hospital.one_id(&before);
    // What a source may correct in a patient: not all of it at once.
    for corrected in [
        before.clone().name("窦文涛").born("1968-05-06"),
        before.clone().name("窦文涛").sex("F"),
        before.clone().born("1999-09-09").sex("F"),
        before.clone().name("阮玲玉").born("1999-09-09").sex("F"),
    ] {
        hospital.update(&corrected);
        hospital.update(&before);
        assert_eq!(hospital.rows(&before).len(), 1, "{}", corrected.pid());
    }
    let after = patient("HIS", "A").name("阮玲玉").born("1999-09-09").sex("F").phone("13777642953");
    hospital.admit(&after, "VNEW");
    assert_eq!(hospital.person(&former)["name"], "秦怀玉");
    assert_eq!(hospital.visits(&former), ["his:VOLD"]);
    assert_eq!(hospital.rows(&before).len(), 2);
    let reused = hospital.reviews("state=open&kind=number_reused");
    assert_eq!(reused.len(), 1, "{reused:?}");
    // They were one after all: the answer makes them one.

    site.run(&[
        "review",
        "decide",
        &super::hospital::id_of(&reused[0]),
        "link",
        "--reason",
        "registered wrongly at first",
    ])
    .exits(0);
    assert!(hospital.rows(&before).iter().all(|row| row.one_id == former), "{:?}", hospital.rows(&before));
}
