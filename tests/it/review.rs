//! Doubtful matches: they are asked about, somebody decides, and another decision takes it back; every match can be explained.

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, column};
use crate::support::hl7::{adt, inpatient, person, pid, registration, resident_number};
use crate::support::http::query;
use crate::support::site::Site;

/// A registration at the laboratory's own authority; `more` adds fields to PID.
fn at_lis(id: &str, number: &str, name: &str, birth: &str, more: &[(usize, &str)]) -> String {
    let identifier = format!("{number}^^^LIS^MR");
    let mut fields = vec![(3, identifier.as_str())];
    fields.extend_from_slice(more);
    adt("A28", id, "20240305090000", &[person("", name, birth, "M", &fields)])
}

/// `HIS|P1` with a visit, and `LIS|88`, of whom as much is equal as half a ward may share.
fn two_alike(daemon: &Daemon<'_>) -> (String, String) {
    let at = "20240305080000";
    daemon.accept("his", adt("A01", "C1", at, &[pid("P1", "张^伟"), inpatient("V1", "ICU^1^1", at, "")]));
    daemon.accept("lis", at_lis("L1", "88", "张^伟", "19800102", &[]));
    (daemon.one_id("HIS|P1"), daemon.one_id("LIS|88"))
}

fn reviews(site: &Site, filter: &[&str]) -> Vec<Value> {
    let mut arguments = vec!["review", "list", "--json"];
    arguments.extend_from_slice(filter);
    let listed = site.json(&arguments);
    listed["reviews"].as_array().unwrap_or_else(|| panic!("no reviews: {listed}")).clone()
}

/// The number of the one open case about these two records, in any order.
fn about(site: &Site, one: &str, other: &str) -> String {
    let pair = |review: &&Value| {
        let records = review["records"].as_array().unwrap();
        [one, other].iter().all(|record| records.iter().any(|named| named == record))
    };
    let open = reviews(site, &[]);
    open.iter().find(pair).unwrap_or_else(|| panic!("{one} and {other}: {open:?}"))["id"].to_string()
}

fn decide(site: &Site, id: &str, decision: &str, by: &str) -> Value {
    site.json(&["review", "decide", id, decision, "--reason", "looked at the papers", "--by", by, "--json"])
}

fn kinds_after(daemon: &Daemon<'_>, cursor: &str) -> (Vec<String>, Vec<Value>) {
    let (events, _) = daemon.feed_after(cursor);
    (column(&events, "type").into_iter().map(str::to_owned).collect(), events)
}

fn end(daemon: &Daemon<'_>) -> String {
    daemon.feed_after("start").1
}

#[test]
fn a_doubtful_match_is_asked_about_decided_and_the_decision_taken_back() {
    let site = Site::new();
    let daemon = site.start();
    let (one, other) = two_alike(&daemon);
    assert_ne!(one, other, "a name and a birth date are not enough");
    let open = reviews(&site, &[]);
    assert_eq!(open.len(), 1, "{open:?}");
    let id = open[0]["id"].to_string();
    assert_eq!((open[0]["kind"].as_str(), open[0]["state"].as_str()), (Some("possible_match"), Some("open")));
    assert_eq!(open[0]["records"], json!(["HIS|P1", "LIS|88"]));
    assert_eq!(open[0]["persons"], json!([one, other]));
    let probability = open[0]["probability"].as_f64().unwrap();
    assert!((0.5..0.999).contains(&probability), "{open:?}");
    // Nobody has looked: one visit waits.
    assert!((open[0]["rank"].as_f64().unwrap() - 2.0 * probability).abs() < 1e-9, "{open:?}");

    let cursor = end(&daemon);
    let linked = decide(&site, &id, "link", "li");
    assert_eq!(
        (&linked["state"], &linked["decided_by"], &linked["changed"]),
        (&json!("linked"), &json!("li"), &json!(true))
    );
    assert_eq!(
        (daemon.one_id("HIS|P1"), daemon.one_id("LIS|88")),
        (one.clone(), one.clone()),
        "the older One ID lives on"
    );
    assert_eq!(linked["persons"], json!([one, one]), "as they are now");
    let (kinds, events) = kinds_after(&daemon, &cursor);
    assert_eq!(kinds, ["patient.merged"], "the laboratory's record has no visit to move");
    let data = &events[0]["data"];
    assert_eq!((&data["retired"], &data["cause"]), (&json!([other]), &json!("manual")));
    assert_eq!(data["basis"]["reason"], "looked at the papers");
    let links = site.json(&["person", "links", "--json"]);
    let kinds = links["links"].as_array().unwrap().clone();
    assert_eq!(column(&kinds, "link"), ["manual", "manual"], "no rule takes one of them away");
    assert!(reviews(&site, &[]).is_empty());
    assert_eq!(reviews(&site, &["--state", "linked"]).len(), 1);

    let again = decide(&site, &id, "link", "wang");
    assert_eq!((&again["changed"], &again["decided_by"]), (&json!(false), &json!("li")), "who said it first stays");

    let cursor = end(&daemon);
    let rejected = decide(&site, &id, "reject", "wang");
    assert_eq!((&rejected["state"], &rejected["decided_by"]), (&json!("rejected"), &json!("wang")));
    assert_eq!((daemon.one_id("HIS|P1"), daemon.one_id("LIS|88")), (one.clone(), other.clone()), "both are as before");
    let (kinds, _) = kinds_after(&daemon, &cursor);
    assert!(kinds.contains(&"patient.split".to_owned()), "{kinds:?}");
    assert_eq!(decide(&site, &id, "reject", "li")["changed"], false);

    // The sources say more that is alike: who was told apart stays apart, and nobody is asked again.
    let more = [(13, "13912345678"), (11, "解放路1号")];
    daemon.accept("his", adt("A31", "C2", "20240306080000", &[person("P1", "张^伟", "19800102", "M", &more)]));
    daemon.accept("lis", at_lis("L2", "88", "张^伟", "19800102", &more));
    assert_eq!((daemon.one_id("HIS|P1"), daemon.one_id("LIS|88")), (one.clone(), other));
    assert!(reviews(&site, &[]).is_empty());
    assert_eq!(reviews(&site, &["--state", "decided"]).len(), 1);

    assert_eq!(decide(&site, &id, "link", "li")["changed"], true);
    assert_eq!(daemon.one_id("LIS|88"), one, "a verdict that was taken back forbids nothing");
}

#[test]
fn what_is_rejected_at_once_stays_two_persons_and_tells_nothing() {
    let site = Site::new();
    let daemon = site.start();
    let (one, other) = two_alike(&daemon);
    let (id, cursor) = (about(&site, "HIS|P1", "LIS|88"), end(&daemon));
    assert_eq!(decide(&site, &id, "reject", "li")["persons"], json!([one, other]));
    assert_eq!(kinds_after(&daemon, &cursor).0, Vec::<String>::new());
}

#[test]
fn both_records_are_shown_side_by_side_with_what_each_agreement_is_worth() {
    let site = Site::new();
    let daemon = site.start();
    two_alike(&daemon);
    let id = about(&site, "HIS|P1", "LIS|88");
    let shown = site.json(&["review", "show", &id, "--json"]);
    let sides = shown["sides"].as_array().unwrap();
    assert_eq!((column(sides, "record"), column(sides, "source")), (vec!["HIS|P1", "LIS|88"], vec!["his", "lis"]));
    assert!(
        sides.iter().all(|side| side["patient"]["name"] == "张伟" && side["patient"]["birth_date"] == "1980-01-02")
    );
    let evidence = &shown["evidence"];
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} in {evidence}"));
    let facts = evidence["facts"].as_array().unwrap();
    let weights: f64 = facts.iter().map(|fact| number(&fact["weight"])).sum();
    let sum = number(&evidence["prior"]) + weights + number(&evidence["household"]);
    assert!((sum - number(&evidence["bits"])).abs() < 1e-9, "{evidence}");
    assert_eq!(column(facts, "fact"), ["name", "birth_date", "sex"]);
    assert!(evidence["vetoes"].as_array().unwrap().is_empty());
    assert!(evidence["model"].is_string());

    let text = site.run(&["review", "show", &id]).exits(0).stdout;
    for part in ["张伟", "HIS|P1", "LIS|88", "prior", "-20.00", "total", "birth_date"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let listed = site.run(&["review", "list"]).exits(0).stdout;
    assert!(listed.contains("possible_match") && listed.contains("LIS|88"), "{listed}");
}

#[test]
fn cases_that_more_waits_for_come_first_and_those_that_settled_themselves_not_at_all() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", registration("C1", "P1", "张^伟"));
    daemon.accept("lis", at_lis("L1", "88", "张^伟", "19800102", &[]));
    let at = "20240305080000";
    let busy = person("P2", "王^伟", "19700506", "M", &[]);
    daemon.accept("his", adt("A01", "C2", at, &[busy.clone(), inpatient("V1", "ICU^1^1", at, "")]));
    daemon.accept("his", adt("A01", "C3", at, &[busy, inpatient("V2", "ICU^1^1", at, "")]));
    daemon.accept("lis", at_lis("L2", "99", "王^伟", "19700506", &[]));
    let open = reviews(&site, &[]);
    assert_eq!(open.len(), 2, "{open:?}");
    assert_eq!(open[0]["records"], json!(["HIS|P2", "LIS|99"]));

    let records = site.token("archive", "records");
    let page = daemon.get("/v1/reviews?limit=1", &records).ok().json();
    assert_eq!(page["reviews"][0]["id"], open[0]["id"]);
    let next = page["next"].as_str().expect("another page");
    let page = daemon.get(&format!("/v1/reviews?limit=1&after={next}"), &records).ok().json();
    assert_eq!((&page["reviews"][0]["id"], &page["next"]), (&open[1]["id"], &Value::Null));
    let of_kind = |kind: &str| reviews(&site, &["--kind", kind]).len();
    assert_eq!((of_kind("possible_match"), of_kind("veto")), (2, 0));
    assert_eq!(reviews(&site, &["--limit", "1"]).len(), 1);

    let (one, other) = (daemon.one_id("HIS|P2"), daemon.one_id("LIS|99"));
    site.run(&["person", "merge", &other, &one, "--reason", "the same patient"]).exits(0);
    let left = reviews(&site, &[]);
    assert_eq!(left.len(), 1, "one person needs no answer: {left:?}");
    assert_eq!(left[0]["records"], json!(["HIS|P1", "LIS|88"]));
    let answered = reviews(&site, &["--state", "linked"]);
    let said = ["state", "answered_by", "reason", "now"].map(|name| answered[0][name].as_str().unwrap());
    assert_eq!(said, ["linked", "merge", "the same patient", "one_person"], "{answered:?}");
}

#[test]
fn who_is_told_apart_is_not_brought_together_by_way_of_a_third() {
    let site = Site::new();
    let daemon = site.start();
    two_alike(&daemon);
    daemon.accept("lis", at_lis("L2", "99", "张^伟", "19800102", &[]));
    let (told, first, last) =
        (about(&site, "LIS|88", "LIS|99"), about(&site, "HIS|P1", "LIS|88"), about(&site, "HIS|P1", "LIS|99"));
    decide(&site, &told, "reject", "li");
    decide(&site, &first, "link", "li");
    let refused = site.run(&["review", "decide", &last, "link", "--reason", "looks like it"]).exits(1);
    assert!(refused.stderr.contains(&format!("review {told}")), "{}", refused.stderr);
    assert_ne!(daemon.one_id("HIS|P1"), daemon.one_id("LIS|99"));
    let records = site.token("archive", "records");
    let body = json!({"decision": "link", "reason": "looks like it"}).to_string();
    let answer = daemon.http("POST", &format!("/v1/reviews/{last}"), &records, body.as_bytes());
    assert_eq!((answer.status, answer.json()["type"].as_str()), (409, Some("/problems/decision-refused")));
    decide(&site, &told, "link", "li");
    assert_eq!(daemon.one_id("HIS|P1"), daemon.one_id("LIS|99"), "taken back, it is in nobody's way");
}

#[test]
fn the_records_department_decides_over_http_and_others_do_not() {
    let site = Site::new();
    let daemon = site.start();
    let (one, other) = two_alike(&daemon);
    let id = about(&site, "HIS|P1", "LIS|88");
    let (target, records) = (format!("/v1/reviews/{id}"), site.token("archive", "records"));
    let body = |decision: &str, reason: &str| json!({"decision": decision, "reason": reason}).to_string();
    let post = |token: &str, body: &str| daemon.http("POST", &target, token, body.as_bytes());
    for role in ["engineer", "consumer", "auditor"] {
        let token = site.token(role, role);
        for answer in
            [daemon.get("/v1/reviews", &token), daemon.get(&target, &token), post(&token, &body("link", "no"))]
        {
            assert_eq!(answer.status, 403, "{role}");
        }
    }
    for wrong in [body("merge", "why"), body("link", " "), "{}".to_owned(), "link".to_owned()] {
        assert_eq!(post(&records, &wrong).json()["type"], "/problems/body-not-valid", "{wrong}");
    }
    for unknown in ["/v1/reviews/999", "/v1/reviews/one"] {
        assert_eq!(daemon.get(unknown, &records).json()["type"], "/problems/record-unknown", "{unknown}");
        assert_eq!(daemon.http("POST", unknown, &records, body("link", "why").as_bytes()).status, 404, "{unknown}");
    }
    assert_eq!(daemon.get("/v1/reviews?state=lost", &records).status, 400);
    assert_eq!((daemon.one_id("HIS|P1"), daemon.one_id("LIS|88")), (one.clone(), other), "nothing was decided so far");

    let decided = post(&records, &body("link", "the same papers")).ok().json();
    assert_eq!((&decided["changed"], &decided["decided_by"]), (&json!(true), &json!("archive")), "{decided}");
    assert_eq!(decided["reason"], "the same papers");
    assert_eq!(daemon.one_id("LIS|88"), one);
    // An administrator may stand in, and may take back what somebody else decided.
    let admin = site.token("chief", "admin");
    let decided = post(&admin, &body("reject", "another patient's papers")).ok().json();
    assert_eq!((&decided["state"], &decided["decided_by"]), (&json!("rejected"), &json!("chief")));
    assert_eq!(daemon.get(&target, &records).ok().json()["state"], "rejected");
    let listed = daemon.get("/v1/reviews?state=decided", &records).ok().json();
    assert_eq!(listed["reviews"].as_array().map(Vec::len), Some(1));
}

#[test]
fn what_a_command_cannot_find_or_read_it_says() {
    let site = Site::new();
    let daemon = site.start();
    two_alike(&daemon);
    let one = daemon.one_id("HIS|P1");
    for (arguments, status) in [
        (&["review", "show", "999"][..], 1),
        (&["review", "decide", "999", "link", "--reason", "why"], 1),
        (&["review", "decide", "1", "link"], 2),
        (&["review", "decide", "1", "link", "--reason", " "], 1),
        (&["review", "decide", "1", "merge", "--reason", "why"], 2),
        (&["review", "list", "--state", "lost"], 2),
        (&["review", "list", "--kind", "lost"], 2),
        (&["person", "explain", "01JD0000000000000000000009", "HIS|P1"], 1),
        (&["person", "explain", &one, "HIS|P9"], 1),
        (&["person", "explain", &one, "P1"], 2),
    ] {
        let run = site.run(arguments).exits(status);
        assert!(run.stdout.is_empty() && !run.stderr.is_empty(), "{arguments:?}: {run:?}");
    }
    let engineer = site.engineer();
    for (target, status) in [
        (format!("/v1/persons/{one}/explain?record=HIS%7CP9"), 404),
        ("/v1/persons/01JD0000000000000000000009/explain?record=HIS%7CP1".to_owned(), 404),
        (format!("/v1/persons/{one}/explain"), 400),
        (format!("/v1/persons/{one}/explain?record=P1"), 400),
    ] {
        assert_eq!(daemon.get(&target, engineer).status, status, "{target}");
    }
}

#[test]
fn a_match_is_explained_for_who_was_chosen_and_for_who_lost() {
    let site = Site::new();
    let daemon = site.start();
    let (one, other) = two_alike(&daemon);
    // The person of P1 lost: LIS|88 became one of its own.
    let lost = daemon.json(&format!("/v1/persons/{one}/explain?record={}", query("LIS|88")));
    assert_eq!((&lost["one_id"], &lost["record"]), (&json!(one), &json!("LIS|88")));
    let explanation = &lost["explanations"][0];
    assert_eq!((&explanation["source"], &explanation["one_id"]), (&json!("lis"), &json!(other)));
    let compared = explanation["comparisons"].as_array().unwrap();
    assert_eq!(column(compared, "record"), ["HIS|P1"]);
    let bits = compared[0]["evidence"]["bits"].as_f64().unwrap();
    assert!(bits < lost["thresholds"]["link"].as_f64().unwrap() && bits > 0.0, "{lost}");
    let decided = explanation["decided"].as_array().unwrap();
    assert_eq!((decided.len(), &decided[0]["to"]), (1, &json!(other)));
    let candidate = &decided[0]["candidates"][0];
    assert_eq!((&candidate["one_id"], &candidate["chosen"]), (&json!(one), &json!(false)), "{lost}");
    assert_eq!((&candidate["record"], &decided[0]["model"]), (&json!("HIS|P1"), &lost["model"]));
    // The same weighing then and now, but that the record itself is among those who bear the name by now.
    let then = candidate["evidence"]["bits"].as_f64().unwrap();
    assert!((then - bits).abs() < 0.5, "{then} {bits}");

    let resident = resident_number("19750304", 11);
    let numbered = |system: &str, number: &str| {
        let identifiers = format!("{number}^^^{system}^MR~{resident}^^^^NI");
        adt("A28", number, "20240305080000", &[person("", "李^娜", "19750304", "F", &[(3, &identifiers)])])
    };
    daemon.accept("his", numbered("HIS", "P5"));
    daemon.accept("lis", numbered("LIS", "95"));
    let chosen = site.json(&["person", "explain", &daemon.one_id("HIS|P5"), "LIS|95", "--json"]);
    let candidate = &chosen["explanations"][0]["decided"][0]["candidates"][0];
    assert_eq!((&candidate["chosen"], &candidate["evidence"]["gate"]), (&json!(true), &json!(true)), "{chosen}");

    let id = about(&site, "HIS|P1", "LIS|88");
    decide(&site, &id, "link", "li");
    let merged = site.json(&["person", "explain", &other, "LIS|88", "--json"]);
    assert_eq!(
        (&merged["one_id"], &merged["merged_into"]),
        (&json!(one), &json!(one)),
        "a retired One ID is its survivor"
    );
    let steps = merged["explanations"][0]["decided"].as_array().unwrap();
    let why = steps.iter().find(|step| step["basis"]["reason"] == "looked at the papers");
    assert!(why.is_some_and(|step| step["kind"] == "manual"), "{merged}");
    let text = site.run(&["person", "explain", &one, "LIS|88"]).exits(0).stdout;
    assert!(text.contains("beside HIS|P1 of his") && text.contains("total") && text.contains(&one), "{text}");
}

#[test]
fn persons_are_matched_with_a_score_and_a_grade_and_nothing_is_written() {
    let site = Site::new();
    let daemon = site.start();
    let resident = resident_number("19800102", 11);
    let identifiers = format!("P1^^^HIS^MR~{resident}^^^^NI");
    let full = [(3, identifiers.as_str()), (13, "13912345678")];
    daemon.accept("his", adt("A28", "C1", "20240305080000", &[person("", "张^伟", "19800102", "M", &full)]));
    let one = daemon.one_id("HIS|P1");
    let cursor = end(&daemon);
    let ask = |record: &Value| daemon.http("POST", "/v1/persons/match", site.engineer(), record.to_string().as_bytes());
    let named = |name: &str, birth_date: &str| json!({"name": name, "birth_date": birth_date, "sex": "male"});
    let with = |mut record: Value, field: &str, value: Value| {
        record[field] = value;
        record
    };
    let number = |kind: &str, system: &str, value: &str| json!([{"type": kind, "system": system, "value": value}]);
    let (same, phones) = (named("张伟", "1980-01-02"), json!([{"value": "139 1234 5678"}]));
    for (record, grade) in [
        (with(same.clone(), "identifiers", number("resident_id", "", &resident)), "certain"),
        (json!({"identifiers": number("mrn", "HIS", "P1")}), "certain"),
        (same.clone(), "probable"),
        // Sounds alike on the same day, without a number: a slip, or a twin.
        (with(named("章伟", "1980-01-02"), "phones", phones.clone()), "possible"),
    ] {
        let found = ask(&record).ok().json();
        let candidates = found["candidates"].as_array().unwrap();
        assert_eq!(candidates.len(), 1, "{record} {found}");
        let candidate = &candidates[0];
        assert_eq!((&candidate["grade"], &candidate["one_id"]), (&json!(grade), &json!(one)), "{record} {found}");
        assert_eq!(
            (&candidate["person"]["one_id"], &candidate["score"]),
            (&json!(one), &candidate["evidence"]["bits"])
        );
        assert_eq!(candidate["evidence"]["vetoes"].as_array().unwrap().is_empty(), grade != "possible", "{found}");
    }
    assert_eq!(ask(&named("王芳", "1951-06-07")).ok().json(), json!({"candidates": []}));
    for (wrong, status, kind) in [
        (json!({"name": "张伟"}), 422, "/problems/record-says-too-little"),
        (json!({}), 422, "/problems/record-says-too-little"),
        (json!({"nmae": "张伟"}), 400, "/problems/body-not-valid"),
        (json!({"birth_date": 1980}), 400, "/problems/body-not-valid"),
        (json!([]), 400, "/problems/body-not-valid"),
    ] {
        let answer = ask(&wrong);
        assert_eq!((answer.status, answer.json()["type"].as_str()), (status, Some(kind)), "{wrong}");
    }
    for (wrong, words) in [
        (json!({"phones": "1"}), "patient.phones: not a list of objects"),
        (json!({"sex": "m"}), "patient.sex: not one of male, female, other, unknown"),
    ] {
        let answer = ask(&wrong).json()["detail"].to_string();
        assert!(answer.contains(words), "{answer}");
    }
    for wrong in [&["person", "find"][..], &["person", "find", "--birth-date", "yesterday"]] {
        site.run(wrong).exits(2);
    }
    let target = "/v1/persons/match";
    let body = same.to_string();
    assert_eq!(daemon.http("POST", target, &site.token("auditor", "auditor"), body.as_bytes()).status, 403);

    let file = site.write("record.json", same.to_string());
    let found = site.json(&["person", "find", "--match", file.to_str().unwrap(), "--json"]);
    assert_eq!(found["candidates"][0]["grade"], "probable", "{found}");
    let piped = site.run_with(&["person", "find", "--match", "-"], same.to_string().as_bytes()).exits(0).stdout;
    assert!(piped.contains("SCORE") && piped.contains("probable") && piped.contains(&one), "{piped}");
    let unfit =
        |record: &str, status: i32| site.run_with(&["person", "find", "--match", "-"], record.as_bytes()).exits(status);
    unfit("{\"name\": \"张伟\"}", 1);
    assert!(!unfit("张伟", 1).stderr.contains("张伟"), "what was asked is not said again");
    unfit(&named("王芳", "1951-06-07").to_string(), 1);
    assert_eq!(kinds_after(&daemon, &cursor).0, Vec::<String>::new());
    assert!(reviews(&site, &["--state", "all"]).is_empty());
}

#[test]
fn a_search_lists_all_who_fit_and_who_is_likeliest_meant_first() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", registration("C1", "P1", "张^伟"));
    let phone = [(13, "13912345678")];
    daemon.accept("his", adt("A28", "C2", "20240305080000", &[person("P2", "张^伟", "19750304", "M", &phone)]));
    let find = |more: &[&str]| {
        let mut arguments = vec!["person", "find", "--json"];
        arguments.extend_from_slice(more);
        site.json(&arguments)["persons"].as_array().unwrap().clone()
    };
    let found = find(&["--name", "张伟"]);
    assert_eq!(found.len(), 2, "whoever has the name fits: {found:?}");
    let found = find(&["--name", "张伟", "--birth-date", "1975-03-04", "--phone", "13912345678"]);
    assert_eq!((found.len(), &found[0]["one_id"]), (1, &json!(daemon.one_id("HIS|P2"))));
    assert_eq!(found[0]["grade"], "certain", "{found:?}");
    assert!(found[0]["score"].as_f64().unwrap() > 10.0, "{found:?}");
    // Of the older one no record says both: what fits the person fits none of its records whole.
    daemon.accept("his", adt("A28", "C3", "20240305080000", &[person("P3", "李^娜", "", "", &[])]));
    daemon.accept("lis", adt("A28", "L1", "20240305080000", &[person("P3", "", "19900101", "", &[])]));
    daemon.accept("his", adt("A28", "C4", "20240305080000", &[person("P4", "李^娜", "19900101", "F", &[])]));
    let found = find(&["--name", "李娜", "--birth-date", "1990-01-01"]);
    assert_eq!(column(&found, "one_id"), [daemon.one_id("HIS|P4"), daemon.one_id("HIS|P3")], "{found:?}");
    let table = site.run(&["person", "find", "--name", "张伟"]).exits(0).stdout;
    assert!(table.contains("SCORE") && table.contains("GRADE"), "{table}");
    let table = site.run(&["person", "find", "HIS|P1"]).exits(0).stdout;
    assert!(!table.contains("SCORE"), "a number is not weighed: {table}");
}
