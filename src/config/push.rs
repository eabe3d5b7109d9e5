//! `[push]` and `webhook = { … }` of a consumer: events that are posted.

use std::path::Path;
use std::time::Duration;

use super::fhir::{existing, tls};
use super::value::{at_least, duration};
use crate::document::{Placed, Section};
use crate::push::{Allowed, SCHEDULE, Secrets, TIMEOUT, TargetError, Url};
use crate::tls::ClientFiles;

/// A shorter time is over before a receiver has stored anything.
const LEAST_TIMEOUT: Duration = Duration::from_millis(100);

/// Waits of a schedule: more is no schedule but a loop.
const MOST_WAITS: usize = 100;

/// `webhook = { … }`; paths are absolute.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Where events are posted.
    pub url: Url,
    /// The file with its secrets.
    pub secret_file: std::path::PathBuf,
    /// Waits between the attempts.
    pub schedule: Vec<Duration>,
    /// Time for one request.
    pub timeout: Duration,
    /// Authorities and a certificate of its own.
    pub tls: ClientFiles,
}

/// `[push]`: whom may be posted to.
pub(super) fn read_allowed(section: &mut Section<'_>) -> Allowed {
    let Some(entries) = section.texts("allow") else { return Allowed::default() };
    let parsed = entries.into_iter().filter_map(|entry| match entry.value.parse::<Allowed>() {
        Ok(allowed) => Some(allowed),
        Err(error) => {
            section.problems().report(entry.span, format!("push.allow: {error}"), None);
            None
        }
    });
    parsed.collect()
}

/// Reads the table. `None`: what is missing or wrong was reported.
pub(super) fn read(section: &mut Section<'_>, allowed: &Allowed, root: &Path) -> Option<Webhook> {
    let url = section.required("url").and_then(|text| url(section, text, allowed));
    let secret_file = section.required("secret_file").and_then(|written| {
        let path = existing(section, "webhook.secret_file", &written, root)?;
        match Secrets::read(&path) {
            Ok(_) => Some(path),
            Err(error) => {
                let hint = Some("one secret, or two while the receiver changes from one to the other".to_owned());
                section.problems().report(written.span, format!("webhook.secret_file: {}", error.reason), hint);
                None
            }
        }
    });
    let schedule = schedule(section);
    let timeout = section.parsed("timeout", |text| at_least(LEAST_TIMEOUT, "100ms", text));
    let tls = tls(section, root);
    Some(Webhook {
        url: url?,
        secret_file: secret_file?,
        schedule,
        timeout: timeout.map_or(TIMEOUT, |timeout| timeout.value),
        tls,
    })
}

fn url(section: &Section<'_>, text: Placed<String>, allowed: &Allowed) -> Option<Url> {
    let problems = section.problems();
    let checked = text.value.parse::<Url>().map_err(|_| TargetError::NotHttp).and_then(|url| {
        allowed.check(&url)?;
        Ok(url)
    });
    match checked {
        Ok(url) => {
            if url.scheme() == "http" && !is_near(&url) {
                problems.warn(
                    text.span,
                    "webhook.url: patients' data go to this address in clear: a risk",
                    Some("use its https address; tls = { ca = … } names the hospital's own authority".to_owned()),
                );
            }
            Some(url)
        }
        Err(error) => {
            let hint = (error == TargetError::NotAllowed).then(|| {
                "name it: [push] allow = [\"10.0.0.0/8\", \"crm.hospital:9000\"]; without the key, loopback and private networks"
                    .to_owned()
            });
            problems.report(text.span, format!("webhook.url: {error}"), hint);
            None
        }
    }
}

/// Whether a URL leads to this machine.
pub(super) fn is_near(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        host == "localhost"
            || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    })
}

fn schedule(section: &mut Section<'_>) -> Vec<Duration> {
    let Some(written) = section.texts("schedule") else { return SCHEDULE.to_vec() };
    if written.is_empty() || written.len() > MOST_WAITS {
        let hint = Some("for example schedule = [\"5s\", \"5m\", \"30m\", \"2h\"]".to_owned());
        section.problems().report(section.span(), "webhook.schedule: name 1 to 100 waits", hint);
    }
    let waits = written.into_iter().filter_map(|wait| match duration(&wait.value) {
        Ok(parsed) => Some(parsed),
        Err(error) => {
            section.problems().report(wait.span, format!("webhook.schedule: {error}"), None);
            None
        }
    });
    waits.collect()
}
