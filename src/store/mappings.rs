//! Which mapping of each source the daemon runs, for those who look from outside.

use rusqlite::params;

use super::{Reader, StoreError, Transaction};

/// The mapping of a source that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingInForce {
    /// The source.
    pub source: String,
    /// See `Mapping::version`.
    pub version: String,
    /// Since when, in microseconds since the epoch.
    pub loaded_at: i64,
    /// The newest set of files, if it was refused.
    pub refused: Option<RefusedSet>,
}

/// A set of mapping files that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedSet {
    /// When it was looked at.
    pub at: i64,
    /// Its problems, each with its place, at most [`MOST_PROBLEMS`].
    pub problems: Vec<String>,
}

/// Problems of a refused set that are kept: more than people mend at a time. `heyi check` shows all.
pub const MOST_PROBLEMS: usize = 100;

/// Says that a set of mappings is in force: every source with its version. Other sources are forgotten.
///
/// # Errors
/// See [`StoreError`].
pub fn put_in_force(transaction: &Transaction<'_>, set: &[(String, String)], at: i64) -> Result<(), StoreError> {
    for known in list(transaction)?.iter().filter(|known| !set.iter().any(|(source, _)| *source == known.source)) {
        transaction.run("DELETE FROM mapping_in_force WHERE source = ?1", [&known.source])?;
    }
    for (source, version) in set {
        transaction.run(
            "INSERT INTO mapping_in_force (source, version, loaded_at) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET loaded_at = iif(version = ?2, loaded_at, ?3), version = ?2, refused_at = NULL,
                 problems = NULL",
            params![source, version, at],
        )?;
    }
    Ok(())
}

/// Says that a newer set was refused, so that what is in force stays: it concerns every source, because a set is taken as a whole.
///
/// # Errors
/// See [`StoreError`].
pub fn note_refused(transaction: &Transaction<'_>, problems: &[String], at: i64) -> Result<(), StoreError> {
    let problems = serde_json::json!(problems.iter().take(MOST_PROBLEMS).collect::<Vec<_>>()).to_string();
    transaction.run("UPDATE mapping_in_force SET refused_at = ?1, problems = ?2", params![at, problems])?;
    Ok(())
}

/// By source.
///
/// # Errors
/// See [`StoreError`].
pub fn list(reader: &Reader<'_>) -> Result<Vec<MappingInForce>, StoreError> {
    reader.all(
        "SELECT source, version, loaded_at, refused_at, problems FROM mapping_in_force ORDER BY source",
        [],
        |row| {
            let (refused_at, problems): (Option<i64>, Option<String>) = (row.get(3)?, row.get(4)?);
            let problems = problems.map_or(Ok(Vec::new()), |text| serde_json::from_str(&text));
            let problems = problems.map_err(|_| StoreError::Damaged { what: "mapping_in_force.problems" })?;
            Ok(MappingInForce {
                source: row.get(0)?,
                version: row.get(1)?,
                loaded_at: row.get(2)?,
                refused: refused_at.map(|at| RefusedSet { at, problems }),
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{store, write};
    use super::*;

    #[test]
    fn a_refused_set_is_noted_until_a_usable_one_comes() {
        let (_directory, store) = store();
        let set = |his: &str| vec![("his".to_owned(), his.to_owned()), ("lis".to_owned(), "v1".to_owned())];
        let first = set("v1");
        write(&store, move |t| put_in_force(t, &first, 10));
        let problems: Vec<String> =
            (1..=MOST_PROBLEMS + 1).map(|line| format!("mappings/his.toml:{line}:16 error")).collect();
        let (kept, noted) = (problems[..MOST_PROBLEMS].to_vec(), problems.clone());
        write(&store, move |t| note_refused(t, &noted, 20));
        let refused = Some(RefusedSet { at: 20, problems: kept });
        let row = |source: &str, version: &str, loaded_at, refused| MappingInForce {
            source: source.to_owned(),
            version: version.to_owned(),
            loaded_at,
            refused,
        };
        assert_eq!(store.read(list).unwrap(), [row("his", "v1", 10, refused.clone()), row("lis", "v1", 10, refused)]);
        let second = set("v2");
        write(&store, move |t| put_in_force(t, &second, 30));
        assert_eq!(store.read(list).unwrap(), [row("his", "v2", 30, None), row("lis", "v1", 10, None)]);
        write(&store, |t| put_in_force(t, &[("lis".to_owned(), "v1".to_owned())], 40));
        assert_eq!(store.read(list).unwrap(), [row("lis", "v1", 10, None)]);
    }
}
