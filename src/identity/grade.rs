//! How sure a match is, for whoever asks without linking anything: the grades of FHIR's `$match`.

use serde::{Deserialize, Serialize};

use super::decide::Evidence;
use super::model::FactKind;

/// From here a match without a veto is probable.
const PROBABLE: f64 = 0.9;
/// From here a match is worth a look, whatever forbids a link.
const POSSIBLE: f64 = 0.5;

/// How sure a match is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// A record that says this would be linked to the person by itself.
    Certain,
    /// Nothing forbids a link, and nine in ten are right.
    Probable,
    /// More likely than not, or something forbids a link and somebody would be asked.
    Possible,
}

impl Grade {
    /// `certain`, `probable`, `possible`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Probable => "probable",
            Self::Possible => "possible",
        }
    }
}

/// The grade of a candidate; `is_chosen`: [`super::decide()`] would link to it. `None`: it is somebody else as far as is known.
pub fn grade(evidence: &Evidence, is_chosen: bool) -> Option<Grade> {
    let probability = evidence.score.probability();
    // A number under its authority links whatever the name; who asks by another name may have mistyped the number.
    let is_called_otherwise = evidence.tie.is_some()
        && evidence.score.facts.iter().any(|found| found.fact == FactKind::Name && found.weight < 0.0);
    if is_called_otherwise {
        Some(Grade::Possible)
    } else if is_chosen {
        Some(Grade::Certain)
    } else if evidence.vetoes.is_empty() && probability >= PROBABLE {
        Some(Grade::Probable)
    } else if probability >= POSSIBLE || !evidence.ruled_out {
        Some(Grade::Possible)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Score, Veto};
    use super::*;

    #[test]
    fn a_grade_is_of_the_decision_the_probability_and_the_vetoes() {
        let evidence = |bits: f64, vetoes: &[Veto], ruled_out: bool| Evidence {
            one_id: String::new(),
            record: 1,
            tie: None,
            score: Score { facts: Vec::new(), prior: bits, household: 0.0, bits },
            vetoes: vetoes.to_vec(),
            gate: false,
            lacks_own: false,
            shares_own: false,
            ruled_out,
        };
        // log2 of the odds of 0.9 is 3.17.
        for (bits, vetoes, ruled_out, is_chosen, expected) in [
            (20.0, &[][..], false, true, Some(Grade::Certain)),
            (-3.0, &[], false, true, Some(Grade::Certain)),
            (20.0, &[], false, false, Some(Grade::Probable)),
            (3.18, &[], false, false, Some(Grade::Probable)),
            (3.16, &[], false, false, Some(Grade::Possible)),
            (20.0, &[Veto::NearNames], false, false, Some(Grade::Possible)),
            (20.0, &[Veto::NewbornName], true, false, Some(Grade::Possible)),
            (-1.0, &[Veto::DifferentResidentId], false, false, Some(Grade::Possible)),
            (-1.0, &[], true, false, None),
            (-1.0, &[Veto::NewbornName], true, false, None),
        ] {
            let found = grade(&evidence(bits, vetoes, ruled_out), is_chosen);
            assert_eq!(found, expected, "{bits} {vetoes:?} {ruled_out} {is_chosen}");
        }
    }
}
