//! The first load by Bulk Data export: a job is asked for, watched, and its files are read line by line.
//!
//! It is a short cut and nothing depends on it: whatever goes wrong, the first load is done by search, and what the files gave is
//! simply known already. The manifest's `transactionTime` becomes the mark of every type that was asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde_json::json;

use super::address::Link;
use super::bundle;
use super::engine::{Engine, TypeWork};
use super::error::{Concern, FhirError};
use super::instant::Instant;
use super::note::{EXPORT, ExportNote, Track, read, type_key, write};
use super::settings::FirstLoad;
use super::sink::{Origin, Page, Sink};
use super::status::{LoadedBy, Remark};
use super::wire::Answer;
use super::world::later;
use crate::web::retry_after;

/// Lines kept in one transaction.
const LINES: usize = 500;

/// Bytes of lines after which a transaction is made before.
const BYTES: usize = 4 * 1024 * 1024;

/// The longest wait between two looks at a job, whatever it asks for: progress is to be seen.
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);

/// Manifests that follow each other by `next` at most.
const MANIFESTS: usize = 1_000;

/// Where an export stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exporting {
    /// There is none (any more): the rest is done by search.
    Over,
    /// To be looked at again after this time.
    Wait(Duration),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    transaction_time: Option<String>,
    #[serde(default)]
    output: Vec<File>,
    #[serde(default)]
    error: Vec<serde::de::IgnoredAny>,
    #[serde(default)]
    link: Vec<ManifestLink>,
    /// As 3.0.0 has it.
    next: Option<String>,
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "type")]
    resource_type: String,
    url: String,
    count: Option<u64>,
}

#[derive(Deserialize)]
struct ManifestLink {
    relation: Option<String>,
    url: Option<String>,
}

impl<S: Sink> Engine<S> {
    /// Takes the export one step further: asks for it, looks at it, or reads its files.
    pub(super) async fn export(&self, works: &mut [TypeWork]) -> Result<Exporting, FhirError> {
        let mut note: ExportNote = read(self.sink.note(EXPORT).await?.as_deref());
        if note.over {
            return Ok(Exporting::Over);
        }
        let fresh: BTreeSet<String> = works
            .iter()
            .filter(|work| work.note.loaded.is_none() && work.note.track == Track::default())
            .map(|work| work.name.clone())
            .collect();
        let offered = self.capabilities.as_ref().is_some_and(|known| known.export);
        let wanted = match self.settings.first_load {
            FirstLoad::Search => false,
            FirstLoad::Auto => offered,
            FirstLoad::Export => true,
        };
        if note.status.is_none() && (!wanted || fresh.is_empty()) {
            return Ok(Exporting::Over);
        }
        match self.step(works, &mut note, fresh).await {
            Ok(step) => Ok(step),
            // The server is away, or we are: the job may still be there.
            Err(error) if error.concern() != Concern::Type => Err(error),
            Err(error) => {
                tracing::warn!(source = self.settings.source, %error, "the export failed; the first load is done by search");
                self.health.remark(None, Remark::ExportFailed);
                self.forget_job(&note).await;
                note.over = true;
                self.keep_notes(vec![write(EXPORT.to_owned(), &note)]).await?;
                Ok(Exporting::Over)
            }
        }
    }

    async fn step(
        &self,
        works: &mut [TypeWork],
        note: &mut ExportNote,
        fresh: BTreeSet<String>,
    ) -> Result<Exporting, FhirError> {
        let limits = &self.settings.limits;
        let Some(status) = note.status.clone() else {
            let answer = self.kick_off(&fresh).await?;
            let failed = |what| FhirError::Export { place: answer.place.clone(), what };
            if answer.status != StatusCode::ACCEPTED {
                return Err(answer.failure());
            }
            let location = answer.header("content-location").or_else(|| answer.header("location"));
            let location = location.ok_or_else(|| failed("the job has no address"))?;
            let url = self.here(&answer.url, location).ok_or_else(|| failed("the job is on another origin"))?;
            *note = ExportNote {
                started: Some(self.now()),
                status: Some(url.to_string()),
                types: fresh,
                ..ExportNote::default()
            };
            self.keep_notes(vec![write(EXPORT.to_owned(), note)]).await?;
            return Ok(Exporting::Wait(self.wait(&answer)));
        };
        let status = Url::parse(&status)
            .map_err(|_| FhirError::Export { place: "export".to_owned(), what: "the job's address does not read" })?;
        let answer = self.server.get(status).await?;
        let failed = |what| FhirError::Export { place: answer.place.clone(), what };
        // The ballot of 4.0.0 says 200 with a header while the job is under way.
        let header = answer.header("x-export-status").unwrap_or_default().to_ascii_lowercase();
        if answer.status == StatusCode::ACCEPTED || header.contains("progress") || header.contains("accepted") {
            if note.started.is_some_and(|started| later(started, limits.export) < self.now()) {
                return Err(failed("not done in time"));
            }
            return Ok(Exporting::Wait(self.wait(&answer)));
        }
        if answer.status != StatusCode::OK {
            return Err(answer.failure());
        }
        self.files(works, note, answer).await?;
        self.forget_job(note).await;
        Ok(Exporting::Over)
    }

    async fn kick_off(&self, types: &BTreeSet<String>) -> Result<Answer, FhirError> {
        let list = types.iter().cloned().collect::<Vec<_>>().join(",");
        let parameters = json!({"resourceType": "Parameters", "parameter": [{"name": "_type", "valueString": list}]});
        let mut call = self.server.question(self.server.base.at("$export", "")).with("prefer", "respond-async");
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/fhir+json"));
        call.method = Method::POST;
        call.place = call.place.replacen("GET", "POST", 1);
        call.body = Some(parameters.to_string().into_bytes());
        let answer = self.server.exchange(call).await?;
        if answer.status == StatusCode::ACCEPTED {
            return Ok(answer);
        }
        // Servers before the 4.0.0 ballot may know GET alone.
        let url = self.server.base.at("$export", &format!("_type={list}"));
        self.server.exchange(self.server.question(url).with("prefer", "respond-async")).await
    }

    fn wait(&self, answer: &Answer) -> Duration {
        let asked = retry_after(&answer.headers, answer.date.unwrap_or_else(|| self.now()));
        asked.unwrap_or_default().clamp(self.settings.limits.export_poll, LONGEST_WAIT)
    }

    fn here(&self, from: &Url, link: &str) -> Option<Url> {
        match self.server.base.link(from, link) {
            Link::Here(url) | Link::Rebased(url) => Some(url),
            Link::Foreign => None,
        }
    }

    async fn files(&self, works: &mut [TypeWork], note: &mut ExportNote, first: Answer) -> Result<(), FhirError> {
        let mut answer = first;
        let mut file_number = 0;
        let mut time = None;
        let mut errors = false;
        for _ in 0..MANIFESTS {
            let place = answer.place.clone();
            let failed = |what| FhirError::Export { place: place.clone(), what };
            let manifest: Manifest = serde_json::from_slice(bundle::trimmed(&answer.body))
                .map_err(|_| failed("the manifest does not read"))?;
            errors |= !manifest.error.is_empty();
            let at = manifest.transaction_time.as_deref().and_then(Instant::parse);
            // Of several the earliest: what came after it is read again by the first poll.
            time = match (time, at) {
                (Some(held), Some(at)) => Some(if Instant::time(&held) <= at.time() { held } else { at }),
                (held, at) => held.or(at),
            };
            if time.is_none() {
                return Err(failed("the manifest has no transactionTime"));
            }
            let to_load: Option<u64> = manifest.output.iter().map(|file| file.count).sum();
            if to_load.is_some() {
                self.show_total(&manifest.output, note);
            }
            for file in &manifest.output {
                file_number += 1;
                if file_number <= note.done {
                    continue;
                }
                let url = self.here(&answer.url, &file.url).ok_or_else(|| failed("its files are on another origin"))?;
                if note.types.contains(&file.resource_type) {
                    self.file(file, url, note).await?;
                }
                note.done = file_number;
                note.lines = 0;
                self.keep_notes(vec![write(EXPORT.to_owned(), note)]).await?;
            }
            let linked = manifest.link.into_iter().find(|link| link.relation.as_deref() == Some("next"));
            let Some(next) = linked.and_then(|link| link.url).or(manifest.next) else { break };
            let url = self.here(&answer.url, &next).ok_or_else(|| failed("its manifests are on another origin"))?;
            answer = self.server.get(url).await?;
            if answer.status != StatusCode::OK {
                return Err(answer.failure());
            }
        }
        let Some(time) = time else { return Ok(()) };
        let now = self.now();
        note.over = true;
        let mut notes = vec![write(EXPORT.to_owned(), note)];
        for work in works.iter_mut().filter(|work| note.types.contains(&work.name)) {
            work.note.track = Track { mark: Some(time.clone()), seen: Some(time.time()), settled: false, pass: None };
            work.note.loaded = Some(now);
            work.note.exported = true;
            work.note.history_mark = Some(time.time());
            // Errors in the manifest are resources that it lacks: compared at once.
            work.note.swept = errors.then_some(jiff::Timestamp::UNIX_EPOCH);
            notes.push(write(type_key(&work.name), &work.note));
            self.health.update_type(&work.name, |status| {
                status.load_finished = Some(now);
                status.mark = Some(time.text().to_owned());
                status.mark_time = Some(time.time());
            });
        }
        self.keep_notes(notes).await
    }

    fn show_total(&self, files: &[File], note: &mut ExportNote) {
        let mut totals = BTreeMap::<String, u64>::new();
        for file in files {
            *totals.entry(file.resource_type.clone()).or_default() += file.count.unwrap_or_default();
        }
        for (name, total) in &totals {
            self.health.update_type(name, |status| status.to_load = Some(*total));
        }
        note.to_load.extend(totals);
    }

    /// Reads a file from the line behind those that are kept, again if it breaks off.
    async fn file(&self, file: &File, url: Url, note: &mut ExportNote) -> Result<(), FhirError> {
        let mut attempt = 1;
        loop {
            match self.lines(file, url.clone(), note).await {
                Err(error) if error.is_transient() && attempt < self.settings.limits.attempts => {
                    attempt += 1;
                    let wait = self.server.wire.world.jittered(self.settings.limits.backoff);
                    self.server.wire.pause(wait).await?;
                }
                done => return done,
            }
        }
    }

    async fn lines(&self, file: &File, url: Url, note: &mut ExportNote) -> Result<(), FhirError> {
        let call = self.server.question(url).with("accept", "application/fhir+ndjson, application/ndjson;q=0.9");
        let place = call.place.clone();
        let mut body = self.server.stream(call).await?;
        let limit = self.settings.limits.line_bytes;
        let mut line = Vec::new();
        let mut number = 0;
        let mut page = Page::empty(self.version);
        let mut bytes = 0;
        loop {
            let chunk = self.server.wire.unless_stopped(body.next()).await?;
            let last = chunk.is_none();
            let mut rest: &[u8] = chunk.as_deref().unwrap_or_default();
            loop {
                let (part, whole) = match rest.iter().position(|&byte| byte == b'\n') {
                    Some(end) => {
                        let part = rest.get(..end).unwrap_or_default();
                        rest = rest.get(end + 1..).unwrap_or_default();
                        (part, true)
                    }
                    None => (std::mem::take(&mut rest), last),
                };
                if line.len() + part.len() > limit {
                    return Err(FhirError::TooLarge { place, limit });
                }
                line.extend_from_slice(part);
                if !whole {
                    break;
                }
                let text = line.trim_ascii();
                if !text.is_empty() {
                    number += 1;
                    if number > note.lines {
                        match bundle::resource(text, Origin::Export) {
                            Some(resource) => {
                                bytes += resource.body.len();
                                page.resources.push(resource);
                            }
                            // The last line of a file that broke off.
                            None if last => return Err(FhirError::Interrupted { place }),
                            None => self.health.remark(Some(&file.resource_type), Remark::UnreadableEntries),
                        }
                    }
                }
                line.clear();
                if page.resources.len() >= LINES || bytes >= BYTES {
                    let whole = std::mem::replace(&mut page, Page::empty(self.version));
                    self.keep_lines(file, whole, note, number).await?;
                    bytes = 0;
                }
                if rest.is_empty() {
                    break;
                }
            }
            if last {
                break;
            }
        }
        if file.count.is_some_and(|count| count > number) {
            return Err(FhirError::Interrupted { place });
        }
        self.keep_lines(file, page, note, number).await
    }

    async fn keep_lines(
        &self,
        file: &File,
        mut page: Page,
        note: &mut ExportNote,
        lines: u64,
    ) -> Result<(), FhirError> {
        let length = page.resources.len() as u64;
        if length == 0 {
            return Ok(());
        }
        note.lines = lines;
        let loaded = note.loaded.entry(file.resource_type.clone()).or_default();
        *loaded += length;
        let loaded = *loaded;
        page.notes = vec![write(EXPORT.to_owned(), note)];
        self.keep(&file.resource_type, page, Some(LoadedBy::Export), true).await?;
        self.health.update_type(&file.resource_type, |status| status.loaded = loaded);
        Ok(())
    }

    /// Tells the server that its files are not needed any more. It may not care (HAPI still said 202 after it): nor do we.
    async fn forget_job(&self, note: &ExportNote) {
        let Some(Ok(url)) = note.status.as_deref().map(Url::parse) else { return };
        let mut call = self.server.question(url);
        call.method = Method::DELETE;
        call.place = call.place.replacen("GET", "DELETE", 1);
        if let Err(error) = self.server.exchange(call).await {
            tracing::debug!(source = self.settings.source, %error, "the export job could not be removed");
        }
    }
}
