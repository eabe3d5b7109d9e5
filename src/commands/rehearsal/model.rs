//! What a consumer is to hold: the naive model. It writes down what each event says, in the order of the log, and what the guide says of merges,
//! splits and erasures; nothing else. And what a consumer says it holds, laid beside it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// The persons, visits and reports that events leave behind.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    /// Golden records by One ID; a retired one has `merged_into`.
    persons: BTreeMap<String, Value>,
    visits: BTreeMap<String, Value>,
    lab_reports: BTreeMap<String, Value>,
    /// Ids of events that a later one took back.
    reversed: BTreeSet<String>,
    /// Ids of events that told of a critical value, by the report.
    critical: BTreeMap<String, Vec<String>>,
    /// One IDs that are to be forgotten.
    erased: BTreeSet<String>,
}

/// The kinds of records, as snapshots and read-backs name them, with the member that holds the id.
const KINDS: [(&str, &str, &str); 3] =
    [("person", "persons", "one_id"), ("visit", "visits", "visit_id"), ("lab_report", "lab_reports", "report_id")];

/// Members of an event's data that are not of the record.
const OF_THE_EVENT: [&str; 7] = ["changed", "cause", "reverses", "retired", "basis", "records", "new_one_id"];

/// States of a visit or report that say that there is nothing: whether a consumer keeps such a row is its own affair.
const NOTHING: [&str; 2] = ["entered_in_error", "cancelled"];

impl Model {
    /// All that these events leave behind.
    #[cfg(test)]
    pub(super) fn of<'e>(events: impl IntoIterator<Item = &'e Value>) -> Self {
        let mut model = Self::default();
        events.into_iter().for_each(|event| model.take(event));
        model
    }

    /// One event, the next in the log. Of a type that is not known it takes nothing.
    pub(super) fn take(&mut self, event: &Value) {
        let (kind, id, data) = (text(event, "type"), text(event, "id"), &event["data"]);
        if self.erased.contains(text(data, "one_id")) {
            return;
        }
        if let Some(reversed) = data["reverses"]["id"].as_str() {
            self.reversed.insert(reversed.to_owned());
        }
        match kind {
            "patient.created" | "patient.updated" => self.keep_person(data),
            "patient.merged" => {
                self.keep_person(data);
                for retired in texts(data, "retired") {
                    let row = json!({"one_id": retired, "merged_into": data["one_id"], "version": self.version("persons", retired) + 1});
                    self.persons.insert(retired.to_owned(), row);
                }
                self.move_records(data, text(data, "one_id"));
            }
            "patient.split" => {
                self.keep_person(data);
                self.move_records(data, text(data, "new_one_id"));
            }
            "patient.erased" => texts(data, "erased").for_each(|one_id| self.erase(one_id)),
            _ if data["visit_id"].is_string() && kind.starts_with("visit.") => {
                self.visits.insert(text(data, "visit_id").to_owned(), plain(data));
            }
            _ if kind.starts_with("lab.") => {
                let report = text(data, "report_id").to_owned();
                if kind == "lab.critical" {
                    self.critical.entry(report.clone()).or_default().push(id.to_owned());
                }
                self.lab_reports.insert(report, plain(data));
            }
            _ => {}
        }
    }

    fn keep_person(&mut self, data: &Value) {
        self.persons.insert(text(data, "one_id").to_owned(), plain(data));
    }

    fn move_records(&mut self, data: &Value, to: &str) {
        for (table, list) in [(&mut self.visits, "visits"), (&mut self.lab_reports, "lab_reports")] {
            for id in texts(&data["records"], list) {
                if let Some(record) = table.get_mut(id) {
                    record["one_id"] = json!(to);
                }
            }
        }
    }

    fn erase(&mut self, one_id: &str) {
        self.erased.insert(one_id.to_owned());
        for (_, table, _) in KINDS {
            self.table_mut(table).retain(|_, record| record["one_id"] != one_id);
        }
    }

    fn table(&self, name: &str) -> &BTreeMap<String, Value> {
        match name {
            "persons" => &self.persons,
            "visits" => &self.visits,
            _ => &self.lab_reports,
        }
    }

    fn table_mut(&mut self, name: &str) -> &mut BTreeMap<String, Value> {
        match name {
            "persons" => &mut self.persons,
            "visits" => &mut self.visits,
            _ => &mut self.lab_reports,
        }
    }

    fn version(&self, table: &str, id: &str) -> u64 {
        self.table(table).get(id).and_then(|record| record["version"].as_u64()).unwrap_or(0)
    }

    /// The rows of a snapshot, or of a comparison where `records` are not wanted.
    pub(super) fn rows(&self, records: bool) -> Vec<Value> {
        let row = |kind: &str, id: &str, record: &Value| {
            let mut row = json!({"kind": kind, "id": id, "one_id": record["one_id"], "version": record["version"]});
            if records {
                row["record"] = record.clone();
            }
            row
        };
        let of_kind = |(kind, table, _): &(&str, &str, &str)| {
            self.table(table).iter().map(|(id, record)| row(kind, id, record)).collect::<Vec<_>>()
        };
        KINDS.iter().flat_map(of_kind).collect()
    }

    /// The person as a look-up shows it: a retired One ID answers as the one that lives.
    pub(super) fn person(&self, one_id: &str) -> Option<Value> {
        let record = self.persons.get(one_id)?;
        let Some(into) = record["merged_into"].as_str() else { return Some(record.clone()) };
        let mut living = self.person(into)?;
        living["merged_into"] = json!(into);
        Some(living)
    }

    /// The visits or reports of a person (`visits`, `lab_reports`).
    pub(super) fn records_of(&self, one_id: &str, table: &str) -> Vec<Value> {
        self.table(table).values().filter(|record| record["one_id"] == one_id).cloned().collect()
    }

    /// What is wrong with what a consumer holds. Tables that it does not name are not looked at. An action may not rest on an event of
    /// `undone`.
    pub(super) fn differences(&self, held: &Value, undone: &BTreeSet<String>) -> Vec<Difference> {
        let mut found = Vec::new();
        for (_, table, _) in KINDS {
            if let Some(rows) = held[table].as_object() {
                self.compare(table, rows, &mut found);
            }
        }
        self.compare_actions(held, undone, &mut found);
        found
    }

    fn compare(&self, table: &str, rows: &serde_json::Map<String, Value>, found: &mut Vec<Difference>) {
        for (id, expected) in self.table(table) {
            let name = format!("{table} {id}");
            let Some(row) = rows.get(id) else {
                let is_nothing = NOTHING.contains(&text(expected, "status")) || expected["merged_into"].is_string();
                if !is_nothing {
                    found.push(Difference::new(&name, "there", "is kept", "it is not there"));
                }
                continue;
            };
            // A person need not say its own name again.
            let members: &[&'static str] =
                if table == "persons" { &["version"] } else { &["one_id", "version", "status"] };
            if table == "persons"
                && expected["merged_into"].is_string()
                && row["merged_into"] != expected["merged_into"]
            {
                let wanted = format!("is gone, or has merged_into {}", expected["merged_into"]);
                found.push(Difference::new(&name, "merged_into", &wanted, "it is held as a person of its own"));
                continue;
            }
            for member in members.iter().copied() {
                // The version of a retired One ID is told by no event.
                let is_told = !(member == "version" && expected["merged_into"].is_string());
                if is_told && !row[member].is_null() && row[member] != expected[member] {
                    let wanted = format!("{member} is {}", expected[member]);
                    found.push(Difference::new(&name, member, &wanted, &format!("{member} is {}", row[member])));
                }
            }
            if table == "persons" && row["merged_into"].is_string() && expected["merged_into"].is_null() {
                found.push(Difference::new(
                    &name,
                    "merged_into",
                    "lives",
                    &format!("merged_into is {}", row["merged_into"]),
                ));
            }
            if table != "persons" && row["one_id"].is_null() {
                found.push(Difference::new(&name, "one_id", "says whose it is (one_id)", "one_id is missing"));
            }
        }
        for id in rows.keys().filter(|id| !self.table(table).contains_key(*id)) {
            found.push(Difference::new(&format!("{table} {id}"), "there", "is not there", "it is kept"));
        }
    }

    /// What a consumer did beyond keeping records; see docs/rehearse.md.
    fn compare_actions(&self, held: &Value, undone: &BTreeSet<String>, found: &mut Vec<Difference>) {
        let (mut done, mut open) = (BTreeSet::new(), BTreeSet::new());
        for action in held["actions"].as_array().into_iter().flatten() {
            let (what, record, event) = (text(action, "what"), text(action, "record"), text(action, "event"));
            let name = format!("action {what:?} for {record}");
            let is_open = action["open"].as_bool().unwrap_or(true);
            if (!event.is_empty() && !done.insert((what, record, event))) || (is_open && !open.insert((what, record))) {
                found.push(Difference::new(&name, "once", "is there once", "it is there twice"));
            }
            let owner =
                [&self.visits, &self.lab_reports, &self.persons].into_iter().find_map(|table| table.get(record));
            let one_id = text(action, "one_id");
            if self.erased.contains(one_id) {
                found.push(Difference::new(&name, "forgotten", "is forgotten with its patient", "it is kept"));
                continue;
            }
            if !is_open {
                continue;
            }
            match owner {
                None => {
                    found.push(Difference::new(&name, "open", "is not open: the record is not there", "it is open"))
                }
                Some(owner) if owner["one_id"] != one_id => {
                    let wanted = format!("is {}'s", owner["one_id"]);
                    found.push(Difference::new(&name, "one_id", &wanted, &format!("one_id is {one_id:?}")));
                }
                Some(owner) if NOTHING.contains(&text(owner, "status")) => {
                    found.push(Difference::new(&name, "open", "is not open: the record is void", "it is open"));
                }
                Some(owner) => {
                    let was_critical = self.critical.get(record).is_some_and(|ids| ids.iter().any(|id| id == event));
                    if self.reversed.contains(event) || undone.contains(event) {
                        found.push(Difference::new(
                            &name,
                            "open",
                            "is not open: its event was taken back",
                            "it is open",
                        ));
                    } else if was_critical && owner["critical"] != true {
                        let wanted = "is not open: the report has no critical value any more";
                        found.push(Difference::new(&name, "open", wanted, "it is open"));
                    }
                }
            }
        }
    }
}

/// One thing that a consumer holds otherwise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Difference {
    /// Which record.
    pub(super) record: String,
    /// In what: what differs today and tomorrow in the same is told once.
    pub(super) aspect: &'static str,
    /// What is expected of it.
    pub(super) expected: String,
    /// What is there.
    pub(super) found: String,
}

impl Difference {
    fn new(record: &str, aspect: &'static str, expected: &str, found: &str) -> Self {
        Self { record: record.to_owned(), aspect, expected: expected.to_owned(), found: found.to_owned() }
    }
}

/// The record in the data of its event.
fn plain(data: &Value) -> Value {
    let mut record = data.clone();
    if let Some(members) = record.as_object_mut() {
        OF_THE_EVENT.iter().for_each(|name| drop(members.remove(*name)));
    }
    record
}

fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    value[member].as_str().unwrap_or_default()
}

fn texts<'v>(value: &'v Value, member: &str) -> impl Iterator<Item = &'v str> {
    value[member].as_array().into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with `held`, by aspect.
    fn aspects(held: Value) -> Vec<&'static str> {
        let visit = |id: &str, status: &str| json!({"type": "visit.x", "id": id, "data": {"visit_id": id, "one_id": "A", "version": 2, "status": status}});
        let report = |kind: &str, id: &str, critical: bool| json!({"type": kind, "id": id, "data": {"report_id": "F1", "one_id": "A", "version": 1, "status": "final", "critical": critical}});
        let mut back = visit("V2", "in_progress");
        back["data"]["reverses"] = json!({"id": "discharge"});
        let events = [
            json!({"type": "patient.created", "id": "1", "data": {"one_id": "A", "version": 1}}),
            json!({"type": "patient.created", "id": "2", "data": {"one_id": "B", "version": 1}}),
            json!({"type": "patient.merged", "id": "3", "data": {"one_id": "A", "version": 2, "retired": ["B"]}}),
            visit("V1", "finished"),
            back,
            visit("V3", "entered_in_error"),
            report("lab.critical", "critical", true),
            report("lab.corrected", "corrected", false),
            json!({"type": "patient.erased", "id": "4", "data": {"one_id": "E", "erased": ["E"]}}),
        ];
        let undone = BTreeSet::from(["lost".to_owned()]);
        Model::of(&events).differences(&held, &undone).into_iter().map(|difference| difference.aspect).collect()
    }

    fn right() -> Value {
        json!({
            "persons": {"A": {"version": 2}},
            "visits": {"V1": {"one_id": "A", "version": 2, "status": "finished"}, "V2": {"one_id": "A", "status": "in_progress"}},
            "lab_reports": {"F1": {"one_id": "A", "status": "final"}},
            "actions": [{"what": "call", "record": "V1", "one_id": "A", "event": "V1"}, {"what": "x", "record": "V2", "event": "discharge", "open": false}],
        })
    }

    #[test]
    fn what_is_right_differs_in_nothing() {
        assert_eq!(aspects(right()), Vec::<&str>::new());
        assert_eq!(aspects(json!({})), Vec::<&str>::new(), "what is not named is not looked at");
        let mut retired = right();
        retired["persons"]["B"] = json!({"merged_into": "A"});
        retired["visits"]["V3"] = json!({"one_id": "A", "status": "entered_in_error"});
        assert_eq!(aspects(retired), Vec::<&str>::new(), "a consumer may keep what is void");
    }

    #[test]
    fn every_kind_of_wrong_is_found() {
        let check = |path: &str, value: Value, expected: &str| {
            let mut held = right();
            let (parent, name) = path.rsplit_once('/').unwrap();
            match held.pointer_mut(parent).unwrap() {
                Value::Array(items) => items.push(value),
                parent => parent[name] = value,
            }
            assert_eq!(aspects(held), [expected], "{path}");
        };
        let action = |record: &str, one_id: &str, event: &str| json!({"what": "other", "record": record, "one_id": one_id, "event": event});
        check("/persons/A/version", json!(1), "version");
        check("/persons/B", json!({"version": 1}), "merged_into");
        check("/persons/C", json!({}), "there");
        check("/visits/V1/one_id", json!("B"), "one_id");
        check("/visits/V1/status", json!("in_progress"), "status");
        check("/visits/V9", json!({"one_id": "A"}), "there");
        check("/lab_reports", json!({}), "there");
        check("/actions/-", json!({"what": "call", "record": "V1", "one_id": "A", "event": "V1"}), "once");
        check("/actions/-", action("V1", "B", "V1"), "one_id");
        check("/actions/-", action("V2", "A", "discharge"), "open");
        check("/actions/-", action("V2", "A", "lost"), "open");
        check("/actions/-", action("V3", "A", "V3"), "open");
        check("/actions/-", action("V8", "A", ""), "open");
        check("/actions/-", action("F1", "A", "critical"), "open");
        check("/actions/-", action("V7", "E", ""), "forgotten");
    }
}
