//! `heyi mapping` for FHIR: every unit of a file is told of, what leads nowhere is named, and nothing stops at the first failure.

use serde_json::{Value, json};

use crate::support::daemon::column;
use crate::support::site::{Site, configuration};

fn site() -> Site {
    let source = r#"
[[sources]]
name = "emr"
mapping = "mappings/fhir-r4.toml"
time_zone = "Asia/Shanghai"
fhir = { base_url = "http://127.0.0.1:9/fhir" }
"#;
    Site::configured(&configuration("", source))
}

fn patient(id: &str) -> Value {
    json!({"resourceType": "Patient", "id": id, "name": [{"text": "张伟"}], "gender": "male",
        "identifier": [{"system": "http://hospital.example/mrn", "value": "M1", "type": {"coding": [{"code": "MR"}]}}]})
}

fn encounter(id: &str, status: &str) -> Value {
    json!({"resourceType": "Encounter", "id": id, "status": status, "class": {"code": "AMB"},
        "subject": {"reference": "Patient/p"}})
}

fn bundle(resources: &[Value]) -> String {
    let entries: Vec<Value> = resources.iter().map(|resource| json!({"resource": resource})).collect();
    json!({"resourceType": "Bundle", "type": "collection", "entry": entries}).to_string()
}

#[test]
fn explain_tells_of_every_unit_of_a_bundle_under_its_name() {
    let site = site();
    let coverage = json!({"resourceType": "Coverage", "id": "c"});
    let unknown = json!({"resourceType": "Pateint", "id": "x"});
    site.write(
        "day.json",
        bundle(&[patient("p"), encounter("1", "finished"), encounter("2", "Q9"), coverage, unknown]),
    );
    let told = site.run(&["mapping", "explain", "emr", "day.json", "--json"]).exits(1).json();
    let units = told["units"].as_array().expect("units");
    assert_eq!(column(units, "unit"), ["Patient/p", "Encounter/1", "Encounter/2"]);
    assert_eq!((&units[2]["file"], &units[2]["place"]), (&"day.json".into(), &"Bundle.entry[2].resource".into()));
    assert_eq!(units[2]["error"]["location"], "Encounter.status", "{told}");
    assert_eq!(told["error"], units[2]["error"]);
    let records = told["records"].as_array().expect("records");
    let named: Vec<_> = records.iter().map(|record| (record["unit"].as_str(), record["kind"].as_str())).collect();
    let expected = [(Some("Patient/p"), Some("patient")), (Some("Encounter/1"), Some("visit"))];
    assert_eq!(named, expected, "a patient is told once");
    let unmapped = told["unmapped"].as_array().expect("codes");
    assert!(unmapped.iter().any(|code| code["code"] == "Q9" && code["unit"] == "Encounter/2"), "{unmapped:?}");
    let unused = json!([{"resource": "Coverage", "count": 1, "known": true}, {"resource": "Pateint", "count": 1, "known": false}]);
    assert_eq!(told["unused"], unused);
    let shown = site.run(&["mapping", "explain", "emr", "day.json"]).exits(1).stdout;
    for line in [
        "== Encounter/1 (day.json, Bundle.entry[1].resource) ==",
        "patient: the same as under Patient/p",
        "unused    1 resource: Pateint (FHIR has no such type)",
        "1 of 3 failed:",
        "  Encounter/2 (day.json, Bundle.entry[2].resource): Encounter.status ",
    ] {
        assert!(shown.contains(line), "{line} in\n{shown}");
    }
    let one = site.run(&["mapping", "explain", "emr", "day.json", "--number", "2", "--json"]).exits(0).json();
    assert_eq!(column(one["units"].as_array().unwrap(), "unit"), ["Encounter/1"]);
    assert!(site.run(&["mapping", "explain", "emr", "day.json", "--number", "4"]).exits(2).stderr.contains("3 units"));
    // The same from standard input.
    let piped = site.run_with(&["mapping", "explain", "emr", "-", "--json"], bundle(&[patient("p")]).as_bytes());
    assert_eq!(column(piped.exits(0).json()["records"].as_array().unwrap(), "unit"), ["Patient/p"]);
}

#[test]
fn explain_names_references_that_lead_nowhere_and_what_stays_empty() {
    let site = site();
    let mut visit = encounter("1", "finished");
    visit["partOf"] = json!({"reference": "Encounter/stay"});
    visit["subject"] = json!({"reference": "Patient/other"});
    visit["participant"] =
        json!([{"type": [{"coding": [{"code": "ATND"}]}], "individual": {"reference": "Practitioner/d7"}}]);
    let report = json!({"resourceType": "DiagnosticReport", "id": "r", "status": "final", "code": {"text": "血常规"},
        "subject": {"reference": "Patient/p"}, "result": [{"reference": "Observation/1"}, {"reference": "Observation/2"}]});
    let result = json!({"resourceType": "Observation", "id": "1", "status": "final", "code": {"text": "WBC"}, "valueString": "5"});
    site.write("day.json", bundle(&[patient("p"), visit, report, result]));
    let told = site.json(&["mapping", "explain", "emr", "day.json", "--json"]);
    let references = told["references"].as_array().expect("references");
    let of = |path: &str| {
        let found = references.iter().find(|reference| reference["path"] == path);
        let found = found.unwrap_or_else(|| panic!("no {path} in {references:?}"));
        [&found["unit"], &found["names"], &found["empty"], &found["partial"]].map(Value::clone)
    };
    assert_eq!(
        of("Encounter.partOf"),
        [json!("Encounter/1"), json!("Encounter/stay"), json!(["visit.stay_number"]), json!([])]
    );
    assert_eq!(of("Encounter.subject"), [json!("Encounter/1"), json!("Patient/other"), json!(["patient"]), json!([])]);
    let attending = [json!("Encounter/1"), json!("Practitioner/d7"), json!([]), json!(["visit.attending"])];
    assert_eq!(of("Encounter.participant[0].individual"), attending);
    let results = [json!("DiagnosticReport/r"), json!("Observation/2"), json!(["lab_report.results"]), json!([])];
    assert_eq!(of("DiagnosticReport.result[1]"), results);
    assert_eq!(references.len(), 4, "{references:?}");
    let shown = site.run(&["mapping", "explain", "emr", "day.json"]).exits(0).stdout;
    let line = "reference Encounter.partOf names Encounter/stay, which is not here: visit.stay_number stays empty";
    assert!(shown.contains(line), "{shown}");
}

#[test]
fn a_unit_that_no_block_makes_a_record_of_is_named() {
    let site = site();
    let only = "extends = \"fhir-r4.toml\"\n[[visit]]\nblock = \"encounter\"\nwhen = \"status = 'planned'\"\n";
    site.write("mappings/fhir-few.toml", only);
    let configured = std::fs::read_to_string(site.path("config/heyi.toml")).expect("the configuration");
    site.write("config/heyi.toml", configured.replace("fhir-r4.toml", "fhir-few.toml"));
    site.write("day.json", bundle(&[patient("p"), encounter("1", "finished"), encounter("2", "planned")]));
    let told = site.json(&["mapping", "explain", "emr", "day.json", "--json"]);
    assert_eq!(column(told["units"].as_array().unwrap(), "unit").len(), 3);
    assert_eq!(
        (&told["units"][1]["without_record"], &told["units"][2]["without_record"]),
        (&true.into(), &Value::Null)
    );
    let shown = site.run(&["mapping", "explain", "emr", "day.json"]).exits(0).stdout;
    assert!(shown.contains("unused    Encounter/1: no block of the mapping makes a record of it"), "{shown}");
}

#[test]
fn a_broken_line_or_file_costs_itself_alone() {
    let site = site();
    let lines =
        [patient("p").to_string(), "{\"resourceType\": \"Patient\"".to_owned(), encounter("1", "finished").to_string()];
    site.write("in/a.ndjson", format!("\u{feff}{}\r\n", lines.join("\r\n")));
    site.write("in/sub/b.json", "%PDF-1.7\n\u{1}");
    site.write("in/sub/c.json", "");
    site.write("in/note.pdf", "%PDF-1.7");
    site.write("in/d.expected.json", "{}");
    for verb in ["explain", "coverage"] {
        let told = site.run(&["mapping", verb, "emr", "in", "--json"]).exits(1).json();
        let unread =
            told[if verb == "explain" { "unreadable" } else { "unreadable_messages" }].as_array().expect("places");
        assert_eq!(column(unread, "file"), ["in/a.ndjson", "in/sub/b.json", "in/sub/c.json"], "{told}");
        assert_eq!(column(unread, "place"), ["line 2, column 26", "line 1, column 1", "the file"]);
        assert!(unread.iter().all(|one| one["reason"].as_str().is_some_and(|reason| !reason.is_empty())), "{unread:?}");
        match verb {
            "explain" => assert_eq!(column(told["units"].as_array().unwrap(), "unit"), ["Patient/p", "Encounter/1"]),
            _ => assert_eq!((&told["messages"], &told["failed"]), (&2.into(), &0.into())),
        }
    }
    // Neither a resource of FHIR nor JSON of any kind is there.
    site.run(&["mapping", "explain", "emr", "in/note.pdf"]).exits(1);
    site.run(&["mapping", "explain", "emr", "nowhere.json"]).exits(2);
    std::fs::create_dir(site.path("nothing")).expect("a directory");
    assert!(site.run(&["mapping", "explain", "emr", "nothing"]).exits(1).stderr.contains(".json, .ndjson"));
    let nameless =
        site.run_with(&["mapping", "explain", "emr", "-"], b"{\"resourceType\": \"Patient\", \"gender\": \"male\"}");
    assert!(nameless.exits(0).stderr.contains("it has no id"));
    assert!(
        site.run_with(&["mapping", "explain", "emr", "-"], b"").exits(1).stdout.contains("it holds no FHIR resource")
    );
}

#[test]
fn coverage_counts_on_after_a_unit_that_fails_and_says_which() {
    let site = site();
    site.write("in/1.json", bundle(&[patient("p"), encounter("1", "Q9"), encounter("2", "finished")]));
    let told = site.run(&["mapping", "coverage", "emr", "in", "--json"]).exits(1).json();
    assert_eq!((&told["messages"], &told["failed"]), (&3.into(), &1.into()));
    let first = json!({"unit": "Encounter/1", "file": "in/1.json", "place": "Bundle.entry[1].resource"});
    assert_eq!(told["failures"][0]["first"], first);
}

#[test]
fn coverage_counts_a_patient_of_several_encounters_once() {
    let site = site();
    let mut person = patient("p");
    person["photo"] = json!([{"title": "x"}]);
    person["telecom"] = json!([{"system": "pager", "value": "1"}]);
    site.write("in/1.json", bundle(&[person.clone(), encounter("1", "finished"), encounter("2", "finished")]));
    site.write("in/2.json", bundle(&[person.clone()]));
    let counted = |told: &Value| {
        let unread = told["unread"].as_array().expect("elements");
        let photo = unread.iter().find(|element| element["path"] == "Patient.photo").cloned().unwrap_or_default();
        [photo["values"].clone(), photo["messages"].clone(), told["unchosen"][0]["values"].clone()]
    };
    let told = site.json(&["mapping", "coverage", "emr", "in", "--json"]);
    assert_eq!(counted(&told), [1, 1, 1].map(Value::from), "{told}");
    // Another patient is counted as well.
    person["id"] = "q".into();
    site.write("in/2.json", bundle(&[person]));
    let told = site.json(&["mapping", "coverage", "emr", "in", "--json"]);
    assert_eq!(counted(&told), [2, 2, 2].map(Value::from), "{told}");
}

#[test]
fn coverage_counts_as_read_what_a_rule_reads_whole_and_behind_a_reference() {
    let site = site();
    let mut visit = encounter("1", "finished");
    visit["participant"] =
        json!([{"type": [{"coding": [{"code": "ATND"}]}], "individual": {"reference": "PractitionerRole/r"}}]);
    visit["serviceProvider"] = json!({"reference": "Organization/o"});
    visit["location"] = json!([{"location": {"reference": "Location/w", "display": "三病区"}}]);
    let role = json!({"resourceType": "PractitionerRole", "id": "r", "practitioner": {"reference": "Practitioner/d", "display": "王"},
        "specialty": [{"text": "心内科"}]});
    let doctor = json!({"resourceType": "Practitioner", "id": "d", "gender": "male", "name": [{"text": "王伟"}],
        "identifier": [{"system": "s", "value": "D1"}]});
    let organization = json!({"resourceType": "Organization", "id": "o", "name": "医院", "active": true});
    let place = json!({"resourceType": "Location", "id": "w", "name": "三病区"});
    let mut person = patient("p");
    person["extension"] = json!([
        {"url": "http://hl7.org/fhir/StructureDefinition/patient-nationality",
         "extension": [{"url": "code", "valueCodeableConcept": {"text": "中国"}}, {"url": "period", "valuePeriod": {"start": "2000"}}]},
        {"url": "urn:vendor:religion", "valueString": "x"}]);
    person["address"] = json!([{"line": ["中山路1号"], "city": "广州市", "period": {"start": "2000"}}]);
    let observation = |id: &str, more: Value| {
        let mut observation = json!({"resourceType": "Observation", "id": id, "status": "final", "code": {"text": id},
            "subject": {"reference": "Patient/p"}});
        observation.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        observation
    };
    let quantity =
        |value: u8| json!({"value": value, "unit": "mmol/L", "system": "http://unitsofmeasure.org", "code": "mmol/L"});
    let resources = [
        person,
        visit,
        role,
        doctor,
        organization,
        place,
        observation(
            "1",
            json!({"valueQuantity": {"value": 5, "comparator": "<", "unit": "mmol/L"},
            "effectivePeriod": {"start": "2026-03-01", "end": "2026-03-02"},
            "referenceRange": [{"low": quantity(1), "high": quantity(9), "age": {"low": {"value": 18}}}]}),
        ),
        observation(
            "2",
            json!({"valueCodeableConcept": {"coding": [{"code": "N", "system": "s", "display": "阴性"}], "text": "阴性"}}),
        ),
        observation(
            "3",
            json!({"valueRange": {"low": quantity(1), "high": quantity(2)}, "interpretation": [{"coding": [{"code": "N", "system": "s"}]}]}),
        ),
        observation(
            "4",
            json!({"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 80}}, "bodySite": {"text": "x"}}),
        ),
    ];
    site.write("in/1.json", bundle(&resources));
    let told = site.json(&["mapping", "coverage", "emr", "in", "--json"]);
    let unread = told["unread"].as_array().expect("elements");
    let mut paths = column(unread, "path");
    paths.sort_unstable();
    let expected = [
        "Observation.bodySite",
        "Organization.active",
        "Patient.extension('http://hl7.org/fhir/StructureDefinition/patient-nationality').extension('period')",
        "Patient.extension('urn:vendor:religion')",
        "Practitioner.gender",
        "PractitionerRole.specialty",
    ];
    assert_eq!(paths, expected);
    let shown = site.run(&["mapping", "coverage", "emr", "in"]).exits(0).stdout;
    assert!(shown.contains("Practitioner.gender 1 value in 1 message\n"), "{shown}");
}

#[test]
fn cases_of_resources_that_are_broken_fail_one_by_one_and_are_not_accepted() {
    let site = site();
    let case = |name: &str, text: &str| drop(site.write(&format!("fixtures/fhir-r4/{name}"), text));
    case("a-broken.json", "{\"resourceType\": \"Patient\"");
    case("b-patient.json", &patient("p").to_string());
    case("c-spoilt.json", &patient("q").to_string());
    case("c-spoilt.expected.json", "{\"records\": [");
    case("d-failing.json", &bundle(&[encounter("1", "Q9")]));
    case("e-nothing.json", "{\"resourceType\": \"Coverage\"}");
    case("f-alone.expected.json", "{}");
    let results = |run: crate::support::site::Run| {
        let told = run.exits(1).json();
        column(told["cases"].as_array().expect("cases"), "result").into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let found = results(site.run(&["mapping", "test", "fhir-r4", "--json"]));
    assert_eq!(found, ["broken", "nothing_expected", "broken", "broken", "broken", "broken"]);
    let found = results(site.run(&["mapping", "test", "fhir-r4", "--accept", "--json"]));
    assert_eq!(found, ["not_accepted", "accepted", "broken", "not_accepted", "not_accepted", "broken"]);
    for name in ["a-broken", "d-failing", "e-nothing"] {
        assert!(!site.path(&format!("fixtures/fhir-r4/{name}.expected.json")).exists(), "{name}");
        case(&format!("{name}.expected.json"), "{\"error\": {}}");
    }
    let shown = site.run(&["mapping", "test", "fhir-r4"]).exits(1).stdout;
    assert!(shown.contains("failed    fhir-r4/c-spoilt: ") && shown.contains("failed    fhir-r4/f-alone: "), "{shown}");
    // Who writes that it is a rejection meant it.
    let accepted = site.run(&["mapping", "test", "fhir-r4", "--accept"]).exits(1).stdout;
    assert!(accepted.ends_with("1 passed, 2 failed, 3 accepted\n"), "{accepted}");
    let error = std::fs::read_to_string(site.path("fixtures/fhir-r4/d-failing.expected.json")).expect("an expectation");
    assert!(error.contains("Encounter.status"), "{error}");
}

#[test]
fn diff_and_coverage_take_stored_units_and_say_when_there_are_none() {
    let site = site();
    site.write("new.toml", "extends = \"mappings/fhir-r4.toml\"\n[patient]\noccupation = { constant = \"x\" }\nsex = false\n[[visit]]\nblock = \"encounter\"\nwhen = \"status = 'planned'\"\n");
    site.write("day.json", bundle(&[patient("p"), encounter("1", "finished")]));
    site.run(&["import", "emr", "day.json"]).exits(0);
    let told = site.run(&["mapping", "diff", "emr", "new.toml", "--json"]).exits(1).json();
    assert_eq!((&told["messages"], &told["changed"], &told["lost"]), (&2.into(), &2.into(), &1.into()), "{told}");
    assert_eq!(column(told["fields"].as_array().unwrap(), "field"), ["patient.occupation", "patient.sex", "visit"]);
    let back = ["mapping", "diff", "emr", "mappings/fhir-r4.toml", "--against", "new.toml", "--json"];
    let back = site.json(&back);
    assert_eq!(
        (&back["lost"], &back["fields"][2]["samples"][0]["before"]),
        (&0.into(), &Value::Null),
        "a record that comes"
    );
    let covered = site.json(&["mapping", "coverage", "emr", "--last", "5", "--json"]);
    assert_eq!((&covered["messages"], &covered["failed"]), (&2.into(), &0.into()));
    let none = site.run(&["mapping", "diff", "his", "mappings/his.toml"]).exits(1);
    assert!(none.stderr.contains("no message of his is stored"), "{}", none.stderr);
    assert!(site.run(&["mapping", "unmapped"]).exits(0).stdout.contains("know every code"));
    site.run(&["mapping", "unmapped", "--source", "nobody"]).exits(2);
    let other = site.run(&["mapping", "diff", "emr", "mappings/his.toml"]).exits(2);
    assert!(other.stderr.contains("reads format \"hl7v2\""), "{}", other.stderr);
}
