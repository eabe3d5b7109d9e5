//! Cases for review: which records may be one patient's, and what somebody says of it.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::AppState;
use super::audit::Trace;
use super::call::{Answer, Call, from_store, from_writer, json};
use super::messages::MOST_REASON;
use super::problem::{Problem, ProblemKind};
use crate::identity::{ManualDecision, ManualRefusal, ManualStep};
use crate::store::reviews::{self, ReviewFilter};
use crate::view;

/// `GET /v1/reviews`.
pub(crate) async fn list(state: Arc<AppState>, call: Call) -> Answer {
    let text = |name| call.parameters.text(name);
    let filter = ReviewFilter {
        states: text("state").and_then(|name| name.parse().ok()).unwrap_or_default(),
        kind: text("kind").and_then(|name| name.parse().ok()),
    };
    let (after, limit) = (call.parameters.key("after"), call.parameters.integer("limit") as usize);
    let read = state.store.read_async(move |reader| {
        let mut found = reviews::list(reader, filter, after, limit + 1)?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|last| last.id.to_string());
        let shown = found.iter().map(|review| view::review(reader, review)).collect::<Result<Vec<_>, _>>()?;
        Ok((shown, next))
    });
    let (shown, next) = read.await.map_err(from_store)?;
    shown.iter().for_each(|review| about(&call.trace, review));
    json(&json!({"reviews": shown, "next": next}))
}

/// `GET /v1/reviews/{id}`.
pub(crate) async fn show(state: Arc<AppState>, call: Call) -> Answer {
    let review = load(&state, review_id(&call)?).await?;
    about(&call.trace, &review);
    json(&review)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DecisionRequest {
    decision: Said,
    reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    Link,
    Reject,
}

/// `POST /v1/reviews/{id}`.
pub(crate) async fn decide(state: Arc<AppState>, call: Call) -> Answer {
    let review = review_id(&call)?;
    let expected =
        format!("{{\"decision\": \"link\" or \"reject\", \"reason\": TEXT of 1 to {MOST_REASON} characters}}");
    let DecisionRequest { decision, reason } = call.json(&expected)?;
    if reason.trim().is_empty() || reason.chars().count() > MOST_REASON {
        return Err(Problem::new(ProblemKind::BodyNotValid, format!("Expected {expected}.")));
    }
    about(&call.trace, &load(&state, review).await?);
    let by = call.caller.map(|caller| caller.name).unwrap_or_default();
    let step = ManualStep::Review { review, is_same: matches!(decision, Said::Link) };
    let decided = (state.decide)(ManualDecision { step, by, reason }, call.trace.for_change()).await;
    let decided = decided.map_err(from_writer)?;
    call.trace.written();
    match decided {
        Ok(decided) => {
            let shown = load(&state, review).await?;
            json(&view::decided_review(shown, &decided))
        }
        Err(ManualRefusal::UnknownReview) => Err(unknown()),
        Err(refusal) => Err(Problem::new(ProblemKind::DecisionRefused, format!("{refusal}."))),
    }
}

/// Names the case and its persons in the audit trail.
fn about(trace: &Trace, review: &Value) {
    trace.object("review", &review["id"]);
    trace.persons(review["persons"].as_array().into_iter().flatten().filter_map(Value::as_str));
}

async fn load(state: &AppState, id: i64) -> Result<Value, Problem> {
    let read = state.store.read_async(move |reader| match reviews::get(reader, id)? {
        Some(review) => view::review_with_sides(reader, &review).map(Some),
        None => Ok(None),
    });
    read.await.map_err(from_store)?.ok_or_else(unknown)
}

fn review_id(call: &Call) -> Result<i64, Problem> {
    call.path().parse().map_err(|_| unknown())
}

fn unknown() -> Problem {
    Problem::new(ProblemKind::RecordUnknown, "No case has this number; /v1/reviews lists them.")
}
