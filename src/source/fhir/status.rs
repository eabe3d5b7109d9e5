//! What a source says of itself: `heyi status`, `/v1/sources` and `/metrics` show it.
//!
//! Never a patient's value: errors name kinds and places, notes come from a closed list.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::FhirError;
use super::sink::FhirVersion;

/// What is wrong or remarkable with a server, and what the client does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Remark {
    /// The server has no CapabilityStatement: it is taken for R4.
    NoCapabilities,
    /// Its version is not known here: it is taken for R4.
    UnknownVersion,
    /// `_lastUpdated` is ignored or refused: everything is read and compared.
    NoLastUpdatedSearch,
    /// Rows without `meta.lastUpdated`: everything is read and compared.
    NoLastUpdated,
    /// `_sort` is ignored or refused: a pass that breaks off begins anew.
    NoSort,
    /// `_include` is refused.
    NoInclude,
    /// Searches need a patient: they are made patient by patient.
    PerPatient,
    /// A row has a `lastUpdated` in the future: it does not move the mark.
    FutureLastUpdated,
    /// The server's clock and ours differ by more than 30 s.
    ClockSkew,
    /// Links lead to another origin: they are put on the base URL (`rebase_links`), or not followed.
    ForeignLinks,
    /// There are more matches than pages give: the rest is asked for by time.
    ShortPages,
    /// Pages expired or turned in circles: the pass went on by time.
    Restarted,
    /// Pages were too large or too slow: fewer rows are asked for.
    SmallerPages,
    /// The type has no history: deletions are found by comparing ids.
    NoHistory,
    /// History gives one page of more and no link: deletions are found by comparing ids.
    HistoryDoesNotPage,
    /// `_id=a,b,c` is ignored or refused: references are read one by one.
    NoIdSearch,
    /// The export was refused or failed: the first load was done by search.
    ExportFailed,
    /// The server adds an OperationOutcome with warnings to its answers.
    Outcomes,
    /// Entries without type or id: they cannot be kept.
    UnreadableEntries,
    /// More ids than a sweep may hold.
    TooManyIds,
}

impl Remark {
    /// As it is shown everywhere: `no_sort`.
    #[must_use]
    pub fn name(self) -> String {
        // The one place that knows the spelling is the serialisation.
        serde_json::to_value(self).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// Where a source or type stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing was asked yet.
    #[default]
    Starting,
    /// The first load is under way.
    Loading,
    /// All is well.
    Polling,
    /// It works in a lesser way: see the remarks.
    Degraded,
    /// The last attempt failed; it will be tried again.
    Failing,
    /// It is left alone until [`Status::resting_until`].
    Resting,
    /// The server refuses the credentials or the permission: somebody has to act.
    Refused,
    /// The poller was stopped.
    Stopped,
}

/// The last failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When, by our clock.
    pub at: Timestamp,
    /// Its kind: a short fixed word.
    pub kind: Cow<'static, str>,
    /// A sentence with what to do; no personal data, no secrets.
    pub text: String,
}

/// What is worth knowing of a server also while nobody polls it: whether it answers, since when, and what was last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStanding {
    /// Whether it answered when it was asked last; `None`: it was never asked.
    pub answers: Option<bool>,
    /// Since when that is so, by our clock.
    pub since: Option<Timestamp>,
    /// The last round that ended well.
    pub last_success: Option<Timestamp>,
    /// The last failure.
    pub last_error: Option<Failure>,
    /// What it does not do as it should ([`Remark`]), by type of resource; of the server as a whole under an empty name.
    #[serde(default)]
    pub remarks: BTreeMap<String, BTreeSet<String>>,
}

impl ServerStanding {
    /// How it stands after `status` was seen at `now`.
    #[must_use]
    pub fn after(&self, status: &Status, now: Timestamp) -> Self {
        let failed_at = || status.last_error.as_ref().map_or(now, |error| error.at);
        let (answers, at) = match status.state {
            State::Failing | State::Resting | State::Refused => (Some(false), failed_at()),
            State::Polling | State::Degraded | State::Loading => (Some(true), status.last_success.unwrap_or(now)),
            State::Starting | State::Stopped => (self.answers, now),
        };
        Self {
            answers,
            since: if answers == self.answers { self.since } else { Some(at) },
            last_success: status.last_success.or(self.last_success),
            last_error: status.last_error.clone().or_else(|| self.last_error.clone()),
            remarks: match status.state {
                State::Starting | State::Stopped => self.remarks.clone(),
                _ => status.all_remarks(),
            },
        }
    }
}

/// How a type is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// What changed since the mark, in order of time.
    #[default]
    Incremental,
    /// What changed since the mark, in no order.
    Unsorted,
    /// Everything, compared with what is held.
    FullScan,
}

/// How the first load of a type is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadedBy {
    /// Page by page.
    Search,
    /// From export files.
    Export,
}

/// A type's part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TypeStatus {
    /// Where it stands.
    pub state: State,
    /// How it is asked for.
    pub mode: Mode,
    /// Whether it is asked for patient by patient.
    pub per_patient: bool,
    /// The newest `lastUpdated` of a finished pass, as the server wrote it.
    pub mark: Option<String>,
    /// The same as a time.
    pub mark_time: Option<Timestamp>,
    /// When everything up to then was last known to be here, by our clock: now less this is the lag.
    pub up_to_date: Option<Timestamp>,
    /// The last pass that ended well, by our clock.
    pub last_success: Option<Timestamp>,
    /// The last failure, if none ended well since.
    pub last_error: Option<Failure>,
    /// The first load: resources so far, and the number the server spoke of.
    pub loaded: u64,
    /// How many there are to load, if known.
    pub to_load: Option<u64>,
    /// How the first load is or was done.
    pub loaded_by: Option<LoadedBy>,
    /// When the first load ended.
    pub load_finished: Option<Timestamp>,
    /// Resources fetched since the start of the process, repeats of the overlap among them.
    pub fetched: u64,
    /// Of these, new or different.
    pub changed: u64,
    /// Deletions found.
    pub deleted: u64,
    /// Pages read.
    pub pages: u64,
    /// Passes that ended well.
    pub passes: u64,
    /// The last look for deletions, by history or sweep.
    pub deletions_checked: Option<Timestamp>,
    /// What is remarkable.
    pub remarks: BTreeSet<Remark>,
}

/// A source's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The source's name.
    pub source: String,
    /// Where it stands.
    pub state: State,
    /// What the server speaks, once known.
    pub fhir_version: Option<FhirVersion>,
    /// Its product and version, as its CapabilityStatement says.
    pub software: Option<String>,
    /// The server's clock less ours, in seconds, as last seen.
    pub clock_skew: Option<i64>,
    /// Until when it is left alone.
    pub resting_until: Option<Timestamp>,
    /// Requests sent since the start of the process, token requests and repeats among them.
    pub requests: u64,
    /// Of these, without a usable answer, by kind.
    pub failures: BTreeMap<&'static str, u64>,
    /// Bytes of answers, unpacked.
    pub bytes: u64,
    /// The last round of all types that ended well.
    pub last_success: Option<Timestamp>,
    /// The last failure of all, kept until the next.
    pub last_error: Option<Failure>,
    /// References read, and found absent.
    pub references_read: u64,
    /// References that are on no server.
    pub references_absent: u64,
    /// What is remarkable of the server as a whole.
    pub remarks: BTreeSet<Remark>,
    /// By type, in the order of the alphabet.
    pub types: BTreeMap<String, TypeStatus>,
}

impl Status {
    /// All remarks by their names: by type of resource, of the server as a whole under an empty name.
    #[must_use]
    pub fn all_remarks(&self) -> BTreeMap<String, BTreeSet<String>> {
        let of_types = self.types.iter().map(|(name, found)| (name.clone(), &found.remarks));
        let all = std::iter::once((String::new(), &self.remarks)).chain(of_types);
        let named = all.map(|(name, remarks)| (name, remarks.iter().map(|remark| remark.name()).collect()));
        named.filter(|(_, remarks): &(String, BTreeSet<String>)| !remarks.is_empty()).collect()
    }
}

/// A shared view of a source's [`Status`].
#[derive(Debug, Clone)]
pub struct Health(Arc<Mutex<Status>>);

impl Health {
    /// For a source that polls these types.
    #[must_use]
    pub fn new(source: &str, resources: &[String]) -> Self {
        Self(Arc::new(Mutex::new(Status {
            source: source.to_owned(),
            state: State::Starting,
            fhir_version: None,
            software: None,
            clock_skew: None,
            resting_until: None,
            requests: 0,
            failures: BTreeMap::new(),
            bytes: 0,
            last_success: None,
            last_error: None,
            references_read: 0,
            references_absent: 0,
            remarks: BTreeSet::new(),
            types: resources.iter().map(|name| (name.clone(), TypeStatus::default())).collect(),
        })))
    }

    /// As it is now.
    #[must_use]
    pub fn snapshot(&self) -> Status {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn update<T>(&self, change: impl FnOnce(&mut Status) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn update_type<T>(&self, resource_type: &str, change: impl FnOnce(&mut TypeStatus) -> T) -> T {
        self.update(|status| change(status.types.entry(resource_type.to_owned()).or_default()))
    }

    /// Counts an attempt that gave no usable answer.
    pub(super) fn count(&self, error: &FhirError) {
        self.update(|status| *status.failures.entry(error.kind()).or_default() += 1);
    }

    /// Notes a remark on a type, or on the source; logged when it is new.
    pub(super) fn remark(&self, resource_type: Option<&str>, remark: Remark) {
        let (source, new) = self.update(|status| {
            let new = match resource_type {
                None => status.remarks.insert(remark),
                Some(name) => status.types.entry(name.to_owned()).or_default().remarks.insert(remark),
            };
            (status.source.clone(), new)
        });
        if new {
            tracing::warn!(
                source,
                resource_type,
                remark = remark.name(),
                "the FHIR server does not do as it should; polling goes on in another way"
            );
        }
    }
}
