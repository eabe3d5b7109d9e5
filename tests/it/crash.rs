//! `kill -9` under load: nothing acknowledged is lost, no event is doubled, nothing that a consumer saw is taken back.
//!
//! The ledger knows what was sent, what was acknowledged and what was delivered, and learns nothing from the product but
//! that. Senders behave as real ones do: after a break they send again what was not answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::eventually;
use crate::support::hl7::{Ack, adt, inpatient, pid};
use crate::support::http::try_request;
use crate::support::mllp::{Mllp, Received, framed};
use crate::support::site::Site;

const ROUNDS: usize = 8;
const SENDERS: usize = 4;
/// Unanswered messages on each connection.
const WINDOW: usize = 8;

/// What the world outside knows.
#[derive(Default)]
struct Ledger {
    /// Messages are numbered in the order in which they were first sent.
    next: AtomicUsize,
    /// Sent and not answered: to be sent again.
    open: Mutex<BTreeSet<usize>>,
    acknowledged: Mutex<BTreeSet<usize>>,
    /// What a consumer has read: sequence to event id.
    delivered: Mutex<BTreeMap<u64, String>>,
}

/// Message `number`: the admission of a patient of its own, so that each message must make exactly two events.
fn admission(number: usize) -> Vec<u8> {
    let at = "20240305103000";
    let segments = [pid(&format!("P{number}"), "张^伟"), inpatient(&format!("V{number}"), "ICU^1^1", at, "")];
    adt("A01", &format!("K{number}"), at, &segments).into_bytes()
}

impl Ledger {
    /// Sends until the connection breaks or `stop` is set, again first what is open; `only_open`: nothing else.
    fn send(&self, daemon: &Daemon<'_>, stop: &AtomicBool, only_open: bool) {
        let Ok(mut connection) = Mllp::try_connect(daemon.address("his")) else { return };
        let mut unanswered: BTreeSet<usize> = BTreeSet::new();
        loop {
            while unanswered.len() < WINDOW && !stop.load(Ordering::Relaxed) {
                let number = match self.open.lock().unwrap().pop_first() {
                    Some(number) => number,
                    None if only_open => break,
                    None => self.next.fetch_add(1, Ordering::Relaxed),
                };
                unanswered.insert(number);
                if connection.try_write(&framed(&admission(number))).is_err() {
                    break;
                }
            }
            if unanswered.is_empty() {
                return;
            }
            match connection.receive(crate::support::PATIENCE) {
                Received::Frame(content) => {
                    let answer = Ack::parse(&content);
                    assert_eq!(answer.code(), "AA", "{}", answer.text());
                    let number = answer.control_id().trim_start_matches('K').parse().expect("a number of ours");
                    assert!(unanswered.remove(&number), "{number} was answered twice or never sent");
                    self.acknowledged.lock().unwrap().insert(number);
                }
                Received::Closed => break,
                Received::Nothing => panic!("an acknowledgement was neither sent nor refused"),
            }
        }
        self.open.lock().unwrap().append(&mut unanswered);
    }

    /// Follows the feed until the daemon is gone, as a consumer does.
    fn follow(&self, daemon: &Daemon<'_>, stop: &AtomicBool) {
        let address = daemon.address("http");
        let bearer = format!("Bearer {}", daemon.site.consumer());
        while !stop.load(Ordering::Relaxed) {
            let last = self.delivered.lock().unwrap().last_key_value().map_or(0, |(sequence, _)| *sequence);
            let target = format!("/v1/feed?after=1-{last:012}&limit=500");
            // The daemon may be killed in the middle of an answer: then this page was not delivered.
            let Ok(page) = try_request(address, "GET", &target, &[("Authorization", &bearer)], b"") else { return };
            self.deliver(page.ok().json()["events"].as_array().expect("events"));
        }
    }

    /// Takes events in: the same position never holds another event.
    fn deliver(&self, events: &[Value]) {
        let mut delivered = self.delivered.lock().unwrap();
        for event in events {
            let sequence: u64 = event["sequence"].as_str().unwrap().parse().unwrap();
            let id = event["id"].as_str().unwrap().to_owned();
            let known = delivered.entry(sequence).or_insert_with(|| id.clone());
            assert_eq!(*known, id, "the event at {sequence} is another one than was delivered before");
        }
    }

    /// Compares the whole feed with what is known. `settled`: nothing is open, so every message has its events.
    fn verify(&self, daemon: &Daemon<'_>, settled: bool) {
        let events = daemon.feed();
        self.deliver(&events);
        assert_eq!(self.delivered.lock().unwrap().len(), events.len(), "what was delivered is still there");
        let sequences: Vec<u64> =
            events.iter().map(|event| event["sequence"].as_str().unwrap().parse().unwrap()).collect();
        assert_eq!(sequences, (1..=events.len() as u64).collect::<Vec<_>>(), "no hole");
        let ids: BTreeSet<&str> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), events.len(), "no id twice");
        let numbers = |kind: &str, place: &dyn Fn(&Value) -> String| {
            let mut numbers: Vec<usize> = events
                .iter()
                .filter(|event| event["type"] == kind)
                .map(|event| place(&event["data"]).parse().expect("a number of ours"))
                .collect();
            let count = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), count, "a {kind} is doubled");
            numbers
        };
        let persons =
            numbers("patient.created", &|data| data["identifiers"][0]["value"].as_str().unwrap()[1..].to_owned());
        let visits = numbers("visit.admitted", &|data| data["number"].as_str().unwrap()[1..].to_owned());
        assert_eq!(persons, visits, "a message has all its effects or none");
        assert_eq!(events.len(), persons.len() + visits.len());
        let kept: BTreeSet<usize> = persons.into_iter().collect();
        let acknowledged = self.acknowledged.lock().unwrap();
        let lost: Vec<&usize> = acknowledged.difference(&kept).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        if settled {
            assert_eq!(kept, (0..self.next.load(Ordering::Relaxed)).collect(), "every message sent has its effect");
        }
    }
}

#[test]
fn killed_under_load_nothing_acknowledged_is_lost_and_no_event_is_doubled() {
    let rounds = std::env::var("HEYI_CRASH_ROUNDS").map_or(ROUNDS, |text| text.parse().expect("a number of rounds"));
    let site = Site::new();
    site.consumer();
    let ledger = Ledger::default();
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let daemon = site.start();
        slowest = slowest.max(daemon.started_in);
        ledger.verify(&daemon, false);
        let before = ledger.acknowledged.lock().unwrap().len();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..SENDERS {
                scope.spawn(|| ledger.send(&daemon, &stop, false));
            }
            scope.spawn(|| ledger.follow(&daemon, &stop));
            eventually("acknowledgements", || (ledger.acknowledged.lock().unwrap().len() > before + 20).then_some(()));
            // Spread over commits, deliveries and checkpoints; the same in every run.
            std::thread::sleep(Duration::from_millis((round as u64 * 137) % 400));
            daemon.strike();
        });
    }
    let daemon = site.start();
    ledger.verify(&daemon, false);
    ledger.send(&daemon, &AtomicBool::new(false), true);
    assert!(ledger.open.lock().unwrap().is_empty(), "everything is answered in the end");
    ledger.verify(&daemon, true);
    let sent = ledger.next.load(Ordering::Relaxed);
    let kept: Vec<String> = daemon.messages();
    let expected: BTreeSet<String> = (0..sent).map(|number| format!("K{number}")).collect();
    assert_eq!(kept.len(), sent, "each message is kept once");
    assert_eq!(kept.into_iter().collect::<BTreeSet<_>>(), expected);
    eprintln!("crash: {rounds} rounds, {sent} messages, slowest start {slowest:?}");
}
