//! What is remembered of a FHIR server: how it stands, what of it cannot be read, who it is and which of its types are polled.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::fhir::{Emr, encounter, fill, known, patient, visit_becomes};
use crate::fhir_server::{Fault, Histories, Manner};
use crate::support::daemon::Daemon;
use crate::support::eventually;
use crate::support::site::Site;

fn polling(daemon: &Daemon<'_>) -> Value {
    let sources = daemon.get("/v1/sources", daemon.site.engineer()).ok().json();
    sources["sources"].as_array().unwrap().iter().find(|source| source["name"] == "emr").unwrap()["polling"].clone()
}

fn status(site: &Site) -> Value {
    let status = site.json(&["status", "--json"]);
    status["sources"].as_array().unwrap().iter().find(|source| source["name"] == "emr").unwrap().clone()
}

#[test]
fn status_says_of_a_server_what_the_daemon_says_also_when_none_runs() {
    let emr = Emr::start(Manner::default());
    fill(&emr);
    let site = Site::configured(&emr.configuration("200ms", ""));
    let daemon = site.start();
    visit_becomes(&daemon, "HIS|M1", "status", "in_progress");
    let up = eventually("the answer to be written down", || {
        Some(status(&site)).filter(|source| source["polling"]["answers"] == true)
    });
    assert_eq!(up["state"], "up");
    emr.server.shared().hook = Some(Box::new(|_, _| Fault::Status(500, None)));
    let down =
        eventually("the failure to be written down", || Some(status(&site)).filter(|source| source["state"] == "down"));
    assert!(down["reason"].as_str().unwrap().contains("500"), "{down}");
    let shown = polling(&daemon);
    for field in ["answers", "since"] {
        assert_eq!(shown[field], down["polling"][field], "{field}");
    }
    daemon.kill();
    let off = status(&site);
    assert_eq!((&off["polling"]["answers"], &off["polling"]["since"]), (&json!(false), &down["polling"]["since"]));
    assert!(off["polling"]["last_error"]["text"].as_str().unwrap().contains("500"), "{off}");
    let text = site.run(&["status"]).exits(0).stdout;
    assert!(text.contains("does not answer since"), "{text}");
    // The next run begins with what is known.
    let daemon = site.start();
    assert!(polling(&daemon)["last_success"].is_string());
    emr.server.shared().hook = None;
    eventually("the server to be back", || Some(status(&site)).filter(|source| source["state"] == "up"));
}

#[test]
fn what_nobody_can_read_is_named_everywhere_costs_nothing_else_and_recovers() {
    let emr = Emr::start(Manner::default());
    fill(&emr);
    let site = Site::configured(&emr.configuration("200ms", ""));
    let daemon = site.start();
    visit_becomes(&daemon, "HIS|M1", "status", "in_progress");
    // JSON to whoever does not look inside.
    let nest = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!([inner]));
    let mut wild = encounter("V2", "planned", "Patient/1");
    wild["extension"] = nest(126);
    emr.put("Encounter/2", wild);
    let mut condition = json!({"code": {"text": "流感"}, "subject": {"reference": "Patient/1"}, "encounter": {"reference": "Encounter/1"}});
    condition["extension"] = nest(126);
    emr.put("Condition/1", condition.clone());
    emr.put("Encounter/1", encounter("V1", "finished", "Patient/1"));
    visit_becomes(&daemon, "HIS|M1", "status", "finished");
    let shown = eventually("both to be named", || {
        Some(polling(&daemon)["unreadable"].clone()).filter(|unreadable| unreadable["count"] == 2)
    });
    let names: BTreeSet<&str> = shown["resources"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(names, BTreeSet::from(["Condition/1", "Encounter/2"]));
    let failed = eventually("a message of each", || {
        Some(site.messages(&["--state", "failed"])).filter(|messages| messages.len() == 2)
    });
    assert!(failed.iter().any(|message| message["control_id"] == "Condition/1"), "{failed:?}");
    assert_eq!(status(&site)["resources"]["unreadable"], 2);
    let metrics = daemon.get("/metrics", site.engineer()).ok();
    assert!(String::from_utf8_lossy(&metrics.body).contains("heyi_resources_unreadable{source=\"emr\"} 2"));
    condition["extension"] = json!([]);
    emr.put("Condition/1", condition);
    emr.put("Encounter/2", encounter("V2", "planned", "Patient/1"));
    visit_becomes(&daemon, "HIS|M1", "visit_id", "emr:V2");
    eventually("the diagnosis", || {
        let visits = known(&daemon, "HIS|M1", "visits")?;
        visits.iter().any(|visit| visit["diagnoses"][0]["name"] == "流感").then_some(())
    });
    eventually("nothing to wait", || site.messages(&["--state", "failed"]).is_empty().then_some(()));
    assert_eq!(polling(&daemon)["unreadable"]["count"], 0);
}

#[test]
fn a_server_at_another_address_is_read_and_compared_anew() {
    let (first, second) =
        (Emr::start(Manner::default()), Emr::start(Manner { histories: Histories::No, ..Manner::default() }));
    fill(&first);
    first.put("Encounter/2", encounter("V2", "planned", "Patient/1"));
    let more = ", sweep_interval = \"200ms\"";
    let site = Site::configured(&first.configuration("100ms", more));
    let daemon = site.start();
    visit_becomes(&daemon, "HIS|M1", "visit_id", "emr:V2");
    daemon.kill();
    // The other one has a part of it, with older times, and something else.
    second.put("Patient/1", patient("M1", "孙丽"));
    second.put("Encounter/1", encounter("V1", "finished", "Patient/1"));
    site.write("config/heyi.toml", second.configuration("100ms", more));
    let daemon = site.start();
    visit_becomes(&daemon, "HIS|M1", "status", "finished");
    eventually("what the second server never had to be withdrawn", || {
        let visits = known(&daemon, "HIS|M1", "visits")?;
        visits.iter().any(|visit| visit["visit_id"] == "emr:V2" && visit["status"] == "entered_in_error").then_some(())
    });
}

#[test]
fn a_merge_that_another_owner_of_the_numbers_held_back_is_done_once_nobody_owns_them() {
    let emr = Emr::start(Manner::default());
    emr.put("Patient/1", patient("M1", "孙丽"));
    let mut other = patient("M2", "周强");
    other["birthDate"] = json!("1990-10-10");
    other["link"] = json!([{"other": {"reference": "Patient/1"}, "type": "replaced-by"}]);
    emr.put("Patient/2", other);
    emr.put("Encounter/2", encounter("V2", "planned", "Patient/2"));
    let configuration = emr.configuration("200ms", "");
    let site = Site::configured(&configuration);
    let daemon = site.start();
    visit_becomes(&daemon, "HIS|M2", "visit_id", "emr:V2");
    assert_ne!(daemon.one_id("HIS|M1"), daemon.one_id("HIS|M2"));
    let open = || site.json(&["review", "list", "--json"])["reviews"].as_array().unwrap().len();
    assert_eq!(open(), 1);
    daemon.kill();
    site.write("config/heyi.toml", configuration.replace("authorities = [\"HIS\"]", ""));
    let daemon = site.start();
    visit_becomes(&daemon, "HIS|M1", "visit_id", "emr:V2");
    assert_eq!((daemon.one_id("HIS|M1"), open()), (daemon.one_id("HIS|M2"), 0));
}

#[test]
fn a_type_that_is_polled_no_longer_and_then_again_loses_nothing() {
    let emr = Emr::start(Manner::default());
    fill(&emr);
    let polled = |types: &str| {
        let all = r#"["Patient", "Encounter", "DiagnosticReport", "Observation", "Condition"]"#;
        emr.configuration("100ms", ", sweep_interval = \"200ms\"").replace(all, types)
    };
    let site = Site::configured(&polled(r#"["Patient", "Encounter", "DiagnosticReport", "Observation"]"#));
    let daemon = site.start();
    visit_becomes(&daemon, "HIS|M1", "status", "in_progress");
    eventually("the report", || known(&daemon, "HIS|M1", "lab-reports").filter(|reports| !reports.is_empty()));
    daemon.kill();
    site.write("config/heyi.toml", polled(r#"["Patient", "DiagnosticReport", "Observation"]"#));
    emr.put("Encounter/1", encounter("V1", "finished", "Patient/1"));
    emr.put("Encounter/2", encounter("V2", "planned", "Patient/1"));
    let daemon = site.start();
    // The report names this one: it is asked for by itself. The other one nobody names.
    visit_becomes(&daemon, "HIS|M1", "status", "finished");
    assert_eq!(known(&daemon, "HIS|M1", "visits").unwrap().len(), 1);
    daemon.kill();
    emr.delete("Encounter/1");
    site.write("config/heyi.toml", polled(r#"["Patient", "Encounter", "DiagnosticReport", "Observation"]"#));
    let daemon = site.start();
    visit_becomes(&daemon, "HIS|M1", "visit_id", "emr:V2");
    visit_becomes(&daemon, "HIS|M1", "status", "entered_in_error");
}

#[test]
fn what_files_told_and_the_server_does_not_have_is_found_out_at_once() {
    let emr = Emr::start(Manner { histories: Histories::No, ..Manner::default() });
    fill(&emr);
    emr.put("Location/1", json!({"name": "新楼", "physicalType": {"coding": [{"code": "wa"}]}}));
    let mut stay = encounter("V1", "in-progress", "Patient/1");
    stay["location"] = json!([{"location": {"reference": "Location/1"}, "status": "active"}]);
    emr.put("Encounter/1", stay.clone());
    let site = Site::configured(&emr.configuration("100ms", ", sweep_interval = \"500ms\", absent_sweeps = 2"));
    let file = |kind: &str, id: &str, mut content: Value| {
        content["resourceType"] = json!(kind);
        content["id"] = json!(id);
        content["meta"] = json!({"lastUpdated": "2020-01-01T00:00:00Z", "versionId": "0"});
        content.to_string()
    };
    let lines = [
        file("Patient", "1", patient("M1", "孙丽")),
        file("Location", "1", json!({"name": "旧楼", "physicalType": {"coding": [{"code": "wa"}]}})),
        file("Encounter", "1", stay),
        file("Encounter", "9", encounter("V9", "planned", "Patient/1")),
    ];
    site.write("past.ndjson", lines.join("\n"));
    site.run(&["import", "emr", "past.ndjson"]).exits(0);
    let daemon = site.start();
    visit_becomes(&daemon, "HIS|M1", "visit_id", "emr:V9");
    // Of no polled type, and the file was old.
    visit_becomes(&daemon, "HIS|M1", "ward", "新楼");
    eventually("what is on the server no longer", || {
        let visits = known(&daemon, "HIS|M1", "visits")?;
        visits.iter().any(|visit| visit["visit_id"] == "emr:V9" && visit["status"] == "entered_in_error").then_some(())
    });
}

#[test]
fn insurances_and_relatives_are_the_patients_as_the_server_has_them() {
    let emr = Emr::start(Manner::default());
    emr.put("Patient/1", patient("M1", "孙丽"));
    let configuration =
        emr.configuration("200ms", "").replace("\"Patient\", ", "\"Patient\", \"Coverage\", \"RelatedPerson\", ");
    let site = Site::configured(&configuration);
    let daemon = site.start();
    let person = |what: &str, is_so: &dyn Fn(&Value) -> bool| {
        eventually(what, || {
            let found = daemon.json("/v1/persons?identifier=HIS%7CM1")["persons"][0].clone();
            Some(found).filter(|person| person["one_id"].is_string() && is_so(person))
        })
    };
    person("the patient", &|_| true);
    let coverage = |number: &str| {
        json!({"status": "active", "type": {"text": "职工医保"}, "subscriberId": number,
        "beneficiary": {"reference": "Patient/1"}, "payor": [{"display": "医保局"}]})
    };
    emr.put("Coverage/1", coverage("C1"));
    emr.put(
        "RelatedPerson/1",
        json!({"patient": {"reference": "Patient/1"}, "name": [{"text": "孙大"}],
        "relationship": [{"text": "父亲"}], "telecom": [{"system": "phone", "value": "13800000001"}]}),
    );
    person("both", &|person| {
        person["insurance"] == json!([{"kind": "职工医保", "number": "C1"}]) && person["contacts"][0]["name"] == "孙大"
    });
    emr.put("Coverage/1", coverage("C2"));
    person("the new number", &|person| person["insurance"][0]["number"] == "C2");
    emr.delete("Coverage/1");
    emr.delete("RelatedPerson/1");
    person("neither", &|person| person.get("insurance").is_none() && person.get("contacts").is_none());
}

#[test]
fn a_merge_that_the_server_corrects_is_undone() {
    let emr = Emr::start(Manner::default());
    emr.put("Patient/1", patient("M1", "孙丽"));
    let mut other = patient("M2", "周强");
    other["birthDate"] = json!("1990-10-10");
    emr.put("Patient/2", other.clone());
    emr.put("Encounter/2", encounter("V2", "planned", "Patient/2"));
    // Nobody else has a say in the authority.
    let site = Site::configured(&emr.configuration("200ms", "").replace("authorities = [\"HIS\"]", ""));
    let daemon = site.start();
    visit_becomes(&daemon, "HIS|M2", "visit_id", "emr:V2");
    let before = (daemon.one_id("HIS|M1"), daemon.one_id("HIS|M2"));
    let mut replaced = other.clone();
    replaced["link"] = json!([{"other": {"reference": "Patient/1"}, "type": "replaced-by"}]);
    emr.put("Patient/2", replaced);
    visit_becomes(&daemon, "HIS|M1", "visit_id", "emr:V2");
    emr.put("Patient/2", other);
    eventually("two patients", || {
        let now = (daemon.one_id("HIS|M1"), daemon.one_id("HIS|M2"));
        (now == before).then_some(())
    });
    eventually("each with their own visits", || {
        let visits = (known(&daemon, "HIS|M1", "visits")?, known(&daemon, "HIS|M2", "visits")?);
        (visits.0.is_empty() && visits.1.len() == 1).then_some(())
    });
}
