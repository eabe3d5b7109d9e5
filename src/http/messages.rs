//! Stored messages: listing, showing with the raw text, running failed ones again, dismissing them.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::audit::Trace;
use super::call::{Answer, Call, from_store, from_writer, json};
use super::problem::{Problem, ProblemKind};
use super::{AppState, RetryError};
use crate::audit::Outcome;
use crate::store::audit;
use crate::store::messages::{self, Message, MessageFilter, MessageState, Page};
use crate::store::{Reader, Transaction};
use crate::view;

/// `GET /v1/messages`.
pub(crate) async fn list(state: Arc<AppState>, call: Call) -> Answer {
    let text = |name| call.parameters.text(name).map(str::to_owned);
    let filter = MessageFilter {
        source: text("source"),
        state: call.parameters.text("state").and_then(|name| name.parse().ok()),
        message_type: text("type"),
        control_id: text("control_id"),
        one_id: text("one_id"),
        from: call.parameters.moment("from"),
        before: call.parameters.moment("to"),
    };
    let page = Page::NewestFirst(call.parameters.key("after"));
    let limit = call.parameters.integer("limit") as usize;
    let read = state.store.read_async(move |reader| messages::list(reader, &filter, page, limit)).await;
    let page = read.map_err(from_store)?;
    call.trace.persons(page.messages.iter().filter_map(|message| message.outcome.one_id.as_deref()));
    if let (Some(first), Some(last)) = (page.messages.first(), page.messages.last()) {
        call.trace.object("messages", format_args!("{}..{}", last.id, first.id));
    }
    let shown: Vec<Value> = page.messages.iter().map(view::message).collect();
    json(&json!({"messages": shown, "next": page.next.map(|id| id.to_string())}))
}

/// `GET /v1/messages/{id}`.
pub(crate) async fn show(state: Arc<AppState>, call: Call) -> Answer {
    let id = message_id(&call)?;
    let read =
        state.store.read_async(move |reader| Ok((messages::get(reader, id)?, messages::bytes(reader, id)?))).await;
    let (Some(message), bytes) = read.map_err(from_store)? else { return Err(unknown()) };
    about(&call.trace, &message);
    let mut shown = view::message(&message);
    if let Some(bytes) = bytes {
        add_raw(&mut shown, &bytes, (state.raw_text)(&message.source, &bytes));
    }
    json(&shown)
}

/// Adds a message's bytes to its document: `raw` as text, or `raw_hex` where they do not decode.
pub fn add_raw(document: &mut Value, bytes: &[u8], text: Option<String>) {
    match text {
        Some(text) => document["raw"] = json!(text),
        None => document["raw_hex"] = json!(hexadecimal(bytes)),
    }
}

/// `POST /v1/messages/{id}/retry`.
pub(crate) async fn retry(state: Arc<AppState>, call: Call) -> Answer {
    let id = message_id(&call)?;
    let message = load(&state, id).await?;
    about(&call.trace, &message);
    if message.outcome.state != MessageState::Failed {
        return Err(not_failed());
    }
    (state.retry)(id, call.trace.for_change()).await.map_err(|error| match error {
        RetryError::NotFailed => not_failed(),
        RetryError::NoSource => Problem::new(
            ProblemKind::SourceNotConfigured,
            "Add its [[sources]] with the same name to the configuration, then try again.",
        ),
        RetryError::Unavailable(_) => Problem::new(ProblemKind::StoreUnavailable, error.to_string()),
    })?;
    call.trace.written();
    json(&view::message(&load(&state, id).await?))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RetryRequest {
    source: Option<String>,
    from: Option<String>,
    limit: Option<usize>,
}

/// Messages retried by one request when it does not say, and at most.
const RETRY_LIMITS: (usize, usize) = (100, 1000);

/// `POST /v1/messages/retry`. One after the other, in order of arrival: what a patient's later messages say must come later. `next`
/// leads past those that failed again.
pub(crate) async fn retry_many(state: Arc<AppState>, call: Call) -> Answer {
    let expected = "{\"source\": NAME, \"from\": `next` of the answer before, \"limit\": 1 to 1000}, all optional";
    let request: RetryRequest = if call.has_body() { call.json(expected)? } else { RetryRequest::default() };
    let (default, most) = RETRY_LIMITS;
    let limit = request.limit.unwrap_or(default);
    let from = request.from.as_deref().map_or(Ok(0), str::parse::<i64>).ok().filter(|from| *from >= 0);
    let Some(from) = from.filter(|_| (1..=most).contains(&limit)) else {
        return Err(Problem::new(ProblemKind::BodyNotValid, format!("Expected {expected}.")));
    };
    let filter =
        MessageFilter { source: request.source, state: Some(MessageState::Failed), ..MessageFilter::default() };
    let page = Page::OldestFirst(Some(from - 1));
    let list = move |reader: &Reader<'_>| messages::list(reader, &filter, page, limit);
    let failed = state.store.read_async(list).await.map_err(from_store)?;
    let mut count = RetryCount::default();
    for message in &failed.messages {
        let mut entry = call.trace.for_change();
        entry.object("message", message.id);
        match (state.retry)(message.id, entry).await {
            Ok(()) => count.add(load(&state, message.id).await?.outcome.state),
            Err(RetryError::NotFailed) => {}
            // It stays failed, and those after it are not its business.
            Err(RetryError::NoSource) => count.failed += 1,
            Err(error @ RetryError::Unavailable(_)) => {
                return Err(Problem::new(ProblemKind::StoreUnavailable, error.to_string()));
            }
        }
    }
    let RetryCount { processed, ignored, failed: failed_again } = count;
    json(&json!({
        "retried": processed + ignored + failed_again,
        "processed": processed,
        "ignored": ignored,
        "failed": failed_again,
        "more": failed.next.is_some(),
        "next": failed.next.map(|last| (last + 1).to_string()),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DismissRequest {
    reason: String,
}

/// Characters in a reason: a sentence.
pub(crate) const MOST_REASON: usize = 500;

/// `POST /v1/messages/{id}/dismiss`.
pub(crate) async fn dismiss(state: Arc<AppState>, call: Call) -> Answer {
    let id = message_id(&call)?;
    let expected = format!("{{\"reason\": TEXT}}, 1 to {MOST_REASON} characters");
    let DismissRequest { reason } = call.json(&expected)?;
    if reason.trim().is_empty() || reason.chars().count() > MOST_REASON {
        return Err(Problem::new(ProblemKind::BodyNotValid, format!("Expected {expected}.")));
    }
    about(&call.trace, &load(&state, id).await?);
    let by = call.caller.map(|caller| caller.name).unwrap_or_default();
    let entry = call.trace.for_change();
    let job = move |transaction: &Transaction<'_>| {
        let dismissed = messages::dismiss(transaction, id, &by, &reason)?;
        let outcome = if dismissed.is_some() { Outcome::Ok } else { Outcome::Refused };
        audit::append(transaction, &entry.with(outcome))?;
        Ok(dismissed)
    };
    let dismissed = state.store.submit(job).await.map_err(from_writer)?;
    call.trace.written();
    let refused = || Problem::new(ProblemKind::MessageNotFailed, "Only a failed message can be dismissed.");
    json(&view::message(&dismissed.ok_or_else(refused)?))
}

#[derive(Default)]
struct RetryCount {
    processed: u32,
    ignored: u32,
    failed: u32,
}

impl RetryCount {
    fn add(&mut self, state: MessageState) {
        match state {
            MessageState::Processed => self.processed += 1,
            MessageState::Ignored => self.ignored += 1,
            MessageState::Failed => self.failed += 1,
        }
    }
}

/// Names a message and its person in the audit trail.
fn about(trace: &Trace, message: &Message) {
    trace.object("message", message.id);
    trace.persons(message.outcome.one_id.as_deref());
}

async fn load(state: &AppState, id: i64) -> Result<Message, Problem> {
    let read = state.store.read_async(move |reader| messages::get(reader, id)).await;
    read.map_err(from_store)?.ok_or_else(unknown)
}

fn message_id(call: &Call) -> Result<i64, Problem> {
    call.path().parse().map_err(|_| unknown())
}

fn unknown() -> Problem {
    Problem::new(ProblemKind::RecordUnknown, "No message has this number; retention may have removed it.")
}

fn not_failed() -> Problem {
    Problem::new(ProblemKind::MessageNotFailed, "Only a failed message whose bytes were kept can be tried again.")
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing into a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
