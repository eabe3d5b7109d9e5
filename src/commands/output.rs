//! How commands print: tables and JSON on standard output, complaints on standard error.

use std::io::{IsTerminal, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::diagnostic::Diagnostic;

/// One line to standard output. A closed pipe (`heyi … | head`) comes back as an error and ends the command.
pub(super) fn line(text: impl std::fmt::Display) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{text}")?)
}

/// A value as indented JSON.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?)
}

/// A message to standard error, as `heyi: …`.
pub(super) fn complain(text: &str) {
    // Nobody is left to tell when standard error itself is closed.
    let _ = writeln!(std::io::stderr().lock(), "heyi: {text}");
}

/// Problems in files, each with its line and a caret.
pub(super) fn diagnostics(problems: &[Diagnostic]) {
    let mut errors = std::io::stderr().lock();
    let coloured = errors.is_terminal();
    for problem in problems {
        let _ = writeln!(errors, "{}\n", problem.render(coloured));
    }
}

/// True if the error is only that nobody reads our output any more.
pub(super) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Rows under headings, columns as wide as their widest cell. Widths count Chinese characters as two.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
    let mut widths: Vec<usize> = headings.iter().map(|heading| width(heading)).collect();
    for row in rows {
        for (cell, widest) in row.iter().zip(&mut widths) {
            *widest = (*widest).max(width(cell));
        }
    }
    let heading: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    for row in std::iter::once(&heading).chain(rows) {
        let mut text = String::new();
        for (index, (cell, widest)) in row.iter().zip(&widths).enumerate() {
            text.push_str(cell);
            if index + 1 < row.len() {
                text.extend(std::iter::repeat_n(' ', widest.saturating_sub(width(cell)) + 2));
            }
        }
        line(text.trim_end())?;
    }
    Ok(())
}

/// Columns that a text takes on a terminal: East Asian wide characters take two.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// A time of the store as people read it: local to this machine, whole seconds.
pub(super) fn local_time(microseconds: i64) -> String {
    Timestamp::from_microsecond(microseconds)
        .map(|time| time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_characters_take_two_columns() {
        assert_eq!(width("张三 A"), 6);
        assert_eq!(width(""), 0);
    }
}
