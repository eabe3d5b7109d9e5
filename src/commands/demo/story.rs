//! The day as lines on a terminal: what came, what was answered, which events that gave.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::emr::Written;
use crate::commands::answer::Answer;
use crate::commands::scratch::File;
use crate::hl7v2::{CharsetSetting, header};

/// Where an event stands below its message.
const INDENT: &str = "                    ";

/// What has been told so far. Like any consumer it keeps names by One ID, because visits and reports bear only that.
pub(super) struct Story {
    coloured: bool,
    names: BTreeMap<String, String>,
    answers: BTreeMap<String, u32>,
    changes: u32,
    events: u32,
    persons: BTreeSet<String>,
}

#[derive(Clone, Copy)]
enum Ink {
    Bold,
    Dim,
    Green,
    Red,
}

impl Story {
    pub(super) fn new(coloured: bool) -> Self {
        Self {
            coloured,
            names: BTreeMap::new(),
            answers: BTreeMap::new(),
            changes: 0,
            events: 0,
            persons: BTreeSet::new(),
        }
    }

    pub(super) fn chapter(&self, title: &str) -> String {
        format!("\n{}", self.ink(Ink::Bold, title))
    }

    /// One message: when, from whom, what, how it was answered.
    pub(super) fn message(&mut self, message: &File, answer: &Answer) -> String {
        *self.answers.entry(answer.code.clone()).or_default() += 1;
        let header = header::peek(message.content, &CharsetSetting::Auto);
        let kind = [header.message_type, header.trigger_event].join("^");
        let code = self.ink(if answer.is_positive() { Ink::Green } else { Ink::Red }, &answer.code);
        let clock = self.ink(Ink::Dim, &clock(message.content));
        let (sender, kind) = (message.sender().to_uppercase(), kind.trim_matches('^'));
        let mut line = format!("  {clock}  {sender} {kind:<8} {code}  {}", message.happening());
        for error in &answer.errors {
            line.push_str(&format!("\n{INDENT}{}", self.ink(Ink::Red, error)));
        }
        line
    }

    /// One change in the medical record: when, what was done to which resources. Nobody is answered: it was found there.
    pub(super) fn change(&mut self, transaction: &File, written: &[Written]) -> String {
        self.changes += 1;
        let bundle: Value = serde_json::from_slice(transaction.content).unwrap_or_default();
        let clock = self.ink(Ink::Dim, text(&bundle, "/timestamp").get(11..16).unwrap_or("--:--"));
        let (sender, method) = (transaction.sender().to_uppercase(), transaction.event());
        let names: Vec<String> = written.iter().map(|written| written.name.to_string()).collect();
        format!("  {clock}  {sender} {method:<8} --  {} ({})", transaction.happening(), names.join(", "))
    }

    /// One event: its type, whom it is about, what changed.
    pub(super) fn event(&mut self, event: &Value) -> String {
        self.events += 1;
        let (kind, subject, data) = (text(event, "/type"), text(event, "/subject"), &event["data"]);
        if kind.starts_with("patient.") && !text(data, "/name").is_empty() {
            self.names.insert(subject.to_owned(), text(data, "/name").to_owned());
        }
        match kind {
            "patient.created" => drop(self.persons.insert(subject.to_owned())),
            "patient.merged" => self.persons.retain(|person| !texts(data, "/retired").any(|retired| retired == person)),
            _ => {}
        }
        let details = match kind.split('.').next() {
            Some("visit") => visit(data),
            Some("lab") => report(kind, data),
            _ if kind == "patient.merged" => {
                let retired: Vec<String> = texts(data, "/retired").map(tail).collect();
                format!("One ID {} is now {}", retired.join(", "), tail(subject))
            }
            _ => String::new(),
        };
        let name = self.names.get(subject).map_or("?", String::as_str);
        let changed = match kind {
            // `updated_at` is no news to people.
            "patient.updated" | "visit.updated" => {
                format!("changed: {}", joined(texts(data, "/changed").filter(|field| *field != "updated_at"), ", "))
            }
            _ => String::new(),
        };
        let ink = if kind == "lab.critical" { Ink::Red } else { Ink::Bold };
        let kind = self.ink(ink, &format!("{kind:<18}"));
        let reverses = reverses(data);
        let parts = [name, &details, &changed, &reverses].into_iter().filter(|part| !part.is_empty());
        format!("{INDENT}{kind} {}", joined(parts, "  "))
    }

    pub(super) fn summary(&self) -> String {
        let answers = self.answers.iter().map(|(code, count)| format!("{count} {code}"));
        let messages: u32 = self.answers.values().sum();
        let (events, persons) = (self.events, self.persons.len());
        let changes =
            if self.changes > 0 { format!(", {} changes in the medical record", self.changes) } else { String::new() };
        format!(
            "\n{messages} messages ({}){changes} → {events} events about {persons} persons",
            answers.collect::<Vec<_>>().join(", ")
        )
    }

    fn ink(&self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Bold => 1,
            Ink::Dim => 2,
            Ink::Green => 32,
            Ink::Red => 31,
        };
        if self.coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// `HH:MM` of MSH-7.
fn clock(content: &[u8]) -> String {
    let sent = content.split(|byte| *byte == b'|').nth(6).and_then(|field| std::str::from_utf8(field).ok());
    match sent.and_then(|sent| Some((sent.get(8..10)?, sent.get(10..12)?))) {
        Some((hour, minute)) => format!("{hour}:{minute}"),
        None => "--:--".to_owned(),
    }
}

/// Where the patient is, or was to be.
fn visit(data: &Value) -> String {
    let place = ["/class", "/department/name", "/ward", "/bed"].map(|field| text(data, field));
    let mut parts: Vec<&str> = place.into_iter().filter(|part| !part.is_empty()).collect();
    parts.dedup();
    let status = format!("[{}]", text(data, "/status"));
    parts.push(&status);
    parts.join(" ")
}

/// The panel and its conclusion, with those results that one would look at first.
fn report(kind: &str, data: &Value) -> String {
    let worth = |result: &Value| match kind {
        "lab.critical" => result["critical"] == true,
        "lab.corrected" => result["status"] == "corrected",
        _ => result["abnormal"] == true,
    };
    let results = data["results"].as_array().into_iter().flatten().filter(|result| worth(result)).map(|result| {
        let number = result["value_number"].as_number().map(ToString::to_string).unwrap_or_default();
        let value =
            [text(result, "/value_text"), &number].into_iter().find(|value| !value.is_empty()).unwrap_or_default();
        let flags = joined(texts(result, "/flags"), " ");
        let parts = [text(result, "/name"), value, text(result, "/unit"), &flags];
        joined(parts.into_iter().filter(|part| !part.is_empty()), " ")
    });
    let results = results.collect::<Vec<_>>().join(", ");
    let parts = [text(data, "/panel/name"), &results, text(data, "/conclusion")];
    joined(parts.into_iter().filter(|part| !part.is_empty()), "  ")
}

/// The end of a One ID, enough to tell a few apart.
fn tail(one_id: &str) -> String {
    format!("…{}", one_id.get(20..).unwrap_or(one_id))
}

fn reverses(data: &Value) -> String {
    match text(data, "/reverses/type") {
        "" => String::new(),
        kind => format!("takes back {kind}"),
    }
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn texts<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = &'v str> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn joined<'v>(parts: impl Iterator<Item = &'v str>, separator: &str) -> String {
    parts.collect::<Vec<_>>().join(separator)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The last line of a story with these events.
    fn check(events: &[Value], expected: &str) {
        let mut story = Story::new(false);
        let last = events.iter().map(|event| story.event(event)).last().unwrap();
        assert_eq!(last.trim_start(), expected);
    }

    fn event(kind: &str, data: Value) -> Value {
        json!({"type": kind, "subject": "01M815G23Q9TWG3CNP0Z7X61WT", "data": data})
    }

    #[test]
    fn events_bear_the_name_that_the_patient_s_own_event_told() {
        let patient = event("patient.created", json!({"name": "张三"}));
        check(std::slice::from_ref(&patient), "patient.created    张三");
        let visit = event("visit.admitted", json!({"class": "inpatient", "ward": "5W", "status": "in_progress"}));
        check(&[patient, visit.clone()], "visit.admitted     张三  inpatient 5W [in_progress]");
        check(&[visit], "visit.admitted     ?  inpatient 5W [in_progress]");
    }

    #[test]
    fn updates_say_what_changed_and_what_they_take_back() {
        let data = json!({"status": "in_progress", "changed": ["status", "updated_at"], "reverses": {"type": "visit.discharged"}});
        check(
            &[event("visit.updated", data)],
            "visit.updated      ?  [in_progress]  changed: status  takes back visit.discharged",
        );
    }

    #[test]
    fn reports_show_first_what_one_would_look_at_first() {
        let potassium = json!({"name": "钾", "value_number": 6.9, "unit": "mmol/L", "flags": ["HH"], "abnormal": true, "critical": true});
        let sodium = json!({"name": "钠", "value_number": 128, "unit": "mmol/L", "flags": ["L"], "abnormal": true});
        let chloride = json!({"name": "氯", "value_number": 102, "abnormal": false});
        let report = json!({"panel": {"name": "电解质"}, "results": [potassium, sodium, chloride]});
        check(
            &[event("lab.resulted", report.clone())],
            "lab.resulted       ?  电解质  钾 6.9 mmol/L HH, 钠 128 mmol/L L",
        );
        check(&[event("lab.critical", report)], "lab.critical       ?  电解质  钾 6.9 mmol/L HH");
    }

    #[test]
    fn a_merged_person_is_counted_once() {
        let mut story = Story::new(false);
        let created = |one_id: &str| json!({"type": "patient.created", "subject": one_id, "data": {}});
        for event in [created("A"), created("B")] {
            story.event(&event);
        }
        story.event(&json!({"type": "patient.merged", "subject": "A", "data": {"retired": ["B"]}}));
        assert!(story.summary().ends_with("3 events about 1 persons"), "{}", story.summary());
    }
}
