//! What a mapping file declares, with the places where it does: blocks, rules, tables. How it is read stands in `file` and `file::block`.

use std::ops::Range;

use crate::mapping::input::Format;
use crate::record::Kind;

/// A value with its place.
#[derive(Debug, Clone)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) file: usize,
    pub(crate) span: Range<usize>,
}

/// One mapping, its base included.
#[derive(Debug, Default)]
pub(crate) struct Declarations {
    /// `format`; without it, that of the base, else HL7 v2.
    pub(crate) format: Option<Located<Format>>,
    /// `match`: path and globs.
    pub(crate) matches: Option<Vec<MatchRule>>,
    /// `[segments]`: what the sender's own segments hold, and what it puts into others beyond the standard.
    pub(crate) segments: Vec<OwnField>,
    /// `[tables]`.
    pub(crate) tables: Vec<TableFiles>,
    /// Record blocks.
    pub(crate) records: Vec<(Kind, Block)>,
}

impl Declarations {
    /// The format that its paths are written for.
    pub(crate) fn format(&self) -> Format {
        self.format.as_ref().map_or(Format::default(), |format| format.value)
    }
}

/// One condition of `match`.
#[derive(Debug, Clone)]
pub(crate) struct MatchRule {
    pub(crate) path: Located<String>,
    /// Globs, of which one has to fit.
    pub(crate) patterns: Vec<Located<String>>,
}

/// `ZPI = { 1 = "ST" }`: one field of a segment, or a component of one (`OBX = { 3.1 = "CE" }`).
#[derive(Debug, Clone)]
pub(crate) struct OwnField {
    pub(crate) segment: Located<String>,
    pub(crate) number: usize,
    /// From 1; 0: the field.
    pub(crate) component: usize,
    pub(crate) data_type: &'static str,
    /// Where the data type is written.
    pub(crate) place: Located<()>,
}

/// One table of `[tables]`.
#[derive(Debug, Clone)]
pub(crate) struct TableFiles {
    pub(crate) name: Located<String>,
    /// The table whose rows come first; its own name: the base's table.
    pub(crate) extends: Option<Located<String>>,
    /// `extends = false`: it takes the place of the base's on purpose.
    pub(crate) is_apart: bool,
    /// Files, relative to the mapping that names them; later rows replace earlier ones.
    pub(crate) files: Vec<Located<String>>,
    /// The base's table of this name, whose rows it does not take up.
    pub(crate) replaces: Option<Box<TableFiles>>,
}

/// A record (`[patient]`, `[[lab_report]]`) or a list item (`[[patient.identifiers]]`).
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) file: usize,
    pub(crate) span: Range<usize>,
    /// `block`: the name by which a mapping that extends this one means it.
    pub(crate) label: Option<Located<String>>,
    pub(crate) each: Option<Located<String>>,
    pub(crate) when: Option<Located<String>>,
    /// `when_none`: fields and the values that no other item of the list may have.
    pub(crate) when_none: Option<Vec<(Located<String>, Located<String>)>>,
    pub(crate) skip: Option<Vec<SkipRule>>,
    pub(crate) on_null: Option<Located<OnNull>>,
    /// Target, dotted into objects, and its rule; `None` removes the base's. A target may have several, in order.
    pub(crate) fields: Vec<(Located<String>, Option<Rule>)>,
    pub(crate) lists: Vec<(&'static str, Vec<Block>)>,
    /// Some of its keys could not be read: one that is missing may be among them.
    pub(crate) is_unclear: bool,
}

impl Block {
    /// It is there and holds no key.
    pub(crate) fn says_nothing(&self) -> bool {
        let Self { label, each, when, when_none, skip, on_null, fields, lists, file: _, span: _, is_unclear: _ } = self;
        let has_key = label.is_some() || each.is_some() || when.is_some() || when_none.is_some();
        !has_key && skip.is_none() && on_null.is_none() && fields.is_empty() && lists.is_empty()
    }

    pub(super) fn is_called(&self, name: &str) -> bool {
        self.label.as_ref().is_some_and(|label| label.value == name)
    }
}

/// `skip = [{ when = "…", reason = "…", deliberate = false }]`.
#[derive(Debug, Clone)]
pub(crate) struct SkipRule {
    pub(crate) when: Located<String>,
    pub(crate) reason: String,
    /// See [`crate::mapping::Skipped::deliberate`]; `true` unless the rule says otherwise.
    pub(crate) deliberate: bool,
}

/// What one target is made of.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) file: usize,
    pub(crate) span: Range<usize>,
    /// Paths, the first with a value wins.
    pub(crate) from: Vec<Located<String>>,
    pub(crate) constant: Option<Located<String>>,
    pub(crate) coercion: Option<Located<String>>,
    pub(crate) table: Option<Located<String>>,
    pub(crate) default: Option<Located<String>>,
    pub(crate) on_unmapped: Option<Located<String>>,
    pub(crate) on_null: Option<Located<OnNull>>,
    pub(crate) required: Option<Located<Required>>,
    pub(crate) when: Option<Located<String>>,
    /// What the base's rule, in whose place it stands, says and this one does not.
    pub(crate) left_out: Vec<LeftOut>,
    /// Some of its keys could not be read: one that it leaves out may be among them.
    pub(crate) is_unclear: bool,
    /// The paths of the base's rules in whose place it stands.
    pub(crate) base_paths: Vec<Located<String>>,
    /// The base's table for this path, where that is another one than its own.
    pub(crate) base_table: Option<Located<String>>,
}

/// A key of the base's rule that the rule in its place does not have: `table`, `on_unmapped`, `required` or `on_null`, and its value.
#[derive(Debug, Clone)]
pub(crate) struct LeftOut {
    pub(crate) key: &'static str,
    pub(crate) value: String,
    /// The base's rule: file and byte.
    pub(crate) place: (usize, usize),
}

/// What HL7's `""` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnNull {
    /// It clears the stored value.
    Clear,
    /// It is taken as empty.
    Keep,
}

/// What falls when a value is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Required {
    /// Nothing.
    No,
    /// The whole message.
    Message,
    /// This record or list item.
    Block,
}
