//! The audit trail: whatever tells of a patient or changes something leaves an entry, nothing is done without, and no edit goes unseen.

use serde_json::{Value, json};

use crate::support::hl7::{adt, person, registration, resident_number};
use crate::support::http::query;
use crate::support::site::{Site, configuration};

const NAME: &str = "金丝雀";
const PHONE: &str = "13900007734";
const NUMBER: &str = "MRN7734512";

/// A patient whose every value would be found again.
fn canary() -> String {
    let identifiers = format!("{NUMBER}^^^HIS^MR~{}^^^^NI", resident_number("19770705", 78));
    let patient = person(NUMBER, NAME, "19770705", "F", &[(3, identifiers.as_str()), (13, PHONE)]);
    adt("A28", "C1", "20240305103000", &[patient])
}

fn entries(site: &Site, filter: &[&str]) -> Vec<Value> {
    let mut arguments = vec!["audit", "list", "--json"];
    arguments.extend_from_slice(filter);
    site.json(&arguments)["entries"].as_array().unwrap().clone()
}

/// The newest entry of an action.
fn newest(site: &Site, action: &str) -> Value {
    let found = entries(site, &["--action", action]);
    found.first().unwrap_or_else(|| panic!("no entry {action}")).clone()
}

fn holds(list: &Value, text: &str) -> bool {
    list.as_array().unwrap().iter().any(|item| item == text)
}

#[test]
fn every_route_that_tells_of_patients_or_changes_something_leaves_its_entry() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", canary());
    daemon.accept("his", registration("C2", "P2", "李^四"));
    daemon.send("his", registration("C3", "P3", "王^五").replace("|F|", "|no such sex|").replace("PID|", "PID|x|y|z|"));
    let one_id = daemon.one_id(&format!("HIS|{NUMBER}"));
    let other = daemon.one_id("HIS|P2");
    let records = site.token("records", "records");
    let (engineer, crm) = (site.engineer().to_owned(), site.consumer().to_owned());
    let reason = br#"{"reason": "SECRETREASON"}"#;
    let merge = json!({"into": one_id, "reason": "SECRETREASON"}).to_string();
    let record = json!({"name": NAME, "birth_date": "1977-07-05", "phones": [{"value": PHONE}]}).to_string();
    let person = format!("/v1/persons/{one_id}");
    let calls: Vec<(&str, String, &str, &[u8], &str)> = vec![
        ("GET", format!("/v1/persons?identifier={}", query(&format!("HIS|{NUMBER}"))), &engineer, b"", "person.search"),
        ("GET", format!("/v1/persons?phone={PHONE}"), &engineer, b"", "person.search"),
        ("GET", person.clone(), &engineer, b"", "person.read"),
        ("GET", format!("{person}/visits"), &records, b"", "person.visits"),
        ("GET", format!("{person}/lab-reports"), &crm, b"", "person.lab_reports"),
        ("GET", format!("{person}/history"), &engineer, b"", "person.history"),
        (
            "GET",
            format!("{person}/explain?record={}", query(&format!("HIS|{NUMBER}"))),
            &records,
            b"",
            "person.explain",
        ),
        ("POST", "/v1/persons/match".to_owned(), &records, record.as_bytes(), "person.match"),
        ("GET", format!("/v1/messages?one_id={one_id}"), &engineer, b"", "message.list"),
        ("GET", "/v1/messages/1".to_owned(), &engineer, b"", "message.read"),
        ("GET", "/v1/feed?after=start".to_owned(), &crm, b"", "feed.deliver"),
        ("POST", format!("/v1/persons/{other}/merge"), &records, merge.as_bytes(), "person.merge"),
        ("POST", format!("{person}/split"), &records, reason, "person.split"),
    ];
    for (method, target, token, body, action) in &calls {
        let answer = daemon.http(method, target, token, body);
        assert_eq!(answer.status, 200, "{action}: {}", answer.text());
        let entry = newest(&site, action);
        assert_eq!(entry["request"].as_str(), Some(answer.header("x-request-id")), "{action}");
        assert_eq!((&entry["outcome"], &entry["actor"]), (&json!("ok"), &json!("token")), "{action}");
        assert!(entry["origin"] == "127.0.0.1" && holds(&entry["persons"], &one_id), "{action}: {entry}");
    }
    for (method, target, token, action) in [
        ("GET", "/v1/reviews", &records, "review.list"),
        ("GET", "/v1/quality", &engineer, "code.read"),
        ("POST", "/v1/messages/retry", &engineer, "message.retry"),
    ] {
        daemon.http(method, target, token, b"").ok();
        assert_eq!(newest(&site, action)["outcome"], "ok", "{action}");
    }
    for (method, target, token, body, action, outcome) in [
        ("GET", "/v1/messages/999999", &engineer, "", "message.read", "refused"),
        ("POST", "/v1/messages/1/dismiss", &engineer, r#"{"reason": "x"}"#, "message.dismiss", "refused"),
        ("POST", "/v1/messages/1/retry", &engineer, "", "message.retry", "refused"),
        ("GET", "/v1/reviews/99", &records, "", "review.read", "refused"),
        ("POST", "/v1/reviews/99", &records, r#"{"decision": "link", "reason": "x"}"#, "review.decide", "refused"),
        ("GET", "/v1/persons?name=x", &site.token("eve", "auditor"), "", "person.search", "refused"),
        ("GET", "/v1/sources", &records, "", "access.refuse", "refused"),
    ] {
        assert!(daemon.http(method, target, token, body.as_bytes()).status >= 400);
        assert_eq!(newest(&site, action)["outcome"], outcome, "{target}");
    }
    // Nobody's token, and none.
    daemon.get("/v1/feed", "wrong").problem(401);
    assert!(newest(&site, "authentication.fail")["objects"][0].as_str().unwrap().starts_with("token_sha256/"));
    // A page without events is no delivery.
    let pages = entries(&site, &["--action", "feed.deliver"]).len();
    daemon.get("/v1/feed?after=head", &crm).ok();
    assert_eq!(entries(&site, &["--action", "feed.deliver"]).len(), pages);
    let delivered = newest(&site, "feed.deliver");
    assert!(delivered["objects"][0].as_str().unwrap().starts_with("events/1-000000000001.."), "{delivered}");
    assert!(holds(&delivered["objects"], "policy/full"), "by which policy: {delivered}");
    assert!(holds(&newest(&site, "person.lab_reports")["objects"], "policy/full"));
    assert!(!newest(&site, "person.read")["objects"].to_string().contains("policy/"), "staff see everything");
    // What is asked for amiss would find nothing, as if nothing had been done.
    let auditor = site.token("inspector", "auditor");
    for target in ["/v1/audit?action=person.raed", "/v1/audit?action=persons.*", "/v1/audit?person=HIS%7CP2"] {
        daemon.get(target, &auditor).problem(400);
    }
    for wrong in [["--action", "person.raed"], ["--person", "HIS|P2"]] {
        site.run(&["audit", "list", wrong[0], wrong[1]]).exits(2);
    }
    // The auditor reads it, which is an entry too.
    let read = daemon.get("/v1/audit?action=feed.*&limit=5", &site.token("auditor", "auditor")).ok().json();
    assert_eq!(read["entries"][0]["name"], "crm");
    assert_eq!(newest(&site, "audit.read")["name"], "auditor");
    assert_eq!(newest(&site, "audit.read")["actor"], "shell", "that of the line above");
    daemon.get("/v1/audit", &engineer).problem(403);
    assert_eq!(newest(&site, "daemon.start")["objects"][0], format!("version/{}", env!("CARGO_PKG_VERSION")));
    assert!(newest(&site, "configuration.load")["objects"].to_string().contains("file/config/heyi.toml@"));
    drop(daemon);
    site.run(&["audit", "verify"]).exits(0);
}

#[test]
fn every_command_that_tells_of_patients_or_changes_something_leaves_its_entry() {
    let site = Site::new();
    let file = site.write("in/one.hl7", canary());
    let export = file.display().to_string();
    site.run(&["import", "his", &export]).exits(0);
    site.write("in/two.hl7", registration("C2", "P2", "李^四"));
    site.run(&["import", "his", &site.path("in/two.hl7").display().to_string()]).exits(0);
    let found = site.json(&["person", "find", &format!("HIS|{NUMBER}"), "--json"]);
    let one_id = found["persons"][0]["one_id"].as_str().unwrap().to_owned();
    let other = site.json(&["person", "find", "HIS|P2", "--json"])["persons"][0]["one_id"].as_str().unwrap().to_owned();
    let record = format!("HIS|{NUMBER}");
    let asked = site.write(
        "asked.json",
        json!({"name": NAME, "phones": [{"value": PHONE}], "birth_date": "1977-07-05"}).to_string(),
    );
    let asked = asked.display().to_string();
    let reason = ["--reason", "SECRETREASON"];
    let commands: Vec<(Vec<&str>, &str, bool)> = vec![
        (vec!["person", "find", "--name", NAME], "person.search", true),
        (vec!["person", "find", "--match", &asked], "person.match", true),
        (vec!["person", "show", &one_id], "person.read", true),
        (vec!["person", "history", &one_id], "person.history", true),
        (vec!["person", "explain", &one_id, &record], "person.explain", true),
        (vec!["person", "links", "--csv"], "person.links", true),
        (vec!["person", "merge", &other, &one_id, reason[0], reason[1]], "person.merge", true),
        (vec!["person", "split", &other, reason[0], reason[1]], "person.split", true),
        (vec!["person", "link", "HIS|P2", &one_id, reason[0], reason[1]], "person.link", true),
        (vec!["person", "unlink", "HIS|P2", reason[0], reason[1]], "person.unlink", true),
        (vec!["review", "list"], "review.list", false),
        (vec!["message", "list"], "message.list", true),
        (vec!["message", "list", "--json"], "message.list", true),
        (vec!["message", "show", "1"], "message.read", true),
        (vec!["message", "retry", "1"], "message.retry", true),
        (vec!["feed", "export"], "feed.read", true),
        (vec!["mapping", "unmapped"], "code.read", false),
        (vec!["mapping", "diff", "his", "mappings/hl7v2.toml"], "mapping.try", false),
        (vec!["mapping", "coverage", "his", "--last", "5"], "mapping.try", false),
        (vec!["identity", "rescore"], "identity.rescore", false),
        (vec!["token", "create", "x", "--role", "engineer"], "token.create", false),
        (vec!["token", "revoke", "x"], "token.revoke", false),
        (vec!["audit", "list"], "audit.read", false),
        (vec!["audit", "export"], "audit.export", false),
    ];
    for (arguments, action, is_about_one) in &commands {
        let before = newest_sequence(&site);
        site.run(arguments).exits(0);
        let entry = newest(&site, action);
        assert!(entry["sequence"].as_u64().unwrap() > before, "{arguments:?}: {entry}");
        assert_eq!((&entry["outcome"], &entry["origin"]), (&json!("ok"), &json!("shell")), "{arguments:?}");
        assert!(!is_about_one || holds(&entry["persons"], &one_id), "{arguments:?}: {entry}");
    }
    for (arguments, action) in [
        (vec!["person", "show", "01ARZ3NDEKTSV4RRFFQ69G5FAV"], "person.read"),
        (vec!["message", "show", "99"], "message.read"),
        (vec!["message", "dismiss", "1", reason[0], reason[1]], "message.dismiss"),
        (vec!["review", "decide", "99", "link", reason[0], reason[1]], "review.decide"),
        (vec!["token", "revoke", "nobody"], "token.revoke"),
    ] {
        site.run(&arguments).exits(1);
        assert_ne!(newest(&site, action)["outcome"], "ok", "{arguments:?}");
    }
    let imports: Vec<Value> = entries(&site, &["--action", "message.import"]);
    assert_eq!(
        imports.iter().map(|entry| entry["outcome"].as_str().unwrap()).collect::<Vec<_>>(),
        ["ok", "begun", "ok", "begun"]
    );
    // Nothing of the patient, and nothing that was searched for or given as a reason, is in it.
    let dump = site.run(&["audit", "export"]).exits(0).stdout;
    for secret in [NAME, PHONE, NUMBER, "19770705", "1977-07-05", "李四", "SECRETREASON", "|P2"] {
        assert!(!dump.contains(secret), "{secret}");
    }
    let export = site.write("trail.ndjson", &dump).display().to_string();
    site.run(&["audit", "verify", "--file", &export]).exits(0);
    let part = site.run(&["audit", "export", "--since", "2000-01-01"]).exits(0).stdout;
    assert!(part.lines().count() > dump.lines().count());
    site.write("trail.ndjson", dump.replacen("\"outcome\":\"ok\"", "\"outcome\":\"refused\"", 1));
    site.run(&["audit", "verify", "--file", &export]).exits(1);
}

fn newest_sequence(site: &Site) -> u64 {
    entries(site, &["--limit", "1"])[0]["sequence"].as_u64().unwrap()
}

#[test]
fn what_was_asked_for_by_http_is_not_in_the_trail_either() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", canary());
    let engineer = site.engineer();
    daemon.get(&format!("/v1/persons?name={}&phone={PHONE}", query(NAME)), engineer).ok();
    // What people type where a One ID or the number of a message belongs.
    daemon.get(&format!("/v1/persons/{PHONE}"), engineer).problem(404);
    daemon.get(&format!("/v1/persons/{}/visits", query(NAME)), engineer).problem(404);
    daemon.get(&format!("/v1/messages/{PHONE}"), engineer).problem(404);
    daemon.get(&format!("/v1/messages?control_id={PHONE}&source={}", query(NAME)), engineer).ok();
    daemon.get(&format!("/v1/feed?after={PHONE}"), engineer).problem(403);
    daemon.get("/v1/feed", PHONE).problem(401);
    let dump = site.run(&["audit", "export"]).exits(0).stdout;
    for secret in [NAME, PHONE, NUMBER, &query(NAME)] {
        assert!(!dump.contains(secret), "{secret}");
    }
    assert!(dump.contains("person.search") && dump.contains("name phone"));
}

#[test]
fn verifying_finds_a_change_that_was_made_beside_the_program() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", canary());
    daemon.one_id(&format!("HIS|{NUMBER}"));
    site.run(&["audit", "verify"]).exits(0);
    drop(daemon);
    let verified = site.json(&["audit", "verify", "--json"]);
    assert!(verified["verified"] == true && verified["outside"].as_u64().unwrap() > 0, "{verified}");
    // A copy, with the public key and the checkpoints that the auditor has.
    let copy = Site::new();
    for name in ["heyi.db", "heyi.db-wal", "heyi.audit.key.pub", "heyi.audit.checkpoints"] {
        // The log is there where the daemon was not stopped in order.
        if let Ok(bytes) = std::fs::read(site.path(&format!("data/{name}"))) {
            copy.write(&format!("data/{name}"), bytes);
        }
    }
    copy.run(&["audit", "verify"]).exits(0);
    assert!(!copy.path("data/heyi.audit.key").exists(), "evidence is looked at and not added to");
    let change = |sql: &str| {
        rusqlite::Connection::open(copy.path("data/heyi.db")).unwrap().execute_batch(sql).unwrap();
        let run = copy.run(&["audit", "verify", "--json"]).exits(1);
        (run.json()["kind"].as_str().unwrap().to_owned(), run.json()["sequence"].as_u64().unwrap())
    };
    assert_eq!(change("UPDATE audit_entry SET name = 'nobody' WHERE sequence = 3"), ("changed".to_owned(), 3));
    let checks = change("DELETE FROM audit_entry WHERE sequence > 2");
    assert_eq!(checks, ("tail_cut".to_owned(), 2));
    site.run(&["audit", "verify"]).exits(0);
}

#[test]
fn a_row_that_is_gone_from_the_index_of_persons_is_named_and_put_back() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", canary());
    let one_id = daemon.one_id(&format!("HIS|{NUMBER}"));
    drop(daemon);
    site.run(&["person", "show", &one_id]).exits(0);
    let of_person = || entries(&site, &["--person", &one_id, "--action", "person.read"]).len();
    let (shown, last) = (of_person(), newest(&site, "person.read")["sequence"].clone());
    assert!(shown > 0);
    let store = rusqlite::Connection::open(site.path("data/heyi.db")).unwrap();
    store.execute("DELETE FROM audit_person WHERE sequence = ?1", [last.as_i64().unwrap()]).unwrap();
    drop(store);
    assert_eq!(of_person(), shown - 1, "it is hidden");
    let found = site.run(&["audit", "verify", "--json"]).exits(1).json();
    assert_eq!((&found["kind"], &found["sequence"]), (&json!("index"), &last));
    let told = site.run(&["audit", "verify"]).exits(1).stdout;
    assert!(told.contains("index of persons is broken") && told.contains("heyi audit reindex"), "{told}");
    assert_eq!(site.run(&["audit", "reindex"]).exits(0).stdout, "put back: 1\n");
    site.run(&["audit", "verify"]).exits(0);
    assert_eq!(of_person(), shown);
    let outcomes: Vec<Value> =
        entries(&site, &["--action", "audit.reindex"]).iter().map(|entry| entry["outcome"].clone()).collect();
    assert_eq!(outcomes, ["ok", "begun"]);
}

#[test]
fn nothing_is_read_or_decided_that_cannot_be_written_down() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", canary());
    let one_id = daemon.one_id(&format!("HIS|{NUMBER}"));
    let engineer = site.engineer().to_owned();
    // Somebody else holds the lock for writing, longer than anybody waits; reading alone would go on.
    let blocker = rusqlite::Connection::open(site.path("data/heyi.db")).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    std::thread::scope(|scope| {
        let shell = scope.spawn(|| site.run(&["person", "show", &one_id]).exits(1));
        let answer = daemon.get(&format!("/v1/persons/{one_id}"), &engineer);
        assert_eq!(answer.problem(503)["type"], "/problems/not-audited");
        assert!(!answer.text().contains(NAME));
        let shell = shell.join().unwrap();
        assert!(shell.stdout.is_empty() && shell.stderr.contains("audit trail"), "{shell:?}");
    });
    blocker.execute_batch("ROLLBACK").unwrap();
    daemon.get(&format!("/v1/persons/{one_id}"), &engineer).ok();
    site.run(&["person", "show", &one_id]).exits(0);
}

#[test]
fn wrong_tokens_lock_an_address_out_and_who_was_let_in_before_goes_on() {
    let limits = "listen = \"127.0.0.1:0\"\nlock_out = { failures = 3, within = \"10m\", time = \"10m\" }";
    let site = Site::configured(&configuration("", "").replacen("listen = \"127.0.0.1:0\"", limits, 1));
    let daemon = site.start();
    let (known, unknown) = (site.engineer().to_owned(), site.consumer().to_owned());
    daemon.get("/v1/sources", &known).ok();
    for guess in ["heyi_1", "heyi_2", "heyi_3"] {
        daemon.get("/v1/sources", guess).problem(401);
    }
    let refused = daemon.get("/v1/feed", &unknown);
    refused.problem(429);
    assert!((590..=600).contains(&refused.header("retry-after").parse::<u32>().unwrap()));
    daemon.get("/v1/sources", &known).ok();
    let locked = entries(&site, &["--action", "authentication.*"]);
    let actions: Vec<&str> = locked.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(
        actions,
        ["authentication.lock_out", "authentication.fail", "authentication.fail", "authentication.fail"]
    );
}
