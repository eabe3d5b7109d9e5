//! What consumers end with: a CRM that writes down what each event says, by its id, and knows nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::hospital::{Hospital, patient, site};
use crate::support::hl7::{resident_number, segment};

/// Fields of an event's data that are not of the record.
const OF_THE_EVENT: [&str; 7] = ["changed", "cause", "reverses", "retired", "basis", "records", "new_one_id"];

/// The last word of every person, visit and report, by its id. A One ID that an event says is retired is struck out.
#[derive(Debug, Default)]
struct Crm {
    persons: BTreeMap<String, Value>,
    visits: BTreeMap<String, Value>,
    reports: BTreeMap<String, Value>,
}

impl Crm {
    fn replay(feed: &[Value]) -> Self {
        let mut crm = Self::default();
        for event in feed {
            let data = &event["data"];
            let (table, key) = match event["type"].as_str().unwrap().split_once('.').unwrap().0 {
                "patient" => (&mut crm.persons, "one_id"),
                "visit" => (&mut crm.visits, "visit_id"),
                "lab" => (&mut crm.reports, "report_id"),
                _ => continue,
            };
            assert_eq!(event["subject"], data["one_id"], "{event}");
            table.insert(data[key].as_str().unwrap_or_else(|| panic!("no {key}: {event}")).to_owned(), plain(data));
            for retired in data["retired"].as_array().into_iter().flatten() {
                crm.persons.remove(retired.as_str().unwrap());
            }
        }
        crm
    }
}

/// A record without what belongs to the event, without the times at which its sources said so (a time alone is no news), and without
/// the mapping that wrote it, which is told to whoever looks a record up.
fn plain(record: &Value) -> Value {
    let mut record = record.clone();
    let fields = record.as_object_mut().unwrap();
    OF_THE_EVENT.iter().chain(&["updated_at", "mapping_version"]).for_each(|name| drop(fields.remove(*name)));
    let sources = fields.get_mut("sources").and_then(Value::as_array_mut).into_iter().flatten();
    for source in sources.filter_map(Value::as_object_mut) {
        ["updated_at", "mapping_version"].iter().for_each(|name| drop(source.remove(*name)));
    }
    record
}

/// The whole feed, written down blindly, is what the interface shows of everybody.
pub(super) fn expect_consumers_right(hospital: &Hospital<'_>) {
    let crm = Crm::replay(&hospital.daemon.feed());
    let living: BTreeSet<String> = hospital.links().into_iter().map(|row| row.one_id).collect();
    for one_id in &living {
        let told = crm.persons.get(one_id).unwrap_or_else(|| panic!("no event shows {one_id} alive"));
        assert_eq!(told, &plain(&hospital.person(one_id)), "the person {one_id}");
        for (told, path, list, key) in
            [(&crm.visits, "visits", "visits", "visit_id"), (&crm.reports, "lab-reports", "lab_reports", "report_id")]
        {
            let shown = hospital.json(&format!("/v1/persons/{one_id}/{path}"));
            let shown: BTreeMap<&str, Value> = shown[list]
                .as_array()
                .unwrap()
                .iter()
                .map(|record| (record[key].as_str().unwrap(), plain(record)))
                .collect();
            let told: BTreeMap<&str, Value> = told
                .iter()
                .filter(|(_, record)| record["one_id"] == one_id.as_str())
                .map(|(id, record)| (id.as_str(), record.clone()))
                .collect();
            assert_eq!(told, shown, "{path} of {one_id}");
        }
    }
    for one_id in crm.persons.keys().filter(|one_id| !living.contains(*one_id)) {
        assert_eq!(hospital.person(one_id)["one_id"], one_id.as_str(), "nobody was told that {one_id} is retired");
    }
    for (id, record) in crm.visits.iter().chain(&crm.reports) {
        let owner = record["one_id"].as_str().unwrap();
        assert!(living.contains(owner), "{id} is told under {owner}, whom no record has");
    }
}

#[test]
fn a_crm_that_only_upserts_ends_right_whatever_is_merged_and_split() {
    let site = site();
    let hospital = Hospital::open(&site);
    let number = resident_number("19510203", 31);
    let a = patient("HIS", "A").name("秦怀玉").born("1951-02-03").sex("M").resident_id(&number);
    let b = patient("HIS", "B").name("窦文涛").born("1968-05-06").sex("M");
    let (at_lis, at_emr) = (a.at("LIS", "71"), b.at("EMR", "E1").phone("13900008001"));
    hospital.admit(&a, "VA");
    hospital.register(&at_lis);
    hospital.result(&at_lis, "FA", "VA");
    hospital.admit(&b, "VB");
    hospital.result(&b, "FB", "");
    expect_consumers_right(&hospital);
    hospital.merge(&b, &a);
    expect_consumers_right(&hospital);
    hospital.admit(&a, "VA2");
    hospital.register(&at_emr);
    let survivor = hospital.one_id(&b);
    hospital.command(&["link", &at_emr.record(), &survivor, "--reason", "the same at the other house"]);
    expect_consumers_right(&hospital);
    hospital.command(&["split", &survivor, &a.record(), &at_lis.record(), "--reason", "two patients"]);
    hospital.expect_two(&a, &b);
    expect_consumers_right(&hospital);
    hospital.command(&["merge", &hospital.one_id(&b), &hospital.one_id(&a), "--reason", "one patient after all"]);
    assert_eq!(hospital.one_id(&a), hospital.one_id(&b));
    expect_consumers_right(&hospital);
    hospital.command(&["unlink", &at_emr.record(), "--reason", "not at the other house"]);
    expect_consumers_right(&hospital);
}

#[test]
fn after_a_merge_and_a_split_every_record_that_is_named_is_told_anew() {
    let site = site();
    let hospital = Hospital::open(&site);
    let a = patient("HIS", "A").name("秦怀玉").born("1951-02-03").sex("M");
    let b = patient("HIS", "B").name("窦文涛").born("1968-05-06").sex("M");
    hospital.register(&b);
    let visits: Vec<String> = (0..30).map(|index| format!("V{index}")).collect();
    for visit in &visits {
        hospital.admit(&a, visit);
        hospital.result(&a, &format!("F{visit}"), visit);
    }
    hospital.accept("his", "A03", &[a.pid(), segment("PV1", &[(2, "I"), (19, "V3"), (45, "20240305200000")])]);
    let (former, survivor) = (hospital.one_id(&a), hospital.one_id(&b));
    let expect_told = |kind: &str, owner: &str, cause: &str| {
        let feed = hospital.daemon.feed();
        let at = feed.iter().rposition(|event| event["type"] == kind).unwrap_or_else(|| panic!("no {kind}"));
        let records = &feed[at]["data"]["records"];
        for (list, key, source) in [("visits", "visit_id", "his:V"), ("lab_reports", "report_id", "lis:FV")] {
            let named: BTreeSet<&str> = records[list].as_array().unwrap().iter().filter_map(|id| id.as_str()).collect();
            assert_eq!(named.len(), visits.len(), "{kind}: {records}");
            for id in named {
                assert!(id.starts_with(source), "{id}");
                let told = feed.iter().rposition(|event| event["data"][key] == id && !event["subject"].is_null());
                let told = &feed[told.unwrap()];
                assert_eq!((&told["subject"], &told["data"]["cause"]), (&json!(owner), &json!(cause)), "{kind}: {id}");
                assert!(told["data"]["changed"].to_string().contains("one_id"), "{told}");
            }
        }
    };
    hospital.merge(&b, &a);
    expect_told("patient.merged", &survivor, "merge");
    hospital.command(&["split", &survivor, &a.record(), "--reason", "two patients"]);
    expect_told("patient.split", &former, "split");
    expect_consumers_right(&hospital);
    // Told once each: said again by the source, nothing is told again.
    let told = hospital.told();
    hospital.register(&a);
    assert_eq!(hospital.told(), told);
}
