//! One ordered log: pages, long poll, committed cursors, filters; no gap, no double, versions in step.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, column};
use crate::support::eventually;
use crate::support::hl7::{admission_of_nobody, adt, inpatient, number, pid, registration, report};
use crate::support::http::request;
use crate::support::site::{Site, configuration};

/// Sends `count` registrations: one event each.
fn register(daemon: &Daemon<'_>, prefix: &str, count: usize) {
    let mut connection = daemon.connect("his");
    for index in 0..count {
        let id = format!("{prefix}{index}");
        assert_eq!(connection.ask(registration(&id, &id, "张^伟")).code(), "AA");
    }
}

fn page(daemon: &Daemon<'_>, query: &str) -> Value {
    daemon.get(&format!("/v1/feed?{query}"), daemon.site.consumer()).ok().json()
}

fn sequences(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["sequence"].as_str().unwrap().parse().unwrap()).collect()
}

#[test]
fn pages_follow_one_another_without_gap_or_double() {
    let site = Site::new();
    let daemon = site.start();
    register(&daemon, "P", 25);
    for limit in [1, 7, 25, 100] {
        let mut seen = Vec::new();
        let mut cursor = "start".to_owned();
        loop {
            let page = page(&daemon, &format!("after={cursor}&limit={limit}"));
            let events = page["events"].as_array().unwrap();
            assert!(events.len() <= limit);
            seen.extend(sequences(events));
            assert_eq!(page["head"], "1-000000000025");
            if events.is_empty() {
                assert_eq!(page["next"], cursor.as_str(), "nothing new: the cursor stays");
                break;
            }
            cursor = page["next"].as_str().unwrap().to_owned();
            assert_eq!(cursor, format!("1-{:012}", seen.last().unwrap()));
        }
        assert_eq!(seen, (1..=25).collect::<Vec<u64>>(), "limit {limit}");
    }
    let page = page(&daemon, "after=head");
    assert_eq!((page["events"].as_array().unwrap().len(), page["next"].as_str()), (0, Some("1-000000000025")));
}

#[test]
fn every_event_is_a_complete_cloud_event() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept(
        "his",
        adt("A01", "C1", "20240305103000", &[pid("P1", "张^伟"), inpatient("V1", "ICU^1^1", "20240305103000", "")]),
    );
    daemon.accept(
        "lis",
        report("L1", "20240305110000", "P1", "F1", "F", &[number("K", "6.8", "mmol/L", "3.5-5.3", "HH", "F")]),
    );
    let events = daemon.feed();
    let expected = ["patient.created", "visit.admitted", "lab.resulted", "lab.critical"];
    let types = column(&events, "type");
    assert!(expected.iter().all(|kind| types.contains(kind)), "{types:?}");
    for event in &events {
        assert_eq!(
            (event["specversion"].as_str(), event["datacontenttype"].as_str()),
            (Some("1.0"), Some("application/json"))
        );
        let kind = event["type"].as_str().unwrap();
        let from_laboratory = event["source"] == "heyi/lis";
        assert!(from_laboratory || event["source"] == "heyi/his", "{event}");
        assert_eq!(from_laboratory, kind.starts_with("lab.") || kind == "patient.updated", "{event}");
        assert_eq!(event["sequence"].as_str().map(str::len), Some(12));
        assert_eq!(event["id"].as_str().map(str::len), Some(26));
        let time: jiff::Timestamp = event["time"].as_str().unwrap().parse().expect("RFC 3339");
        assert_eq!(time.to_string(), if from_laboratory { "2024-03-05T03:00:00Z" } else { "2024-03-05T02:30:00Z" });
        assert_eq!(
            (event["data"]["cause"].as_str(), event["data"]["one_id"].is_string()),
            (Some("message"), true),
            "{event}"
        );
        let changed = event["data"]["changed"].as_array().unwrap();
        assert!(changed.iter().all(Value::is_string) && !changed.is_empty(), "{event}");
        // The schema that the event names describes every field of its data.
        let schema = daemon.json(event["dataschema"].as_str().unwrap());
        for field in event["data"].as_object().unwrap().keys() {
            assert!(schema["properties"].get(field).is_some(), "{field} is not in {}", event["dataschema"]);
        }
    }
}

#[test]
fn sequences_have_no_holes_and_versions_count_by_record() {
    let site = Site::new();
    let daemon = site.start();
    let mut connections = [daemon.connect("his"), daemon.connect("his"), daemon.connect("lis")];
    for step in 0..40 {
        let patient = format!("P{}", step % 4);
        let at = format!("202403{:02}{:02}0000", 1 + step / 20, step % 20);
        let place = format!("W{}^{}^1", step / 8, step);
        let id = format!("C{step}");
        let trigger = if step < 4 { "A01" } else { "A02" };
        let visit = inpatient(&format!("V{}", step % 4), &place, "20240301000000", "");
        assert_eq!(connections[step % 2].ask(adt(trigger, &id, &at, &[pid(&patient, "张^伟"), visit])).code(), "AA");
        // Bad ones in between take nothing from the numbering.
        assert_ne!(connections[step % 2].ask(admission_of_nobody(&format!("B{step}"))).code(), "AA");
        let results = [number("K", &format!("{}.5", step), "mmol/L", "", "", "C")];
        let text = report(&format!("L{step}"), &at, &patient, &format!("F{}", step % 4), "C", &results);
        assert_eq!(connections[2].ask(text).code(), "AA");
    }
    let events = daemon.feed();
    assert_eq!(sequences(&events), (1..=events.len() as u64).collect::<Vec<_>>());
    let ids: BTreeSet<&str> = column(&events, "id").into_iter().collect();
    assert_eq!(ids.len(), events.len(), "an id is used once");
    let mut versions: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for event in &events {
        let data = &event["data"];
        let record = ["report_id", "visit_id", "one_id"].iter().find_map(|key| data[*key].as_str()).unwrap();
        versions.entry(record.to_owned()).or_default().push(data["version"].as_u64().expect("a version"));
    }
    assert_eq!(versions.len(), 12, "{versions:?}");
    for (record, seen) in versions {
        assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>(), "{record}");
    }
}

#[test]
fn a_long_poll_wakes_when_an_event_comes_and_ends_when_none_does() {
    let site = Site::new();
    let daemon = site.start();
    register(&daemon, "P", 1);
    let empty = page(&daemon, "after=head&wait=1");
    assert_eq!(empty["events"], json!([]));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| page(&daemon, "after=head&wait=30"));
        // The poll's connection and that of the question.
        eventually("the poll to arrive", || {
            let metrics = daemon.get("/metrics", site.engineer()).ok().text();
            metrics.contains("heyi_http_connections_open 2\n").then_some(())
        });
        register(&daemon, "Q", 1);
        // Long before the poll would end by itself.
        eventually("the poll to wake", || waiting.is_finished().then_some(()));
        assert_eq!(waiting.join().unwrap()["events"].as_array().unwrap().len(), 1);
    });
}

#[test]
fn a_consumer_goes_on_from_its_committed_cursor_and_may_replay() {
    let site = Site::new();
    let daemon = site.start();
    register(&daemon, "P", 10);
    let token = site.consumer();
    let commit =
        |cursor: &str| daemon.http("PUT", "/v1/feed/cursor", token, json!({"cursor": cursor}).to_string().as_bytes());
    assert_eq!(
        sequences(page(&daemon, "limit=3")["events"].as_array().unwrap()),
        [1, 2, 3],
        "none committed: from the start"
    );
    assert_eq!(sequences(page(&daemon, "limit=3")["events"].as_array().unwrap()), [1, 2, 3], "reading commits nothing");
    assert!((200..300).contains(&commit("1-000000000003").status));
    assert_eq!(daemon.get("/v1/feed/cursor", token).ok().json()["cursor"], "1-000000000003");
    assert_eq!(sequences(page(&daemon, "limit=2")["events"].as_array().unwrap()), [4, 5]);
    drop(daemon);
    let daemon = site.start();
    assert_eq!(sequences(page(&daemon, "limit=2")["events"].as_array().unwrap()), [4, 5], "kept over a restart");
    let commit =
        |cursor: &str| daemon.http("PUT", "/v1/feed/cursor", token, json!({"cursor": cursor}).to_string().as_bytes());
    assert!((200..300).contains(&commit("1-000000000001").status));
    assert_eq!(sequences(page(&daemon, "limit=2")["events"].as_array().unwrap()), [2, 3], "moved back: replayed");
    commit("2-000000000001").problem(409);
    commit("1-000000000011").problem(400);
    commit("soon").problem(400);
    assert_eq!(daemon.get("/v1/feed/cursor", token).ok().json()["cursor"], "1-000000000001", "a refusal moves nothing");
}

#[test]
fn a_cursor_of_another_epoch_gets_409_and_the_way_out() {
    let site = Site::new();
    let daemon = site.start();
    register(&daemon, "P", 1);
    let problem = daemon.get("/v1/feed?after=0-000000000001", site.consumer()).problem(409);
    assert!(problem["detail"].as_str().unwrap().len() > 20, "what to do: {problem}");
}

#[test]
fn bad_questions_get_a_problem_document() {
    let site = Site::new();
    let daemon = site.start();
    for query in [
        "after=yesterday",
        "after=1-",
        "after=1-99999999999999999999",
        "limit=0",
        "limit=1001",
        "limit=many",
        "wait=31",
        "wait=-1",
        "since=1-000000000001",
    ] {
        daemon.get(&format!("/v1/feed?{query}"), site.consumer()).problem(400);
    }
    daemon.get("/v1/nothing-here", site.consumer()).problem(404);
    assert_eq!(daemon.http("DELETE", "/v1/feed", site.consumer(), b"").status, 405);
}

#[test]
fn a_filtered_consumer_gets_its_events_and_its_cursor_moves_over_the_others() {
    let consumers = r#"
[[consumers]]
name = "crm"
events = ["visit.*", "lab.critical"]

[[consumers]]
name = "nothing"
events = ["patient.merged"]
"#;
    let site = Site::configured(&configuration("", consumers));
    let daemon = site.start();
    daemon.accept(
        "his",
        adt("A01", "C1", "20240305103000", &[pid("P1", "张^伟"), inpatient("V1", "ICU^1^1", "20240305103000", "")]),
    );
    daemon.accept(
        "lis",
        report("L1", "20240305110000", "P1", "F1", "F", &[number("K", "6.8", "mmol/L", "3.5-5.3", "HH", "F")]),
    );
    assert_eq!(column(&daemon.feed(), "type"), ["visit.admitted", "lab.critical"]);
    let nothing = site.token("nothing", "consumer");
    let page = daemon.get("/v1/feed?after=start", &nothing).ok().json();
    assert_eq!((&page["events"], &page["next"]), (&json!([]), &page["head"]));
}

#[test]
fn events_come_one_a_line_on_request() {
    let site = Site::new();
    let daemon = site.start();
    register(&daemon, "P", 3);
    let bearer = format!("Bearer {}", site.consumer());
    let headers = [("Accept", "application/x-ndjson"), ("Authorization", bearer.as_str())];
    let response = request(daemon.address("http"), "GET", "/v1/feed?after=start", &headers, b"").ok();
    assert!(response.header("content-type").starts_with("application/x-ndjson"), "{}", response.header("content-type"));
    let lines: Vec<Value> = response.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[..3], daemon.feed()[..]);
}

#[test]
fn a_running_consumer_sees_each_event_once_and_in_order() {
    let site = Site::new();
    let daemon = site.start();
    site.consumer();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut seen, mut cursor) = (Vec::new(), "start".to_owned());
            eventually("all events", || {
                let page = page(&daemon, &format!("after={cursor}&limit=17&wait=1"));
                seen.extend(sequences(page["events"].as_array().unwrap()));
                cursor = page["next"].as_str().unwrap().to_owned();
                (seen.len() >= 150).then_some(())
            });
            seen
        });
        for source in ["A", "B", "C"] {
            let daemon = &daemon;
            scope.spawn(move || register(daemon, source, 50));
        }
        assert_eq!(reader.join().unwrap(), (1..=150).collect::<Vec<u64>>());
    });
}
