//! Cases 34 to 44 and 53: what a source may say of its own numbers.

use serde_json::{Value, json};

use super::hospital::{Hospital, Patient, adt, patient, site};
use crate::support::hl7::{message, resident_number, segment};

/// Patients of the HIS whom nothing but a merge makes one.
fn somebody(number: &str) -> Patient {
    const NAMES: [&str; 10] =
        ["秦怀玉", "窦文涛", "尚可喜", "阮玲玉", "聂海胜", "耿彦波", "蒙曼丽", "戚继光", "焦裕仁", "霍启刚"];
    let index = usize::from(number.bytes().last().unwrap_or_default() % 10);
    let birth = format!("19{}-0{}-1{}", 50 + 3 * index, 1 + index % 9, index);
    patient("HIS", number).name(NAMES[index]).born(&birth).sex("M")
}

/// A with a visit, a report and a row of the laboratory; B with a visit of its own.
fn two(hospital: &Hospital<'_>) -> (Patient, Patient, Patient) {
    let number = resident_number("19850319", 11);
    let a = patient("HIS", "A").name("秦怀玉").born("1985-03-19").sex("M").resident_id(&number);
    let at_lis = a.at("LIS", "L1");
    let b = patient("HIS", "B").name("秦淮玉").born("1985-03-20").sex("M");
    hospital.register_all(&[&a, &at_lis]);
    hospital.admit(&a, "VA");
    hospital.result(&at_lis, "FA", "");
    hospital.admit(&b, "VB");
    (a, b, at_lis)
}

#[test]
fn case_34_a_merge_moves_all_rows_redirects_and_tells_every_visit_and_report() {
    let site = site();
    let hospital = Hospital::open(&site);
    let (a, b, at_lis) = two(&hospital);
    let (retired, survivor) = (hospital.one_id(&a), hospital.one_id(&b));
    assert_ne!(retired, survivor);
    assert_eq!(hospital.one_id(&at_lis), retired);
    hospital.merge(&b, &a);
    for patient in [&a, &b, &at_lis] {
        assert_eq!(hospital.one_id(patient), survivor, "{}", patient.record());
    }
    let read = hospital.person(&retired);
    assert_eq!((&read["one_id"], &read["merged_into"]), (&json!(survivor), &json!(survivor)), "{read}");
    let merged = hospital.events("patient.merged");
    assert_eq!(merged.len(), 1, "{merged:?}");
    let data = &merged[0]["data"];
    assert_eq!((&data["one_id"], &data["retired"]), (&json!(survivor), &json!([retired])));
    assert_eq!(data["records"], json!({"visits": ["his:VA"], "lab_reports": ["lis:FA"]}), "{data}");
    let owners = hospital.told_owners();
    for id in ["his:VA", "his:VB", "lis:FA"] {
        assert_eq!(owners.get(id), Some(&survivor), "{id} is told under the survivor: {owners:?}");
    }
    // Told of it after the merge, and with its cause.
    let feed = hospital.daemon.feed();
    let place = |found: &dyn Fn(&Value) -> bool| feed.iter().rposition(found);
    let merge_at = place(&|event| event["type"] == "patient.merged");
    for field in ["visit_id", "report_id"] {
        let id = if field == "visit_id" { "his:VA" } else { "lis:FA" };
        assert!(place(&|event| event["data"][field] == id) > merge_at, "{id}");
    }
    assert_eq!(hospital.visits(&survivor).len(), 2);
    assert_eq!(hospital.reports(&survivor), ["lis:FA"]);
}

#[test]
fn case_35_a_merge_said_again_changes_nothing() {
    let site = site();
    let hospital = Hospital::open(&site);
    let (a, b, _) = two(&hospital);
    let segments = [b.pid(), a.mrg()];
    let same = adt("A40", "M1", "20240306080000", &segments);
    assert_eq!(hospital.send("his", &same).code(), "AA");
    let (told, links) = (hospital.told(), hospital.links());
    assert_eq!(told["patient.merged"], 1);
    assert_eq!(hospital.send("his", &same).code(), "AA");
    assert_eq!(hospital.send("his", &adt("A40", "M2", "20240306080000", &segments)).code(), "AA");
    assert_eq!(hospital.send("his", &adt("A40", "M3", "20240306100000", &segments)).code(), "AA");
    assert_eq!(hospital.told(), told);
    assert_eq!(hospital.links(), links);
}

#[test]
fn case_36_a_number_is_not_merged_into_itself() {
    let site = site();
    let hospital = Hospital::open(&site);
    let (a, b, _) = two(&hospital);
    let (told, links) = (hospital.told(), hospital.links());
    hospital.refuse("his", "A40", &[a.pid(), a.mrg()]);
    assert_eq!((hospital.told(), hospital.links()), (told, links));
    hospital.expect_two(&a, &b);
}

#[test]
fn case_37_a_merge_before_its_patients_waits_and_is_done_when_they_come() {
    let site = site();
    let hospital = Hospital::open(&site);
    for (index, order) in ["abm", "amb", "bma", "mab", "mba"].into_iter().enumerate() {
        // The last digit chooses name and birth date.
        let (a, b) = (somebody(&format!("A{index}")), somebody(&format!("B{}", index + 5)));
        for step in order.chars() {
            match step {
                'a' => hospital.admit(&a, &format!("VA{index}")),
                'b' => hospital.admit(&b, &format!("VB{index}")),
                _ => hospital.merge(&b, &a),
            }
            if order == "mab" && step == 'm' {
                let links = hospital.rows(&a).into_iter().map(|row| row.link).collect::<Vec<_>>();
                assert_eq!(links, ["pending"], "a merge that waits shows as such");
            }
        }
        let one_id = hospital.one_id(&b);
        assert_eq!(hospital.one_id(&a), one_id, "{order}");
        let mut visits = hospital.visits(&one_id);
        visits.sort();
        assert_eq!(visits, [format!("his:VA{index}"), format!("his:VB{index}")], "{order}");
        assert!(hospital.rows(&a).iter().all(|row| row.link != "pending"), "{order}: {:?}", hospital.rows(&a));
    }
    assert_eq!(hospital.partition().len(), 5);
}

#[test]
fn case_38_a_message_for_a_merged_number_goes_to_the_survivor_with_a_warning() {
    let site = site();
    let hospital = Hospital::open(&site);
    let (a, b, _) = two(&hospital);
    hospital.merge(&b, &a);
    let (survivor, persons) = (hospital.one_id(&b), hospital.partition().len());
    let created = hospital.events("patient.created").len();
    hospital.accept("his", "A08", &[a.clone().phone("13900003801").pid()]);
    hospital.admit(&a, "VLATE");
    assert_eq!(hospital.one_id(&a), survivor);
    assert!(hospital.visits(&survivor).contains(&"his:VLATE".to_owned()));
    assert_eq!(hospital.told_owners()["his:VLATE"], survivor);
    assert_eq!(hospital.partition().len(), persons);
    assert_eq!(hospital.events("patient.created").len(), created, "nobody is resurrected");
    let messages = hospital.daemon.json("/v1/messages?source=his&limit=1000");
    let late = messages["messages"].as_array().unwrap().iter().filter(|message| {
        let kind = message["type"].as_str().unwrap_or_default();
        (kind.contains("A08") || kind.contains("A01"))
            && hospital.daemon.json(&format!("/v1/messages/{}", message["id"]))["notes"].to_string().contains("merged")
    });
    assert_eq!(late.count(), 2, "each of them is told to whoever looks: {messages}");
}

#[test]
fn case_39_a_chain_of_merges_is_read_at_its_end_and_kept_in_the_history() {
    let site = site();
    let hospital = Hospital::open(&site);
    let [a, b, c] = ["1", "2", "3"].map(somebody);
    hospital.register_all(&[&a, &b, &c]);
    let [first, second, third] = [&a, &b, &c].map(|patient| hospital.one_id(patient));
    hospital.merge(&b, &a);
    hospital.merge(&c, &b);
    for retired in [&first, &second] {
        let read = hospital.person(retired);
        assert_eq!((&read["one_id"], &read["merged_into"]), (&json!(third), &json!(third)), "{read}");
    }
    assert_eq!(hospital.partition().len(), 1);
    let history = hospital.json(&format!("/v1/persons/{third}/history")).to_string();
    assert!(history.contains(&first) && history.contains(&second), "both steps are kept: {history}");
}

#[test]
fn case_40_a_merge_the_other_way_round_is_refused_and_looked_at() {
    let site = site();
    let hospital = Hospital::open(&site);
    let [a, b, c] = ["1", "2", "3"].map(somebody);
    hospital.register_all(&[&a, &b, &c]);
    hospital.merge(&b, &a);
    let survivor = hospital.one_id(&b);
    hospital.refuse("his", "A40", &[a.pid(), b.mrg()]);
    assert_eq!((hospital.one_id(&a), hospital.one_id(&b)), (survivor.clone(), survivor));
    let conflicts = hospital.reviews("state=open&kind=source_merge_conflict");
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    // A longer way round is no way either.
    hospital.merge(&c, &b);
    hospital.refuse("his", "A40", &[a.pid(), c.mrg()]);
    assert_eq!(hospital.person_of(&a)["one_id"], hospital.one_id(&c).as_str());
    assert_eq!(hospital.events("patient.merged").len(), 2);
}

#[test]
fn case_41_a_merge_into_a_merged_number_goes_to_its_survivor() {
    let site = site();
    let hospital = Hospital::open(&site);
    let [a, b, c] = ["1", "2", "3"].map(somebody);
    hospital.register_all(&[&a, &b, &c]);
    let survivor = hospital.one_id(&b);
    hospital.merge(&b, &a);
    hospital.merge(&a, &c);
    for patient in [&a, &b, &c] {
        assert_eq!(hospital.one_id(patient), survivor, "{}", patient.record());
    }
}

#[test]
fn case_42_pairs_of_one_message_are_merged_all_or_none() {
    let site = site();
    let hospital = Hospital::open(&site);
    let [a, b, c, d] = ["1", "2", "3", "4"].map(somebody);
    hospital.register_all(&[&a, &b, &c, &d]);
    let (told, links) = (hospital.told(), hospital.links());
    hospital.refuse("his", "A40", &[b.pid(), a.mrg(), d.pid(), d.mrg()]);
    let abroad = patient("LIS", "9");
    hospital.refuse("his", "A40", &[b.pid(), a.mrg(), d.pid(), abroad.mrg()]);
    hospital.refuse("his", "A40", &[abroad.pid(), c.mrg(), b.pid(), a.mrg()]);
    assert_eq!((hospital.told(), hospital.links()), (told, links), "the right pair is not done either");
    hospital.accept("his", "A40", &[b.pid(), a.mrg(), d.pid(), c.mrg()]);
    assert_eq!(hospital.one_id(&a), hospital.one_id(&b));
    assert_eq!(hospital.one_id(&c), hospital.one_id(&d));
    hospital.expect_two(&b, &d);
    assert_eq!(hospital.events("patient.merged").len(), 2);
}

#[test]
fn case_43_a_merge_of_two_resident_numbers_is_done_and_looked_at() {
    let site = site();
    let hospital = Hospital::open(&site);
    let a = somebody("1").resident_id(&resident_number("19530211", 11));
    let b = somebody("2").resident_id(&resident_number("19560312", 15));
    hospital.register_all(&[&a, &b]);
    hospital.merge(&b, &a);
    assert_eq!(hospital.one_id(&a), hospital.one_id(&b), "the source is the authority for its numbers");
    let conflicts = hospital.reviews("state=open&kind=source_merge_conflict");
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    let records = conflicts[0]["records"].to_string();
    assert!(records.contains("HIS|1") && records.contains("HIS|2"), "{conflicts:?}");
    // Said again, it is still one question.
    hospital.merge(&b, &a);
    assert_eq!(hospital.reviews("kind=source_merge_conflict").len(), 1);
}

#[test]
fn case_44_nobody_merges_across_authorities_or_in_anothers() {
    let site = site();
    let hospital = Hospital::open(&site);
    let [a, b] = ["1", "2"].map(somebody);
    let abroad = patient("LIS", "71").name("聂海胜").born("1964-10-13").sex("M");
    hospital.register_all(&[&a, &b, &abroad]);
    let (told, links) = (hospital.told(), hospital.links());
    hospital.refuse("his", "A40", &[a.pid(), abroad.mrg()]);
    hospital.refuse("his", "A40", &[abroad.pid(), a.mrg()]);
    hospital.refuse("lis", "A40", &[abroad.pid(), a.mrg()]);
    for trigger in ["A40", "A18", "A34", "A39"] {
        hospital.refuse("lis", trigger, &[a.pid(), b.mrg()]);
    }
    hospital.refuse("emr", "A43", &[a.pid(), b.mrg()]);
    assert_eq!((hospital.told(), hospital.links()), (told, links));
}

#[test]
fn case_53_the_merges_of_older_systems_are_merges() {
    let site = site();
    let hospital = Hospital::open(&site);
    for (index, trigger) in ["A18", "A30", "A34", "A36", "A39"].into_iter().enumerate() {
        let (a, b) = (somebody(&format!("A{index}")), somebody(&format!("B{}", index + 5)));
        hospital.register_all(&[&a, &b]);
        hospital.admit(&a, &format!("V{index}"));
        let (retired, survivor) = (hospital.one_id(&a), hospital.one_id(&b));
        hospital.accept("his", trigger, &[b.pid(), a.mrg()]);
        assert_eq!(hospital.one_id(&a), survivor, "{trigger}");
        assert_eq!(hospital.person(&retired)["merged_into"], survivor.as_str(), "{trigger}");
        assert_eq!(hospital.visits(&survivor), [format!("his:V{index}")], "{trigger}");
        assert_eq!(hospital.events("patient.merged").len(), index + 1, "{trigger}");
    }
    // A35 and A41 merge two accounts of one patient: nobody becomes anybody else.
    for (index, trigger) in ["A35", "A41"].into_iter().enumerate() {
        let who = somebody(&format!("C{index}")).name(["鲁智深", "林黛玉"][index]).born("1999-12-31");
        let (kept, given_up) = (format!("ACC{index}1"), format!("ACC{index}2"));
        let stay = || segment("PV1", &[(2, "I"), (3, "W1")]);
        hospital.accept("his", "A01", &[who.clone().account(&kept).pid(), stay()]);
        hospital.accept("his", "A01", &[who.clone().account(&given_up).pid(), stay()]);
        let (one_id, persons) = (hospital.one_id(&who), hospital.partition());
        let merge = segment("MRG", &[(1, &who.cx()), (3, &given_up)]);
        hospital.accept("his", trigger, &[who.clone().account(&kept).pid(), merge]);
        assert_eq!(hospital.partition(), persons, "{trigger}");
        let visits = hospital.json(&format!("/v1/persons/{one_id}/visits"));
        let live: Vec<&Value> = visits["visits"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|visit| !matches!(visit["status"].as_str(), Some("cancelled" | "entered_in_error")))
            .collect();
        assert_eq!(live.len(), 1, "{trigger}: one account is one stay: {visits}");
        assert_eq!(live[0]["visit_id"], format!("his:{kept}"), "{trigger}: {visits}");
    }
    assert_eq!(hospital.events("patient.merged").len(), 5);
}

#[test]
fn a_persons_location_or_a_problem_list_is_no_identity() {
    let site = site();
    let hospital = Hospital::open(&site);
    let [a, b] = ["1", "2"].map(somebody);
    hospital.register_all(&[&a, &b]);
    let (persons, told) = (hospital.partition(), hospital.told());
    // A60: adverse reactions; A17: two patients swap beds.
    let reaction = segment("IAM", &[(1, "1"), (3, "P^青霉素")]);
    let text =
        message("ADT^A60", "X1", "20240309080000", &[segment("EVN", &[(2, "20240309080000")]), a.pid(), reaction]);
    hospital.send("his", &text);
    assert_eq!(hospital.partition(), persons);
    let bed = |bed: &str| segment("PV1", &[(2, "I"), (3, bed)]);
    hospital.tell("his", "A17", &[a.pid(), bed("W1^1^2"), b.pid(), bed("W1^1^1")]);
    assert_eq!(hospital.partition(), persons);
    assert_eq!(hospital.told().get("patient.merged"), told.get("patient.merged"));
    assert_eq!(hospital.told().get("patient.split"), told.get("patient.split"));
}
