//! For operators: health, readiness, numbers, sources, consumers, and what describes this interface.

use std::sync::{Arc, LazyLock};
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::call::{Answer, Call, from_store, json, moment, with_type};
use super::problem::{Problem, ProblemKind};
use super::{AppState, Source, SourceState, limits, openapi, schemas};
use crate::store::{StoreError, consumers, events, statistics};
use crate::telemetry::WriterNumbers;

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
        if *source.state.borrow() != SourceState::Up {
            waiting.push(format!("source {}", source.name));
        }
    }
    // An empty job: it begins a write transaction, writes nothing, and so costs no fsync.
    match timeout(limits::READY_TIME, state.store.submit(|_| Ok(()))).await {
        Ok(Ok(())) => {}
        _ => waiting.push("store".to_owned()),
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

/// `GET /metrics`.
pub(crate) async fn metrics(state: Arc<AppState>, _: Call) -> Answer {
    let writer = state.store.writer_statistics();
    let number = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    state.metrics.set_writer(WriterNumbers {
        batches: number(&writer.batches),
        jobs: number(&writer.jobs),
        panics: number(&writer.panics),
        commit_microseconds: number(&writer.commit_nanoseconds) / 1000,
        queue: number(&writer.queue_depth),
    });
    let positions = positions(&state).await?;
    state.metrics.set_feed_head(positions.head);
    for position in &positions.consumers {
        state.metrics.set_consumer_lag(&position.name, positions.lag(position));
    }
    let failed = |_| Problem::new(ProblemKind::Internal, "The numbers could not be written.");
    Ok(with_type(METRICS_TYPE, state.metrics.text().map_err(failed)?))
}

/// `GET /openapi.json`.
pub(crate) async fn openapi(_: Arc<AppState>, _: Call) -> Answer {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| openapi::document().to_string());
    Ok(with_type("application/json", DOCUMENT.as_str()))
}

/// `GET /schemas/{name}`.
pub(crate) async fn schema(_: Arc<AppState>, call: Call) -> Answer {
    let unknown = || Problem::new(ProblemKind::RecordUnknown, "The schemas are named in an event's `dataschema`.");
    let schema = schemas::named(call.path()).ok_or_else(unknown)?;
    Ok(with_type("application/schema+json", schema.to_string()))
}
