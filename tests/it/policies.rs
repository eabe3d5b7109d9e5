//! Field policies: what a policy hides is in no byte that its consumer gets; consent and special categories hold at the moment of reading.

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::eventually;
use crate::support::hl7::{adt, message, number, person, resident_number, segment};
use crate::support::http::{query, request};
use crate::support::site::{Site, configuration};

const NAME: &str = "金丝雀";
const GIVEN: &str = "丝雀";
const NUMBER: &str = "MRN7734512";
const PHONE: &str = "13900007734";
const STREET: &str = "梧桐街七十七号";
const DISTRICT: &str = "南山区";
const VISIT: &str = "V7734599";
const REPORT: &str = "F7734588";
const AT: &str = "20240305103000";

const CONSUMERS: &str = r#"
[[consumers]]
name = "crm"

[[consumers]]
name = "care"
policy = "care"

[[consumers]]
name = "operations"
policy = "operations"
purpose = "operations"

[[consumers]]
name = "marketing"
policy = "marketing"
purpose = "marketing"
"#;

fn resident() -> String {
    resident_number("19770705", 78)
}

fn patient(more: &[(usize, &str)]) -> String {
    let identifiers = format!("{NUMBER}^^^HIS^MR~{}^^^^NI", resident());
    let address = format!("{STREET}^^深圳市^广东省^518052^CHN^H^^{DISTRICT}");
    let mut fields = vec![(3, identifiers.as_str()), (11, address.as_str()), (13, PHONE)];
    fields.extend_from_slice(more);
    person(NUMBER, "金^丝雀", "19770705", "F", &fields)
}

fn visit(number: &str, department: &str, diagnosis: &str) -> Vec<String> {
    let visit = segment("PV1", &[(2, "I"), (3, "W7^1^1"), (10, department), (19, number), (44, AT)]);
    let mut segments = vec![patient(&[]), visit];
    if !diagnosis.is_empty() {
        segments.push(segment("DG1", &[(1, "1"), (3, diagnosis), (6, "F"), (15, "1")]));
    }
    segments
}

fn laboratory(id: &str, filler: &str, panel: &str, results: &[String]) -> String {
    let order = segment("OBR", &[(1, "1"), (3, filler), (4, panel), (7, AT), (22, AT), (25, "F")]);
    let mut segments = vec![patient(&[]), order];
    segments.extend_from_slice(results);
    message("ORU^R01", id, AT, &segments)
}

fn told(daemon: &Daemon<'_>) {
    daemon.accept("his", adt("A01", "C1", AT, &visit(VISIT, "0301^心血管内科", "I20.900^心绞痛^ICD10")));
    let results = [number("K^钾^L", "6.9", "mmol/L", "3.5-5.3", "HH", "F")];
    daemon.accept("his", laboratory("C2", REPORT, "DJZ^电解质四项^L", &results));
}

fn events(daemon: &Daemon<'_>, token: &str) -> Vec<Value> {
    let page = daemon.get("/v1/feed?after=start&limit=1000", token).ok().json();
    assert_eq!(page["next"], page["head"], "the position moves past what is not sent: {page}");
    page["events"].as_array().expect("events").clone()
}

fn kinds(daemon: &Daemon<'_>, token: &str) -> Vec<String> {
    events(daemon, token).iter().map(|event| event["type"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Every byte that a consumer can get about a person.
fn everything(daemon: &Daemon<'_>, token: &str, one_id: &str) -> String {
    let mut bytes = daemon.get("/v1/feed?after=start&limit=1000", token).ok().text();
    let bearer = format!("Bearer {token}");
    let headers = [("Accept", "application/x-ndjson"), ("Authorization", bearer.as_str())];
    bytes.push_str(
        &request(daemon.address("http"), "GET", "/v1/feed?after=start&limit=1000", &headers, b"").ok().text(),
    );
    for below in ["", "/visits", "/lab-reports", "/history"] {
        bytes.push_str(&daemon.get(&format!("/v1/persons/{one_id}{below}"), token).text());
    }
    for search in [
        format!("name={}", query(NAME)),
        format!("phone={PHONE}"),
        format!("identifier={}", query(&format!("HIS|{NUMBER}"))),
        format!("identifier={}", query(&format!("|{}", resident()))),
        format!("name={}&birth_date=1977-07-05", query(NAME)),
    ] {
        bytes.push_str(&daemon.get(&format!("/v1/persons?{search}"), token).text());
    }
    let asked = json!({"name": NAME, "birth_date": "1977-07-05", "phones": [{"value": PHONE}]}).to_string();
    bytes.push_str(&daemon.http("POST", "/v1/persons/match", token, asked.as_bytes()).text());
    without_the_daemons_clock(&bytes)
}

/// `bytes` without the times of the daemon's own clock. They are in UTC (a hospital's carry its zone), and at some second of
/// the day one of them would look like any canary that is a number.
fn without_the_daemons_clock(bytes: &str) -> String {
    let is_its_own = |text: &&str| text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok();
    bytes.split('"').filter(|text| !is_its_own(text)).collect::<Vec<_>>().join("\"")
}

#[test]
fn what_a_shipped_policy_hides_is_in_no_byte_of_any_answer() {
    let site = Site::configured(&configuration("", CONSUMERS));
    let daemon = site.start();
    told(&daemon);
    let one_id = daemon.one_id(&format!("HIS|{NUMBER}"));
    site.run(&["person", "consent", &one_id, "--give", "--reason", "form 7"]).exits(0);
    let resident = resident();
    let (tail, birth) = (resident[11..].to_owned(), "1977-07-05".to_owned());
    let all =
        [NAME, GIVEN, &resident, PHONE, STREET, &birth, NUMBER, VISIT, REPORT, "6.9", "心绞痛", "心血管内科", "10:30"];
    let check = |consumer: &str, hidden: &[&str], shown: &[&str]| {
        let bytes = everything(&daemon, &site.token(consumer, "consumer"), &one_id);
        for canary in hidden {
            assert!(!bytes.contains(canary), "{consumer} was sent {canary}: {bytes}");
        }
        for canary in shown {
            assert!(bytes.contains(canary), "{consumer} was not sent {canary}: {bytes}");
        }
    };
    check("crm", &[], &all);
    check(
        "care",
        &[&resident, &tail, STREET, "518052"],
        &[NAME, PHONE, &birth, NUMBER, VISIT, REPORT, "6.9", "心绞痛", DISTRICT],
    );
    check(
        "operations",
        &[NAME, GIVEN, &resident, &tail, PHONE, STREET, &birth, "07-05", NUMBER, VISIT, REPORT, "6.9", "心绞痛"],
        &["金*雀", "\"1977\"", DISTRICT, "心血管内科", "I20", "\"p-"],
    );
    check(
        "marketing",
        &[
            NAME,
            GIVEN,
            &resident,
            &tail,
            STREET,
            &birth,
            "07-05",
            NUMBER,
            VISIT,
            REPORT,
            "6.9",
            "心绞痛",
            "I20",
            "心血管内科",
            "电解质",
            "10:30",
            "report_id",
            "heyi/his",
            "critical",
        ],
        &["金*雀", PHONE, "\"1977\"", DISTRICT, "2024-03-05", "patient.consent_changed", "visit.admitted"],
    );
}

#[test]
fn a_look_up_by_what_the_policy_hides_is_refused_whether_or_not_there_is_somebody() {
    let site = Site::configured(&configuration("", CONSUMERS));
    let daemon = site.start();
    told(&daemon);
    let care = site.token("care", "consumer");
    let operations = site.token("operations", "consumer");
    let other = resident_number("19800101", 5);
    for id in [resident(), other] {
        let target = format!("/v1/persons?identifier={}", query(&format!("|{id}")));
        let problem = daemon.get(&target, &care).problem(403);
        assert_eq!(problem["type"], "/problems/hidden-by-policy");
    }
    for search in [format!("name={}", query(NAME)), format!("phone={PHONE}"), "phone=13811112222".to_owned()] {
        daemon.get(&format!("/v1/persons?{search}"), &operations).problem(403);
    }
    let found = daemon.get(&format!("/v1/persons?phone={PHONE}"), &care).ok().json();
    assert_eq!(found["persons"][0]["name"], NAME);
    let by_number =
        daemon.get(&format!("/v1/persons?identifier={}", query(&format!("HIS|{NUMBER}"))), &care).ok().json();
    assert_eq!(by_number["persons"][0]["name"], NAME);
    let asked =
        |record: Value, token: &str| daemon.http("POST", "/v1/persons/match", token, record.to_string().as_bytes());
    asked(json!({"identifiers": [{"type": "resident_id", "value": resident()}]}), &care).problem(403);
    let weighed = asked(json!({"name": NAME, "birth_date": "1977-07-05"}), &care).ok().json();
    let candidate = &weighed["candidates"][0];
    assert_eq!((&candidate["person"]["name"], &candidate["evidence"]), (&json!(NAME), &Value::Null), "{weighed}");
    let one_id = daemon.one_id(&format!("HIS|{NUMBER}"));
    let explain = format!("/v1/persons/{one_id}/explain?record={}", query(&format!("HIS|{NUMBER}")));
    daemon.get(&explain, &care).problem(403);
    daemon.get(&explain, site.consumer()).ok();
}

#[test]
fn the_policy_full_sends_the_log_byte_by_byte() {
    let site = Site::configured(&configuration("", CONSUMERS));
    let daemon = site.start();
    told(&daemon);
    let bearer = format!("Bearer {}", site.consumer());
    let headers = [("Accept", "application/x-ndjson"), ("Authorization", bearer.as_str())];
    let sent = request(daemon.address("http"), "GET", "/v1/feed?after=start&limit=1000", &headers, b"").ok().text();
    let log = site.run(&["feed", "export"]).exits(0).stdout;
    let mut sent: Vec<&str> = sent.lines().collect();
    assert!(sent.pop().is_some_and(|line| line.contains("feed.checkpoint")));
    assert_eq!(sent, log.lines().collect::<Vec<_>>());
    assert!(sent.len() > 3, "{log}");
}

#[test]
fn marketing_gets_nothing_without_consent_and_nothing_more_from_its_withdrawal_on() {
    let site = Site::configured(&configuration("", CONSUMERS));
    let daemon = site.start();
    told(&daemon);
    let one_id = daemon.one_id(&format!("HIS|{NUMBER}"));
    let (marketing, records) = (site.token("marketing", "consumer"), site.token("clerk", "records"));
    let person = format!("/v1/persons/{one_id}");
    assert_eq!(events(&daemon, &marketing), Vec::<Value>::new());
    daemon.get(&person, &marketing).problem(404);
    let found = daemon.get(&format!("/v1/persons?phone={PHONE}"), &marketing).ok().json();
    assert_eq!(found["persons"], json!([]), "as if not there");

    let say = |state: &str| {
        let body = json!({"purpose": "marketing", "state": state, "reason": "form 7"}).to_string();
        daemon.http("POST", &format!("{person}/consents"), &records, body.as_bytes())
    };
    let said = say("given").ok().json();
    assert_eq!((&said["holds"], &said["changed"]), (&json!("given"), &json!(true)));
    assert_eq!(say("given").ok().json()["changed"], false, "said again it changes nothing");
    let given = kinds(&daemon, &marketing);
    assert_eq!(given, ["patient.created", "visit.admitted", "patient.consent_changed"]);
    let created = &events(&daemon, &marketing)[0]["data"];
    let changed = created["changed"].as_array().unwrap().iter().filter_map(Value::as_str);
    let unseen: Vec<&str> = changed.filter(|name| created.get(name).is_none()).collect();
    assert_eq!(unseen, Vec::<&str>::new(), "a hidden field is not named: {created}");
    assert_eq!(daemon.get(&person, &marketing).ok().json()["phones"][0]["value"], PHONE);

    let withdrawn = site.run(&["person", "consent", &one_id, "--withdraw", "--reason", "asked on the phone"]).exits(0);
    assert!(withdrawn.stdout.contains("consent for marketing: withdrawn"), "{}", withdrawn.stdout);
    // What is in the log already as well: only that it ended is told.
    let after = events(&daemon, &marketing);
    assert_eq!(after.len(), 1, "{after:?}");
    assert_eq!(
        (&after[0]["type"], &after[0]["data"]["state"]),
        (&json!("patient.consent_changed"), &json!("withdrawn"))
    );
    assert!(!after[0].to_string().contains("phone"), "nor why: {}", after[0]);
    daemon.get(&person, &marketing).problem(404);
    assert_eq!(daemon.get(&format!("{person}/visits"), &marketing).status, 404);

    let listed = daemon.get(&format!("{person}/consents"), &records).ok().json();
    let states: Vec<&Value> =
        listed["consents"].as_array().expect("consents").iter().map(|said| &said["state"]).collect();
    assert_eq!(states, [&json!("given"), &json!("withdrawn")]);
    assert_eq!(listed["holds"], json!({"marketing": "withdrawn"}));
    let shown = site.run(&["person", "consent", &one_id]).exits(0).stdout;
    assert!(shown.contains("asked on the phone") && shown.contains(&format!("HIS|{NUMBER}")), "{shown}");
    assert_eq!(site.run(&["person", "consent", &one_id, "--give"]).status.code(), Some(2), "a reason is needed");
    daemon.http("POST", &format!("{person}/consents"), &marketing, b"{}").problem(403);
}

#[test]
fn who_never_consented_is_not_told_of_by_a_withdrawal() {
    let site = Site::configured(&configuration("", CONSUMERS));
    let daemon = site.start();
    told(&daemon);
    let one_id = daemon.one_id(&format!("HIS|{NUMBER}"));
    site.run(&["person", "consent", &one_id, "--withdraw", "--reason", "wants none of it"]).exits(0);
    assert_eq!(events(&daemon, &site.token("marketing", "consumer")), Vec::<Value>::new());
    assert!(kinds(&daemon, &site.token("care", "consumer")).contains(&"patient.consent_changed".to_owned()));
}

#[test]
fn an_objection_stops_the_consumers_of_its_purpose_alone() {
    let site = Site::configured(&configuration("", CONSUMERS));
    let daemon = site.start();
    told(&daemon);
    let one_id = daemon.one_id(&format!("HIS|{NUMBER}"));
    let (operations, care) = (site.token("operations", "consumer"), site.token("care", "consumer"));
    let before = kinds(&daemon, &operations);
    assert!(before.len() > 2, "{before:?}");
    site.run(&["person", "consent", &one_id, "--purpose", "operations", "--withdraw", "--reason", "letter"]).exits(0);
    assert_eq!(kinds(&daemon, &operations), ["patient.consent_changed"]);
    assert!(kinds(&daemon, &care).contains(&"visit.admitted".to_owned()));
}

#[test]
fn a_death_ends_a_consent_and_is_told_once() {
    let site = Site::configured(&configuration("", CONSUMERS));
    let daemon = site.start();
    told(&daemon);
    let one_id = daemon.one_id(&format!("HIS|{NUMBER}"));
    site.run(&["person", "consent", &one_id, "--give", "--reason", "form 7"]).exits(0);
    let death = patient(&[(29, "20240306041000"), (30, "Y")]);
    daemon.accept("his", adt("A08", "C3", "20240306050000", &[death]));
    let marketing = site.token("marketing", "consumer");
    let told = events(&daemon, &marketing);
    assert_eq!(told.len(), 1, "{told:?}");
    let data = &told[0]["data"];
    assert_eq!(
        (&data["deceased"], &data["changed"], &data["one_id"]),
        (&json!(true), &json!(["deceased"]), &json!(one_id))
    );
    assert!(!told[0].to_string().contains('金') && data.get("deceased_at").is_none(), "{}", told[0]);
    daemon.get(&format!("/v1/persons/{one_id}"), &marketing).problem(404);
}

#[test]
fn after_a_merge_a_withdrawal_of_either_wins_and_after_its_undoing_each_has_its_own_word() {
    let site = Site::configured(&configuration("", CONSUMERS));
    let daemon = site.start();
    let register = |id: &str, number: &str, name: &str, birth: &str| {
        daemon.accept("his", adt("A28", id, AT, &[person(number, name, birth, "F", &[])]));
        daemon.one_id(&format!("HIS|{number}"))
    };
    let (one, two) = (register("C1", "M1", "金^丝雀", "19770705"), register("C2", "M2", "李^四", "19600101"));
    let marketing = site.token("marketing", "consumer");
    site.run(&["person", "consent", &one, "--give", "--reason", "form 7"]).exits(0);
    site.run(&["person", "consent", &two, "--withdraw", "--reason", "letter"]).exits(0);
    assert_eq!(kinds(&daemon, &marketing), ["patient.created", "patient.consent_changed"]);
    site.run(&["person", "merge", &one, &two, "--reason", "same papers"]).exits(0);
    let told = events(&daemon, &marketing);
    let last = told.last().expect("that it ended");
    assert_eq!((&last["type"], &last["subject"]), (&json!("patient.consent_changed"), &json!(one)), "{told:?}");
    assert_eq!(last["data"]["state"], "withdrawn");
    assert!(told.iter().all(|event| event["type"] == "patient.consent_changed"), "{told:?}");
    site.run(&["person", "split", &one, "--reason", "not the same"]).exits(0);
    daemon.get(&format!("/v1/persons/{one}"), &marketing).ok();
    daemon.get(&format!("/v1/persons/{two}"), &marketing).problem(404);
    let told = events(&daemon, &marketing);
    assert_eq!(told.last().expect("that it holds again")["data"]["state"], "given", "{told:?}");
}

#[test]
fn a_consent_of_two_who_were_one_holds_for_neither_after_they_part() {
    let site = Site::configured(&configuration("", CONSUMERS));
    let daemon = site.start();
    daemon.accept("his", adt("A28", "C1", AT, &[person("M1", "金^丝雀", "19770705", "F", &[])]));
    daemon.accept("his", adt("A28", "C2", AT, &[person("M2", "李^四", "19600101", "F", &[])]));
    let (one, two) = (daemon.one_id("HIS|M1"), daemon.one_id("HIS|M2"));
    site.run(&["person", "merge", &one, &two, "--reason", "same papers"]).exits(0);
    site.run(&["person", "consent", &two, "--give", "--reason", "form 7"]).exits(0);
    let marketing = site.token("marketing", "consumer");
    daemon.get(&format!("/v1/persons/{one}"), &marketing).ok();
    site.run(&["person", "split", &one, "--reason", "not the same"]).exits(0);
    daemon.get(&format!("/v1/persons/{one}"), &marketing).problem(404);
    daemon.get(&format!("/v1/persons/{two}"), &marketing).problem(404);
    let told = events(&daemon, &marketing);
    assert_eq!(told.last().expect("that it ended")["data"]["state"], "none", "{told:?}");
}

#[test]
fn a_special_category_leaves_only_to_a_policy_that_names_it() {
    let site = Site::configured(&configuration("", CONSUMERS));
    let daemon = site.start();
    told(&daemon);
    daemon.accept("his", adt("A01", "S1", AT, &visit("V-PSY", "3100^精神科", "")));
    let common = [
        number("GLU^葡萄糖^L", "5.1", "mmol/L", "3.9-6.1", "N", "F"),
        number("HIV^抗HIV^L", "7731.5", "S/CO", "0-1", "HH", "F"),
    ];
    daemon.accept("his", laboratory("S2", "F-COMMON", "SQ4^术前四项^L", &common));
    daemon.accept("his", laboratory("S3", "F-HIV", "HIVC^HIV初筛^L", &common[1..]));
    let blood = laboratory("S4", "F-PSY", "CBC^血常规^L", &[number("WBC^白细胞^L", "5", "", "", "N", "F")]);
    let of_visit = segment("PV1", &[(2, "I"), (19, "V-PSY")]);
    daemon.accept("his", blood.replacen("\rOBR", &format!("\r{of_visit}\rOBR"), 1));
    let one_id = daemon.one_id(&format!("HIS|{NUMBER}"));
    let full = everything(&daemon, site.consumer(), &one_id);
    let secrets = ["V-PSY", "精神科", "HIV", "7731.5", "F-HIV", "F-PSY", "白细胞"];
    for secret in secrets {
        assert!(full.contains(secret), "full: {secret}");
    }
    let care = site.token("care", "consumer");
    let sent = everything(&daemon, &care, &one_id);
    for secret in secrets {
        assert!(!sent.contains(secret), "care was sent {secret}: {sent}");
    }
    let events = events(&daemon, &care);
    let common: Vec<&Value> = events.iter().filter(|event| event.to_string().contains("F-COMMON")).collect();
    assert_eq!(common.len(), 1, "no lab.critical for the value that is withheld: {common:?}");
    assert_eq!((&common[0]["type"], &common[0]["data"]["abnormal"]), (&json!("lab.resulted"), &json!(false)));
    // What it becomes later counts for what is in the log already.
    daemon.accept("his", adt("A08", "S5", "20240305120000", &visit(VISIT, "0301^心血管内科", "B24^艾滋病^ICD10")));
    let sent = everything(&daemon, &care, &one_id);
    assert!(!sent.contains(VISIT) && sent.contains("F-COMMON"), "{sent}");
    // A policy that names the category gets it, and no other.
    let own = std::fs::read_to_string(site.path("policies/care.toml")).expect("a policy");
    site.write("policies/care.toml", own.replace("\nspecial = []", "\nspecial = [\"psychiatric\"]"));
    daemon.hang_up();
    eventually("the policy", || Some(()).filter(|()| everything(&daemon, &care, &one_id).contains("V-PSY")));
    let sent = everything(&daemon, &care, &one_id);
    assert!(sent.contains("F-PSY") && !sent.contains("HIV") && !sent.contains(VISIT), "{sent}");
}

#[test]
fn an_update_of_what_is_hidden_is_not_sent_and_names_no_hidden_field() {
    let site = Site::configured(&configuration("", CONSUMERS));
    let daemon = site.start();
    told(&daemon);
    let operations = site.token("operations", "consumer");
    let before = kinds(&daemon, &operations);
    daemon.accept("his", adt("A08", "U1", "20240306100000", &[patient(&[(13, "13911112222")])]));
    assert_eq!(kinds(&daemon, &operations), before, "a phone that it does not see");
    // Another day of the same year.
    daemon.accept("his", adt("A08", "U2", "20240306110000", &[patient(&[(7, "19771231"), (13, "13911112222")])]));
    assert_eq!(kinds(&daemon, &operations), before, "a birth date of which it sees the year");
    let change = patient(&[(7, "19781231"), (13, "13922223333")]);
    daemon.accept("his", adt("A08", "U3", "20240306120000", &[change]));
    let after = events(&daemon, &operations);
    assert_eq!(after.len(), before.len() + 1);
    let changed = &after.last().expect("the update")["data"]["changed"];
    assert!(
        changed
            .as_array()
            .is_some_and(|names| names.contains(&json!("birth_date")) && !names.contains(&json!("phones"))),
        "{changed}"
    );
    assert!(
        site.run(&["feed", "export"]).exits(0).stdout.matches("patient.updated").count() >= 3,
        "the log has them all"
    );
}

#[test]
fn a_changed_policy_takes_effect_while_the_daemon_runs_and_a_bad_one_is_refused() {
    let site = Site::configured(&configuration("", CONSUMERS));
    let daemon = site.start();
    told(&daemon);
    let care = site.token("care", "consumer");
    let phone = || {
        let found = daemon.get(&format!("/v1/persons?name={}", query(NAME)), &care).ok().json();
        found["persons"][0]["phones"][0]["value"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(phone(), PHONE);
    let shipped = std::fs::read_to_string(site.path("policies/care.toml")).expect("a policy");
    let masked = shipped.replace("phone           = \"clear\"", "phone           = \"mask\"");
    let masked = masked.replace("relatives       = \"clear\"", "relatives       = \"mask\"");
    site.write("policies/care.toml", &masked);
    daemon.hang_up();
    eventually("the mask", || Some(()).filter(|()| phone() == "139****7734"));
    site.write("policies/care.toml", masked.replace("sex             = \"clear\"", "sex             = \"hidden\""));
    daemon.hang_up();
    let metrics = || daemon.get("/metrics", site.engineer()).ok().text();
    eventually("the refusal", || Some(()).filter(|()| metrics().contains("\nheyi_policies_refused 1\n")));
    assert_eq!(phone(), "139****7734", "the old one stays");
    assert!(daemon.log().contains("`hidden` is not a treatment of sex"), "{}", daemon.log());
    let told = site.run(&["check"]).exits(1).stderr;
    assert!(told.contains("policies/care.toml") && told.contains("sex             = \"hidden\""), "{told}");
    site.write("policies/care.toml", &shipped);
    daemon.hang_up();
    eventually("the mended policy", || {
        Some(()).filter(|()| phone() == PHONE && metrics().contains("\nheyi_policies_refused 0\n"))
    });
}

#[test]
fn a_policy_is_explained_field_by_field_and_two_are_compared() {
    let site = Site::configured(&configuration("", CONSUMERS));
    let explained = site.json(&["policy", "explain", "operations", "--json"]);
    assert_eq!((&explained["policy"], &explained["purpose"]), (&json!("operations"), &json!("operations")));
    assert_eq!(explained["special"]["withheld"], json!(["hiv", "std", "psychiatric", "genetic", "abortion"]));
    let line = |record: &str, field: &str| {
        let lines = explained["fields"].as_array().expect("fields");
        let found = lines.iter().find(|line| line["record"] == record && line["field"] == field);
        let found = found.unwrap_or_else(|| panic!("{record} {field}"));
        [&found["class"], &found["treatment"], &found["leaves"]].map(Clone::clone)
    };
    assert_eq!(line("person", "name"), [json!("name"), json!("mask"), json!("张*丰")]);
    assert_eq!(line("person", "birth_date"), [json!("birth_date"), json!("generalise"), json!("1949")]);
    assert_eq!(line("person", "phones.value"), [json!("phone"), json!("omit"), Value::Null]);
    assert_eq!(
        line("person", "identifiers.value (resident_id)"),
        [json!("identity_number"), json!("omit"), Value::Null]
    );
    assert_eq!(line("visit", "diagnoses.code"), [json!("diagnosis"), json!("generalise"), json!("I20")]);
    let text = site.run(&["policy", "explain", "marketing"]).exits(0).stdout;
    assert!(text.contains("only of persons who have consented") && text.contains("13800138000"), "{text}");
    assert_eq!(site.run(&["policy", "explain", "nobody"]).status.code(), Some(2));
    let found = site.json(&["policy", "diff", "care", "policies/operations.toml", "--json"]);
    let differences = found["differences"].as_array().expect("differences");
    let name = differences.iter().find(|found| found["class"] == "name").expect("the name differs");
    assert_eq!(
        (&name["one"], &name["other"], &name["other_discloses"]),
        (&json!("clear"), &json!("mask"), &json!("less"))
    );
    assert!(site.run(&["policy", "diff", "care", "care"]).exits(0).stdout.contains("disclose the same"));
    assert!(site.run(&["policy", "diff", "care", "full"]).exits(0).stdout.contains("special hiv"));
}
