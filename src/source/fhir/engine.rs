//! What all kinds of work on a server share: the server, the keeper, and what is known of both.

use std::time::Duration;

use jiff::Timestamp;

use super::capability::Capabilities;
use super::error::FhirError;
use super::note::{self, AbsentNote, EXPORT, ExportNote, SERVER, ServerNote, TypeNote};
use super::pass::Scan;
use super::server::Server;
use super::settings::Settings;
use super::sink::{FhirVersion, Note, Page, Sink, Taken};
use super::status::{Health, LoadedBy, Remark};

/// How long a CapabilityStatement is believed, and a degraded way of asking is kept before the better one is tried again.
pub(super) const BELIEVED: Duration = Duration::from_secs(24 * 60 * 60);

/// A server with its keeper.
pub(super) struct Engine<S> {
    pub(super) settings: Settings,
    pub(super) server: Server,
    pub(super) sink: S,
    pub(super) health: Health,
    /// What the server speaks; R4 until it has said.
    pub(super) version: FhirVersion,
    pub(super) capabilities: Option<Capabilities>,
}

/// A type with what is remembered of it.
#[derive(Debug)]
pub(super) struct TypeWork {
    pub(super) name: String,
    pub(super) note: TypeNote,
    pub(super) absent: AbsentNote,
    /// What a pass that reads everything has seen so far.
    pub(super) scan: Option<Scan>,
    /// The last poll of it was a search.
    pub(super) searched: bool,
    /// Failures of one page, one after the other.
    pub(super) stumbles: u32,
    /// Failures of the type, one after the other.
    pub(super) failures: u32,
    /// When it is due, by our clock.
    pub(super) due: Timestamp,
    /// Pages wait, whatever the clock says.
    pub(super) more: bool,
}

impl<S: Sink> Engine<S> {
    /// The type's notes from the keeper.
    pub(super) async fn recall(&self, name: &str) -> Result<TypeWork, FhirError> {
        let mut note: TypeNote = note::read(self.sink.note(&note::type_key(name)).await?.as_deref());
        // What is held before anything was read (from files, or from where the server was before) may be on the server no longer: ids are
        // compared as soon as everything has been read.
        if note == TypeNote::default() && !self.sink.held(name, None, 1).await?.is_empty() {
            note.swept = Some(Timestamp::UNIX_EPOCH);
        }
        let absent = note::read(self.sink.note(&note::absent_key(name)).await?.as_deref());
        // How far a first load is that another run began.
        let export: ExportNote = note::read(self.sink.note(EXPORT).await?.as_deref());
        let searched = note.track.pass.as_ref().filter(|_| note.loaded.is_none() && !note.asks.per_patient);
        let loaded = searched.map(|pass| pass.all_rows).or_else(|| export.loaded.get(name).copied());
        self.health.update_type(name, |status| {
            status.per_patient = note.asks.per_patient;
            status.loaded = loaded.unwrap_or_default();
            status.to_load = export.to_load.get(name).copied();
            status.mark = note.track.mark.as_ref().map(|mark| mark.text().to_owned());
            status.mark_time = note.track.mark.as_ref().map(super::instant::Instant::time);
            status.load_finished = note.loaded;
            status.loaded_by = note.loaded.map(|_| if note.exported { LoadedBy::Export } else { LoadedBy::Search });
            status.deletions_checked = note.history_read.max(note.swept);
        });
        Ok(TypeWork {
            name: name.to_owned(),
            note,
            absent,
            scan: None,
            searched: false,
            stumbles: 0,
            failures: 0,
            due: Timestamp::MIN,
            more: false,
        })
    }

    /// Keeps a page and counts it under its type. Nothing is asked of the keeper for nothing.
    pub(super) async fn keep(
        &self,
        name: &str,
        page: Page,
        loaded_by: Option<LoadedBy>,
        loading: bool,
    ) -> Result<Taken, FhirError> {
        if page.is_empty() {
            return Ok(Taken::default());
        }
        let fetched = page.resources.len() as u64;
        let taken = self.sink.take(page).await?;
        self.health.update_type(name, |status| {
            status.fetched += fetched;
            status.changed += taken.changed;
            status.deleted += taken.withdrawn;
            if loading && loaded_by.is_some() {
                status.loaded_by = loaded_by;
            }
        });
        Ok(taken)
    }

    /// Keeps notes alone.
    pub(super) async fn keep_notes(&self, notes: Vec<Note>) -> Result<(), FhirError> {
        let page = Page { notes, ..Page::empty(self.version) };
        if !page.is_empty() {
            self.sink.take(page).await?;
        }
        Ok(())
    }

    /// Keeps what is remembered of a type.
    pub(super) async fn keep_type(&self, work: &TypeWork) -> Result<(), FhirError> {
        self.keep_notes(vec![note::write(note::type_key(&work.name), &work.note)]).await
    }

    /// Asks what the server can do. A server without an answer is taken for R4; one that cannot be reached fails.
    pub(super) async fn discover(&mut self) -> Result<(), FhirError> {
        let before: ServerNote = note::read(self.sink.note(SERVER).await?.as_deref());
        if let Some(version) = before.version {
            self.version = version;
        }
        let answer = self.server.get(self.server.base.at("metadata", "")).await?;
        let found = if answer.status.is_success() { Capabilities::parse(&answer.body) } else { None };
        // A server that once said what it speaks has not changed because it does not say so today.
        let version = found.as_ref().and_then(|found| found.version).or(before.version);
        if found.is_none() {
            self.health.remark(None, Remark::NoCapabilities);
        } else if version.is_none() {
            self.health.remark(None, Remark::UnknownVersion);
        }
        self.version = version.unwrap_or(FhirVersion::R4);
        self.health.update(|status| {
            status.fhir_version = Some(self.version);
            status.software = found.as_ref().and_then(|found| found.software.clone());
        });
        self.capabilities = Some(found.unwrap_or_default());
        if version != before.version {
            self.keep_notes(vec![note::write(SERVER.to_owned(), &ServerNote { version })]).await?;
        }
        Ok(())
    }

    pub(super) fn now(&self) -> Timestamp {
        self.server.wire.world.now()
    }
}
