//! The store as the keeper of what a poller reads: pages into the mirror, with what becomes due by them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::app::now;
use crate::fhir;
use crate::fhir::compose::{collect_references, gathered_by, is_part};
use crate::pipeline::{self, Entered, Order, Removal};
use crate::source::fhir::sink::{Absence, Held, Page, Reference, Resource, Sink, SinkError, Taken, Wanted};
use crate::store::messages::ContentDigest;
use crate::store::resources::{self, ReadResource, ResourceName, ResourceState};
use crate::store::{PackedBytes, Store};

/// When what nobody polls, and what could not be found, is asked for again: a day, in microseconds.
const REFRESH: i64 = 86_400_000_000;

/// When what gave no usable answer is asked for again: ten minutes, in microseconds.
const SOON: i64 = 600_000_000;

/// Keeps what the poller of one source reads.
#[derive(Clone)]
pub(in crate::app) struct Keeper {
    store: Store,
    source: Arc<str>,
    /// The server's base URL: references may name it.
    base: Arc<str>,
    /// The types that are polled: of the others nobody tells when they change.
    polled: Arc<BTreeSet<String>>,
    /// Told after each page that changed something.
    changed: Arc<tokio::sync::Notify>,
}

impl Keeper {
    /// A keeper for a source.
    pub(in crate::app) fn new(
        store: Store,
        source: &str,
        base: &str,
        polled: &[String],
        changed: Arc<tokio::sync::Notify>,
    ) -> Self {
        let polled = Arc::new(polled.iter().cloned().collect());
        Self { store, source: source.into(), base: base.into(), polled, changed }
    }

    fn read(&self, resource: &Resource, now: i64) -> ReadResource {
        read_resource(resource, &self.base, |kind| self.polled.contains(kind), now.saturating_add(REFRESH))
    }
}

/// A resource as the mirror keeps it; `base` is its server's base URL, by which references may name others. What `is_polled` does not
/// hold of is asked for again at `later`.
pub fn read_resource(
    resource: &Resource,
    base: &str,
    is_polled: impl FnOnce(&str) -> bool,
    later: i64,
) -> ReadResource {
    let name = name_of(&resource.reference);
    let (references, unreadable) = match fhir::read_resource(&resource.body) {
        Ok(read) => (references(&name, &read, base), None),
        Err(reason) => (Vec::new(), Some(reason)),
    };
    ReadResource {
        version: resource.version_id.clone(),
        updated_at: resource.last_updated.as_ref().map(|instant| instant.time().as_microsecond()),
        digest: ContentDigest::of(&resource.body),
        body: PackedBytes::pack(&resource.body),
        references,
        refresh_at: (!is_polled(&name.kind)).then_some(later),
        unreadable,
        name,
    }
}

impl Sink for Keeper {
    async fn note(&self, key: &str) -> Result<Option<String>, SinkError> {
        let (source, key) = (Arc::clone(&self.source), key.to_owned());
        self.store.read_async(move |reader| resources::note(reader, &source, &key)).await.map_err(failed)
    }

    async fn take(&self, page: Page) -> Result<Taken, SinkError> {
        let at = now();
        let read: Vec<ReadResource> = page.resources.iter().map(|resource| self.read(resource, at)).collect();
        let mut removed = Vec::new();
        let mut again: Vec<(ResourceName, i64)> =
            page.unchanged.iter().map(|reference| (name_of(reference), REFRESH)).collect();
        for gone in &page.gone {
            let name = name_of(&gone.reference);
            let state = match gone.absence {
                Absence::Deleted | Absence::Vanished => ResourceState::Deleted,
                Absence::NotFound => {
                    again.push((name.clone(), REFRESH));
                    ResourceState::Absent
                }
                Absence::Unanswered => {
                    again.push((name.clone(), SOON));
                    ResourceState::Absent
                }
            };
            removed.push(Removal { name, state, at: gone.at.as_ref().map(|at| at.time().as_microsecond()) });
        }
        let source = Arc::clone(&self.source);
        let entered = self.store.submit(move |transaction| {
            let entered = pipeline::enter(transaction, &source, &read, &removed, Order::Arrival, at)?;
            for (name, later) in &again {
                resources::refresh(transaction, &source, name, at.saturating_add(*later))?;
            }
            for note in &page.notes {
                resources::put_note(transaction, &source, &note.key, note.text.as_deref())?;
            }
            Ok(entered)
        });
        let Entered { changed, withdrawn } = entered.await.map_err(failed)?;
        if changed + withdrawn > 0 {
            self.changed.notify_one();
        }
        Ok(Taken { changed, withdrawn })
    }

    async fn held(&self, resource_type: &str, after: Option<&str>, limit: usize) -> Result<Vec<Held>, SinkError> {
        let (source, kind) = (Arc::clone(&self.source), resource_type.to_owned());
        let after = after.unwrap_or_default().to_owned();
        let read = self.store.read_async(move |reader| resources::held(reader, &source, &kind, &after, limit));
        let held = read.await.map_err(failed)?;
        Ok(held.into_iter().map(|(id, version_id)| Held { id, version_id }).collect())
    }

    async fn wanted(&self, limit: usize) -> Result<Vec<Wanted>, SinkError> {
        let (source, at) = (Arc::clone(&self.source), now());
        let read = self.store.read_async(move |reader| resources::wanted(reader, &source, at, limit));
        let wanted = read.await.map_err(failed)?;
        let reference = |name: ResourceName| Reference { resource_type: name.kind, id: name.id };
        Ok(wanted.into_iter().map(|(name, held_version)| Wanted { reference: reference(name), held_version }).collect())
    }

    async fn roster(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, SinkError> {
        let patients = self.held("Patient", after, limit).await?;
        Ok(patients.into_iter().map(|patient| patient.id).collect())
    }
}

fn name_of(reference: &Reference) -> ResourceName {
    ResourceName { kind: reference.resource_type.clone(), id: reference.id.clone() }
}

fn failed(error: impl fmt::Display) -> SinkError {
    SinkError { text: error.to_string() }
}

/// The resources of the same server that a resource names and that its record may need.
///
/// An Observation that another one was derived from is no part of that one: only members are, and the results of a report.
fn references(name: &ResourceName, resource: &serde_json::Value, base: &str) -> Vec<ResourceName> {
    let is_needed = |reference: &ResourceName| {
        reference != name
            && (is_part(&name.kind, true, &reference.kind)
                || gathered_by(&reference.kind).contains(&name.kind.as_str()))
    };
    let mut all = BTreeSet::new();
    for (member, value) in resource.as_object().into_iter().flatten() {
        // `related` is STU3's hasMember, among others.
        let has_results = matches!(member.as_str(), "result" | "hasMember" | "related");
        let mut texts = Vec::new();
        collect_references(value, &mut texts);
        let found = texts.iter().filter_map(|text| Reference::parse(text, base)).map(|found| name_of(&found));
        all.extend(found.filter(|found| (has_results || found.kind != "Observation") && is_needed(found)));
    }
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_record_may_need_is_found_wherever_it_is_named() {
        let body: &[u8] = br##"{"resourceType":"Encounter","id":"1","subject":{"reference":"Patient/7"},
            "participant":[{"individual":{"reference":"http://h/fhir/Practitioner/3/_history/2"}}],
            "contained":[{"resourceType":"Location","id":"l"}],"location":[{"location":{"reference":"#l"}}],
            "account":[{"reference":"Account/9"}],"partOf":{"reference":"Encounter/1"},"basedOn":[{"reference":"http://other/ServiceRequest/4"}]}"##;
        let name = |kind: &str, id: &str| ResourceName { kind: kind.to_owned(), id: id.to_owned() };
        let references = |name, body, base: &str| references(&name, &serde_json::from_slice(body).unwrap(), base);
        assert_eq!(
            references(name("Encounter", "1"), body, "http://h/fhir"),
            [name("Patient", "7"), name("Practitioner", "3")]
        );
        let patient: &[u8] =
            br#"{"managingOrganization":{"reference":"Organization/1"},"link":[{"other":{"reference":"Patient/2"}}]}"#;
        assert_eq!(references(name("Patient", "1"), patient, ""), [name("Organization", "1"), name("Patient", "2")]);
        let odd: &[u8] = br#"{"reference":"Patient/9","a":[1.50,-2,1e9,true,null,{"reference":7},{"reference":{"reference":"Patient\/3"}},
            {"reference":["Patient/4"]},{"referenc\u0065":"Patient/5"}]}"#;
        assert_eq!(references(name("Patient", "1"), odd, ""), [name("Patient", "3"), name("Patient", "5")]);
        let derived: &[u8] =
            br#"{"hasMember":[{"reference":"Observation/2"}],"derivedFrom":[{"reference":"Observation/3"}]}"#;
        assert_eq!(references(name("Observation", "1"), derived, ""), [name("Observation", "2")]);
    }
}
