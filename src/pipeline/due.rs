//! What is due of a FHIR source: read from the mirror with all that belongs to it, mapped, committed.
//!
//! ```text
//! due (reader) ─► prepare_due (in parallel, pure) ─► commit_due (in the writer, one transaction with taking the mark away)
//! ```
//!
//! The unit that is mapped is also what is kept as the message: a Bundle of type `collection`, the focal resource first, every resource
//! byte for byte as the server sent it. Of a record that is no more it has one entry, with a `request` that says DELETE. A resource that
//! cannot be read is its own unit, whatever its type is: a failed message that names it, until the server has a version that can.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::giving_way::waits;
use super::mirror::rank;
use super::telling::Subject;
use super::{Cause, Done, Failure, Source, Unit};
use crate::fhir;
use crate::fhir::compose::{MOST, gathered_by, has_parts, is_part};
use crate::hl7v2::ErrorCode;
use crate::mapping::Mapped;
use crate::record::{Fields, Kind};
use crate::store::messages::{ContentDigest, MessageState};
use crate::store::resources::{self, Ready, Resource, ResourceName, ResourceState};
use crate::store::{Reader, StoreError, Transaction};

/// How far is read from the focal resource: report, order, role, practitioner; a ward, its building.
const MAX_STEPS: usize = 4;

/// Before everything that is due, for [`due`].
pub const FIRST_DUE: (i64, i64) = (-1, 0);

/// Something that is due, with what belongs to it.
#[derive(Debug)]
pub struct Due {
    place: (i64, i64),
    resource: Resource,
    unit: Vec<u8>,
}

/// Who may be told now of what is due by `now`: a record waits `patience` for what it names, and an Observation that may belong to a report
/// which is to come, `settling`. All in microseconds.
pub fn ready(now: i64, patience: i64, settling: i64) -> Ready {
    Ready {
        patient_since: now.saturating_sub(patience),
        parts_from: rank("Observation").unwrap_or(i64::MAX),
        settled_since: now.saturating_sub(settling),
    }
}

impl Due {
    /// Where it stands in the order of what is due.
    pub fn place(&self) -> (i64, i64) {
        self.place
    }
}

/// A record that is due, ready for the writer.
#[derive(Debug)]
pub struct DueUnit {
    unit: Unit,
    resource: Resource,
}

/// What is due of a source and `ready`, after `after`, in the order in which it should be told.
///
/// # Errors
/// See [`StoreError`].
pub fn due(
    reader: &Reader<'_>,
    source: &str,
    after: (i64, i64),
    ready: Ready,
    limit: usize,
) -> Result<Vec<Due>, StoreError> {
    let found = resources::due(reader, source, after, ready, limit)?;
    found.into_iter().map(|(rank, resource)| compose(reader, (rank, resource.row), resource)).collect()
}

fn compose(reader: &Reader<'_>, place: (i64, i64), resource: Resource) -> Result<Due, StoreError> {
    if resource.state == ResourceState::Present && resource.unreadable.is_some() {
        let unit = resources::body(reader, resource.row)?.unwrap_or_default();
        return Ok(Due { place, resource, unit });
    }
    // What was due because it could not be read, and is there no more: of its type no record is made.
    if resource.state != ResourceState::Present || is_part_of_another(reader, &resource)? {
        let unit = removal(&resource.name);
        return Ok(Due { place, resource, unit });
    }
    let members = members(reader, &resource)?;
    let mut unit = br#"{"resourceType":"Bundle","type":"collection","entry":["#.to_vec();
    let mut separator: &[u8] = b"";
    for member in std::iter::once(&resource).chain(&members) {
        let Some(body) = resources::body(reader, member.row)? else { continue };
        unit.extend_from_slice(separator);
        unit.extend_from_slice(br#"{"resource":"#);
        unit.extend_from_slice(&body);
        unit.push(b'}');
        separator = b",";
    }
    unit.extend_from_slice(b"]}");
    Ok(Due { place, resource, unit })
}

/// An Observation that a report or another Observation names is told with that one.
fn is_part_of_another(reader: &Reader<'_>, resource: &Resource) -> Result<bool, StoreError> {
    if resource.name.kind != "Observation" {
        return Ok(false);
    }
    let naming = resources::naming(reader, resource.row)?;
    Ok(naming.iter().any(|other| matches!(other.name.kind.as_str(), "DiagnosticReport" | "Observation")))
}

/// What belongs to a focal resource, as far as it is present.
fn members(reader: &Reader<'_>, focal: &Resource) -> Result<Vec<Resource>, StoreError> {
    let mut members: Vec<Resource> = Vec::new();
    let mut known = BTreeSet::from([focal.row]);
    let mut step = vec![focal.clone()];
    for steps in 0..MAX_STEPS {
        let mut next = Vec::new();
        for whole in &step {
            let is_focal = steps == 0;
            if !has_parts(&whole.name.kind, is_focal) {
                continue;
            }
            let mut parts = resources::named_by(reader, whole.row)?;
            let gathered = gathered_by(&whole.name.kind);
            if is_focal && !gathered.is_empty() {
                let naming = resources::naming(reader, whole.row)?;
                parts.extend(naming.into_iter().filter(|part| gathered.contains(&part.name.kind.as_str())));
            }
            for part in parts {
                let belongs = is_part(&whole.name.kind, is_focal, &part.name.kind)
                    || is_focal && gathered.contains(&part.name.kind.as_str());
                let is_there = part.state == ResourceState::Present && part.unreadable.is_none();
                if !is_there || !belongs || !known.insert(part.row) {
                    continue;
                }
                if members.len() >= MOST {
                    return Ok(members);
                }
                next.push(part.clone());
                members.push(part);
            }
        }
        step = next;
    }
    Ok(members)
}

/// Reads a unit as it is kept: what it is about, and its resources; none of a record that is no more.
pub(super) fn read(raw: &[u8]) -> Result<(Subject, Option<fhir::Unit>), Failure> {
    match fhir::Unit::parse(raw) {
        Ok(unit) => {
            let name = |resource: fhir::Resource<'_>| {
                let id = resource.json().get("id").and_then(serde_json::Value::as_str)?;
                Some(ResourceName { kind: resource.type_name().to_owned(), id: id.to_owned() })
            };
            let focal = name(unit.focal()).ok_or_else(nameless)?;
            Ok((Subject { focal, patient: unit.patient().and_then(name), is_gone: false }, Some(unit)))
        }
        Err(fhir::UnitError::Empty) => match removed(raw) {
            Some(focal) => Ok((Subject { focal, patient: None, is_gone: true }, None)),
            None => Err(Failure::unreadable_unit(&fhir::UnitError::Empty)),
        },
        Err(error) => Err(Failure::unreadable_unit(&error)),
    }
}

fn nameless() -> Failure {
    let text = "the first resource has no id: a server gives one to each".to_owned();
    Failure { code: ErrorCode::RequiredFieldMissing, location: None, text }
}

/// The resource of [`removal`].
fn removed(raw: &[u8]) -> Option<ResourceName> {
    let bundle: serde_json::Value = serde_json::from_slice(raw).ok()?;
    let (kind, id) = bundle.pointer("/entry/0/request/url")?.as_str()?.split_once('/')?;
    Some(ResourceName { kind: kind.to_owned(), id: id.to_owned() })
}

fn removal(focal: &ResourceName) -> Vec<u8> {
    let url = focal.to_string();
    let entry = serde_json::json!({"request": {"method": "DELETE", "url": url}});
    serde_json::json!({"resourceType": "Bundle", "type": "collection", "entry": [entry]}).to_string().into_bytes()
}

/// A resource that cannot be read, in words without its content.
fn unreadable(reason: &str) -> Failure {
    let text = format!(
        "the server sends it in a form that nobody can read ({reason}): have it stored anew there; until then it is left out of all that names it"
    );
    Failure { code: ErrorCode::DataType, location: None, text }
}

/// Maps what is due. `received_at` is in microseconds since the epoch.
pub fn prepare_due(source: &Arc<Source>, due: Due, received_at: i64) -> DueUnit {
    let Due { resource, unit: raw, .. } = due;
    let nameless = || Subject { focal: resource.name.clone(), patient: None, is_gone: false };
    let (subject, unit) = match resource.unreadable.as_deref().filter(|_| resource.state == ResourceState::Present) {
        Some(reason) => (nameless(), Err(unreadable(reason))),
        None => match read(&raw) {
            Ok((subject, unit)) => (subject, Ok(unit)),
            Err(failure) => (nameless(), Err(failure)),
        },
    };
    DueUnit { unit: super::prepare_unit(source, &raw, (subject, unit), received_at), resource }
}

/// Of what a unit says, as far as it is told: what is about a patient says nothing of the patient. `None`: it has to be told whatever it says,
/// because its record is withdrawn, it failed, or codes wait for a table.
fn said(unit: &Unit) -> Option<ContentDigest> {
    let subject = unit.subject.as_ref().filter(|subject| !subject.is_gone)?;
    let mapped = unit.mapped.as_ref().ok().filter(|_| unit.unmapped.is_empty())?;
    let is_patient = subject.focal.kind == "Patient";
    let told =
        mapped.records.iter().filter(|record| is_patient || matches!(record.kind, Kind::Visit | Kind::LabReport));
    let told: Vec<(&str, &Fields)> = told.map(|record| (record.kind.name(), &record.fields)).collect();
    let patient = subject.patient.as_ref().map(ToString::to_string);
    serde_json::to_vec(&(patient, told)).ok().map(|text| ContentDigest::of(&text))
}

/// Commits what was due, and takes its mark away. `None`: it became due again meanwhile, so what was read of it is old; or there was nothing
/// to tell, because it was never told or says what it said before.
///
/// # Errors
/// As [`super::commit`].
pub fn commit_due(transaction: &Transaction<'_>, due: DueUnit, cause: Cause) -> Result<Option<Done>, StoreError> {
    let DueUnit { unit, resource } = due;
    let Some(now) = resources::get(transaction, &unit.source.name, &resource.name)? else { return Ok(None) };
    if now.marks != resource.marks {
        return Ok(None);
    }
    // Told in the next round: until then it stays due.
    let merges = |mapped: &Mapped| mapped.records.iter().any(|record| record.kind == Kind::Merge);
    if unit.mapped.as_ref().is_ok_and(merges) && waits(transaction, &now)? {
        return Ok(None);
    }
    // Of what was never told and is not there, or is a part of something else, there is nothing to tell.
    let is_nothing = unit.subject.as_ref().is_some_and(|subject| subject.is_gone) && resource.told_at.is_none();
    let said = said(&unit);
    if is_nothing || said.is_some() && said == now.told_digest {
        resources::settle(transaction, resource.row, resource.marks)?;
        return Ok(None);
    }
    // The message first: what a unit that fails has written is taken back, and that must not be the mark.
    let done = super::keep(transaction, unit, cause, false)?;
    resources::settle(transaction, resource.row, resource.marks)?;
    let said = said.filter(|_| done.state == MessageState::Processed);
    resources::put_told_digest(transaction, resource.row, said)?;
    if now.unreadable.is_some() {
        super::mirror::mend(transaction, Some(&now))?;
        resources::put_unreadable_by(transaction, resource.row, Some(done.id))?;
    }
    Ok(Some(done))
}
