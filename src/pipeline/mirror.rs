//! What a FHIR server said, entered: which records have to be told anew because a resource changed.
//!
//! A record is made of its *focal* resource and of what belongs to it: a visit of an Encounter with its Conditions, Procedures, Locations
//! and Practitioners, a report of a DiagnosticReport with its Observations. So what becomes due with a resource are the focal ones that
//! it is a part of, before and after the change. A Patient is told by itself: its visits and reports become due only when it
//! appears, since they may have waited for it.
//!
//! Invariants
//! - What is entered, what becomes due and how far the reading has got are one transaction.
//! - The same version again changes nothing and makes nothing due.

use std::collections::BTreeSet;

use crate::store::resources::{self, ReadResource, Resource, ResourceName, ResourceState};
use crate::store::{StoreError, Transaction};

/// How far a change is followed from a resource to the records that it is a part of: Practitioner, PractitionerRole, ServiceRequest,
/// DiagnosticReport is the longest way that any record reads, and Observations are nested once.
const MAX_STEPS: usize = 4;

/// Something that a server does not have any more.
#[derive(Debug, Clone)]
pub struct Removal {
    /// What.
    pub name: ResourceName,
    /// [`ResourceState::Deleted`] or [`ResourceState::Absent`].
    pub state: ResourceState,
    /// When, by the server's clock; `None`: it does not say.
    pub at: Option<i64>,
}

/// The order in which records are told: patients before what is about them. `None`: no record is made of this type alone.
pub(super) fn rank(kind: &str) -> Option<i64> {
    ["Patient", "Encounter", "Appointment", "DiagnosticReport", "Observation"]
        .iter()
        .position(|focal| *focal == kind)
        .and_then(|place| i64::try_from(place).ok())
}

/// Enters what a server has and what it has no more; gives how many of them were news.
///
/// # Errors
/// See [`StoreError`].
pub fn enter(
    transaction: &Transaction<'_>,
    source: &str,
    read: &[ReadResource],
    removed: &[Removal],
) -> Result<usize, StoreError> {
    let mut news = 0;
    for resource in read {
        let known = resources::get(transaction, source, &resource.name)?;
        let is_same = |known: &Resource| {
            known.state == ResourceState::Present
                && known.digest == Some(resource.digest)
                && known.version == resource.version
        };
        if known.as_ref().is_some_and(is_same) {
            continue;
        }
        let before = parts_of(transaction, known.as_ref())?;
        let row = resources::put(transaction, source, resource)?;
        let appears = known.is_none_or(|known| known.state != ResourceState::Present);
        mark(transaction, &resource.name, row, before, appears)?;
        news += 1;
    }
    for Removal { name, state, at } in removed {
        let known = resources::get(transaction, source, name)?;
        if known.as_ref().is_some_and(|known| matches!(known.state, ResourceState::Deleted) || known.state == *state) {
            continue;
        }
        let before = parts_of(transaction, known.as_ref())?;
        let row = resources::remove(transaction, source, name, *state, *at)?;
        // Who waited for it need wait no longer.
        let appears = known.is_none_or(|known| known.state == ResourceState::Unread);
        mark(transaction, name, row, before, appears)?;
        news += 1;
    }
    Ok(news)
}

/// What a resource named before it changed.
fn parts_of(transaction: &Transaction<'_>, known: Option<&Resource>) -> Result<Vec<Resource>, StoreError> {
    known.map_or(Ok(Vec::new()), |known| resources::named_by(transaction, known.row))
}

/// Marks what a change of `name` makes due. `before`: what it named until now.
fn mark(
    transaction: &Transaction<'_>,
    name: &ResourceName,
    row: i64,
    before: Vec<Resource>,
    appears: bool,
) -> Result<(), StoreError> {
    let mut due: BTreeSet<(i64, i64)> = BTreeSet::new();
    if let Some(rank) = rank(&name.kind) {
        due.insert((rank, row));
    }
    upwards(transaction, name, row, appears, MAX_STEPS, &mut due)?;
    // What it says of others: a diagnosis of its visit, a result that stood alone until a report took it in.
    let told_of: &[&str] = match name.kind.as_str() {
        "Condition" | "Procedure" => &["Encounter"],
        "DiagnosticReport" | "Observation" => &["Observation"],
        _ => &[],
    };
    if !told_of.is_empty() {
        let after = resources::named_by(transaction, row)?;
        for part in before.iter().chain(&after).filter(|part| told_of.contains(&part.name.kind.as_str())) {
            // One that was never told and still has a report needs no telling.
            let is_news = part.name.kind == "Encounter"
                || part.number.is_some()
                || !after.iter().any(|other| other.row == part.row);
            if let Some(rank) = rank(&part.name.kind).filter(|_| is_news && part.state != ResourceState::Unread) {
                due.insert((rank, part.row));
            }
        }
    }
    due.into_iter().try_for_each(|(rank, row)| resources::mark_due(transaction, row, rank))
}

/// The focal resources that a resource is a part of, by those that name it.
fn upwards(
    transaction: &Transaction<'_>,
    name: &ResourceName,
    row: i64,
    appears: bool,
    steps: usize,
    due: &mut BTreeSet<(i64, i64)>,
) -> Result<(), StoreError> {
    // A visit and a patient are told by themselves; what names them waits for them at most.
    let is_told_alone = matches!(name.kind.as_str(), "Patient" | "Encounter");
    if steps == 0 || (is_told_alone && !appears) {
        return Ok(());
    }
    for whole in resources::naming(transaction, row)? {
        // Who cares for a patient is no part of what is told of the patient; a merged patient names the one that remains.
        if whole.name.kind == "Patient" && name.kind != "Patient" {
            continue;
        }
        match rank(&whole.name.kind) {
            Some(rank) => {
                let is_new = due.insert((rank, whole.row));
                if is_new && whole.name.kind == "Observation" && !is_told_alone {
                    upwards(transaction, &whole.name, whole.row, false, steps - 1, due)?;
                }
            }
            None if is_told_alone => {}
            None => upwards(transaction, &whole.name, whole.row, false, steps - 1, due)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::messages::ContentDigest;
    use crate::store::{Access, PackedBytes, Store, StoreConfig};

    fn name(text: &str) -> ResourceName {
        let (kind, id) = text.split_once('/').unwrap();
        ResourceName { kind: kind.to_owned(), id: id.to_owned() }
    }

    /// `Encounter/1 v2 Patient/1 Location/3`: a resource, its version, and what it names.
    fn resource(text: &str) -> ReadResource {
        let mut words = text.split_whitespace();
        let name = name(words.next().unwrap());
        ReadResource {
            name,
            version: words.next().map(str::to_owned),
            updated_at: Some(1),
            digest: ContentDigest::of(text.as_bytes()),
            body: PackedBytes::pack(text.as_bytes()),
            references: words.map(super::tests::name).collect(),
        }
    }

    struct Server {
        _directory: tempfile::TempDir,
        store: Store,
    }

    impl Server {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::open(&StoreConfig::new(directory.path().join("heyi.db"), Access::Daemon)).unwrap();
            Self { _directory: directory, store }
        }

        /// Enters resources and tells what is due by them, in order; all of it is settled then.
        fn says(&self, texts: &[&str]) -> String {
            let read: Vec<ReadResource> = texts.iter().map(|text| resource(text)).collect();
            self.store.submit_blocking(move |t| enter(t, "emr", &read, &[])).unwrap();
            self.settled()
        }

        fn loses(&self, text: &str, state: ResourceState) -> String {
            let removal = [Removal { name: name(text), state, at: None }];
            self.store.submit_blocking(move |t| enter(t, "emr", &[], &removal)).unwrap();
            self.settled()
        }

        fn settled(&self) -> String {
            let due = self.store.read(|r| resources::due(r, "emr", (-1, 0), 99)).unwrap();
            let names: Vec<String> = due.iter().map(|(_, resource)| resource.name.to_string()).collect();
            let told = move |t: &Transaction<'_>| {
                due.iter().try_for_each(|(_, resource)| {
                    resources::settle(t, resource.row, resource.marks)?;
                    resources::told(t, resource.row, Some("N"), 1)
                })
            };
            self.store.submit_blocking(told).unwrap();
            names.join(" ")
        }
    }

    #[test]
    fn patients_are_told_before_what_is_about_them_and_the_same_again_is_no_news() {
        let server = Server::new();
        let page = ["Encounter/1 v1 Patient/1", "Patient/1 v1", "Location/3 v1"];
        assert_eq!(server.says(&page), "Patient/1 Encounter/1");
        assert_eq!(server.says(&page), "");
    }

    #[test]
    fn a_part_makes_its_whole_due() {
        let server = Server::new();
        server.says(&[
            "Encounter/1 v1 Patient/1 Location/3",
            "Patient/1 v1",
            "Location/3 v1",
            "Condition/5 v1 Encounter/1",
        ]);
        assert_eq!(server.says(&["Location/3 v2"]), "Encounter/1");
        assert_eq!(server.says(&["Condition/5 v2 Encounter/1"]), "Encounter/1");
        assert_eq!(server.loses("Condition/5", ResourceState::Deleted), "Encounter/1");
        assert_eq!(server.says(&["Patient/1 v2"]), "Patient/1");
    }

    #[test]
    fn a_part_that_moves_makes_both_wholes_due() {
        let server = Server::new();
        server.says(&["Encounter/1 v1", "Encounter/2 v1", "Condition/5 v1 Encounter/1"]);
        assert_eq!(server.says(&["Condition/5 v2 Encounter/2"]), "Encounter/1 Encounter/2");
    }

    #[test]
    fn a_result_that_a_report_takes_in_is_told_alone_no_more_and_is_again_when_it_lets_go() {
        let server = Server::new();
        assert_eq!(server.says(&["Observation/1 v1"]), "Observation/1");
        assert_eq!(server.says(&["DiagnosticReport/1 v1 Observation/1"]), "DiagnosticReport/1 Observation/1");
        assert_eq!(server.says(&["Observation/1 v2"]), "DiagnosticReport/1 Observation/1");
        assert_eq!(server.says(&["DiagnosticReport/1 v2"]), "DiagnosticReport/1 Observation/1");
    }

    #[test]
    fn what_is_nested_and_what_is_behind_a_role_is_followed() {
        let server = Server::new();
        server.says(&["Practitioner/1 v1", "PractitionerRole/1 v1 Practitioner/1", "Observation/2 v1"]);
        server.says(&["Observation/1 v1 Observation/2", "DiagnosticReport/1 v1 Observation/1 PractitionerRole/1"]);
        assert_eq!(server.says(&["Practitioner/1 v2"]), "DiagnosticReport/1");
        assert!(server.says(&["Observation/2 v2"]).starts_with("DiagnosticReport/1 "));
    }

    #[test]
    fn what_waited_for_its_patient_is_told_when_the_patient_comes_or_is_known_not_to() {
        let server = Server::new();
        server.says(&["Encounter/1 v1 Patient/1", "DiagnosticReport/1 v1 Patient/2"]);
        assert_eq!(server.says(&["Patient/1 v1"]), "Patient/1 Encounter/1");
        assert_eq!(server.loses("Patient/2", ResourceState::Absent), "Patient/2 DiagnosticReport/1");
        assert_eq!(server.says(&["Patient/2 v1"]), "Patient/2 DiagnosticReport/1");
    }
}
