//! Consents that messages and resources tell: they hold at the moment of reading, also for what waits, in the order of their source.

use serde_json::{Value, json};

use crate::fhir::{Emr, patient as fhir_patient};
use crate::fhir_server::Manner;
use crate::support::daemon::Daemon;
use crate::support::eventually;
use crate::support::hl7::{adt, person, segment};
use crate::support::receiver::{Mood, Receiver};
use crate::support::site::{Site, configuration};

const PHONE: &str = "13900007734";
const MARKETING: &str = "[[consumers]]\nname = \"marketing\"\npolicy = \"marketing\"\npurpose = \"marketing\"\n";

/// One CON: number, purpose, status, and when it was decided.
fn con(number: &str, purpose: &str, status: &str, decided: &str) -> String {
    segment("CON", &[(1, "1"), (2, purpose), (3, "form 7"), (4, number), (10, "W"), (11, status), (13, decided)])
}

/// The patient with these consents, as of `at`.
fn told(daemon: &Daemon<'_>, id: &str, at: &str, consents: &[String]) {
    let mut segments = vec![person("P1", "金^丝雀", "19770705", "F", &[(13, PHONE)])];
    segments.extend_from_slice(consents);
    daemon.accept("his", adt("A31", id, at, &segments));
}

/// Types of all events for this token, with the state of consents.
fn kinds(daemon: &Daemon<'_>, token: &str) -> Vec<String> {
    let page = daemon.get("/v1/feed?after=start&limit=1000", token).ok().json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let events = page["events"].as_array().expect("events");
    let kind = |event: &Value| format!("{} {}", text(&event["type"]), text(&event["data"]["state"])).trim().to_owned();
    events.iter().map(kind).collect()
}

fn holds(site: &Site, one_id: &str) -> Value {
    site.json(&["person", "consent", one_id, "--json"])["holds"].clone()
}

#[test]
fn what_con_segments_say_holds_at_once_and_in_the_order_of_their_source() {
    let site = Site::configured(&configuration("", MARKETING));
    let daemon = site.start();
    let marketing = site.token("marketing", "consumer");
    told(&daemon, "C1", "20260301100000", &[]);
    let one_id = daemon.one_id("HIS|P1");
    assert_eq!(kinds(&daemon, &marketing), Vec::<String>::new());
    told(&daemon, "C2", "20260302100000", &[con("N1", "HMARKT", "A", "20260302090000")]);
    assert_eq!(kinds(&daemon, &marketing), ["patient.created", "patient.consent_changed given"]);
    let said = site.json(&["person", "consent", &one_id, "--json"])["consents"][0].clone();
    assert_eq!((&said["source"], &said["basis"]), (&json!("his"), &json!("form 7, written")));
    assert_eq!(said["records"], json!(["HIS|P1"]));

    // Said again with every message, it changes nothing; nor does what was said before it and comes late.
    told(&daemon, "C3", "20260303100000", &[con("N1", "HMARKT", "A", "20260302090000")]);
    told(&daemon, "C4", "20260304100000", &[con("N1", "HMARKT", "X", "20260302090000")]);
    assert_eq!(kinds(&daemon, &marketing), ["patient.consent_changed withdrawn"]);
    told(&daemon, "C5", "20260303110000", &[con("N1", "HMARKT", "A", "20260302090000")]);
    assert_eq!(holds(&site, &one_id), json!({"marketing": "withdrawn"}), "what comes late turns nothing back");

    // What somebody says at a desk afterwards is not overruled by the source's repeating itself.
    site.run(&["person", "consent", &one_id, "--give", "--reason", "form 8"]).exits(0);
    told(&daemon, "C6", "20260305100000", &[con("N1", "HMARKT", "X", "20260302090000")]);
    assert_eq!(holds(&site, &one_id), json!({"marketing": "given"}));
    let changed = site.json(&["audit", "list", "--json", "--action", "person.consent", "--person", &one_id]);
    let objects: Vec<String> =
        changed["entries"].as_array().unwrap().iter().map(|entry| entry["objects"].to_string()).collect();
    assert_eq!(objects.len(), 3, "given and withdrawn by messages, and by hand: {objects:?}");
    assert!(objects[1].contains("state/withdrawn") && objects[2].contains("state/given"), "{objects:?}");
    assert_eq!(changed["entries"][1]["origin"], "source:his");
    drop(daemon);
    site.run(&["audit", "verify"]).exits(0);
}

#[test]
fn of_two_words_of_one_message_the_no_counts_and_a_limited_yes_is_none() {
    let site = Site::configured(&configuration("", MARKETING));
    let daemon = site.start();
    let at = "20260301090000";
    let both = [con("N1", "HMARKT", "R", at), con("N1", "HMARKT", "A", at), con("N2", "care", "A", at)];
    told(&daemon, "C1", "20260301100000", &both);
    let one_id = daemon.one_id("HIS|P1");
    assert_eq!(holds(&site, &one_id), json!({"marketing": "withdrawn", "care": "given"}));
    told(&daemon, "C2", "20260302100000", &[con("N1", "HMARKT", "L", at), con("N2", "care", "P", at)]);
    assert_eq!(holds(&site, &one_id), json!({}));
}

#[test]
fn a_consent_that_a_message_takes_back_stops_what_waits_for_a_receiver() {
    let receiver = Receiver::start();
    receiver.answers(|_| Mood::Status(500));
    let url = receiver.url();
    let webhook = format!("webhook = {{ url = \"{url}\", secret_file = \"config/secret\", schedule = [\"50ms\"] }}\n");
    let site = Site::configured(&configuration("", &format!("{MARKETING}{webhook}")));
    let file = site.write("config/secret", "whsec_YSBzZWNyZXQgb2YgbW9yZSB0aGFuIDI0IGJ5dGVz\n");
    std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let daemon = site.start();
    told(&daemon, "C1", "20260301100000", &[con("N1", "HMARKT", "A", "20260301090000")]);
    eventually("a first try", || (!receiver.seen().is_empty()).then_some(()));
    told(&daemon, "C2", "20260302100000", &[con("N1", "HMARKT", "X", "")]);
    receiver.answers(|_| Mood::Status(204));
    eventually("all to be delivered", || {
        (daemon.json("/v1/consumers")["consumers"][0]["events_behind"] == 0).then_some(())
    });
    let taken = receiver.taken();
    assert!(taken.iter().all(|seen| !String::from_utf8_lossy(&seen.body).contains(PHONE)), "{taken:?}");
    let told: Vec<&Value> = taken.iter().map(|seen| &seen.event["data"]["state"]).collect();
    assert_eq!(told, [&json!("withdrawn")]);
}

#[test]
fn a_consent_of_a_server_is_taken_back_when_it_was_an_error_or_is_gone() {
    let emr = Emr::start(Manner::default());
    emr.put("Patient/1", fhir_patient("M1", "孙丽"));
    let consent = |status: &str, decision: &str| {
        json!({"status": status, "patient": {"reference": "Patient/1"}, "dateTime": "2026-03-01T10:00:00+08:00",
            "category": [{"text": "短信"}], "provision": {"type": decision, "purpose": [{"code": "HMARKT"}]}})
    };
    emr.put("Consent/1", consent("active", "permit"));
    let polled = emr.configuration("100ms", ", sweep_interval = \"500ms\", absent_sweeps = 2");
    let site = Site::configured(&(polled.replace("\"Patient\", ", "\"Patient\", \"Consent\", ") + MARKETING));
    let daemon = site.start();
    let becomes = |what: &str, expected: Value| {
        eventually(what, || {
            let found = daemon.json("/v1/persons?identifier=HIS%7CM1")["persons"][0]["one_id"].as_str()?.to_owned();
            (holds(&site, &found) == expected).then_some(())
        });
    };
    becomes("the consent", json!({"marketing": "given"}));
    emr.put("Consent/1", consent("entered-in-error", "permit"));
    becomes("an error", json!({}));
    emr.put("Consent/1", consent("active", "permit"));
    becomes("the consent again", json!({"marketing": "given"}));
    emr.put("Consent/2", consent("active", "deny"));
    becomes("a denial", json!({"marketing": "withdrawn"}));
    emr.delete("Consent/2");
    becomes("the denial is gone", json!({"marketing": "given"}));
    emr.delete("Consent/1");
    becomes("the consent is gone", json!({}));
    let told = kinds(&daemon, &site.token("marketing", "consumer"));
    assert_eq!(told.last().map(String::as_str), Some("patient.consent_changed none"), "{told:?}");
    assert!(!told.iter().any(|kind| kind.starts_with("patient.created")), "{told:?}");
}
