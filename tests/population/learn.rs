//! How often two records of one person are at which level, counted by the truth.

use std::collections::{BTreeMap, HashMap};

use heyi::identity::{Frequencies, Model, PatientFacts, Term, compare};
use heyi::state::PatientState;
use heyi::store::{Store, records};

use crate::play::Key;
use crate::town::Town;

/// Levels are asked for, not weights.
struct Nobody;

impl Frequencies for Nobody {
    fn count(&self, _: Term) -> (u64, u64) {
        (0, 0)
    }
}

/// What the store knows of each of these records, by its place among them.
pub(crate) fn facts(store: &Store, keys: &[Key]) -> Vec<(usize, PatientFacts)> {
    let places: HashMap<&Key, usize> = keys.iter().enumerate().map(|(place, key)| (key, place)).collect();
    let mut facts = Vec::with_capacity(keys.len());
    let mut after = 0;
    loop {
        let page = store.read(|reader| records::links(reader, after, 1_000)).expect("links");
        let Some(last) = page.last() else { break facts };
        after = last.record;
        for row in page {
            let Some(place) = places.get(&(row.source, row.number.value)) else { continue };
            let stored = store.read(|reader| records::get(reader, row.record)).expect("a record").expect("it is there");
            let state: PatientState = serde_json::from_str(&stored.state).expect("a state");
            facts.push((*place, PatientFacts::of(&state.record())));
        }
    }
}

/// By section and key of the model: the share of true pairs at this level, of those in which both sides say something of the fact.
pub(crate) fn shares(store: &Store, keys: &[Key], town: &Town) -> BTreeMap<(&'static str, &'static str), f64> {
    let mut facts_of: BTreeMap<usize, Vec<PatientFacts>> = BTreeMap::new();
    for (place, facts) in facts(store, keys) {
        facts_of.entry(town.rows[place].person).or_default().push(facts);
    }
    let model = Model::default();
    let settings: Vec<_> = model.settings().collect();
    let mut counts: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for records in facts_of.values() {
        for (place, one) in records.iter().enumerate() {
            for other in &records[place + 1..] {
                for fact in model.score(&compare(one, other), &Nobody).facts {
                    let name = serde_json::to_value(fact.fact).expect("a name");
                    let section = format!("weights.{}", name.as_str().expect("a name"));
                    let is =
                        |setting: &&heyi::identity::Setting| setting.section == section && setting.key == fact.level;
                    let setting = settings.iter().find(is).expect("a setting");
                    *counts.entry((setting.section, setting.key)).or_default() += 1.0;
                }
            }
        }
    }
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    counts.iter().for_each(|((section, _), count)| *sums.entry(section).or_default() += count);
    counts.into_iter().map(|(level, count)| (level, count / sums[level.0])).collect()
}
