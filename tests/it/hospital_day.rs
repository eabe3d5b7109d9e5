//! The standard fixture from end to end: what a hospital's day is answered, what it leaves behind, what consumers are told.
//!
//! `HEYI_ACCEPT=1` rewrites `fixtures/hospital-day/expected`; read the difference before committing it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::fhir_server::{FhirServer, Manner};
use crate::support::daemon::Daemon;
use crate::support::eventually;
use crate::support::hl7::Ack;
use crate::support::site::{Site, finish};

const CONFIGURATION: &str = r#"
[http]
listen = "127.0.0.1:0"

[[sources]]
name = "his"
mapping = "mappings/his.toml"
authorities = ["HIS"]
mllp = { listen = "127.0.0.1:0" }

[[sources]]
name = "lis"
mapping = "mappings/lis.toml"
authorities = ["LIS"]
mllp = { listen = "127.0.0.1:0" }
"#;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hospital-day")
}

/// The day's messages in the order of sending: name without ending, sender, bytes.
fn day() -> Vec<(String, String, Vec<u8>)> {
    files("hl7")
}

fn files(ending: &str) -> Vec<(String, String, Vec<u8>)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == ending));
    files.sort();
    let message = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let sender = name.split('-').nth(1).unwrap().to_owned();
        (name, sender, std::fs::read(path).unwrap())
    };
    files.into_iter().map(message).collect()
}

/// The medical record, which changes by Bundles of type `transaction`.
struct Emr {
    _runtime: tokio::runtime::Runtime,
    server: FhirServer,
}

impl Emr {
    const TYPES: [&str; 4] = ["Patient", "Encounter", "Observation", "DiagnosticReport"];

    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = runtime.block_on(FhirServer::start(Manner::default()));
        Self { _runtime: runtime, server }
    }

    /// The other two senders, and this one.
    fn configuration(&self) -> String {
        let base = self.server.base();
        format!(
            r#"{CONFIGURATION}
[[sources]]
name = "emr"
mapping = "mappings/emr.toml"
fhir = {{ base_url = "{base}", resources = {:?}, interval = "200ms", history_interval = "200ms" }}
"#,
            Self::TYPES
        )
    }

    /// Carries out a transaction, and comes back when what follows from it was told.
    fn carry_out(&self, daemon: &Daemon<'_>, bundle: &[u8]) {
        let bundle: Value = serde_json::from_slice(bundle).unwrap();
        {
            let mut shared = self.server.shared();
            shared.model.now = bundle["timestamp"].as_str().unwrap().parse().unwrap();
            for entry in bundle["entry"].as_array().unwrap() {
                let (kind, id) = entry["request"]["url"].as_str().unwrap().split_once('/').unwrap();
                if entry["request"]["method"] == "DELETE" {
                    shared.model.delete(kind, id);
                    continue;
                }
                let mut content = entry["resource"].clone();
                content.as_object_mut().unwrap().retain(|name, _| name != "resourceType" && name != "id");
                shared.model.put(kind, id, content);
            }
        }
        let before = Self::passes(daemon);
        eventually("every type to be read once more", || {
            // One pass may have been under way.
            let now = Self::passes(daemon);
            now.iter().zip(&before).all(|(now, before)| now.0 >= before.0 + 2 && now.1 > before.1).then_some(())
        });
        let site = daemon.site;
        eventually("nothing to be due", || {
            let status = site.run(&["status", "--json"]).exits(0).json();
            let sources = status["sources"].as_array().unwrap();
            let emr = sources.iter().find(|source| source["name"] == "emr").unwrap();
            (emr["resources"]["due"] == 0 && emr["resources"]["unread"] == 0).then_some(())
        });
    }

    /// Of each type: passes that ended, and when it was last looked for deletions.
    fn passes(daemon: &Daemon<'_>) -> Vec<(u64, String)> {
        let sources = daemon.get("/v1/sources", daemon.site.engineer()).ok().json();
        let emr = sources["sources"].as_array().unwrap().iter().find(|source| source["name"] == "emr").unwrap();
        let of = |kind: &str| {
            let status = &emr["polling"]["types"][kind];
            (status["passes"].as_u64().unwrap_or(0), text(&status["deletions_checked"]))
        };
        Self::TYPES.map(of).to_vec()
    }
}

#[test]
fn the_day_is_answered_and_told_and_kept_as_expected() {
    let emr = Emr::start();
    let site = Site::configured(&emr.configuration());
    let daemon = site.start();
    let (mut answers, mut told) = (Map::new(), Map::new());
    let mut aliases = Aliases::default();
    let mut cursor = "start".to_owned();
    for (name, sender, content) in day() {
        let answer = daemon.send(&sender, content);
        answers.insert(name.clone(), json!(answer_line(&answer)));
        let (events, next) = daemon.feed_after(&cursor);
        cursor = next;
        for event in events.iter().filter(|event| event["type"] == "patient.created") {
            aliases.learn(&text(&event["subject"]), &event["data"]);
        }
        told.insert(name, events.iter().map(|event| json!(aliases.event_line(event))).collect());
    }
    for (name, _, bundle) in files("json") {
        emr.carry_out(&daemon, &bundle);
        let (events, next) = daemon.feed_after(&cursor);
        cursor = next;
        told.insert(name, events.iter().map(|event| json!(aliases.event_line(event))).collect());
    }
    compare("answers", &Value::Object(answers));
    compare("feed", &Value::Object(told));
    for (kind, records) in kept(&daemon) {
        compare(kind, &records);
    }
    let failed: Vec<Value> = site.messages(&["--state", "failed"]);
    let numbers: Vec<&str> = failed.iter().filter_map(|message| message["control_id"].as_str()).collect();
    assert_eq!(failed.len(), 3, "what could not be processed waits to be looked at: {failed:?}");
    assert_eq!(site.messages(&["--state", "ignored"]).len(), 1, "the order");
    assert!(numbers.contains(&"HIS2603160032") && numbers.contains(&"LIS-20260316-0011"), "{numbers:?}");
}

#[test]
fn the_day_sent_again_makes_no_event_and_gets_the_same_answers() {
    let site = Site::configured(CONFIGURATION);
    let daemon = site.start();
    let send_all = || -> Vec<String> {
        day().into_iter().map(|(_, sender, content)| answer_line(&daemon.send(&sender, content))).collect()
    };
    let first = send_all();
    let (events, cursor) = daemon.feed_after("start");
    assert!(events.len() > 50, "{}", events.len());
    assert_eq!(send_all(), first);
    assert_eq!(daemon.feed_after(&cursor).0, Vec::<Value>::new());
}

/// Senders are not in step with one another: whichever comes first, the same is kept.
#[test]
fn it_does_not_matter_which_of_the_senders_is_late() {
    let ends = [["his", "lis", "emr"], ["emr", "lis", "his"]].map(|order| {
        let emr = Emr::start();
        let site = Site::configured(&emr.configuration());
        let daemon = site.start();
        for wanted in order {
            for (_, _, bundle) in files("json").into_iter().filter(|(_, sender, _)| sender == wanted) {
                emr.carry_out(&daemon, &bundle);
            }
            for (_, sender, content) in day().into_iter().filter(|(_, sender, _)| sender == wanted) {
                daemon.send(&sender, content);
            }
        }
        kept(&daemon).map(|(kind, records)| (kind, without_history(records)))
    });
    let [his_first, lis_first] = ends;
    for (one, other) in his_first.into_iter().zip(lis_first) {
        same(one.0, &one.1, &other.1);
    }
}

#[test]
fn the_demo_prints_what_the_readmes_show_and_leaves_nothing_behind() {
    let site = Site::new();
    std::fs::create_dir(site.path("tmp")).unwrap();
    let mut command = site.command(&["demo", "--exit"]);
    command.env("TMPDIR", site.path("tmp"));
    let run = finish(command, b"", "demo").exits(0);
    assert_eq!(run.stderr, "");
    let told: BTreeSet<&str> = run.stdout.lines().collect();
    for readme in ["README.md", "README.zh-CN.md"] {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(readme)).unwrap();
        let shown = text.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        assert!(shown.lines().count() > 10, "{readme}");
        for line in shown.lines() {
            assert!(told.contains(line), "{readme} shows what the demo does not print: {line}\n{}", run.stdout);
        }
    }
    assert_eq!(std::fs::read_dir(site.path("tmp")).unwrap().count(), 0);
}

/// Persons, visits and lab reports at the end of the day, in an order that does not depend on chance.
fn kept(daemon: &Daemon<'_>) -> [(&'static str, Value); 3] {
    let subjects: BTreeSet<String> = daemon.feed().iter().map(|event| text(&event["subject"])).collect();
    let mut aliases = Aliases::default();
    let (mut persons, mut visits, mut reports) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for one_id in subjects {
        let person = daemon.json(&format!("/v1/persons/{one_id}"));
        if person["one_id"] != one_id.as_str() {
            continue; // merged into another, which is among the subjects as well
        }
        let list = |path: &str, field: &str| {
            let listed = daemon.json(&format!("/v1/persons/{one_id}/{path}"));
            listed[field].as_array().unwrap_or_else(|| panic!("no {field}: {listed}")).clone()
        };
        visits.extend(list("visits", "visits").into_iter().map(|visit| (text(&visit["visit_id"]), visit)));
        let listed = list("lab-reports", "lab_reports");
        reports.extend(listed.into_iter().map(|report| (text(&report["report_id"]), report)));
        persons.insert(aliases.learn(&one_id, &person), person);
    }
    [("persons", persons), ("visits", visits), ("lab_reports", reports)]
        .map(|(kind, records)| (kind, aliases.applied(records.into_values().collect())))
        // Any edit of a mapping file changes its version.
        .map(|(kind, records)| (kind, without(&["mapping_version"], records)))
}

/// One IDs are drawn by lot; in files a person is called by a hospital number.
#[derive(Default)]
struct Aliases(BTreeMap<String, String>);

impl Aliases {
    /// Calls `one_id` by the first, in the alphabet, of the person's hospital numbers.
    fn learn(&mut self, one_id: &str, person: &Value) -> String {
        let identifiers = person["identifiers"].as_array().into_iter().flatten();
        let numbers = identifiers
            .filter(|identifier| identifier["type"] == "mrn")
            .map(|mrn| format!("<{}|{}>", text(&mrn["system"]), text(&mrn["value"])));
        let alias = numbers.min().expect("a person has a hospital number");
        self.0.insert(one_id.to_owned(), alias.clone());
        alias
    }

    /// `value` with every One ID replaced, wherever it stands.
    fn applied(&self, value: Value) -> Value {
        let mut text = value.to_string();
        for (one_id, alias) in &self.0 {
            text = text.replace(one_id, alias);
        }
        serde_json::from_str(&text).unwrap()
    }

    /// What an event says beyond the record itself, on one line.
    fn event_line(&self, event: &Value) -> String {
        let event = self.applied(event.clone());
        let data = &event["data"];
        let list = |value: &Value| value.as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(" ");
        let record =
            [&data["report_id"], &data["visit_id"]].map(text).into_iter().find(|id| !id.is_empty()).unwrap_or_default();
        let mut line = format!("{} {} {record}", text(&event["type"]), text(&event["subject"])).trim().to_owned();
        line.push_str(&format!(" v{}: {}", data["version"], list(&data["changed"])));
        for (name, value) in [("retired", list(&data["retired"])), ("reverses", text(&data["reverses"]["type"]))] {
            if !value.is_empty() {
                line.push_str(&format!(" / {name} {value}"));
            }
        }
        line
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// MSA-1 and what ERR says of place and reason.
fn answer_line(answer: &Ack) -> String {
    let fields = [answer.field("ERR", 1), answer.field("ERR", 2), answer.field("ERR", 3), answer.field("MSA", 3)];
    let fields: Vec<&str> = fields.into_iter().filter(|field| !field.is_empty()).collect();
    format!("{} {}", answer.code(), fields.join(" | ")).trim().to_owned()
}

/// How often a record changed depends on the order of arrival, and so does the `updated_at` that its last event told; what it
/// says does not.
fn without_history(value: Value) -> Value {
    without(&["version", "updated_at"], value)
}

/// `value` without the fields of these names, wherever they stand.
fn without(names: &[&str], mut value: Value) -> Value {
    match &mut value {
        Value::Object(object) => {
            object.retain(|name, _| !names.contains(&name.as_str()));
            object.values_mut().for_each(|inner| *inner = without(names, inner.take()));
        }
        Value::Array(list) => list.iter_mut().for_each(|inner| *inner = without(names, inner.take())),
        _ => {}
    }
    value
}

fn compare(name: &str, actual: &Value) {
    let path = folder().join(format!("expected/{name}.json"));
    if std::env::var_os("HEYI_ACCEPT").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, serde_json::to_string_pretty(actual).unwrap() + "\n").unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    same(name, &serde_json::from_str(&expected).unwrap(), actual);
}

/// Compares line by line, so that a difference in a long list can be read.
fn same(name: &str, expected: &Value, actual: &Value) {
    let [expected, actual] = [expected, actual].map(|value| serde_json::to_string_pretty(value).unwrap());
    let difference = expected.lines().zip(actual.lines()).position(|(one, other)| one != other);
    if let Some(line) = difference {
        let around = |text: &str| text.lines().skip(line.saturating_sub(8)).take(12).collect::<Vec<_>>().join("\n");
        panic!("{name}, line {}\n--- expected\n{}\n--- actual\n{}", line + 1, around(&expected), around(&actual));
    }
    assert_eq!(expected.lines().count(), actual.lines().count(), "{name}");
}
