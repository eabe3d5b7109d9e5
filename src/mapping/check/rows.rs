//! What the rows of one table say together, whichever files they stand in: rows that repeat others, codes that only seem to be others.

use std::collections::HashMap;
use std::ops::Range;

use super::Checker;
use super::vocabulary::Vocabulary;
use crate::diagnostic::{Diagnostic, plain_characters};
use crate::mapping::table::Row;

impl Checker<'_, '_, '_> {
    /// Rows that say what a file before them says already.
    pub(super) fn repeated_rows(&mut self, rows: &[Row]) {
        let mut known: HashMap<&str, &Row> = HashMap::new();
        for row in rows {
            let before = known.insert(&row.source, row);
            if let Some(before) = before.filter(|before| before.target == row.target && before.file != row.file) {
                let text = format!("{} says this of {} already", self.place_of(before), row.source);
                self.reader.warn(row.file, row.span.clone(), "M024", text, "remove the row");
            }
        }
    }

    /// Rows that differ in case alone. In units it has a meaning: `g/L`, `G/L`.
    pub(super) fn rows_of_other_case(&mut self, rows: &[Row], vocabulary: Option<Vocabulary>) {
        if vocabulary == Some(Vocabulary::Units) {
            return;
        }
        let mut known: HashMap<String, &Row> = HashMap::new();
        for row in rows {
            let Some(before) = known.insert(row.source.to_ascii_lowercase(), row) else { continue };
            if before.source == row.source {
                continue;
            }
            let (one, other, place) = (&row.source, &before.source, self.place_of(before));
            if before.target == row.target {
                let text = format!("{place} says this of {other} already, and {one} differs in case alone");
                self.tell(
                    row,
                    row.span.clone(),
                    "M024",
                    text,
                    "remove the row: codes are found without regard to case",
                );
            } else {
                let text = format!("{one} differs from {other} ({place}) in case alone and has another target");
                let hint = format!("is {other} meant? each of the two is found exactly as written only");
                self.tell(row, row.span.clone(), "M007", text, &hint);
            }
        }
    }

    /// Codes with the marks of other programs: a comment that is none, a wildcard that stands for itself. `vocabulary`: of what the targets are.
    pub(super) fn marks_in_rows(&mut self, rows: &[Row], vocabulary: Option<Vocabulary>) {
        for row in rows {
            let span = row.span.start..row.span.start + row.source.len();
            let stem = row.source.strip_suffix('*').unwrap_or_default();
            let is_wildcard = !stem.is_empty() && stem.chars().all(char::is_alphanumeric);
            if let Some(said) = ["//", "--"].iter().find_map(|mark| row.source.strip_prefix(mark)).map(str::trim)
                && said.chars().any(char::is_alphanumeric)
            {
                let text = format!("{} is a code here, and nobody sends it", row.source);
                self.tell(row, span, "M021", text, &format!("a comment begins with #: # {said}"));
            } else if is_wildcard && vocabulary.is_none() {
                let text = format!("* stands for itself here, so {} is hardly sent", row.source);
                self.tell(
                    row,
                    span,
                    "M021",
                    text,
                    "list the codes; a row whose source is * alone stands for all others",
                );
            }
        }
    }

    /// Codes and targets in the full-width letters and digits of an input method. Who sends both forms has a row for each.
    pub(super) fn full_width_rows(&mut self, rows: &[Row]) {
        let is_wide = |text: &str| text.chars().any(|letter| matches!(letter, '０'..='９' | 'Ａ'..='Ｚ' | 'ａ'..='ｚ'));
        for row in rows.iter().filter(|row| is_wide(&row.source)) {
            let meant = plain_characters(&row.source);
            if !rows.iter().any(|other| other.source.eq_ignore_ascii_case(&meant)) {
                let text = format!(
                    "{} is in full-width characters: a message that sends {meant} does not find it",
                    row.source
                );
                let hint = format!("write {meant}; if both are sent, each has a row");
                self.tell(row, row.span.start..row.span.start + row.source.len(), "M007", text, &hint);
            }
        }
        for row in rows.iter().filter(|row| is_wide(&row.target) && row.target != row.source) {
            let meant = plain_characters(&row.target);
            if meant.is_ascii() {
                let text = format!("the target {} is in full-width characters", row.target);
                self.tell(row, row.target_span.clone(), "M007", text, &format!("write {meant}"));
            }
        }
    }

    fn place_of(&self, row: &Row) -> String {
        let file = &self.reader.files[row.file];
        format!("{}:{}", file.name, file.line(row.span.start))
    }

    /// Tells of a row once: a file may belong to several tables, and one mistake may be two.
    pub(super) fn tell(&mut self, row: &Row, span: Range<usize>, code: &'static str, text: String, hint: &str) {
        let file = &self.reader.files[row.file];
        let is_told = |found: &Diagnostic| found.file == file.name && found.line == row.line;
        if !self.reader.problems.iter().any(is_told) {
            self.reader.warn(row.file, span, code, text, hint);
        }
    }
}
