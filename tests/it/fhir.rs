//! A FHIR server as a source: whatever happens to it, to the network and to Heyi, every patient, visit and report ends as it is on the
//! server.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::fhir_server::{Fault, FhirServer, Histories, Manner};
use crate::support::daemon::Daemon;
use crate::support::eventually;
use crate::support::hl7::{adt, inpatient, person, registration};
use crate::support::http::request;
use crate::support::site::Site;

/// A FHIR server of its own, which runs beside the test.
pub(crate) struct Emr {
    _runtime: Runtime,
    pub(crate) server: FhirServer,
}

impl Emr {
    pub(crate) fn start(manner: Manner) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = runtime.block_on(FhirServer::start(manner));
        Self { _runtime: runtime, server }
    }

    /// Creates or changes `Type/id`, a second after what was before.
    pub(crate) fn put(&self, name: &str, content: Value) {
        let (kind, id) = name.split_once('/').unwrap();
        self.server.advance(Duration::from_secs(1));
        self.server.shared().model.put(kind, id, content);
    }

    pub(crate) fn delete(&self, name: &str) {
        let (kind, id) = name.split_once('/').unwrap();
        self.server.advance(Duration::from_secs(1));
        self.server.shared().model.delete(kind, id);
    }

    fn site(&self, interval: &str) -> Site {
        Site::configured(&self.configuration(interval, ""))
    }

    /// Sources `emr` (this server) and `his` (HL7 v2).
    pub(crate) fn configuration(&self, interval: &str, fhir: &str) -> String {
        format!(
            r#"
[http]
listen = "127.0.0.1:0"

[[sources]]
name = "his"
mapping = "mappings/his.toml"
authorities = ["HIS"]
mllp = {{ listen = "127.0.0.1:0" }}

[[sources]]
name = "emr"
mapping = "mappings/fhir-r4.toml"
fhir = {{ base_url = "{}", interval = "{interval}", resources = ["Patient", "Encounter", "DiagnosticReport", "Observation", "Condition"]{fhir} }}
"#,
            self.server.base()
        )
    }
}

pub(crate) fn patient(number: &str, name: &str) -> Value {
    let mrn = json!({"type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]}, "system": "HIS", "value": number});
    json!({"identifier": [mrn], "name": [{"text": name}], "gender": "female", "birthDate": "1962-04-09"})
}

pub(crate) fn encounter(number: &str, status: &str, patient: &str) -> Value {
    json!({
        "status": status, "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
        "identifier": [{"value": number}], "subject": {"reference": patient}, "period": {"start": "2026-02-27T08:30:00+08:00"}
    })
}

pub(crate) fn observation(code: &str, value: f64, patient: &str) -> Value {
    json!({
        "status": "final", "code": {"coding": [{"system": "http://loinc.org", "code": code}], "text": code},
        "subject": {"reference": patient}, "valueQuantity": {"value": value, "unit": "mmol/L"}
    })
}

pub(crate) fn report(results: &[&str], patient: &str, encounter: &str) -> Value {
    let results: Vec<Value> = results.iter().map(|name| json!({"reference": name})).collect();
    json!({
        "status": "final", "code": {"text": "电解质"}, "subject": {"reference": patient}, "encounter": {"reference": encounter},
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "LAB"}]}], "result": results
    })
}

/// A patient with a stay and a report of two results.
pub(crate) fn fill(emr: &Emr) {
    emr.put("Patient/1", patient("M1", "孙丽"));
    emr.put("Encounter/1", encounter("V1", "in-progress", "Patient/1"));
    emr.put("Observation/1", observation("2823-3", 4.1, "Patient/1"));
    emr.put("Observation/2", observation("2951-2", 140.0, "Patient/1"));
    emr.put("DiagnosticReport/1", report(&["Observation/1", "Observation/2"], "Patient/1", "Encounter/1"));
}

/// Waits until a visit of the patient is so.
pub(crate) fn visit_becomes(daemon: &Daemon<'_>, number: &str, field: &str, value: &str) {
    eventually(&format!("{field} {value}"), || {
        let visits = known(daemon, number, "visits")?;
        visits.iter().any(|visit| visit[field] == value).then_some(())
    });
}

/// The visits or lab reports of the person with this number; `None`: nobody has it yet.
pub(crate) fn known(daemon: &Daemon<'_>, number: &str, what: &str) -> Option<Vec<Value>> {
    let persons = daemon.json(&format!("/v1/persons?identifier={}", number.replace('|', "%7C")));
    let one_id = persons["persons"][0]["one_id"].as_str()?.to_owned();
    let found = daemon.json(&format!("/v1/persons/{one_id}/{what}"));
    found[what.replace('-', "_")].as_array().cloned()
}

pub(crate) fn values(report: &Value) -> Vec<f64> {
    report["results"].as_array().into_iter().flatten().filter_map(|result| result["value_number"].as_f64()).collect()
}

fn reports_become(daemon: &Daemon<'_>, what: &str, is_so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    eventually(what, || known(daemon, "HIS|M1", "lab-reports").filter(|reports| is_so(reports)))
}

#[test]
fn what_a_server_has_changes_and_withdraws_is_so_in_the_feed() {
    let emr = Emr::start(Manner::default());
    fill(&emr);
    let site = emr.site("200ms");
    let daemon = site.start();
    visit_becomes(&daemon, "HIS|M1", "status", "in_progress");
    let reports = reports_become(&daemon, "the report with its results", |reports| {
        reports.len() == 1 && values(&reports[0]) == [4.1, 140.0]
    });
    assert_eq!(reports[0]["visit_id"], "emr:V1");
    assert_eq!(reports[0]["status"], "final");

    emr.put("Encounter/1", encounter("V1", "finished", "Patient/1"));
    visit_becomes(&daemon, "HIS|M1", "status", "finished");
    emr.put("Observation/2", observation("2951-2", 133.0, "Patient/1"));
    reports_become(&daemon, "the corrected result", |reports| values(&reports[0]) == [4.1, 133.0]);
    emr.delete("Observation/1");
    reports_become(&daemon, "one result less", |reports| values(&reports[0]) == [133.0]);
    emr.delete("DiagnosticReport/1");
    reports_become(&daemon, "the withdrawal", |reports| {
        reports.iter().any(|report| report["report_id"] == "emr:1" && report["status"] == "entered_in_error")
    });
    emr.delete("Encounter/1");
    visit_becomes(&daemon, "HIS|M1", "status", "entered_in_error");
    let types: Vec<String> = daemon.feed().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect();
    for expected in
        ["patient.created", "visit.admitted", "visit.discharged", "visit.cancelled", "lab.resulted", "lab.cancelled"]
    {
        assert!(types.iter().any(|kind| kind == expected), "{expected} is not in {types:?}");
    }
    assert!(daemon.feed().iter().all(|event| event["data"]["cause"] == "poll"));
}

#[test]
fn a_daemon_that_is_killed_goes_on_where_it_was_and_tells_nothing_twice() {
    killed_at_any_moment(Manner::default());
}

#[test]
fn so_it_does_in_the_middle_of_an_export() {
    killed_at_any_moment(Manner { export_post: true, export_waits: 1, ..Manner::default() });
}

fn killed_at_any_moment(manner: Manner) {
    let emr = Emr::start(manner);
    for index in 0..40 {
        emr.put(&format!("Patient/{index}"), patient(&format!("M{index}"), "孙丽"));
        emr.put(
            &format!("Encounter/{index}"),
            encounter(&format!("V{index}"), "in-progress", &format!("Patient/{index}")),
        );
    }
    let site = Site::configured(&emr.configuration("200ms", ", page_size = 10"));
    for round in 0..3 {
        let daemon = site.start();
        // At whatever moment: in the first load, in the middle of telling, at rest.
        std::thread::sleep(Duration::from_millis(150 * (round + 1)));
        daemon.kill();
        emr.put(
            &format!("Encounter/{round}"),
            encounter(&format!("V{round}"), "finished", &format!("Patient/{round}")),
        );
    }
    let daemon = site.start();
    for index in 0..40 {
        let status = if index < 3 { "finished" } else { "in_progress" };
        visit_becomes(&daemon, &format!("HIS|M{index}"), "status", status);
    }
    let events = daemon.feed();
    let mut told: Vec<String> = events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
    let all = told.len();
    told.sort();
    told.dedup();
    assert_eq!(told.len(), all, "an event was told twice");
    let count = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    assert_eq!((count("patient.created"), count("visit.discharged")), (40, 3));
}

#[test]
fn the_same_person_by_hl7_v2_has_the_same_one_id() {
    let emr = Emr::start(Manner::default());
    fill(&emr);
    let site = emr.site("200ms");
    let daemon = site.start();
    visit_becomes(&daemon, "HIS|M1", "status", "in_progress");
    let one_id = daemon.one_id("HIS|M1");
    daemon.accept(
        "his",
        adt(
            "A01",
            "1",
            "20260301080000",
            &[person("M1", "孙^丽", "19620409", "F", &[]), inpatient("V9", "W1^1^1", "20260301080000", "")],
        ),
    );
    assert_eq!(daemon.one_id("HIS|M1"), one_id);
    let visits = known(&daemon, "HIS|M1", "visits").unwrap();
    let ids: Vec<&str> = visits.iter().map(|visit| visit["visit_id"].as_str().unwrap()).collect();
    assert!(ids.contains(&"his:V9") && ids.contains(&"emr:V1"), "{ids:?}");
}

#[test]
fn a_visit_that_both_name_by_one_authority_is_one_visit() {
    let emr = Emr::start(Manner::default());
    emr.put("Patient/1", patient("M1", "孙丽"));
    let mut content = encounter("V1", "in-progress", "Patient/1");
    content["identifier"] = json!([{"system": "HIS", "value": "V1"}]);
    content["reasonCode"] = json!([{"text": "发热"}]);
    emr.put("Encounter/1", content);
    emr.put("DiagnosticReport/1", report(&[], "Patient/1", "Encounter/1"));
    let site = emr.site("200ms");
    let daemon = site.start();
    visit_becomes(&daemon, "HIS|M1", "visit_id", "his:V1");
    let segments =
        [person("M1", "孙^丽", "19620409", "F", &[]), inpatient("V1", "W1^1^1", "20260301080000", "20260303090000")];
    daemon.accept("his", adt("A03", "1", "20260303090000", &segments));
    visit_becomes(&daemon, "HIS|M1", "status", "finished");
    let visits = known(&daemon, "HIS|M1", "visits").unwrap();
    assert_eq!(visits.len(), 1, "{visits:?}");
    assert_eq!((visits[0]["reason"].as_str(), visits[0]["ward"].as_str()), (Some("发热"), Some("W1")));
    let reports = reports_become(&daemon, "the report", |reports| !reports.is_empty());
    assert_eq!(reports[0]["visit_id"], "his:V1");
}

#[test]
fn a_server_that_fails_for_a_while_is_told_and_nothing_is_missing_afterwards() {
    let emr = Emr::start(Manner { histories: Histories::No, ..Manner::default() });
    fill(&emr);
    let site = emr.site("200ms");
    let daemon = site.start();
    visit_becomes(&daemon, "HIS|M1", "status", "in_progress");
    emr.server.shared().hook = Some(Box::new(|_, _| Fault::Status(503, Some(("Retry-After", "1".to_owned())))));
    emr.put("Encounter/1", encounter("V1", "finished", "Patient/1"));
    let source = |state: &'static str| {
        let sources = daemon.get("/v1/sources", site.engineer()).ok().json();
        let emr =
            sources["sources"].as_array().unwrap().iter().find(|source| source["name"] == "emr").cloned().unwrap();
        (emr["state"] == state).then_some(emr)
    };
    let failing = eventually("the failure to show", || source("down"));
    assert!(failing["polling"]["last_error"]["text"].as_str().unwrap().contains("503"), "{failing}");
    // Nobody else is held up, and the program stays ready.
    daemon.accept("his", registration("1", "M7", "周^强"));
    assert_eq!(request(daemon.address("http"), "GET", "/readyz", &[], b"").status, 200);
    emr.server.shared().hook = None;
    visit_becomes(&daemon, "HIS|M1", "status", "finished");
    eventually("the source to be up", || source("up"));
}

#[test]
fn a_subscription_of_the_server_has_it_polled_at_once() {
    let emr = Emr::start(Manner::default());
    fill(&emr);
    let site = emr.site("1h");
    let daemon = site.start();
    visit_becomes(&daemon, "HIS|M1", "status", "in_progress");
    emr.put("Encounter/1", encounter("V1", "finished", "Patient/1"));
    let token = site.token("emr", "source");
    let notification = br#"{"resourceType":"Bundle","type":"history"}"#;
    assert_eq!(daemon.http("POST", "/v1/sources/emr/poll", &token, notification).status, 200);
    visit_becomes(&daemon, "HIS|M1", "status", "finished");
}

#[test]
fn resources_from_files_become_the_same_records_whatever_their_order() {
    let emr = Emr::start(Manner::default());
    let site = emr.site("1h");
    let entry = |kind: &str, id: &str, mut content: Value| {
        content["resourceType"] = json!(kind);
        content["id"] = json!(id);
        content["meta"] = json!({"lastUpdated": "2026-03-01T08:00:00Z"});
        content
    };
    let lines = [
        entry("DiagnosticReport", "1", report(&["Observation/1"], "Patient/1", "Encounter/1")),
        entry("Encounter", "1", encounter("V1", "finished", "Patient/1")),
        entry("Observation", "1", observation("2823-3", 4.1, "Patient/1")),
    ];
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    site.write("past/a.ndjson", lines.join("\n"));
    let bundle = json!({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": entry("Patient", "1", patient("M1", "孙丽"))}]});
    site.write("past/b.json", bundle.to_string());
    let run = site.run(&["import", "emr", "past"]).exits(0);
    assert!(run.stdout.contains("4 resources read"), "{}", run.stdout);
    // Once more changes nothing.
    site.run(&["import", "emr", "past"]).exits(0);
    let daemon = site.start();
    visit_becomes(&daemon, "HIS|M1", "status", "finished");
    let reports = known(&daemon, "HIS|M1", "lab-reports").unwrap();
    assert_eq!((reports.len(), values(&reports[0])), (1, vec![4.1]));
    assert_eq!(daemon.feed().len(), 3, "a person, a visit, a report");
}

#[test]
fn a_broken_file_is_told_with_its_line_and_the_rest_is_taken() {
    let emr = Emr::start(Manner::default());
    let site = emr.site("1h");
    let one = |id: &str| {
        let mut one = patient(&format!("M{id}"), "孙丽");
        one["resourceType"] = json!("Patient");
        one["id"] = json!(id);
        one.to_string()
    };
    site.write("past.ndjson", format!("{}\n{{\"resourceType\":\n{}\n", one("1"), one("2")));
    let run = site.run(&["import", "emr", "past.ndjson"]).exits(1);
    assert!(run.stderr.contains("line 2, column 16: this is not JSON"), "{}", run.stderr);
    assert!(run.stdout.contains("2 resources read"), "{}", run.stdout);
}
