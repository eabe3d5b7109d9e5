//! Codes that no table knows: what an interface engineer has to add, and the messages that wait for it.

use rusqlite::params;

use super::{Reader, StoreError, Transaction, row_limit};

/// Characters of the longest code that is listed; standard ones have 20 at most.
const LONGEST_CODE: usize = 64;

/// Stands for a code longer than any table's: somebody's text in the wrong field, perhaps a patient's.
const TOO_LONG: &str = "(too long for a code)";

/// Different codes listed for one table of a source: a list for people to read, however wild the sender.
const MOST_CODES: i64 = 1_000;

/// Stands for all codes of a table beyond the number that is listed.
pub const OTHERS: &str = "(and others)";

/// A code of a source that a table does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnmappedCode {
    /// Names it in the store.
    pub id: i64,
    /// The source.
    pub source: String,
    /// The code table.
    pub table: String,
    /// The code as sent.
    pub code: String,
    /// The field that wanted it.
    pub target: String,
    /// What the mapping makes of it, one word; empty in what is older than this column.
    pub outcome: String,
    /// How many messages came with it, however often each was tried.
    pub count: u64,
    /// How many of them are kept and wait for it.
    pub waiting: u64,
    /// When it came first.
    pub first_seen: i64,
    /// When it came last.
    pub last_seen: i64,
    /// A message that holds it; retention may have removed it.
    pub message: i64,
}

/// A code in a message, as the mapping met it.
#[derive(Debug, Clone, Copy)]
pub struct MetCode<'a> {
    /// The code table.
    pub table: &'a str,
    /// The code as sent.
    pub code: &'a str,
    /// The field that wanted it.
    pub target: &'a str,
    /// What the mapping made of it, one word.
    pub outcome: &'a str,
}

/// A code by its names, without its counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeName {
    /// As [`UnmappedCode::id`].
    pub id: i64,
    /// The source.
    pub source: String,
    /// The code table.
    pub table: String,
    /// The code as sent.
    pub code: String,
}

/// Who waits for a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holders {
    /// A message does, whatever it was last tried with.
    pub is_held: bool,
    /// Those that were last tried with another version of the mapping.
    pub messages: Vec<i64>,
}

/// Says which unknown codes a stored message holds, after each try. Each is counted when it is new for the message; what the message
/// held before and a table knows by now is released, and a code that no message holds any more leaves the list.
///
/// # Errors
/// See [`StoreError`].
pub fn hold(
    transaction: &Transaction<'_>,
    source: &str,
    message: i64,
    codes: &[MetCode<'_>],
    at: i64,
) -> Result<(), StoreError> {
    let before = held(transaction, message)?;
    let mut now = Vec::with_capacity(codes.len());
    for met in codes {
        let id = code_id(transaction, source, met, message, at)?;
        if now.contains(&id) {
            continue;
        }
        now.push(id);
        if before.contains(&id) {
            continue;
        }
        transaction.run("INSERT INTO unmapped_message (message, code) VALUES (?1, ?2)", [message, id])?;
        transaction.run(
            "UPDATE unmapped_code SET count = count + 1, last_seen = max(last_seen, ?2), message = max(message, ?3)
             WHERE id = ?1",
            params![id, at, message],
        )?;
    }
    before.iter().filter(|id| !now.contains(id)).try_for_each(|id| release(transaction, message, *id))
}

/// The message waits for no code any more: nobody misses it.
///
/// # Errors
/// See [`StoreError`].
pub fn release_all(transaction: &Transaction<'_>, message: i64) -> Result<(), StoreError> {
    held(transaction, message)?.into_iter().try_for_each(|id| release(transaction, message, id))
}

fn release(transaction: &Transaction<'_>, message: i64, id: i64) -> Result<(), StoreError> {
    transaction.run("DELETE FROM unmapped_message WHERE message = ?1 AND code = ?2", [message, id])?;
    forget_unless_held(transaction, id)
}

/// Takes a code that a table knows by now off the list, unless a message waits for it still.
///
/// # Errors
/// See [`StoreError`].
pub fn forget_unless_held(transaction: &Transaction<'_>, id: i64) -> Result<(), StoreError> {
    transaction.run(
        "DELETE FROM unmapped_code WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM unmapped_message WHERE code = ?1)",
        [id],
    )?;
    Ok(())
}

fn held(reader: &Reader<'_>, message: i64) -> Result<Vec<i64>, StoreError> {
    reader.all("SELECT code FROM unmapped_message WHERE message = ?1", [message], |row| Ok(row.get(0)?))
}

/// The row of a code, made where there is none.
fn code_id(
    transaction: &Transaction<'_>,
    source: &str,
    met: &MetCode<'_>,
    message: i64,
    at: i64,
) -> Result<i64, StoreError> {
    let MetCode { table, code, target, outcome } = *met;
    let code = if code.chars().count() > LONGEST_CODE { TOO_LONG } else { code };
    let known = |code: &str| {
        transaction.one(
            "SELECT id, outcome FROM unmapped_code WHERE source = ?1 AND code_table = ?2 AND code = ?3 AND target = ?4",
            params![source, table, code, target],
            |row| Ok((row.get(0)?, row.get::<_, String>(1)?)),
        )
    };
    if let Some((id, before)) = known(code)? {
        if before != outcome {
            transaction.run("UPDATE unmapped_code SET outcome = ?2 WHERE id = ?1", params![id, outcome])?;
        }
        return Ok(id);
    }
    let listed = transaction.one(
        "SELECT count(*) FROM (SELECT 1 FROM unmapped_code WHERE source = ?1 AND code_table = ?2 LIMIT ?3)",
        params![source, table, MOST_CODES],
        |row| Ok(row.get::<_, i64>(0)?),
    )?;
    let code = if listed.unwrap_or(0) >= MOST_CODES { OTHERS } else { code };
    transaction.run(
        "INSERT INTO unmapped_code (source, code_table, code, target, count, first_seen, last_seen, message, outcome)
         VALUES (?1, ?2, ?3, ?4, 0, ?5, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
        params![source, table, code, target, at, message, outcome],
    )?;
    known(code)?
        .map(|(id, _)| id)
        .ok_or_else(|| StoreError::Defect { reason: "an unmapped code was not listed".to_owned() })
}

/// The most frequent ones first, at most `limit`.
///
/// # Errors
/// See [`StoreError`].
pub fn list(reader: &Reader<'_>, limit: usize) -> Result<Vec<UnmappedCode>, StoreError> {
    reader.all(
        "SELECT id, source, code_table, code, target, count, first_seen, last_seen, message,
             (SELECT count(*) FROM unmapped_message WHERE unmapped_message.code = unmapped_code.id), outcome
         FROM unmapped_code ORDER BY count DESC, source, code_table, code, target LIMIT ?1",
        [row_limit(limit)],
        |row| {
            Ok(UnmappedCode {
                id: row.get(0)?,
                source: row.get(1)?,
                table: row.get(2)?,
                code: row.get(3)?,
                target: row.get(4)?,
                count: row.get::<_, i64>(5)?.unsigned_abs(),
                first_seen: row.get(6)?,
                last_seen: row.get(7)?,
                message: row.get(8)?,
                waiting: row.get::<_, i64>(9)?.unsigned_abs(),
                outcome: row.get(10)?,
            })
        },
    )
}

/// The codes without their counts: what is looked at often.
///
/// # Errors
/// See [`StoreError`].
pub fn codes(reader: &Reader<'_>) -> Result<Vec<CodeName>, StoreError> {
    reader.all("SELECT id, source, code_table, code FROM unmapped_code", [], |row| {
        Ok(CodeName { id: row.get(0)?, source: row.get(1)?, table: row.get(2)?, code: row.get(3)? })
    })
}

/// The messages that wait for a code and were last tried with another version of the mapping than this.
///
/// # Errors
/// See [`StoreError`].
pub fn held_by(reader: &Reader<'_>, code: i64, version: &str) -> Result<Holders, StoreError> {
    let held = "SELECT 1 FROM unmapped_message WHERE code = ?1 LIMIT 1";
    let messages = "SELECT held.message FROM unmapped_message AS held JOIN message ON message.id = held.message
        WHERE held.code = ?1 AND message.mapping <> ?2";
    Ok(Holders {
        is_held: reader.one(held, [code], |_| Ok(()))?.is_some(),
        messages: reader.all(messages, params![code, version], |row| Ok(row.get(0)?))?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{insert, message, store, write};
    use super::super::messages::MessageState;
    use super::super::{Store, retention};
    use super::*;

    const SEX: &str = "patient.sex";

    /// Stores messages 1, 2 and 3.
    fn with_messages() -> (tempfile::TempDir, Store) {
        let (directory, store) = store();
        for id in ["1", "2", "3"] {
            write(&store, move |t| insert(t, &message("his", id, id)));
        }
        (directory, store)
    }

    fn met<'a>(table: &'a str, code: &'a str) -> MetCode<'a> {
        MetCode { table, code, target: SEX, outcome: "left" }
    }

    /// Code, count and waiting of each code.
    fn listed(store: &Store) -> Vec<(String, u64, u64)> {
        store.read(|r| list(r, 5_000)).unwrap().into_iter().map(|row| (row.code, row.count, row.waiting)).collect()
    }

    #[test]
    fn a_code_is_counted_once_for_each_message_with_its_newest_as_sample() {
        let (_directory, store) = with_messages();
        for (message, code, at) in [(1, "Q", 10), (2, "Z", 11), (3, "Z", 12), (2, "Z", 13), (3, "Z", 14)] {
            write(&store, move |t| hold(t, "his", message, &[met("sex", code), met("sex", code)], at));
        }
        let codes = store.read(|r| list(r, 9)).unwrap();
        let first = &codes[0];
        assert_eq!((first.code.as_str(), first.count, first.first_seen, first.last_seen), ("Z", 2, 11, 12));
        assert_eq!((first.message, first.waiting, codes.len()), (3, 2, 2));
        assert_eq!(first.outcome, "left");
        // What a changed mapping makes of it.
        write(&store, |t| hold(t, "his", 3, &[MetCode { outcome: "kept", ..met("sex", "Z") }], 15));
        let row = store.read(|r| list(r, 9)).unwrap().remove(0);
        assert_eq!((row.code.as_str(), row.outcome.as_str(), row.count), ("Z", "kept", 2));
    }

    #[test]
    fn a_code_leaves_the_list_with_the_last_message_that_waited_for_it() {
        let (_directory, store) = with_messages();
        for message in [2, 1, 3] {
            write(&store, move |t| hold(t, "his", message, &[met("sex", "Z"), met("class", "X")], 10));
        }
        let code = |name: &str| store.read(codes).unwrap().into_iter().find(|code| code.code == name).unwrap();
        let holders = |code: i64, version: &'static str| store.read(|r| held_by(r, code, version)).unwrap();
        let z = code("Z");
        assert_eq!((z.source.as_str(), z.table.as_str()), ("his", "sex"));
        assert_eq!(holders(z.id, "another"), Holders { is_held: true, messages: vec![1, 2, 3] });
        let by_this = super::super::fixtures::outcome(MessageState::Processed).mapping;
        assert_eq!(
            store.read(|r| held_by(r, z.id, &by_this)).unwrap(),
            Holders { is_held: true, messages: Vec::new() }
        );
        assert_eq!(holders(99, "another"), Holders { is_held: false, messages: Vec::new() });
        for message in [1, 2] {
            write(&store, move |t| hold(t, "his", message, &[met("class", "X")], 20));
        }
        let row = |code: &str, count, waiting| (code.to_owned(), count, waiting);
        assert_eq!(listed(&store), [row("X", 3, 3), row("Z", 3, 1)]);
        write(&store, |t| hold(t, "his", 3, &[met("class", "X")], 20));
        assert_eq!(listed(&store), [row("X", 3, 3)]);
        write(&store, |t| release_all(t, 2));
        assert_eq!(listed(&store), [row("X", 3, 2)]);
        // What retention removes waits no more, and the code stays listed.
        write(&store, |t| retention::prune_messages(t, i64::MAX, 0, 99));
        assert_eq!(listed(&store), [row("X", 3, 1)]);
    }

    #[test]
    fn what_is_no_code_is_not_listed_and_the_list_is_bounded() {
        let (_directory, store) = with_messages();
        let long = "张".repeat(LONGEST_CODE + 1);
        write(&store, move |t| hold(t, "his", 1, &[met("sex", &long)], 10));
        let numbers: Vec<String> = (0..MOST_CODES + 5).map(|number| number.to_string()).collect();
        write(&store, move |t| {
            let codes: Vec<MetCode<'_>> = numbers.iter().map(|number| met("class", number)).collect();
            hold(t, "his", 1, &codes, 10)
        });
        let codes = store.read(|r| list(r, 5_000)).unwrap();
        assert!(codes.iter().all(|code| !code.code.contains('张')));
        assert_eq!(codes.iter().filter(|code| code.table == "class").count() as i64, MOST_CODES + 1);
    }
}
