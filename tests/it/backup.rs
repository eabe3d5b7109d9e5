//! A backup is the store at one moment, made while messages come; a restore is another epoch of the feed, and who reads the feed learns
//! of it and ends with what is there.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::daemon::{Daemon, column, record_of};
use crate::support::hl7::{adt, inpatient, pid, registration};
use crate::support::site::Site;

fn register(daemon: &Daemon<'_>, number: &str, id: &str, name: &str) {
    daemon.accept("his", registration(id, number, name));
}

/// An admission of patient `number` with visit `V-number` in `place`.
fn admit(daemon: &Daemon<'_>, id: &str, number: &str, at: &str, place: &str) {
    let visit = inpatient(&format!("V-{number}"), place, at, "");
    daemon.accept("his", adt("A01", id, at, &[pid(number, "张^伟"), visit]));
}

/// Backs the store up into `name` below the site.
fn backup(site: &Site, name: &str) -> Value {
    let file = site.path(name);
    site.json(&["backup", file.to_str().unwrap(), "--json"])
}

fn restore(site: &Site, name: &str) -> Value {
    let file = site.path(name);
    site.json(&["restore", file.to_str().unwrap(), "--json"])
}

/// A CRM that keeps the newest it was told of each record, as the guide for consumers says: it forgets nothing, drops what is older than
/// what it holds, and an event of a newer epoch is never older.
#[derive(Default)]
struct Crm {
    /// By kind and name: epoch, version and ward.
    held: BTreeMap<(String, String), (u64, u64, Value)>,
    cursor: String,
}

impl Crm {
    fn read(&mut self, daemon: &Daemon<'_>) {
        let after = if self.cursor.is_empty() { "start" } else { &self.cursor };
        let (events, cursor) = daemon.feed_after(after);
        for event in events {
            let data = &event["data"];
            self.take(&cursor, record_of(&event), data["version"].as_u64().unwrap(), data);
        }
        self.cursor = cursor;
    }

    fn take(&mut self, cursor: &str, name: (String, String), version: u64, data: &Value) {
        let epoch: u64 = cursor.split('-').next().unwrap().parse().unwrap();
        let held = self.held.entry(name).or_default();
        if (epoch, version) > (held.0, held.1) {
            *held =
                (epoch, version, data["location"].clone().as_object().map_or(data["ward"].clone(), |_| Value::Null));
        }
    }

    /// Drops what is not listed, forgets what differs, and goes on where it is told.
    fn reconcile(&mut self, daemon: &Daemon<'_>) {
        let mut listed = BTreeMap::new();
        let mut after = String::new();
        loop {
            let page = daemon.get(&format!("/v1/feed/reconcile?limit=2{after}"), daemon.site.consumer()).ok().json();
            for row in page["records"].as_array().unwrap() {
                assert!(row.get("record").is_none(), "{row}");
                let name = (row["kind"].as_str().unwrap().to_owned(), row["id"].as_str().unwrap().to_owned());
                listed.insert(name, row["version"].as_u64().unwrap());
            }
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => {
                    self.cursor = page["cursor"].as_str().unwrap().to_owned();
                    break;
                }
            }
        }
        self.held.retain(|name, held| listed.get(name) == Some(&held.1));
        for (name, version) in listed {
            if !self.held.contains_key(&name) {
                let row = self.look_up(daemon, &name);
                self.held.insert(name, (0, version, row));
            }
        }
    }

    /// What a consumer asks for by the One ID is found here by the snapshot.
    fn look_up(&self, daemon: &Daemon<'_>, name: &(String, String)) -> Value {
        let rows = snapshot(daemon);
        let row = rows.into_iter().find(|row| row["id"] == name.1.as_str() && row["kind"] == name.0.as_str()).unwrap();
        row["record"]["ward"].clone()
    }
}

fn snapshot(daemon: &Daemon<'_>) -> Vec<Value> {
    let page = daemon.get("/v1/feed/snapshot?limit=1000", daemon.site.consumer()).ok().json();
    assert_eq!(page["next"], Value::Null);
    page["records"].as_array().unwrap().clone()
}

#[test]
fn a_backup_made_while_messages_come_is_the_store_at_one_moment() {
    let site = Site::new();
    let daemon = site.start();
    let made = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            for index in 0..300 {
                register(&daemon, &format!("P{index}"), &format!("C{index}"), "张^伟");
            }
        });
        while daemon.feed().len() < 20 {}
        let made = backup(&site, "copies/now.db");
        sender.join().unwrap();
        made
    });
    let all = daemon.feed();
    daemon.kill();
    // The log of the store that is gone stays behind; it must not be read into the one that is put back.
    std::fs::remove_file(site.path("data/heyi.db")).unwrap();
    let restored = restore(&site, "copies/now.db");
    let sequence = |head: &Value| head.as_str().unwrap().split('-').nth(1).unwrap().parse::<usize>().unwrap();
    let held = sequence(&made["head"]);
    assert!((20..=all.len()).contains(&held), "{made}");
    assert_eq!(sequence(&restored["head"]), held);
    let daemon = site.start();
    let after = daemon.feed();
    assert_eq!(column(&after, "id"), column(&all[..held], "id"));
    // Each event that is there is there with its person and its message.
    assert_eq!(
        snapshot(&daemon).len(),
        column(&after, "type").iter().filter(|kind| **kind == "patient.created").count()
    );
    assert_eq!(site.messages(&["--limit", "1000"]).len(), held);
}

#[test]
fn a_consumer_ends_with_what_is_there_after_a_restore() {
    let site = Site::new();
    let daemon = site.start();
    let mut crm = Crm::default();
    admit(&daemon, "C1", "P1", "20240305103000", "ICU^1^1");
    admit(&daemon, "C2", "P2", "20240305103000", "ICU^2^1");
    backup(&site, "before.db");
    // Lost by the restore: a move of P1, and a patient who is not known afterwards.
    admit(&daemon, "C3", "P1", "20240305113000", "LOST^1^1");
    register(&daemon, "P3", "C4", "王^芳");
    crm.read(&daemon);
    let lost_cursor = crm.cursor.clone();
    daemon.kill();
    let restored = restore(&site, "before.db");
    assert_eq!((restored["epoch"].as_u64(), restored["tokens_kept"].as_bool()), (Some(2), Some(true)), "{restored}");
    let daemon = site.start();
    // The same version with other content, before the consumer comes.
    admit(&daemon, "C5", "P1", "20240305123000", "WARD9^1^1");
    let problem = daemon.get(&format!("/v1/feed?after={lost_cursor}"), site.consumer()).problem(409);
    assert_eq!(problem["type"].as_str().unwrap().rsplit('/').next(), Some("cursor-of-another-epoch"), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("/v1/feed/reconcile"), "{problem}");
    crm.reconcile(&daemon);
    crm.read(&daemon);
    let expected: BTreeMap<_, _> = snapshot(&daemon)
        .into_iter()
        .map(|row| {
            let name = (row["kind"].as_str().unwrap().to_owned(), row["id"].as_str().unwrap().to_owned());
            (name, (row["version"].as_u64().unwrap(), row["record"]["ward"].clone()))
        })
        .collect();
    let held: BTreeMap<_, _> = crm.held.into_iter().map(|(name, (_, version, ward))| (name, (version, ward))).collect();
    assert_eq!(held, expected);
    assert_eq!(held[&("visit".to_owned(), "his:V-P1".to_owned())].1, "WARD9");
}

#[test]
fn what_is_sent_again_after_a_restore_is_told_under_other_ids() {
    let site = Site::new();
    let daemon = site.start();
    register(&daemon, "P1", "C1", "张^伟");
    backup(&site, "before.db");
    admit(&daemon, "C2", "P1", "20240305103000", "ICU^1^1");
    let before = daemon.feed();
    daemon.kill();
    restore(&site, "before.db");
    let daemon = site.start();
    admit(&daemon, "C2", "P1", "20240305103000", "ICU^1^1");
    let after = daemon.feed();
    assert_eq!(column(&after, "type"), column(&before, "type"));
    let (known, told_again): (Vec<&Value>, Vec<&Value>) =
        after.iter().partition(|event| before.iter().any(|old| old["id"] == event["id"]));
    assert_eq!((known.len(), told_again.len()), (1, after.len() - 1), "only what the backup holds keeps its id");
}

#[test]
fn a_restore_is_refused_where_it_would_do_harm_and_leaves_all_as_it_was() {
    let site = Site::new();
    let daemon = site.start();
    register(&daemon, "P1", "C1", "张^伟");
    backup(&site, "copy.db");
    let file = |name: &str| site.path(name).to_str().unwrap().to_owned();
    let refused = |name: &str| site.run(&["restore", &file(name)]).exits(1).stderr;
    assert!(refused("copy.db").contains("stop it first"));
    daemon.kill();
    site.write("text.db", "no store at all");
    assert!(refused("text.db").contains("not a Heyi store"));
    assert!(refused("missing.db").contains("missing.db"));
    assert!(refused("data/heyi.db").contains("the store itself"));
    let whole = std::fs::read(site.path("copy.db")).unwrap();
    site.write("half.db", &whole[..whole.len() / 2]);
    refused("half.db");
    let mut spoilt = whole.clone();
    let middle = spoilt.len() / 2;
    spoilt[middle..middle + 4096].fill(0x5A);
    site.write("spoilt.db", &spoilt);
    refused("spoilt.db");
    let left: Vec<String> = std::fs::read_dir(site.path("data"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(left.iter().all(|name| !name.contains("restoring") && !name.contains("replaced")), "{left:?}");
    let daemon = site.start();
    assert_eq!(daemon.feed().len(), 1);
}

#[test]
fn a_backup_is_never_taken_for_a_store_and_never_overwrites_anything() {
    let site = Site::new();
    let daemon = site.start();
    register(&daemon, "P1", "C1", "张^伟");
    backup(&site, "copy.db");
    let copy = site.path("copy.db");
    let again = site.run(&["backup", copy.to_str().unwrap()]).exits(1);
    assert!(again.stderr.contains("exists already: a backup is a new file"), "{}", again.stderr);
    daemon.kill();
    for ending in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(site.path(&format!("data/heyi.db{ending}")));
    }
    std::fs::copy(&copy, site.path("data/heyi.db")).unwrap();
    let refused = site.run(&["serve"]).exits(1);
    assert!(refused.stderr.contains("heyi restore"), "{}", refused.stderr);
    assert_eq!(std::fs::read(&copy).unwrap(), std::fs::read(site.path("data/heyi.db")).unwrap());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_token_that_was_revoked_since_the_backup_stays_so() {
    let site = Site::new();
    let daemon = site.start();
    let old = site.token("old", "engineer");
    backup(&site, "copy.db");
    site.run(&["token", "revoke", "old"]).exits(0);
    let new = site.token("new", "engineer");
    daemon.kill();
    restore(&site, "copy.db");
    let daemon = site.start();
    daemon.get("/v1/sources", &old).problem(401);
    daemon.get("/v1/sources", &new).ok();
}

#[test]
fn the_store_that_a_restore_replaced_can_be_put_back_in_turn() {
    let site = Site::new();
    let daemon = site.start();
    register(&daemon, "P1", "C1", "张^伟");
    backup(&site, "copy.db");
    register(&daemon, "P2", "C2", "王^芳");
    daemon.kill();
    let former = std::fs::read_to_string(site.path("data/heyi.audit.checkpoints")).unwrap();
    let replaced = restore(&site, "copy.db")["replaced"].as_str().unwrap().to_owned();
    let aside = std::fs::read_to_string(format!("{replaced}.audit.checkpoints")).unwrap();
    assert!(
        !former.is_empty() && aside == former,
        "what was signed since the backup lies beside the store that it is of"
    );
    site.run(&["audit", "verify"]).exits(0);
    let undone = site.json(&["restore", &replaced, "--json"]);
    assert_eq!((undone["epoch"].as_u64(), &undone["backup_at"]), (Some(3), &Value::Null));
    let daemon = site.start();
    assert_eq!(daemon.feed().len(), 2);
}
