//! A repeat makes nothing new and gets the same answer; the same number on other content is another message.

use serde_json::Value;

use crate::support::hl7::{admission_of_nobody, adt, inpatient, number, pid, registration, report};
use crate::support::site::Site;

fn admission(id: &str) -> String {
    adt("A01", id, "20240305103000", &[pid("P1", "张^伟"), inpatient("V1", "ICU^1^1", "20240305103000", "")])
}

#[test]
fn a_repeat_makes_no_event_and_gets_the_same_answer() {
    let site = Site::new();
    let daemon = site.start();
    let laboratory =
        report("L1", "20240305110000", "P1", "F1", "F", &[number("K", "6.8", "mmol/L", "3.5-5.5", "HH", "F")]);
    let nobody = admission_of_nobody("BAD");
    let messages = [("his", admission("C1")), ("lis", laboratory), ("his", nobody)];
    let first: Vec<_> = messages.iter().map(|(source, text)| daemon.send(source, text).verdict()).collect();
    let (feed, kept) = (daemon.feed(), site.messages(&[]).len());
    assert!(feed.len() >= 3, "{feed:?}");
    for _ in 0..3 {
        let again: Vec<_> = messages.iter().map(|(source, text)| daemon.send(source, text).verdict()).collect();
        assert_eq!(again, first);
    }
    assert_eq!(daemon.feed(), feed);
    assert_eq!(site.messages(&[]).len(), kept, "a repeat is not another message");
}

#[test]
fn a_repeat_after_a_restart_makes_no_event_either() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", admission("C1"));
    let feed = daemon.feed();
    daemon.kill();
    let daemon = site.start();
    daemon.accept("his", admission("C1"));
    assert_eq!(daemon.feed(), feed);
}

#[test]
fn a_repeat_on_the_same_connection_before_its_answer_makes_no_event() {
    let site = Site::new();
    let daemon = site.start();
    let mut connection = daemon.connect("his");
    let frame = crate::support::mllp::framed(admission("C1").as_bytes());
    connection.write(&frame.repeat(20));
    for _ in 0..20 {
        let answer = connection.answer();
        assert_eq!((answer.code(), answer.control_id()), ("AA", "C1"));
    }
    let types: Vec<Value> = daemon.feed().into_iter().map(|event| event["type"].clone()).collect();
    assert_eq!(types, ["patient.created", "visit.admitted"]);
}

#[test]
fn the_same_content_under_a_new_number_makes_no_event() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", admission("C1"));
    let feed = daemon.feed();
    daemon.accept("his", admission("C2"));
    assert_eq!(daemon.feed(), feed);
    assert_eq!(site.messages(&[]).len(), 2, "it is another message all the same");
}

#[test]
fn the_same_number_on_other_content_is_processed_and_flagged() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", registration("C1", "P1", "Zhang^Wei"));
    daemon.accept("his", registration("C1", "P2", "Li^Na"));
    assert_eq!(daemon.person("HIS|P2")["family_name"], "Li");
    let kept = site.messages(&[]);
    assert_eq!(kept.len(), 2);
    let flagged = kept.iter().filter(|message| message["same_control_id"] == true).count();
    assert_eq!(flagged, 1, "{kept:?}");
}

#[test]
fn the_same_number_from_another_source_is_no_repeat() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", registration("C1", "P1", "Zhang^Wei"));
    daemon.accept("lis", registration("C1", "P1", "Zhang^Wei"));
    let kept = site.messages(&[]);
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|message| message["same_control_id"] != true), "{kept:?}");
}
