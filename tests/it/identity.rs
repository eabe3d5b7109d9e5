//! One patient, one ID: numbers link, families do not, merges redirect and are told.

use serde_json::Value;

use crate::support::daemon::{Daemon, column};
use crate::support::hl7::{adt, inpatient, number, person, pid, registration, report, resident_number, segment};
use crate::support::orders;
use crate::support::site::Site;

/// PID of `HIS|number` with a resident number beside it.
fn identified(number: &str, name: &str, birth: &str, sex: &str, resident: &str) -> String {
    let identifiers = format!("{number}^^^HIS^MR~{resident}^^^^NI");
    person(number, name, birth, sex, &[(3, &identifiers)])
}

/// The same at the laboratory's own authority.
fn identified_at_lis(number: &str, name: &str, birth: &str, resident: &str) -> String {
    let identifiers = format!("{number}^^^LIS^MR~{resident}^^^^NI");
    person(number, name, birth, "M", &[(3, &identifiers)])
}

fn merge(id: &str, at: &str, survivor: &str, retired: &str) -> String {
    adt("A40", id, at, &[pid(survivor, "张^伟"), segment("MRG", &[(1, &format!("{retired}^^^HIS^MR"))])])
}

fn events_of(daemon: &Daemon<'_>, kind: &str) -> Vec<Value> {
    daemon.feed().into_iter().filter(|event| event["type"] == kind).collect()
}

#[test]
fn a_number_of_one_authority_is_one_person_whoever_sends_it() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", registration("C1", "P1", "张^伟"));
    daemon.accept("lis", report("L1", "20240305110000", "P1", "F1", "F", &[number("K", "4.0", "mmol/L", "", "", "F")]));
    let events = daemon.feed();
    assert_eq!(events_of(&daemon, "patient.created").len(), 1);
    assert!(events.iter().all(|event| event["subject"] == events[0]["subject"]), "{events:?}");
    let subject = daemon.one_id("HIS|P1");
    assert_eq!(events[0]["subject"], subject.as_str());
    assert!(ulid_shaped(&subject), "{subject}");
}

fn ulid_shaped(text: &str) -> bool {
    text.len() == 26 && text.bytes().all(|byte| b"0123456789ABCDEFGHJKMNPQRSTVWXYZ".contains(&byte))
}

#[test]
fn an_identity_number_with_name_and_birth_date_links_the_systems() {
    let site = Site::new();
    let daemon = site.start();
    let resident = resident_number("19800102", 11);
    daemon.accept("his", adt("A28", "C1", "20240305080000", &[identified("P1", "张^伟", "19800102", "M", &resident)]));
    daemon
        .accept("lis", adt("A28", "L1", "20240305090000", &[identified_at_lis("88", "张^伟", "19800102", &resident)]));
    assert_eq!(daemon.one_id("HIS|P1"), daemon.one_id("LIS|88"));
    assert_eq!(events_of(&daemon, "patient.created").len(), 1);
    let linked = daemon.person("HIS|P1");
    let sources = linked["sources"].as_array().unwrap();
    assert_eq!(sources.len(), 2, "{linked}");
    let rows = site.json(&["person", "links", "--json"]);
    assert!(rows.to_string().contains("\"88\""), "{rows}");
    let csv = site.run(&["person", "links", "--csv"]).exits(0).stdout;
    assert!(csv.starts_with("source,system,identifier,one_id,link"), "{csv}");
    assert_eq!(csv.lines().count(), 3, "{csv}");
}

#[test]
fn an_identity_number_that_comes_later_links_as_well() {
    let site = Site::new();
    let daemon = site.start();
    let resident = resident_number("19800102", 17);
    daemon.accept("his", registration("C1", "P1", "张^伟"));
    daemon
        .accept("lis", adt("A28", "L1", "20240305090000", &[identified_at_lis("88", "张^伟", "19800102", &resident)]));
    assert_ne!(daemon.one_id("HIS|P1"), daemon.one_id("LIS|88"), "nothing links them yet");
    daemon.accept("his", adt("A31", "C2", "20240305100000", &[identified("P1", "张^伟", "19800102", "M", &resident)]));
    assert_eq!(daemon.one_id("HIS|P1"), daemon.one_id("LIS|88"), "the order of arrival decides nothing");
    let retired = events_of(&daemon, "patient.merged");
    assert_eq!(retired.len(), 1, "consumers are told: {:?}", column(&daemon.feed(), "type"));
}

#[test]
fn a_number_is_known_wherever_it_stands_in_the_list() {
    let site = Site::new();
    let daemon = site.start();
    let listed = |first: &str, second: &str| person("", "张^伟", "19800102", "M", &[(3, &format!("{first}~{second}"))]);
    daemon.accept("his", registration("C1", "P1", "张^伟"));
    daemon.accept("his", adt("A31", "C2", "20240306080000", &[listed("88^^^LIS^MR", "P1^^^HIS^MR")]));
    daemon.accept("his", adt("A31", "C3", "20240307080000", &[listed("P1^^^HIS^MR", "88^^^LIS^MR")]));
    assert_eq!(daemon.one_id("HIS|P1"), daemon.one_id("LIS|88"));
    assert_eq!(events_of(&daemon, "patient.created").len(), 1, "nobody is a second person for the order of a list");
}

#[test]
fn one_patient_on_many_connections_at_once_is_one_person() {
    let site = Site::new();
    let daemon = site.start();
    std::thread::scope(|scope| {
        for connection in 0..8 {
            let daemon = &daemon;
            scope.spawn(move || {
                let mut sender = daemon.connect(["his", "lis"][connection % 2]);
                for step in 0..20 {
                    let id = format!("C{connection}-{step}");
                    assert_eq!(sender.ask(registration(&id, "P1", &format!("张^伟{connection}{step}"))).code(), "AA");
                }
            });
        }
    });
    assert_eq!(events_of(&daemon, "patient.created").len(), 1);
    assert_eq!(daemon.person("HIS|P1")["sources"].as_array().map(Vec::len), Some(2));
}

#[test]
fn an_identity_number_alone_never_links() {
    let site = Site::new();
    let daemon = site.start();
    let resident = resident_number("19800102", 13);
    daemon.accept("his", adt("A28", "C1", "20240305080000", &[identified("P1", "张^伟", "19800102", "M", &resident)]));
    for (id, number, name, birth) in
        [("L1", "1", "李^强", "19800102"), ("L2", "2", "张^伟", "19510607"), ("L3", "3", "王^芳", "20200101")]
    {
        daemon.accept("lis", adt("A28", id, "20240305090000", &[identified_at_lis(number, name, birth, &resident)]));
        assert_ne!(daemon.one_id("HIS|P1"), daemon.one_id(&format!("LIS|{number}")), "{name} born {birth}");
    }
}

#[test]
fn placeholders_never_link_and_a_wrong_check_digit_not_alone() {
    let site = Site::new();
    let daemon = site.start();
    let right = resident_number("19800102", 15);
    let wrong_digit = if right.ends_with('1') { "2" } else { "1" };
    let wrong = format!("{}{wrong_digit}", &right[..17]);
    // What only misses its check is near a number: with another birthday beside it, it says as little.
    let placeholders = [
        ("111111111111111111", "19800102"),
        ("000000000000000000", "19800102"),
        ("123456789012345678", "19800102"),
        ("无", "19800102"),
        ("999999999999999999", "19800102"),
        (&wrong, "19860725"),
    ];
    for (index, (placeholder, birth)) in placeholders.into_iter().enumerate() {
        let (his, lis) = (format!("P{index}"), format!("{index}"));
        daemon.accept(
            "his",
            adt(
                "A28",
                &format!("C{index}"),
                "20240305080000",
                &[identified(&his, "张^伟", "19800102", "M", placeholder)],
            ),
        );
        daemon.accept(
            "lis",
            adt("A28", &format!("L{index}"), "20240305090000", &[identified_at_lis(&lis, "张^伟", birth, placeholder)]),
        );
        assert_ne!(daemon.one_id(&format!("HIS|{his}")), daemon.one_id(&format!("LIS|{lis}")), "{placeholder}");
    }
}

#[test]
fn a_newborn_is_not_merged_with_its_mother_and_keeps_its_id_when_named() {
    let site = Site::new();
    let daemon = site.start();
    let resident = resident_number("19920506", 24);
    let mother = identified("M1", "陈^秀英", "19920506", "F", &resident);
    daemon.accept("his", adt("A28", "C1", "20240305080000", &[mother]));
    // The ward enters the mother's own number for the child, as wards do.
    let newborn = |id: &str, at: &str, name: &str| {
        let identifiers = format!("B1^^^HIS^MR~{resident}^^^^NI");
        let child = person("B1", name, "20240306", "M", &[(3, &identifiers), (21, "M1^^^HIS^MR"), (24, "N")]);
        adt("A28", id, at, &[child])
    };
    daemon.accept("his", newborn("C2", "20240306080000", "陈秀英之子"));
    let child = daemon.one_id("HIS|B1");
    assert_ne!(child, daemon.one_id("HIS|M1"));
    daemon.accept("his", newborn("C3", "20240310080000", "李^子轩"));
    let named = daemon.person("HIS|B1");
    assert_eq!((named["one_id"].as_str(), named["name"].as_str()), (Some(child.as_str()), Some("李子轩")));
    assert_ne!(child, daemon.one_id("HIS|M1"));
    assert_eq!(named["mother_identifier"]["value"], "M1", "{named}");
    assert!(events_of(&daemon, "patient.merged").is_empty());
}

#[test]
fn a_merge_redirects_and_tells_which_records_moved() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", registration("C1", "P1", "张^伟"));
    daemon.accept(
        "his",
        adt("A01", "C2", "20240305103000", &[pid("P2", "张^伟"), inpatient("V2", "ICU^1^1", "20240305103000", "")]),
    );
    daemon.accept("lis", report("L1", "20240305110000", "P2", "F2", "F", &[number("K", "4.0", "mmol/L", "", "", "F")]));
    let (survivor, retired) = (daemon.one_id("HIS|P1"), daemon.one_id("HIS|P2"));
    assert_ne!(survivor, retired);
    daemon.accept("his", merge("C3", "20240306080000", "P1", "P2"));
    let merged = events_of(&daemon, "patient.merged");
    assert_eq!(merged.len(), 1);
    let data = &merged[0]["data"];
    assert_eq!(
        (merged[0]["subject"].as_str(), data["one_id"].as_str()),
        (Some(survivor.as_str()), Some(survivor.as_str()))
    );
    assert_eq!(data["retired"], serde_json::json!([retired]));
    assert_eq!(data["records"]["visits"], serde_json::json!(["his:V2"]), "{data}");
    assert_eq!(data["records"]["lab_reports"], serde_json::json!(["lis:F2"]), "{data}");
    // The retired One ID goes on answering, as the survivor.
    let redirected = daemon.json(&format!("/v1/persons/{retired}"));
    assert_eq!(redirected["one_id"], survivor.as_str(), "{redirected}");
    assert_eq!(redirected["merged_into"], survivor.as_str(), "{redirected}");
    assert_eq!(daemon.one_id("HIS|P2"), survivor);
    assert_eq!(column(&daemon.visits("HIS|P1"), "visit_id"), ["his:V2"]);
    assert_eq!(daemon.visit("HIS|P1")["one_id"], survivor.as_str());
    assert_eq!(column(&daemon.lab_reports("HIS|P1"), "report_id"), ["lis:F2"]);
}

#[test]
fn a_message_for_a_merged_number_goes_to_the_survivor() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", registration("C1", "P1", "张^伟"));
    daemon.accept("his", registration("C2", "P2", "张^伟"));
    daemon.accept("his", merge("C3", "20240306080000", "P1", "P2"));
    let survivor = daemon.one_id("HIS|P1");
    daemon.accept(
        "his",
        adt("A01", "C4", "20240307103000", &[pid("P2", "张^伟"), inpatient("V9", "ICU^1^1", "20240307103000", "")]),
    );
    let admitted = events_of(&daemon, "visit.admitted");
    assert_eq!(column(&admitted, "subject"), [survivor.as_str()]);
    assert_eq!(events_of(&daemon, "patient.created").len(), 2, "nobody is resurrected");
}

#[test]
fn a_repeated_merge_has_no_second_effect_and_chains_end_at_the_survivor() {
    let site = Site::new();
    let daemon = site.start();
    for (id, number) in [("C1", "P1"), ("C2", "P2"), ("C3", "P3")] {
        daemon.accept("his", registration(id, number, "张^伟"));
    }
    let first = daemon.one_id("HIS|P3");
    daemon.accept("his", merge("C4", "20240306080000", "P2", "P3"));
    daemon.accept("his", merge("C5", "20240306090000", "P2", "P3"));
    assert_eq!(events_of(&daemon, "patient.merged").len(), 1);
    daemon.accept("his", merge("C6", "20240307080000", "P1", "P2"));
    let survivor = daemon.one_id("HIS|P1");
    assert_eq!(daemon.json(&format!("/v1/persons/{first}"))["one_id"], survivor.as_str());
    assert_eq!(daemon.one_id("HIS|P3"), survivor);
    assert_eq!(events_of(&daemon, "patient.merged").len(), 2);
}

#[test]
fn merges_that_cannot_be_right_are_refused_with_the_place() {
    let site = Site::new();
    let daemon = site.start();
    for (id, number) in [("C1", "P1"), ("C2", "P2")] {
        daemon.accept("his", registration(id, number, "张^伟"));
    }
    let across = adt("A40", "M2", "20240306080000", &[pid("P1", "张^伟"), segment("MRG", &[(1, "88^^^LIS^MR")])]);
    let refused = |source: &str, text: &str| {
        let answer = daemon.send(source, text);
        assert_eq!(answer.code(), "AE", "{}", answer.text());
        assert!(answer.has_error(), "{}", answer.text());
    };
    refused("his", &merge("M1", "20240306080000", "P1", "P1"));
    refused("his", &across);
    // `lis` does not own the authority HIS.
    refused("lis", &merge("M3", "20240306080000", "P1", "P2"));
    assert!(events_of(&daemon, "patient.merged").is_empty());
    assert_ne!(daemon.one_id("HIS|P1"), daemon.one_id("HIS|P2"));
    daemon.accept("his", merge("M4", "20240306090000", "P1", "P2"));
    refused("his", &merge("M5", "20240306100000", "P2", "P1"));
    assert_eq!(events_of(&daemon, "patient.merged").len(), 1);
}

#[test]
fn every_order_of_a_merge_and_its_records_ends_in_one_person() {
    let site = Site::new();
    let daemon = site.start();
    let mut connection = daemon.connect("his");
    let all = orders(4);
    for (index, order) in all.iter().enumerate() {
        let (survivor, retired, visit) = (format!("P{index}"), format!("Q{index}"), format!("V{index}"));
        let at = "20240305103000";
        let messages = [
            registration(&format!("C{index}-0"), &survivor, "张^伟"),
            registration(&format!("C{index}-1"), &retired, "张^伟"),
            merge(&format!("C{index}-2"), "20240306080000", &survivor, &retired),
            adt("A01", &format!("C{index}-3"), at, &[pid(&retired, "张^伟"), inpatient(&visit, "ICU^1^1", at, "")]),
        ];
        for &step in order {
            assert_eq!(connection.ask(&messages[step]).code(), "AA", "order {order:?}, step {step}");
        }
        let one_id = daemon.one_id(&format!("HIS|{survivor}"));
        assert_eq!(daemon.one_id(&format!("HIS|{retired}")), one_id, "order {order:?}");
        assert_eq!(daemon.visit(&format!("HIS|{survivor}"))["one_id"], one_id.as_str(), "order {order:?}");
    }
}

#[test]
fn the_history_of_a_person_says_how_its_records_came() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", registration("C1", "P1", "张^伟"));
    daemon.accept("his", registration("C2", "P2", "张^伟"));
    daemon.accept("his", merge("C3", "20240306080000", "P1", "P2"));
    let history = daemon.json(&format!("/v1/persons/{}/history", daemon.one_id("HIS|P1")));
    let text = history.to_string();
    assert!(text.contains("auto") && text.contains("P2"), "{history}");
}

#[test]
fn a_number_is_found_whoever_gave_it_out() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", registration("C1", "P1", "张^伟"));
    for (identifier, expected) in [("HIS%7CP1", 1), ("%7CP1", 1), ("LIS%7CP1", 0), ("%7CP2", 0)] {
        let found = daemon.json(&format!("/v1/persons?identifier={identifier}"));
        assert_eq!(found["persons"].as_array().unwrap().len(), expected, "{identifier} {found}");
    }
    site.run(&["person", "find", "|P1"]).exits(0);
    site.run(&["person", "find", "|P2"]).exits(1);
}

/// Two valid resident numbers of one name and birth date.
fn two_numbers() -> (String, String) {
    (resident_number("19800102", 11), resident_number("19800102", 13))
}

#[test]
fn a_correction_after_a_merge_takes_the_merged_number_along() {
    let site = Site::new();
    let daemon = site.start();
    let (wrong, right) = two_numbers();
    daemon.accept("his", registration("C1", "P1", "张^伟"));
    daemon.accept("his", adt("A28", "C2", "20240305080100", &[identified("P2", "张^伟", "19800102", "M", &wrong)]));
    daemon.accept("lis", adt("A28", "L1", "20240305080200", &[identified_at_lis("88", "张^伟", "19800102", &wrong)]));
    daemon.accept("his", merge("C3", "20240305080300", "P1", "P2"));
    assert_eq!(daemon.one_id("LIS|88"), daemon.one_id("HIS|P1"));
    daemon.accept("his", adt("A31", "C4", "20240305080400", &[identified("P1", "张^伟", "19800102", "M", &right)]));
    assert_eq!(daemon.one_id("HIS|P1"), daemon.one_id("HIS|P2"), "the source said that they are one");
    assert_ne!(daemon.one_id("LIS|88"), daemon.one_id("HIS|P1"), "another resident number is another person");
    daemon.accept("his", merge("C5", "20240305080500", "P1", "P2"));
    assert_eq!(events_of(&daemon, "patient.split").len(), 1);
    // Nor does the retired number's own old word divide them.
    daemon.accept("his", adt("A31", "C6", "20240305080600", &[identified("P2", "张^伟", "19800102", "M", &wrong)]));
    assert_eq!(daemon.one_id("HIS|P1"), daemon.one_id("HIS|P2"));
    assert_ne!(daemon.one_id("LIS|88"), daemon.one_id("HIS|P1"));
}

#[test]
fn a_corrected_number_leads_to_the_person_who_is_known_by_it() {
    let site = Site::new();
    let daemon = site.start();
    let (wrong, right) = two_numbers();
    daemon.accept("lis", adt("A28", "L1", "20240305080000", &[identified_at_lis("77", "张^伟", "19800102", &right)]));
    daemon.accept("lis", adt("A28", "L2", "20240305080100", &[identified_at_lis("88", "张^伟", "19800102", &wrong)]));
    let stay = inpatient("V1", "W^1^1", "20240305090000", "");
    let typed = identified("P1", "张^伟", "19800102", "M", &wrong);
    daemon.accept("his", adt("A01", "C1", "20240305090000", &[typed, stay]));
    assert_eq!(daemon.one_id("HIS|P1"), daemon.one_id("LIS|88"));
    daemon.accept("his", adt("A31", "C2", "20240305100000", &[identified("P1", "张^伟", "19800102", "M", &right)]));
    assert_eq!(daemon.one_id("HIS|P1"), daemon.one_id("LIS|77"));
    assert_eq!(daemon.visit("LIS|77")["visit_id"], "his:V1");
    assert_eq!(events_of(&daemon, "patient.created").len(), 2, "nobody is a third person");
    let split = events_of(&daemon, "patient.split");
    assert_eq!(split[0]["data"]["new_one_id"], daemon.one_id("LIS|77").as_str());
    assert_eq!(split[0]["data"]["records"]["visits"], serde_json::json!(["his:V1"]));
}

#[test]
fn a_merge_does_not_bring_along_whom_the_surviving_number_rules_out() {
    let (retired, survivor) = two_numbers();
    let words = [
        ("his", adt("A28", "C1", "20240305080000", &[identified("P1", "张^伟", "19800102", "M", &survivor)])),
        ("his", adt("A28", "C2", "20240305080100", &[identified("P2", "张^伟", "19800102", "M", &retired)])),
        ("lis", adt("A28", "L1", "20240305080200", &[identified_at_lis("88", "张^伟", "19800102", &retired)])),
        ("his", merge("C3", "20240305080300", "P1", "P2")),
    ];
    for order in orders(4) {
        let site = Site::new();
        let daemon = site.start();
        order.iter().for_each(|&step| daemon.accept(words[step].0, &words[step].1));
        assert_eq!(daemon.one_id("HIS|P1"), daemon.one_id("HIS|P2"), "{order:?}");
        assert_ne!(daemon.one_id("HIS|P1"), daemon.one_id("LIS|88"), "{order:?}");
    }
}
