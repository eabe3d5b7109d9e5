//! Tokens and roles: nobody reads without one, and each role reads what the contract gives it.

use serde_json::Value;

use crate::support::hl7::registration;
use crate::support::site::{Site, configuration};

#[test]
fn only_the_health_of_the_daemon_is_told_without_a_token() {
    let site = Site::new();
    let daemon = site.start();
    for open in ["/healthz", "/readyz"] {
        assert_eq!(daemon.get(open, "").status, 200, "{open}");
    }
    daemon.accept("his", registration("C1", "P1", "张^伟"));
    let one_id = daemon.one_id("HIS|P1");
    for closed in [
        "/metrics",
        "/v1/feed",
        "/v1/feed/cursor",
        &format!("/v1/persons/{one_id}"),
        &format!("/v1/persons/{one_id}/visits"),
        &format!("/v1/persons/{one_id}/lab-reports"),
        &format!("/v1/persons/{one_id}/history"),
        "/v1/persons?identifier=HIS%7CP1",
        "/v1/messages",
        "/v1/messages/1",
        "/v1/sources",
        "/v1/consumers",
        "/v1/consumers/crm/parked",
        "/v1/feed/stream",
        "/v1/quality",
    ] {
        for token in ["", "wrong", "heyi_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            let response = daemon.get(closed, token);
            response.problem(401);
            assert!(response.header("www-authenticate").starts_with("Bearer"), "{closed}");
        }
    }
}

#[test]
fn each_role_reads_what_the_contract_gives_it() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", registration("C1", "P1", "张^伟"));
    let one_id = daemon.one_id("HIS|P1");
    let person = format!("/v1/persons/{one_id}");
    let message = format!("/v1/messages/{}", site.messages(&[])[0]["id"].to_string().trim_matches('"'));
    // One column a role: consumer, engineer, records, auditor.
    let table: [(&str, [u16; 4]); 9] = [
        ("/metrics", [200, 200, 200, 200]),
        ("/v1/feed", [200, 403, 403, 403]),
        ("/v1/feed/cursor", [200, 403, 403, 403]),
        (&person, [200, 200, 200, 403]),
        ("/v1/persons?identifier=HIS%7CP1", [200, 200, 200, 403]),
        ("/v1/messages", [403, 200, 403, 403]),
        (&message, [403, 200, 403, 403]),
        ("/v1/sources", [403, 200, 403, 403]),
        ("/v1/quality", [403, 200, 403, 403]),
    ];
    let roles = ["consumer", "engineer", "records", "auditor"];
    let tokens = roles.map(|role| site.token(&format!("a-{role}"), role));
    for (target, expected) in table {
        for ((role, token), status) in roles.iter().zip(&tokens).zip(expected) {
            assert_eq!(daemon.get(target, token).status, status, "{role} at {target}");
        }
    }
    daemon.get("/v1/messages", &tokens[0]).problem(403);
}

#[test]
fn raw_messages_are_for_engineers() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", registration("C1", "P1", "Zhang^Canary"));
    let id = site.messages(&[])[0]["id"].to_string();
    let text = daemon.get(&format!("/v1/messages/{}", id.trim_matches('"')), site.engineer()).ok().text();
    assert!(text.contains("Zhang^Canary"), "{text}");
}

#[test]
fn a_revoked_token_opens_nothing() {
    let site = Site::new();
    let daemon = site.start();
    let token = site.token("leaver", "engineer");
    assert_eq!(daemon.get("/v1/messages", &token).status, 200);
    let listed = site.json(&["token", "list", "--json"]);
    assert!(listed.to_string().contains("leaver") && !listed.to_string().contains(&token), "{listed}");
    site.run(&["token", "revoke", "leaver"]).exits(0);
    daemon.get("/v1/messages", &token).problem(401);
}

#[test]
fn a_token_is_not_kept_in_clear() {
    let site = Site::new();
    let token = site.token("crm", "consumer");
    for name in ["data/heyi.db", "data/heyi.db-wal"] {
        let bytes = std::fs::read(site.path(name)).unwrap_or_default();
        assert!(!bytes.windows(token.len()).any(|window| window == token.as_bytes()), "{name}");
    }
}

#[test]
fn a_consumer_that_is_not_configured_reads_nothing() {
    let site = Site::new();
    let stranger = site.token("stranger", "consumer");
    site.write("config/heyi.toml", configuration("", "[[consumers]]\nname = \"crm\"\n"));
    let daemon = site.start();
    daemon.get("/v1/feed", &stranger).problem(403);
    assert_eq!(daemon.get("/v1/feed", site.consumer()).status, 200);
    assert_eq!(site.run(&["token", "create", "nobody", "--role", "consumer"]).status.code(), Some(1));
}

#[test]
fn a_policy_that_cannot_be_applied_closes_the_feed() {
    let more =
        "[[consumers]]\nname = \"crm\"\npolicy = \"own\"\n\n[[consumers]]\nname = \"ads\"\npurpose = \"marketing\"\n";
    let site = Site::configured(&configuration("", more));
    let told = site.run(&["check"]).exits(1).stderr;
    assert!(told.contains("policies/own.toml") && told.contains("policy = \"own\""), "{told}");
    assert_eq!(site.run(&["serve"]).status.code(), Some(2), "a policy that cannot be read stops the start");
    site.write("policies/own.toml", "[fields]\n");
    site.run(&["check"]).exits(0);
    let daemon = site.start();
    daemon.accept("his", registration("C1", "P1", "张^伟"));
    let page = daemon.get("/v1/feed?after=start", site.consumer()).ok();
    assert_eq!(page.json()["events"][0]["type"], "patient.created");
    assert!(!page.text().contains('张'), "what a policy does not name does not leave: {}", page.text());
    // Nobody has consented, so marketing gets nothing.
    let page = daemon.get("/v1/feed?after=start", &site.token("ads", "consumer")).ok().json();
    assert_eq!(page["events"].as_array().map(Vec::len), Some(0), "{page}");
}

#[test]
fn every_documented_address_exists_and_is_closed() {
    let site = Site::new();
    let daemon = site.start();
    let description = daemon.json("/openapi.json");
    assert!(description["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{description}");
    let paths = description["paths"].as_object().unwrap();
    for promised in
        ["/v1/feed", "/v1/feed/cursor", "/v1/persons", "/v1/persons/{one_id}", "/v1/messages", "/v1/sources"]
    {
        assert!(paths.contains_key(promised), "{promised} is not described");
    }
    for (path, operations) in paths {
        let target = path.replace("{one_id}", "01ARZ3NDEKTSV4RRFFQ69G5FAV").replace("{id}", "1");
        for method in
            operations.as_object().unwrap().keys().filter(|key| ["get", "put", "post"].contains(&key.as_str()))
        {
            let status = daemon.http(&method.to_uppercase(), &target, "", b"{}").status;
            assert!([200, 401].contains(&status), "{method} {path}: {status}");
        }
    }
    for schema in ["person", "visit", "lab_report"] {
        let schema: Value = daemon.json(&format!("/schemas/{schema}.v1.json"));
        assert!(schema["properties"].is_object(), "{schema}");
    }
}
