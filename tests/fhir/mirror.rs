//! A keeper in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use heyi::source::fhir::sink::{Absence, Held, Page, Reference, Resource, Sink, SinkError, Taken, Wanted};
use serde_json::Value;

#[derive(Default)]
pub(crate) struct Held_ {
    pub(crate) resources: BTreeMap<Reference, Resource>,
    pub(crate) notes: BTreeMap<String, String>,
    pub(crate) absent: BTreeSet<Reference>,
    pub(crate) unchanged: Vec<Reference>,
    /// What is to be refreshed, with the version held.
    pub(crate) stale: Vec<Wanted>,
    /// Transactions.
    pub(crate) taken: u64,
    /// Transactions until the keeper fails, if it is to.
    pub(crate) fails_after: Option<u64>,
}

/// Clones share what they hold, as a process that starts again finds its store.
#[derive(Clone, Default)]
pub(crate) struct Mirror(Arc<Mutex<Held_>>);

impl Mirror {
    pub(crate) fn held(&self) -> MutexGuard<'_, Held_> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything, as `Type/id` and its text.
    pub(crate) fn all(&self) -> BTreeMap<String, String> {
        let held = self.held();
        let text = |resource: &Resource| String::from_utf8(resource.body.clone()).unwrap();
        held.resources.iter().map(|(reference, resource)| (reference.to_string(), text(resource))).collect()
    }

    pub(crate) fn ids(&self, resource_type: &str) -> Vec<String> {
        let held = self.held();
        held.resources
            .keys()
            .filter(|reference| reference.resource_type == resource_type)
            .map(|reference| reference.id.clone())
            .collect()
    }
}

/// What a resource refers to.
fn references(resource: &Resource) -> Vec<Reference> {
    fn walk(value: &Value, found: &mut Vec<Reference>) {
        match value {
            Value::Object(object) => {
                if let Some(text) = object.get("reference").and_then(Value::as_str) {
                    found.extend(Reference::parse(text, ""));
                }
                object.values().for_each(|value| walk(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| walk(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    if let Ok(value) = serde_json::from_slice(&resource.body) {
        walk(&value, &mut found);
    }
    found
}

impl Sink for Mirror {
    async fn note(&self, key: &str) -> Result<Option<String>, SinkError> {
        Ok(self.held().notes.get(key).cloned())
    }

    async fn take(&self, page: Page) -> Result<Taken, SinkError> {
        let mut held = self.held();
        if held.fails_after == Some(held.taken) {
            return Err(SinkError { text: "disk full".to_owned() });
        }
        held.taken += 1;
        let mut taken = Taken::default();
        for resource in page.resources {
            held.absent.remove(&resource.reference);
            let before = held.resources.insert(resource.reference.clone(), resource.clone());
            taken.changed += u64::from(before.is_none_or(|before| before.body != resource.body));
        }
        for gone in page.gone {
            if matches!(gone.absence, Absence::NotFound | Absence::Unanswered) {
                held.absent.insert(gone.reference);
            } else {
                taken.withdrawn += u64::from(held.resources.remove(&gone.reference).is_some());
                held.absent.insert(gone.reference);
            }
        }
        for reference in page.unchanged {
            held.stale.retain(|stale| stale.reference != reference);
            held.unchanged.push(reference);
        }
        for note in page.notes {
            match note.text {
                Some(text) => held.notes.insert(note.key, text),
                None => held.notes.remove(&note.key),
            };
        }
        Ok(taken)
    }

    async fn held(&self, resource_type: &str, after: Option<&str>, limit: usize) -> Result<Vec<Held>, SinkError> {
        let held = Mirror::held(self);
        Ok(held
            .resources
            .values()
            .filter(|resource| resource.reference.resource_type == resource_type)
            .filter(|resource| after.is_none_or(|after| resource.reference.id.as_str() > after))
            .take(limit)
            .map(|resource| Held { id: resource.reference.id.clone(), version_id: resource.version_id.clone() })
            .collect())
    }

    async fn wanted(&self, limit: usize) -> Result<Vec<Wanted>, SinkError> {
        let held = Mirror::held(self);
        let lacking: BTreeSet<Reference> = held
            .resources
            .values()
            .flat_map(references)
            .filter(|reference| !held.resources.contains_key(reference) && !held.absent.contains(reference))
            .collect();
        let lacking = lacking.into_iter().map(|reference| Wanted { reference, held_version: None });
        Ok(held.stale.iter().cloned().chain(lacking).take(limit).collect())
    }

    async fn roster(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, SinkError> {
        let after = after.map(str::to_owned);
        let ids = self.ids("Patient").into_iter();
        Ok(ids.filter(|id| after.as_ref().is_none_or(|after| id > after)).take(limit).collect())
    }
}
