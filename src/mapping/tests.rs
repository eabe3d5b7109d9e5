//! Mapping files in memory applied to invented messages.

use std::io;

use jiff::tz::TimeZone;

use super::{Context, Disposition, MapError, Mapped, MappedRecord, Mapping, Rejected, Skipped, Unmapped};
use crate::diagnostic::Diagnostic;
use crate::hl7v2::{Charset, Limits, Message};
use crate::record::{Kind, Value as Json, json};

/// A folder of mapping files.
struct Files(Vec<(&'static str, String)>);

impl Files {
    /// `site.toml` and a table for sexes.
    fn of(mapping: &str) -> Self {
        Self(vec![
            ("mappings/site.toml", mapping.to_owned()),
            ("mappings/sex.csv", "source,target\nM,male\nF,female\nX,\n".to_owned()),
            ("mappings/status.csv", "source,target\nF,final\nP,preliminary\n".to_owned()),
        ])
    }

    fn with(mut self, name: &'static str, text: &str) -> Self {
        self.0.push((name, text.to_owned()));
        self
    }

    fn load(&self) -> Result<Mapping, Vec<Diagnostic>> {
        Mapping::load("mappings/site.toml", &|name| {
            let found = self.0.iter().find(|(known, _)| *known == name);
            found.map(|(_, text)| text.clone()).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        })
    }

    /// Errors; what only warns is left to the tests of `check`.
    fn problems(&self) -> Vec<String> {
        let problems = self.load().err().unwrap_or_default();
        problems.iter().filter(|problem| problem.is_error()).map(ToString::to_string).collect()
    }
}

/// A segment with these fields.
fn segment(name: &str, fields: &[(usize, &str)]) -> String {
    let last = fields.iter().map(|(number, _)| *number).max().unwrap_or(0);
    let value = |number| fields.iter().find(|(found, _)| *found == number).map_or("", |(_, value)| value);
    (1..=last).fold(name.to_owned(), |segment, number| format!("{segment}|{}", value(number)))
}

/// One message; without an MSH line it gets one of an A01.
fn message(body: &str) -> Message {
    let text: String = body.lines().map(|line| format!("{}\r", line.trim())).collect();
    let header = "MSH|^~\\&|HIS|H1|HEYI|H1|20240305103000+0800||ADT^A01^ADT_A01|1|P|2.5.1\r";
    let text = if text.starts_with("MSH") { text } else { header.to_owned() + &text };
    Message::parse(text, Charset::Utf8, &Limits::default()).unwrap()
}

fn apply(files: &Files, body: &str) -> Result<Mapped, MapError> {
    let mapping = files.load().unwrap_or_else(|problems| panic!("{problems:#?}"));
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    let [explained, plain] =
        [true, false].map(|explain| mapping.apply(&message(body), &Context { zone: &zone, facility: None, explain }));
    let told = |mapped: &Result<Mapped, MapError>| format!("{:#?}", mapped.as_ref().map(Told::of));
    assert_eq!(told(&plain), told(&explained), "a run without an explanation passes over nothing that gives something");
    explained
}

/// All that a run says but the explanation.
#[derive(Debug)]
#[allow(dead_code, reason = "compared as text")]
struct Told<'m> {
    disposition: &'m Disposition,
    records: &'m [MappedRecord],
    skipped: &'m [Skipped],
    rejected: &'m [Rejected],
    unmapped: &'m [Unmapped],
    notes: &'m [String],
}

impl<'m> Told<'m> {
    fn of(mapped: &'m Mapped) -> Self {
        let Mapped { disposition, records, skipped, rejected, unmapped, notes, .. } = mapped;
        Self { disposition, records, skipped, rejected, unmapped, notes }
    }
}

/// The records of a message, as one JSON list of kind and fields.
fn check(mapping: &str, body: &str, expected: Json) -> Mapped {
    let mapped = apply(&Files::of(mapping), body).unwrap();
    let records: Vec<Json> =
        mapped.records.iter().map(|record| json!({ record.kind.name(): record.fields.clone() })).collect();
    assert_eq!(Json::Array(records), expected, "{mapped:#?}");
    mapped
}

fn check_problems(mapping: &str, expected: &[&str]) {
    let found = Files::of(mapping).problems();
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "{found}\n{expected}\n");
    }
}

const PATIENT: &str = "[patient]\neach = \"PID\"\n";

#[test]
fn the_short_form_takes_the_coercion_of_the_field() {
    let mapping = format!(
        "{PATIENT}name = 'PID-5'\nbirth_date = 'PID-7'\nmultiple_birth = 'PID-25'\ndeceased = 'PID-30'\nupdated_at = 'MSH-7'"
    );
    check(
        &mapping,
        "PID|||||张^伟||19900305120000|M|||||||||||||||||02|||||N",
        json!([{"patient": {"name": "张伟", "family_name": "张", "given_name": "伟", "birth_date": "1990-03-05",
            "multiple_birth": 2, "deceased": false, "updated_at": "2024-03-05T10:30:00+08:00"}}]),
    );
}

#[test]
fn the_first_path_with_a_value_wins() {
    let mapping = format!("{PATIENT}name = ['PID-5[7=L]', 'PID-5[1]']");
    for (body, name) in [("PID|||||Li^Si^^^^^A~张^三^^^^^L", "张三"), ("PID|||||李^四", "李四")] {
        let mapped = apply(&Files::of(&mapping), body).unwrap();
        assert_eq!(mapped.records[0].fields["name"], name);
    }
}

#[test]
fn empty_says_nothing_and_null_clears() {
    let mapping = format!(
        "{PATIENT}name = 'PID-5'\nbirth_date = 'PID-7'\nlanguage = 'PID-15'\nmother_identifier = 'PID-21'
        ethnicity = {{ from = 'PID-22', on_null = 'keep' }}
        [[patient.phones]]\neach = 'PID-13'\nvalue = 'PID-13.1'
        [[patient.addresses]]\neach = 'PID-11'\non_null = 'keep'\ncity = 'PID-11.3'"
    );
    check(
        &mapping,
        &segment("PID", &[5, 7, 11, 13, 21, 22].map(|number| (number, "\"\""))),
        json!([{"patient": {"name": null, "family_name": null, "given_name": null, "birth_date": null,
            "phones": null, "mother_identifier": null}}]),
    );
    check(&mapping, "PID|1||||||||||||||||||||", json!([]));
}

#[test]
fn null_clears_only_what_no_later_path_fills_and_never_a_key() {
    let mapping = format!(
        "{PATIENT}nationality = ['PID-26.1', 'PID-28.1']\nemails = {{ from = 'PID-13[*]', as = 'email' }}
        name = [{{ from = 'PID-9' }}, {{ from = 'PID-5' }}]\nlanguage = {{ from = ['PID-15', 'PID-16'], default = 'zh' }}
        [lab_report]\nplacer_order_number = ['OBR-2', 'ORC-2']\nfiller_order_number = ['OBR-3', 'ORC-3']
        conclusion = 'OBR-13'"
    );
    let nulls = segment("PID", &[9, 13, 15, 26].map(|number| (number, "\"\"")));
    let mapped = check(
        &mapping,
        &nulls,
        json!([{"patient": {"nationality": null, "emails": null, "language": null,
            "name": null, "family_name": null, "given_name": null}}]),
    );
    let told = mapped.explanation.iter().find(|told| told.field == "nationality").unwrap();
    assert_eq!((told.path.as_deref(), told.raw.as_deref()), (Some("PID-26.1"), Some("\"\"")));
    let sent =
        [(5, "张三"), (9, "\"\""), (13, "\"\"~^^^a@example.org"), (15, "\"\""), (16, "en"), (26, "\"\""), (28, "CHN")];
    check(
        &mapping,
        &segment("PID", &sent),
        json!([{"patient": {"nationality": "CHN", "emails": ["a@example.org"], "language": "en", "name": "张三"}}]),
    );
    let mapped = check(
        &mapping,
        "PID|1\nORC|RE||F9\nOBR|1|\"\"|\"\"||||||||||\"\"",
        json!([{"lab_report": {"filler_order_number": "F9", "conclusion": null}}]),
    );
    assert_eq!(mapped.explanation.len(), 2);
}

#[test]
fn what_is_explained_is_what_the_item_became() {
    let mapping = format!(
        "{PATIENT}[[patient.identifiers]]\neach = 'PID-3'\nvalue = 'PID-3.1'\ntype = {{ constant = 'resident_id' }}"
    );
    let mapped = apply(&Files::of(&mapping), "PID|||110101900307123").unwrap();
    let value = mapped.records[0].fields["identifiers"][0]["value"].clone();
    let told = mapped.explanation.iter().find(|told| told.field == "identifiers[0].value").unwrap();
    assert_eq!(value.as_str().map(str::len), Some(18));
    assert_eq!((&told.value, told.raw.as_deref()), (&value, Some("110101900307123")));
}

#[test]
fn a_record_that_says_nothing_but_its_time_is_none() {
    check(&format!("{PATIENT}updated_at = 'MSH-7'\nvip = {{ constant = true }}"), "PID|1", json!([]));
}

#[test]
fn an_explanation_shows_all_that_was_read() {
    let mapping = "[[lab_report]]\neach = 'OBR'\nfiller_order_number = 'OBR-3.1'\nstatus = { constant = 'final' }
        conclusion = 'NTE[*]-3'
        [[lab_report.results]]\neach = 'OBX'\ncode = 'OBX-3.1'\nvalue = 'OBX-5'\nreference_range = 'OBX-7'";
    let body = "OBR|||F1\nNTE|||one\nNTE|||two\nOBX||ST|A||1~2||3.5~9.5";
    let mapped = apply(&Files::of(mapping), &format!("PID|||1\n{body}")).unwrap();
    let raw = |name: &str| {
        let found = mapped.explanation.iter().find(|field| field.field == name);
        found.unwrap_or_else(|| panic!("{name}: {:#?}", mapped.explanation)).raw.clone().unwrap()
    };
    assert_eq!(raw("results[0].reference_range"), "3.5~9.5");
    assert_eq!(raw("results[0].value_text"), "1~2");
    assert_eq!(raw("conclusion"), "one~two");
    let told = |name: &str| mapped.explanation.iter().find(|field| field.field == name).unwrap().path.clone().unwrap();
    assert_eq!(told("conclusion"), "NTE[1]-3, NTE[2]-3");
    assert_eq!(told("results[0].value_text"), "OBX-5[1], OBX-5[2]");
    // A list takes the values of all its paths, each with its place.
    let mails = apply(
        &Files::of(&format!("{PATIENT}emails = {{ from = ['PID-13[*]', 'PID-14[*]'], as = 'email' }}")),
        "PID|||||||||||||a@x.org~b@x.org|c@x.org",
    );
    let mails = mails.unwrap().explanation.remove(0);
    assert_eq!(mails.path.as_deref(), Some("PID-13[1], PID-13[2], PID-14"));
    assert_eq!(mails.raw.as_deref(), Some("a@x.org~b@x.org~c@x.org"));
}

#[test]
fn a_block_for_want_of_others_comes_after_all_of_them() {
    let base = format!(
        "[tables]\ntype = 'type.csv'\n{PATIENT}
        [[patient.identifiers]]\neach = 'PID-3[1]'\nwhen_none = {{ type = 'mrn' }}\nvalue = 'PID-3.1'\ntype = {{ constant = 'mrn' }}
        [[patient.identifiers]]\neach = 'PID-3'\nvalue = 'PID-3.1'
        type = {{ from = 'PID-3.5', table = 'type', on_unmapped = 'other' }}"
    );
    let site =
        "extends = 'base.toml'\n[[patient.identifiers]]\neach = 'ZPI-1'\nvalue = 'ZPI-1'\ntype = { constant = 'mrn' }";
    let files = Files::of(site).with("mappings/base.toml", &base);
    let files = files.with("mappings/type.csv", "source,target\nBAH,mrn\n");
    for (body, expected) in [
        ("PID|||1^^^^BAH~2^^^^CARD", vec!["1 mrn", "2 other"]),
        ("PID|||1^^^^CARD~2^^^^BAH", vec!["1 other", "2 mrn"]),
        ("PID|||1^^^^CARD~2^^^^CARD", vec!["1 other", "2 other", "1 mrn"]),
        ("PID|||1^^^^CARD\nZPI|9", vec!["1 other", "9 mrn"]),
    ] {
        let mapped = apply(&files, body).unwrap();
        let identifiers = mapped.records[0].fields["identifiers"].as_array().unwrap();
        let part = |item: &Json, name: &str| item.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
        let found: Vec<String> =
            identifiers.iter().map(|item| format!("{} {}", part(item, "value"), part(item, "type"))).collect();
        assert_eq!(found, expected, "{body}");
    }
}

#[test]
fn a_flag_of_no_result_and_a_type_of_no_number_are_no_items() {
    let mapping = r#"
        [[lab_report]]
        each = "OBR"
        filler_order_number = "OBR-3"
        [[lab_report.results]]
        each = "OBX"
        code = "OBX-3"
        value = "OBX-5"
        [[lab_report.results]]
        each = "OBX[*]"
        abnormal = "OBX-8"
    "#;
    let mapped = apply(&Files::of(mapping), "OBR|1||F1\nOBX|1|NM|K||2.1|||true").unwrap();
    let record = mapped.records.iter().find(|record| record.kind == Kind::LabReport).unwrap();
    assert_eq!(record.fields.get("results").unwrap().as_array().unwrap().len(), 1, "{record:?}");
    assert!(mapped.skipped.iter().any(|skipped| skipped.reason.starts_with("it has neither a code nor a name")));
}

#[test]
fn lists_take_each_repetition_and_blocks_are_concatenated() {
    let mapping = format!(
        "{PATIENT}
        [[patient.identifiers]]\neach = 'PID-3'
        value = {{ from = 'PID-3.1', required = 'skip' }}\nsystem = {{ from = 'PID-3.4', default = 'HIS' }}
        type = {{ constant = 'mrn' }}
        [[patient.identifiers]]\neach = 'PID-19'\nvalue = 'PID-19'\ntype = {{ constant = 'resident_id' }}"
    );
    let mapped = check(
        &mapping,
        "PID|||P1^^^A~^^^B~P2||||||||||||||||11010519491231002X",
        json!([{"patient": {"identifiers": [
            {"type": "mrn", "system": "A", "value": "P1"}, {"type": "mrn", "system": "HIS", "value": "P2"},
            {"type": "resident_id", "value": "11010519491231002X"}]}}]),
    );
    assert_eq!(mapped.skipped.len(), 1, "{:?}", mapped.skipped);
    assert_eq!(mapped.skipped[0].path, "PID-3[2]");
    let explained: Vec<(String, Option<String>)> =
        mapped.explanation.into_iter().map(|field| (field.field, field.path)).collect();
    assert!(explained.contains(&("identifiers[1].value".to_owned(), Some("PID-3[3].1".to_owned()))), "{explained:?}");
}

#[test]
fn a_list_of_texts_takes_the_values_of_all_its_paths_and_each_once() {
    let mapping = format!(
        "{PATIENT}name = 'PID-5'\nemails = {{ from = ['PID-13[*]', 'PID-14[*]'], as = 'email' }}
        other_names = {{ from = ['PID-9[*]', 'PID-5[7 in A,M]', 'PID-5[*]'], as = 'name' }}"
    );
    let mapped = check(
        &mapping,
        "PID|||||王^五~Li^Si^^^^^A~李^四^^^^^M||||李^四||||1~^NET^Internet^a@x.org|^NET^Internet^b@x.org~^NET^Internet^a@x.org",
        json!([{"patient": {"name": "王五", "family_name": "王", "given_name": "五",
            "emails": ["a@x.org", "b@x.org"], "other_names": ["李四", "Si Li"]}}]),
    );
    let told = |name: &str| mapped.explanation.iter().find(|field| field.field == name).unwrap();
    assert_eq!(told("emails").raw.as_deref().unwrap().matches("@x.org").count(), 3);
    assert_eq!(told("other_names").value, json!(["李四", "Si Li"]));
    // The chosen name is no other name of itself.
    let mapped = check(
        &mapping,
        "PID|||||王^五^^^^^A",
        json!([{"patient": {"name": "王五", "family_name": "王", "given_name": "五"}}]),
    );
    assert!(mapped.explanation.iter().all(|field| field.field != "other_names"), "{:?}", mapped.explanation);
}

#[test]
fn a_code_that_is_left_out_takes_nothing_from_what_other_paths_of_its_list_gave() {
    for paths in ["'ZPI-1[*]', 'ZPI-2'", "'ZPI-2', 'ZPI-1[*]'"] {
        let mapping = format!(
            "[segments.ZPI]\n1 = \"ID\"\n2 = \"ID\"\n[tables]\nstatus = 'status.csv'\n{PATIENT}name = 'PID-5'
            other_names = {{ from = [{paths}], table = 'status', on_unmapped = 'leave' }}"
        );
        let mapped = apply(&Files::of(&mapping), "PID|||||王^五\rZPI|F|Z").unwrap();
        assert_eq!(mapped.records[0].fields["other_names"], json!(["final"]), "{paths}");
    }
}

#[test]
fn a_code_of_another_system_beside_the_first_is_kept() {
    let mapping = "[[lab_report]]\neach = 'OBR'\nfiller_order_number = 'OBR-3'\npanel = 'OBR-4'
        [[lab_report.results]]\neach = 'OBX'\ncode = 'OBX-3.1'\nalternate = { from = 'OBX-3', as = 'alternate' }\nvalue = 'OBX-5'";
    let panel = json!({"code": "BC", "name": "血常规", "system": "L",
        "alternate": {"code": "58410-2", "name": "CBC", "system": "LN"}});
    check(
        mapping,
        "OBR|||F1|BC^血常规^L^58410-2^CBC^LN\rOBX||CE|W^^L^6690-2^^LN||P^阳性^L^10828004^Positive^SCT\r\
         OBX||ST|W^^L^W^^L||x\rOBX||ST|W^^^W||x\rOBX||ST|W^^L^W^^LN||x",
        json!([{"lab_report": {"filler_order_number": "F1", "panel": panel, "results": [
            {"code": "W", "alternate": {"code": "6690-2", "system": "LN"}, "value_code":
                {"code": "P", "name": "阳性", "system": "L",
                 "alternate": {"code": "10828004", "name": "Positive", "system": "SCT"}}},
            {"code": "W", "value_text": "x"}, {"code": "W", "value_text": "x"},
            {"code": "W", "alternate": {"code": "W", "system": "LN"}, "value_text": "x"}]}}]),
    );
}

#[test]
fn a_list_without_end_is_refused_whole() {
    let mapping = format!(
        "{PATIENT}other_names = {{ from = 'PID-9[*]', as = 'name' }}
        [[patient.identifiers]]\neach = 'PID-3'\nvalue = {{ from = 'PID-3.1', required = 'skip' }}"
    );
    let numbers = |count: usize, text: &str| vec![text; count].join("~");
    let mapped = apply(&Files::of(&mapping), &format!("PID|||{}", numbers(1_000, "P1"))).unwrap();
    assert_eq!(mapped.records[0].fields["identifiers"], json!([{"value": "P1"}]));
    for (field, text) in [(3, "P1"), (3, "^^^A"), (9, "张三")] {
        let error = apply(&Files::of(&mapping), &segment("PID", &[(field, &numbers(1_001, text))])).unwrap_err();
        assert_eq!((error.location.to_string(), error.code.as_str()), (format!("PID-{field}"), "207"), "{error}");
        assert!(error.text.contains("1000"), "{error}");
    }
}

#[test]
fn tables_translate_keep_leave_reject_and_replace() {
    let tables = "[tables]\nsex = 'sex.csv'\n";
    use super::UnmappedOutcome::{Kept, Left, Rejected, Replaced};
    for (rule, code, sex, outcome) in [
        ("table = 'sex'", "M", json!("male"), None),
        ("table = 'sex'", "X", Json::Null, None),
        ("table = 'sex', on_unmapped = 'keep'", "9", Json::Null, Some(Left)),
        ("table = 'sex', on_unmapped = 'leave'", "9", Json::Null, Some(Left)),
        ("table = 'sex', on_unmapped = 'other'", "9", json!("other"), Some(Replaced)),
        ("on_unmapped = 'leave'", "male", json!("male"), None),
        ("on_unmapped = 'leave'", "M", Json::Null, Some(Left)),
        ("table = 'sex', default = 'unknown'", "", json!("unknown"), None),
    ] {
        let mapping = format!("{tables}{PATIENT}name = 'PID-5'\nsex = {{ from = 'PID-8', {rule} }}");
        let mapped = apply(&Files::of(&mapping), &format!("PID|||||张三|||{code}")).unwrap();
        assert_eq!(mapped.records[0].fields.get("sex").cloned().unwrap_or_default(), sex, "{rule} {code}");
        assert_eq!(mapped.unmapped.first().map(|unmapped| unmapped.outcome), outcome, "{rule} {code}");
    }
    let mapping = format!(
        "{tables}{PATIENT}sex = {{ from = 'PID-8', table = 'sex' }}\nlanguage = {{ from = 'PID-15', table = 'sex' }}"
    );
    let error = apply(&Files::of(&mapping), "PID||||||||9").unwrap_err();
    assert_eq!((error.location.to_string().as_str(), error.code.as_str()), ("PID-8", "103"));
    assert!(!error.text.contains('9'), "{error}");
    assert_eq!(error.unmapped[0].outcome, Rejected);
    let mapped = apply(&Files::of(&mapping), "PID||||||||M|||||||中文^Chinese").unwrap();
    assert_eq!(mapped.records[0].fields["language"], "中文", "a describing field keeps the sender's code");
    assert_eq!((mapped.unmapped[0].target.as_str(), mapped.unmapped[0].outcome), ("patient.language", Kept));
}

#[test]
fn required_says_what_falls() {
    let mapping = format!(
        "{PATIENT}name = 'PID-5'\n[visit]\nnumber = {{ from = ['PV1-19', 'PV1-50'], required = 'skip' }}\nward = 'PV1-3.1'"
    );
    let mapped = check(&mapping, "PID|||||张三\nPV1|1|I|3W", json!([{"patient": {"name": "张三"}}]));
    assert_eq!(mapped.skipped[0].rule, "visit.number is required");
    let mapping = mapping.replace("'skip'", "true");
    let error = apply(&Files::of(&mapping), "PID|||||张三\nPV1|1|I|3W").unwrap_err();
    assert_eq!((error.location.to_string().as_str(), error.code.as_str()), ("PV1-19", "101"));
}

#[test]
fn what_a_coercion_refuses_is_rejected_and_the_next_path_asked() {
    let mapping = format!("{PATIENT}name = 'PID-5'\nbirth_date = 'PID-7'\nupdated_at = ['EVN-2', 'MSH-7']");
    let mapped = check(
        &mapping,
        "EVN||20240230\nPID|||||张三||20231301",
        json!([{"patient": {"name": "张三", "updated_at": "2024-03-05T10:30:00+08:00"}}]),
    );
    let rejected: Vec<&str> = mapped.rejected.iter().map(|rejected| rejected.path.as_str()).collect();
    assert_eq!(rejected, ["PID-7", "EVN-2"]);
    assert!(mapped.rejected.iter().all(|rejected| rejected.code.as_str() == "102" && !rejected.text.contains("2023")));
}

#[test]
fn a_bare_date_does_not_win_over_a_time_of_day_as_the_record_s_time() {
    let mapping = format!("{PATIENT}name = 'PID-5'\nupdated_at = ['EVN-2', 'MSH-7']");
    for (event, expected) in [("20240101", "2024-03-05T10:30:00+08:00"), ("202401011200", "2024-01-01T12:00:00+08:00")]
    {
        let mapped = apply(&Files::of(&mapping), &format!("EVN||{event}\nPID|||||张三")).unwrap();
        assert_eq!(mapped.records[0].fields["updated_at"], expected);
    }
}

#[test]
fn the_time_that_orders_messages_falls_through_what_is_no_time() {
    let mapping = "[patient]\neach = 'PID'\nname = 'PID-5'\nupdated_at = ['EVN-2', 'MSH-7']
        [[lab_report]]\neach = 'OBR'\nfiller_order_number = 'OBR-3'\nupdated_at = ['OBR-22', 'MSH-7']";
    for time in ["\"\"", "soon", "20240230", "00000000", ""] {
        let body = format!("EVN||{time}\nPID|||||张三\n{}", segment("OBR", &[(3, "F1"), (22, time)]));
        let mapped = apply(&Files::of(mapping), &body).unwrap();
        for record in &mapped.records {
            assert_eq!(record.fields["updated_at"], "2024-03-05T10:30:00+08:00", "{time}");
        }
    }
    let body = "MSH|^~\\&|HIS||||\"\"||ADT^A08\nEVN||\"\"\nPID|||||张三";
    let mapped = apply(&Files::of(mapping), body).unwrap();
    assert!(!mapped.records[0].fields.contains_key("updated_at"), "null never clears it");
}

#[test]
fn the_trigger_event_of_old_versions_is_read_from_evn_1() {
    let mapping = "match = { 'MSH-9.2' = ['A*'] }\n[tables]\nevent = 'event.csv'\n[patient]\neach = 'PID'
        when = \"MSH-9.2 in ['A01', 'A08']\"\nname = 'PID-5'
        [visit]\nnumber = 'PV1-19'\nevent = { from = 'MSH-9.2', table = 'event' }";
    let files = Files::of(mapping).with("mappings/event.csv", "source,target\nA01,admitted\n");
    let body = |kind: &str, event: &str| {
        format!("MSH|^~\\&|||||||{kind}\nEVN|{event}\nPID|||||张三\n{}", segment("PV1", &[(19, "V1")]))
    };
    for (kind, event) in [("ADT", "A01"), ("ADT^", " A01 "), ("ADT^A01", "A03")] {
        let mapped = apply(&files, &body(kind, event)).unwrap();
        assert_eq!(mapped.records.len(), 2, "{kind} {event}");
        assert_eq!(mapped.records[1].fields["event"], "admitted", "{kind} {event}");
        assert_eq!(message(&body(kind, event)).header().trigger_event, "A01");
    }
    assert_ne!(apply(&files, &body("ADT", "")).unwrap().disposition, Disposition::Records);
}

#[test]
fn what_is_left_out_says_whether_the_mapping_names_the_case() {
    let mapping = "[patient]\neach = 'PID'\nskip = [{ when = \"MSH-9.2 = 'A29'\", reason = 'no deletion' }]
        name = { from = 'PID-5', required = 'skip' }";
    let mapping =
        &mapping.replace(" }]\n", " }, { when = \"MSH-9.2 = 'A31'\", reason = 'no number', deliberate = false }]\n");
    for (trigger, deliberate) in [("A29", true), ("A31", false), ("A08", false)] {
        let mapped = apply(&Files::of(mapping), &format!("MSH|^~\\&|||||||ADT^{trigger}\nPID|1")).unwrap();
        assert_eq!(mapped.records, []);
        assert_eq!(mapped.skipped.iter().map(|one| one.deliberate).collect::<Vec<_>>(), [deliberate], "{trigger}");
    }
}

#[test]
fn match_decides_whether_a_message_is_meant() {
    let mapping = format!("match = {{ 'MSH-9.1' = ['ADT', 'SIU'], 'MSH-3' = 'H*S' }}\n{PATIENT}name = 'PID-5'");
    let mapped = apply(&Files::of(&mapping), "PID|||||张三").unwrap();
    assert_eq!((mapped.disposition, mapped.records.len()), (Disposition::Records, 1));
    for header in ["MSH|^~\\&|HIS||||||ORU^R01", "MSH|^~\\&|LIS||||||ADT^A01", "MSH|^~\\&"] {
        let mapped = apply(&Files::of(&mapping), &format!("{header}\nPID|||||张三")).unwrap();
        assert!(matches!(mapped.disposition, Disposition::Ignored { .. }), "{header}");
        assert_eq!(mapped.records.len(), 0);
    }
}

#[test]
fn conditions_decide_on_records_items_and_rules() {
    let mapping = format!(
        "{PATIENT}name = 'PID-5'
        [visit]
        when = \"PV1 and MSH-9.2 not in ['A28', 'A31'] and not (PV1-2 = 'P' or PV1-2 = 'R')\"
        number = 'PV1-19'
        started_at = {{ from = 'PV1-44', when = \"MSH-9.2 = 'A01'\" }}"
    );
    let body = |trigger: &str, class: &str| {
        format!(
            "MSH|^~\\&|HIS||||||ADT^{trigger}\nPID|||||张三\nPV1|1|{class}{}V1{}20240305",
            "|".repeat(17),
            "|".repeat(25)
        )
    };
    for (trigger, class, visits, started) in
        [("A01", "I", 1, true), ("A02", "I", 1, false), ("A31", "I", 0, false), ("A01", "R", 0, false)]
    {
        let mapped = apply(&Files::of(&mapping), &body(trigger, class)).unwrap();
        assert_eq!(mapped.records.len(), 1 + visits, "{trigger} {class}");
        if let Some(visit) = mapped.records.get(1) {
            assert_eq!(visit.fields.contains_key("started_at"), started, "{trigger}");
        }
    }
}

#[test]
fn patients_of_one_message_are_not_mixed() {
    let mapping = "[patient]\neach = 'PID'\nname = 'PID-5'\n[visit]\nnumber = 'PV1-19'
        [[lab_report]]\neach = 'OBR'\nfiller_order_number = ['OBR-3', 'ORC-3']\nvisit_number = 'PV1-19'";
    check(
        mapping,
        "PID|||||张三\nPV1||||||||||||||||||| V1\nORC|||F1\nOBR|1\nPID|||||李四\nORC|||F2\nOBR|1\nOBR|2||F3",
        json!([
            {"patient": {"name": "张三"}}, {"visit": {"number": "V1"}},
            {"lab_report": {"filler_order_number": "F1", "visit_number": "V1"}},
            {"patient": {"name": "李四"}}, {"lab_report": {"filler_order_number": "F2"}},
            {"lab_report": {"filler_order_number": "F3"}},
        ]),
    );
}

#[test]
fn a_record_names_its_patient_even_where_that_was_skipped() {
    let mapping = "[patient]\neach = 'PID'\nskip = [{ when = 'not PID-3', reason = 'no number' }]\nname = 'PID-5'
        [[lab_report]]\neach = 'OBR'\nfiller_order_number = 'OBR-3'";
    let mapped =
        apply(&Files::of(mapping), "PID|||P1||张三\nOBR|||F1\nPID|||||李四\nOBR|||F2\nPID|||P3||王五\nOBR|||F3")
            .unwrap();
    let patients: Vec<(Kind, usize)> = mapped.records.iter().map(|record| (record.kind, record.patient)).collect();
    let (patient, report) = (Kind::Patient, Kind::LabReport);
    assert_eq!(patients, [(patient, 0), (report, 0), (report, 1), (patient, 2), (report, 2)]);
}

#[test]
fn a_report_before_several_patients_is_nobodys() {
    let mapping = "[patient]\neach = 'PID'\nname = 'PID-5'
        [[lab_report]]\neach = 'OBR'\nfiller_order_number = 'OBR-3'
        [[lab_report.results]]\neach = 'OBX'\nvalue = 'OBX-5'";
    let orders = "OBR|||F1\nOBX|||||5";
    let one = apply(&Files::of(mapping), &format!("{orders}\nPID|||||张三")).unwrap();
    assert_eq!((one.records.len(), one.skipped.len()), (2, 0));
    let two = apply(&Files::of(mapping), &format!("{orders}\nPID|||||张三\nPID|||||李四")).unwrap();
    assert!(two.records.iter().all(|record| record.kind == Kind::Patient));
    let skipped: Vec<(&str, &str)> =
        two.skipped.iter().map(|skipped| (skipped.path.as_str(), skipped.rule.as_str())).collect();
    assert_eq!(skipped, [("OBR", "unread"), ("OBX", "unread")]);
}

#[test]
fn a_result_that_several_orders_see_is_read_once() {
    let mapping = "[[lab_report]]\neach = 'OBR'\nfiller_order_number = 'OBR-3'
        [[lab_report.results]]\neach = 'OBX'\nvalue = 'OBX-5'";
    check(
        mapping,
        "OBX|||||5\nOBR|||F1\nOBR|||F2",
        json!([
            {"lab_report": {"filler_order_number": "F1", "results": [{"value_number": 5}]}},
            {"lab_report": {"filler_order_number": "F2"}},
        ]),
    );
}

#[test]
fn merges_come_first_and_take_the_survivor_from_their_patient() {
    let mapping = "[patient]\neach = 'PID'\nname = 'PID-5'
        [[merge]]\neach = 'MRG'
        [[merge.survivor]]\neach = 'PID-3'\nvalue = 'PID-3.1'\nsystem = 'PID-3.4'\ntype = { constant = 'mrn' }
        [[merge.retired]]\neach = 'MRG-1'\nvalue = 'MRG-1.1'\nsystem = 'MRG-1.4'";
    check(
        mapping,
        "PID|||P1^^^HIS||张三\nMRG|P2^^^HIS~P5\nPID|||P3||李四\nMRG|P4",
        json!([
            {"merge": {"survivor": [{"type": "mrn", "system": "HIS", "value": "P1"}],
                "retired": [{"system": "HIS", "value": "P2"}, {"value": "P5"}]}},
            {"patient": {"name": "张三"}},
            {"merge": {"survivor": [{"type": "mrn", "value": "P3"}], "retired": [{"value": "P4"}]}},
            {"patient": {"name": "李四"}},
        ]),
    );
    for (body, place) in [("PID|||P1\nMRG|", "MRG-1"), ("PID|1\nMRG|P2", "PID-3"), ("PID|1\nMRG|", "PID-3")] {
        let error = apply(&Files::of(mapping), body).unwrap_err();
        assert_eq!((error.location.to_string().as_str(), error.code.as_str()), (place, "101"), "{error}");
    }
}

#[test]
fn parts_of_an_object_may_come_from_different_places() {
    let mapping =
        "[visit]\nnumber = 'PV1-19'\ndepartment = { code = 'PV1-10', name = 'ZPV-1' }\nattending.name = 'ZPV-2'";
    check(
        mapping,
        "PV1||||||||||D1|||||||||V1\nZPV|心内科|王医生",
        json!([{"visit": {"number": "V1", "department": {"code": "D1", "name": "心内科"}, "attending": {"name": "王医生"}}}]),
    );
}

const RESULTS: &str = "[tables]\nstatus = 'status.csv'\nsex = 'sex.csv'
    [patient]\neach = 'PID'\nsex = { from = 'PID-8', table = 'sex' }
    [[lab_report]]\neach = 'OBR'\nfiller_order_number = 'OBR-3'
    [[lab_report.results]]\neach = 'OBX'
    skip = [{ when = \"OBX-3.3 = '99MRC'\", reason = 'analyser setting' }]
    code = 'OBX-3.1'\nstatus = { from = 'OBX-11', table = 'status' }\nvalue = 'OBX-5'
    unit = { from = 'OBX-6', as = 'unit' }\nreference_range = 'OBX-7'\nflags = 'OBX-8[*]'\nnote = 'NTE[*]-3'";

/// One result as the record holds it, its code left out.
fn result(obx: &str) -> (Json, Mapped) {
    let mapped = apply(&Files::of(RESULTS), &format!("PID||||||||F\nOBR|1||F1\n{obx}")).unwrap();
    let result = mapped.records[1].fields["results"][0].clone();
    let mut result = result.as_object().cloned().unwrap_or_default();
    result.remove("code");
    (Json::Object(result), mapped)
}

#[test]
fn results_say_what_obx_5_says() {
    for (obx, expected) in [
        ("NM|A||5.6", json!({"value_number": 5.6})),
        ("ST|A||<0.05", json!({"value_number": 0.05, "comparator": "<", "value_text": "<0.05"})),
        ("NM|A||≥1000", json!({"value_number": 1000, "comparator": ">=", "value_text": "≥1000"})),
        ("NM|A||12.3↑", json!({"value_number": 12.3, "value_text": "12.3↑", "flags": ["H"], "abnormal": true})),
        ("NM|A||+2", json!({"value_number": 2})),
        ("SN|A||^-1", json!({"value_number": -1})),
        ("ST|A||+2", json!({"value_text": "+2"})),
        ("ST|A||-||-", json!({"value_text": "-", "reference_range": {"text": "-"}})),
        ("ST|A||2 L", json!({"value_text": "2 L"})),
        ("ST|A||1:80", json!({"value_text": "1:80"})),
        (
            "ST|A||阴性(-)||阴性",
            json!({"value_text": "阴性(-)", "reference_range": {"text": "阴性"}, "abnormal": false}),
        ),
        ("NM|A||溶血", json!({"value_text": "溶血"})),
        ("ST|A||0012345", json!({"value_text": "0012345"})),
        ("NM|A||0012.5", json!({"value_number": 12.5})),
        ("DT|A||20240305", json!({"value_text": "2024-03-05"})),
        ("SN|A||<^0.05", json!({"value_number": 0.05, "comparator": "<", "value_text": "<0.05"})),
        ("SN|A||^1^:^80", json!({"value_text": "1:80"})),
        ("SN|A||^12", json!({"value_number": 12})),
        ("CE|A||POS^阳性^L", json!({"value_code": {"code": "POS", "name": "阳性", "system": "L"}})),
        ("CWE|A||5.1", json!({"value_number": 5.1})),
        ("CE|A||A^甲~B^乙", json!({"value_text": "甲\n乙"})),
        ("TX|A||第一行~第二行", json!({"value_text": "第一行\n第二行"})),
        ("ST|A||3.5~9.5", json!({"value_text": "3.5~9.5"})),
        (
            "NM|A||7.2|10^9/L|3.5~9.5",
            json!({"value_number": 7.2, "unit": "10^9/L",
            "reference_range": {"low": 3.5, "high": 9.5, "text": "3.5~9.5"}, "abnormal": false}),
        ),
        (
            "NM|A||155||男:120-160 女:110-150",
            json!({"value_number": 155,
            "reference_range": {"low": 110, "high": 150, "text": "男:120-160 女:110-150"}, "abnormal": true}),
        ),
        (
            "NM|A||9.9||3.5-9.5|HH~A",
            json!({"value_number": 9.9, "flags": ["HH", "A"], "abnormal": true, "critical": true,
            "reference_range": {"low": 3.5, "high": 9.5, "text": "3.5-9.5"}}),
        ),
        (
            "NM|A||9.9||3.5-9.5|N",
            json!({"value_number": 9.9, "flags": ["N"], "abnormal": false,
            "reference_range": {"low": 3.5, "high": 9.5, "text": "3.5-9.5"}}),
        ),
        // A word of the source's own hides neither an arrow nor the range.
        (
            "NM|A||＞0.05↑↑||<0.04|高危",
            json!({"value_number": 0.05, "comparator": ">", "value_text": "＞0.05↑↑", "flags": ["高危", "HH"], "abnormal": true,
            "critical": true, "reference_range": {"high": 0.04, "text": "<0.04"}}),
        ),
        (
            "NM|A||9.9||3.5-9.5|高危",
            json!({"value_number": 9.9, "flags": ["高危"], "abnormal": true,
            "reference_range": {"low": 3.5, "high": 9.5, "text": "3.5-9.5"}}),
        ),
        ("NM|A|||mmol/L||||F", json!({})),
    ] {
        let fields: Vec<&str> = obx.splitn(4, '|').collect();
        let (found, mapped) = result(&format!("OBX|1|{}|{}||{}", fields[0], fields[1], fields[3]));
        if expected == json!({}) {
            assert_eq!(found, json!({"unit": "mmol/L"}), "{obx} {mapped:?}");
        } else {
            assert_eq!(found, expected, "{obx} {mapped:?}");
        }
    }
}

#[test]
fn what_is_not_understood_is_noted_without_its_value() {
    for (obx, note) in [
        ("NM|A||12.3(重复)", "OBX-5: not understood as lab_value, kept as text"),
        ("NM|A||溶血", "OBX-5: declared as a number, kept as text"),
        ("ED|A||App^PDF^^Base64^AAAA", "OBX-5: a document, image or wave form, kept in the message only"),
    ] {
        let (_, mapped) = result(&format!("OBX|1|{obx}"));
        assert_eq!(mapped.notes, [note], "{obx}");
    }
}

#[test]
fn every_obx_is_stored_skipped_or_rejected() {
    let mapped = apply(
        &Files::of(RESULTS),
        "PID||||||||F\nOBX|1|ST|Z||before any order\nOBR|1||F1\nOBX|1|NM|A||1||||||F\nOBX|2|NM|B||2||||||?
        OBX|3|IS|C^c^99MRC||x\nSPM|1\nNTE|1||备注\nOBX|4|NM|D||4\nNTE|1||一\nNTE|2||二",
    )
    .unwrap();
    let results = mapped.records[1].fields["results"].as_array().unwrap();
    let codes: Vec<&str> = results.iter().map(|result| result["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["A", "D"], "an OBX after SPM belongs to the order before it");
    assert_eq!(results[1]["note"], "一\n二");
    assert_eq!(mapped.rejected.len(), 1);
    assert_eq!((mapped.rejected[0].path.as_str(), mapped.rejected[0].code.as_str()), ("OBX[3]-11", "103"));
    assert_eq!((mapped.unmapped[0].table.as_str(), mapped.unmapped[0].code.as_str()), ("status", "?"));
    let skipped: Vec<(&str, &str)> =
        mapped.skipped.iter().map(|skipped| (skipped.path.as_str(), skipped.rule.as_str())).collect();
    assert_eq!(skipped, [("OBX[4]", "results.skip[0]"), ("OBX[1]", "unread")]);
}

#[test]
fn a_note_on_a_result_that_is_left_out_is_one_of_the_report() {
    let check = |report: &str, results: &str, body: &str, expected: &[Option<&str>]| {
        let mapping = format!(
            "[[lab_report]]\neach = 'OBR'\nfiller_order_number = 'OBR-3.1'\n{report}\n{}",
            results.replace("RESULTS", "[[lab_report.results]]\neach = 'OBX'\ncode = 'OBX-3.1'\nvalue = 'OBX-5'")
        );
        let body = format!("MSH|^~\\&|LIS|||||||ORU^R01|1|P|2.5.1\nPID|1\n{body}");
        let mapped = apply(&Files::of(&mapping), &body).unwrap();
        let notes: Vec<_> = mapped.records.iter().map(|record| record.fields.get("note").cloned()).collect();
        let expected: Vec<_> = expected.iter().map(|note| note.map(Json::from)).collect();
        assert_eq!(notes, expected, "{mapping}\n{body}\n{mapped:#?}");
        mapped
    };
    const OWN: &str = "note = 'NTE[*]-3'";
    const SKIP: &str = "RESULTS\nnote = 'NTE[*]-3'\nskip = [{ when = \"OBX-2 = 'TX'\", reason = 'text' }]";
    let body = "OBR|1||F1\nNTE|1||own\nOBX|1|TX|A||text\nNTE|1||one\nNTE|2||two\nOBX|2|NM|B||2\nNTE|1||of B\nOBX|3|TX|C||text\nNTE|1||three";
    let mapped = check(OWN, SKIP, body, &[Some("own\none\ntwo\nthree")]);
    assert_eq!(mapped.records[0].fields["results"].as_array().unwrap().len(), 1);
    let notes = mapped.explanation.iter().filter(|told| told.field == "note");
    let places: Vec<_> = notes.map(|told| told.path.as_deref().unwrap()).collect();
    assert_eq!(places, ["NTE[1]-3", "NTE[2]-3, NTE[3]-3", "NTE[5]-3"]);
    check("", SKIP, body, &[Some("one\ntwo\nthree")]);
    check(OWN, SKIP, &body.replace("own", "\"\""), &[Some("one\ntwo\nthree")]);
    check(OWN, SKIP, "OBR|1||F1\nNTE|1||own\nOBX|1|TX|A||text\nNTE|1||\"\"", &[Some("own")]);
    let of_two = "OBR|1||F1\nOBX|1|TX|A||text\nNTE|1||one\nOBR|2||F2\nOBX|1|TX|A||text\nNTE|1||two";
    check(OWN, SKIP, of_two, &[Some("one"), Some("two")]);
    // What the block does not read of a result is not read of the report either.
    check(OWN, &SKIP.replace("note = 'NTE[*]-3'\n", ""), body, &[Some("own")]);
    // Another block makes a result of what this one leaves out; what both leave out is told once.
    let taken = format!("{SKIP}\nRESULTS\nnote = 'NTE[*]-3'\nwhen = \"OBX-3 = 'A'\"");
    check(OWN, &taken, body, &[Some("own\nthree")]);
    check(OWN, &format!("{SKIP}\n{SKIP}"), "OBR|1||F1\nOBX|1|TX|A||text\nNTE|1||one", &[Some("one")]);
}

#[test]
fn a_site_s_file_holds_only_what_differs() {
    let base = "match = { 'MSH-9.1' = 'ADT' }\n[tables]\nsex = 'sex.csv'
        [patient]\neach = 'PID'\nname = 'PID-5'\nsex = { from = 'PID-8', table = 'sex' }\nlanguage = 'PID-15'
        [[patient.identifiers]]\neach = 'PID-3'\nvalue = 'PID-3.1'\ntype = { constant = 'mrn' }
        [[patient.identifiers]]\neach = 'PID-2'\nvalue = 'PID-2.1'\ntype = { constant = 'other' }";
    let site = "extends = 'base.toml'\n[tables]\nsex = ['sex.csv', 'more.csv']
        [patient]\nlanguage = false\nbirth_date = 'PID-7'
        [[patient.identifiers]]\neach = 'PID-2'\nwhen = 'false'
        [[patient.identifiers]]\neach = 'PID-3'\nsystem = { constant = 'HIS' }
        [[patient.identifiers]]\neach = 'ZID'\nvalue = 'ZID-1'\ntype = { constant = 'visit_card' }";
    let files =
        Files::of(site).with("mappings/base.toml", base).with("mappings/more.csv", "source,target\n1,male\nX,other\n");
    let mapped = apply(&files, "PID||P0|P1||张三||19900305|1|||||||zh\nZID|C1").unwrap();
    assert_eq!(
        Json::Object(mapped.records[0].fields.clone()),
        json!({"name": "张三", "sex": "male", "birth_date": "1990-03-05", "identifiers": [
            {"type": "mrn", "system": "HIS", "value": "P1"}, {"type": "visit_card", "value": "C1"}]})
    );
    let name = mapped.explanation.iter().find(|field| field.field == "name").unwrap();
    assert_eq!((name.file.as_str(), name.line), ("mappings/base.toml", 6));
}

#[test]
fn of_several_rules_for_a_field_the_first_that_gives_a_value_counts() {
    let mapping = "[tables]\nsex = 'sex.csv'\nstatus = 'status.csv'\n[patient]\neach = 'PID'
        sex = [{ from = 'PID-8', table = 'sex', on_unmapped = 'leave' }, { constant = 'unknown', when = 'PID-16' }]
        name = [{ from = 'PID-5[8=I]' }, { from = 'PID-5', required = true }]";
    let sent = |fields: &[(usize, &str)]| segment("PID", fields);
    let of = |sex: &str, name: &str| json!([{"patient": {"sex": sex, "name": name}}]);
    check(mapping, &sent(&[(5, "Zhang"), (8, "F"), (16, "M")]), of("female", "Zhang"));
    let mapped = check(mapping, &sent(&[(5, "Zhang~张^^^^^^^I"), (8, "Q"), (16, "M")]), of("unknown", "张"));
    assert_eq!(mapped.unmapped.len(), 1);
    check(
        mapping,
        &sent(&[(5, "Zhang"), (8, "\"\""), (16, "M")]),
        json!([{"patient": {"sex": "unknown", "name": "Zhang"}}]),
    );
    check(mapping, &sent(&[(5, "Zhang"), (8, "\"\"")]), json!([{"patient": {"sex": null, "name": "Zhang"}}]));
    assert!(apply(&Files::of(mapping), &sent(&[(8, "F")])).is_err());
    let site = "extends = 'base.toml'\n[patient]\nsex = { constant = 'other' }";
    let mapped = apply(&Files::of(site).with("mappings/base.toml", mapping), &sent(&[(5, "Zhang"), (8, "F")])).unwrap();
    assert_eq!(mapped.records[0].fields["sex"], "other");
    check_problems(
        "[patient]\neach = 'PID'\nname = [{ from = 'PID-5', required = true }, { from = 'PID-9' }]",
        &["mappings/site.toml:3:9 error[M004]: required counts for all alternatives"],
    );
}

#[test]
fn a_named_block_is_overlaid_by_its_name_wherever_it_stands() {
    let base = "[[visit]]\nblock = 'stay'\nwhen = 'not SCH'\nnumber = 'PV1-19'
        [[visit]]\nblock = 'appointment'\nwhen = 'SCH'\nnumber = 'SCH-2'";
    let site = "extends = 'base.toml'\n[[visit]]\nblock = 'appointment'\nnumber = 'SCH-1'
        [[visit]]\nblock = 'checkup'\nnumber = 'ZTJ-1'";
    let files = Files::of(site).with("mappings/base.toml", base);
    let numbers = |body: &str| {
        let records = apply(&files, body).unwrap().records;
        records.iter().map(|record| record.fields["number"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(numbers("SCH|placer|filler\nZTJ|T1"), ["placer", "T1"]);
    assert_eq!(numbers(&segment("PV1", &[(19, "V1")])), ["V1"]);
    check_problems(
        "[[visit]]\nblock = 'stay'\nnumber = 'PV1-19'\n[[visit]]\nblock = 'stay'\nnumber = 'PV1-50'",
        &["mappings/site.toml:5:9 error[M004]: two blocks are called stay"],
    );
}

#[test]
fn explanations_name_path_raw_value_table_and_rule() {
    let mapping = "[tables]\nsex = 'sex.csv'\n[patient]\neach = 'PID'\nsex = { from = 'PID-8', table = 'sex' }\n";
    let mapped = apply(&Files::of(mapping), "PID||||||||F^Female").unwrap();
    let found = &mapped.explanation[0];
    assert_eq!((found.record, found.field.as_str(), &found.value), (0, "sex", &json!("female")));
    assert_eq!((found.path.as_deref(), found.raw.as_deref()), (Some("PID-8"), Some("F^Female")));
    assert_eq!((found.table.as_deref(), found.file.as_str(), found.line), (Some("sex"), "mappings/site.toml", 5));
}

#[test]
fn the_version_is_a_hash_of_all_files() {
    let version = |files: &Files| files.load().unwrap().version().to_owned();
    let mapping = "[tables]\nsex = 'sex.csv'\n[patient]\nname = 'PID-5'";
    let first = version(&Files::of(mapping));
    assert_eq!(first.len(), 12);
    assert_eq!(first, version(&Files::of(mapping)));
    let mut changed = Files::of(mapping);
    changed.0[1].1.push_str("N,unknown\n");
    assert_ne!(first, version(&changed));
}

#[test]
fn all_problems_are_found_at_once_and_at_their_places() {
    check_problems(
        "format = 'hl7v2'\nwhat = 1\n[tables]\nsex = 'no.csv'\n[patient]\neach = 'PID-3.1'\nbirthdate = 'PID-7'\n\
         sex = { from = 'PID-8', tabel = 'sex' }\nname = 'PID.5'\nbirth_date = { from = 'PID-7', as = 'dat' }\nvip = 1\n\
         language = { from = 'PID-15', table = 'sexes' }\ndeceased = { from = 'PID-30', default = 'maybe' }\n\
         [visit]\nwhen = \"PV1 and MSH-9.2 in 'A01'\"\nnumber = { from = 'PV1-19', required = 'yes' }\nattending = { from = 'PV1-7', as = 'date' }",
        &[
            "mappings/site.toml:2:1 error[M002]: there is no section or key what",
            "mappings/site.toml:4:7 error[M012]: mappings/no.csv cannot be read",
            "mappings/site.toml:6:8 error[M005]: each names a segment or a field",
            "mappings/site.toml:7:1 error[M003]: there is no field birthdate (did you mean birth_date?)",
            "mappings/site.toml:8:25 error[M002]: there is no key of a rule tabel (did you mean table?)",
            "mappings/site.toml:9:12 error[M005]: PID.5:",
            "mappings/site.toml:10:37 error[M010]: there is no coercion dat (did you mean date?)",
            "mappings/site.toml:11:7 error[M004]: expected a path",
            "mappings/site.toml:12:39 error[M009]: there is no table sexes, and no rule uses sex in line 4 (did you mean sex?)",
            "mappings/site.toml:13:41 error[M015]: maybe is no legal value of patient.deceased",
            "mappings/site.toml:15:28 error[M006]: expected [",
            "mappings/site.toml:16:40 error[M004]: expected true",
            "mappings/site.toml:17:36 error[M011]: date cannot fill attending",
        ],
    );
}

#[test]
fn broken_files_are_refused_with_a_reason() {
    check_problems("[patient\nname = 'PID-5'", &["mappings/site.toml:1:9 error[M001]"]);
    check_problems(
        "format = 'fihr'\n[patient]\nname = 'PID-5'",
        &["mappings/site.toml:1:10 error[M013]: the format is \"hl7v2\" or \"fhir\""],
    );
    check_problems(
        "extends = 'none.toml'",
        &["mappings/site.toml:1:11 error[M012]: mappings/none.toml cannot be read"],
    );
    check_problems(
        "extends = 'site.toml'",
        &["mappings/site.toml:1:11 error[M012]: mappings/site.toml extends this file"],
    );
    check_problems(
        "[[patient.phones]]\nvalue = 'PID-13'",
        &["error[M004]: a block of patient.phones says what makes one item"],
    );
    check_problems("[patient]\nphones = 'PID-13'", &["error[M004]: phones is a list and needs blocks"]);
    check_problems("[patient]\nname = { as = 'name' }", &["error[M004]: a rule has either from"]);
    check_problems("[patient]\nname = 'PID'", &["error[M005]: PID names a whole segment"]);
    check_problems("[patient]\nskip = [{ when = 'PID' }]", &["error[M004]: a rule of skip has when and reason"]);
    check_problems(
        "[visit]\ndepartment = { cod = 'PV1-3' }",
        &["error[M003]: there is no field cod (did you mean code?)"],
    );
    check_problems("[patient]\nname = {}", &["error[M004]"]);
    check_problems(
        "[tables]\nsex = 'bad.csv'\n[patient]\nsex = { from = 'PID-8', table = 'sex' }",
        &["mappings/bad.csv cannot be read"],
    );
    let files = Files::of("[tables]\nsex = 'bad.csv'\n[patient]\nsex = { from = 'PID-8', table = 'sex' }\n[[patient]]")
        .with("mappings/bad.csv", "source,target\nM,male\nF,femal\n");
    assert!(files.problems().iter().any(|problem| problem.contains("error[M001]")), "{:?}", files.problems());
    let files = Files::of("[tables]\nsex = 'bad.csv'\n[patient]\nsex = { from = 'PID-8', table = 'sex' }")
        .with("mappings/bad.csv", "source,target\nM,male\nF,femal\n");
    assert_eq!(
        files.problems(),
        ["mappings/bad.csv:3:3 error[M008]: femal is no legal value of sex (did you mean female?)"]
    );
}

#[test]
fn conditions_are_understood_or_refused_at_their_column() {
    let holds = |condition: &str| {
        let mapping = format!("[patient]\nwhen = \"\"\"{condition}\"\"\"\nname = 'PID-5'");
        let body = "PID|||P1^^^HIS^MR~I1^^^GA^NI||张三|||M|||||||||||11010519491231002X\nPV1|1|I";
        apply(&Files::of(&mapping), body).unwrap().records.len() == 1
    };
    for condition in [
        "true",
        "PV1",
        "not ZZZ",
        "PID-8",
        "not PID-9",
        "PID-8 = 'M'",
        "PID-8 != 'F'",
        "PID-9 != 'F'",
        "PID-8 in ['F', 'M']",
        "PID-8 not in ['F']",
        "PID-3[*].5 = 'NI'",
        "PID-3[5=NI].1 = 'I1'",
        "PID-3[5 in XX,NI]",
        "PID-19 is resident_id",
        "not PID-8 is number",
        "PV1 and (ZZZ or PID-8 = \"M\")",
        "ZZZ and PV1 or PID",
        "not (ZZZ and PV1)",
        "not not PV1",
    ] {
        assert!(holds(condition), "{condition}");
        assert!(!holds(&format!("not ({condition})")), "not ({condition})");
    }
    for (condition, offset) in [
        ("", 0),
        ("PV1 and", 7),
        ("PV1 PV2", 4),
        ("PV1 = 'I'", 4),
        ("PID-8 = M", 8),
        ("PID-8 = 'M", 8),
        ("PID-8 in 'M'", 9),
        ("PID-8 not 'M'", 10),
        ("(PV1", 4),
        ("PV1)", 3),
        ("pv1", 0),
        ("PID-8 ~ 'M'", 6),
        ("PID-8 is odd", 9),
        ("PID-0", 4),
    ] {
        let before = "visit.when = \"PID and ";
        let problems = Files::of(&format!("{before}{condition}\"")).problems();
        let place = format!("mappings/site.toml:1:{} error[M006]", before.len() + 1 + offset);
        assert_eq!(problems.len(), 1, "{condition}: {problems:?}");
        assert!(problems[0].starts_with(&place), "{condition}: {} {place}", problems[0]);
    }
    let problems = Files::of("visit.when = \"\"\"\nPV1 and\n  PV2-1 = X\"\"\"").problems();
    assert!(problems[0].contains("site.toml:3:11 error[M006]"), "{problems:?}");
    let problems = Files::of("visit.when = \"\"\"\nPV1-2 in ['E', 'I]\n  or PV1-2 = 'O'\"\"\"").problems();
    assert!(problems[0].contains("site.toml:2:16 error[M006]: the text is not closed"), "{problems:?}");
    let deep = format!("visit.when = \"{}PV1{}\"", "(".repeat(5000), ")".repeat(5000));
    assert!(Files::of(&deep).problems()[0].contains("nested too deeply"));
    let deep = format!("visit.when = \"{}PV1\"", "not ".repeat(5000));
    assert!(Files::of(&deep).problems()[0].contains("nested too deeply"));
}

#[test]
fn a_value_that_a_path_without_a_condition_may_take_is_not_told_as_chosen_by_none() {
    let contact = "[[patient.contacts]]\neach = 'NK1'\nname = 'NK1-2.1'\nphone = { from = ['NK1-5', 'NK1-6[3 in PH,CP]'PLAIN], as = 'phone' }";
    let unchosen = |plain: &str| {
        let files = Files::of(&format!("{PATIENT}birth_date = 'PID-7'\n{}", contact.replace("PLAIN", plain)));
        let mapped = apply(&files, "PID|1||1||||19900305\nNK1|1|李||1|13700000000|02088887777").unwrap();
        mapped.trace.unchosen.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(unchosen(""), ["NK1-6"]);
    assert_eq!(unchosen(", 'NK1-6'"), [""; 0]);
}
