//! `fhir = { … }` of a source: a FHIR server that is polled.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::push::is_near;
use super::value::{at_least, duration};
use super::warn_if_shared;
use crate::document::{Placed, Section};
use crate::fhir::compose::READ;
use crate::source::fhir::Url;
use crate::source::fhir::settings::{Auth, FirstLoad, Limits, SearchMode, SecretStyle, Settings};
use crate::tls::{ClientFiles, ClientIdentity};

/// What a source reads where its configuration does not say.
const DEFAULT_RESOURCES: [&str; 4] = ["Patient", "Encounter", "DiagnosticReport", "Observation"];

/// The contract's default: a long transaction becomes visible after newer rows.
const OVERLAP: Duration = Duration::from_secs(2 * 60);
/// A shorter interval asks for the same page all the time.
const LEAST_INTERVAL: Duration = Duration::from_millis(100);
/// What costs more than a poll is done so much more seldom, unless its own interval is written.
const POLLS_PER_HISTORY: u32 = 4;
/// A comparison of all ids: half an hour at the default interval.
const POLLS_PER_SWEEP: u32 = 60;
/// A read of everything, where a server cannot say what has changed.
const POLLS_PER_SCAN: u32 = 10;
/// Servers cap pages at about a thousand.
const PAGE_SIZES: std::ops::RangeInclusive<i64> = 1..=10_000;

/// Reads the table. `None`: what is missing or wrong was reported.
pub(super) fn read(section: &mut Section<'_>, source: &str, root: &Path) -> Option<Settings> {
    let base_url = section.required("base_url").and_then(|text| base(section, text));
    let resources = resources(section);
    let mut settings = base_url.map(|base| Settings::new(source, base, &[]));
    let mut scratch = Settings::new(source, Url::parse("http://localhost").ok()?, &[]);
    let filled = settings.as_mut().unwrap_or(&mut scratch);
    filled.resources = resources;
    filled.overlap = OVERLAP;
    let mut time = |key, default: Duration| {
        let written = section.parsed(key, |text| at_least(LEAST_INTERVAL, "100ms", text));
        written.map_or(default, |value| value.value)
    };
    filled.interval = time("interval", filled.interval);
    filled.history_interval = time("history_interval", filled.interval * POLLS_PER_HISTORY);
    filled.sweep_interval = time("sweep_interval", filled.interval * POLLS_PER_SWEEP);
    filled.scan_interval = time("scan_interval", filled.interval * POLLS_PER_SCAN);
    if let Some(overlap) =
        section.parsed("overlap", |text| if text == "0s" { Ok(Duration::ZERO) } else { duration(text) })
    {
        filled.overlap = overlap.value;
    }
    if let Some(timeout) = section.parsed("timeout", |text| at_least(LEAST_INTERVAL, "100ms", text)) {
        filled.limits = within(timeout.value);
    } else {
        filled.limits = within(Duration::from_secs(30));
    }
    if let Some(Placed { value, span }) = section.integer("page_size") {
        match u32::try_from(value) {
            Ok(size) if PAGE_SIZES.contains(&value) => filled.page_size = size,
            _ => section.problems().report(span, "page_size must be from 1 to 10000", None),
        }
    }
    if let Some(Placed { value, span }) = section.integer("absent_sweeps") {
        match u32::try_from(value) {
            Ok(sweeps) if (1..=100).contains(&sweeps) => filled.absent_sweeps = sweeps,
            _ => section.problems().report(span, "absent_sweeps must be from 1 to 100", None),
        }
    }
    if let Some(first) = section.parsed("first_load", |text| match text {
        "auto" => Ok(FirstLoad::Auto),
        "search" => Ok(FirstLoad::Search),
        "export" => Ok(FirstLoad::Export),
        _ => Err("must be `auto`, `search` or `export`"),
    }) {
        filled.first_load = first.value;
    }
    if let Some(search) = section.parsed("search", |text| match text {
        "auto" => Ok(SearchMode::Auto),
        "per_patient" => Ok(SearchMode::PerPatient),
        _ => Err("must be `auto` or `per_patient`"),
    }) {
        filled.search = search.value;
    }
    if let Some(include) = section.boolean("include") {
        filled.include = include.value;
    }
    if let Some(rebase) = section.boolean("rebase_links") {
        filled.rebase_links = rebase.value;
    }
    filled.tls = tls(section, root);
    let auth = match section.optional_section("auth") {
        Some(mut auth) => {
            let read = read_auth(&mut auth, root);
            auth.finish();
            read?
        }
        None => Auth::None,
    };
    if !matches!(auth, Auth::None) {
        warn_in_clear(section, &filled.base_url);
    }
    filled.auth = auth;
    settings
}

/// One request takes `timeout` at most.
fn within(timeout: Duration) -> Limits {
    let limits = Limits::default();
    Limits { connect: limits.connect.min(timeout), idle: limits.idle.min(timeout), request: timeout, ..limits }
}

fn base(section: &Section<'_>, text: Placed<String>) -> Option<Url> {
    match url(&text.value) {
        Ok(url) => Some(url),
        Err(problem) => {
            section.problems().report(text.span, format!("base_url: {problem}"), None);
            None
        }
    }
}

/// A URL of HTTP without anything that does not belong in a configuration file.
fn url(text: &str) -> Result<Url, &'static str> {
    const WRONG: &str = "not a URL, for example https://emr.hospital/fhir";
    let url = Url::parse(text).map_err(|_| WRONG)?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        Err(WRONG)
    } else if !url.username().is_empty() || url.password().is_some() {
        Err("holds credentials: give them with `auth`, secrets in files of their own")
    } else if url.query().is_some() || url.fragment().is_some() {
        Err("holds a query or a fragment: give the server's base alone")
    } else {
        Ok(url)
    }
}

fn resources(section: &mut Section<'_>) -> Vec<String> {
    let Some(written) = section.texts("resources") else {
        return DEFAULT_RESOURCES.map(str::to_owned).to_vec();
    };
    let mut wanted: Vec<String> = Vec::new();
    let is_none = written.is_empty();
    for Placed { value, span } in written {
        if !READ.contains(&value.as_str()) {
            let hint = crate::diagnostic::similar(&value, READ.iter().copied())
                .map_or_else(|| format!("types: {}", READ.join(", ")), |meant| format!("did you mean {meant}?"));
            section.problems().report(span, format!("resources: no record is made of `{value}`"), Some(hint));
        } else if !wanted.contains(&value) {
            wanted.push(value);
        }
    }
    if is_none {
        section.problems().report(section.span(), "resources: name at least one resource type", None);
    }
    wanted
}

/// `tls = { ca, certificate, key_file }` of a client.
pub(super) fn tls(section: &mut Section<'_>, root: &Path) -> ClientFiles {
    let Some(mut section) = section.optional_section("tls") else { return ClientFiles::default() };
    let mut file = |key| {
        let written = section.text(key)?;
        if key == "key_file" {
            warn_if_shared(&section, "tls.key_file", &written, root);
        }
        Some(existing(&section, key, &written, root))
    };
    let ca = file("ca").flatten();
    let identity = match (file("certificate"), file("key_file")) {
        (Some(certificate), Some(key_file)) => {
            certificate.zip(key_file).map(|(certificate, key_file)| ClientIdentity { certificate, key_file })
        }
        (None, None) => None,
        _ => {
            section.problems().report(section.span(), "a client certificate needs certificate and key_file", None);
            None
        }
    };
    section.finish();
    ClientFiles { ca, identity }
}

fn read_auth(section: &mut Section<'_>, root: &Path) -> Option<Auth> {
    let kind = section.required("kind")?;
    let text = |section: &mut Section<'_>, key| section.required(key).map(|text| text.value);
    let file = |section: &mut Section<'_>, key| secret_file(section, key, root);
    let token_url = |section: &mut Section<'_>, key| section.parsed(key, url).map(|url: Placed<Url>| url.value);
    match kind.value.as_str() {
        "none" => Some(Auth::None),
        "basic" => {
            let (user, password_file) = (text(section, "username"), file(section, "password_file"));
            Some(Auth::Basic { user: user?, password_file: password_file? })
        }
        "bearer" => Some(Auth::Bearer { token_file: file(section, "token_file")? }),
        "client_credentials" => {
            if !section.has("token_url") {
                section.required("token_url");
            }
            let url = token_url(section, "token_url");
            let (client_id, secret_file) = (text(section, "client_id"), file(section, "client_secret_file"));
            let scope = section.text("scope").map(|scope| scope.value);
            let style = section.parsed("style", |style| match style {
                "basic" => Ok(SecretStyle::Basic),
                "post" => Ok(SecretStyle::Post),
                _ => Err("must be `basic` (the secret in the header) or `post` (in the body)"),
            });
            let style = style.map_or(SecretStyle::Basic, |style| style.value);
            Some(Auth::ClientCredentials {
                token_url: url?,
                client_id: client_id?,
                secret_file: secret_file?,
                scope,
                style,
            })
        }
        "smart_backend" => {
            let url = token_url(section, "token_url");
            let (client_id, key_file) = (text(section, "client_id"), file(section, "key_file"));
            let key_id = text(section, "key_id");
            let scope = section.text("scope").map_or_else(|| "system/*.rs".to_owned(), |scope| scope.value);
            Some(Auth::SmartBackend {
                token_url: url,
                client_id: client_id?,
                key_file: key_file?,
                key_id: key_id?,
                scope,
            })
        }
        _ => {
            let kinds = "none, basic, bearer, client_credentials, smart_backend";
            section.problems().report(kind.span, format!("auth.kind must be one of {kinds}"), None);
            None
        }
    }
}

fn secret_file(section: &mut Section<'_>, key: &'static str, root: &Path) -> Option<PathBuf> {
    let written = section.required(key)?;
    let path = existing(section, key, &written, root)?;
    warn_if_shared(section, key, &written, root);
    Some(path)
}

/// A file that can be looked at; what is not there is reported where it is named.
pub(super) fn existing(section: &Section<'_>, key: &str, written: &Placed<String>, root: &Path) -> Option<PathBuf> {
    let path = root.join(&written.value);
    if let Err(error) = std::fs::metadata(&path) {
        let hint = format!("the path starts at {}", root.display());
        section.problems().report(written.span.clone(), format!("{key} cannot be read: {error}"), Some(hint));
        return None;
    }
    Some(path)
}

/// Credentials that anybody on the way can read are none.
fn warn_in_clear(section: &Section<'_>, base: &Url) {
    if base.scheme() == "http" && !is_near(base) {
        let span: Range<usize> = section.span();
        section.problems().warn(
            span,
            "credentials and patients' data go to this server in clear: a risk",
            Some("use its https address".to_owned()),
        );
    }
}
