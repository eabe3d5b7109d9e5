//! How commands print: tables and JSON on standard output, complaints on standard error.
//!
//! What senders wrote may hold control characters, which a terminal would obey: none of them leaves this room.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::diagnostic::Diagnostic;

/// What stands for a control character.
const CONTROL: &str = "·";

/// Text without control characters; line ends stay.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    let is_control = |c: char| c.is_control() && c != '\n';
    if text.contains(is_control) { Cow::Owned(text.replace(is_control, CONTROL)) } else { Cow::Borrowed(text) }
}

/// One line to standard output. A closed pipe (`heyi … | head`) comes back as an error and ends the command.
pub(super) fn line(text: impl std::fmt::Display) -> anyhow::Result<()> {
    Ok(writeln!(writer()?, "{}", printable(&text.to_string()))?)
}

/// Standard output, once what is told is in the audit trail.
pub(super) fn writer() -> anyhow::Result<io::StdoutLock<'static>> {
    super::audited::before_output()?;
    Ok(io::stdout().lock())
}

/// A value as indented JSON.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(json_escaped(&serde_json::to_string_pretty(value)?))
}

/// JSON with U+007F to U+009F written as escapes, which serde_json leaves as they are; they can stand in texts only.
fn json_escaped(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut text, c| {
        if ('\u{7f}'..='\u{9f}').contains(&c) {
            // Writing into a String does not fail.
            let _ = write!(text, "\\u{:04x}", u32::from(c));
        } else {
            text.push(c);
        }
        text
    })
}

/// JSON as it was written, with line ends and blanks anew: nothing else of it changes, neither the order of members nor a number.
pub(super) fn indented(json: &str) -> String {
    const STEP: &str = "  ";
    let mut text = String::with_capacity(json.len() * 2);
    let (mut depth, mut is_open, mut in_string, mut is_escaped) = (0_usize, false, false, false);
    let new_line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n(STEP, depth));
    };
    for c in json.chars().filter(|c| !matches!(c, '\r' | '\n' | '\t')) {
        if in_string {
            text.push(c);
            in_string = is_escaped || c != '"';
            is_escaped = !is_escaped && c == '\\';
            continue;
        }
        match c {
            ' ' => continue,
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                if !is_open {
                    new_line(&mut text, depth);
                }
            }
            _ if is_open => new_line(&mut text, depth),
            _ => {}
        }
        text.push(c);
        is_open = matches!(c, '{' | '[');
        match c {
            '{' | '[' => depth += 1,
            ',' => new_line(&mut text, depth),
            ':' => text.push(' '),
            '"' => in_string = true,
            _ => {}
        }
    }
    json_escaped(&text)
}

/// A message to standard error, as `heyi: …`.
pub(super) fn complain(text: &str) {
    // Nobody is left to tell when standard error itself is closed.
    let _ = writeln!(io::stderr().lock(), "heyi: {}", printable(text));
}

/// Problems in files, each with its line and a caret.
pub(super) fn diagnostics(problems: &[Diagnostic]) {
    let mut errors = io::stderr().lock();
    let coloured = errors.is_terminal();
    for problem in problems {
        let _ = writeln!(errors, "{}\n", problem.render(coloured));
    }
}

/// True if the error is only that nobody reads our output any more.
pub(super) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let kind = if let Some(error) = cause.downcast_ref::<io::Error>() {
            Some(error.kind())
        } else if let Some(error) = cause.downcast_ref::<serde_json::Error>() {
            error.io_error_kind()
        } else if let Some(csv::ErrorKind::Io(error)) = cause.downcast_ref().map(csv::Error::kind) {
            Some(error.kind())
        } else {
            None
        };
        kind == Some(io::ErrorKind::BrokenPipe)
    })
}

/// Rows under headings, columns as wide as their widest cell. Widths count Chinese characters as two.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
    let one_line = |cell: &String| cell.replace(char::is_control, CONTROL);
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(one_line).collect()).collect();
    let mut widths: Vec<usize> = headings.iter().map(|heading| width(heading)).collect();
    for row in &rows {
        for (cell, widest) in row.iter().zip(&mut widths) {
            *widest = (*widest).max(width(cell));
        }
    }
    let heading: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    for row in std::iter::once(&heading).chain(&rows) {
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

/// A time of the store as people read it: local to this machine, whole seconds, with its offset from UTC.
pub(super) fn local_time(microseconds: i64) -> String {
    Timestamp::from_microsecond(microseconds)
        .map(|time| time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S%:z").to_string())
        .unwrap_or_default()
}

/// The same of a time in a document; as it stands where it is none.
pub(super) fn local_text(text: &str) -> String {
    text.parse::<Timestamp>().map_or_else(|_| text.to_owned(), |time| local_time(time.as_microsecond()))
}

/// A time as people write it: RFC 3339, or without an offset, then local to this machine; a day alone is its beginning.
pub(super) fn read_time(text: &str) -> Result<Timestamp, &'static str> {
    const WRONG: &str = "write 2026-11-22, 2026-11-22T08:00 (local) or 2026-11-22T08:00:00+08:00";
    text.parse().or_else(|_| {
        let local: DateTime = text.parse().map_err(|_| WRONG)?;
        Ok(local.to_zoned(TimeZone::system()).map_err(|_| WRONG)?.timestamp())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_reaches_a_terminal() {
        assert_eq!(printable("张\u{1b}[2J\u{9b}\r\nB"), "张·[2J··\nB");
        assert_eq!(printable("张三"), "张三");
        assert_eq!(json_escaped("\"张\u{9b}\u{7f}\""), "\"张\\u009b\\u007f\"");
    }

    #[test]
    fn json_is_set_out_as_it_was_written() {
        let json = r#"{ "z":[1.50, {}, []],"a" : "b: [\"{,\\", "n":{"m":null} }"#;
        let shown = "{\n  \"z\": [\n    1.50,\n    {},\n    []\n  ],\n  \"a\": \"b: [\\\"{,\\\\\",\n  \"n\": {\n    \"m\": null\n  }\n}";
        assert_eq!(indented(json), shown);
        assert_eq!(indented(&shown.replace('\n', "\r\n")), shown);
    }

    #[test]
    fn a_closed_pipe_is_found_whatever_wraps_it() {
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_closed_pipe(&anyhow::Error::new(closed()).context("while listing")));
        assert!(is_closed_pipe(&serde_json::Error::io(closed()).into()));
        assert!(is_closed_pipe(&csv::Error::from(closed()).into()));
        assert!(!is_closed_pipe(&io::Error::from(io::ErrorKind::NotFound).into()));
    }

    #[test]
    fn a_time_is_read_with_an_offset_or_as_local() {
        let local = |text: &str| read_time(text).map(|time| time.to_zoned(TimeZone::system()).datetime().to_string());
        assert_eq!(local("2026-11-22").as_deref(), Ok("2026-11-22T00:00:00"));
        assert_eq!(local("2026-11-22T08:00").as_deref(), Ok("2026-11-22T08:00:00"));
        assert_eq!(read_time("2026-11-22T08:00:00+08:00"), Ok("2026-11-22T00:00:00Z".parse().unwrap()));
        assert!(read_time("yesterday").is_err());
        // As it is shown, it is read again.
        assert_eq!(read_time(&local_time(1_700_000_000_000_000)).map(Timestamp::as_second), Ok(1_700_000_000));
    }

    #[test]
    fn chinese_characters_take_two_columns() {
        assert_eq!(width("张三 A"), 6);
        assert_eq!(width(""), 0);
    }
}
