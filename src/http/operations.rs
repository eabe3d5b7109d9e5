//! For operators: health, readiness, numbers, sources, and what describes this interface.

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout};

use super::call::{Answer, Call, from_store, json, now, with_type};
use super::problem::{Problem, ProblemKind};
use super::tokens::Role;
use super::{AppState, Source, SourceState, asyncapi, limits, openapi, schemas};
use crate::outgoing;
use crate::store::messages::MessageState;
use crate::store::statistics::{self, MessageCount};
use crate::store::{Reader, events, mappings, unmapped};
use crate::telemetry::{ConsumerNumbers, WriterNumbers};
use crate::view;

/// Media type of `/metrics` (OpenMetrics 1.0).
pub(crate) const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /healthz`.
pub(crate) async fn health(_: Arc<AppState>, _: Call) -> Answer {
    json(&json!({"status": "ok"}))
}

/// `GET /readyz`. The reasons name sources and the store, no more: this path needs no token.
pub(crate) async fn ready(state: Arc<AppState>, _: Call) -> Answer {
    let mut waiting: Vec<String> = Vec::new();
    for source in &state.sources {
        // A server that does not answer is nothing that this one could be ready for.
        if source.polling.is_none() && *source.state.borrow() != SourceState::Up {
            waiting.push(format!("source {}", source.name));
        }
    }
    if !takes_jobs(&state).await {
        waiting.push("store".to_owned());
    }
    if state.stopping.is_cancelled() {
        waiting.push("stopping".to_owned());
    }
    if waiting.is_empty() {
        return json(&json!({"status": "ready"}));
    }
    let detail = format!("Not up: {}. The log says why.", waiting.join(", "));
    Err(Problem::new(ProblemKind::NotReady, detail).with("waiting_for", waiting))
}

/// Whether the store takes a job: an empty one begins a write transaction, writes nothing, and so costs no fsync.
async fn takes_jobs(state: &AppState) -> bool {
    let mut last = state.probe.0.lock().await;
    match *last {
        Some((at, took)) if at.elapsed() < limits::READY_AGE => took,
        _ => {
            let took = matches!(timeout(limits::READY_TIME, state.store.submit(|_| Ok(()))).await, Ok(Ok(())));
            *last = Some((Instant::now(), took));
            took
        }
    }
}

/// `GET /metrics`.
pub(crate) async fn metrics(state: Arc<AppState>, _: Call) -> Answer {
    (state.refresh_metrics)(&state.metrics);
    let writer = state.store.writer_statistics();
    let number = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    state.metrics.set_writer(WriterNumbers {
        batches: number(&writer.batches),
        failed_batches: number(&writer.failed_batches),
        jobs: number(&writer.jobs),
        failed_jobs: number(&writer.failed_jobs),
        panics: number(&writer.panics),
        commit_microseconds: number(&writer.commit_nanoseconds) / 1000,
        queue: number(&writer.queue_depth),
    });
    let counts = state.store.read_async(statistics::message_counts).await.map_err(from_store)?;
    for source in &state.sources {
        state.metrics.set_source_up(&source.name, *source.state.borrow() == SourceState::Up);
        state.metrics.set_failed_waiting(&source.name, count(&counts, &source.name, MessageState::Failed));
    }
    let configured = state.consumers.clone();
    let read = move |reader: &Reader<'_>| Ok((events::head(reader)?, outgoing::standings(reader, &configured)?));
    let (head, standings) = state.store.read_async(read).await.map_err(from_store)?;
    state.metrics.set_feed_head(head.sequence);
    let now = now();
    for standing in &standings {
        // Who has a cursor of another epoch has the whole log before it.
        let behind = standing.behind().unwrap_or(head.sequence);
        state.metrics.set_consumer(
            &standing.name,
            &ConsumerNumbers {
                head: head.sequence,
                cursor: head.sequence - standing.lag.unwrap_or(head.sequence).min(head.sequence),
                lag: standing.lag.unwrap_or(head.sequence),
                behind,
                oldest_seconds: standing.oldest_at.map_or(0, |at| (now - at).max(0).unsigned_abs() / 1_000_000),
                parked: standing.held.parked,
            },
        );
    }
    let failed = |_| Problem::new(ProblemKind::Internal, "The numbers could not be written.");
    Ok(with_type(METRICS_TYPE, state.metrics.text().map_err(failed)?))
}

/// `GET /openapi.json`.
pub(crate) async fn openapi(_: Arc<AppState>, _: Call) -> Answer {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| openapi::document().to_string());
    Ok(with_type("application/json", DOCUMENT.as_str()))
}

/// `GET /asyncapi.json`.
pub(crate) async fn asyncapi(_: Arc<AppState>, _: Call) -> Answer {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| asyncapi::document().to_string());
    Ok(with_type("application/json", DOCUMENT.as_str()))
}

/// `GET /schemas/{name}`.
pub(crate) async fn schema(_: Arc<AppState>, call: Call) -> Answer {
    let unknown = || Problem::new(ProblemKind::RecordUnknown, "The schemas are named in an event's `dataschema`.");
    let schema = schemas::named(call.path()).ok_or_else(unknown)?;
    Ok(with_type("application/schema+json", schema.to_string()))
}

/// `GET /v1/sources`.
pub(crate) async fn sources(state: Arc<AppState>, _: Call) -> Answer {
    let read = |reader: &Reader<'_>| Ok((statistics::message_counts(reader)?, mappings::list(reader)?));
    let (counts, in_force) = state.store.read_async(read).await.map_err(from_store)?;
    let sources = state.sources.iter().map(|source| {
        let mut document = source_document(source, &counts);
        if let Some(mapping) = in_force.iter().find(|mapping| mapping.source == source.name) {
            document["mapping"] = view::mapping_in_force(mapping);
        }
        document
    });
    let sources: Vec<Value> = sources.collect();
    json(&json!({"sources": sources, "next": null}))
}

/// `POST /v1/sources/{name}/poll`: the end point of a FHIR server's subscription, among others. Whatever it sends is not looked at: what
/// has changed is asked of the server itself.
pub(crate) async fn poll(state: Arc<AppState>, call: Call) -> Answer {
    let name = call.path();
    if call.caller.as_ref().is_some_and(|caller| caller.role == Role::Source && caller.name != name) {
        let detail = "A token of the role source has the one source polled whose name it bears.";
        return Err(Problem::new(ProblemKind::RoleNotAllowed, detail));
    }
    let source = state.sources.iter().find(|source| source.name == name);
    let Some(polling) = source.and_then(|source| source.polling.as_ref()) else {
        return Err(Problem::new(ProblemKind::RecordUnknown, "No source of this name is polled: see /v1/sources."));
    };
    (polling.poke)();
    json(&json!({"source": name, "poll": "asked"}))
}

/// `GET /v1/quality`.
pub(crate) async fn quality(state: Arc<AppState>, _: Call) -> Answer {
    let read = |reader: &Reader<'_>| {
        Ok((statistics::message_counts(reader)?, unmapped::list(reader, limits::UNMAPPED_CODES)?))
    };
    let (counts, codes) = state.store.read_async(read).await.map_err(from_store)?;
    let sources = state.sources.iter().map(|source| {
        let codes = codes.iter().filter(|code| code.source == source.name).map(view::unmapped_code);
        json!({
            "name": source.name,
            "messages": messages_by_state(&counts, &source.name),
            "unmapped": codes.collect::<Vec<_>>(),
        })
    });
    json(&json!({"sources": sources.collect::<Vec<_>>(), "next": null}))
}

fn messages_by_state(counts: &[MessageCount], source: &str) -> Value {
    let states = MessageState::ALL.into_iter();
    states.map(|state| (state.name().to_owned(), json!(count(counts, source, state)))).collect::<Map<_, _>>().into()
}

fn count(counts: &[MessageCount], source: &str, state: MessageState) -> u64 {
    let found = counts.iter().find(|count| count.source == source && count.state == state);
    found.map_or(0, |count| count.count)
}

fn source_document(source: &Source, counts: &[MessageCount]) -> Value {
    let messages = messages_by_state(counts, &source.name);
    let mut document = json!({"name": source.name, "kind": source.kind, "place": source.place, "messages": messages});
    let (state, reason) = match &*source.state.borrow() {
        SourceState::Up => ("up", None),
        SourceState::Down(reason) => ("down", Some(reason.clone())),
    };
    document["state"] = json!(state);
    if let Some(polling) = &source.polling {
        document["polling"] = (polling.status)();
    }
    if let Some(reason) = reason {
        document["reason"] = json!(reason);
    }
    let received = counts.iter().filter(|count| count.source == source.name).map(|count| count.last_received_at);
    if let Some(last) = received.max() {
        document["last_message_at"] = json!(view::moment(last));
    }
    document
}
