//! A FHIR source: what its server has goes into the mirror, what is due by it becomes records.
//!
//! Two parts that know each other by the store alone: the poller ([`crate::source::fhir`]) fills the mirror through a [`Keeper`], and the
//! [`teller`] makes records of what became due. So a server that gives much at once never waits for matching, and whatever ends between
//! the two goes on where it was.

mod keeper;
mod standing;
mod teller;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::mappings::LiveSource;
use super::supervise::supervise;
use crate::http;
use crate::source::fhir::settings::Settings;
use crate::source::fhir::status::{Health, State, Status};
use crate::source::fhir::{FhirError, Poke, Poller, World};
use crate::store::{Store, resources};
use crate::telemetry::{PolledType, PollingNumbers, SourceMetrics};
use keeper::Keeper;
use standing::Watched;

pub use keeper::read_resource;
pub use standing::standing_of;

/// Between two looks at how a source stands, for `/v1/sources` and the log.
const LOOK: Duration = Duration::from_secs(1);

/// Unreadable resources that are named.
const SHOWN: usize = 20;

/// What a source's poller counts, as it is now.
pub(super) type Numbers = Box<dyn Fn() -> PollingNumbers + Send + Sync>;

/// A FHIR source, ready to be polled.
pub(super) struct Polled {
    settings: Settings,
    source: LiveSource,
    store: Store,
    metrics: SourceMetrics,
    health: Health,
    changed: Arc<Notify>,
    poke: Arc<Mutex<Poke>>,
    first: Poller<Keeper>,
    watched: Watched,
}

impl Polled {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// A certificate or key that cannot be used.
    pub(super) fn new(
        settings: &Settings,
        source: LiveSource,
        store: &Store,
        metrics: SourceMetrics,
    ) -> Result<Self, FhirError> {
        let health = Health::new(&settings.source, &settings.resources);
        let changed = Arc::new(Notify::new());
        let first = poller(settings, store, &health, &changed)?;
        let poke = Arc::new(Mutex::new(first.poke_handle()));
        let watched = Watched::new(store, &settings.source);
        let (settings, store) = (settings.clone(), store.clone());
        Ok(Self { settings, source, store, metrics, health, changed, poke, first, watched })
    }

    /// What HTTP shows and does of it.
    pub(super) fn for_http(&self) -> http::Polling {
        let (health, poke) = (self.health.clone(), Arc::clone(&self.poke));
        let (store, source, watched) = (self.store.clone(), self.settings.source.clone(), self.watched.clone());
        http::Polling {
            status: Arc::new(move || {
                let mut shown = serde_json::to_value(health.snapshot()).unwrap_or_default();
                watched.show(&mut shown);
                let read = store.read(|reader| {
                    let names = resources::unreadable(reader, &source, SHOWN)?;
                    Ok((resources::unreadable_count(reader, &source)?, names))
                });
                // What the store cannot say now it says the next time.
                if let Ok((count, names)) = read {
                    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
                    shown["unreadable"] = serde_json::json!({"count": count, "resources": names});
                }
                shown
            }),
            poke: Arc::new(move || poke.lock().unwrap_or_else(PoisonError::into_inner).poke()),
        }
    }

    /// How its numbers are had.
    pub(super) fn numbers(&self) -> Numbers {
        let (health, store, source) = (self.health.clone(), self.store.clone(), self.settings.source.clone());
        Box::new(move || {
            let status = health.snapshot();
            let now = Timestamp::now();
            let remarks = status.all_remarks().into_iter();
            let remarks = remarks.flat_map(|(name, all)| all.into_iter().map(move |remark| (name.clone(), remark)));
            let remarks = remarks.collect();
            let types = status.types.into_iter().map(|(resource_type, found)| PolledType {
                resource_type,
                fetched: found.fetched,
                changed: found.changed,
                deleted: found.deleted,
                lag_seconds: found.up_to_date.map(|then| now.duration_since(then).as_secs().max(0).unsigned_abs()),
            });
            PollingNumbers {
                requests: status.requests,
                remarks,
                failures: status.failures.into_iter().collect(),
                // What the store cannot say now it says the next time.
                due: store.read(|reader| resources::due_count(reader, &source)).unwrap_or_default(),
                unreadable: store.read(|reader| resources::unreadable_count(reader, &source)).unwrap_or_default(),
                types: types.collect(),
            }
        })
    }

    /// Polls and tells until `stop`.
    pub(super) async fn serve(self, report: impl Fn(Result<(), String>), stop: CancellationToken) {
        let Self { settings, source, store, metrics, health, changed, poke, first, watched } = self;
        let name = settings.source.clone();
        // Before anything is asked of the server: what is remembered may be of another one, of other types, or of other owners of numbers.
        while let Err(error) = standing::settle_in(&store, &settings, &source.current().site).await {
            tracing::warn!(%error, "a FHIR source waits for the store");
            tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(LOOK) => {} }
        }
        let mut ready = Some(first);
        let polling = || {
            let next = ready.take().map_or_else(|| poller(&settings, &store, &health, &changed), Ok);
            let (stop, poke) = (stop.clone(), Arc::clone(&poke));
            async move {
                let poller = match next {
                    Ok(poller) => poller,
                    Err(error) => return tracing::error!(%error, "the source cannot be polled"),
                };
                *poke.lock().unwrap_or_else(PoisonError::into_inner) = poller.poke_handle();
                // A thread of its own: taking pages apart is work, and must not hold up connections.
                let runtime = tokio::runtime::Handle::current();
                let run = tokio::task::spawn_blocking(move || runtime.block_on(poller.run(stop)));
                if run.await.is_err() {
                    tracing::error!("the poller panicked");
                }
            }
        };
        let telling = || {
            let (store, source, interval) = (store.clone(), source.clone(), settings.interval);
            teller::tell(store, source, metrics.clone(), health.clone(), interval, Arc::clone(&changed), stop.clone())
        };
        let part = format!("{name}, records");
        tokio::join!(
            supervise(&name, &stop, |_| (), polling),
            supervise(&part, &stop, |_| (), telling),
            watch(&health, &watched, &report, &stop),
        );
    }
}

fn poller(
    settings: &Settings,
    store: &Store,
    health: &Health,
    changed: &Arc<Notify>,
) -> Result<Poller<Keeper>, FhirError> {
    let base = settings.base_url.as_str();
    let keeper = Keeper::new(store.clone(), &settings.source, base, &settings.resources, Arc::clone(changed));
    Poller::new(settings.clone(), keeper, health.clone(), World::default())
}

/// Reports how the source stands, and writes it down.
async fn watch(health: &Health, watched: &Watched, report: &impl Fn(Result<(), String>), stop: &CancellationToken) {
    loop {
        let is_over = tokio::select! { () = stop.cancelled() => true, () = tokio::time::sleep(LOOK) => false };
        let status = health.snapshot();
        watched.look(&status, is_over).await;
        if is_over {
            return;
        }
        report(trouble(&status));
    }
}

fn trouble(status: &Status) -> Result<(), String> {
    match status.state {
        State::Failing | State::Resting | State::Refused => {
            let text = status.last_error.as_ref().map(|error| error.text.clone());
            Err(text.unwrap_or_else(|| "its server does not answer".to_owned()))
        }
        State::Starting | State::Loading | State::Polling | State::Degraded | State::Stopped => Ok(()),
    }
}
