//! Cases 51 and 52, and deletions: numbers that change, what moves between two patients, and who is only put away.

use serde_json::{Value, json};

use super::hospital::{Hospital, Patient, patient, site};
use crate::support::hl7::segment;

fn two() -> [Patient; 2] {
    [("A", "秦怀玉", "1951-02-03"), ("B", "窦文涛", "1968-05-06")]
        .map(|(number, name, birth)| patient("HIS", number).name(name).born(birth).sex("M"))
}

/// A visit that is known by its account alone.
fn admit_by_account(hospital: &Hospital<'_>, patient: &Patient, account: &str) {
    hospital.accept("his", "A01", &[patient.clone().account(account).pid(), segment("PV1", &[(2, "I"), (3, "W1")])]);
}

/// Sends a change of a number three times: once, the same again, and later again.
fn renamed(hospital: &Hospital<'_>, trigger: &str, segments: &[String]) {
    hospital.accept("his", trigger, segments);
    let (told, links) = (hospital.told(), hospital.links());
    hospital.accept("his", trigger, segments);
    assert_eq!((hospital.told(), hospital.links()), (told, links), "{trigger} said again changes nothing");
    assert_eq!(hospital.events("patient.merged"), Vec::<Value>::new(), "{trigger} is no merge");
}

#[test]
fn case_51_a_changed_patient_number_is_the_same_record_under_a_new_name() {
    let site = site();
    let hospital = Hospital::open(&site);
    for (index, trigger) in ["A46", "A47"].into_iter().enumerate() {
        let [before, _] = two().map(|patient| patient.at("HIS", &format!("OLD{index}")));
        // Two people, or the second would be the first.
        let before = before.name(["秦怀玉", "尚可喜"][index]).born(["1951-02-03", "1983-08-09"][index]);
        hospital.admit(&before, &format!("V{index}"));
        let one_id = hospital.one_id(&before);
        let after = before.at("HIS", &format!("NEW{index}"));
        renamed(&hospital, trigger, &[after.pid(), before.mrg()]);
        assert_eq!(hospital.one_id(&after), one_id, "{trigger}");
        hospital.update(&after.clone().phone("13900005101"));
        assert_eq!(hospital.one_id(&after), one_id);
        assert_eq!(hospital.visits(&one_id), [format!("his:V{index}")], "{trigger}");
        assert_eq!(hospital.person(&one_id)["one_id"], one_id.as_str());
        let created = hospital.events("patient.created").len();
        assert_eq!(created, index + 1, "{trigger}: nobody is new");
    }
}

#[test]
fn case_51_a_changed_account_or_visit_number_renames_the_visit() {
    let site = site();
    let hospital = Hospital::open(&site);
    let [patient, _] = two();
    // A49: account, A50: visit number, A51: alternate visit number.
    admit_by_account(&hospital, &patient, "ACC-OLD");
    hospital.admit(&patient, "V-OLD");
    let alternate = segment("PV1", &[(2, "I"), (3, "W1"), (50, "ALT-OLD")]);
    hospital.accept("his", "A01", &[patient.pid(), alternate]);
    let one_id = hospital.one_id(&patient);
    let mrg = |values: &[(usize, &str)]| segment("MRG", &[&[(1, patient.cx().as_str())], values].concat());
    renamed(&hospital, "A49", &[patient.clone().account("ACC-NEW").pid(), mrg(&[(3, "ACC-OLD")])]);
    let pv1 = |field: usize, number: &str| segment("PV1", &[(2, "I"), (field, number)]);
    renamed(&hospital, "A50", &[patient.pid(), mrg(&[(5, "V-OLD")]), pv1(19, "V-NEW")]);
    renamed(&hospital, "A51", &[patient.pid(), mrg(&[(6, "ALT-OLD")]), pv1(50, "ALT-NEW")]);
    assert_eq!(hospital.one_id(&patient), one_id);
    // Under the new number the visit goes on.
    hospital.accept("his", "A03", &[patient.pid(), segment("PV1", &[(2, "I"), (19, "V-NEW"), (45, "20240305200000")])]);
    let visits = hospital.json(&format!("/v1/persons/{one_id}/visits"));
    let live: Vec<&Value> = visits["visits"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|visit| !matches!(visit["status"].as_str(), Some("cancelled" | "entered_in_error")))
        .collect();
    let mut numbers: Vec<&str> = live.iter().filter_map(|visit| visit["visit_id"].as_str()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, ["his:ACC-NEW", "his:ALT-NEW", "his:V-NEW"], "{visits}");
    let finished = live.iter().find(|visit| visit["visit_id"] == "his:V-NEW").unwrap();
    assert_eq!((&finished["status"], &finished["ward"]), (&json!("finished"), &json!("W1")), "{finished}");
    let told = hospital.told_owners();
    for number in numbers {
        assert_eq!(told.get(number), Some(&one_id), "{number} is told: {told:?}");
    }
}

#[test]
fn case_52_a_moved_visit_or_account_goes_to_the_other_patient_alone() {
    let site = site();
    let hospital = Hospital::open(&site);
    let [wrong, right] = two();
    hospital.admit(&wrong, "V1");
    hospital.admit(&wrong, "V2");
    hospital.result(&wrong, "F1", "V1");
    hospital.result(&wrong, "F2", "V2");
    admit_by_account(&hospital, &wrong, "ACC");
    hospital.admit(&right, "V9");
    let (from, to) = (hospital.one_id(&wrong), hospital.one_id(&right));
    let mrg = |values: &[(usize, &str)]| segment("MRG", &[&[(1, wrong.cx().as_str())], values].concat());
    let move_visit = [right.pid(), mrg(&[(5, "V1")]), segment("PV1", &[(2, "I"), (19, "V1")])];
    hospital.accept("his", "A45", &move_visit);
    let check = |moved: &[&str], stayed: &[&str]| {
        assert_eq!((hospital.one_id(&wrong), hospital.one_id(&right)), (from.clone(), to.clone()), "persons stay");
        let sorted = |mut list: Vec<String>| {
            list.sort();
            list
        };
        assert_eq!(sorted(hospital.visits(&to)), moved);
        assert_eq!(sorted(hospital.visits(&from)), stayed);
        let owners = hospital.told_owners();
        moved.iter().for_each(|id| assert_eq!(owners.get(*id), Some(&to), "{id}: {owners:?}"));
        stayed.iter().for_each(|id| assert_eq!(owners.get(*id), Some(&from), "{id}: {owners:?}"));
    };
    check(&["his:V1", "his:V9"], &["his:ACC", "his:V2"]);
    assert_eq!(hospital.reports(&to), ["lis:F1"], "the visit's report goes with it");
    assert_eq!(hospital.reports(&from), ["lis:F2"]);
    let told = hospital.told();
    hospital.accept("his", "A45", &move_visit);
    assert_eq!(hospital.told(), told, "said again, it changes nothing");
    hospital.accept("his", "A44", &[right.clone().account("ACC").pid(), mrg(&[(3, "ACC")])]);
    check(&["his:ACC", "his:V1", "his:V9"], &["his:V2"]);
    assert_eq!(hospital.events("patient.merged"), Vec::<Value>::new());
    // Only the owner of the authority moves.
    hospital.refuse("lis", "A45", &[right.pid(), mrg(&[(5, "V2")]), segment("PV1", &[(2, "I"), (19, "V2")])]);
    check(&["his:ACC", "his:V1", "his:V9"], &["his:V2"]);
}

#[test]
fn case_52_what_is_moved_from_a_number_leaves_two_persons() {
    let site = site();
    let hospital = Hospital::open(&site);
    let [wrong, right] = two();
    hospital.admit(&wrong, "V1");
    hospital.admit(&right, "V9");
    let (from, to) = (hospital.one_id(&wrong), hospital.one_id(&right));
    let text = [right.pid(), wrong.mrg()];
    hospital.accept("his", "A43", &text);
    let mut visits = hospital.visits(&to);
    visits.sort();
    assert_eq!(visits, ["his:V1", "his:V9"]);
    assert_eq!(hospital.told_owners()["his:V1"], to);
    assert_eq!(hospital.one_id(&right), to);
    // A move is no merge: the One ID that it was taken from is not the other's.
    let read = hospital.person(&from);
    assert_eq!(read["one_id"], from.as_str(), "{read}");
    assert!(read["merged_into"].is_null(), "{read}");
    assert_eq!(hospital.events("patient.merged"), Vec::<Value>::new());
    // Told as one without records, and found by nothing but its One ID.
    let split = hospital.events("patient.split");
    assert_eq!(
        (&split[0]["data"]["basis"]["emptied"], &split[0]["data"]["name"]),
        (&json!(true), &Value::Null),
        "{split:?}"
    );
    assert!(read["name"].is_null() && read["identifiers"].is_null(), "{read}");
    let told = hospital.told();
    hospital.accept("his", "A43", &text);
    assert_eq!(hospital.told(), told);
}

#[test]
fn a_deleted_visit_or_person_is_put_away_and_kept() {
    let site = site();
    let hospital = Hospital::open(&site);
    let [a, b] = two();
    hospital.admit(&a, "V1");
    hospital.admit(&b, "V2");
    let (one, other) = (hospital.one_id(&a), hospital.one_id(&b));
    hospital.accept("his", "A23", &[a.pid(), segment("PV1", &[(2, "I"), (19, "V1")])]);
    let visits = hospital.json(&format!("/v1/persons/{one}/visits"));
    assert_eq!(visits["visits"][0]["status"], "entered_in_error", "{visits}");
    hospital.accept("his", "A29", &[b.pid()]);
    assert_eq!((hospital.one_id(&a), hospital.one_id(&b)), (one, other.clone()), "the records are kept");
    assert_eq!(hospital.person(&other)["name"], "窦文涛");
    assert_eq!(hospital.visits(&other), ["his:V2"]);
}
