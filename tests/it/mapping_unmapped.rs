//! Codes that no table knows are counted once for each message, and the row that a table gets mends what waited for it.

use serde_json::Value;

use crate::support::daemon::{Daemon, column};
use crate::support::eventually;
use crate::support::hl7::{adt, pid, registration, report, segment};
use crate::support::site::{Site, configuration, copy_tree};

/// The codes as `heyi mapping unmapped` lists them.
fn unmapped(site: &Site) -> Vec<Value> {
    let listed = site.json(&["mapping", "unmapped", "--json"]);
    listed["unmapped"].as_array().unwrap_or_else(|| panic!("no list: {listed}")).clone()
}

/// What became of each code that no table knows.
fn codes_outcome(site: &Site) -> Vec<String> {
    column(&unmapped(site), "outcome").into_iter().map(str::to_owned).collect()
}

fn add_row(site: &Site, table: &str, row: &str) {
    let file = format!("mappings/tables/{table}.csv");
    let before = std::fs::read_to_string(site.path(&file)).expect("a table");
    site.write(&file, format!("{}\n{row}\n", before.trim_end()));
}

/// A laboratory result in a status of `letter`.
fn result(code: &str, value: &str, letter: &str) -> String {
    segment("OBX", &[(2, "NM"), (3, code), (5, value), (11, letter)])
}

fn state(site: &Site, id: &str) -> String {
    site.messages(&["--control-id", id])[0]["state"].as_str().expect("a state").to_owned()
}

fn status_of(daemon: &Daemon<'_>) -> Value {
    daemon.lab_reports("HIS|P1")[0]["status"].clone()
}

#[test]
fn a_code_is_counted_once_for_each_message_however_often_it_is_tried() {
    let site = Site::new();
    let daemon = site.start();
    for (id, at) in [("1", "20240305110000"), ("2", "20240305120000")] {
        let failed = daemon.send("lis", report(id, at, "P1", "F1", "Q9", &[result("K", "4.1", "F")]));
        assert_eq!((failed.code(), failed.control_id()), ("AE", id));
    }
    // The sender repeats itself, and so does an operator.
    daemon.send("lis", report("2", "20240305120000", "P1", "F1", "Q9", &[result("K", "4.1", "F")]));
    site.run(&["message", "retry"]).exits(1);
    let codes = unmapped(&site);
    assert_eq!(codes.len(), 1, "{codes:?}");
    assert_eq!(column(&codes, "code"), ["Q9"]);
    assert_eq!(column(&codes, "target"), ["lab_report.status"]);
    assert_eq!((&codes[0]["count"], &codes[0]["waiting"], &codes[0]["message"]), (&2.into(), &2.into(), &2.into()));
    let quality = daemon.json("/v1/quality")["sources"].clone();
    let lis = quality.as_array().expect("sources").iter().find(|source| source["name"] == "lis").expect("the source");
    assert_eq!((&lis["messages"]["failed"], &lis["unmapped"]), (&2.into(), &Value::from(codes)));
    assert_eq!(codes_outcome(&site), ["rejected"]);
    let shown = site.run(&["mapping", "unmapped"]).exits(0).stdout;
    assert!(shown.contains("report_status") && shown.contains("Q9"), "{shown}");
    assert_eq!(site.json(&["mapping", "unmapped", "--source", "his", "--json"])["unmapped"], serde_json::json!([]));
}

#[test]
fn a_new_row_takes_in_what_failed_in_order_and_turns_nothing_newer_back() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", registration("R", "P1", "张^伟"));
    let send = |id: &str, at: &str, status: &str, value: &str| {
        daemon.send("lis", report(id, at, "P1", "F1", status, &[result("K", value, "F")])).code().to_owned()
    };
    assert_eq!(send("1", "20240305110000", "Q9", "4.1"), "AE");
    assert_eq!(send("2", "20240305120000", "Q9", "4.2"), "AE");
    // Newer than what waits, and known.
    assert_eq!(send("3", "20240305130000", "C", "4.9"), "AA");
    add_row(&site, "report-status", "Q9,final,");
    eventually("both messages to be taken in", || {
        (state(&site, "1") == "processed" && state(&site, "2") == "processed").then_some(())
    });
    let report = &daemon.lab_reports("HIS|P1")[0];
    assert_eq!(
        (&report["status"], report["results"][0]["value_number"].to_string()),
        (&"corrected".into(), "4.9".into())
    );
    assert_eq!(unmapped(&site), Vec::<Value>::new(), "nothing waits any more");
    let told = daemon.feed().into_iter().filter(|event| event["data"]["cause"] == "retry");
    let told: Vec<String> = told.map(|event| event["data"]["results"][0]["value_number"].to_string()).collect();
    assert!(told.iter().all(|value| value == "4.9"), "{told:?}");
    assert_eq!(site.messages(&["--control-id", "3"])[0]["attempts"], 1, "what did not wait is left alone");
}

#[test]
fn what_was_stored_without_its_code_is_mended_too() {
    let site = Site::new();
    let daemon = site.start();
    let visit = segment("PV1", &[(2, "ZY"), (19, "V1"), (44, "20240305103000")]);
    daemon.accept("his", adt("A01", "1", "20240305103000", &[pid("P1", "张^伟"), visit]));
    assert_eq!(daemon.visit("HIS|P1")["class"], Value::Null);
    add_row(&site, "patient-class", "ZY,inpatient,");
    daemon.hang_up();
    eventually("the class", || (daemon.visit("HIS|P1")["class"] == "inpatient").then_some(()));
    let last = daemon.feed().pop().expect("an event");
    assert_eq!((&last["type"], &last["data"]["cause"]), (&"visit.updated".into(), &"retry".into()), "{last}");
    assert_eq!(unmapped(&site), Vec::<Value>::new());
}

#[test]
fn a_code_that_consumers_get_as_it_was_sent_is_listed_as_kept_until_a_row_comes() {
    let site = Site::new();
    let daemon = site.start();
    let drops = segment("OBX", &[(2, "NM"), (3, "K"), (5, "4.1"), (6, "滴"), (11, "F")]);
    daemon.accept("lis", report("1", "20240305110000", "P1", "F1", "F", &[drops]));
    assert_eq!(daemon.lab_reports("HIS|P1")[0]["results"][0]["unit"], "滴");
    let quality = daemon.json("/v1/quality")["sources"].clone();
    let lis = quality.as_array().expect("sources").iter().find(|source| source["name"] == "lis").expect("the source");
    assert_eq!((&lis["unmapped"][0]["code"], &lis["unmapped"][0]["outcome"]), (&"滴".into(), &"kept".into()));
    let shown = site.run(&["mapping", "unmapped"]).exits(0).stdout;
    assert!(shown.lines().any(|line| line.contains("滴") && line.contains("kept")), "{shown}");
    assert!(site.run(&["status"]).exits(0).stdout.contains("lis unit: 1 codes, 1 times"));
    add_row(&site, "unit", "滴,[drp],");
    daemon.hang_up();
    eventually("the unit", || (daemon.lab_reports("HIS|P1")[0]["results"][0]["unit"] == "[drp]").then_some(()));
    assert_eq!(unmapped(&site), Vec::<Value>::new());
}

#[test]
fn what_was_processed_is_never_made_worse_by_itself() {
    let site = Site::new();
    let daemon = site.start();
    let stay = |number: &str| segment("PV1", &[(2, "ZY"), (19, number), (44, "20240305103000")]);
    daemon.accept("his", adt("A01", "1", "20240305103000", &[pid("P1", "张^伟"), stay("V1")]));
    let with_reason = [pid("P2", "李^娜"), stay("V2"), segment("PV2", &[(3, "R^观察")])];
    daemon.accept("his", adt("A01", "2", "20240305104000", &with_reason));
    let mapping = std::fs::read_to_string(site.path("mappings/hl7v2.toml")).expect("a mapping");
    let reason = "reason       = [\"PV2-3.2\", \"PV2-3.1\"]";
    assert!(mapping.contains(reason));
    site.write("mappings/hl7v2.toml", mapping.replacen(reason, "reason = { from = 'PV2-3.2', required = true }", 1));
    add_row(&site, "patient-class", "ZY,inpatient,");
    daemon.hang_up();
    eventually("the second message to be taken in", || (daemon.visit("HIS|P2")["class"] == "inpatient").then_some(()));
    assert_eq!(state(&site, "1"), "processed", "the retry before it would have failed");
    assert_eq!(daemon.visit("HIS|P1")["started_at"], "2024-03-05T10:30:00+08:00");
    let codes = unmapped(&site);
    assert_eq!((column(&codes, "code"), &codes[0]["waiting"]), (vec!["ZY"], &1.into()), "{codes:?}");
}

#[test]
fn a_rejected_result_comes_in_when_its_code_is_known() {
    let site = Site::new();
    let daemon = site.start();
    let results = [result("K", "4.1", "F"), result("NA", "140", "Q9")];
    daemon.accept("lis", report("1", "20240305110000", "P1", "F1", "F", &results));
    assert_eq!(daemon.lab_reports("HIS|P1")[0]["results"].as_array().map(Vec::len), Some(1));
    add_row(&site, "result-status", "Q9,final,");
    daemon.hang_up();
    eventually("the second result", || {
        (daemon.lab_reports("HIS|P1")[0]["results"].as_array().map(Vec::len) == Some(2)).then_some(())
    });
    assert_eq!(status_of(&daemon), "final");
}

#[test]
fn a_row_that_came_while_the_daemon_was_down_is_found_at_its_start() {
    let site = Site::new();
    let daemon = site.start();
    daemon.send("lis", report("1", "20240305110000", "P1", "F1", "Q9", &[result("K", "4.1", "F")]));
    daemon.kill();
    add_row(&site, "report-status", "Q9,final,");
    let daemon = site.start();
    eventually("the message to be taken in", || (state(&site, "1") == "processed").then_some(()));
    assert_eq!(status_of(&daemon), "final");
}

#[test]
fn what_another_process_stores_by_older_files_is_taken_in_by_the_daemon_s() {
    let site = Site::new();
    copy_tree(&site.path("mappings"), &site.path("older"));
    add_row(&site, "report-status", "Q9,final,");
    let daemon = site.start();
    // From now on commands read the older files.
    site.write("config/heyi.toml", configuration("", "").replace("mappings/hl7v2.toml", "older/hl7v2.toml"));
    site.write("unknown/1.hl7", report("1", "20240305110000", "P1", "F1", "Q8", &[result("K", "4.1", "F")]));
    site.run(&["import", "lis", "unknown"]).exits(1);
    // Once and again: it does not take a start or another set.
    for id in ["2", "3"] {
        let folder = format!("in-{id}");
        let text = report(id, "20240305110000", &format!("P{id}"), &format!("F{id}"), "Q9", &[result("K", "4.1", "F")]);
        site.write(&format!("{folder}/{id}.hl7"), text);
        site.run(&["import", "lis", &folder]).exits(1);
        eventually("the message to be taken in", || (state(&site, id) == "processed").then_some(()));
        assert_eq!(daemon.lab_reports(&format!("HIS|P{id}"))[0]["status"], "final");
    }
    assert_eq!(column(&unmapped(&site), "code"), ["Q8"]);
    assert_eq!(site.messages(&["--control-id", "1"])[0]["attempts"], 1, "nobody knows its code");
    let metrics = daemon.get("/metrics", site.engineer()).ok().text();
    assert!(metrics.contains("heyi_waiting_retries_total{result=\"taken_in\"} 2"), "{metrics}");
}

#[test]
fn another_row_leaves_what_waits_alone() {
    let site = Site::new();
    let daemon = site.start();
    daemon.send("lis", report("1", "20240305110000", "P1", "F1", "Q9", &[result("K", "4.1", "F")]));
    daemon.send("lis", report("2", "20240305120000", "P2", "F2", "Q8", &[result("K", "4.1", "F")]));
    add_row(&site, "report-status", "Q8,final,");
    daemon.hang_up();
    eventually("the other message to be taken in", || (state(&site, "2") == "processed").then_some(()));
    assert_eq!(site.messages(&["--control-id", "1"])[0]["attempts"], 1);
    assert_eq!(column(&unmapped(&site), "code"), ["Q9"]);
}

#[test]
fn a_dismissed_message_waits_for_nothing() {
    let site = Site::new();
    let daemon = site.start();
    daemon.send("lis", report("1", "20240305110000", "P1", "F1", "Q9", &[result("K", "4.1", "F")]));
    daemon.send("lis", report("2", "20240305120000", "P2", "F2", "Q9", &[result("K", "4.1", "F")]));
    site.run(&["message", "dismiss", "1", "--reason", "sent by mistake"]).exits(0);
    assert_eq!(unmapped(&site)[0]["waiting"], 1);
    add_row(&site, "report-status", "Q9,final,");
    daemon.hang_up();
    eventually("the other message to be taken in", || (state(&site, "2") == "processed").then_some(()));
    assert_eq!(state(&site, "1"), "ignored");
}
