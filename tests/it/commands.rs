//! What an engineer does from the shell: look at messages, retry them, find people, follow the feed, see the state.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::support::daemon::column;
use crate::support::eventually;
use crate::support::hl7::{admission_of_nobody, adt, inpatient, pid, registration, segment};
use crate::support::site::{Site, configuration};

/// `id` of a listed message, as an argument.
fn id(message: &Value) -> String {
    message["id"].to_string().trim_matches('"').to_owned()
}

fn arrival(control_id: &str, patient: &str, class: &str) -> String {
    let pv1 = segment("PV1", &[(2, class), (3, "门诊^1"), (19, control_id)]);
    adt("A04", control_id, "20240305103000", &[pid(patient, "张^伟"), pv1])
}

/// A site whose table of visit classes is short.
fn site_with_a_short_table() -> Site {
    let site = Site::configured(&configuration("", "").replacen("mappings/hl7v2.toml", "mappings/site.toml", 1));
    site.write(
        "mappings/site.toml",
        "extends = \"hl7v2.toml\"\n\n[tables]\nmine = \"tables/mine.csv\"\n\n[visit]\nclass = { from = \"PV1-2\", table = \"mine\", on_unmapped = \"reject\" }\n",
    );
    site.write("mappings/tables/mine.csv", "source,target,note\nO,outpatient,\n");
    site
}

#[test]
fn a_failed_message_is_retried_after_the_table_is_mended() {
    let site = site_with_a_short_table();
    let daemon = site.start();
    daemon.accept("his", arrival("C1", "P1", "O"));
    for (control_id, patient) in [("C2", "P2"), ("C3", "P3")] {
        let answer = daemon.send("his", arrival(control_id, patient, "体检"));
        assert_eq!((answer.code(), answer.has_error()), ("AE", true), "{}", answer.text());
        assert!(answer.text().contains("PV1"), "the place is named: {}", answer.text());
    }
    let failed = site.messages(&["--state", "failed"]);
    assert_eq!(failed.len(), 2);
    assert!(failed[0]["error"]["location"].as_str().unwrap().starts_with("PV1"), "{}", failed[0]);
    let shown = site.json(&["message", "show", &id(&failed[0]), "--json"]);
    assert!(shown.to_string().contains("PV1|"), "the raw text is shown: {shown}");
    // Nothing is mended yet: it fails again, and says so.
    site.run(&["message", "retry", &id(&failed[0])]).exits(1);
    site.write("mappings/tables/mine.csv", "source,target,note\nO,outpatient,\n体检,checkup,\n");
    site.run(&["message", "retry", &id(&failed[0])]).exits(0);
    assert_eq!(site.messages(&["--state", "failed"]).len(), 1);
    drop(daemon);
    let daemon = site.start();
    let answer = daemon.http("POST", "/v1/messages/retry", site.engineer(), b"{}");
    assert!((200..300).contains(&answer.status), "{}", answer.text());
    eventually("the retry of the last message", || site.messages(&["--state", "failed"]).is_empty().then_some(()));
    let arrived: Vec<Value> = daemon.feed().into_iter().filter(|event| event["type"] == "visit.arrived").collect();
    let causes = column(&arrived.iter().map(|event| event["data"].clone()).collect::<Vec<_>>(), "cause").join(" ");
    assert_eq!(causes, "message retry retry");
    assert_eq!(daemon.visit("HIS|P3")["class"], "checkup");
}

#[test]
fn a_message_that_was_processed_can_be_taken_in_again_and_changes_nothing() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", arrival("C1", "P1", "O"));
    daemon.accept("his", registration("C2", "P1", "张^伟明"));
    let (feed, person) = (daemon.feed(), daemon.person("HIS|P1"));
    let messages = site.messages(&["--state", "processed"]);
    let oldest = id(messages.last().unwrap());
    let run = site.run(&["message", "retry", &oldest]).exits(0);
    assert!(run.stdout.contains("1 processed"), "{}", run.stdout);
    assert_eq!((daemon.feed(), daemon.person("HIS|P1")), (feed, person), "it took its old place");
    assert_eq!(site.json(&["message", "show", &oldest, "--json"])["attempts"], 2);
    // Over HTTP only what failed.
    let answer = daemon.http("POST", &format!("/v1/messages/{oldest}/retry"), site.engineer(), b"");
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert_ne!(site.run(&["message", "retry", &oldest, "999999"]).status.code(), Some(0));
}

#[test]
fn failures_that_nobody_will_mend_are_dismissed_for_good() {
    let site = Site::configured(&configuration(", max_message = \"1KiB\"", ""));
    let daemon = site.start();
    for control_id in ["C1", "C2"] {
        assert_eq!(daemon.send("his", admission_of_nobody(control_id)).code(), "AE");
    }
    let large = registration("LARGE", "P1", &"王".repeat(1000));
    assert_eq!(daemon.send("his", &large).code(), "AR");
    let failed = site.messages(&["--state", "failed"]);
    let ids: Vec<String> = failed.iter().rev().map(id).collect();
    // Retried in parts: each goes on where the one before ended.
    let first = site.run(&["message", "retry", "--limit", "1"]).exits(1).stdout;
    let from: String = first.split("--from ").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
    assert_eq!(from, ids[1], "{first}");
    assert!(
        site.run(&["message", "retry", "--from", &from])
            .exits(1)
            .stdout
            .contains("0 processed, 0 ignored, 1 failed, 1 left")
    );

    site.run(&["message", "dismiss", &ids[0]]).exits(2);
    site.run(&["message", "dismiss", &ids[0], &ids[2], "--reason", "a test of the vendor's"]).exits(0);
    site.run(&["message", "dismiss", &ids[0], "--reason", "again"]).exits(1);
    let shown = site.json(&["message", "show", &ids[0], "--json"]);
    assert_eq!(shown["state"], "ignored");
    assert!(shown["notes"].to_string().contains("a test of the vendor's"), "{shown}");
    let reason = br#"{"reason": "sent by mistake"}"#;
    let answer = daemon.http("POST", &format!("/v1/messages/{}/dismiss", ids[1]), site.engineer(), reason).ok().json();
    assert!(answer["notes"].to_string().contains("dismissed by engineer: sent by mistake"), "{answer}");
    assert!(site.messages(&["--state", "failed"]).is_empty());
    let status = site.json(&["status", "--json"]);
    assert_eq!((&status["sources"][0]["failed"], &status["sources"][0]["ignored"]), (&0.into(), &3.into()), "{status}");
    let run = site.run(&["message", "retry", "--state", "ignored"]).exits(0);
    assert!(run.stdout.contains("0 processed, 0 ignored, 0 failed"), "{}", run.stdout);
    // What is kept is known when it comes again; what was left out is not kept, and waits again.
    assert_eq!(daemon.send("his", admission_of_nobody("C1")).code(), "AA");
    assert_eq!(daemon.send("his", &large).code(), "AR");
    assert_eq!(column(&site.messages(&["--state", "failed"]), "control_id"), ["LARGE"]);
}

#[test]
fn before_there_is_a_store_commands_say_so_and_make_none() {
    let site = Site::new();
    for arguments in [
        vec!["status"],
        vec!["message", "list"],
        vec!["message", "retry"],
        vec!["message", "dismiss", "1", "--reason", "none"],
        vec!["person", "find", "HIS|P1"],
        vec!["person", "links"],
        vec!["feed", "export"],
        vec!["feed", "consumers"],
    ] {
        let run = site.run(&arguments).exits(1);
        assert!(run.stderr.contains("no store at") && run.stderr.contains("heyi.db"), "{arguments:?}: {}", run.stderr);
    }
    assert!(!site.path("data").exists());
}

#[test]
fn messages_are_listed_by_source_state_type_control_id_and_patient() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", registration("C1", "P1", "张^伟"));
    daemon.accept("lis", registration("C2", "P2", "李^娜"));
    daemon.accept("his", arrival("C3", "P1", "O"));
    daemon.send("his", admission_of_nobody("C4"));
    let listed = |filter: &[&str]| {
        let mut ids: Vec<String> =
            column(&site.messages(filter), "control_id").into_iter().map(str::to_owned).collect();
        ids.sort();
        ids.join(" ")
    };
    assert_eq!(listed(&[]), "C1 C2 C3 C4");
    assert_eq!(listed(&["--source", "lis"]), "C2");
    assert_eq!(listed(&["--state", "failed"]), "C4");
    assert_eq!(listed(&["--type", "ADT^A04"]), "C3");
    assert_eq!(listed(&["--control-id", "C2"]), "C2");
    assert_eq!(listed(&["--patient", &daemon.one_id("HIS|P1")]), "C1 C3");
    let text = site.run(&["message", "list"]).exits(0).stdout;
    assert!(text.contains("C4") && !text.contains("张"), "{text}");
    site.run(&["message", "list", "--state", "lost"]).exits(2);
    assert_ne!(site.run(&["message", "show", "999999"]).status.code(), Some(0));
}

#[test]
fn a_person_is_found_shown_and_explained() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", registration("C1", "P1", "张^伟"));
    let one_id = daemon.one_id("HIS|P1");
    drop(daemon);
    // The store is read without a daemon as well.
    for search in [vec!["HIS|P1"], vec!["--name", "张伟"], vec!["--name", "张伟", "--birth-date", "1980-01-02"]] {
        let found = site.json(&[&["person", "find", "--json"], search.as_slice()].concat());
        assert_eq!(found["persons"][0]["one_id"], one_id.as_str(), "{found}");
    }
    assert_eq!(site.json(&["person", "show", &one_id, "--json"])["name"], "张伟");
    let history = site.run(&["person", "history", &one_id]).exits(0).stdout;
    assert!(history.contains("P1"), "{history}");
    let links = site.run(&["person", "links", "--csv"]).exits(0).stdout;
    assert_eq!(links.trim().lines().last(), Some(format!("his,HIS,P1,{one_id},auto").as_str()), "{links}");
}

#[test]
fn the_feed_is_read_from_the_shell() {
    let site = Site::new();
    let daemon = site.start();
    for index in 0..5 {
        daemon.accept("his", registration(&format!("C{index}"), &format!("P{index}"), "张^伟"));
    }
    let exported = site.run(&["feed", "export"]).exits(0).stdout;
    let events: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events, daemon.feed());
    let token = site.consumer();
    assert!(
        (200..300).contains(&daemon.http("PUT", "/v1/feed/cursor", token, br#"{"cursor":"1-000000000002"}"#).status)
    );
    let consumers = site.json(&["feed", "consumers", "--json"]);
    let crm = consumers["consumers"].as_array().unwrap().iter().find(|consumer| consumer["name"] == "crm").unwrap();
    assert_eq!((crm["cursor"].as_str(), crm["lag"].as_u64()), (Some("1-000000000002"), Some(3)), "{consumers}");
    assert_eq!(daemon.json("/v1/consumers")["consumers"].as_array().map(Vec::len), Some(1));
}

#[test]
fn every_consumer_is_listed_whether_it_has_committed_or_not() {
    let both = "[[consumers]]\nname = \"crm\"\n\n[[consumers]]\nname = \"new\"\n";
    let site = Site::configured(&configuration("", both));
    let daemon = site.start();
    daemon.accept("his", registration("C1", "P1", "张^伟"));
    let commit = br#"{"cursor":"1-000000000001"}"#;
    assert!((200..300).contains(&daemon.http("PUT", "/v1/feed/cursor", site.consumer(), commit).status));
    let listed = |arguments: &[&str]| -> Vec<(String, bool, String, u64)> {
        let answer = site.json(arguments);
        let text = |consumer: &Value, name: &str| consumer[name].as_str().unwrap().to_owned();
        let shown = answer["consumers"].as_array().unwrap().iter().map(|consumer| {
            let configured = consumer["configured"].as_bool().unwrap();
            (text(consumer, "name"), configured, text(consumer, "cursor"), consumer["lag"].as_u64().unwrap())
        });
        shown.collect()
    };
    let row =
        |name: &str, configured: bool, cursor: &str, lag: u64| (name.to_owned(), configured, cursor.to_owned(), lag);
    for arguments in [["feed", "consumers", "--json"].as_slice(), &["status", "--json"]] {
        assert_eq!(listed(arguments), [row("crm", true, "1-000000000001", 0), row("new", true, "start", 1)]);
    }
    site.write("config/heyi.toml", configuration("", "[[consumers]]\nname = \"new\"\n"));
    assert_eq!(
        listed(&["feed", "consumers", "--json"]),
        [row("crm", false, "1-000000000001", 0), row("new", true, "start", 1)]
    );
    for arguments in [["feed", "consumers"].as_slice(), &["status"]] {
        let shown = site.run(arguments).exits(0).stdout;
        let line = |name: &str| shown.lines().find(|line| line.contains(name)).unwrap().to_owned();
        assert!(line("crm").contains("not configured") && line("new").contains("start"), "{shown}");
    }
}

#[test]
fn the_feed_is_followed_from_the_shell() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", registration("C1", "P1", "张^伟"));
    let mut tail = site.command(&["feed", "tail", "--after", "start", "--json"]);
    let mut tail = tail.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    let first = next();
    daemon.accept("his", registration("C2", "P2", "李^娜"));
    let followed = [first, next()];
    tail.kill().unwrap();
    tail.wait().unwrap();
    assert_eq!(followed[..], daemon.feed()[..]);
}

#[test]
fn the_state_of_everything_is_one_screen() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", registration("C1", "P1", "张^伟"));
    daemon.send("his", admission_of_nobody("C2"));
    let screen = site.run(&["status"]).exits(0).stdout;
    assert!(screen.contains("his") && screen.contains("lis") && screen.lines().count() <= 40, "{screen}");
    let status = site.json(&["status", "--json"]);
    assert!(status.to_string().contains("1-000000000001"), "{status}");
    let sources = daemon.json("/v1/sources");
    assert_eq!(column(sources["sources"].as_array().unwrap(), "name"), ["his", "lis"]);
}

#[test]
fn every_verb_explains_itself() {
    let site = Site::new();
    let help = site.run(&["--help"]).exits(0).stdout;
    for verb in ["serve", "demo", "check", "send", "import", "message", "person", "feed", "token", "status"] {
        assert!(help.contains(verb), "{verb}:\n{help}");
        assert!(site.run(&[verb, "--help"]).exits(0).stdout.contains("Usage"), "{verb}");
    }
    assert!(site.run(&["--version"]).exits(0).stdout.contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_demonstration_plays_a_hospitals_day_and_ends() {
    let site = Site::new();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_heyi"));
    // Anywhere, with no configuration at all.
    command.args(["demo", "--exit"]).current_dir(site.path("")).env_remove("HEYI_CONFIG");
    let run = crate::support::site::finish(command, b"", "demo --exit").exits(0);
    for told in ["his", "lis", "visit.admitted", "visit.discharged", "lab.critical", "patient.merged"] {
        assert!(run.stdout.contains(told), "{told}:\n{}", run.stdout);
    }
    assert!(!run.stdout.contains('\u{fffd}'));
}

#[test]
fn a_stay_is_the_same_live_and_by_import() {
    let stay = [
        adt("A01", "C1", "20240305103000", &[pid("P1", "张^伟"), inpatient("V1", "ICU^1^1", "20240305103000", "")]),
        adt("A03", "C2", "20240309160000", &[pid("P1", "张^伟"), inpatient("V1", "", "", "20240309160000")]),
    ];
    let live = Site::new();
    let daemon = live.start();
    stay.iter().for_each(|text| daemon.accept("his", text));
    let imported = Site::new();
    let file = imported.write("in.hl7", stay.concat());
    imported.run(&["import", "his", &file.to_string_lossy()]).exits(0);
    let other = imported.start();
    let (mut one, mut two) = (daemon.visit("HIS|P1"), other.visit("HIS|P1"));
    // One IDs are drawn at random; everything else is what the messages say.
    for visit in [&mut one, &mut two] {
        visit.as_object_mut().unwrap().remove("one_id");
    }
    assert_eq!(one, two);
}
