//! Events: what they are called, what they carry, how they are named.

use std::str::FromStr;

use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use ulid::Ulid;

use super::TypeFilter;
use super::cursor::FIRST_EPOCH;
use crate::record::Fields;

macro_rules! event_kinds {
    ($($variant:ident $text:literal $meaning:literal)*) => {
        /// The type of an event; the text is CloudEvents `type`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum EventKind { $(#[doc = $meaning] $variant,)* }

        impl EventKind {
            /// Every type, in the order of the documentation.
            pub const ALL: &'static [EventKind] = &[$(EventKind::$variant,)*];

            /// The type as consumers see it, e.g. `visit.admitted`.
            pub fn name(self) -> &'static str {
                match self { $(EventKind::$variant => $text,)* }
            }

            /// One line of meaning, for the documentation.
            pub fn meaning(self) -> &'static str {
                match self { $(EventKind::$variant => $meaning,)* }
            }
        }
    };
}

event_kinds! {
    PatientCreated "patient.created" "A One ID appears."
    PatientUpdated "patient.updated" "The golden record of a One ID changes."
    PatientMerged "patient.merged" "Two One IDs become one."
    PatientSplit "patient.split" "A merge is undone, or records move to another One ID."
    PatientRestricted "patient.restricted" "Nothing is told of a One ID any more, or again: `restricted` says which."
    PatientErased "patient.erased" "All that was held of these One IDs is erased: erase it too."
    PatientConsentChanged "patient.consent_changed" "A consent is given, is withdrawn, or holds no more."
    VisitScheduled "visit.scheduled" "An appointment is made."
    VisitRescheduled "visit.rescheduled" "An appointment is moved."
    VisitArrived "visit.arrived" "The patient has come."
    VisitAdmitted "visit.admitted" "The patient is admitted."
    VisitTransferred "visit.transferred" "The patient moves to another place."
    VisitDischarged "visit.discharged" "The patient is discharged."
    VisitCompleted "visit.completed" "An outpatient visit ends."
    VisitCancelled "visit.cancelled" "The visit does not take place, or its admission is cancelled."
    VisitNoShow "visit.no_show" "The patient did not come."
    VisitUpdated "visit.updated" "Something else about the visit changes."
    LabRegistered "lab.registered" "A report is announced without a result."
    LabPreliminary "lab.preliminary" "A report has preliminary or partial results."
    LabResulted "lab.resulted" "A report is final."
    LabCorrected "lab.corrected" "A final report is corrected."
    LabCancelled "lab.cancelled" "A report is cancelled or was entered in error."
    LabCritical "lab.critical" "A critical value appears; in addition to the report's own event."
    FeedEpochChanged "feed.epoch_changed" "A backup was put back: what is held is to be compared with the log as it is now."
    FeedCheckpoint "feed.checkpoint" "A position only."
}

impl EventKind {
    /// The part before the dot: `patient`, `visit`, `lab`, `feed`.
    pub fn family(self) -> &'static str {
        self.name().split('.').next().unwrap_or_default()
    }

    /// Whether every consumer gets it, whatever it asked for: it may hold what it must not keep, or not use, any longer.
    pub fn reaches_everybody(self) -> bool {
        matches!(self, Self::PatientRestricted | Self::PatientErased)
    }

    /// Whether a consumer that asks for these types gets it.
    pub fn is_wanted(self, filters: &[TypeFilter]) -> bool {
        self.reaches_everybody() || filters.iter().any(|filter| filter.matches(self))
    }

    /// The JSON Schema of `data`, by its path below the server's root.
    pub fn schema_path(self) -> &'static str {
        match (self, self.family()) {
            (Self::PatientMerged | Self::PatientSplit, _) => "/schemas/identity_change.v1.json",
            (Self::PatientRestricted | Self::PatientErased, _) => "/schemas/person_notice.v1.json",
            (Self::PatientConsentChanged, _) => "/schemas/consent_change.v1.json",
            (_, "patient") => "/schemas/person.v1.json",
            (_, "visit") => "/schemas/visit.v1.json",
            (_, "lab") => "/schemas/lab_report.v1.json",
            (Self::FeedEpochChanged, _) => "/schemas/epoch_change.v1.json",
            _ => "/schemas/checkpoint.v1.json",
        }
    }
}

impl FromStr for EventKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.iter().copied().find(|kind| kind.name() == text).ok_or(())
    }
}

/// An event on its way into the log, before it has a sequence number.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// Derived from what caused it; see [`event_id`].
    pub id: String,
    /// Its type.
    pub kind: EventKind,
    /// The One ID that it is about.
    pub subject: String,
    /// When it happened at the source, RFC 3339.
    pub time: String,
    /// The source that it came from, without the `heyi/` prefix.
    pub source: String,
    /// The whole record after the change with `changed` and `cause`, or the merge's own fields.
    pub data: Fields,
}

/// An event of the log, as consumers read it: a CloudEvents 1.0 envelope.
#[derive(Debug, Serialize)]
pub struct Event {
    /// Always `1.0`.
    pub specversion: &'static str,
    /// See [`event_id`].
    pub id: String,
    /// `heyi/SOURCE`.
    pub source: String,
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The One ID; empty: it is about nobody.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// When it happened, RFC 3339.
    pub time: String,
    /// Position in the log, twelve digits.
    pub sequence: String,
    /// Path of the JSON Schema of `data`.
    pub dataschema: &'static str,
    /// Always `application/json`.
    pub datacontenttype: &'static str,
    /// The payload, as stored.
    pub data: Box<RawValue>,
}

/// The id of an event: a ULID whose time is `at_milliseconds` (source time) and whose other 80 bits are the start of
/// SHA-256 over what caused it. The same cause gives the same id, on any machine, at any time, within one epoch of the log: what
/// is sent again after a restore must not be taken for the event that the consumer saw and the restore took back.
///
/// `cause` names the trigger (message content digest, or the command), `record` the record that changed.
pub fn event_id(at_milliseconds: i64, kind: EventKind, record: &str, cause: &[u8], epoch: u32) -> String {
    let mut digest = Sha256::new();
    let later = (epoch != FIRST_EPOCH).then(|| epoch.to_be_bytes());
    let parts = [kind.name().as_bytes(), record.as_bytes(), cause];
    // Logs that were written before there was a second epoch keep their ids.
    for part in parts.into_iter().chain(later.as_ref().map(<[u8; 4]>::as_slice)) {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let digest = digest.finalize();
    let random = digest.iter().take(10).fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
    Ulid::from_parts(u64::try_from(at_milliseconds).unwrap_or(0), random).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_read_back_from_its_name() {
        for kind in EventKind::ALL {
            assert_eq!(kind.name().parse(), Ok(*kind));
        }
    }

    #[test]
    fn an_event_id_depends_on_cause_type_record_and_epoch_and_nothing_else() {
        let id = |kind, record, cause, epoch| event_id(1_700_000_000_000, kind, record, cause, epoch);
        let first = id(EventKind::VisitAdmitted, "his:1", b"cause".as_slice(), 1);
        assert_eq!(first, id(EventKind::VisitAdmitted, "his:1", b"cause", 1));
        assert_ne!(first, id(EventKind::VisitUpdated, "his:1", b"cause", 1));
        assert_ne!(first, id(EventKind::VisitAdmitted, "his:2", b"cause", 1));
        assert_ne!(first, id(EventKind::VisitAdmitted, "his:1", b"other", 1));
        assert_ne!(first, id(EventKind::VisitAdmitted, "his:1", b"cause", 2));
        assert_eq!(first.len(), 26);
    }
}
