//! The mappings in force, and how a new set of them takes their place while the daemon runs.
//!
//! A set is the mapping of every source with its bases and tables; the rest of the configuration stays as it was at the start. A
//! set is loaded on SIGHUP, and when a file of it changed and then lay still for one look.
//!
//! Invariants
//! - A set is validated as a whole, from one reading of each file, and takes the place of the old one at once for all sources.
//! - A message goes through the set that was in force when it was read, to its end; no connection notices.
//! - A set with an error is refused: the old one stays, the log, a metric and the store say why.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Mutex, Notify, watch};
use tokio_util::sync::CancellationToken;

use super::audit::Journal;
use super::policies;
use super::supervise::supervise;
use super::{message_limits, now};
use crate::audit::{Action, Entry, Outcome};
use crate::config::{self, Config};
use crate::diagnostic::Diagnostic;
use crate::disclosure::Policies;
use crate::mapping::{Format, Mapping};
use crate::pipeline;
use crate::store::{audit, mappings};
use crate::telemetry::{MappingLoad, Metrics};

/// Between two looks at the files: soon enough for who just saved one, and a few `stat` cost nothing.
const LOOK: Duration = Duration::from_secs(2);

/// Every source with its mapping, in the order of the configuration.
pub(super) type Set = Arc<[Arc<pipeline::Source>]>;

/// One source as it is now.
#[derive(Debug, Clone)]
pub struct LiveSource {
    set: watch::Receiver<Set>,
    place: usize,
}

impl LiveSource {
    /// The source at this place of the configuration.
    pub(super) fn new(set: watch::Receiver<Set>, place: usize) -> Self {
        Self { set, place }
    }

    /// The source with the mapping that is in force now. Take it once for a message.
    pub fn current(&self) -> Arc<pipeline::Source> {
        Arc::clone(&self.set.borrow()[self.place])
    }
}

/// The source of this name in a set.
pub(super) fn named(set: &Set, name: &str) -> Option<Arc<pipeline::Source>> {
    set.iter().find(|source| source.name == name).cloned()
}

/// What reading the mappings of a configuration gave.
pub(super) struct Loaded {
    /// The sources, or every problem of every mapping file.
    pub(super) set: Result<Vec<Arc<pipeline::Source>>, Vec<Diagnostic>>,
    /// The files that were asked for, also those that are not there.
    pub(super) files: BTreeSet<PathBuf>,
}

/// The sources as the pipeline needs them: mappings loaded and checked.
///
/// # Errors
/// Every problem of every mapping file.
pub fn pipeline_sources(config: &Config) -> Result<Vec<Arc<pipeline::Source>>, Vec<Diagnostic>> {
    load(config).set
}

/// What the pipeline needs beside the sources.
pub fn pipeline_site(config: &Config) -> Arc<pipeline::Site> {
    let owners = config
        .sources
        .iter()
        .flat_map(|source| source.authorities.iter().map(|authority| (authority.clone(), source.name.clone())))
        .collect();
    Arc::new(pipeline::Site { owners, model: config.model.clone() })
}

/// Reads the mappings of all sources. Each file is read once, so that two sources never see two states of it.
pub(super) fn load(config: &Config) -> Loaded {
    let site = pipeline_site(config);
    let files = Files { root: &config.root, texts: RefCell::default() };
    let mut problems: Vec<Diagnostic> = Vec::new();
    let mut sources = Vec::new();
    for source in &config.sources {
        match load_file(&files, &source.mapping).and_then(|mapping| fitting(config, source, mapping)) {
            Ok(mapping) => sources.push(Arc::new(pipeline_source(source, mapping, &site))),
            // A base that two sources share has its problems once.
            Err(found) => found.into_iter().for_each(|problem| {
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
            }),
        }
    }
    let files = files.texts.into_inner().into_keys().collect();
    if problems.is_empty() {
        return Loaded { set: Ok(sources), files };
    }
    problems.extend(sources.iter().flat_map(|source| source.mapping.warnings().to_vec()));
    Loaded { set: Err(problems), files }
}

/// The mapping, if it reads what the source gives.
fn fitting(config: &Config, source: &config::Source, mapping: Mapping) -> Result<Mapping, Vec<Diagnostic>> {
    let gives = match source.arrival {
        config::Arrival::Fhir(_) => Format::Fhir,
        config::Arrival::Mllp(_) | config::Arrival::Files(_) => Format::Hl7v2,
    };
    let format = mapping.format();
    if format == gives {
        return Ok(mapping);
    }
    let file = source.mapping.strip_prefix(&config.root).unwrap_or(&source.mapping).display();
    let text =
        format!("source {}: {file} has format = \"{}\", the source gives {}", source.name, format.name(), gives.name());
    let example = if gives == Format::Fhir { "mappings/fhir-r4.toml" } else { "mappings/hl7v2.toml" };
    let hint = format!("name a mapping that extends {example}");
    Err(vec![config::problem(config, source.places.mapping.clone(), config::CODE, text).hint(hint)])
}

/// One mapping of a configuration, whichever source it is for; names in diagnostics start at the root where they lie below it.
///
/// # Errors
/// Every problem of its files.
pub fn load_mapping(config: &Config, file: &Path) -> Result<Mapping, Vec<Diagnostic>> {
    load_file(&Files { root: &config.root, texts: RefCell::default() }, file)
}

/// A source of the configuration as the pipeline needs it, with a mapping that need not be its own.
pub fn pipeline_source(source: &config::Source, mapping: Mapping, site: &Arc<pipeline::Site>) -> pipeline::Source {
    pipeline::Source {
        name: source.name.clone(),
        mapping,
        zone: source.time_zone.clone(),
        facility: source.facility.clone(),
        charset: source.charset,
        limits: message_limits(source),
        site: Arc::clone(site),
    }
}

fn load_file(files: &Files<'_>, file: &Path) -> Result<Mapping, Vec<Diagnostic>> {
    let name = file.strip_prefix(files.root).unwrap_or(file);
    Mapping::load(&name.to_string_lossy(), &|name| files.read(name))
}

/// What reading a file gave; an error of the system cannot be copied. What is not UTF-8 is kept, to tell where.
type Text = Result<Result<String, FromUtf8Error>, (std::io::ErrorKind, String)>;

/// Files below the root, each read once.
struct Files<'c> {
    root: &'c Path,
    texts: RefCell<BTreeMap<PathBuf, Text>>,
}

impl Files<'_> {
    fn read(&self, name: &str) -> std::io::Result<String> {
        let path = self.root.join(name);
        let mut texts = self.texts.borrow_mut();
        let text = texts.entry(path).or_insert_with_key(|path| {
            std::fs::read(path).map(String::from_utf8).map_err(|error| (error.kind(), error.to_string()))
        });
        match text.clone() {
            Ok(text) => text.map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error)),
            Err((kind, text)) => Err(std::io::Error::new(kind, text)),
        }
    }
}

/// Keeps the set in force up to date with its files, until `stop`.
pub(super) async fn keep(reloader: Reloader, stop: CancellationToken) {
    let reloader = Arc::new(Mutex::new(reloader));
    let start = || {
        let (reloader, stop) = (Arc::clone(&reloader), stop.clone());
        async move { reloader.lock().await.watch(stop).await }
    };
    supervise("mappings", &stop, |_| (), start).await;
}

/// How files looked: when written and how long; `None`: not there.
type Look = BTreeMap<PathBuf, Option<(SystemTime, u64)>>;

fn look(files: &BTreeSet<PathBuf>) -> Look {
    let of = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    files.iter().map(|path| (path.clone(), of(path))).collect()
}

/// The set in force and what is known of its files.
pub(super) struct Reloader {
    config: Config,
    set: watch::Sender<Set>,
    policies: watch::Sender<Arc<Policies>>,
    files: BTreeSet<PathBuf>,
    /// As of the last attempt to load.
    seen: Look,
    journal: Journal,
    metrics: Arc<Metrics>,
    asked: Arc<Notify>,
    /// The last set that was read was refused.
    is_refused: bool,
}

impl Reloader {
    /// For a set that was loaded just now and is in force.
    pub(super) fn new(
        config: &Config,
        set: watch::Sender<Set>,
        policies: watch::Sender<Arc<Policies>>,
        mut files: BTreeSet<PathBuf>,
        journal: Journal,
        metrics: Arc<Metrics>,
    ) -> Self {
        files.extend(policies::files(config));
        let seen = look(&files);
        Self {
            config: config.clone(),
            set,
            policies,
            files,
            seen,
            journal,
            metrics,
            asked: Arc::default(),
            is_refused: false,
        }
    }

    /// Notify it to have the set loaded now.
    pub(super) fn asked(&self) -> Arc<Notify> {
        Arc::clone(&self.asked)
    }

    /// Watches until `stop`.
    async fn watch(&mut self, stop: CancellationToken) {
        let set = Arc::clone(&self.set.borrow());
        self.note(&set, None).await;
        let mut before = self.seen.clone();
        loop {
            let is_asked = tokio::select! {
                () = stop.cancelled() => return,
                () = self.asked.notified() => true,
                () = tokio::time::sleep(LOOK) => false,
            };
            let files = self.files.clone();
            let Ok(found) = tokio::task::spawn_blocking(move || look(&files)).await else { continue };
            // Somebody may be in the middle of copying a set: what is loaded looked the same twice.
            if is_asked || (found != self.seen && found == before) {
                self.reload(found.clone(), is_asked).await;
            }
            before = found;
        }
    }

    async fn reload(&mut self, found: Look, is_asked: bool) {
        let config = self.config.clone();
        let Ok((loaded, policies, mut seen)) = tokio::task::spawn_blocking(move || {
            let (mut loaded, policies) = (load(&config), policies::load(&config));
            loaded.files.extend(policies.files);
            let seen = look(&loaded.files);
            (loaded, policies.set, seen)
        })
        .await
        else {
            return;
        };
        // What was written while it was read is read again.
        found.into_iter().filter(|(path, _)| loaded.files.contains(path)).for_each(|(path, look)| {
            seen.insert(path, look);
        });
        (self.files, self.seen) = (loaded.files, seen);
        self.take_policies(policies).await;
        match loaded.set {
            Ok(sources) => self.put_in_force(sources.into(), is_asked).await,
            Err(problems) => self.refuse(&problems).await,
        }
    }

    /// Policies are a set of their own: a mistake in one keeps no mapping from being taken, nor the other way round.
    async fn take_policies(&mut self, loaded: Result<Policies, Vec<Diagnostic>>) {
        let (outcome, policies) = match loaded {
            Ok(policies) => (Outcome::Ok, Some(policies)),
            Err(problems) => {
                tell_all(&problems, "the changed policies cannot be used; those in force stay");
                (Outcome::Refused, None)
            }
        };
        self.metrics.set_policies_refused(policies.is_none());
        let is_known = policies.as_ref().is_some_and(|policies| {
            let before = self.policies.borrow();
            before.policies == policies.policies && before.categories == policies.categories
        });
        if is_known {
            return;
        }
        let entry = self.entry(Action::PolicyLoad, outcome);
        let noted = self.journal.store().submit(move |transaction| audit::append(transaction, &entry).map(drop)).await;
        if let Err(error) = noted {
            // What cannot be written down is not put in force, and looked at again.
            tracing::warn!(%error, "that policies were read could not be written down");
            self.seen = Look::new();
        } else if let Some(policies) = policies {
            self.policies.send_replace(Arc::new(policies));
            tracing::info!("new policies are in force");
        }
    }

    async fn put_in_force(&mut self, set: Set, is_asked: bool) {
        let before = Arc::clone(&self.set.borrow());
        let mut changed = false;
        for (old, new) in before.iter().zip(set.iter()) {
            let (before, version) = (old.mapping.version(), new.mapping.version());
            if before != version {
                changed = true;
                new.mapping.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
            }
        }
        // What cannot be written down is not put in force, and looked at again.
        let entry = changed.then(|| self.entry(Action::MappingLoad, Outcome::Ok));
        if !self.note(&set, entry).await && changed {
            self.seen = Look::new();
            return;
        }
        if changed {
            for (old, new) in before.iter().zip(set.iter()) {
                let (before, version) = (old.mapping.version(), new.mapping.version());
                if before != version {
                    tracing::info!(source = new.name, version, before, "a new mapping is in force");
                }
            }
            self.set.send_replace(set);
            self.metrics.mapping_load(MappingLoad::InForce);
        } else if is_asked {
            tracing::info!("the mappings were read again; none has changed");
        }
        if std::mem::take(&mut self.is_refused) {
            tracing::info!("the mapping files are usable again");
        }
        self.metrics.set_mapping_refused(false);
    }

    /// That mappings or policies were read, with their files.
    fn entry(&self, action: Action, outcome: Outcome) -> Entry {
        let policies = policies::files(&self.config);
        let is_named = |file: &&PathBuf| policies.contains(file) == (action == Action::PolicyLoad) && file.exists();
        let mut entry = self.journal.entry(action).with(outcome);
        self.journal.name_files(&mut entry, self.files.iter().filter(is_named).map(PathBuf::as_path));
        entry
    }

    async fn refuse(&mut self, problems: &[Diagnostic]) {
        tell_all(problems, "the changed mappings cannot be used; those in force stay");
        self.metrics.mapping_load(MappingLoad::Refused);
        self.metrics.set_mapping_refused(true);
        self.is_refused = true;
        let errors = problems.iter().filter(|problem| problem.is_error()).map(ToString::to_string);
        let (errors, at) = (errors.collect::<Vec<_>>(), now());
        let entry = self.entry(Action::MappingLoad, Outcome::Refused);
        let noted = self.journal.store().submit(move |transaction| {
            audit::append(transaction, &entry)?;
            mappings::note_refused(transaction, &errors, at)
        });
        let noted = noted.await;
        if let Err(error) = noted {
            tracing::warn!(%error, "that mappings were refused could not be written down");
        }
    }

    /// Writes down which mappings are in force, and in the audit trail that they were loaded. `false`: it could not be done.
    async fn note(&self, set: &Set, entry: Option<Entry>) -> bool {
        let versions: Vec<(String, String)> =
            set.iter().map(|source| (source.name.clone(), source.mapping.version().to_owned())).collect();
        let at = now();
        let noted = self.journal.store().submit(move |transaction| {
            entry.iter().try_for_each(|entry| audit::append(transaction, entry).map(drop))?;
            mappings::put_in_force(transaction, &versions, at)
        });
        let noted = noted.await;
        if let Err(error) = &noted {
            tracing::warn!(%error, "which mappings are in force could not be written down");
        }
        noted.is_ok()
    }
}
/// Every problem on its line, and how many errors there are among them.
fn tell_all(problems: &[Diagnostic], outcome: &str) {
    for problem in problems {
        if problem.is_error() { tracing::error!("{problem}") } else { tracing::warn!("{problem}") }
    }
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    tracing::error!(errors, "{outcome}");
}
