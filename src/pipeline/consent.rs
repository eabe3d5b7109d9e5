//! Consents: taken down, and told where what holds for a person changes, be it by a word, a merge or a split.
//!
//! What holds says [`crate::policy::holding`]. What somebody says of a One ID is of all records of the person; what a source says (HL7 v2 CON,
//! FHIR Consent) is of its own record.
//!
//! Invariants
//! - Of one consent of a source the newest word counts, by the source's own time, in whatever order words come: a late retry turns nothing
//!   back. A word that says `none` takes back what was said before, as if it had never been.
//! - A source that only repeats itself says nothing new, and overrules nobody who has spoken since.
//! - Every change by a source is in the audit trail, in the same transaction.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Site;
use super::apply::{About, Job, Owner, Trouble};
use crate::audit::{Action, Actor, Entry};
use crate::feed::EventKind;
use crate::hl7v2::{ErrorCode, Location};
use crate::mapping::MappedRecord;
use crate::policy::{ConsentOutcome, ConsentRefusal, ConsentState, ConsentWord, Purpose};
use crate::record::{Fields, Kind, Value, when};
use crate::state::Moment;
use crate::store::consents::{self, Consent, ConsentName, NewConsent, Word};
use crate::store::{StoreError, Transaction, audit, persons};

/// What holds, by One ID.
pub(super) type Holding = BTreeMap<String, BTreeMap<Purpose, ConsentState>>;

/// Takes down what somebody says of a One ID: of all records that the person has. Runs inside the writer.
///
/// # Errors
/// Only what the store itself says; then nothing was kept.
pub fn consent_by_hand(
    transaction: &Transaction<'_>,
    site: &Site,
    zone: &TimeZone,
    one_id: &str,
    word: &ConsentWord,
    now: i64,
) -> Result<Result<ConsentOutcome, ConsentRefusal>, StoreError> {
    if word.basis.trim().is_empty() {
        return Ok(Err(ConsentRefusal::NoBasis));
    }
    if word.since.is_some_and(|since| since > now) {
        return Ok(Err(ConsentRefusal::BeginsLater));
    }
    if word.until.is_some_and(|until| until <= word.since.unwrap_or(now)) {
        return Ok(Err(ConsentRefusal::EndsBeforeItBegins));
    }
    let Some(person) = persons::resolve(transaction, one_id)? else {
        return Ok(Err(ConsentRefusal::UnknownOneId(one_id.to_owned())));
    };
    let job = Job::by_hand(transaction, site, zone, &format!("{one_id} {word:?} {now}"), now);
    let records = consents::records_of(transaction, &person.one_id)?;
    let said = transaction.attempt(|_| job.say_consent(&person.one_id, &records, word));
    match said {
        Ok(changed) => {
            let holds = consents::holding_of(transaction, &person.one_id, now)?.get(&word.purpose).copied();
            Ok(Ok(ConsentOutcome { one_id: person.one_id, holds, changed }))
        }
        Err(trouble) => Err(trouble.into_store_error()),
    }
}

impl Job<'_> {
    /// Takes down what is said of these records of a living person, and tells it. `false`: the last word about each of them is the same.
    pub(super) fn say_consent(
        &self,
        one_id: &str,
        records: &BTreeSet<i64>,
        word: &ConsentWord,
    ) -> Result<bool, Trouble> {
        let since = word.since.unwrap_or(self.now);
        let known = consents::about(self.transaction, records)?;
        let is_same = |record: &i64| {
            let of_record = known.iter().filter(|consent| {
                consent.said.purpose == word.purpose
                    && consent.counts()
                    && consent.records.contains(record)
                    && consent.said.since <= self.now
            });
            of_record.max_by_key(|consent| (consent.said.since, consent.id)).is_some_and(|last| {
                let began = word.since.is_none_or(|since| since == last.said.since);
                last.said.state == word.state && last.said.until == word.until && began && last.records == *records
            })
        };
        if !records.is_empty() && records.iter().all(is_same) {
            return Ok(false);
        }
        let new = NewConsent {
            one_id: one_id.to_owned(),
            purpose: word.purpose,
            state: word.state,
            since,
            until: word.until,
            basis: word.basis.clone(),
            source: self.source.to_owned(),
            said_by: word.by.clone(),
            message: self.message,
            at: self.now,
        };
        let id = consents::add(self.transaction, &new, records)?;
        let at = Moment { at: self.now, arrival: self.message.unwrap_or_default() };
        self.tell_consent(one_id, word.purpose, word.state.name(), self.told_of(&new), at, id)?;
        Ok(true)
    }

    /// What an event tells of a statement.
    fn told_of(&self, said: &NewConsent) -> Fields {
        let mut data = Fields::new();
        let moment = |at: i64| when::written(Timestamp::from_microsecond(at).unwrap_or_default(), self.zone);
        data.insert("since", moment(said.since).into());
        if let Some(until) = said.until {
            data.insert("until", moment(until).into());
        }
        data.insert("basis", said.basis.as_str().into());
        data.insert("source", said.source.as_str().into());
        data.insert("said_by", said.said_by.as_str().into());
        data
    }

    /// Takes down what a source says of a consent of the patient whose record `owner` is.
    pub(super) fn hear_consent(&self, fields: &Fields, owner: &Owner) -> Result<(), Trouble> {
        let said = self.said_consent(fields)?;
        if let Some(statement) = &self.statement {
            statement.remember_consent(&said.name);
        }
        let Said { name, state, since, until, moment, .. } = &said;
        let known = self.words_of(owner, name)?;
        if known.iter().any(|word| word.moment > (moment.at, moment.arrival)) {
            self.note("a consent: something newer has been said of it, and stays");
            return Ok(());
        }
        let records = BTreeSet::from([owner.record]);
        let counted = match known.iter().find(|word| word.record == owner.record).and_then(|word| word.consent) {
            Some(id) => consents::about(self.transaction, &records)?.into_iter().find(|consent| consent.id == id),
            None => None,
        };
        let is_same = |consent: &Consent| {
            let began = since.is_none_or(|since| since == consent.said.since);
            Some(consent.said.state) == *state && consent.said.until == *until && began
        };
        let consent = match counted {
            Some(same) if is_same(&same) => Some(same.id),
            _ => return self.put_words(owner, &known, &said),
        };
        let word = Word { record: owner.record, name: name.clone(), moment: (moment.at, moment.arrival), consent };
        Ok(consents::put_word(self.transaction, self.source, &word, self.now)?)
    }

    /// What this source said of a consent, of any record of the person: numbers of patients are merged, numbers of consents stay.
    fn words_of(&self, owner: &Owner, name: &ConsentName) -> Result<Vec<Word>, Trouble> {
        let mut words = Vec::new();
        for record in consents::records_of(self.transaction, &owner.one_id)? {
            words.extend(consents::words(self.transaction, self.source, record)?);
        }
        words.retain(|word| word.name == *name);
        Ok(words)
    }

    /// In place of all that the source said of the consent before; tells and writes down what that changes.
    fn put_words(&self, owner: &Owner, known: &[Word], said: &Said) -> Result<(), Trouble> {
        let Said { name, state, since, until, moment, .. } = said;
        let counted = known.iter().any(|word| word.consent.is_some());
        let before = self.consents_of([owner.one_id.as_str()])?;
        let new = (*state).map(|state| NewConsent {
            one_id: owner.one_id.clone(),
            purpose: name.purpose,
            state,
            since: since.unwrap_or(moment.at.min(self.now)),
            until: *until,
            basis: said.basis.clone(),
            source: self.source.to_owned(),
            said_by: said.by.clone(),
            message: self.message,
            at: self.now,
        });
        let add = |new| consents::add(self.transaction, new, &BTreeSet::from([owner.record]));
        let consent = new.as_ref().map(add).transpose()?;
        let at = (moment.at, moment.arrival);
        for word in known.iter().filter(|word| word.record != owner.record) {
            let word = Word { moment: at, consent: None, ..word.clone() };
            consents::put_word(self.transaction, self.source, &word, self.now)?;
        }
        let word = Word { record: owner.record, name: name.clone(), moment: at, consent };
        consents::put_word(self.transaction, self.source, &word, self.now)?;
        if new.is_none() && !counted {
            return Ok(());
        }
        let state = new.as_ref().map_or("none", |new| new.state.name());
        self.note_consent(&owner.one_id, name.purpose, state)?;
        let holds = |holding: &Holding| holding.get(&owner.one_id).and_then(|held| held.get(&name.purpose)).copied();
        let (before, after) = (holds(&before), holds(&self.consents_of([owner.one_id.as_str()])?));
        if before == after {
            return Ok(());
        }
        let said = new.filter(|new| Some(new.state) == after).map(|new| self.told_of(&new)).unwrap_or_default();
        let state = after.map_or("none", ConsentState::name);
        let told = Moment { at: self.now, arrival: self.message.unwrap_or_default() };
        self.tell_consent(&owner.one_id, name.purpose, state, said, told, consent.unwrap_or_default())
    }

    /// Takes back what was told of a Patient's record as Consents that the server has no more, or that are another patient's now.
    pub(super) fn take_back_consents(
        &self,
        owner: &Owner,
        present: &BTreeSet<ConsentName>,
        moment: Moment,
    ) -> Result<(), Trouble> {
        for word in consents::words(self.transaction, self.source, owner.record)? {
            if word.consent.is_none() || present.contains(&word.name) {
                continue;
            }
            let at = moment.at.max(word.moment.0);
            let said = Said {
                name: word.name.clone(),
                state: None,
                since: None,
                until: None,
                basis: String::new(),
                by: String::new(),
                moment: Moment { at, arrival: moment.arrival },
            };
            self.put_words(owner, std::slice::from_ref(&word), &said)?;
        }
        Ok(())
    }

    /// What a mapped consent says.
    fn said_consent(&self, fields: &Fields) -> Result<Said, Trouble> {
        let text = |name: &str| fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let missing = |name: &str| {
            let text = format!(
                "the mapping gives a consent without `{name}`: fill it in [consent], or mark it as required = \"skip\""
            );
            Trouble::content(ErrorCode::RequiredFieldMissing, Location::segment("CON"), text)
        };
        let purpose = text("purpose").and_then(|purpose| purpose.parse().ok()).ok_or_else(|| missing("purpose"))?;
        let state = match text("state").ok_or_else(|| missing("state"))? {
            "none" => None,
            state => Some(state.parse().map_err(|_| missing("state"))?),
        };
        let moment = self.moment_of(Kind::Consent, fields);
        let last = |text: &str| when::last_instant(text, self.zone).map(Timestamp::as_microsecond);
        let since = text("since").and_then(|since| {
            let first = when::instant(since, self.zone).map(Timestamp::as_microsecond)?;
            // Of a day on which somebody said yes and no, nobody knows which was first: the no counts from when it was told, or the day's end.
            let is_no = state == Some(ConsentState::Withdrawn);
            Some(if is_no { last(since)?.min(moment.at.max(first)) } else { first })
        });
        let by = text("said_by").unwrap_or(self.source).to_owned();
        let name = ConsentName { number: text("number").unwrap_or_default().to_owned(), purpose };
        let basis: Vec<&str> = [text("basis"), text("mode")].into_iter().flatten().collect();
        let basis = if basis.is_empty() { format!("told by {}", self.source) } else { basis.join(", ") };
        Ok(Said { name, state, since, until: text("until").and_then(last), basis, by, moment })
    }

    /// That a source has changed what is said of a purpose, in the audit trail.
    fn note_consent(&self, one_id: &str, purpose: Purpose, state: &str) -> Result<(), Trouble> {
        let origin = format!("source:{}", self.source);
        let mut entry = Entry::new(self.now, Actor::Daemon, Action::PersonConsent, &origin, "");
        entry.person(one_id);
        entry.object("purpose", purpose.name());
        entry.object("state", state);
        if let Some(message) = self.message {
            entry.object("message", message);
        }
        audit::append(self.transaction, &entry)?;
        Ok(())
    }

    /// What holds for these persons, before their records move.
    pub(super) fn consents_of<'p>(&self, persons: impl IntoIterator<Item = &'p str>) -> Result<Holding, Trouble> {
        let mut holding = Holding::new();
        for one_id in persons {
            holding.insert(one_id.to_owned(), consents::holding_of(self.transaction, one_id, self.now)?);
        }
        Ok(holding)
    }

    /// Tells each One ID for which, after records have moved, a consent holds that did not, or holds no more. A retired One ID is told of
    /// only where it had one: who follows it must stop.
    pub(super) fn tell_consents(&self, before: Holding, moment: Moment) -> Result<(), Trouble> {
        for (one_id, before) in before {
            let Some(person) = persons::resolve(self.transaction, &one_id)? else { continue };
            let after = consents::holding_of(self.transaction, &person.one_id, self.now)?;
            for purpose in Purpose::ALL {
                let (old, new) = (before.get(&purpose).copied(), after.get(&purpose).copied());
                let gained = new == Some(ConsentState::Given) && person.one_id == one_id;
                if old == new || !(old == Some(ConsentState::Given) || gained) {
                    continue;
                }
                let state = new.map_or("none", ConsentState::name);
                self.tell_consent(&one_id, purpose, state, Fields::new(), moment, 0)?;
            }
        }
        Ok(())
    }

    fn tell_consent(
        &self,
        one_id: &str,
        purpose: Purpose,
        state: &str,
        mut data: Fields,
        moment: Moment,
        id: i64,
    ) -> Result<(), Trouble> {
        data.insert("one_id", one_id.into());
        data.insert("purpose", purpose.name().into());
        data.insert("state", state.into());
        let record = format!("{one_id}/{}", purpose.name());
        let kind = EventKind::PatientConsentChanged;
        let about = About { kind, record: &record, one_id, moment, version: id.unsigned_abs() };
        self.publish(about, &["state".to_owned()], data, self.cause)?;
        Ok(())
    }
}

/// Where one message says several things of one consent and purpose (a provision of FHIR and its exception, two CON of one form), the
/// strictest of them: a no before what does not count, that before a yes.
pub(super) fn keep_strictest(mapped: &mut Vec<MappedRecord>) {
    let text = |record: &MappedRecord, name: &str| {
        record.fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let rank = |record: &MappedRecord| match text(record, "state").as_str() {
        "given" => 0,
        "none" => 1,
        _ => 2,
    };
    let mut strictest: BTreeMap<(usize, String, String), (u8, usize)> = BTreeMap::new();
    let consents = mapped.iter().enumerate().filter(|(_, record)| record.kind == Kind::Consent);
    for (place, record) in consents {
        let name = (record.patient, text(record, "number"), text(record, "purpose"));
        let found = (rank(record), place);
        strictest.entry(name).and_modify(|known| *known = found.max(*known)).or_insert(found);
    }
    let kept: BTreeSet<usize> = strictest.into_values().map(|(_, place)| place).collect();
    let mut place = 0..;
    mapped.retain(|record| {
        let place = place.next().unwrap_or_default();
        record.kind != Kind::Consent || kept.contains(&place)
    });
}

/// What a source says of a consent.
struct Said {
    name: ConsentName,
    /// `None`: it counts no more, or not yet.
    state: Option<ConsentState>,
    since: Option<i64>,
    until: Option<i64>,
    basis: String,
    by: String,
    moment: Moment,
}
