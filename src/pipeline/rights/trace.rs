//! Where something is held of one person: records, visits, reports, and every message and event that names any of them.
//!
//! A message that could not be processed, or that names several patients, is not found by the One ID that it was given. So all of them
//! are looked through, in short reads; what is asked of a message is whether it names the person by a number of theirs, or, where it
//! names no number, by name and date of birth.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value as Json;

use super::super::Source;
use super::super::patient::state_of;
use crate::hl7v2::{Message, Segment};
use crate::mapping::Format;
use crate::record::{Fields, Value};
use crate::store::clinical::{LabReport, Visit};
use crate::store::erasure::{self, HeldEvent, HeldMessage};
use crate::store::records::PatientRecord;
use crate::store::{Reader, Store, StoreError, all_pages, clinical, persons, records};

/// Rows in one read.
const PAGE: usize = 500;

/// A shorter number is looked for only where a message has a field for it, not anywhere in bytes that cannot be read.
const TELLING_LENGTH: usize = 6;

/// Everything that is held of a person, by its place.
#[derive(Debug, Clone)]
pub struct Trace {
    /// The One ID that answers now.
    pub one_id: String,
    /// It, and those that answer as it.
    pub one_ids: BTreeSet<String>,
    /// What sources say of the person.
    pub records: Vec<PatientRecord>,
    /// The person's visits.
    pub visits: Vec<Visit>,
    /// The person's reports.
    pub reports: Vec<LabReport>,
    /// Messages that name the person, by their numbers.
    pub messages: BTreeSet<i64>,
    /// Events about the person, or about a visit or report of theirs, by their places in the log.
    pub events: BTreeSet<u64>,
    /// Up to where messages and events were looked through.
    seen: (i64, u64),
    marks: Marks,
}

/// What a text that is about the person holds.
#[derive(Debug, Clone, Default)]
struct Marks {
    /// One IDs, visit ids and report ids, as JSON writes them.
    quoted: BTreeSet<String>,
    /// Numbers of the person, whoever gave them out.
    numbers: BTreeSet<String>,
    /// Names with dates of birth.
    born: BTreeSet<(String, String)>,
}

/// Looks for everything that is held of a person. `watch` is told how many messages and events were looked through. `None`: no person has
/// this One ID.
///
/// # Errors
/// See [`StoreError`].
pub fn trace(
    store: &Store,
    sources: &[Arc<Source>],
    one_id: &str,
    mut watch: impl FnMut(u64),
) -> Result<Option<Trace>, StoreError> {
    let Some(mut trace) = store.read(|reader| Trace::known(reader, one_id))? else { return Ok(None) };
    let mut looked = 0;
    loop {
        let events = store.read(|reader| erasure::events_after(reader, trace.seen.1, PAGE))?;
        if events.is_empty() {
            break;
        }
        looked += events.len() as u64;
        trace.look_at_events(events);
        watch(looked);
    }
    loop {
        let messages = store.read(|reader| erasure::messages_after(reader, trace.seen.0, PAGE))?;
        if messages.is_empty() {
            return Ok(Some(trace));
        }
        looked += messages.len() as u64;
        trace.look_at_messages(sources, messages)?;
        watch(looked);
    }
}

impl Trace {
    /// What is found without looking through messages and events.
    fn known(reader: &Reader<'_>, one_id: &str) -> Result<Option<Self>, StoreError> {
        let Some(person) = persons::resolve(reader, one_id)? else { return Ok(None) };
        let one_id = person.one_id;
        let mut trace = Self {
            one_ids: persons::answering_as(reader, &one_id)?.into_iter().collect(),
            records: records::of_person(reader, &one_id)?,
            visits: all_pages(|after| clinical::visits_of_person(reader, &one_id, after, PAGE))?,
            reports: all_pages(|after| clinical::lab_reports_of_person(reader, &one_id, after, PAGE))?,
            one_id,
            messages: BTreeSet::new(),
            events: BTreeSet::new(),
            seen: (0, 0),
            marks: Marks::default(),
        };
        trace.marks = Marks::of(&trace)?;
        Ok(Some(trace))
    }

    /// Looks, inside the writer, at what has come since.
    pub(super) fn catch_up(&mut self, reader: &Reader<'_>, sources: &[Arc<Source>]) -> Result<(), StoreError> {
        self.look_at_events(erasure::events_after(reader, self.seen.1, usize::MAX)?);
        self.look_at_messages(sources, erasure::messages_after(reader, self.seen.0, usize::MAX)?)
    }

    /// Whether the person still is who was traced.
    pub(super) fn is_current(&self, reader: &Reader<'_>) -> Result<bool, StoreError> {
        let Some(now) = Self::known(reader, &self.one_id)? else { return Ok(false) };
        let ids = |records: &[PatientRecord]| records.iter().map(|row| row.id).collect::<BTreeSet<_>>();
        Ok(now.one_id == self.one_id
            && ids(&now.records) == ids(&self.records)
            && now.marks.quoted.is_subset(&self.marks.quoted)
            && now.marks.numbers.is_subset(&self.marks.numbers))
    }

    fn look_at_events(&mut self, events: Vec<HeldEvent>) {
        for HeldEvent { sequence, subject, message, data } in events {
            self.seen.1 = sequence;
            if self.one_ids.contains(&subject) || self.marks.quoted.iter().any(|mark| data.contains(mark.as_str())) {
                self.events.insert(sequence);
                self.messages.extend(message);
            }
        }
    }

    fn look_at_messages(&mut self, sources: &[Arc<Source>], messages: Vec<HeldMessage>) -> Result<(), StoreError> {
        for HeldMessage { id, source, one_id, bytes } in messages {
            self.seen.0 = id;
            let is_theirs = one_id.is_some_and(|one_id| self.one_ids.contains(&one_id));
            if is_theirs || self.messages.contains(&id) {
                self.messages.insert(id);
                continue;
            }
            let source = sources.iter().find(|known| known.name == source);
            if self.marks.are_in(source.map(|source| &**source), &bytes.unpack()?) {
                self.messages.insert(id);
            }
        }
        Ok(())
    }
}

impl Marks {
    fn of(trace: &Trace) -> Result<Self, StoreError> {
        let quoted = |text: String| Json::from(text).to_string();
        let mut marks = Self::default();
        marks.quoted.extend(trace.one_ids.iter().cloned().map(quoted));
        marks.quoted.extend(trace.visits.iter().map(|visit| quoted(visit.visit_id())));
        marks.quoted.extend(trace.reports.iter().map(|report| quoted(report.report_id())));
        for row in &trace.records {
            let record = state_of(row)?.record();
            marks.numbers.insert(row.number.value.clone());
            marks.numbers.extend(texts(&record, "identifiers", "value"));
            let born = record.get("birth_date").and_then(Value::as_str);
            let name = record.get("name").and_then(Value::as_str);
            if let (Some(name), Some(born)) = (name, born) {
                marks.born.insert((letters(name), born.replace('-', "")));
            }
        }
        marks.numbers.remove("");
        Ok(marks)
    }

    /// Whether a message names the person.
    fn are_in(&self, source: Option<&Source>, bytes: &[u8]) -> bool {
        let is_fhir = source.is_some_and(|source| source.mapping.format() == Format::Fhir);
        if is_fhir && let Ok(resource) = serde_json::from_slice::<Json>(bytes) {
            return self.are_in_resource(&resource);
        }
        if let Some(source) = source
            && let Ok((message, _)) = Message::read(bytes, &source.charset, &source.limits)
        {
            return message.segments().any(|segment| self.are_in_segment(&segment));
        }
        self.numbers.iter().any(|number| number.len() >= TELLING_LENGTH && stands_in(bytes, number.as_bytes()))
    }

    /// PID-2, 3, 4, 18, 19 and MRG-1 to 4 hold numbers of patients (HL7 v2.5.1, 3.4.2 and 3.4.9); PID-5 and 7 name and date of birth.
    fn are_in_segment(&self, segment: &Segment<'_>) -> bool {
        let fields: &[usize] = match segment.name() {
            "PID" => &[2, 3, 4, 18, 19],
            "MRG" => &[1, 2, 3, 4],
            _ => return false,
        };
        let message = segment.message();
        let numbers: Vec<&str> = fields
            .iter()
            .flat_map(|field| message.repetitions(segment.field(*field)))
            .map(|repetition| message.parts(repetition).component(1))
            .filter(|number| !number.is_empty())
            .collect();
        if !numbers.is_empty() || segment.name() == "MRG" {
            return numbers.into_iter().any(|number| self.numbers.contains(number));
        }
        let born: String = segment.field(7).chars().take(8).collect();
        message.repetitions(segment.field(5)).any(|name| self.born.contains(&(letters(name), born.clone())))
    }

    /// Any Patient in a resource, or a Bundle of them.
    fn are_in_resource(&self, json: &Json) -> bool {
        match json {
            Json::Array(entries) => entries.iter().any(|entry| self.are_in_resource(entry)),
            Json::Object(members) => {
                let value = |identifier: &Json| identifier.get("value").and_then(Json::as_str).map(str::to_owned);
                let identifiers = members.get("identifier").and_then(Json::as_array).into_iter().flatten();
                let is_patient = members.get("resourceType").and_then(Json::as_str) == Some("Patient");
                (is_patient && identifiers.filter_map(value).any(|value| self.numbers.contains(&value)))
                    || members.values().any(|value| self.are_in_resource(value))
            }
            _ => false,
        }
    }
}

/// The texts under `name` of the objects in a list.
fn texts(record: &Fields, list: &str, name: &str) -> Vec<String> {
    let entries = record.get(list).and_then(Value::as_array).into_iter().flatten();
    entries.filter_map(|entry| entry.as_object()?.get(name)?.as_str().map(str::to_owned)).collect()
}

/// A name without what separates its parts.
fn letters(name: &str) -> String {
    name.chars().filter(|character| character.is_alphabetic()).collect()
}

/// Whether a number stands in these bytes by itself, not as a part of a longer one.
fn stands_in(bytes: &[u8], number: &[u8]) -> bool {
    let is_part = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let places = memchr::memmem::find_iter(bytes, number);
    places.into_iter().any(|place| {
        !is_part(place.checked_sub(1).and_then(|before| bytes.get(before))) && !is_part(bytes.get(place + number.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_by_itself_or_is_another() {
        for (text, expected) in
            [("|123456|", true), ("123456", true), ("|1234567|", false), ("A123456^", false), ("", false)]
        {
            assert_eq!(stands_in(text.as_bytes(), b"123456"), expected, "{text}");
        }
    }
}
