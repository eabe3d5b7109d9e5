//! What a Chinese hospital's server holds: of a hundred resources ten Patients, fifteen Encounters, five Conditions, ten
//! DiagnosticReports and their sixty Observations. Practitioners, Locations and an Organization stand beside them: nobody polls for those, they
//! are read because others name them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::support::hl7::resident_number;

/// What is polled, in the order in which it is read.
pub(crate) const POLLED: [&str; 5] = ["Patient", "Encounter", "DiagnosticReport", "Observation", "Condition"];
/// Practitioners of the hospital, and its wards.
const STAFF: usize = 40;
const WARDS: usize = 20;

const FAMILY: [&str; 16] =
    ["王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴", "徐", "孙", "胡", "欧阳", "上官", "诸葛"];
const GIVEN: [&str; 16] = [
    "伟", "芳", "娜", "敏", "静", "秀兰", "建国", "志远", "雨桐", "子涵", "浩然", "思齐", "明哲", "若曦", "文博",
    "晓琳",
];
/// LOINC, name, unit, range.
const RESULTS: [(&str, &str, &str, f64, f64); 6] = [
    ("6690-2", "白细胞计数", "10*9/L", 3.5, 9.5),
    ("789-8", "红细胞计数", "10*12/L", 4.3, 5.8),
    ("718-7", "血红蛋白", "g/L", 130.0, 175.0),
    ("4544-3", "红细胞压积", "%", 40.0, 50.0),
    ("777-3", "血小板计数", "10*9/L", 125.0, 350.0),
    ("770-8", "中性粒细胞百分比", "%", 40.0, 75.0),
];

/// A resource as the server gives it.
#[derive(Clone)]
pub(crate) struct Prepared {
    pub(crate) id: String,
    pub(crate) updated: Timestamp,
    pub(crate) json: String,
}

/// Everything by type; `count` resources of the polled types, rounded to hundreds.
pub(crate) fn hospital(count: usize) -> BTreeMap<&'static str, Vec<Prepared>> {
    let mut all: BTreeMap<&'static str, Vec<Prepared>> = BTreeMap::new();
    // The newest is some days old: no clock is between the server and its reader.
    let end = Timestamp::now().as_second() - 3 * 86_400;
    let hundreds = count.div_ceil(100);
    let mut put = |kind: &'static str, second: i64, mut content: Value| {
        let held = all.entry(kind).or_default();
        let id = format!("{}{}", kind[..1].to_ascii_lowercase(), held.len());
        let updated = Timestamp::from_second(second).expect("a time of now");
        content["resourceType"] = json!(kind);
        content["id"] = json!(id);
        content["meta"] = json!({"versionId": "1", "lastUpdated": updated.to_string()});
        held.push(Prepared { id, updated, json: content.to_string() });
    };
    for number in 0..STAFF {
        put("Practitioner", 1_700_000_000 + number as i64, practitioner(number));
    }
    for number in 0..WARDS {
        put(
            "Location",
            1_700_000_000 + number as i64,
            json!({"status": "active", "name": format!("心内科{:02}病房", number + 1)}),
        );
    }
    put("Organization", 1_700_000_000, json!({"name": "某市第一人民医院", "active": true}));
    for hundred in 0..hundreds {
        let second = end - (hundreds - hundred) as i64 * 60;
        for part in 0..10 {
            put("Patient", second + part as i64, patient(hundred * 10 + part));
        }
        for part in 0..15 {
            let number = hundred * 15 + part;
            put("Encounter", second + part as i64, encounter(number, hundred * 10 + part % 10, second));
        }
        for part in 0..5 {
            let (patient, visit) = (hundred * 10 + part, hundred * 15 + part);
            put("Condition", second + part as i64, condition(patient, visit, second));
        }
        for part in 0..10 {
            let (number, patient, visit) = (hundred * 10 + part, hundred * 10 + part, hundred * 15 + part);
            put("DiagnosticReport", second + 50 + part as i64 % 5, report(number, patient, visit, second));
            for (place, result) in RESULTS.into_iter().enumerate() {
                let draw = (number * 31 + place * 17) % 100;
                put("Observation", second + 40 + part as i64 % 5, observation(result, draw, patient, visit, second));
            }
        }
    }
    all
}

fn local(second: i64) -> String {
    let zone = TimeZone::get("Asia/Shanghai").expect("a zone of the database");
    let at = Timestamp::from_second(second).expect("a time of now");
    at.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

fn name(number: usize) -> Value {
    let (family, given) = (FAMILY[number % 16], GIVEN[number / 16 % 16]);
    json!([{"use": "official", "text": format!("{family}{given}"), "family": family, "given": [given]}])
}

fn practitioner(number: usize) -> Value {
    json!({
        "active": true, "identifier": [{"system": "urn:oid:1.2.156.112", "value": format!("D{number:03}")}],
        "name": name(number * 7), "telecom": [{"system": "phone", "value": format!("0591-83{number:06}"), "use": "work"}]
    })
}

fn patient(number: usize) -> Value {
    let birth = (1930 + number % 90, number % 12 + 1, number % 28 + 1);
    let order = (number / 90 % 1000) as u16;
    let resident = resident_number(&format!("{}{:02}{:02}", birth.0, birth.1, birth.2), order);
    let kind =
        |code: &str| json!({"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": code}]});
    json!({
        "active": true,
        "identifier": [
            {"use": "usual", "type": kind("MR"), "system": "HIS", "value": format!("{number:08}")},
            {"use": "official", "type": kind("NI"), "system": "urn:oid:2.16.156.1.1", "value": resident}
        ],
        "name": name(number), "gender": if order.is_multiple_of(2) { "female" } else { "male" },
        "birthDate": format!("{}-{:02}-{:02}", birth.0, birth.1, birth.2),
        "telecom": [{"system": "phone", "use": "mobile", "value": format!("139{:08}", number * 10)}],
        "address": [{
            "use": "home", "text": format!("某省某市建设路{}号", number % 200 + 1), "line": [format!("建设路{}号", number % 200 + 1)],
            "city": "某市", "state": "某省", "postalCode": "100000", "country": "CN"
        }],
        "maritalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus", "code": "M"}], "text": "已婚"},
        "contact": [{"relationship": [{"text": "配偶"}], "name": {"text": "王秀兰"}, "telecom": [{"system": "phone", "value": "13900000001"}]}],
        "managingOrganization": {"reference": "Organization/o0"}
    })
}

fn encounter(number: usize, patient: usize, second: i64) -> Value {
    let is_stay = number.is_multiple_of(3);
    let class = if is_stay { ("IMP", "inpatient encounter") } else { ("AMB", "ambulatory") };
    json!({
        "status": "finished",
        "identifier": [{"use": "official", "system": "urn:oid:1.2.156.112.visit", "value": format!("V{number:09}")}],
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": class.0, "display": class.1},
        "type": [{"text": if is_stay { "住院" } else { "门诊" }}],
        "subject": {"reference": format!("Patient/p{patient}")},
        "participant": [{
            "type": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "ATND"}]}],
            "individual": {"reference": format!("Practitioner/p{}", number % STAFF)}
        }],
        "period": {"start": local(second - 86_400), "end": local(second)},
        "location": [{"location": {"reference": format!("Location/l{}", number % WARDS)}, "status": "completed"}],
        "serviceProvider": {"reference": "Organization/o0"}
    })
}

fn condition(patient: usize, visit: usize, second: i64) -> Value {
    json!({
        "clinicalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]},
        "verificationStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "confirmed"}]},
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-category", "code": "encounter-diagnosis"}]}],
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "I20.0", "display": "不稳定型心绞痛"}], "text": "不稳定型心绞痛"},
        "subject": {"reference": format!("Patient/p{patient}")}, "encounter": {"reference": format!("Encounter/e{visit}")},
        "recordedDate": local(second)
    })
}

fn report(number: usize, patient: usize, visit: usize, second: i64) -> Value {
    let first = number * RESULTS.len();
    let results: Vec<Value> =
        (first..first + RESULTS.len()).map(|place| json!({"reference": format!("Observation/o{place}")})).collect();
    json!({
        "identifier": [{"system": "urn:oid:1.2.156.112.report", "value": format!("L{number:09}")}],
        "status": "final", "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "HM"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "58410-2"}], "text": "血常规"},
        "subject": {"reference": format!("Patient/p{patient}")}, "encounter": {"reference": format!("Encounter/e{visit}")},
        "effectiveDateTime": local(second), "issued": local(second + 50),
        "performer": [{"reference": "Organization/o0"}],
        "resultsInterpreter": [{"reference": format!("Practitioner/p{}", number % STAFF)}], "result": results
    })
}

fn observation(result: (&str, &str, &str, f64, f64), draw: usize, patient: usize, visit: usize, second: i64) -> Value {
    let (code, name, unit, low, high) = result;
    let tenths = ((low + (high - low) * draw as f64 / 80.0) * 10.0).round();
    let flag = if tenths > high * 10.0 { "H" } else { "N" };
    let quantity =
        |value: f64| json!({"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit});
    json!({
        "status": "final",
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "laboratory"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": code, "display": name}], "text": name},
        "subject": {"reference": format!("Patient/p{patient}")}, "encounter": {"reference": format!("Encounter/e{visit}")},
        "effectiveDateTime": local(second), "issued": local(second + 45), "valueQuantity": quantity(tenths / 10.0),
        "interpretation": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation", "code": flag}]}],
        "referenceRange": [{"low": quantity(low), "high": quantity(high)}]
    })
}
