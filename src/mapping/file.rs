//! Mapping files as written: TOML to declarations with their places, `extends` applied, nothing compiled yet.
//!
//! Invariants
//! - Every declaration remembers file and bytes, so each later problem can point at it.
//! - All problems are collected. What is wrong is left out of the declarations, so one slip does not cause ten messages.
//! - How a site's declarations lie over its base's is decided in `overlay`.

mod block;
mod declared;

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::string::FromUtf8Error;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::input::Format;
use super::other_encoding;
use super::overlay::overlay;
use crate::diagnostic::{Diagnostic, SourceFile, similar};
use crate::document::syntax_errors;
use crate::hl7v2::{Charset, Dictionary, Path};
use crate::record::Kind;
use crate::record::schema;

pub(crate) use declared::{
    Block, Declarations, LeftOut, Located, MatchRule, OnNull, OwnField, Required, Rule, SkipRule, TableFiles,
};

/// Most keys or fields that a hint names.
const MOST_TOLD: usize = 12;
/// Longest chain of `extends`. A site, a vendor, a country and the base are four.
const MAX_EXTENDS: usize = 8;

/// Gives the text of a file by the name under which diagnostics show it. An error that holds a [`FromUtf8Error`] is told with the place in
/// the file.
pub type ReadFile<'a> = &'a dyn Fn(&str) -> io::Result<String>;

/// Keys of a block that are no fields.
pub(crate) const BLOCK_KEYS: &[&str] = &["block", "each", "when", "when_none", "skip", "on_null"];
/// Keys of a rule.
pub(crate) const RULE_KEYS: &[&str] =
    &["from", "constant", "as", "table", "default", "on_unmapped", "on_null", "required", "when"];
/// Keys of a rule of `skip`.
const SKIP_KEYS: &[&str] = &["when", "reason", "deliberate"];
/// Keys of a table that is written as one.
const TABLE_KEYS: &[&str] = &["extends", "files"];
/// Keys of a file.
pub(crate) const FILE_KEYS: &[&str] = &[
    "description",
    "extends",
    "format",
    "match",
    "segments",
    "tables",
    "patient",
    "visit",
    "lab_report",
    "merge",
    "consent",
];

/// Reads files and collects what is wrong with them.
pub(crate) struct Reader<'a> {
    read: ReadFile<'a>,
    /// Every file read so far; declarations name them by index.
    pub(crate) files: Vec<SourceFile>,
    /// Everything found so far.
    pub(crate) problems: Vec<Diagnostic>,
    /// Names of tables in rules, also in rules that another file replaces.
    pub(crate) used_tables: HashSet<String>,
    /// A base could not be read: what it would have declared or used is not known, nor what the paths over it are relative to.
    pub(crate) lacks_base: bool,
    /// The `extends` of the outermost file.
    pub(crate) extends: Option<Located<String>>,
    /// Segments of which `[segments]` says something that could not be read.
    pub(crate) unclear_segments: HashSet<String>,
    /// Blocks (file and byte) that were probably meant for a block of the base which they do not lie over: what they lack is not told.
    pub(crate) astray: HashSet<(usize, usize)>,
    /// Blocks (file and byte) of whose `skip` some rule could not be read.
    pub(crate) unclear_skips: HashSet<(usize, usize)>,
    /// Files of tables whose columns are swapped: their rows are not judged one by one.
    pub(crate) swapped_files: HashSet<usize>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(read: ReadFile<'a>) -> Self {
        Self {
            read,
            files: Vec::new(),
            problems: Vec::new(),
            used_tables: HashSet::new(),
            lacks_base: false,
            extends: None,
            unclear_segments: HashSet::new(),
            astray: HashSet::new(),
            unclear_skips: HashSet::new(),
            swapped_files: HashSet::new(),
        }
    }

    /// Reads a mapping and its bases.
    pub(crate) fn mapping(&mut self, name: &str) -> Declarations {
        match (self.read)(name) {
            Ok(text) => self.read_mapping(name, text, &mut Vec::new()),
            Err(error) => {
                let problem = not_utf8(name, &error).unwrap_or_else(|| {
                    Diagnostic::unreadable(name, "M012", format!("this mapping cannot be read: {error}"))
                });
                self.problems.push(problem);
                Declarations::default()
            }
        }
    }

    /// Reads a file that `named` names, beside the file that names it.
    pub(crate) fn open(&mut self, named: &Located<String>) -> Option<usize> {
        if let Some(index) = self.known(named) {
            return Some(index);
        }
        let name = beside(&self.files[named.file].name, &named.value);
        match (self.read)(&name) {
            Ok(text) => {
                self.files.push(SourceFile { name, text });
                Some(self.files.len() - 1)
            }
            Err(error) => {
                self.unreadable(named, &name, &error);
                None
            }
        }
    }

    /// The index of a file that was read.
    pub(crate) fn known(&self, named: &Located<String>) -> Option<usize> {
        let name = beside(&self.files[named.file].name, &named.value);
        self.files.iter().position(|file| file.name == name)
    }

    /// Tells of a file that another names: where it is no text in UTF-8, at the place in it.
    fn unreadable(&mut self, named: &Located<String>, name: &str, error: &io::Error) {
        match not_utf8(name, error) {
            Some(problem) if !self.problems.contains(&problem) => self.problems.push(problem),
            Some(_) => {}
            None => {
                let text = format!("{name} cannot be read: {error}");
                let hint = match name.contains('\\') {
                    true => "write / between folders",
                    false => "the name is relative to the file that names it",
                };
                self.error(named.file, named.span.clone(), "M012", text, hint);
            }
        }
    }

    /// The text of a file that is no part of the mapping, if it can be read.
    pub(crate) fn peek(&self, named: &Located<String>) -> Option<SourceFile> {
        let name = beside(&self.files[named.file].name, &named.value);
        let known = self.known(named).map(|index| self.files[index].clone());
        known.or_else(|| Some(SourceFile { text: (self.read)(&name).ok()?, name }))
    }

    pub(crate) fn error(&mut self, file: usize, span: Range<usize>, code: &'static str, text: String, hint: &str) {
        let diagnostic = Diagnostic::error(&self.files[file], span, code, text);
        self.problems.push(if hint.is_empty() { diagnostic } else { diagnostic.hint(hint) });
    }

    pub(crate) fn warn(&mut self, file: usize, span: Range<usize>, code: &'static str, text: String, hint: &str) {
        let diagnostic = Diagnostic::warning(&self.files[file], span, code, text);
        self.problems.push(if hint.is_empty() { diagnostic } else { diagnostic.hint(hint) });
    }

    /// Where a part of a TOML string (bytes of its value) stands in the file: after one quote or three, and after the line end that
    /// may follow three.
    pub(crate) fn part_of(&self, written: &Located<String>, part: Range<usize>) -> Range<usize> {
        let source = self.files[written.file].text.get(written.span.clone()).unwrap_or_default();
        let quotes = match source.as_bytes() {
            [b'"', b'"', b'"', ..] | [b'\'', b'\'', b'\'', ..] => 3,
            [b'"' | b'\'', ..] => 1,
            // A key without quotes.
            _ => 0,
        };
        let inside = source.get(quotes..).unwrap_or_default();
        let line_end = [("\r\n", 2), ("\n", 1)].into_iter().find(|(end, _)| quotes == 3 && inside.starts_with(end));
        let start = written.span.start + quotes + line_end.map_or(0, |(_, length)| length);
        start + part.start..start + part.end.max(part.start)
    }

    fn read_mapping(&mut self, name: &str, text: String, chain: &mut Vec<String>) -> Declarations {
        chain.push(name.to_owned());
        let file = self.files.len();
        self.files.push(SourceFile { name: name.to_owned(), text: text.clone() });
        if let Some((place, problem)) = other_encoding::misread(&text) {
            self.warn(file, place, "M012", problem, other_encoding::HINT);
        }
        let (document, errors) = DeTable::parse_recoverable(&text);
        for (span, problem) in syntax_errors(&text, &errors) {
            self.error(file, span, "M001", problem, "");
        }
        if !errors.is_empty() {
            self.lacks_base |= chain.len() > 1;
            return Declarations::default();
        }
        for span in broken_inline_tables(&text, document.get_ref()) {
            let text = "in TOML 1.0 a table in braces stands on one line: other programs refuse this file".to_owned();
            self.warn(file, span, "M001", text, "write it on one line, or as a section");
        }
        let (declared, base) = self.document(file, document.get_ref());
        let Some(base) = base else { return declared };
        if chain.len() == 1 {
            self.extends = Some(base.clone());
        }
        let base_name = beside(name, &base.value);
        if [".csv", ".json"].iter().any(|ending| base_name.ends_with(ending)) {
            let text = format!("{base_name} is a table, and a mapping extends a mapping");
            self.error(file, base.span, "M012", text, "as in extends = \"hl7v2.toml\"; tables stand in [tables]");
            self.lacks_base = true;
            return declared;
        }
        if chain.contains(&base_name) || chain.len() >= MAX_EXTENDS {
            let text = format!("{base_name} extends this file in turn, or the chain is longer than {MAX_EXTENDS}");
            self.error(file, base.span, "M012", text, "");
            self.lacks_base = true;
            return declared;
        }
        let extends = base.clone();
        match (self.read)(&base_name) {
            Ok(text) => {
                let base = self.read_mapping(&base_name, text, chain);
                if !self.lacks_base && self.is_of_other_format(&declared, base.format()) {
                    let text = format!(
                        "{base_name} is for format = {:?}, and the paths of this file are of the other",
                        base.format().name()
                    );
                    let hint = match base.format() {
                        Format::Fhir => "extend a mapping for HL7 v2, such as hl7v2.toml",
                        Format::Hl7v2 => "extend a mapping for FHIR, such as fhir-r4.toml",
                    };
                    self.error(file, extends.span, "M013", text, hint);
                    self.lacks_base = true;
                }
                if self.lacks_base { declared } else { overlay(self, base, declared) }
            }
            Err(error) => {
                self.lacks_base = true;
                self.unreadable(&base, &base_name, &error);
                declared
            }
        }
    }

    /// Whether most paths of a file are written for another format than that of its base. Where it says its format, that is told.
    fn is_of_other_format(&self, declared: &Declarations, of_base: Format) -> bool {
        if declared.format.is_some() {
            return false;
        }
        let mut paths: Vec<&str> = declared.matches.iter().flatten().map(|rule| rule.path.value.as_str()).collect();
        let mut blocks: Vec<&Block> = declared.records.iter().map(|(_, block)| block).collect();
        while let Some(block) = blocks.pop() {
            paths.extend(block.each.iter().map(|each| each.value.as_str()));
            let rules = block.fields.iter().filter_map(|(_, rule)| rule.as_ref());
            paths.extend(rules.flat_map(|rule| &rule.from).map(|path| path.value.as_str()));
            blocks.extend(block.lists.iter().flat_map(|(_, blocks)| blocks));
        }
        let is_other = |path: &&&str| match (of_base, Path::parse(path)) {
            (Format::Fhir, parsed) => parsed.is_ok(),
            // Small letters begin an element; a path of HL7 v2 with a slip has a number after a dash.
            (Format::Hl7v2, Err(_)) => {
                path.starts_with(|letter: char| letter.is_ascii_lowercase()) && !path.contains('-')
            }
            (Format::Hl7v2, Ok(_)) => false,
        };
        let others = paths.iter().filter(is_other).count();
        others > 1 && others * 2 > paths.len()
    }

    fn document(&mut self, file: usize, document: &DeTable<'_>) -> (Declarations, Option<Located<String>>) {
        let mut declared = Declarations::default();
        let mut base = None;
        for (key, value) in in_order(document) {
            match key.get_ref().as_ref() {
                "description" => drop(self.text(file, value)),
                "extends" => base = self.text(file, value),
                "format" => declared.format = self.format(file, value),
                "match" => declared.matches = self.matches(file, value),
                "segments" => self.segments(file, value, &mut declared),
                "tables" => self.tables(file, value, &mut declared),
                name => match Kind::ALL.into_iter().find(|kind| kind.name() == name) {
                    Some(kind) => {
                        for block in self.blocks(file, value, schema::fields(kind)) {
                            declared.records.push((kind, block));
                        }
                    }
                    None => self.unknown(file, key.span(), "section or key", name, FILE_KEYS.iter().copied()),
                },
            }
        }
        (declared, base)
    }

    fn format(&mut self, file: usize, value: &Spanned<DeValue<'_>>) -> Option<Located<Format>> {
        let written = value.get_ref().as_str();
        let format = Format::ALL.into_iter().find(|format| written == Some(format.name()));
        if format.is_none() {
            self.error(file, value.span(), "M013", "the format is \"hl7v2\" or \"fhir\"".to_owned(), "");
        }
        format.map(|format| Located { value: format, file, span: value.span() })
    }

    fn matches(&mut self, file: usize, value: &Spanned<DeValue<'_>>) -> Option<Vec<MatchRule>> {
        let Some(table) = value.get_ref().as_table() else {
            let hint = "match = { \"MSH-9.1\" = [\"ADT\", \"SIU\"] }";
            self.error(file, value.span(), "M004", "match is a table of paths and patterns".to_owned(), hint);
            return None;
        };
        if table.is_empty() {
            let text = "this match says nothing: every message is taken, whatever the base's match says".to_owned();
            self.warn(file, value.span(), "M023", text, "leave it out, or say which are taken");
        }
        let mut matches = Vec::new();
        for (key, value) in in_order(table) {
            let path = Located { value: key.get_ref().to_string(), file, span: key.span() };
            matches.push(MatchRule { path, patterns: self.texts(file, value) });
        }
        Some(matches)
    }

    fn segments(&mut self, file: usize, value: &Spanned<DeValue<'_>>, declared: &mut Declarations) {
        let hint = "[segments] followed by lines like ZPI = { 1 = \"ST\", 2 = \"CWE\" }";
        let Some(table) = value.get_ref().as_table() else {
            return self.error(file, value.span(), "M004", "segments is a section".to_owned(), hint);
        };
        for (key, value) in in_order(table) {
            let segment = Located { value: key.get_ref().to_string(), file, span: key.span() };
            let is_segment = Path::parse(&segment.value).is_ok_and(|path| path.field().is_none());
            if !is_segment || !(segment.value.starts_with('Z') || Dictionary::standard().has_segment(&segment.value)) {
                let text = format!("{} is neither a Z-segment nor one of HL7 v2", segment.value);
                let capitals = segment.value.to_ascii_uppercase();
                let is_in_small_letters = capitals != segment.value && Path::parse(&capitals).is_ok();
                let meant = format!("did you mean {capitals}?");
                self.error(file, segment.span, "M014", text, if is_in_small_letters { &meant } else { hint });
                self.unclear_segments.insert(capitals);
                continue;
            }
            let Some(fields) = value.get_ref().as_table() else {
                self.error(
                    file,
                    value.span(),
                    "M004",
                    "a segment has numbers of fields and their data types".to_owned(),
                    hint,
                );
                continue;
            };
            let before = self.problems.len();
            for (key, value) in in_order(fields) {
                let Some(number) = self.number(file, key) else { continue };
                match value.get_ref().as_table() {
                    None => self.own_field(file, &segment, (number, 0), value, declared),
                    Some(components) => {
                        for (key, value) in in_order(components) {
                            if let Some(component) = self.number(file, key) {
                                self.own_field(file, &segment, (number, component), value, declared);
                            }
                        }
                    }
                }
            }
            if self.problems.len() > before {
                self.unclear_segments.insert(segment.value);
            }
        }
    }

    fn own_field(
        &mut self,
        file: usize,
        segment: &Located<String>,
        (number, component): (usize, usize),
        value: &Spanned<DeValue<'_>>,
        declared: &mut Declarations,
    ) {
        let Some(written) = self.text(file, value) else { return };
        match Dictionary::standard().data_type(&written.value) {
            Some(data_type) => {
                let place = Located { value: (), file, span: written.span };
                declared.segments.push(OwnField { segment: segment.clone(), number, component, data_type, place })
            }
            None => {
                let text = format!("HL7 v2 has no data type {}", written.value);
                self.error(file, written.span, "M014", text, "as in ST, NM, TS, CX, CWE, XPN, XAD");
            }
        }
    }

    /// The number of a field or component, as a key.
    fn number(&mut self, file: usize, key: &Spanned<std::borrow::Cow<'_, str>>) -> Option<usize> {
        let number = key.get_ref().parse().ok().filter(|number| (1..=1_000).contains(number));
        if number.is_none() {
            let text = format!("{} is no number of a field or component", key.get_ref());
            self.error(file, key.span(), "M004", text, "as in ZPI = { 1 = \"ST\", 2 = \"CWE\" }");
        }
        number
    }

    fn tables(&mut self, file: usize, value: &Spanned<DeValue<'_>>, declared: &mut Declarations) {
        let Some(table) = value.get_ref().as_table() else {
            let hint = "[tables] followed by lines like sex = \"tables/sex.csv\"";
            return self.error(file, value.span(), "M004", "tables is a section".to_owned(), hint);
        };
        for (key, value) in in_order(table) {
            let name = Located { value: key.get_ref().to_string(), file, span: key.span() };
            let mut files = TableFiles { name, extends: None, is_apart: false, files: Vec::new(), replaces: None };
            match value.get_ref().as_table() {
                None => files.files = self.texts(file, value),
                Some(parts) => {
                    for (key, value) in in_order(parts) {
                        match key.get_ref().as_ref() {
                            "extends" if value.get_ref().as_bool() == Some(false) => files.is_apart = true,
                            "extends" => files.extends = self.text(file, value),
                            "files" => files.files = self.texts(file, value),
                            name => {
                                self.unknown(file, key.span(), "key of a table", name, TABLE_KEYS.iter().copied());
                                // It may be extends that is misspelled.
                                files.is_apart = true;
                            }
                        }
                    }
                    if files.extends.is_none() && files.files.is_empty() {
                        let hint = "for example { extends = \"sex\", files = \"tables/more.csv\" }";
                        self.error(
                            file,
                            value.span(),
                            "M004",
                            "a table has files, extends another, or both".to_owned(),
                            hint,
                        );
                    }
                }
            }
            declared.tables.push(files);
        }
    }

    fn text(&mut self, file: usize, value: &Spanned<DeValue<'_>>) -> Option<Located<String>> {
        match value.get_ref().as_str() {
            Some(text) => Some(Located { value: text.to_owned(), file, span: value.span() }),
            None => {
                self.wrong_type(file, value, "a text in quotes");
                None
            }
        }
    }

    /// A text, number or truth value, as text.
    fn literal(&mut self, file: usize, value: &Spanned<DeValue<'_>>) -> Option<Located<String>> {
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(truth) => truth.to_string(),
            _ => {
                self.wrong_type(file, value, "a single value");
                return None;
            }
        };
        Some(Located { value: text, file, span: value.span() })
    }

    fn texts(&mut self, file: usize, value: &Spanned<DeValue<'_>>) -> Vec<Located<String>> {
        match value.get_ref() {
            DeValue::Array(array) if array.is_empty() => {
                self.wrong_type(file, value, "a text or a list of at least one");
                Vec::new()
            }
            DeValue::Array(array) => array.iter().filter_map(|item| self.text(file, item)).collect(),
            _ => self.text(file, value).into_iter().collect(),
        }
    }

    fn wrong_type(&mut self, file: usize, value: &Spanned<DeValue<'_>>, expected: &str) {
        let text = format!("expected {expected}, found {}", value.get_ref().type_str());
        self.error(file, value.span(), "M004", text, "");
    }

    fn unknown<'n>(
        &mut self,
        file: usize,
        span: Range<usize>,
        what: &str,
        name: &str,
        known: impl Iterator<Item = &'n str> + Clone,
    ) {
        let hint = match similar(name, known.clone()) {
            Some(meant) => format!("did you mean {meant}?"),
            None if known.clone().count() > MOST_TOLD => {
                format!("one of {}: heyi mapping schema lists them", known.count())
            }
            None => format!("known: {}", known.collect::<Vec<_>>().join(", ")),
        };
        let code = if what == "field" { "M003" } else { "M002" };
        self.error(file, span, code, format!("there is no {what} {name}"), &hint);
    }
}

/// The first place of a file that is not UTF-8, and what the file is in if it is in GB 18030.
fn not_utf8(name: &str, error: &io::Error) -> Option<Diagnostic> {
    let error = error.get_ref()?.downcast_ref::<FromUtf8Error>()?;
    let start = error.utf8_error().valid_up_to();
    let bytes = error.as_bytes();
    let (text, is_gb18030) = match Charset::Gb18030.decode(bytes) {
        Ok(text) => (text.into_owned(), true),
        Err(_) => (String::from_utf8_lossy(bytes).into_owned(), false),
    };
    // What is before the place is the same text in both.
    let length = text.get(start..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
    let what = if is_gb18030 { "this file is in GB18030, not in UTF-8" } else { "this file is not in UTF-8" };
    let file = SourceFile { name: name.to_owned(), text };
    Some(Diagnostic::error(&file, start..start + length, "M012", what).hint("save it as UTF-8"))
}

/// Where a table in braces has a line end of its own, which TOML 1.1 allows and 1.0 does not; inside its lists and texts both do.
fn broken_inline_tables(text: &str, table: &DeTable<'_>) -> Vec<Range<usize>> {
    let mut broken = Vec::new();
    for (_, value) in in_order(table) {
        broken.extend(broken_inline_table(text, value));
    }
    broken
}

fn broken_inline_table(text: &str, value: &Spanned<DeValue<'_>>) -> Vec<Range<usize>> {
    let span = value.span();
    match value.get_ref() {
        DeValue::Array(array) => array.iter().flat_map(|item| broken_inline_table(text, item)).collect(),
        DeValue::Table(table) => {
            let mut broken = broken_inline_tables(text, table);
            let mut gap = span.start;
            let starts_and_ends =
                in_order(table).into_iter().map(|(_, value)| value.span()).chain(std::iter::once(span.end..span.end));
            let has_line_end = |between: Range<usize>| text.get(between).is_some_and(|text| text.contains('\n'));
            let is_broken = starts_and_ends.fold(false, |is_broken, inner| {
                let before = std::mem::replace(&mut gap, inner.end)..inner.start;
                is_broken || has_line_end(before)
            });
            if is_broken && text.get(span.start..).is_some_and(|text| text.starts_with('{')) {
                broken.push(span.start..span.start + 1);
            }
            broken
        }
        _ => Vec::new(),
    }
}

/// Entries in the order of the file.
fn in_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<(&'t Spanned<std::borrow::Cow<'i, str>>, &'t Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// The name of a file that stands beside another, `..` resolved.
fn beside(file: &str, name: &str) -> String {
    if name.starts_with('/') {
        return name.to_owned();
    }
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in name.split('/') {
        match part {
            "." => {}
            ".." if parts.last().is_some_and(|last| !last.is_empty() && *last != "..") => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
