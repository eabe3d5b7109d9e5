//! Mapping files: what one source's messages say, as records.
//!
//! ```text
//! TOML + CSV ─► file (declarations, extends) ─► compile (plan) ──┐
//!                                                                ├─► run ─► Mapped
//!                                               message, context ┘
//! ```
//!
//! Invariants
//! - A mapping that loads cannot fail for its own sake at run time; all its problems come at load, all at once, with their places.
//! - Applying one is pure: the same message, mapping and context give the same result.
//! - Every OBX and every repetition that a list block opens ends as stored, skipped by a named rule, or rejected with a reason.
//! - `""` becomes JSON `null` (clear), an empty field says nothing.
//! - No error, note or reason holds a value of the message; codes that a table does not know are listed apart, in [`Unmapped`].
//!
//! No files, no clock: the text of files comes through [`ReadFile`]. The crate csv is named in `table::csv_file` only, toml in `file`.

pub mod case;
mod check;
mod coerce;
pub mod compare;
mod compile;
mod concept_map;
pub mod coverage;
mod expression;
mod file;
mod input;
mod meant;
mod other_encoding;
mod overlay;
mod result;
mod run;
pub mod schema;
mod table;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_fhir;
mod truth;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

use crate::diagnostic::Diagnostic;
use crate::hl7v2::ErrorCode;
use crate::record::{Fields, Kind};

pub use file::ReadFile;
pub use input::{Format, Input, Location, LostReference};

/// One loaded mapping. Cheap to share, free of state.
#[derive(Debug)]
pub struct Mapping {
    plan: compile::Plan,
    version: String,
    warnings: Vec<Diagnostic>,
    named: Vec<check::Named>,
}

/// What a message does not say itself.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The source's time zone, for times without an offset.
    pub zone: &'a TimeZone,
    /// The source's facility, for visits that name none.
    pub facility: Option<&'a str>,
    /// Whether to say where each field came from.
    pub explain: bool,
}

/// What a message says, by one mapping.
#[derive(Debug, Default)]
pub struct Mapped {
    /// Whether the mapping is for this message at all.
    pub disposition: Disposition,
    /// In order of patients in the message, of each in the order of [`Kind::ALL`].
    pub records: Vec<MappedRecord>,
    /// What was left out by a rule.
    pub skipped: Vec<Skipped>,
    /// What could not be taken. The rest of the message is of use.
    pub rejected: Vec<Rejected>,
    /// Codes that a table does not know, whatever became of them.
    pub unmapped: Vec<Unmapped>,
    /// What was understood only in part, such as `OBX[3]-5: not understood as lab_value, kept as text`.
    pub notes: Vec<String>,
    /// Empty unless asked for.
    pub explanation: Vec<ExplainedField>,
    /// Empty unless an explanation was asked for.
    pub trace: Trace,
}

/// What a mapping looked at in a message, and which of its rules gave something.
#[derive(Debug, Default)]
pub struct Trace {
    /// Fields and components that a rule or a condition asked for, whether or not they had a value.
    pub asked: BTreeSet<Asked>,
    /// Of messages: what rules and conditions came to there, in which segment and repetition.
    pub(crate) reached: BTreeSet<Reached>,
    /// Rules that gave a value or cleared one.
    pub fired: BTreeSet<RuleName>,
    /// References that lead to nothing in the unit, although what they name would belong to it.
    pub lost: BTreeMap<LostReference, LostFields>,
    /// Elements, segments and repetitions that no condition chooses and of which nothing else is read, `Encounter.participant[1]`, `PRT[2]`,
    /// with the fields that choose among them: `visit.attending`.
    pub unchosen: BTreeMap<String, BTreeSet<String>>,
}

/// The fields of which a reference that leads to nothing is the reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LostFields {
    /// They have no value: `visit.stay_number`.
    pub empty: BTreeSet<String>,
    /// They have what the reference says itself, such as the id at its end.
    pub partial: BTreeSet<String>,
}

/// A value of a message that a rule or condition led to, whether or not it was the one taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reached {
    /// Position of the segment in the message.
    pub(crate) segment: usize,
    pub(crate) field: usize,
    /// From 1.
    pub(crate) repetition: usize,
    /// `None`: all of them.
    pub(crate) component: Option<usize>,
}

/// A part of a message or resource, whichever of its kind and repetition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// A field of HL7 v2 or one of its components.
    Field {
        /// `PID`.
        segment: String,
        /// From 1.
        field: usize,
        /// From 1; `None`: all of them.
        component: Option<usize>,
    },
    /// A field that is read elsewhere, and not where this one is.
    Elsewhere {
        /// `PV1-7[2]`, `NTE-3 behind PID`.
        place: String,
    },
    /// An element of FHIR and all that is in it: `Patient.maritalStatus`.
    Element(String),
}

impl fmt::Display for Asked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field { segment, field, component: Some(component) } => {
                write!(formatter, "{segment}-{field}.{component}")
            }
            Self::Field { segment, field, component: None } => write!(formatter, "{segment}-{field}"),
            Self::Elsewhere { place: name } | Self::Element(name) => formatter.write_str(name),
        }
    }
}

/// Names one rule of a mapping.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleName {
    /// The mapping file that it is written in.
    pub file: String,
    /// Its line there.
    pub line: usize,
    /// What it fills, `lab_report.results.status`.
    pub target: String,
}

/// Whether a mapping is for a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Disposition {
    /// It is, and the records are what it says.
    #[default]
    Records,
    /// `match` does not fit.
    Ignored {
        /// Which condition, without the message's value.
        reason: String,
    },
}

/// One record as one message states it: a patch, where `null` clears and absent says nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct MappedRecord {
    /// Its kind.
    pub kind: Kind,
    /// Which patient of the message it was read with, from 0: counted even where that patient's own record was left out, so that
    /// nothing of the second patient is ever taken for the first one's.
    pub patient: usize,
    /// Its fields, by the table in [`crate::record::schema`].
    pub fields: Fields,
}

/// Something left out by a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Where, `OBX[3]`.
    pub path: String,
    /// By which rule: `results.skip[0]`, `visit.number is required`, `unread`.
    pub rule: String,
    /// Why.
    pub reason: String,
    /// A rule of `skip` names this case, and does not say `deliberate = false`: nobody misses it. Otherwise it was meant to be read and something is missing, such
    /// as a `required = "skip"` field; a message of which only that remains must not pass in silence.
    pub deliberate: bool,
}

/// Something that could not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Where, `OBX[3]-11`.
    pub path: String,
    /// HL7 table 0357.
    pub code: ErrorCode,
    /// Why, a sentence.
    pub text: String,
}

/// A code that a table does not know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unmapped {
    /// The table's name, or the field's where its closed list is meant.
    pub table: String,
    /// The sender's code.
    pub code: String,
    /// For what, `lab_report.results.status`.
    pub target: String,
    /// What its rule made of it.
    pub outcome: UnmappedOutcome,
}

/// What became of a code that a table does not know: its rule's `on_unmapped`, as far as the field can hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnmappedOutcome {
    /// The record has the sender's code.
    Kept,
    /// The field stays as it was.
    Left,
    /// The record has the value that the rule names.
    Replaced,
    /// The item, or the message, is not taken.
    Rejected,
}

impl UnmappedOutcome {
    /// `kept`, `left`, `replaced`, `rejected`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Left => "left",
            Self::Replaced => "replaced",
            Self::Rejected => "rejected",
        }
    }
}

/// Where a field came from.
#[derive(Debug, Clone, PartialEq)]
pub struct ExplainedField {
    /// Index into [`Mapped::records`].
    pub record: usize,
    /// The field, `identifiers[0].value`.
    pub field: String,
    /// What it became.
    pub value: crate::record::Value,
    /// Where in the message, for what was cleared too: each place, where several made it. `None` for constants and defaults.
    pub path: Option<String>,
    /// It holds a code that the table does not know, or what stands for one.
    pub unmapped: Option<UnmappedOutcome>,
    /// The value as sent.
    pub raw: Option<String>,
    /// How the value was read, by the coercion's name; `None` for constants, defaults and what was cleared.
    pub coercion: Option<&'static str>,
    /// The table that it went through.
    pub table: Option<String>,
    /// The table's row for the value: file and line.
    pub row: Option<(String, usize)>,
    /// The mapping file of the rule.
    pub file: String,
    /// The rule's line in it.
    pub line: usize,
}

/// The message as a whole cannot be processed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {text}")]
pub struct MapError {
    /// Where.
    pub location: Location,
    /// HL7 table 0357.
    pub code: ErrorCode,
    /// Why, a sentence.
    pub text: String,
    /// Codes that a table does not know, the one that this is about among them.
    pub unmapped: Vec<Unmapped>,
}

impl Mapped {
    /// Nothing remains of a message that the mapping is for, and no rule says that nobody misses it.
    pub fn holds_nothing(&self) -> bool {
        self.disposition == Disposition::Records
            && self.records.is_empty()
            && !self.skipped.iter().any(|skipped| skipped.deliberate)
    }
}

impl MapError {
    /// An error that is not about a code.
    fn new(location: Location, code: ErrorCode, text: String) -> Self {
        Self { location, code, text, unmapped: Vec::new() }
    }
}

impl Mapping {
    /// Loads a mapping with its bases and tables.
    ///
    /// `name` is the file as diagnostics shall show it, and as `read` is asked for it: relative to the configuration's root.
    /// `extends` and tables are asked for by names relative to the file that names them. `Err` holds at least one error, and
    /// every other problem that was found with it.
    pub fn load(name: &str, read: ReadFile<'_>) -> Result<Self, Vec<Diagnostic>> {
        let mut reader = file::Reader::new(read);
        let declared = reader.mapping(name);
        // What stands over a base is judged with it only.
        let mut plan = compile::Plan::default();
        let mut named = Vec::new();
        if !reader.lacks_base {
            let rows;
            (plan, rows) = compile::compile(&mut reader, &declared);
            named = check::check(&mut reader, &declared, &rows);
        }
        check::once(&mut reader.problems);
        // One mistake, one problem: where something is wrong, nothing around it is doubted as well.
        let wrong: Vec<Diagnostic> = reader.problems.iter().filter(|problem| problem.is_error()).cloned().collect();
        reader.problems.retain(|problem| problem.is_error() || !wrong.iter().any(|wrong| problem.holds(wrong)));
        // Of an each that is none of the base's the slip in it is the reason.
        let slips: Vec<Diagnostic> = reader.problems.iter().filter(|problem| problem.code == "M022").cloned().collect();
        reader.problems.retain(|problem| problem.code != "M020" || !slips.iter().any(|slip| problem.holds(slip)));
        let order = |file: &str| reader.files.iter().position(|known| known.name == file);
        reader.problems.sort_by_cached_key(|problem| (order(&problem.file), problem.line, problem.column));
        if reader.problems.iter().any(Diagnostic::is_error) {
            return Err(reader.problems);
        }
        let mut hash = Sha256::new();
        for file in &reader.files {
            for part in [&file.name, &file.text] {
                hash.update(part.len().to_be_bytes());
                hash.update(part);
            }
        }
        let version = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { plan, version, warnings: reader.problems, named })
    }

    /// A hash of all its files, 12 hexadecimal digits: what a record's provenance names.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Problems that do not keep it from being used.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// What its constants and defaults name that the configuration does not have: a source that owns visits, or an authority that is
    /// nearly one of those that some source owns.
    pub fn unknown_names(&self, sources: &[&str], authorities: &[&str]) -> Vec<Diagnostic> {
        check::unknown_names(&self.named, sources, authorities)
    }

    /// Every rule, the base's included, in the order in which they are asked.
    pub fn rules(&self) -> Vec<RuleName> {
        self.plan.rule_names()
    }

    /// Whether a code that was unmapped is so no more, as far as can be told without its message: `table` is the name that
    /// [`Unmapped`] gives. A table that the mapping does not have (any more) is no reason to wait either.
    pub fn knows(&self, table: &str, code: &str) -> bool {
        self.plan.knows(table, code)
    }

    /// The format that it reads.
    pub fn format(&self) -> Format {
        self.plan.format
    }

    /// Says what a message or a unit means. One of another format than the mapping's is ignored.
    pub fn apply<'m>(&self, input: impl Into<Input<'m>>, context: &Context<'_>) -> Result<Mapped, MapError> {
        run::run(&self.plan, input.into(), context)
    }
}
