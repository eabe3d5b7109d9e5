//! Text in GB 18030 whose bytes happen to be UTF-8 as well: it reads as letters of other scripts that no language writes so.
//!
//! Only what is quite sure is told: no other character of the file may take more than two bytes (Chinese in UTF-8 takes three), and the
//! letters stand alone, are of no one alphabet, and are common Chinese characters in GB 2312.

use std::ops::Range;

use crate::hl7v2::Charset;

/// What helps against it.
pub(super) const HINT: &str = "save it as UTF-8";

/// The first such text of a file: where it stands, and the sentence that tells of it.
pub(super) fn misread(text: &str) -> Option<(Range<usize>, String)> {
    let (place, meant) = first(text)?;
    let written = text.get(place.clone()).unwrap_or_default();
    Some((place, format!("{written} is {meant} in GB18030: the file is probably not in UTF-8")))
}

/// Where the first such text stands, and what it is.
fn first(text: &str) -> Option<(Range<usize>, String)> {
    if text.chars().any(|letter| letter > '\u{7ff}') {
        return None;
    }
    let mut from = 0;
    while let Some(start) = text[from..].find(|letter: char| !letter.is_ascii()).map(|start| from + start) {
        let end = text[start..].find(|letter: char| letter.is_ascii()).map_or(text.len(), |length| start + length);
        let is_letter = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphabetic());
        let is_word = is_letter(text[..start].chars().next_back()) || is_letter(text[end..].chars().next());
        let run = &text[start..end];
        if let Some(meant) = Some(run).filter(|run| !is_word && is_odd(run)).and_then(chinese) {
            return Some((start..end, meant));
        }
        from = end;
    }
    None
}

/// The characters that the same bytes are in GB 2312, if all of them are of its first level, the common ones (rows 16 to 55).
fn chinese(run: &str) -> Option<String> {
    let are_common = run.as_bytes().chunks(2).all(|pair| matches!(pair, [0xb0..=0xd7, 0xa1..=0xfe]));
    let text = Charset::Gb18030.decode(run.as_bytes()).ok().filter(|_| are_common)?;
    text.chars().all(|character| ('\u{4e00}'..='\u{9fff}').contains(&character)).then(|| text.into_owned())
}

/// Letters of two bytes only, which no language writes so: none of Latin-1, and not all of the Greek, the Russian, the Hebrew or
/// the Arabic alphabet.
fn is_odd(run: &str) -> bool {
    const ALPHABETS: &[(char, char)] = &[
        ('\u{80}', '\u{ff}'),
        ('\u{391}', '\u{3c9}'),
        ('\u{401}', '\u{451}'),
        ('\u{5d0}', '\u{5ea}'),
        ('\u{620}', '\u{64a}'),
    ];
    !ALPHABETS.iter().any(|(first, last)| run.chars().all(|letter| (*first..=*last).contains(&letter)))
}

#[cfg(test)]
mod tests {
    use super::{first, misread};

    #[test]
    fn chinese_that_is_read_as_other_letters_is_recognised() {
        for (text, meant) in [("Ů", "女"), ("M,Ů,\n", "女"), ("# δ\u{5aa}\n", "未知"), ("a = \"δ\u{5aa}\"", "未知")]
        {
            assert_eq!(first(text).map(|(_, meant)| meant).as_deref(), Some(meant), "{text}");
        }
        let told = "Ů is 女 in GB18030: the file is probably not in UTF-8".to_owned();
        assert_eq!(misread("F = \"Ů\""), Some((5..7, told)));
        for text in
            ["", "M,male", "µ", "10×9", "Dvořák", "muž", "Müller", "Мужской", "±", "β", "女", "Ů 女", "ג", "café"]
        {
            assert_eq!(misread(text), None, "{text}");
        }
    }
}
