//! Rows of the store as the JSON documents that events, HTTP and commands show: one shape for each, wherever it is seen. What is
//! looked up says in addition by which mapping it was last written; no event does, or each new mapping would make events of records that
//! stay the same.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::identity::{Decided, Evidence, Overruled, probability};
use crate::record::{Fields, Value};
use crate::state::{LabReportState, PatientState, VisitState};
use crate::store::clinical::{LabReport, Visit};
use crate::store::consents::{self, NewConsent};
use crate::store::mappings::MappingInForce;
use crate::store::messages::Message;
use crate::store::persons::{self, Person};
use crate::store::records::{self, LinkChange, PatientRecord};
use crate::store::reviews::{self, Review, ReviewState, Verdict};
use crate::store::unmapped::UnmappedCode;
use crate::store::{Reader, StoreError};

/// A person: the golden record with `one_id` and `version`; `merged_into` if its One ID is retired.
pub fn person(person: Person) -> Fields {
    let mut document = versioned(person.golden, &person.one_id, person.version);
    if let Some(survivor) = person.merged_into {
        document.insert("merged_into", survivor.into());
    }
    document
}

/// A person as it is looked up: each entry of its `sources` with the mapping of that record.
///
/// # Errors
/// See [`StoreError`].
pub fn person_looked_up(reader: &Reader<'_>, person: Person) -> Result<Fields, StoreError> {
    let rows = records::of_person(reader, &person.one_id)?;
    let mut document = self::person(person);
    let Some(sources) = document.get_mut("sources").and_then(Value::as_array_mut) else { return Ok(document) };
    for row in rows {
        let state: PatientState = stored(&row.state, "patient_record.state")?;
        let record = state.record();
        let entry = sources.iter_mut().filter_map(Value::as_object_mut).find(|entry| {
            // Not by its time: a golden record keeps that of its last event.
            entry.get("source").and_then(Value::as_str) == Some(&row.source)
                && entry.get("identifiers") == record.get("identifiers")
                && !entry.contains_key(MAPPING)
        });
        if let Some(entry) = entry {
            tell_mapping(entry, &row.mapping);
        }
    }
    Ok(document)
}

/// Beside `version` of what is looked up.
const MAPPING: &str = "mapping_version";

/// Nothing for a record that is older than the note of it.
fn tell_mapping(document: &mut Fields, mapping: &str) {
    if !mapping.is_empty() {
        document.insert(MAPPING, mapping.into());
    }
}

/// A visit of the person `one_id`, as it is looked up.
///
/// # Errors
/// [`StoreError::Damaged`] if the stored state cannot be read.
pub fn visit(visit: &Visit, one_id: &str) -> Result<Fields, StoreError> {
    let mut document = published_visit(visit, one_id)?;
    tell_mapping(&mut document, &visit.mapping);
    Ok(document)
}

/// A visit of the person `one_id`, as events hold it.
///
/// # Errors
/// [`StoreError::Damaged`] if the stored state cannot be read.
pub fn published_visit(visit: &Visit, one_id: &str) -> Result<Fields, StoreError> {
    let state: VisitState = stored(&visit.state, "visit.state")?;
    Ok(visit_record(state.record(), visit, one_id))
}

/// A visit whose record is at hand, as events hold it.
pub fn visit_record(mut record: Fields, visit: &Visit, one_id: &str) -> Fields {
    record.insert("visit_id", visit.visit_id().into());
    record.insert("number", visit.number.as_str().into());
    record.insert("source", visit.source.as_str().into());
    versioned(record, one_id, visit.version)
}

/// A report of the person `one_id`, as it is looked up.
///
/// # Errors
/// [`StoreError::Damaged`] if the stored state cannot be read.
pub fn lab_report(report: &LabReport, one_id: &str) -> Result<Fields, StoreError> {
    let mut document = published_lab_report(report, one_id)?;
    tell_mapping(&mut document, &report.mapping);
    Ok(document)
}

/// A report of the person `one_id`, as events hold it.
///
/// # Errors
/// [`StoreError::Damaged`] if the stored state cannot be read.
pub fn published_lab_report(report: &LabReport, one_id: &str) -> Result<Fields, StoreError> {
    let state: LabReportState = stored(&report.state, "lab_report.state")?;
    Ok(lab_report_record(state.record(), report, one_id))
}

/// A report whose record is at hand, as events hold it.
pub fn lab_report_record(mut record: Fields, report: &LabReport, one_id: &str) -> Fields {
    record.insert("report_id", report.report_id().into());
    record.insert("source", report.source.as_str().into());
    if let Some(visit_id) = &report.visit_id {
        record.insert("visit_id", visit_id.as_str().into());
    }
    versioned(record, one_id, report.version)
}

fn versioned(mut record: Fields, one_id: &str, version: u64) -> Fields {
    record.insert("one_id", one_id.into());
    record.insert("version", version.into());
    record
}

/// A message without its bytes.
pub fn message(message: &Message) -> serde_json::Value {
    let mut document = serde_json::json!({
        "id": message.id,
        "source": message.source,
        "state": message.outcome.state.name(),
        "type": message.message_type,
        "control_id": message.control_id,
        "received_at": moment(message.received_at),
        "charset": message.charset,
        "mapping": message.outcome.mapping,
        "attempts": message.attempts,
        "same_control_id": message.same_control_id,
        "notes": message.outcome.notes,
    });
    if let Some(time) = message.message_time {
        document["message_time"] = moment(time).into();
    }
    if let Some(one_id) = &message.outcome.one_id {
        document["one_id"] = one_id.as_str().into();
    }
    if let Some(error) = &message.outcome.error {
        document["error"] = serde_json::json!({"code": error.code, "location": error.location, "text": error.text});
    }
    document
}

/// The mapping of a source that the daemon runs.
pub fn mapping_in_force(mapping: &MappingInForce) -> serde_json::Value {
    let mut document = serde_json::json!({"version": mapping.version, "loaded_at": moment(mapping.loaded_at)});
    if let Some(refused) = &mapping.refused {
        document["refused"] = serde_json::json!({"at": moment(refused.at), "problems": refused.problems});
    }
    document
}

/// A code that no table knows.
pub fn unmapped_code(code: &UnmappedCode) -> serde_json::Value {
    let mut document = serde_json::json!({
        "source": code.source,
        "table": code.table,
        "code": code.code,
        "target": code.target,
        "count": code.count,
        "waiting": code.waiting,
        "first_seen": moment(code.first_seen),
        "last_seen": moment(code.last_seen),
        "message": code.message,
    });
    if !code.outcome.is_empty() {
        document["outcome"] = code.outcome.as_str().into();
    }
    document
}

/// One step of a record's history of links.
///
/// # Errors
/// See [`StoreError`].
pub fn link(reader: &Reader<'_>, change: LinkChange) -> Result<Fields, StoreError> {
    let mut link = Fields::new();
    if let Some(record) = records::get(reader, change.record)? {
        link.insert("record", record.number.to_string().into());
        link.insert("generation", u64::from(record.generation).into());
        link.insert("source", record.source.into());
    }
    if let Some(from) = change.from {
        link.insert("from", from.into());
    }
    if let Some(message) = change.message {
        link.insert("message", message.into());
    }
    link.insert("to", change.to.into());
    link.insert("kind", change.kind.name().into());
    link.insert("basis", change.basis);
    link.insert("at", moment(change.at).into());
    Ok(link)
}

/// What was said of the consent of whoever answers for a One ID, and what holds. `None`: there is no such person.
///
/// # Errors
/// See [`StoreError`].
pub fn consents(reader: &Reader<'_>, one_id: &str, now: i64) -> Result<Option<serde_json::Value>, StoreError> {
    let Some(person) = persons::resolve(reader, one_id)? else { return Ok(None) };
    let holds = consents::holding_of(reader, &person.one_id, now)?;
    let holds: serde_json::Map<String, serde_json::Value> =
        holds.into_iter().map(|(purpose, state)| (purpose.name().to_owned(), state.name().into())).collect();
    let mut said = Vec::new();
    for consent in consents::about(reader, &consents::records_of(reader, &person.one_id)?)? {
        // Two sources may know the patient under one number.
        let mut names = BTreeSet::new();
        for record in &consent.records {
            if let Some(row) = records::get(reader, *record)? {
                names.insert(records::name(reader, &row)?);
            }
        }
        let NewConsent { one_id, purpose, state, since, until, basis, source, said_by, at, .. } = consent.said;
        let mut document = serde_json::json!({
            "one_id": one_id,
            "purpose": purpose.name(),
            "state": state.name(),
            "since": moment(since),
            "basis": basis,
            "source": source,
            "said_by": said_by,
            "at": moment(at),
            "records": names,
        });
        if let Some(until) = until {
            document["until"] = moment(until).into();
        }
        if let Some(at) = consent.taken_back {
            document["taken_back"] = moment(at).into();
        }
        said.push(document);
    }
    Ok(Some(serde_json::json!({"one_id": person.one_id, "holds": holds, "consents": said, "next": null})))
}

/// What a decision about identities came to.
pub fn decided(decided: &Decided) -> serde_json::Value {
    let overruled = decided.overruled.iter().map(|overruled| {
        let Overruled { decision, by, reason, at, records: (one, other), review } = overruled;
        let mut document = serde_json::json!({
            "decision": decision, "by": by, "reason": reason, "at": moment(*at), "records": [one, other],
        });
        if let Some(review) = review {
            document["review"] = (*review).into();
        }
        document
    });
    let warnings = decided.warnings.iter().map(|warning| {
        let (one, other) = &warning.records;
        serde_json::json!({"veto": warning.veto, "text": warning.sentence(), "records": [one, other]})
    });
    let mut document = serde_json::json!({
        "one_id": decided.one_id,
        "records": decided.records,
        "visits": decided.visits,
        "lab_reports": decided.lab_reports,
        "retired": decided.retired,
        "revived": decided.revived,
        "reviews": decided.reviews,
        "overruled": overruled.collect::<Vec<_>>(),
        "warnings": warnings.collect::<Vec<_>>(),
        "changed": decided.changed,
    });
    if let Some(other) = &decided.other {
        document["other"] = other.as_str().into();
    }
    if let Some(take_back) = &decided.take_back {
        document["take_back"] = take_back.as_str().into();
    }
    document
}

/// A case for review after it was decided, with what the decision led to beside the two records.
pub fn decided_review(mut review: serde_json::Value, decided: &Decided) -> serde_json::Value {
    let outcome = self::decided(decided);
    for name in ["changed", "visits", "lab_reports", "retired", "revived", "overruled", "warnings", "take_back"] {
        if let Some(value) = outcome.get(name) {
            review[name] = value.clone();
        }
    }
    review["moved"] = outcome["records"].clone();
    review["reviews"] = outcome["reviews"].clone();
    review
}

/// What speaks for and against two records being one patient, under this version of the model: the bits of each fact, what they start
/// from and what they sum up to. Names no patient and holds no value.
pub fn evidence(model: &str, evidence: &Evidence) -> serde_json::Value {
    let mut document = serde_json::json!({
        "model": model,
        "prior": evidence.score.prior,
        "facts": evidence.score.facts,
        "household": evidence.score.household,
        "bits": evidence.score.bits,
        "probability": evidence.score.probability(),
        "vetoes": evidence.vetoes,
    });
    if let Some(tie) = evidence.tie {
        document["tie"] = serde_json::json!(tie);
    }
    if evidence.gate {
        document["gate"] = true.into();
    }
    document
}

/// Evidence as it stands in a link's basis or a case for review: the version of the model, and the candidates looked at then.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct StoredEvidence {
    /// Version of the model.
    pub model: String,
    /// Best first.
    pub candidates: Vec<Evidence>,
}

impl StoredEvidence {
    /// Reads it; `None`: the value is something else.
    pub fn read(value: &Value) -> Option<Self> {
        serde_json::from_value(serde_json::to_value(value).ok()?).ok()
    }
}

/// A case for review. Its One IDs are those of now.
///
/// # Errors
/// [`StoreError::Damaged`] if a record or the evidence cannot be read.
pub fn review(reader: &Reader<'_>, review: &Review) -> Result<serde_json::Value, StoreError> {
    let damaged = StoreError::Damaged { what: "review.evidence" };
    let told = StoredEvidence::read(&review.question.evidence).ok_or(damaged.clone())?;
    let shown = told.candidates.first().map(|found| evidence(&told.model, found)).ok_or(damaged)?;
    let rows = sides(reader, review)?;
    let is_one = rows[0].one_id == rows[1].one_id;
    let mut document = serde_json::json!({
        "id": review.id,
        "kind": review.question.kind.name(),
        "state": review.state.name(),
        "rank": review.rank(),
        "probability": probability(review.question.bits),
        "records": rows.iter().map(|row| row.number.to_string()).collect::<Vec<_>>(),
        "names": rows.iter().map(|row| records::name(reader, row)).collect::<Result<Vec<_>, _>>()?,
        "persons": rows.iter().map(|row| row.one_id.as_str()).collect::<Vec<_>>(),
        "evidence": shown,
        "created_at": moment(review.question.at),
        "now": if is_one { "one_person" } else { "two_persons" },
    });
    if let Some(message) = review.question.message {
        document["message"] = message.into();
    }
    if let Some(verdict) = &review.verdict {
        document["decided_at"] = moment(verdict.at).into();
        document["decided_by"] = verdict.by.as_str().into();
        document["reason"] = verdict.reason.as_str().into();
        if let Some(answered_by) = &verdict.answered_by {
            document["answered_by"] = answered_by.as_str().into();
        }
    }
    Ok(document)
}

/// An answer to a case, as its list of them shows it.
fn answer(state: ReviewState, verdict: &Verdict) -> serde_json::Value {
    let Verdict { at, by, reason, answered_by } = verdict;
    let mut document =
        serde_json::json!({"state": state.name(), "decided_at": moment(*at), "decided_by": by, "reason": reason});
    if let Some(answered_by) = answered_by {
        document["answered_by"] = answered_by.as_str().into();
    }
    document
}

/// A case for review with what both records say, in `sides`, and everything that was ever answered, in `answers`.
///
/// # Errors
/// As [`review`].
pub fn review_with_sides(reader: &Reader<'_>, case: &Review) -> Result<serde_json::Value, StoreError> {
    let mut document = review(reader, case)?;
    let shown = sides(reader, case)?.into_iter().map(|row| {
        let state: PatientState = stored(&row.state, "patient_record.state")?;
        Ok(serde_json::json!({
            "record": row.number.to_string(),
            "generation": row.generation,
            "source": row.source,
            "one_id": row.one_id,
            "patient": state.record(),
        }))
    });
    let answers = reviews::answers(reader, case.id)?;
    document["answers"] = answers.iter().map(|(state, verdict)| answer(*state, verdict)).collect();
    document["sides"] = shown.collect::<Result<Vec<_>, StoreError>>()?.into();
    Ok(document)
}

fn sides(reader: &Reader<'_>, review: &Review) -> Result<[PatientRecord; 2], StoreError> {
    let (one, other) = review.question.records;
    let row = |id| records::get(reader, id)?.ok_or(StoreError::Damaged { what: "review.record" });
    Ok([row(one)?, row(other)?])
}

/// A time of the store as RFC 3339 in UTC.
pub fn moment(microseconds: i64) -> String {
    Timestamp::from_microsecond(microseconds).unwrap_or_default().to_string()
}

/// A stored state; the empty text is that of a record which is new.
///
/// # Errors
/// [`StoreError::Damaged`], naming `what`.
pub fn stored<T: DeserializeOwned + Default>(text: &str, what: &'static str) -> Result<T, StoreError> {
    if text.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_str(text).map_err(|_| StoreError::Damaged { what })
}

/// The text of a state.
///
/// # Errors
/// [`StoreError::Defect`]; a state can always be written.
pub fn to_stored(state: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(state).map_err(|error| StoreError::Defect { reason: error.to_string() })
}
