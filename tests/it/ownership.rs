//! What is a patient's stays the patient's: no number, however it is written, used twice or sent late, mixes two people.

use crate::support::daemon::column;
use crate::support::hl7::{
    adt, inpatient, message, number, person, pid, registration, report, resident_number, segment,
};
use crate::support::mllp::framed;
use crate::support::site::Site;

fn observation(filler: &str, code: &str, value: &str) -> [String; 2] {
    [segment("OBR", &[(1, "1"), (3, filler), (4, "P^panel^L"), (25, "F")]), number(code, value, "mmol/L", "", "", "F")]
}

fn merge(id: &str, survivor: &str, retired: &str) -> String {
    let patient = person("", "张^伟", "19800102", "M", &[(3, survivor)]);
    adt("A40", id, "20240305120000", &[patient, segment("MRG", &[(1, retired)])])
}

#[test]
fn a_patient_without_a_number_leaves_nothing_to_the_one_before() {
    let site = Site::new();
    let daemon = site.start();
    let nobody = person("", "Two^B", "19700101", "M", &[(3, "")]);
    let [first, glucose] = observation("F1", "GLU", "5");
    let [second, virus] = observation("F2", "HIV", "1");
    let two = [pid("P1", "One^A"), first, glucose, nobody, second, virus];
    daemon.send("his", message("ORU^R01", "C1", "20240305103000", &two));
    let reports = daemon.json("/v1/messages?control_id=C1");
    let known = daemon.get("/v1/persons?identifier=HIS%7CP1", site.engineer()).text();
    if known.contains("one_id") {
        assert!(!column(&daemon.lab_reports("HIS|P1"), "report_id").contains(&"his:F2"), "{reports}");
    }
}

#[test]
fn a_report_in_two_places_of_one_message_keeps_all_its_results() {
    let site = Site::new();
    let daemon = site.start();
    let [first, white] = observation("F1", "WBC", "5");
    let [other, glucose] = observation("F2", "GLU", "6");
    let [again, red] = observation("F1", "RBC", "4");
    let segments = [pid("P1", "One^A"), first, white, other, glucose, again, red];
    daemon.accept("his", message("ORU^R01", "C1", "20240305103000", &segments));
    let reports = daemon.lab_reports("HIS|P1");
    let report = reports.iter().find(|report| report["report_id"] == "his:F1").unwrap();
    assert_eq!(column(report["results"].as_array().unwrap(), "code"), ["WBC", "RBC"]);
    let resulted = daemon.feed().into_iter().filter(|event| event["type"] == "lab.resulted").count();
    assert_eq!(resulted, 2, "one event a report");
}

#[test]
fn a_filler_number_used_again_for_another_patient_brings_no_results_along() {
    let site = Site::new();
    let daemon = site.start();
    let result = |code: &str| [number(code, "1", "", "", "", "F")];
    daemon.accept("his", report("L1", "20240305110000", "P1", "0001", "F", &result("HIV")));
    daemon.accept("his", report("L2", "20240306110000", "P9", "0001", "F", &result("GLU")));
    let reports = daemon.lab_reports("HIS|P9");
    assert_eq!(column(reports[0]["results"].as_array().unwrap(), "code"), ["GLU"]);
    assert_eq!(daemon.lab_reports("HIS|P1"), Vec::<serde_json::Value>::new());
    // The day before comes late: it is not the present report's.
    let late = daemon.send("his", report("L3", "20240305120000", "P1", "0001", "F", &result("HIV")));
    assert_eq!(late.code(), "AE", "{}", late.text());
    let reports = daemon.lab_reports("HIS|P9");
    assert_eq!(column(reports[0]["results"].as_array().unwrap(), "code"), ["GLU"]);
}

#[test]
fn a_late_message_does_not_give_a_visit_to_another_patient() {
    let site = Site::new();
    let daemon = site.start();
    let stay = |patient: String| [patient, inpatient("V1", "ICU^1^1", "20240305103000", "")];
    daemon.accept("his", adt("A01", "C1", "20240305103000", &stay(pid("P1", "One^A"))));
    daemon.accept("his", adt("A08", "C2", "20240304103000", &stay(pid("P9", "Other^B"))));
    assert_eq!(daemon.visit("HIS|P1")["visit_id"], "his:V1");
    assert_eq!(daemon.visits("HIS|P9"), Vec::<serde_json::Value>::new());
}

#[test]
fn a_number_given_to_another_patient_overwrites_nobody() {
    let site = Site::new();
    let daemon = site.start();
    let known = |number: &str, name: &str, birth: &str, order: u16| {
        let numbers = format!("{number}^^^HIS^MR~{}^^^^NI", resident_number(birth, order));
        person(number, name, birth, "M", &[(3, &numbers)])
    };
    daemon.accept("his", adt("A28", "C1", "20240305103000", &[known("P6", "周^明", "19800102", 11)]));
    let former = daemon.one_id("HIS|P6");
    daemon.accept("his", adt("A28", "C2", "20250305103000", &[known("P6", "吴^静", "19920304", 21)]));
    assert_eq!(daemon.json(&format!("/v1/persons/{former}"))["family_name"], "周");
    assert_eq!(daemon.feed().iter().filter(|event| event["type"] == "patient.created").count(), 2);
}

#[test]
fn a_confirmation_counts_as_the_newest_word_whatever_came_between() {
    let of = |id: &str, at: &str, name: &str| adt("A28", id, at, &[pid("P1", name)]);
    let words = [
        ("his", of("C1", "20240305080000", "甲^一")),
        ("lis", of("L1", "20240305090000", "乙^二")),
        ("his", of("C2", "20240305100000", "甲^一")),
    ];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [2, 1, 0]] {
        let site = Site::new();
        let daemon = site.start();
        order.iter().for_each(|&index: &usize| daemon.accept(words[index].0, &words[index].1));
        assert_eq!(daemon.person("HIS|P1")["family_name"], "甲", "{order:?}");
    }
}

#[test]
fn the_survivor_of_a_merge_keeps_its_own_name() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", adt("A28", "C1", "20240305080000", &[pid("P1", "甲^一")]));
    daemon.accept("his", adt("A28", "C2", "20240305110000", &[pid("P2", "乙^二")]));
    let survivor = person("P1", "甲^一", "19800102", "M", &[]);
    daemon.accept("his", adt("A40", "C3", "20240305110100", &[survivor, segment("MRG", &[(1, "P2^^^HIS^MR")])]));
    assert_eq!(daemon.person("HIS|P1")["family_name"], "甲");
    assert_eq!(daemon.one_id("HIS|P1"), daemon.one_id("HIS|P2"));
}

#[test]
fn merges_are_understood_in_the_forms_that_senders_use() {
    for (survivor, retired) in [
        ("P1^^^HIS^MR", "P2^^^HIS^MR"),
        ("P1^^^HIS^MR", "P2"),
        ("11010119800102001X^^^^NI~P1^^^HIS^MR", "P2^^^HIS^MR"),
        ("P1^^^HIS^MR", "11010119800102001X^^^^NI~P2^^^HIS^MR"),
    ] {
        let site = Site::new();
        let daemon = site.start();
        daemon.accept("his", registration("C1", "P1", "张^伟"));
        daemon.accept("his", registration("C2", "P2", "张^伟"));
        let answer = daemon.send("his", merge("C3", survivor, retired));
        assert_eq!(answer.code(), "AA", "{survivor} {retired}: {}", answer.text());
        assert_eq!(daemon.one_id("HIS|P1"), daemon.one_id("HIS|P2"), "{survivor} {retired}");
        let merged = daemon.feed().into_iter().filter(|event| event["type"] == "patient.merged").count();
        assert_eq!(merged, 1, "{survivor} {retired}");
    }
}

#[test]
fn a_merge_reaches_what_another_source_sent_under_the_retired_number() {
    for merge_first in [true, false] {
        let site = Site::new();
        let daemon = site.start();
        let result = [number("K", "4.0", "mmol/L", "", "", "F")];
        let laboratory = report("L1", "20240305110000", "P2", "F1", "F", &result);
        daemon.accept("his", registration("C1", "P1", "张^伟"));
        if !merge_first {
            daemon.accept("lis", &laboratory);
        }
        daemon.accept("his", merge("C2", "P1^^^HIS^MR", "P2^^^HIS^MR"));
        if merge_first {
            daemon.accept("lis", &laboratory);
        }
        assert_eq!(daemon.one_id("HIS|P1"), daemon.one_id("HIS|P2"), "{merge_first}");
        assert_eq!(column(&daemon.lab_reports("HIS|P1"), "report_id"), ["lis:F1"], "{merge_first}");
    }
}

#[test]
fn a_message_cut_off_and_sent_again_is_kept_with_its_text() {
    let site = Site::new();
    let daemon = site.start();
    let text = registration("C1", "P1", "张^伟");
    let mut broken = daemon.connect("his");
    let frame = framed(text.as_bytes());
    broken.write(&frame[..frame.len() - 2]);
    broken.finish_writing();
    while site.messages(&["--state", "failed"]).is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    daemon.accept("his", &text);
    let kept = site.messages(&["--state", "processed"]);
    assert_eq!(kept.len(), 1, "{kept:?}");
    let shown = site.json(&["message", "show", &kept[0]["id"].to_string(), "--json"]);
    assert!(shown["raw"].as_str().is_some_and(|raw| raw.contains("张^伟")), "{shown}");
}

#[test]
fn what_was_ignored_is_taken_in_once_the_mapping_wants_it() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", message("VXU^V04", "C1", "20240305103000", &[pid("P1", "张^伟")]));
    assert_eq!(daemon.feed(), Vec::<serde_json::Value>::new());
    let base = site.path("mappings/hl7v2.toml");
    let mended = std::fs::read_to_string(&base)
        .unwrap()
        .replace("[\"ADT\", ", "[\"VXU\", \"ADT\", ")
        .replace("\"A*\", ", "\"V*\", \"A*\", ");
    std::fs::write(&base, mended).unwrap();
    site.run(&["message", "retry", "--state", "ignored"]).exits(0);
    assert_eq!(daemon.person("HIS|P1")["family_name"], "张");
}

#[test]
fn two_resident_numbers_never_stay_one_person_whatever_comes_first() {
    let identified = |id: &str, at: &str, birth: &str, order: u16| {
        let numbers = format!("P1^^^HIS^MR~{}^^^^NI", resident_number(birth, order));
        adt("A28", id, at, &[person("P1", "张^伟", birth, "M", &[(3, &numbers)])])
    };
    let words = [
        ("his", registration("C1", "P1", "张^伟")),
        ("lis", identified("L1", "20240305110000", "19800102", 11)),
        ("his", identified("C2", "20240306110000", "19920304", 21)),
    ];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [2, 1, 0]] {
        let site = Site::new();
        let daemon = site.start();
        order.iter().for_each(|&index: &usize| daemon.accept(words[index].0, &words[index].1));
        let found = daemon.json("/v1/persons?identifier=HIS%7CP1");
        assert_eq!(found["persons"].as_array().unwrap().len(), 2, "{order:?} {found}");
        let events = daemon.feed();
        if let Some(split) = events.iter().find(|event| event["type"] == "patient.split") {
            assert_ne!(split["data"]["one_id"], split["data"]["new_one_id"], "{order:?}");
        }
    }
}

/// PID of `HIS|number` of this name and birth date with a resident number of its own.
fn identified(number: &str, name: &str, birth: &str, order: u16, more: &[(usize, &str)]) -> String {
    let numbers = format!("{number}^^^HIS^MR~{}^^^^NI", resident_number(birth, order));
    person(number, name, birth, "M", &[&[(3, numbers.as_str())], more].concat())
}

#[test]
fn a_visit_stays_with_the_record_that_spoke_of_it_last_when_the_person_parts() {
    for late in [false, true] {
        let site = Site::new();
        let daemon = site.start();
        let wrong = |number: &str| identified(number, "张^伟", "19800102", 11, &[]);
        daemon.accept("his", adt("A28", "C1", "20240305080000", &[wrong("P1")]));
        daemon.accept("his", adt("A28", "C2", "20240305080100", &[wrong("P2")]));
        assert_eq!(daemon.one_id("HIS|P1"), daemon.one_id("HIS|P2"));
        let stay = inpatient("V1", "W^1^1", "20240305083000", "");
        let older = adt("A01", "V1", "20240305090000", &[wrong("P2"), stay.clone()]);
        let newer = adt("A08", "V2", "20240305100000", &[wrong("P1"), stay]);
        let report = |id: &str, at: &str, number: &str| report(id, at, number, "F1", "F", &[]);
        let reports = [report("L1", "20240305090000", "P2"), report("L2", "20240305100000", "P1")];
        let sent =
            if late { [&newer, &reports[1], &older, &reports[0]] } else { [&older, &reports[0], &newer, &reports[1]] };
        sent.into_iter().for_each(|text| daemon.accept("his", text));
        let right = identified("P1", "张^伟", "19800102", 13, &[]);
        daemon.accept("his", adt("A31", "C4", "20240305110000", &[right]));
        assert_ne!(daemon.one_id("HIS|P1"), daemon.one_id("HIS|P2"));
        assert_eq!((daemon.visits("HIS|P1").len(), daemon.visits("HIS|P2").len()), (1, 0), "late: {late}");
        assert_eq!((daemon.lab_reports("HIS|P1").len(), daemon.lab_reports("HIS|P2").len()), (1, 0), "late: {late}");
    }
}

#[test]
fn a_late_message_under_a_number_that_was_another_patients_fills_in_nothing() {
    let site = Site::new();
    let daemon = site.start();
    let now = identified("P6", "周^明", "19800102", 11, &[]);
    let before = identified("P6", "吴^静", "19920304", 21, &[(13, "13800000001"), (30, "Y")]);
    daemon.accept("his", adt("A28", "C1", "20250305103000", &[now]));
    let stay = inpatient("V1", "W^1^1", "20240305083000", "");
    let present = daemon.one_id("HIS|P6");
    daemon.accept("his", adt("A01", "C2", "20240305103000", &[before, stay]));
    let known = daemon.json(&format!("/v1/persons/{present}"));
    assert!(known["phones"].is_null() && known["deceased"].is_null(), "{known}");
    let visits = daemon.json(&format!("/v1/persons/{present}/visits"));
    assert_eq!(visits["visits"], serde_json::json!([]), "the former patient's visit is the former patient's");
}

#[test]
fn a_report_number_that_moves_to_another_patient_is_withdrawn_from_the_former() {
    let site = Site::new();
    let daemon = site.start();
    let high = [number("K", "6.8", "mmol/L", "3.5-5.5", "HH", "F")];
    daemon.accept("lis", report("L1", "20240305110000", "P1", "F1", "F", &high));
    daemon.accept("lis", report("L2", "20240306110000", "P2", "F1", "F", &[]));
    let (former, present) = (daemon.one_id("HIS|P1"), daemon.one_id("HIS|P2"));
    let told: Vec<_> = daemon.feed().into_iter().filter(|event| event["data"]["report_id"] == "lis:F1").collect();
    assert_eq!(column(&told, "type"), ["lab.resulted", "lab.critical", "lab.cancelled", "lab.resulted"]);
    let versions: Vec<_> = told.iter().map(|event| event["data"]["version"].as_u64().unwrap()).collect();
    assert_eq!(versions, [1, 2, 3, 4]);
    assert_eq!(column(&told, "subject"), [&former, &former, &former, &present]);
    let (withdrawn, moved) = (&told[2]["data"], &told[3]["data"]);
    assert_eq!((&withdrawn["one_id"], &withdrawn["status"]), (&former.as_str().into(), &"entered_in_error".into()));
    assert_eq!(withdrawn["changed"], serde_json::json!(["abnormal", "critical", "status"]), "{withdrawn}");
    let changed = moved["changed"].as_array().unwrap();
    assert!(["one_id", "results", "critical"].iter().all(|name| changed.contains(&(*name).into())), "{moved}");
    assert!(moved["results"].is_null(), "{moved}");
}

#[test]
fn a_number_that_joins_whom_nothing_else_joins_is_noted() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", adt("A28", "C1", "20240305080000", &[person("P1", "周^明", "19800102", "M", &[])]));
    daemon.accept("lis", adt("A28", "L1", "20240305090000", &[person("P1", "吴^静", "19920304", "F", &[])]));
    daemon.accept("his", adt("A28", "C2", "20240305080000", &[person("P2", "周^明", "19800102", "M", &[])]));
    daemon.accept("lis", adt("A28", "L2", "20240305090000", &[person("P2", "吴^静", "19800102", "F", &[])]));
    let notes = |control_id: &str| {
        let kept = site.messages(&["--control-id", control_id]);
        site.json(&["message", "show", &kept[0]["id"].to_string(), "--json"])["notes"].to_string()
    };
    assert!(notes("L1").contains("although the name and the birth date differ"), "{}", notes("L1"));
    assert!(!notes("L1").contains("周") && !notes("L1").contains("吴"), "{}", notes("L1"));
    for control_id in ["C1", "L2"] {
        assert!(!notes(control_id).contains("differ"), "{control_id}: {}", notes(control_id));
    }
}
