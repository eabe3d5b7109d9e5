//! What people decide of identities: merged, split, linked and unlinked by hand; told at once, kept with who and why, and stronger than
//! rules and sources.

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, column};
use crate::support::hl7::{adt, inpatient, number, person, report, resident_number, segment};
use crate::support::site::Site;

const WHY: &str = "--reason=two cards, one patient";

/// A patient like no other: nothing but a decision brings two of them together.
fn patient(number: &str) -> String {
    let order: u16 = number.bytes().map(u16::from).sum();
    let birth = format!("19{:02}0307", 30 + order % 60);
    let name = ["王^芳", "李^强", "赵^敏", "孙^丽", "周^杰"][usize::from(order % 5)];
    let identifiers = format!("{number}^^^HIS^MR~{}^^^^NI", resident_number(&birth, order));
    person(number, name, &birth, "F", &[(3, &identifiers)])
}

/// P1 and P2 and so on, each with an admission, the second with a report as well.
fn admitted(daemon: &Daemon<'_>, numbers: &[&str]) -> Vec<String> {
    for number in numbers {
        let at = "20240305103000";
        let stay = inpatient(&format!("V-{number}"), "ICU^1^1", at, "");
        daemon.accept("his", adt("A01", &format!("C-{number}"), at, &[patient(number), stay]));
    }
    numbers.iter().map(|number| daemon.one_id(&format!("HIS|{number}"))).collect()
}

fn merge(id: &str, at: &str, survivor: &str, retired: &str) -> String {
    adt("A40", id, at, &[patient(survivor), segment("MRG", &[(1, &format!("{retired}^^^HIS^MR"))])])
}

/// The events after those that were there, and how many there are now.
fn news(daemon: &Daemon<'_>, seen: &mut usize) -> Vec<Value> {
    let events = daemon.feed();
    let new = events[*seen..].to_vec();
    *seen = events.len();
    new
}

fn of_type<'e>(events: &'e [Value], kind: &str) -> Vec<&'e Value> {
    events.iter().filter(|event| event["type"] == kind).collect()
}

#[test]
fn a_merge_by_hand_is_told_and_taken_back_with_all_that_moved() {
    let site = Site::new();
    let daemon = site.start();
    let ids = admitted(&daemon, &["P1", "P2"]);
    daemon.accept("lis", report("L1", "20240305110000", "P2", "F2", "F", &[number("K", "4.0", "mmol/L", "", "", "F")]));
    let mut seen = daemon.feed().len();
    let merged = site.json(&["person", "merge", &ids[1], &ids[0], WHY, "--by", "zhang", "--json"]);
    assert_eq!((&merged["one_id"], &merged["other"]), (&json!(ids[0]), &json!(ids[1])));
    assert_eq!(merged["changed"], true);
    let events = news(&daemon, &mut seen);
    assert_eq!(column(&events, "type"), ["patient.merged", "visit.updated", "lab.resulted"]);
    assert!(events.iter().all(|event| event["subject"] == ids[0].as_str()), "{events:?}");
    let data = &events[0]["data"];
    assert_eq!((&data["retired"], &data["cause"]), (&json!([ids[1]]), &json!("manual")));
    assert_eq!(data["records"], json!({"visits": ["his:V-P2"], "lab_reports": ["lis:F2"]}));
    assert_eq!((&data["basis"]["by"], &data["basis"]["decision"]), (&json!("zhang"), &json!("merge")));

    let again = site.json(&["person", "merge", &ids[1], &ids[0], WHY, "--json"]);
    assert_eq!(again["changed"], false);
    assert_eq!(news(&daemon, &mut seen), Vec::<Value>::new(), "the same decision again tells nothing");

    let split = site.json(&["person", "split", &ids[1], "--reason=two patients after all", "--json"]);
    assert_eq!((&split["one_id"], &split["other"]), (&json!(ids[0]), &json!(ids[1])));
    let events = news(&daemon, &mut seen);
    assert_eq!(column(&events, "type"), ["patient.split", "patient.updated", "visit.updated", "lab.resulted"]);
    assert_eq!(events[0]["data"]["new_one_id"], ids[1].as_str());
    assert_eq!(events[0]["data"]["records"], json!({"visits": ["his:V-P2"], "lab_reports": ["lis:F2"]}));
    assert!(events[1..].iter().all(|event| event["data"]["one_id"] == ids[1].as_str()), "{events:?}");
    assert_eq!(daemon.json(&format!("/v1/persons/{}", ids[1]))["merged_into"], Value::Null);
    assert_eq!(column(&daemon.visits("HIS|P1"), "visit_id"), ["his:V-P1"]);
    assert_eq!(column(&daemon.visits("HIS|P2"), "visit_id"), ["his:V-P2"]);

    site.run(&["person", "split", &ids[1], WHY]).exits(0);
    assert_eq!(news(&daemon, &mut seen), Vec::<Value>::new());
    let history = site.json(&["person", "history", &ids[1], "--json"])["history"].to_string();
    assert!(history.contains("two patients after all") && history.contains("zhang"), "{history}");
    let links = site.run(&["person", "links", "--csv"]).exits(0).stdout;
    assert!(links.contains(&format!("HIS,P2,{},manual", ids[1])), "{links}");
}

#[test]
fn a_source_does_not_bring_together_what_was_split_by_hand() {
    let site = Site::new();
    let daemon = site.start();
    let ids = admitted(&daemon, &["P1", "P2"]);
    daemon.accept("his", merge("M1", "20240306080000", "P1", "P2"));
    assert_eq!(daemon.one_id("HIS|P2"), ids[0]);
    site.run(&["person", "split", &ids[1], WHY]).exits(0);
    assert_eq!(daemon.one_id("HIS|P2"), ids[1], "case 45: the old One ID lives again");
    let mut seen = daemon.feed().len();
    daemon.accept("his", merge("M2", "20240307080000", "P1", "P2"));
    assert_eq!((daemon.one_id("HIS|P1"), daemon.one_id("HIS|P2")), (ids[0].clone(), ids[1].clone()));
    assert!(of_type(&news(&daemon, &mut seen), "patient.merged").is_empty());
    let kept = site.messages(&["--control-id", "M2"]);
    let notes = site.json(&["message", "show", &kept[0]["id"].to_string(), "--json"])["notes"].to_string();
    assert!(notes.contains("decided so by hand"), "{notes}");
    // Whoever decided may decide otherwise.
    site.run(&["person", "merge", &ids[1], &ids[0], WHY]).exits(0);
    assert_eq!(daemon.one_id("HIS|P2"), ids[0]);
}

#[test]
fn case_46_in_the_middle_of_a_chain_only_that_step_is_undone() {
    let site = Site::new();
    let daemon = site.start();
    let ids = admitted(&daemon, &["P1", "P2", "P3"]);
    daemon.accept("his", merge("M1", "20240306080000", "P2", "P1"));
    daemon.accept("his", merge("M2", "20240307080000", "P3", "P2"));
    assert_eq!(daemon.one_id("HIS|P1"), ids[2]);
    site.run(&["person", "split", &ids[0], WHY]).exits(0);
    assert_eq!(
        [1, 2, 3].map(|place| daemon.one_id(&format!("HIS|P{place}"))),
        [&ids[0], &ids[2], &ids[2]].map(Clone::clone)
    );
    assert_eq!(daemon.json(&format!("/v1/persons/{}", ids[1]))["one_id"], ids[2].as_str(), "the later step stands");
    assert_eq!(column(&daemon.visits("HIS|P1"), "visit_id"), ["his:V-P1"]);
    // The number lives again as well.
    daemon.accept("his", adt("A31", "C9", "20240308080000", &[patient("P1")]));
    assert_eq!(daemon.one_id("HIS|P1"), ids[0]);
    let kept = site.messages(&["--control-id", "C9"]);
    let notes = site.json(&["message", "show", &kept[0]["id"].to_string(), "--json"])["notes"].to_string();
    assert!(!notes.contains("given up"), "{notes}");
}

#[test]
fn a_link_by_hand_stays_whatever_the_source_says_later() {
    let site = Site::new();
    let daemon = site.start();
    let ids = admitted(&daemon, &["P1", "P2"]);
    let at_lis = |id: &str, at: &str, birth: &str, order: u16| {
        let identifiers = format!("88^^^LIS^MR~{}^^^^NI", resident_number(birth, order));
        adt("A28", id, at, &[person("88", "钱^伟", birth, "M", &[(3, &identifiers)])])
    };
    daemon.accept("lis", at_lis("L1", "20240305090000", "19500101", 5));
    let own = daemon.one_id("LIS|88");
    let linked = site.json(&["person", "link", "LIS|88", &ids[0], WHY, "--json"]);
    assert_eq!(linked["records"], json!(["LIS|88"]));
    assert_eq!(daemon.one_id("LIS|88"), ids[0]);
    assert_eq!(daemon.json(&format!("/v1/persons/{own}"))["one_id"], ids[0].as_str(), "its One ID goes on answering");
    daemon.accept("lis", at_lis("L2", "20240306090000", "19600202", 7));
    assert_eq!(daemon.one_id("LIS|88"), ids[0], "case 48");
    assert_eq!(site.json(&["person", "link", "LIS|88", &ids[0], WHY, "--json"])["changed"], false);

    let mut seen = daemon.feed().len();
    site.run(&["person", "unlink", "LIS|88", WHY]).exits(0);
    assert_eq!(daemon.one_id("LIS|88"), own, "the One ID that it had lives again");
    assert_eq!(of_type(&news(&daemon, &mut seen), "patient.split").len(), 1);
    assert_eq!(site.json(&["person", "unlink", "LIS|88", WHY, "--json"])["changed"], false);

    // Away from one person to another: it is not the former one's, whatever is found.
    site.run(&["person", "link", "LIS|88", &ids[0], WHY]).exits(0);
    site.run(&["person", "link", "LIS|88", &ids[1], WHY]).exits(0);
    assert_eq!((daemon.one_id("LIS|88"), daemon.one_id("HIS|P1")), (ids[1].clone(), ids[0].clone()));
    daemon.accept("his", merge("M1", "20240307080000", "P1", "P2"));
    assert_ne!(daemon.one_id("HIS|P1"), daemon.one_id("LIS|88"));
}

#[test]
fn records_named_leave_together_and_what_was_merged_into_them_as_well() {
    let site = Site::new();
    let daemon = site.start();
    let ids = admitted(&daemon, &["P1", "P2", "P3"]);
    daemon.accept("his", merge("M1", "20240306080000", "P2", "P3"));
    daemon.accept("his", merge("M2", "20240307080000", "P1", "P2"));
    let split = site.json(&["person", "split", &ids[0], "HIS|P2", WHY, "--json"]);
    assert_eq!((&split["other"], &split["records"]), (&json!(ids[1]), &json!(["HIS|P2", "HIS|P3"])));
    assert_eq!((daemon.one_id("HIS|P2"), daemon.one_id("HIS|P3")), (ids[1].clone(), ids[1].clone()));
    assert_eq!(column(&daemon.visits("HIS|P1"), "visit_id"), ["his:V-P1"]);
}

#[test]
fn what_cannot_be_decided_is_refused_and_says_what_to_do() {
    let site = Site::new();
    let daemon = site.start();
    let ids = admitted(&daemon, &["P1", "P2", "P3"]);
    let refused = |arguments: &[&str], hint: &str| {
        let run = site.run(arguments).exits(1);
        assert!(run.stderr.contains(hint), "{arguments:?}: {}", run.stderr);
    };
    let nobody = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    refused(&["person", "merge", nobody, &ids[0], WHY], "person find");
    refused(&["person", "link", "HIS|P9", &ids[0], WHY], "SYSTEM|VALUE");
    refused(&["person", "split", &ids[0], WHY], "nothing is merged");
    refused(&["person", "split", &ids[0], "HIS|P2", WHY], "not of this One ID");
    refused(&["person", "split", &ids[0], "HIS|P1", WHY], "no record would be left");
    refused(&["person", "merge", &ids[1], &ids[0], "--reason= "], "say why");
    site.run(&["person", "merge", &ids[1], &ids[0]]).exits(2);
    for retired in [&ids[1], &ids[2]] {
        site.run(&["person", "merge", retired, &ids[0], WHY]).exits(0);
    }
    refused(&["person", "split", &ids[0], WHY], &ids[2]);
}

#[test]
fn records_staff_merge_and_split_over_http() {
    let site = Site::new();
    let daemon = site.start();
    let ids = admitted(&daemon, &["P1", "P2"]);
    let records = site.token("li", "records");
    let post = |token: &str, one_id: &str, verb: &str, body: Value| {
        daemon.http("POST", &format!("/v1/persons/{one_id}/{verb}"), token, body.to_string().as_bytes())
    };
    let merge = json!({"into": ids[0], "reason": "one patient"});
    post(site.engineer(), &ids[1], "merge", merge.clone()).problem(403);
    post(&records, &ids[1], "merge", json!({"into": ids[0]})).problem(400);
    post(&records, &ids[1], "merge", json!({"into": ids[0], "reason": ""})).problem(400);
    post(&records, "01ARZ3NDEKTSV4RRFFQ69G5FAV", "merge", merge.clone()).problem(404);
    assert_eq!(post(&records, &ids[1], "merge", merge).ok().json()["changed"], true);
    assert_eq!(daemon.one_id("HIS|P2"), ids[0]);
    let merged = daemon.feed().into_iter().find(|event| event["type"] == "patient.merged").unwrap();
    assert_eq!(merged["data"]["basis"]["by"], "li");
    post(&records, &ids[0], "split", json!({"records": ["HIS"], "reason": "two"})).problem(400);
    let refused = post(&records, &ids[0], "split", json!({"records": ["HIS|P9"], "reason": "two"})).problem(409);
    assert_eq!(refused["type"], "/problems/decision-refused");
    let split = post(&records, &ids[0], "split", json!({"records": ["HIS|P2"], "reason": "two"})).ok().json();
    assert_eq!((&split["other"], &split["records"]), (&json!(ids[1]), &json!(["HIS|P2"])));
    assert_eq!(daemon.one_id("HIS|P2"), ids[1]);
}
