//! Code tables: CSV files with the header `source,target,note`, beside the mapping.
//!
//! - A row with an empty target is a known code that says nothing: the field stays as it was and nothing is reported.
//! - A row whose source is `*` stands for all codes that have no row of their own, so none of them is unmapped.
//! - Several files may make one table; a later file's row replaces an earlier one's. A file may also be a FHIR ConceptMap.
//! - Codes are compared exactly, then without regard to ASCII case, because senders disagree about it. Rows that differ in case alone
//!   and have different targets are compared exactly only.
//! - Lines that start with `#` are comments.

mod csv_file;

use std::collections::HashMap;
use std::ops::Range;

use super::concept_map;
use crate::diagnostic::{Diagnostic, SourceFile};
use crate::hl7v2::path::trimmed;

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
    /// Its note.
    pub(crate) note: String,
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
        let code = trimmed(code);
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
    let before = problems.len();
    let rows = if file.name.ends_with(".json") {
        concept_map::rows(file, index, problems)
    } else {
        csv_file::rows(file, index, problems)
    };
    if rows.is_empty() && problems.len() == before {
        let text = "this table has no row: it knows no code";
        problems.push(Diagnostic::warning(file, 0..0, "M007", text).hint("add rows, or leave the file out"));
    }
    rows
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
    fn files_that_are_no_code_tables_are_told_once_each() {
        for (text, place, part) in [
            ("", "t.csv:1:1 error[M007]", "this file is empty"),
            ("# only a comment\n", "t.csv:1:1 error[M007]", "this file is empty"),
            ("source,target,note\n", "t.csv:1:1 warning[M007]", "this table has no row"),
            ("Source, Target\nM,male\n", "t.csv:1:1 error[M007]", "in small letters"),
            ("source;target;note\nM;male;\n", "t.csv:1:1 error[M007]", "semicolons between its columns"),
            ("source\ttarget\tnote\nM\tmale\t\n", "t.csv:1:1 error[M007]", "tabs between its columns"),
            ("source，target，note\nM，male，\n", "t.csv:1:1 error[M007]", "full-width commas"),
            ("source,target,note\nM；male；\nF；female；\n", "t.csv:2:1 error[M007]", "this row and 1 more have"),
            (
                "source,target,note\nM,male,\n1\u{200b},male,\n",
                "t.csv:3:2 warning[M007]",
                "(U+200B) stands in 1 (write 1",
            ),
            ("source,target,note\nM,ma\u{ad}le,\n", "t.csv:2:5 warning[M007]", "(U+00AD) stands in male"),
            // 女 and 未知 in GB 18030, whose bytes are UTF-8 as well.
            ("source,target,note\nŮ,female,\n", "t.csv:2:1 warning[M007]", "Ů is 女 in GB18030"),
            ("source,target,note\nδ\u{5aa},unknown,\n", "t.csv:2:1 warning[M007]", "is 未知 in GB18030"),
        ] {
            let (_, problems) = read(text);
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
            assert!(problems[0].starts_with(place) && problems[0].contains(part), "{text}: {}", problems[0]);
        }
        let (rows, problems) = read("source,target,note\nµ,a,\nmuž,b,\nМужской,c,\n±,d,\nβ,e,\n女,f,\n");
        assert_eq!((rows.len(), problems), (6, Vec::new()));
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
