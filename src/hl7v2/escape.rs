//! Escape sequences, both ways (HL7 v2.5.1 chapter 2, 2.7).
//!
//! What is no known and closed sequence stays as it is, a lone escape character too: people write `C:\temp` and `50\50`. Nothing
//! is lost but what only steers a printer.

use std::borrow::Cow;

use memchr::memchr;

use super::{Charset, Delimiters};

/// Text as meant, from text as sent. Borrows when there is nothing to resolve.
///
/// | sequence | becomes |
/// |---|---|
/// | `\F\` `\S\` `\T\` `\R\` `\E\` `\P\` | the delimiter, where the message has it |
/// | `\Xhh..\` | text: the bytes in `charset` (the message's), neighbouring sequences as one; CR and CRLF become LF |
/// | `\.br\` `\.ce\` `\.sp\` `\.spN\` | a line feed |
/// | `\.skN\` | a blank |
/// | `\H\` `\N\` `\.fi\` `\.nf\` `\.inN\` `\.tiN\` `\C2842\` | nothing: highlighting, filling, indentation, back to ASCII |
/// | all others, `\Z..\` `\Cxxyy\` `\Mxxyy\` among them | themselves |
pub fn unescape<'t>(text: &'t str, delimiters: &Delimiters, charset: Charset) -> Cow<'t, str> {
    let Some(escape) = delimiters.escape else { return Cow::Borrowed(text) };
    let Some(first) = memchr(escape, text.as_bytes()) else { return Cow::Borrowed(text) };
    let mut meant = String::with_capacity(text.len());
    meant.push_str(&text[..first]);
    let mut rest = &text[first..];
    while let Some(after) = rest.strip_prefix(char::from(escape)) {
        rest = match resolve(after, escape, delimiters, charset, &mut meant) {
            Some(rest) => rest,
            None => {
                meant.push(char::from(escape));
                after
            }
        };
        let plain = memchr(escape, rest.as_bytes()).unwrap_or(rest.len());
        meant.push_str(&rest[..plain]);
        rest = &rest[plain..];
    }
    Cow::Owned(meant)
}

/// Appends what the sequence at the start of `after` (behind its escape character) means and gives the text behind it.
fn resolve<'t>(
    after: &'t str,
    escape: u8,
    delimiters: &Delimiters,
    charset: Charset,
    meant: &mut String,
) -> Option<&'t str> {
    let end = memchr(escape, after.as_bytes())?;
    let (sequence, rest) = (&after[..end], &after[end + 1..]);
    let delimiter = match sequence {
        "F" => Some(delimiters.field),
        "S" => Some(delimiters.component),
        "T" => Some(delimiters.subcomponent?),
        "R" => Some(delimiters.repetition?),
        "E" => Some(escape),
        "P" => Some(delimiters.truncation?),
        _ => None,
    };
    if let Some(delimiter) = delimiter {
        meant.push(char::from(delimiter));
        return Some(rest);
    }
    if sequence.starts_with('X') {
        return hex_run(after, escape, charset, meant);
    }
    meant.push_str(layout(sequence)?);
    Some(rest)
}

/// The hex sequence at the start of `after` and those that follow it without anything between, because a character may be
/// split over them. A run that is no text stays as it is, and as a whole: to read its tail again would take quadratic time.
fn hex_run<'t>(after: &'t str, escape: u8, charset: Charset, meant: &mut String) -> Option<&'t str> {
    let mut bytes = Vec::new();
    let mut rest = read_hex(after, escape, &mut bytes)?;
    while let Some(next) = rest.strip_prefix(char::from(escape)).and_then(|next| read_hex(next, escape, &mut bytes)) {
        rest = next;
    }
    let is_text = |character: char| !character.is_control() || matches!(character, '\t' | '\n' | '\r');
    match charset.decode(&bytes).ok().filter(|text| text.chars().all(is_text)) {
        Some(text) => meant.push_str(&text.replace("\r\n", "\n").replace('\r', "\n")),
        None => {
            meant.push(char::from(escape));
            meant.push_str(&after[..after.len() - rest.len()]);
        }
    }
    Some(rest)
}

/// Reads `Xhh..` up to and including the escape character; gives the text behind it.
fn read_hex<'t>(after: &'t str, escape: u8, bytes: &mut Vec<u8>) -> Option<&'t str> {
    let body = after.strip_prefix('X')?;
    let end = memchr(escape, body.as_bytes())?;
    let digits = &body.as_bytes()[..end];
    if digits.is_empty() || digits.len() % 2 != 0 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0) as u8;
    bytes.extend(digits.chunks_exact(2).map(|pair| value(pair[0]) << 4 | value(pair[1])));
    Some(&body[end + 1..])
}

/// Formatting and highlighting (2.7.5, 2.7.6). A page's layout is not kept beyond its line breaks.
fn layout(sequence: &str) -> Option<&'static str> {
    if matches!(sequence, "H" | "N" | "C2842") {
        return Some("");
    }
    let command = sequence.strip_prefix('.')?;
    let number = command.find(|character: char| !character.is_ascii_alphabetic()).unwrap_or(command.len());
    let (name, number) = command.split_at(number);
    let number = number.strip_prefix(['+', '-']).unwrap_or(number);
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match name.to_ascii_lowercase().as_str() {
        "br" | "ce" | "sp" => Some("\n"),
        "sk" => Some(" "),
        "fi" | "nf" | "in" | "ti" => Some(""),
        _ => None,
    }
}

/// Text as it may stand in a field. Borrows when it may stand as it is.
///
/// Control characters become hex sequences. In a message without an escape character, blanks stand for what cannot be said.
pub fn escape<'t>(text: &'t str, delimiters: &Delimiters) -> Cow<'t, str> {
    if !text.bytes().any(|byte| byte.is_ascii_control() || delimiters.contains(byte)) {
        return Cow::Borrowed(text);
    }
    let mut sent = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        let byte = u8::try_from(character).ok().filter(u8::is_ascii);
        match (byte.and_then(|byte| name_of(byte, delimiters)), delimiters.escape.map(char::from)) {
            (None, _) => sent.push(character),
            (Some(_), None) => sent.push(' '),
            (Some(name), Some(escape)) => {
                sent.push(escape);
                sent.push_str(&name);
                sent.push(escape);
            }
        }
    }
    Cow::Owned(sent)
}

/// The sequence for a character that cannot stand as it is.
fn name_of(byte: u8, delimiters: &Delimiters) -> Option<Cow<'static, str>> {
    let named = [
        (Some(delimiters.field), "F"),
        (Some(delimiters.component), "S"),
        (delimiters.subcomponent, "T"),
        (delimiters.repetition, "R"),
        (delimiters.escape, "E"),
        (delimiters.truncation, "P"),
    ];
    match named.into_iter().find(|(delimiter, _)| *delimiter == Some(byte)) {
        Some((_, name)) => Some(Cow::Borrowed(name)),
        None => byte.is_ascii_control().then(|| Cow::Owned(format!("X{byte:02X}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEVEN: Delimiters = Delimiters { truncation: Some(b'#'), ..Delimiters::STANDARD };
    const NO_ESCAPE: Delimiters = Delimiters { escape: None, subcomponent: None, ..Delimiters::STANDARD };

    fn check(sent: &str, expected: &str) {
        assert_eq!(unescape(sent, &SEVEN, Charset::Utf8), expected, "{sent}");
    }

    #[test]
    fn delimiters_are_resolved() {
        check(r"\F\\S\\T\\R\\E\\P\", r"|^&~\#");
        check(r"a\F\b", "a|b");
        check(r"\E\F\E\", r"\F\");
        assert_eq!(
            unescape(r"\P\ \T\", &Delimiters { subcomponent: None, ..Delimiters::STANDARD }, Charset::Utf8),
            r"\P\ \T\"
        );
        assert_eq!(unescape(r"\F\", &NO_ESCAPE, Charset::Utf8), r"\F\");
    }

    #[test]
    fn defect_03_a_lone_or_unknown_escape_is_kept() {
        for text in [
            r"\",
            r"\\",
            r"50\50 mg",
            r"C:\temp",
            r"C:\temp\new",
            r"\Zabc\",
            r"\f\",
            r"\X4\",
            r"\XZZ\",
            r"\X\",
            r"\.xx\",
        ] {
            check(text, text);
        }
        check(r"C:\temp\F\x", r"C:\temp|x");
        check(r"\M2442\", r"\M2442\");
    }

    #[test]
    fn defect_04_hex_runs_are_read_in_the_charset_of_the_message() {
        check(r"\XC3A9\", "é");
        check(r"\xc3a9\", r"\xc3a9\");
        check(r"\Xc3a9\", "é");
        check(r"\XC3\\XA9\x", "éx");
        check(r"a\X0D0A\b\X0D\c\X0A\d", "a\nb\nc\nd");
        check(r"\X0D\\X0A\", "\n");
        check(r"\XD5C5\", r"\XD5C5\");
        check(r"\X00\\X1C\", r"\X00\\X1C\");
        check(r"\XC3\\XZZ\", r"\XC3\\XZZ\");
        assert_eq!(unescape(r"\XD5C5\三", &SEVEN, Charset::Gb18030), "张三");
        assert_eq!(unescape(r"\XE9\", &SEVEN, Charset::Iso8859(1)), "é");
    }

    #[test]
    fn layout_becomes_line_feeds_blanks_or_nothing() {
        check(r"一\.br\二\.BR\三\.sp\四\.sp2\五\.ce\六", "一\n二\n三\n四\n五\n六");
        check(r"a\.sk5\b", "a b");
        check(r"\H\重\N\\.in+4\\.ti-2\\.fi\\.nf\要\C2842\", "重要");
        check(r"\.brx2\", r"\.brx2\");
    }

    #[test]
    fn defect_02_chinese_text_beside_an_escape_is_read() {
        check(r"张三\T\李", "张三&李");
        check(r"张\.br\三", "张\n三");
        check(r"é\F\x", "é|x");
        check(r"\三\", r"\三\");
    }

    #[test]
    fn what_cannot_stand_in_a_field_is_escaped() {
        for (text, sent) in [
            ("plain 张三", "plain 张三"),
            (r"a|b^c&d~e\f#g", r"a\F\b\S\c\T\d\R\e\E\f\P\g"),
            ("a\r\nb\u{0B}\u{1C}", r"a\X0D\\X0A\b\X0B\\X1C\"),
        ] {
            assert_eq!(escape(text, &SEVEN), sent);
        }
        assert_eq!(escape("a|b&c\r", &NO_ESCAPE), "a b&c ");
    }

    proptest! {
        #[test]
        fn text_survives_escaping(text in r"[\PC\n\t]{0,60}", special in r"[|^~\\&#XFSTRE.0A张]{0,40}") {
            for text in [text, special] {
                for delimiters in [SEVEN, Delimiters::STANDARD] {
                    let sent = escape(&text, &delimiters);
                    let outside = |byte: u8| byte == b'\\' || !delimiters.contains(byte) && !byte.is_ascii_control();
                    prop_assert!(sent.bytes().all(outside), "{}", sent);
                    prop_assert_eq!(unescape(&sent, &delimiters, Charset::Utf8), text.as_str());
                }
            }
        }

        #[test]
        fn any_text_is_unescaped_without_a_panic(text in r"(\\|X|[0-9A-F]|\.|br|sp|张|é|.){0,40}") {
            for charset in [Charset::Ascii, Charset::Utf8, Charset::Gb18030, Charset::Iso2022Jp] {
                unescape(&text, &SEVEN, charset);
            }
        }
    }
}
