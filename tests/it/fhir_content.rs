//! What resources say in unusual ways: references of every kind, patients inside other resources, and what is taken back piece by piece.

use serde_json::{Value, json};

use crate::fhir::{Emr, encounter, fill, known, observation, patient, report, values, visit_becomes};
use crate::fhir_server::Manner;
use crate::support::daemon::Daemon;
use crate::support::eventually;
use crate::support::site::Site;

fn visits(daemon: &Daemon<'_>, number: &str) -> Vec<String> {
    let found = known(daemon, number, "visits").unwrap_or_default();
    let mut ids: Vec<String> = found.iter().map(|visit| visit["visit_id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[test]
fn a_patient_is_found_by_every_kind_of_reference_that_names_one() {
    let emr = Emr::start(Manner::default());
    emr.put("Patient/1", patient("M1", "孙丽"));
    let absolute = format!("{}/Patient/1", emr.server.base());
    emr.put("Encounter/relative", encounter("V1", "planned", "Patient/1"));
    emr.put("Encounter/version", encounter("V2", "planned", "Patient/1/_history/1"));
    emr.put("Encounter/absolute", encounter("V3", "planned", &absolute));
    emr.put("Encounter/both", encounter("V4", "planned", &format!("{absolute}/_history/1")));
    // A patient inside another resource is known by a number, and by nothing else.
    let inside = |number: &str, mut contained: Value| {
        let mut inside = encounter(number, "planned", "#p");
        contained["resourceType"] = json!("Patient");
        contained["id"] = json!("p");
        inside["contained"] = json!([contained]);
        inside
    };
    emr.put("Encounter/inside", inside("V5", patient("M5", "周强")));
    // What is known of the number otherwise stays.
    let number_alone = json!({"identifier": patient("M1", "")["identifier"]});
    emr.put("Encounter/known", inside("V10", number_alone.clone()));
    let mut named = encounter("V11", "planned", "");
    named["subject"] = json!({"identifier": number_alone["identifier"][0]});
    emr.put("Encounter/named", named);
    emr.put("Encounter/nameless", inside("V9", json!({"name": [{"text": "周强"}]})));
    // Of these nobody can know whom they mean: they are named, and cost the others nothing.
    emr.put("Encounter/condition", encounter("V6", "planned", "Patient?identifier=HIS|M1"));
    emr.put("Encounter/bundle", encounter("V7", "planned", "urn:uuid:05efabf0-4be2-4561-91ce-51548425acb9"));
    emr.put("Encounter/elsewhere", encounter("V8", "planned", "http://other.example/fhir/Patient/1"));
    let site = Site::configured(&emr.configuration("200ms", ""));
    let daemon = site.start();
    eventually("the visits", || {
        (visits(&daemon, "HIS|M1") == ["emr:V1", "emr:V10", "emr:V11", "emr:V2", "emr:V3", "emr:V4"]).then_some(())
    });
    let failed = eventually("a message of each that nobody can place", || {
        Some(site.messages(&["--state", "failed"])).filter(|messages| messages.len() == 4)
    });
    let names: Vec<&Value> = failed.iter().map(|message| &message["control_id"]).collect();
    for name in ["Encounter/nameless", "Encounter/condition", "Encounter/bundle", "Encounter/elsewhere"] {
        assert!(names.contains(&&json!(name)), "{names:?}");
    }
    assert_eq!(visits(&daemon, "HIS|M5"), ["emr:V5"]);
    let person = daemon.json("/v1/persons?identifier=HIS%7CM1")["persons"][0].clone();
    assert_eq!((&person["name"], &person["birth_date"]), (&json!("孙丽"), &json!("1962-04-09")));
    // They are mended at the server.
    for (name, number) in
        [("inside", "V5"), ("nameless", "V9"), ("condition", "V6"), ("bundle", "V7"), ("elsewhere", "V8")]
    {
        emr.put(&format!("Encounter/{name}"), encounter(number, "planned", "Patient/1"));
    }
    eventually("all visits", || (visits(&daemon, "HIS|M1").len() == 11).then_some(()));
}

#[test]
fn an_encounter_that_moves_to_another_patient_takes_its_report_along() {
    let emr = Emr::start(Manner::default());
    fill(&emr);
    let mut other = patient("M2", "周强");
    other["birthDate"] = json!("1990-10-10");
    emr.put("Patient/2", other);
    let site = Site::configured(&emr.configuration("200ms", ""));
    let daemon = site.start();
    visit_becomes(&daemon, "HIS|M1", "visit_id", "emr:V1");
    emr.put("Encounter/1", encounter("V1", "in-progress", "Patient/2"));
    emr.put("DiagnosticReport/1", report(&["Observation/1", "Observation/2"], "Patient/2", "Encounter/1"));
    visit_becomes(&daemon, "HIS|M2", "visit_id", "emr:V1");
    eventually("the report to go along", || {
        let (before, now) = (known(&daemon, "HIS|M1", "lab-reports")?, known(&daemon, "HIS|M2", "lab-reports")?);
        (before.is_empty() && now.len() == 1 && values(&now[0]) == [4.1, 140.0]).then_some(())
    });
    assert!(visits(&daemon, "HIS|M1").is_empty());
    // And back.
    emr.put("Encounter/1", encounter("V1", "cancelled", "Patient/1"));
    visit_becomes(&daemon, "HIS|M1", "status", "cancelled");
    assert!(visits(&daemon, "HIS|M2").is_empty());
}

#[test]
fn results_that_are_taken_back_one_by_one_leave_their_report() {
    let emr = Emr::start(Manner::default());
    fill(&emr);
    let site = Site::configured(&emr.configuration("200ms", ""));
    let daemon = site.start();
    let report_becomes = |what: &str, is_so: &dyn Fn(&Value) -> bool| {
        eventually(what, || {
            let reports = known(&daemon, "HIS|M1", "lab-reports")?;
            reports.into_iter().find(|report| report["report_id"] == "emr:1").filter(|report| is_so(report))
        })
    };
    report_becomes("both results", &|report| values(report) == [4.1, 140.0]);
    let mut wrong = observation("2823-3", 4.1, "Patient/1");
    wrong["status"] = json!("entered-in-error");
    emr.put("Observation/1", wrong);
    // It is no value any more, whatever stands in it.
    let shown = report_becomes("one of them taken back", &|report| {
        let first = report["results"].as_array().and_then(|all| all.iter().find(|result| result["code"] == "2823-3"));
        first.is_none_or(|result| result["status"] == "entered_in_error")
    });
    assert_eq!(shown["status"], "final");
    emr.delete("Observation/1");
    emr.delete("Observation/2");
    report_becomes("no result left", &|report| values(report).is_empty() && report["status"] == "final");
    let mut cancelled = report(&[], "Patient/1", "Encounter/1");
    cancelled["status"] = json!("cancelled");
    emr.put("DiagnosticReport/1", cancelled);
    report_becomes("the report cancelled", &|report| report["status"] == "cancelled");
}

#[test]
fn a_patient_that_is_deleted_and_made_anew_with_its_number_keeps_the_one_id_and_its_visits() {
    let emr = Emr::start(Manner::default());
    fill(&emr);
    let site = Site::configured(&emr.configuration("200ms", ""));
    let daemon = site.start();
    visit_becomes(&daemon, "HIS|M1", "visit_id", "emr:V1");
    let one_id = daemon.one_id("HIS|M1");
    emr.delete("Patient/1");
    emr.put("Patient/anew", patient("M1", "孙丽"));
    emr.put("Encounter/1", encounter("V1", "in-progress", "Patient/anew"));
    emr.put("Encounter/2", encounter("V2", "planned", "Patient/anew"));
    eventually("both visits", || (visits(&daemon, "HIS|M1") == ["emr:V1", "emr:V2"]).then_some(()));
    assert_eq!(daemon.one_id("HIS|M1"), one_id);
    let person = daemon.json("/v1/persons?identifier=HIS%7CM1")["persons"][0].clone();
    assert!(person["sources"].as_array().unwrap().iter().any(|source| source["deactivated"] != true), "{person}");
}
