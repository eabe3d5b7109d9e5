//! What matching looks up: records by what they share, how many people bear a value, and values that prove nothing.

use rusqlite::params;

use super::{Reader, StoreError, Transaction, row_limit};

/// Stands for everybody among the counts.
const EVERYBODY: u64 = 0;

/// A hash as SQLite keeps it: the same 64 bits with a sign.
fn stored(hash: u64) -> i64 {
    i64::from_ne_bytes(hash.to_ne_bytes())
}

/// The records that have a key, by the store's numbers, oldest first, at most `limit`.
///
/// # Errors
/// See [`StoreError`].
pub fn records_with(reader: &Reader<'_>, hash: u64, limit: usize) -> Result<Vec<i64>, StoreError> {
    reader.all(
        "SELECT record FROM match_key WHERE hash = ?1 ORDER BY record LIMIT ?2",
        params![stored(hash), row_limit(limit)],
        |row| Ok(row.get(0)?),
    )
}

/// Keys that at least two and at most `most` records share, in the order in which the store keeps them, at most `limit` after the key
/// `after` (`None` for the beginning).
///
/// # Errors
/// See [`StoreError`].
pub fn shared_keys(reader: &Reader<'_>, after: Option<u64>, most: usize, limit: usize) -> Result<Vec<u64>, StoreError> {
    let first = after.map_or(Some(i64::MIN), |after| stored(after).checked_add(1));
    let Some(first) = first else { return Ok(Vec::new()) };
    reader.all(
        "SELECT hash FROM match_key WHERE hash >= ?1
         GROUP BY hash HAVING count(*) BETWEEN 2 AND ?2 ORDER BY hash LIMIT ?3",
        params![first, row_limit(most), row_limit(limit)],
        |row| Ok(u64::from_ne_bytes(row.get::<_, i64>(0)?.to_ne_bytes())),
    )
}

/// Makes `after` the keys of a record, where `before` are those that it has; both sorted, each once. Writes only what differs.
///
/// # Errors
/// See [`StoreError`].
pub fn set_keys(transaction: &Transaction<'_>, record: i64, before: &[u64], after: &[u64]) -> Result<(), StoreError> {
    for hash in before.iter().filter(|hash| after.binary_search(hash).is_err()) {
        transaction.run("DELETE FROM match_key WHERE hash = ?1 AND record = ?2", params![stored(*hash), record])?;
    }
    for hash in after.iter().filter(|hash| before.binary_search(hash).is_err()) {
        transaction
            .run("INSERT OR IGNORE INTO match_key (hash, record) VALUES (?1, ?2)", params![stored(*hash), record])?;
    }
    Ok(())
}

/// How many people bear a value.
///
/// # Errors
/// See [`StoreError`].
pub fn people_with(reader: &Reader<'_>, term: u64) -> Result<u64, StoreError> {
    let count = reader
        .one("SELECT people FROM term_count WHERE hash = ?1", [stored(term)], |row| Ok(row.get::<_, i64>(0)?))?
        .unwrap_or(0);
    Ok(u64::try_from(count).unwrap_or(0))
}

/// How many people there are.
///
/// # Errors
/// See [`StoreError`].
pub fn people(reader: &Reader<'_>) -> Result<u64, StoreError> {
    people_with(reader, EVERYBODY)
}

/// One person more, or one less, bears these values.
///
/// # Errors
/// See [`StoreError`].
pub fn count_terms(transaction: &Transaction<'_>, terms: &[u64], by: i64) -> Result<(), StoreError> {
    let change = if by > 0 {
        "INSERT INTO term_count (hash, people) VALUES (?1, ?2) ON CONFLICT (hash) DO UPDATE SET people = people + ?2"
    } else {
        "UPDATE term_count SET people = max(people + ?2, 0) WHERE hash = ?1"
    };
    for term in terms {
        transaction.run(change, params![stored(*term), by])?;
    }
    Ok(())
}

/// One person more, or one less.
///
/// # Errors
/// See [`StoreError`].
pub fn count_person(transaction: &Transaction<'_>, by: i64) -> Result<(), StoreError> {
    count_terms(transaction, &[EVERYBODY], by)
}

/// Whether a value proves nothing, because too many people bear it.
///
/// # Errors
/// See [`StoreError`].
pub fn is_quarantined(reader: &Reader<'_>, hash: u64) -> Result<bool, StoreError> {
    Ok(reader.one("SELECT 1 FROM quarantine WHERE hash = ?1", [stored(hash)], |_| Ok(()))?.is_some())
}

/// From now on the value proves nothing.
///
/// # Errors
/// See [`StoreError`].
pub fn quarantine(transaction: &Transaction<'_>, hash: u64, kind: &str, at: i64) -> Result<(), StoreError> {
    transaction.run(
        "INSERT OR IGNORE INTO quarantine (hash, kind, at) VALUES (?1, ?2, ?3)",
        params![stored(hash), kind, at],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{insert_person, store, write};
    use super::*;

    #[test]
    fn records_are_found_by_their_keys_and_keys_follow_the_record() {
        let (_directory, store) = store();
        // Hashes use all their bits.
        let (shared, own) = (u64::MAX - 5, 1 << 63);
        let (one, other) = write(&store, move |t| {
            let (one, other) = (insert_person(t, "P1", "1001")?, insert_person(t, "P2", "1002")?);
            set_keys(t, other, &[], &[shared])?;
            set_keys(t, one, &[], &[own, shared])?;
            // Said again.
            set_keys(t, one, &[], &[own, shared])?;
            Ok((one, other))
        });
        let found = |hash, limit| store.read(|r| records_with(r, hash, limit)).unwrap();
        assert_eq!((found(shared, 9), found(shared, 1), found(own, 9)), (vec![one, other], vec![one], vec![one]));
        write(&store, move |t| set_keys(t, one, &[own, shared], &[7, own]));
        assert_eq!((found(shared, 9), found(own, 9), found(7, 9)), (vec![other], vec![one], vec![one]));
        assert!(found(8, 9).is_empty());
    }

    #[test]
    fn keys_that_several_share_are_listed_page_by_page() {
        let (_directory, store) = store();
        let keys = [u64::MAX - 5, 7, 1 << 63, 9];
        write(&store, move |t| {
            for (place, upto) in [4, 3, 1].into_iter().enumerate() {
                let record = insert_person(t, &format!("P{place}"), &format!("100{place}"))?;
                let mut own = keys[..upto].to_vec();
                own.sort_unstable();
                set_keys(t, record, &[], &own)?;
            }
            Ok(())
        });
        let pages = |most, limit| {
            let mut found = Vec::new();
            while let Some(next) = store.read(|r| shared_keys(r, found.last().copied(), most, limit)).unwrap().pop() {
                found.push(next);
            }
            found
        };
        // Two have the first three of the keys, three the first; the sign of a stored hash is its first bit.
        assert_eq!(pages(3, 1), [1 << 63, u64::MAX - 5, 7]);
        assert_eq!(pages(2, 1), [1 << 63, 7]);
    }

    #[test]
    fn people_are_counted_and_never_fewer_than_none() {
        let (_directory, store) = store();
        let counts = |terms: &[u64]| -> Vec<u64> {
            terms.iter().map(|term| store.read(|r| people_with(r, *term)).unwrap()).collect()
        };
        assert_eq!(store.read(people), Ok(0));
        write(&store, |t| {
            count_person(t, 1)?;
            count_person(t, 1)?;
            count_terms(t, &[5, u64::MAX], 1)?;
            count_terms(t, &[5], 1)
        });
        assert_eq!((store.read(people), counts(&[5, u64::MAX, 6])), (Ok(2), vec![2, 1, 0]));
        write(&store, |t| {
            count_person(t, -1)?;
            count_terms(t, &[5, u64::MAX, 6], -1)?;
            count_terms(t, &[u64::MAX, 6], -1)
        });
        assert_eq!((store.read(people), counts(&[5, u64::MAX, 6])), (Ok(1), vec![1, 0, 0]));
    }

    #[test]
    fn a_quarantined_value_stays_one() {
        let (_directory, store) = store();
        let is = |hash| store.read(|r| is_quarantined(r, hash)).unwrap();
        assert!(!is(u64::MAX));
        write(&store, |t| {
            quarantine(t, u64::MAX, "phone", 5)?;
            quarantine(t, u64::MAX, "phone", 6)
        });
        assert!(is(u64::MAX) && !is(5));
    }
}
