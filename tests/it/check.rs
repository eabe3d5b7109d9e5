//! `heyi check` finds every problem at once, each with file, line and column; nothing starts on a broken configuration.

use crate::support::hl7::registration;
use crate::support::site::{Run, Site, configuration};

/// Checks that `run` names a place in `file` on `line` (counted from 1), whatever else it says.
fn names(run: &Run, file: &str, line: usize) {
    let text = format!("{}{}", run.stdout, run.stderr);
    let place = format!("{file}:{line}:");
    assert!(text.contains(&place), "{place} is not named in:\n{text}");
}

/// The line of `text` that holds `needle`.
fn line_of(text: &str, needle: &str) -> usize {
    let found: Vec<usize> =
        (1..).zip(text.lines()).filter(|(_, line)| line.contains(needle)).map(|(number, _)| number).collect();
    assert_eq!(found.len(), 1, "{needle} in {text}");
    found[0]
}

#[test]
fn a_good_configuration_passes() {
    let site = Site::new();
    site.run(&["check"]).exits(0);
    assert!(!site.path("data").exists(), "a check starts and creates nothing");
    let shipped =
        Site::configured(&configuration("", "").replacen("mappings/hl7v2.toml", "mappings/his.toml", 1).replacen(
            "mappings/hl7v2.toml",
            "mappings/lis.toml",
            1,
        ));
    shipped.run(&["check"]).exits(0);
}

#[test]
fn every_problem_of_the_configuration_is_told_at_once_with_its_place() {
    let broken = r#"[store]
path = "data/heyi.db"
colour = "blue"

[http]
listen = "not an address"

[retention]
messages = "many days"

[[sources]]
name = "his"
mapping = "mappings/missing.toml"
time_zone = "Asia/Peking"
mllp = { listen = "127.0.0.1:0", charset = "EBCDIC-7", idle_timeout = "10 parsecs", allow = ["127.0.0.0/99"], on_error = "AX" }

[[sources]]
name = "his"
mapping = "mappings/hl7v2.toml"
mllp = { listen = "127.0.0.1:0", max_message = "16XB" }

[[consumers]]
name = "crm"
events = ["visits.*"]
"#;
    let site = Site::configured(broken);
    let run = site.run(&["check"]).exits(1);
    for needle in
        ["colour", "not an address", "many days", "missing.toml", "Asia/Peking", "EBCDIC-7", "16XB", "visits.*"]
    {
        names(&run, "heyi.toml", line_of(broken, needle));
    }
    let text = format!("{}{}", run.stdout, run.stderr);
    for one_of_several_on_a_line in ["EBCDIC-7", "parsecs", "/99", "AX"] {
        assert!(text.contains(one_of_several_on_a_line), "{one_of_several_on_a_line}:\n{text}");
    }
    let problems = site.run(&["check", "--json"]).exits(1).json();
    let text = problems.to_string();
    assert!(text.contains("\"line\"") && text.contains("\"column\""), "{problems}");
}

#[test]
fn every_problem_of_a_mapping_is_told_with_its_place() {
    let site = Site::configured(&configuration("", "").replacen("mappings/hl7v2.toml", "mappings/site.toml", 1));
    let mapping = r#"extends = "hl7v2.toml"
format = "hl7v2"

[tables]
ward = "tables/no-such-table.csv"

[patient]
shoe_size = "PID-3"
birth_date = "PID-7["
sex = { from = "PID-8", table = "no_such_declaration" }

[visit]
when = "PV1 and and MSH-9.2 = 'A01'"
class = { from = "PV1-2", as = "no_such_coercion" }
"#;
    site.write("mappings/site.toml", mapping);
    let run = site.run(&["check"]).exits(1);
    for needle in ["no-such-table", "shoe_size", "PID-7[", "no_such_declaration", "and and", "no_such_coercion"] {
        names(&run, "site.toml", line_of(mapping, needle));
    }
}

#[test]
fn a_target_outside_the_records_own_codes_is_found_in_the_table() {
    let site = Site::configured(&configuration("", "").replacen("mappings/hl7v2.toml", "mappings/site.toml", 1));
    site.write("mappings/site.toml", "extends = \"hl7v2.toml\"\n\n[tables]\nmine = \"tables/mine.csv\"\n\n[patient]\nsex = { from = \"PID-8\", table = \"mine\" }\n");
    site.write("mappings/tables/mine.csv", "source,target,note\nM,male,\nF,femail,a slip\n");
    let run = site.run(&["check"]).exits(1);
    names(&run, "mine.csv", 3);
}

#[test]
fn an_unreadable_configuration_is_another_exit_status() {
    let site = Site::new();
    std::fs::remove_file(site.path("config/heyi.toml")).unwrap();
    let run = site.run(&["check"]).exits(2);
    assert!(run.stderr.contains("heyi.toml"), "{}", run.stderr);
    site.run(&["no-such-command"]).exits(2);
    site.run(&["serve", "--no-such-option"]).exits(2);
}

#[test]
fn broken_toml_is_told_with_its_place() {
    let site = Site::configured("[store]\npath = \"data/heyi.db\"\n[http\n");
    let run = site.run(&["check"]);
    assert!(matches!(run.status.code(), Some(1 | 2)), "{run:?}");
    names(&run, "heyi.toml", 3);
}

#[test]
fn nothing_is_served_from_a_broken_configuration() {
    let site = Site::configured(&configuration(r#", speed = "fast""#, ""));
    let run = site.run(&["serve"]);
    assert_eq!(run.status.code(), Some(2), "{run:?}");
    names(&run, "heyi.toml", line_of(&configuration(r#", speed = "fast""#, ""), "speed"));
    assert!(!run.stdout.contains("ready"), "{}", run.stdout);
    assert!(!site.path("data/heyi.db").exists());
}

#[test]
fn beside_a_running_daemon_its_own_ports_are_no_error() {
    let site = Site::new();
    let daemon = site.start();
    let mut fixed = configuration("", "");
    for listener in ["http", "his", "lis"] {
        let address = daemon.address(listener).to_string();
        fixed = fixed.replacen("listen = \"127.0.0.1:0\"", &format!("listen = \"{address}\""), 1);
    }
    site.write("config/heyi.toml", &fixed);
    let run = site.run(&["check", "--json"]).exits(0);
    let problems = run.json();
    let problems = problems["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 3, "a warning for each port: {problems:?}");
    assert!(problems.iter().all(|problem| problem.to_string().contains("a heyi daemon runs on this store")));
    // The check held nothing that the daemon needs.
    daemon.accept("his", registration("C1", "P1", "张^伟"));
    drop(daemon);
    assert!(site.run(&["check", "--json"]).exits(0).json()["problems"].as_array().unwrap().is_empty());
}

#[test]
fn the_configuration_that_ships_is_right() {
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/heyi.toml");
    let site = Site::configured(&std::fs::read_to_string(shipped).unwrap());
    let run = site.run(&["check"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
}
