//! API tokens. Only the SHA-256 of a token is stored; the token itself is shown once, by whoever made it.

use rusqlite::{Row, params};

use super::{Reader, StoreError, Transaction};

/// A token on its way into the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// Who bears it; a consumer's token bears the consumer's name.
    pub name: String,
    /// `consumer`, `engineer`, `records`, `auditor`, `admin`.
    pub role: String,
    /// SHA-256 of the secret.
    pub sha256: [u8; 32],
    /// Now.
    pub created_at: i64,
}

/// A stored token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The store's number for it.
    pub id: i64,
    /// Who bears it.
    pub name: String,
    /// Its role.
    pub role: String,
    /// SHA-256 of the secret.
    pub sha256: [u8; 32],
    /// When it was made.
    pub created_at: i64,
    /// When it was revoked; a revoked token opens nothing.
    pub revoked_at: Option<i64>,
    /// When it was last used, as far as that was noted.
    pub last_used_at: Option<i64>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT id, name, role, sha256, created_at, revoked_at, last_used_at FROM token ", $rest)
    };
}

/// Stores a token; gives its number.
///
/// # Errors
/// See [`StoreError`].
pub fn insert(transaction: &Transaction<'_>, new: &NewToken) -> Result<i64, StoreError> {
    transaction.insert(
        "INSERT INTO token (name, role, sha256, created_at) VALUES (?1, ?2, ?3, ?4)",
        params![new.name, new.role, new.sha256, new.created_at],
    )
}

/// The token with this digest, revoked or not.
///
/// # Errors
/// See [`StoreError`].
pub fn find(reader: &Reader<'_>, sha256: &[u8; 32]) -> Result<Option<Token>, StoreError> {
    reader.one(select!("WHERE sha256 = ?1"), params![sha256], token)
}

/// Every token, revoked ones too, in the order in which they were made.
///
/// # Errors
/// See [`StoreError`].
pub fn list(reader: &Reader<'_>) -> Result<Vec<Token>, StoreError> {
    reader.all(select!("ORDER BY id"), [], token)
}

/// Revokes every live token of this name; gives how many there were.
///
/// # Errors
/// See [`StoreError`].
pub fn revoke(transaction: &Transaction<'_>, name: &str, at: i64) -> Result<usize, StoreError> {
    transaction.run("UPDATE token SET revoked_at = ?2 WHERE name = ?1 AND revoked_at IS NULL", params![name, at])
}

/// Notes that a token was used. Not with every request: it is a write.
///
/// # Errors
/// See [`StoreError`].
pub fn note_use(transaction: &Transaction<'_>, id: i64, at: i64) -> Result<(), StoreError> {
    transaction.run("UPDATE token SET last_used_at = ?2 WHERE id = ?1", params![id, at])?;
    Ok(())
}

fn token(row: &Row<'_>) -> Result<Token, StoreError> {
    Ok(Token {
        id: row.get(0)?,
        name: row.get(1)?,
        role: row.get(2)?,
        sha256: row.get(3)?,
        created_at: row.get(4)?,
        revoked_at: row.get(5)?,
        last_used_at: row.get(6)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{store, write};
    use super::*;

    #[test]
    fn a_token_is_found_by_its_digest_until_and_after_it_is_revoked() {
        let (_directory, store) = store();
        let new = |digest: u8| NewToken {
            name: "crm".to_owned(),
            role: "consumer".to_owned(),
            sha256: [digest; 32],
            created_at: 1,
        };
        let id = write(&store, move |t| insert(t, &new(7)));
        assert!(store.submit_blocking(move |t| insert(t, &new(7))).is_err(), "one digest, one token");
        write(&store, move |t| note_use(t, id, 5));
        let found = store.read(|r| find(r, &[7; 32])).unwrap().unwrap();
        assert_eq!((found.id, found.revoked_at, found.last_used_at), (id, None, Some(5)));
        assert_eq!(store.read(|r| find(r, &[8; 32])), Ok(None));
        assert_eq!(write(&store, |t| revoke(t, "crm", 9)), 1);
        assert_eq!(write(&store, |t| revoke(t, "crm", 10)), 0);
        assert_eq!(store.read(list).unwrap()[0].revoked_at, Some(9));
    }
}
