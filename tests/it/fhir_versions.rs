//! Servers of STU3 and R5: the base mapping reads a visit, its diagnosis and a report with nested results where these versions have them.

use serde_json::{Value, json};

use crate::fhir::{Emr, known, patient, values, visit_becomes};
use crate::fhir_server::Manner;
use crate::support::eventually;
use crate::support::site::Site;

/// A number of a result, without what the versions name differently.
fn result(code: &str, value: f64) -> Value {
    json!({
        "status": "final", "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "subject": {"reference": "Patient/1"}, "valueQuantity": {"value": value, "unit": "mmol/L"}
    })
}

/// A report whose one result is a group with a member.
fn report(encounter: (&str, Value)) -> Value {
    let mut report = json!({
        "status": "final", "code": {"text": "电解质"}, "subject": {"reference": "Patient/1"},
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "LAB"}]}],
        "result": [{"reference": "Observation/1"}]
    });
    if encounter.0 == "context" {
        // STU3 has one category.
        report["category"] = report["category"][0].clone();
    }
    report[encounter.0] = encounter.1;
    report
}

/// What a server of a version has, and the change that follows, each `Type/id` with its content.
struct Version {
    number: &'static str,
    name: &'static str,
    visit: Value,
    ended: Value,
    diagnosis: Value,
    group: Value,
    report: Value,
}

fn follow(version: Version) {
    let emr = Emr::start(Manner { fhir_version: version.number.to_owned(), ..Manner::default() });
    emr.put("Patient/1", patient("M1", "孙丽"));
    emr.put("Encounter/1", version.visit);
    emr.put("Condition/1", version.diagnosis);
    emr.put("Observation/1", version.group);
    emr.put("Observation/2", result("2823-3", 4.1));
    emr.put("DiagnosticReport/1", version.report);
    let site = Site::configured(&emr.configuration("200ms", ""));
    let daemon = site.start();
    visit_becomes(&daemon, "HIS|M1", "status", "in_progress");
    let visit = eventually("the visit with its diagnosis", || {
        known(&daemon, "HIS|M1", "visits")?.into_iter().find(|visit| visit["diagnoses"][0]["code"] == "I10")
    });
    assert_eq!(
        (&visit["visit_id"], &visit["reason"], &visit["class"], &visit["started_at"]),
        (&json!("emr:V1"), &json!("胸闷"), &json!("inpatient"), &json!("2026-02-27T08:30:00+08:00"))
    );
    let reports = |wanted: f64| {
        known(&daemon, "HIS|M1", "lab-reports").filter(|reports| reports.len() == 1 && values(&reports[0]) == [wanted])
    };
    let report = eventually("the report with the member of its group", || reports(4.1)).remove(0);
    assert_eq!((&report["visit_id"], &report["status"]), (&json!("emr:V1"), &json!("final")));
    let sources = daemon.get("/v1/sources", site.engineer()).ok().json();
    assert_eq!(sources["sources"][1]["polling"]["fhir_version"], version.name);

    emr.put("Encounter/1", version.ended);
    visit_becomes(&daemon, "HIS|M1", "ended_at", "2026-03-02T10:00:00+08:00");
    visit_becomes(&daemon, "HIS|M1", "status", "finished");
    emr.put("Observation/2", result("2823-3", 5.6));
    eventually("the corrected result", || reports(5.6));
    emr.delete("DiagnosticReport/1");
    eventually("the report to be withdrawn", || {
        let reports = known(&daemon, "HIS|M1", "lab-reports")?;
        reports
            .iter()
            .any(|report| report["report_id"] == "emr:1" && report["status"] == "entered_in_error")
            .then_some(())
    });
}

#[test]
fn a_server_of_stu3_is_followed() {
    let visit = |status: &str, period: Value| {
        json!({
            "status": status, "class": {"system": "http://hl7.org/fhir/v3/ActCode", "code": "IMP"}, "period": period,
            "identifier": [{"value": "V1"}], "subject": {"reference": "Patient/1"}, "reason": [{"text": "胸闷"}]
        })
    };
    let mut group = result("24326-1", 0.0);
    group.as_object_mut().unwrap().remove("valueQuantity");
    group["related"] = json!([{"type": "has-member", "target": {"reference": "Observation/2"}}]);
    follow(Version {
        number: "3.0.2",
        name: "STU3",
        visit: visit("in-progress", json!({"start": "2026-02-27T08:30:00+08:00"})),
        ended: visit("finished", json!({"start": "2026-02-27T08:30:00+08:00", "end": "2026-03-02T10:00:00+08:00"})),
        diagnosis: json!({
            "clinicalStatus": "active", "verificationStatus": "confirmed", "code": {"coding": [{"code": "I10"}], "text": "高血压"},
            "subject": {"reference": "Patient/1"}, "context": {"reference": "Encounter/1"}
        }),
        group,
        report: report(("context", json!({"reference": "Encounter/1"}))),
    });
}

#[test]
fn a_server_of_r5_is_followed() {
    let visit = |status: &str, period: Value| {
        json!({
            "status": status, "actualPeriod": period, "identifier": [{"value": "V1"}], "subject": {"reference": "Patient/1"},
            "class": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"}]}],
            "reason": [{"value": [{"concept": {"text": "胸闷"}}]}],
            "diagnosis": [{"condition": [{"reference": {"reference": "Condition/1"}}]}]
        })
    };
    let mut group = result("24326-1", 0.0);
    group.as_object_mut().unwrap().remove("valueQuantity");
    group["hasMember"] = json!([{"reference": "Observation/2"}]);
    follow(Version {
        number: "5.0.0",
        name: "R5",
        visit: visit("in-progress", json!({"start": "2026-02-27T08:30:00+08:00"})),
        // A stay that is over, whose papers are not: R5 alone has this.
        ended: visit("discharged", json!({"start": "2026-02-27T08:30:00+08:00", "end": "2026-03-02T10:00:00+08:00"})),
        diagnosis: json!({
            "code": {"coding": [{"code": "I10"}], "text": "高血压"}, "subject": {"reference": "Patient/1"},
            "verificationStatus": {"coding": [{"code": "confirmed"}]}
        }),
        group,
        report: report(("encounter", json!({"reference": "Encounter/1"}))),
    });
}
