//! Webhooks and streams from outside: every event, in order for each person, signed; whatever the receiver does, and after a kill.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, column};
use crate::support::eventually;
use crate::support::hl7::{adt, inpatient, pid, registration};
use crate::support::http::request;
use crate::support::receiver::{Delivery, Mood, Receiver};
use crate::support::site::{Site, configuration};

const OLD: &[u8] = b"an old secret of more than 24 bytes";
const NEW: &[u8] = b"the new secret of more than 24 bytes";

fn secret(bytes: &[u8]) -> String {
    format!("whsec_{}\n", STANDARD.encode(bytes))
}

/// A site whose consumer `crm` is pushed to; waits of the schedule as given.
fn site(receiver: &Receiver, schedule: &str) -> Site {
    let url = receiver.url();
    let consumer = format!(
        "[[consumers]]\nname = \"crm\"\n\
         webhook = {{ url = \"{url}\", secret_file = \"config/crm.secret\", schedule = {schedule} }}\n"
    );
    let site = Site::configured(&configuration("", &consumer));
    keep_secret(&site, &secret(OLD));
    site
}

fn keep_secret(site: &Site, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    let file = site.write("config/crm.secret", text);
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Each person is registered and then admitted and moved about: `rounds` events more.
fn live(daemon: &Daemon<'_>, persons: usize, rounds: usize) {
    let mut his = daemon.connect("his");
    for round in 0..=rounds {
        for person in 0..persons {
            let (id, at) = (format!("C{person}-{round}"), format!("202403{:02}103000", 1 + round));
            let place = format!("W{round}^1^1");
            let visit = inpatient(&format!("V{person}"), &place, "20240301000000", "");
            let trigger = if round == 0 { "A01" } else { "A02" };
            let text = adt(trigger, &id, &at, &[pid(&format!("P{person}"), "张^伟"), visit]);
            assert_eq!(his.ask(text).code(), "AA");
        }
    }
}

/// First time of each event by its number, in the order in which they were taken.
fn first_taken(taken: &[Delivery]) -> Vec<(u64, String)> {
    let mut known = BTreeSet::new();
    let first = taken.iter().filter(|seen| known.insert(seen.sequence()));
    first.map(|seen| (seen.sequence(), seen.subject().to_owned())).collect()
}

/// Every event of the feed was taken, in the order of the log for each person.
fn assert_all_in_order(receiver: &Receiver, feed: &[Value]) {
    let taken = first_taken(&receiver.taken());
    let mut by_person: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (sequence, person) in &taken {
        by_person.entry(person).or_default().push(*sequence);
    }
    for (person, sequences) in by_person {
        assert!(sequences.is_sorted(), "{person}: {sequences:?}");
    }
    let taken: BTreeSet<u64> = taken.into_iter().map(|(sequence, _)| sequence).collect();
    let expected = column(feed, "sequence").iter().map(|text| text.parse().unwrap()).collect();
    assert_eq!(taken, expected);
}

fn consumer(daemon: &Daemon<'_>) -> Value {
    daemon.json("/v1/consumers")["consumers"][0].clone()
}

/// Waits until the consumer was given everything.
fn settled(daemon: &Daemon<'_>) {
    eventually("all to be delivered", || (consumer(daemon)["events_behind"] == 0).then_some(()));
}

/// Standard Webhooks 1.0 by the book, with nothing of the product's.
fn signs(delivery: &Delivery, key: &[u8]) -> bool {
    let signed =
        [delivery.header("webhook-id").as_bytes(), b".", delivery.header("webhook-timestamp").as_bytes(), b"."]
            .concat();
    let signed = [signed, delivery.body.clone()].concat();
    let tag = STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &signed));
    delivery.header("webhook-signature").split(' ').any(|signature| signature == format!("v1,{tag}"))
}

#[test]
fn every_event_is_posted_signed_and_in_order_for_each_person() {
    let receiver = Receiver::start();
    let site = site(&receiver, "[\"50ms\"]");
    let daemon = site.start();
    live(&daemon, 5, 4);
    settled(&daemon);
    let feed = daemon.feed();
    assert_all_in_order(&receiver, &feed);
    assert_eq!(receiver.seen().len(), feed.len(), "each once");
    for delivery in receiver.seen() {
        assert_eq!(delivery.header("content-type"), "application/cloudevents+json; charset=utf-8");
        assert_eq!(delivery.header("webhook-id"), delivery.event["id"].as_str().unwrap());
        let now = jiff::Timestamp::now().as_second();
        let age = now - delivery.header("webhook-timestamp").parse::<i64>().unwrap();
        assert!((0..120).contains(&age), "{age}");
        assert!(signs(&delivery, OLD) && !signs(&delivery, NEW));
        assert!(feed.contains(&delivery.event), "what is posted is what the feed holds");
    }
    let metrics = daemon.get("/metrics", site.engineer()).ok().text();
    for line in [
        format!("heyi_consumer_deliveries_total{{consumer=\"crm\"}} {}", feed.len()),
        "heyi_consumer_events_behind{consumer=\"crm\"} 0".to_owned(),
        "heyi_consumer_oldest_seconds{consumer=\"crm\"} 0".to_owned(),
        format!("heyi_consumer_cursor{{consumer=\"crm\"}} {}", feed.len()),
        format!("heyi_consumer_head{{consumer=\"crm\"}} {}", feed.len()),
    ] {
        assert!(metrics.contains(&line), "{line} in\n{metrics}");
    }
    let token = site.consumer();
    daemon.http("PUT", "/v1/feed/cursor", token, br#"{"cursor":"start"}"#).problem(409);
}

#[test]
fn two_secrets_sign_while_one_replaces_the_other_without_a_restart() {
    let receiver = Receiver::start();
    let site = site(&receiver, "[\"50ms\"]");
    let daemon = site.start();
    let mut seen = 0;
    let mut next = |id: &str| {
        daemon.accept("his", registration(id, id, "张^伟"));
        seen += 1;
        eventually("the event", || receiver.seen().get(seen - 1).cloned())
    };
    let delivery = next("P1");
    assert!(signs(&delivery, OLD) && !signs(&delivery, NEW));
    keep_secret(&site, &(secret(NEW) + &secret(OLD)));
    let delivery = next("P2");
    assert!(signs(&delivery, OLD) && signs(&delivery, NEW));
    keep_secret(&site, "whsec_mistyped");
    assert!(signs(&next("P3"), NEW), "what cannot be used leaves those before in force");
    keep_secret(&site, &secret(NEW));
    let delivery = next("P4");
    assert!(!signs(&delivery, OLD) && signs(&delivery, NEW));
    let log = daemon.log();
    assert!(!log.contains("mistyped") && !log.contains(&STANDARD.encode(OLD)), "no secret in the log");
}

#[test]
fn killed_in_the_middle_nothing_is_missed_and_repeats_bear_the_same_id() {
    let receiver = Receiver::start();
    let site = site(&receiver, "[\"20ms\", \"20ms\"]");
    for round in 0..3 {
        let daemon = site.start();
        let mut his = daemon.connect("his");
        for number in 0..30 {
            let (id, person) = (format!("C{round}-{number}"), format!("P{}", number % 6));
            let at = format!("202403{:02}{:02}{:02}00", 1 + round, number / 6, number);
            let name = format!("张^伟{round}{number}");
            assert_eq!(his.ask(adt("A08", &id, &at, &[pid(&person, &name)])).code(), "AA");
        }
        eventually("some deliveries", || (receiver.seen().len() > 10 * (round + 1)).then_some(()));
        daemon.kill();
    }
    let daemon = site.start();
    settled(&daemon);
    assert_all_in_order(&receiver, &daemon.feed());
    let mut ids: BTreeMap<u64, String> = BTreeMap::new();
    for delivery in receiver.seen() {
        let id = delivery.header("webhook-id").to_owned();
        assert_eq!(*ids.entry(delivery.sequence()).or_insert_with(|| id.clone()), id);
    }
}

#[test]
fn a_failing_person_is_parked_and_others_go_on_until_it_is_released() {
    let receiver = Receiver::start();
    let site = site(&receiver, "[\"10ms\", \"10ms\"]");
    let daemon = site.start();
    daemon.accept("his", registration("P0", "P0", "张^伟"));
    settled(&daemon);
    let bad = daemon.one_id("HIS|P0");
    let person = bad.clone();
    let attempt = std::sync::atomic::AtomicUsize::new(0);
    receiver.answers(move |event| {
        if event["subject"] != person.as_str() {
            return Mood::Status(200);
        }
        // Nothing but a 2xx counts, whatever it is called elsewhere.
        match attempt.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 5 {
            0 => Mood::Status(410),
            1 => Mood::With(302, "Location: http://127.0.0.1:1/".to_owned()),
            2 => Mood::Cut,
            3 => Mood::With(503, "Retry-After: 0".to_owned()),
            _ => Mood::Status(500),
        }
    });
    live(&daemon, 4, 2);
    let before = receiver.seen().len();
    eventually("the others, and the person to be parked", || {
        let standing = consumer(&daemon);
        (standing["lag"] == 0 && standing["parked"] == 1).then_some(())
    });
    assert!(receiver.seen().len() >= before);
    let taken = first_taken(&receiver.taken());
    assert_eq!(taken.iter().filter(|(_, person)| *person == bad).count(), 1, "only what was taken before");
    let waiting = daemon.json("/v1/consumers/crm/parked");
    let hold = &waiting["holds"][0];
    assert_eq!(
        (hold["one_id"].as_str(), hold["events"].as_u64()),
        (Some(bad.as_str()), consumer(&daemon)["held"].as_u64())
    );
    assert!(hold["parked_at"].is_string() && hold["error"].is_string(), "{hold}");
    let shown = site.run(&["feed", "parked"]).exits(0).stdout;
    assert!(shown.contains(&bad) && shown.contains("parked since"), "{shown}");
    let metrics = daemon.get("/metrics", site.engineer()).ok().text();
    assert!(metrics.contains("heyi_consumer_parked{consumer=\"crm\"} 1"), "{metrics}");

    // It stays so over a restart, and status tells it with the daemon down.
    drop(daemon);
    let status = site.json(&["status", "--json"]);
    assert_eq!((status["consumers"][0]["parked"].as_u64(), status["running"].as_bool()), (Some(1), Some(false)));
    let daemon = site.start();
    receiver.answers(|_| Mood::HalfAnswer);
    let body = json!({"person": bad, "reason": "mended"}).to_string();
    let released = daemon.http("POST", "/v1/consumers/crm/release", site.engineer(), body.as_bytes()).ok().json();
    assert_eq!(released["released"], 1);
    settled(&daemon);
    assert_all_in_order(&receiver, &daemon.feed());
    let actions = daemon.json("/v1/consumers/crm/parked")["actions"].clone();
    assert_eq!((actions[0]["action"].as_str(), actions[0]["by"].as_str()), (Some("release"), Some("engineer")));
}

#[test]
fn what_is_skipped_is_given_up_with_who_and_why_and_what_is_behind_it_goes_on() {
    let receiver = Receiver::start();
    let site = site(&receiver, "[\"10ms\"]");
    let daemon = site.start();
    daemon.accept("his", registration("P0", "P0", "张^伟"));
    settled(&daemon);
    let bad = daemon.one_id("HIS|P0");
    receiver.answers(|event| Mood::Status(if event["type"] == "visit.admitted" { 422 } else { 200 }));
    let at = "20240301103000";
    let visit = |place: &str| inpatient("V0", place, "20240301000000", "");
    daemon.accept("his", adt("A01", "C1", at, &[pid("P0", "张^伟"), visit("W1^1^1")]));
    daemon.accept("his", adt("A02", "C2", "20240302103000", &[pid("P0", "张^伟"), visit("W2^1^1")]));
    let held = eventually("the hold", || {
        daemon.json("/v1/consumers/crm/parked")["holds"].get(0).filter(|hold| hold["events"] == 2).cloned()
    });
    assert_eq!(held["type"], "visit.admitted");
    let skip = ["feed", "skip", "crm", "--person", bad.as_str(), "--by", "Li Na", "--reason"];
    site.run(&[&skip[..], &[""]].concat()).exits(1);
    let told = site.run(&[&skip[..], &["the CRM cannot take it"]].concat()).exits(0).stdout;
    assert!(told.contains(held["event"].as_str().unwrap()), "{told}");
    settled(&daemon);
    let types: Vec<String> =
        receiver.taken().iter().map(|seen| seen.event["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(types, ["patient.created", "visit.transferred"]);
    let action = daemon.json("/v1/consumers/crm/parked")["actions"][0].clone();
    assert_eq!((action["action"].as_str(), action["by"].as_str()), (Some("skip"), Some("Li Na")));
    assert_eq!(action["detail"]["event"], held["event"]);
    site.run(&[&skip[..], &["again"]].concat()).exits(1);
}

#[test]
fn while_the_receiver_is_down_nobody_is_parked_and_afterwards_all_arrives() {
    let receiver = Receiver::start();
    let site = site(&receiver, "[\"1ms\"]");
    let daemon = site.start();
    receiver.answers(|_| Mood::Status(503));
    for person in 0..20 {
        let id = format!("P{person}");
        daemon.accept("his", registration(&id, &id, "张^伟"));
    }
    eventually("it to be seen as down", || (consumer(&daemon)["push"]["state"] == "down").then_some(()));
    let requests = receiver.seen().len();
    eventually("a probe", || (receiver.seen().len() > requests).then_some(()));
    let standing = consumer(&daemon);
    assert_eq!(standing["parked"], 0, "{standing}");
    assert_eq!(standing["push"]["reason"], "HTTP 503");
    receiver.answers(|_| Mood::Status(200));
    settled(&daemon);
    assert_all_in_order(&receiver, &daemon.feed());
}

#[test]
fn a_replay_gives_again_from_a_cursor_from_a_time_and_of_a_person() {
    let receiver = Receiver::start();
    let site = site(&receiver, "[\"10ms\"]");
    let daemon = site.start();
    for person in ["P0", "P1", "P2"] {
        daemon.accept("his", registration(person, person, "张^伟"));
    }
    daemon.accept("his", adt("A08", "C9", "20240310103000", &[pid("P1", "张^伟明")]));
    settled(&daemon);
    let feed = daemon.feed();
    assert_eq!(receiver.seen().len(), feed.len());
    let mut seen = feed.len();
    let mut again = |count: usize| {
        seen += count;
        eventually("the replay", || (receiver.seen().len() >= seen).then_some(()));
        settled(&daemon);
        let mut again: Vec<u64> = receiver.seen()[seen - count..].iter().map(Delivery::sequence).collect();
        assert_eq!(receiver.seen().len(), seen);
        again.sort_unstable();
        again
    };
    site.run(&["feed", "replay", "crm", "--from", "1-000000000002"]).exits(0);
    assert_eq!(again(2), [3, 4]);
    let one_id = daemon.one_id("HIS|P1");
    assert_eq!(site.json(&["feed", "replay", "crm", "--person", &one_id, "--json"])["events"], 2);
    assert_eq!(again(2), [2, 4]);
    let body = json!({"from": "start", "to": "1-000000000002", "reason": "asked for"}).to_string();
    let replayed = daemon.http("POST", "/v1/consumers/crm/replay", site.engineer(), body.as_bytes()).ok().json();
    assert_eq!(replayed["events"], 2);
    assert_eq!(again(2), [1, 2]);
    site.run(&["feed", "replay", "crm", "--since", "2020-01-01T00:00:00Z"]).exits(0);
    assert_eq!(again(4), [1, 2, 3, 4]);
    daemon.http("POST", "/v1/consumers/crm/replay", site.engineer(), br#"{"from":"0-000000000001"}"#).problem(409);
    daemon.http("POST", "/v1/consumers/crm/replay", site.engineer(), b"{}").problem(400);
    daemon.http("POST", "/v1/consumers/nobody/replay", site.engineer(), br#"{"from":"start"}"#).problem(404);
    daemon.http("POST", "/v1/consumers/crm/replay", site.consumer(), br#"{"from":"start"}"#).problem(403);
}

#[test]
fn a_page_is_asked_for_by_time_and_by_person_under_any_of_its_one_ids() {
    let site = Site::new();
    let daemon = site.start();
    for person in ["P0", "P1"] {
        daemon.accept("his", registration(person, person, "张^伟"));
    }
    let (kept, retired) = (daemon.one_id("HIS|P0"), daemon.one_id("HIS|P1"));
    let merge = ["person", "merge", &retired, &kept, "--reason", "one patient"];
    site.run(&merge).exits(0);
    let all = daemon.feed();
    let page = |query: &str| daemon.get(&format!("/v1/feed?{query}"), site.consumer()).ok().json();
    let expected: Vec<&Value> = all.iter().collect();
    for person in [&kept, &retired] {
        let page = page(&format!("person={person}"));
        assert_eq!(page["events"].as_array().unwrap().iter().collect::<Vec<_>>(), expected);
        assert_eq!(page["next"], page["head"]);
    }
    assert_eq!(page("person=01M00000000000000000000000")["events"], json!([]));
    assert_eq!(page("since=2020-01-01T00:00:00Z")["events"].as_array().unwrap().len(), all.len());
    assert_eq!(page("since=2199-01-01T00:00:00Z")["events"], json!([]));
    daemon.get("/v1/feed?since=2020-01-01T00:00:00Z&after=start", site.consumer()).problem(400);
}

/// A stream that is read line by line.
struct Stream(BufReader<TcpStream>);

/// An event of a stream: its id, its type, its data.
type Told = (String, String, Value);

impl Stream {
    fn open(daemon: &Daemon<'_>, token: &str, query: &str, last: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(daemon.address("http")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let head =
            format!("GET /v1/feed/stream{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{last}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut stream = Self(BufReader::new(stream));
        assert_eq!(stream.line().unwrap(), "HTTP/1.1 200 OK");
        stream
    }

    /// The next line; `None` at the end. The sizes of pieces stand on lines of their own, which no event needs.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.0.read_line(&mut line).unwrap() > 0).then(|| line.trim_end().to_owned())
    }

    fn next(&mut self) -> Option<Told> {
        let (mut id, mut kind) = (String::new(), String::new());
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some(("id", text)) => id = text.to_owned(),
                Some(("event", text)) => kind = text.to_owned(),
                Some(("data", text)) => return Some((id, kind, serde_json::from_str(text).unwrap())),
                _ => {}
            }
        }
    }
}

#[test]
fn a_stream_goes_on_where_it_was_without_a_hole_and_without_a_repeat() {
    let site = Site::new();
    let daemon = site.start();
    for person in 0..5 {
        let id = format!("P{person}");
        daemon.accept("his", registration(&id, &id, "张^伟"));
    }
    let mut seen: Vec<Told> = Vec::new();
    let token = site.consumer().to_owned();
    let mut stream = Stream::open(&daemon, &token, "", None);
    seen.extend((0..3).map(|_| stream.next().unwrap()));
    drop(stream);
    let last = seen[2].0.clone();
    // The URL's `after` is that of the first time; the header is newer.
    let mut stream = Stream::open(&daemon, &token, "?after=start", Some(&last));
    seen.extend((0..2).map(|_| stream.next().unwrap()));
    daemon.accept("his", registration("P9", "P9", "张^伟"));
    seen.push(stream.next().unwrap());
    drop(daemon);
    assert!(stream.next().is_none(), "it ends with the daemon");
    let daemon = site.start();
    daemon.accept("his", registration("P10", "P10", "张^伟"));
    let last = seen.last().unwrap().0.clone();
    let mut stream = Stream::open(&daemon, &token, "", Some(&last));
    seen.push(stream.next().unwrap());
    let feed = daemon.feed();
    assert_eq!(seen.iter().map(|(.., event)| event.clone()).collect::<Vec<_>>(), feed);
    for (id, kind, event) in &seen {
        assert_eq!(*id, format!("1-{}", event["sequence"].as_str().unwrap()));
        assert_eq!(event["type"], kind.as_str());
    }
    for (header, status) in [("0-000000000001", 409), ("1-000000000099", 400), ("yesterday", 400)] {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str()), ("Last-Event-ID", header)];
        request(daemon.address("http"), "GET", "/v1/feed/stream", &headers, b"").problem(status);
    }
    // A token that is revoked ends its streams.
    site.run(&["token", "revoke", "crm"]).exits(0);
    assert!(stream.next().is_none());
}

#[test]
fn a_stream_says_where_it_is_where_nothing_is_for_its_consumer() {
    let consumers = "[[consumers]]\nname = \"crm\"\nevents = [\"patient.merged\"]\n";
    let site = Site::configured(&configuration("", consumers));
    let daemon = site.start();
    daemon.accept("his", registration("P1", "P1", "张^伟"));
    let mut stream = Stream::open(&daemon, site.consumer(), "", None);
    let mut comments = 0;
    let (id, kind, data) = loop {
        let line = stream.line().unwrap();
        comments += usize::from(line.starts_with(':'));
        if let Some(id) = line.strip_prefix("id: ") {
            let id = id.to_owned();
            break (id, stream.line().unwrap(), stream.line().unwrap());
        }
    };
    assert_eq!((id.as_str(), kind.as_str()), ("1-000000000001", "event: feed.checkpoint"));
    assert!(data.contains(r#""next":"1-000000000001""#), "{data}");
    assert_eq!(comments, 2, "one when it began, one as a sign of life");
}

#[test]
fn a_webhook_that_cannot_work_is_told_with_its_place() {
    let wrong = r#"
[push]
allow = ["10.0.0.0/8", "nonsense:port"]

[[consumers]]
name = "crm"
webhook = { url = "http://8.8.8.8/heyi", secret_file = "config/short.secret", schedule = ["5 s"], timeout = "1ms" }

[[consumers]]
name = "other"
webhook = { url = "ftp://10.0.0.1", secret_file = "config/missing.secret", colour = "blue" }
"#;
    let site = Site::configured(&configuration("", wrong));
    let file = site.write("config/short.secret", secret(b"too short"));
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = site.run(&["check"]).exits(1).stderr;
    for expected in [
        "push.allow: expected a network",
        "webhook.url: the address is not on the list of [push] allow",
        "webhook.secret_file: holds no usable secret",
        "webhook.schedule: must be a number and a unit",
        "timeout: must be 100ms or more",
        "webhook.url: not a URL of HTTP",
        "webhook.secret_file cannot be read",
        "colour",
        "heyi.toml:23:",
        "heyi.toml:27:",
        "heyi.toml:31:",
    ] {
        assert!(text.contains(expected), "{expected} in:\n{text}");
    }
    assert!(!text.contains(&STANDARD.encode(b"too short")), "no secret is quoted");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(site.run(&["check"]).exits(1).stderr.contains("others may read it (mode 644); chmod 600"));
}

#[test]
fn a_consumer_is_forgotten_only_when_it_is_configured_no_more() {
    let receiver = Receiver::start();
    let site = site(&receiver, "[\"10ms\"]");
    let daemon = site.start();
    daemon.accept("his", registration("P0", "P0", "张^伟"));
    settled(&daemon);
    drop(daemon);
    let forget = ["feed", "forget", "crm", "--reason", "replaced", "--by", "Li Na"];
    let refused = site.run(&forget).exits(1).stderr;
    assert!(refused.contains("configured"), "{refused}");
    site.write("config/heyi.toml", configuration("", ""));
    assert_eq!(site.json(&["feed", "consumers", "--json"])["consumers"][0]["name"], "crm");
    site.run(&forget).exits(0);
    assert_eq!(site.json(&["feed", "consumers", "--json"])["consumers"], json!([]));
    site.run(&forget).exits(1);
}

#[test]
fn after_a_restore_the_receiver_learns_of_it_first_and_is_then_given_everything_that_follows() {
    let receiver = Receiver::start();
    let site = site(&receiver, "[\"50ms\"]");
    let daemon = site.start();
    live(&daemon, 2, 1);
    settled(&daemon);
    site.run(&["backup", "kept.db"]).exits(0);
    let backed_up = daemon.feed().len() as u64;
    live(&daemon, 2, 3);
    settled(&daemon);
    let before = receiver.seen().len();
    drop(daemon);
    site.run(&["restore", "kept.db"]).exits(0);

    let is_notice = |event: &Value| event["type"] == "feed.epoch_changed";
    receiver.answers(move |event| if is_notice(event) { Mood::Status(503) } else { Mood::Status(204) });
    let daemon = site.start();
    eventually("the notice", || (receiver.seen().len() > before + 1).then_some(()));
    live(&daemon, 2, 4);
    assert!(receiver.seen()[before..].iter().all(|seen| is_notice(&seen.event)), "nothing goes before it");
    let shown =
        eventually("it to be shown", || Some(consumer(&daemon)["push"].clone()).filter(|push| push["state"] == "down"));
    assert!(shown["reason"].as_str().unwrap().contains("put back from a backup"), "{shown}");
    receiver.answers(|_| Mood::Status(204));
    settled(&daemon);

    let seen = receiver.seen()[before..].to_vec();
    let first = seen.iter().position(|seen| !is_notice(&seen.event)).unwrap();
    let (notices, followed) = seen.split_at(first);
    let data = &notices[0].event["data"];
    assert_eq!((&data["epoch"], &data["reconcile"]), (&json!(2), &json!("/v1/feed/reconcile")));
    assert_eq!(data["next"], format!("2-{backed_up:012}"));
    assert!(notices.iter().all(|seen| seen.header("webhook-id") == notices[0].event["id"] && signs(seen, OLD)));
    assert!(notices[0].event.get("subject").is_none(), "{}", notices[0].event);
    let feed: Vec<Value> = daemon
        .feed()
        .into_iter()
        .filter(|event| event["sequence"].as_str().unwrap() > format!("{backed_up:012}").as_str())
        .collect();
    let taken: BTreeSet<u64> = followed.iter().map(Delivery::sequence).collect();
    assert_eq!(taken, column(&feed, "sequence").iter().map(|text| text.parse().unwrap()).collect());
    // By itself: with its token, and the path that it was told.
    let token = site.consumer();
    let rows = daemon.get("/v1/feed/reconcile?limit=1000", token).ok().json();
    assert!(rows["cursor"].as_str().unwrap().starts_with("2-"), "{rows}");
    drop(daemon);
    // Once is enough.
    let notices = || receiver.seen().iter().filter(|seen| is_notice(&seen.event)).count();
    let told = notices();
    let daemon = site.start();
    live(&daemon, 2, 5);
    settled(&daemon);
    assert_eq!(notices(), told);
}
