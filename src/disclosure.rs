//! What leaves to a consumer: its policy, its purpose and the patients' consents, applied in this one place. Whatever sends something to a
//! consumer (pages of the feed, look-ups, and every other way there will be) asks a [`Gate`].
//!
//! Invariants
//! - Consents, restrictions, deaths, the person and the special categories are those of the moment of reading, for old events too: what was withdrawn a
//!   moment ago is not sent, however long it has been in the log.
//! - An event of which nothing may leave is left out, and the position moves past it.
//! - With the policy `full`, no objection and no purpose that needs consent, an event leaves byte by byte as it is in the log.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::value::RawValue;

use crate::feed::{Event, EventKind, TypeFilter};
use crate::policy::{
    Categories, ConsentState, Document, FULL_POLICY, FieldClass, Lens, Policy, PseudonymKey, Purpose, changed_names,
    is_news,
};
use crate::record::{Fields, Value};
use crate::state::{LabReportState, VisitState};
use crate::store::events;
use crate::store::persons::{self, Person};
use crate::store::{Reader, StoreError, clinical, consents, records, restrictions};
use crate::view;

/// Events of one person that are looked through for the version before: more than happens between two changes of one record.
const LOOKED_BACK: usize = 200;

/// The policies in force, as they were read together.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    /// The special categories.
    pub categories: Arc<Categories>,
    /// By name.
    pub policies: BTreeMap<String, Arc<Policy>>,
}

impl Policies {
    /// The shipped policy `full` alone.
    pub fn full() -> Self {
        let categories = Categories::shipped();
        let full = Policy::shipped(FULL_POLICY, &categories);
        let policies = full.into_iter().map(|full| (FULL_POLICY.to_owned(), Arc::new(full))).collect();
        Self { categories: Arc::new(categories), policies }
    }
}

/// A consumer who asks, with what applies to it.
#[derive(Debug, Clone)]
pub struct Recipient {
    /// Its name.
    pub name: String,
    /// Which event types it gets.
    pub events: Vec<TypeFilter>,
    /// Its policy.
    pub policy: Arc<Policy>,
    /// What it uses the data for.
    pub purpose: Purpose,
    /// The special categories.
    pub categories: Arc<Categories>,
}

impl Recipient {
    /// Whether it may look for somebody by these fields of a patient record: only by what it may see as it is. An answer would else tell
    /// whether a guess is right.
    pub fn may_look_by(&self, record: &Fields) -> bool {
        record.iter().all(|(name, value)| match (name.as_str(), value) {
            ("identifiers", Value::Array(numbers)) => numbers.iter().all(|number| {
                let kind = number.get("type").and_then(Value::as_str).unwrap_or_default();
                self.policy.is_clear(crate::policy::identifier_class(kind))
            }),
            (name, _) => self.policy.is_clear_field(Document::Person, name),
        })
    }

    /// Whether it may look for somebody by a number, whatever the number's type turns out to be: see [`Gate::found_by`].
    pub fn may_look_by_number(&self, value: &str) -> bool {
        let numbers = [FieldClass::HospitalNumber, FieldClass::IdentityNumber, FieldClass::Insurance];
        let is_resident = crate::record::resident_id::ResidentId::read(value).is_some();
        if is_resident {
            return self.policy.is_clear(FieldClass::IdentityNumber);
        }
        numbers.into_iter().any(|class| self.policy.is_clear(class))
    }

    /// Whether it may know why records are one patient's.
    pub fn may_see_evidence(&self) -> bool {
        self.policy.is_clear(FieldClass::Evidence) && !self.purpose.needs_consent()
    }
}

/// How much may leave of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// What the policy shows.
    All,
    /// That the person has died, and nothing else: consent ends with death.
    Death,
    /// Nothing, not even that there is such a person.
    Nothing,
}

/// What a visit or report is now.
#[derive(Debug, Clone)]
struct Now {
    /// Whose it is.
    one_id: Option<String>,
    /// It falls in a special category as a whole.
    withheld: bool,
}

/// What one reading for one recipient may send.
pub struct Gate<'r> {
    reader: &'r Reader<'r>,
    /// `None`: everything may leave.
    rule: Option<Rule<'r>>,
}

struct Rule<'r> {
    recipient: &'r Recipient,
    lens: Lens<'r>,
    /// Consents and restrictions have to be looked at.
    asks: bool,
    at: i64,
    persons: RefCell<BTreeMap<String, Access>>,
    visits: RefCell<BTreeMap<String, Now>>,
}

impl<'r> Gate<'r> {
    /// For a consumer; `None`: for staff, to whom everything is shown.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn new(reader: &'r Reader<'r>, recipient: Option<&'r Recipient>, at: i64) -> Result<Self, StoreError> {
        let Some(recipient) = recipient else { return Ok(Self { reader, rule: None }) };
        let Recipient { policy, categories, purpose, name, .. } = recipient;
        let asks = purpose.needs_consent() || consents::exist(reader, *purpose)? || restrictions::any(reader)?;
        if !asks && policy.hides_nothing(categories) {
            return Ok(Self { reader, rule: None });
        }
        let key = PseudonymKey::new(&consents::pseudonym_secret(reader)?, name);
        let this_year = Timestamp::from_microsecond(at).unwrap_or_default().to_zoned(TimeZone::UTC).year();
        let lens = Lens::new(policy, categories, key, this_year);
        let rule = Rule { recipient, lens, asks, at, persons: RefCell::default(), visits: RefCell::default() };
        Ok(Self { reader, rule: Some(rule) })
    }

    /// What may leave of an event; `None`: nothing.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn event(&self, event: Event) -> Result<Option<Event>, StoreError> {
        match &self.rule {
            Some(rule) => rule.event(self.reader, event),
            None => Ok(Some(event)),
        }
    }

    /// Whether everything leaves as it is.
    pub fn is_open(&self) -> bool {
        self.rule.is_none()
    }

    /// Whether there is such a person for the recipient; the One ID is one that lives.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn admits(&self, one_id: &str) -> Result<bool, StoreError> {
        match &self.rule {
            Some(rule) => Ok(rule.access(self.reader, one_id)? == Access::All),
            None => Ok(true),
        }
    }

    /// What may leave of a document about a person that it admits. `None`: nothing, not even that it is there.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn show(&self, document: Document, record: Fields) -> Result<Option<Fields>, StoreError> {
        let Some(rule) = &self.rule else { return Ok(Some(record)) };
        if !rule.lens.may_know_of(document) || rule.belongs_to_withheld(self.reader, document, &record)? {
            return Ok(None);
        }
        Ok(rule.lens.show(document, record))
    }

    /// Whether the number by which a person was found is one that the recipient may see: else finding it would tell whose it is.
    pub fn found_by(&self, person: &Person, system: &str, value: &str) -> bool {
        let Some(rule) = &self.rule else { return true };
        let numbers = person.golden.get("identifiers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let text = |number: &Value, name: &str| number.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut meant = numbers
            .iter()
            .filter(|number| text(number, "value") == value && (system.is_empty() || text(number, "system") == system))
            .peekable();
        let policy = &rule.recipient.policy;
        if meant.peek().is_none() {
            // A number that its source has given up was a medical record number.
            return policy.is_clear(FieldClass::HospitalNumber);
        }
        meant.all(|number| policy.is_clear(crate::policy::identifier_class(&text(number, "type"))))
    }
}

impl Rule<'_> {
    fn access(&self, reader: &Reader<'_>, one_id: &str) -> Result<Access, StoreError> {
        if !self.asks {
            return Ok(Access::All);
        }
        if let Some(known) = self.persons.borrow().get(one_id) {
            return Ok(*known);
        }
        let access = match persons::resolve(reader, one_id)? {
            Some(person) => self.access_to(reader, &person)?,
            None => Access::Nothing,
        };
        self.persons.borrow_mut().insert(one_id.to_owned(), access);
        Ok(access)
    }

    fn access_to(&self, reader: &Reader<'_>, person: &Person) -> Result<Access, StoreError> {
        if restrictions::holds(reader, &person.one_id)? {
            return Ok(Access::Nothing);
        }
        let purpose = self.recipient.purpose;
        let holds = consents::holding_of(reader, &person.one_id, self.at)?.get(&purpose).copied();
        let is_dead = person.golden.get("deceased").and_then(Value::as_bool) == Some(true);
        Ok(match holds {
            Some(ConsentState::Given) if is_dead && purpose.needs_consent() => Access::Death,
            Some(ConsentState::Given) => Access::All,
            None if !purpose.needs_consent() => Access::All,
            _ => Access::Nothing,
        })
    }

    fn event(&self, reader: &Reader<'_>, event: Event) -> Result<Option<Event>, StoreError> {
        let Ok(kind) = event.kind.parse::<EventKind>() else { return Ok(None) };
        // They name nobody but by the One ID, and whoever holds the person must learn of it.
        if kind.reaches_everybody() {
            return Ok(Some(event));
        }
        if !self.lens.may_know(kind) {
            return Ok(None);
        }
        let damaged = StoreError::Damaged { what: "event.data" };
        let data: Fields = serde_json::from_str(event.data.get()).map_err(|_| damaged.clone())?;
        let document = Document::of(kind);
        let shown = match document {
            Document::Consent => self.consent_event(reader, &event.subject, data)?,
            _ => self.record_event(reader, &event, kind, document, data)?,
        };
        let Some(mut shown) = shown else { return Ok(None) };
        if let Some(id) = shown.get_mut("reverses").and_then(Value::as_object_mut).and_then(|told| told.get_mut("id")) {
            let own = id.as_str().map(|id| self.lens.event_id(kind, id));
            *id = Value::from(own.unwrap_or_default());
        }
        let text = serde_json::to_string(&shown).map_err(|_| damaged.clone())?;
        Ok(Some(Event {
            id: self.lens.event_id(kind, &event.id),
            source: self.lens.event_source(&event.source),
            time: self.lens.event_time(kind, &event.time),
            data: RawValue::from_string(text).map_err(|_| damaged)?,
            ..event
        }))
    }

    fn record_event(
        &self,
        reader: &Reader<'_>,
        event: &Event,
        kind: EventKind,
        document: Document,
        mut data: Fields,
    ) -> Result<Option<Fields>, StoreError> {
        let mut access = self.access(reader, &event.subject)?;
        if let Some(now) = self.now(reader, document, &data)? {
            if now.withheld {
                return Ok(None);
            }
            // Somebody else's meanwhile: a number that was corrected, a person that was parted.
            if let Some(one_id) = now.one_id.filter(|one_id| *one_id != event.subject && access == Access::All) {
                access = self.access(reader, &one_id)?;
            }
        }
        match access {
            Access::Nothing => return Ok(None),
            Access::Death => return Ok(self.death_notice(&data)),
            Access::All => {}
        }
        if self.belongs_to_withheld(reader, document, &data)? {
            return Ok(None);
        }
        self.forget_withheld(reader, &mut data)?;
        let changed = changed_names(&data).to_vec();
        let before = if self.lens.needs_before(document, &changed) {
            self.before(reader, event, document, &data)?
        } else {
            None
        };
        let is_critical = |shown: &Fields| shown.get("critical").and_then(Value::as_bool) == Some(true);
        let Some(mut shown) = self.lens.show(document, data) else { return Ok(None) };
        if kind == EventKind::LabCritical && !is_critical(&shown) {
            return Ok(None);
        }
        if shown.contains_key("changed") {
            let told = self.lens.changes(document, &changed, &shown, before.as_ref());
            let tells_by_itself =
                matches!(kind, EventKind::PatientCreated | EventKind::PatientMerged | EventKind::PatientSplit);
            if !is_news(&told) && is_news(&changed) && !tells_by_itself {
                return Ok(None);
            }
            shown.insert("changed", Value::Array(told));
        }
        Ok(Some(shown))
    }

    /// A consent's event goes to consumers of its purpose, and to those whose policy shows consents. That one ended is told to whoever may
    /// have had the person; somebody who never gave it is none of their business.
    fn consent_event(&self, reader: &Reader<'_>, subject: &str, data: Fields) -> Result<Option<Fields>, StoreError> {
        let text = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default();
        let purpose = self.recipient.purpose;
        if text("purpose") != purpose.name() {
            let shown =
                self.recipient.policy.is_clear(FieldClass::Consent) && self.access(reader, subject)? == Access::All;
            return Ok(self.lens.show(Document::Consent, data).filter(|_| shown));
        }
        let is_told = if text("state") == ConsentState::Given.name() {
            self.access(reader, subject)? == Access::All
        } else {
            let one_id = persons::resolve(reader, subject)?.map(|person| person.one_id).unwrap_or_default();
            let said = consents::about(reader, &consents::records_of(reader, &one_id)?)?;
            !purpose.needs_consent()
                || said
                    .iter()
                    .any(|consent| consent.said.purpose == purpose && consent.said.state == ConsentState::Given)
        };
        Ok(self.lens.show(Document::Consent, data).filter(|_| is_told))
    }

    /// One ID, version and that the person has died; only of the change that says so, and if the policy shows deaths.
    fn death_notice(&self, data: &Fields) -> Option<Fields> {
        let is_news = changed_names(data).iter().any(|name| name.as_str() == Some("deceased"));
        let is_dead = data.get("deceased").and_then(Value::as_bool) == Some(true);
        if !is_news || !is_dead || self.recipient.policy.omits(FieldClass::Death) {
            return None;
        }
        let kept = ["one_id", "version", "deceased", "cause"];
        let mut notice: Fields = kept.into_iter().filter_map(|name| Some((name, data.get(name)?.clone()))).collect();
        notice.insert("changed", Value::Array(vec![Value::from("deceased")]));
        Some(notice)
    }

    /// What the visit or report of a document is now; `None`: the document is of neither.
    fn now(&self, reader: &Reader<'_>, document: Document, data: &Fields) -> Result<Option<Now>, StoreError> {
        let text = |name: &str| data.get(name).and_then(Value::as_str);
        match document {
            Document::Visit => text("visit_id").map(|id| self.visit_now(reader, id)).transpose(),
            Document::LabReport => text("report_id").map(|id| self.report_now(reader, id)).transpose(),
            _ => Ok(None),
        }
    }

    fn visit_now(&self, reader: &Reader<'_>, id: &str) -> Result<Now, StoreError> {
        if let Some(known) = self.visits.borrow().get(id) {
            return Ok(known.clone());
        }
        let mut now = Now { one_id: None, withheld: false };
        if let Some((source, number)) = id.split_once(':') {
            let number = clinical::visit_number_now(reader, source, number)?;
            if let Some(visit) = clinical::visit(reader, source, &number)? {
                let state: VisitState = view::stored(&visit.state, "visit.state")?;
                now.withheld = self.lens.withholds(Document::Visit, &state.record());
                now.one_id = records::one_id_of(reader, visit.record)?;
            }
        }
        self.visits.borrow_mut().insert(id.to_owned(), now.clone());
        Ok(now)
    }

    fn report_now(&self, reader: &Reader<'_>, id: &str) -> Result<Now, StoreError> {
        let mut now = Now { one_id: None, withheld: false };
        let Some((source, number)) = id.split_once(':') else { return Ok(now) };
        let Some(report) = clinical::lab_report(reader, source, number)? else { return Ok(now) };
        let state: LabReportState = view::stored(&report.state, "lab_report.state")?;
        now.one_id = records::one_id_of(reader, report.record)?;
        now.withheld = self.lens.withholds(Document::LabReport, &state.record());
        if let Some(visit_id) = report.visit_id.filter(|_| !now.withheld) {
            now.withheld = self.visit_now(reader, &visit_id)?.withheld;
        }
        Ok(now)
    }

    /// Whether a report is of a visit that is withheld: its number, its requester and its day would tell of the visit.
    fn belongs_to_withheld(&self, reader: &Reader<'_>, document: Document, data: &Fields) -> Result<bool, StoreError> {
        let visit_id = data.get("visit_id").and_then(Value::as_str);
        match visit_id.filter(|_| document == Document::LabReport) {
            Some(visit_id) => Ok(self.visit_now(reader, visit_id)?.withheld),
            None => Ok(false),
        }
    }

    /// Takes the ids of withheld visits and reports out of what moved by a merge or split.
    fn forget_withheld(&self, reader: &Reader<'_>, data: &mut Fields) -> Result<(), StoreError> {
        let Some(moved) = data.get_mut("records").and_then(Value::as_object_mut) else { return Ok(()) };
        for name in ["visits", "lab_reports"] {
            let Some(ids) = moved.get_mut(name).and_then(Value::as_array_mut) else { continue };
            let mut kept = Vec::with_capacity(ids.len());
            for id in std::mem::take(ids) {
                let now = match (name, id.as_str()) {
                    ("visits", Some(id)) => self.visit_now(reader, id)?,
                    (_, Some(id)) => self.report_now(reader, id)?,
                    (_, None) => continue,
                };
                if !now.withheld {
                    kept.push(id);
                }
            }
            *ids = kept;
        }
        Ok(())
    }

    /// What leaves of the version before, where the log still has it under the same One ID; before the first there was nothing.
    fn before(
        &self,
        reader: &Reader<'_>,
        event: &Event,
        document: Document,
        data: &Fields,
    ) -> Result<Option<Fields>, StoreError> {
        let key = match document {
            Document::Visit => "visit_id",
            Document::LabReport => "report_id",
            _ => "one_id",
        };
        let (Some(version), Ok(sequence)) = (data.get("version").and_then(Value::as_i64), event.sequence.parse())
        else {
            return Ok(None);
        };
        if version == 1 {
            return Ok(Some(Fields::new()));
        }
        for payload in events::payloads_before(reader, &event.subject, sequence, LOOKED_BACK)? {
            let earlier: Fields =
                serde_json::from_str(&payload).map_err(|_| StoreError::Damaged { what: "event.data" })?;
            // A report holds a visit_id as well.
            let is_kind = (document == Document::LabReport) == earlier.contains_key("report_id")
                && (document != Document::Person || !earlier.contains_key("visit_id"));
            let is_before = earlier.get("version").and_then(Value::as_i64) == Some(version - 1);
            if is_kind && is_before && earlier.get(key) == data.get(key) {
                return Ok(self.lens.show(document, earlier));
            }
        }
        Ok(None)
    }
}
