//! A directory as a source: files are taken once, whole, and put where their fate can be seen.

use crate::support::eventually;
use crate::support::hl7::{admission_of_nobody, gb18030, registration};
use crate::support::site::{Site, configuration};

const SOURCE: &str = r#"
[[sources]]
name = "drop"
mapping = "mappings/hl7v2.toml"
files = { directory = "in", interval = "200ms" }
"#;

#[test]
fn files_put_into_a_directory_are_taken_once_and_moved() {
    let site = Site::configured(&configuration("", SOURCE));
    std::fs::create_dir(site.path("in")).unwrap();
    let daemon = site.start();
    let good = [
        registration("C1", "P1", "李^娜").into_bytes(),
        gb18030(&registration("C2", "P2", "张^瑋").replace("UNICODE UTF-8", "GB 18030-2000")),
    ]
    .concat();
    site.write("in/good.hl7", &good);
    site.write("in/mixed.hl7", format!("{}{}", admission_of_nobody("BAD"), registration("C3", "P3", "王^芳")));
    site.write("in/notes.md", "not a message");
    eventually("both files to be moved", || {
        (site.path("in/done/good.hl7").exists() && site.path("in/failed/mixed.hl7").exists()).then_some(())
    });
    assert!(site.path("in/notes.md").exists(), "what is not meant for it stays");
    assert_eq!(std::fs::read(site.path("in/done/good.hl7")).unwrap(), good, "and is not changed");
    for (number, name) in [("P1", "李娜"), ("P2", "张瑋"), ("P3", "王芳")] {
        assert_eq!(daemon.person(&format!("HIS|{number}"))["name"], name);
    }
    assert_eq!(site.messages(&["--source", "drop", "--state", "failed"]).len(), 1);
    let feed = daemon.feed();
    site.write("in/again.hl7", &good);
    eventually("the repeat to be moved", || site.path("in/done/again.hl7").exists().then_some(()));
    assert_eq!(daemon.feed(), feed, "the same messages in another file change nothing");
}

#[test]
fn a_batch_that_holds_less_than_it_declares_is_named_in_the_log() {
    let site = Site::configured(&configuration("", SOURCE));
    std::fs::create_dir(site.path("in")).unwrap();
    let daemon = site.start();
    let message = registration("C1", "P1", "李^娜");
    site.write("in/day.hl7", format!("BHS|^~\\&|HIS\r{message}BTS|3\r"));
    eventually("the file to be moved", || site.path("in/done/day.hl7").exists().then_some(()));
    let log = daemon.log();
    let told = log.lines().any(|line| line.contains("day.hl7") && line.contains("declares 3 messages"));
    assert!(told, "{log}");
}

#[test]
fn a_directory_that_vanishes_is_down_until_it_is_back() {
    let site = Site::configured(&configuration("", SOURCE));
    std::fs::create_dir(site.path("in")).unwrap();
    let daemon = site.start();
    let told = |ready: u16, state: &str, up: u8| {
        eventually(state, || (daemon.get("/readyz", "").status == ready).then_some(()));
        let sources = daemon.json("/v1/sources");
        let source = sources["sources"].as_array().unwrap().iter().find(|source| source["name"] == "drop").unwrap();
        assert_eq!((source["state"].as_str(), source["reason"].is_string()), (Some(state), up == 0), "{sources}");
        let status = site.json(&["status", "--json"]);
        let source = status["sources"].as_array().unwrap().iter().find(|source| source["name"] == "drop").unwrap();
        assert_eq!((source["state"].as_str(), source["reason"].is_string()), (Some(state), up == 0), "{status}");
        let metrics = daemon.get("/metrics", site.engineer()).ok().text();
        assert!(metrics.contains(&format!("heyi_source_up{{source=\"drop\"}} {up}\n")), "{metrics}");
    };
    told(200, "up", 1);
    std::fs::rename(site.path("in"), site.path("elsewhere")).unwrap();
    told(503, "down", 0);
    assert!(daemon.get("/readyz", "").text().contains("source drop"));
    std::fs::create_dir(site.path("in")).unwrap();
    told(200, "up", 1);
    site.write("in/back.hl7", registration("C1", "P1", "李^娜"));
    eventually("the file to be taken", || site.path("in/done/back.hl7").exists().then_some(()));
}
