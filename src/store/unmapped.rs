//! Codes that no table knows: what an interface engineer has to add.

use rusqlite::params;

use super::{Reader, StoreError, Transaction, row_limit};

/// Characters of the longest code that is listed; standard ones have 20 at most.
const LONGEST_CODE: usize = 64;

/// Different codes listed for one table of a source: a list for people to read, however wild the sender.
const MOST_CODES: i64 = 1_000;

/// A code of a source that a table does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnmappedCode {
    /// The source.
    pub source: String,
    /// The code table.
    pub table: String,
    /// The code as sent.
    pub code: String,
    /// The field that wanted it.
    pub target: String,
    /// How often it came.
    pub count: u64,
    /// When it came first.
    pub first_seen: i64,
    /// When it came last.
    pub last_seen: i64,
    /// A message that holds it.
    pub message: i64,
}

/// Counts one occurrence.
///
/// # Errors
/// See [`StoreError`].
pub fn note(
    transaction: &Transaction<'_>,
    source: &str,
    table: &str,
    code: &str,
    target: &str,
    message: i64,
    at: i64,
) -> Result<(), StoreError> {
    // A code longer than any table's is somebody's text in the wrong field, perhaps a patient's: only that it came is kept.
    let code = if code.chars().count() > LONGEST_CODE { "(too long for a code)" } else { code };
    let known = transaction.one(
        "SELECT count(*) FROM (SELECT 1 FROM unmapped_code WHERE source = ?1 AND code_table = ?2 LIMIT ?3)",
        params![source, table, MOST_CODES],
        |row| Ok(row.get::<_, i64>(0)?),
    )?;
    let listed = "SELECT 1 FROM unmapped_code WHERE source = ?1 AND code_table = ?2 AND code = ?3";
    let full = known.unwrap_or(0) >= MOST_CODES;
    let code = match full && transaction.one(listed, params![source, table, code], |_| Ok(()))?.is_none() {
        true => "(and others)",
        false => code,
    };
    transaction.run(
        "INSERT INTO unmapped_code (source, code_table, code, target, count, first_seen, last_seen, message)
         VALUES (?1, ?2, ?3, ?4, 1, ?5, ?5, ?6)
         ON CONFLICT DO UPDATE SET count = count + 1, last_seen = max(last_seen, ?5), message = ?6",
        params![source, table, code, target, at, message],
    )?;
    Ok(())
}

/// The most frequent ones first, at most `limit`.
///
/// # Errors
/// See [`StoreError`].
pub fn list(reader: &Reader<'_>, limit: usize) -> Result<Vec<UnmappedCode>, StoreError> {
    reader.all(
        "SELECT source, code_table, code, target, count, first_seen, last_seen, message FROM unmapped_code
         ORDER BY count DESC, source, code_table, code, target LIMIT ?1",
        [row_limit(limit)],
        |row| {
            Ok(UnmappedCode {
                source: row.get(0)?,
                table: row.get(1)?,
                code: row.get(2)?,
                target: row.get(3)?,
                count: row.get::<_, i64>(4)?.unsigned_abs(),
                first_seen: row.get(5)?,
                last_seen: row.get(6)?,
                message: row.get(7)?,
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{store, write};
    use super::*;

    #[test]
    fn unmapped_codes_are_counted_with_their_newest_sample() {
        let (_directory, store) = store();
        write(&store, |t| {
            note(t, "his", "sex", "Q", "patient.sex", 1, 10)?;
            note(t, "his", "sex", "Z", "patient.sex", 2, 11)?;
            note(t, "his", "sex", "Z", "patient.sex", 3, 12)
        });
        let codes = store.read(|r| list(r, 9)).unwrap();
        let first = &codes[0];
        assert_eq!((first.code.as_str(), first.count, first.first_seen, first.last_seen), ("Z", 2, 11, 12));
        assert_eq!((first.message, codes.len()), (3, 2));
    }

    #[test]
    fn what_is_no_code_is_not_listed_and_the_list_is_bounded() {
        let (_directory, store) = store();
        let long = "张".repeat(LONGEST_CODE + 1);
        write(&store, move |t| note(t, "his", "sex", &long, "patient.sex", 1, 10));
        write(&store, |t| {
            (0..MOST_CODES + 5)
                .try_for_each(|number| note(t, "his", "class", &number.to_string(), "visit.class", 1, 10))
        });
        let codes = store.read(|r| list(r, 5_000)).unwrap();
        assert!(codes.iter().all(|code| !code.code.contains('张')));
        assert_eq!(codes.iter().filter(|code| code.table == "class").count() as i64, MOST_CODES + 1);
    }
}
