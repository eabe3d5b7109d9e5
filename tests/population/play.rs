//! Messages through the real pipeline into a store, and who is one person afterwards.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use heyi::hl7v2::{CharsetSetting, Limits};
use heyi::mapping::Mapping;
use heyi::pipeline::{self, Cause, Site, Source, Unit};
use heyi::record::RecordNumber;
use heyi::store::messages::MessageState;
use heyi::store::records::PatientRecord;
use heyi::store::reviews::{ReviewFilter, ReviewStates};
use heyi::store::{Access, Reader, Store, StoreConfig, StoreError, Transaction, persons, records, reviews};
use jiff::tz::TimeZone;
use tokio::runtime::{Builder, Runtime};

use crate::town::Town;
use crate::town::message::messages;
use crate::town::rows::{FEEDS, Feed};

/// Messages that wait for the writer together: what a busy day brings, and fewer than its queue takes.
const BATCH: usize = 1_000;
/// Linux counts CPU time in these, on every architecture that Heyi runs on (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

/// A message and the source that sends it.
pub(crate) type Sending = (Arc<Source>, String);

/// A source named after its mapping or otherwise, at the shipped defaults.
pub(crate) fn source(name: &str, mapping: &str) -> Arc<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mapping = Mapping::load(&format!("mappings/{mapping}.toml"), &|file| std::fs::read_to_string(root.join(file)));
    Arc::new(Source {
        name: name.to_owned(),
        mapping: mapping.expect("a shipped mapping"),
        zone: TimeZone::get("Asia/Shanghai").expect("a zone"),
        facility: None,
        charset: CharsetSetting::Auto,
        limits: Limits::default(),
        site: site(),
    })
}

/// The shipped defaults, but for what `HEYI_POPULATION_SETTINGS` names: `decide.margin=8,veto.years_apart=2`.
fn site() -> Arc<Site> {
    let mut site = Site::default();
    let settings = std::env::var("HEYI_POPULATION_SETTINGS").unwrap_or_default();
    for setting in settings.split(',').filter(|setting| !setting.is_empty()) {
        let (name, value) = setting.split_once('=').expect("a name and a value");
        let (section, key) = name.rsplit_once('.').expect("a section and a key");
        assert!(site.model.set(section, key, value.parse().expect("a number")), "{setting}");
    }
    Arc::new(site)
}

pub(crate) fn source_name(feed: Feed) -> &'static str {
    match feed {
        Feed::His => "his",
        Feed::Lis => "lis",
        Feed::Emr => "emr",
        Feed::East => "east",
    }
}

/// The sources of a town: laboratories that send ADT, and the other campus, speak the standard.
pub(crate) fn town_sources() -> BTreeMap<Feed, Arc<Source>> {
    let mapping = |feed| match feed {
        Feed::His => "his",
        Feed::Emr => "emr-v2",
        Feed::Lis | Feed::East => "hl7v2",
    };
    FEEDS.map(|feed| (feed, source(source_name(feed), mapping(feed)))).into()
}

/// All messages of a town in the order of its rows.
pub(crate) fn town_messages(town: &Town) -> Vec<Sending> {
    let sources = town_sources();
    let rows = town.rows.iter().enumerate();
    rows.flat_map(|(place, row)| messages(row, place).into_iter().map(|text| (Arc::clone(&sources[&row.feed]), text)))
        .collect()
}

/// The keys under which the store keeps a town's rows.
pub(crate) fn town_keys(town: &Town) -> Vec<Key> {
    town.rows.iter().map(|row| (source_name(row.feed).to_owned(), row.number.clone())).collect()
}

/// Source and number of a record.
pub(crate) type Key = (String, String);

/// A store that messages are played into.
pub(crate) struct Stage {
    store: Store,
    arrivals: i64,
    runtime: Runtime,
    _directory: tempfile::TempDir,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(&StoreConfig::new(directory.path().join("heyi.db"), Access::Daemon));
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        Self { store: store.expect("a store"), arrivals: 0, runtime, _directory: directory }
    }

    /// Reads and maps.
    pub(crate) fn prepare(&mut self, messages: &[Sending]) -> Vec<Unit> {
        let prepare = |(source, text): &Sending| {
            self.arrivals += 1;
            // Long after all of them: no source time lies ahead.
            pipeline::prepare(source, text.as_bytes(), 1_750_000_000_000_000 + 1_000_000 * self.arrivals)
        };
        messages.iter().map(prepare).collect()
    }

    /// Identifies and stores, durably; how many messages were kept as failed. Each message is a job of its own, as in service: in
    /// one job together, SQLite would walk through the growing undo journal of all with each of them.
    pub(crate) fn commit(&self, units: Vec<Unit>) -> usize {
        self.runtime.block_on(async {
            let mut waiting = Vec::with_capacity(units.len());
            for unit in units {
                let job = move |transaction: &Transaction<'_>| pipeline::commit(transaction, unit, Cause::Message);
                waiting.push(self.store.enqueue(job).await.expect("an open store"));
            }
            let mut failed = 0;
            for done in waiting {
                failed += usize::from(done.await.expect("a commit").state != MessageState::Processed);
            }
            failed
        })
    }

    /// Both, batch by batch.
    pub(crate) fn play(&mut self, messages: &[Sending]) -> usize {
        let mut failed = 0;
        for batch in messages.chunks(BATCH) {
            let units = self.prepare(batch);
            failed += self.commit(units);
        }
        failed
    }

    /// What is asked about two records.
    pub(crate) fn question(&self, one: &Key, other: &Key) -> String {
        let asked = self.store.read(|reader| {
            let (Some(one), Some(other)) = (row(reader, one)?, row(reader, other)?) else { return Ok(None) };
            reviews::about(reader, one.id, other.id)
        });
        match asked.expect("an open store") {
            Some(review) => {
                let question = review.question;
                let vetoes = question.evidence.to_string();
                let vetoes =
                    vetoes.split("\"vetoes\":").nth(1).map_or("", |rest| rest.split(']').next().unwrap_or_default());
                format!("{} {:.1} bits {vetoes}", question.kind.name(), question.bits)
            }
            None => "nothing".to_owned(),
        }
    }

    /// What speaks for and against one record being the other's person's: the facts that weigh, and what forbids it.
    pub(crate) fn why(&self, one: &Key, other: &Key) -> String {
        let site = site();
        let told = self.store.read(|reader| {
            let (Some(one), Some(other)) = (row(reader, one)?, row(reader, other)?) else { return Ok(None) };
            let sizes = [&one, &other].map(|row| records::of_person(reader, &row.one_id).map(|rows| rows.len()));
            let told = pipeline::explain(reader, &site, &other.one_id, &one.number)?;
            Ok(Some((told.expect("both are known"), sizes)))
        });
        let Some((told, [own, others])) = told.expect("an open store") else { return "not stored".to_owned() };
        let evidence = &told["explanations"][0]["evidence"];
        let facts = evidence["facts"].as_array().into_iter().flatten();
        let facts: Vec<String> = facts
            .map(|fact| {
                let word = |name: &str| fact[name].as_str().unwrap_or_default().to_owned();
                format!("{} {} {:.1}", word("fact"), word("level"), fact["weight"].as_f64().unwrap_or_default())
            })
            .collect();
        format!(
            "records {}+{}, bits {:.1}, household {:.1}, {}, vetoes {}",
            own.unwrap_or_default(),
            others.unwrap_or_default(),
            evidence["bits"].as_f64().unwrap_or_default(),
            evidence["household"].as_f64().unwrap_or_default(),
            facts.join(", "),
            evidence["vetoes"],
        )
    }

    /// The store, for whoever only reads.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The person of each of these records, as a number; a record that the store does not have is nobody's but its own.
    pub(crate) fn persons(&self, keys: &[Key]) -> Vec<usize> {
        let mut numbers: HashMap<String, usize> = HashMap::new();
        let mut number = |one_id: String| {
            let next = numbers.len();
            *numbers.entry(one_id).or_insert(next)
        };
        self.one_ids(keys).into_iter().map(&mut number).collect()
    }

    /// The One IDs of these records, and which of them somebody is asked about.
    pub(crate) fn asked(&self, keys: &[Key]) -> (Vec<String>, HashSet<(String, String)>) {
        let open = ReviewFilter { states: ReviewStates::Open, kind: None };
        let found = self.store.read(|reader| reviews::list(reader, open, None, 1_000_000)).expect("reviews");
        let pairs = found.into_iter().map(|review| review.one_ids);
        (self.one_ids(keys), pairs.flat_map(|(one, other)| [(one.clone(), other.clone()), (other, one)]).collect())
    }

    fn one_ids(&self, keys: &[Key]) -> Vec<String> {
        let mut links: HashMap<Key, String> = HashMap::new();
        let mut after = 0;
        loop {
            let page = self.store.read(|reader| records::links(reader, after, 10_000)).expect("links");
            let Some(last) = page.last() else { break };
            after = last.record;
            links.extend(page.into_iter().map(|row| ((row.source, row.number.value), row.one_id)));
        }
        let one_id = |(place, key)| links.get(key).cloned().unwrap_or_else(|| format!("no record {place}"));
        keys.iter().enumerate().map(one_id).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.store.close();
    }
}

fn row(reader: &Reader<'_>, key: &Key) -> Result<Option<PatientRecord>, StoreError> {
    let number = RecordNumber { system: String::new(), value: key.1.clone() };
    let found = persons::with_identifier(reader, &number, 1)?;
    let rows = found.first().map(|person| records::of_person(reader, &person.one_id)).transpose()?;
    Ok(rows.into_iter().flatten().find(|row| row.number.value == key.1))
}

/// CPU time of this process so far, in user and system mode.
pub(crate) fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    // Behind the command's name, which may hold anything: fields 14 and 15 of the whole line.
    let fields: Vec<&str> = text.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    [11, 12].iter().map(|field| fields[*field].parse::<f64>().expect("ticks")).sum::<f64>() / TICKS_PER_SECOND
}
