//! What a person may ask for (PIPL articles 44 to 47): a copy of what is held, that it is sent to nobody, that it is erased.
//!
//! Invariants
//! - Erasing is one transaction: whoever reads sees all of it done, or nothing.
//! - Whoever reads the feed learns of it, whatever event types it asked for: it may hold what is to go.
//! - An erased One ID goes on answering that it is erased; it is never given to anybody else. What sources say of the patient
//!   afterwards is a new person, and a resend of an erased message is answered as one and has no effect.
//! - Restricting changes nothing that is held. It is said of the records and follows them.

mod export;
mod trace;

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::apply::{About, Job, Trouble};
use super::patient::{identifiers, state_of};
use super::{Site, Source};
use crate::feed::EventKind;
use crate::identity::PatientFacts;
use crate::record::{Fields, Value, json, when};
use crate::state::Moment;
use crate::store::persons::Person;
use crate::store::{StoreError, Transaction, erasure, matching, persons, records, restrictions};

pub use export::export;
pub use trace::{Trace, trace};

/// Field of a golden record that says that everything else was erased, and when.
pub const ERASED_AT: &str = "erased_at";

/// Who asks for something on a person's behalf, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Why it is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RightsRefusal {
    /// No such person.
    #[error("no person has this One ID")]
    UnknownOneId,
    /// Records came or went since the person was traced.
    #[error("the person has changed while it was looked for; do it again")]
    ChangedMeanwhile,
    /// Everything is erased already.
    #[error("the person was erased: nothing is held")]
    Erased,
}

/// What was erased.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Erased {
    /// The One ID that answered.
    pub one_id: String,
    /// One IDs that are told as erased, it among them.
    pub one_ids: Vec<String>,
    /// Source records.
    pub records: usize,
    /// Visits.
    pub visits: usize,
    /// Reports.
    pub lab_reports: usize,
    /// Messages whose bytes went.
    pub messages: usize,
    /// Resources of FHIR servers.
    pub resources: usize,
    /// Events whose data went.
    pub events: usize,
}

/// Erases what was traced. Runs inside the writer; afterwards [`crate::store::Store::forget`] takes the last traces out of the files.
///
/// # Errors
/// Only what the store itself says; then nothing was done.
pub fn erase(
    transaction: &Transaction<'_>,
    site: &Site,
    zone: &TimeZone,
    sources: &[Arc<Source>],
    mut trace: Trace,
    request: &Request,
    now: i64,
) -> Result<Result<Erased, RightsRefusal>, StoreError> {
    if !trace.is_current(transaction)? {
        return Ok(Err(RightsRefusal::ChangedMeanwhile));
    }
    let Some(before) = persons::get(transaction, &trace.one_id)? else { return Ok(Err(RightsRefusal::UnknownOneId)) };
    if is_erased(&before) {
        return Ok(Err(RightsRefusal::Erased));
    }
    trace.catch_up(transaction, sources)?;
    let job = Job::by_hand(transaction, site, zone, &format!("{request:?} {now}"), now);
    let done = transaction.attempt(|_| job.erase(&trace, before, request));
    done.map(Ok).map_err(Trouble::into_store_error)
}

/// Sends nothing of a person to anybody any more, or (`is_lifted`) again. Gives the One ID and whether anything changed.
///
/// # Errors
/// Only what the store itself says; then nothing was done.
pub fn restrict(
    transaction: &Transaction<'_>,
    site: &Site,
    zone: &TimeZone,
    one_id: &str,
    is_lifted: bool,
    request: &Request,
    now: i64,
) -> Result<Result<(String, bool), RightsRefusal>, StoreError> {
    let Some(person) = persons::resolve(transaction, one_id)? else { return Ok(Err(RightsRefusal::UnknownOneId)) };
    if is_erased(&person) {
        return Ok(Err(RightsRefusal::Erased));
    }
    let job = Job::by_hand(transaction, site, zone, &format!("{request:?} {now}"), now);
    let one_id = person.one_id.clone();
    let done = transaction.attempt(|_| job.restrict(person, is_lifted, request));
    done.map(|changed| Ok((one_id, changed))).map_err(Trouble::into_store_error)
}

/// Whether nothing is held of a person any more.
pub fn is_erased(person: &Person) -> bool {
    person.golden.contains_key(ERASED_AT)
}

impl Job<'_> {
    fn erase(&self, trace: &Trace, before: Person, request: &Request) -> Result<Erased, Trouble> {
        let one_id = &before.one_id;
        let rows: Vec<i64> = trace.records.iter().map(|row| row.id).collect();
        let resources = erasure::empty_resources(self.transaction, &rows)?;
        for visit in &trace.visits {
            erasure::remove_redirects(self.transaction, &visit.source, &visit.number)?;
        }
        for row in &trace.records {
            let record = state_of(row)?.record();
            let facts = PatientFacts::of(&record);
            self.index(row.id, one_id, &facts, &PatientFacts::default())?;
            records::set_identifiers(self.transaction, row.id, &identifiers(&record, &facts), &[])?;
            erasure::remove_record(self.transaction, row.id)?;
        }
        if !trace.records.is_empty() {
            matching::count_person(self.transaction, -1)?;
        }
        let note = format!("erased by {} on a person's behalf", request.by);
        trace.messages.iter().try_for_each(|id| erasure::empty_message(self.transaction, *id, &note))?;
        trace.events.iter().try_for_each(|sequence| erasure::empty_event(self.transaction, *sequence))?;
        let mut golden = Fields::new();
        golden.insert(ERASED_AT, when::written(self.time(), self.zone).into());
        for retired in trace.one_ids.iter().filter(|retired| *retired != one_id) {
            let gone = self.person(retired)?;
            let after = Person { version: gone.version + 1, golden: golden.clone(), ..gone.clone() };
            persons::update(self.transaction, &gone, &after)?;
        }
        let after = Person { version: before.version + 1, golden: golden.clone(), ..before.clone() };
        persons::update(self.transaction, &before, &after)?;
        let one_ids: Vec<String> = trace.one_ids.iter().cloned().collect();
        let mut data = golden;
        data.insert("erased", json!(one_ids));
        self.tell_notice(EventKind::PatientErased, &after, data)?;
        Ok(Erased {
            one_id: one_id.clone(),
            one_ids,
            records: trace.records.len(),
            visits: trace.visits.len(),
            lab_reports: trace.reports.len(),
            messages: trace.messages.len(),
            resources,
            events: trace.events.len(),
        })
    }

    fn restrict(&self, before: Person, is_lifted: bool, request: &Request) -> Result<bool, Trouble> {
        let Request { by, reason } = request;
        let mut changed = false;
        for row in records::of_person(self.transaction, &before.one_id)? {
            changed |= if is_lifted {
                restrictions::lift(self.transaction, row.id, by, self.now)?
            } else {
                restrictions::restrict(self.transaction, row.id, by, reason, self.now)?
            };
        }
        if !changed {
            return Ok(false);
        }
        let after = Person { version: before.version + 1, ..before.clone() };
        persons::update(self.transaction, &before, &after)?;
        let mut data = Fields::new();
        data.insert("restricted", Value::Bool(!is_lifted));
        self.tell_notice(EventKind::PatientRestricted, &after, data)?;
        if is_lifted {
            // Whoever reads the feed has missed what happened meanwhile, and is told all as it is now.
            self.tell_anew(&after.one_id)?;
        }
        Ok(true)
    }

    /// An event that says of a person only what `data` says.
    fn tell_notice(&self, kind: EventKind, person: &Person, mut data: Fields) -> Result<(), Trouble> {
        let one_id = &person.one_id;
        let changed: Vec<String> = data.keys().map(ToString::to_string).collect();
        data.insert("one_id", one_id.as_str().into());
        data.insert("version", person.version.into());
        let about = About { kind, record: one_id, one_id, moment: self.now_as_moment(), version: person.version };
        self.publish(about, &changed, data, self.cause)?;
        Ok(())
    }

    /// The person, and each visit and report, as they are.
    fn tell_anew(&self, one_id: &str) -> Result<(), Trouble> {
        let before = self.person(one_id)?;
        let after = Person { version: before.version + 1, ..before.clone() };
        persons::update(self.transaction, &before, &after)?;
        let about = About {
            kind: EventKind::PatientUpdated,
            record: one_id,
            one_id,
            moment: self.now_as_moment(),
            version: after.version,
        };
        self.publish(about, &[], crate::view::person(after), self.cause)?;
        let all = self.belongings(one_id)?;
        self.publish_moved(all, one_id, self.now_as_moment(), self.cause)
    }

    fn time(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.now).unwrap_or_default()
    }

    fn now_as_moment(&self) -> Moment {
        Moment { at: self.now, arrival: 0 }
    }
}
