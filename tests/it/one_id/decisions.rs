//! Reviews and what people decide: listed, shown, decided, kept, undone, explained.

use serde_json::{Value, json};

use super::hospital::{Hospital, Patient, contains, id_of, identifier, patient, site};
use crate::support::hl7::resident_number;

/// Twins: a review that always is one.
fn twins(hospital: &Hospital<'_>, index: usize) -> (Patient, Patient) {
    let surname = ["林", "宋", "唐", "许"][index];
    let child = |system: &str, number: String, name: &str| {
        patient(system, &number)
            .name(&format!("{surname}{name}"))
            .born(&format!("201{index}-04-09"))
            .sex("M")
            .phone(&format!("1390007100{index}"))
            .address(&format!("花园里{index}号楼"))
    };
    let (one, other) = (child("HIS", format!("T{index}"), "子涵"), child("EMR", format!("E{index}"), "子轩"));
    hospital.register_all(&[&one, &other]);
    (one, other)
}

#[test]
fn a_review_is_listed_shown_and_decided_by_command_and_over_http() {
    let site = site();
    let hospital = Hospital::open(&site);
    let (one, other) = twins(&hospital, 0);
    let review = hospital.expect_review(&one, &other);
    let id = id_of(&review);
    let listed = site.json(&["review", "list", "--json"]);
    assert_eq!(listed["reviews"], json!([review]), "the command and the interface say the same");
    let kind = review["kind"].as_str().unwrap();
    assert_eq!(site.json(&["review", "list", "--json", "--kind", kind])["reviews"].as_array().map(Vec::len), Some(1));
    assert_eq!(site.json(&["review", "list", "--json", "--kind", "quarantine"])["reviews"], json!([]));
    let shown = site.json(&["review", "show", &id, "--json"]);
    assert_eq!((&shown["id"], &shown["kind"]), (&review["id"], &review["kind"]), "{shown}");
    assert_eq!(hospital.json(&format!("/v1/reviews/{id}"))["id"], review["id"]);
    // A decision has a reason.
    site.run(&["review", "decide", &id, "reject"]).exits(2);
    let bare = hospital.http("POST", &format!("/v1/reviews/{id}"), &json!({"decision": "reject"}));
    assert!((400..500).contains(&bare.status), "{}", bare.text());
    assert_eq!(hospital.open_reviews().len(), 1);
    // Only the records department decides.
    let engineer = hospital.daemon.http(
        "POST",
        &format!("/v1/reviews/{id}"),
        site.engineer(),
        json!({"decision": "link", "reason": "x"}).to_string().as_bytes(),
    );
    assert_eq!(engineer.status, 403, "{}", engineer.text());
    site.run(&["review", "decide", &id, "reject", "--reason", "twins, seen both", "--by", "Dr. Lin"]).exits(0);
    hospital.expect_apart_without_review(&one, &other);
    let decided = hospital.reviews("state=decided");
    assert_eq!(decided.len(), 1, "{decided:?}");
    let said = ["state", "reason", "decided_by"].map(|name| &decided[0][name]);
    assert_eq!(said, ["rejected", "twins, seen both", "Dr. Lin"], "{decided:?}");
    assert_eq!(hospital.reviews("state=all").len(), 1);
    // Sticky: the same words again ask nothing again.
    hospital.register_all(&[&one, &other]);
    hospital.expect_apart_without_review(&one, &other);
}

#[test]
fn a_review_that_is_linked_makes_one_person_by_hand_and_tells_it() {
    let site = site();
    let hospital = Hospital::open(&site);
    let (one, other) = twins(&hospital, 1);
    hospital.admit(&one, "V1");
    hospital.result(&other, "F1", "");
    let review = hospital.expect_review(&one, &other);
    hospital.post(
        &format!("/v1/reviews/{}", id_of(&review)),
        &json!({"decision": "link", "reason": "one child under two spellings"}),
    );
    hospital.expect_linked(&one, &other);
    let one_id = hospital.one_id(&one);
    assert!(hospital.links().iter().any(|row| row.link == "manual"), "{:?}", hospital.links());
    assert_eq!(hospital.events("patient.merged").len(), 1);
    let owners = hospital.told_owners();
    assert_eq!((owners.get("his:V1"), owners.get("lis:F1")), (Some(&one_id), Some(&one_id)));
    // Sticky, and yet reversible.
    hospital.register_all(&[&one, &other]);
    hospital.expect_linked(&one, &other);
    hospital.command(&["unlink", &other.record(), "--reason", "they are twins after all"]);
    hospital.expect_apart_without_review(&one, &other);
    assert_eq!(hospital.events("patient.split").len(), 1);
    hospital.register_all(&[&one, &other]);
    hospital.expect_two(&one, &other);
}

#[test]
fn a_review_follows_its_persons_when_they_are_merged() {
    let site = site();
    let hospital = Hospital::open(&site);
    let (one, other) = twins(&hospital, 2);
    let review = hospital.expect_review(&one, &other);
    let elsewhere = patient("HIS", "X").name("欧阳修远").born("1931-01-01").sex("F");
    hospital.register(&elsewhere);
    hospital.merge(&elsewhere, &one);
    let after = hospital.json(&format!("/v1/reviews/{}", id_of(&review)));
    assert_eq!(after["state"], "open", "{after}");
    for patient in [&elsewhere, &other] {
        assert!(contains(&after["persons"], &hospital.one_id(patient)), "{after}");
    }
}

#[test]
fn persons_are_merged_and_split_over_http() {
    let site = site();
    let hospital = Hospital::open(&site);
    let one = patient("HIS", "1").name("秦怀玉").born("1951-02-03").sex("M");
    let other = patient("EMR", "E1").name("窦文涛").born("1968-05-06").sex("M");
    hospital.admit(&one, "V1");
    hospital.register(&other);
    let (first, second) = (hospital.one_id(&one), hospital.one_id(&other));
    let no_reason = hospital.http("POST", &format!("/v1/persons/{first}/merge"), &json!({"into": second}));
    assert!((400..500).contains(&no_reason.status), "{}", no_reason.text());
    let itself =
        hospital.http("POST", &format!("/v1/persons/{first}/merge"), &json!({"into": first, "reason": "a slip"}));
    assert!((400..500).contains(&itself.status), "{}", itself.text());
    hospital.expect_two(&one, &other);
    hospital.post(&format!("/v1/persons/{first}/merge"), &json!({"into": second, "reason": "one patient"}));
    assert_eq!((hospital.one_id(&one), hospital.one_id(&other)), (second.clone(), second.clone()));
    assert_eq!(hospital.person(&first)["merged_into"], second.as_str());
    assert_eq!(hospital.told_owners()["his:V1"], second);
    hospital.post(&format!("/v1/persons/{second}/split"), &json!({"records": ["HIS|1"], "reason": "two after all"}));
    assert_eq!((hospital.one_id(&one), hospital.one_id(&other)), (first.clone(), second));
    assert_eq!(hospital.told_owners()["his:V1"], first);
    let unknown =
        hospital.http("POST", &format!("/v1/persons/{first}/split"), &json!({"records": ["HIS|9"], "reason": "x"}));
    assert!((400..500).contains(&unknown.status), "{}", unknown.text());
}

#[test]
fn a_question_is_answered_with_graded_candidates_and_an_explanation() {
    let site = site();
    let hospital = Hospital::open(&site);
    let number = resident_number("19770525", 19);
    let known =
        patient("HIS", "1").name("钟离慕白").born("1977-05-25").sex("M").phone("13900007201").resident_id(&number);
    let stranger = patient("HIS", "2").name("赫连勃勃").born("1999-01-31").sex("F").phone("13900007202");
    hospital.register_all(&[&known, &stranger]);
    let one_id = hospital.one_id(&known);
    let (told, links) = (hospital.told(), hospital.links());
    let probe = json!({
        "name": "钟离慕白", "birth_date": "1977-05-25", "sex": "male",
        "identifiers": [identifier("resident_id", &number)], "phones": [{"value": "13900007201"}],
    });
    let found = hospital.candidates(&probe);
    assert_eq!(found[0]["one_id"], one_id.as_str(), "{found:?}");
    assert_eq!(found[0]["grade"], "certain", "{found:?}");
    assert!(found[0]["probability"].as_f64().is_some_and(|share| share > 0.999), "{found:?}");
    let evidence = found[0]["evidence"].to_string();
    assert!(evidence.contains("name") && evidence.contains("birth_date"), "{evidence}");
    assert!(!found.iter().any(|candidate| candidate["one_id"] == hospital.one_id(&stranger).as_str()), "{found:?}");
    let nobody = hospital.candidates(&json!({"name": "呼延灼华", "birth_date": "1944-04-04", "sex": "female"}));
    assert_eq!(nobody, Vec::<Value>::new());
    let twin =
        json!({"name": "钟离慕青", "birth_date": "1977-05-25", "sex": "male", "phones": [{"value": "13900007201"}]});
    assert!(hospital.candidates(&twin).iter().all(|candidate| candidate["grade"] != "certain"));
    assert_eq!((hospital.told(), hospital.links()), (told, links), "a question changes nothing");
    // The same for what was decided, and for who lost.
    let again = known.at("LIS", "71");
    hospital.register(&again);
    let own = site.json(&["person", "explain", &one_id, &again.record(), "--json"]);
    let text = own.to_string();
    assert!(text.contains("name") && text.contains("birth_date") && text.contains("model"), "{own}");
    let lost = site.json(&["person", "explain", &hospital.one_id(&stranger), &again.record(), "--json"]);
    assert!(lost.is_object(), "{lost}");
    site.run(&["person", "explain", &one_id, "LIS|404"]).exits(1);
}
