//! Whom a record means that several persons fit.

use super::super::compare::{AddressLevel, Comparison, Term, compare};
use super::super::model::{Frequencies, Model};
use super::veto::{telling, vetoes_between};
use super::{Candidate, Evidence, passes, records_of};

/// Whom of several persons who fit is meant all the same. The only one whose own number the record has is: what else fits is asked
/// about, or shown by this record to be the same person. Else the first, if all are surely one person, whom nothing but this record had
/// shown to be one, or if they exclude each other and the first is far ahead.
pub(super) fn one_of_several<'e>(
    model: &Model,
    counted: &dyn Frequencies,
    candidates: &[Candidate],
    evidence: &'e [Evidence],
) -> Option<&'e Evidence> {
    let person = |found: &Evidence| candidates.iter().find(|candidate| candidate.one_id == found.one_id);
    let passing = || evidence.iter().filter(|found| passes(model, found));
    let by_number = passing().find(|found| found.shares_own);
    let chosen = by_number.or_else(|| passing().next())?;
    let first = person(chosen)?;
    let rivals: Vec<(&Evidence, Relation)> = passing()
        .filter(|found| found.one_id != chosen.one_id)
        .filter_map(|rival| Some((rival, relation(model, counted, first, person(rival)?))))
        .collect();
    let second = rivals.iter().map(|(rival, _)| rival.score.bits).fold(f64::NEG_INFINITY, f64::max);
    let all = |allowed: &dyn Fn(&(&Evidence, Relation)) -> bool| rivals.iter().all(allowed);
    let is_numbers = by_number.is_some() && all(&|(rival, relation)| *relation == Relation::Same || !rival.shares_own);
    let is_chosen = is_numbers
        || all(&|(_, relation)| *relation == Relation::Same)
        || all(&|(_, relation)| *relation == Relation::Apart) && chosen.score.bits - second >= model.margin();
    is_chosen.then_some(chosen)
}

/// How two persons who fit one record stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// Nearly linked themselves, and nothing forbids it.
    Same,
    /// Something forbids that they are one.
    Apart,
    /// Nobody knows.
    Open,
}

/// Counts without the second of two persons who are both counted.
struct BothCounted<'a>(&'a dyn Frequencies);

impl Frequencies for BothCounted<'_> {
    fn count(&self, term: Term) -> (u64, u64) {
        let (others, people) = self.0.count(term);
        (others.saturating_sub(1), people)
    }

    fn people(&self) -> u64 {
        self.0.people()
    }
}

fn relation(model: &Model, counted: &dyn Frequencies, one: &Candidate, other: &Candidate) -> Relation {
    let pairs = || one.records.iter().flat_map(|mine| other.records.iter().map(move |theirs| (mine, theirs)));
    let compared: Vec<Comparison> = pairs().map(|(mine, theirs)| compare(&mine.facts, &theirs.facts)).collect();
    let is_parted = pairs().any(|(mine, theirs)| counted.are_parted(mine.id, theirs.id));
    let telling = telling(&records_of(one), &records_of(other), compared.clone());
    if !vetoes_between(model, || telling.iter(), false, is_parted).is_empty() {
        return Relation::Apart;
    }
    // A name and a birth date alone may be two people's, of whom the record knows the number of one and the phone of the other.
    let is_near = |compared: &&Comparison| compared.shares_belongings() || compared.address == AddressLevel::SameStreet;
    let telling = compared.iter().filter(is_near);
    let counted = BothCounted(counted);
    let best = telling.map(|compared| model.score(compared, &counted).bits).fold(f64::NEG_INFINITY, f64::max);
    if best >= model.sure_bits() { Relation::Same } else { Relation::Open }
}
