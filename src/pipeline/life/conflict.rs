//! What a source says against a decision, a number or its own earlier word: the note for the message, and the kind of case that asks.

use crate::store::reviews::ReviewKind;

/// What somebody should look at, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline) enum Conflict {
    /// A source merges, links or moves what was decided otherwise by hand.
    Decided,
    /// A source uses a patient's number for another patient.
    NumberReused,
    /// A record came to a person after a merge that was undone: whose is it?
    AfterSplit,
    /// A source merges two patients who have different resident numbers: done, for the numbers are its own.
    OtherNumber,
    /// A source has merged two numbers before it said whose they are, and now says that they are of two patients.
    OtherPatient,
    /// A source merges two numbers the other way round than before: refused.
    Opposite,
    /// A FHIR server says that two Patients are one, and another source owns their numbers: left undone.
    NotItsNumbers,
    /// A FHIR server says that a Patient is replaced by several who are not one: left undone.
    Several,
}

impl Conflict {
    /// Whether it is a source's word that two numbers or patients are one which leads to it.
    pub(super) fn is_about_merge(self) -> bool {
        !matches!(self, Self::NumberReused | Self::AfterSplit)
    }

    pub(super) fn kind(self) -> ReviewKind {
        match self {
            Self::Decided | Self::OtherNumber | Self::OtherPatient | Self::Opposite => ReviewKind::SourceMergeConflict,
            Self::NumberReused => ReviewKind::NumberReused,
            Self::AfterSplit | Self::NotItsNumbers | Self::Several => ReviewKind::PossibleMatch,
        }
    }

    /// The sentence for the notes of the message.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Decided => {
                "the two numbers stay with two persons: it was decided so by hand, or by a source; look at `heyi person history`, and \
                 link or merge them by hand if the source is right"
            }
            Self::NumberReused => {
                "PID-3: the number stood for another patient: name, birth date and resident number, or sex with all else, \
                 differ; taken for a new patient, the former one is as before"
            }
            Self::AfterSplit => {
                "a record came after a merge that was undone: it stays where it is until somebody decides"
            }
            Self::OtherNumber => {
                "the two merged numbers are of patients with different valid resident numbers: merged, as the source says; somebody \
                 should look, `heyi review list`"
            }
            Self::OtherPatient => {
                "the two merged numbers are of patients whose names and birth dates differ: merged, as the source said before it \
                 spoke of them; somebody should look, `heyi review list`"
            }
            Self::Opposite => {
                "the source says the opposite of an earlier merge: refused; somebody should look, `heyi review list`"
            }
            Self::NotItsNumbers => {
                "Patient.link: the server says that the two Patients are one, and their numbers are of an authority that another source owns \
                 (see `authorities` in the configuration): they stay two until that one merges them, or somebody does, `heyi review list`"
            }
            Self::Several => {
                "Patient.link: the server says that one Patient is replaced by several: it stays for itself until they are one; \
                 somebody should look, `heyi review list`"
            }
        }
    }
}
