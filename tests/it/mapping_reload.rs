//! Changed mapping files take effect while the daemon runs: as a whole, between two messages, or not at all.

use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::eventually;
use crate::support::hl7::{adt, number, pid, report, segment};
use crate::support::site::Site;

fn admission(id: &str, class: &str) -> String {
    let visit = segment("PV1", &[(2, class), (19, &format!("V-{id}")), (44, "20240305103000")]);
    adt("A01", id, "20240305103000", &[pid(&format!("P-{id}"), "张^伟"), visit])
}

/// The mapping that a source runs, as `/v1/sources` shows it.
fn in_force(daemon: &Daemon<'_>, source: &str) -> Value {
    let sources = daemon.json("/v1/sources");
    let sources = sources["sources"].as_array().expect("sources").clone();
    let found = sources.iter().find(|found| found["name"] == source);
    found.unwrap_or_else(|| panic!("no {source}: {sources:?}"))["mapping"].clone()
}

fn version(daemon: &Daemon<'_>) -> String {
    let found = eventually("the mapping in force to be written down", || {
        in_force(daemon, "his")["version"].as_str().map(str::to_owned)
    });
    assert_eq!(found.len(), 12, "{found}");
    found
}

/// Adds a line to a file of the site.
fn append(site: &Site, file: &str, line: &str) {
    let before = std::fs::read_to_string(site.path(file)).expect("a mapping file");
    site.write(file, format!("{}\n{line}\n", before.trim_end()));
}

fn class_of(daemon: &Daemon<'_>, id: &str) -> Value {
    daemon.visit(&format!("HIS|P-{id}"))["class"].clone()
}

#[test]
fn a_changed_table_takes_effect_without_a_restart_and_on_the_open_connection() {
    let site = Site::new();
    let daemon = site.start();
    let mut connection = daemon.connect("his");
    assert_eq!(connection.ask(admission("1", "ZY")).code(), "AA");
    assert_eq!(class_of(&daemon, "1"), Value::Null);
    let before = version(&daemon);
    append(&site, "mappings/tables/patient-class.csv", "ZY,inpatient,");
    let after = eventually("the new version", || Some(version(&daemon)).filter(|found| *found != before));
    assert_eq!(connection.ask(admission("2", "ZY")).code(), "AA");
    assert_eq!(class_of(&daemon, "2"), "inpatient");
    // Every message says which mapping it went through; the first has been taken in again meanwhile, or will be.
    let second = &site.messages(&["--control-id", "2"])[0];
    assert_eq!(second["mapping"], after);
    let shown = site.run(&["status"]).exits(0).stdout;
    assert!(shown.contains(&format!("mapping   his {after} since ")), "{shown}");
}

#[test]
fn a_hangup_loads_at_once_and_both_sources_change_together() {
    let site = Site::new();
    let daemon = site.start();
    let before = version(&daemon);
    site.write("mappings/tables/vip.csv", "source,target,note\nV,true,\n");
    daemon.hang_up();
    let after = eventually("the new version", || Some(version(&daemon)).filter(|found| *found != before));
    assert_eq!(in_force(&daemon, "lis")["version"], after, "both run the same base");
    assert_eq!(daemon.http("GET", "/readyz", "", b"").status, 200);
}

#[test]
fn a_set_with_an_error_is_refused_and_the_old_one_stays() {
    let site = Site::new();
    let daemon = site.start();
    let before = version(&daemon);
    let mut connection = daemon.connect("his");
    let good = std::fs::read_to_string(site.path("mappings/hl7v2.toml")).expect("the base");
    // A good change beside a bad one: a set is taken as a whole.
    append(&site, "mappings/tables/patient-class.csv", "ZY,inpatient,");
    append(&site, "mappings/tables/sex.csv", "XX,xenial,");
    site.write("mappings/hl7v2.toml", good.replace("birth_date       = \"PID-7\"", "birth_dat = \"PID-7\""));
    daemon.hang_up();
    let refused = eventually("the refusal", || in_force(&daemon, "his")["refused"]["problems"].as_array().cloned());
    let told = |place: &str, word: &str| {
        refused.iter().filter_map(Value::as_str).any(|problem| problem.starts_with(place) && problem.contains(word))
    };
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(told("mappings/hl7v2.toml:", "birth_dat") && told("mappings/tables/sex.csv:", "xenial"), "{refused:?}");
    assert_eq!(version(&daemon), before);
    assert_eq!(connection.ask(admission("1", "ZY")).code(), "AA");
    assert_eq!(site.messages(&["--control-id", "1"])[0]["mapping"], before);
    let metrics = daemon.get("/metrics", site.engineer()).ok().text();
    assert!(metrics.contains("heyi_mapping_loads_total{result=\"refused\"} 1"), "{metrics}");
    assert!(metrics.contains("heyi_mapping_refused 1"), "{metrics}");
    let shown = site.run(&["status"]).exits(0).stdout;
    let after = shown.split("cannot be used:\n").nth(1).unwrap_or_else(|| panic!("{shown}"));
    for (line, problem) in after.lines().zip(&refused) {
        assert_eq!(Some(line.trim()), problem.as_str(), "{shown}");
    }
    assert!(daemon.log().contains("birth_dat"), "{}", daemon.log());
    // Mended, it is taken without a further word.
    let sex = std::fs::read_to_string(site.path("mappings/tables/sex.csv")).expect("a table");
    site.write("mappings/tables/sex.csv", sex.replace("XX,xenial,\n", ""));
    site.write("mappings/hl7v2.toml", good);
    eventually("the mended set", || Some(version(&daemon)).filter(|found| *found != before));
    assert_eq!(in_force(&daemon, "his")["refused"], Value::Null);
    let usable = || daemon.log().matches("the mapping files are usable again").count();
    eventually("the end of the trouble in the log", || (usable() == 1).then_some(()));
    append(&site, "mappings/tables/vip.csv", "VVIP,true,");
    let mended = version(&daemon);
    daemon.hang_up();
    eventually("one more set", || Some(version(&daemon)).filter(|found| *found != mended));
    assert_eq!(usable(), 1, "only after a refusal");
    assert_eq!(connection.ask(admission("2", "ZY")).code(), "AA");
    assert_eq!(class_of(&daemon, "2"), "inpatient");
}

/// The mapping that last wrote the first record, visit and report of a patient, as look-ups tell it.
fn written_by(daemon: &Daemon<'_>, number: &str) -> [Value; 3] {
    let shown = daemon.json(&format!("/v1/persons/{}", daemon.one_id(number)));
    let found = [&shown["sources"][0], &daemon.visit(number), &daemon.lab_reports(number)[0]];
    found.map(|document| document["mapping_version"].clone())
}

#[test]
fn every_record_says_by_which_mapping_it_was_last_written_and_no_event_does() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", admission("1", "I"));
    let result = |id: &str, at: &str, value: &str| {
        let results = [number("K", value, "mmol/L", "", "", "F")];
        let visit = segment("PV1", &[(2, "I"), (19, "V-1")]);
        report(id, at, "P-1", "F1", "F", &results).replacen("\rOBR", &format!("\r{visit}\rOBR"), 1)
    };
    daemon.accept("his", result("2", "20240305110000", "4.1"));
    let before = Value::from(version(&daemon));
    assert_eq!(written_by(&daemon, "HIS|P-1"), [before.clone(), before.clone(), before.clone()]);
    append(&site, "mappings/tables/patient-class.csv", "ZY,inpatient,");
    daemon.hang_up();
    let after = eventually("the new version", || Some(Value::from(version(&daemon))).filter(|found| *found != before));
    let told = daemon.feed().len();
    assert_eq!(written_by(&daemon, "HIS|P-1"), [before.clone(), before.clone(), before.clone()], "not by being loaded");
    assert_eq!(daemon.feed().len(), told, "a new mapping alone changes nothing");
    // The result is corrected; patient and visit are said again.
    daemon.accept("his", result("3", "20240305120000", "4.2"));
    assert_eq!(written_by(&daemon, "HIS|P-1"), [after.clone(), after.clone(), after.clone()]);
    let events = daemon.feed();
    assert!(events.len() > told, "the correction");
    assert!(!events.iter().any(|event| event.to_string().contains("mapping_version")), "{events:?}");
    // From the shell as well.
    let shown = site.json(&["person", "show", &daemon.one_id("HIS|P-1"), "--json"]);
    let told = [&shown["sources"][0], &shown["visits"][0], &shown["lab_reports"][0]];
    assert_eq!(told.map(|document| &document["mapping_version"]), [&after; 3]);
    assert_eq!(site.json(&["person", "links", "--json"])["links"][0]["mapping_version"], after);
    let csv = site.run(&["person", "links", "--csv"]).exits(0).stdout;
    assert!(csv.starts_with("source,system,identifier,one_id,link\n"), "{csv}");
    // A message says what it went through, and is explained by the files as they are now.
    let explained = site.json(&["mapping", "explain", "--message", "1", "--json"]);
    assert_eq!((&explained["mapping"], &explained["message"]["mapping_version"]), (&after, &before));
    assert_eq!(explained["message"]["state"], "processed");
    let shown = site.run(&["mapping", "explain", "--message", "1"]).exits(0).stdout;
    let stored = format!("message 1 is stored as processed, by mapping {}", before.as_str().unwrap_or("?"));
    assert!(shown.contains(&stored), "{shown}");
}
