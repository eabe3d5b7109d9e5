//! The rounds of polling: which type is due, what is done for it, what a failure stops and what it does not.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::capability::Capabilities;
use super::engine::{BELIEVED, Engine, TypeWork};
use super::error::{Concern, FhirError};
use super::export::Exporting;
use super::instant::Instant;
use super::note::{Asks, Track, patient_key, read};
use super::pass::Turn;
use super::server::Server;
use super::settings::{Auth, SearchMode, Settings};
use super::sink::{FhirVersion, Sink, is_id};
use super::status::{Failure, Health, Remark, State, Status};
use super::wire::Wire;
use super::world::{World, later};
use crate::web::until;

/// A type that keeps failing is tried this often at least.
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);

/// Patients asked of the keeper at once.
const ROSTER: usize = 200;

/// A poller of one FHIR server.
pub struct Poller<S> {
    engine: Engine<S>,
    types: Vec<TypeWork>,
    poked: Arc<Notify>,
    /// When the server is asked again what it can do.
    discover: Timestamp,
    /// When an export under way is looked at again; none: no export.
    export: Option<Timestamp>,
    exporting: bool,
}

/// Triggers a poll: what a notification of a Subscription is good for. It never says what changed.
#[derive(Debug, Clone)]
pub struct Poke(Arc<Notify>);

impl Poke {
    /// Poll now. Many pokes before the poll are one.
    pub fn poke(&self) {
        self.0.notify_one();
    }
}

/// Reads the files that the settings name, as a poller does before it sends anything.
///
/// # Errors
/// See [`Poller::new`].
pub fn examine(settings: &Settings) -> Result<(), FhirError> {
    let health = Health::new(&settings.source, &settings.resources);
    server(settings, World::default(), &health).map(drop)
}

fn server(settings: &Settings, world: World, health: &Health) -> Result<Server, FhirError> {
    let token_is_secure = match &settings.auth {
        Auth::ClientCredentials { token_url, .. } => token_url.scheme() == "https",
        // A discovered token URL may be.
        Auth::SmartBackend { token_url, .. } => token_url.as_ref().is_some_and(|url| url.scheme() == "https"),
        _ => false,
    };
    let secure = settings.base_url.scheme() == "https" || token_is_secure;
    let wire = Wire::new(&settings.tls, secure, settings.limits, world, health.clone())?;
    Server::new(settings, wire)
}

impl<S: Sink> Poller<S> {
    /// Sets everything up; nothing is sent yet.
    ///
    /// # Errors
    /// The URL, or a file with a certificate, key or secret, cannot be used.
    pub fn new(settings: Settings, sink: S, health: Health, world: World) -> Result<Self, FhirError> {
        let server = server(&settings, world, &health)?;
        let engine = Engine { settings, server, sink, health, version: FhirVersion::R4, capabilities: None };
        Ok(Self {
            engine,
            types: Vec::new(),
            poked: Arc::new(Notify::new()),
            discover: Timestamp::MIN,
            export: Some(Timestamp::MIN),
            exporting: false,
        })
    }

    /// A handle that triggers polls.
    #[must_use]
    pub fn poke_handle(&self) -> Poke {
        Poke(Arc::clone(&self.poked))
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.engine.health.snapshot()
    }

    /// Who keeps what is fetched.
    pub fn sink(&self) -> &S {
        &self.engine.sink
    }

    /// Polls until it is told to stop. Pages that were given to the keeper are whole then.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut spaced = tokio::time::Instant::now();
        while !stop.is_cancelled() {
            tokio::time::sleep_until(spaced).await;
            spaced = tokio::time::Instant::now() + self.engine.settings.limits.poke_spacing;
            let next = self.round(&stop).await;
            let wait = until(self.engine.now(), next);
            if wait.is_zero() {
                // Pages wait: no spacing.
                spaced = tokio::time::Instant::now();
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.poked.notified() => self.hurry(),
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.engine.health.update(|status| status.state = State::Stopped);
    }

    /// Makes every type due that does not read everything each time.
    pub fn hurry(&mut self) {
        let now = self.engine.now();
        for work in self.types.iter_mut().filter(|work| !work.note.asks.reads_everything()) {
            work.due = work.due.min(now);
        }
    }

    /// One round over all that is due. Gives the time of the next.
    pub async fn round(&mut self, stop: &CancellationToken) -> Timestamp {
        self.engine.server.wire.stop = stop.clone();
        if let Some(until) = self.engine.server.resting() {
            return until;
        }
        self.engine.server.wire.renew();
        let outcome = self.work().await;
        let now = self.engine.now();
        if let Err(error) = outcome
            && !matches!(error, FhirError::Stopped)
        {
            let refused = error.is_refusal();
            self.failed(None, &error);
            self.engine.health.update(|status| {
                if status.state != State::Resting {
                    status.state = if refused { State::Refused } else { State::Failing };
                }
            });
            let pause = self.engine.settings.interval;
            return self.engine.server.resting().unwrap_or_else(|| later(now, pause));
        }
        self.show(now);
        if let Some(until) = self.engine.server.resting() {
            return until;
        }
        let waiting = self.types.iter().filter(|work| !(self.exporting && work.note.loaded.is_none()));
        let types = waiting.map(|work| if work.more { now } else { work.due }).min();
        let export = self.export.filter(|_| self.exporting);
        types.into_iter().chain(export).min().unwrap_or_else(|| later(now, self.engine.settings.interval))
    }

    async fn work(&mut self) -> Result<(), FhirError> {
        if self.types.is_empty() {
            let mut types = Vec::new();
            for name in &self.engine.settings.resources {
                types.push(self.engine.recall(name).await?);
            }
            self.types = types;
        }
        let now = self.engine.now();
        if self.discover <= now {
            match self.engine.discover().await {
                Ok(()) => self.discover = later(now, BELIEVED),
                // Who may not see that may see the rest; what may not is said when it is asked for.
                Err(error) if error.concern() != Concern::Type && !matches!(error, FhirError::Unauthorized { .. }) => {
                    return Err(error);
                }
                // Its CapabilityStatement is out of order; the rest may not be.
                Err(error) => {
                    self.failed(None, &error);
                    self.engine.health.remark(None, Remark::NoCapabilities);
                    self.engine.health.update(|status| status.fhir_version = Some(self.engine.version));
                    self.engine.capabilities.get_or_insert_with(Capabilities::default);
                    self.discover = later(now, LONGEST_PAUSE);
                }
            }
        }
        if self.export.is_some_and(|due| due <= now) {
            match self.engine.export(&mut self.types).await? {
                Exporting::Over => (self.export, self.exporting) = (None, false),
                Exporting::Wait(wait) => {
                    (self.export, self.exporting) = (Some(later(self.engine.now(), wait)), true);
                }
            }
        }
        let mut worked = false;
        for index in 0..self.types.len() {
            let exporting = self.exporting;
            let Some(work) = self.types.get_mut(index) else { break };
            if !(work.more || work.due <= self.engine.now()) || exporting && work.note.loaded.is_none() {
                continue;
            }
            worked = true;
            let began = self.engine.now();
            let done = one_type(&self.engine, work).await;
            let settings = &self.engine.settings;
            match done {
                Ok(()) => {
                    let scans = work.note.asks.reads_everything();
                    work.failures = 0;
                    work.due = later(began, if scans { settings.scan_interval } else { settings.interval });
                    if !work.more {
                        let now = self.engine.now();
                        self.engine.health.update_type(&work.name, |status| {
                            status.last_success = Some(now);
                            status.up_to_date = Some(began);
                            status.last_error = None;
                            status.passes += 1;
                        });
                    }
                }
                Err(error) => {
                    work.more = false;
                    work.failures = work.failures.saturating_add(1);
                    // What may be over in a moment is tried at the usual time: a server that is down rests as a whole.
                    let longer = if error.is_transient() { 0 } else { work.failures.min(10) };
                    let pause = settings.interval.saturating_mul(1 << longer).min(LONGEST_PAUSE);
                    work.due = later(self.engine.now(), pause.max(settings.interval));
                    let name = work.name.clone();
                    if matches!(error, FhirError::Stopped) {
                        return Err(error);
                    }
                    self.failed(Some(&name), &error);
                    if error.concern() != Concern::Type {
                        return Err(error);
                    }
                }
            }
        }
        if worked {
            match self.engine.references().await {
                Ok(_) => {}
                Err(error) if error.concern() == Concern::Type => self.failed(None, &error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn failed(&self, resource_type: Option<&str>, error: &FhirError) {
        // That a server is left alone is no news: what made it so is told.
        if matches!(error, FhirError::Resting { .. }) {
            return;
        }
        let failure = Failure { at: self.engine.now(), kind: error.kind().into(), text: error.to_string() };
        let source = &self.engine.settings.source;
        tracing::warn!(source, resource_type, %error, "polling a FHIR server failed; it will be tried again");
        self.engine.health.update(|status| {
            if let Some(name) = resource_type {
                let status = status.types.entry(name.to_owned()).or_default();
                status.state = if error.is_refusal() { State::Refused } else { State::Failing };
                status.last_error = Some(failure.clone());
            }
            status.last_error = Some(failure);
        });
    }

    /// Brings the states up to date after a round.
    fn show(&self, now: Timestamp) {
        self.engine.health.update(|status| {
            for work in &self.types {
                let Some(shown) = status.types.get_mut(&work.name) else { continue };
                if work.failures > 0 {
                    continue;
                }
                let asks = &work.note.asks;
                let lesser = asks.reads_everything() || asks.per_patient || !asks.sort || !asks.ordered;
                shown.state = match work.note.loaded {
                    None => State::Loading,
                    Some(_) if lesser => State::Degraded,
                    Some(_) => State::Polling,
                };
            }
            let has = |state| status.types.values().any(|shown| shown.state == state);
            status.state = [State::Refused, State::Failing, State::Loading, State::Degraded]
                .into_iter()
                .find(|&state| has(state))
                .unwrap_or(State::Polling);
            if self.types.iter().all(|work| work.failures == 0) {
                status.last_success = Some(now);
            }
        });
    }
}

/// What is due for a type: a pass or a turn of it, and a look for deletions.
async fn one_type<S: Sink>(engine: &Engine<S>, work: &mut TypeWork) -> Result<(), FhirError> {
    work.more = false;
    let now = engine.now();
    let idle = work.note.track.pass.is_none() && work.note.roster.is_none();
    if idle && work.note.asks.changed.is_some_and(|changed| later(changed, BELIEVED) <= now) {
        // A better server may have been installed.
        work.note.asks = Asks::default();
        engine.health.update_type(&work.name, |status| status.remarks.clear());
    }
    if engine.settings.search == SearchMode::PerPatient && work.name != "Patient" {
        work.note.asks.per_patient = true;
    }
    // A history that cannot be had must not stand in the way of what a search gives.
    let (told, failure) = match engine.search_by_history(work).await {
        Ok(told) => (told, None),
        Err(error) if error.concern() != Concern::Type => return Err(error),
        Err(error) => (false, Some(error)),
    };
    let mut turn = engine.settings.limits.turn.max(1);
    let mut done = true;
    if !told && !work.note.asks.per_patient {
        let name = work.name.clone();
        let mut track = std::mem::take(&mut work.note.track);
        let read = engine.pass(&name, None, work, &mut track, &mut turn).await;
        work.note.track = track;
        done = match read? {
            Turn::Done => {
                if let Some(scan) = work.scan.take() {
                    work.note.scanned = Some(engine.now());
                    engine.compare(work, scan).await?;
                }
                true
            }
            Turn::More => false,
            Turn::PerPatient => {
                engine.keep_type(work).await?;
                true
            }
        };
    }
    if work.note.asks.per_patient {
        done = patients(engine, work, &mut turn).await?;
    }
    if let Some(error) = failure {
        return Err(error);
    }
    if !done {
        work.more = true;
        return Ok(());
    }
    work.searched = !told;
    if work.note.loaded.is_none() {
        work.note.loaded = Some(engine.now());
        engine.keep_type(work).await?;
        engine.health.update_type(&work.name, |status| status.load_finished = work.note.loaded);
    }
    engine.deletions(work).await
}

/// Asks patient by patient, each from its own mark. True: the roster is through.
async fn patients<S: Sink>(engine: &Engine<S>, work: &mut TypeWork, turn: &mut u32) -> Result<bool, FhirError> {
    let mut left = engine.settings.limits.patients.max(1);
    let mut through = false;
    while left > 0 && *turn > 0 && !through {
        let limit = ROSTER.min(left);
        let roster = engine.sink.roster(work.note.roster.as_deref(), limit).await?;
        through = roster.len() < limit;
        for patient in roster {
            left = left.saturating_sub(1);
            if is_id(&patient) {
                let name = work.name.clone();
                let mut track: Track = read(engine.sink.note(&patient_key(&name, &patient)).await?.as_deref());
                // Requests that find nothing are cheap: a turn counts pages of one patient.
                let mut pages = engine.settings.limits.turn.max(1);
                let read = engine.pass(&name, Some(&patient), work, &mut track, &mut pages).await?;
                if read == Turn::More {
                    *turn = 0;
                    through = false;
                    break;
                }
                newest(engine, &name, track.mark.as_ref());
            }
            work.note.roster = Some(patient);
        }
    }
    if through {
        work.note.roster = None;
    }
    engine.keep_type(work).await?;
    Ok(through)
}

/// Of many marks the newest is shown.
fn newest<S: Sink>(engine: &Engine<S>, name: &str, mark: Option<&Instant>) {
    let Some(mark) = mark else { return };
    engine.health.update_type(name, |status| {
        if status.mark_time.is_none_or(|shown| shown < mark.time()) {
            status.mark = Some(mark.text().to_owned());
            status.mark_time = Some(mark.time());
        }
    });
}
