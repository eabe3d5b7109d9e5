//! What a person may ask for: a copy of all that is held, that it is sent to nobody, and that it is erased without a trace.

use std::path::Path;

use serde_json::Value;

use crate::fhir::{Emr, encounter, known, observation, patient as fhir_patient, report as fhir_report, visit_becomes};
use crate::fhir_server::Manner;
use crate::support::daemon::{Daemon, column};
use crate::support::eventually;
use crate::support::hl7::{
    admission_of_nobody, adt, inpatient, message, number, person, registration, report, segment,
};
use crate::support::site::{Site, configuration};

/// Values of one patient that stand nowhere else.
const CANARIES: [&str; 7] =
    ["司空见惯", "CANARY-MRN-77", "13900007777", "CANARY-STREET", "CANARY-VISIT-1", "CANARY-REPORT-1", "CANARY-RESULT"];

fn patient() -> String {
    let contact = [(11, "CANARY-STREET^^杭州市^浙江省"), (13, "^PRN^PH^^^^^^^^^13900007777")];
    person("CANARY-MRN-77", "司空^见惯", "19710203", "M", &contact)
}

/// A patient with a visit, a report, a message that failed, and one that was read a second time after a change; and another patient.
fn fill(daemon: &Daemon<'_>) -> String {
    let visit = inpatient("CANARY-VISIT-1", "ICU^1^1", "20240305103000", "");
    daemon.accept("his", adt("A01", "C1", "20240305103000", &[patient(), visit]));
    let result = segment("OBX", &[(1, "1"), (2, "ST"), (3, "X^Text"), (5, "CANARY-RESULT"), (11, "F")]);
    daemon.accept("lis", report("C2", "20240305110000", "CANARY-MRN-77", "CANARY-REPORT-1", "F", &[result]));
    // Refused, so that no One ID leads to it: a merge of a number into itself.
    let merge = [patient(), segment("MRG", &[(1, "CANARY-MRN-77^^^HIS^MR")])];
    assert_ne!(daemon.send("his", adt("A40", "C3", "20240305113000", &merge)).code(), "AA");
    daemon.accept("his", registration("C4", "P2", "钱^多多"));
    daemon.one_id("HIS|CANARY-MRN-77")
}

/// Every file below `directory` that holds one of the canaries, in UTF-8 or GB18030.
fn leaks(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(leaks(&path));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        for canary in CANARIES {
            if bytes.windows(canary.len()).any(|window| window == canary.as_bytes()) {
                found.push(format!("{}: {canary}", path.file_name().unwrap().to_string_lossy()));
            }
        }
    }
    found
}

#[test]
fn an_erased_person_s_values_are_in_no_file_and_in_no_answer() {
    let site = Site::new();
    let daemon = site.start();
    let one_id = fill(&daemon);
    let before = daemon.feed();
    // So that the search below proves something.
    assert!(CANARIES.iter().all(|canary| leaks(&site.path("data")).iter().any(|leak| leak.ends_with(canary))));
    let erased = site.json(&["person", "erase", &one_id, "--reason", "asked for it", "--json"]);
    let counts = ["records", "visits", "lab_reports", "messages"].map(|name| erased[name].as_u64().unwrap());
    assert_eq!((counts, &erased["complete"]), ([2, 1, 1, 3], &Value::Bool(true)), "{erased}");
    assert_eq!(leaks(&site.path("data")), [""; 0]);
    let copy = site.path("copy/now.db");
    site.json(&["backup", copy.to_str().unwrap(), "--json"]);
    assert_eq!(leaks(&site.path("copy")), [""; 0]);
    let log = daemon.log();
    assert!(CANARIES.iter().all(|canary| !log.contains(canary)), "{log}");
    // The place of each event stays, and what was about others is as it was.
    let after = daemon.feed();
    let others: Vec<&Value> = before.iter().filter(|event| event["subject"] != one_id.as_str()).collect();
    assert_eq!(after[..others.len()].iter().collect::<Vec<_>>(), others);
    let notice = &after[others.len()];
    assert_eq!(
        (notice["type"].as_str(), notice["data"]["erased"][0].as_str()),
        (Some("patient.erased"), Some(one_id.as_str()))
    );
    assert_eq!(after.len(), others.len() + 1);
    let shown = daemon.json(&format!("/v1/persons/{one_id}"));
    assert!(shown["erased_at"].is_string() && shown.get("name").is_none(), "{shown}");
    for list in ["visits", "lab-reports", "history"] {
        let held = daemon.json(&format!("/v1/persons/{one_id}/{list}"));
        assert_eq!(held[list.replace('-', "_")].as_array().unwrap().len(), 0, "{held}");
    }
    assert_eq!(daemon.person("HIS|P2")["name"], "钱多多");
    assert_eq!(site.messages(&["--state", "failed"]).len(), 0);
    let again = site.run(&["person", "erase", &one_id, "--reason", "once more"]).exits(1);
    assert!(again.stderr.contains("was erased"), "{}", again.stderr);
}

#[test]
fn whoever_asked_for_reports_only_is_told_of_an_erasure_too() {
    let site = Site::configured(&configuration("", "[[consumers]]\nname = \"crm\"\nevents = [\"lab.critical\"]\n"));
    let daemon = site.start();
    let one_id = fill(&daemon);
    site.run(&["person", "erase", &one_id, "--reason", "asked for it"]).exits(0);
    assert_eq!(column(&daemon.feed(), "type"), ["patient.erased"]);
}

#[test]
fn after_an_erasure_a_resend_has_no_effect_and_a_new_message_is_of_a_new_person() {
    let site = Site::new();
    let daemon = site.start();
    let one_id = fill(&daemon);
    site.run(&["person", "erase", &one_id, "--reason", "asked for it"]).exits(0);
    let before = daemon.feed().len();
    let visit = inpatient("CANARY-VISIT-1", "ICU^1^1", "20240305103000", "");
    daemon.accept("his", adt("A01", "C1", "20240305103000", &[patient(), visit]));
    assert_eq!(daemon.feed().len(), before);
    assert_eq!(leaks(&site.path("data")), [""; 0]);
    daemon.accept("his", adt("A04", "C9", "20250305103000", &[patient()]));
    let person = daemon.person("HIS|CANARY-MRN-77");
    assert_ne!(person["one_id"], one_id.as_str());
    assert_eq!(person["name"], "司空见惯");
}

#[test]
fn an_erasure_takes_along_who_was_merged_into_the_person() {
    let site = Site::new();
    let daemon = site.start();
    let one_id = fill(&daemon);
    daemon.accept("his", registration("M1", "P3", "张^三丰"));
    let retired = daemon.one_id("HIS|P3");
    site.run(&["person", "merge", &retired, &one_id, "--reason", "one patient"]).exits(0);
    let erased = site.json(&["person", "erase", &retired, "--reason", "asked for it", "--json"]);
    assert_eq!(erased["one_id"], one_id.as_str());
    let mut told: Vec<&str> = erased["one_ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    told.sort_unstable();
    let mut expected = [one_id.as_str(), retired.as_str()];
    expected.sort_unstable();
    assert_eq!(told, expected);
    let bytes = std::fs::read(site.path("data/heyi.db")).unwrap();
    assert!(!bytes.windows("张三丰".len()).any(|window| window == "张三丰".as_bytes()));
}

#[test]
fn an_export_holds_everything_that_was_ever_received_of_a_person_and_nothing_of_others() {
    let site = Site::new();
    let daemon = site.start();
    let one_id = fill(&daemon);
    let export = site.json(&["person", "export", &one_id]);
    let text = export.to_string();
    assert!(CANARIES.iter().all(|canary| text.contains(canary)), "{text}");
    assert!(!text.contains("HIS|P2") && !text.contains("多多"));
    let lengths = ["records", "visits", "lab_reports", "messages"].map(|name| export[name].as_array().unwrap().len());
    assert_eq!(lengths, [2, 1, 1, 3]);
    let told: Vec<&Value> = export["events"].as_array().unwrap().iter().collect();
    let expected = daemon.feed();
    assert_eq!(told, expected.iter().filter(|event| event["subject"] == one_id.as_str()).collect::<Vec<_>>());
    site.run(&["person", "export", "01ARZ3NDEKTSV4RRFFQ69G5FAV"]).exits(1);
}

#[test]
fn a_restore_erases_again_whom_the_replaced_store_had_erased() {
    let site = Site::new();
    let daemon = site.start();
    let one_id = fill(&daemon);
    let copy = site.path("copy/before.db");
    let copy = copy.to_str().unwrap();
    site.json(&["backup", copy, "--json"]);
    site.run(&["person", "erase", &one_id, "--reason", "asked for it"]).exits(0);
    daemon.kill();
    let restored = site.json(&["restore", copy, "--json"]);
    assert_eq!(restored["erased"], serde_json::json!([one_id]));
    std::fs::remove_file(restored["replaced"].as_str().unwrap()).unwrap();
    assert_eq!(leaks(&site.path("data")), [""; 0]);
    let daemon = site.start();
    assert!(daemon.json(&format!("/v1/persons/{one_id}"))["erased_at"].is_string());
}

#[test]
fn an_erased_patient_of_a_fhir_server_comes_back_only_when_the_server_says_something_else() {
    let emr = Emr::start(Manner::default());
    let name = |number: &str| format!("CANARY-{number}");
    emr.put("Patient/CANARY-P", fhir_patient(&name("MRN-77"), "司空见惯"));
    emr.put("Encounter/CANARY-E", encounter(&name("VISIT-1"), "in-progress", "Patient/CANARY-P"));
    emr.put("Observation/CANARY-O", observation("CANARY-RESULT", 4.1, "Patient/CANARY-P"));
    emr.put(
        "DiagnosticReport/CANARY-R",
        fhir_report(&["Observation/CANARY-O"], "Patient/CANARY-P", "Encounter/CANARY-E"),
    );
    emr.put("Patient/2", fhir_patient("P2", "钱多多"));
    let site = Site::configured(&emr.configuration("200ms", ""));
    let daemon = site.start();
    visit_becomes(&daemon, "HIS|CANARY-MRN-77", "status", "in_progress");
    eventually("the report", || known(&daemon, "HIS|CANARY-MRN-77", "lab-reports").filter(|found| !found.is_empty()));
    let one_id = daemon.one_id("HIS|CANARY-MRN-77");
    let is_canary = |leak: &String| !leak.contains("CANARY-STREET");
    assert!(leaks(&site.path("data")).iter().any(is_canary));
    let erased = site.json(&["person", "erase", &one_id, "--reason", "asked for it", "--json"]);
    assert_eq!(erased["resources"], 4, "{erased}");
    let bytes = |name: &str| std::fs::read(site.path(name)).unwrap_or_default();
    let holds = |text: &str| {
        ["data/heyi.db", "data/heyi.db-wal"]
            .iter()
            .any(|file| bytes(file).windows(text.len()).any(|found| found == text.as_bytes()))
    };
    assert!(!holds("CANARY") && !holds("司空见惯"));
    // Everything is compared anew: as long as the server says the same, nobody comes back.
    emr.put("Patient/2", fhir_patient("P2", "钱多多多"));
    eventually("the next poll", || (daemon.person("HIS|P2")["name"] == "钱多多多").then_some(()));
    assert!(!holds("CANARY") && !holds("司空见惯"));
    assert_eq!(daemon.json("/v1/persons?identifier=HIS%7CCANARY-MRN-77")["persons"], serde_json::json!([]));
    // The server speaks of the patient anew.
    emr.put("Patient/CANARY-P", fhir_patient(&name("MRN-77"), "司空见"));
    let found = eventually("the new person", || {
        let found = daemon.json("/v1/persons?identifier=HIS%7CCANARY-MRN-77");
        found["persons"].as_array().filter(|persons| persons.len() == 1).map(|persons| persons[0].clone())
    });
    assert_ne!(found["one_id"], one_id.as_str());
}

#[test]
fn messages_are_the_person_s_by_what_they_say_not_by_what_became_of_them() {
    let site = Site::new();
    let daemon = site.start();
    let one_id = fill(&daemon);
    // Without a number, but with the name and the date of birth; of somebody else of that name; unreadable with the number in it.
    let nameless = segment("PID", &[(5, "司空^见惯"), (7, "19710203")]);
    assert_ne!(daemon.send("his", adt("A01", "N1", "20240306103000", &[nameless])).code(), "AA");
    let other = segment("PID", &[(5, "司空^见惯"), (7, "19990909")]);
    assert_ne!(daemon.send("his", adt("A01", "N2", "20240306103000", &[other])).code(), "AA");
    let mut unreadable = message("ADT^A01", "N3", "20240306103000", &[patient()]).into_bytes();
    unreadable.extend(b"ZZZ|\xFF\xFE\xFF\r");
    daemon.send("his", unreadable);
    daemon.send("his", admission_of_nobody("N4"));
    let erased = site.json(&["person", "erase", &one_id, "--reason", "asked for it", "--json"]);
    assert_eq!(erased["messages"], 5, "{erased}");
    let results = [number("K", "4.1", "mmol/L", "3.5-5.3", "N", "F")];
    daemon.accept("lis", report("R9", "20240307110000", "P2", "F9", "F", &results));
}

#[test]
fn a_restriction_is_told_and_lifted_and_changes_nothing_that_is_held() {
    let site = Site::new();
    let daemon = site.start();
    let one_id = fill(&daemon);
    let held = daemon.person("HIS|CANARY-MRN-77");
    let restrict = |more: &[&str]| {
        let mut arguments = vec!["person", "restrict", &one_id, "--reason", "asked for it", "--json"];
        arguments.extend_from_slice(more);
        site.json(&arguments)
    };
    assert_eq!(restrict(&[])["changed"], true);
    assert_eq!(restrict(&[])["changed"], false);
    // Whoever reads the feed from its beginning finds that there is such a One ID, and nothing of what happened before.
    let about = || {
        let mut told = daemon.feed();
        told.retain(|event| event["subject"] == one_id.as_str());
        told
    };
    let told = about();
    assert_eq!(column(&told, "type"), ["patient.restricted"]);
    assert_eq!(told[0]["data"]["restricted"], true);
    let ask = |path: &str| daemon.get(path, site.consumer());
    ask(&format!("/v1/persons/{one_id}")).problem(404);
    ask(&format!("/v1/persons/{one_id}/visits")).problem(404);
    assert_eq!(ask("/v1/persons?identifier=HIS%7CCANARY-MRN-77").ok().json()["persons"], serde_json::json!([]));
    let snapshot = ask("/v1/feed/snapshot?limit=1000").ok().text();
    assert!(!snapshot.contains(&one_id) && CANARIES.iter().all(|canary| !snapshot.contains(canary)), "{snapshot}");
    // Staff still see what is held.
    assert_eq!(daemon.visits("HIS|CANARY-MRN-77").len(), 1);
    assert_eq!(restrict(&["--lift"])["changed"], true);
    let told = about();
    let after = column(&told, "type");
    assert!(after.ends_with(&["patient.restricted", "patient.updated", "visit.updated", "lab.resulted"]), "{after:?}");
    let after = daemon.person("HIS|CANARY-MRN-77");
    assert_eq!((&after["name"], &after["sources"]), (&held["name"], &held["sources"]));
}
