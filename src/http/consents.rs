//! Consents: what somebody says of one, and what was said so far.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::json;

use super::call::{Answer, Call, from_store, from_writer, json, now};
use super::messages::MOST_REASON;
use super::problem::{Problem, ProblemKind};
use super::{AppState, persons};
use crate::policy::{ConsentRefusal, ConsentState, ConsentWord};
use crate::record::when;
use crate::view;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsentRequest {
    purpose: String,
    state: String,
    reason: String,
    since: Option<String>,
    until: Option<String>,
}

/// `POST /v1/persons/{one_id}/consents`.
pub(crate) async fn say(state: Arc<AppState>, call: Call) -> Answer {
    let expected = "{\"purpose\": \"marketing\", \"state\": \"given\" or \"withdrawn\", \"reason\": TEXT, \"since\": TIME, optional, \
                    \"until\": TIME, optional}";
    let request: ConsentRequest = call.json(expected)?;
    let wrong = |what: &str| Problem::new(ProblemKind::BodyNotValid, format!("{what}; expected {expected}."));
    let time = |text: Option<String>| match text {
        None => Ok(None),
        Some(text) => match when::instant(&text, &TimeZone::UTC) {
            Some(instant) => Ok(Some(instant)),
            None => Err(wrong("A time is RFC 3339 with offset, or a date")),
        },
    };
    if request.reason.chars().count() > MOST_REASON {
        return Err(wrong(&format!("The reason has more than {MOST_REASON} characters")));
    }
    let word = ConsentWord {
        purpose: request.purpose.parse().map_err(|_| wrong("No such purpose"))?,
        state: request.state.parse().map_err(|_| wrong("No such state"))?,
        since: time(request.since)?.map(Timestamp::as_microsecond),
        until: time(request.until)?.map(Timestamp::as_microsecond),
        basis: request.reason,
        by: call.caller.as_ref().map_or_else(String::new, |caller| caller.name.clone()),
    };
    let purpose = word.purpose;
    match (state.say_consent)(call.path().to_owned(), word, call.trace.for_change()).await.map_err(from_writer)? {
        Ok(outcome) => {
            call.trace.written();
            json(&json!({
                "one_id": outcome.one_id,
                "purpose": purpose.name(),
                "holds": outcome.holds.map(ConsentState::name),
                "changed": outcome.changed,
            }))
        }
        Err(refusal @ ConsentRefusal::UnknownOneId(_)) => {
            Err(Problem::new(ProblemKind::RecordUnknown, format!("{refusal}.")))
        }
        Err(refusal) => Err(Problem::new(ProblemKind::BodyNotValid, format!("{refusal}."))),
    }
}

/// `GET /v1/persons/{one_id}/consents`.
pub(crate) async fn list(state: Arc<AppState>, call: Call) -> Answer {
    let one_id = call.path().to_owned();
    let at = now();
    let read = move |reader: &crate::store::Reader<'_>| view::consents(reader, &one_id, at);
    let found = state.store.read_async(read).await.map_err(from_store)?;
    json(&found.ok_or_else(persons::unknown)?)
}
