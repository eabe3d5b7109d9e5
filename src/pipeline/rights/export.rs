//! Everything that is held of one person, as one JSON document (PIPL article 45).

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::super::Source;
use super::super::patient::state_of;
use super::Trace;
use crate::hl7v2::text;
use crate::store::{
    Reader, StoreError, events, messages, no_links, persons, records, resources, restrictions, reviews,
};
use crate::view;

/// Writes down what was traced: the person, what each source says, visits, reports, how records came and went, cases, decisions,
/// messages as they came, and events as they were told.
///
/// # Errors
/// See [`StoreError`].
pub fn export(reader: &Reader<'_>, sources: &[Arc<Source>], trace: &Trace) -> Result<Json, StoreError> {
    let person = persons::get(reader, &trace.one_id)?.ok_or(StoreError::Damaged { what: "person.one_id" })?;
    let mut said = Vec::new();
    for row in &trace.records {
        said.push(json!({
            "source": row.source,
            "number": row.number.to_string(),
            "generation": row.generation,
            "link": row.link.name(),
            "updated_at": view::moment(row.updated_at),
            "record": state_of(row)?.record(),
            "former_names": state_of(row)?.former_names(),
            "history": history(reader, row.id)?,
            "reviews": reviews::of_record(reader, row.id)?.iter().map(|case| view::review(reader, case)).collect::<Result<Vec<_>, _>>()?,
            "told_apart": told_apart(reader, row.id)?,
            "restrictions": restricted(reader, row.id)?,
            "resources": resources_of(reader, row.id)?,
        }));
    }
    let mut visits = Vec::new();
    for visit in &trace.visits {
        visits.push(view::visit(visit, &trace.one_id)?);
    }
    let mut reports = Vec::new();
    for report in &trace.reports {
        reports.push(view::lab_report(report, &trace.one_id)?);
    }
    let mut told = Vec::new();
    for sequence in &trace.events {
        told.extend(events::get(reader, *sequence)?);
    }
    let mut kept = Vec::new();
    for id in &trace.messages {
        let Some(message) = messages::get(reader, *id)? else { continue };
        let bytes = messages::bytes(reader, *id)?.unwrap_or_default();
        let source = sources.iter().find(|source| source.name == message.source);
        let decoded = source.and_then(|source| text::decode(&bytes, &source.charset, &source.limits).ok());
        let mut document = view::message(&message);
        document["text"] =
            decoded.map_or_else(|| String::from_utf8_lossy(&bytes).into_owned(), |decoded| decoded.text).into();
        kept.push(document);
    }
    let consents = view::consents(reader, &trace.one_id, i64::MAX)?;
    Ok(json!({
        "one_id": trace.one_id,
        "one_ids": trace.one_ids,
        "person": view::person(person),
        "records": said,
        "visits": visits,
        "lab_reports": reports,
        "consents": consents,
        "events": told,
        "messages": kept,
    }))
}

fn history(reader: &Reader<'_>, record: i64) -> Result<Vec<Json>, StoreError> {
    let steps =
        records::moves_of(reader, record)?.into_iter().map(|(_, change)| Ok(json!(view::link(reader, change)?)));
    steps.collect()
}

fn told_apart(reader: &Reader<'_>, record: i64) -> Result<Vec<Json>, StoreError> {
    let pairs = no_links::list(reader, record)?.into_iter().map(|pair| {
        json!({"by": pair.by, "reason": pair.reason, "at": view::moment(pair.at), "taken_back": pair.undone.is_some()})
    });
    Ok(pairs.collect())
}

/// What FHIR servers said of the patient of a record, as it came.
fn resources_of(reader: &Reader<'_>, record: i64) -> Result<Vec<Json>, StoreError> {
    let bodies = resources::about(reader, record)?.into_iter().map(|(source, body)| {
        let text = String::from_utf8_lossy(&body).into_owned();
        json!({"source": source, "resource": serde_json::from_str::<Json>(&text).unwrap_or_else(|_| text.into())})
    });
    Ok(bodies.collect())
}

fn restricted(reader: &Reader<'_>, record: i64) -> Result<Vec<Json>, StoreError> {
    let said = restrictions::of_record(reader, record)?.into_iter().map(|said| {
        let lifted = said.lifted.map(|(by, at)| json!({"by": by, "at": view::moment(at)}));
        json!({"by": said.by, "reason": said.reason, "at": view::moment(said.at), "lifted": lifted})
    });
    Ok(said.collect())
}
