//! `heyi policy`: what leaves to a consumer, field by field, and in what two policies differ.

use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};

use super::{Unusable, Verdict, WrongUsage, load_config, output};
use crate::app::policies;
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::policy::{
    Categories, Document, FULL_POLICY, FieldClass, Lens, Policy, PseudonymKey, Purpose, Row, identifier_class,
};
use crate::record::{Fields, Value};

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// Show each record field and what leaves of it to a consumer, with an invented example.
    Explain {
        /// A consumer of the configuration.
        consumer: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what a second policy discloses more, and what less, than a first one.
    Diff {
        /// A policy's name, or a file.
        one: String,
        /// The other one's.
        other: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(file: &Path, verb: Verb) -> anyhow::Result<Verdict> {
    let config = load_config(file)?;
    match verb {
        Verb::Explain { consumer, json } => explain(&config, &consumer, json),
        Verb::Diff { one, other, json } => diff(&config, &one, &other, json),
    }
}

fn usable<T>(read: Result<T, Vec<Diagnostic>>) -> anyhow::Result<T> {
    read.map_err(|problems| {
        output::diagnostics(&problems);
        Unusable.into()
    })
}

/// A patient, a visit and so on that nobody ever was: every field of the table has a value.
pub(super) const EXAMPLES: &str = include_str!("policy_examples.json");

/// A line of an explanation.
struct Explained {
    document: Document,
    field: String,
    class: FieldClass,
    treatment: &'static str,
    example: String,
    leaves: Option<String>,
}

fn explain(config: &Config, name: &str, as_json: bool) -> anyhow::Result<Verdict> {
    let consumer = config.consumers.iter().find(|consumer| consumer.name == name);
    let (policy, purpose) = match consumer {
        Some(consumer) => (consumer.policy.as_str(), consumer.purpose),
        None if config.consumers.is_empty() => (FULL_POLICY, Purpose::Care),
        None => {
            let names: Vec<&str> = config.consumers.iter().map(|consumer| consumer.name.as_str()).collect();
            let text = format!("no consumer is called `{name}`; configured: {}", names.join(", "));
            return Err(WrongUsage(text).into());
        }
    };
    let (policy, categories) = usable(policies::load_named(config, policy))?;
    let lines = explained(&policy, &categories)?;
    let (allowed, withheld): (Vec<&str>, Vec<&str>) =
        categories.iter().map(|category| category.name.as_str()).partition(|name| policy.special.contains(*name));
    let consent = if purpose.needs_consent() {
        "only of persons who have consented to this purpose and live; a death is told once"
    } else {
        "of everybody who has not objected to this purpose"
    };
    if as_json {
        let fields: Vec<Json> = lines
            .iter()
            .map(|line| {
                json!({
                    "record": line.document.name(),
                    "field": line.field,
                    "class": line.class.name(),
                    "treatment": line.treatment,
                    "example": line.example,
                    "leaves": line.leaves,
                })
            })
            .collect();
        output::json(&json!({
            "consumer": name,
            "policy": policy.name,
            "title": policy.title,
            "purpose": purpose.name(),
            "consent": consent,
            "special": {"allowed": allowed, "withheld": withheld},
            "fields": fields,
        }))?;
        return Ok(Verdict::Fine);
    }
    output::line(format!("{name} has the policy {}: {}", policy.name, policy.title))?;
    output::line(format!("purpose {}: it is sent {consent}", purpose.name()))?;
    let list = |names: &[&str]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    output::line(format!("special categories: {} withheld, {} may leave", list(&withheld), list(&allowed)))?;
    output::line("")?;
    let rows: Vec<Vec<String>> = lines
        .into_iter()
        .map(|line| {
            let leaves = line.leaves.unwrap_or_else(|| "-".to_owned());
            let (class, treatment) = (line.class.name().to_owned(), line.treatment.to_owned());
            vec![line.document.name().to_owned(), line.field, class, treatment, line.example, leaves]
        })
        .collect();
    output::table(&["RECORD", "FIELD", "CLASS", "TREATMENT", "EXAMPLE", "LEAVES"], &rows)?;
    Ok(Verdict::Fine)
}

fn explained(policy: &Policy, categories: &Categories) -> anyhow::Result<Vec<Explained>> {
    let examples: Fields = serde_json::from_str(EXAMPLES)?;
    let this_year = Timestamp::now().to_zoned(TimeZone::UTC).year();
    // Not the store's key: an example must not show a true stand-in.
    let lens = Lens::new(policy, categories, PseudonymKey::new(b"example", &policy.name), this_year);
    let mut lines = Vec::new();
    for document in Document::ALL {
        let Some(Value::Object(example)) = examples.get(document.name()) else { continue };
        let shown = lens.show(document, example.clone()).unwrap_or_default();
        let (before, after) = (Value::Object(example.clone()), Value::Object(shown));
        for row in document.rows() {
            lines.extend(of_row(policy, document, row, &before, &after));
        }
    }
    Ok(lines)
}

/// The lines of a row: one, or for numbers one for each class that their type gives them.
fn of_row(policy: &Policy, document: Document, row: &Row, before: &Value, after: &Value) -> Vec<Explained> {
    let line = |field: String, class: FieldClass, kind: Option<&str>| Explained {
        document,
        field,
        class,
        treatment: policy.treatment(class).name(),
        example: texts(before, row.path, kind).join(", "),
        leaves: Some(texts(after, row.path, kind)).filter(|texts| !texts.is_empty()).map(|texts| texts.join(", ")),
    };
    if document != Document::Person || !row.path.contains("identifiers.") {
        return vec![line(row.path.to_owned(), row.class, None)];
    }
    let kinds = ["mrn", "resident_id", "insurance_card"];
    kinds.map(|kind| line(format!("{} ({kind})", row.path), identifier_class(kind), Some(kind))).into()
}

/// The values at a path; `kind`: of numbers only those of this type.
fn texts(value: &Value, path: &str, kind: Option<&str>) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(|item| texts(item, path, kind)).collect(),
        Value::Object(fields) if !path.is_empty() => {
            if kind.is_some_and(|kind| fields.get("type").and_then(Value::as_str).is_some_and(|own| own != kind)) {
                return Vec::new();
            }
            let (name, rest) = path.split_once('.').unwrap_or((path, ""));
            fields.get(name).map(|part| texts(part, rest, kind)).unwrap_or_default()
        }
        Value::String(text) => vec![text.to_string()],
        other => vec![other.to_string()],
    }
}

fn diff(config: &Config, one: &str, other: &str, as_json: bool) -> anyhow::Result<Verdict> {
    let read = |name: &str| {
        let is_file = name.contains(['/', '.']);
        usable(if is_file {
            policies::load_file(config, &std::path::absolute(name).unwrap_or_else(|_| name.into()))
        } else {
            policies::load_named(config, name).map(|(policy, _)| policy)
        })
    };
    let (one_policy, other_policy) = (read(one)?, read(other)?);
    let mut found: Vec<[String; 4]> = Vec::new();
    for class in FieldClass::ALL {
        let (before, after) = (one_policy.treatment(*class), other_policy.treatment(*class));
        if before != after {
            let way = if after > before { "more" } else { "less" };
            found.push([class.name(), before.name(), after.name(), way].map(str::to_owned));
        }
    }
    for category in one_policy.special.symmetric_difference(&other_policy.special) {
        let is_more = other_policy.special.contains(category);
        let [before, after, way] =
            if is_more { ["withheld", "may leave", "more"] } else { ["may leave", "withheld", "less"] };
        found.push([format!("special {category}"), before.to_owned(), after.to_owned(), way.to_owned()]);
    }
    if as_json {
        let changes: Vec<Json> = found
            .iter()
            .map(|[class, before, after, way]| json!({"class": class, "one": before, "other": after, "other_discloses": way}))
            .collect();
        output::json(&json!({"one": one, "other": other, "differences": changes}))?;
    } else if found.is_empty() {
        output::line(format!("{one} and {other} disclose the same"))?;
    } else {
        let rows: Vec<Vec<String>> = found.into_iter().map(Vec::from).collect();
        output::table(&["CLASS", one, other, "THE SECOND DISCLOSES"], &rows)?;
    }
    Ok(Verdict::Fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_table_has_an_example() {
        let examples: Fields = serde_json::from_str(EXAMPLES).unwrap();
        for document in Document::ALL {
            let example = examples.get(document.name()).unwrap_or_else(|| panic!("{}", document.name()));
            for row in document.rows() {
                assert!(!texts(example, row.path, None).is_empty(), "{} {}", document.name(), row.path);
            }
        }
    }
}
