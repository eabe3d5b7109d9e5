//! What a store holds in the end, without what depends on chance and order by nature: One IDs, versions, times of arrival.

use std::collections::{BTreeMap, BTreeSet};

use heyi::feed::TypeFilter;
use heyi::record::{Fields, Value};
use heyi::store::events::{self, PageRequest};
use heyi::store::{Reader, Store, StoreError, clinical, persons, records};
use heyi::view;

/// Rows asked for at once; more than any history makes.
const ALL: usize = 100_000;

/// Fields of an event's data that are not of the record.
const OF_THE_EVENT: [&str; 7] = ["changed", "cause", "reverses", "retired", "basis", "records", "new_one_id"];

/// Persons by their members, visits and reports by their ids; each with its record and, of visits and reports, its person's
/// members.
pub(crate) struct Outcome {
    persons: BTreeMap<Vec<String>, Fields>,
    visits: BTreeMap<String, (Vec<String>, Fields)>,
    reports: BTreeMap<String, (Vec<String>, Fields)>,
}

impl Outcome {
    /// What is in one and not in the other, a line each.
    pub(crate) fn differences(&self, other: &Outcome) -> Vec<String> {
        let (one, other) = (self.lines(), other.lines());
        let only = |sign: &str, some: &BTreeSet<String>, others: &BTreeSet<String>| {
            some.difference(others).map(|line| format!("{sign} {line}")).collect::<Vec<String>>()
        };
        [only("-", &one, &other), only("+", &other, &one)].concat()
    }

    fn lines(&self) -> BTreeSet<String> {
        let clinical = self.visits.iter().chain(&self.reports).flat_map(|(id, (owner, record))| {
            let fields = record.iter().map(move |(name, value)| format!("{id} {name}: {value}"));
            fields.chain([format!("{id} of {owner:?}")])
        });
        let persons = self.persons.iter().flat_map(|(members, record)| {
            record.iter().map(move |(name, value)| format!("{members:?} {name}: {value}"))
        });
        clinical.chain(persons).collect()
    }
}

/// Reads what there is, and checks the log against it.
pub(crate) fn outcome(store: &Store) -> Outcome {
    store
        .read(|reader| {
            let held = Held::read(reader)?;
            held.check_log(reader)?;
            Ok(held.outcome())
        })
        .unwrap()
}

/// All that is stored, as it is shown.
struct Held {
    members: BTreeMap<String, Vec<String>>,
    persons: BTreeMap<String, Fields>,
    visits: BTreeMap<String, Fields>,
    reports: BTreeMap<String, Fields>,
}

impl Held {
    fn read(reader: &Reader<'_>) -> Result<Self, StoreError> {
        let mut members: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for link in records::links(reader, 0, ALL)? {
            members.entry(link.one_id).or_default().push(format!("{} {}", link.source, link.number));
        }
        members.values_mut().for_each(|members| members.sort());
        let mut held = Self { members, persons: BTreeMap::new(), visits: BTreeMap::new(), reports: BTreeMap::new() };
        for one_id in held.members.keys() {
            let person = persons::get(reader, one_id)?.expect("a record's person exists");
            assert_eq!(person.merged_into, None, "a record belongs to a living One ID");
            held.persons.insert(one_id.clone(), view::person(person));
            for (_, visit) in clinical::visits_of_person(reader, one_id, 0, ALL)? {
                held.visits.insert(visit.visit_id(), as_in_events(view::visit(&visit, one_id)?));
            }
            for (_, report) in clinical::lab_reports_of_person(reader, one_id, 0, ALL)? {
                held.reports.insert(report.report_id(), as_in_events(view::lab_report(&report, one_id)?));
            }
        }
        Ok(held)
    }

    /// The log has no hole, nor has a record's versions, and the last event of a record shows it as it is stored.
    fn check_log(&self, reader: &Reader<'_>) -> Result<(), StoreError> {
        let request = PageRequest { after: 0, limit: ALL, bytes: usize::MAX, filters: vec![TypeFilter::ALL] };
        let mut last: BTreeMap<(&str, String), Fields> = BTreeMap::new();
        for (event, sequence) in events::page(reader, &request)?.events.into_iter().zip(1..) {
            assert_eq!(event.sequence, format!("{sequence:012}"), "a hole in the log");
            let mut data: Fields = serde_json::from_str(event.data.get()).unwrap();
            let family = event.kind.split('.').next().unwrap();
            let (family, name) = match family {
                "visit" => ("visit", "visit_id"),
                "lab" => ("lab", "report_id"),
                _ => ("patient", "one_id"),
            };
            let record = (family, data[name].as_str().unwrap().to_owned());
            let version = version_of(&data);
            let before = last.get(&record).map_or(0, version_of);
            assert_eq!(version, before + 1, "versions of {record:?}");
            assert_eq!(event.subject, data["one_id"].as_str().unwrap());
            OF_THE_EVENT.iter().for_each(|name| drop(data.remove(name)));
            last.insert(record, data);
        }
        for (family, stored) in [("visit", &self.visits), ("lab", &self.reports), ("patient", &self.persons)] {
            for (id, stored) in stored {
                let told = last.get(&(family, id.clone())).unwrap_or_else(|| panic!("no event tells of {id}"));
                // A time alone is no news.
                assert_eq!(timeless(told), timeless(stored), "the last event of {id}");
            }
        }
        Ok(())
    }

    fn outcome(self) -> Outcome {
        let of_person = |mut record: Fields| {
            let one_id = record.remove("one_id").unwrap();
            record.remove("version");
            (self.members[one_id.as_str().unwrap()].clone(), record)
        };
        let clinical = |records: BTreeMap<String, Fields>| {
            records.into_iter().map(|(id, record)| (id, of_person(record))).collect()
        };
        Outcome {
            visits: clinical(self.visits),
            reports: clinical(self.reports),
            // A person is stored as its last event told; a source that repeats itself later makes none.
            persons: self.persons.values().map(timeless).map(of_person).collect(),
        }
    }
}

/// A record that was looked up, without what only look-ups tell.
fn as_in_events(mut record: Fields) -> Fields {
    assert!(record.remove("mapping_version").is_some(), "a record without its mapping: {record:?}");
    record
}

/// A record without the times at which its sources said so.
fn timeless(record: &Fields) -> Fields {
    let mut record = record.clone();
    record.remove("updated_at");
    let sources = record.get_mut("sources").and_then(Value::as_array_mut).into_iter().flatten();
    sources.filter_map(Value::as_object_mut).for_each(|source| drop(source.remove("updated_at")));
    record
}

fn version_of(record: &Fields) -> u64 {
    record["version"].to_string().parse().unwrap()
}
