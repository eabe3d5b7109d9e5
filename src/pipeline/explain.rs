//! Why a record is a person's or is not: weighed now, with the steps by which it is decided, and beside it what was known when it was
//! decided. Reads only.

use std::collections::{BTreeMap, BTreeSet};

use super::Site;
use super::matching::{Known, Matcher};
use crate::identity::{Candidate, Evidence, Tie};
use crate::record::RecordNumber;
use crate::store::records::{self, LinkChange, PatientRecord};
use crate::store::{Reader, StoreError, persons};
use crate::view::{self, StoredEvidence};

/// Why there is nothing to explain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unexplained {
    /// Nobody has the One ID.
    #[error("no person has this One ID: look for it with `heyi person find`")]
    UnknownPerson,
    /// No source has a record under the number.
    #[error(
        "no source has sent a patient under this number: name the record SYSTEM|VALUE as `heyi person links` lists it"
    )]
    UnknownRecord,
}

/// What speaks for and against the records under `number` being the person's who answers for `one_id`; the person need not have them,
/// nor ever have had them. A document for people and programs: `{one_id, merged_into?, record, model, thresholds, explanations}` with an
/// explanation for each source that uses the number.
///
/// # Errors
/// See [`StoreError`].
pub fn explain(
    reader: &Reader<'_>,
    site: &Site,
    one_id: &str,
    number: &RecordNumber,
) -> Result<Result<serde_json::Value, Unexplained>, StoreError> {
    let Some(person) = persons::resolve(reader, one_id)? else { return Ok(Err(Unexplained::UnknownPerson)) };
    let rows = records::meant_by(reader, number)?;
    if rows.is_empty() {
        return Ok(Err(Unexplained::UnknownRecord));
    }
    let matcher = Matcher { reader, site };
    let explanations = rows.iter().map(|row| explanation(matcher, &person.one_id, row));
    let model = &site.model;
    let mut document = serde_json::json!({
        "one_id": person.one_id,
        "record": number.to_string(),
        "model": model.version,
        "thresholds": {"link": model.link_bits(), "review": model.review_bits(), "margin": model.margin()},
        "explanations": explanations.collect::<Result<Vec<_>, StoreError>>()?,
    });
    if person.one_id != one_id {
        document["merged_into"] = document["one_id"].clone();
    }
    Ok(Ok(document))
}

/// One record against each of the person's others, and against all of them, of which one may forbid what another shows.
fn explanation(matcher: Matcher<'_>, one_id: &str, row: &PatientRecord) -> Result<serde_json::Value, StoreError> {
    let own = matcher.records_of(&row.one_id)?.into_iter().find(|known| known.row.id == row.id);
    let own = own.ok_or(StoreError::Damaged { what: "patient_record.one_id" })?;
    let numbers: BTreeSet<RecordNumber> = own.numbers().collect();
    let others = matcher.records_of(one_id)?.into_iter().filter(|known| known.row.id != row.id);
    let others: BTreeMap<i64, Known> = others.map(|known| (known.row.id, known)).collect();
    let shares = |known: &&Known| known.numbers().any(|number| numbers.contains(&number));
    let ties = others.values().filter(shares).map(|known| (known.row.id, Tie::SameNumber)).collect();
    let candidate = matcher.candidate(one_id.to_owned(), &ties, &BTreeSet::from([row.id]))?;
    let counted = matcher.counted_of(&row.one_id, one_id)?;
    let version = &matcher.site.model.version;
    let mut comparisons = Vec::new();
    for record in &candidate.records {
        let alone = Candidate { one_id: candidate.one_id.clone(), records: vec![record.clone()] };
        let (Some(evidence), Some(known)) =
            (matcher.weigh(&own.facts, &alone, counted.clone())?, others.get(&record.id))
        else {
            continue;
        };
        comparisons.push(serde_json::json!({
            "record": known.row.number.to_string(),
            "source": known.row.source,
            "evidence": view::evidence(version, &evidence),
        }));
    }
    let mut document = serde_json::json!({
        "name": records::name(matcher.reader, row)?,
        "source": row.source,
        "one_id": row.one_id,
        "link": row.link.name(),
        "comparisons": comparisons,
    });
    if let Some(evidence) = matcher.weigh(&own.facts, &candidate, counted)? {
        document["evidence"] = view::evidence(version, &evidence);
    }
    let moves = records::moves_of(matcher.reader, row.id)?;
    let decided = moves.into_iter().map(|(_, change)| decided(matcher.reader, change));
    document["decided"] = decided.collect::<Result<Vec<_>, StoreError>>()?.into();
    Ok(document)
}

/// A step of the record's history with the evidence that was stored then: of the person that was chosen, and of those that lost.
fn decided(reader: &Reader<'_>, change: LinkChange) -> Result<serde_json::Value, StoreError> {
    let to = change.to.clone();
    let told = change.basis.get("evidence").and_then(StoredEvidence::read);
    let told = told.or_else(|| StoredEvidence::read(&change.basis));
    let mut step = serde_json::to_value(view::link(reader, change)?)
        .map_err(|error| StoreError::Defect { reason: error.to_string() })?;
    let Some(told) = told else { return Ok(step) };
    let candidates = told.candidates.iter().map(|found: &Evidence| {
        let record = records::get(reader, found.record)?.map(|row| row.number.to_string());
        Ok(serde_json::json!({
            "one_id": found.one_id,
            "record": record,
            "chosen": found.one_id == to,
            "evidence": view::evidence(&told.model, found),
        }))
    });
    step["candidates"] = candidates.collect::<Result<Vec<_>, StoreError>>()?.into();
    step["model"] = told.model.into();
    // Said above, in words that mean something outside the store.
    if let Some(step) = step.as_object_mut() {
        step.remove("basis");
    }
    Ok(step)
}
