//! `heyi review`: doubtful matches, for the records department.

use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};

use super::{Verdict, audited, decided, evidence, existing_store, load_config, output};
use crate::app::{decide_audited, pipeline_site, zone_of_decisions};
use crate::config::Config;
use crate::identity::{CARD_KINDS, IDENTITY_KINDS, ManualDecision, ManualRefusal, ManualStep};
use crate::store::reviews::{self, ReviewFilter, ReviewKind, ReviewStates};
use crate::store::{Reader, Store, StoreError};
use crate::view;

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// List doubtful matches: open ones by what an answer is worth, others newest first.
    List {
        /// open, linked, rejected, decided (both) or all.
        #[arg(long, value_parser = states, default_value = "open")]
        state: ReviewStates,
        /// Asked for this reason only: possible_match, possible_duplicate, veto, margin, quarantine, source_merge_conflict,
        /// number_reused or data_quality.
        #[arg(long, value_parser = kind)]
        kind: Option<ReviewKind>,
        /// At most so many; the default is 50, with --json all.
        #[arg(long)]
        limit: Option<usize>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show both records side by side, how far they agree, and what each agreement is worth.
    Show {
        /// Its number.
        id: i64,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Decide: the two records are one patient's (link), or two patients' (reject). No rule changes it; deciding otherwise takes it back.
    Decide {
        /// Its number.
        id: i64,
        /// link or reject.
        #[arg(value_parser = ["link", "reject"])]
        decision: String,
        /// Why; kept with the history.
        #[arg(long)]
        reason: String,
        /// Who decides; default: the user of this shell.
        #[arg(long)]
        by: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

fn states(text: &str) -> Result<ReviewStates, &'static str> {
    text.parse().map_err(|()| "open, linked, rejected, decided or all")
}

fn kind(text: &str) -> Result<ReviewKind, String> {
    text.parse().map_err(|()| format!("one of {}", ReviewKind::NAMES.join(", ")))
}

/// Rows of a table unless asked for more.
const ROWS: usize = 50;

pub(super) fn run(file: &Path, verb: Verb) -> anyhow::Result<Verdict> {
    let config = load_config(file)?;
    let store = existing_store(&config)?;
    match verb {
        Verb::List { state, kind, limit, json } => {
            let filter = ReviewFilter { states: state, kind };
            list(&store, filter, limit.unwrap_or(if json { usize::MAX } else { ROWS }), json)
        }
        Verb::Show { id, json } => {
            let review = load(&store, id)?;
            about(&review);
            if json {
                output::json(&review)?
            } else {
                show(&review)?
            }
            Ok(Verdict::Fine)
        }
        Verb::Decide { id, decision, reason, by, json } => {
            let step = ManualStep::Review { review: id, is_same: decision == "link" };
            decide(&config, &store, id, ManualDecision { step, by: by.unwrap_or_else(super::user), reason }, json)
        }
    }
}

fn list(store: &Store, filter: ReviewFilter, limit: usize, json: bool) -> anyhow::Result<Verdict> {
    let mut found = store.read(|reader| {
        let found = reviews::list(reader, filter, None, limit.saturating_add(1))?;
        found.iter().map(|review| Ok((view::review(reader, review)?, review.visits))).collect::<Result<Vec<_>, _>>()
    })?;
    let more = found.len() > limit;
    found.truncate(limit);
    found.iter().for_each(|(review, _)| about(review));
    if json {
        let reviews: Vec<Value> = found.into_iter().map(|(review, _)| review).collect();
        output::json(&json!({"reviews": reviews}))?;
        return Ok(Verdict::Fine);
    }
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|(review, visits)| {
            let text = |name: &str| review[name].as_str().unwrap_or_default().to_owned();
            let pair = |name: &str, place: usize| review[name][place].as_str().unwrap_or_default().to_owned();
            let probability = evidence::percent(&review["probability"]);
            // However much agrees, a rule forbids it: the number alone would be read as advice.
            let is_forbidden = review["evidence"]["vetoes"].as_array().is_some_and(|vetoes| !vetoes.is_empty());
            let probability = if is_forbidden { format!("{probability}, forbidden") } else { probability };
            vec![
                review["id"].to_string(),
                text("state"),
                text("kind"),
                probability,
                visits.to_string(),
                pair("names", 0),
                pair("names", 1),
                pair("persons", 0),
                pair("persons", 1),
                output::local_text(&text("created_at")),
            ]
        })
        .collect();
    let names = ["ID", "STATE", "KIND", "PROBABILITY", "VISITS", "RECORD", "AND", "ONE ID", "AND", "ASKED"];
    output::table(&names, &rows)?;
    if more {
        output::complain(&format!("more than {limit} fit: these are the first, --limit shows more"));
    }
    Ok(Verdict::Fine)
}

/// Names the case and its persons in the audit trail.
fn about(review: &Value) {
    audited::about(|entry| {
        entry.object("review", &review["id"]);
        entry.persons(review["persons"].as_array().into_iter().flatten().filter_map(Value::as_str));
    });
}

fn load(store: &Store, id: i64) -> anyhow::Result<Value> {
    let read = |reader: &Reader<'_>| -> Result<Option<Value>, StoreError> {
        reviews::get(reader, id)?.map(|review| view::review_with_sides(reader, &review)).transpose()
    };
    store.read(read)?.with_context(|| ManualRefusal::UnknownReview.to_string())
}

/// What the two records say of one fact of the model, or of what only helps people.
const SIDE_BY_SIDE: [&str; 13] = [
    "name",
    "birth_date",
    "identity_number",
    "card",
    "phone",
    "address",
    "sex",
    "medical_record_number",
    "multiple_birth",
    "mother_identifier",
    "contacts",
    "deceased_at",
    "updated_at",
];

fn show(review: &Value) -> anyhow::Result<()> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (one, other) = (&review["sides"][0], &review["sides"][1]);
    output::line(format!("review {}: {}, {}", review["id"], text(&review["kind"]), text(&review["state"])))?;
    let now = if review["now"] == "one_person" { "one person's" } else { "two persons'" };
    output::line(format!("the two records are {now} now"))?;
    for answer in review["answers"].as_array().into_iter().flatten() {
        let (at, by) = (output::local_text(&text(&answer["decided_at"])), text(&answer["decided_by"]));
        let what = match (answer["state"].as_str(), answer["answered_by"].as_str()) {
            (Some("open"), Some(decision)) => format!("open again, after {decision}"),
            (_, Some(decision)) => format!("{}, by {decision}", text(&answer["state"])),
            _ => text(&answer["state"]),
        };
        output::line(format!("{at}  {what}, {by}: {}", text(&answer["reason"])))?;
    }
    output::line("")?;
    let facts = review["evidence"]["facts"].as_array().cloned().unwrap_or_default();
    let mut rows = vec![
        vec!["record".to_owned(), text(&review["names"][0]), text(&review["names"][1]), String::new(), String::new()],
        vec!["source".to_owned(), text(&one["source"]), text(&other["source"]), String::new(), String::new()],
        vec!["one_id".to_owned(), text(&one["one_id"]), text(&other["one_id"]), String::new(), String::new()],
    ];
    for name in SIDE_BY_SIDE {
        let (said, also) = (said(&one["patient"], name), said(&other["patient"], name));
        let fact = facts.iter().find(|fact| fact["fact"] == *name);
        if said.is_empty() && also.is_empty() && fact.is_none() {
            continue;
        }
        let level = fact.map(|fact| text(&fact["level"])).unwrap_or_default();
        let weight = fact.map(|fact| evidence::bits(&fact["weight"])).unwrap_or_default();
        rows.push(vec![name.to_owned(), said, also, level, weight]);
    }
    output::table(&["FIELD", "ONE", "OTHER", "AGREES", "BITS"], &rows)?;
    output::line("")?;
    evidence::waterfall(&review["evidence"])
}

/// A patient's values of one row, on one line.
fn said(patient: &Value, name: &str) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let list = |name: &str| patient[name].as_array().cloned().unwrap_or_default();
    let numbers = |kinds: &[&str]| -> Vec<String> {
        let wanted = list("identifiers").into_iter().filter(|number| kinds.iter().any(|kind| number["type"] == **kind));
        wanted
            .map(|number| match number["type"].as_str() {
                Some("mrn") => format!("{}|{}", text(&number["system"]), text(&number["value"])),
                _ => format!("{} {}", text(&number["type"]), text(&number["value"])),
            })
            .collect()
    };
    let all = match name {
        "name" => {
            let mut names = vec![text(&patient["name"])];
            names.extend(list("other_names").iter().map(text));
            names
        }
        "identity_number" => numbers(&IDENTITY_KINDS),
        "card" => {
            let mut cards = numbers(&CARD_KINDS);
            cards.extend(list("insurance").iter().map(|card| text(&card["number"])));
            cards
        }
        "medical_record_number" => numbers(&["mrn"]),
        "phone" => list("phones").iter().map(|phone| text(&phone["value"])).collect(),
        "address" => {
            let parts = ["province", "city", "district", "street"];
            let shown = |address: &Value| match &address["text"] {
                Value::String(text) => text.clone(),
                _ => parts.iter().map(|part| text(&address[*part])).collect(),
            };
            list("addresses").iter().map(shown).collect()
        }
        "mother_identifier" => vec![text(&patient[name]["value"])],
        "contacts" => {
            let contact = |contact: &Value| {
                let parts = ["name", "relationship", "phone"].map(|part| text(&contact[part]));
                parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
            };
            list("contacts").iter().map(contact).collect()
        }
        _ => vec![text(&patient[name])],
    };
    all.into_iter().filter(|text: &String| !text.is_empty()).collect::<Vec<_>>().join(" / ")
}

fn decide(config: &Config, store: &Store, id: i64, decision: ManualDecision, json: bool) -> anyhow::Result<Verdict> {
    let (site, zone) = (pipeline_site(config), zone_of_decisions(config));
    let done =
        audited::change(store, move |transaction, entry| decide_audited(transaction, &site, &zone, &decision, entry))?;
    let decided = done?;
    let review = load(store, id)?;
    if json {
        output::json(&view::decided_review(review, &decided))?;
        return Ok(Verdict::Fine);
    }
    let state = review["state"].as_str().unwrap_or_default();
    if !decided.changed {
        let by = review["decided_by"].as_str().unwrap_or_default();
        output::line(format!("review {id} is {state} already, by {by}: nothing is changed"))?;
        return Ok(Verdict::Fine);
    }
    output::line(format!("review {id} is {state}"))?;
    for (name, one_id) in [0, 1].map(|side| (&review["names"][side], &review["persons"][side])) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        output::line(format!("  {} {}", text(one_id), text(name)))?;
    }
    decided::outcome(&decided)?;
    Ok(Verdict::Fine)
}
