//! Makes records of the resources that are due: reads them with all that belongs to them, maps them, commits them.
//!
//! Invariants
//! - A resource is due until its record is committed, in one transaction with that; what ends in between is told anew.
//! - A change that many resources name reaches them in several transactions, before anything is told.
//! - Patients are told before what is about them. What names something that nobody has read yet waits for it, but not for ever.
//! - What cannot be told for its own sake is kept as a failed message and holds nothing up; what the store cannot do now is tried again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::intake::counted_as;
use crate::app::mappings::LiveSource;
use crate::app::now;
use crate::pipeline::{self, Cause, Done};
use crate::source::fhir::status::{Health, State, Status};
use crate::store::{Pending, Store, StoreError, WriteError};
use crate::telemetry::SourceMetrics;

/// Resources read and mapped at once: a commit's worth, and a bound on what they need in memory.
const GROUP: usize = 64;
/// How long a record waits for what its resource names, in microseconds: a round of reading takes less, and a server that cannot give a
/// practitioner's name must not hold up results.
const PATIENCE: i64 = 120_000_000;
/// Between two looks where nobody says that there is something: what waited may have waited long enough.
const LOOK: Duration = Duration::from_secs(2);
/// Looking through what waits without finding a group's worth is followed by so many times its length, so that a first load is not slowed down
/// by looking.
const REST: u32 = 4;
/// Pause after the store could not read or write.
const TROUBLE: Duration = Duration::from_secs(1);

/// Tells what is due until `stop`.
pub(super) async fn tell(
    store: Store,
    source: LiveSource,
    metrics: SourceMetrics,
    health: Health,
    interval: Duration,
    changed: Arc<Notify>,
    stop: CancellationToken,
) {
    // A report that was made with its results is read with the next round at the latest.
    let settling = i64::try_from((interval + interval / 2).as_micros()).unwrap_or(i64::MAX);
    loop {
        let pause = match round(&store, &source, &metrics, &health, settling, &stop).await {
            Ok(looked) => looked * REST,
            Err(error) => {
                tracing::warn!(%error, "records could not be told; done again in a moment");
                TROUBLE
            }
        };
        tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(pause) => {} }
        tokio::select! {
            () = stop.cancelled() => return,
            () = changed.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Once through all that is due; gives the time that went into looking rather than into telling.
async fn round(
    store: &Store,
    live: &LiveSource,
    metrics: &SourceMetrics,
    health: &Health,
    settling: i64,
    stop: &CancellationToken,
) -> Result<Duration, WriteError> {
    while !stop.is_cancelled() {
        let (name, at) = (live.current().name.clone(), now());
        if !store.submit(move |transaction| pipeline::spread(transaction, &name, at)).await? {
            break;
        }
    }
    let mut after = pipeline::FIRST_DUE;
    let mut looked = Duration::ZERO;
    let mut writing: Vec<Pending<Option<Done>>> = Vec::new();
    let mut trouble = None;
    while !stop.is_cancelled() {
        // While much is coming, what is missing comes too.
        let is_loading = is_loading(&health.snapshot());
        let (patience, settling) = if is_loading { (i64::MAX, i64::MAX) } else { (PATIENCE, settling) };
        let (source, at) = (live.current(), now());
        let read = store.clone();
        let group = tokio::task::spawn_blocking(move || {
            let ready = pipeline::ready(at, patience, settling);
            let begun = Instant::now();
            let found = read.read(|reader| pipeline::due(reader, &source.name, after, ready, GROUP))?;
            let looked = if found.len() < GROUP { begun.elapsed() } else { Duration::ZERO };
            let last = found.last().map(pipeline::Due::place);
            let units: Vec<_> = found.into_iter().map(|due| pipeline::prepare_due(&source, due, at)).collect();
            Ok::<_, StoreError>((units, last, looked))
        });
        let group = group
            .await
            .unwrap_or_else(|_| Err(StoreError::Defect { reason: "reading what is due panicked".to_owned() }));
        trouble = finish(std::mem::take(&mut writing), metrics).await.or(trouble);
        let (units, last, looking) = group.map_err(WriteError::Job)?;
        looked += looking;
        let Some(last) = last else { break };
        after = last;
        for unit in units {
            writing.push(store.enqueue(move |transaction| pipeline::commit_due(transaction, unit, Cause::Poll)).await?);
        }
    }
    finish(writing, metrics).await.or(trouble).map_or(Ok(looked), Err)
}

/// Whether some type was never read to its end. One that the server refuses is not waited for.
fn is_loading(status: &Status) -> bool {
    status.types.values().any(|found| found.load_finished.is_none() && found.state != State::Refused)
}

/// Waits for what is with the writer; gives what one of them could not be written for. It costs the others nothing.
async fn finish(writing: Vec<Pending<Option<Done>>>, metrics: &SourceMetrics) -> Option<WriteError> {
    let mut trouble = None;
    for pending in writing {
        match pending.await {
            Ok(Some(done)) => metrics.message(counted_as(&done)),
            Ok(None) => {}
            Err(error) => trouble = Some(error),
        }
    }
    trouble
}
