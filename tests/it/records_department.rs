//! What the records department does with One ID: every decision says what it moved and overrules, can be taken back from where it was made,
//! and leaves cases, redirects and the feed saying what holds now.

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, column};
use crate::support::hl7::{adt, inpatient, number, person, report, resident_number, segment};
use crate::support::site::Site;

const AT: &str = "20240305080000";

/// A patient like no other: nothing but a decision brings two of them together.
fn patient(number: &str) -> String {
    let order: u16 = number.bytes().map(u16::from).sum();
    let birth = format!("19{:02}0307", 30 + order % 60);
    let name = ["王^芳", "李^强", "赵^敏", "孙^丽", "周^杰"][usize::from(order % 5)];
    let identifiers = format!("{number}^^^HIS^MR~{}^^^^NI", resident_number(&birth, order));
    person(number, name, &birth, "F", &[(3, &identifiers)])
}

/// Admits patients of these numbers, each with a visit; gives their One IDs.
fn admitted(daemon: &Daemon<'_>, numbers: &[&str]) -> Vec<String> {
    for number in numbers {
        let stay = inpatient(&format!("V-{number}"), "ICU^1^1", AT, "");
        daemon.accept("his", adt("A01", &format!("C-{number}"), AT, &[patient(number), stay]));
    }
    numbers.iter().map(|number| daemon.one_id(&format!("HIS|{number}"))).collect()
}

/// A registration of 张伟, of whom as much is equal as half a ward may share: every two of them are a case.
fn zhang(daemon: &Daemon<'_>, source: &str, system: &str, number: &str) -> String {
    let identifier = format!("{number}^^^{system}^MR");
    let pid = person("", "张^伟", "19800102", "M", &[(3, &identifier)]);
    daemon.accept(source, adt("A28", &format!("{system}{number}"), AT, &[pid]));
    daemon.one_id(&format!("{system}|{number}"))
}

fn reviews(site: &Site, state: &str) -> Vec<Value> {
    site.json(&["review", "list", "--state", state, "--json"])["reviews"].as_array().unwrap().clone()
}

/// The case about two records, whatever became of it.
fn case(site: &Site, one: &str, other: &str) -> Value {
    let all = reviews(site, "all");
    let about = |review: &&Value| [json!([one, other]), json!([other, one])].contains(&review["names"]);
    let id = all.iter().find(about).unwrap_or_else(|| panic!("{one} and {other}: {all:?}"))["id"].to_string();
    site.json(&["review", "show", &id, "--json"])
}

fn decide(site: &Site, case: &Value, decision: &str, by: &str) -> Value {
    site.json(&["review", "decide", &case["id"].to_string(), decision, "--reason", "papers", "--by", by, "--json"])
}

fn command(site: &Site, arguments: &[&str], by: &str, reason: &str) -> Value {
    let mut all = vec!["person"];
    all.extend_from_slice(arguments);
    all.extend_from_slice(&["--by", by, "--reason", reason, "--json"]);
    site.json(&all)
}

/// Who is overruled, and what it was.
fn overruled(decided: &Value) -> Vec<(&str, &str, &str)> {
    let list = decided["overruled"].as_array().unwrap_or_else(|| panic!("no list: {decided}"));
    let [decisions, by, reasons] = ["decision", "by", "reason"].map(|name| column(list, name));
    decisions.into_iter().zip(by).zip(reasons).map(|((decision, by), reason)| (decision, by, reason)).collect()
}

#[test]
fn a_case_says_what_holds_now_and_is_decided_anew_after_others_decided_elsewhere() {
    let site = Site::new();
    let daemon = site.start();
    let (one, other) = (zhang(&daemon, "his", "HIS", "P1"), zhang(&daemon, "lis", "LIS", "88"));
    let open = case(&site, "HIS|P1", "LIS|88");
    assert_eq!((&open["state"], &open["now"]), (&json!("open"), &json!("two_persons")));
    decide(&site, &open, "link", "li");
    command(&site, &["split", &other], "zhao", "two patients, seen both");
    let split = case(&site, "HIS|P1", "LIS|88");
    let said = ["state", "decided_by", "reason", "answered_by", "now"].map(|name| split[name].as_str().unwrap());
    assert_eq!(said, ["rejected", "zhao", "two patients, seen both", "split", "two_persons"]);
    let answers = split["answers"].as_array().unwrap();
    assert_eq!(column(answers, "state"), ["linked", "rejected"], "nothing that was said is lost");
    assert_eq!(column(answers, "decided_by"), ["li", "zhao"]);

    let again = decide(&site, &split, "link", "wang");
    assert_eq!(
        (&again["state"], &again["changed"], &again["now"]),
        (&json!("linked"), &json!(true), &json!("one_person"))
    );
    assert_eq!(overruled(&again), [("split", "zhao", "two patients, seen both")]);
    assert_eq!((daemon.one_id("HIS|P1"), daemon.one_id("LIS|88")), (one.clone(), one.clone()));
    let text = site.run(&["review", "show", &again["id"].to_string()]).exits(0).stdout;
    for part in ["one person's now", "zhao", "two patients, seen both", "wang"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // And once more, by hand and in the case.
    command(&site, &["unlink", "LIS|88"], "zhao", "no");
    assert_eq!(case(&site, "HIS|P1", "LIS|88")["state"], "rejected");
    command(&site, &["link", "LIS|88", &one], "wang", "yes");
    assert_eq!(case(&site, "HIS|P1", "LIS|88")["state"], "linked");
    let last = decide(&site, &again, "reject", "li");
    assert_eq!((&last["state"], overruled(&last)), (&json!("rejected"), vec![("link", "wang", "yes")]));
    assert_eq!(daemon.one_id("LIS|88"), other, "the One ID that it had");
}

#[test]
fn who_returns_has_the_former_one_id_again_whatever_led_away_from_it() {
    let site = Site::new();
    let daemon = site.start();
    let ids = admitted(&daemon, &["P1", "P2", "P3"]);
    // Taken for somebody by the laboratory's word, then found to be somebody else: it never had a One ID of its own.
    let identifiers = "88^^^LIS^MR~P1^^^HIS^MR";
    daemon.accept("lis", adt("A28", "L1", AT, &[person("", "王^芳", "", "F", &[(3, identifiers)])]));
    assert_eq!(daemon.one_id("LIS|88"), ids[0]);
    let own = command(&site, &["unlink", "LIS|88"], "li", "somebody else")["other"].as_str().unwrap().to_owned();
    for target in [&ids[1], &ids[0]] {
        command(&site, &["link", "LIS|88", target], "li", "is it this one?");
        let cursor = daemon.feed_after("start").1;
        let back = command(&site, &["unlink", "LIS|88"], "li", "no");
        assert_eq!((&back["other"], &back["revived"]), (&json!(own), &json!([own])), "{back}");
        let (events, _) = daemon.feed_after(&cursor);
        let split = events.iter().find(|event| event["type"] == "patient.split").unwrap();
        assert_eq!(split["data"]["new_one_id"], own.as_str());
        assert_eq!(daemon.json(&format!("/v1/persons/{own}"))["merged_into"], Value::Null);
    }
    // Visits follow, and who was merged into the one that returns answers as it.
    command(&site, &["merge", &ids[2], &ids[1]], "li", "one");
    command(&site, &["merge", &ids[1], &ids[0]], "li", "one");
    let back = command(&site, &["split", &ids[0], "HIS|P2", "HIS|P3"], "li", "not those");
    assert_eq!((&back["other"], &back["visits"]), (&json!(ids[1]), &json!(["his:V-P2", "his:V-P3"])));
    assert_eq!(daemon.json(&format!("/v1/persons/{}", ids[2]))["merged_into"], ids[1].as_str());
}

#[test]
fn whichever_of_two_merged_records_is_taken_away_each_has_its_own_one_id_again() {
    for taken in ["HIS|P1", "HIS|P2"] {
        let site = Site::new();
        let daemon = site.start();
        let ids = admitted(&daemon, &["P1", "P2"]);
        command(&site, &["merge", &ids[1], &ids[0]], "li", "one");
        let back = command(&site, &["unlink", taken], "li", "two");
        assert_eq!((&back["one_id"], &back["other"], &back["changed"]), (&json!(ids[0]), &json!(ids[1]), &json!(true)));
        assert_eq!((daemon.one_id("HIS|P1"), daemon.one_id("HIS|P2")), (ids[0].clone(), ids[1].clone()), "{taken}");
        assert_eq!(column(&daemon.visits("HIS|P1"), "visit_id"), ["his:V-P1"]);
        assert_eq!(command(&site, &["unlink", taken], "li", "two")["changed"], false);
    }
}

#[test]
fn a_retired_one_id_answers_as_whoever_has_its_records() {
    let site = Site::new();
    let daemon = site.start();
    let ids = admitted(&daemon, &["P1", "P2", "P3", "P4"]);
    let answers = |one_id: &str| daemon.json(&format!("/v1/persons/{one_id}"))["one_id"].as_str().unwrap().to_owned();
    // P3 into P2 into P1; then P2 alone returns: what P3 had stays with P1.
    command(&site, &["merge", &ids[2], &ids[1]], "li", "one");
    command(&site, &["merge", &ids[1], &ids[0]], "li", "one");
    command(&site, &["split", &ids[0], "HIS|P2"], "li", "only this");
    assert_eq!((answers(&ids[1]), answers(&ids[2])), (ids[1].clone(), ids[0].clone()));
    assert_eq!(daemon.one_id("HIS|P3"), ids[0]);
    // The record of P3 goes on to P4: so does its One ID, and consumers are told.
    let cursor = daemon.feed_after("start").1;
    command(&site, &["link", "HIS|P3", &ids[3]], "li", "this one");
    assert_eq!(answers(&ids[2]), ids[3]);
    let (events, _) = daemon.feed_after(&cursor);
    let split = events.iter().find(|event| event["type"] == "patient.split").unwrap();
    assert_eq!(split["data"]["basis"]["redirected"], json!([ids[2]]), "{split}");
    let back = command(&site, &["unlink", "HIS|P3"], "li", "no");
    assert_eq!((&back["other"], answers(&ids[2])), (&json!(ids[2]), ids[2].clone()));
    assert_eq!(column(&daemon.visits("HIS|P3"), "visit_id"), ["his:V-P3"]);
}

#[test]
fn a_number_of_two_patients_is_named_with_its_generation() {
    let site = Site::new();
    let daemon = site.start();
    let other = admitted(&daemon, &["P9"]).remove(0);
    let of = |name: &str, birth: &str, order: u16, id: &str, at: &str| {
        let identifiers = format!("P1^^^HIS^MR~{}^^^^NI", resident_number(birth, order));
        let pid = person("", name, birth, "M", &[(3, &identifiers)]);
        daemon.accept("his", adt("A01", id, at, &[pid, inpatient(&format!("V{id}"), "ICU^1^1", at, "")]));
    };
    of("钱^伟", "19500101", 11, "1", AT);
    let former = daemon.one_id("HIS|P1");
    of("吴^刚", "19990909", 13, "2", "20260305080000");
    let shown = site.json(&["person", "find", "HIS|P1", "--json"]);
    assert_eq!(shown["persons"].as_array().unwrap().len(), 2);
    assert_eq!(daemon.one_id("HIS|P1#1"), former);
    assert_eq!(site.json(&["person", "find", "HIS|P1#1", "--json"])["persons"][0]["one_id"], former.as_str());
    for verb in [&["link", "HIS|P1", &other][..], &["unlink", "HIS|P1"]] {
        let refused = site.run(&[&["person"], verb, &["--reason", "which?"]].concat()).exits(1).stderr;
        assert!(refused.contains("HIS|P1#1") && refused.contains("HIS|P1#2"), "{refused}");
    }
    let linked = command(&site, &["link", "HIS|P1#1", &other], "li", "the one before");
    assert_eq!((&linked["records"], &linked["visits"]), (&json!(["HIS|P1#1"]), &json!(["his:V1"])));
    assert_eq!(linked["retired"], json!([former]));
    let records = site.token("archive", "records");
    let body = json!({"records": ["HIS|P1#1"], "reason": "no"}).to_string();
    let split = daemon.http("POST", &format!("/v1/persons/{other}/split"), &records, body.as_bytes()).ok().json();
    assert_eq!((&split["other"], &split["records"]), (&json!(former), &json!(["HIS|P1#1"])));
    site.run(&["person", "link", "HIS|P1#3", &other, "--reason", "which?"]).exits(1);
    let explained = site.run(&["person", "explain", &former, "HIS|P1"]).exits(0).stdout;
    assert!(explained.contains("HIS|P1#1 of his") && explained.contains("HIS|P1#2 of his"), "{explained}");
    let listed = site.run(&["person", "links"]).exits(0).stdout;
    assert!(listed.contains("P1#2"), "{listed}");
    assert!(site.run(&["review", "list"]).exits(0).stdout.contains("HIS|P1#1"));
}

#[test]
fn whoever_overrules_a_decision_is_told_whose_it_was() {
    let site = Site::new();
    let daemon = site.start();
    let ids = admitted(&daemon, &["P1", "P2"]);
    let clean = command(&site, &["merge", &ids[1], &ids[0]], "li", "one patient");
    assert_eq!(overruled(&clean), []);
    let split = command(&site, &["split", &ids[1]], "zhao", "two patients");
    assert_eq!(overruled(&split), [("merge", "li", "one patient")]);
    let text = site.run(&["person", "merge", &ids[1], &ids[0], "--reason", "one after all"]).exits(0).stdout;
    assert!(text.contains("overruled") && text.contains("zhao") && text.contains("two patients"), "{text}");
    command(&site, &["split", &ids[1]], "zhao", "no");
    // The same over HTTP, where who decides is the token's name.
    let records = site.token("archive", "records");
    let body = json!({"into": ids[0], "reason": "one"}).to_string();
    let merged = daemon.http("POST", &format!("/v1/persons/{}/merge", ids[1]), &records, body.as_bytes()).ok().json();
    assert_eq!(overruled(&merged), [("split", "zhao", "no")]);
    assert!(merged["overruled"][0]["at"].as_str().unwrap().ends_with('Z'));
    let body = json!({"reason": "two"}).to_string();
    let parted = daemon.http("POST", &format!("/v1/persons/{}/split", ids[1]), &records, body.as_bytes()).ok().json();
    assert_eq!(overruled(&parted), [("merge", "archive", "one")]);
    // What a source has said is overruled as well: A37.
    daemon.accept("his", adt("A37", "M1", "20240306080000", &[patient("P1"), patient("P2")]));
    let (one, other) = (zhang(&daemon, "his", "HIS", "Q1"), zhang(&daemon, "lis", "LIS", "88"));
    decide(&site, &case(&site, "HIS|Q1", "LIS|88"), "reject", "li");
    let merged = command(&site, &["merge", &other, &one], "wang", "one");
    assert_eq!(overruled(&merged), [("reject", "li", "papers")]);
    assert_eq!(merged["overruled"][0]["review"], case(&site, "HIS|Q1", "LIS|88")["id"]);
    assert_eq!(merged["reviews"], json!([case(&site, "HIS|Q1", "LIS|88")["id"]]));
}

#[test]
fn a_model_that_is_not_switched_asks_nothing_however_often_it_is_asked() {
    let site = Site::new();
    let daemon = site.start();
    // Each is new or linked as the town was then; by now the name is common.
    for place in 0..30 {
        let name = if place % 3 == 0 { "欧阳^雪" } else { "上官^云" };
        let (birth, phone) = (format!("19{}0102", 40 + place / 2), format!("1390000{:04}", place / 2));
        let (source, system) = if place % 2 == 0 { ("his", "HIS") } else { ("lis", "LIS") };
        let identifier = format!("{place}^^^{system}^MR");
        let pid = person("", name, &birth, "F", &[(3, &identifier), (13, &phone)]);
        daemon.accept(source, adt("A28", &format!("C{place}"), AT, &[pid]));
    }
    let before = reviews(&site, "all").len();
    for _ in 0..2 {
        let told = site.json(&["identity", "rescore", "--json"]);
        assert_eq!(
            (&told["opened"], &told["records"], &told["unchanged"]),
            (&json!(0), &json!(30), &json!(30)),
            "{told}"
        );
        assert_eq!(reviews(&site, "all").len(), before);
    }
    assert!(site.run(&["identity", "rescore"]).exits(0).stdout.contains("judged by default-1 before"));
    // Switched, it looks; asked again, it has looked.
    site.write("config/identity.toml", "version = \"bolder\"\n[decide]\nlink = 0.9\nprior_alone = -18.0");
    assert_eq!(site.json(&["identity", "rescore", "--json"])["unchanged"], 0);
    let told = site.json(&["identity", "rescore", "--json"]);
    assert_eq!((&told["opened"], &told["unchanged"]), (&json!(0), &json!(30)), "{told}");
}

#[test]
fn a_case_that_other_answers_imply_is_closed_by_them_and_opened_with_them() {
    let site = Site::new();
    let daemon = site.start();
    for (source, system, number) in [("his", "HIS", "A"), ("lis", "LIS", "B"), ("lis", "LIS", "C")] {
        zhang(&daemon, source, system, number);
    }
    let third = || case(&site, "HIS|A", "LIS|C");
    let (first, second) = (case(&site, "HIS|A", "LIS|B"), case(&site, "LIS|B", "LIS|C"));
    decide(&site, &first, "link", "li");
    assert_eq!(third()["state"], "open");
    let told = decide(&site, &second, "link", "zhao");
    assert_eq!(told["reviews"], json!([third()["id"]]), "{told}");
    let said = ["state", "decided_by", "answered_by"].map(|name| third()[name].as_str().unwrap().to_owned());
    assert_eq!(said, ["linked", "zhao", "link"]);
    assert!(reviews(&site, "open").is_empty());
    // C is another patient: than A as well.
    decide(&site, &second, "reject", "wang");
    assert_eq!((&third()["state"], &third()["decided_by"]), (&json!("rejected"), &json!("wang")));
    assert!(reviews(&site, "open").is_empty());
}

#[test]
fn two_that_are_one_and_one_that_is_not_answer_the_third_question() {
    let site = Site::new();
    let daemon = site.start();
    for (source, system, number) in [("his", "HIS", "A"), ("lis", "LIS", "B"), ("lis", "LIS", "C")] {
        zhang(&daemon, source, system, number);
    }
    let third = || case(&site, "HIS|A", "LIS|C");
    let (first, second) = (case(&site, "HIS|A", "LIS|B"), case(&site, "LIS|B", "LIS|C"));
    decide(&site, &first, "link", "li");
    decide(&site, &second, "reject", "zhao");
    assert_eq!((&third()["state"], &third()["answered_by"]), (&json!("rejected"), &json!("reject")));
    // Its ground is gone: nobody has said that A and C are two.
    decide(&site, &first, "reject", "wang");
    assert_eq!((&third()["state"], &third()["answered_by"]), (&json!("open"), &Value::Null));
    assert_eq!(reviews(&site, "open").len(), 1);
    let answers = third()["answers"].clone();
    assert_eq!(column(answers.as_array().unwrap(), "state"), ["rejected", "open"]);
}

#[test]
fn a_link_that_a_rule_would_not_make_is_made_with_a_warning_and_the_way_back() {
    let site = Site::new();
    let daemon = site.start();
    let ids = admitted(&daemon, &["P1"]);
    let identifiers = format!("88^^^LIS^MR~{}^^^^NI", resident_number("19770707", 3));
    let pid = person("", "钱^伟", "19770707", "M", &[(3, &identifiers)]);
    daemon.accept("lis", adt("A28", "L1", AT, &[pid]));
    let own = daemon.one_id("LIS|88");
    let linked = command(&site, &["link", "LIS|88", &ids[0]], "li", "seen");
    let mut warned = column(linked["warnings"].as_array().unwrap(), "veto");
    warned.sort_unstable();
    for veto in ["different_resident_id", "other_sex", "other_birth_date", "names_disagree"] {
        assert!(warned.contains(&veto), "{veto} in {linked}");
    }
    assert_eq!(linked["warnings"][0]["records"], json!(["LIS|88", "HIS|P1"]));
    assert_eq!(
        (daemon.one_id("LIS|88"), &linked["take_back"]),
        (ids[0].clone(), &json!("heyi person unlink 'LIS|88'"))
    );
    command(&site, &["unlink", "LIS|88"], "li", "no");
    assert_eq!(daemon.one_id("LIS|88"), own);
    let text = site.run(&["person", "merge", &own, &ids[0], "--reason", "seen"]).exits(0).stdout;
    assert!(text.contains("warning") && text.contains("different_resident_id"), "{text}");
    assert!(text.contains(&format!("heyi person split {own}")), "{text}");
}

#[test]
fn decisions_and_histories_are_told_in_words_and_local_time() {
    let site = Site::new();
    let daemon = site.start();
    let ids = admitted(&daemon, &["P1", "P2"]);
    daemon.accept("lis", report("L1", "20240305110000", "P2", "F2", "F", &[number("K", "4.0", "mmol/L", "", "", "F")]));
    let text = site.run(&["person", "merge", &ids[1], &ids[0], "--reason", "two cards", "--by", "li"]).exits(0).stdout;
    for part in ["HIS|P2", "his:V-P2", "lis:F2", "retired", &ids[1], "take back"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let mut shell = site.command(&["person", "history", &ids[0]]);
    shell.env("TZ", "Asia/Shanghai");
    let text = crate::support::site::finish(shell, b"", "history").exits(0).stdout;
    for part in ["+08:00", "merge by li: two cards", "1 visit and 1 report", "is retired and answers as", "message"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains('{') && !text.contains("00Z"), "{text}");
    let history = site.json(&["person", "history", &ids[0], "--json"])["history"].clone();
    assert!(history[0]["at"].as_str().unwrap().ends_with('Z') && history[0]["basis"].is_object(), "{history}");
}

#[test]
fn who_knows_only_a_phone_is_shown_whom_it_may_be() {
    let site = Site::new();
    let daemon = site.start();
    let pid = person("P1", "张^伟", "19800102", "M", &[(13, "13912345678")]);
    daemon.accept("his", adt("A28", "C1", AT, &[pid]));
    let phones = json!([{"value": "139 1234 5678"}]);
    for (record, grade) in
        [(json!({"phones": phones}), "possible"), (json!({"name": "张伟", "phones": phones}), "certain")]
    {
        let answer =
            daemon.http("POST", "/v1/persons/match", site.engineer(), record.to_string().as_bytes()).ok().json();
        let found = &answer["candidates"];
        assert_eq!((found.as_array().unwrap().len(), &found[0]["grade"]), (1, &json!(grade)), "{record} {answer}");
        assert_eq!(found[0]["one_id"], daemon.one_id("HIS|P1").as_str());
        let table = site.run_with(&["person", "find", "--match", "-"], record.to_string().as_bytes()).exits(0).stdout;
        assert!(table.contains(grade), "{table}");
    }
    let other = json!({"name": "王芳", "phones": phones}).to_string();
    let answer = daemon.http("POST", "/v1/persons/match", site.engineer(), other.as_bytes()).ok().json();
    assert!(answer["candidates"].as_array().unwrap().iter().all(|found| found["grade"] != "certain"), "{answer}");
}

#[test]
fn a_merge_before_its_patients_that_turns_out_to_be_of_two_is_asked_about() {
    for with_numbers in [true, false] {
        let site = Site::new();
        let daemon = site.start();
        let bare = |number: &str| segment("PID", &[(3, &format!("{number}^^^HIS^MR"))]);
        daemon.accept("his", adt("A40", "M1", AT, &[bare("P1"), segment("MRG", &[(1, "P2^^^HIS^MR")])]));
        let said = |number: &str, name: &str, birth: &str, order: u16| {
            let resident =
                if with_numbers { format!("~{}^^^^NI", resident_number(birth, order)) } else { String::new() };
            let identifiers = format!("{number}^^^HIS^MR{resident}");
            let pid = person("", name, birth, "M", &[(3, &identifiers)]);
            daemon.accept("his", adt("A28", &format!("C{number}"), "20240306080000", &[pid]));
        };
        said("P1", "钱^伟", "19500101", 11);
        assert!(reviews(&site, "open").is_empty());
        // Not to the survivor, as any message for a number that was given up: what is said first under it tells who it is.
        said("P2", "吴^刚", "19990909", 13);
        let open = reviews(&site, "open");
        assert_eq!(open.len(), 1, "with numbers {with_numbers}: {open:?}");
        assert_eq!((&open[0]["kind"], &open[0]["now"]), (&json!("source_merge_conflict"), &json!("one_person")));
        assert_eq!(daemon.one_id("HIS|P1"), daemon.one_id("HIS|P2"), "merged, as the source says");
        let parted = decide(&site, &open[0], "reject", "li");
        assert_eq!((&parted["state"], &parted["now"]), (&json!("rejected"), &json!("two_persons")), "{parted}");
        assert_ne!(daemon.one_id("HIS|P1"), daemon.one_id("HIS|P2"));
    }
}

#[test]
fn every_decision_is_taken_back_by_the_command_that_it_names() {
    let site = Site::new();
    let daemon = site.start();
    let ids = admitted(&daemon, &["P1", "P2", "P3"]);
    for (source, system, number) in [("his", "HIS", "A"), ("lis", "LIS", "B"), ("lis", "LIS", "C")] {
        zhang(&daemon, source, system, number);
    }
    let links = || {
        let all = site.json(&["person", "links", "--json"])["links"].clone();
        let row = |row: &Value| (row["identifier"].to_string(), row["one_id"].as_str().unwrap().to_owned());
        all.as_array().unwrap().iter().map(row).collect::<Vec<_>>()
    };
    let taken_back = |arguments: &[&str]| {
        let before = links();
        let run = |arguments: &[&str]| site.json(&[arguments, &["--reason", "why", "--by", "li", "--json"]].concat());
        let decided = run(arguments);
        assert_ne!(links(), before, "{arguments:?}: {decided}");
        let command = decided["take_back"].as_str().unwrap_or_else(|| panic!("no way back: {decided}"));
        let words: Vec<&str> = command.split(' ').map(|word| word.trim_matches('\'')).collect();
        assert_eq!(words[0], "heyi");
        assert_eq!(run(&words[1..])["changed"], true, "{command}");
        assert_eq!(links(), before, "{arguments:?}, taken back by {command}");
    };
    let one = case(&site, "HIS|A", "LIS|B")["id"].to_string();
    taken_back(&["person", "merge", &ids[0], &ids[1]]);
    taken_back(&["person", "link", "HIS|P1", &ids[1]]);
    taken_back(&["review", "decide", &one, "link"]);
    site.run(&["person", "merge", &ids[1], &ids[0], "--reason", "one"]).exits(0);
    for decision in [
        &["person", "split", &ids[1]][..],
        &["person", "split", &ids[0], "HIS|P2"],
        &["person", "split", &ids[0], "HIS|P1"],
        &["person", "unlink", "HIS|P1"],
        &["person", "unlink", "HIS|P2"],
        &["person", "link", "HIS|P2", &ids[2]],
    ] {
        taken_back(decision);
    }
    // The younger One ID lives on, and does so again.
    let (a, b) = (daemon.one_id("HIS|A"), daemon.one_id("LIS|B"));
    site.run(&["person", "merge", &a, &b, "--reason", "one"]).exits(0);
    taken_back(&["review", "decide", &one, "reject"]);
    assert_eq!(case(&site, "HIS|A", "LIS|B")["state"], "linked");
}

#[test]
fn a_question_about_one_record_moves_that_record_and_not_whom_a_decision_keeps_apart() {
    let site = Site::new();
    let daemon = site.start();
    let ids = admitted(&daemon, &["P1", "P2"]);
    command(&site, &["merge", &ids[1], &ids[0]], "li", "one");
    // After the merge comes a record that names a number of P1 beside its own.
    let identifiers = "Q9^^^HIS^MR~P1^^^HIS^MR";
    daemon.accept("his", adt("A28", "C9", "20240306080000", &[person("", "王^芳", "", "F", &[(3, identifiers)])]));
    assert_eq!(daemon.one_id("HIS|Q9"), ids[0]);
    command(&site, &["split", &ids[1]], "zhao", "two");
    let asked = case(&site, "HIS|Q9", "HIS|P2");
    assert_eq!(
        (&asked["state"], daemon.one_id("HIS|Q9")),
        (&json!("open"), ids[0].clone()),
        "it stays until somebody says"
    );
    let moved = decide(&site, &asked, "link", "wang");
    assert_eq!((&moved["state"], &moved["moved"]), (&json!("linked"), &json!(["HIS|Q9"])), "{moved}");
    let rows = site.json(&["person", "links", "--json"])["links"].clone();
    let now: Vec<String> = column(rows.as_array().unwrap(), "one_id").into_iter().map(str::to_owned).collect();
    assert_eq!(now, [&ids[0], &ids[1], &ids[1]].map(Clone::clone), "zhao's decision stands");
    assert_eq!(overruled(&moved), []);
}

#[test]
fn over_http_what_is_said_again_changes_nothing_and_who_is_retired_is_answered_by_the_survivor() {
    let site = Site::new();
    let daemon = site.start();
    let ids = admitted(&daemon, &["P1", "P2"]);
    let records = site.token("archive", "records");
    let post = |token: &str, one_id: &str, verb: &str, body: Value| {
        daemon.http("POST", &format!("/v1/persons/{one_id}/{verb}"), token, body.to_string().as_bytes())
    };
    let (merge, split) = (json!({"into": ids[0], "reason": "one"}), json!({"reason": "two"}));
    for role in ["consumer", "auditor"] {
        let token = site.token(role, role);
        post(&token, &ids[1], "merge", merge.clone()).problem(403);
        post(&token, &ids[1], "split", split.clone()).problem(403);
    }
    post(&records, "01ARZ3NDEKTSV4RRFFQ69G5FAV", "split", split.clone()).problem(404);
    post(&records, &ids[1], "merge", json!({"into": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "reason": "one"})).problem(404);
    post(&records, &ids[1], "split", json!({"records": []})).problem(400);
    for changed in [true, false] {
        let answer = post(&records, &ids[1], "merge", merge.clone()).ok().json();
        assert_eq!((&answer["changed"], &answer["one_id"]), (&json!(changed), &json!(ids[0])), "{answer}");
    }
    assert_eq!(daemon.json(&format!("/v1/persons/{}", ids[1]))["merged_into"], ids[0].as_str());
    for changed in [true, false] {
        let answer = post(&records, &ids[1], "split", split.clone()).ok().json();
        assert_eq!(answer["changed"], changed, "{answer}");
    }
    assert_eq!(daemon.one_id("HIS|P2"), ids[1]);
}
