//! TOML files read with their places: typed access to tables that collects every problem instead of stopping at the first.
//!
//! A [`Section`] remembers which keys were asked for; [`Section::finish`] reports the others as unknown, with the key that was
//! probably meant. The crate toml is named here and in `mapping/file.rs`, whose keys are names that people choose.

use std::cell::RefCell;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, SourceFile, plain_character, similar};

/// The problems found so far in one file.
#[derive(Debug)]
pub struct Problems<'a> {
    file: &'a SourceFile,
    code: &'static str,
    found: RefCell<Vec<Diagnostic>>,
}

/// A value and the bytes of the file it stands at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Byte range in the file.
    pub span: Range<usize>,
}

/// One table of the file.
#[derive(Debug)]
pub struct Section<'a> {
    /// Dotted name for messages; empty for the whole file.
    name: String,
    table: Option<&'a DeTable<'a>>,
    span: Range<usize>,
    asked: Vec<&'static str>,
    problems: &'a Problems<'a>,
}

/// Reads `file` and hands its root table to `read`. Gives what `read` gave, with all problems; `None` if the text is no TOML.
/// `code` marks the diagnostics.
pub fn read<T>(
    file: &SourceFile,
    code: &'static str,
    read: impl for<'a> FnOnce(Section<'a>) -> T,
) -> (Option<T>, Vec<Diagnostic>) {
    let problems = Problems { file, code, found: RefCell::new(Vec::new()) };
    let (root, errors) = DeTable::parse_recoverable(&file.text);
    for (span, text) in syntax_errors(&file.text, &errors) {
        problems.report(span, text, None);
    }
    let result = errors.is_empty().then(|| {
        read(Section {
            name: String::new(),
            table: Some(root.get_ref()),
            span: 0..0,
            asked: Vec::new(),
            problems: &problems,
        })
    });
    let mut found = problems.found.into_inner();
    found.sort_by_key(|problem| (problem.line, problem.column));
    (result, found)
}

/// Syntax errors with their places, each text in one line. A bracket that is not closed shows only where the next statement begins, and a
/// string of several lines at the end of the file or where another one opens: there it is what opens that is meant, and what follows from it
/// is left out.
pub(crate) fn syntax_errors(text: &str, errors: &[toml::de::Error]) -> Vec<(Range<usize>, String)> {
    let mut errors: Vec<(Range<usize>, &str)> =
        errors.iter().map(|error| (error.span().unwrap_or_default(), error.message())).collect();
    errors.sort_by_key(|(span, _)| span.start);
    let mut found = Vec::new();
    for (span, message) in errors {
        if let Some(position) = unclosed_long_string(text, &span) {
            found.push((position..position + 3, "this string is not closed".to_owned()));
            break;
        }
        if let Some((position, bracket)) = unclosed_bracket(text, span.start) {
            found.push((position..position + 1, format!("this {bracket} is not closed")));
            break;
        }
        // Of a line with a character of an input method the rest is read wrongly as well.
        if found.last().is_some_and(|(before, told): &(Range<usize>, String)| {
            told.ends_with(PLAIN) && on_one_line(text, before, &span)
        }) {
            continue;
        }
        // A section that is there in two forms is so at each of its places.
        let is_again = |other: &Range<usize>| {
            let key = |span: &Range<usize>| text.get(span.clone()).filter(|_| is_in_heading(text, span));
            *other != span && other.start < span.start && key(other).is_some() && key(other) == key(&span)
        };
        if message == DUPLICATE && found.iter().any(|(other, _)| is_again(other)) {
            continue;
        }
        let character = text.get(span.start..).and_then(|rest| rest.chars().next());
        let plain = character.and_then(|character| Some((character, plain_character(character)?)));
        found.push(match plain {
            Some((character, plain)) => (
                span.start..span.start + character.len_utf8(),
                format!("{character} is no mark of TOML: write {plain}, the {PLAIN}"),
            ),
            None if message == DUPLICATE => (span.clone(), duplicate_key(text, &span)),
            None => (span, message.lines().collect::<Vec<_>>().join(", ")),
        });
    }
    found
}

/// Whether a key stands in the heading of a section.
fn is_in_heading(text: &str, span: &Range<usize>) -> bool {
    let start = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
    text[start..span.start].trim_start().starts_with('[')
}

/// How a problem with a character of an input method ends.
const PLAIN: &str = "plain character";

/// What the crate toml says of a key, or a section, that is there already.
const DUPLICATE: &str = "duplicate key";

/// Names the key, and the line above it that it stands in as well.
fn duplicate_key(text: &str, span: &Range<usize>) -> String {
    let key = text.get(span.clone()).unwrap_or_default();
    let line_of = |start: usize| text[..start].matches('\n').count() + 1;
    let start = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next().unwrap_or_default().trim();
    let is_header = line.starts_with('[');
    // A key counts from the header of its section on.
    let lines: Vec<&str> = text[..start].lines().collect();
    let mut before = lines.iter().enumerate().rev();
    let is_key = |other: &str| other.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(['=', '.']));
    let first = before
        .find(|(_, other)| match is_header {
            true => other.split('#').next().is_some_and(|other| other.trim() == line),
            false => is_key(other.trim_start()) || other.starts_with('['),
        })
        .filter(|(_, other)| is_header || is_key(other.trim_start()))
        .map(|(index, _)| index + 1);
    match first.filter(|first| *first < line_of(span.start)) {
        Some(first) => format!("{DUPLICATE}: {key} stands in line {first} already"),
        None => format!("{DUPLICATE}: {key} is there twice"),
    }
}

fn on_one_line(text: &str, one: &Range<usize>, other: &Range<usize>) -> bool {
    text.get(one.start..other.start).is_some_and(|between| !between.contains('\n'))
}

/// Where a string of several lines opens that is not closed where it was meant to be: an error at the end of the file, which it takes up, or
/// behind the quotes that open the next such string, and close this one with statements in it.
fn unclosed_long_string(text: &str, error: &Range<usize>) -> Option<usize> {
    let mut position = 0;
    while let Some(character) = text[position..].chars().next() {
        let rest = &text[position..];
        let length = match character {
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '"' | '\'' => {
                let string = &rest[..string_length(rest, character)];
                let quotes = character.to_string().repeat(3);
                let is_closed = string.len() > 5 && string.ends_with(&quotes);
                let ends_at_error = position + string.len() == error.start && string.lines().skip(1).any(is_statement);
                if string.starts_with(&quotes) && if is_closed { ends_at_error } else { error.end + 1 >= text.len() } {
                    return Some(position);
                }
                string.len()
            }
            other => other.len_utf8(),
        };
        position += length;
    }
    None
}

/// Whether a line is a header or begins with a key: no path of HL7 v2 is in small letters alone.
fn is_statement(line: &str) -> bool {
    let key = line.split_once('=').map(|(key, _)| key.trim_end());
    let is_key = |key: &str| !key.is_empty() && key.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
    line.starts_with('[') && line.trim_end().ends_with(']') || key.is_some_and(is_key)
}

fn unclosed_bracket(text: &str, error: usize) -> Option<(usize, char)> {
    let (open, _) = brackets(text.get(..error)?, false);
    let (position, bracket) = open.last().copied()?;
    let line_start = text[..error].rfind('\n').map_or(0, |newline| newline + 1);
    if position >= line_start {
        return None;
    }
    let line = text[line_start..].lines().next().unwrap_or_default().trim_start();
    if text[..error].lines().next_back().is_some_and(has_open_quote) {
        return None;
    }
    let is_bare = |letter: char| letter.is_ascii_alphanumeric() || "_-.\"' ".contains(letter);
    let is_statement = line.starts_with('[') || line.split_once('=').is_some_and(|(key, _)| key.chars().all(is_bare));
    let is_first = text[line_start..error].trim().is_empty() || text[error..].starts_with([']', '\n', '\r']);
    let may_end_here = if bracket == '{' { is_first } else { is_statement } || text[error..].trim().is_empty();
    // What is closed further on is not what is missing.
    let is_closed = match brackets(&text[error..], true).1 {
        Some(closing) => bracket == '[' || closing == '}',
        None => false,
    };
    (may_end_here && !is_closed).then_some((position, bracket))
}

/// The brackets of values that are open at the end of a text, and the first closing one that nothing in the text opens. `is_value`:
/// whether the text begins within a value.
fn brackets(text: &str, mut is_value: bool) -> (Vec<(usize, char)>, Option<char>) {
    let mut open: Vec<(usize, char)> = Vec::new();
    let mut unopened = None;
    let mut position = 0;
    while let Some(character) = text[position..].chars().next() {
        let rest = &text[position..];
        let mut length = character.len_utf8();
        match character {
            '#' => length = rest.find('\n').unwrap_or(rest.len()),
            '"' | '\'' => length = string_length(rest, character),
            '\n' => is_value = !open.is_empty(),
            '=' => is_value = true,
            '[' | '{' if is_value => open.push((position, character)),
            // A header, `[tables]`.
            '[' => length = rest.find('\n').unwrap_or(rest.len()),
            ']' | '}' if open.pop().is_none() => unopened = unopened.or(Some(character)),
            _ => {}
        }
        position += length;
    }
    (open, unopened)
}

/// Whether a string opens in a line and does not end there: it hides the closing brackets after it.
fn has_open_quote(line: &str) -> bool {
    let mut position = 0;
    while let Some(character) = line[position..].chars().next() {
        position += match character {
            '#' => return false,
            '"' | '\'' => {
                let string = &line[position..position + string_length(&line[position..], character)];
                if string.len() < 2 || !string.ends_with(character) {
                    return true;
                }
                string.len()
            }
            other => other.len_utf8(),
        };
    }
    false
}

/// How long the string is that a text begins with, its quotes included; one that is not closed ends with its line.
fn string_length(text: &str, quote: char) -> usize {
    let triple = quote.to_string().repeat(3);
    let (quotes, is_long) = if text.starts_with(&triple) { (triple.as_str(), true) } else { (&triple[..1], false) };
    let mut position = quotes.len();
    while let Some(character) = text[position..].chars().next() {
        if text[position..].starts_with(quotes) {
            return position + quotes.len();
        }
        match character {
            '\n' if !is_long => return position,
            '\\' if quote == '"' => position += 1 + text[position + 1..].chars().next().map_or(0, char::len_utf8),
            character => position += character.len_utf8(),
        }
    }
    text.len()
}

impl Problems<'_> {
    /// Adds an error at `span`.
    pub fn report(&self, span: Range<usize>, text: impl Into<String>, hint: Option<String>) {
        let mut diagnostic = Diagnostic::error(self.file, span, self.code, text);
        diagnostic.hint = hint;
        self.found.borrow_mut().push(diagnostic);
    }

    /// Adds a warning at `span`.
    pub fn warn(&self, span: Range<usize>, text: impl Into<String>, hint: Option<String>) {
        let mut diagnostic = Diagnostic::warning(self.file, span, self.code, text);
        diagnostic.hint = hint;
        self.found.borrow_mut().push(diagnostic);
    }
}

impl<'a> Section<'a> {
    /// Where the table stands.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Where to report further problems.
    pub fn problems(&self) -> &'a Problems<'a> {
        self.problems
    }

    /// True if the key is written in the file.
    pub fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.iter().any(|(name, _)| name.get_ref() == key))
    }

    /// A text.
    pub fn text(&mut self, key: &'static str) -> Option<Placed<String>> {
        self.value(key, "a text", |value| value.as_str().map(str::to_owned))
    }

    /// A whole number.
    pub fn integer(&mut self, key: &'static str) -> Option<Placed<i64>> {
        self.value(key, "a whole number", |value| {
            let number = value.as_integer()?;
            i64::from_str_radix(number.as_str(), number.radix()).ok()
        })
    }

    /// A number, whole or not.
    pub fn number(&mut self, key: &'static str) -> Option<Placed<f64>> {
        self.value(key, "a number", |value| match value.as_float() {
            Some(float) => float.as_str().replace('_', "").parse().ok(),
            None => {
                let number = value.as_integer()?;
                i64::from_str_radix(number.as_str(), number.radix()).ok().map(|whole| whole as f64)
            }
        })
    }

    /// True or false.
    pub fn boolean(&mut self, key: &'static str) -> Option<Placed<bool>> {
        self.value(key, "true or false", |value| value.as_bool())
    }

    /// A list of texts.
    pub fn texts(&mut self, key: &'static str) -> Option<Vec<Placed<String>>> {
        self.value(key, "a list of texts", |value| {
            value
                .as_array()?
                .iter()
                .map(|item| item.get_ref().as_str().map(|text| Placed { value: text.to_owned(), span: item.span() }))
                .collect()
        })
        .map(|list| list.value)
    }

    /// A text that `parse` understands; its error text becomes the problem.
    pub fn parsed<T, E: std::fmt::Display>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Placed<T>> {
        let text = self.text(key)?;
        match parse(&text.value) {
            Ok(value) => Some(Placed { value, span: text.span }),
            Err(error) => {
                self.problems.report(text.span, format!("{}: {error}", self.path(key)), None);
                None
            }
        }
    }

    /// A text that must be there.
    pub fn required(&mut self, key: &'static str) -> Option<Placed<String>> {
        if !self.has(key) {
            self.asked.push(key);
            let path = self.path(key);
            self.problems.report(self.span.clone(), format!("{path} is missing"), None);
            return None;
        }
        self.text(key)
    }

    /// A table below this one; an empty one where the key is not written, so that defaults apply.
    pub fn section(&mut self, key: &'static str) -> Section<'a> {
        self.optional_section(key).unwrap_or_else(|| Section {
            name: self.path(key),
            table: None,
            span: self.span.clone(),
            asked: Vec::new(),
            problems: self.problems,
        })
    }

    /// A table below this one, if it is written.
    pub fn optional_section(&mut self, key: &'static str) -> Option<Section<'a>> {
        let value = self.find(key)?;
        match value.get_ref().as_table() {
            Some(table) => Some(self.below(self.path(key), table, value.span())),
            None => {
                self.mismatch(key, value, "a table");
                None
            }
        }
    }

    /// The tables of `[[key]]`.
    pub fn sections(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let Some(value) = self.find(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            self.mismatch(key, value, "a list of tables, written [[…]]");
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (index, item) in array.iter().enumerate() {
            match item.get_ref().as_table() {
                Some(table) => {
                    sections.push(self.below(format!("{}[{}]", self.path(key), index + 1), table, item.span()))
                }
                None => self.mismatch(key, item, "a table"),
            }
        }
        sections
    }

    /// Reports every key that nobody asked for.
    pub fn finish(self) {
        for (key, _) in self.table.into_iter().flat_map(|table| table.iter()) {
            let name: &str = key.get_ref();
            if !self.asked.contains(&name) {
                let hint = similar(name, self.asked.iter().copied()).map_or_else(
                    || format!("known here: {}", self.asked.join(", ")),
                    |known| format!("did you mean `{known}`?"),
                );
                self.problems.report(key.span(), format!("unknown key `{}`", self.path(name)), Some(hint));
            }
        }
    }

    fn below(&self, name: String, table: &'a DeTable<'a>, span: Range<usize>) -> Section<'a> {
        Section { name, table: Some(table), span, asked: Vec::new(), problems: self.problems }
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn find(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.push(key);
        self.table?.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    fn value<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        take: impl FnOnce(&DeValue<'a>) -> Option<T>,
    ) -> Option<Placed<T>> {
        let value = self.find(key)?;
        match take(value.get_ref()) {
            Some(taken) => Some(Placed { value: taken, span: value.span() }),
            None => {
                self.mismatch(key, value, expected);
                None
            }
        }
    }

    fn mismatch(&self, key: &str, value: &Spanned<DeValue<'_>>, expected: &str) {
        let found = value.get_ref().type_str();
        self.problems.report(value.span(), format!("{} must be {expected}, not {found}", self.path(key)), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_reported_with_its_place() {
        let file = SourceFile {
            name: "heyi.toml".to_owned(),
            text: "[http]\nlisten = 1\nlistne = \"x\"\n[[sources]]\nname = \"his\"\n".to_owned(),
        };
        let (found, problems) = read(&file, "C001", |mut root| {
            let mut http = root.section("http");
            assert_eq!(http.text("listen"), None);
            http.finish();
            let names: Vec<_> = root
                .sections("sources")
                .into_iter()
                .filter_map(|mut source| {
                    source.required("mapping");
                    let name = source.required("name");
                    source.finish();
                    name
                })
                .map(|name| name.value)
                .collect();
            root.finish();
            names
        });
        assert_eq!(found, Some(vec!["his".to_owned()]));
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "heyi.toml:2:10 error[C001]: http.listen must be a text, not integer",
                "heyi.toml:3:1 error[C001]: unknown key `http.listne` (did you mean `listen`?)",
                "heyi.toml:4:1 error[C001]: sources[1].mapping is missing",
            ]
        );
    }

    #[test]
    fn a_quote_that_hides_brackets_is_told_at_its_line() {
        let text = "a = [{ b = 'x',\n  c = \"its y }]\nd = [1]\n".to_owned();
        let (_, problems) = read(&SourceFile { name: "heyi.toml".to_owned(), text }, "C001", |_| ());
        assert!(problems.iter().any(|problem| problem.line == 2), "{problems:?}");
    }

    #[test]
    fn a_bracket_that_is_not_closed_is_named() {
        let line = |text: &str| {
            let file = SourceFile { name: "heyi.toml".to_owned(), text: text.to_owned() };
            let (_, problems) = read(&file, "C001", |_| ());
            (problems[0].line, problems[0].text.contains("is not closed"))
        };
        assert_eq!(line("a = [1, 2\nb = 1\n"), (1, true));
        assert_eq!(line("a = { b = 1\nc = 1\n"), (1, true));
        assert_eq!(line("a = [\n { b = '}' ,\n { c = 1 },\n]\n"), (2, true));
        assert_eq!(line("a = [1, \"[\", 2\n[http]\n"), (1, true));
        assert_eq!(line("# [\n[http]\na = [1,\n  x,\n]\n"), (4, false));
        assert_eq!(line("a = \"\"\"[\"\"\"\nb = x\n"), (2, false));
        assert_eq!(line("a = [\n  { b = 1 },\n   c = 1 },\n]\n[http]\nd = 1\n"), (3, false));
        assert_eq!(line("a = { b = 1,\n  c = x y\" }\nd = 1\n"), (2, false));
        assert_eq!(line("a = [1, 2\nb = [1]\n[http]\nc = { d = 1 }\n"), (1, true));
    }

    #[test]
    fn a_string_of_several_lines_that_is_not_closed_is_told_where_it_opens() {
        let told = |text: &str| {
            let file = SourceFile { name: "heyi.toml".to_owned(), text: text.to_owned() };
            let (_, problems) = read(&file, "C001", |_| ());
            (problems[0].line, problems[0].text == "this string is not closed")
        };
        assert_eq!(told("a = 'x'\nb = \"\"\"PV1 and\n  SCH\"\"\nc = [1]\n"), (2, true));
        assert_eq!(told("a = \"\"\"x\"\"\"\nb = '''y\nc = 1"), (2, true));
        assert_eq!(told("a = \"\"\"x\"\"\"\nb = y\n"), (2, false));
        // What closes it is meant to open the next one.
        assert_eq!(told("a = 1\nb = \"\"\"PV1 and\n  SCH\"\"\nc = \"\"\"DG1 and\n  PR1\"\"\"\n"), (2, true));
        assert_eq!(told("b = \"\"\"PV1\n  and PV1-2 = 'I'\"\"\" x\n"), (2, false));
        assert_eq!(told("# it's \"\"\"\na = \"x\nb = 1\n"), (2, false));
    }

    #[test]
    fn text_that_is_no_toml_says_where() {
        let file = SourceFile { name: "heyi.toml".to_owned(), text: "[http\nlisten = 1".to_owned() };
        let (found, problems) = read(&file, "C001", |_| ());
        assert_eq!(found, None);
        assert_eq!(problems.first().map(|problem| problem.line), Some(1));
    }
}
