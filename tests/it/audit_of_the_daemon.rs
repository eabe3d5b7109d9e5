//! The audit trail of what the daemon does by itself, and of what people decide: each leaves its entry, with what it names.

use heyi::audit::{Action, Actor, Entry};
use heyi::store::{Access, Store, StoreConfig, audit};
use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::eventually;
use crate::support::hl7::{admission_of_nobody, adt, person, registration};
use crate::support::receiver::{Mood, Receiver};
use crate::support::site::{Site, configuration};

fn entries(site: &Site, filter: &[&str]) -> Vec<Value> {
    let mut arguments = vec!["audit", "list", "--json"];
    arguments.extend_from_slice(filter);
    site.json(&arguments)["entries"].as_array().unwrap().clone()
}

/// The entries of an action, newest first.
fn of(site: &Site, action: &str) -> Vec<Value> {
    entries(site, &["--action", action])
}

fn objects(entry: &Value) -> String {
    entry["objects"].to_string()
}

/// `HIS|P1` and `LIS|88`, of whom as much is equal as two people may share.
fn two_alike(daemon: &Daemon<'_>, name: &str) -> (String, String) {
    daemon.accept("his", registration("C1", "P1", name));
    daemon
        .accept("lis", adt("A28", "L1", "20240305090000", &[person("", name, "19800102", "M", &[(3, "88^^^LIS^MR")])]));
    (daemon.one_id("HIS|P1"), daemon.one_id("LIS|88"))
}

#[test]
fn changed_mappings_renewed_certificates_and_the_stop_are_written_down_with_their_files() {
    let certificate = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let first = certificate();
    let tls = r#", tls = { certificate = "config/server.pem", key_file = "config/server.key" }"#;
    let site = Site::configured(&configuration(tls, ""));
    site.write("config/server.key", first.signing_key.serialize_pem());
    site.write("config/server.pem", first.cert.pem());
    let mut daemon = site.start();
    let load = |count: usize| {
        eventually("the mappings to be read", || Some(of(&site, "mapping.load")).filter(|found| found.len() == count))
    };
    assert!(of(&site, "mapping.load").is_empty() && of(&site, "daemon.stop").is_empty());
    site.write("mappings/tables/vip.csv", "source,target,note\nV,true,\n");
    daemon.hang_up();
    let loaded = load(1)[0].clone();
    assert_eq!((&loaded["outcome"], &loaded["actor"]), (&json!("ok"), &json!("daemon")), "{loaded}");
    assert!(objects(&loaded).contains("file/mappings/tables/vip.csv@"), "{loaded}");
    site.write("mappings/tables/vip.csv", "source,target,note\nV,perhaps,\n");
    daemon.hang_up();
    let refused = load(2)[0].clone();
    assert_eq!(refused["outcome"], "refused", "{refused}");
    assert_ne!(objects(&refused), objects(&loaded), "the digest tells the versions apart");

    let renewed = certificate();
    site.write("config/server.key", renewed.signing_key.serialize_pem());
    site.write("config/server.pem", renewed.cert.pem());
    let taken = eventually("the renewed certificate", || {
        // Whoever connects makes the listener look.
        drop(std::net::TcpStream::connect(daemon.address("his")));
        of(&site, "certificate.load").into_iter().find(|entry| entry["outcome"] == "ok")
    });
    assert!(objects(&taken).contains("file/config/server.pem@"), "{taken}");
    assert_eq!(of(&site, "configuration.load").len(), 1);

    daemon.terminate();
    daemon.wait();
    let stopped = of(&site, "daemon.stop");
    assert_eq!(stopped.len(), 1);
    assert_eq!(stopped[0]["request"], loaded["request"], "of one run");
    site.run(&["audit", "verify"]).exits(0);
}

#[test]
fn changed_policies_are_written_down_with_their_files_and_nothing_else_is() {
    let site = Site::configured(&configuration("", "[[consumers]]\nname = \"follow-up\"\npolicy = \"care\"\n"));
    let daemon = site.start();
    let started = objects(&of(&site, "configuration.load")[0]);
    for file in ["care", "full", "special-categories"] {
        assert!(started.contains(&format!("file/policies/{file}.toml@")), "{started}");
    }
    let load = |count: usize| {
        eventually("the policies to be read", || Some(of(&site, "policy.load")).filter(|found| found.len() == count))
    };
    let shipped = std::fs::read_to_string(site.path("policies/care.toml")).unwrap();
    site.write("policies/care.toml", shipped.replace("origin          = \"omit\"", "origin          = \"clear\""));
    daemon.hang_up();
    let loaded = load(1)[0].clone();
    assert_eq!((&loaded["outcome"], &loaded["actor"]), (&json!("ok"), &json!("daemon")), "{loaded}");
    assert!(objects(&loaded).contains("file/policies/care.toml@") && !objects(&loaded).contains("mappings/"));
    site.write("policies/care.toml", "no policy");
    daemon.hang_up();
    let refused = load(2)[0].clone();
    assert_eq!(refused["outcome"], "refused", "{refused}");
    assert_ne!(objects(&refused), objects(&loaded), "the digest tells the versions apart");
    assert!(of(&site, "mapping.load").is_empty(), "no mapping has changed");
    let special = std::fs::read_to_string(site.path("policies/special-categories.toml")).unwrap();
    site.write("policies/care.toml", shipped);
    site.write("policies/special-categories.toml", special.replace("\"心理\", ", ""));
    daemon.hang_up();
    assert_eq!(load(3)[0]["outcome"], "ok", "other special categories are another disclosure");
    // Nothing has changed since.
    daemon.hang_up();
    site.write("mappings/tables/vip.csv", "source,target,note\nV,true,\n");
    daemon.hang_up();
    let mapping = eventually("the mapping", || of(&site, "mapping.load").into_iter().next());
    assert!(!objects(&mapping).contains("policies/"), "{mapping}");
    assert_eq!(load(3).len(), 3);
}

#[test]
fn who_shows_no_client_certificate_or_a_stranger_s_is_let_in_nowhere_and_written_down() {
    let certificate = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (server, client, stranger) = (certificate(), certificate(), certificate());
    let tls = "tls = { certificate = \"config/server.pem\", key_file = \"config/server.key\", client_ca = \"config/client.pem\" }";
    let http = "[http]\nlisten = \"127.0.0.1:0\"\n";
    let site = Site::configured(&configuration("", "").replace(http, &format!("{http}{tls}\n")));
    site.write("config/server.key", server.signing_key.serialize_pem());
    site.write("config/server.pem", server.cert.pem());
    site.write("config/client.pem", client.cert.pem());
    let daemon = site.start();
    daemon.accept("his", registration("C1", "P1", "张^伟"));
    let url = format!("https://localhost:{}/v1/feed?after=start", daemon.address("http").port());
    // Where another test of this process was first, the provider is there.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ask = |shown: Option<&rcgen::CertifiedKey<rcgen::KeyPair>>| {
        let root = reqwest::Certificate::from_pem(server.cert.pem().as_bytes()).unwrap();
        let mut client = reqwest::Client::builder().no_proxy().tls_certs_only([root]);
        if let Some(shown) = shown {
            let both = format!("{}{}", shown.cert.pem(), shown.signing_key.serialize_pem());
            client = client.identity(reqwest::Identity::from_pem(both.as_bytes()).unwrap());
        }
        let request = client.build().unwrap().get(&url).bearer_auth(site.consumer());
        runtime.block_on(request.send()).map(|answer| answer.status().as_u16())
    };
    assert!(ask(None).is_err(), "a valid token does not help");
    let refused = eventually("the refusal", || of(&site, "authentication.fail").first().cloned());
    assert!(ask(Some(&stranger)).is_err(), "nor does another certificate");
    assert_eq!((&refused["outcome"], &refused["actor"]), (&json!("refused"), &json!("unknown")), "{refused}");
    assert_eq!((&refused["origin"], &refused["objects"]), (&json!("127.0.0.1"), &json!(["certificate/client"])));
    assert!(of(&site, "feed.deliver").is_empty(), "nothing was told");
    assert_eq!(ask(Some(&client)).unwrap(), 200);
    let told = of(&site, "feed.deliver");
    assert_eq!((told.len(), &told[0]["name"]), (1, &json!("crm")));
    assert_eq!(of(&site, "authentication.fail").len(), 1, "the same again within a minute is one entry");
}

#[test]
fn what_was_posted_and_not_taken_is_written_down_too() {
    let receiver = Receiver::start();
    receiver.answers(|_| Mood::Status(500));
    let webhook = format!(
        "[[consumers]]\nname = \"pushed\"\nwebhook = {{ url = \"{}\", secret_file = \"config/secret\", schedule = [\"50ms\"] }}\n",
        receiver.url()
    );
    let site = Site::configured(&configuration("", &webhook));
    let secret = site.write("config/secret", "whsec_YSBzZWNyZXQgb2YgbW9yZSB0aGFuIDI0IGJ5dGVz\n");
    std::fs::set_permissions(secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let daemon = site.start();
    daemon.accept("his", registration("C1", "P1", "张^伟"));
    let one_id = daemon.one_id("HIS|P1");
    let outcomes = || -> Vec<Value> {
        let told = entries(&site, &["--action", "feed.deliver", "--person", &one_id]);
        told.iter().map(|entry| entry["outcome"].clone()).collect()
    };
    eventually("what was not taken", || outcomes().contains(&json!("failed")).then_some(()));
    assert!(!outcomes().contains(&json!("ok")) && receiver.taken().is_empty());
    receiver.answers(|_| Mood::Status(204));
    eventually("what was taken", || outcomes().contains(&json!("ok")).then_some(()));
    assert_eq!(outcomes().first(), Some(&json!("ok")), "the newest");
    let told = entries(&site, &["--action", "feed.deliver", "--person", &one_id]);
    assert!(told.iter().all(|entry| objects(entry).contains("consumer/pushed")), "{told:?}");
    assert!(told.iter().all(|entry| objects(entry).contains("policy/full")), "{told:?}");
}

#[test]
fn who_decides_a_case_or_dismisses_a_message_is_named_with_what_it_was() {
    let site = Site::new();
    let daemon = site.start();
    let (one, other) = two_alike(&daemon, "张^伟");
    let records = site.token("clerk", "records");
    let review = site.json(&["review", "list", "--json"])["reviews"][0]["id"].to_string();
    let body = br#"{"decision": "link", "reason": "looked"}"#;
    daemon.http("POST", &format!("/v1/reviews/{review}"), &records, body).ok();
    let decided = of(&site, "review.decide")[0].clone();
    assert_eq!((&decided["name"], &decided["role"]), (&json!("clerk"), &json!("records")));
    assert_eq!(
        (&decided["outcome"], objects(&decided).contains(&format!("review/{review}"))),
        (&json!("ok"), true),
        "{decided}"
    );
    for one_id in [&one, &other] {
        let about = entries(&site, &["--person", one_id, "--action", "review.decide"]);
        assert_eq!(about.len(), 1, "found by each of the two: {decided}");
    }
    site.run(&["review", "decide", &review, "reject", "--reason", "looked again"]).exits(0);
    let again = of(&site, "review.decide")[0].clone();
    assert_eq!((&again["actor"], &again["origin"]), (&json!("shell"), &json!("shell")));

    daemon.send("his", admission_of_nobody("BAD1"));
    daemon.send("his", admission_of_nobody("BAD2"));
    let failed: Vec<String> =
        site.messages(&["--state", "failed"]).iter().map(|message| message["id"].to_string()).collect();
    let target = format!("/v1/messages/{}/dismiss", failed[0]);
    daemon.http("POST", &target, site.engineer(), br#"{"reason": "a test"}"#).ok();
    let dismissed = of(&site, "message.dismiss")[0].clone();
    assert_eq!((&dismissed["outcome"], &dismissed["actor"]), (&json!("ok"), &json!("token")));
    assert!(objects(&dismissed).contains(&format!("message/{}", failed[0])), "{dismissed}");
    site.run(&["message", "dismiss", &failed[1], "--reason", "a test"]).exits(0);
    let dismissed = of(&site, "message.dismiss")[0].clone();
    assert_eq!((&dismissed["outcome"], &dismissed["actor"]), (&json!("ok"), &json!("shell")));
    assert!(objects(&dismissed).contains(&format!("message/{}", failed[1])), "{dismissed}");
}

#[test]
fn training_and_comparing_models_and_reading_the_feed_at_the_shell_are_written_down() {
    let site = Site::new();
    let daemon = site.start();
    for number in 0..30 {
        daemon.accept("his", registration(&format!("C{number}"), &format!("P{number}"), &format!("张^{number}")));
    }
    // Whether so few records can teach anything is not the question: that they were read is.
    let trained = site.run(&["identity", "train", "--out", "model.toml"]);
    let told: Vec<Value> = of(&site, "identity.read");
    assert_eq!(told.len(), 2, "{trained:?}");
    assert_eq!(told[1]["outcome"], "begun");
    assert_eq!(told[0]["outcome"] == "ok", trained.status.success(), "{told:?}");
    assert_eq!(told[0]["request"], told[1]["request"]);
    // The model in force against the same: what comes of it is not the question either.
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/config/identity.toml");
    site.run(&["identity", "compare", model]).exits(0);
    let told: Vec<Value> = of(&site, "identity.read");
    assert_eq!(told.len(), 4);
    assert_eq!([&told[1]["outcome"], &told[0]["outcome"]], ["begun", "ok"]);
    assert!(told[0]["request"] == told[1]["request"] && told[0]["request"] != told[2]["request"], "{told:?}");
    assert_eq!((&told[0]["actor"], &told[0]["persons"]), (&json!("shell"), &json!([])));

    let mut tail = site
        .command(&["feed", "tail", "--after", "start", "--json"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let output = tail.stdout.take().unwrap();
    let line = std::io::BufRead::lines(std::io::BufReader::new(output)).next();
    let (id, read) = (daemon.one_id("HIS|P0"), of(&site, "feed.read"));
    tail.kill().unwrap();
    tail.wait().unwrap();
    assert!(line.unwrap().unwrap().contains(&id), "the first event is printed");
    assert_eq!((&read[0]["actor"], read[0]["persons"].to_string().contains(&id)), (&json!("shell"), true), "{read:?}");
    assert!(objects(&read[0]).contains("events/1-000000000001.."), "{read:?}");
}

#[test]
fn what_is_older_than_it_is_kept_goes_and_its_going_is_an_entry() {
    const GONE: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let site = Site::new();
    let store = Store::open(&StoreConfig::new(site.path("data/heyi.db"), Access::Command)).unwrap();
    let now = jiff::Timestamp::now().as_microsecond();
    // A trail of eight years, an entry each year.
    let written = store.submit_blocking(move |transaction| {
        for years in (0..8).rev() {
            let at = now - years * 366 * 86_400_000_000;
            let mut entry = Entry::new(at, Actor::Shell { name: "li".to_owned() }, Action::PersonRead, "shell", "r");
            entry.person(GONE);
            audit::append(transaction, &entry)?;
        }
        Ok(())
    });
    written.unwrap();
    drop(store);
    assert_eq!(entries(&site, &["--person", GONE]).len(), 8);
    let daemon = site.start();
    let pruned = eventually("the oldest to go", || of(&site, "audit.prune").into_iter().next());
    assert_eq!((&pruned["actor"], &pruned["outcome"]), (&json!("daemon"), &json!("ok")));
    assert!(objects(&pruned).contains("entries_up_to/"), "{pruned}");
    assert_eq!(entries(&site, &["--person", GONE]).len(), 7, "six whole years stay");
    drop(daemon);
    site.run(&["audit", "verify"]).exits(0);
}

#[test]
fn messages_and_events_that_the_retention_removes_are_written_down() {
    let site = Site::new();
    let daemon = site.start();
    for number in 1..=3 {
        daemon.accept("his", registration(&format!("C{number}"), &format!("P{number}"), &format!("张^{number}")));
    }
    let head = daemon.get("/v1/feed?after=start", site.consumer()).ok().json()["head"].clone();
    let cursor = json!({ "cursor": head }).to_string();
    daemon.http("PUT", "/v1/feed/cursor", site.consumer(), cursor.as_bytes()).ok();
    drop(daemon);
    assert!(of(&site, "retention.prune").is_empty());
    // Two years ago.
    let old = jiff::Timestamp::now().as_microsecond() - 730 * 86_400_000_000;
    let store = rusqlite::Connection::open(site.path("data/heyi.db")).unwrap();
    store
        .execute_batch(&format!("UPDATE message SET received_at = {old}; UPDATE event SET recorded_at = {old};"))
        .unwrap();
    drop(store);
    let daemon = site.start();
    let gone = |what: &str| {
        eventually(what, || of(&site, "retention.prune").into_iter().find(|entry| objects(entry).contains(what)))
    };
    for what in ["messages_up_to/", "events_before/"] {
        let pruned = gone(what);
        assert_eq!((&pruned["actor"], &pruned["outcome"]), (&json!("daemon"), &json!("ok")));
        assert!(objects(&pruned).contains("removed/2"), "the newest stays: {pruned}");
    }
    assert_eq!(site.messages(&[]).len(), 1);
    drop(daemon);
    site.run(&["audit", "verify"]).exits(0);
}
