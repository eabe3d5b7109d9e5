//! Changed mapping files take effect while the daemon runs: as a whole, between two messages, or not at all.

use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::eventually;
use crate::support::hl7::{adt, pid, segment};
use crate::support::site::Site;

fn admission(id: &str, class: &str) -> String {
    let visit = segment("PV1", &[(2, class), (19, &format!("V-{id}")), (44, "20240305103000")]);
    adt("A01", id, "20240305103000", &[pid(&format!("P-{id}"), "张^伟"), visit])
}

/// The mapping that a source runs, as `/v1/sources` shows it.
fn in_force(daemon: &Daemon<'_>, source: &str) -> Value {
    let sources = daemon.json("/v1/sources");
    let sources = sources["sources"].as_array().expect("sources").clone();
    let found = sources.iter().find(|found| found["name"] == source);
    found.unwrap_or_else(|| panic!("no {source}: {sources:?}"))["mapping"].clone()
}

fn version(daemon: &Daemon<'_>) -> String {
    let found = eventually("the mapping in force to be written down", || {
        in_force(daemon, "his")["version"].as_str().map(str::to_owned)
    });
    assert_eq!(found.len(), 12, "{found}");
    found
}

/// Adds a line to a file of the site.
fn append(site: &Site, file: &str, line: &str) {
    let before = std::fs::read_to_string(site.path(file)).expect("a mapping file");
    site.write(file, format!("{}\n{line}\n", before.trim_end()));
}

fn class_of(daemon: &Daemon<'_>, id: &str) -> Value {
    daemon.visit(&format!("HIS|P-{id}"))["class"].clone()
}

#[test]
fn a_changed_table_takes_effect_without_a_restart_and_on_the_open_connection() {
    let site = Site::new();
    let daemon = site.start();
    let mut connection = daemon.connect("his");
    assert_eq!(connection.ask(admission("1", "ZY")).code(), "AA");
    assert_eq!(class_of(&daemon, "1"), Value::Null);
    let before = version(&daemon);
    append(&site, "mappings/tables/patient-class.csv", "ZY,inpatient,");
    let after = eventually("the new version", || Some(version(&daemon)).filter(|found| *found != before));
    assert_eq!(connection.ask(admission("2", "ZY")).code(), "AA");
    assert_eq!(class_of(&daemon, "2"), "inpatient");
    // Every message says which mapping it went through; the first has been taken in again meanwhile, or will be.
    let second = &site.messages(&["--control-id", "2"])[0];
    assert_eq!(second["mapping"], after);
    let shown = site.run(&["status"]).exits(0).stdout;
    assert!(shown.contains(&format!("mapping   his {after} since ")), "{shown}");
}

#[test]
fn a_hangup_loads_at_once_and_both_sources_change_together() {
    let site = Site::new();
    let daemon = site.start();
    let before = version(&daemon);
    site.write("mappings/tables/vip.csv", "source,target,note\nV,true,\n");
    daemon.hang_up();
    let after = eventually("the new version", || Some(version(&daemon)).filter(|found| *found != before));
    assert_eq!(in_force(&daemon, "lis")["version"], after, "both run the same base");
    assert_eq!(daemon.http("GET", "/readyz", "", b"").status, 200);
}

#[test]
fn a_set_with_an_error_is_refused_and_the_old_one_stays() {
    let site = Site::new();
    let daemon = site.start();
    let before = version(&daemon);
    let mut connection = daemon.connect("his");
    let good = std::fs::read_to_string(site.path("mappings/hl7v2.toml")).expect("the base");
    // A good change beside a bad one: a set is taken as a whole.
    append(&site, "mappings/tables/patient-class.csv", "ZY,inpatient,");
    site.write("mappings/hl7v2.toml", good.replace("birth_date       = \"PID-7\"", "birth_dat = \"PID-7\""));
    daemon.hang_up();
    let refused = eventually("the refusal", || {
        let mapping = in_force(&daemon, "his");
        mapping["refused"]["problem"].as_str().map(str::to_owned)
    });
    assert!(refused.starts_with("mappings/hl7v2.toml:") && refused.contains("birth_dat"), "{refused}");
    assert_eq!(version(&daemon), before);
    assert_eq!(connection.ask(admission("1", "ZY")).code(), "AA");
    assert_eq!(site.messages(&["--control-id", "1"])[0]["mapping"], before);
    let metrics = daemon.get("/metrics", site.engineer()).ok().text();
    assert!(metrics.contains("heyi_mapping_loads_total{result=\"refused\"} 1"), "{metrics}");
    assert!(metrics.contains("heyi_mapping_refused 1"), "{metrics}");
    assert!(site.run(&["status"]).exits(0).stdout.contains("cannot be used: mappings/hl7v2.toml:"));
    assert!(daemon.log().contains("birth_dat"), "{}", daemon.log());
    // Mended, it is taken without a further word.
    site.write("mappings/hl7v2.toml", good);
    eventually("the mended set", || Some(version(&daemon)).filter(|found| *found != before));
    assert_eq!(in_force(&daemon, "his")["refused"], Value::Null);
    assert_eq!(connection.ask(admission("2", "ZY")).code(), "AA");
    assert_eq!(class_of(&daemon, "2"), "inpatient");
}
