//! The consumers, for who runs the interfaces: where each stands, and what is done with what waits for it.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::AppState;
use super::call::{Answer, Call, cut, from_store, from_writer, json, now};
use super::feed::lost;
use super::messages::MOST_REASON;
use super::parameter::cursor_not_valid;
use super::problem::{Problem, ProblemKind};
use crate::feed::Position;
use crate::outgoing::act::{self, Act, From, Outcome, Refusal, Replay, Replayed};
use crate::outgoing::{self, Consumer};
use crate::store::{Reader, Transaction, audit, holds};

/// What people did that is told with what waits.
const ACTIONS: usize = 100;

/// `GET /v1/consumers`: the configured ones, and those that committed a cursor and are not configured (any more).
pub(crate) async fn list(state: Arc<AppState>, _: Call) -> Answer {
    let configured = state.consumers.clone();
    let read = move |reader: &Reader<'_>| outgoing::standings(reader, &configured);
    let standings = state.store.read_async(read).await.map_err(from_store)?;
    let consumers = standings.iter().map(|standing| {
        let mut document = standing.json();
        if let Some(push) = (state.pushes)(&standing.name) {
            document["push"] = push;
        }
        document
    });
    json(&json!({"consumers": consumers.collect::<Vec<_>>(), "next": null}))
}

/// `GET /v1/consumers/{name}/parked`.
pub(crate) async fn parked(state: Arc<AppState>, call: Call) -> Answer {
    let consumer = named(&state, &call).await?;
    let (after, limit) = (call.parameters.key("after").unwrap_or(0), call.parameters.integer("limit") as usize);
    let read = move |reader: &Reader<'_>| {
        let (holds, next) = cut(holds::list(reader, &consumer.name, after, limit + 1)?, limit, |hold| hold.id);
        let shown = holds.iter().map(|hold| outgoing::hold(reader, hold)).collect::<Result<Vec<_>, _>>()?;
        let actions = holds::actions(reader, &consumer.name, ACTIONS)?;
        Ok((shown, next, actions.iter().map(outgoing::action).collect::<Vec<Value>>()))
    };
    let (holds, next, actions) = state.store.read_async(read).await.map_err(from_store)?;
    json(&json!({"holds": holds, "next": next, "actions": actions}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplayRequest {
    from: Option<String>,
    since: Option<jiff::Timestamp>,
    to: Option<String>,
    person: Option<String>,
    reason: Option<String>,
}

/// `POST /v1/consumers/{name}/replay`.
pub(crate) async fn replay(state: Arc<AppState>, call: Call) -> Answer {
    let expected = "{\"from\": CURSOR or \"since\": TIME, \"to\": CURSOR, \"person\": ONE_ID, \"reason\": TEXT}";
    let request: ReplayRequest = call.json(expected)?;
    let position =
        |text: Option<String>| text.map(|text| text.parse::<Position>().map_err(|_| cursor_not_valid())).transpose();
    let from = match (position(request.from)?, request.since) {
        (Some(_), Some(_)) => {
            return Err(Problem::new(ProblemKind::BodyNotValid, "Give `from` or `since`, not both."));
        }
        (Some(position), None) => Some(From::Position(position)),
        (None, since) => since.map(|since| From::Time(since.as_microsecond())),
    };
    let act = act(&state, &call, request.reason, false).await?;
    let asked = Replay { from, to: position(request.to)?, person: request.person };
    let (mut after, mut events) = (None, 0);
    loop {
        let (act, asked) = (act.clone(), asked.clone());
        match run(&state, &call, move |transaction| act::replay(transaction, &act, &asked, after)).await? {
            Replayed::Moved(cursor) => return json(&json!({"cursor": cursor.to_string()})),
            Replayed::PutBack(more, next) => {
                events += more;
                match next {
                    Some(next) => after = Some(next),
                    None => return json(&json!({"events": events})),
                }
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonRequest {
    person: Option<String>,
    reason: Option<String>,
}

/// `POST /v1/consumers/{name}/release`.
pub(crate) async fn release(state: Arc<AppState>, call: Call) -> Answer {
    let request: PersonRequest = call.json("{\"person\": ONE_ID, \"reason\": TEXT}, or {} for all who are parked")?;
    let act = act(&state, &call, request.reason, false).await?;
    let release = move |transaction: &Transaction<'_>| act::release(transaction, &act, request.person.as_deref());
    json(&json!({"released": run(&state, &call, release).await?}))
}

/// `POST /v1/consumers/{name}/skip`.
pub(crate) async fn skip(state: Arc<AppState>, call: Call) -> Answer {
    let expected = format!("{{\"person\": ONE_ID, \"reason\": TEXT of 1 to {MOST_REASON} characters}}");
    let PersonRequest { person: Some(person), reason } = call.json(&expected)? else {
        return Err(Problem::new(ProblemKind::BodyNotValid, format!("Expected {expected}.")));
    };
    let act = act(&state, &call, reason, true).await?;
    let consumer = act.consumer.name.clone();
    let (sequence, event) = run(&state, &call, move |transaction| act::skip(transaction, &act, &person)).await?;
    tracing::warn!(consumer, event = sequence, "an event was given up by hand: this consumer is never given it");
    json(&json!({"skipped": {"sequence": sequence, "event": event}}))
}

async fn run<T: Send + 'static>(
    state: &AppState,
    call: &Call,
    work: impl FnOnce(&Transaction<'_>) -> Outcome<T> + Send + 'static,
) -> Result<T, Problem> {
    call.trace.object("consumer", call.path());
    let entry = call.trace.for_change();
    let audited = move |transaction: &Transaction<'_>| {
        let done = work(transaction)?;
        if done.is_ok() {
            audit::append(transaction, &entry)?;
        }
        Ok(done)
    };
    let refused = |refusal| match refusal {
        Refusal::Lost(log, why) => lost(log, why),
        Refusal::NoPerson | Refusal::NotHeld | Refusal::NoConsumer => {
            Problem::new(ProblemKind::RecordUnknown, format!("{refusal}."))
        }
        Refusal::Everything => Problem::new(ProblemKind::BodyNotValid, format!("{refusal}.")),
        refusal => Problem::new(ProblemKind::DeliveryRefused, format!("{refusal}.")),
    };
    let done = state.store.submit(audited).await.map_err(from_writer)?.map_err(refused)?;
    call.trace.written();
    Ok(done)
}

/// Who does something with whose deliveries, and why.
async fn act(state: &AppState, call: &Call, reason: Option<String>, needs_reason: bool) -> Result<Act, Problem> {
    let consumer = named(state, call).await?;
    let reason = reason.unwrap_or_default();
    if reason.chars().count() > MOST_REASON || (needs_reason && reason.trim().is_empty()) {
        let detail = format!("Expected a `reason` of 1 to {MOST_REASON} characters.");
        return Err(Problem::new(ProblemKind::BodyNotValid, detail));
    }
    let by = call.caller.as_ref().map(|caller| caller.name.clone()).unwrap_or_default();
    Ok(Act { consumer, by, reason, at: now() })
}

/// The consumer of the path: configured, or known by its position.
async fn named(state: &AppState, call: &Call) -> Result<Consumer, Problem> {
    let (name, configured) = (call.path().to_owned(), state.consumers.clone());
    let read = move |reader: &Reader<'_>| outgoing::known(reader, &configured, &name);
    let found = state.store.read_async(read).await.map_err(from_store)?;
    found
        .ok_or_else(|| Problem::new(ProblemKind::RecordUnknown, "No consumer has this name; /v1/consumers lists them."))
}
