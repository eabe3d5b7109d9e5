//! Texts that conditions and `match` compare with and that nobody sends so: wildcards of other languages, several codes in one text,
//! characters of an input method.

use super::Checker;
use crate::diagnostic::plain_text;
use crate::hl7v2::Path;
use crate::mapping::file::Located;
use crate::mapping::input::Format;

/// What a text is compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    /// `match`: `*` and `?` stand for others.
    Pattern,
    /// A condition: the text as it is.
    Equality,
    /// What chooses among segments, `OBX[3.1=WBC]`.
    Choice,
}

/// Marks of regular expressions that no name of a system has.
const REGEX: &[&str] = &[".*", ".+", "\\d", "\\w", "[0-9", "[A-Z", "[a-z"];

impl Checker<'_, '_, '_> {
    /// Tells of a text that is never equal to what is sent. Whether it did.
    pub(super) fn unlikely_text(&mut self, written: &Located<String>, comparison: Comparison) -> bool {
        let Some((text, hint)) = unlikely(&written.value, comparison, self.declared.format()) else { return false };
        self.reader.warn(written.file, written.span.clone(), "M021", text, &hint);
        true
    }
}

fn unlikely(value: &str, comparison: Comparison, format: Format) -> Option<(String, String)> {
    let is_pattern = comparison == Comparison::Pattern;
    if let Some(plain) = plain_text(value) {
        return Some((
            format!("{value} is in full-width characters, and never equal to {plain}"),
            format!("write {plain}"),
        ));
    }
    if is_pattern && value.trim() != value {
        let hint = "leave them out".to_owned();
        return Some((format!("{value:?} has blanks around it, and no value has"), hint));
    }
    let bare = value.trim_matches('%');
    if bare.len() < value.len() && !bare.is_empty() && !bare.contains('%') {
        let hint = if is_pattern {
            format!("* stands for any characters: {:?}", value.replace('%', "*"))
        } else {
            no_patterns(format)
        };
        return Some((format!("% stands for itself here, so {value:?} is hardly sent"), hint));
    }
    if !is_pattern {
        let bare = value.trim_matches('*');
        let is_wildcard = bare.len() < value.len() && bare.chars().count() > 1;
        return is_wildcard
            .then(|| (format!("* stands for itself here, so {value:?} is hardly sent"), no_patterns(format)));
    }
    let is_anchored = value.len() > 1 && (value.starts_with('^') || value.ends_with('$'));
    if is_anchored || REGEX.iter().any(|mark| value.contains(mark)) {
        let plain = value.trim_start_matches('^').trim_end_matches('$').replace(".*", "*").replace(".+", "?*");
        let knows = "match knows * (any characters) and ? (one)";
        let is_plain = !REGEX.iter().any(|mark| plain.contains(mark));
        let hint = if is_plain { format!("{knows}, as in {plain:?}") } else { knows.to_owned() };
        return Some((format!("{value:?} is a regular expression, and match takes it as it is"), hint));
    }
    let parts: Vec<&str> = value.split([',', '，', '、', ';', '；', '|']).map(str::trim).collect();
    let are_names = parts.len() > 1 && parts.iter().all(|part| !part.is_empty());
    are_names.then(|| (format!("{value:?} is one text, and no value is so"), format!("several are a list: {parts:?}")))
}

fn no_patterns(format: Format) -> String {
    match format {
        Format::Hl7v2 => "patterns stand in match only; list them: in ['…', '…']".to_owned(),
        Format::Fhir => "write startsWith('…'), contains('…') or matches('…')".to_owned(),
    }
}

/// A path as tables are asked by it: which repetition is meant makes no difference to its codes.
pub(super) fn root_of(path: &Path) -> String {
    path.to_string().replace("[*]", "").replace("[1]", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_nobody_sends_are_recognised() {
        for (value, hint) in [
            ("%HIS%", "\"*HIS*\""),
            ("HIS%", "\"HIS*\""),
            ("HIS.*", "as in \"HIS*\""),
            ("^HIS$", "as in \"HIS\""),
            ("HIS|LIS", "[\"HIS\", \"LIS\"]"),
            ("HIS，LIS", "[\"HIS\", \"LIS\"]"),
            ("ＨＩＳ", "write HIS"),
            (" HIS", "leave them out"),
        ] {
            let found = unlikely(value, Comparison::Pattern, Format::Hl7v2);
            assert!(found.as_ref().is_some_and(|(_, found)| found.contains(hint)), "{value}: {found:?}");
        }
        for value in ["HIS*", "H?S", "门诊（急）", "东软HIS", "A&B", "5%", "", "*", "HIS.LIS"] {
            let expected = (value == "5%").then_some(());
            assert_eq!(unlikely(value, Comparison::Pattern, Format::Hl7v2).map(drop), expected, "{value}");
        }
        for (value, is_told) in [
            ("HIS*", true),
            ("*", false),
            ("H*", false),
            ("%HIS", true),
            ("HIS|LIS", false),
            ("（±）", false),
            ("（+）", false),
            ("Ａ１", true),
        ] {
            assert_eq!(unlikely(value, Comparison::Equality, Format::Hl7v2).is_some(), is_told, "{value}");
        }
    }
}
