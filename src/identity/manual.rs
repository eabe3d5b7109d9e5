//! What people decide of identities: which records and One IDs belong together, and which do not.
//!
//! A decision outweighs rules and sources until another decision takes it back: a link by hand is never moved by a rule, and who is told
//! apart by hand is never brought together by one. Whoever decides gives a reason, which is kept with the history.

use crate::record::RecordNumber;

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManualDecision {
    /// What is to be.
    pub step: ManualStep,
    /// Who decides.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// A source's record, by its own number: `SYSTEM|VALUE`; `SYSTEM|VALUE#2` is the second patient for whom the number was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedRecord {
    /// Assigning authority and number, which may end in `#` and its generation.
    pub number: RecordNumber,
    /// Only what this source says under the number; `None`: what all do.
    pub source: Option<String>,
}

/// What is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManualStep {
    /// The record is this person's.
    Link {
        /// The record.
        record: NamedRecord,
        /// The person.
        one_id: String,
    },
    /// The record is nobody's that it is linked with now.
    Unlink {
        /// The record.
        record: NamedRecord,
    },
    /// Two One IDs are one person.
    Merge {
        /// The One ID that is given up.
        one_id: String,
        /// The One ID that lives on.
        into: String,
    },
    /// What was merged, or linked, are two persons.
    Split {
        /// A retired One ID, which lives again; or a living one, which gives back the only one that was merged into it, or the
        /// records named.
        one_id: String,
        /// The records that leave, all of one patient; none: those that the merge brought.
        records: Vec<RecordNumber>,
    },
    /// A case for review is decided.
    Review {
        /// Its number.
        review: i64,
        /// The two records are one patient's; else they are two patients'.
        is_same: bool,
    },
}

impl ManualStep {
    /// `link`, `unlink`, `merge`, `split`, `reject`: as the history names it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Link { .. } | Self::Review { is_same: true, .. } => "link",
            Self::Unlink { .. } => "unlink",
            Self::Merge { .. } => "merge",
            Self::Split { .. } => "split",
            Self::Review { is_same: false, .. } => "reject",
        }
    }
}

/// What a decision came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decided {
    /// The person that the decision is about: who has the record now, the survivor, or who gave records back.
    pub one_id: String,
    /// The other One ID: the retired one of a merge, the one that has the records after a split or unlinking.
    pub other: Option<String>,
    /// The records that have another One ID now, as [`NamedRecord`] names them.
    pub records: Vec<String>,
    /// The visits that went with them.
    pub visits: Vec<String>,
    /// The reports that went with them.
    pub lab_reports: Vec<String>,
    /// One IDs that were given up, and now answer as another.
    pub retired: Vec<String>,
    /// One IDs that were given up before and live again.
    pub revived: Vec<String>,
    /// Cases for review that this answers or opens again, by their numbers.
    pub reviews: Vec<i64>,
    /// Earlier decisions that do not hold any more.
    pub overruled: Vec<Overruled>,
    /// What would have forbidden it to a rule.
    pub warnings: Vec<Warning>,
    /// The command that takes it back, without its reason; `None`: nothing was changed.
    pub take_back: Option<String>,
    /// `false`: it was so already.
    pub changed: bool,
}

/// An earlier decision that another one takes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overruled {
    /// `link`, `unlink`, `merge`, `split`, `reject`, where people decided so; `told_apart`: what was said of two records.
    pub decision: String,
    /// Who: a person, or a source.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When, in microseconds since the epoch.
    pub at: i64,
    /// Two of the records that it was about.
    pub records: (String, String),
    /// The case that was decided so, if it was one.
    pub review: Option<i64>,
}

/// What forbids a rule to bring two records together. People may all the same; they should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The name of the [`Veto`](super::Veto), or `other_sex`, `other_birth_date`.
    pub veto: String,
    /// The two records.
    pub records: (String, String),
}

impl Warning {
    /// What it means.
    pub fn sentence(&self) -> &'static str {
        match self.veto.as_str() {
            "no_link" => "somebody has told the two apart",
            "different_resident_id" => "two valid resident numbers that differ",
            "newborn_name" => "one is named as a newborn, the other is not, or not of the same birth",
            "unknown_name" => "one is an unknown patient",
            "birth_order" => "born of one birth, in different order",
            "names_disagree" => "the names differ",
            "near_names" => "names one character apart on the same birth date: a slip, or twins",
            "sound_alikes" => "names that sound alike on the same birth date: a slip, or twins",
            "years_apart" => "born years apart, and no shared number",
            "lent_number" => "they share a number that is a parent's on one side",
            "other_sex" => "one is male, the other female",
            "other_birth_date" => "the birth dates differ",
            _ => "a rule forbids it",
        }
    }
}

/// Why a decision is not carried out. Holds no patient's value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManualRefusal {
    /// No reason.
    #[error("the reason is empty: say why, it is kept with the history")]
    NoReason,
    /// Nobody has this One ID.
    #[error("no person has the One ID {one_id}: look for it with `heyi person find`")]
    UnknownOneId {
        /// The One ID.
        one_id: String,
    },
    /// Merged into itself.
    #[error("this is one and the same One ID: name the two that are to be one")]
    SameOneId,
    /// No source has a record under this number.
    #[error(
        "no source has sent a patient under this number: name the record SYSTEM|VALUE as `heyi person links` lists it"
    )]
    UnknownRecord,
    /// The sources that use the number mean different persons.
    #[error("the sources that use this number mean different persons: name the one that is meant with its source")]
    SeveralPersons,
    /// The record is not this person's.
    #[error("a record is not of this One ID: `heyi person history` shows its records")]
    NotOfPerson,
    /// Nothing was merged into the One ID.
    #[error("nothing is merged into this One ID: name the records that are another patient's")]
    NothingMerged,
    /// More than one was.
    #[error("several One IDs were merged into this one: name the one to give back ({}), or its records", one_ids.join(", "))]
    SeveralMerged {
        /// They.
        one_ids: Vec<String>,
    },
    /// What the merge brought has been moved since.
    #[error("the records that the merge brought are elsewhere by now: move them one by one with `heyi person link`")]
    MovedSince,
    /// There is no such case.
    #[error("no case for review has this number: `heyi review list` shows them")]
    UnknownReview,
    /// What is to be one person holds records that somebody has told apart.
    #[error(
        "{} and {} of the two persons are told apart by {by}{}: take that back first, or make the two persons one with \
         `heyi person merge`, which overrules it",
        records.0, records.1, review.map(|id| format!(", review {id}")).unwrap_or_default()
    )]
    ToldApart {
        /// The two records.
        records: (String, String),
        /// Who said so.
        by: String,
        /// The case that was decided so, if it was one.
        review: Option<i64>,
    },
    /// The number stood for several patients, one after the other.
    #[error("the number stood for several patients, one after the other: name one of {}", names.join(", "))]
    SeveralGenerations {
        /// They, as they are named.
        names: Vec<String>,
    },
    /// The person would have no record.
    #[error("no record would be left: name only those that are another patient's")]
    NothingLeft,
}
