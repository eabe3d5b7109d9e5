//! The server as the rest of the client sees it: an answer, or a failure that was worth telling.
//!
//! Repeats what may go better at once, renews a token once, obeys `Retry-After`, and leaves a server alone that keeps failing (circuit
//! breaker): while it rests nothing is sent, then one request shows whether it is back.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{StatusCode, Url};

use super::address::Base;
use super::auth::Authenticator;
use super::error::FhirError;
use super::settings::Settings;
use super::status::State;
use super::wire::{Answer, Body, Call, Wire};
use super::world::later;
use crate::web::retry_after;

/// A FHIR server.
pub(super) struct Server {
    pub(super) base: Base,
    pub(super) wire: Wire,
    auth: Authenticator,
    breaker: Mutex<Breaker>,
}

#[derive(Debug, Default)]
struct Breaker {
    /// Failures since the last success.
    failures: u32,
    resting: Option<Timestamp>,
}

/// One request with its repeats.
struct Attempts {
    made: u32,
    wait: Duration,
    renewed: bool,
}

impl Server {
    pub(super) fn new(settings: &Settings, wire: Wire) -> Result<Self, FhirError> {
        Ok(Self {
            base: Base::new(&settings.base_url, settings.rebase_links)?,
            wire,
            auth: Authenticator::new(&settings.auth)?,
            breaker: Mutex::default(),
        })
    }

    /// Reads a URL of the server, with the headers of every FHIR request.
    pub(super) async fn get(&self, url: Url) -> Result<Answer, FhirError> {
        self.exchange(self.question(url)).await
    }

    /// A GET as every FHIR request begins.
    pub(super) fn question(&self, url: Url) -> Call {
        let place = self.base.place("GET", &url);
        Call::get(url, place)
            .with("accept", "application/fhir+json, application/json;q=0.9")
            // HAPI answers a repeated search from its cache for a minute otherwise.
            .with("cache-control", "no-cache")
            // So that a parameter that is not understood is an error, and not ignored.
            .with("prefer", "handling=strict")
    }

    /// Until when nothing is sent.
    pub(super) fn resting(&self) -> Option<Timestamp> {
        let breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        breaker.resting.filter(|&until| self.wire.world.now() < until)
    }

    /// Sends a request, and again where that may help. Any status but 401, 429, 3xx and 5xx comes back as an answer.
    pub(super) async fn exchange(&self, call: Call) -> Result<Answer, FhirError> {
        let mut attempts = self.attempts()?;
        loop {
            match self.whole(&call).await {
                Ok(answer) => {
                    self.well();
                    return Ok(answer);
                }
                Err(error) => self.go_on(&mut attempts, error).await?,
            }
        }
    }

    /// Sends a request whose answer is read piece by piece.
    pub(super) async fn stream(&self, call: Call) -> Result<Body, FhirError> {
        let mut attempts = self.attempts()?;
        loop {
            match self.pieces(&call).await {
                Ok(body) => {
                    self.well();
                    return Ok(body);
                }
                Err(error) => self.go_on(&mut attempts, error).await?,
            }
        }
    }

    async fn whole(&self, call: &Call) -> Result<Answer, FhirError> {
        let answer = self.wire.once(&self.authorized(call).await?).await?;
        match answer.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Err(self.busy(answer.status, &answer.headers, answer.date, &call.place))
            }
            // 501 is an answer: it will not become better.
            status if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => Err(answer.failure()),
            status if status == StatusCode::UNAUTHORIZED || is_redirect(status) => Err(answer.failure()),
            _ => Ok(answer),
        }
    }

    async fn pieces(&self, call: &Call) -> Result<Body, FhirError> {
        self.wire.stream(&self.authorized(call).await?).await
    }

    fn attempts(&self) -> Result<Attempts, FhirError> {
        match self.resting() {
            Some(until) => Err(FhirError::Resting { until }),
            None => Ok(Attempts { made: 1, wait: self.wire.limits.backoff, renewed: false }),
        }
    }

    /// After a failure: waits, if another attempt may help, or gives the failure back.
    async fn go_on(&self, attempts: &mut Attempts, error: FhirError) -> Result<(), FhirError> {
        let limits = self.wire.limits;
        if !matches!(error, FhirError::Stopped) {
            self.wire.health.count(&error);
        }
        let pause = match &error {
            FhirError::Unauthorized { .. } if !attempts.renewed && self.auth.renews() => {
                attempts.renewed = true;
                self.auth.forget();
                return Ok(());
            }
            FhirError::Busy { wait, .. } => Some(*wait),
            error if error.is_transient() => {
                let pause = self.wire.world.jittered(attempts.wait);
                attempts.wait = attempts.wait.saturating_mul(2);
                Some(pause)
            }
            _ => None,
        };
        match pause.filter(|&pause| attempts.made < limits.attempts && pause <= limits.patience) {
            Some(pause) => {
                attempts.made += 1;
                self.wire.pause(pause).await
            }
            None => {
                self.ill(&error);
                Err(error)
            }
        }
    }

    async fn authorized(&self, call: &Call) -> Result<Call, FhirError> {
        let mut call = call.clone();
        // Only ever for the configured origin: links elsewhere are not followed at all.
        if call.url.origin() == self.base.url().origin()
            && let Some(value) = self.auth.header(&self.wire, &self.base).await?
        {
            call.headers.insert(AUTHORIZATION, value);
        }
        Ok(call)
    }

    fn busy(&self, status: StatusCode, headers: &HeaderMap, date: Option<Timestamp>, place: &str) -> FhirError {
        let (limits, world) = (&self.wire.limits, &self.wire.world);
        let asked = retry_after(headers, date.unwrap_or_else(|| world.now()));
        let wait = match asked {
            Some(wait) => wait.min(limits.longest_retry_after),
            None => world.jittered(limits.backoff),
        };
        FhirError::Busy { place: place.to_owned(), status: status.as_u16(), wait }
    }

    fn well(&self) {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        if breaker.failures > 0 || breaker.resting.is_some() {
            *breaker = Breaker::default();
            self.wire.health.update(|status| status.resting_until = None);
        }
    }

    fn ill(&self, error: &FhirError) {
        let (limits, world) = (&self.wire.limits, &self.wire.world);
        let counts = error.is_transient() || error.is_refusal() && !matches!(error, FhirError::Forbidden { .. });
        let asked = match error {
            FhirError::Busy { wait, .. } => Some(*wait),
            _ => None,
        };
        if !counts && asked.is_none() {
            return;
        }
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        breaker.failures = breaker.failures.saturating_add(1);
        let over = breaker.failures.saturating_sub(limits.breaker);
        let own = (breaker.failures >= limits.breaker)
            .then(|| world.jittered(limits.rest.saturating_mul(1 << over.min(16)).min(limits.longest_rest)));
        let Some(rest) = own.max(asked) else { return };
        let until = later(world.now(), rest.max(Duration::from_millis(1)));
        breaker.resting = Some(until);
        self.wire.health.update(|status| {
            status.resting_until = Some(until);
            status.state = State::Resting;
        });
    }
}

fn is_redirect(status: StatusCode) -> bool {
    status.is_redirection() && status != StatusCode::NOT_MODIFIED
}
