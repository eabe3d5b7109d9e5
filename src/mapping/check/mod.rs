//! What is wrong with a mapping that could be compiled: paths that HL7 v2 does not have, rules that are never reached, fields set
//! twice, records that lack what they need. Most of it warns: the mapping can be used, but probably does not do what was meant.
//!
//! It reads declarations and adds problems; nothing here changes what a mapping does.

mod effect;
mod fhir;
mod lookups;
mod meaning;
mod merges;
mod names;
mod needs;
mod once;
mod others;
mod parts;
mod path;
mod repetitions;
mod rows;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_base;
#[cfg(test)]
mod tests_of_fhir;
#[cfg(test)]
mod tests_of_items;
#[cfg(test)]
mod tests_of_meaning;
#[cfg(test)]
mod tests_of_merges;
#[cfg(test)]
mod tests_of_parts;
#[cfg(test)]
mod tests_of_sites;
mod texts;
mod vocabulary;

use std::collections::{BTreeMap, HashMap, HashSet};

use super::coerce::Coercion;
use super::compile::{self, ON_UNMAPPED, Target, default_coercion};
use super::expression::Expression;
use super::file::{Block, Declarations, Located, MatchRule, Reader, Rule};
use super::input::Format;
use super::table::{OTHERS, Row};
use super::truth::Facts;
use crate::diagnostic::{Diagnostic, listed, similar};
use crate::hl7v2::{Dictionary, Path};
use crate::record::Kind;
use crate::record::schema::{self, Field, Shape};
use lookups::{LookUp, YES_OR_NO};
pub(super) use names::{Named, unknown_names};
pub(super) use once::once;
use texts::{Comparison, root_of};
use vocabulary::Vocabulary;

/// Checks declarations that were compiled. Gives what they name of the configuration.
pub(super) fn check(reader: &mut Reader<'_>, declared: &Declarations, rows: &[Vec<Row>]) -> Vec<Named> {
    // What is missing, or used by nothing, may only be misspelled, or stand in what could not be read.
    let is_whole = !reader.problems.iter().any(Diagnostic::is_error);
    let dictionary = Dictionary::standard();
    let mut checker = Checker {
        reader,
        declared,
        rows,
        looked_up: HashMap::new(),
        all_look_ups: Vec::new(),
        asked_tables: HashSet::new(),
        paths_of_others: HashSet::new(),
        strangers: BTreeMap::new(),
        known_codes: HashSet::new(),
        dictionary,
        match_facts: match_facts(declared, dictionary),
        match_file: declared.matches.iter().flatten().map(|condition| condition.path.file).next(),
        seen_segments: HashSet::new(),
        unknown_segments: HashSet::new(),
        event_tables: HashMap::new(),
        vocabularies: HashMap::new(),
        foreign_files: HashMap::new(),
        is_whole,
    };
    for (kind, block) in &declared.records {
        checker.note_look_ups(block, kind.name(), schema::fields(*kind));
    }
    checker.systems_of_numbers();
    checker.foreign_files();
    checker.foreign_look_ups();
    match declared.format() {
        Format::Hl7v2 => checker.messages(),
        Format::Fhir => checker.units(),
    }
    checker.tables();
    if checker.is_whole {
        checker.unused_segments();
        checker.fills_nothing();
    }
    checker.names()
}

struct Checker<'r, 'a, 'd> {
    reader: &'r mut Reader<'a>,
    declared: &'d Declarations,
    /// Rows of each table, in the order of the declarations.
    rows: &'d [Vec<Row>],
    /// The tables that a path is looked up in by some rule, and the path of one.
    looked_up: HashMap<String, (HashSet<&'d str>, &'d Located<String>)>,
    /// Every rule that looks something up.
    all_look_ups: Vec<LookUp<'d>>,
    /// The tables that they ask.
    asked_tables: HashSet<&'d str>,
    /// Paths, by file and byte, of which it was told that they belong to another field: how they repeat is no mistake of its own.
    paths_of_others: HashSet<(usize, usize)>,
    /// Codes that conditions name and no table knows in which their path is looked up, by the path; and paths of which one is known.
    strangers: BTreeMap<String, Vec<Located<String>>>,
    known_codes: HashSet<String>,
    dictionary: &'static Dictionary,
    /// What `match` says of each message, and the file that it stands in.
    match_facts: Facts,
    match_file: Option<usize>,
    /// Segments that some path names.
    seen_segments: HashSet<String>,
    /// Segments of the sender's own of which it was told that nothing is known of them.
    unknown_segments: HashSet<String>,
    /// Tables that are asked for trigger events only, which are the standard's or begin with Z, and a path that asks.
    event_tables: HashMap<&'d str, &'d Located<String>>,
    /// What the targets of tables are, where the fields that they fill take any text.
    vocabularies: HashMap<String, Vocabulary>,
    /// Files of which it was told that they belong to another table than the one that names them, by the name of that.
    foreign_files: HashMap<String, HashSet<usize>>,
    /// There is no error so far.
    is_whole: bool,
}

impl<'d> Checker<'_, '_, 'd> {
    /// The checks of a mapping for HL7 v2.
    fn messages(&mut self) {
        for (_, block) in &self.declared.records {
            self.look_ups(block);
        }
        self.matches();
        self.said_by_the_standard();
        for kind in Kind::ALL {
            let blocks: Vec<&Block> =
                self.declared.records.iter().filter(|(other, _)| *other == kind).map(|(_, block)| block).collect();
            for block in &blocks {
                self.block(block, kind.name(), schema::fields(kind), None);
            }
            self.twins(&blocks, kind.name());
        }
        if self.is_whole {
            self.codes_without_row();
            self.numbers_of_merges();
        }
    }

    fn look_ups(&mut self, block: &'d Block) {
        for rule in block.fields.iter().filter_map(|(_, rule)| rule.as_ref()) {
            if let Some(table) = &rule.table {
                for path in &rule.from {
                    let Ok(root) = Path::parse(&path.value).map(|path| root_of(&path)) else { continue };
                    let (tables, place) = self.looked_up.entry(root).or_insert((HashSet::new(), path));
                    tables.insert(&table.value);
                    // A base's rules are sound for other sites.
                    if path.file < place.file {
                        *place = path;
                    }
                }
            }
        }
        for block in block.lists.iter().flat_map(|(_, blocks)| blocks) {
            self.look_ups(block);
        }
    }

    /// A code that a condition names and that no table knows in which a rule looks up the same path.
    fn code_without_row(&mut self, path: &Path, written: &Located<String>) {
        let path = root_of(path);
        let rows = self.rows_for(&path);
        if rows.is_empty() {
            return;
        }
        if rows.iter().any(|row| row.source == OTHERS || row.source.eq_ignore_ascii_case(&written.value)) {
            self.known_codes.insert(path);
        } else {
            self.strangers.entry(path).or_default().push(written.clone());
        }
    }

    /// The rows of all tables that a path is looked up in.
    fn rows_for(&self, path: &str) -> Vec<&'d Row> {
        let Some((names, _)) = self.looked_up.get(path) else { return Vec::new() };
        let (declared, rows) = (self.declared, self.rows);
        let tables = declared.tables.iter().zip(rows).filter(|(table, _)| names.contains(table.name.value.as_str()));
        tables.flat_map(|(_, rows)| rows).collect()
    }

    /// Each code without a row; where a path has none of several codes that it is compared with, the path is the mistake.
    fn codes_without_row(&mut self) {
        for (path, codes) in std::mem::take(&mut self.strangers) {
            let Some((names, place)) = self.looked_up.get(path.as_str()) else { continue };
            let mut names: Vec<&str> = names.iter().copied().collect();
            names.sort_unstable();
            let looked_up = format!("{path} is looked up in {}", names.join(" and "));
            if codes.len() > 1 && !self.known_codes.contains(&path) {
                let all = listed(codes.iter().map(|code| code.value.as_str()));
                let text = format!("{looked_up}, which has none of the codes that conditions compare it with: {all}");
                let (file, span) = (place.file, place.span.clone());
                self.reader.warn(file, span, "M022", text, "is another path or another table meant?");
                continue;
            }
            let rows = self.rows_for(&path);
            for code in codes {
                let hint = similar(&code.value, rows.iter().map(|row| row.source.as_str()))
                    .map_or_else(|| "add a row for it".to_owned(), |meant| format!("did you mean {meant}?"));
                let text = format!("{looked_up}, which has no code {}", code.value);
                self.reader.warn(code.file, code.span, "M022", text, &hint);
            }
        }
    }

    fn matches(&mut self) {
        for MatchRule { path, patterns } in self.declared.matches.iter().flatten() {
            let Some(parsed) = self.path(path, None) else { continue };
            let takes_nothing = !patterns.iter().any(|pattern| self.fits_a_code(&parsed, &pattern.value));
            for (index, pattern) in patterns.iter().enumerate() {
                let is_told =
                    self.fits_a_code(&parsed, &pattern.value) && self.unlikely_text(pattern, Comparison::Pattern);
                if !is_told && self.compared_in_parts(&parsed, pattern, Comparison::Pattern) {
                    // The path is the slip, whatever else it is compared with.
                    break;
                }
                if !is_told {
                    self.pattern(&parsed, pattern, takes_nothing);
                }
                if takes_nothing && patterns.len() > 1 && !self.fits_a_code(&parsed, &pattern.value) {
                    break;
                }
                let earlier = patterns[..index].iter();
                if let Some(wider) =
                    earlier.into_iter().find(|wider| super::run::matches_pattern(&wider.value, &pattern.value))
                {
                    let text = format!("{:?} is said already by {:?}", pattern.value, wider.value);
                    self.reader.warn(pattern.file, pattern.span.clone(), "M021", text, "leave it out");
                }
            }
        }
    }

    fn block(&mut self, block: &'d Block, place: &str, level: &'static [Field], outer: Option<(&Path, &Facts)>) {
        // Switched off, whatever else it says.
        if block.when.as_ref().is_some_and(|when| when.value.trim() == "false") {
            return;
        }
        if outer.is_none() {
            self.never_entered(block);
        }
        let each = block.each.as_ref().and_then(|each| self.each(each, outer.map(|(path, _)| path)));
        let within = each.as_ref().or(outer.map(|(path, _)| path));
        let mut facts = match outer {
            Some((_, facts)) => facts.of_header(),
            None => Facts::default(),
        };
        if let Some(when) = &block.when {
            facts = self.condition(when, &facts, within);
            facts.told_by = Some(facts.told_by.map_or(when.file, |file| file.min(when.file)));
        }
        self.skips(block, &facts, within);
        let rules = || block.fields.iter().filter_map(|(target, rule)| rule.as_ref().map(|rule| (target, rule)));
        self.parts(&rules().collect::<Vec<_>>(), place, level);
        self.paths_of_other_fields(&rules().collect::<Vec<_>>(), place, level);
        for (target, rule) in rules() {
            self.rule(target, rule, place, level, &facts, within);
        }
        self.alternatives(&rules().collect::<Vec<_>>());
        self.set_twice(&rules().map(|(target, _)| target).collect::<Vec<_>>());
        if self.is_whole {
            self.needs(block, place);
        }
        if let Some(each) = &each {
            self.foreign_each(block, place, each);
            self.each_of_list(block, place, each);
        }
        if let Some(each) = each.as_ref().filter(|each| self.meaning(each).is_ok()) {
            let each_file = block.each.as_ref().map_or(0, |each| each.file);
            if each.field().is_some() {
                self.other_repetitions(each, each_file, &rules().map(|(_, rule)| rule).collect::<Vec<_>>());
            }
            if outer.is_some() {
                self.outside_of_item(each, each_file, &rules().collect::<Vec<_>>());
            }
        }
        for (name, blocks) in &block.lists {
            let inner = match level.iter().find(|field| field.name == *name).map(|field| field.shape) {
                Some(Shape::List(inner)) => inner,
                _ => continue,
            };
            let place = format!("{place}.{name}");
            let root = Path::parse("MSH").ok();
            let outer = within.or(root.as_ref()).map(|path| (path, &facts));
            for block in blocks {
                self.block(block, &place, inner, outer);
            }
            self.twins(&blocks.iter().collect::<Vec<_>>(), &place);
        }
    }

    fn rule(
        &mut self,
        target: &Located<String>,
        rule: &'d Rule,
        place: &str,
        level: &'static [Field],
        facts: &Facts,
        within: Option<&Path>,
    ) {
        if let Some(when) = &rule.when {
            self.condition(when, facts, within);
        }
        self.without_effect(rule, place.contains('.'));
        let gathers = level.iter().any(|field| field.name == target.value && field.shape == Shape::TextList);
        self.fallbacks(rule, within, gathers);
        if !gathers {
            self.decided_by_condition(rule);
        }
        self.only_the_first(rule, within);
        if place == Kind::Patient.name() {
            self.of_the_message(rule, &target.value);
        }
        let Some(found) = compile::target(level, &target.value) else { return };
        self.on_unmapped(rule, &found);
        // What a rule leaves out is no mistake of its own where its path is one.
        let is_told = |written: &Located<String>| self.paths_of_others.contains(&(written.file, written.span.start));
        let is_of_another = rule.from.iter().any(is_told);
        if !is_of_another {
            self.left_out(rule, &found);
        }
        let coercion = coercion_of(rule, &found, level);
        if self.is_whole {
            self.coded_without_table(rule, place, &found);
            self.truth_without_table(rule, place, &found);
        }
        self.words_beside(rule, &found, coercion);
        if !is_of_another {
            self.first_alone(rule, &found, coercion, within);
        }
        self.part_of_name(rule, coercion);
        if let (Some(table), Some(vocabulary)) = (&rule.table, Vocabulary::of(&found, coercion)) {
            self.vocabularies.insert(table.value.clone(), vocabulary);
        }
        // An item of another field is told by its each.
        let is_of_segment = within.is_some_and(|each| each.field().is_none());
        let is_number = found.name.ends_with("number")
            || (path::NUMBERS.contains(&place) && found.name == "value" && is_of_segment);
        let mut are_events = true;
        for written in &rule.from {
            let Some(path) = self.path(written, within) else { continue };
            if !self.paths_of_others.contains(&(written.file, written.span.start)) {
                self.data_type(&path, written, coercion, (&found, is_number), rule.coercion.is_some());
                self.value_for_else(&path, written, place, &found);
            }
            are_events &= self.meaning(&path).is_ok_and(|meaning| meaning.table == "0003");
        }
        if let (Some(table), Some(path), true) = (&rule.table, rule.from.first(), are_events) {
            self.event_tables.insert(&table.value, path);
        }
    }

    /// A closed list takes its own codes only, and a field that has an HL7 table sends others.
    fn coded_without_table(&mut self, rule: &Rule, place: &str, target: &Target) {
        let (Shape::Code(legal), None, Some(first)) = (target.shape, &rule.table, rule.from.first()) else { return };
        let Some(path) = Path::parse(&first.value).ok() else { return };
        let Ok(meaning) = self.meaning(&path) else { return };
        let text = format!("{place}.{} is a coded field and needs a table: it takes {}", target.name, legal.join(", "));
        let hint = table_hint(rule, &first.value, target);
        let (file, span) = (first.file, first.span.clone());
        if meaning.table.is_empty() || rule.on_unmapped.is_some() || rule.when.is_some() {
            // The sender may know these codes, or what becomes of others is said.
            self.reader.warn(file, span, "M011", text, &hint);
        } else {
            self.reader.error(file, span, "M011", text, &hint);
        }
    }

    /// Codes that are neither yes nor no are no truth value by themselves. That the base has a table for it is told by itself.
    fn truth_without_table(&mut self, rule: &Rule, place: &str, target: &Target) {
        let is_told = rule.left_out.iter().any(|left| left.key == "table");
        if target.shape != Shape::Boolean || rule.table.is_some() || rule.coercion.is_some() || is_told {
            return;
        }
        for written in &rule.from {
            let Some(meaning) = Path::parse(&written.value).ok().and_then(|path| self.meaning(&path).ok()) else {
                continue;
            };
            if !meaning.table.is_empty() && !YES_OR_NO.contains(&meaning.table) {
                let text = format!(
                    "{} has codes of HL7 table {}, and which of them mean that {place}.{} is true says a table",
                    written.value, meaning.table, target.name
                );
                let hint = table_hint(rule, &written.value, target);
                return self.reader.warn(written.file, written.span.clone(), "M011", text, &hint);
            }
        }
    }

    /// A misspelled `leave` would be the value of every unknown code. (A closed list refuses it.)
    fn on_unmapped(&mut self, rule: &Rule, target: &Target) {
        let Some(written) = rule.on_unmapped.as_ref().filter(|_| !matches!(target.shape, Shape::Code(_))) else {
            return;
        };
        let meant = similar(&written.value, ON_UNMAPPED.iter().copied());
        if let Some(meant) = meant.filter(|meant| *meant != written.value) {
            let text = format!("{:?} is taken as the value for unknown codes", written.value);
            self.reader.warn(written.file, written.span.clone(), "M015", text, &format!("did you mean {meant}?"));
        }
    }

    /// Checks a condition and gives what is known where it holds. `facts`: what is known where it is asked.
    fn condition(&mut self, written: &Located<String>, facts: &Facts, within: Option<&Path>) -> Facts {
        let mut facts = facts.clone();
        let Ok((condition, mentions)) = Expression::parse_with_mentions(&written.value) else { return facts };
        for mention in &mentions {
            let span = self.reader.part_of(written, mention.span.clone());
            let place = Located { value: mention.path.to_string(), file: written.file, span };
            self.check_path(&mention.path, &place, within);
            let mut is_compared_in_parts = false;
            for (index, (value, span)) in mention.values.iter().enumerate() {
                let span = self.reader.part_of(written, span.clone());
                if value.trim() != value || value.is_empty() {
                    let text = "a value is never empty and has no blanks around it: this is never equal".to_owned();
                    let hint = format!("for an empty field write: not {}", mention.path);
                    self.reader.warn(written.file, span, "M021", text, &hint);
                } else if mention.values[..index].iter().any(|(before, _)| before == value) {
                    self.reader.warn(written.file, span, "M021", format!("{value} is named twice"), "leave it out");
                } else {
                    let value = Located { value: value.clone(), file: written.file, span };
                    let is_told = is_compared_in_parts || self.unlikely_text(&value, Comparison::Equality);
                    if !is_told {
                        is_compared_in_parts = self.compared_in_parts(&mention.path, &value, Comparison::Equality);
                        if !is_compared_in_parts {
                            self.code(&mention.path, &value);
                        }
                    }
                }
            }
        }
        let is_literal = matches!(condition, Expression::Constant(_));
        // A base's condition is not dead because a site takes fewer messages, or uses a block for fewer.
        if facts.told_by.is_some_and(|file| file < written.file) {
            facts.assume(&condition, true);
            return facts;
        }
        let known = if self.match_file.is_some_and(|file| file >= written.file) {
            self.match_facts.joined(&facts)
        } else {
            facts.clone()
        };
        if let Some(truth) = known.ask(&condition).filter(|_| !is_literal) {
            let what = if truth { "always holds" } else { "never holds" };
            let text = format!("this condition {what}, by what match, the conditions around it and it itself say");
            let span = self.reader.part_of(written, 0..written.value.len());
            self.reader.warn(written.file, span, "M021", text, "");
        }
        facts.assume(&condition, true);
        facts
    }

    fn tables(&mut self) {
        for (table, rows) in self.declared.tables.iter().zip(self.rows) {
            let name = &table.name;
            let extended = self.declared.tables.iter().filter_map(|other| other.extends.as_ref());
            let is_used = self.reader.used_tables.contains(&name.value) || !self.is_whole;
            let is_used_name = |name: &str| self.reader.used_tables.contains(name);
            if !is_used && !extended.into_iter().any(|other| other.value == name.value) {
                let text = format!("no rule uses the table {}", name.value);
                let others = self.declared.tables.iter().map(|other| other.name.value.as_str());
                let meant = similar(&name.value, others.filter(|other| *other != name.value && is_used_name(other)));
                let hint = match meant {
                    Some(meant) => format!("did you mean {meant}? else use it with table = \"…\", or remove it"),
                    None => "use it with table = \"…\", or remove it".to_owned(),
                };
                self.reader.warn(name.file, name.span.clone(), "M024", text, &hint);
            } else if self.is_whole && self.is_asked_no_more(name) {
                let text = format!(
                    "no rule uses the table {} any more: others are in place of the base's that did",
                    name.value
                );
                let hint = "remove it, or use it with table = \"…\"";
                self.reader.warn(name.file, name.span.clone(), "M024", text, hint);
            }
            let foreign = self.foreign_files.get(&name.value);
            let is_judged = |row: &&Row| {
                !self.reader.swapped_files.contains(&row.file) && foreign.is_none_or(|files| !files.contains(&row.file))
            };
            let rows: &[Row] = &rows.iter().filter(is_judged).cloned().collect::<Vec<_>>();
            for (index, file) in table.files.iter().enumerate() {
                let is_same = |other: &Located<String>| other.file == file.file && other.value == file.value;
                if table.files[..index].iter().any(is_same) {
                    let text = format!("{} is named twice", file.value);
                    self.reader.warn(file.file, file.span.clone(), "M024", text, "leave it out");
                }
            }
            let vocabulary = self.vocabularies.get(&name.value).copied();
            self.repeated_rows(rows);
            self.rows_of_other_case(rows, vocabulary);
            if let Some(vocabulary) = vocabulary {
                self.targets(vocabulary, table, rows);
            }
            self.full_width_rows(rows);
            self.marks_in_rows(rows, vocabulary);
            if let Some(path) = self.event_tables.get(name.value.as_str()).copied() {
                self.events(name, rows, path);
            }
        }
    }

    /// Whether a table of the site's own is asked by none of the rules that are left.
    fn is_asked_no_more(&self, name: &Located<String>) -> bool {
        let extended = self.declared.tables.iter().filter(|other| other.name.value != name.value);
        let mut extended = extended.filter_map(|other| other.extends.as_ref());
        name.file == 0
            && !self.asked_tables.contains(name.value.as_str())
            && !extended.any(|extends| extends.value == name.value)
    }

    /// The rows of a table that trigger events are looked up in. Where most are none, the path is the mistake and not the rows.
    fn events(&mut self, table: &Located<String>, rows: &[Row], path: &Located<String>) {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.source != OTHERS).collect();
        let strangers = rows.iter().filter(|row| !self.is_code_of("0003", &row.source)).count();
        if strangers > 1 && strangers * 2 > rows.len() {
            let text =
                format!("{} is a trigger event, and the table {} has codes of something else", path.value, table.value);
            return self.reader.warn(
                path.file,
                path.span.clone(),
                "M022",
                text,
                "is another path or another table meant?",
            );
        }
        for row in rows {
            let source = Located { value: row.source.clone(), file: row.file, span: row.span.clone() };
            self.code_of("0003", &source);
        }
    }
}

/// How the values of a rule are read: as it says, else as its field is. `None`: it names what is no coercion.
fn coercion_of(rule: &Rule, target: &Target, level: &'static [Field]) -> Option<Coercion> {
    match &rule.coercion {
        Some(written) => Coercion::named(&written.value),
        None => default_coercion(target, level, rule),
    }
}

/// How a coded field gets its table: that of the base's rule in whose place this one stands, else one of its own.
fn table_hint(rule: &Rule, from: &str, target: &Target) -> String {
    match rule.left_out.iter().find(|left| left.key == "table") {
        Some(left) => format!("write {{ from = {from:?}, table = {:?} }}, as the base does", left.value),
        None => format!("write {{ from = {from:?}, table = {:?} }} and name the table in [tables]", target.name),
    }
}

/// What `match` says of each message that it lets through.
fn match_facts(declared: &Declarations, dictionary: &Dictionary) -> Facts {
    let mut facts = Facts::default();
    for MatchRule { path: written, patterns } in declared.matches.iter().flatten() {
        let Ok(path) = Path::parse(&written.value) else { continue };
        let patterns: Vec<String> = patterns.iter().map(|pattern| pattern.value.clone()).collect();
        if written.value == "MSH-9.1" {
            for segment in dictionary.segments().filter(|segment| !can_hold(dictionary, &patterns, segment)) {
                facts.add_absent(segment);
            }
        }
        facts.add_match(&path, patterns);
    }
    facts
}

/// Whether a message of these types can have the segment. A type that the dictionary does not know can have any.
fn can_hold(dictionary: &Dictionary, types: &[String], segment: &str) -> bool {
    types
        .iter()
        .any(|message_type| dictionary.segments_of(message_type).is_none_or(|segments| segments.contains(&segment)))
}
