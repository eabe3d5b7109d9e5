//! What the keys find: how many pairs of records share one, by its kind, and what no other kind would have found.

use std::collections::{BTreeMap, HashMap};

use heyi::identity::{BlockKind, keys};
use heyi::store::Store;

use crate::learn;
use crate::play::Key;
use crate::score::share;

/// Holders of a key beyond these are not looked at, as in service.
const HOLDERS: usize = 64;

/// Of one kind of key.
#[derive(Default)]
struct Found {
    pairs: usize,
    /// Pairs that share no key of another kind.
    alone: usize,
    /// Of these, how many are one person's.
    alone_true: usize,
    /// Keys with too many holders.
    overflown: usize,
}

/// Prints a line for each kind; `truth`: the person of each record.
pub(crate) fn print(store: &Store, records: &[Key], truth: &[usize]) {
    let mut holders: HashMap<(BlockKind, u64), Vec<usize>> = HashMap::new();
    for (place, facts) in learn::facts(store, records) {
        for key in keys(&facts) {
            holders.entry((key.kind, key.hash)).or_default().push(place);
        }
    }
    let mut kinds: BTreeMap<BlockKind, Found> = BTreeMap::new();
    let mut pairs: HashMap<(usize, usize), u32> = HashMap::new();
    let stored = holders.values().map(Vec::len).sum::<usize>();
    for ((kind, _), held) in &holders {
        kinds.entry(*kind).or_default();
        if held.len() > HOLDERS {
            kinds.entry(*kind).or_default().overflown += 1;
            continue;
        }
        for (place, one) in held.iter().enumerate() {
            for other in &held[place + 1..] {
                *pairs.entry((*one.min(other), *one.max(other))).or_default() |= 1 << (*kind as u32);
            }
        }
    }
    for ((one, other), shared) in &pairs {
        for (kind, found) in kinds.iter_mut().map(|(kind, found)| (1 << (*kind as u32), found)) {
            found.pairs += usize::from(shared & kind != 0);
            if *shared == kind {
                found.alone += 1;
                found.alone_true += usize::from(truth[*one] == truth[*other]);
            }
        }
    }
    println!(
        "{:.2} keys for a record, {:.2} records share one with it",
        share(stored, records.len()),
        2.0 * share(pairs.len(), records.len())
    );
    println!("{:18} {:>9} {:>9} {:>9} {:>9}", "pairs that share", "all", "alone", "are one", "overflown");
    for (kind, found) in kinds {
        println!(
            "{:18} {:>9} {:>9} {:>9} {:>9}",
            format!("{kind:?}"),
            found.pairs,
            found.alone,
            found.alone_true,
            found.overflown
        );
    }
}
