//! `heyi feed rehearse` finds what a consumer does wrong, and nothing else: the sample consumer passes, asking and being pushed to, and each
//! fault that is planted in a copy of it is reported under the duty that it breaks.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread::spawn;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::site::ended;

/// A rehearsal takes a quarter of a minute; machines may be slow.
const PATIENCE: Duration = Duration::from_secs(600);
/// Seconds for each step. A consumer that has died costs as long.
const STEP: &str = "60";
const SHORT_STEP: &str = "10";

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SAMPLE: &str = include_str!("../../docs/follow-up-consumer/consumer.py");

/// What stands in the sample, and what stands there instead.
type Fault<'a> = (&'a str, &'a str);

/// A copy of the sample, in a directory of its own.
struct Sample {
    root: TempDir,
}

/// A process that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An address that leads to another one once that is known: of kit and sample each asks the other, and one is started first.
struct Relay {
    address: SocketAddr,
    to: Arc<OnceLock<String>>,
}

impl Relay {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Self { address: listener.local_addr().unwrap(), to: Arc::default() };
        let to = Arc::clone(&relay.to);
        spawn(move || {
            for asks in listener.incoming().map_while(Result::ok) {
                let Some(answers) = to.get().and_then(|to| TcpStream::connect(to).ok()) else { continue };
                let back = (answers.try_clone().unwrap(), asks.try_clone().unwrap());
                for (mut from, mut to) in [(asks, answers), back] {
                    spawn(move || {
                        // Either end may hang up.
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Write);
                    });
                }
            }
        });
        relay
    }
}

/// What a rehearsal reported.
struct Report {
    code: Option<i32>,
    report: Value,
}

impl Report {
    /// The duties with this result.
    fn with(&self, result: &str) -> BTreeSet<&str> {
        let duties = self.report["duties"].as_array().unwrap_or_else(|| panic!("{}", self.report));
        let named = duties.iter().filter(|duty| duty["result"] == result);
        named.map(|duty| duty["duty"].as_str().unwrap()).collect()
    }

    /// What was not looked at in a duty.
    fn remark(&self, duty: &str) -> &str {
        let mut duties = self.report["duties"].as_array().unwrap().iter();
        duties.find(|found| found["duty"] == duty).and_then(|found| found["remark"].as_str()).unwrap()
    }

    fn expect_failed(&self, expected: &[&str]) {
        let failed = self.with("failed");
        assert_eq!(failed, expected.iter().copied().collect(), "{:#}", self.report);
        assert_eq!(self.code, Some(1));
        for duty in self.report["duties"].as_array().unwrap().iter().filter(|duty| duty["result"] == "failed") {
            for finding in duty["findings"].as_array().unwrap() {
                assert!(["sent", "expected", "found"].iter().all(|part| !finding[*part].as_str().unwrap().is_empty()));
            }
        }
    }

    fn expect_passed(&self, not_looked_at: &[&str]) {
        assert_eq!(self.with("failed"), BTreeSet::new(), "{:#}", self.report);
        assert_eq!(self.with("not_looked_at"), not_looked_at.iter().copied().collect());
        assert_eq!((self.code, &self.report["passed"]), (Some(0), &Value::Bool(true)));
    }
}

impl Sample {
    /// `None`, said aloud, where there is no Python.
    fn with(faults: &[Fault<'_>]) -> Option<Self> {
        let python = Command::new("python3").arg("--version").output();
        if !python.is_ok_and(|found| found.status.success()) {
            eprintln!("SKIPPED: the sample consumer needs python3");
            return None;
        }
        let sample = Self { root: tempfile::Builder::new().prefix("heyi-sample-").tempdir().unwrap() };
        let mut text = SAMPLE.to_owned();
        for (from, to) in faults {
            assert_eq!(text.matches(from).count(), 1, "the sample has this once: {from}");
            text = text.replace(from, to);
        }
        std::fs::write(sample.path("consumer.py"), text).unwrap();
        std::fs::write(sample.path("secret"), SECRET).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(sample.path("secret"), std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        Some(sample)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn consumer(&self) -> Command {
        let mut command = Command::new("python3");
        command.arg(self.path("consumer.py")).arg("--database").arg(self.path("desk.db"));
        command.current_dir(self.root.path()).stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn rehearse(&self, arguments: &[&str], with_state: bool) -> (Running, BufReader<ChildStdout>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heyi"));
        command.args(["feed", "rehearse", "--json"]).args(arguments).env("TMPDIR", self.root.path());
        if with_state {
            let (script, database) = (self.path("consumer.py"), self.path("desk.db"));
            let state = format!("python3 '{}' --database '{}' state", script.display(), database.display());
            command.args(["--state-command", &state]);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        (Running(child), output)
    }

    /// Lets the sample ask for pages.
    fn pulled(&self, with_state: bool, step: &str) -> Report {
        self.asking("pull", with_state, step)
    }

    /// Lets the sample ask, for pages (`pull`) or for server-sent events (`stream`).
    fn asking(&self, verb: &str, with_state: bool, step: &str) -> Report {
        let (kit, mut output) = self.rehearse(&["--pull", "desk", "--patience", step], with_state);
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let invitation: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let mut command = self.consumer();
        command
            .args([verb, invitation["url"].as_str().unwrap()])
            .env("HEYI_TOKEN", invitation["token"].as_str().unwrap());
        let _consumer = Running(command.stdout(Stdio::null()).spawn().unwrap());
        self.report(kit, output)
    }

    /// Pushes to the sample, which knows a feed to compare with after a restore, or does not.
    fn pushed(&self, with_feed: bool) -> Report {
        let mut command = self.consumer();
        command.args(["webhook", "127.0.0.1:0", "--secret-file", "secret"]);
        let relay = with_feed.then(Relay::start);
        if let Some(relay) = &relay {
            command.env("HEYI_FEED", format!("http://{}", relay.address)).env("HEYI_TOKEN", "rehearsed");
        }
        let mut consumer = Running(command.stdout(Stdio::piped()).spawn().unwrap());
        let mut url = String::new();
        BufReader::new(consumer.0.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let secret = self.path("secret");
        let mut arguments = vec![url.trim(), "--secret-file", secret.to_str().unwrap()];
        if with_feed {
            arguments.extend(["--listen", "127.0.0.1:0", "--token", "rehearsed", "--patience", SHORT_STEP]);
        }
        let (kit, mut output) = self.rehearse(&arguments, true);
        if let Some(relay) = relay {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            let invitation: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            let address = invitation["url"].as_str().unwrap().trim_start_matches("http://").to_owned();
            relay.to.set(address).unwrap();
        }
        self.report(kit, output)
    }

    fn report(&self, mut kit: Running, mut output: impl Read) -> Report {
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        let status = ended(&mut kit.0, PATIENCE).expect("a rehearsal ends");
        let left: Vec<_> =
            std::fs::read_dir(self.root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("heyi-rehearsal")), "left behind: {left:?}");
        let report = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        Report { code: status.code(), report }
    }
}

const OF_A_PUSH: [&str; 3] = ["signature", "age", "answer"];
const OF_A_PULL: [&str; 6] = ["begin", "commit", "filtered", "back-off", "wait", "expired"];

#[test]
fn the_sample_consumer_passes_when_it_asks() {
    let Some(sample) = Sample::with(&[]) else { return };
    sample.pulled(true, STEP).expect_passed(&OF_A_PUSH);
}

#[test]
fn the_sample_consumer_passes_when_it_follows_the_stream() {
    let Some(sample) = Sample::with(&[]) else { return };
    sample.asking("stream", true, STEP).expect_passed(&OF_A_PUSH);
}

/// The id of half an event is a position, waits are not kept, and what is older replaces what is newer.
#[test]
fn planted_faults_of_who_follows_the_stream_are_found() {
    let Some(sample) = Sample::with(&[
        (
            "    time.sleep(1)  # it ended",
            "    if \"id\" in fields:\n        desk.set_cursor(fields[\"id\"])\n    time.sleep(1)  # it ended",
        ),
        ("time.sleep(int(wait) if wait.isdigit() else pause)", "pass"),
        ("    def is_new(self, event):\n", "    def is_new(self, event):\n        return True\n"),
        ("return not held or (epoch, version) > held[0]", "return True"),
    ]) else {
        return;
    };
    let report = sample.asking("stream", true, SHORT_STEP);
    let failed = report.with("failed");
    assert!(failed.is_superset(&BTreeSet::from(["cut", "back-off", "order"])), "{:#}", report.report);
    // A position that lies within a page is one too early as well, if the stream is cut there.
    let passed = report.with("passed");
    assert!(passed.is_superset(&BTreeSet::from(["begin", "filtered", "unknown"])), "{:#}", report.report);
}

#[test]
fn the_sample_consumer_passes_when_it_is_pushed_to() {
    for with_feed in [false, true] {
        let Some(sample) = Sample::with(&[]) else { return };
        let report = sample.pushed(with_feed);
        report.expect_passed(&OF_A_PULL);
        let remark = report.remark("epoch");
        assert_eq!(remark.is_empty(), with_feed, "what could not be seen is said: {remark}");
    }
}

/// It takes no notice of a new epoch; or of what is not there any more; or refuses to be told.
#[test]
fn planted_faults_at_a_new_epoch_that_is_pushed_are_found() {
    for (from, to, with_feed) in [
        ("is_restored = event[\"type\"] == \"feed.epoch_changed\"", "is_restored = False", true),
        ("is_restored = event[\"type\"] == \"feed.epoch_changed\"", "is_restored = False", false),
        ("is_other = desk.compare(rows)", "is_other = True", true),
        (
            "                    desk.set_cursor(event[\"data\"][\"next\"])",
            "                    return self.answer(500)",
            false,
        ),
    ] {
        let Some(sample) = Sample::with(&[(from, to)]) else { return };
        sample.pushed(with_feed).expect_failed(&["epoch"]);
    }
}

#[test]
fn what_is_not_known_is_not_said_to_be_right() {
    let Some(sample) = Sample::with(&[]) else { return };
    let unseen = ["commit", "repeat", "order", "merge", "split", "moved", "take-back", "correct", "erase"];
    sample.pulled(false, STEP).expect_passed(&[&unseen[..], &OF_A_PUSH].concat());
}

/// Nothing moves on a merge, nothing is taken back, nobody is forgotten, and no wait is kept.
#[test]
fn planted_faults_of_identities_and_of_what_is_taken_back_are_found() {
    let Some(sample) = Sample::with(&[
        ("self.db.execute(f\"UPDATE {table} SET one_id = ? WHERE one_id = ?\", (data[\"one_id\"], retired))", "pass"),
        ("elif kind == \"patient.split\":", "elif kind == \"patient.torn\":"),
        ("if kind == \"patient.erased\":", "if kind == \"patient.gone\":"),
        ("        if not wanted:", "        if False:"),
        ("time.sleep(int(wait) if wait.isdigit() else pause)", "pass"),
    ]) else {
        return;
    };
    // What was planned for a discharge that the restore took back stays as well.
    sample.pulled(true, STEP).expect_failed(&["back-off", "correct", "epoch", "erase", "merge", "split", "take-back"]);
}

/// What comes again is taken for new, and what is older for newer.
#[test]
fn planted_faults_of_repeats_and_order_are_found() {
    let Some(sample) = Sample::with(&[
        ("return self.db.execute(\"INSERT OR IGNORE INTO seen VALUES (?)\", (event,)).rowcount == 1", "return True"),
        ("return not held or (epoch, version) > held[0]", "return True"),
        ("due TEXT, event TEXT, state TEXT, PRIMARY KEY (what, record));", "due TEXT, event TEXT, state TEXT);"),
        (" ON CONFLICT (what, record) DO UPDATE\"", "\""),
        ("\" SET due = excluded.due, event = excluded.event, state = 'open'\"", ""),
        ("\" WHERE state = 'cancelled' OR due <> excluded.due OR (state = 'open' AND follow_up.event IS NULL)\",", ","),
    ]) else {
        return;
    };
    let report = sample.pulled(true, STEP);
    let failed = report.with("failed");
    assert!(failed.is_superset(&BTreeSet::from(["repeat", "order"])), "{:#}", report.report);
    // A position that lies within a page is one too early as well, if the stream is cut there.
    let passed = report.with("passed");
    assert!(passed.is_superset(&BTreeSet::from(["begin", "filtered", "unknown"])), "{:#}", report.report);
}

/// A position is committed too early and not moved without events; what is gone stays, and what moves does not.
#[test]
fn planted_faults_of_positions_and_of_what_is_gone_are_found() {
    let Some(sample) = Sample::with(&[
        (
            "    with desk.transaction():\n        for event in page[\"events\"]:",
            "    if not page[\"events\"]:\n        page[\"next\"] = cursor\n    feed.ask(\"/v1/feed/cursor\", \
             body={\"cursor\": page[\"next\"]})\n    with desk.transaction():\n        for event in page[\"events\"]:",
        ),
        ("        desk.compare(rows)\n        for row", "        for row"),
        ("is_other = desk.compare(rows)", "is_other = True"),
        (
            "        marks = ",
            "        held = self.rows(f\"SELECT one_id FROM {table} WHERE id = ?\", row[\"id\"])\n        \
             row[\"one_id\"] = held[0][0] if held and table == \"lab_report\" else row[\"one_id\"]\n        marks = ",
        ),
    ]) else {
        return;
    };
    sample.pulled(true, SHORT_STEP).expect_failed(&["commit", "epoch", "expired", "filtered", "moved"]);
}

#[test]
fn a_planted_end_at_an_unknown_event_is_found_and_what_follows_is_not_judged() {
    let Some(sample) = Sample::with(&[("            if table in KINDS:", "            if True:")]) else { return };
    let report = sample.pulled(true, SHORT_STEP);
    // It is taken for dead after the second step that it did not take.
    report.expect_failed(&["unknown", "repeat"]);
    assert!(report.with("not_looked_at").is_superset(&BTreeSet::from(["merge", "erase", "epoch"])));
}

/// After an answer that broke off it goes on at the head, and a new epoch is nothing to it.
#[test]
fn planted_faults_at_broken_answers_and_other_epochs_are_found() {
    let Some(sample) = Sample::with(&[
        (
            "            print(f\"no answer: {type(error).__name__}\", file=sys.stderr)\n",
            "            desk.set_cursor(feed.ask(\"/v1/feed/cursor\")[\"head\"])\n",
        ),
        ("\"cursor-of-another-epoch\": reconcile, ", ""),
    ]) else {
        return;
    };
    let report = sample.pulled(true, SHORT_STEP);
    let failed = report.with("failed");
    assert!(failed.is_superset(&BTreeSet::from(["cut", "epoch"])), "{:#}", report.report);
    let passed = report.with("passed");
    assert!(
        passed.is_superset(&BTreeSet::from(["begin", "commit", "filtered", "unknown", "repeat"])),
        "{:#}",
        report.report
    );
}

#[test]
fn planted_faults_of_signatures_are_found() {
    let Some(sample) = Sample::with(&[("not is_signed(secrets, self.headers, body)", "False")]) else { return };
    sample.pushed(false).expect_failed(&["signature", "age"]);
    let Some(sample) = Sample::with(&[("> 300:", "> 1e9:")]) else { return };
    sample.pushed(false).expect_failed(&["age"]);
}

#[test]
fn a_planted_answer_that_is_none_is_found() {
    let Some(sample) = Sample::with(&[("self.answer(204)", "self.answer(500)")]) else { return };
    let report = sample.pushed(false);
    report.expect_failed(&["answer"]);
    assert!(report.with("passed").is_empty());
}

#[test]
fn a_rehearsal_that_cannot_be_is_wrong_usage() {
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heyi"));
        command.args(["feed", "rehearse"]).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().unwrap().code()
    };
    assert_eq!(run(&[]), Some(2));
    assert_eq!(run(&["http://127.0.0.1:1/"]), Some(2), "without a secret");
    assert_eq!(run(&["https://127.0.0.1:1/", "--secret-file", "/nowhere"]), Some(2));
    assert_eq!(run(&["http://127.0.0.1:1/", "--secret-file", "/nowhere"]), Some(2));
    assert_eq!(run(&["--pull", "desk", "--patience", "0"]), Some(2));
}
