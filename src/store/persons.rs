//! Persons: what a One ID stands for, its golden record, and the redirects that merges leave behind.

use std::collections::BTreeSet;

use rusqlite::{Row, params};

use super::packed::{PackedText, unpack_text};
use super::search_key::{KEY_FIELDS, KeyKind, keys};
use super::{Reader, StoreError, Transaction, records, row_limit, signed};
use crate::record::resident_id::ResidentId;
use crate::record::{Fields, RecordNumber};

/// A One ID and its golden record.
#[derive(Debug, Clone, PartialEq)]
pub struct Person {
    /// The One ID.
    pub one_id: String,
    /// Grows by one with each published change.
    pub version: u64,
    /// The One ID that answers for this one since a merge.
    pub merged_into: Option<String>,
    /// When the One ID was given.
    pub created_at: i64,
    /// The golden record's fields, without `one_id`, `version`, `merged_into`.
    pub golden: Fields,
}

/// How to search; all that is given must fit. Names and phones are compared without blanks, width and country code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PersonSearch {
    /// The name, or one of the other names.
    pub name: Option<String>,
    /// `YYYY-MM-DD`, as stored.
    pub birth_date: Option<String>,
    /// One of the phones.
    pub phone: Option<String>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT person.one_id, person.version, person.merged_into, person.created_at, person.golden FROM person ",
            $rest
        )
    };
}

/// The person exactly under this One ID, retired or not.
///
/// # Errors
/// See [`StoreError`].
pub fn get(reader: &Reader<'_>, one_id: &str) -> Result<Option<Person>, StoreError> {
    reader.one(select!("WHERE one_id = ?1"), [one_id], person)
}

/// A page of all persons, retired ones too, in the order in which they were made: at most `limit` after the place `after` (0 for the
/// beginning). Each with its place.
///
/// # Errors
/// See [`StoreError`].
pub fn all(reader: &Reader<'_>, after: i64, limit: usize) -> Result<Vec<(i64, Person)>, StoreError> {
    let sql =
        "SELECT one_id, version, merged_into, created_at, golden, id FROM person WHERE id > ?1 ORDER BY id LIMIT ?2";
    reader.all(sql, params![after, row_limit(limit)], |row| Ok((row.get(5)?, person(row)?)))
}

/// The person that answers for this One ID now: redirects are followed to their end.
///
/// # Errors
/// See [`StoreError`].
pub fn resolve(reader: &Reader<'_>, one_id: &str) -> Result<Option<Person>, StoreError> {
    let mut found = get(reader, one_id)?;
    // Merges refuse cycles; the bound keeps a damaged store from holding a thread for ever.
    for _ in 0..10_000 {
        match found.as_ref().and_then(|person| person.merged_into.clone()) {
            Some(next) => found = get(reader, &next)?,
            None => return Ok(found),
        }
    }
    Err(StoreError::Damaged { what: "person.merged_into" })
}

/// This One ID and every One ID that was merged into it, directly or by a chain.
///
/// # Errors
/// See [`StoreError`].
pub fn answering_as(reader: &Reader<'_>, one_id: &str) -> Result<Vec<String>, StoreError> {
    reader.all(
        "WITH RECURSIVE name (one_id) AS (
             VALUES (?1) UNION SELECT person.one_id FROM person JOIN name ON person.merged_into = name.one_id
         ) SELECT one_id FROM name",
        [one_id],
        |row| Ok(row.get(0)?),
    )
}

/// The One IDs that were merged into this one, itself alive or not, without those that came by a chain; in the order of their age.
///
/// # Errors
/// See [`StoreError`].
pub fn merged_directly_into(reader: &Reader<'_>, one_id: &str) -> Result<Vec<String>, StoreError> {
    reader.all("SELECT one_id FROM person WHERE merged_into = ?1 ORDER BY id", [one_id], |row| Ok(row.get(0)?))
}

/// A new One ID.
///
/// # Errors
/// See [`StoreError`]; [`StoreError::Constraint`] when the One ID exists.
pub fn create(transaction: &Transaction<'_>, new: &Person) -> Result<(), StoreError> {
    let golden = golden_text(&new.golden);
    let id = transaction.insert(
        "INSERT INTO person (one_id, version, merged_into, created_at, golden) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![new.one_id, signed(new.version)?, new.merged_into, new.created_at, PackedText::pack(&golden)],
    )?;
    for (kind, value) in keys(&new.golden) {
        add_key(transaction, id, kind, &value)?;
    }
    Ok(())
}

/// Replaces `before`, as it was read in this transaction, by `after`. Only search keys that differ are written.
///
/// # Errors
/// See [`StoreError`]; [`StoreError::Constraint`] when there is no such One ID.
pub fn update(transaction: &Transaction<'_>, before: &Person, after: &Person) -> Result<(), StoreError> {
    let golden = golden_text(&after.golden);
    let updated = transaction.run(
        "UPDATE person SET version = ?2, merged_into = ?3, golden = ?4 WHERE one_id = ?1",
        params![before.one_id, signed(after.version)?, after.merged_into, PackedText::pack(&golden)],
    )?;
    let missing = || StoreError::Constraint { reason: "person.one_id: no such One ID".to_owned() };
    if updated == 0 {
        return Err(missing());
    }
    if KEY_FIELDS.iter().all(|name| before.golden.get(name) == after.golden.get(name)) {
        return Ok(());
    }
    let id = transaction
        .one("SELECT id FROM person WHERE one_id = ?1", [&before.one_id], |row| Ok(row.get::<_, i64>(0)?))?
        .ok_or_else(missing)?;
    let (old, new) = (keys(&before.golden), keys(&after.golden));
    for (kind, value) in old.difference(&new) {
        transaction.run(
            "DELETE FROM person_key WHERE kind = ?1 AND value = ?2 AND person = ?3",
            params![kind.name(), value, id],
        )?;
    }
    for (kind, value) in new.difference(&old) {
        add_key(transaction, id, *kind, value)?;
    }
    Ok(())
}

/// Persons that live (are not merged into another) and fit the search, at most `limit`; none for an empty search.
///
/// # Errors
/// See [`StoreError`].
pub fn search(reader: &Reader<'_>, search: &PersonSearch, limit: usize) -> Result<Vec<Person>, StoreError> {
    let asked =
        [(KeyKind::Phone, &search.phone), (KeyKind::Name, &search.name), (KeyKind::BirthDate, &search.birth_date)];
    let mut asked = asked.into_iter().filter_map(|(kind, text)| text.as_ref().map(|text| (kind, kind.normalise(text))));
    let Some((kind, value)) = asked.next() else {
        return Ok(Vec::new());
    };
    let (second, third) = (asked.next(), asked.next());
    let also = |key: &Option<(KeyKind, String)>| key.as_ref().map(|(kind, value)| (kind.name(), value.clone())).unzip();
    let (second_kind, second_value) = also(&second);
    let (third_kind, third_value) = also(&third);
    reader.all(
        select!(
            "JOIN person_key AS key ON key.person = person.id
             WHERE key.kind = ?1 AND key.value = ?2 AND person.merged_into IS NULL
               AND (?3 IS NULL OR EXISTS (SELECT 1 FROM person_key AS k WHERE k.kind = ?3 AND k.value = ?4 AND k.person = person.id))
               AND (?5 IS NULL OR EXISTS (SELECT 1 FROM person_key AS k WHERE k.kind = ?5 AND k.value = ?6 AND k.person = person.id))
             ORDER BY person.id LIMIT ?7"
        ),
        params![kind.name(), value, second_kind, second_value, third_kind, third_value, row_limit(limit)],
        person,
    )
}

/// Persons that have a record under this number, or a record that names it among its identifiers, at most `limit`. Without an
/// authority: any identifier of this value, a resident number in any spelling. Where nobody has the number so: as [`records::meant_by`].
///
/// # Errors
/// See [`StoreError`].
pub fn with_identifier(reader: &Reader<'_>, number: &RecordNumber, limit: usize) -> Result<Vec<Person>, StoreError> {
    if number.system.is_empty() {
        let resident = ResidentId::read(&number.value).map(|id| id.number);
        return reader.all(
            select!(
                "WHERE one_id IN (
                     SELECT one_id FROM identifier JOIN patient_record ON patient_record.id = identifier.record
                     WHERE identifier.value IN (?1, ?2))
                 ORDER BY id LIMIT ?3"
            ),
            params![number.value, resident, row_limit(limit)],
            person,
        );
    }
    let found = reader.all(
        select!(
            "WHERE one_id IN (
                 SELECT one_id FROM patient_record WHERE system = ?1 AND value = ?2
                 UNION SELECT one_id FROM identifier JOIN patient_record ON patient_record.id = identifier.record
                       WHERE identifier.value = ?2 AND identifier.system = ?1)
             ORDER BY id LIMIT ?3"
        ),
        params![number.system, number.value, row_limit(limit)],
        person,
    )?;
    if !found.is_empty() {
        return Ok(found);
    }
    // As people name one of several patients who had the number.
    let persons: BTreeSet<String> = records::meant_by(reader, number)?.into_iter().map(|row| row.one_id).collect();
    persons.iter().take(limit).filter_map(|one_id| get(reader, one_id).transpose()).collect()
}

fn add_key(transaction: &Transaction<'_>, person: i64, kind: KeyKind, value: &str) -> Result<(), StoreError> {
    transaction.insert(
        "INSERT INTO person_key (kind, value, person) VALUES (?1, ?2, ?3)",
        params![kind.name(), value, person],
    )?;
    Ok(())
}

fn golden_text(golden: &Fields) -> String {
    serde_json::to_string(golden).unwrap_or_default()
}

fn person(row: &Row<'_>) -> Result<Person, StoreError> {
    let damaged = StoreError::Damaged { what: "person.golden" };
    let golden = unpack_text(row.get_ref(4)?, "person.golden")?;
    Ok(Person {
        one_id: row.get(0)?,
        version: row.get::<_, i64>(1)?.unsigned_abs(),
        merged_into: row.get(2)?,
        created_at: row.get(3)?,
        golden: serde_json::from_str(&golden).map_err(|_| damaged)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{fields, insert_person, number, person as new, store, write};
    use super::super::records::RecordIdentifier;
    use super::*;
    use crate::record::json;

    #[test]
    fn redirects_are_followed_to_the_survivor_and_back() {
        let (_directory, store) = store();
        write(&store, |t| {
            for one_id in ["P1", "P2", "P3", "P4"] {
                create(t, &new(one_id, json!({})))?;
            }
            for (retired, survivor) in [("P1", "P2"), ("P2", "P3")] {
                let before = get(t, retired)?.unwrap();
                let merged_into = Some(survivor.to_owned());
                update(t, &before, &Person { merged_into, version: 2, ..before.clone() })?;
            }
            Ok(())
        });
        assert_eq!(store.read(|r| resolve(r, "P1")).unwrap().unwrap().one_id, "P3");
        assert_eq!(store.read(|r| resolve(r, "P4")).unwrap().unwrap().one_id, "P4");
        assert_eq!(store.read(|r| resolve(r, "P9")), Ok(None));
        assert_eq!(store.read(|r| get(r, "P1")).unwrap().unwrap().version, 2);
        let mut names = store.read(|r| answering_as(r, "P3")).unwrap();
        names.sort();
        assert_eq!(names, ["P1", "P2", "P3"]);
        assert_eq!(store.read(|r| answering_as(r, "P4")), Ok(vec!["P4".to_owned()]));
    }

    #[test]
    fn persons_are_found_by_what_they_are_called_now() {
        let (_directory, store) = store();
        write(&store, |t| {
            let golden = json!({"name": "张三", "other_names": ["ZHANG San"], "birth_date": "1980-01-02",
                "phones": [{"use": "mobile", "value": "13800138000"}]});
            create(t, &new("P1", golden))?;
            create(t, &new("P2", json!({"name": "张三", "birth_date": "1990-05-06"})))
        });
        let check = |name: Option<&str>, birth_date: Option<&str>, phone: Option<&str>, expected: &[&str]| {
            let [name, birth_date, phone] = [name, birth_date, phone].map(|text| text.map(str::to_owned));
            let asked = PersonSearch { name, birth_date, phone };
            let found = store.read(|r| search(r, &asked, 9)).unwrap();
            assert_eq!(found.iter().map(|person| person.one_id.as_str()).collect::<Vec<_>>(), expected, "{asked:?}");
        };
        check(Some("张 三"), None, None, &["P1", "P2"]);
        check(Some("zhangsan"), None, None, &["P1"]);
        check(Some("张三"), Some("1990-05-06"), None, &["P2"]);
        check(None, Some("1980-01-02"), None, &["P1"]);
        check(Some("张三"), Some("1980-01-02"), Some("+86 138 0013 8000"), &["P1"]);
        check(Some("张三"), None, Some("13900000000"), &[]);
        check(None, None, None, &[]);
        write(&store, |t| {
            let before = get(t, "P1")?.unwrap();
            let golden = fields(json!({"name": "张三丰", "birth_date": "1980-01-02"}));
            update(t, &before, &Person { golden, ..before.clone() })
        });
        check(Some("张三"), None, None, &["P2"]);
        check(Some("张三丰"), Some("1980-01-02"), None, &["P1"]);
        check(None, None, Some("13800138000"), &[]);
        write(&store, |t| {
            let before = get(t, "P1")?.unwrap();
            update(t, &before, &Person { merged_into: Some("P2".to_owned()), ..before.clone() })
        });
        check(Some("张三丰"), None, None, &[]);
    }

    #[test]
    fn persons_are_found_by_any_number_of_their_records() {
        let (_directory, store) = store();
        write(&store, |t| {
            let record = insert_person(t, "P1", "1001")?;
            insert_person(t, "P2", "1002")?;
            let card =
                RecordIdentifier { kind: "visit_card".to_owned(), system: "CARD".to_owned(), value: "77".to_owned() };
            let resident = RecordIdentifier {
                kind: "resident_id".to_owned(),
                system: String::new(),
                value: "11010519491231002X".to_owned(),
            };
            records::set_identifiers(t, record, &[], &[card, resident])
        });
        let check = |number: RecordNumber, expected: &[&str]| {
            let found = store.read(|r| with_identifier(r, &number, 9)).unwrap();
            assert_eq!(found.iter().map(|person| person.one_id.as_str()).collect::<Vec<_>>(), expected, "{number}");
        };
        check(number("1001"), &["P1"]);
        check(number("1002"), &["P2"]);
        check("CARD|77".parse().unwrap(), &["P1"]);
        check("OTHER|77".parse().unwrap(), &[]);
        check("|77".parse().unwrap(), &["P1"]);
        check("|78".parse().unwrap(), &[]);
        check("|11010519491231002x".parse().unwrap(), &["P1"]);
    }
}
