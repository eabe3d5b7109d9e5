//! Codes that no table knows: what an interface engineer has to add.

use rusqlite::params;

use super::{Reader, StoreError, Transaction, row_limit};

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

/// Forgets a source's code once its table knows it.
///
/// # Errors
/// See [`StoreError`].
pub fn forget(transaction: &Transaction<'_>, source: &str, table: &str, code: &str) -> Result<(), StoreError> {
    transaction.run(
        "DELETE FROM unmapped_code WHERE source = ?1 AND code_table = ?2 AND code = ?3",
        params![source, table, code],
    )?;
    Ok(())
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
        write(&store, |t| forget(t, "his", "sex", "Z"));
        assert_eq!(store.read(|r| list(r, 9)).unwrap().len(), 1);
    }
}
