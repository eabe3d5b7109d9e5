//! The audit trail: who read or changed what of whom, when, from where and with which outcome; a chain that no edit survives.
//!
//! Each entry's hash covers the entry and the hash before it (`chain`); checkpoints are signed with a key that lies outside of the
//! store (`seal`); `verify` finds the first place where entries and signatures disagree.
//!
//! Invariants
//! - An entry holds One IDs, numbers of messages and cases, cursors, names of staff tokens, sources and consumers. It never holds what a
//!   patient is called, a number of the patient's, what was searched for, or a reason that somebody wrote.
//! - What is hashed are the very texts that are stored: a trail that a later version wrote can be verified by this one.
//! - Nothing here has a clock, a file or randomness.

mod chain;
mod entry;
mod seal;
mod verify;

pub use chain::{GENESIS, Hash, Row};
pub use entry::{Action, Actor, Entry, Outcome, is_one_id};
pub use seal::{Checkpoint, CheckpointKind, KeyError, PublicKey, SigningKey};
pub use verify::{Break, Broken, Extent, Verified, Verifier};

/// Bytes as hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xF]);
    digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}

/// So many bytes from hexadecimal digits.
pub fn from_hexadecimal<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
    let bytes: Vec<u8> = digits?.chunks(2).filter(|pair| pair.len() == 2).map(|pair| pair[0] << 4 | pair[1]).collect();
    if text.len() == 2 * N { bytes.try_into().ok() } else { None }
}
