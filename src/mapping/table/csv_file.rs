//! The rows of a CSV file, and what is wrong with the file: its separators, its characters, its quotes.
//!
//! A file without a row is told by [`super::rows`]; what several files of a table say together is told by the check.

use std::collections::HashMap;
use std::ops::Range;

use super::Row;
use crate::diagnostic::{Diagnostic, SourceFile};
use crate::mapping::other_encoding;

/// What stands between columns in files that are no CSV with commas: other programs write tabs and semicolons, input methods full-width marks.
const OTHER_SEPARATORS: &[(char, &str)] = &[
    ('\t', "tabs"),
    (';', "semicolons"),
    ('，', "full-width commas ，"),
    ('；', "full-width semicolons ；"),
    ('|', "bars |"),
];

/// The first columns of the header.
const HEADER: &str = "source,target";

pub(super) fn rows(file: &SourceFile, index: usize, problems: &mut Vec<Diagnostic>) -> Vec<Row> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .comment(Some(b'#'))
        .from_reader(file.text.as_bytes());
    let mut rows: Vec<Row> = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut columns = None;
    // Rows with another separator than a comma: of each the first, and how many more there are.
    let mut otherwise: Vec<(&str, Range<usize>, usize)> = Vec::new();
    let mut record = csv::StringRecord::new();
    loop {
        let start = usize::try_from(reader.position().byte()).unwrap_or(usize::MAX);
        match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {}
            Err(error) => {
                let text = format!("not readable as CSV: {error}");
                problems.push(Diagnostic::error(file, start..start + 1, "M007", text));
                break;
            }
        }
        // The reader's position before a record may stand before blank and comment lines; the record's own does not.
        let start = record.position().and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or(start);
        let span = line_span(&file.text, start);
        let Some(columns) = columns else {
            columns = Some(record.len());
            if !is_header(&record) {
                problems.push(no_header(file, span));
                return rows;
            }
            continue;
        };
        let (source, target) = (record.get(0).unwrap_or_default(), record.get(1));
        if target.is_none()
            && let Some(name) = other_separator(source)
        {
            match otherwise.iter_mut().find(|(known, ..)| *known == name) {
                Some((.., more)) => *more += 1,
                None => otherwise.push((name, span, 0)),
            }
            continue;
        }
        match row_problem(file, &record, columns, span.clone()) {
            Some(problem) if problem.is_error() => {
                problems.push(problem);
                continue;
            }
            warning => problems.extend(warning),
        }
        if let Some(&before) = seen.get(source) {
            let line = file.line(rows[before].span.start);
            let text = format!("the code {source} has a row already, in line {line}");
            problems.push(Diagnostic::error(file, span, "M007", text));
            continue;
        }
        let target = target.unwrap_or_default();
        seen.insert(source.to_owned(), rows.len());
        let line = file.line(span.start);
        let target_span = target_span(&file.text, &span, source, target);
        invisible_characters(file, &span, &[source, target], problems);
        let note = record.get(2).unwrap_or_default().to_owned();
        let (source, target) = (source.to_owned(), target.to_owned());
        rows.push(Row { source, target, file: index, span, target_span, line, note });
    }
    for (name, span, more) in otherwise {
        let lines = if more > 0 { format!("this row and {more} more have") } else { "this row has".to_owned() };
        let text = format!("{lines} {name} between the columns");
        problems.push(
            Diagnostic::error(file, span, "M007", text).hint("the columns of a code table are separated by commas"),
        );
    }
    if columns.is_none() {
        let text = "this file is empty: a code table starts with the header source,target,note";
        problems.push(Diagnostic::error(file, 0..0, "M007", text).hint("fill it, or leave it out of [tables]"));
    }
    if let Some((place, text)) = other_encoding::misread(&file.text) {
        problems.push(Diagnostic::warning(file, place, "M007", text).hint(other_encoding::HINT));
    }
    rows
}

fn is_header(record: &csv::StringRecord) -> bool {
    let bom = '\u{feff}';
    record.get(0).map(|name| name.trim_start_matches(bom)) == Some("source") && record.get(1) == Some("target")
}

/// What is wrong with a first line that is no header.
fn no_header(file: &SourceFile, span: Range<usize>) -> Diagnostic {
    let written = file.text.get(span.clone()).unwrap_or_default().trim_start_matches('\u{feff}');
    let small = written.to_lowercase();
    let (text, hint) = match other_separator(written) {
        Some(name) if small.replace(|letter: char| is_separator(letter), ",").replace(' ', "").starts_with(HEADER) => (
            format!("this file has {name} between its columns"),
            "the columns of a code table are separated by commas: save it as CSV (comma delimited)",
        ),
        _ if small.replace(' ', "").starts_with(HEADER) => {
            ("a code table starts with the header source,target,note".to_owned(), "write it in small letters")
        }
        _ => (
            "a code table starts with the header source,target,note".to_owned(),
            "add the header line; lines that start with # are comments",
        ),
    };
    Diagnostic::error(file, span, "M007", text).hint(hint)
}

fn is_separator(letter: char) -> bool {
    OTHER_SEPARATORS.iter().any(|(separator, _)| *separator == letter)
}

fn other_separator(line: &str) -> Option<&'static str> {
    OTHER_SEPARATORS.iter().find(|(separator, _)| line.contains(*separator)).map(|(_, name)| *name)
}

/// What is wrong with one row by itself.
fn row_problem(
    file: &SourceFile,
    record: &csv::StringRecord,
    columns: usize,
    span: Range<usize>,
) -> Option<Diagnostic> {
    if let Some(open) = record.iter().find(|part| part.contains('\n')) {
        let text = format!("a quote is opened and not closed in this row: it takes {} lines", open.lines().count());
        let hint = "a quote within a value is written twice, in a value in quotes";
        return Some(Diagnostic::error(file, span, "M007", text).hint(hint));
    }
    let source = record.get(0).unwrap_or_default();
    let Some(target) = record.get(1) else {
        let text = "a row needs a source code and a target, separated by a comma";
        let hint = "an empty target means: this code is known and says nothing";
        return Some(Diagnostic::error(file, span, "M007", text).hint(hint));
    };
    if (source, target) == ("source", "target") {
        return Some(Diagnostic::error(file, span, "M007", "the header stands here once more"));
    }
    if source.is_empty() {
        return Some(Diagnostic::error(file, span, "M007", "a row needs a source code in its first column"));
    }
    (record.len() < columns).then(|| {
        let text = format!("this row has {} columns and the header {columns}", record.len());
        Diagnostic::warning(file, span, "M007", text).hint("is a comma missing? an empty note ends with one")
    })
}

/// A character that nobody sees, such as one that was copied from a web page or a word processor: the code is another one than it seems.
fn invisible_characters(file: &SourceFile, line: &Range<usize>, cells: &[&str], problems: &mut Vec<Diagnostic>) {
    let Some((cell, character)) =
        cells.iter().find_map(|cell| Some((cell, cell.chars().find(|character| is_invisible(*character))?)))
    else {
        return;
    };
    let written = file.text.get(line.clone()).unwrap_or_default();
    let start = line.start + written.find(character).unwrap_or(0);
    let shown: String = cell.chars().filter(|character| !is_invisible(*character)).collect();
    let text = format!("a character that nobody sees (U+{:04X}) stands in {shown}", u32::from(character));
    let problem = Diagnostic::warning(file, start..start + character.len_utf8(), "M007", text);
    problems.push(problem.hint(format!("write {shown} anew")));
}

/// Unicode's default ignorable characters that come with copied text, control characters, and blanks that are not the plain one.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{a0}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
        )
}

/// Where the target stands in the line of a row; the whole line, where it is written otherwise than it reads.
fn target_span(text: &str, line: &Range<usize>, source: &str, target: &str) -> Range<usize> {
    let written = text.get(line.clone()).unwrap_or_default();
    let behind = written.find(source).map(|start| start + source.len());
    let comma = behind.and_then(|behind| Some(behind + written.get(behind..)?.find(',')? + 1));
    let start = comma.and_then(|comma| Some(comma + written.get(comma..)?.find(target)?));
    start
        .filter(|_| !target.is_empty())
        .map_or_else(|| line.clone(), |start| line.start + start..line.start + start + target.len())
}

/// The first line from `start` that is neither blank nor a comment.
fn line_span(text: &str, start: usize) -> Range<usize> {
    let mut start = text.floor_char_boundary(start);
    loop {
        let length = text[start..].find(['\r', '\n']).unwrap_or(text.len() - start);
        let line = &text[start..start + length];
        if start + length >= text.len() || !(line.is_empty() || line.starts_with('#')) {
            return start..start + length;
        }
        start += length + 1;
    }
}
