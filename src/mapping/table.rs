//! Code tables: CSV files with the header `source,target,note`, beside the mapping.
//!
//! - A row with an empty target is a known code that says nothing: the field stays as it was and nothing is reported.
//! - A row whose source is `*` stands for all codes that have no row of their own, so none of them is unmapped.
//! - Several files may make one table; a later file's row replaces an earlier one's. A file may also be a FHIR ConceptMap.
//! - Codes are compared exactly, then without regard to ASCII case, because senders disagree about it. Rows that differ in case alone
//!   and have different targets are compared exactly only.
//! - Lines that start with `#` are comments.

use std::collections::HashMap;
use std::ops::Range;

use super::concept_map;
use crate::diagnostic::{Diagnostic, SourceFile};

/// A table of the mapping, ready for look-ups.
#[derive(Debug)]
pub(crate) struct Table {
    /// Its name in `[tables]`.
    pub(crate) name: String,
    exact: HashMap<String, Option<String>>,
    by_lower_case: HashMap<String, Option<String>>,
    /// As written, for explanations.
    rows: Vec<Row>,
}

/// The source of the row for all codes that have none of their own.
pub(crate) const OTHERS: &str = "*";

/// What a table says about a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Looked<'a> {
    /// This target.
    Target(&'a str),
    /// The code is known and says nothing.
    Nothing,
    /// The table does not know the code.
    Unknown,
}

/// One row of a table's file, with the place of the row for diagnostics.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) file: usize,
    pub(crate) span: Range<usize>,
    /// Where its target stands.
    pub(crate) target_span: Range<usize>,
    pub(crate) line: usize,
}

impl Table {
    /// The table of these rows, in order.
    pub(crate) fn new(name: &str, rows: &[Row]) -> Self {
        let mut exact = HashMap::with_capacity(rows.len());
        for row in rows {
            exact.insert(row.source.clone(), Some(row.target.clone()).filter(|target| !target.is_empty()));
        }
        // `G/L` and `g/L` are two units: a code that differs from both in case is neither.
        let mut by_lower_case: HashMap<String, Option<Option<String>>> = HashMap::with_capacity(exact.len());
        for (source, target) in &exact {
            by_lower_case
                .entry(source.to_ascii_lowercase())
                .and_modify(|known| *known = known.take().filter(|known| known == target))
                .or_insert_with(|| Some(target.clone()));
        }
        let by_lower_case = by_lower_case.into_iter().filter_map(|(source, target)| Some((source, target?))).collect();
        Self { name: name.to_owned(), exact, by_lower_case, rows: rows.to_vec() }
    }

    /// Looks up a code, blanks around it ignored.
    pub(crate) fn look_up(&self, code: &str) -> Looked<'_> {
        let code = code.trim();
        let row = self.exact.get(code).or_else(|| self.by_lower_case.get(&code.to_ascii_lowercase()));
        let row = row.or_else(|| self.exact.get(OTHERS));
        match row {
            Some(Some(target)) => Looked::Target(target),
            Some(None) => Looked::Nothing,
            None => Looked::Unknown,
        }
    }
}

impl Table {
    /// The row that [`Table::look_up`] goes by.
    pub(crate) fn row(&self, code: &str) -> Option<&Row> {
        let code = code.trim();
        let newest = |is_meant: &dyn Fn(&str) -> bool| self.rows.iter().rev().find(|row| is_meant(&row.source));
        let by_case = || self.by_lower_case.contains_key(&code.to_ascii_lowercase());
        newest(&|source| source == code)
            .or_else(|| newest(&|source| source.eq_ignore_ascii_case(code)).filter(|_| by_case()))
            .or_else(|| newest(&|source| source == OTHERS))
    }
}

/// Reads the rows of one file, `.json` as a FHIR ConceptMap. `index` is the file's number among the mapping's files.
pub(crate) fn rows(file: &SourceFile, index: usize, problems: &mut Vec<Diagnostic>) -> Vec<Row> {
    if file.name.ends_with(".json") {
        concept_map::rows(file, index, problems)
    } else {
        csv_rows(file, index, problems)
    }
}

fn csv_rows(file: &SourceFile, index: usize, problems: &mut Vec<Diagnostic>) -> Vec<Row> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .comment(Some(b'#'))
        .from_reader(file.text.as_bytes());
    let mut rows: Vec<Row> = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut header_seen = false;
    let mut columns = 0;
    let mut record = csv::StringRecord::new();
    loop {
        let start = usize::try_from(reader.position().byte()).unwrap_or(usize::MAX);
        match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {}
            Err(error) => {
                problems.push(Diagnostic::error(
                    file,
                    start..start + 1,
                    "M007",
                    format!("not readable as CSV: {error}"),
                ));
                break;
            }
        }
        // The reader's position before a record may stand before blank and comment lines; the record's own does not.
        let start = record.position().and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or(start);
        let span = line_span(&file.text, start);
        if !header_seen {
            header_seen = true;
            columns = record.len();
            let bom = '\u{feff}';
            if record.get(0).map(|name| name.trim_start_matches(bom)) != Some("source")
                || record.get(1) != Some("target")
            {
                problems.push(
                    Diagnostic::error(file, span, "M007", "a code table starts with the header source,target,note")
                        .hint("add the header line; lines that start with # are comments"),
                );
                break;
            }
            continue;
        }
        if let Some(open) = record.iter().find(|part| part.contains('\n')) {
            let text = format!("a quote is opened and not closed in this row: it takes {} lines", open.lines().count());
            problems.push(
                Diagnostic::error(file, span, "M007", text)
                    .hint("a quote within a value is written twice, in a value in quotes"),
            );
            continue;
        }
        let (source, target) = (record.get(0).unwrap_or_default(), record.get(1));
        let Some(target) = target else {
            problems.push(
                Diagnostic::error(file, span, "M007", "a row needs a source code and a target, separated by a comma")
                    .hint("an empty target means: this code is known and says nothing"),
            );
            continue;
        };
        if record.len() < columns {
            let text = format!("this row has {} columns and the header {columns}", record.len());
            problems.push(
                Diagnostic::warning(file, span.clone(), "M007", text)
                    .hint("is a comma missing? an empty note ends with one"),
            );
        }
        if (source, target) == ("source", "target") {
            problems.push(Diagnostic::error(file, span, "M007", "the header stands here once more"));
            continue;
        }
        if source.is_empty() {
            problems.push(Diagnostic::error(file, span, "M007", "a row needs a source code in its first column"));
            continue;
        }
        if let Some(&before) = seen.get(source) {
            let line = file.line(rows[before].span.start);
            problems.push(Diagnostic::error(
                file,
                span,
                "M007",
                format!("the code {source} has a row already, in line {line}"),
            ));
            continue;
        }
        seen.insert(source.to_owned(), rows.len());
        let line = file.line(span.start);
        let target_span = target_span(&file.text, &span, source, target);
        rows.push(Row { source: source.to_owned(), target: target.to_owned(), file: index, span, target_span, line });
    }
    rows
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<Row>, Vec<String>) {
        let file = SourceFile { name: "t.csv".to_owned(), text: text.to_owned() };
        let mut problems = Vec::new();
        let rows = rows(&file, 0, &mut problems);
        (rows, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_table_knows_targets_silent_codes_and_unknown_ones() {
        let (rows, problems) =
            read("# HL7 table 0001\nsource,target,note\nM,male,\n男,male,\nF , female,x\nA,,ambiguous\n");
        assert_eq!(problems, Vec::<String>::new());
        let table = Table::new("sex", &rows);
        for (code, expected) in [
            ("M", Looked::Target("male")),
            (" m ", Looked::Target("male")),
            ("男", Looked::Target("male")),
            ("F", Looked::Target("female")),
            ("A", Looked::Nothing),
            ("", Looked::Unknown),
            ("X", Looked::Unknown),
        ] {
            assert_eq!(table.look_up(code), expected, "{code}");
        }
    }

    #[test]
    fn case_decides_where_both_are_listed() {
        let (rows, _) = read("source,target\nm,minute\nM,mega\ng/L,gram\nG/L,giga\n");
        let table = Table::new("unit", &rows);
        assert_eq!(table.look_up("m"), Looked::Target("minute"));
        assert_eq!(table.look_up("M"), Looked::Target("mega"));
        assert_eq!(table.look_up("g/l"), Looked::Unknown);
    }

    #[test]
    fn one_row_may_stand_for_all_others() {
        let (rows, _) = read("source,target\nCT,imaging\n*,\n");
        let table = Table::new("kind", &rows);
        assert_eq!((table.look_up("ct"), table.look_up("XYZ")), (Looked::Target("imaging"), Looked::Nothing));
    }

    #[test]
    fn all_problems_of_a_file_are_found_at_their_lines() {
        let (_, problems) = read("source,target,note\nM,male,\n\nF\n,female,\nM,other,\n");
        assert_eq!(problems.len(), 3, "{problems:?}");
        for (problem, place) in problems.iter().zip(["t.csv:4:1", "t.csv:5:1", "t.csv:6:1"]) {
            assert!(problem.starts_with(place), "{problem}");
        }
        assert!(problems[2].contains("in line 2"), "{}", problems[2]);
        let (_, problems) = read("# a\n\n# b\nsource,target,note\nF,female\n\"M,male,\nX,other,\nsource,target,note\n");
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("t.csv:5:1 warning[M007]: this row has 2 columns"), "{}", problems[0]);
        assert!(problems[1].starts_with("t.csv:6:1 error[M007]: a quote is opened"), "{}", problems[1]);
        let (_, problems) = read("# a\nM,male\n");
        assert!(problems[0].starts_with("t.csv:2:1 error[M007]: a code table starts"), "{}", problems[0]);
        let (_, problems) = read("M,male\n");
        assert!(
            problems[0].starts_with("t.csv:1:1 error[M007]: a code table starts with the header"),
            "{}",
            problems[0]
        );
    }
}
