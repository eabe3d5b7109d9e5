//! `heyi mapping`: an interface engineer sees what a mapping makes of messages before it is in force.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::daemon::column;
use crate::support::hl7::{adt, inpatient, number, pid, report, segment};
use crate::support::site::{Site, configuration};

/// A site whose sources read by the example mappings.
fn site() -> Site {
    let text = configuration("", "");
    let text = text.replacen("mappings/hl7v2.toml", "mappings/his.toml", 1);
    Site::configured(&text.replacen("mappings/hl7v2.toml", "mappings/lis.toml", 1))
}

fn admission(class: &str) -> String {
    let visit = segment("PV1", &[(2, class), (3, "NK3^301^05"), (19, "V1"), (44, "20240305103000")]);
    adt("A01", "1", "20240305103000", &[pid("P1", "张^伟"), visit, segment("ZPV", &[(1, "Y"), (3, "unread")])])
}

/// What a record's field is said to come from.
fn field(explained: &Value, record: usize, name: &str) -> Value {
    let fields = explained["records"][record]["fields"].as_array().expect("fields");
    let found = fields.iter().find(|field| field["field"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {fields:?}")).clone()
}

/// The line of a file below the repository that holds `text`.
fn line_of(site: &Site, file: &str, text: &str) -> usize {
    let content = std::fs::read_to_string(site.path(file)).expect("a mapping file");
    content.lines().position(|line| line.contains(text)).unwrap_or_else(|| panic!("no {text} in {file}")) + 1
}

#[test]
fn explain_tells_where_every_field_of_a_message_comes_from() {
    let site = site();
    site.write("a01.hl7", admission("3"));
    let explained = site.json(&["mapping", "explain", "his", "a01.hl7", "--json"]);
    let kinds: Vec<_> = explained["records"].as_array().unwrap().iter().map(|record| record["kind"].clone()).collect();
    assert_eq!(kinds, ["patient", "visit"]);
    let class = field(&explained, 1, "class");
    assert_eq!((&class["value"], &class["path"], &class["raw"]), (&"inpatient".into(), &"PV1-2".into(), &"3".into()));
    assert_eq!((&class["table"], &class["as"]), (&"class".into(), &"code".into()));
    let row = line_of(&site, "mappings/tables/his-class.csv", "3,inpatient");
    assert_eq!(class["row"], format!("mappings/tables/his-class.csv:{row}"));
    // The rule is the base's.
    let line = line_of(&site, "mappings/hl7v2.toml", "class        = { from = \"PV1-2\"");
    assert_eq!((&class["file"], &class["line"]), (&"mappings/hl7v2.toml".into(), &line.into()));
    let first = field(&explained, 1, "first_visit");
    assert_eq!((&first["file"], &first["raw"]), (&"mappings/his.toml".into(), &"Y".into()));
    // The record is the one that consumers see.
    let visit = &explained["records"][1]["record"];
    assert_eq!((&visit["visit_id"], &visit["status"]), (&"his:V1".into(), &"in_progress".into()));
    assert_eq!(field(&explained, 1, "status")["derived"], true);
    let shown = site.run(&["mapping", "explain", "his", "a01.hl7"]).exits(0).stdout;
    let line = shown.lines().find(|line| line.starts_with("class ")).expect("the class");
    assert!(line.contains("PV1-2") && line.contains(&format!("his-class.csv:{row}")), "{line}");
    // From standard input as well.
    let piped = site.run_with(&["mapping", "explain", "his", "-", "--json"], admission("3").as_bytes()).exits(0).json();
    assert_eq!(piped, explained);
}

#[test]
fn explain_accounts_for_what_was_left_out_and_rejected() {
    let site = site();
    let results = [
        number("K", "4.1", "mmol/L", "3.5-5.5", "N", "F"),
        number("NA", "140", "mmol/L", "", "", "Q9"),
        segment("OBX", &[(2, "IS"), (3, "08002^Mode^99MRC"), (5, "O"), (11, "F")]),
    ];
    site.write("oru.hl7", report("1", "20240305110000", "P1", "F1", "F", &results));
    let explained = site.json(&["mapping", "explain", "lis", "oru.hl7", "--json"]);
    assert_eq!(column(explained["rejected"].as_array().unwrap(), "path"), ["OBX[2]-11"]);
    assert_eq!(explained["rejected"][0]["code"], "103");
    assert_eq!(column(explained["skipped"].as_array().unwrap(), "path"), ["OBX[3]"]);
    assert_eq!(column(explained["unmapped"].as_array().unwrap(), "code"), ["Q9"]);
    let record = &explained["records"][1]["record"];
    assert_eq!(record["results"].as_array().map(Vec::len), Some(1), "{record}");
    assert_eq!((&record["report_id"], &record["status"]), (&"lis:F1".into(), &"final".into()));
    assert_eq!(field(&explained, 1, "results[0].abnormal")["derived"], true);
}

#[test]
fn explain_tells_a_code_that_was_kept_or_replaced_from_one_that_was_understood() {
    let site = site();
    let results = [
        segment("OBX", &[(2, "NM"), (3, "WBC"), (5, "6.2"), (6, "×10⁹/L"), (8, "H~爆表"), (11, "F")]),
        segment("OBX", &[(2, "NM"), (3, "K"), (5, "4.1"), (6, "滴"), (11, "F")]),
        segment("NTE", &[(3, "a")]),
        segment("NTE", &[(3, "b")]),
        segment("NTE", &[(3, "c")]),
        segment("NTE", &[(3, "d")]),
    ];
    let text = report("1", "20240305110000", "P1", "F1", "F", &results);
    site.write("oru.hl7", text);
    let explained = site.json(&["mapping", "explain", "lis", "oru.hl7", "--json"]);
    let understood = field(&explained, 1, "results[0].unit");
    let row = line_of(&site, "mappings/tables/unit.csv", "10*9/L,");
    assert_eq!(understood["value"], "10*9/L");
    assert_eq!(understood["row"], format!("mappings/tables/unit.csv:{row}"), "by its one spelling");
    assert_eq!(understood["unmapped"], Value::Null);
    let kept = field(&explained, 1, "results[1].unit");
    assert_eq!((&kept["value"], &kept["row"], &kept["unmapped"]), (&"滴".into(), &Value::Null, &"kept".into()));
    let flags = field(&explained, 1, "results[0].flags");
    assert_eq!(flags["unmapped"], "kept", "{flags}");
    assert_eq!(flags["path"], "OBX[1]-8[1], OBX[1]-8[2]", "each that the list gathers");
    let unmapped = explained["unmapped"].as_array().expect("codes");
    assert!(unmapped.iter().any(|code| code["code"] == "滴" && code["outcome"] == "kept"), "{unmapped:?}");
    let shown = site.run(&["mapping", "explain", "lis", "oru.hl7"]).exits(0).stdout;
    let line = shown.lines().find(|line| line.starts_with("results[1].unit")).expect("the unit");
    assert!(line.contains("table unit: unknown, kept"), "{line}");
    let line = shown.lines().find(|line| line.starts_with("results[1].note")).expect("the note");
    assert!(line.contains("NTE[1]-3, NTE[2]-3, NTE[3]-3, … (4 places)"), "{line}");
    assert!(shown.contains("unmapped  unit 滴, for lab_report.results.unit: kept"), "{shown}");
}

#[test]
fn explain_says_why_a_message_fails_or_is_ignored() {
    let site = site();
    site.write("bad.hl7", report("1", "20240305110000", "P1", "F1", "Q9", &[number("K", "4.1", "", "", "", "F")]));
    let failed = site.run(&["mapping", "explain", "lis", "bad.hl7", "--json"]).exits(1).json();
    assert_eq!((&failed["records"], &failed["error"]["location"]), (&json!([]), &"OBR-25".into()));
    assert_eq!(column(failed["unmapped"].as_array().unwrap(), "target"), ["lab_report.status"]);
    let ignored = site.json(&["mapping", "explain", "his", "bad.hl7", "--json"]);
    assert!(ignored["ignored"].as_str().is_some_and(|reason| reason.contains("MSH-9.1")), "{ignored}");
    assert!(site.run(&["mapping", "explain", "his", "bad.hl7"]).exits(0).stdout.contains("ignored: "));
    site.run(&["mapping", "explain", "nobody", "bad.hl7"]).exits(2);
    site.run(&["mapping", "explain", "his"]).exits(2);
}

#[test]
fn a_predicate_that_fits_nothing_of_what_is_there_is_told() {
    let site = site();
    let person = |kind: &str, name: &str| segment("PRT", &[(2, "UC"), (4, kind), (5, name)]);
    let text = |kind: &str, status: &str| {
        let results = [number("K", "4.1", "", "", "", "F"), number("NA", "140", "", "", "", status)];
        let segments = [&[person(kind, "D7^李^强")], &results[..]].concat();
        report("1", "20240305110000", "P1", "F1", "F", &segments)
    };
    let explained = |kind: &str, status: &str| {
        site.write("oru.hl7", text(kind, status));
        site.json(&["mapping", "explain", "lis", "oru.hl7", "--json"])
    };
    let targets = json!(["lab_report.performer", "lab_report.requester"]);
    assert_eq!(explained("XX", "F")["unchosen"], json!([{"path": "PRT", "targets": targets}]));
    let covered = site.json(&["mapping", "coverage", "lis", "oru.hl7", "--json"]);
    assert_eq!(covered["unchosen"], json!([{"element": "PRT", "messages": 1, "values": 1, "targets": targets}]));
    // A result that is rejected is told of by that.
    let rejected = explained("OP", "Q9");
    assert_eq!((&rejected["unchosen"], &rejected["rejected"][0]["path"]), (&json!([]), &"OBX[2]-11".into()));
}

#[test]
fn resources_for_a_mapping_of_messages_are_told_in_one_line() {
    let site = site();
    site.write("p.json", "{\"resourceType\": \"Patient\", \"id\": \"1\"}");
    let line = "p.json: its name is that of a file of FHIR resources, and the source's mapping has format = \"hl7v2\"";
    for verb in ["explain", "coverage"] {
        let shown = site.run(&["mapping", verb, "his", "p.json"]).exits(1).stdout;
        assert_eq!(shown.matches(line).count(), 1, "{shown}");
        assert!(shown.lines().count() <= 3, "{shown}");
    }
}

#[test]
fn a_new_mapping_outside_the_directory_of_its_base_is_one_problem() {
    let site = site();
    let text = "extends = \"hl7v2.toml\"\n[tables]\nclass = { extends = \"class\", files = [\"tables/own.csv\"] }\n[[visit]]\nblock = \"stay\"\nward = \"PV1-3.1\"\n";
    site.write("desk/new.toml", text);
    let told = site.run(&["mapping", "diff", "his", "desk/new.toml"]).exits(2).stderr;
    assert_eq!(told.matches(" error[").count() + told.matches(" warning[").count(), 1, "{told}");
    assert!(told.contains("desk/new.toml:1:11 error[M012]: desk/hl7v2.toml cannot be read"), "{told}");
}

#[test]
fn explain_answers_for_a_stored_message_and_one_of_a_batch() {
    let site = site();
    let daemon = site.start();
    daemon.accept("his", admission("3"));
    let explained = site.json(&["mapping", "explain", "his", "--message", "1", "--json"]);
    assert_eq!(field(&explained, 1, "class")["raw"], "3");
    assert_eq!(site.json(&["mapping", "explain", "--message", "1", "--json"]), explained);
    assert_eq!(explained["mapping"], site.messages(&[])[0]["mapping"], "by the mapping that took it");
    assert!(site.run(&["mapping", "explain", "lis", "--message", "1"]).exits(2).stderr.contains("of source his"));
    site.run(&["mapping", "explain", "--message", "99"]).exits(2);
    site.write("two.hl7", format!("{}{}", admission("3"), admission("ZZ")));
    let both = site.json(&["mapping", "explain", "his", "two.hl7", "--json"]);
    assert_eq!(column(both["units"].as_array().unwrap(), "unit"), ["two.hl7", "two.hl7, message 2"]);
    assert_eq!(both["records"][3]["unit"], "two.hl7, message 2");
    site.write("one.hl7", admission("3"));
    let all = site.json(&["mapping", "explain", "his", "one.hl7", "two.hl7", "--json"]);
    assert_eq!(column(all["units"].as_array().unwrap(), "unit"), ["one.hl7", "two.hl7", "two.hl7, message 2"]);
    assert!(
        site.run(&["mapping", "explain", "his", "two.hl7", "--number", "3"]).exits(2).stderr.contains("2 messages")
    );
    let second = site.json(&["mapping", "explain", "his", "two.hl7", "--number", "2", "--json"]);
    assert_eq!(column(second["unmapped"].as_array().unwrap(), "code"), ["ZZ"]);
    assert!(!daemon.log().contains("张"), "what is explained goes to the terminal alone");
}

#[test]
fn explain_goes_on_after_a_message_that_fails_and_says_which() {
    let site = site();
    let nobody = adt("A01", "1", "20240305103000", &[segment("PID", &[(5, "张^伟")])]);
    site.write("in/1-batch.hl7", format!("BHS|^~\\&|HIS\r{}{nobody}{}BTS|3\r", admission("3"), admission("1")));
    site.write("in/sub/2-unix.txt", admission("3").replace('\r', "\n"));
    site.write("in/sub/3-windows.hl7", format!("\u{feff}{}", admission("3").replace('\r', "\r\n")));
    site.write(
        "in/sub/4-chinese.hl7",
        crate::support::hl7::gb18030(&admission("3").replace("UNICODE UTF-8", "GB 18030-2000")),
    );
    site.write("in/sub/5-empty.hl7", "");
    site.write("in/sub/6.pdf", "%PDF-1.7");
    let told = site.run(&["mapping", "explain", "his", "in", "--json"]).exits(1).json();
    let units = told["units"].as_array().expect("units");
    let names = [
        "in/1-batch.hl7",
        "in/1-batch.hl7, message 2",
        "in/1-batch.hl7, message 3",
        "in/sub/2-unix.txt",
        "in/sub/3-windows.hl7",
        "in/sub/4-chinese.hl7",
    ];
    assert_eq!(column(units, "unit"), names);
    let failed: Vec<bool> = units.iter().map(|unit| unit["error"].is_object()).collect();
    assert_eq!(failed, [false, true, false, false, false, false], "{units:?}");
    assert_eq!(column(told["unreadable"].as_array().unwrap(), "file"), ["in/sub/5-empty.hl7"]);
    let patients = told["records"].as_array().unwrap().iter().filter(|record| record["kind"] == "patient");
    assert!(patients.clone().all(|record| record["record"]["name"] == "张伟"), "{told}");
    assert_eq!(patients.count(), 5);
    let shown = site.run(&["mapping", "explain", "his", "in"]).exits(1).stdout;
    assert!(shown.contains("\n1 of 6 failed:\n  in/1-batch.hl7, message 2: "), "{shown}");
    assert!(shown.contains("cannot be read: in/sub/5-empty.hl7: "), "{shown}");
}

#[test]
fn a_case_that_is_broken_or_not_one_message_fails_alone() {
    let site = site();
    let write = |name: &str, text: &str| drop(site.write(&format!("fixtures/his/{name}"), text));
    write_case(&site, "fine", "3");
    site.run(&["mapping", "test", "his", "--accept"]).exits(0);
    write("two.hl7", &format!("{}{}", admission("3"), admission("3")));
    write("text.hl7", "no message");
    write("spoilt.hl7", &admission("3"));
    write("spoilt.expected.json", "{");
    write("resources.json", "{}");
    let run = site.run(&["mapping", "test", "his"]).exits(1);
    assert!(run.stdout.ends_with("1 passed, 3 failed, 0 accepted\n"), "{}", run.stdout);
    assert!(run.stdout.contains("failed    his/two: a case is one message, and this file holds 2"), "{}", run.stdout);
    assert!(run.stderr.contains("resources.json: no case of this mapping, which reads <case>.hl7"), "{}", run.stderr);
    site.run(&["mapping", "test", "his", "--accept"]).exits(1);
    assert!(
        !site.path("fixtures/his/two.expected.json").exists() && !site.path("fixtures/his/text.expected.json").exists()
    );
    std::fs::create_dir_all(site.path("none/his")).expect("a directory");
    assert!(site.run(&["mapping", "test", "--fixtures", "none"]).exits(2).stderr.contains("holds no case of his"));
    assert!(site.run(&["mapping", "test", "lis"]).exits(2).stderr.contains("there are no cases: no directory"));
    assert!(site.run(&["mapping", "test", "--fixtures", "nowhere"]).exits(2).stderr.contains("nowhere"));
}

#[test]
fn coverage_counts_the_components_that_a_rule_looks_at_and_no_others() {
    let site = site();
    let fields = [
        (3, "P1^7^M10^HIS^MR"),
        (5, "张^伟^^^Dr.^^L"),
        (11, "1 Main St^Flat^Town^State^12345^US^H^^District"),
        (13, "^PRN^PH^^86^755^86123456^^note"),
    ];
    let visit =
        segment("PV1", &[(2, "3^x"), (3, "NK3^301^05"), (7, "D1^王^伟^^^Dr."), (19, "V1"), (44, "20240305103000")]);
    site.write("in/1.hl7", adt("A01", "1", "20240305103000", &[segment("PID", &fields), visit]));
    let told = site.json(&["mapping", "coverage", "his", "in", "--json"]);
    let paths = column(told["unread"].as_array().unwrap(), "path");
    assert_eq!(paths, ["PID-3.2", "PID-3.3", "PID-5.5", "PID-11.6", "PID-13.9", "PV1-2.2", "PV1-7.6"]);
    let report = report(
        "2",
        "20240305110000",
        "P1",
        "F1",
        "F",
        &[segment("OBX", &[(2, "SN"), (3, "K"), (5, ">^100^-^200"), (6, "mmol/L^x^UCUM"), (7, "3-5"), (11, "F")])],
    );
    site.write("oru/2.hl7", report);
    let told = site.json(&["mapping", "coverage", "lis", "oru", "--json"]);
    let paths = column(told["unread"].as_array().unwrap(), "path");
    assert_eq!(paths, ["OBX-6.3"], "a structured number is read whole");
}

fn write_case(site: &Site, name: &str, class: &str) {
    site.write(&format!("fixtures/his/{name}.hl7"), admission(class));
}

#[test]
fn test_runs_the_cases_beside_a_mapping_and_accepts_what_is_found() {
    let site = site();
    site.write("fixtures/not-a-mapping/x.hl7", "no case of anything");
    write_case(&site, "inpatient", "3");
    write_case(&site, "outpatient", "1");
    let missing = site.run(&["mapping", "test"]).exits(1);
    assert!(missing.stdout.contains("his/inpatient: nothing is expected of it yet"), "{}", missing.stdout);
    assert!(missing.stderr.contains("not-a-mapping is called after no mapping"), "{}", missing.stderr);
    let accepted = site.run(&["mapping", "test", "his", "--accept"]).exits(0);
    assert!(accepted.stdout.ends_with("0 passed, 0 failed, 2 accepted\n"), "{}", accepted.stdout);
    let file = "fixtures/his/inpatient.expected.json";
    let expected = std::fs::read_to_string(site.path(file)).expect("an expectation");
    site.run(&["mapping", "test"]).exits(0);
    site.write(file, expected.replace("\"inpatient\"", "\"emergency\""));
    let failed = site.run(&["mapping", "test", "his"]).exits(1);
    assert!(failed.stdout.contains("failed    his/inpatient\n"), "{}", failed.stdout);
    assert!(failed.stdout.contains("expected \"emergency\", found \"inpatient\""), "{}", failed.stdout);
    let told = site.run(&["mapping", "test", "--json"]).exits(1).json();
    assert_eq!(column(told["cases"].as_array().unwrap(), "result"), ["failed", "passed"]);
    assert_eq!(told["cases"][0]["differences"].as_array().map(Vec::len), Some(1), "{told}");
    site.run(&["mapping", "test", "mappings/his.toml", "--accept"]).exits(0);
    assert_eq!(std::fs::read_to_string(site.path(file)).expect("an expectation"), expected);
    site.run(&["mapping", "test", "nobody"]).exits(2);
    site.run(&["mapping", "explain", "his", "nothing.hl7"]).exits(2);
    site.write("mappings/his.toml", "extends = \"nowhere.toml\"\n");
    assert!(site.run(&["mapping", "test"]).exits(2).stderr.contains("mappings/his.toml:1:"));
}

#[test]
fn the_shipped_cases_hold_by_the_command_too() {
    let site = site();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let run = site.run(&["mapping", "test", "--fixtures", shipped.to_str().expect("a path")]).exits(0);
    assert!(run.stdout.ends_with(" 0 failed, 0 accepted\n"), "{}", run.stdout);
    assert!(run.stderr.is_empty(), "the hospital's day is no mapping's: {}", run.stderr);
}

#[test]
fn coverage_tells_which_messages_it_could_not_use_and_why() {
    let site = site();
    let without_number = adt("A01", "1", "20240305103000", &[segment("PID", &[(5, "张^伟")])]);
    site.write("in/1-two.hl7", format!("{}{without_number}", admission("3")));
    site.write("in/2-text.hl7", "no message at all");
    site.write("in/3-torn.hl7", "MSH|^~\\&|HIS|MAIN|HEYI|CRM|20240305||ADT^A01|1|P|2.5.1\rPID\u{fffd}|1\r");
    let status = report("4", "20240305110000", "P1", "F1", "Q9", &[number("K", "4.1", "", "", "", "F")]);
    site.write("oru/4.hl7", &status);
    site.write("oru/5.hl7", status.replacen("|4|P|", "|5|P|", 1));
    let told = site.run(&["mapping", "coverage", "his", "in", "--json"]).exits(1).json();
    let unread = told["unreadable_messages"].as_array().expect("messages");
    assert_eq!(told["unreadable"], unread.len());
    assert_eq!(unread[0]["file"], "in/2-text.hl7", "{unread:?}");
    assert!(unread.iter().all(|one| one["reason"].as_str().is_some_and(|reason| !reason.is_empty())), "{unread:?}");
    let failures = told["failures"].as_array().expect("failures");
    assert!(failures[0]["reason"].as_str().is_some_and(|reason| reason.contains("no patient")), "{failures:?}");
    assert_eq!(failures[0]["first"], json!({"file": "in/1-two.hl7", "number": 2}));
    let ignored = site.run(&["mapping", "coverage", "his", "oru", "--json"]).exits(1).json();
    assert_eq!(ignored["ignored_because"][0]["messages"], 2, "{ignored}");
    site.run(&["mapping", "coverage", "his", "nowhere"]).exits(2);
    let failed = site.run(&["mapping", "coverage", "lis", "oru", "--json"]).exits(1).json();
    let failures = failed["failures"].as_array().expect("failures");
    assert_eq!((failures.len(), &failures[0]["messages"]), (1, &2.into()), "{failed}");
    assert!(failures[0]["reason"].as_str().is_some_and(|reason| reason.starts_with("OBR-25: ")), "{failures:?}");
    assert_eq!(failures[0]["first"], json!({"file": "oru/4.hl7", "number": 1}));
    let shown = site.run(&["mapping", "coverage", "his", "in"]).exits(1).stdout;
    assert!(shown.contains("cannot be read: in/2-text.hl7: "), "{shown}");
    let shown = site.run(&["mapping", "coverage", "lis", "oru"]).exits(1).stdout;
    assert!(shown.contains("  2 failed: OBR-25: ") && shown.contains("(first: oru/4.hl7)"), "{shown}");
    let daemon = site.start();
    daemon.send("lis", status);
    let stored = site.run(&["mapping", "coverage", "lis", "--last", "9", "--json"]).exits(1).json();
    assert_eq!(stored["failures"][0]["first"], json!({"message": 1}));
}

#[test]
fn explain_tells_where_a_list_was_cleared() {
    let site = site();
    let mut fields = pid("P1", "张^伟");
    fields.push_str("|||||\"\"");
    site.write("a08.hl7", adt("A08", "1", "20240305103000", &[fields]));
    let explained = site.json(&["mapping", "explain", "his", "a08.hl7", "--json"]);
    let phones = field(&explained, 0, "phones");
    assert_eq!((&phones["value"], &phones["path"], &phones["raw"]), (&Value::Null, &"PID-13".into(), &"\"\"".into()));
    // The block begins with its heading.
    let line = line_of(&site, "mappings/hl7v2.toml", "block = \"pid_13\"") - 1;
    assert_eq!((&phones["file"], &phones["line"]), (&"mappings/hl7v2.toml".into(), &line.into()));
    let shown = site.run(&["mapping", "explain", "his", "a08.hl7"]).exits(0).stdout;
    let line = shown.lines().find(|line| line.starts_with("phones")).expect("the phones");
    assert!(line.contains("(cleared)") && line.contains("PID-13"), "{line}");
}

#[test]
fn coverage_tells_what_no_rule_reads_and_what_is_never_filled() {
    let site = site();
    site.write("in/1.hl7", admission("3"));
    site.write("in/2.hl7", admission("ZZ"));
    let told = site.json(&["mapping", "coverage", "his", "in", "--json"]);
    assert_eq!((&told["messages"], &told["ignored"], &told["unreadable"]), (&2.into(), &0.into(), &0.into()));
    let unread = told["unread"].as_array().unwrap();
    assert_eq!(column(unread, "path"), ["ZPV-3"], "{told}");
    assert_eq!((&unread[0]["messages"], &unread[0]["values"]), (&2.into(), &2.into()));
    let empty: Vec<&str> = told["never_filled"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(empty.contains(&"visit.diagnoses") && !empty.contains(&"visit.status"), "{empty:?}");
    assert!(!empty.iter().any(|field| field.starts_with("lab_report")), "no report was in any message: {empty:?}");
    let idle = column(told["idle_rules"].as_array().unwrap(), "target");
    assert!(idle.contains(&"visit.referring") && !idle.contains(&"visit.first_visit"), "{idle:?}");
    assert_eq!(column(told["unmapped"].as_array().unwrap(), "code"), ["ZZ"]);
    let shown = site.run(&["mapping", "coverage", "his", "in"]).exits(0).stdout;
    assert!(shown.contains("ZPV-3") && shown.contains("mappings/hl7v2.toml:"), "{shown}");
    // A rule that reads it, and it is unread no more.
    let his = std::fs::read_to_string(site.path("mappings/his.toml")).expect("the mapping");
    site.write("mappings/his.toml", format!("{his}\ndisposition = \"ZPV-3\"\n"));
    assert_eq!(site.json(&["mapping", "coverage", "his", "in", "--json"])["unread"], json!([]));
    site.write("in/3.hl7", "no message");
    let broken = site.run(&["mapping", "coverage", "his", "in", "--json"]).exits(1).json();
    assert_eq!(broken["unreadable"], 1);
}

#[test]
fn coverage_takes_stored_messages_too() {
    let site = site();
    let daemon = site.start();
    daemon.accept("his", admission("3"));
    let told = site.json(&["mapping", "coverage", "his", "--last", "10", "--json"]);
    assert_eq!((&told["messages"], &told["unread"][0]["path"]), (&1.into(), &"ZPV-3".into()));
    site.run(&["mapping", "coverage", "his"]).exits(2);
}

#[test]
fn diff_tells_what_another_mapping_would_make_of_stored_messages() {
    let site = site();
    let daemon = site.start();
    for (id, class) in [("1", "3"), ("2", "1"), ("3", "3")] {
        let visit = segment("PV1", &[(2, class), (19, &format!("V{id}"))]);
        daemon.accept("his", adt("A01", id, "20240305103000", &[pid(&format!("P{id}"), "张^伟"), visit]));
    }
    daemon.accept("lis", report("L", "20240305110000", "P1", "F1", "F", &[number("K", "4.1", "", "", "", "F")]));
    let same = site.json(&["mapping", "diff", "his", "mappings/his.toml", "--json"]);
    assert_eq!((&same["messages"], &same["changed"], &same["fields"]), (&3.into(), &0.into(), &json!([])));
    site.write(
        "mappings/new.toml",
        "extends = \"his.toml\"\n[[visit]]\nclass = { constant = \"outpatient\" }\nreason = { constant = \"new\" }\n",
    );
    let told = site.json(&["mapping", "diff", "his", "mappings/new.toml", "--json"]);
    assert_eq!((&told["messages"], &told["changed"], &told["newly_failed"]), (&3.into(), &3.into(), &0.into()));
    let fields = told["fields"].as_array().unwrap();
    assert_eq!(column(fields, "field"), ["visit.class", "visit.reason"]);
    assert_eq!(fields[0]["messages"], 2, "the outpatient stays one: {told}");
    assert_eq!(fields[0]["samples"][0], json!({"message": 3, "before": "inpatient", "after": "outpatient"}));
    let last = site.json(&["mapping", "diff", "his", "mappings/new.toml", "--last", "1", "--json"]);
    assert_eq!(last["messages"], 1);
    let against = ["mapping", "diff", "his", "mappings/new.toml", "--against", "mappings/new.toml", "--json"];
    assert_eq!(site.json(&against)["changed"], 0);
    let shown = site.run(&["mapping", "diff", "his", "mappings/new.toml"]).exits(0).stdout;
    assert!(shown.contains("visit.class: 2 changes in 2 messages"), "{shown}");
    let shown_last = site.run(&["mapping", "diff", "his", "mappings/new.toml", "--last", "1"]).exits(0).stdout;
    assert!(shown_last.contains("visit.reason: 1 change in 1 message\n"), "{shown_last}");
    assert!(shown.contains("message 3: inpatient → outpatient"), "{shown}");
    assert_eq!(fields[0]["samples"].as_array().map(Vec::len), Some(1), "one example of one change: {told}");
    // What is no longer there may have been rejected: that is told with the reason.
    site.write("mappings/wrong.toml", "extends = \"his.toml\"\n[patient]\nbirth_date = \"PID-8\"\n");
    let wrong = site.json(&["mapping", "diff", "his", "mappings/wrong.toml", "--json"]);
    let rejected = &wrong["newly_rejected"][0];
    assert_eq!((&rejected["messages"], &rejected["sample"]), (&3.into(), &json!({"message": 3, "path": "PID-8"})));
    assert!(rejected["text"].as_str().is_some_and(|text| text.starts_with("patient.birth_date was left out")));
    let shown = site.run(&["mapping", "diff", "his", "mappings/wrong.toml"]).exits(0).stdout;
    assert!(shown.contains("newly rejected:\n  patient.birth_date was left out"), "{shown}");
    assert_eq!(told["newly_rejected"], json!([]));
    // One that fails messages which are fine now is a reason to look.
    site.write(
        "mappings/strict.toml",
        "extends = \"his.toml\"\n[patient]\nemails = { from = \"PID-13\", required = true }\n",
    );
    let strict = site.run(&["mapping", "diff", "his", "mappings/strict.toml", "--json"]).exits(1).json();
    assert_eq!((&strict["newly_failed"], &strict["fields"][0]["field"]), (&3.into(), &"message".into()));
    // So is one that loses records.
    site.write("mappings/fewer.toml", "extends = \"his.toml\"\n[[visit]]\nblock = \"stay\"\nwhen = \"false\"\n");
    let fewer = site.run(&["mapping", "diff", "his", "mappings/fewer.toml", "--json"]).exits(1).json();
    assert_eq!((&fewer["newly_failed"], &fewer["lost"]), (&0.into(), &3.into()), "{fewer}");
    site.write("mappings/broken.toml", "extends = \"his.toml\"\n[patient]\nsexx = \"PID-8\"\n");
    assert!(site.run(&["mapping", "diff", "his", "mappings/broken.toml"]).exits(2).stderr.contains("did you mean sex"));
}

#[test]
fn an_edited_mapping_is_compared_with_what_runs_by_what_it_was() {
    let site = site();
    let daemon = site.start();
    daemon.accept("his", adt("A01", "1", "20240305103000", &[pid("P1", "张^伟"), inpatient("V1", "A^1^1", "", "")]));
    let old = std::fs::read_to_string(site.path("mappings/his.toml")).expect("the mapping");
    site.write("mappings/his-before.toml", &old);
    site.write("mappings/his.toml", format!("{old}\nward = {{ constant = \"B\" }}\n"));
    let told =
        site.json(&["mapping", "diff", "his", "mappings/his.toml", "--against", "mappings/his-before.toml", "--json"]);
    assert_eq!(column(told["fields"].as_array().unwrap(), "field"), ["visit.ward"], "{told}");
}

#[test]
fn the_schema_is_the_one_beside_the_mappings() {
    let site = site();
    let printed = site.run(&["mapping", "schema"]).exits(0);
    let shipped = std::fs::read_to_string(site.path("mappings/mapping.schema.json")).expect("the shipped schema");
    assert_eq!(printed.stdout, shipped, "write it again: heyi mapping schema > mappings/mapping.schema.json");
}
