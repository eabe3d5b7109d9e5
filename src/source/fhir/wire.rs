//! One HTTP request with its answer: bounded in bytes and time, on one origin, told without its values.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderValue};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Method, StatusCode, Url};
use tokio_util::sync::CancellationToken;

use super::error::FhirError;
use super::settings::Limits;
use super::status::{Health, Remark};
use super::world::World;
use crate::tls::{self, ClientFiles, TlsError};
use crate::web::{self, Stamp, http_date, stamps};

/// Redirects followed on one origin.
const REDIRECTS: usize = 5;

/// A difference of clocks that is worth a word.
const SKEW: i64 = 30;

/// What is asked.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Vec<u8>>,
    /// Method and URL for people.
    pub(super) place: String,
}

impl Call {
    pub(super) fn get(url: Url, place: String) -> Self {
        Self { method: Method::GET, url, headers: HeaderMap::new(), body: None, place }
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// Where it came from: redirects on the origin were followed.
    pub(super) url: Url,
    /// The server's clock.
    pub(super) date: Option<Timestamp>,
    pub(super) place: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The failure that this status is.
    pub(super) fn failure(&self) -> FhirError {
        let place = self.place.clone();
        match self.status {
            StatusCode::UNAUTHORIZED => FhirError::Unauthorized { place },
            StatusCode::FORBIDDEN => FhirError::Forbidden { place },
            status if status.is_redirection() => FhirError::Redirected { place },
            status => FhirError::Status { place, status: status.as_u16(), issues: super::bundle::issues(&self.body) },
        }
    }

    /// Whether it is a page for people: then its status says nothing of a resource.
    pub(super) fn is_html(&self) -> bool {
        let typed = self.header(CONTENT_TYPE.as_str()).is_some_and(|text| text.contains("html"));
        typed || super::bundle::trimmed(&self.body).starts_with(b"<")
    }
}

/// The HTTP client of a source, with its bounds.
pub(super) struct Wire {
    client: Mutex<(Client, Vec<Stamp>)>,
    tls: ClientFiles,
    secure: bool,
    pub(super) limits: Limits,
    pub(super) world: World,
    pub(super) health: Health,
    pub(super) stop: CancellationToken,
}

impl Wire {
    /// `secure`: whether any URL is `https`; without, no authority is needed.
    pub(super) fn new(
        tls: &ClientFiles,
        secure: bool,
        limits: Limits,
        world: World,
        health: Health,
    ) -> Result<Self, FhirError> {
        let client = Mutex::new((client(tls, secure, limits)?, stamps(tls)));
        Ok(Self { client, tls: tls.clone(), secure, limits, world, health, stop: CancellationToken::new() })
    }

    /// Takes up renewed certificates. What cannot be used is told, and those before stay.
    pub(super) fn renew(&self) {
        let mut held = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = stamps(&self.tls);
        if seen == held.1 {
            return;
        }
        match client(&self.tls, self.secure, self.limits) {
            Ok(client) => *held = (client, seen),
            Err(error) => tracing::warn!(%error, "the renewed certificate is not usable yet; the one before stays"),
        }
    }

    /// Sends a request and reads all of the answer, whatever its status.
    pub(super) async fn once(&self, call: &Call) -> Result<Answer, FhirError> {
        let work = async {
            let started = self.world.now();
            let response = self.open(call, Some(self.limits.request)).await?;
            let (status, headers, url) = (response.status(), response.headers().clone(), response.url().clone());
            let date = self.date(&headers, started);
            let mut body = Body { response, place: call.place.clone(), limit: self.limits.page_bytes, read: 0 };
            let mut bytes = Vec::new();
            while let Some(chunk) = body.next().await? {
                bytes.extend_from_slice(&chunk);
            }
            self.health.update(|status| status.bytes += bytes.len() as u64);
            Ok(Answer { status, headers, body: bytes, url, date, place: call.place.clone() })
        };
        self.unless_stopped(work).await
    }

    /// Sends a request whose answer is read piece by piece; a status that is no success is read at once and given as failure.
    pub(super) async fn stream(&self, call: &Call) -> Result<Body, FhirError> {
        let work = async {
            let response = self.open(call, None).await?;
            let (status, headers, url) = (response.status(), response.headers().clone(), response.url().clone());
            let mut body = Body { response, place: call.place.clone(), limit: usize::MAX, read: 0 };
            if status.is_success() {
                return Ok(body);
            }
            body.limit = self.limits.page_bytes;
            let mut bytes = Vec::new();
            while let Some(chunk) = body.next().await? {
                bytes.extend_from_slice(&chunk);
            }
            Err(Answer { status, headers, body: bytes, url, date: None, place: call.place.clone() }.failure())
        };
        self.unless_stopped(work).await
    }

    /// Waits, unless it is to stop.
    pub(super) async fn pause(&self, wait: Duration) -> Result<(), FhirError> {
        self.unless_stopped(async {
            tokio::time::sleep(wait).await;
            Ok(())
        })
        .await
    }

    pub(super) async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = Result<T, FhirError>>,
    ) -> Result<T, FhirError> {
        self.stop.run_until_cancelled(work).await.unwrap_or(Err(FhirError::Stopped))
    }

    async fn open(&self, call: &Call, whole: Option<Duration>) -> Result<reqwest::Response, FhirError> {
        self.health.update(|status| status.requests += 1);
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner).0.clone();
        let mut request = client.request(call.method.clone(), call.url.clone()).headers(call.headers.clone());
        if let Some(body) = &call.body {
            request = request.body(body.clone());
        }
        if let Some(whole) = whole {
            request = request.timeout(whole);
        }
        request.send().await.map_err(|error| failure(&error, &call.place))
    }

    /// The server's clock, compared with ours.
    fn date(&self, headers: &HeaderMap, started: Timestamp) -> Option<Timestamp> {
        let date = http_date(headers.get(DATE)?.to_str().ok()?)?;
        let (earliest, latest) = (started.as_second(), self.world.now().as_second());
        let skew = match date.as_second() {
            early if early < earliest => early - earliest,
            late if late > latest => late - latest,
            _ => 0,
        };
        self.health.update(|status| status.clock_skew = Some(skew));
        if skew.abs() > SKEW {
            self.health.remark(None, Remark::ClockSkew);
        }
        Some(date)
    }
}

/// An answer that is read piece by piece.
pub(super) struct Body {
    response: reqwest::Response,
    place: String,
    limit: usize,
    read: usize,
}

impl Body {
    pub(super) async fn next(
        &mut self,
    ) -> Result<Option<impl AsRef<[u8]> + std::ops::Deref<Target = [u8]> + use<>>, FhirError> {
        let chunk = self.response.chunk().await.map_err(|error| {
            if error.is_timeout() {
                FhirError::Timeout { place: self.place.clone() }
            } else {
                FhirError::Interrupted { place: self.place.clone() }
            }
        })?;
        self.read = self.read.saturating_add(chunk.as_ref().map_or(0, |chunk| chunk.len()));
        if self.read > self.limit {
            return Err(FhirError::TooLarge { place: self.place.clone(), limit: self.limit });
        }
        Ok(chunk)
    }
}

fn client(tls: &ClientFiles, secure: bool, limits: Limits) -> Result<Client, FhirError> {
    let trust = match tls::client_config(tls) {
        Err(TlsError::NoRoots) if !secure => tls::plain_client_config()?,
        trust => trust?,
    };
    let redirects = Policy::custom(|attempt: Attempt<'_>| {
        // Credentials travel with a redirect: it must stay where they were meant for.
        let stays = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
        if stays && attempt.previous().len() <= REDIRECTS { attempt.follow() } else { attempt.stop() }
    });
    Client::builder()
        .tls_backend_preconfigured((*trust).clone())
        .no_proxy()
        .user_agent(web::USER_AGENT)
        .connect_timeout(limits.connect)
        .read_timeout(limits.idle)
        .redirect(redirects)
        .referer(false)
        .build()
        .map_err(|_| FhirError::Settings("no HTTP client can be set up with these TLS files".to_owned()))
}

/// reqwest's errors quote URLs; of them only the innermost cause is told.
fn failure(error: &reqwest::Error, place: &str) -> FhirError {
    let place = place.to_owned();
    if error.is_connect() {
        let reason = if error.is_timeout() { "not done in time".to_owned() } else { web::cause(error) };
        return FhirError::Connect { place, reason };
    }
    if error.is_timeout() { FhirError::Timeout { place } } else { FhirError::Interrupted { place } }
}
