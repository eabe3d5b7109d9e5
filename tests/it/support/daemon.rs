//! `heyi serve` as a process, and what tests ask it.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::hl7::Ack;
use super::http::{Response, query, request};
use super::mllp::Mllp;
use super::site::{Site, ended};

/// A debug binary on a busy machine; the promise itself (5 s) is asserted where it is tested.
const START: Duration = Duration::from_secs(30);
/// The contract's 10 s and some.
const STOP: Duration = Duration::from_secs(15);

/// A running daemon; ended the hard way when it is dropped.
pub(crate) struct Daemon<'site> {
    pub(crate) site: &'site Site,
    child: Child,
    /// `name=value` pairs of the `ready` line.
    ready: BTreeMap<String, String>,
    /// From the start of the process to its `ready` line.
    pub(crate) started_in: Duration,
}

impl<'site> Daemon<'site> {
    pub(super) fn start(site: &'site Site, arguments: &[&str]) -> Self {
        let mut arguments = arguments.to_vec();
        arguments.push("serve");
        Self::of(site, site.command(&arguments))
    }

    /// The daemon that `command` becomes, for tests that need it somewhere special.
    pub(crate) fn of(site: &'site Site, mut command: Command) -> Self {
        let log = OpenOptions::new().create(true).append(true).open(site.path("stderr.log")).expect("a log");
        let started = Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().expect("heyi starts");
        let stdout = BufReader::new(child.stdout.take().expect("stdout"));
        let (sender, lines) = mpsc::channel();
        // Reads on after the ready line, so that the daemon never waits for us.
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        let mut daemon = Self { site, child, ready: BTreeMap::new(), started_in: Duration::ZERO };
        while daemon.ready.is_empty() {
            match lines.recv_timeout(START.saturating_sub(started.elapsed())) {
                Ok(line) => daemon.ready = ready_pairs(&line),
                Err(error) => panic!("no ready line ({error})"),
            }
        }
        daemon.started_in = started.elapsed();
        daemon
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The real address of a listener: `http` or a source's name.
    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        let text = self.ready.get(listener).unwrap_or_else(|| panic!("no {listener} in {:?}", self.ready));
        text.parse().unwrap_or_else(|_| panic!("not an address: {text}"))
    }

    /// A value of the ready line.
    pub(crate) fn ready(&self, name: &str) -> &str {
        self.ready.get(name).map_or("", String::as_str)
    }

    pub(crate) fn connect(&self, source: &str) -> Mllp {
        Mllp::connect(self.address(source))
    }

    /// Sends one message on a connection of its own and gives the answer.
    pub(crate) fn send(&self, source: &str, content: impl AsRef<[u8]>) -> Ack {
        self.connect(source).ask(content)
    }

    /// Sends a message that must be answered AA.
    pub(crate) fn accept(&self, source: &str, content: impl AsRef<[u8]>) {
        let answer = self.send(source, content);
        assert_eq!(answer.code(), "AA", "{}", answer.text());
    }

    pub(crate) fn http(&self, method: &str, target: &str, token: &str, body: &[u8]) -> Response {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("Accept", "application/json"), ("Content-Type", "application/json")];
        if !token.is_empty() {
            headers.push(("Authorization", bearer.as_str()));
        }
        request(self.address("http"), method, target, &headers, body)
    }

    pub(crate) fn get(&self, target: &str, token: &str) -> Response {
        self.http("GET", target, token, b"")
    }

    /// A 200's JSON, asked for as engineer.
    pub(crate) fn json(&self, target: &str) -> Value {
        self.get(target, self.site.engineer()).ok().json()
    }

    /// The whole feed as consumer `crm`.
    pub(crate) fn feed(&self) -> Vec<Value> {
        self.feed_after("start").0
    }

    /// Every event after `cursor` as consumer `crm`, and the cursor of the end.
    pub(crate) fn feed_after(&self, cursor: &str) -> (Vec<Value>, String) {
        let mut events = Vec::new();
        let mut cursor = cursor.to_owned();
        loop {
            let target = format!("/v1/feed?after={cursor}&limit=1000");
            let page = self.get(&target, self.site.consumer()).ok().json();
            events.extend_from_slice(page["events"].as_array().expect("events"));
            cursor = page["next"].as_str().expect("next").to_owned();
            if page["next"] == page["head"] {
                return (events, cursor);
            }
        }
    }

    /// The one person with this number, as `SYSTEM|VALUE`.
    pub(crate) fn person(&self, number: &str) -> Value {
        let found = self.json(&format!("/v1/persons?identifier={}", query(number)));
        let persons = found["persons"].as_array().unwrap_or_else(|| panic!("no persons: {found}"));
        assert_eq!(persons.len(), 1, "persons with {number}: {found}");
        persons[0].clone()
    }

    /// The One ID of the person with this number.
    pub(crate) fn one_id(&self, number: &str) -> String {
        self.person(number)["one_id"].as_str().expect("a One ID").to_owned()
    }

    /// The visits of the person with this number.
    pub(crate) fn visits(&self, number: &str) -> Vec<Value> {
        let listed = self.json(&format!("/v1/persons/{}/visits", self.one_id(number)));
        listed["visits"].as_array().unwrap_or_else(|| panic!("no visits: {listed}")).clone()
    }

    /// The one visit of the person with this number.
    pub(crate) fn visit(&self, number: &str) -> Value {
        let visits = self.visits(number);
        assert_eq!(visits.len(), 1, "{visits:?}");
        visits[0].clone()
    }

    /// The lab reports of the person with this number.
    pub(crate) fn lab_reports(&self, number: &str) -> Vec<Value> {
        let listed = self.json(&format!("/v1/persons/{}/lab-reports", self.one_id(number)));
        listed["lab_reports"].as_array().unwrap_or_else(|| panic!("no lab_reports: {listed}")).clone()
    }

    /// The control ids of all stored messages that were processed.
    pub(crate) fn messages(&self) -> Vec<String> {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.json(&format!("/v1/messages?state=processed&limit=1000{after}"));
            let messages = page["messages"].as_array().unwrap_or_else(|| panic!("no messages: {page}"));
            found.extend(messages.iter().map(|message| message["control_id"].as_str().unwrap_or_default().to_owned()));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={}", query(next)),
                None => return found,
            }
        }
    }

    /// Everything the daemon has written to standard error.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.site.path("stderr.log")).expect("a log")).into_owned()
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_none()
    }

    /// Asks it to stop, as systemd does, and does not wait.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Has it read its mappings again.
    pub(crate) fn hang_up(&self) {
        self.signal("HUP");
    }

    /// Waits for its end after [`Daemon::terminate`].
    pub(crate) fn wait(&mut self) -> ExitStatus {
        ended(&mut self.child, STOP).expect("the daemon stops when asked")
    }

    /// `kill -9` while others still talk to it; it is gone for certain when the handle is dropped.
    pub(crate) fn strike(&self) {
        self.signal("KILL");
    }

    /// By the shell's own `kill`: a slim system has no program of that name.
    fn signal(&self, name: &str) {
        let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.id())]).status().expect("a shell");
        assert!(status.success(), "kill -{name}");
    }

    /// `kill -9`, and waits for its end.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("a process that can be killed");
        self.child.wait().expect("its end");
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        // Already ended is fine; anything else must not outlive its test.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- the daemon's last words ---\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}

/// The pairs of `ready http=127.0.0.1:8480 his=127.0.0.1:2575 store=… sources=2`; empty for any other line.
fn ready_pairs(line: &str) -> BTreeMap<String, String> {
    let Some(pairs) = line.strip_prefix("ready ") else { return BTreeMap::new() };
    pairs.split(' ').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect()
}

/// The values of `field` in a list of objects, in order.
/// The record that an event is about: its kind and its name, as a snapshot has them.
pub(crate) fn record_of(event: &Value) -> (String, String) {
    let (kind, name) = match event["type"].as_str().expect("a type").split('.').next() {
        Some("patient") => ("person", "one_id"),
        Some("visit") => ("visit", "visit_id"),
        _ => ("lab_report", "report_id"),
    };
    (kind.to_owned(), event["data"][name].as_str().expect("a name").to_owned())
}

pub(crate) fn column<'list>(list: &'list [Value], field: &str) -> Vec<&'list str> {
    list.iter().map(|item| item[field].as_str().unwrap_or_default()).collect()
}
