//! What the server holds: every version of every resource.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

/// How exactly times are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precision {
    Seconds,
    Milliseconds,
    /// Seven digits and an offset, as .NET writes them.
    Ticks,
}

/// One version.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) number: u32,
    pub(crate) at: Timestamp,
    pub(crate) deleted: bool,
    pub(crate) content: Value,
    /// Not committed yet: to be seen after that many requests more.
    pub(crate) hidden: u32,
}

/// All resources of all types.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) now: Timestamp,
    pub(crate) precision: Precision,
    pub(crate) undated: bool,
    resources: BTreeMap<(String, String), Vec<Version>>,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            now: "2026-03-01T08:00:00Z".parse().expect("a time"),
            precision: Precision::Milliseconds,
            undated: false,
            resources: BTreeMap::new(),
        }
    }

    pub(crate) fn advance(&mut self, span: Duration) {
        self.now = self.now.checked_add(jiff::SignedDuration::try_from(span).expect("a span")).expect("a time");
    }

    /// Creates or changes a resource now. `content` is what it says beside type, id and meta.
    pub(crate) fn put(&mut self, resource_type: &str, id: &str, content: Value) {
        self.write(resource_type, id, content, false, self.now, 0);
    }

    /// A transaction that began now and is visible only `requests` later.
    pub(crate) fn put_late(&mut self, resource_type: &str, id: &str, content: Value, requests: u32) {
        self.write(resource_type, id, content, false, self.now, requests);
    }

    /// With a time of its own.
    pub(crate) fn put_at(&mut self, resource_type: &str, id: &str, content: Value, at: Timestamp) {
        self.write(resource_type, id, content, false, at, 0);
    }

    pub(crate) fn delete(&mut self, resource_type: &str, id: &str) {
        if self.current(resource_type, id).is_some_and(|version| !version.deleted) {
            self.write(resource_type, id, Value::Null, true, self.now, 0);
        }
    }

    /// As if it had never been.
    pub(crate) fn erase(&mut self, resource_type: &str, id: &str) {
        self.resources.remove(&(resource_type.to_owned(), id.to_owned()));
    }

    fn write(&mut self, resource_type: &str, id: &str, content: Value, deleted: bool, at: Timestamp, hidden: u32) {
        let versions = self.resources.entry((resource_type.to_owned(), id.to_owned())).or_default();
        // A resource is locked while a transaction on it is open.
        if versions.last().is_some_and(|last| last.hidden > 0) {
            return;
        }
        let number = versions.last().map_or(1, |last| last.number + 1);
        versions.push(Version { number, at, deleted, content, hidden });
    }

    /// Counts a request: transactions come to their end.
    pub(crate) fn tick(&mut self) {
        for version in self.resources.values_mut().flatten() {
            version.hidden = version.hidden.saturating_sub(1);
        }
    }

    /// Ends all transactions.
    pub(crate) fn settle(&mut self) {
        for version in self.resources.values_mut().flatten() {
            version.hidden = 0;
        }
    }

    pub(crate) fn current(&self, resource_type: &str, id: &str) -> Option<&Version> {
        let versions = self.resources.get(&(resource_type.to_owned(), id.to_owned()))?;
        versions.iter().rev().find(|version| version.hidden == 0)
    }

    /// Live resources of a type, by id.
    pub(crate) fn live(&self, resource_type: &str) -> Vec<(&str, &Version)> {
        self.ids(resource_type)
            .filter_map(|id| Some((id, self.current(resource_type, id)?)))
            .filter(|(_, version)| !version.deleted)
            .collect()
    }

    pub(crate) fn ids(&self, resource_type: &str) -> impl Iterator<Item = &str> {
        self.resources.keys().filter(move |(name, _)| name == resource_type).map(|(_, id)| id.as_str())
    }

    /// Every visible version of a type, the newest first.
    pub(crate) fn history(&self, resource_type: &str) -> Vec<(&str, &Version)> {
        let mut all: Vec<(&str, &Version)> = self
            .resources
            .iter()
            .filter(|((name, _), _)| name == resource_type)
            .flat_map(|((_, id), versions)| versions.iter().map(move |version| (id.as_str(), version)))
            .filter(|(_, version)| version.hidden == 0)
            .collect();
        all.sort_by_key(|(id, version)| (std::cmp::Reverse(version.at), *id, std::cmp::Reverse(version.number)));
        all
    }

    /// Everything that is live, as `Type/id` and its text.
    pub(crate) fn all(&self) -> BTreeMap<String, String> {
        self.resources
            .keys()
            .filter_map(|(name, id)| {
                let version = self.current(name, id).filter(|version| !version.deleted)?;
                Some((format!("{name}/{id}"), self.text(name, id, version)))
            })
            .collect()
    }

    /// A time as this server writes it.
    pub(crate) fn time(&self, at: Timestamp) -> String {
        match self.precision {
            Precision::Seconds => at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            Precision::Milliseconds => at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
            Precision::Ticks => {
                let there = at.checked_add(jiff::SignedDuration::from_hours(8)).expect("a time");
                there.strftime("%Y-%m-%dT%H:%M:%S.%7f+08:00").to_string()
            }
        }
    }

    /// A time as this server knows it.
    pub(crate) fn known(&self, at: Timestamp) -> Timestamp {
        let unit = match self.precision {
            Precision::Seconds => 1_000_000_000,
            Precision::Milliseconds => 1_000_000,
            Precision::Ticks => 100,
        };
        Timestamp::from_nanosecond(at.as_nanosecond() / unit * unit).expect("a time")
    }

    /// A resource's text: with blanks where nobody needs them, so that whoever writes it anew is found out.
    pub(crate) fn text(&self, resource_type: &str, id: &str, version: &Version) -> String {
        let mut meta = json!({"versionId": version.number.to_string()});
        if !self.undated {
            meta["lastUpdated"] = json!(self.time(version.at));
        }
        let mut rest = String::new();
        for (name, value) in version.content.as_object().into_iter().flatten() {
            rest.push_str(&format!(" ,\"{name}\" : {value}"));
        }
        format!("{{\"resourceType\":\"{resource_type}\", \"id\": \"{id}\",  \"meta\":{meta}{rest} }}")
    }
}
