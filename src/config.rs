//! `config/heyi.toml`: what is written there, checked as a whole, with defaults filled in.
//!
//! The only place that knows the file. It hands each part its own plain configuration and reports every problem at once, each
//! with line, column and a hint. Relative paths start at the *root*: the parent of a directory called `config`, else the
//! file's own directory.

mod fhir;
pub mod identity;
pub mod push;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use jiff::tz::TimeZone;

use crate::diagnostic::{Diagnostic, SourceFile};
use crate::document::{self, Placed, Section};
use crate::feed::TypeFilter;
use crate::hl7v2::CharsetSetting;
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
/// A shorter silence is between any two messages: every connection would be cut all the time.
const LEAST_IDLE_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest resource of a FHIR server: one with a document inside may have some tens of megabytes.
const FHIR_RESOURCE: usize = 64 << 20;
/// Names that no source can have: the `ready` line uses them for other things.
const RESERVED_NAMES: [&str; 3] = ["http", "store", "sources"];

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

/// `[[sources]]`
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name in records, events and commands.
    pub name: String,
    /// The mapping file, absolute.
    pub mapping: PathBuf,
    /// Where the source is written, for problems between sources.
    span: Range<usize>,
    /// Facility of visits that name none.
    pub facility: Option<String>,
    /// Zone of times without an offset.
    pub time_zone: TimeZone,
    /// Assigning authorities that this source owns.
    pub authorities: Vec<String>,
    /// Character set of its messages.
    pub charset: CharsetSetting,
    /// When the sender gets a positive answer.
    pub acknowledge: Acknowledge,
    /// Code for a message that is kept but could not be processed.
    pub on_error: OnError,
    /// Longest message in bytes.
    pub max_message: usize,
    /// How messages arrive.
    pub arrival: Arrival,
}

/// When a sender gets a positive answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledge {
    /// When the message is kept and everything that follows from it too.
    Processed,
    /// When the message is kept.
    Received,
}

/// The answer to a message that is kept but could not be processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// Application error.
    Ae,
    /// Application reject.
    Ar,
}

/// How messages of a source arrive.
#[derive(Debug, Clone)]
pub enum Arrival {
    /// Over MLLP.
    Mllp(Mllp),
    /// As files in a directory.
    Files(Files),
    /// From a FHIR server, which is polled.
    Fhir(Box<crate::source::fhir::settings::Settings>),
}

/// `mllp = { … }`
#[derive(Debug, Clone)]
pub struct Mllp {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Silence after which a connection is closed.
    pub idle_timeout: Duration,
    /// Connections at one time; more are closed at once.
    pub max_connections: usize,
    /// Networks that may connect.
    pub allow: Vec<IpNet>,
    /// TLS, if wanted.
    pub tls: Option<Tls>,
}

/// `files = { … }`
#[derive(Debug, Clone)]
pub struct Files {
    /// The directory that is watched, absolute.
    pub directory: PathBuf,
    /// How often it is looked at.
    pub interval: Duration,
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
        let source = read_source(&mut section, root);
        if let Some(Source { name, .. }) = &source
            && !names.insert(name.clone())
        {
            problems.report(section.span(), format!("a second source is called `{name}`"), None);
        }
        if let Some(Source { name, arrival: Arrival::Mllp(mllp), .. }) = &source
            && mllp.listen.port() != 0
            && let Some(other) = listeners.insert(mllp.listen, name.clone())
        {
            problems.report(
                section.span(),
                format!("{name} and {other} listen on the same address {}", mllp.listen),
                None,
            );
        }
        section.finish();
        sources.extend(source);
    }
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for source in &sources {
        for authority in &source.authorities {
            if let Some(owner) = owners.insert(authority, &source.name) {
                problems.report(
                    source.span.clone(),
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
        retention,
        sources,
        consumers,
        allowed,
        model_file,
        model: Model::default(),
    }
}

/// `identity.toml` beside the configuration file.
fn default_model(file: &Path) -> PathBuf {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    file.with_file_name("identity.toml")
}

fn read_source(section: &mut Section<'_>, root: &Path) -> Option<Source> {
    let problems = section.problems();
    let name = section.required("name");
    if let Some(name) = &name {
        check_name(section, name);
        if RESERVED_NAMES.contains(&name.value.as_str()) {
            problems.report(
                name.span.clone(),
                format!("no source can be called {}", RESERVED_NAMES.join(", ")),
                Some("name it after the sending system, for example `his`".into()),
            );
        }
    }
    let mapping = section.required("mapping");
    if let Some(mapping) = &mapping
        && let Err(error) = std::fs::metadata(root.join(&mapping.value))
    {
        let hint = format!("the path starts at {}", root.display());
        problems.report(mapping.span.clone(), format!("the mapping cannot be read: {error}"), Some(hint));
    }
    let facility = section.text("facility").map(|facility| facility.value);
    let time_zone = section.parsed("time_zone", time_zone).map_or_else(default_zone, |zone| zone.value);
    let authorities = section.texts("authorities").unwrap_or_default().into_iter().map(|name| name.value).collect();
    let kinds: Vec<&str> = ["mllp", "files", "fhir"].into_iter().filter(|kind| section.has(kind)).collect();
    if kinds.len() != 1 {
        problems.report(
            section.span(),
            "a source needs exactly one of the keys mllp, files and fhir, which says how its messages arrive",
            Some("for example: mllp = { listen = \"127.0.0.1:2575\" }".into()),
        );
    }
    let mllp = section.optional_section("mllp");
    let files = section.optional_section("files");
    let fhir = section.optional_section("fhir");
    let mut inner = mllp.or(files).or(fhir)?;
    let kind = kinds.first().copied().unwrap_or_default();
    if kind == "fhir" {
        let source = name.as_ref().map(|name| name.value.as_str()).unwrap_or_default();
        let settings = fhir::read(&mut inner, source, root);
        inner.finish();
        return Some(Source {
            name: name?.value,
            mapping: root.join(&mapping?.value),
            span: section.span(),
            facility,
            time_zone,
            authorities,
            charset: CharsetSetting::Auto,
            acknowledge: Acknowledge::Received,
            on_error: OnError::Ae,
            max_message: FHIR_RESOURCE,
            arrival: Arrival::Fhir(Box::new(settings?)),
        });
    }
    let charset =
        inner.parsed("charset", CharsetSetting::from_str).map_or(CharsetSetting::Auto, |charset| charset.value);
    let max_message = inner.parsed("max_message", size).map_or(16 << 20, |size| size.value);
    // Nobody waits for an answer about a file.
    let (mut acknowledge, mut on_error) = (Acknowledge::Processed, OnError::Ae);
    let arrival = if kind == "files" {
        let directory = inner.required("directory");
        let interval = inner.parsed("interval", duration).map_or(Duration::from_secs(5), |value| value.value);
        directory.map(|directory| Arrival::Files(Files { directory: root.join(directory.value), interval }))
    } else {
        (acknowledge, on_error) = read_answers(&mut inner);
        read_mllp(&mut inner, root).map(Arrival::Mllp)
    };
    inner.finish();
    let mapping = mapping?;
    Some(Source {
        name: name?.value,
        mapping: root.join(&mapping.value),
        span: section.span(),
        facility,
        time_zone,
        authorities,
        charset,
        acknowledge,
        on_error,
        max_message,
        arrival: arrival?,
    })
}

/// When and how the sender is answered.
fn read_answers(section: &mut Section<'_>) -> (Acknowledge, OnError) {
    let acknowledge = section.parsed("acknowledge", |text| match text {
        "processed" => Ok(Acknowledge::Processed),
        "received" => Ok(Acknowledge::Received),
        _ => Err("must be `processed` or `received`"),
    });
    let on_error = section.parsed("on_error", |text| match text {
        "AE" => Ok(OnError::Ae),
        "AR" => Ok(OnError::Ar),
        _ => Err("must be `AE` or `AR`"),
    });
    (
        acknowledge.map_or(Acknowledge::Processed, |acknowledge| acknowledge.value),
        on_error.map_or(OnError::Ae, |code| code.value),
    )
}

/// The networks of `allow`, if the key is there.
fn networks(section: &mut Section<'_>) -> Option<Vec<IpNet>> {
    let problems = section.problems();
    let read = |network: Placed<String>| {
        let parsed = network.value.parse::<IpNet>();
        let parsed = parsed.or_else(|_| network.value.parse::<std::net::IpAddr>().map(IpNet::from));
        if parsed.is_err() {
            let hint = Some("write an address or a network such as 10.1.0.0/16".to_owned());
            problems.report(network.span, "allow: not a network", hint);
        }
        parsed.ok()
    };
    Some(section.texts("allow")?.into_iter().filter_map(read).collect())
}

fn not_empty(path: &str) -> Result<String, &'static str> {
    if path.is_empty() { Err("is empty: name a file, or remove the key") } else { Ok(path.to_owned()) }
}

/// A whole number within bounds; `default` where the key is missing or wrong.
fn number(section: &mut Section<'_>, key: &'static str, default: u32, most: u32) -> u32 {
    match section.integer(key) {
        None => default,
        Some(Placed { value, span }) => match u32::try_from(value) {
            Ok(value) if (1..=most).contains(&value) => value,
            _ => {
                section.problems().report(span, format!("{key} must be from 1 to {most}"), None);
                default
            }
        },
    }
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

fn read_mllp(section: &mut Section<'_>, root: &Path) -> Option<Mllp> {
    let problems = section.problems();
    if !section.has("listen") {
        section.required("listen");
    }
    let listen = section.parsed("listen", socket_address);
    let idle_timeout = section.parsed("idle_timeout", |text| at_least(LEAST_IDLE_TIMEOUT, "1s", text));
    let idle_timeout = idle_timeout.map_or(Duration::from_secs(600), |value| value.value);
    let max_connections = match section.integer("max_connections") {
        None => 256,
        Some(Placed { value, .. }) if (1..=65_536).contains(&value) => usize::try_from(value).unwrap_or(256),
        Some(Placed { span, .. }) => {
            problems.report(span, "max_connections must be from 1 to 65536", None);
            256
        }
    };
    let allow = match networks(section) {
        None => vec![IpNet::from_str("127.0.0.0/8").ok()?, IpNet::from_str("::1/128").ok()?],
        Some(networks) => networks,
    };
    let tls = tls(section, root);
    let listen = listen?;
    if tls.is_none() {
        warn_if_open(section, &listen);
    }
    Some(Mllp { listen: listen.value, idle_timeout, max_connections, allow, tls })
}

/// A plain listener that other machines reach carries patients' data in clear.
fn time_zone(name: &str) -> Result<TimeZone, &'static str> {
    TimeZone::get(name).map_err(|_| "not a zone of the IANA database, for example Asia/Shanghai")
}

fn socket_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "expected ADDRESS:PORT, for example 127.0.0.1:2575, or 0.0.0.0:2575 for all networks")
}

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

/// What a name looks like.
pub const NAME_RULE: &str = "a name is 1 to 64 letters, digits, `-`, `_` or `.`";

/// Whether a source, consumer or token can be called so. Names become part of visit ids (`SOURCE:NUMBER`), URLs and metric
/// labels.
pub fn is_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=64).contains(&name.len()) && name.chars().all(legal)
}

fn check_name(section: &Section<'_>, name: &Placed<String>) {
    if !is_name(&name.value) {
        section.problems().report(name.span.clone(), NAME_RULE, Some("for example `his` or `follow-up`".into()));
    }
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

/// The contract's default; a hospital in China keeps one zone.
pub fn default_zone() -> TimeZone {
    TimeZone::get("Asia/Shanghai").unwrap_or(TimeZone::UTC)
}

/// `500ms`, `30s`, `10m`, `2h`, `180d`, `6y` (365 days).
fn duration(text: &str) -> Result<Duration, &'static str> {
    const WRONG: &str = "must be a number and a unit: ms, s, m, h, d or y, for example \"30s\"";
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| WRONG)?;
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "y" => 365 * 86_400_000,
        _ => return Err(WRONG),
    };
    match number.checked_mul(milliseconds) {
        Some(0) => Err("must be longer than nothing"),
        // Times are kept in microseconds in 63 bits; nobody means more than a thousand years.
        Some(total) if total <= 1_000 * 365 * 86_400_000 => Ok(Duration::from_millis(total)),
        _ => Err("is too long"),
    }
}

/// A duration that is not below `least`, which people write as `written`.
fn at_least(least: Duration, written: &str, text: &str) -> Result<Duration, String> {
    match duration(text)? {
        short if short < least => Err(format!("must be {written} or more")),
        enough => Ok(enough),
    }
}

/// `65536`, `512KiB`, `16MiB`, `1GiB`.
fn size(text: &str) -> Result<usize, &'static str> {
    const WRONG: &str = "must be a number of bytes with KiB, MiB or GiB, for example \"16MiB\"";
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: usize = number.parse().map_err(|_| WRONG)?;
    let unit = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(WRONG),
    };
    match number.checked_mul(unit) {
        Some(size) if (1 << 10..=1 << 30).contains(&size) => Ok(size),
        _ => Err("must be from 1KiB to 1GiB"),
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
