//! Keys by which records that might be one patient are found.

use super::PatientFacts;
use super::compare::Term;

/// What a key is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// An identity number.
    IdentityNumber,
    /// A card.
    Card,
    /// A phone.
    Phone,
    /// Anything else.
    NameAndBirthDate,
}

impl KeyKind {
    /// Name.
    pub fn name(self) -> &'static str {
        match self {
            Self::IdentityNumber => "identity_number",
            Self::Card => "card",
            Self::Phone => "phone",
            Self::NameAndBirthDate => "name_and_birth_date",
        }
    }
}

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockKey {
    /// What it is made of.
    pub kind: KeyKind,
    /// Hash.
    pub hash: u64,
}

fn hash(kind: KeyKind, text: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in kind.name().bytes().chain(text.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    hash
}

/// Keys of a record.
pub fn keys(facts: &PatientFacts) -> Vec<BlockKey> {
    let key = |kind, text: &str| BlockKey { kind, hash: hash(kind, text) };
    let mut keys: Vec<BlockKey> =
        facts.identity_numbers.iter().map(|number| key(KeyKind::IdentityNumber, &number.value)).collect();
    if let Some(born) = &facts.birth_date {
        keys.push(key(KeyKind::NameAndBirthDate, &format!("{}|{born}", facts.name)));
    }
    keys
}

/// Terms of a record.
pub fn terms(_facts: &PatientFacts) -> Vec<Term> {
    Vec::new()
}
