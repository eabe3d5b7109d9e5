//! `config/heyi.toml`: what is written there, checked as a whole, with defaults filled in.
//!
//! The only place that knows the file. It hands each part its own plain configuration and reports every problem at once, each
//! with line, column and a hint. Relative paths start at the *root*: the parent of a directory called `config`, else the
//! file's own directory.

mod fhir;
pub mod identity;
pub mod push;
mod source;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

pub use self::source::{Acknowledge, Arrival, Files, Mllp, OnError, Source, default_zone};
pub use self::value::{NAME_RULE, is_name};
use self::value::{at_least, check_name, duration, networks, not_empty, number, socket_address};
use crate::diagnostic::{Diagnostic, SourceFile};
use crate::document::{self, Placed, Section};
use crate::feed::TypeFilter;
use crate::http::GuardSettings;
use crate::identity::Model;
use crate::policy::{FULL_POLICY, Purpose, shipped};
use crate::push::Allowed;
use crate::store::audit::AuditFiles;

/// Marks the diagnostics of this file.
pub(crate) const CODE: &str = "C001";

/// What is kept is kept for a day at least: `180s` in place of `180d` would empty the store.
const LEAST_RETENTION: Duration = Duration::from_secs(86_400);
/// The audit trail is kept six years at least, whatever is written (HIPAA 45 CFR 164.316(b)(2)(i)).
const LEAST_AUDIT: Duration = Duration::from_secs(6 * 365 * 86_400);

/// Where the field policies are, below the root.
pub const POLICIES: &str = "policies";

/// The default configuration file.
pub const DEFAULT_FILE: &str = "config/heyi.toml";

/// Everything the daemon and the commands are told.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// Where relative paths start.
    pub root: PathBuf,
    /// The store's file.
    pub store: PathBuf,
    /// The HTTP listener.
    pub http: Http,
    /// Where its address is said, in the bytes of the file; empty where it is not.
    pub http_place: Range<usize>,
    /// `[audit]`: its files, absolute.
    pub audit: AuditFiles,
    /// How long things are kept.
    pub retention: Retention,
    /// The sending systems, in the order of the file.
    pub sources: Vec<Source>,
    /// The CRM modules, in the order of the file.
    pub consumers: Vec<Consumer>,
    /// Whom events may be posted to.
    pub allowed: Allowed,
    /// `[identity] model`: the file of the matching model, absolute; its default need not exist.
    pub model_file: PathBuf,
    /// The model: that file's, else the built-in defaults.
    pub model: Model,
}

/// `[http]`
#[derive(Debug, Clone)]
pub struct Http {
    /// Where to listen.
    pub listen: SocketAddr,
    /// TLS, if wanted.
    pub tls: Option<Tls>,
    /// Who is let in, and how often.
    pub guard: GuardSettings,
}

/// `tls = { … }` of a listener; paths are absolute.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub key_file: PathBuf,
    /// Clients must show a certificate of this authority, PEM.
    pub client_ca: Option<PathBuf>,
}

/// `[retention]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Raw messages; failed ones stay until they are resolved.
    pub messages: Duration,
    /// The event log.
    pub feed: Duration,
    /// The audit trail.
    pub audit: Duration,
}

/// `[[consumers]]`
#[derive(Debug, Clone)]
pub struct Consumer {
    /// Its name, and its token's.
    pub name: String,
    /// The event types that it is given.
    pub events: Vec<TypeFilter>,
    /// The name of its field policy.
    pub policy: String,
    /// What it uses the data for.
    pub purpose: Purpose,
    /// Where events are posted, if they are.
    pub webhook: Option<push::Webhook>,
}

/// Reads and checks the file. `Err` holds at least one error; warnings come with either.
pub fn load(file: &Path) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    match examine(file)? {
        (Some(config), problems) if !problems.iter().any(Diagnostic::is_error) => Ok((config, problems)),
        (_, problems) => Err(problems),
    }
}

/// Reads and checks the file and gives what could be understood, with defaults in place of what could not, so that more can be
/// checked. `Err`: the file cannot be read at all.
pub fn examine(file: &Path) -> Result<(Option<Config>, Vec<Diagnostic>), Vec<Diagnostic>> {
    let bytes = std::fs::read(file).map_err(|error| {
        vec![Diagnostic::unreadable(file.display().to_string(), CODE, format!("cannot be read: {error}")).hint(
            if error.kind() == ErrorKind::PermissionDenied {
                "run it as the user of the service, or give this user the right to read the file"
            } else {
                "name the file with --config FILE or HEYI_CONFIG"
            },
        )]
    })?;
    let name = file.display().to_string();
    let text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        // Up to the offset the readable form has the same bytes.
        let readable = SourceFile { name: name.clone(), text: String::from_utf8_lossy(error.as_bytes()).into_owned() };
        let problem = Diagnostic::error(&readable, offset..offset + 1, CODE, "the file is not UTF-8 from here");
        vec![problem.hint("save it as UTF-8 in the editor")]
    })?;
    let (mut config, mut problems) = parse(text, file);
    if let Some(config) = config.as_mut().filter(|config| config.model_file.exists()) {
        let name = config.model_file.strip_prefix(&config.root).unwrap_or(&config.model_file).display().to_string();
        match identity::load(&config.model_file, name) {
            Ok(model) => config.model = model,
            Err(found) => problems.extend(found),
        }
    }
    Ok((config, problems))
}

/// [`examine`] for the text of `file` at hand.
pub fn parse(text: String, file: &Path) -> (Option<Config>, Vec<Diagnostic>) {
    let root = root_of(file);
    let source = SourceFile { name: file.display().to_string(), text };
    document::read(&source, CODE, |section| read(section, file, &root))
}

/// The parent of a directory called `config`, else the file's own directory.
fn root_of(file: &Path) -> PathBuf {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let directory = file.parent().unwrap_or(Path::new("/"));
    match directory.parent() {
        Some(parent) if directory.file_name().is_some_and(|name| name == "config") => parent.to_owned(),
        _ => directory.to_owned(),
    }
}

fn read(mut document: Section<'_>, file: &Path, root: &Path) -> Config {
    let problems = document.problems();

    let mut section = document.section("store");
    let store = section.parsed("path", |path| match path {
        "" => Err("is empty: name the store's file, for example \"data/heyi.db\""),
        path => Ok(path.to_owned()),
    });
    let store = store.map_or_else(|| "data/heyi.db".to_owned(), |path| path.value);
    if let Some(key) = section.text("key_file") {
        problems.report(
            key.span,
            "store.key_file: this build cannot encrypt the store",
            Some("remove the key and encrypt the disk; Heyi will not keep patients' data in clear under a key it ignores".into()),
        );
    }
    section.finish();

    let mut section = document.section("http");
    let listen = section.parsed("listen", socket_address);
    let http_tls = tls(&mut section, root);
    if let Some(listen) = listen.as_ref().filter(|_| http_tls.is_none()) {
        warn_if_open(&section, listen);
    }
    let http_place = listen.as_ref().map_or(0..0, |listen| listen.span.clone());
    let listen = listen.map_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8480)), |listen| listen.value);
    let guard = read_guard(&mut section);
    let http = Http { listen, tls: http_tls, guard };
    section.finish();

    let mut section = document.section("audit");
    let mut audit = AuditFiles::beside(&root.join(&store));
    let named = |path: Placed<String>| root.join(path.value);
    audit.key = section.parsed("key_file", not_empty).map_or(audit.key, named);
    audit.checkpoints = section.parsed("checkpoints_file", not_empty).map_or(audit.checkpoints, named);
    section.finish();

    let mut section = document.section("retention");
    let mut days = |key, default: u64| {
        let kept = section.parsed(key, |text| at_least(LEAST_RETENTION, "1d", text));
        kept.map_or(Duration::from_secs(default * 86_400), |value| value.value)
    };
    let (messages, feed) = (days("messages", 180), days("feed", 400));
    let audit_kept = section.parsed("audit", |text| at_least(LEAST_AUDIT, "6y", text));
    let retention = Retention { messages, feed, audit: audit_kept.map_or(LEAST_AUDIT, |kept| kept.value) };
    section.finish();

    let mut sources: Vec<Source> = Vec::new();
    let mut names = BTreeSet::new();
    let mut listeners = BTreeMap::from([(http.listen, "http".to_owned())]);
    for mut section in document.sections("sources") {
        let source = source::read(&mut section, root);
        if let Some(Source { name, places, .. }) = &source
            && !names.insert(name.clone())
        {
            problems.report(places.name.clone(), format!("a second source is called `{name}`"), None);
        }
        if let Some(Source { name, places, arrival: Arrival::Mllp(mllp), .. }) = &source
            && mllp.listen.port() != 0
            && let Some(other) = listeners.insert(mllp.listen, name.clone())
        {
            problems.report(
                places.arrival.clone(),
                format!("{name} and {other} listen on the same address {}", mllp.listen),
                None,
            );
        }
        section.finish();
        sources.extend(source);
    }
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for source in &sources {
        for (authority, place) in source.authorities.iter().zip(&source.places.authorities) {
            if let Some(owner) = owners.insert(authority, &source.name) {
                problems.report(
                    place.clone(),
                    format!("assigning authority `{authority}` is owned by {owner} and by {}", source.name),
                    Some("name it in the `authorities` of one source only".into()),
                );
            }
        }
    }

    let mut section = document.section("identity");
    let model_file = section.parsed("model", |path| match path {
        "" => Err("is empty: name a model file, for example \"config/identity.toml\""),
        path if root.join(path).is_file() => Ok(root.join(path)),
        _ => Err("there is no such file: write one with `heyi identity train`, or remove the key"),
    });
    let model_file = model_file.map_or_else(|| default_model(file), |file| file.value);
    section.finish();

    let mut section = document.section("push");
    let allowed = push::read_allowed(&mut section);
    section.finish();

    let mut consumers: Vec<Consumer> = Vec::new();
    for mut section in document.sections("consumers") {
        let consumer = read_consumer(&mut section, &allowed, root);
        if let Some(consumer) = consumer {
            if consumers.iter().any(|known| known.name == consumer.name) {
                problems.report(section.span(), format!("a second consumer is called `{}`", consumer.name), None);
            }
            consumers.push(consumer);
        }
        section.finish();
    }
    document.finish();
    Config {
        file: file.to_owned(),
        root: root.to_owned(),
        store: root.join(store),
        audit,
        http,
        http_place,
        retention,
        sources,
        consumers,
        allowed,
        model_file,
        model: Model::default(),
    }
}

/// A problem of the configuration that shows only beside other files or the machine, at `place` (bytes of its file).
pub fn problem(config: &Config, place: Range<usize>, code: &'static str, text: String) -> Diagnostic {
    let name = config.file.display().to_string();
    // It was read a moment ago; without it the problem is told all the same.
    let text_of_file = std::fs::read_to_string(&config.file).unwrap_or_default();
    Diagnostic::error(&SourceFile { name, text: text_of_file }, place, code, text)
}

/// `identity.toml` beside the configuration file.
fn default_model(file: &Path) -> PathBuf {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    file.with_file_name("identity.toml")
}

/// Who is let in over HTTP, and how often.
fn read_guard(section: &mut Section<'_>) -> GuardSettings {
    const MOST: u32 = 1_000_000;
    let mut guard = GuardSettings::default();
    let connections = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    guard.connections = connections(number(section, "max_connections", 512, 65_536));
    let of_address = number(section, "max_connections_per_address", 256, 65_536);
    guard.connections_of_address = connections(of_address);
    if let Some(allow) = networks(section) {
        guard.allow = std::sync::Arc::new(move |address| allow.iter().any(|network| network.contains(&address)));
    }
    if let Some(mut rate) = section.optional_section("rate_limit") {
        guard.requests_per_second = number(&mut rate, "per_second", guard.requests_per_second, MOST);
        guard.burst = number(&mut rate, "burst", guard.burst, MOST);
        rate.finish();
    }
    if let Some(mut lock_out) = section.optional_section("lock_out") {
        guard.failures = number(&mut lock_out, "failures", guard.failures, MOST);
        let within = lock_out.parsed("within", duration);
        guard.failures_within = within.map_or(guard.failures_within, |within| within.value);
        guard.lock_out = lock_out.parsed("time", duration).map_or(guard.lock_out, |time| time.value);
        lock_out.finish();
    }
    guard
}

/// A plain listener that other machines reach carries patients' data in clear.
fn warn_if_open(section: &Section<'_>, listen: &Placed<SocketAddr>) {
    if !listen.value.ip().is_loopback() {
        section.problems().warn(
            listen.span.clone(),
            format!("{} is reachable from outside without TLS: a risk", listen.value),
            Some("add tls = { certificate = …, key_file = … }, or let only the neighbour's address in".into()),
        );
    }
}

/// What holds a secret or a private key should be readable by the service's user alone; nothing is said of a file that is not there. A warning:
/// who made it may have meant a group (the secrets of Heyi's own, of webhooks and the audit trail, are refused).
fn warn_if_shared(section: &Section<'_>, key: &str, written: &Placed<String>, root: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;

        let path = root.join(&written.value);
        let Ok(metadata) = std::fs::metadata(&path) else { return };
        let mode = metadata.permissions().mode();
        if mode & 0o077 != 0 {
            section.problems().warn(
                written.span.clone(),
                format!("{key}: other users of this machine may use it (mode {:04o}): a risk", mode & 0o7777),
                Some(format!("it should be its owner's alone, the service's user: chmod 600 {}", path.display())),
            );
        }
    }
    #[cfg(not(unix))]
    let _ = (section, key, written, root);
}

fn tls(section: &mut Section<'_>, root: &Path) -> Option<Tls> {
    let mut section = section.optional_section("tls")?;
    let certificate = section.required("certificate");
    let key_file = section.required("key_file");
    key_file.iter().for_each(|key| warn_if_shared(&section, "tls.key_file", key, root));
    let client_ca = section.text("client_ca");
    section.finish();
    Some(Tls {
        certificate: root.join(certificate?.value),
        key_file: root.join(key_file?.value),
        client_ca: client_ca.map(|path| root.join(path.value)),
    })
}

fn read_consumer(section: &mut Section<'_>, allowed: &Allowed, root: &Path) -> Option<Consumer> {
    let problems = section.problems();
    let name = section.required("name");
    if let Some(name) = &name {
        check_name(section, name);
    }
    let patterns = section.texts("events").unwrap_or_else(|| vec![Placed { value: "*".to_owned(), span: 0..0 }]);
    let mut events: Vec<TypeFilter> = Vec::new();
    for pattern in &patterns {
        match pattern.value.parse() {
            Ok(filter) => events.push(filter),
            Err(error) => problems.report(pattern.span.clone(), format!("events: {error}"), None),
        }
    }
    let policy = section.text("policy");
    if let Some(policy) = &policy {
        check_policy(section, policy, root);
    }
    let purpose = section.parsed("purpose", Purpose::from_str);
    let webhook = section.optional_section("webhook").map(|mut webhook| {
        let read = push::read(&mut webhook, allowed, root);
        webhook.finish();
        read
    });
    Some(Consumer {
        name: name?.value,
        events,
        policy: policy.map_or_else(|| FULL_POLICY.to_owned(), |policy| policy.value),
        purpose: purpose.map_or(Purpose::Care, |purpose| purpose.value),
        // What is wrong with it was reported; the rest of the consumer is checked all the same.
        webhook: webhook.flatten(),
    })
}

/// A policy is a file of its name; those that ship are built in as well.
fn check_policy(section: &Section<'_>, policy: &Placed<String>, root: &Path) {
    let problems = section.problems();
    if !is_name(&policy.value) {
        problems.report(policy.span.clone(), NAME_RULE, Some("for example `care`: policies/care.toml".into()));
    } else if shipped(&policy.value).is_none()
        && let Err(error) = std::fs::metadata(root.join(POLICIES).join(format!("{}.toml", policy.value)))
    {
        let hint = format!("it is {POLICIES}/{}.toml below {}", policy.value, root.display());
        problems.report(policy.span.clone(), format!("the policy cannot be read: {error}"), Some(hint));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The problems of a configuration with one source, whose mapping is the file itself.
    fn problems(text: &[u8]) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("heyi.toml");
        std::fs::write(&file, text).unwrap();
        let found = examine(&file).map_or_else(|problems| problems, |(_, problems)| problems);
        found.iter().map(|problem| format!("{}: {}", problem.line, problem.text)).collect()
    }

    #[test]
    fn what_could_not_work_is_told_with_its_line() {
        let check = |text: &str, expected: &[&str]| assert_eq!(problems(text.as_bytes()), expected, "{text}");
        let source =
            |name: &str, arrival: &str| format!("[[sources]]\nname = \"{name}\"\nmapping = \"heyi.toml\"\n{arrival}\n");
        let files = r#"files = { directory = "in", on_error = "AR", acknowledge = "received" }"#;
        check(
            &source("his", files),
            &["4: unknown key `sources[1].files.on_error`", "4: unknown key `sources[1].files.acknowledge`"],
        );
        let mllp = |rest: &str| format!(r#"mllp = {{ listen = "127.0.0.1:2575"{rest} }}"#);
        check(&source("his", &mllp("")), &[]);
        check(&source("store", &mllp("")), &["2: no source can be called http, store, sources"]);
        let impatient = mllp(r#", idle_timeout = "500ms""#);
        check(&source("his", &impatient), &["4: sources[1].mllp.idle_timeout: must be 1s or more"]);
        check("[retention]\nfeed = \"400s\"\n", &["2: retention.feed: must be 1d or more"]);
        check("[retention]\naudit = \"6y\"\n", &[]);
        check("[retention]\naudit = \"2189d\"\n", &["2: retention.audit: must be 6y or more"]);
        check("[http]\nmax_connections = 0\n", &["2: max_connections must be from 1 to 65536"]);
        check("[http]\nallow = [\"here\"]\n", &["2: allow: not a network"]);
        check("[http]\nrate_limit = { per_minute = 5 }\n", &["2: unknown key `http.rate_limit.per_minute`"]);
        check(
            "[store]\npath = \"\"\n",
            &["2: store.path: is empty: name the store's file, for example \"data/heyi.db\""],
        );
    }

    #[test]
    fn a_file_in_another_character_set_is_told_with_its_line() {
        assert_eq!(problems(b"[http]\n# \xD6\xD0\n"), ["2: the file is not UTF-8 from here"]);
    }
}
