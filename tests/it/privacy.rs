//! Personal data never enters logs, metrics or error texts, at any level.

use serde_json::json;

use crate::support::hl7::{adt, gb18030, inpatient, number, person, pid, report, resident_number, segment};
use crate::support::http::query;
use crate::support::site::Site;

const NAME: &str = "金丝雀";
const GIVEN: &str = "Canaryson";
const NUMBER: &str = "MRN7734512";
const PHONE: &str = "13900007734";
const ADDRESS: &str = "梧桐街七十七号";
const VALUE: &str = "773.45";

fn patient(more: &[(usize, &str)]) -> String {
    let resident = resident_number("19770705", 78);
    let identifiers = format!("{NUMBER}^^^HIS^MR~{resident}^^^^NI");
    let name = format!("{NAME}^{GIVEN}");
    let mut fields = vec![(3, identifiers.as_str()), (11, ADDRESS), (13, PHONE)];
    fields.extend_from_slice(more);
    person(NUMBER, &name, "19770705", "F", &fields)
}

#[test]
fn no_log_line_metric_or_error_text_holds_a_patients_data() {
    let site = Site::new();
    let daemon = site.start_with(&["--log", "trace"]);
    let at = "20240305103000";
    let stay = inpatient("V7734512", "ICU^1^1", at, "");
    let good = adt("A01", "C1", at, &[patient(&[]), stay.clone()]);
    let result = number("K^钾^L", VALUE, "mmol/L", "3.5-5.3", "HH", "F");
    let laboratory = report("L1", at, NUMBER, "F1", "F", &[result]).replace("张^伟", &format!("{NAME}^{GIVEN}"));
    let odd_status = laboratory.replace("|L1|", "|L2|").replace("|F\r", "|ZZ\r");
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("a date that is none", adt("A01", "B1", at, &[patient(&[(7, "19770231")]), stay.clone()]).into_bytes()),
        ("a visit without number", adt("A01", "B2", at, &[patient(&[]), segment("PV1", &[(2, "I")])]).into_bytes()),
        (
            "a class that is none",
            adt("A01", "B3", at, &[patient(&[]), segment("PV1", &[(2, GIVEN), (19, "V2")])]).into_bytes(),
        ),
        (
            "a merge with itself",
            adt("A40", "B4", at, &[patient(&[]), segment("MRG", &[(1, &format!("{NUMBER}^^^HIS^MR"))])]).into_bytes(),
        ),
        ("a wrong character set", gb18030(&good.replace("|C1|", "|B5|"))),
        (
            "a line that is no segment",
            good.replace("|C1|", "|B6|").replace("EVN|", &format!("{NAME}{GIVEN}{PHONE}\rEVN|")).into_bytes(),
        ),
        ("an odd status", odd_status.into_bytes()),
        ("no header", good.split_once('\r').unwrap().1.as_bytes().to_vec()),
        ("nobody", adt("A01", "B7", at, std::slice::from_ref(&stay)).into_bytes()),
        ("no resident number", adt("A28", "B8", at, &[pid(NUMBER, NAME), patient(&[(7, "soon")])]).into_bytes()),
    ];
    daemon.accept("his", &good);
    daemon.accept("lis", &laboratory);
    let mut told = String::new();
    for (name, bytes) in &bad {
        let answer = daemon.send("his", bytes);
        told.push_str(&format!("answer to {name}: {}\n", answer.text()));
    }
    for target in [
        format!("/v1/persons?name={}", query(&format!("{NAME}{GIVEN}"))),
        format!("/v1/persons?phone={PHONE}"),
        format!("/v1/persons?identifier={}", query(&format!("HIS|{NUMBER}"))),
    ] {
        daemon.json(&target);
    }
    daemon.feed();
    for target in [
        format!("/v1/persons?name={}&colour=blue", query(NAME)),
        format!("/v1/persons?identifier={NUMBER}"),
        format!("/v1/persons/{NUMBER}"),
        format!("/v1/messages?control_id={NUMBER}&limit={GIVEN}"),
    ] {
        let problem = daemon.get(&target, site.engineer());
        if problem.status >= 400 {
            told.push_str(&format!("problem: {}\n", problem.text()));
        }
    }
    for failed in site.messages(&["--state", "failed"]) {
        told.push_str(&format!("stored reason: {}\n", json!({"error": failed["error"]})));
    }
    told.push_str(&daemon.get("/metrics", site.engineer()).ok().text());
    let file = site.write("in/canary.hl7", [good.replace("|C1|", "|I1|").as_bytes(), &bad[1].1].concat());
    let imported = site.run(&["--log", "trace", "import", "his", &file.to_string_lossy()]);
    told.push_str(&format!("{}{}", imported.stdout, imported.stderr));
    let log = daemon.log();
    assert!(log.contains("DEBUG"), "the log tells all that it can:\n{log}");
    told.push_str(&log);
    let encoded = query(NAME);
    let resident = resident_number("19770705", 78);
    for canary in [NAME, GIVEN, NUMBER, PHONE, ADDRESS, VALUE, "7734512", "19770705", "1977-07-05", &resident, &encoded]
    {
        let found: Vec<&str> = told.lines().filter(|line| line.contains(canary)).collect();
        assert!(found.is_empty(), "{canary} was told in:\n{}", found.join("\n"));
    }
}
