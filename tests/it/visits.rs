//! Late, repeated, out of order, corrected: a visit ends in the same state, and the feed says what happened to it.

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, column};
use crate::support::hl7::{adt, inpatient, message, person, pid, segment};
use crate::support::orders;
use crate::support::site::Site;

const ADMITTED: &str = "20240305103000";
const DISCHARGED: &str = "20240309160000";

/// One movement of the stay `V1` of patient `P1`.
struct Movement {
    trigger: &'static str,
    at: &'static str,
    place: &'static str,
    ended: &'static str,
}

const ADMISSION: Movement = Movement { trigger: "A01", at: ADMITTED, place: "心内科^301^1", ended: "" };
const TRANSFER: Movement = Movement { trigger: "A02", at: "20240306090000", place: "ICU^1^2", ended: "" };
const UPDATE: Movement = Movement { trigger: "A08", at: "20240308120000", place: "", ended: "" };
const DISCHARGE: Movement = Movement { trigger: "A03", at: "20240309161500", place: "", ended: DISCHARGED };
const UNDONE: Movement = Movement { trigger: "A13", at: "20240309180000", place: "", ended: "" };
const CANCELLED: Movement = Movement { trigger: "A11", at: "20240305120000", place: "", ended: "" };
const TRANSFER_UNDONE: Movement = Movement { trigger: "A12", at: "20240306100000", place: "", ended: "" };
const DELETED: Movement = Movement { trigger: "A23", at: "20240310080000", place: "", ended: "" };

impl Movement {
    fn message(&self, id: &str, patient: &str, visit: &str) -> String {
        adt(self.trigger, id, self.at, &[pid(patient, "张^伟"), inpatient(visit, self.place, ADMITTED, self.ended)])
    }
}

/// Sends `movements` in this order and gives the visit and the events about it, oldest first.
fn after(movements: &[&Movement]) -> (Value, Vec<Value>) {
    let site = Site::new();
    let daemon = site.start();
    for (index, movement) in movements.iter().enumerate() {
        daemon.accept("his", movement.message(&format!("C{index}"), "P1", "V1"));
    }
    (daemon.visit("HIS|P1"), visit_events(&daemon))
}

fn visit_events(daemon: &Daemon<'_>) -> Vec<Value> {
    daemon.feed().into_iter().filter(|event| event["type"].as_str().unwrap().starts_with("visit.")).collect()
}

#[test]
fn a_stay_in_its_order() {
    let (visit, events) = after(&[&ADMISSION, &TRANSFER, &UPDATE, &DISCHARGE]);
    assert_eq!(visit["visit_id"], "his:V1");
    assert_eq!((visit["class"].as_str(), visit["status"].as_str()), (Some("inpatient"), Some("finished")));
    assert_eq!(visit["started_at"], "2024-03-05T10:30:00+08:00");
    assert_eq!(visit["ended_at"], "2024-03-09T16:00:00+08:00");
    assert_eq!((&visit["ward"], &visit["room"], &visit["bed"]), (&json!("ICU"), &json!("1"), &json!("2")));
    let types = column(&events, "type");
    assert_eq!(types.first(), Some(&"visit.admitted"));
    assert_eq!(types[1], "visit.transferred");
    assert_eq!(types.last(), Some(&"visit.discharged"));
}

#[test]
fn a_discharge_before_its_admission_with_an_update_and_its_cancellation_after_ends_right() {
    let (visit, events) = after(&[&DISCHARGE, &ADMISSION, &UPDATE, &UNDONE]);
    assert_eq!(visit["status"], "in_progress", "{visit}");
    assert_eq!(visit["started_at"], "2024-03-05T10:30:00+08:00");
    assert_eq!(visit.get("ended_at"), None, "{visit}");
    assert_eq!(visit["ward"], "心内科", "the late admission fills what was missing");
    let discharge = events.iter().find(|event| event["type"] == "visit.discharged").expect("a discharge");
    let undone = events.last().unwrap();
    assert_eq!(undone["type"], "visit.updated");
    assert_eq!(undone["data"]["reverses"]["id"], discharge["id"], "{undone}");
}

#[test]
fn a_late_admission_does_not_reopen_a_discharged_visit() {
    let (visit, events) = after(&[&DISCHARGE, &ADMISSION]);
    assert_eq!((visit["status"].as_str(), visit["ward"].as_str()), (Some("finished"), Some("心内科")));
    assert_eq!(visit["ended_at"], "2024-03-09T16:00:00+08:00");
    assert_eq!(column(&events, "type"), ["visit.discharged", "visit.updated"]);
}

#[test]
fn an_update_never_changes_a_status() {
    let planned = Movement { trigger: "A05", at: "20240304080000", place: "", ended: "" };
    let late_update = Movement { at: "20240310090000", ..UPDATE };
    for (movements, status) in [
        (vec![&planned], "planned"),
        (vec![&ADMISSION], "in_progress"),
        (vec![&ADMISSION, &CANCELLED], "cancelled"),
        (vec![&ADMISSION, &DISCHARGE], "finished"),
        (vec![&ADMISSION, &DISCHARGE, &UNDONE], "in_progress"),
    ] {
        let (before, _) = after(&movements);
        assert_eq!(before["status"], status);
        let (updated, _) = after(&[movements.as_slice(), &[&late_update]].concat());
        assert_eq!((&updated["status"], updated.get("ended_at")), (&before["status"], before.get("ended_at")));
    }
}

#[test]
fn a_cancelled_admission_names_the_event_that_it_takes_back() {
    let (visit, events) = after(&[&ADMISSION, &CANCELLED]);
    assert_eq!(visit["status"], "cancelled");
    assert_eq!(column(&events, "type"), ["visit.admitted", "visit.cancelled"]);
    assert_eq!(events[1]["data"]["reverses"]["id"], events[0]["id"], "{}", events[1]);
}

#[test]
fn a_cancelled_transfer_puts_the_patient_back() {
    let (visit, events) = after(&[&ADMISSION, &TRANSFER, &TRANSFER_UNDONE]);
    assert_eq!((&visit["ward"], &visit["room"], &visit["bed"]), (&json!("心内科"), &json!("301"), &json!("1")));
    assert_eq!(visit["status"], "in_progress");
    assert_eq!(events[2]["data"]["reverses"]["id"], events[1]["id"], "{}", events[2]);
}

#[test]
fn a_deleted_visit_is_not_revived_by_an_update() {
    let late_update = Movement { at: "20240311080000", ..UPDATE };
    let (visit, _) = after(&[&ADMISSION, &DELETED, &late_update]);
    assert_eq!(visit["status"], "entered_in_error", "{visit}");
}

#[test]
fn every_order_of_a_stay_ends_in_the_same_visit() {
    let movements = [&ADMISSION, &TRANSFER, &UPDATE, &DISCHARGE, &UNDONE];
    let all = orders(movements.len());
    assert_eq!(all.len(), 120);
    let site = Site::new();
    let daemon = site.start();
    let mut connection = daemon.connect("his");
    for (stay, order) in all.iter().enumerate() {
        for &index in order {
            let text = movements[index].message(&format!("C{stay}-{index}"), &format!("P{stay}"), &format!("V{stay}"));
            assert_eq!(connection.ask(text).code(), "AA");
        }
    }
    let visit_after = |stay: usize| {
        let mut visit = daemon.visit(&format!("HIS|P{stay}"));
        for own in ["visit_id", "number", "one_id", "version"] {
            visit.as_object_mut().unwrap().remove(own);
        }
        visit
    };
    let expected = visit_after(0);
    assert_eq!((expected["status"].as_str(), expected["ward"].as_str()), (Some("in_progress"), Some("ICU")));
    for (stay, order) in all.iter().enumerate() {
        assert_eq!(visit_after(stay), expected, "order {order:?}");
    }
}

#[test]
fn an_outpatient_arrives_and_completes() {
    let site = Site::new();
    let daemon = site.start();
    let visit = |trigger: &str, id: &str, at: &str, ended: &str| {
        let pv1 = segment("PV1", &[(2, "O"), (3, "门诊^12"), (19, "O1"), (44, "20240305083000"), (45, ended)]);
        adt(trigger, id, at, &[pid("P1", "张^伟"), pv1])
    };
    daemon.accept("his", visit("A04", "C1", "20240305083000", ""));
    assert_eq!(daemon.visit("HIS|P1")["class"], "outpatient");
    daemon.accept("his", visit("A03", "C2", "20240305093000", "20240305093000"));
    assert_eq!(daemon.visit("HIS|P1")["status"], "finished");
    assert_eq!(column(&visit_events(&daemon), "type"), ["visit.arrived", "visit.completed"]);
}

/// An SIU message about appointment `A1` of patient `P1` at `time`.
fn appointment(trigger: &str, id: &str, at: &str, number: &str, time: &str) -> String {
    let timing = format!("^^^{time}");
    message(
        &format!("SIU^{trigger}"),
        id,
        at,
        &[
            segment("SCH", &[(1, number), (2, number), (11, &timing), (25, "")]),
            pid("P1", "张^伟"),
            segment("RGS", &[(1, "1")]),
            segment("AIS", &[(1, "1"), (3, "随访"), (4, time)]),
        ],
    )
}

#[test]
fn appointments_are_made_moved_cancelled_and_missed() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", appointment("S12", "C1", "20240301090000", "A1", "20240310090000"));
    let visit = daemon.visit("HIS|P1");
    assert_eq!(
        (visit["status"].as_str(), visit["scheduled_at"].as_str()),
        (Some("planned"), Some("2024-03-10T09:00:00+08:00"))
    );
    daemon.accept("his", appointment("S13", "C2", "20240302090000", "A1", "20240312140000"));
    assert_eq!(daemon.visit("HIS|P1")["scheduled_at"], "2024-03-12T14:00:00+08:00");
    daemon.accept("his", appointment("S15", "C3", "20240303090000", "A1", "20240312140000"));
    assert_eq!(daemon.visit("HIS|P1")["status"], "cancelled");
    daemon.accept("his", appointment("S12", "C4", "20240301090000", "A2", "20240311090000"));
    daemon.accept("his", appointment("S26", "C5", "20240311120000", "A2", "20240311090000"));
    let types = visit_events(&daemon);
    let expected = ["visit.scheduled", "visit.rescheduled", "visit.cancelled", "visit.scheduled", "visit.no_show"];
    assert_eq!(column(&types, "type"), expected);
}

#[test]
fn an_empty_field_leaves_and_two_quotes_delete() {
    let site = Site::new();
    let daemon = site.start();
    let update = |id: &str, at: &str, more: &[(usize, &str)]| {
        daemon.accept("his", adt("A31", id, at, &[person("P1", "张^伟", "19800102", "M", more)]));
    };
    update("C1", "20240305080000", &[(13, "13900000001"), (16, "M"), (22, "汉族")]);
    let first = daemon.person("HIS|P1");
    assert_eq!(first["phones"][0]["value"], "13900000001", "{first}");
    assert!(first["marital_status"].is_string() && first["ethnicity"].is_string(), "{first}");
    update("C2", "20240306080000", &[(13, "\"\""), (16, "")]);
    let second = daemon.person("HIS|P1");
    assert!(second.get("phones").is_none_or(|phones| phones == &json!([])), "deleted: {second}");
    assert_eq!((&second["marital_status"], &second["ethnicity"]), (&first["marital_status"], &first["ethnicity"]));
    // An older message that comes late does not bring back what was deleted.
    update("C3", "20240305200000", &[(13, "13900000002")]);
    let third = daemon.person("HIS|P1");
    assert!(third.get("phones").is_none_or(|phones| phones == &json!([])), "still deleted: {third}");
}

#[test]
fn an_older_message_that_comes_late_fills_and_never_turns_back() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept(
        "his",
        adt("A31", "C1", "20240310080000", &[person("P1", "张^伟", "19800102", "M", &[(13, "13900000002")])]),
    );
    let old = person("P1", "张^小伟", "19800103", "M", &[(13, "13900000001"), (22, "汉族")]);
    daemon.accept("his", adt("A31", "C2", "20240301080000", &[old]));
    let found = daemon.person("HIS|P1");
    assert_eq!((found["name"].as_str(), found["birth_date"].as_str()), (Some("张伟"), Some("1980-01-02")));
    assert_eq!(found["phones"][0]["value"], "13900000002");
    assert!(found["ethnicity"].is_string(), "{found}");
}
