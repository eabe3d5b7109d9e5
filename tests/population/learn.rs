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

/// By section and key of the model: the share of true pairs at this level, of those in which both sides say something of the fact.
pub(crate) fn shares(store: &Store, keys: &[Key], town: &Town) -> BTreeMap<(&'static str, &'static str), f64> {
    let persons: HashMap<&Key, usize> = keys.iter().zip(&town.rows).map(|(key, row)| (key, row.person)).collect();
    let mut facts: BTreeMap<usize, Vec<PatientFacts>> = BTreeMap::new();
    let mut after = 0;
    loop {
        let page = store.read(|reader| records::links(reader, after, 1_000)).expect("links");
        let Some(last) = page.last() else { break };
        after = last.record;
        for row in page {
            let Some(person) = persons.get(&(row.source, row.number.value)) else { continue };
            let stored = store.read(|reader| records::get(reader, row.record)).expect("a record").expect("it is there");
            let state: PatientState = serde_json::from_str(&stored.state).expect("a state");
            facts.entry(*person).or_default().push(PatientFacts::of(&state.record()));
        }
    }
    let model = Model::default();
    let settings: Vec<_> = model.settings().collect();
    let mut counts: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for records in facts.values() {
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
