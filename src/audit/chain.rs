//! The chain: what is hashed, and how an entry looks outside of the store.

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{from_hexadecimal, hexadecimal};

/// SHA-256 of an entry and all before it.
pub type Hash = [u8; 32];

/// What stands before the first entry.
pub const GENESIS: Hash = *b"Heyi audit trail, first entry: 1";

/// An entry at its place, as it is stored: what is hashed are these very texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its place: 1, 2, 3 and so on, without holes.
    pub sequence: u64,
    /// When, in microseconds since the epoch.
    pub at: i64,
    /// `token`, `shell`, `daemon` or `unknown`.
    pub actor: String,
    /// The name of the token or of the shell's user.
    pub name: String,
    /// The token's role.
    pub role: String,
    /// The name of an [`super::Action`].
    pub action: String,
    /// The name of an [`super::Outcome`].
    pub outcome: String,
    /// An address, `shell` or `daemon`.
    pub origin: String,
    /// What belongs together.
    pub request: String,
    /// One IDs with blanks between.
    pub persons: String,
    /// `KIND/ID` with blanks between.
    pub objects: String,
    /// What else there is to say.
    pub detail: String,
    /// Of this entry and all before it.
    pub hash: Hash,
}

impl Row {
    /// The hash that the entry must have after `previous`. Every part is preceded by its length, so that nothing can move from one
    /// part to the next.
    pub fn expected_hash(&self, previous: &Hash) -> Hash {
        let mut sha256 = Sha256::new();
        let mut part = |bytes: &[u8]| {
            sha256.update((bytes.len() as u64).to_be_bytes());
            sha256.update(bytes);
        };
        part(previous);
        part(&self.sequence.to_be_bytes());
        part(&self.at.to_be_bytes());
        self.texts().iter().for_each(|text| part(text.as_bytes()));
        sha256.finalize().into()
    }

    fn texts(&self) -> [&String; 10] {
        let Self { actor, name, role, action, outcome, origin, request, persons, objects, detail, .. } = self;
        [actor, name, role, action, outcome, origin, request, persons, objects, detail]
    }

    /// The entry as JSON; [`Row::from_document`] reads it back.
    pub fn document(&self) -> Value {
        let list = |text: &str| text.split(' ').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        json!({
            "sequence": self.sequence,
            "at": Timestamp::from_microsecond(self.at).unwrap_or_default().to_string(),
            "actor": self.actor,
            "name": self.name,
            "role": self.role,
            "action": self.action,
            "outcome": self.outcome,
            "origin": self.origin,
            "request": self.request,
            "persons": list(&self.persons),
            "objects": list(&self.objects),
            "detail": self.detail,
            "hash": hexadecimal(&self.hash),
        })
    }

    /// An entry from its JSON. `None`: a member is missing or of another type.
    pub fn from_document(document: &Value) -> Option<Self> {
        let text = |name: &str| document[name].as_str().map(str::to_owned);
        let list = |name: &str| -> Option<String> {
            let parts: Option<Vec<&str>> = document[name].as_array()?.iter().map(Value::as_str).collect();
            Some(parts?.join(" "))
        };
        Some(Self {
            sequence: document["sequence"].as_u64()?,
            at: document["at"].as_str()?.parse::<Timestamp>().ok()?.as_microsecond(),
            actor: text("actor")?,
            name: text("name")?,
            role: text("role")?,
            action: text("action")?,
            outcome: text("outcome")?,
            origin: text("origin")?,
            request: text("request")?,
            persons: list("persons")?,
            objects: list("objects")?,
            detail: text("detail")?,
            hash: from_hexadecimal(document["hash"].as_str()?)?,
        })
    }
}
