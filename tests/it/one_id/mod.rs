//! One ID from outside: the hard cases of families, homonyms, wrong numbers, merges and their undoing, by number.
//!
//! Every case is a row of one table: what three sources say of a few patients, and whether they end as one person (linked), as
//! two with a review between them, or as two with nothing to look at. [`hospital`] holds the words in which they are
//! written. A case that allows "linked or reviewed" is written so; nothing else is ever accepted.

mod consumers;
mod decisions;
mod families;
mod hospital;
mod lives;
mod merges;
mod moves;
mod names;
mod numbers;
mod order;
mod splits;
mod unions;
mod words;
