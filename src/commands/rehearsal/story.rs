//! The events of the story: made by running its messages through mapping, pipeline and store, in a temporary directory, as a site's own would be.
//!
//! So a rehearsal cannot drift from the product. What the restore took back is made with a real backup and a real restore. What is no
//! event of the log, what would take the story away, and what Heyi never tells is made here as plain JSON ([`epoch_changed`], [`erased`],
//! [`unknown`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use ulid::Ulid;

use super::messages::{self, AFTERWARDS, Chapter, LOST, RESTORED, STORY, Step};
use crate::app::{now, pipeline_site, pipeline_sources, zone_of_decisions};
use crate::commands::open_store;
use crate::commands::scratch::Scratch;
use crate::config::Config;
use crate::feed::{Cursor, EventKind, TypeFilter};
use crate::identity::{ManualDecision, ManualStep};
use crate::pipeline::{self, Cause, Source};
use crate::store::events::{self, PageRequest};
use crate::store::messages::MessageState;
use crate::store::{Store, backup};

/// Two sources, both read by the base mapping. Nothing listens: the messages are handed in.
const CONFIGURATION: &str = r#"[[sources]]
name = "his"
mapping = "mappings/hl7v2.toml"
authorities = ["HIS"]
mllp = { listen = "127.0.0.1:0" }

[[sources]]
name = "lis"
mapping = "mappings/hl7v2.toml"
mllp = { listen = "127.0.0.1:0" }
"#;

/// The whole story is some hundred events.
const PAGE: PageRequest = PageRequest { after: 0, limit: 10_000, bytes: usize::MAX, filters: Vec::new() };

/// The events of each part, in order, as the feed holds them.
pub(super) struct Story {
    chapters: BTreeMap<Chapter, Vec<Value>>,
    /// What the restore takes back.
    pub(super) lost: Vec<Value>,
    /// What stands in the log of the new epoch when the consumer comes back.
    pub(super) restored: Vec<Value>,
    /// What is told after that.
    pub(super) afterwards: Vec<Value>,
    /// One IDs by the number of the patient's record, as they were given first.
    one_ids: BTreeMap<String, String>,
}

impl Story {
    /// Lets it happen.
    ///
    /// # Errors
    /// The temporary directory cannot be written; or Heyi does not take its own messages, which is a defect.
    pub(super) fn make() -> anyhow::Result<Self> {
        let site = Scratch::create("rehearsal")?;
        let config = site.configure(CONFIGURATION)?;
        let copy = site.path("backup.db");
        let mut chapters = BTreeMap::new();
        let mut hospital = Hospital::open(&config)?;
        for (chapter, steps) in STORY {
            chapters.insert(*chapter, hospital.play(steps)?);
        }
        backup::write(hospital.store.path(), &copy, now())?;
        let kept = hospital.told;
        let lost = hospital.play(LOST)?;
        let one_ids = hospital.end();
        backup::put_back(&copy, &config.store, &config.audit.checkpoints, now())?;
        let mut hospital = Hospital::open(&config)?;
        hospital.told = kept;
        let restored = hospital.play(RESTORED)?;
        let afterwards = hospital.play(AFTERWARDS)?;
        hospital.end();
        Ok(Self { chapters, lost, restored, afterwards, one_ids })
    }

    /// The events of a part.
    pub(super) fn events(&self, chapter: Chapter) -> &[Value] {
        self.chapters.get(&chapter).map_or(&[], Vec::as_slice)
    }

    /// The One ID that the patient of this record got.
    pub(super) fn one_id(&self, number: &str) -> &str {
        self.one_ids.get(number).map_or("", String::as_str)
    }
}

struct Hospital<'a> {
    config: &'a Config,
    sources: Vec<Arc<Source>>,
    store: Store,
    /// Sequence number of the newest event that was taken.
    told: u64,
    one_ids: BTreeMap<String, String>,
}

impl<'a> Hospital<'a> {
    fn open(config: &'a Config) -> anyhow::Result<Self> {
        let sources = pipeline_sources(config).map_err(|problems| {
            crate::commands::output::diagnostics(&problems);
            crate::commands::Unusable
        })?;
        Ok(Self { config, sources, store: open_store(config)?, told: 0, one_ids: BTreeMap::new() })
    }

    /// Lets go of the store; gives the One IDs.
    fn end(self) -> BTreeMap<String, String> {
        self.store.close();
        self.one_ids
    }

    /// Lets the steps happen; gives the events that follow from them.
    fn play(&mut self, steps: &[Step]) -> anyhow::Result<Vec<Value>> {
        let mut told = Vec::new();
        for step in steps {
            match *step {
                Step::Message(source, kind, at, body) => self.send(source, &messages::text(source, kind, at, body))?,
                Step::Split(number) => self.split(number)?,
            }
            told.extend(self.news()?);
        }
        Ok(told)
    }

    fn send(&self, source: &str, message: &str) -> anyhow::Result<()> {
        let source = self.sources.iter().find(|known| known.name == source).context("a source of the story")?;
        let unit = pipeline::prepare(source, message.as_bytes(), now());
        let done = self.store.submit_blocking(move |transaction| {
            transaction.savepoint(|part| pipeline::commit(part, unit, Cause::Message))
        })?;
        if done.state != MessageState::Processed {
            let why = done.error.map(|error| error.text).unwrap_or_default();
            bail!("a message of the rehearsal is {:?}: {why}; this is a defect of Heyi, report it", done.state);
        }
        Ok(())
    }

    fn split(&self, number: &str) -> anyhow::Result<()> {
        let one_id = self.one_ids.get(number).context("a patient of the story")?.clone();
        let step = ManualStep::Split { one_id, records: Vec::new() };
        let decision = ManualDecision { step, by: "rehearsal".to_owned(), reason: "two patients".to_owned() };
        let (site, zone) = (pipeline_site(self.config), zone_of_decisions(self.config));
        self.store.submit_blocking(move |transaction| {
            pipeline::decide_by_hand(transaction, &site, &zone, &decision, now())
        })??;
        Ok(())
    }

    /// What was told since the last look.
    fn news(&mut self) -> anyhow::Result<Vec<Value>> {
        let request = PageRequest { after: self.told, filters: vec![TypeFilter::ALL], ..PAGE };
        let page = self.store.read(|reader| events::page(reader, &request))?;
        self.told = page.next;
        let told: Vec<Value> = page.events.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        for event in told.iter().filter(|event| event["type"] == "patient.created") {
            let identifiers = event["data"]["identifiers"].as_array().into_iter().flatten();
            for identifier in identifiers {
                let text = |name: &str| identifier[name].as_str().unwrap_or_default();
                let number = format!("{}|{}", text("system"), text("value"));
                self.one_ids.entry(number).or_insert_with(|| event["subject"].as_str().unwrap_or_default().to_owned());
            }
        }
        Ok(told)
    }
}

/// An event that Heyi did not make, with a place in the log to be given yet.
fn invented(kind: &str, subject: &str, schema: &str, data: Value) -> Value {
    json!({
        "specversion": "1.0",
        "id": Ulid::generate().to_string(),
        "source": "heyi/rehearsal",
        "type": kind,
        "subject": subject,
        "time": "2026-03-19T12:00:00+08:00",
        "sequence": "000000000000",
        "dataschema": schema,
        "datacontenttype": "application/json",
        "data": data,
    })
}

/// The ids of these events.
pub(super) fn ids(events: &[Value]) -> BTreeSet<String> {
    events.iter().filter_map(|event| event["id"].as_str().map(str::to_owned)).collect()
}

/// A backup was put back: as whoever is pushed to is told, who was given everything up to the backup.
pub(super) fn epoch_changed(began: Cursor, head: Cursor) -> Value {
    let kind = EventKind::FeedEpochChanged;
    let data = json!({
        "epoch": began.epoch,
        "began": began.to_string(),
        "next": began.to_string(),
        "head": head.to_string(),
        "reconcile": "/v1/feed/reconcile",
    });
    let mut event = invented(kind.name(), "", kind.schema_path(), data);
    event["sequence"] = json!(format!("{:012}", began.sequence));
    // It is about nobody.
    event.as_object_mut().map(|members| members.remove("subject"));
    event
}

/// A patient is to be forgotten.
pub(super) fn erased(one_id: &str) -> Value {
    // No consumer holds a version of it as high as this.
    let data =
        json!({"one_id": one_id, "erased": [one_id], "version": 1_000_000, "changed": ["erased"], "cause": "manual"});
    invented("patient.erased", one_id, EventKind::PatientErased.schema_path(), data)
}

/// Events of types that this version does not have, one of a family that nobody knows: a later Heyi may tell them.
pub(super) fn unknown(one_id: &str) -> Vec<Value> {
    vec![
        invented("segment.entered", one_id, "/schemas/segment.v1.json", json!({"segment": "diabetes", "since": 2026})),
        invented(
            "visit.moonlit",
            one_id,
            "/schemas/moon.v9.json",
            json!({"phases": [null, {"full": true}], "version": "first"}),
        ),
        invented("x", one_id, "/schemas/x.v1.json", json!([])),
    ]
}

/// The event with members that this version does not have, in the envelope and in the record.
pub(super) fn with_unknown_fields(event: &Value) -> Value {
    let mut event = event.clone();
    event["partitionkey"] = json!("42");
    event["data"]["weather"] = json!({"wind": ["NE", 4], "until": null});
    event["data"]["patron_saint"] = json!("Luke");
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::rehearsal::messages::{ERASED, ERASED_UNREAD};
    use crate::commands::rehearsal::model::Model;
    use crate::feed::snapshot::{Part, Place};
    use crate::outgoing::snapshot::{self, Detail};

    /// The naive model's word of the whole story, and the store's.
    #[test]
    fn the_model_ends_with_what_a_snapshot_of_the_real_store_holds() {
        let site = Scratch::create("rehearsal").unwrap();
        let config = site.configure(CONFIGURATION).unwrap();
        let mut hospital = Hospital::open(&config).unwrap();
        let mut told = Vec::new();
        for (_, steps) in STORY {
            told.extend(hospital.play(steps).unwrap());
        }
        let detail = Detail::Records { bytes: usize::MAX };
        let begun = hospital.store.read(events::head).unwrap();
        let place = Place::first(begun);
        let page = hospital.store.read(|reader| {
            let gate = crate::disclosure::Gate::new(reader, None, 0)?;
            snapshot::page(reader, place, Part::ALL, 1_000, detail, &gate)
        });
        let page = page.unwrap();
        let by_id = |rows: Vec<Value>| -> BTreeMap<String, Value> {
            rows.into_iter().map(|row| (format!("{} {}", row["kind"], row["id"]), row)).collect()
        };
        let mut held = by_id(page.rows.iter().map(|row| serde_json::to_value(row).unwrap()).collect());
        let mut expected = by_id(Model::of(&told).rows(true));
        assert_eq!(held.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        assert!(held.len() > 15, "{}", held.len());
        for rows in [&mut held, &mut expected] {
            for row in rows.values_mut() {
                // No event tells what a retired One ID looks like; a time that a source confirmed needs no event.
                if row["record"]["merged_into"].is_string() {
                    row["version"] = Value::Null;
                    row["record"] = json!({"merged_into": row["record"]["merged_into"]});
                }
                let record = row["record"].as_object_mut().unwrap();
                record.remove("updated_at");
                for source in record.get_mut("sources").and_then(Value::as_array_mut).into_iter().flatten() {
                    drop(source.as_object_mut().unwrap().remove("updated_at"));
                }
            }
        }
        for (id, row) in &held {
            assert_eq!(row, &expected[id], "{id}");
        }
    }

    #[test]
    fn the_story_holds_what_each_duty_is_tried_with() {
        let story = Story::make().unwrap();
        let types = |events: &[Value]| -> Vec<String> {
            events.iter().filter_map(|event| event["type"].as_str().map(str::to_owned)).collect()
        };
        let of = |chapter| types(story.events(chapter));
        assert_eq!(of(Chapter::Merge), ["patient.merged", "visit.updated", "lab.resulted"]);
        assert_eq!(of(Chapter::Split), ["patient.split", "patient.updated", "visit.updated", "lab.resulted"]);
        assert!(of(Chapter::Repeat).contains(&"lab.critical".to_owned()));
        assert_eq!(of(Chapter::Moved)[1..], ["lab.cancelled", "lab.corrected"]);
        assert!(story.events(Chapter::TakeBack).iter().all(|event| event["data"]["reverses"]["id"].is_string()));
        assert_ne!(story.events(Chapter::Correct)[0]["data"]["critical"], true);
        // The restore brings one version anew with other content, and another back.
        let last = |events: &[Value], visit: &str| {
            events.iter().rev().find(|event| event["data"]["visit_id"] == visit).map(|event| event["data"].clone())
        };
        let (lost, new) = (last(&story.lost, "his:V3").unwrap(), last(&story.restored, "his:V3").unwrap());
        assert_eq!(lost["version"], new["version"]);
        assert_ne!(lost["status"], new["status"]);
        let (lost, new) = (last(&story.lost, "his:V4").unwrap(), last(&story.afterwards, "his:V4").unwrap());
        assert!(lost["version"].as_u64() > new["version"].as_u64());
        assert_eq!([ERASED, ERASED_UNREAD].map(|number| story.one_id(number).len()), [26, 26]);
    }
}
