//! Consents: taken down, and told where what holds for a person changes, be it by a word, a merge or a split.
//!
//! What holds says [`crate::policy::holding`]. Messages and resources will come in by [`Job::say_consent`], with the record that they are of.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Site;
use super::apply::{About, Job, Trouble};
use crate::feed::EventKind;
use crate::policy::{ConsentOutcome, ConsentRefusal, ConsentState, ConsentWord, Purpose};
use crate::record::{Fields, when};
use crate::state::Moment;
use crate::store::consents::{self, NewConsent};
use crate::store::{StoreError, Transaction, persons};

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
        let mut data = Fields::new();
        let moment = |at: i64| when::written(Timestamp::from_microsecond(at).unwrap_or_default(), self.zone);
        data.insert("since", moment(since).into());
        if let Some(until) = word.until {
            data.insert("until", moment(until).into());
        }
        data.insert("basis", word.basis.as_str().into());
        data.insert("source", self.source.into());
        data.insert("said_by", word.by.as_str().into());
        let at = Moment { at: self.now, arrival: self.message.unwrap_or_default() };
        self.tell_consent(one_id, word.purpose, word.state.name(), data, at, id)?;
        Ok(true)
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
