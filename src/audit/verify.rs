//! Finds the first place at which a trail is not what was written.
//!
//! Entries are given in order, one at a time, so that a trail of any length fits. Checkpoints are few and held.

use std::collections::{BTreeMap, BTreeSet};

use super::{Checkpoint, CheckpointKind, GENESIS, Hash, PublicKey, Row};

/// What is wrong at the first broken place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// An entry does not have the hash that its content and the entries before it give.
    Changed,
    /// Entries are missing, doubled or out of order.
    Order,
    /// The first entries are missing, and no signed mark says that they were pruned.
    HeadCut,
    /// The last entries are missing: something signed is beyond them.
    TailCut,
    /// Entries came after the newest signature.
    Added,
    /// The chain fits together, but is not the one that was signed.
    Rewritten,
    /// A checkpoint was changed.
    Checkpoint,
    /// A checkpoint is missing that a later one names.
    CheckpointMissing,
    /// A checkpoint is signed with a key that is not trusted here.
    Key,
    /// What is stored is no entry or no checkpoint at all.
    Unreadable,
    /// There is no trail.
    Empty,
    /// The entries are as they were written; what finds them by person is not.
    Index,
}

impl Break {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Order => "order",
            Self::HeadCut => "head_cut",
            Self::TailCut => "tail_cut",
            Self::Added => "added",
            Self::Rewritten => "rewritten",
            Self::Checkpoint => "checkpoint",
            Self::CheckpointMissing => "checkpoint_missing",
            Self::Key => "key",
            Self::Unreadable => "unreadable",
            Self::Empty => "empty",
            Self::Index => "index",
        }
    }
}

/// The first broken place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at entry {sequence}: {text}")]
pub struct Broken {
    /// The entry at which it shows.
    pub sequence: u64,
    /// Of which kind it is.
    pub kind: Break,
    /// A sentence.
    pub text: &'static str,
}

/// A trail that is as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The first entry's place.
    pub first: u64,
    /// The last one's.
    pub last: u64,
    /// Signatures of the store that were looked at, that of the newest entry included.
    pub checkpoints: usize,
    /// Checkpoints kept elsewhere that the trail was compared with.
    pub outside: usize,
    /// The keys that signed.
    pub keys: BTreeSet<PublicKey>,
}

/// Verifies entries in order; see the module.
#[derive(Debug)]
pub struct Verifier {
    begin: u64,
    sequence: u64,
    hash: Hash,
    /// What was signed, by place.
    signed: BTreeMap<u64, Vec<Checkpoint>>,
    newest: u64,
    checkpoints: usize,
    outside: usize,
    heads: Vec<Checkpoint>,
    trusted: BTreeSet<PublicKey>,
    keys: BTreeSet<PublicKey>,
}

/// What is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// A trail from its beginning, or from what was pruned.
    Whole,
    /// An export, which may begin later where a checkpoint of kind [`CheckpointKind::Part`] says so.
    Export,
}

impl Verifier {
    /// Begins with the checkpoints of the trail itself and with those that were kept elsewhere.
    ///
    /// # Errors
    /// The first thing that is wrong with the checkpoints themselves.
    pub fn new(
        extent: Extent,
        trusted: BTreeSet<PublicKey>,
        own: Vec<Checkpoint>,
        outside: Vec<Checkpoint>,
    ) -> Result<Self, Broken> {
        let mut verifier = Self {
            begin: 0,
            sequence: 0,
            hash: GENESIS,
            signed: BTreeMap::new(),
            newest: 0,
            checkpoints: own.len(),
            outside: 0,
            heads: Vec::new(),
            trusted,
            keys: BTreeSet::new(),
        };
        let (mut beginnings, mut regular) = (Vec::new(), Vec::new());
        for checkpoint in own {
            verifier.check(&checkpoint)?;
            match checkpoint.kind {
                CheckpointKind::Head => verifier.heads.push(checkpoint),
                CheckpointKind::Regular => regular.push(checkpoint),
                CheckpointKind::Beginning => beginnings.push(checkpoint),
                CheckpointKind::Part if extent == Extent::Export => beginnings.push(checkpoint),
                CheckpointKind::Part => {
                    let text = "the mark of an export stands in the trail itself";
                    return broken(checkpoint.sequence, Break::Checkpoint, text);
                }
            }
        }
        for beginning in beginnings {
            if verifier.begin > 0 {
                return broken(beginning.sequence, Break::Checkpoint, "a second mark of a beginning");
            }
            (verifier.begin, verifier.sequence, verifier.hash) =
                (beginning.sequence, beginning.sequence, beginning.hash);
        }
        regular.sort_by_key(|checkpoint| checkpoint.sequence);
        for checkpoint in regular {
            if checkpoint.sequence <= verifier.newest {
                return broken(checkpoint.sequence, Break::Checkpoint, "a checkpoint stands where none can be");
            }
            verifier.follows(&checkpoint)?;
            verifier.newest = checkpoint.sequence;
            verifier.signed.entry(checkpoint.sequence).or_default().push(checkpoint);
        }
        for checkpoint in outside {
            verifier.check(&checkpoint)?;
            // What was pruned can no longer be compared.
            if checkpoint.sequence >= verifier.begin {
                verifier.outside += 1;
                verifier.signed.entry(checkpoint.sequence).or_default().push(checkpoint);
            }
        }
        verifier.compare()?;
        Ok(verifier)
    }

    fn check(&mut self, checkpoint: &Checkpoint) -> Result<(), Broken> {
        if !checkpoint.is_signed() {
            return broken(checkpoint.sequence, Break::Checkpoint, "a checkpoint is not what was signed");
        }
        if !self.trusted.contains(&checkpoint.key) {
            return broken(checkpoint.sequence, Break::Key, "signed with a key that is not trusted here");
        }
        self.keys.insert(checkpoint.key);
        Ok(())
    }

    /// The regular checkpoint before is there, or was pruned.
    fn follows(&self, checkpoint: &Checkpoint) -> Result<(), Broken> {
        let is_pruned = self.newest == 0 && checkpoint.previous <= self.begin;
        if checkpoint.previous == self.newest || is_pruned {
            return Ok(());
        }
        broken(checkpoint.previous, Break::CheckpointMissing, "a checkpoint is missing that a later one names")
    }

    /// Everything signed of the place that is reached says the same as the chain.
    fn compare(&mut self) -> Result<(), Broken> {
        for checkpoint in self.signed.remove(&self.sequence).unwrap_or_default() {
            if checkpoint.hash != self.hash {
                let text = "the entries up to here fit together, but are not those that were signed";
                return broken(self.sequence, Break::Rewritten, text);
            }
        }
        Ok(())
    }

    /// The next entry.
    ///
    /// # Errors
    /// It is not what comes next.
    pub fn row(&mut self, row: &Row) -> Result<(), Broken> {
        let expected = self.sequence + 1;
        if row.sequence != expected {
            if self.sequence == self.begin && row.sequence > expected {
                let text = "the entries before this one are missing, and nothing signed says that they were pruned";
                return broken(row.sequence, Break::HeadCut, text);
            }
            return broken(expected, Break::Order, "an entry is missing, doubled or out of order");
        }
        if row.expected_hash(&self.hash) != row.hash {
            let text = "the entry, or its hash, or that of the entry before was changed";
            return broken(row.sequence, Break::Changed, text);
        }
        (self.sequence, self.hash) = (row.sequence, row.hash);
        self.compare()
    }

    /// The place of the last entry that was looked at.
    pub fn reached(&self) -> u64 {
        self.sequence
    }

    /// After the last entry.
    ///
    /// # Errors
    /// Something signed is beyond the entries, or entries are beyond what is signed.
    pub fn finish(self) -> Result<Verified, Broken> {
        let beyond = self.signed.last_key_value().map(|(sequence, _)| *sequence);
        if beyond.is_some() {
            let text = "the trail ends here, but an entry further on was signed";
            return broken(self.sequence, Break::TailCut, text);
        }
        let [head] = self.heads.as_slice() else {
            return match (self.heads.as_slice(), self.sequence) {
                ([], 0) => broken(0, Break::Empty, "there is no trail"),
                ([], last) => broken(last, Break::TailCut, "the signature of the newest entry is missing"),
                _ => broken(self.sequence, Break::Checkpoint, "more than one signature of the newest entry"),
            };
        };
        if head.sequence > self.sequence {
            return broken(self.sequence, Break::TailCut, "the trail ends here, but an entry further on was signed");
        }
        if head.sequence < self.sequence {
            return broken(head.sequence + 1, Break::Added, "entries came after the newest signature");
        }
        if head.hash != self.hash {
            let text = "the entries up to here fit together, but are not those that were signed";
            return broken(self.sequence, Break::Rewritten, text);
        }
        self.follows(head)?;
        let Self { begin, sequence, checkpoints, outside, keys, .. } = self;
        Ok(Verified { first: begin + 1, last: sequence, checkpoints, outside, keys })
    }
}

fn broken<T>(sequence: u64, kind: Break, text: &'static str) -> Result<T, Broken> {
    Err(Broken { sequence, kind, text })
}
