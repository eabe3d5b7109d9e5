//! Frames arrive split, glued, pipelined and damaged; each is answered once, in order, and no peer harms another.

use std::time::Duration;

use serde_json::Value;

use crate::support::hl7::{registration, report, segment};
use crate::support::mllp::{Mllp, Received, framed};
use crate::support::site::{Site, configuration};
use crate::support::{PATIENCE, eventually};

fn control_ids(connection: &mut Mllp, count: usize) -> Vec<String> {
    (0..count).map(|_| connection.answer().control_id().to_owned()).collect()
}

#[test]
fn a_frame_may_come_byte_by_byte() {
    let site = Site::new();
    let daemon = site.start();
    let mut connection = daemon.connect("his");
    for byte in framed(registration("C1", "P1", "张^伟").as_bytes()) {
        connection.write(&[byte]);
    }
    assert_eq!(connection.answer().code(), "AA");
    assert_eq!(daemon.person("HIS|P1")["name"], "张伟");
}

#[test]
fn glued_frames_are_answered_each_in_order() {
    let site = Site::new();
    let daemon = site.start();
    let mut connection = daemon.connect("his");
    let ids: Vec<String> = (0..100).map(|index| format!("C{index}")).collect();
    // Sizes differ by a factor of a hundred, so that work finishes in another order than it came.
    let frames: Vec<u8> = ids
        .iter()
        .enumerate()
        .flat_map(|(index, id)| framed(registration(id, id, &"王".repeat(1 + (index % 5) * 50)).as_bytes()))
        .collect();
    connection.write(&frames);
    assert_eq!(control_ids(&mut connection, ids.len()), ids);
    connection.finish_writing();
    assert_eq!(connection.receive(PATIENCE), Received::Closed, "and no answer more");
}

#[test]
fn junk_before_a_frame_is_passed_over_and_counted() {
    let site = Site::new();
    let daemon = site.start();
    let mut connection = daemon.connect("his");
    connection.write(b"\r\n\r\nhello\r\n");
    assert_eq!(connection.ask(registration("C1", "P1", "Zhang^Wei")).control_id(), "C1");
    connection.write(b"\x1c\r\x1c\r");
    assert_eq!(connection.ask(registration("C2", "P2", "Li^Na")).control_id(), "C2");
    let metrics = daemon.get("/metrics", site.engineer()).ok().text();
    let junk: f64 = metrics
        .lines()
        .filter(|line| line.contains("junk") && !line.starts_with('#'))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    assert!(junk > 0.0, "junk bytes are counted:\n{metrics}");
}

#[test]
fn a_missing_carriage_return_after_the_end_is_not_waited_for() {
    let site = Site::new();
    let daemon = site.start();
    let mut connection = daemon.connect("his");
    for id in ["C1", "C2"] {
        let frame = framed(registration(id, id, "Zhang^Wei").as_bytes());
        connection.write(&frame[..frame.len() - 1]);
        assert_eq!(connection.answer().control_id(), id);
    }
}

#[test]
fn a_frame_cut_by_the_next_one_does_not_swallow_it() {
    let site = Site::new();
    let daemon = site.start();
    let mut connection = daemon.connect("his");
    let cut = framed(registration("CUT", "P1", "Zhang^Wei").as_bytes());
    connection.write(&cut[..60]);
    connection.write(&framed(registration("C2", "P2", "Li^Na").as_bytes()));
    connection.finish_writing();
    let mut ids = Vec::new();
    while let Received::Frame(content) = connection.receive(PATIENCE) {
        ids.push(crate::support::hl7::Ack::parse(&content).control_id().to_owned());
    }
    assert_eq!(ids.last().map(String::as_str), Some("C2"), "{ids:?}");
    assert_eq!(daemon.person("HIS|P2")["family_name"], "Li");
}

#[test]
fn answers_come_although_the_sender_has_finished_writing() {
    let site = Site::new();
    let daemon = site.start();
    let mut connection = daemon.connect("his");
    connection.write(&framed(registration("C1", "P1", "Zhang^Wei").as_bytes()));
    connection.write(&framed(registration("C2", "P2", "Li^Na").as_bytes()));
    connection.finish_writing();
    assert_eq!(control_ids(&mut connection, 2), ["C1", "C2"]);
    assert_eq!(connection.receive(PATIENCE), Received::Closed);
}

#[test]
fn a_peer_that_leaves_in_the_middle_of_a_frame_harms_nobody() {
    let site = Site::new();
    let daemon = site.start();
    let frame = framed(registration("HALF", "P1", "Zhang^Wei").as_bytes());
    let mut leaver = daemon.connect("his");
    leaver.write(&frame[..frame.len() / 2]);
    drop(leaver);
    daemon.accept("his", registration("C1", "P2", "Li^Na"));
    assert_eq!(daemon.feed().len(), 1, "half a message changes nothing");
}

#[test]
fn an_idle_connection_is_closed_and_an_active_one_is_not() {
    let site = Site::configured(&configuration(r#", idle_timeout = "3s""#, ""));
    let daemon = site.start();
    let mut idle = daemon.connect("his");
    let mut active = daemon.connect("his");
    let mut count = 0;
    eventually("the idle connection to be closed", || {
        count += 1;
        let answer = active.ask(registration(&format!("C{count}"), "P1", &format!("Zhang^Wei{count}")));
        assert_eq!(answer.code(), "AA", "the active one is there as long");
        (idle.receive(Duration::from_millis(500)) == Received::Closed).then_some(())
    });
    assert_eq!(active.ask(registration("LAST", "P1", "Zhang^Wei")).code(), "AA");
}

#[test]
fn connections_over_the_limit_are_closed_and_a_free_place_is_given_again() {
    let site = Site::configured(&configuration(", max_connections = 2", ""));
    let daemon = site.start();
    let mut first = daemon.connect("his");
    let mut second = daemon.connect("his");
    assert_eq!(first.ask(registration("C1", "P1", "Zhang^Wei")).code(), "AA");
    assert_eq!(second.ask(registration("C2", "P2", "Li^Na")).code(), "AA");
    let mut third = daemon.connect("his");
    assert_eq!(third.receive(PATIENCE), Received::Closed);
    assert_eq!(first.ask(registration("C3", "P3", "Wang^Fang")).code(), "AA");
    drop(second);
    let mut again = eventually("a free place", || {
        let mut candidate = daemon.connect("his");
        candidate.try_write(&framed(registration("C4", "P4", "Zhao^Min").as_bytes())).ok()?;
        matches!(candidate.receive(Duration::from_secs(2)), Received::Frame(_)).then_some(candidate)
    });
    assert_eq!(again.ask(registration("C5", "P5", "Sun^Li")).code(), "AA");
}

#[test]
fn a_peer_outside_the_allow_list_gets_no_word() {
    let site = Site::configured(&configuration(r#", allow = ["192.0.2.0/24"]"#, ""));
    let daemon = site.start();
    let mut refused = daemon.connect("his");
    // Written before the close is noticed: the write may work, an answer may not come.
    drop(refused.try_write(&framed(registration("C1", "P1", "Zhang^Wei").as_bytes())));
    assert_eq!(refused.receive(PATIENCE), Received::Closed);
    daemon.accept("lis", registration("C2", "P2", "Li^Na"));
    assert_eq!(site.messages(&[]).len(), 1);
}

#[test]
fn a_large_document_is_taken_and_others_are_answered_meanwhile() {
    let site = Site::new();
    let daemon = site.start();
    let document = "QUJD".repeat(2 << 20);
    let embedded =
        segment("OBX", &[(2, "ED"), (3, "PDF^报告^L"), (5, &format!("^AP^PDF^Base64^{document}")), (11, "F")]);
    let large = report("BIG", "20240305110000", "P1", "F1", "F", &[embedded]);
    assert!(large.len() > 8 << 20);
    let mut sender = daemon.connect("lis");
    let frame = framed(large.as_bytes());
    let (most, end) = frame.split_at(frame.len() - 10);
    sender.write(most);
    daemon.accept("his", registration("C1", "P2", "Li^Na"));
    sender.write(end);
    daemon.accept("his", registration("C2", "P3", "Wang^Fang"));
    let answer = sender.answer();
    assert_eq!((answer.code(), answer.control_id()), ("AA", "BIG"), "{}", answer.text());
    assert_eq!(daemon.lab_reports("HIS|P1").len(), 1);
}

#[test]
fn a_frame_of_too_many_messages_is_refused_as_one() {
    let site = Site::new();
    let daemon = site.start();
    let mut connection = daemon.connect("his");
    let first = registration("FIRST", "P1", "Zhang^Wei");
    connection.write(&framed(format!("{first}{}", "MSH|^\r".repeat(1_000)).as_bytes()));
    let answer = connection.answer();
    assert_eq!((answer.code(), answer.control_id()), ("AR", "FIRST"), "{}", answer.text());
    assert!(answer.text().contains("1001 messages, the limit is 1000"), "{}", answer.text());
    assert_eq!(connection.ask(registration("C2", "P2", "Li^Na")).control_id(), "C2", "and no answer between");
    let failed = site.messages(&["--state", "failed"]);
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0]["control_id"], "FIRST");
    let thousand: String = (0..1_000).map(|index| registration(&format!("T{index}"), "P3", "Wang^Fang")).collect();
    connection.write(&framed(thousand.as_bytes()));
    let ids = control_ids(&mut connection, 1_000);
    assert!(ids.iter().enumerate().all(|(index, id)| *id == format!("T{index}")), "as many are taken, in order");
}

#[test]
fn a_silent_and_a_slow_peer_do_not_hold_up_the_others() {
    let site = Site::new();
    let daemon = site.start();
    let frame = framed(registration("SLOW", "P0", "Zhang^Wei").as_bytes());
    let mut slow: Vec<Mllp> = (0..40).map(|_| daemon.connect("his")).collect();
    for connection in &mut slow {
        connection.write(&frame[..20]);
    }
    // One that never reads its answers.
    let mut deaf = daemon.connect("his");
    let flood: Vec<u8> =
        (0..200).flat_map(|index| framed(registration(&format!("D{index}"), "PD", "Li^Na").as_bytes())).collect();
    deaf.write(&flood);
    daemon.accept("his", registration("C1", "P1", "Wang^Fang"));
    daemon.accept("lis", registration("C2", "P2", "Zhao^Min"));
    for connection in &mut slow {
        connection.write(&frame[20..]);
        assert_eq!(connection.answer().control_id(), "SLOW");
    }
    let created: Vec<Value> = daemon.feed().into_iter().filter(|event| event["type"] == "patient.created").collect();
    assert_eq!(created.len(), 4, "P0 once although sent forty times, PD, P1 and P2");
}
