//! Which units some resources make.

use serde_json::json;

use super::*;

/// The units of some resources, each as the names of what it holds.
fn check(resources: &Json, expected: &[&[&str]]) {
    let set = Set::read(resources.to_string().as_bytes()).unwrap();
    let name = |resource: &Json| format!("{}/{}", type_name(resource), resource["id"].as_str().unwrap_or("-"));
    let found: Vec<Vec<String>> = set
        .units()
        .iter()
        .map(|unit| unit["entry"].as_array().unwrap().iter().map(|entry| name(&entry["resource"])).collect())
        .collect();
    assert_eq!(found, expected, "{resources}");
}

fn bundle_of(resources: &[Json]) -> Json {
    let entries: Vec<Json> = resources.iter().map(|resource| json!({"resource": resource})).collect();
    json!({"resourceType": "Bundle", "type": "searchset", "entry": entries})
}

fn observation(id: &str, more: Json) -> Json {
    let mut observation = json!({"resourceType": "Observation", "id": id, "subject": {"reference": "Patient/p"}});
    observation.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    observation
}

#[test]
fn a_visit_has_what_it_refers_to_and_the_diagnoses_that_refer_to_it() {
    let patient = json!({"resourceType": "Patient", "id": "p"});
    let encounter = json!({"resourceType": "Encounter", "id": "e", "subject": {"reference": "Patient/p"},
        "participant": [{"individual": {"reference": "PractitionerRole/r"}}], "location": [{"location": {"reference": "Location/b"}}]});
    let role = json!({"resourceType": "PractitionerRole", "id": "r", "practitioner": {"reference": "Practitioner/d"}});
    let doctor = json!({"resourceType": "Practitioner", "id": "d"});
    let bed = json!({"resourceType": "Location", "id": "b", "partOf": {"reference": "Location/w"}});
    let ward = json!({"resourceType": "Location", "id": "w"});
    let condition = |id: &str, encounter: &str| json!({"resourceType": "Condition", "id": id, "encounter": {"reference": encounter}});
    check(
        &bundle_of(&[
            condition("c", "Encounter/e"),
            condition("other", "Encounter/x"),
            encounter,
            role,
            doctor,
            bed,
            ward,
            patient,
        ]),
        &[
            &["Patient/p"],
            &[
                "Encounter/e",
                "Location/b",
                "PractitionerRole/r",
                "Patient/p",
                "Location/w",
                "Practitioner/d",
                "Condition/c",
            ],
        ],
    );
}

#[test]
fn an_observation_stands_alone_where_no_report_and_no_group_has_it() {
    let patient = json!({"resourceType": "Patient", "id": "p"});
    let report = json!({"resourceType": "DiagnosticReport", "id": "d", "subject": {"reference": "Patient/p"},
        "result": [{"reference": "Observation/1"}]});
    let resources = [
        patient,
        observation("1", json!({"hasMember": [{"reference": "Observation/2"}]})),
        observation("2", json!({})),
        observation("3", json!({"derivedFrom": [{"reference": "Observation/4"}]})),
        observation("4", json!({})),
        observation("5", json!({"related": [{"type": "has-member", "target": {"reference": "Observation/6"}}]})),
        observation("6", json!({})),
        report,
    ];
    check(
        &bundle_of(&resources),
        &[
            &["Patient/p"],
            &["DiagnosticReport/d", "Observation/1", "Patient/p", "Observation/2"],
            &["Observation/3", "Observation/4", "Patient/p"],
            &["Observation/4", "Patient/p"],
            &["Observation/5", "Observation/6", "Patient/p"],
        ],
    );
}

#[test]
fn resources_come_alone_in_bundles_of_any_type_and_one_on_each_line() {
    let patient = json!({"resourceType": "Patient", "id": "p"});
    check(&patient, &[&["Patient/p"]]);
    let lines = format!("{patient}\n{}\n\n", json!({"resourceType": "Patient", "id": "q"}));
    assert_eq!(Set::read(lines.as_bytes()).unwrap().units().len(), 2);
    // Of a history the newest version, which stands first; a deletion has no resource.
    let history = json!({"resourceType": "Bundle", "type": "history", "entry": [
        {"request": {"method": "DELETE", "url": "Patient/x"}},
        {"resource": {"resourceType": "Patient", "id": "p", "active": true}}, {"resource": patient}]});
    check(&history, &[&["Patient/p"]]);
    assert_eq!(Set::read(history.to_string().as_bytes()).unwrap().units()[0]["entry"][0]["resource"]["active"], true);
    // Before they have ids, resources of a transaction are named by URLs, which become their ids.
    let transaction = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Encounter", "subject": {"reference": "urn:uuid:2"}}},
        {"fullUrl": "urn:uuid:2", "resource": {"resourceType": "Patient"}}]});
    check(&transaction, &[&["Patient/2"], &["Encounter/1", "Patient/2"]]);
}

#[test]
fn the_first_text_that_is_no_resource_is_told_with_its_place() {
    let read = |text: &str| Set::read(text.as_bytes()).map(|set| set.len());
    let patient = r#"{"resourceType": "Patient", "id": "p"}"#;
    assert_eq!((read(""), read(patient)), (Ok(0), Ok(1)));
    let broken = read(&format!("{patient}\n[]\n")).unwrap_err();
    assert_eq!(broken.to_string(), "line 2: no FHIR resource: it has no resourceType");
    let deep = format!("{{\"resourceType\": \"Patient\", \"x\": {}{}}}", "[".repeat(200), "]".repeat(200));
    assert_eq!(read(&deep).unwrap_err().to_string(), "line 1: this cannot be read: a syntax error");
}

#[test]
fn a_unit_holds_what_is_followed_from_its_focal_resource() {
    assert_eq!(types_of_unit("Patient"), ["Patient", "Coverage", "RelatedPerson", "Consent", "Organization"]);
    let visit = types_of_unit("Encounter");
    assert!(
        visit.contains(&"Condition") && visit.contains(&"Location") && !visit.contains(&"Observation"),
        "{visit:?}"
    );
    let report = types_of_unit("DiagnosticReport");
    assert!(
        report.contains(&"Observation") && report.contains(&"Encounter") && !report.contains(&"Condition"),
        "{report:?}"
    );
}
