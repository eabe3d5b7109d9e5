//! Mappings for FHIR: what their paths, tables and conditions make of resources, and what is told of mistakes in them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};

use super::coverage::Coverage;
use super::{Context, Disposition, Mapped, Mapping};
use crate::fhir::Unit;
use crate::fhir::compose::Set;
use crate::record::Kind;

const HEAD: &str = "format = 'fhir'\n[tables]\nsex = 'sex.csv'\n";
const SEX: &str = "source,target,note\nmale,male,\nfemale,female,\n2,female,\n";
const PATIENT: &str = "[[patient]]\neach = 'Patient'\n";
const ID: &str = "[[patient.identifiers]]\neach = 'id'\nvalue = '$this'\ntype = { constant = 'mrn' }\n";

fn load(mapping: &str) -> Result<Mapping, Vec<String>> {
    let files = BTreeMap::from([("site.toml", mapping), ("sex.csv", SEX)]);
    let read = |name: &str| {
        files.get(name).map(|text| (*text).to_owned()).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    };
    Mapping::load("site.toml", &read).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn apply(mapping: &str, resources: Json) -> Mapped {
    let mapping = load(mapping).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let unit = Unit::from_json(resources).unwrap();
    let context = Context { zone: &TimeZone::get("Asia/Shanghai").unwrap(), facility: None, explain: true };
    mapping.apply(&unit, &context).unwrap_or_else(|error| panic!("{error}"))
}

/// What a patient's rules make of elements of a Patient.
fn check(rules: &str, elements: Json, expected: Json) {
    let mut patient = json!({"resourceType": "Patient", "id": "1"});
    patient.as_object_mut().unwrap().extend(elements.as_object().unwrap().clone());
    let mapped = apply(&format!("{HEAD}{PATIENT}{rules}\n{ID}"), patient);
    let mut fields = serde_json::to_value(&mapped.records[0].fields).unwrap();
    fields.as_object_mut().unwrap().remove("identifiers");
    assert_eq!(fields, expected, "{rules}: {mapped:#?}");
}

/// The problems of a mapping, each as its place and a part of its text.
fn check_problems(mapping: &str, expected: &[(&str, &str)]) {
    let found = match load(mapping) {
        Ok(mapping) => mapping.warnings().iter().map(ToString::to_string).collect(),
        Err(problems) => problems,
    };
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, (place, part)) in found.iter().zip(expected) {
        assert!(found.starts_with(&format!("site.toml:{place}")) && found.contains(part), "{found}\n{place} {part}");
    }
}

#[test]
fn what_a_resource_does_not_say_is_withdrawn() {
    check("birth_date = 'birthDate'", json!({"birthDate": "1980-05"}), json!({"birth_date": "1980-05"}));
    check("birth_date = 'birthDate'", json!({}), json!({"birth_date": null}));
    // A rule that is not asked is no other case: the resource is as complete without it.
    let only_men = "marital_status = { from = 'maritalStatus', when = \"gender = 'male'\" }";
    let married = json!({"text": "married"});
    check(only_men, json!({"gender": "male", "maritalStatus": married}), json!({"marital_status": "married"}));
    check(only_men, json!({"gender": "female", "maritalStatus": married}), json!({"marital_status": null}));
    // A list too.
    let phones = "birth_date = 'birthDate'\n[[patient.phones]]\neach = 'telecom'\nvalue = 'value'";
    check(phones, json!({"birthDate": "1980"}), json!({"birth_date": "1980", "phones": null}));
}

#[test]
fn what_is_kept_or_masked_or_not_understood_is_not_withdrawn() {
    check("birth_date = { from = 'birthDate', on_null = 'keep' }", json!({}), json!({}));
    check("on_null = 'keep'\nbirth_date = 'birthDate'", json!({}), json!({}));
    check(
        "on_null = 'keep'\nbirth_date = { from = 'birthDate', on_null = 'clear' }",
        json!({}),
        json!({"birth_date": null}),
    );
    let absent = |reason: &str| {
        let url = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";
        json!({"_birthDate": {"extension": [{"url": url, "valueCode": reason}]}})
    };
    check("birth_date = 'birthDate'", absent("masked"), json!({}));
    check("birth_date = 'birthDate'", absent("unknown"), json!({"birth_date": null}));
    // Told as rejected, and what was known is not lost for it.
    check("birth_date = 'birthDate'", json!({"birthDate": "spring of 1980"}), json!({}));
    check("sex = { from = 'gender', table = 'sex', on_unmapped = 'leave' }", json!({"gender": "?"}), json!({}));
    // The reference leads out of the unit: what it leads to is not known here, which is no reason to forget it.
    let of_practice = "occupation = 'managingOrganization.resolve().name'";
    check(of_practice, json!({"managingOrganization": {"reference": "Organization/7"}}), json!({}));
    check(of_practice, json!({}), json!({"occupation": null}));
}

#[test]
fn of_several_values_a_field_takes_the_first_and_a_list_takes_all() {
    let names = json!({"name": [{"text": "张伟"}, {"text": "张大伟"}, {"text": "张伟"}]});
    check("occupation = 'name.text'", names.clone(), json!({"occupation": "张伟"}));
    check("other_names = 'name.text'", names.clone(), json!({"other_names": ["张伟", "张大伟"]}));
    check("occupation = \"name.text.join('; ')\"", names, json!({"occupation": "张伟; 张大伟; 张伟"}));
}

#[test]
fn of_several_codings_a_table_takes_the_one_that_it_knows() {
    let concept = json!({"coding": [{"code": "x"}, {"code": "2"}], "text": "male"});
    let rule = "sex = { from = 'maritalStatus', table = 'sex' }";
    check(rule, json!({"maritalStatus": concept}), json!({"sex": "female"}));
    check(rule, json!({"maritalStatus": {"text": "male"}}), json!({"sex": "male"}));
    let chosen = json!({"coding": [{"code": "male"}, {"code": "2", "userSelected": true}]});
    check(rule, json!({"maritalStatus": chosen}), json!({"sex": "female"}));
}

#[test]
fn a_mapping_leaves_units_of_other_types_and_formats_alone() {
    let mapping = format!("{HEAD}match = {{ 'resourceType' = ['Enc*'] }}\n");
    let mapping = mapping.replace("[tables]\nsex = 'sex.csv'\n", "") + PATIENT + "birth_date = 'birthDate'\n" + ID;
    let mapped = apply(&mapping, json!({"resourceType": "Patient", "id": "1"}));
    assert_eq!(mapped.disposition, Disposition::Ignored { reason: "resourceType is none of Enc*".to_owned() });
    let text = "MSH|^~\\&|A|B|C|D|20240305||ADT^A01|1|P|2.5\rPID|1||P1\r".to_owned();
    let message =
        crate::hl7v2::Message::parse(text, crate::hl7v2::Charset::Utf8, &crate::hl7v2::Limits::default()).unwrap();
    let context = Context { zone: &TimeZone::UTC, facility: None, explain: false };
    let mapped = load(&mapping).unwrap().apply(&message, &context).unwrap();
    assert_eq!(mapped.disposition, Disposition::Ignored { reason: "the mapping is for format = \"fhir\"".to_owned() });
}

#[test]
fn mistakes_in_paths_are_told_at_their_columns() {
    check_problems(
        &format!(
            "{HEAD}{PATIENT}updated_at = 'meta.lastUpdated'\nname = 'nmae'\nbirth_date = 'birthDate.frist()'\n\
             occupation = 'Patinet.name'\nlanguage = {{ from = 'language', when = \"gendr = 'male'\" }}\n\
             sex = {{ from = 'gender', table = 'sex', when = 'name' }}\n[[patient.phones]]\neach = 'telecom'\nvalue = 'valeu'\n{ID}"
        ),
        &[
            ("7:9 error[M005]", "did you mean name?"),
            ("8:25 error[M005]", "did you mean first?"),
            ("9:15 error[M005]", "did you mean Patient?"),
            ("10:41 error[M006]", "did you mean gender?"),
            ("11:49 error[M006]", "a condition must be true or false"),
            ("14:10 error[M005]", "did you mean value?"),
        ],
    );
}

#[test]
fn mistakes_in_rules_are_told_as_in_mappings_of_messages() {
    let sound =
        format!("{HEAD}{PATIENT}updated_at = 'meta.lastUpdated'\nsex = {{ from = 'gender', table = 'sex' }}\n{ID}");
    check_problems(&sound, &[]);
    check_problems(&sound.replace("'gender'", "['gender', 'gender']"), &[("7:27 warning[M021]", "named twice")]);
    check_problems(
        &sound.replace("sex = { from = 'gender', table = 'sex' }", "sex = 'gender'\nbirth_date = 'name'"),
        &[
            ("3:1 warning[M024]", "no rule uses the table sex"),
            ("7:7 warning[M011]", "needs a table"),
            ("8:14 warning[M018]", "name (HumanName) does not hold what birth_date is made of"),
        ],
    );
    check_problems(
        &sound.replace(PATIENT, "[[patient]]\n"),
        &[("4:1 error[M004]", "a block of patient says what makes one record")],
    );
    check_problems(
        &format!("{sound}[segments]\nZPI = {{ 1 = 'ST' }}\n"),
        &[("13:1 error[M014]", "segments are of HL7 v2")],
    );
    check_problems(
        &sound.replace("[tables]", "match = { resourceType = ['Patient', 'Encuonter'] }\n[tables]"),
        &[("2:38 warning[M022]", "did you mean Encounter?")],
    );
    check_problems(
        &sound.replace(PATIENT, &format!("{PATIENT}skip = [{{ when = 'active.not()', reason = 'a' }}, {{ when = 'active.not()', reason = 'b' }}]\n")),
        &[("6:59 warning[M021]", "never reached")],
    );
}

#[test]
fn elements_that_no_rule_reads_are_listed() {
    let mapping = format!(
        "{HEAD}{PATIENT}name = 'name.where(use = \"official\")'\nbirth_date = 'birthDate'\nsex = {{ from = 'gender', table = 'sex' }}\n\
         [[patient.phones]]\neach = \"telecom.where(system = 'phone')\"\nvalue = {{ from = '$this', as = 'phone' }}\n{ID}"
    )
    .replace("\"official\"", "''official''")
    .replace("name = 'name.where(use = ''official'')'", "name = \"name.where(use = 'official')\"");
    let mapping = load(&mapping).unwrap();
    let patient = json!({"resourceType": "Patient", "id": "1", "meta": {"versionId": "1"}, "gender": "male",
        "name": [{"use": "official", "text": "张伟", "period": {"start": "2000"}}, {"use": "old", "text": "李伟"}],
        "maritalStatus": {"text": "married"}, "telecom": [{"system": "phone", "value": "13800001234", "rank": 1}],
        "photo": [{"title": "x"}], "multipleBirthInteger": 2});
    let set = Set::read(patient.to_string().as_bytes()).unwrap();
    let mut coverage = Coverage::default();
    for bundle in set.units() {
        let unit = Unit::from_json(bundle).unwrap();
        let context = Context { zone: &TimeZone::UTC, facility: None, explain: true };
        coverage.add((&unit).into(), mapping.apply(&unit, &context), |record, _| record.fields.clone());
    }
    let unread: Vec<String> = coverage.unread.keys().map(ToString::to_string).collect();
    assert_eq!(unread, ["Patient.maritalStatus", "Patient.multipleBirth", "Patient.photo"]);
    assert!(coverage.has(Kind::Patient));
    let idle: Vec<String> = coverage.idle_rules(&mapping).into_iter().map(|rule| rule.target).collect();
    assert_eq!(idle, ["patient.birth_date"]);
}

#[test]
fn elements_that_no_condition_chooses_are_told() {
    let mapping = format!(
        "{HEAD}{PATIENT}emails = {{ from = \"telecom.where(system = 'email')\", as = 'email' }}\n\
         [[patient.phones]]\neach = \"telecom.where(system = 'phone' and use.empty())\"\nvalue = {{ from = '$this', as = 'phone' }}\n{ID}"
    );
    let telecom = |others: Json| {
        let patient = json!({"resourceType": "Patient", "id": "1", "telecom": others});
        apply(&mapping, patient).trace.unchosen
    };
    let phone = json!({"system": "phone", "value": "13800001234"});
    let fax = json!({"system": "fax", "value": "1"});
    assert_eq!(telecom(json!([phone, {"system": "email", "value": "a@b.example"}])), BTreeMap::new());
    let fields = BTreeSet::from(["patient.emails".to_owned(), "patient.phones".to_owned()]);
    assert_eq!(telecom(json!([phone, fax])), BTreeMap::from([("Patient.telecom[1]".to_owned(), fields)]));
}

#[test]
fn names_numbers_addresses_phones_and_times_are_read_from_what_fhir_holds_them_in() {
    let name = |name: Json| json!({"name": [name]});
    for (rule, elements, expected) in [
        ("name = 'name'", name(json!({"text": "张　伟"})), json!({"name": "张伟"})),
        (
            "name = 'name'",
            name(json!({"family": "欧阳", "given": ["小", "明"]})),
            json!({"name": "欧阳小明", "family_name": "欧阳", "given_name": "小明"}),
        ),
        (
            "name = 'name'",
            name(json!({"family": "Doe", "given": ["John", "Q"], "suffix": ["Jr"]})),
            json!({"name": "John Q Doe Jr", "family_name": "Doe", "given_name": "John"}),
        ),
        ("name = 'name'", name(json!({"given": ["Prince"]})), json!({"name": "Prince"})),
        (
            "deceased_at = 'deceased.ofType(dateTime)'",
            json!({"deceasedDateTime": "2026-03"}),
            json!({"deceased_at": "2026-03"}),
        ),
        (
            "deceased_at = 'deceased.ofType(dateTime)'",
            json!({"deceasedDateTime": "2026-03-01T10:20:30.123456-05:00"}),
            json!({"deceased_at": "2026-03-01T10:20:30.123456-05:00"}),
        ),
        ("birth_date = 'birthDate'", json!({"birthDate": "19800517"}), json!({"birth_date": "1980-05-17"})),
        (
            "multiple_birth = 'multipleBirth.ofType(integer)'",
            json!({"multipleBirthInteger": 2}),
            json!({"multiple_birth": 2}),
        ),
        ("deceased = 'deceased.ofType(boolean)'", json!({"deceasedBoolean": false}), json!({"deceased": false})),
        (
            "mother_identifier = 'identifier'",
            json!({"identifier": [{"system": "urn:oid:1.2.3", "value": " M1 "}]}),
            json!({"mother_identifier": {"system": "1.2.3", "value": "M1"}}),
        ),
        (
            "emails = { from = 'telecom', as = 'email' }",
            json!({"telecom": [{"system": "email", "value": "mailto:a@example.org"}, {"system": "phone", "value": "1"}]}),
            json!({"emails": ["a@example.org"]}),
        ),
        (
            "occupation = { from = 'telecom', as = 'phone' }",
            json!({"telecom": [{"system": "phone", "value": "tel:+86-755-86123456"}]}),
            json!({"occupation": "0755-86123456"}),
        ),
        (
            "occupation = { from = 'address', as = 'address' }",
            json!({"address": [{"line": ["中山路1号"], "city": "广州市", "state": "广东省"}]}),
            json!({"occupation": "广东省广州市中山路1号"}),
        ),
        (
            "occupation = { from = 'address', as = 'address' }",
            json!({"address": [{"line": ["1 High St", "Flat 2"], "city": "Leeds", "postalCode": "LS1"}]}),
            json!({"occupation": "1 High St, Flat 2, Leeds, LS1"}),
        ),
        (
            "occupation = 'maritalStatus'",
            json!({"maritalStatus": {"coding": [{"code": "M", "display": "Married"}]}}),
            json!({"occupation": "Married"}),
        ),
        (
            "occupation = 'generalPractitioner'",
            json!({"generalPractitioner": [{"display": "王医生"}]}),
            json!({"occupation": "王医生"}),
        ),
    ] {
        check(rule, elements, expected);
    }
}

const REPORT: &str =
    "format = 'fhir'\n[[lab_report]]\neach = 'DiagnosticReport'\nfiller_order_number = 'id'\nnote = 'note.text'
[[lab_report.results]]\neach = 'result.resolve()'\nskip = [{ when = 'value.empty()', reason = 'a group' }]
code = 'code.coding.code'\nvalue = 'value'\nreference_range = 'referenceRange'\nnote = 'note.text'\n";

fn report(observation: &Json) -> Mapped {
    let mut whole =
        json!({"resourceType": "Observation", "id": "o", "status": "final", "code": {"coding": [{"code": "A"}]}});
    whole.as_object_mut().unwrap().extend(observation.as_object().unwrap().clone());
    let report = json!({"resourceType": "DiagnosticReport", "id": "r", "status": "final", "result": [{"reference": "Observation/o"}]});
    apply(
        REPORT,
        json!({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": report}, {"resource": whole}]}),
    )
}

#[test]
fn a_note_on_an_observation_that_is_left_out_is_one_of_the_report() {
    let mapped = report(&json!({"note": [{"text": "haemolytic"}]}));
    assert_eq!(mapped.skipped.len(), 1);
    assert_eq!(mapped.records[0].fields["note"], "haemolytic");
    let mapped = report(&json!({"valueString": "x", "note": [{"text": "haemolytic"}]}));
    assert_eq!(mapped.records[0].fields["results"][0]["note"], "haemolytic");
    assert_eq!(mapped.records[0].fields["note"], crate::record::Value::Null);
}

#[test]
fn an_explanation_names_each_range_that_was_read() {
    let ranges = json!([{"text": "1-2"}, {"text": "3-4", "age": {"low": {"value": 3}}}]);
    let mapped = report(&json!({"valueQuantity": {"value": 1}, "referenceRange": ranges}));
    let told = mapped.explanation.iter().find(|told| told.field == "results[0].reference_range").unwrap();
    let places: Vec<&str> = told.path.as_deref().unwrap().split(", ").collect();
    assert_eq!(places.len(), 2, "{told:?}");
    assert!(places[0].ends_with("referenceRange[0]") && places[1].ends_with("referenceRange[1]"), "{told:?}");
}
