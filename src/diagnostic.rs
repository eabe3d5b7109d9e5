//! Problems in files that people write (configuration, mappings, code tables), each with its place and a way out.
//!
//! Invariants
//! - A reader of files collects all problems of a file and returns them together; it never stops at the first.
//! - A diagnostic carries the line it speaks of, so showing it reads no file.
//! - Nothing here knows what the files mean. The crates annotate-snippets and strsim are named in this file only.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but probably does not do what was meant.
    Warning,
}

/// One problem at one place of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The file as its reader names it, relative to the configuration's root where it lies below it.
    pub file: String,
    /// 1-based line; 0 if the problem is the file itself (it cannot be read).
    pub line: usize,
    /// 1-based column, in characters; 0 as for the line.
    pub column: usize,
    /// How many characters of that line are meant, at least 1.
    pub length: usize,
    /// Error or warning.
    pub severity: Severity,
    /// Stable code, for example `M004`, to search for in the documentation.
    pub code: &'static str,
    /// What is wrong, one sentence without a full stop.
    pub text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The line as it stands in the file.
    #[serde(skip)]
    excerpt: String,
}

impl Diagnostic {
    /// An error about `span` (bytes) of `file`.
    pub fn error(file: &SourceFile, span: Range<usize>, code: &'static str, text: impl Into<String>) -> Self {
        Self::at(file, span, Severity::Error, code, text.into())
    }

    /// A warning about `span` (bytes) of `file`.
    pub fn warning(file: &SourceFile, span: Range<usize>, code: &'static str, text: impl Into<String>) -> Self {
        Self::at(file, span, Severity::Warning, code, text.into())
    }

    /// An error about a file that has no text to point at.
    pub fn unreadable(file: impl Into<String>, code: &'static str, text: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line: 0,
            column: 0,
            length: 1,
            severity: Severity::Error,
            code,
            text: text.into(),
            hint: None,
            excerpt: String::new(),
        }
    }

    /// The same with a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// True if the file cannot be used.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Whether `other` begins within the characters that this one is about.
    pub fn holds(&self, other: &Self) -> bool {
        (&self.file, self.line) == (&other.file, other.line)
            && (self.column..self.column + self.length).contains(&other.column)
    }

    fn at(file: &SourceFile, span: Range<usize>, severity: Severity, code: &'static str, text: String) -> Self {
        let start = file.text.floor_char_boundary(span.start);
        let line_start = file.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = file.text[start..].find('\n').map_or(file.text.len(), |newline| start + newline);
        let end = file.text.floor_char_boundary(span.end).clamp(start, line_end);
        Self {
            file: file.name.clone(),
            line: file.line(start),
            column: file.text[line_start..start].chars().count() + 1,
            length: file.text[start..end].chars().count().max(1),
            severity,
            code,
            text,
            hint: None,
            excerpt: file.text[line_start..line_end].trim_end_matches('\r').to_owned(),
        }
    }

    /// The problem in one line, and the line of the file with a caret under it, in colour if asked.
    pub fn render(&self, coloured: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        if self.line == 0 {
            return self.to_string();
        }
        let position = |characters: usize| {
            self.excerpt.char_indices().nth(characters).map_or(self.excerpt.len(), |(position, _)| position)
        };
        let start = position(self.column - 1);
        let end = position(self.column - 1 + self.length).max(start);
        // The first line is the one that other programs read as well; the excerpt need not say it again.
        let snippet = Snippet::source(self.excerpt.as_str())
            .line_start(self.line)
            .annotation(AnnotationKind::Primary.span(start..end));
        let renderer = if coloured { Renderer::styled() } else { Renderer::plain() };
        format!("{self}\n{}", renderer.render(&[Group::with_level(level).element(snippet)]))
    }
}

/// One line: `mappings/his.toml:8:16 error[M004]: …`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.file)?;
        if self.line > 0 {
            write!(formatter, ":{}:{}", self.line, self.column)?;
        }
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(formatter, " {severity}[{}]: {}", self.code, self.text)?;
        match &self.hint {
            Some(hint) => write!(formatter, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// A file that was read, with the name that diagnostics use.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// Name for people.
    pub name: String,
    /// Its whole text.
    pub text: String,
}

impl SourceFile {
    /// The 1-based line of a byte position.
    pub fn line(&self, position: usize) -> usize {
        let position = position.min(self.text.len());
        self.text.as_bytes()[..position].iter().filter(|&&byte| byte == b'\n').count() + 1
    }
}

/// What of `known` was probably meant by `written`: the nearest by edit distance without regard to case, if it is near enough to be a
/// slip. Of several that are as near, the first that is nearest with regard to case.
pub fn similar<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = written.chars().count().div_ceil(3);
    let small = written.to_lowercase();
    let distance = |candidate: &str| {
        let without_case = strsim::osa_distance(&small, &candidate.to_lowercase());
        (without_case <= allowed).then(|| (without_case, strsim::osa_distance(written, candidate)))
    };
    known
        .into_iter()
        .filter_map(|candidate| Some((distance(candidate)?, candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Most words that a message lists; of more nobody reads all.
const MOST_LISTED: usize = 12;

/// Words for a message: all, or of many the first and how many there are.
pub fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.into_iter().collect();
    match words.len() {
        ..=MOST_LISTED => words.join(", "),
        many => format!("{}, … ({many} in all)", words[..MOST_LISTED / 2].join(", ")),
    }
}

/// What was meant by a character of an input method or a word processor where a file wants plain ones: curly quotes, full-width marks
/// and letters (Unicode, Halfwidth and Fullwidth Forms), an ideographic blank.
pub fn plain_character(character: char) -> Option<char> {
    Some(match character {
        '‘' | '’' | '‚' | '‛' | '＇' | '′' | '´' => '\'',
        '“' | '”' | '„' | '‟' | '＂' | '″' | '「' | '」' | '『' | '』' => '"',
        '【' => '[',
        '】' => ']',
        '、' => ',',
        '。' => '.',
        '–' | '—' | '−' | '‐' | '‑' => '-',
        '\u{3000}' | '\u{a0}' => ' ',
        '＝' => '=',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(character) - 0xfee0)?,
        _ => return None,
    })
}

/// A text with the plain characters for those of an input method.
pub fn plain_characters(text: &str) -> String {
    text.chars().map(|character| plain_character(character).unwrap_or(character)).collect()
}

/// What was meant by a code or URL with full-width letters, digits, colons or slashes in it; `None`: it has none, or is no plain text
/// without them either, as a word of Chinese with its own brackets.
pub fn plain_text(text: &str) -> Option<String> {
    let is_wide = |letter: char| matches!(letter, '０'..='９' | 'Ａ'..='Ｚ' | 'ａ'..='ｚ' | '：' | '／');
    text.contains(is_wide).then(|| plain_characters(text)).filter(|plain| plain.is_ascii())
}

/// Whether two words differ by one letter: put in, left out, exchanged, or two that have changed places.
pub fn is_one_letter_away(word: &str, other: &str) -> bool {
    strsim::osa_distance(word, other) == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> SourceFile {
        SourceFile {
            name: "mappings/his.toml".to_owned(),
            text: "[patient]\n姓名 = \"PID-5\" # 张\nsex = 8\n".to_owned(),
        }
    }

    #[test]
    fn places_are_counted_in_characters() {
        let start = file().text.find("\"PID").unwrap();
        let diagnostic = Diagnostic::error(&file(), start..start + 7, "M001", "wrong");
        assert_eq!((diagnostic.line, diagnostic.column, diagnostic.length), (2, 6, 7));
        assert_eq!(diagnostic.to_string(), "mappings/his.toml:2:6 error[M001]: wrong");
    }

    #[test]
    fn a_rendered_problem_shows_its_line_and_a_caret_under_it() {
        let start = file().text.find('8').unwrap();
        let rendered =
            Diagnostic::error(&file(), start..start + 1, "M001", "wrong type").hint("write a path").render(false);
        assert!(rendered.starts_with("mappings/his.toml:3:7 error[M001]: wrong type (write a path)\n"), "{rendered}");
        assert!(rendered.contains("sex = 8"), "{rendered}");
        assert!(rendered.lines().any(|line| line.ends_with("      ^")), "{rendered}");
    }

    #[test]
    fn odd_spans_never_panic() {
        let length = file().text.len();
        for (start, end) in [(0, 0), (11, 12), (length, length + 9), (12, 3), (length + 4, length + 9)] {
            let diagnostic = Diagnostic::warning(&file(), start..end, "M001", "odd");
            assert!(diagnostic.length >= 1);
            diagnostic.render(true);
        }
        let empty = SourceFile { name: "empty".to_owned(), text: String::new() };
        Diagnostic::error(&empty, 0..0, "M001", "nothing").render(false);
    }

    #[test]
    fn slips_are_recognised() {
        assert_eq!(similar("birthdate", ["birth_date", "name"]), Some("birth_date"));
        assert_eq!(similar("zzz", ["birth_date", "name"]), None);
        assert_eq!(similar("encounter", ["Patient", "Encounter"]), Some("Encounter"));
        assert_eq!(similar("adt", ["ORU", "ADT"]), Some("ADT"));
        assert_eq!(similar("A", ["a", "A"]), Some("A"));
    }

    #[test]
    fn characters_of_an_input_method_have_plain_ones() {
        let plain: String =
            "（ＰＩＤ－３．１＝“Ｉ”，‘O’）".chars().map(|letter| plain_character(letter).unwrap_or(letter)).collect();
        assert_eq!(plain, "(PID-3.1=\"I\",'O')");
        assert_eq!(plain_character('科'), None);
    }
}
