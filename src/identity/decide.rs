//! To whom a record belongs.
//!
//! Candidates are weighed record by record ([`Evidence`]); what forbids a link holds if any record of a person gives it. What is left is a
//! [`Decision`]: one person far ahead of all others is linked; whatever is doubtful is a case for review, and the record a person of its
//! own meanwhile. The score finds families as easily as patients: the [`Veto`] tells them apart.

mod several;
mod veto;

use serde::{Deserialize, Serialize};

use super::PatientFacts;
use super::compare::{BirthDateLevel, Comparison, NameLevel, NumberLevel, compare};
use super::model::{FactKind, Frequencies, Model, Score};
use several::one_of_several;
use veto::{are_alike_only, is_ruled_out_by, lacks_own, shares_own_number, telling, vetoes_between};

pub use veto::Veto;

/// A person who might be meant.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The One ID, redirects followed.
    pub one_id: String,
    /// All records that are linked to the person now.
    pub records: Vec<CandidateRecord>,
}

/// A record of a candidate.
#[derive(Debug, Clone)]
pub struct CandidateRecord {
    /// The store's number for it.
    pub id: i64,
    /// What is known of it.
    pub facts: PatientFacts,
    /// What ties it to the record in question beside the facts.
    pub tie: Option<Tie>,
    /// Somebody has decided that the two are different patients.
    pub is_parted: bool,
    /// Records of one patient by a source's word have the same: it has merged them, or they are of one number.
    pub patient: i64,
}

/// What ties two records whatever their facts say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tie {
    /// The same number under the same assigning authority: the sources' own word.
    SameNumber,
    /// The message names a visit of the candidate.
    SameVisit,
}

/// What speaks for or against one candidate. Stored with the link and in reviews; holds no patient's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The candidate's One ID.
    pub one_id: String,
    /// The record of the candidate that agrees best, by the store's number.
    pub record: i64,
    /// What ties the two beside the facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tie: Option<Tie>,
    /// The facts compared, and what they weigh.
    pub score: Score,
    /// What forbids a link without somebody's decision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vetoes: Vec<Veto>,
    /// An identity number with the name and, as far as known, the birth date: enough without weighing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub gate: bool,
    /// Name and birth date fit brothers and sisters as well, for one of them is missing or the name is a rendering, and nothing of the
    /// patient's own agrees.
    #[serde(default, skip_serializing_if = "is_false")]
    pub lacks_own: bool,
    /// A number of the patient's own agrees.
    #[serde(skip)]
    pub shares_own: bool,
    /// Nothing here is worth asking somebody.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ruled_out: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// What to do with a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Link it to this person.
    Link {
        /// The person and why.
        evidence: Evidence,
        /// Who else was looked at, best first.
        others: Vec<Evidence>,
    },
    /// A person of its own, and a case for review: what was found is not enough, is forbidden, or fits more than one person.
    Ambiguous {
        /// Why nobody was chosen.
        doubt: Doubt,
        /// The persons found, best first.
        evidence: Vec<Evidence>,
    },
    /// A person of its own.
    New {
        /// Persons found and ruled out, for the record.
        evidence: Vec<Evidence>,
    },
}

/// Why nobody was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// Not enough agrees.
    TooLittle,
    /// A veto.
    Veto,
    /// The best is not far enough ahead of the second.
    Margin,
    /// More than one person fits.
    SeveralFit,
    /// The number under its authority stands for somebody whom the facts rule out.
    DisputedNumber,
}

/// Weighs one record against all records of a candidate. `group`: records that would come along; what forbids a link holds for them too.
pub fn weigh(
    model: &Model,
    counted: &dyn Frequencies,
    record: &PatientFacts,
    group: &[&PatientFacts],
    candidate: &Candidate,
) -> Option<Evidence> {
    let is_tied = candidate.records.iter().any(|known| known.tie == Some(Tie::SameNumber));
    let is_parted = candidate.records.iter().any(|known| known.is_parted);
    let own: Vec<Comparison> = candidate.records.iter().map(|known| compare(record, &known.facts)).collect();
    let known = records_of(candidate);
    // Each of those who come along speaks for itself, unless a number of their own makes it one with another.
    let coming = std::iter::once(&record).chain(group).zip(-1_i64..).map(|(facts, place)| (*facts, place));
    let coming: Vec<(&PatientFacts, i64)> = coming.collect();
    let along = group.iter().flat_map(|member| known.iter().map(|(facts, _)| compare(member, facts)));
    let telling = telling(&coming, &known, own.iter().cloned().chain(along).collect());
    let vetoes = vetoes_between(model, || telling.iter(), is_tied, is_parted);
    // Two numbers under two names are two people; under one name somebody may have two numbers.
    let is_other =
        vetoes.contains(&Veto::DifferentResidentId) && !own.iter().any(|found| found.name == NameLevel::Exact);
    let shares_number = own.iter().any(|compared| matches!(compared.number, NumberLevel::Exact | NumberLevel::Lent));
    // Parents and children: one home, other years, other names, and each their own number.
    let is_of_another_generation = !shares_number
        && vetoes.contains(&Veto::YearsApart)
        && own.iter().all(|compared| compared.name != NameLevel::Exact);
    let rules_out = is_of_another_generation
        || is_other
        || own.iter().any(|compared| vetoes.iter().any(|veto| is_ruled_out_by(*veto, compared)));
    let scored = candidate.records.iter().zip(&own).map(|(known, compared)| {
        let gate = compared.number == NumberLevel::Exact
            && matches!(compared.name, NameLevel::Exact | NameLevel::SameSound)
            && matches!(compared.birth_date, BirthDateLevel::Exact | BirthDateLevel::Partial | BirthDateLevel::Missing);
        (known, compared, gate, model.score(compared, counted))
    });
    // A number under its authority decides alone, and an identity number without weighing: a visit that leads to another record of the
    // person must not hide them.
    let key = |(known, _, gate, score): &(&CandidateRecord, &Comparison, bool, Score)| {
        (known.tie == Some(Tie::SameNumber), *gate, known.tie.is_some(), score.bits)
    };
    let (best, compared, gate, score) =
        scored.reduce(|one, other| if key(&other) > key(&one) { other } else { one })?;
    let is_thin = !own.iter().any(has_substance) || score.bits < model.review_bits();
    Some(Evidence {
        one_id: candidate.one_id.clone(),
        record: best.id,
        tie: best.tie,
        vetoes,
        gate,
        lacks_own: lacks_own(compared, counted) || are_alike_only(model, &own),
        shares_own: shares_own_number(compared),
        ruled_out: best.tie != Some(Tie::SameNumber) && (rules_out || is_thin && !shares_number),
        score,
    })
}

fn records_of(candidate: &Candidate) -> Vec<(&PatientFacts, i64)> {
    candidate.records.iter().map(|known| (&known.facts, known.patient)).collect()
}

/// Whether more agrees than a name and a sex, which half a ward may share.
fn has_substance(compared: &Comparison) -> bool {
    matches!(compared.birth_date, BirthDateLevel::Exact | BirthDateLevel::Near | BirthDateLevel::Partial)
        || compared.shares_belongings()
}

/// Decides for a record that has no person, or is looked at again. `group`: records that would come along; `candidates`: all persons but its
/// own who share a key with it.
pub fn decide(
    model: &Model,
    counted: &dyn Frequencies,
    record: &PatientFacts,
    group: &[&PatientFacts],
    candidates: &[Candidate],
) -> Decision {
    let mut evidence: Vec<Evidence> =
        candidates.iter().filter_map(|candidate| weigh(model, counted, record, group, candidate)).collect();
    evidence.sort_by(|one, other| {
        let key = |found: &Evidence| (found.vetoes.is_empty(), found.tie.is_some(), found.gate);
        (key(other).cmp(&key(one)))
            .then(other.score.bits.total_cmp(&one.score.bits))
            .then_with(|| one.one_id.cmp(&other.one_id))
    });
    let ambiguous = |doubt, evidence| Decision::Ambiguous { doubt, evidence };
    // A number under its authority decides before all facts: it is the sources' own word.
    let numbered = evidence.iter().filter(|found| found.tie == Some(Tie::SameNumber)).count();
    if numbered > 0 {
        let passing =
            evidence.iter().filter(|found| found.tie == Some(Tie::SameNumber) && found.vetoes.is_empty()).count();
        // The same number under another person's resident number: somebody has to look, whatever else agrees.
        return if passing == 1 && numbered == 1 {
            link(evidence, |found| found.tie == Some(Tie::SameNumber))
        } else {
            ambiguous(Doubt::DisputedNumber, evidence)
        };
    }
    let passing = evidence.iter().filter(|found| passes(model, found)).count();
    match passing {
        0 if evidence.iter().all(|found| found.ruled_out) => Decision::New { evidence },
        0 => {
            let best = evidence.iter().find(|found| !found.ruled_out);
            let vetoed = best.is_some_and(|found| !found.vetoes.is_empty());
            ambiguous(if vetoed { Doubt::Veto } else { Doubt::TooLittle }, evidence)
        }
        1 => {
            let is_ahead = evidence.first().is_some_and(|best| {
                let rivals = evidence.iter().skip(1).filter(|found| !found.vetoes.iter().any(|veto| veto.is_certain()));
                let second = rivals.map(|found| found.score.bits).fold(f64::NEG_INFINITY, f64::max);
                best.tie.is_some() || best.score.bits - second >= model.margin()
            });
            if is_ahead { link(evidence, |found| passes(model, found)) } else { ambiguous(Doubt::Margin, evidence) }
        }
        _ => match one_of_several(model, counted, candidates, &evidence).map(|found| found.one_id.clone()) {
            Some(chosen) => link(evidence, |found| found.one_id == chosen),
            None => ambiguous(Doubt::SeveralFit, evidence),
        },
    }
}

/// Whether this evidence alone links.
pub fn passes(model: &Model, evidence: &Evidence) -> bool {
    evidence.vetoes.is_empty()
        && match evidence.tie {
            Some(Tie::SameNumber) => true,
            Some(Tie::SameVisit) => {
                evidence.score.facts.iter().any(|fact| fact.fact == FactKind::Name && fact.weight > 0.0)
            }
            _ => evidence.gate || evidence.score.bits >= model.link_bits_of(&evidence.score) && !evidence.lacks_own,
        }
}

fn link(mut evidence: Vec<Evidence>, chosen: impl Fn(&Evidence) -> bool) -> Decision {
    match evidence.iter().position(chosen) {
        Some(place) => Decision::Link { evidence: evidence.remove(place), others: evidence },
        None => Decision::New { evidence },
    }
}

#[cfg(test)]
mod tests;
