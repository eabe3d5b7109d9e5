//! An invented Chinese town and what its hospital's systems write of its people, with the truth about both.
//!
//! Whatever makes identity hard is in it, oftener than in life where tests need to see it: families under one roof with one phone,
//! twins, newborns without a name, children under a parent's number, numbers that stand for none, typing errors of every kind. The
//! seed determines all of it, on every machine. Nobody in it exists: names, numbers and phones are drawn at random.

pub(crate) mod message;
pub(crate) mod names;
pub(crate) mod people;
pub(crate) mod random;
mod rates;
pub(crate) mod rows;

use people::Person;
use random::Random;
use rows::Row;

/// People, and the rows that sources have of them.
pub(crate) struct Town {
    pub(crate) people: Vec<Person>,
    /// In the order in which they were seen.
    pub(crate) rows: Vec<Row>,
}

impl Town {
    /// A town of `people`, or a few more to fill the last family.
    pub(crate) fn new(seed: u64, people: usize) -> Self {
        let mut random = Random::new(seed);
        let people = people::settle(&mut random, people);
        let mut rows = rows::write(&mut random, &people);
        // Shuffled first: relatives were written one after the other, and a day has many rows.
        random.shuffle(&mut rows);
        rows.sort_by_key(|row| row.seen);
        Self { people: people.all, rows }
    }
}
