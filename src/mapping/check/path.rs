//! Paths against the dictionary: what HL7 v2 does not have, what does not repeat, what is of another type than the rule reads.

use std::collections::HashSet;

use super::super::coerce::Coercion;
use super::super::compile::Target;
use super::super::file::{Located, OwnField};
use super::super::input::Format;
use super::super::meant;
use super::super::run::matches_pattern;
use super::super::table::Row;
use super::Checker;
use super::texts::Comparison;
use crate::diagnostic::{Diagnostic, is_one_letter_away, plain_text, similar};
use crate::hl7v2::dictionary::{Meaning, Missing, shown};
use crate::hl7v2::{Dictionary, Path};
use crate::record::schema::Shape;

impl<'d> Checker<'_, '_, 'd> {
    /// Parses and checks a path; `None` if it is none. `within`: what `each` around it names.
    pub(super) fn path(&mut self, written: &Located<String>, within: Option<&Path>) -> Option<Path> {
        let path = Path::parse(&written.value).ok()?;
        self.check_path(&path, written, within);
        Some(path)
    }

    /// Checks the path of `each`; `None` if it is none. `outer`: that of the `each` around it.
    pub(super) fn each(&mut self, written: &Located<String>, outer: Option<&Path>) -> Option<Path> {
        let path = self.path(written, outer)?;
        if self.match_file.is_some_and(|file| file >= written.file) && self.match_facts.lacks(path.segment()) {
            let text = format!("{} is in no message that match lets through", path.segment());
            self.reader.warn(written.file, written.span.clone(), "M021", text, "HL7 v2 has it in other message types");
        }
        Some(path)
    }

    pub(super) fn check_path(&mut self, path: &Path, written: &Located<String>, within: Option<&Path>) {
        self.seen_segments.insert(path.segment().to_owned());
        match self.meaning(path) {
            Ok(_) if self.paths_of_others.contains(&(written.file, written.span.start)) => {}
            Ok(meaning) if path.chooses_repetitions() && path.repetition() != Some(1) && !meaning.repeats => {
                let field = format!("{}-{}", path.segment(), path.field().unwrap_or_default());
                let text = format!("{field} does not repeat in any version of HL7 v2");
                let hint = format!("write {field} without the brackets, unless the sender repeats it all the same");
                self.reader.warn(written.file, written.span.clone(), "M017", text, &hint);
            }
            Ok(_) => self.predicate_codes(path, written),
            Err(missing) if path.segment().starts_with('Z') => self.own_segment(path, &missing, written),
            Err(missing) => {
                let similar =
                    similar(path.segment(), self.dictionary.segments()).filter(|_| missing == Missing::Segment);
                let hint = match (similar, path.field()) {
                    (Some(meant), _) => format!("did you mean {meant}?"),
                    (None, Some(field)) if missing != Missing::Segment => {
                        let (place, data_type) = match (&missing, path.component(), path.subcomponent()) {
                            (Missing::Subcomponent(..), Some(component), _) => (format!("{field}.{component}"), "CX"),
                            // It has components, only not so many.
                            (Missing::Component(_, 1..), Some(component), None) => {
                                (format!("{field}.{component}"), "ST")
                            }
                            (Missing::Component(_, 1..), Some(component), Some(_)) => {
                                (format!("{field}.{component}"), "CX")
                            }
                            _ => (field.to_string(), "CX"),
                        };
                        let segment = path.segment();
                        format!(
                            "if the sender does so all the same: [segments] with {segment} = {{ {place} = {data_type:?} }}, or what it sends"
                        )
                    }
                    _ => String::new(),
                };
                let text = missing.text(path).into_owned();
                self.reader.error(written.file, written.span.clone(), "M014", text, &hint);
            }
        }
        if let Some((choice, values)) = path.chosen_by() {
            self.check_path(&choice, written, None);
            if self.several_as_one(values, written) {
                return;
            }
            for value in values {
                let value = Located { value: value.clone(), ..written.clone() };
                if !self.compared_in_parts(&choice, &value, Comparison::Choice) {
                    self.code(&choice, &value);
                }
            }
        }
        if let (Some(each), Some(number)) = (within, path.occurrence())
            && each.segment() == path.segment()
        {
            let text = match number {
                1 => format!(
                    "each {each} is one {0}: {0}[1] is that one, and not the first of the message",
                    path.segment()
                ),
                _ => format!("each {each} is one {0}: there is no second {0} in it", path.segment()),
            };
            self.reader.warn(written.file, written.span.clone(), "M021", text, "leave the number out");
        }
    }

    /// What a path leads to, by the dictionary and by `[segments]`.
    pub(super) fn meaning(&self, path: &Path) -> Result<Meaning, Missing> {
        match path.field() {
            None if self.own_fields(path.segment()).next().is_some() => {
                Ok(Meaning { repeats: true, ..Meaning::default() })
            }
            _ => self.dictionary.meaning_with(path, &self.added(path.segment())),
        }
    }

    /// What `[segments]` adds to a segment.
    fn added(&self, segment: &str) -> impl Fn(usize, usize) -> Option<&'static str> {
        let fields: Vec<&OwnField> = self.own_fields(segment).collect();
        move |number, component| {
            fields.iter().find(|own| (own.number, own.component) == (number, component)).map(|own| own.data_type)
        }
    }

    fn own_fields(&self, segment: &str) -> impl Iterator<Item = &'d OwnField> {
        self.declared.segments.iter().filter(move |own| own.segment.value == segment)
    }

    /// A Z-segment is known by `[segments]` only.
    fn own_segment(&mut self, path: &Path, missing: &Missing, written: &Located<String>) {
        let name = path.segment();
        if self.reader.unclear_segments.contains(name) {
            return;
        }
        let is_known = self.own_fields(name).next().is_some();
        if !is_known && !self.unknown_segments.insert(name.to_owned()) {
            return;
        }
        let names = self.declared.segments.iter().map(|own| own.segment.value.as_str());
        let (text, hint) = match (missing, similar(name, names)) {
            (Missing::Segment, _) if is_known => {
                let field = path.field().unwrap_or_default();
                (
                    format!("{name}-{field} is not in [segments]"),
                    format!("add it to {name} there, as in {field} = \"ST\""),
                )
            }
            (Missing::Segment, Some(meant)) => {
                (format!("{name} is not in [segments]"), format!("did you mean {meant}?"))
            }
            (Missing::Segment, None) => {
                let field = path.field().unwrap_or(1);
                let hint = format!("say what it holds, as in [segments] with {name} = {{ {field} = \"ST\" }}");
                (format!("{name} is the sender's own segment and not in [segments]"), hint)
            }
            (missing, _) => (missing.text(path).into_owned(), "its data type stands in [segments]".to_owned()),
        };
        self.reader.warn(written.file, written.span.clone(), "M016", text, &hint);
    }

    pub(super) fn unused_segments(&mut self) {
        if self.declared.format() != Format::Hl7v2 {
            return;
        }
        let mut told = HashSet::new();
        for own in &self.declared.segments {
            let name = &own.segment;
            // A base may tell of more segments than a site reads.
            if name.file == 0 && !self.seen_segments.contains(&name.value) && told.insert(&name.value) {
                let text = format!("no path reads {}", name.value);
                self.reader.warn(name.file, name.span.clone(), "M024", text, "remove it, or read it");
            }
        }
    }

    /// The codes that a predicate compares with.
    fn predicate_codes(&mut self, path: &Path, written: &Located<String>) {
        let Some((_, _, values)) = path.predicate() else { return };
        if let Some(quoted) = values.iter().find(|value| value.starts_with(['\'', '"', '‘', '“'])) {
            let plain = quoted.trim_matches(['\'', '"', '‘', '’', '“', '”']);
            let text = format!("the quotes belong to the value {quoted} here, and nobody sends them");
            self.reader.warn(written.file, written.span.clone(), "M021", text, &format!("write {plain} without them"));
            return;
        }
        if self.several_as_one(values, written) {
            return;
        }
        let part = self.dictionary.predicate_with(path, &self.added(path.segment()));
        let Ok(Some(Meaning { table, .. })) = part else { return };
        for value in values {
            let value = Located { value: value.clone(), ..written.clone() };
            match self.dictionary.codes(table) {
                Some(_) => self.code_of(table, &value),
                None => self.nearly_a_row(path, &value),
            }
        }
    }

    /// A value of a predicate that is several with a mark between them that is no comma. Whether it told.
    fn several_as_one(&mut self, values: &[String], written: &Located<String>) -> bool {
        for value in values {
            let parts: Vec<&str> = value.split([';', '|', '，', '、', '；']).map(str::trim).collect();
            // 肝、胆、脾 is the name of one examination.
            let is_name = value.contains('、') && !parts.iter().all(|part| part.is_ascii());
            if parts.len() > 1 && parts.iter().all(|part| !part.is_empty()) && !is_name {
                let text = format!("{value} is one value here, and nobody sends it");
                let hint = format!("several have commas between them: in {}", parts.join(","));
                self.reader.warn(written.file, written.span.clone(), "M021", text, &hint);
                return true;
            }
            // `[3.1=A,B]`: only in and its list have commas between them.
            let parts: Vec<&str> = value.split(',').map(str::trim).collect();
            let is_code = |part: &&str| !part.is_empty() && part.bytes().all(|letter| letter.is_ascii_alphanumeric());
            if parts.len() > 1 && parts.iter().all(is_code) {
                let text = format!("{value} is one value here, and nobody sends it");
                let hint = format!("several stand behind in: in {}", parts.join(","));
                self.reader.warn(written.file, written.span.clone(), "M021", text, &hint);
                return true;
            }
            if let Some(plain) = plain_text(value) {
                let text = format!("{value} is in full-width characters, and never equal to {plain}");
                self.reader.warn(written.file, written.span.clone(), "M021", text, &format!("write {plain}"));
                return true;
            }
        }
        false
    }

    /// A value of a predicate that is one letter away from a code that the same place is looked up by. Others may be the sender's own.
    fn nearly_a_row(&mut self, path: &Path, written: &Located<String>) {
        let Some((component, subcomponent, _)) = path.predicate() else { return };
        let place = format!("{}-{}.{component}", path.segment(), path.field().unwrap_or_default());
        let place = if subcomponent == 0 { place } else { format!("{place}.{subcomponent}") };
        let rows = self.rows_for(&place);
        let value = written.value.as_str();
        if rows.iter().any(|row| row.source.eq_ignore_ascii_case(value)) {
            return;
        }
        let is_near = |row: &&&Row| value.len() > 2 && row.source.len() > 2 && is_one_letter_away(value, &row.source);
        if let Some(row) = rows.iter().find(is_near) {
            let text = format!("no row of the table for {place} has the code {value}");
            let hint = format!("did you mean {}?", row.source);
            self.reader.warn(written.file, written.span.clone(), "M022", text, &hint);
        }
    }

    /// A code that a path is compared with: HL7's own codes, else those of the tables that the path is looked up in.
    pub(super) fn code(&mut self, path: &Path, written: &Located<String>) {
        let Ok(meaning) = self.meaning(path) else { return };
        match self.dictionary.codes(meaning.table) {
            Some(_) => self.code_of(meaning.table, written),
            None => self.code_without_row(path, written),
        }
    }

    pub(super) fn code_of(&mut self, table: &str, written: &Located<String>) {
        let code = written.value.as_str();
        if let Some(codes) = self.dictionary.codes(table).filter(|_| !code.is_empty() && !self.is_code_of(table, code))
        {
            let text = format!("HL7 table {table} has no code {code}");
            self.reader.warn(written.file, written.span.clone(), "M022", text, &meant::hint_of_pattern(code, codes));
        }
    }

    /// Whether a code is one of an HL7 table, or of a site's own; true of tables whose codes are not known.
    pub(super) fn is_code_of(&self, table: &str, code: &str) -> bool {
        self.dictionary.codes(table).is_none_or(|codes| codes.contains(&code)) || is_own(code)
    }

    /// Tells of a text that is compared with what is sent in several components, and could only be equal to all of them.
    pub(super) fn compared_in_parts(&mut self, path: &Path, written: &Located<String>, comparison: Comparison) -> bool {
        let (Some(field), Ok(meaning)) = (path.field(), self.meaning(path)) else { return false };
        let parts: Vec<&str> = written.value.split('^').collect();
        let is_whole = path.component().is_none() && !meaning.types.is_empty();
        let has_components =
            is_whole && meaning.types.iter().all(|name| self.dictionary.is_composite(name) && *name != "TS");
        if parts.len() == 1 && (!has_components || written.value.is_empty() || written.value.contains('*')) {
            return false;
        }
        let first = if self.is_from_the_first(path, &parts) { 1 } else { path.component().unwrap_or(1) };
        let numbered = parts.iter().enumerate().filter(|(_, part)| !part.is_empty());
        let single = numbered.map(|(index, part)| {
            let part_path = format!("{}-{field}.{}", path.segment(), first + index);
            match comparison {
                Comparison::Pattern => format!("{part_path:?} = {part:?}"),
                Comparison::Equality => format!("{part_path} = '{part}'"),
                Comparison::Choice => format!("{}[{field}.{}={part}]", path.segment(), first + index),
            }
        });
        // A path has one predicate.
        let most = if comparison == Comparison::Choice { 1 } else { usize::MAX };
        let between = if comparison == Comparison::Pattern { ", " } else { " and " };
        let hint = format!("compare its components: {}", single.take(most).collect::<Vec<_>>().join(between));
        let text = match path.component() {
            None => format!(
                "{path} is sent with all its components, and is equal to {:?} only where no other is sent",
                written.value
            ),
            Some(_) => format!("{path} is one component, and {:?} is several", written.value),
        };
        // Several values of one predicate stand at one place.
        let count = self.reader.problems.len();
        self.reader.warn(written.file, written.span.clone(), "M018", text, &hint);
        let is_told = |told: &Diagnostic, new: &Diagnostic| {
            (told.code, &told.file, told.line, told.column) == (new.code, &new.file, new.line, new.column)
        };
        if let [before @ .., new] = self.reader.problems.as_slice()
            && before.iter().any(|told| is_told(told, new))
        {
            self.reader.problems.truncate(count);
        }
        true
    }

    /// Whether a text of several components that is compared with a later one begins with the first of the field: `MSH-9.2` with
    /// `ADT^A01`. The codes of the first component tell.
    fn is_from_the_first(&self, path: &Path, parts: &[&str]) -> bool {
        let first = Path::parse(&format!("{}-{}.1", path.segment(), path.field().unwrap_or(1)));
        let meaning = first.ok().and_then(|first| self.meaning(&first).ok());
        let codes = meaning.and_then(|meaning| self.dictionary.codes(meaning.table));
        codes.is_some_and(|codes| parts.first().is_some_and(|part| codes.contains(part)))
    }

    /// Whether some code of the field, or one of a site's own, can fit a pattern.
    pub(super) fn fits_a_code(&self, path: &Path, pattern: &str) -> bool {
        let codes = self.meaning(path).ok().and_then(|meaning| self.dictionary.codes(meaning.table));
        let fits = |codes: &[&str]| codes.iter().any(|code| matches_pattern(pattern, code));
        pattern.is_empty() || is_own(pattern) || codes.is_none_or(fits)
    }

    /// A pattern of `match`: some code has to fit it. `takes_nothing`: none of the patterns beside it has one either.
    pub(super) fn pattern(&mut self, path: &Path, written: &Located<String>, takes_nothing: bool) {
        let Ok(meaning) = self.meaning(path) else { return };
        let Some(codes) = self.dictionary.codes(meaning.table) else { return };
        let pattern = written.value.as_str();
        if !self.fits_a_code(path, pattern) {
            let so = if takes_nothing { ": the mapping takes no message" } else { "" };
            let text = format!("no code of HL7 table {} fits {pattern:?}{so}", meaning.table);
            self.reader.warn(written.file, written.span.clone(), "M022", text, &meant::hint_of_pattern(pattern, codes));
        }
    }

    /// Whether what a path leads to is what the rule reads.
    pub(super) fn data_type(
        &mut self,
        path: &Path,
        written: &Located<String>,
        coercion: Option<Coercion>,
        (target, is_number): (&Target, bool),
        is_explicit: bool,
    ) {
        let (Some(coercion), Ok(meaning)) = (coercion, self.meaning(path)) else { return };
        if self.part_of_value(path, written, coercion, target) {
            return;
        }
        // What cannot fill the target at all has been said already.
        let fits = target.spread || coercion.fits(target.shape);
        if meaning.types.is_empty() || path.field().is_none() || !fits {
            return;
        }
        let types = shown(&meaning.types);
        if coercion == Coercion::Text && matches!(target.shape, Shape::Text | Shape::TextList) {
            // Whoever writes as = "text" means it.
            let newest = meaning.types.last().is_some_and(|newest| FILLED_IN_PARTS.contains(newest));
            let is_composite = |name: &&str| self.dictionary.is_composite(name) && *name != "TS";
            if !is_explicit && (newest || meaning.types.iter().all(is_composite)) {
                let text =
                    format!("{path} ({types}) has components: all of them would be one text, with the ^ between them");
                let hint = match path.component() {
                    None => format!("say which, as in {path}.1"),
                    Some(_) if path.subcomponent().is_none() => format!("say which subcomponent, as in {path}.1"),
                    Some(_) => String::new(),
                };
                self.reader.warn(written.file, written.span.clone(), "M018", text, &hint);
            } else if !is_explicit && is_number && self.is_time(path) {
                let text = format!("{path} ({types}) is a time, and {} is a number", target.name);
                self.reader.warn(written.file, written.span.clone(), "M018", text, "is another field meant?");
            } else if !is_explicit && is_number && meaning.types.last() == Some(&"SI") {
                let text = format!(
                    "{path} ({types}) counts the segments of each message from 1, and {} is no such number",
                    target.name
                );
                self.reader.warn(written.file, written.span.clone(), "M018", text, "is another field meant?");
            }
        } else if !self.reads_what_it_is(coercion, &meaning.types) {
            let text = format!("{path} ({types}) does not hold what {} is made of", target.name);
            let hint = match Coercion::Text.fits(target.shape) {
                true => "is another field meant? as = \"text\" takes what is sent",
                false => "is another field meant?",
            };
            self.reader.warn(written.file, written.span.clone(), "M018", text, hint);
        }
    }
}

/// Lists of numbers: the `value` of an item is one.
pub(super) const NUMBERS: &[&str] = &["merge.retired", "merge.survivor", "patient.identifiers"];
/// Data types of times.
pub(super) const TIMES: &[&str] = &["DT", "DTM", "TM", "TS"];

impl Checker<'_, '_, '_> {
    /// Whether a coercion can make something of one of the types that a field had. A date or number that became several components is
    /// none any more, whatever it was in the first versions.
    fn reads_what_it_is(&self, coercion: Coercion, types: &[&'static str]) -> bool {
        let is_single = matches!(
            coercion,
            Coercion::Date | Coercion::DateTime | Coercion::Instant | Coercion::Integer | Coercion::Decimal
        );
        match types.last().filter(|newest| is_single && self.dictionary.is_composite(newest)) {
            Some(newest) => reads(coercion, newest, self.dictionary),
            None => types.iter().any(|name| reads(coercion, name, self.dictionary)),
        }
    }
}

/// Types whose components senders do fill, whatever the field was in the first versions. TS is none: its second component is rare.
const FILLED_IN_PARTS: &[&str] = &["CX", "EI", "HD", "PL", "XAD", "XCN", "XON", "XPN"];

/// Codes of a site's own begin with Z.
fn is_own(code: &str) -> bool {
    code.starts_with('Z')
}

/// Whether a coercion can make something of a data type. Old versions, and types that hold anything, are taken kindly.
pub(super) fn reads(coercion: Coercion, data_type: &str, dictionary: &Dictionary) -> bool {
    const TEXT: &[&str] = &["ST", "TX", "FT"];
    const TIMES: &[&str] = &["DT", "TS", "DTM", "DR"];
    const NUMBERS: &[&str] = &["NM", "SI", "CQ", "MO", "CP", "SN", "ID", "IS"];
    const NAMES: &[&str] = &["XPN", "PN", "XCN", "CN", "CNN", "PPN", "NDL"];
    const ADDRESSES: &[&str] = &["XAD", "AD", "SAD"];
    const PHONES: &[&str] = &["XTN", "TN"];
    const CODES: &[&str] = &["CE", "CWE", "CNE", "CF", "ID", "IS", "EI", "JCC", "HD", "SPS"];
    const NUMBERED: &[&str] = &["CX", "CK", "EI", "EIP", "NM", "XCN", "PPN", "DLN"];
    let is = |list: &[&str]| list.contains(&data_type);
    if is(TEXT) || data_type == "CM" || data_type.starts_with("CM_") {
        return true;
    }
    match coercion {
        Coercion::Date | Coercion::DateTime | Coercion::Instant => is(TIMES),
        Coercion::Integer | Coercion::Decimal => is(NUMBERS),
        Coercion::Boolean => is(CODES) || data_type == "NM",
        Coercion::Phone | Coercion::Email => is(PHONES),
        Coercion::Name => is(NAMES),
        Coercion::Address | Coercion::Street => is(ADDRESSES),
        Coercion::Staff => is(NAMES),
        Coercion::Identifier | Coercion::ResidentId => is(NUMBERED),
        Coercion::Coded | Coercion::Alternate | Coercion::Unit => is(CODES) || data_type == "PL",
        Coercion::Code => !(is(TIMES) || is(NAMES) || is(ADDRESSES) || is(PHONES)),
        Coercion::ReferenceRange => is(CODES) || is(&["NR", "DR", "RFR"]) || !dictionary.is_composite(data_type),
        Coercion::Text | Coercion::LabValue => true,
    }
}
