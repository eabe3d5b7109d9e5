//! Consents: who said what of which patient records, for which purpose. Nothing is removed; what its source took back is marked and counts
//! no more. Which of the others holds says [`crate::policy::holding`].

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Row, params};

use super::{Reader, StoreError, Transaction};
use crate::policy::{ConsentState, Purpose, Statement, holding};

/// A statement on its way into the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewConsent {
    /// Of whom it was said.
    pub one_id: String,
    /// What for.
    pub purpose: Purpose,
    /// What was said.
    pub state: ConsentState,
    /// From when on it is in force.
    pub since: i64,
    /// When it ends by itself.
    pub until: Option<i64>,
    /// The paper, the form, the reason.
    pub basis: String,
    /// Who told it: a source's name, or `manual`.
    pub source: String,
    /// Who said it, or took it down.
    pub said_by: String,
    /// The message that told it.
    pub message: Option<i64>,
    /// When it was written down.
    pub at: i64,
}

/// A stored statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// Grows with each statement.
    pub id: i64,
    /// What was said.
    pub said: NewConsent,
    /// The patient records that it is of.
    pub records: BTreeSet<i64>,
    /// When its source said otherwise of it, or took it back: it counts no more.
    pub taken_back: Option<i64>,
}

impl Consent {
    /// Whether it counts still.
    pub fn counts(&self) -> bool {
        self.taken_back.is_none()
    }

    /// As the rule looks at it.
    pub fn statement(&self) -> Statement {
        let NewConsent { state, since, until, .. } = self.said;
        Statement { id: self.id, records: self.records.clone(), state, since, until }
    }
}

/// Writes a statement down; gives its number.
///
/// # Errors
/// See [`StoreError`]; [`StoreError::Constraint`] for a person or record that does not exist.
pub fn add(transaction: &Transaction<'_>, new: &NewConsent, records: &BTreeSet<i64>) -> Result<i64, StoreError> {
    let id = transaction.insert(
        "INSERT INTO consent (one_id, purpose, state, since, until, basis, source, said_by, message, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            new.one_id,
            new.purpose.name(),
            new.state.name(),
            new.since,
            new.until,
            new.basis,
            new.source,
            new.said_by,
            new.message,
            new.at,
        ],
    )?;
    for record in records {
        transaction.insert("INSERT INTO consent_record (record, consent) VALUES (?1, ?2)", params![record, id])?;
    }
    Ok(id)
}

/// Whether anybody has ever said anything about a purpose.
///
/// # Errors
/// See [`StoreError`].
pub fn exist(reader: &Reader<'_>, purpose: Purpose) -> Result<bool, StoreError> {
    let found = reader.one("SELECT 1 FROM consent WHERE purpose = ?1 LIMIT 1", [purpose.name()], |_| Ok(()))?;
    Ok(found.is_some())
}

/// The numbers of a person's records.
///
/// # Errors
/// See [`StoreError`].
pub fn records_of(reader: &Reader<'_>, one_id: &str) -> Result<BTreeSet<i64>, StoreError> {
    let ids = reader.all("SELECT id FROM patient_record WHERE one_id = ?1", [one_id], |row| Ok(row.get(0)?))?;
    Ok(ids.into_iter().collect())
}

/// Every statement about any of these records, in the order in which they were written down.
///
/// # Errors
/// See [`StoreError`].
pub fn about(reader: &Reader<'_>, records: &BTreeSet<i64>) -> Result<Vec<Consent>, StoreError> {
    let mut found: BTreeMap<i64, Consent> = BTreeMap::new();
    for record in records {
        let of_record = reader.all(
            "SELECT consent.id, one_id, purpose, state, since, until, basis, source, said_by, message, at, taken_back
             FROM consent_record JOIN consent ON consent.id = consent_record.consent WHERE record = ?1",
            [record],
            consent,
        )?;
        found.extend(of_record.into_iter().map(|consent| (consent.id, consent)));
    }
    for (id, consent) in &mut found {
        let records =
            reader.all("SELECT record FROM consent_record WHERE consent = ?1", [id], |row| Ok(row.get(0)?))?;
        consent.records = records.into_iter().collect();
    }
    Ok(found.into_values().collect())
}

/// What holds for a living One ID, by purpose; a purpose of which nothing holds is absent.
///
/// # Errors
/// See [`StoreError`].
pub fn holding_of(reader: &Reader<'_>, one_id: &str, now: i64) -> Result<BTreeMap<Purpose, ConsentState>, StoreError> {
    let records = records_of(reader, one_id)?;
    let said = about(reader, &records)?;
    let of = |purpose: Purpose| {
        let of_purpose = said.iter().filter(|consent| consent.said.purpose == purpose && consent.counts());
        let statements: Vec<Statement> = of_purpose.map(Consent::statement).collect();
        Some((purpose, holding(&records, &statements, now)?))
    };
    Ok(Purpose::ALL.into_iter().filter_map(of).collect())
}

/// Which consent a source means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConsentName {
    /// The source's number of it; empty: it has one word for each purpose.
    pub number: String,
    /// What for.
    pub purpose: Purpose,
}

/// What a source said last of a consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The patient record that it was said of.
    pub record: i64,
    /// Which consent.
    pub name: ConsentName,
    /// When the source said it, and in which place it came.
    pub moment: (i64, i64),
    /// What counts of it, if anything.
    pub consent: Option<i64>,
}

/// What a source said last of each consent of a record.
///
/// # Errors
/// See [`StoreError`].
pub fn words(reader: &Reader<'_>, source: &str, record: i64) -> Result<Vec<Word>, StoreError> {
    reader.all(
        "SELECT number, purpose, at, arrival, consent FROM consent_word WHERE record = ?1 AND source = ?2
         ORDER BY number, purpose",
        params![record, source],
        |row| {
            let purpose: String = row.get(1)?;
            let purpose = purpose.parse().map_err(|_| StoreError::Damaged { what: "consent_word.purpose" })?;
            let name = ConsentName { number: row.get(0)?, purpose };
            Ok(Word { record, name, moment: (row.get(2)?, row.get(3)?), consent: row.get(4)? })
        },
    )
}

/// Remembers what a source said last of a consent. What counted of it before counts no more, unless it is the same; `at`: now.
///
/// # Errors
/// See [`StoreError`].
pub fn put_word(transaction: &Transaction<'_>, source: &str, word: &Word, at: i64) -> Result<(), StoreError> {
    let Word { record, name: ConsentName { number, purpose }, moment, consent } = word;
    transaction.run(
        "UPDATE consent SET taken_back = ?5 WHERE taken_back IS NULL AND id IS NOT ?6 AND id =
         (SELECT consent FROM consent_word WHERE record = ?1 AND source = ?2 AND number = ?3 AND purpose = ?4)",
        params![record, source, number, purpose.name(), at, consent],
    )?;
    transaction.run(
        "INSERT INTO consent_word (record, source, number, purpose, at, arrival, consent)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (record, source, number, purpose) DO UPDATE SET
         at = excluded.at, arrival = excluded.arrival, consent = excluded.consent",
        params![record, source, number, purpose.name(), moment.0, moment.1, consent],
    )?;
    Ok(())
}

/// The store's key for stand-ins of numbers.
///
/// # Errors
/// See [`StoreError`].
pub fn pseudonym_secret(reader: &Reader<'_>) -> Result<Vec<u8>, StoreError> {
    let secret = reader.one("SELECT secret FROM pseudonym_key", [], |row| Ok(row.get::<_, Vec<u8>>(0)?))?;
    secret.filter(|secret| secret.len() == 32).ok_or(StoreError::Damaged { what: "pseudonym_key" })
}

fn consent(row: &Row<'_>) -> Result<Consent, StoreError> {
    let damaged = |what: &'static str| move |_| StoreError::Damaged { what };
    let text = |place: usize| -> Result<String, StoreError> { Ok(row.get(place)?) };
    Ok(Consent {
        id: row.get(0)?,
        said: NewConsent {
            one_id: text(1)?,
            purpose: text(2)?.parse().map_err(damaged("consent.purpose"))?,
            state: text(3)?.parse().map_err(damaged("consent.state"))?,
            since: row.get(4)?,
            until: row.get(5)?,
            basis: text(6)?,
            source: text(7)?,
            said_by: text(8)?,
            message: row.get(9)?,
            at: row.get(10)?,
        },
        records: BTreeSet::new(),
        taken_back: row.get(11)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{insert_person, store, write};
    use super::*;

    fn word(one_id: &str, state: ConsentState, since: i64) -> NewConsent {
        NewConsent {
            one_id: one_id.to_owned(),
            purpose: Purpose::Marketing,
            state,
            since,
            until: None,
            basis: "form 7".to_owned(),
            source: "manual".to_owned(),
            said_by: "li".to_owned(),
            message: None,
            at: since,
        }
    }

    #[test]
    fn what_was_said_of_records_comes_back_with_them() {
        let (_directory, store) = store();
        let (one, two) = write(&store, |t| {
            let (one, two) = (insert_person(t, "P1", "1001")?, insert_person(t, "P2", "1002")?);
            add(t, &word("P1", ConsentState::Given, 5), &BTreeSet::from([one]))?;
            add(t, &word("P1", ConsentState::Withdrawn, 9), &BTreeSet::from([one, two]))?;
            Ok((one, two))
        });
        let of = |one_id: &'static str, now: i64| {
            store.read(move |r| holding_of(r, one_id, now)).unwrap().get(&Purpose::Marketing).copied()
        };
        assert_eq!(
            (of("P1", 4), of("P1", 6), of("P1", 9)),
            (None, Some(ConsentState::Given), Some(ConsentState::Withdrawn))
        );
        assert_eq!((of("P2", 6), of("P2", 9)), (None, Some(ConsentState::Withdrawn)));
        let said = store.read(|r| about(r, &BTreeSet::from([two]))).unwrap();
        assert_eq!(said.len(), 1);
        assert_eq!(
            (&said[0].said, &said[0].records),
            (&word("P1", ConsentState::Withdrawn, 9), &BTreeSet::from([one, two]))
        );
        assert!(store.read(|r| exist(r, Purpose::Marketing)).unwrap());
        assert!(!store.read(|r| exist(r, Purpose::Care)).unwrap());
    }

    #[test]
    fn every_store_has_a_key_of_its_own_that_stays() {
        let ((_one, one), (_other, other)) = (store(), store());
        let secret = |store: &super::super::Store| store.read(pseudonym_secret).unwrap();
        assert_eq!(secret(&one), secret(&one));
        assert_ne!(secret(&one), secret(&other));
    }
}
