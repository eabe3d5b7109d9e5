//! Who the client is: the `Authorization` of a request, from files that may change and tokens that expire.
//!
//! A secret is read when it is needed, kept only in memory, and never printed. A client secret goes only to the `token_url` of the
//! configuration; a discovered token URL gets nothing but an assertion, which is made out to it.

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;

use super::address::Base;
use super::assertion::SigningKey;
use super::error::FhirError;
use super::settings::{Auth, SecretStyle};
use super::wire::{Answer, Call, Wire};
use super::world::later;

/// A token without `expires_in` is thought to live as long as SMART recommends at most.
const DEFAULT_LIFE: Duration = Duration::from_secs(300);

/// A token is renewed when this part of its life is left, so that none expires on its way.
const RENEW_AT: u32 = 5;

/// The largest secret file that is taken: a token, not the wrong file.
const SECRET_BYTES: u64 = 64 * 1024;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

/// An access token with its end.
#[derive(Debug, Clone)]
struct Token {
    text: Secret,
    renew: Timestamp,
}

/// The credentials of a source.
#[derive(Debug)]
pub(super) struct Authenticator {
    auth: Auth,
    token: Mutex<Option<Token>>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    token_type: Option<String>,
    expires_in: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct TokenError {
    error: String,
}

#[derive(Deserialize)]
struct SmartConfiguration {
    token_endpoint: String,
}

impl Authenticator {
    /// Files are looked at now, so that a wrong path is found at the start and not at night.
    pub(super) fn new(auth: &Auth) -> Result<Self, FhirError> {
        match auth {
            Auth::None => {}
            Auth::Basic { password_file: file, .. }
            | Auth::Bearer { token_file: file }
            | Auth::ClientCredentials { secret_file: file, .. } => {
                secret(file)?;
            }
            Auth::SmartBackend { key_file, .. } => {
                SigningKey::read(key_file)?;
            }
        }
        Ok(Self { auth: auth.clone(), token: Mutex::new(None) })
    }

    /// Whether a refused token can be replaced by another: by asking, or because somebody may have renewed the file.
    pub(super) fn renews(&self) -> bool {
        !matches!(self.auth, Auth::None)
    }

    /// Drops the token, so that the next request asks for one.
    pub(super) fn forget(&self) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What a request to the server bears.
    pub(super) async fn header(&self, wire: &Wire, base: &Base) -> Result<Option<HeaderValue>, FhirError> {
        let text = match &self.auth {
            Auth::None => return Ok(None),
            Auth::Basic { user, password_file } => {
                let Secret(password) = secret(password_file)?;
                format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
            }
            Auth::Bearer { token_file } => {
                let Secret(token) = secret(token_file)?;
                format!("Bearer {token}")
            }
            Auth::ClientCredentials { .. } | Auth::SmartBackend { .. } => {
                let held = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let token = match held {
                    Some(token) if wire.world.now() < token.renew => token,
                    _ => self.ask(wire, base).await?,
                };
                format!("Bearer {}", token.text.0)
            }
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            FhirError::Settings("auth: a secret holds characters that no HTTP header can bear".to_owned())
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    async fn ask(&self, wire: &Wire, base: &Base) -> Result<Token, FhirError> {
        let (url, form, basic) = match &self.auth {
            Auth::ClientCredentials { token_url, client_id, secret_file, scope, style } => {
                let Secret(secret) = secret(secret_file)?;
                let mut form = vec![("grant_type", "client_credentials".to_owned())];
                form.extend(scope.clone().map(|scope| ("scope", scope)));
                let basic = match style {
                    // Both halves are form-encoded first (RFC 6749 §2.3.1).
                    SecretStyle::Basic => Some(format!("{}:{}", encoded(client_id), encoded(&secret))),
                    SecretStyle::Post => {
                        form.push(("client_id", client_id.clone()));
                        form.push(("client_secret", secret));
                        None
                    }
                };
                (token_url.clone(), form, basic)
            }
            Auth::SmartBackend { token_url, client_id, key_file, key_id, scope } => {
                let url = match token_url {
                    Some(url) => url.clone(),
                    None => discover(wire, base).await?,
                };
                let now = wire.world.now().as_second();
                let assertion = SigningKey::read(key_file)?.assertion(
                    client_id,
                    key_id,
                    url.as_str(),
                    now,
                    &wire.world.unique(),
                )?;
                let form = vec![
                    ("grant_type", "client_credentials".to_owned()),
                    ("scope", scope.clone()),
                    ("client_assertion_type", ASSERTION_TYPE.to_owned()),
                    ("client_assertion", assertion),
                ];
                (url, form, None)
            }
            Auth::None | Auth::Basic { .. } | Auth::Bearer { .. } => {
                return Err(FhirError::Settings("auth: this kind asks for no token".to_owned()));
            }
        };
        let place = format!("POST token endpoint at {}", url.origin().ascii_serialization());
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        if let Some(pair) = basic
            && let Ok(mut value) = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair)))
        {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let body: Vec<String> = form.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let body = Some(body.join("&").into_bytes());
        let call = Call { method: Method::POST, url, headers, body, place };
        let token = token(&wire.once(&call).await?, wire.world.now())?;
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(token)
    }
}

/// The token URL that the server publishes.
async fn discover(wire: &Wire, base: &Base) -> Result<Url, FhirError> {
    let url = base.at(".well-known/smart-configuration", "");
    let call = Call::get(url, "GET .well-known/smart-configuration".to_owned()).with("accept", "application/json");
    let answer = wire.once(&call).await?;
    if !answer.status.is_success() {
        return Err(answer.failure());
    }
    let place = answer.place.clone();
    let found = serde_json::from_slice::<SmartConfiguration>(&answer.body)
        .ok()
        .and_then(|configuration| answer.url.join(&configuration.token_endpoint).ok())
        // A server that is asked over TLS must not send the assertion over the open net.
        .filter(|url| url.scheme() == "https" || url.scheme() == base.url().scheme() && url.scheme() == "http");
    found.ok_or(FhirError::NotFhir { place, what: "no SMART configuration with a token endpoint" })
}

fn token(answer: &Answer, now: Timestamp) -> Result<Token, FhirError> {
    let refused = |reason: String| FhirError::Token { place: answer.place.clone(), reason };
    if !answer.status.is_success() {
        if answer.status.is_server_error() || answer.status.as_u16() == 429 {
            return Err(answer.failure());
        }
        // `error` is a word of RFC 6749 §5.2; `error_description` may say anything and is left out.
        let word = serde_json::from_slice::<TokenError>(&answer.body).ok().map(|body| body.error);
        let word =
            word.filter(|word| word.len() <= 40 && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
        let status = answer.status.as_u16();
        return Err(refused(word.map_or_else(|| status.to_string(), |word| format!("{status} {word}"))));
    }
    let Ok(body) = serde_json::from_slice::<TokenAnswer>(&answer.body) else {
        return Err(refused("the answer holds none".to_owned()));
    };
    if body.token_type.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err(refused("it is no bearer token".to_owned()));
    }
    let seconds = body.expires_in.as_ref().and_then(|life| match life {
        serde_json::Value::String(text) => text.parse().ok(),
        number => number.as_u64(),
    });
    let life = seconds.map_or(DEFAULT_LIFE, Duration::from_secs);
    let renew = later(now, life - life / RENEW_AT);
    Ok(Token { text: Secret(body.access_token), renew })
}

fn secret(file: &Path) -> Result<Secret, FhirError> {
    let refused = |reason: String| FhirError::SecretFile { file: file.to_owned(), reason };
    let length = std::fs::metadata(file).map_err(|error| refused(format!("cannot be read ({error})")))?.len();
    if length > SECRET_BYTES {
        return Err(refused(
            "is too large to hold a secret; give the path of a file with nothing else in it".to_owned(),
        ));
    }
    let text = std::fs::read_to_string(file).map_err(|error| refused(format!("cannot be read ({error})")))?;
    let text = text.trim();
    if text.is_empty() {
        return Err(refused("is empty; put the secret into it".to_owned()));
    }
    Ok(Secret(text.to_owned()))
}

/// As `application/x-www-form-urlencoded` has it.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
