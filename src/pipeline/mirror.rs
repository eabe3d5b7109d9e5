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
//! - However many resources name one that changed, a transaction marks a bounded number of them: the rest is written down, and reached
//!   by [`spread`].
//! - What cannot be read is entered and named as such, and is a part of nothing until a version comes that can.

use std::collections::BTreeMap;

use crate::fhir::compose::{FOCAL, gathered_by, is_part};
use crate::store::messages;
use crate::store::resources::{self, Mark, ReadResource, Resource, ResourceName, ResourceState, Spread};
use crate::store::{StoreError, Transaction};

/// How far a change is followed from a resource to the records that it is a part of: Practitioner, PractitionerRole, ServiceRequest,
/// DiagnosticReport is the longest way that any record reads, and Observations are nested once.
const MAX_STEPS: usize = 4;

/// Resources that name one that changed, marked in its own transaction; of more than that the rest is left to [`spread`]. A page holds some
/// hundred resources.
const AT_ONCE: usize = 100;

/// The same in one step of [`spread`]: a commit of some milliseconds.
const A_STEP: usize = 500;

/// What becomes due: by row its rank, and whether it is told whatever it says.
type AllDue = BTreeMap<i64, (i64, Mark)>;

fn add(due: &mut AllDue, row: i64, rank: i64, mark: Mark) -> bool {
    let is_new = !due.contains_key(&row);
    let entry = due.entry(row).or_insert((rank, mark));
    entry.1 = entry.1.max(mark);
    is_new
}

fn mark_all(transaction: &Transaction<'_>, due: AllDue, now: i64) -> Result<(), StoreError> {
    due.into_iter().try_for_each(|(row, (rank, mark))| resources::mark_due(transaction, row, rank, mark, now))
}

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
    FOCAL.iter().position(|focal| *focal == kind).and_then(|place| i64::try_from(place).ok())
}

/// The same of one that cannot be read: whatever its type is, it is told that it cannot. After all others.
fn rank_of(name: &ResourceName, is_unreadable: bool) -> Option<i64> {
    let last = || i64::try_from(FOCAL.len()).unwrap_or(i64::MAX);
    rank(&name.kind).or_else(|| is_unreadable.then(last))
}

/// What of a page was news.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Entered {
    /// Resources that were new or different.
    pub changed: u64,
    /// Resources that were there and are no more.
    pub withdrawn: u64,
}

/// Which of two states of a resource stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// What came last: the server was asked just now.
    Arrival,
    /// What is newer by its own time: files tell of the past.
    SourceTime,
}

/// Enters what a server has and what it has no more, as seen at `now`.
///
/// # Errors
/// See [`StoreError`].
pub fn enter(
    transaction: &Transaction<'_>,
    source: &str,
    read: &[ReadResource],
    removed: &[Removal],
    order: Order,
    now: i64,
) -> Result<Entered, StoreError> {
    let mut entered = Entered::default();
    // A whole becomes due once, however many of its parts are on the page.
    let mut due = AllDue::new();
    for resource in read {
        let known = resources::get(transaction, source, &resource.name)?;
        let is_same = |known: &Resource| {
            known.state == ResourceState::Present
                && known.digest == Some(resource.digest)
                && known.version == resource.version
        };
        // Of what the server deleted a file may still tell.
        let is_older = |known: &Resource| {
            order == Order::SourceTime
                && match known.state {
                    ResourceState::Present => known.updated_at > resource.updated_at,
                    // A deletion without a time has that of the last version.
                    ResourceState::Deleted => known.updated_at >= resource.updated_at,
                    ResourceState::Unread | ResourceState::Absent => false,
                }
        };
        if known.as_ref().is_some_and(|known| is_same(known) || is_older(known)) {
            continue;
        }
        let before = parts_of(transaction, &resource.name, known.as_ref())?;
        let row = resources::put(transaction, source, resource, known.as_ref().map(|known| known.row))?;
        let after = if resource.references.iter().any(|other| is_told_of(&other.kind, &resource.name.kind)) {
            resources::named_by(transaction, row)?
        } else {
            Vec::new()
        };
        let appears = known.as_ref().is_none_or(|known| known.state != ResourceState::Present);
        let is_unreadable = resource.unreadable.is_some();
        if !is_unreadable {
            mend(transaction, known.as_ref())?;
        }
        let change = Changed { source, name: &resource.name, row, known: known.as_ref(), appears, is_unreadable };
        mark(transaction, &change, before, after, &mut due)?;
        entered.changed += 1;
    }
    for Removal { name, state, at } in removed {
        let known = resources::get(transaction, source, name)?;
        // What the server once gave and now does not show may be hidden: only its own word makes it gone.
        let is_hidden = |known: &Resource| known.state == ResourceState::Present && *state == ResourceState::Absent;
        let is_known = |known: &Resource| known.state == ResourceState::Deleted || known.state == *state;
        if known.as_ref().is_some_and(|known| is_hidden(known) || is_known(known)) {
            continue;
        }
        let before = parts_of(transaction, name, known.as_ref())?;
        let row = resources::remove(transaction, source, name, *state, *at)?;
        entered.withdrawn += u64::from(known.as_ref().is_some_and(|known| known.state == ResourceState::Present));
        // Who waited for it need wait no longer.
        let appears = known.as_ref().is_none_or(|known| known.state == ResourceState::Unread);
        mend(transaction, known.as_ref())?;
        let change = Changed { source, name, row, known: known.as_ref(), appears, is_unreadable: false };
        mark(transaction, &change, before, Vec::new(), &mut due)?;
    }
    mark_all(transaction, due, now)?;
    Ok(entered)
}

/// The message that says that a resource cannot be read waits for nothing any more: what could not be read is no longer there.
pub(super) fn mend(transaction: &Transaction<'_>, known: Option<&Resource>) -> Result<(), StoreError> {
    let Some((row, id)) = known.and_then(|known| Some((known.row, known.unreadable_by?))) else { return Ok(()) };
    resources::put_unreadable_by(transaction, row, None)?;
    // It may be pruned by now, or answered: then there is nothing to do.
    messages::dismiss(transaction, id, "the server", "what could not be read was replaced since")?;
    Ok(())
}

/// Goes on with a change that more resources name than one transaction marks. `false`: all changes of the source have reached everything.
///
/// # Errors
/// See [`StoreError`].
pub fn spread(transaction: &Transaction<'_>, source: &str, now: i64) -> Result<bool, StoreError> {
    let Some(spread) = resources::next_spread(transaction, source)? else { return Ok(false) };
    let naming = resources::naming_from(transaction, spread.row, spread.after, A_STEP)?;
    let Some(changed) = resources::by_row(transaction, spread.row)? else {
        resources::end_spread(transaction, spread.row)?;
        return Ok(true);
    };
    let last = naming.last().map(|last| last.row).filter(|_| naming.len() >= A_STEP);
    match last {
        Some(after) => resources::put_spread(transaction, source, Spread { after, ..spread })?,
        None => resources::end_spread(transaction, spread.row)?,
    }
    let mut due = AllDue::new();
    let way = Way { source, appears: spread.appears };
    way.through(transaction, &changed.name, naming, spread.steps, &mut due)?;
    mark_all(transaction, due, now)?;
    Ok(true)
}

/// A resource that was entered just now.
struct Changed<'r> {
    source: &'r str,
    name: &'r ResourceName,
    row: i64,
    /// As it was known before.
    known: Option<&'r Resource>,
    /// Who waited for it need wait no longer.
    appears: bool,
    is_unreadable: bool,
}

/// Whether a resource of type `part` says something of a record of type `whole` that it names: a diagnosis of its visit, a result that stood
/// alone until a report took it in.
fn is_told_of(whole: &str, part: &str) -> bool {
    gathered_by(whole).contains(&part) || whole == "Observation" && is_part(part, true, "Observation")
}

/// What a resource named before it changed, as far as it [told of it](is_told_of).
fn parts_of(
    transaction: &Transaction<'_>,
    name: &ResourceName,
    known: Option<&Resource>,
) -> Result<Vec<Resource>, StoreError> {
    // What was never read named nothing.
    let Some(known) = known.filter(|known| known.state == ResourceState::Present) else { return Ok(Vec::new()) };
    let mut named = resources::named_by(transaction, known.row)?;
    named.retain(|part| is_told_of(&part.name.kind, &name.kind));
    Ok(named)
}

/// Adds what a change makes due to `all_due`. `before`: what it named until now; `after`: what it names.
fn mark(
    transaction: &Transaction<'_>,
    changed: &Changed<'_>,
    before: Vec<Resource>,
    after: Vec<Resource>,
    all_due: &mut AllDue,
) -> Result<(), StoreError> {
    let Changed { source, name, row, known, appears, is_unreadable } = *changed;
    // Of this change alone: where the way upwards has been is known by what it made due.
    let mut due = AllDue::new();
    let was_told = known.is_some_and(|known| known.number.is_some());
    // An Observation that a report has, and that was not told alone before.
    let is_only_a_part = name.kind == "Observation" && known.is_some() && !was_told && {
        let naming = resources::naming(transaction, row)?;
        naming.iter().any(|whole| is_part(&whole.name.kind, true, &name.kind))
    };
    if let Some(rank) = rank_of(name, is_unreadable).filter(|_| is_unreadable || !is_only_a_part) {
        add(&mut due, row, rank, Mark::Anew);
    }
    // Nobody names what was not known.
    if known.is_some() {
        Way { source, appears }.up(transaction, name, row, MAX_STEPS, &mut due)?;
    }
    for part in before.iter().chain(&after).filter(|part| is_told_of(&part.name.kind, &name.kind)) {
        // One that was never told and still has a report needs no telling; one that is due may be in work as what it was before.
        let is_news = part.name.kind != "Observation"
            || part.number.is_some()
            || part.is_due
            || !after.iter().any(|other| other.row == part.row);
        if let Some(rank) = rank(&part.name.kind).filter(|_| is_news && part.state != ResourceState::Unread) {
            add(&mut due, part.row, rank, Mark::Anew);
        }
    }
    for (row, (rank, mark)) in due {
        add(all_due, row, rank, mark);
    }
    Ok(())
}

/// From a resource that changed to the focal ones that it is a part of, by those that name it.
#[derive(Clone, Copy)]
struct Way<'s> {
    source: &'s str,
    /// Who waited for it need wait no longer.
    appears: bool,
}

impl Way<'_> {
    fn up(
        self,
        transaction: &Transaction<'_>,
        name: &ResourceName,
        row: i64,
        steps: usize,
        due: &mut AllDue,
    ) -> Result<(), StoreError> {
        // A visit and a patient are told by themselves; what names them waits for them at most.
        let is_told_alone = matches!(name.kind.as_str(), "Patient" | "Encounter");
        if steps == 0 || (is_told_alone && !self.appears) {
            return Ok(());
        }
        let naming = resources::naming_from(transaction, row, 0, AT_ONCE + 1)?;
        if naming.len() > AT_ONCE {
            let spread = Spread { row, appears: self.appears, steps, after: 0 };
            return resources::put_spread(transaction, self.source, spread);
        }
        self.through(transaction, name, naming, steps, due)
    }

    /// The same through some of those that name it.
    fn through(
        self,
        transaction: &Transaction<'_>,
        name: &ResourceName,
        naming: Vec<Resource>,
        steps: usize,
        due: &mut AllDue,
    ) -> Result<(), StoreError> {
        let is_told_alone = matches!(name.kind.as_str(), "Patient" | "Encounter");
        // Whose visit or report it is may be another one's now, although the unit says the same.
        let mark = if self.appears { Mark::Anew } else { Mark::IfDifferent };
        let next = Self { appears: false, ..self };
        for whole in naming {
            if !is_part(&whole.name.kind, true, &name.kind) {
                continue;
            }
            match rank(&whole.name.kind) {
                Some(rank) => {
                    let is_new = add(due, whole.row, rank, mark);
                    if is_new && whole.name.kind == "Observation" && !is_told_alone {
                        next.up(transaction, &whole.name, whole.row, steps.saturating_sub(1), due)?;
                    }
                }
                None if is_told_alone => {}
                None => next.up(transaction, &whole.name, whole.row, steps.saturating_sub(1), due)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::messages::ContentDigest;
    use crate::store::resources::{Ready, Told};
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
            refresh_at: None,
            unreadable: None,
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
            self.store.submit_blocking(move |t| enter(t, "emr", &read, &[], Order::Arrival, 1)).unwrap();
            self.settled()
        }

        fn loses(&self, text: &str, state: ResourceState) -> String {
            let removal = [Removal { name: name(text), state, at: None }];
            self.store.submit_blocking(move |t| enter(t, "emr", &[], &removal, Order::Arrival, 1)).unwrap();
            self.settled()
        }

        fn settled(&self) -> String {
            let due = self.store.read(|r| resources::due(r, "emr", (-1, 0), Ready::ALL, 99)).unwrap();
            let names: Vec<String> = due.iter().map(|(_, resource)| resource.name.to_string()).collect();
            let told = move |t: &Transaction<'_>| {
                due.iter().try_for_each(|(_, resource)| {
                    resources::settle(t, resource.row, resource.marks)?;
                    resources::told(t, resource.row, Told { number: Some("N"), record: None, at: 1, message: None })
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
    fn what_is_only_hidden_stays() {
        let server = Server::new();
        server.says(&["Encounter/1 v1"]);
        assert_eq!(server.loses("Encounter/1", ResourceState::Absent), "");
        assert_eq!(server.loses("Encounter/1", ResourceState::Deleted), "Encounter/1");
        assert_eq!(server.loses("Encounter/1", ResourceState::Deleted), "");
        assert_eq!(server.says(&["Encounter/1 v2"]), "Encounter/1");
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
