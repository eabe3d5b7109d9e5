use std::path::Path;

use rusqlite::Connection;

use super::super::fixtures::{open, write};
use super::super::schema::prepare_connection;
use super::super::{Access, Store, StoreConfig};
use super::*;
use crate::audit::{Break, Broken, Outcome, SigningKey, hexadecimal};

const MINUTE: i64 = 60_000_000;

fn entry_of(number: i64) -> Entry {
    let actor = match number % 3 {
        0 => Actor::Daemon,
        1 => Actor::Shell { name: "li".to_owned() },
        _ => Actor::Token { name: "follow-up".to_owned(), role: "consumer" },
    };
    let action = Action::ALL[number.unsigned_abs() as usize % Action::ALL.len()];
    let mut entry = Entry::new(number * MINUTE, actor, action, "127.0.0.1", &format!("r-{number}"));
    entry.person(&format!("01JD00000000000000000{:05}", number % 40));
    entry.object("message", number);
    entry.with(if number % 7 == 0 { Outcome::Refused } else { Outcome::Ok })
}

fn fill(store: &Store, numbers: std::ops::Range<i64>) {
    for number in numbers {
        write(store, move |t| append(t, &entry_of(number)));
    }
}

fn trail(entries: i64) -> (tempfile::TempDir, Store, AuditFiles) {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory, |_| {});
    fill(&store, 1..entries + 1);
    let files = AuditFiles::beside(store.path());
    (directory, store, files)
}

/// A connection that can do everything that somebody with the file can.
fn intruder(path: &Path) -> Connection {
    let mut connection = Connection::open(path).unwrap();
    prepare_connection(&mut connection).unwrap();
    connection.pragma_update(None, "ignore_check_constraints", true).unwrap();
    connection
}

fn look(connection: &Connection, files: &AuditFiles) -> Findings {
    let outside = files::read_checkpoints(&files.checkpoints).unwrap();
    evidence::verify(&Reader::new(connection), public_keys(&files.public()).unwrap(), outside).unwrap()
}

/// Numbers that look random and are the same each time (xorshift, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    fn sequence(&mut self, last: i64) -> i64 {
        1 + self.below(last.unsigned_abs() as usize) as i64
    }
}

const TEXTS: [&str; 10] =
    ["actor", "name", "role", "action", "outcome", "origin", "request", "persons", "objects", "detail"];
const COLUMNS: &str = "at, actor, name, role, action, outcome, origin, request, persons, objects, detail, hash";

/// Computes all hashes anew from the entries as they stand, as one who knows this program would.
fn rebuild(connection: &Connection) {
    let reader = Reader::new(connection);
    let rows = reader.all(IN_ORDER, [], entry).unwrap();
    let mut previous = GENESIS;
    for mut row in rows {
        row.hash = row.expected_hash(&previous);
        previous = row.hash;
        let sql = "UPDATE audit_entry SET hash = ?2 WHERE sequence = ?1";
        connection.execute(sql, params![row.sequence as i64, row.hash]).unwrap();
    }
}

/// Signs all checkpoints anew with a key of one's own.
fn sign_anew(connection: &Connection, key: &SigningKey) {
    for old in checkpoints(&Reader::new(connection)).unwrap() {
        let sql = "SELECT hash FROM audit_entry WHERE sequence = ?1";
        let hash = connection.query_row(sql, [old.sequence as i64], |row| row.get(0)).unwrap();
        let new = key.sign(old.kind, old.sequence, hash, old.at, old.previous);
        let sql = "UPDATE audit_checkpoint SET hash = ?3, key = ?4, signature = ?5 WHERE kind = ?1 AND sequence = ?2";
        let values = params![new.kind.name(), new.sequence as i64, new.hash, new.key.0, new.signature];
        connection.execute(sql, values).unwrap();
    }
}

/// One change to a byte of a text or of a blob, or to a number.
fn edit(connection: &Connection, dice: &mut Dice, table: &str, column: &str, row: &str) {
    let value: rusqlite::types::Value =
        connection.query_row(&format!("SELECT {column} FROM {table} WHERE {row}"), [], |row| row.get(0)).unwrap();
    let changed: rusqlite::types::Value = match value {
        rusqlite::types::Value::Integer(number) => (number ^ (1 << dice.below(62))).into(),
        rusqlite::types::Value::Blob(mut bytes) => {
            let place = dice.below(bytes.len());
            bytes[place] ^= 1 << dice.below(8);
            bytes.into()
        }
        rusqlite::types::Value::Text(text) => {
            let mut bytes = text.into_bytes();
            if bytes.is_empty() {
                bytes.push(b'x');
            } else {
                let place = dice.below(bytes.len());
                bytes[place] = if bytes[place] == b'a' { b'b' } else { b'a' };
            }
            String::from_utf8(bytes).unwrap().into()
        }
        other => other,
    };
    connection.execute(&format!("UPDATE {table} SET {column} = ?1 WHERE {row}"), [changed]).unwrap();
}

/// Does one thing that must be found; gives what it did.
fn tamper(
    connection: &Connection,
    dice: &mut Dice,
    last: i64,
    stranger: &SigningKey,
    old_heads: &[Checkpoint],
) -> String {
    let run = |sql: String| {
        let changed = connection.execute(&sql, []).unwrap();
        assert!(changed > 0, "{sql}");
        sql
    };
    let one = dice.sequence(last);
    let other = loop {
        let other = dice.sequence(last);
        if other != one {
            break other;
        }
    };
    match dice.below(16) {
        0..=3 => {
            let column = TEXTS[dice.below(TEXTS.len())];
            edit(connection, dice, "audit_entry", column, &format!("sequence = {one}"));
            format!("edit {column} of {one}")
        }
        4 => {
            let column = ["at", "hash"][dice.below(2)];
            edit(connection, dice, "audit_entry", column, &format!("sequence = {one}"));
            format!("edit {column} of {one}")
        }
        5 => run(format!("UPDATE audit_entry SET sequence = sequence + {} WHERE sequence = {one}", 10_000 * other)),
        6 => run(format!("DELETE FROM audit_entry WHERE sequence = {one}")),
        7 => run(format!("DELETE FROM audit_entry WHERE sequence BETWEEN {} AND {}", one.min(other), one.max(other))),
        8 => {
            run(format!("UPDATE audit_entry SET sequence = -1 WHERE sequence = {one}"));
            run(format!("UPDATE audit_entry SET sequence = {one} WHERE sequence = {other}"));
            run(format!("UPDATE audit_entry SET sequence = {other} WHERE sequence = -1"))
        }
        9 => {
            let cut = run(format!("DELETE FROM audit_entry WHERE sequence >= {one}"));
            // As one who kept an older copy of the store would: with the signature that was true then.
            if dice.below(2) == 0
                && let Some(old) = old_heads.iter().find(|head| head.sequence as i64 == one - 1)
            {
                connection.execute("DELETE FROM audit_checkpoint WHERE sequence >= ?1", [one]).unwrap();
                insert_head(connection, old);
            }
            cut
        }
        10 => run(format!("DELETE FROM audit_entry WHERE sequence <= {one}")),
        11 => {
            run(format!("UPDATE audit_entry SET sequence = -sequence - 1 WHERE sequence >= {one}"));
            run("UPDATE audit_entry SET sequence = -sequence WHERE sequence < 0".to_owned());
            run(format!("INSERT INTO audit_entry SELECT {one}, {COLUMNS} FROM audit_entry WHERE sequence = {last} + 1"))
        }
        12 => {
            run(format!("INSERT INTO audit_entry SELECT {last} + 1, {COLUMNS} FROM audit_entry WHERE sequence = {one}"))
        }
        13 => {
            let all = checkpoints(&Reader::new(connection)).unwrap();
            let chosen = &all[dice.below(all.len())];
            let column = ["sequence", "hash", "at", "previous", "key", "signature"][dice.below(6)];
            let row = format!("kind = '{}' AND sequence = {}", chosen.kind.name(), chosen.sequence);
            if dice.below(4) == 0 {
                return run(format!("DELETE FROM audit_checkpoint WHERE {row}"));
            }
            edit(connection, dice, "audit_checkpoint", column, &row);
            format!("edit {column} of the checkpoint {row}")
        }
        14 => {
            edit(connection, dice, "audit_entry", "persons", &format!("sequence = {one}"));
            rebuild(connection);
            format!("edit {one}, and all hashes anew")
        }
        _ => {
            edit(connection, dice, "audit_entry", "objects", &format!("sequence = {one}"));
            rebuild(connection);
            sign_anew(connection, stranger);
            format!("edit {one}, all hashes anew, signed by another key")
        }
    }
}

fn insert_head(connection: &Connection, head: &Checkpoint) {
    let Checkpoint { kind, sequence, hash, at, previous, key, signature } = head;
    let sql = "INSERT INTO audit_checkpoint VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let values = params![kind.name(), *sequence as i64, hash, at, *previous as i64, key.0, signature];
    connection.execute(sql, values).unwrap();
}

/// A few hundred in every run; `HEYI_AUDIT_TAMPERINGS=10000` for the promise of the contract.
#[test]
fn every_tampering_is_found_and_a_trail_left_alone_verifies() {
    let count: usize = std::env::var("HEYI_AUDIT_TAMPERINGS").map_or(300, |count| count.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory, |_| {});
    let files = AuditFiles::beside(store.path());
    // The heads that somebody may have kept with a copy of the store, all but the newest.
    let mut old_heads = Vec::new();
    for number in 1..=300 {
        write(&store, move |t| append(t, &entry_of(number)));
        old_heads.extend(store.read(|r| checkpoint_of(r, CheckpointKind::Head)).unwrap());
    }
    write(&store, make_checkpoint);
    let connection = intruder(store.path());
    let verified = look(&connection, &files).unwrap();
    // One more for the key.
    assert_eq!((verified.first, verified.last), (1, 301));
    assert!(verified.checkpoints > 30 && verified.outside == verified.checkpoints - 1, "{verified:?}");
    let stranger = SigningKey::new(&[7; 32]).unwrap();
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let mut kinds = std::collections::BTreeMap::new();
    for number in 0..count {
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        let what = tamper(&connection, &mut dice, 301, &stranger, &old_heads);
        let found = look(&connection, &files);
        connection.execute_batch("ROLLBACK").unwrap();
        let Err(Broken { kind, .. }) = found else { panic!("tampering {number} is not found: {what}") };
        *kinds.entry(kind.name()).or_insert(0) += 1;
    }
    println!("{count} tamperings found: {kinds:?}");
    assert!(kinds.len() >= 8, "every kind of break comes up: {kinds:?}");
    assert!(look(&connection, &files).is_ok());
}

#[test]
fn what_each_break_is_called() {
    let (_directory, store, files) = trail(30);
    let connection = intruder(store.path());
    let check = |sql: &str, expected: Break, sequence: u64| {
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        connection.execute_batch(sql).unwrap();
        let found = look(&connection, &files).unwrap_err();
        connection.execute_batch("ROLLBACK").unwrap();
        assert_eq!((found.kind, found.sequence), (expected, sequence), "{sql}: {found}");
    };
    check("UPDATE audit_entry SET outcome = 'ok' WHERE sequence = 8", Break::Changed, 8);
    check("DELETE FROM audit_entry WHERE sequence = 9", Break::Order, 9);
    check("DELETE FROM audit_entry WHERE sequence < 9", Break::HeadCut, 9);
    check("DELETE FROM audit_entry WHERE sequence > 9", Break::TailCut, 9);
    check("DELETE FROM audit_checkpoint WHERE kind = 'head'", Break::TailCut, 31);
    check("DELETE FROM audit_entry; DELETE FROM audit_checkpoint", Break::TailCut, 0);
    check("UPDATE audit_checkpoint SET at = at + 1 WHERE kind = 'head'", Break::Checkpoint, 31);
    check("DELETE FROM audit_checkpoint WHERE kind = 'regular' AND sequence = 12", Break::CheckpointMissing, 12);
    // Without what is kept outside, an emptied trail is still no good one.
    let nothing = AuditFiles { checkpoints: files.checkpoints.with_extension("none"), ..files.clone() };
    connection.execute_batch("BEGIN; DELETE FROM audit_entry; DELETE FROM audit_checkpoint").unwrap();
    assert_eq!(look(&connection, &nothing).unwrap_err().kind, Break::Empty);
    connection.execute_batch("ROLLBACK").unwrap();
    let mut keys = public_keys(&files.public()).unwrap();
    keys.clear();
    let found = evidence::verify(&Reader::new(&connection), keys, Vec::new()).unwrap();
    assert_eq!(found.unwrap_err().kind, Break::Key);
}

#[test]
fn a_store_put_back_as_it_was_is_found_by_what_is_kept_outside() {
    let (directory, store, files) = trail(20);
    store.close();
    let copy = directory.path().join("copy.db");
    std::fs::copy(store.path(), &copy).unwrap();
    let store = open(&directory, |_| {});
    fill(&store, 21..60);
    store.close();
    std::fs::copy(&copy, store.path()).unwrap();
    let found = look(&intruder(store.path()), &files).unwrap_err();
    assert_eq!(found.kind, Break::TailCut);
}

#[test]
fn pruning_leaves_a_trail_that_verifies_and_a_cut_after_it_does_not() {
    let (_directory, store, files) = trail(60);
    let step = |before: i64| write(&store, move |t| prune(t, before, 25, 99 * MINUTE));
    assert_eq!(step(41 * MINUTE), PruneStep { removed: 25, next: Some(25) });
    assert_eq!(step(41 * MINUTE).removed, 16, "entry 1 is the key's, so 40 are older");
    assert_eq!(step(41 * MINUTE), PruneStep { removed: 0, next: None });
    let connection = intruder(store.path());
    let verified = look(&connection, &files).unwrap();
    assert_eq!((verified.first, verified.last), (42, 63), "each step is an entry of its own");
    connection.execute("DELETE FROM audit_entry WHERE sequence < 45", []).unwrap();
    assert_eq!(look(&connection, &files).unwrap_err().kind, Break::HeadCut);
}

#[test]
fn the_newest_entry_is_never_pruned() {
    let (_directory, store, files) = trail(5);
    while write(&store, |t| prune(t, i64::MAX, 100, MINUTE)).removed > 1 {}
    let verified = look(&intruder(store.path()), &files).unwrap();
    assert!(verified.first <= verified.last);
}

#[test]
fn an_entry_goes_with_the_job_that_it_tells_of() {
    let (_directory, store, files) = trail(3);
    let refused: Result<(), _> = store.submit_blocking(|t| {
        append(t, &entry_of(4))?;
        Err(StoreError::Constraint { reason: "for this test".to_owned() })
    });
    assert!(refused.is_err());
    let verified = look(&intruder(store.path()), &files).unwrap();
    assert_eq!(verified.last, 4, "three, and the key's");
}

#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_is_refused_and_one_that_is_lost_is_made_anew_and_told() {
    use std::os::unix::fs::PermissionsExt;
    let (directory, store, files) = trail(3);
    store.close();
    let mode = |mode| std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(files.key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    mode(0o640);
    let refused = Store::open(&StoreConfig::new(store.path(), Access::Daemon)).unwrap_err();
    assert!(matches!(refused, StoreError::AuditFile { .. }), "{refused}");
    mode(0o600);
    std::fs::remove_file(&files.key).unwrap();
    let store = open(&directory, |_| {});
    fill(&store, 4..6);
    let told = store.read(|r| list(r, &AuditFilter::default(), AuditOrder::OldestFirst(0), 99)).unwrap().entries;
    let keys: Vec<_> = told.iter().filter(|row| row.action == "audit.key").map(|row| row.sequence).collect();
    assert_eq!(keys, [1, 5]);
    assert!(told[4].objects.contains("former_key/"));
    let connection = intruder(store.path());
    assert_eq!(look(&connection, &files).unwrap().keys.len(), 2);
    // Whoever trusts only the new key is told where it begins to speak.
    let public = std::fs::read_to_string(files.public()).unwrap();
    let new = public.lines().last().and_then(PublicKey::read).into_iter().collect();
    let found = evidence::verify(&Reader::new(&connection), new, Vec::new()).unwrap();
    assert_eq!(found.unwrap_err().kind, Break::Key);
}

#[test]
fn a_list_is_filtered_and_paged_either_way() {
    let (_directory, store, _) = trail(90);
    let all = |filter: AuditFilter, limit: usize, newest_first: bool| {
        let mut order = if newest_first { AuditOrder::NewestFirst(None) } else { AuditOrder::OldestFirst(0) };
        let mut found = Vec::new();
        loop {
            let page = store.read(|r| list(r, &filter, order, limit)).unwrap();
            found.extend(page.entries.into_iter().map(|row| row.sequence));
            let Some(next) = page.next else { return found };
            order = if newest_first { AuditOrder::NewestFirst(Some(next)) } else { AuditOrder::OldestFirst(next) };
        }
    };
    let everything: Vec<u64> = (1..=91).collect();
    assert_eq!(all(AuditFilter::default(), 7, false), everything);
    assert_eq!(all(AuditFilter::default(), 7, true), everything.iter().rev().copied().collect::<Vec<_>>());
    let person = AuditFilter { person: Some("01JD0000000000000000000005".to_owned()), ..AuditFilter::default() };
    assert_eq!(all(person.clone(), 2, false), [6, 46, 86]);
    for persons in [0..20, 5..6, 20..40] {
        let mut page = Entry::new(91 * MINUTE, Actor::Daemon, Action::FeedRead, "127.0.0.1", "r");
        persons.for_each(|number| page.person(&format!("01JD00000000000000000{number:05}")));
        write(&store, move |t| append(t, &page));
    }
    assert_eq!(all(person, 2, true), [93, 92, 86, 46, 6]);
    let time = AuditFilter { since: Some(10 * MINUTE), until: Some(12 * MINUTE), ..AuditFilter::default() };
    assert_eq!(all(time, 9, false), [11, 12]);
    let who = AuditFilter { who: Some("li".to_owned()), action: Some("person.*".to_owned()), ..AuditFilter::default() };
    assert!(all(who.clone(), 3, false).len() > 3);
    let exact = AuditFilter { action: Some("person".to_owned()), ..who };
    assert_eq!(all(exact, 3, false), Vec::<u64>::new());
}

#[test]
fn an_entry_that_the_index_of_persons_lacks_is_found_and_put_back() {
    const PERSON: &str = "01JD0000000000000000000005";
    let (_directory, store, files) = trail(60);
    let mut page = Entry::new(61 * MINUTE, Actor::Daemon, Action::FeedRead, "127.0.0.1", "r");
    (0..17).for_each(|number| page.person(&format!("01JD00000000000000000{number:05}")));
    write(&store, move |t| append(t, &page));
    let connection = intruder(store.path());
    let listed = || {
        let filter = AuditFilter { person: Some(PERSON.to_owned()), ..AuditFilter::default() };
        let page = store.read(|r| list(r, &filter, AuditOrder::OldestFirst(0), 99)).unwrap();
        page.entries.into_iter().map(|row| row.sequence).collect::<Vec<_>>()
    };
    let all = [6, 46, 62];
    assert_eq!(listed(), all);
    for (hidden, place) in [(vec![62], "person = '*'"), (vec![6], "sequence = 6"), (vec![6, 46, 62], "1 = 1")] {
        connection.execute(&format!("DELETE FROM audit_person WHERE {place}"), []).unwrap();
        assert!(hidden.iter().all(|sequence| !listed().contains(sequence)), "{place}");
        let found = look(&connection, &files).unwrap_err();
        let first = if hidden.len() > 1 { 2 } else { hidden[0] };
        assert_eq!((found.kind, found.sequence), (Break::Index, first), "{place}: {found}");
        let (mut after, mut steps, mut added) = (Some(0), 0, 0);
        while let Some(from) = after {
            let step = write(&store, move |t| reindex(t, from, 25));
            (after, steps, added) = (step.next, steps + 1, added + step.added);
        }
        assert_eq!((steps, added), (4, if hidden.len() > 1 { 61 } else { 1 }), "{place}");
        assert_eq!(listed(), all);
        assert!(look(&connection, &files).is_ok());
    }
    // What stands there too much shows nothing and hides nothing; what is wrong with an entry comes first.
    connection.execute("INSERT INTO audit_person VALUES (?1, 7), (?1, 999)", [PERSON]).unwrap();
    assert_eq!(listed(), all);
    assert!(look(&connection, &files).is_ok());
    connection
        .execute_batch("DELETE FROM audit_person; UPDATE audit_entry SET persons = '' WHERE sequence = 46")
        .unwrap();
    assert_eq!(look(&connection, &files).unwrap_err().kind, Break::Changed);
    // A store of an older Heyi has no index.
    connection.execute_batch("DROP TABLE audit_person").unwrap();
    assert_eq!(look(&connection, &files).unwrap_err().kind, Break::Changed);
}

#[test]
fn an_export_verifies_offline_and_an_edited_one_does_not() {
    let (_directory, store, files) = trail(40);
    let mut lines: Vec<String> = Vec::new();
    for checkpoint in store.read(checkpoints).unwrap() {
        lines.push(serde_json::json!({"checkpoint": checkpoint.document()}).to_string());
    }
    let page = store.read(|r| list(r, &AuditFilter::default(), AuditOrder::OldestFirst(0), 999)).unwrap();
    lines.extend(page.entries.iter().map(|row| serde_json::json!({"entry": row.document()}).to_string()));
    let check = |lines: &[String]| {
        let text = lines.join("\n");
        let open = || Ok(Box::new(std::io::Cursor::new(text.clone())) as Box<dyn std::io::BufRead>);
        evidence_of_export(open, Some(public_keys(&files.public()).unwrap()), None).unwrap().0
    };
    assert_eq!(check(&lines).unwrap().last, 41);
    let edited: Vec<String> = lines.iter().map(|line| line.replace("message/20", "message/21")).collect();
    assert_eq!(check(&edited).unwrap_err().kind, Break::Changed);
    // Whoever reads the line would see something that is not signed.
    for (written, forged) in [
        ("\"detail\":", "\"approved_by\":\"nobody\",\"detail\":"),
        ("\"name\":", "\"name\":\"wang\",\"name\":"),
        ("Z\",\"detail\"", "+00:00\",\"detail\""),
        ("{\"entry\":", "{\"a\":1,\"entry\":"),
        ("\"kind\":", "\"said\":1,\"kind\":"),
    ] {
        let forged: Vec<String> = lines.iter().map(|line| line.replace(written, forged)).collect();
        assert_ne!(forged, lines, "{written}");
        assert_eq!(check(&forged).unwrap_err().kind, Break::Changed, "{written}");
    }
    let mut cut = lines.clone();
    cut.pop();
    assert_eq!(check(&cut).unwrap_err().kind, Break::TailCut);
    // A part, with its signed mark, in place of the beginning.
    let mark = part(&store, 15, 0).unwrap().unwrap();
    let is_kept = |line: &&String| {
        let document: serde_json::Value = serde_json::from_str(line).unwrap();
        let kept = |name: &str| document[name]["sequence"].as_u64().is_some_and(|sequence| sequence > 15);
        kept("entry") || kept("checkpoint")
    };
    let mut later: Vec<String> = lines.iter().filter(is_kept).cloned().collect();
    assert!(check(&later).is_err());
    later.insert(0, serde_json::json!({"checkpoint": mark.document()}).to_string());
    assert_eq!(check(&later).map(|verified| verified.first), Ok(16));
    assert_eq!(hexadecimal(&mark.hash).len(), 64);
}
