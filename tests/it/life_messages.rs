//! What a source says of its numbers beside A40: linked and unlinked, moved, renamed, deleted, given to another patient.

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, column};
use crate::support::hl7::{adt, inpatient, message, number, person, resident_number, segment};
use crate::support::orders;
use crate::support::site::Site;

/// A patient whom no rule takes for another of these.
fn patient(number: &str, name: &str, birth: &str) -> String {
    let order: u16 = number.bytes().map(u16::from).sum();
    let identifiers = format!("{number}^^^HIS^MR~{}^^^^NI", resident_number(birth, order));
    person(number, name, birth, "F", &[(3, &identifiers)])
}

fn wang(number: &str) -> String {
    patient(number, "王^芳", "19800102")
}

fn li(number: &str) -> String {
    patient(number, "李^强", "19620304")
}

fn mrg(values: &[(usize, &str)]) -> String {
    segment("MRG", values)
}

fn both(daemon: &Daemon<'_>) -> (String, String) {
    daemon.accept("his", adt("A28", "C1", "20240305080000", &[wang("P1")]));
    daemon.accept("his", adt("A28", "C2", "20240305080000", &[li("P2")]));
    (daemon.one_id("HIS|P1"), daemon.one_id("HIS|P2"))
}

fn events_of(daemon: &Daemon<'_>, kind: &str) -> Vec<Value> {
    daemon.feed().into_iter().filter(|event| event["type"] == kind).collect()
}

fn notes(site: &Site, control_id: &str) -> String {
    let kept = site.messages(&["--control-id", control_id]);
    site.json(&["message", "show", &kept[0]["id"].to_string(), "--json"])["notes"].to_string()
}

#[test]
fn case_47_a_link_is_taken_back_and_stays_so() {
    let site = Site::new();
    let daemon = site.start();
    let (one, two) = both(&daemon);
    let stay = inpatient("V2", "W^1^1", "20240305083000", "");
    daemon.accept("his", adt("A01", "C3", "20240305090000", &[li("P2"), stay]));
    daemon.accept("his", adt("A24", "C4", "20240306080000", &[wang("P1"), li("P2")]));
    assert_eq!((daemon.one_id("HIS|P1"), daemon.one_id("HIS|P2")), (one.clone(), one.clone()));
    daemon.accept("his", adt("A24", "C5", "20240306080000", &[li("P2"), wang("P1")]));
    assert_eq!(events_of(&daemon, "patient.merged").len(), 1, "said again it changes nothing");
    daemon.accept("his", adt("A37", "C6", "20240307080000", &[wang("P1"), li("P2")]));
    assert_eq!((daemon.one_id("HIS|P1"), daemon.one_id("HIS|P2")), (one.clone(), two.clone()), "as before");
    assert_eq!(daemon.visit("HIS|P2")["one_id"], two.as_str());
    let split = events_of(&daemon, "patient.split");
    assert_eq!((split.len(), &split[0]["data"]["records"]["visits"]), (1, &json!(["his:V2"])));
    daemon.accept("his", adt("A37", "C7", "20240307080000", &[wang("P1"), li("P2")]));
    daemon.accept("his", adt("A24", "C8", "20240308080000", &[wang("P1"), li("P2")]));
    assert_eq!(daemon.one_id("HIS|P2"), two, "the pair is told apart");
    assert!(notes(&site, "C8").contains("by hand"), "{}", notes(&site, "C8"));
}

#[test]
fn mother_and_child_are_not_linked_into_one() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", adt("A28", "C1", "20240305080000", &[wang("M1")]));
    let child = person("B1", "王芳之子", "20240305", "M", &[(21, "M1^^^HIS^MR")]);
    let answer = daemon.send("his", adt("A24", "C2", "20240306080000", &[wang("M1"), child]));
    assert_eq!((answer.code(), answer.has_error()), ("AE", true), "{}", answer.text());
    assert!(answer.text().contains("PID-21"), "{}", answer.text());
    assert!(events_of(&daemon, "patient.merged").is_empty());
}

#[test]
fn case_52_a_number_moves_to_another_patient_and_takes_what_is_its_own() {
    let site = Site::new();
    let daemon = site.start();
    let (one, two) = both(&daemon);
    // P3 was taken for the patient of P1, and had a visit.
    daemon.accept("his", adt("A28", "C3", "20240305080000", &[wang("P3")]));
    daemon.accept("his", adt("A40", "C4", "20240305090000", &[wang("P1"), mrg(&[(1, "P3^^^HIS^MR")])]));
    let stay = inpatient("V3", "W^1^1", "20240305083000", "");
    daemon.accept("his", adt("A01", "C5", "20240305100000", &[wang("P3"), stay]));
    assert_eq!(daemon.one_id("HIS|P3"), one);
    for id in ["C6", "C7"] {
        daemon.accept("his", adt("A43", id, "20240306080000", &[li("P2"), mrg(&[(1, "P3^^^HIS^MR")])]));
    }
    assert_eq!((daemon.one_id("HIS|P1"), daemon.one_id("HIS|P3")), (one.clone(), two.clone()));
    assert_eq!(daemon.visit("HIS|P2")["visit_id"], "his:V3");
    let split = events_of(&daemon, "patient.split");
    assert_eq!(split.len(), 1);
    assert_eq!((&split[0]["data"]["one_id"], &split[0]["data"]["new_one_id"]), (&json!(one), &json!(two)));
    let stranger = daemon.send("lis", adt("A43", "L1", "20240306080000", &[wang("P1"), mrg(&[(1, "P3^^^HIS^MR")])]));
    assert_eq!(stranger.code(), "AE", "only the owner of the authority moves: {}", stranger.text());
}

#[test]
fn case_52_a_visit_moves_with_its_reports_and_nobody_else() {
    let site = Site::new();
    let daemon = site.start();
    let (one, two) = both(&daemon);
    let stay = |number: &str| inpatient(number, "W^1^1", "20240305083000", "");
    daemon.accept("his", adt("A01", "C3", "20240305090000", &[wang("P1"), stay("V1")]));
    daemon.accept("his", adt("A01", "C4", "20240305090000", &[wang("P1"), stay("V2")]));
    let result = [
        segment("PV1", &[(19, "V1")]),
        segment("OBR", &[(3, "F1"), (4, "K"), (25, "F")]),
        number("K", "4", "", "", "", "F"),
    ];
    let oru = [vec![wang("P1")], result.to_vec()].concat();
    daemon.accept("his", message("ORU^R01", "C5", "20240305100000", &oru));
    daemon.accept(
        "his",
        adt("A45", "C6", "20240306080000", &[li("P2"), mrg(&[(1, "P1^^^HIS^MR"), (5, "V1")]), stay("V1")]),
    );
    assert_eq!((daemon.one_id("HIS|P1"), daemon.one_id("HIS|P2")), (one, two.clone()));
    assert_eq!(column(&daemon.visits("HIS|P1"), "visit_id"), ["his:V2"]);
    assert_eq!(column(&daemon.visits("HIS|P2"), "visit_id"), ["his:V1"]);
    assert_eq!(column(&daemon.lab_reports("HIS|P2"), "report_id"), ["his:F1"]);
    let told: Vec<Value> = daemon.feed().into_iter().filter(|event| event["data"]["visit_id"] == "his:V1").collect();
    let last = told.iter().rfind(|event| event["type"] == "visit.updated").unwrap();
    assert_eq!((&last["subject"], &last["data"]["changed"]), (&json!(two), &json!(["one_id"])));
}

#[test]
fn a_visit_number_that_changes_answers_as_the_new_one() {
    // A50 gives a visit its right number; A42 finds that two are one.
    for (trigger, known) in [("A50", false), ("A42", true)] {
        let site = Site::new();
        let daemon = site.start();
        let stay = |number: &str| inpatient(number, "W^1^1", "20240305083000", "");
        daemon.accept("his", adt("A01", "C1", "20240305090000", &[wang("P1"), stay("V1")]));
        if known {
            daemon.accept("his", adt("A01", "C2", "20240305090100", &[wang("P1"), stay("V2")]));
        }
        let oru = |id: &str, at: &str| {
            let segments = [
                wang("P1"),
                segment("PV1", &[(19, "V1")]),
                segment("OBR", &[(3, "F1"), (4, "K"), (25, "F")]),
                number("K", "4", "", "", "", "F"),
            ];
            message("ORU^R01", id, at, &segments)
        };
        daemon.accept("his", oru("C3", "20240305100000"));
        for id in ["C4", "C5"] {
            let visit = segment("PV1", &[(2, "I"), (19, "V2")]);
            daemon.accept("his", adt(trigger, id, "20240306080000", &[wang("P1"), mrg(&[(5, "V1")]), visit]));
        }
        let visits = daemon.visits("HIS|P1");
        let status = |id: &str| visits.iter().find(|visit| visit["visit_id"] == id).unwrap()["status"].clone();
        assert_eq!(
            (visits.len(), status("his:V1"), status("his:V2")),
            (2, json!("entered_in_error"), json!("in_progress"))
        );
        assert_eq!(daemon.lab_reports("HIS|P1")[0]["visit_id"], "his:V2", "{trigger}");
        let cancelled = daemon.feed().into_iter().filter(|event| event["data"]["status"] == "entered_in_error");
        assert_eq!(cancelled.count(), 1, "{trigger}: told once");
        // What comes late under the old number is the new one's.
        daemon.accept(
            "his",
            adt("A03", "C6", "20240307080000", &[wang("P1"), inpatient("V1", "", "", "20240307080000")]),
        );
        daemon.accept("his", oru("C7", "20240307090000"));
        let visits = daemon.visits("HIS|P1");
        let status = |id: &str| visits.iter().find(|visit| visit["visit_id"] == id).unwrap()["status"].clone();
        assert_eq!((status("his:V1"), status("his:V2")), (json!("entered_in_error"), json!("finished")), "{trigger}");
        assert_eq!(daemon.lab_reports("HIS|P1")[0]["visit_id"], "his:V2", "{trigger}");
        let back = segment("PV1", &[(2, "I"), (19, "V1")]);
        let opposite = daemon.send("his", adt(trigger, "C8", "20240308080000", &[wang("P1"), mrg(&[(5, "V2")]), back]));
        assert_eq!(opposite.code(), "AE", "{trigger}: {}", opposite.text());
    }
}

#[test]
fn two_visits_that_are_one_have_all_that_was_said_of_either_in_whatever_order_it_comes() {
    let diagnosis = segment("DG1", &[(1, "1"), (3, "I20.000^不稳定型心绞痛^ICD10"), (6, "A")]);
    let of_one = [wang("P1"), inpatient("V1", "W1^1^1", "20240305083000", ""), diagnosis];
    let of_other = [wang("P1"), segment("PV1", &[(2, "I"), (3, "W2^2^2"), (7, "D1^陈^志远"), (19, "V2")])];
    let merge = [wang("P1"), mrg(&[(5, "V1")]), segment("PV1", &[(2, "I"), (19, "V2")])];
    let messages = [
        adt("A01", "C1", "20240305090000", &of_one),
        adt("A02", "C2", "20240305110000", &of_other),
        adt("A42", "C3", "20240306080000", &merge),
    ];
    let mut seen = Vec::new();
    for order in orders(messages.len()) {
        let site = Site::new();
        let daemon = site.start();
        order.iter().for_each(|place| daemon.accept("his", &messages[*place]));
        let mut survivor = daemon.visits("HIS|P1").into_iter().find(|visit| visit["visit_id"] == "his:V2").unwrap();
        for varies in ["version", "one_id"] {
            survivor.as_object_mut().unwrap().remove(varies);
        }
        assert_eq!((&survivor["ward"], &survivor["status"]), (&json!("W2"), &json!("in_progress")), "{order:?}");
        assert_eq!(survivor["diagnoses"][0]["code"], "I20.000", "{order:?}");
        assert_eq!(survivor["attending"]["id"], "D1", "{order:?}");
        seen.push(survivor);
    }
    assert!(seen.iter().all(|survivor| *survivor == seen[0]), "{seen:#?}");
}

#[test]
fn an_account_number_that_no_visit_is_known_by_changes_nothing() {
    let site = Site::new();
    let daemon = site.start();
    let account = |number: &str| person("P1", "王^芳", "19800102", "F", &[(18, number)]);
    // Another patient's visit happens to have the number of the account.
    daemon.accept("his", adt("A01", "C1", "20240305090000", &[li("P2"), inpatient("AC2", "W^1^1", "", "")]));
    daemon.accept("his", adt("A35", "C2", "20240306080000", &[account("AC1"), mrg(&[(1, "P1^^^HIS^MR"), (3, "AC2")])]));
    assert_eq!(daemon.visit("HIS|P2")["status"], "in_progress");
    assert!(notes(&site, "C2").contains("account number"), "{}", notes(&site, "C2"));
    // A sender that knows its visits by account numbers.
    let visit = segment("PV1", &[(2, "O")]);
    daemon.accept("his", adt("A04", "C3", "20240305090000", &[account("AC3"), visit]));
    daemon.accept("his", adt("A49", "C4", "20240306080000", &[account("AC4"), mrg(&[(1, "P1^^^HIS^MR"), (3, "AC3")])]));
    assert_eq!(column(&daemon.visits("HIS|P1"), "visit_id"), ["his:AC3", "his:AC4"]);
    assert_eq!(column(&daemon.visits("HIS|P1"), "status"), ["entered_in_error", "arrived"]);
}

#[test]
fn case_51_a_number_that_was_wrong_is_renamed_and_nobody_is_new() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", adt("A28", "C1", "20240305080000", &[wang("P9")]));
    let one = daemon.one_id("HIS|P9");
    for id in ["C2", "C3"] {
        daemon.accept("his", adt("A47", id, "20240306080000", &[wang("P1"), mrg(&[(1, "P9^^^HIS^MR")])]));
    }
    assert_eq!((daemon.one_id("HIS|P1"), daemon.one_id("HIS|P9")), (one.clone(), one.clone()));
    assert!(events_of(&daemon, "patient.merged").is_empty());
    assert_eq!(events_of(&daemon, "patient.created").len(), 1);
    daemon.accept("his", adt("A31", "C4", "20240307080000", &[wang("P9")]));
    assert_eq!(daemon.one_id("HIS|P9"), one);
    assert!(notes(&site, "C4").contains("given up for another one"), "case 38: {}", notes(&site, "C4"));
    // An external number changes, the patient's own does not.
    let same = adt("A46", "C5", "20240308080000", &[wang("P1"), mrg(&[(1, "P1^^^HIS^MR")])]);
    daemon.accept("his", same);
}

#[test]
fn a_deleted_patient_stays_known_and_comes_back_with_the_next_word() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", adt("A28", "C1", "20240305080000", &[wang("P1")]));
    let one = daemon.one_id("HIS|P1");
    for id in ["C2", "C3"] {
        daemon.accept("his", adt("A29", id, "20240306080000", &[wang("P1")]));
    }
    let deleted = daemon.person("HIS|P1");
    assert_eq!((&deleted["one_id"], &deleted["name"]), (&json!(one), &json!("王芳")));
    assert_eq!(deleted["sources"][0]["deactivated"], true, "{deleted}");
    assert_eq!(events_of(&daemon, "patient.updated").len(), 1, "told once");
    // Late word of before changes nothing.
    daemon.accept("his", adt("A31", "C4", "20240305090000", &[wang("P1")]));
    assert_eq!(daemon.person("HIS|P1")["sources"][0]["deactivated"], true);
    daemon.accept("his", adt("A28", "C5", "20240307080000", &[wang("P1")]));
    assert_eq!(daemon.person("HIS|P1")["sources"][0]["deactivated"], Value::Null);
    // Two words of one minute: the later one counts.
    for (trigger, id, deactivated) in
        [("A29", "C7", json!(true)), ("A28", "C8", Value::Null), ("A29", "C9", json!(true))]
    {
        daemon.accept("his", adt(trigger, id, "20240307090000", &[wang("P1")]));
        assert_eq!(daemon.person("HIS|P1")["sources"][0]["deactivated"], deactivated, "{id}");
    }
    let stranger = daemon.send("lis", adt("A29", "L1", "20240308080000", &[wang("P1")]));
    assert_eq!(stranger.code(), "AE", "{}", stranger.text());
    daemon.accept("his", adt("A29", "C6", "20240308080000", &[wang("P7")]));
    assert!(notes(&site, "C6").contains("nothing to delete"));
}

#[test]
fn case_50_a_number_used_again_is_another_patient_from_then_on() {
    let site = Site::new();
    let daemon = site.start();
    let stay = |number: &str| inpatient(number, "W^1^1", "20240305083000", "");
    daemon.accept("his", adt("A01", "C1", "20240305090000", &[patient("P6", "周^明", "19500102"), stay("V1")]));
    let former = daemon.one_id("HIS|P6");
    // The same number, years later.
    let order = 21;
    let numbers = format!("P6^^^HIS^MR~{}^^^^NI", resident_number("19920304", order));
    let new = person("P6", "吴^静", "19920304", "F", &[(3, &numbers)]);
    daemon.accept("his", adt("A01", "C2", "20340305090000", &[new, stay("V2")]));
    let found = daemon.json("/v1/persons?identifier=HIS%7CP6");
    let persons = found["persons"].as_array().unwrap();
    assert_eq!(column(persons, "name"), ["周明", "吴静"], "{found}");
    let present = persons[1]["one_id"].as_str().unwrap();
    assert_ne!(present, former);
    assert!(notes(&site, "C2").contains("stood for another patient"));
    let visits = |one_id: &str| {
        let found = daemon.json(&format!("/v1/persons/{one_id}/visits"));
        column(found["visits"].as_array().unwrap(), "visit_id").join(" ")
    };
    assert_eq!((visits(&former), visits(present)), ("his:V1".to_owned(), "his:V2".to_owned()));
    // What is late and of the former patient is the former patient's; a bare number is the present one's.
    daemon.accept("his", adt("A08", "C3", "20240305100000", &[patient("P6", "周^明", "19500102"), stay("V3")]));
    daemon.accept("his", adt("A08", "C4", "20340305100000", &[segment("PID", &[(3, "P6^^^HIS^MR")]), stay("V4")]));
    assert_eq!((visits(&former), visits(present)), ("his:V1 his:V3".to_owned(), "his:V2 his:V4".to_owned()));
    assert!(events_of(&daemon, "patient.merged").is_empty());
}

#[test]
fn case_32_a_former_name_is_found() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", adt("A28", "C1", "20240305080000", &[patient("P1", "王^明", "20150607")]));
    daemon.accept("his", adt("A31", "C2", "20240306080000", &[patient("P1", "李^晓明", "20150607")]));
    let found = site.json(&["person", "find", "--name", "王明", "--json"]);
    assert_eq!(column(found["persons"].as_array().unwrap(), "name"), ["李晓明"]);
    assert_eq!(daemon.person("HIS|P1")["other_names"], json!(["王明"]));
}

#[test]
fn two_patients_swap_beds_and_stay_themselves() {
    let site = Site::new();
    let daemon = site.start();
    let (one, two) = both(&daemon);
    let at = |number: &str, bed: &str| inpatient(number, &format!("W^1^{bed}"), "20240305083000", "");
    daemon.accept("his", adt("A01", "C3", "20240305090000", &[wang("P1"), at("V1", "01")]));
    daemon.accept("his", adt("A01", "C4", "20240305090000", &[li("P2"), at("V2", "02")]));
    let swap = [wang("P1"), at("V1", "02"), li("P2"), at("V2", "01")];
    daemon.accept("his", adt("A17", "C5", "20240306080000", &swap));
    let bed = |number: &str| daemon.visit(number)["bed"].clone();
    assert_eq!((bed("HIS|P1"), bed("HIS|P2")), (json!("02"), json!("01")));
    assert_eq!(events_of(&daemon, "visit.transferred").len(), 2);
    assert_eq!((daemon.one_id("HIS|P1"), daemon.one_id("HIS|P2")), (one, two));
}

#[test]
fn a_pair_that_cannot_be_takes_the_whole_message_back() {
    let site = Site::new();
    let daemon = site.start();
    let (one, two) = both(&daemon);
    let pairs = [wang("P1"), mrg(&[(1, "P2^^^HIS^MR")]), li("P3"), mrg(&[(1, "P3^^^HIS^MR")])];
    let answer = daemon.send("his", adt("A40", "C3", "20240306080000", &pairs));
    assert_eq!(answer.code(), "AE", "{}", answer.text());
    assert_eq!((daemon.one_id("HIS|P1"), daemon.one_id("HIS|P2")), (one, two));
}
