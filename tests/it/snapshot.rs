//! The snapshot is the current state row by row, and the feed goes on from the cursor that it gives.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::daemon::{Daemon, record_of};
use crate::support::hl7::{adt, inpatient, number, pid, registration, report};
use crate::support::site::{Site, configuration};

type Records = BTreeMap<(String, String), Value>;

/// All pages, with the cursor of each, which is the same for all; `between` is called after each page.
fn pages(daemon: &Daemon<'_>, token: &str, limit: usize, mut between: impl FnMut()) -> (Records, String) {
    let (mut records, mut after, mut cursor) = (Records::new(), String::new(), None);
    loop {
        let page = daemon.get(&format!("/v1/feed/snapshot?limit={limit}{after}"), token).ok().json();
        let rows = page["records"].as_array().unwrap();
        assert!(rows.len() <= limit);
        for row in rows {
            assert_eq!(row["version"], row["record"]["version"], "{row}");
            assert_eq!(row["one_id"], row["record"]["one_id"], "{row}");
            let name = (row["kind"].as_str().unwrap().to_owned(), row["id"].as_str().unwrap().to_owned());
            assert!(records.insert(name, row["record"].clone()).is_none(), "a row came twice: {row}");
        }
        assert_eq!(cursor.get_or_insert_with(|| page["cursor"].clone()), &page["cursor"]);
        between();
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return (records, cursor.unwrap().as_str().unwrap().to_owned()),
        }
    }
}

fn fill(daemon: &Daemon<'_>, from: usize, to: usize) {
    for index in from..to {
        let (patient, visit) = (format!("P{index}"), format!("V{index}"));
        let segments = [pid(&patient, "张^伟"), inpatient(&visit, "ICU^1^1", "20240305103000", "")];
        daemon.accept("his", adt("A01", &format!("A{index}"), "20240305103000", &segments));
        let results = [number("K", "4.1", "mmol/L", "3.5-5.3", "N", "F")];
        daemon.accept(
            "lis",
            report(&format!("L{index}"), "20240305110000", &patient, &format!("F{index}"), "F", &results),
        );
    }
}

#[test]
fn a_snapshot_in_pages_of_any_size_is_the_state_that_the_events_end_with() {
    let site = Site::new();
    let daemon = site.start();
    fill(&daemon, 0, 7);
    let mut newest = Records::new();
    for event in daemon.feed() {
        let mut data = event["data"].clone();
        let fields = data.as_object_mut().unwrap();
        for envelope in ["changed", "cause"] {
            fields.remove(envelope);
        }
        newest.insert(record_of(&event), data);
    }
    for limit in [1, 3, 7, 100] {
        assert_eq!(pages(&daemon, site.consumer(), limit, || ()).0, newest, "limit {limit}");
    }
    let printed = site.run(&["feed", "snapshot"]).exits(0).stdout;
    assert_eq!(printed.lines().count(), newest.len() + 1);
    let last: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    assert_eq!(last["cursor"], pages(&daemon, site.consumer(), 100, || ()).1);
}

#[test]
fn nothing_is_missed_between_a_snapshot_and_the_feed_while_messages_come() {
    let site = Site::new();
    let daemon = site.start();
    fill(&daemon, 0, 4);
    let mut next = 4;
    let (mut held, cursor) = pages(&daemon, site.consumer(), 2, || {
        if next < 9 {
            // A new patient, and a change of the first, whose page is long past.
            fill(&daemon, next, next + 1);
            daemon.accept("his", registration(&format!("R{next}"), "P0", &format!("张^伟{next}")));
            next += 1;
        }
    });
    for event in daemon.feed_after(&cursor).0 {
        let data = &event["data"];
        let entry = held.entry(record_of(&event)).or_insert(Value::Null);
        if data["version"].as_u64() > entry["version"].as_u64() {
            *entry = data.clone();
            entry.as_object_mut().unwrap().retain(|name, _| name != "changed" && name != "cause");
        }
    }
    assert_eq!(held, pages(&daemon, site.consumer(), 1000, || ()).0);
}

#[test]
fn a_consumer_of_visits_gets_no_persons_and_no_reports() {
    let site = Site::configured(&configuration("", "[[consumers]]\nname = \"crm\"\nevents = [\"visit.*\"]\n"));
    let daemon = site.start();
    fill(&daemon, 0, 2);
    let kinds: Vec<String> = pages(&daemon, site.consumer(), 10, || ()).0.into_keys().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["visit", "visit"]);
}

#[test]
fn a_key_that_leads_nowhere_is_refused() {
    let site = Site::new();
    let daemon = site.start();
    fill(&daemon, 0, 1);
    for path in ["snapshot", "reconcile"] {
        let ask = |after: &str| daemon.get(&format!("/v1/feed/{path}?after={after}"), site.consumer());
        assert_eq!(ask("17").problem(400)["parameter"], "after");
        ask("1-000000000001.bed.4").problem(400);
        ask("1-999999999999.visit.0").problem(400);
        ask("2-000000000001.visit.0").problem(409);
        daemon.get(&format!("/v1/feed/{path}"), site.engineer()).problem(403);
    }
}
