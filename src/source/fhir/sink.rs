//! What the poller hands on, and what it asks of whoever keeps it.
//!
//! The keeper holds a *mirror*: the newest content of every resource that was fetched, and beside it the poller's own notes
//! ([`Note`]), which it neither reads nor understands. A [`Page`] is written as a whole or not at all: resources, what is gone, and the notes
//! in one transaction. That is what makes a crash harmless: notes never run ahead of content.

use std::fmt;
use std::future::Future;

use serde::{Deserialize, Serialize};

use super::instant::Instant;

/// The longest id that FHIR allows ("id": up to 64 characters).
const LONGEST_ID: usize = 64;

/// A resource by type and id, as `Patient/123` names it on the source's server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reference {
    /// Such as `Patient`.
    pub resource_type: String,
    /// The id on its server ("logical id").
    pub id: String,
}

impl Reference {
    /// A type and an id that may stand in a URL; `None` for anything else.
    #[must_use]
    pub fn new(resource_type: &str, id: &str) -> Option<Self> {
        let type_is_one = resource_type.starts_with(|first: char| first.is_ascii_uppercase())
            && resource_type.len() <= LONGEST_ID
            && resource_type.chars().all(|character| character.is_ascii_alphanumeric());
        (type_is_one && is_id(id)).then(|| Self { resource_type: resource_type.to_owned(), id: id.to_owned() })
    }

    /// Reads what stands in `Reference.reference`, if it names a resource of the server at `base`: `Patient/1`, `Patient/1/_history/2`, or
    /// either behind the server's own base URL. Fragments, `urn:uuid:…`, conditional references and other servers give `None`.
    #[must_use]
    pub fn parse(text: &str, base: &str) -> Option<Self> {
        let base = base.trim_end_matches('/');
        let path = match text.strip_prefix(base) {
            Some(rest) if !base.is_empty() => rest.strip_prefix('/')?,
            _ => text,
        };
        let mut parts = path.split('/');
        let (resource_type, id) = (parts.next()?, parts.next()?);
        match (parts.next(), parts.next(), parts.next()) {
            (None, ..) | (Some("_history"), Some(_), None) => Self::new(resource_type, id),
            _ => None,
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.resource_type, self.id)
    }
}

/// Whether `text` may be a resource's id: 1 to 64 letters, digits, `-` and `.`. Servers with `_` in their ids exist, and it is harmless.
#[must_use]
pub(crate) fn is_id(text: &str) -> bool {
    (1..=LONGEST_ID).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        && !matches!(text, "." | "..")
}

/// The FHIR version that the server says it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FhirVersion {
    /// 3.0.x
    #[serde(rename = "STU3")]
    Stu3,
    /// 4.0.x, and what a server is taken for that does not say.
    R4,
    /// 4.3.x
    R4B,
    /// 5.0.x
    R5,
}

impl FhirVersion {
    /// Reads `CapabilityStatement.fhirVersion`: `4.0.1`, `4.3.0`, `5.0.0-ballot` …; `None` for what this client does not know.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('.');
        match (parts.next()?, parts.next()) {
            ("3", Some("0" | "2" | "5")) => Some(Self::Stu3),
            ("4", Some("1" | "3")) => Some(Self::R4B),
            ("4", _) => Some(Self::R4),
            ("5", _) => Some(Self::R5),
            _ => None,
        }
    }

    /// `STU3`, `R4`, `R4B`, `R5`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stu3 => "STU3",
            Self::R4 => "R4",
            Self::R4B => "R4B",
            Self::R5 => "R5",
        }
    }
}

/// A resource as it was fetched.
#[derive(Clone, PartialEq, Eq)]
pub struct Resource {
    /// Type and id.
    pub reference: Reference,
    /// `meta.versionId`: to be compared for equality only, it need not be a number.
    pub version_id: Option<String>,
    /// `meta.lastUpdated`.
    pub last_updated: Option<Instant>,
    /// Its JSON, byte for byte as the server sent it.
    pub body: Vec<u8>,
    /// How it came.
    pub origin: Origin,
}

impl fmt::Debug for Resource {
    /// Without the body: it is a patient's.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Resource")
            .field("reference", &self.reference)
            .field("version_id", &self.version_id)
            .field("last_updated", &self.last_updated)
            .field("bytes", &self.body.len())
            .field("origin", &self.origin)
            .finish()
    }
}

/// How a resource came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// It matched a search of its type.
    Search,
    /// It came beside those that matched (`search.mode = include`).
    Include,
    /// It was read by its id: a reference, or one that a sweep asked about.
    Read,
    /// From a file of a Bulk Data export.
    Export,
}

/// Why a resource is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Absence {
    /// The server says that it was deleted: 410 at its own URL, or a DELETE in the type's history.
    Deleted,
    /// The mirror held it, no search gives it any more, and its own URL has said 404 in as many sweeps as the settings ask for.
    Vanished,
    /// It was wanted, and its own URL gives no usable answer, while others do: to be asked for again in a while. If the mirror holds it, it stays
    /// as it is.
    Unanswered,
    /// It was wanted ([`Sink::wanted`]), and its own URL says 404, 403 or names no resource. If the mirror holds it, it stays as it is: it may be hidden, not gone.
    NotFound,
}

/// A resource that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// Which.
    pub reference: Reference,
    /// How that is known.
    pub absence: Absence,
    /// When, if the server said so.
    pub at: Option<Instant>,
}

/// One of the poller's notes: a key that is unique within the source, and opaque text (JSON). `None` takes the note away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Such as `type/Patient` or `export`. It may hold a patient's id (per-patient mode).
    pub key: String,
    /// What to keep under it.
    pub text: Option<String>,
}

/// What was fetched at once, to be kept in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What the server speaks.
    pub fhir_version: FhirVersion,
    /// In the order in which the server gave them; of two with one reference the later is newer.
    pub resources: Vec<Resource>,
    /// To be applied after `resources`.
    pub gone: Vec<Gone>,
    /// Wanted resources ([`Wanted::held_version`]) that are as the mirror holds them.
    pub unchanged: Vec<Reference>,
    /// The poller's notes, to be kept with the content.
    pub notes: Vec<Note>,
}

impl Page {
    /// A page with nothing in it.
    #[must_use]
    pub fn empty(fhir_version: FhirVersion) -> Self {
        Self { fhir_version, resources: Vec::new(), gone: Vec::new(), unchanged: Vec::new(), notes: Vec::new() }
    }

    /// Nothing to keep: no content, no note.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.gone.is_empty() && self.unchanged.is_empty() && self.notes.is_empty()
    }
}

/// What became of a page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Resources that were new to the mirror or differ from what it held. Repeats are normal: every poll reads the overlap again.
    pub changed: u64,
    /// Held resources that are no longer.
    pub withdrawn: u64,
}

/// A resource of the mirror, as a sweep compares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its id.
    pub id: String,
    /// Its `meta.versionId` as last fetched.
    pub version_id: Option<String>,
}

/// A resource that should be read by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Which.
    pub reference: Reference,
    /// The version that the mirror holds, if it holds one and merely wants to know whether it is still so (`If-None-Match`).
    pub held_version: Option<String>,
}

/// Why the keeper could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("what was fetched could not be kept: {text}; the poll goes on where it was once that is mended")]
pub struct SinkError {
    /// What went wrong, without content.
    pub text: String,
}

/// Who keeps what was fetched.
pub trait Sink: Send + Sync {
    /// The note under `key`.
    fn note(&self, key: &str) -> impl Future<Output = Result<Option<String>, SinkError>> + Send;

    /// Keeps a page: all of it in one transaction, done when this returns.
    ///
    /// A resource that is byte for byte what the mirror holds, or has the same `versionId` and content, changes nothing. Otherwise what came
    /// last counts, whatever its `lastUpdated` or `versionId` say: pages come in the order in which they were read, one at a time.
    fn take(&self, page: Page) -> impl Future<Output = Result<Taken, SinkError>> + Send;

    /// What the mirror holds of a type (not what is deleted), by id, from behind `after`; fewer than `limit` only at the end.
    fn held(
        &self,
        resource_type: &str,
        after: Option<&str>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Held>, SinkError>> + Send;

    /// Resources that others refer to and the mirror lacks; also those of types that are not polled, once they are old enough to be asked for
    /// again. Those that were reported as [`Absence::NotFound`] or [`Absence::Deleted`] are left out for as long as the keeper sees fit (a
    /// day). At most `limit`; empty: nothing is wanted.
    fn wanted(&self, limit: usize) -> impl Future<Output = Result<Vec<Wanted>, SinkError>> + Send;

    /// Ids of the patients to ask about one by one, where a server will not search without a patient: from behind `after`, in order
    /// of id; fewer than `limit` only at the end. All that the mirror holds, or those with an open or recent visit.
    fn roster(&self, after: Option<&str>, limit: usize) -> impl Future<Output = Result<Vec<String>, SinkError>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_only_where_they_name_a_resource_of_this_server() {
        let read = |text| Reference::parse(text, "http://h/fhir/").map(|reference| reference.to_string());
        assert_eq!(read("Patient/1").as_deref(), Some("Patient/1"));
        assert_eq!(read("Patient/a-b.c/_history/7").as_deref(), Some("Patient/a-b.c"));
        assert_eq!(read("http://h/fhir/Patient/1").as_deref(), Some("Patient/1"));
        for other in [
            "#p1",
            "urn:uuid:3f",
            "Patient?identifier=1",
            "http://other/fhir/Patient/1",
            "http://h/fhirs/Patient/1",
            "Patient/1/Observation",
            "Patient/..",
            "Patient/a b",
            "patient/1",
            "Patient/",
            "Patient",
            "",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn versions_are_told_by_their_number() {
        for (text, version) in [
            ("4.0.1", Some(FhirVersion::R4)),
            ("4.3.0", Some(FhirVersion::R4B)),
            ("3.0.2", Some(FhirVersion::Stu3)),
            ("5.0.0", Some(FhirVersion::R5)),
            ("1.0.2", None),
            ("six", None),
        ] {
            assert_eq!(FhirVersion::parse(text), version, "{text}");
        }
    }
}
