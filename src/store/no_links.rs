//! Pairs of records that are not one patient: no rule brings them together, not even through a third record.
//!
//! A pair is kept for good, with who said so, why and when; one that is taken back is marked and counts no more.

use std::collections::BTreeSet;

use rusqlite::params;

use super::{Reader, StoreError, Transaction};

/// Two records that are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoLink {
    /// The record with the smaller number.
    pub one: i64,
    /// The other record.
    pub other: i64,
    /// Who said so.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: i64,
    /// Who took it back and when; `None`: it holds.
    pub undone: Option<(String, i64)>,
}

/// Tells two records apart. Told already: nothing changes; taken back before: it holds again. `false`: nothing was to be done.
///
/// # Errors
/// See [`StoreError`]; [`StoreError::Constraint`] for a record with itself, or one that does not exist.
pub fn forbid(
    transaction: &Transaction<'_>,
    pair: (i64, i64),
    by: &str,
    reason: &str,
    at: i64,
) -> Result<bool, StoreError> {
    let (one, other) = sorted(pair);
    let written = transaction.run(
        "INSERT INTO no_link (one, other, said_by, reason, at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (one, other) DO UPDATE SET said_by = ?3, reason = ?4, at = ?5, undone_by = NULL, undone_at = NULL
         WHERE undone_at IS NOT NULL",
        params![one, other, by, reason, at],
    )?;
    Ok(written > 0)
}

/// Takes back that two records are told apart. `false`: they are not.
///
/// # Errors
/// See [`StoreError`].
pub fn allow(transaction: &Transaction<'_>, pair: (i64, i64), by: &str, at: i64) -> Result<bool, StoreError> {
    let (one, other) = sorted(pair);
    let undone = transaction.run(
        "UPDATE no_link SET undone_by = ?3, undone_at = ?4 WHERE one = ?1 AND other = ?2 AND undone_at IS NULL",
        params![one, other, by, at],
    )?;
    Ok(undone > 0)
}

/// The first pair of a record of `some` and one of `others` that holds, if any.
///
/// # Errors
/// See [`StoreError`].
pub fn between(reader: &Reader<'_>, some: &[i64], others: &[i64]) -> Result<Option<(i64, i64)>, StoreError> {
    let (few, many) = if some.len() <= others.len() { (some, others) } else { (others, some) };
    let many: BTreeSet<i64> = many.iter().copied().collect();
    for &record in few {
        if let Some(partner) = partners(reader, record)?.into_iter().find(|partner| many.contains(partner)) {
            return Ok(Some(sorted((record, partner))));
        }
    }
    Ok(None)
}

/// The pair of these two records, if it holds.
///
/// # Errors
/// See [`StoreError`].
pub fn get(reader: &Reader<'_>, pair: (i64, i64)) -> Result<Option<NoLink>, StoreError> {
    let (one, other) = sorted(pair);
    let known = list(reader, one)?;
    Ok(known.into_iter().find(|told| told.one == one && told.other == other && told.undone.is_none()))
}

/// All pairs of a record, those that were taken back included, in the order of the other record.
///
/// # Errors
/// See [`StoreError`].
pub fn list(reader: &Reader<'_>, record: i64) -> Result<Vec<NoLink>, StoreError> {
    reader.all(
        "SELECT one, other, said_by, reason, at, undone_by, undone_at FROM no_link WHERE one = ?1
         UNION ALL SELECT one, other, said_by, reason, at, undone_by, undone_at FROM no_link WHERE other = ?1
         ORDER BY one, other",
        [record],
        |row| {
            let undone: (Option<String>, Option<i64>) = (row.get(5)?, row.get(6)?);
            Ok(NoLink {
                one: row.get(0)?,
                other: row.get(1)?,
                by: row.get(2)?,
                reason: row.get(3)?,
                at: row.get(4)?,
                undone: undone.0.zip(undone.1),
            })
        },
    )
}

/// The records that this one is told apart from.
fn partners(reader: &Reader<'_>, record: i64) -> Result<Vec<i64>, StoreError> {
    reader.all(
        "SELECT other FROM no_link WHERE one = ?1 AND undone_at IS NULL
         UNION ALL SELECT one FROM no_link WHERE other = ?1 AND undone_at IS NULL",
        [record],
        |row| Ok(row.get(0)?),
    )
}

fn sorted((one, other): (i64, i64)) -> (i64, i64) {
    (one.min(other), one.max(other))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{insert_person, store, write};
    use super::*;

    #[test]
    fn a_pair_holds_whichever_way_it_is_asked_for_until_it_is_taken_back() {
        let (_directory, store) = store();
        write(&store, |t| {
            let records = ["1001", "1002", "1003"].map(|number| insert_person(t, &format!("P{number}"), number));
            let [one, two, three] = records.map(Result::unwrap);
            assert!(forbid(t, (two, one), "zhang", "twins", 5)?);
            assert!(!forbid(t, (one, two), "li", "again", 6)?, "said again it changes nothing");
            assert_eq!(between(t, &[one, three], &[two])?, Some((one, two)));
            assert_eq!(between(t, &[two], &[three, one])?, Some((one, two)));
            assert_eq!(between(t, &[one, two], &[three])?, None);
            assert!(allow(t, (two, one), "li", 7)? && !allow(t, (one, two), "li", 8)?);
            assert_eq!(between(t, &[one], &[two])?, None);
            let pair =
                NoLink { one, other: two, by: "zhang".to_owned(), reason: "twins".to_owned(), at: 5, undone: None };
            assert_eq!(list(t, two)?, [NoLink { undone: Some(("li".to_owned(), 7)), ..pair.clone() }]);
            assert!(forbid(t, (one, two), "wang", "twins after all", 9)?);
            let again = NoLink { by: "wang".to_owned(), reason: "twins after all".to_owned(), at: 9, ..pair };
            assert_eq!((list(t, one)?, list(t, three)?), (vec![again], vec![]));
            Ok(())
        });
        let itself = store.submit_blocking(|t| forbid(t, (1, 1), "zhang", "", 5));
        assert!(itself.is_err(), "nobody is told apart from itself");
    }
}
