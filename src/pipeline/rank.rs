//! Who is it? Persons for a patient record that nobody has sent, best first, with a grade. Reads only.

use std::collections::BTreeSet;

use super::Site;
use super::matching::Matcher;
use super::patient::medical_record_numbers;
use crate::identity::{Decision, Evidence, Grade, PatientFacts, grade, keys};
use crate::record::{Fields, RecordNumber};
use crate::store::persons::{self, Person};
use crate::store::{Reader, StoreError};
use crate::view;

/// A person who may be meant.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// The person.
    pub person: Person,
    /// What speaks for and against it.
    pub evidence: Evidence,
    /// How sure it is; `None`: somebody else as far as is known.
    pub grade: Option<Grade>,
}

impl Ranked {
    /// As HTTP and commands show it: `{one_id, score, probability, grade, evidence, person}`; `score` in bits. `model`: its version.
    pub fn document(self, model: &str) -> serde_json::Value {
        serde_json::json!({
            "one_id": self.person.one_id,
            "score": self.evidence.score.bits,
            "probability": self.evidence.score.probability(),
            "grade": self.grade.map(Grade::name),
            "evidence": view::evidence(model, &self.evidence),
            "person": view::person(self.person),
        })
    }
}

/// The persons whom a record may be, best first, at most `limit`; `None`: it says too little to look for anybody.
///
/// # Errors
/// See [`StoreError`].
pub fn matches(
    reader: &Reader<'_>,
    site: &Site,
    record: &Fields,
    limit: usize,
) -> Result<Option<Vec<Ranked>>, StoreError> {
    if !can_be_looked_for(record) {
        return Ok(None);
    }
    let mut ranked = rank(reader, site, record, &[])?;
    for found in ranked.iter_mut().filter(|found| found.grade.is_none() && fits_as_far_as_said(&found.evidence)) {
        found.grade = Some(Grade::Possible);
    }
    ranked.retain(|found| found.grade.is_some());
    ranked.truncate(limit);
    Ok(Some(ranked))
}

/// Whether all that was asked agrees, and it was only too little to weigh much: a phone, or a phone and a name. Whoever asks so wants to
/// see who it may be.
fn fits_as_far_as_said(evidence: &Evidence) -> bool {
    let facts = &evidence.score.facts;
    evidence.vetoes.is_empty()
        && facts.iter().any(|fact| fact.weight > 0.0)
        && facts.iter().all(|fact| fact.weight >= 0.0)
}

/// Whether a record says anything by which somebody can be looked for: a number under its authority, an identity number, a card, a
/// phone, or a name with a birth date.
fn can_be_looked_for(record: &Fields) -> bool {
    numbers(record).next().is_some() || !keys(&PatientFacts::of(record)).is_empty()
}

/// All persons who share a number or a key with the record, and those of `also`, best first.
///
/// # Errors
/// See [`StoreError`].
pub fn rank(reader: &Reader<'_>, site: &Site, record: &Fields, also: &[Person]) -> Result<Vec<Ranked>, StoreError> {
    let matcher = Matcher { reader, site };
    let facts = matcher.usable(PatientFacts::of(record))?;
    let nobody = BTreeSet::new();
    let mut candidates = matcher.candidates(&numbers(record).collect(), &facts, None, &nobody)?;
    for person in also {
        if candidates.iter().all(|candidate| candidate.one_id != person.one_id) {
            candidates.push(matcher.candidate(person.one_id.clone(), &Default::default(), &nobody)?);
        }
    }
    let (chosen, others) = match matcher.decide(&facts, &[], &candidates, BTreeSet::new())? {
        Decision::Link { evidence, others } => (Some(evidence), others),
        Decision::Ambiguous { evidence, .. } | Decision::New { evidence } => (None, evidence),
    };
    let ranked = |(evidence, is_chosen): (Evidence, bool)| {
        let person =
            persons::get(reader, &evidence.one_id)?.ok_or(StoreError::Damaged { what: "patient_record.one_id" })?;
        Ok(Ranked { person, grade: grade(&evidence, is_chosen), evidence })
    };
    let all = chosen.into_iter().map(|evidence| (evidence, true)).chain(others.into_iter().map(|found| (found, false)));
    let mut all = all.map(ranked).collect::<Result<Vec<_>, StoreError>>()?;
    all.sort_by(|one, other| {
        let bits = |ranked: &Ranked| ranked.evidence.score.bits;
        bits(other).total_cmp(&bits(one)).then_with(|| one.person.one_id.cmp(&other.person.one_id))
    });
    Ok(all)
}

/// Medical record numbers with their authority: without one, a number is nobody's in particular.
fn numbers(record: &Fields) -> impl Iterator<Item = RecordNumber> {
    medical_record_numbers(record).filter(|number| !number.system.is_empty())
}
