//! What a decision about identities came to, as people read it: what moved, what it overrules, what speaks against it, and the way back.

use super::output;
use crate::identity::{Decided, Overruled};

/// Ids named on one line; of more, how many there are.
const NAMED: usize = 8;

/// Prints a decision that changed something, below its headline.
pub(super) fn outcome(decided: &Decided) -> anyhow::Result<()> {
    let row = |name: &str, text: String| output::line(format!("  {name:12} {text}"));
    for (name, list) in [("records", &decided.records), ("visits", &decided.visits), ("reports", &decided.lab_reports)]
    {
        if !list.is_empty() {
            row(name, named(list))?;
        }
    }
    if !decided.retired.is_empty() {
        row("retired", format!("{}, answers as {}", named(&decided.retired), decided.one_id))?;
    }
    if !decided.revived.is_empty() {
        row("lives again", named(&decided.revived))?;
    }
    if !decided.reviews.is_empty() {
        let reviews: Vec<String> = decided.reviews.iter().map(ToString::to_string).collect();
        row("reviews", format!("{}: `heyi review show` says what holds now", named(&reviews)))?;
    }
    for Overruled { decision, by, reason, at, records: (one, other), review } in &decided.overruled {
        let case = review.map(|id| format!(", review {id}")).unwrap_or_default();
        let what = if decision == "told_apart" { "told apart" } else { decision.as_str() };
        row("overruled", format!("{what} of {one} and {other} by {by}, {}{case}: {reason}", output::local_time(*at)))?;
    }
    for warning in &decided.warnings {
        let (one, other) = &warning.records;
        row("warning", format!("{}: {one} and {other}, {}", warning.veto, warning.sentence()))?;
    }
    match &decided.take_back {
        Some(command) => row("take back", format!("{command} --reason …")),
        None => Ok(()),
    }
}

fn named(list: &[String]) -> String {
    let first = list.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match list.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
