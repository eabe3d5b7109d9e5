//! Lab reports: preliminary, final, corrected, critical, cancelled; values as they came, and nothing turned back.

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, column};
use crate::support::hl7::{number, report, segment};
use crate::support::orders;
use crate::support::site::Site;

fn lab_events(daemon: &Daemon<'_>) -> Vec<Value> {
    daemon.feed().into_iter().filter(|event| event["type"].as_str().unwrap().starts_with("lab.")).collect()
}

fn the_report(daemon: &Daemon<'_>) -> Value {
    let reports = daemon.lab_reports("HIS|P1");
    assert_eq!(reports.len(), 1, "{reports:?}");
    reports[0].clone()
}

/// The result `code` of a report.
fn result<'report>(report: &'report Value, code: &str) -> &'report Value {
    let results = report["results"].as_array().expect("results");
    let found: Vec<&Value> = results.iter().filter(|result| result["code"] == code).collect();
    assert_eq!(found.len(), 1, "{code} in {report}");
    found[0]
}

fn glucose(value: &str, flag: &str, status: &str) -> String {
    number("GLU^葡萄糖^L", value, "mmol/L", "3.9-6.1", flag, status)
}

fn potassium(value: &str, flag: &str, status: &str) -> String {
    number("K^钾^L", value, "mmol/L", "3.5-5.3", flag, status)
}

#[test]
fn a_report_becomes_preliminary_then_final_then_corrected() {
    let site = Site::new();
    let daemon = site.start();
    let steps = [
        ("L1", "20240305110000", "P", "P", "7.0", "preliminary", "lab.preliminary"),
        ("L2", "20240305120000", "F", "F", "7.2", "final", "lab.resulted"),
        ("L3", "20240305130000", "C", "C", "5.2", "corrected", "lab.corrected"),
    ];
    for (step, (id, at, report_status, result_status, value, status, event)) in steps.into_iter().enumerate() {
        let flag = if value == "5.2" { "N" } else { "H" };
        daemon.accept("lis", report(id, at, "P1", "F1", report_status, &[glucose(value, flag, result_status)]));
        let report = the_report(&daemon);
        assert_eq!((report["report_id"].as_str(), report["status"].as_str()), (Some("lis:F1"), Some(status)));
        assert_eq!(result(&report, "GLU")["value_number"].to_string(), value);
        assert_eq!(result(&report, "GLU")["abnormal"], flag == "H");
        let events = lab_events(&daemon);
        assert_eq!(events.len(), step + 1, "{events:?}");
        assert_eq!(events[step]["type"], event);
        assert_eq!(events[step]["data"]["version"], step + 1);
    }
}

#[test]
fn every_order_of_a_reports_messages_ends_in_the_same_report() {
    let site = Site::new();
    let daemon = site.start();
    let mut connection = daemon.connect("lis");
    let steps = [
        ("20240305110000", "P", vec![glucose("7.0", "H", "P"), potassium("4.0", "N", "P")]),
        ("20240305120000", "F", vec![glucose("7.2", "H", "F"), potassium("4.1", "N", "F")]),
        ("20240305130000", "C", vec![glucose("5.2", "N", "C")]),
        ("20240305140000", "C", vec![potassium("", "", "X")]),
    ];
    let all = orders(steps.len());
    for (index, order) in all.iter().enumerate() {
        for &step in order {
            let (at, status, results) = &steps[step];
            let (id, patient, filler) = (format!("L{index}-{step}"), format!("P{index}"), format!("F{index}"));
            assert_eq!(connection.ask(report(&id, at, &patient, &filler, status, results)).code(), "AA");
        }
    }
    let report_after = |index: usize| {
        let mut reports = daemon.lab_reports(&format!("HIS|P{index}"));
        assert_eq!(reports.len(), 1);
        for own in ["report_id", "filler_order_number", "one_id", "version"] {
            reports[0].as_object_mut().unwrap().remove(own);
        }
        reports.remove(0)
    };
    let expected = report_after(0);
    assert_eq!(expected["status"], "corrected");
    assert_eq!(result(&expected, "GLU")["value_number"].to_string(), "5.2");
    assert_eq!(result(&expected, "K")["status"], "cancelled");
    for (index, order) in all.iter().enumerate() {
        assert_eq!(report_after(index), expected, "order {order:?}");
    }
}

#[test]
fn a_critical_value_makes_an_event_of_its_own_once() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept(
        "lis",
        report("L1", "20240305110000", "P1", "F1", "F", &[potassium("6.8", "HH", "F"), glucose("5.0", "N", "F")]),
    );
    assert_eq!(column(&lab_events(&daemon), "type"), ["lab.resulted", "lab.critical"]);
    let report_now = the_report(&daemon);
    assert_eq!((&report_now["critical"], &report_now["abnormal"]), (&json!(true), &json!(true)));
    assert_eq!(result(&report_now, "K")["critical"], true);
    assert_ne!(result(&report_now, "GLU")["critical"], true);
    // A second result is added; the critical one has been told.
    daemon.accept(
        "lis",
        report("L2", "20240305120000", "P1", "F1", "F", &[potassium("6.8", "HH", "F"), glucose("5.1", "N", "C")]),
    );
    assert_eq!(column(&lab_events(&daemon), "type"), ["lab.resulted", "lab.critical", "lab.corrected"]);
}

#[test]
fn a_preliminary_result_after_the_final_one_changes_nothing() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("lis", report("L1", "20240305110000", "P1", "F1", "F", &[glucose("7.2", "H", "F")]));
    let before = the_report(&daemon);
    daemon.accept("lis", report("L2", "20240305120000", "P1", "F1", "P", &[glucose("7.0", "H", "P")]));
    let after = the_report(&daemon);
    assert_eq!((&after["status"], &after["results"]), (&before["status"], &before["results"]));
    assert!(!column(&lab_events(&daemon), "type").contains(&"lab.preliminary"));
}

#[test]
fn a_status_without_a_value_keeps_the_value_held() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("lis", report("L1", "20240305110000", "P1", "F1", "P", &[glucose("7.2", "H", "P")]));
    // OBX-11 U: now final, and the value is not sent again.
    daemon.accept("lis", report("L2", "20240305120000", "P1", "F1", "F", &[glucose("", "", "U")]));
    let report_now = the_report(&daemon);
    assert_eq!(result(&report_now, "GLU")["status"], "final");
    assert_eq!(result(&report_now, "GLU")["value_number"].to_string(), "7.2");
}

#[test]
fn withdrawn_and_cancelled_results_have_no_value() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept(
        "lis",
        report("L1", "20240305110000", "P1", "F1", "F", &[glucose("7.2", "H", "F"), potassium("4.0", "N", "F")]),
    );
    daemon.accept(
        "lis",
        report("L2", "20240305120000", "P1", "F1", "C", &[glucose("", "", "W"), potassium("", "", "X")]),
    );
    let report_now = the_report(&daemon);
    for (code, status) in [("GLU", "entered_in_error"), ("K", "cancelled")] {
        let result = result(&report_now, code);
        assert_eq!(result["status"], status, "{result}");
        assert!(result.get("value_number").is_none() && result.get("value_text").is_none(), "{result}");
    }
    daemon.accept("lis", report("L3", "20240305130000", "P1", "F2", "F", &[glucose("5.0", "N", "F")]));
    daemon.accept("lis", report("L4", "20240305140000", "P1", "F2", "X", &[glucose("", "", "X")]));
    assert_eq!(lab_events(&daemon).last().unwrap()["type"], "lab.cancelled");
}

#[test]
fn a_result_missing_from_a_later_message_is_kept_and_repeated_codes_stay_apart() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("lis", report("L1", "20240305110000", "P1", "F1", "P", &[glucose("7.2", "H", "F")]));
    daemon.accept("lis", report("L2", "20240305120000", "P1", "F1", "F", &[potassium("4.0", "N", "F")]));
    let report_now = the_report(&daemon);
    assert_eq!(result(&report_now, "GLU")["value_number"].to_string(), "7.2");
    assert_eq!(result(&report_now, "K")["value_number"].to_string(), "4.0");
    let timed = |value: &str| number("GTT^糖耐量^L", value, "mmol/L", "", "", "F");
    let twice = [timed("5.1"), timed("9.8")];
    daemon.accept("lis", report("L3", "20240305130000", "P2", "F2", "F", &twice));
    daemon.accept("lis", report("L4", "20240305140000", "P2", "F2", "F", &twice));
    let reports = daemon.lab_reports("HIS|P2");
    let values: Vec<String> =
        reports[0]["results"].as_array().unwrap().iter().map(|result| result["value_number"].to_string()).collect();
    assert_eq!(values, ["5.1", "9.8"]);
}

#[test]
fn values_arrive_as_the_laboratory_wrote_them() {
    let site = Site::new();
    let daemon = site.start();
    let cases: &[(&str, &str, Value)] = &[
        ("12.30", "N1", json!({"value_number": "12.30"})),
        ("<0.05", "N2", json!({"value_number": "0.05", "comparator": "<"})),
        ("≥1000", "N3", json!({"value_number": "1000", "comparator": ">="})),
        ("1:80", "N4", json!({"value_text": "1:80"})),
        ("阴性(-)", "N5", json!({"value_text": "阴性(-)"})),
        ("弱阳性(±)", "N6", json!({"value_text": "弱阳性(±)"})),
        ("未检出", "N7", json!({"value_text": "未检出"})),
        ("2+", "N8", json!({"value_text": "2+"})),
        ("标本溶血，请复查", "N9", json!({"value_text": "标本溶血，请复查"})),
    ];
    let results: Vec<String> =
        cases.iter().map(|(value, code, _)| segment("OBX", &[(2, "ST"), (3, code), (5, value), (11, "F")])).collect();
    daemon.accept("lis", report("L1", "20240305110000", "P1", "F1", "F", &results));
    let report_now = the_report(&daemon);
    for (value, code, expected) in cases {
        let found = result(&report_now, code);
        for field in ["value_number", "value_text", "comparator"] {
            // A number as its digits: 12.30 is not 12.3.
            let text = found.get(field).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            // What stands beside the number as text is the product's choice; what stands there instead is not.
            if field != "value_text" || expected.get("value_number").is_none() {
                assert_eq!(text.as_deref(), expected.get(field).and_then(Value::as_str), "{value}: {field} of {found}");
            }
        }
    }
}

#[test]
fn two_reports_in_one_message_do_not_mix() {
    let site = Site::new();
    let daemon = site.start();
    let second = segment("OBR", &[(1, "2"), (3, "F2"), (4, "BIO^生化^L"), (22, "20240305110000"), (25, "F")]);
    daemon.accept(
        "lis",
        report(
            "L1",
            "20240305110000",
            "P1",
            "F1",
            "F",
            &[glucose("7.2", "H", "F"), second, potassium("4.0", "N", "F")],
        ),
    );
    let mut reports = daemon.lab_reports("HIS|P1");
    reports.sort_by_key(|report| report["report_id"].as_str().unwrap().to_owned());
    assert_eq!(column(&reports, "report_id"), ["lis:F1", "lis:F2"]);
    for (report, code) in reports.iter().zip(["GLU", "K"]) {
        assert_eq!(column(report["results"].as_array().unwrap(), "code"), [code]);
    }
    let subjects = lab_events(&daemon);
    assert_eq!(column(&subjects, "subject"), [daemon.one_id("HIS|P1"), daemon.one_id("HIS|P1")]);
}

#[test]
fn a_visit_number_of_two_quotes_takes_the_report_off_its_visit_and_an_empty_one_does_not() {
    let site = Site::new();
    let daemon = site.start();
    let send = |id: &str, at: &str, visit: &str| {
        let text = report(id, at, "P1", "F1", "F", &[glucose("7.2", "H", "F")]);
        let visit = segment("PV1", &[(2, "I"), (19, visit)]);
        daemon.accept("lis", text.replacen("\rOBR", &format!("\r{visit}\rOBR"), 1));
        the_report(&daemon)["visit_id"].clone()
    };
    assert_eq!(send("L1", "20240305110000", "V1"), "lis:V1");
    assert_eq!(send("L2", "20240305120000", ""), "lis:V1");
    let told = lab_events(&daemon).len();
    assert_eq!(send("L3", "20240305140000", "\"\""), Value::Null);
    let events = lab_events(&daemon);
    let changed = events[told]["data"]["changed"].as_array().expect("changed");
    assert!(events.len() == told + 1 && changed.contains(&"visit_id".into()), "{changed:?}");
    assert_eq!(result(&the_report(&daemon), "GLU")["value_number"].to_string(), "7.2", "the report itself stays");
    // Late, what was said before changes nothing; said anew, the report has its visit again.
    assert_eq!(send("L4", "20240305130000", "V1"), Value::Null);
    assert_eq!(send("L5", "20240305150000", "V1"), "lis:V1");
    assert_eq!(send("L6", "20240305143000", "\"\""), "lis:V1");
    // Of the visit itself the number is what it is known by: that cannot be taken back.
    assert_eq!(daemon.visit("HIS|P1")["visit_id"], "lis:V1");
}
