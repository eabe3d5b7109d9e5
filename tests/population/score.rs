//! Persons as found beside persons as they are, counted in pairs of records.

use std::collections::HashMap;

/// Two records, the first before the second.
pub(crate) type Pair = (usize, usize);

/// What became of the pairs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Score {
    /// Pairs of one person that were linked.
    pub(crate) found: Vec<Pair>,
    /// Pairs of one person that were not.
    pub(crate) missed: Vec<Pair>,
    /// Pairs of two persons that were linked.
    pub(crate) wrong: Vec<Pair>,
}

impl Score {
    /// `found[n]` is the person that record `n` was given, `truth[n]` the person that it is of.
    pub(crate) fn of(found: &[usize], truth: &[usize]) -> Self {
        let (linked, same) = (pairs(found), pairs(truth));
        let (wrong, _): (Vec<Pair>, Vec<Pair>) =
            linked.into_iter().partition(|(one, other)| truth[*one] != truth[*other]);
        let (found, missed) = same.into_iter().partition(|(one, other)| found[*one] == found[*other]);
        Self { found, missed, wrong }
    }

    pub(crate) fn precision(&self) -> f64 {
        share(self.found.len(), self.found.len() + self.wrong.len())
    }

    pub(crate) fn recall(&self) -> f64 {
        share(self.found.len(), self.found.len() + self.missed.len())
    }
}

/// 1 where there is nothing to be had.
pub(crate) fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

/// All pairs of records that have the same person, in order.
pub(crate) fn pairs(persons: &[usize]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for records in groups(persons).values() {
        for (place, one) in records.iter().enumerate() {
            pairs.extend(records[place + 1..].iter().map(|other| (*one, *other)));
        }
    }
    pairs.sort_unstable();
    pairs
}

fn groups(persons: &[usize]) -> HashMap<usize, Vec<usize>> {
    let mut groups: HashMap<usize, Vec<usize>> = HashMap::new();
    for (record, person) in persons.iter().enumerate() {
        groups.entry(*person).or_default().push(record);
    }
    groups
}

#[test]
fn pairs_are_counted_as_found_missed_and_wrong() {
    // Truth: 0 1 2 | 3 4 | 5. Found: 0 1 | 2 3 | 4 | 5.
    let score = Score::of(&[7, 7, 8, 8, 9, 4], &[1, 1, 1, 2, 2, 3]);
    assert_eq!(score, Score { found: vec![(0, 1)], missed: vec![(0, 2), (1, 2), (3, 4)], wrong: vec![(2, 3)] });
    assert_eq!((score.precision(), score.recall()), (0.5, 0.25));
    let nothing = Score::of(&[1, 2], &[1, 2]);
    assert_eq!((nothing.precision(), nothing.recall()), (1.0, 1.0));
}
