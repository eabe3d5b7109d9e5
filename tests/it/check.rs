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

/// A mapping with mistakes of each sort, and a table with some more.
const MISTAKEN: &str = r#"extends = "hl7v2.toml"
match = { "MSH-9.1" = ["ADT", "SUI"] }

[tables]
mine = "tables/mine.csv"
sex = { extends = "sex", files = "tables/mine.csv" }

[patient]
language = "PID-155"
ethnicity = "PID-22[99=X].1"
nationality = ["PID-26.2", "PID-26.2"]
marital_status = { constant = "married", default = "single" }
occupation = "ZPI-2"
birth_date = "PID-7[2]"
multiple_birth = "PID-5"

[[visit]]
block = "stayy"
when = "MSH-9.1 = 'ORU'"
number = "PV1-19"
"#;

#[test]
fn every_sort_of_mistake_in_a_mapping_is_told_with_line_column_caret_code_and_hint() {
    let site = Site::configured(&configuration("", "").replacen("mappings/hl7v2.toml", "mappings/site.toml", 1));
    site.write("mappings/site.toml", MISTAKEN);
    site.write("mappings/tables/mine.csv", "source,target,note\nM,male\n");
    let problems = site.run(&["check", "--json"]).exits(1).json();
    let found: Vec<(u64, u64, &str, &str)> = problems["problems"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|problem| problem["file"] == "mappings/site.toml")
        .map(|problem| {
            let number = |name: &str| problem[name].as_u64().unwrap();
            let text = |name: &str| problem[name].as_str().unwrap();
            (number("line"), number("column"), text("severity"), text("code"))
        })
        .collect();
    for expected in [
        (2, 31, "warning", "M022"),
        (5, 1, "warning", "M024"),
        (9, 12, "error", "M014"),
        (10, 13, "error", "M014"),
        (11, 28, "warning", "M021"),
        (12, 52, "warning", "M021"),
        (13, 14, "warning", "M016"),
        (14, 14, "warning", "M017"),
        (15, 18, "warning", "M018"),
        (18, 9, "warning", "M020"),
        (19, 9, "warning", "M021"),
        (20, 10, "warning", "M018"),
    ] {
        assert!(found.contains(&expected), "{expected:?} is not among {found:#?}");
    }
    let run = site.run(&["check"]).exits(1);
    let shown = r#"mappings/site.toml:9:12 error[M014]: PID has no field 155, the last is PID-40 "#;
    let caret = "9 | language = \"PID-155\"\n  |            ^^^^^^^^^\n";
    assert!(run.stderr.contains(shown) && run.stderr.contains(caret), "{}", run.stderr);
    assert!(
        run.stderr.contains("(did you mean SIU?)") && run.stderr.contains("(did you mean stay?)"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("tables/mine.csv:2:1 warning[M007]"), "{}", run.stderr);
}

#[test]
fn what_only_warns_lets_the_daemon_start_and_is_told_once_for_all_sources() {
    let site = Site::new();
    let base = std::fs::read_to_string(site.path("mappings/hl7v2.toml")).unwrap();
    site.write("mappings/hl7v2.toml", base.replacen("\"PID-7\"", "\"PID-7[2]\"", 1));
    let run = site.run(&["check"]).exits(0);
    assert_eq!(run.stderr.matches("warning[M017]").count(), 1, "{}", run.stderr);
    assert!(run.stdout.contains("no errors, only warnings"), "{}", run.stdout);
}

#[test]
fn a_slip_in_a_fhir_path_is_told_at_its_column_and_a_concept_map_is_a_table() {
    let site = Site::configured(&configuration("", "").replacen("mappings/hl7v2.toml", "mappings/site.toml", 1));
    site.write("mappings/site.toml", "extends = \"fhir-r4.toml\"\n\n[patient]\nsex = \"gendr\"\n");
    let run = site.run(&["check"]).exits(1);
    assert!(run.stderr.contains("mappings/site.toml:4:8 error["), "{}", run.stderr);
    assert!(run.stderr.contains("gender"), "{}", run.stderr);
    let map = r#"{"resourceType": "ConceptMap", "status": "active", "group": [{"element": [
        {"code": "1", "target": [{"code": "male", "equivalence": "equal"}]},
        {"code": "2", "target": [{"code": "femail", "equivalence": "equal"}]}]}]}"#;
    site.write("mappings/tables/sex.json", map);
    let tables = "extends = \"hl7v2.toml\"\n[tables]\nsex = { extends = \"sex\", files = \"tables/sex.json\" }\n";
    site.write("mappings/site.toml", tables);
    let run = site.run(&["check"]).exits(1);
    assert!(run.stderr.contains("tables/sex.json:3:9 error[M008]: femail is no legal value of sex"), "{}", run.stderr);
    site.write("mappings/tables/sex.json", map.replace("femail", "female"));
    site.run(&["check"]).exits(0);
}

#[test]
fn a_mapping_of_the_other_format_is_told_before_anything_is_lost() {
    let site = Site::configured(&configuration("", "").replacen("mappings/hl7v2.toml", "mappings/fhir-r4.toml", 1));
    let run = site.run(&["check"]).exits(1);
    let told = "source his: mappings/fhir-r4.toml has format = \"fhir\", the source gives hl7v2";
    assert!(run.stderr.contains(told), "{}", run.stderr);
}

#[test]
fn a_target_outside_the_records_own_codes_is_found_in_the_table() {
    let site = Site::configured(&configuration("", "").replacen("mappings/hl7v2.toml", "mappings/site.toml", 1));
    site.write("mappings/site.toml", "extends = \"hl7v2.toml\"\n\n[tables]\nmine = \"tables/mine.csv\"\n\n[patient]\nsex = { from = \"PID-8\", table = \"mine\" }\n");
    site.write("mappings/tables/mine.csv", "source,target,note\nM,male,\nF,femail,a slip\n");
    let run = site.run(&["check"]).exits(1);
    names(&run, "mine.csv", 3);
}

#[cfg(unix)]
#[test]
fn a_secret_that_others_may_read_is_warned_of_with_what_to_do() {
    use std::os::unix::fs::PermissionsExt;

    let auths = [
        ("token_file", r#"auth = { kind = "bearer", token_file = "config/secret" }"#),
        ("password_file", r#"auth = { kind = "basic", username = "heyi", password_file = "config/secret" }"#),
        (
            "client_secret_file",
            r#"auth = { kind = "client_credentials", token_url = "https://emr.example/token", client_id = "heyi", client_secret_file = "config/secret" }"#,
        ),
        ("tls.key_file", r#"tls = { certificate = "config/secret", key_file = "config/secret" }"#),
    ];
    for (key, written) in auths {
        let configuration = format!(
            "[http]\nlisten = \"127.0.0.1:0\"\n\n[[sources]]\nname = \"emr\"\nmapping = \"mappings/fhir-r4.toml\"\n\
             fhir = {{ base_url = \"https://emr.example/fhir\", resources = [\"Patient\"], {written} }}\n"
        );
        let site = Site::configured(&configuration);
        let path = site.write("config/secret", "word");
        let warned = |mode: u32| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let run = site.run(&["check"]);
            let text = format!("{}{}", run.stdout, run.stderr);
            let names = text.contains(&format!("{key}: other users")) && text.contains("chmod 600");
            assert!(!names || text.contains("heyi.toml:7:"), "{text}");
            names
        };
        assert_eq!([0o600, 0o400, 0o640, 0o604, 0o666].map(warned), [false, false, true, true, true], "{key}");
    }
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

/// The lines of a file that problems are told at.
fn lines_of<'t>(problems: &[serde_json::Value], text: &'t str) -> Vec<&'t str> {
    let line =
        |problem: &serde_json::Value| problem["line"].as_u64().and_then(|line| text.lines().nth(line as usize - 1));
    problems.iter().filter_map(line).collect()
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
    let places = lines_of(problems, &fixed);
    assert!(places.iter().all(|line| line.contains("listen = ")), "each at its line: {places:?}");
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
