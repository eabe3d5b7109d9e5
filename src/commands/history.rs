//! How a person's records came to it, as people read it: one paragraph a step, with when, who or what, and how much moved.

use std::collections::BTreeSet;

use super::{evidence, output};
use crate::identity::Tie;
use crate::record::Value;
use crate::store::records::{self, LinkChange};
use crate::store::{Reader, StoreError};
use crate::view::{self, StoredEvidence};

/// A step with the names of the records that it moved.
pub(super) struct Step {
    at: i64,
    /// Who or what, and why.
    why: String,
    from: Option<String>,
    to: String,
    /// Each with its source.
    records: Vec<String>,
    /// Visits and reports, where it was noted.
    moved: Option<(i64, i64)>,
    message: Option<i64>,
}

/// The changes, oldest first, as steps: what one decision moved between the same One IDs is one.
pub(super) fn steps(reader: &Reader<'_>, changes: Vec<LinkChange>) -> Result<Vec<Step>, StoreError> {
    let mut steps: Vec<(LinkChange, Step)> = Vec::new();
    for change in changes {
        let record = records::get(reader, change.record)?.ok_or(StoreError::Damaged { what: "link_history.record" })?;
        let named = format!("{} ({})", records::name(reader, &record)?, record.source);
        let same = |(known, _): &&mut (LinkChange, Step)| {
            (known.at, &known.from, &known.to, &known.basis) == (change.at, &change.from, &change.to, &change.basis)
        };
        if let Some((_, step)) = steps.last_mut().filter(same) {
            step.records.push(named);
            continue;
        }
        let number = |name: &str| change.basis.get("moved").and_then(|moved| moved.get(name)).and_then(Value::as_i64);
        let step = Step {
            at: change.at,
            why: why(reader, &change)?,
            from: change.from.clone(),
            to: change.to.clone(),
            records: vec![named],
            moved: number("visits").zip(number("lab_reports")),
            message: change.message,
        };
        steps.push((change, step));
    }
    Ok(steps.into_iter().map(|(_, step)| step).collect())
}

/// Prints the steps; `retired`: One IDs that answer as another, which a merge that moved all of their records retired.
pub(super) fn print(steps: &[Step], retired: &BTreeSet<String>) -> anyhow::Result<()> {
    for step in steps {
        let message = step.message.map(|id| format!(", message {id}")).unwrap_or_default();
        output::line(format!("{}  {}{message}", output::local_time(step.at), step.why))?;
        let records = step.records.join(", ");
        match &step.from {
            None => output::line(format!("    {records} came to {}", step.to))?,
            Some(from) if *from == step.to => output::line(format!("    {records} stays with {from}"))?,
            Some(from) => output::line(format!("    {records} went from {from} to {}", step.to))?,
        }
        if let Some((visits, reports)) = step.moved {
            output::line(format!("    with {} and {}", count(visits, "visit"), count(reports, "report")))?;
        }
        if let Some(from) = step.from.as_ref().filter(|from| **from != step.to && retired.contains(*from)) {
            output::line(format!("    {from} is retired and answers as {}", step.to))?;
        }
    }
    Ok(())
}

fn count(number: i64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Who or what moved the record, and why.
fn why(reader: &Reader<'_>, change: &LinkChange) -> Result<String, StoreError> {
    let basis = &change.basis;
    let text = |name: &str| basis.get(name).and_then(Value::as_str);
    if let (Some(decision), Some(by)) = (text("decision"), text("by")) {
        let case = basis.get("review").and_then(Value::as_i64).map(|id| format!(" in review {id}")).unwrap_or_default();
        return Ok(format!("{decision}{case} by {by}: {}", text("reason").unwrap_or_default()));
    }
    let source = text("source").unwrap_or("a source");
    if let (Some(survivor), Some(retired)) = (text("survivor"), text("retired")) {
        return Ok(format!("{source} merged {retired} into {survivor}"));
    }
    match text("action") {
        Some("move") => {
            let (record, to) = (text("record").unwrap_or_default(), text("to").unwrap_or_default());
            return Ok(format!("{source} moved {record} to the patient of {to}"));
        }
        Some(action) => {
            let records = basis.get("records").and_then(Value::as_array).into_iter().flatten();
            let records: Vec<&str> = records.filter_map(Value::as_str).collect();
            return Ok(format!("{source} said {action} of {}", records.join(" and ")));
        }
        None => {}
    }
    let told = basis.get("evidence").and_then(StoredEvidence::read).or_else(|| StoredEvidence::read(basis));
    let Some(told) = told else { return Ok(format!("{source} spoke of it for the first time")) };
    let chosen = told.candidates.iter().find(|found| found.one_id == change.to);
    let Some(found) = chosen.or(told.candidates.first()) else {
        return Ok("by rule: nobody was like it".to_owned());
    };
    let record = records::get(reader, found.record)?.map(|row| records::name(reader, &row)).transpose()?;
    let record = record.unwrap_or_else(|| found.one_id.clone());
    let model = &told.model;
    Ok(match (chosen.is_some(), found.tie) {
        (true, Some(Tie::SameNumber)) => format!("by rule: sent under a number of {record}"),
        (true, Some(Tie::SameVisit)) => format!("by rule: its message names a visit of {record} (model {model})"),
        (true, None) if found.gate => format!("by rule: the identity number and the name of {record} (model {model})"),
        (is_chosen, _) => {
            let shown = view::evidence(model, found);
            let (share, remarks) = (evidence::percent(&shown["probability"]), evidence::remarks(&shown));
            let remarks = if remarks.is_empty() { remarks } else { format!(", {remarks}") };
            let verb = if is_chosen { "fits" } else { "looked at, and not taken for," };
            format!("by rule: {verb} {record}, {share}{remarks} (model {model})")
        }
    })
}
