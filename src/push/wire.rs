//! One event posted, and what came of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};

use super::sign::{SecretError, Secrets};
use super::target::{Resolver, TargetError};
use super::{Settings, Url};
use crate::feed::Event;
use crate::tls::{self, TlsError};
use crate::web::{self, Stamp};

/// Until a connection stands: receivers are near.
const CONNECT: Duration = Duration::from_secs(5);

/// What is read of an answer, so that the connection can be used again; its content says nothing.
const ANSWER_BYTES: usize = 64 * 1024;

/// How long is read for that.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// Media type of an event (CloudEvents 1.0, JSON format, 3: structured mode).
const MEDIA_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// Why a consumer cannot be pushed to.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// Its secrets.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Its address.
    #[error("webhook.url: {0}")]
    Target(#[from] TargetError),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The client.
    #[error("no HTTP client can be set up with these TLS files")]
    Client,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// 2xx.
    Taken,
    /// Anything else.
    Failed(Failed),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    /// For people; without URL or body.
    pub(super) reason: String,
    /// Nobody could be reached: nothing of the event has left.
    pub(super) is_unreachable: bool,
    /// The wait that the receiver asks for.
    pub(super) retry_after: Option<Duration>,
}

/// Posts events to one address.
pub(super) struct Wire {
    settings: Settings,
    held: Mutex<Held>,
}

struct Held {
    client: Client,
    certificates: Vec<Stamp>,
    secrets: Arc<Secrets>,
    secret: Stamp,
    /// Why renewed files cannot be used, as it was last logged.
    complaint: Option<String>,
}

impl Wire {
    pub(super) fn new(settings: &Settings) -> Result<Self, PushError> {
        settings.allowed.check(&settings.url)?;
        // Before reading, so that a change in between is seen at the next look.
        let (certificates, secret) = (web::stamps(&settings.tls), web::stamp(&settings.secret_file));
        let secrets = Arc::new(Secrets::read(&settings.secret_file)?);
        let held = Held { client: client(settings)?, certificates, secrets, secret, complaint: None };
        Ok(Self { settings: settings.clone(), held: Mutex::new(held) })
    }

    /// Posts one event; its id is the message's, so a repeat can be told.
    pub(super) async fn post(&self, event: &Event) -> Outcome {
        let Ok(body) = serde_json::to_vec(event) else {
            return failed("the event that is stored cannot be written as JSON", false);
        };
        let (client, secrets) = self.renewed();
        let timestamp = Timestamp::now().as_second();
        let signature = secrets.signature(&event.id, timestamp, &body);
        let request = client
            .post(self.settings.url.clone())
            .timeout(self.settings.timeout)
            .header(CONTENT_TYPE, MEDIA_TYPE)
            .header("webhook-id", &event.id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(body);
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_timeout() => return failed("not answered in time", error.is_connect()),
            Err(error) if error.is_connect() => return failed(&web::cause(&error), true),
            Err(_) => return failed("the connection ended before an answer", false),
        };
        let status = response.status();
        let retry_after = web::retry_after(response.headers(), Timestamp::now());
        let drain = async {
            let mut read = 0;
            while let Ok(Some(chunk)) = response.chunk().await {
                read += chunk.len();
                if read > ANSWER_BYTES {
                    return;
                }
            }
        };
        // The status has decided; an answer that does not end costs a connection and nothing else.
        let _ = tokio::time::timeout(ANSWER_TIME, drain).await;
        if status.is_success() {
            return Outcome::Taken;
        }
        let mut reason = format!("HTTP {}", status.as_u16());
        if status.is_redirection() {
            reason.push_str(" (redirects are not followed)");
        }
        let waits = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        let longest = self.settings.limits.longest_retry_after;
        let retry_after = retry_after.filter(|_| waits).map(|wait| wait.min(longest));
        Outcome::Failed(Failed { reason, is_unreachable: false, retry_after })
    }

    /// Client and secrets as their files are now. What cannot be used is told, and those before stay.
    fn renewed(&self) -> (Client, Arc<Secrets>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (certificates, secret) = (web::stamps(&self.settings.tls), web::stamp(&self.settings.secret_file));
        if (&certificates, secret) != (&held.certificates, held.secret) {
            let renewed = Secrets::read(&self.settings.secret_file).map_err(PushError::from);
            match renewed.and_then(|secrets| Ok((secrets, client(&self.settings)?))) {
                Ok((secrets, client)) => {
                    *held = Held { client, certificates, secrets: Arc::new(secrets), secret, complaint: None };
                    tracing::info!(consumer = self.settings.consumer.name, "secrets and certificates renewed");
                }
                // Rights are often given after: the next look tries again.
                Err(error) => {
                    let complaint = Some(error.to_string());
                    if held.complaint != complaint {
                        let consumer = self.settings.consumer.name.as_str();
                        tracing::warn!(consumer, %error, "a renewed file is not usable yet; what was before stays");
                        held.complaint = complaint;
                    }
                }
            }
        }
        (held.client.clone(), Arc::clone(&held.secrets))
    }
}

fn failed(reason: &str, is_unreachable: bool) -> Outcome {
    Outcome::Failed(Failed { reason: reason.to_owned(), is_unreachable, retry_after: None })
}

fn client(settings: &Settings) -> Result<Client, PushError> {
    let trust = match tls::client_config(&settings.tls) {
        Err(TlsError::NoRoots) if settings.url.scheme() == "http" => tls::plain_client_config()?,
        trust => trust?,
    };
    Client::builder()
        .tls_backend_preconfigured((*trust).clone())
        .no_proxy()
        .user_agent(web::USER_AGENT)
        .connect_timeout(CONNECT)
        .redirect(Policy::none())
        .referer(false)
        .dns_resolver(Arc::new(Resolver::new(&settings.allowed, &settings.url)))
        .build()
        .map_err(|_| PushError::Client)
}

/// Where a URL leads, without its path and query: those may hold secrets.
pub(super) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}
