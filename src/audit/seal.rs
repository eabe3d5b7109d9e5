//! Checkpoints: the hash of the chain at one place, signed with Ed25519 (RFC 8032) by a key that is not in the store.
//!
//! Whoever can write the store but not read the key cannot make one, and so cannot build the chain anew. The newest entry always bears
//! one of kind [`CheckpointKind::Head`], written in the same transaction; regular ones come from time to time and are kept outside of the
//! store as well, so that a store put back as it was before is found out too.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Hash, from_hexadecimal, hexadecimal};

/// What is signed begins with it, so that no signature of something else can stand for a checkpoint.
const DOMAIN: &[u8] = b"heyi audit checkpoint 1\0";

/// What a checkpoint is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckpointKind {
    /// The entries begin after it: what was before is pruned.
    Beginning,
    /// Made from time to time, never removed while its entry is kept.
    Regular,
    /// Of the newest entry: nothing comes after it.
    Head,
    /// An export begins after it, although the trail does not.
    Part,
}

impl CheckpointKind {
    /// As it is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Beginning => "beginning",
            Self::Regular => "regular",
            Self::Head => "head",
            Self::Part => "part",
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Beginning, Self::Regular, Self::Head, Self::Part].into_iter().find(|kind| kind.name() == name)
    }
}

/// The half of the key that verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// The key from a line of hexadecimal digits.
    pub fn read(line: &str) -> Option<Self> {
        from_hexadecimal(line.trim()).map(Self)
    }

    /// The first half of its SHA-256: enough to tell keys apart.
    pub fn fingerprint(&self) -> String {
        hexadecimal(&Sha256::digest(self.0)[..16])
    }

    /// The key as a line of hexadecimal digits.
    pub fn text(&self) -> String {
        hexadecimal(&self.0)
    }
}

/// A secret that makes no key.
#[derive(Debug, thiserror::Error)]
#[error("the secret makes no Ed25519 key")]
pub struct KeyError;

/// The key that signs.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// The key of a secret of 32 random bytes.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn new(secret: &[u8; 32]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(secret).map_err(|_| KeyError)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyError)?;
        Ok(Self { pair, public: PublicKey(public) })
    }

    /// The half that verifies.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs that the chain has `hash` at `sequence`, and that the regular checkpoint before is at `previous` (0: there is none).
    pub fn sign(&self, kind: CheckpointKind, sequence: u64, hash: Hash, at: i64, previous: u64) -> Checkpoint {
        let mut checkpoint =
            Checkpoint { kind, sequence, hash, at, previous, key: self.public, signature: vec![0; SIGNATURE_BYTES] };
        checkpoint.signature = self.pair.sign(&checkpoint.signed()).as_ref().to_vec();
        checkpoint
    }
}

/// Bytes of an Ed25519 signature (RFC 8032, 5.1.6).
const SIGNATURE_BYTES: usize = 64;

/// What was signed, and the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// What it is for.
    pub kind: CheckpointKind,
    /// The entry's place.
    pub sequence: u64,
    /// The chain's hash there.
    pub hash: Hash,
    /// When, in microseconds since the epoch.
    pub at: i64,
    /// The place of the regular checkpoint before it; 0: none.
    pub previous: u64,
    /// The key that signed.
    pub key: PublicKey,
    /// Its signature.
    pub signature: Vec<u8>,
}

impl Checkpoint {
    fn signed(&self) -> Vec<u8> {
        let mut bytes = DOMAIN.to_vec();
        bytes.push(self.kind as u8);
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.hash);
        bytes.extend(self.at.to_be_bytes());
        bytes.extend(self.previous.to_be_bytes());
        bytes.extend(self.key.0);
        bytes
    }

    /// Whether its key made this signature over exactly this.
    pub fn is_signed(&self) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.key.0).verify(&self.signed(), &self.signature).is_ok()
    }

    /// The checkpoint as JSON; [`Checkpoint::from_document`] reads it back.
    pub fn document(&self) -> Value {
        json!({
            "kind": self.kind.name(),
            "sequence": self.sequence,
            "hash": hexadecimal(&self.hash),
            "at": Timestamp::from_microsecond(self.at).unwrap_or_default().to_string(),
            "previous": self.previous,
            "key": self.key.text(),
            "signature": hexadecimal(&self.signature),
        })
    }

    /// A checkpoint from its JSON. `None`: a member is missing or of another type.
    pub fn from_document(document: &Value) -> Option<Self> {
        let text = |name: &str| document[name].as_str();
        Some(Self {
            kind: CheckpointKind::named(text("kind")?)?,
            sequence: document["sequence"].as_u64()?,
            hash: from_hexadecimal(text("hash")?)?,
            at: text("at")?.parse::<Timestamp>().ok()?.as_microsecond(),
            previous: document["previous"].as_u64()?,
            key: PublicKey::read(text("key")?)?,
            signature: from_hexadecimal::<SIGNATURE_BYTES>(text("signature")?)?.to_vec(),
        })
    }
}
