//! Numbers that stand for "none": never evidence, never looked up.
//!
//! Here is what can be told from the number alone. A real number that many patients share is found by counting; that is
//! not done here.

use super::name::squeezed;
use crate::record::resident_id::ResidentId;

/// The date that systems put where none is known.
pub(super) const UNKNOWN_BIRTH_DATE: &str = "1900-01-01";

/// What is typed for "none", in lower case.
const WORDS: [&str; 16] = [
    "无",
    "没有",
    "暂无",
    "不详",
    "未知",
    "未提供",
    "待补",
    "空",
    "none",
    "null",
    "nil",
    "na",
    "n/a",
    "unknown",
    "no",
    "test",
];

/// Whether a number, in any spelling, stands for "none" or cannot be anybody's.
/// `kind` is an identifier type of `record::schema`.
pub fn is_placeholder(kind: &str, value: &str) -> bool {
    if kind == "resident_id" {
        // Valid by its check character, typed where no date of birth is known.
        return ResidentId::read(value).is_none_or(|id| id.birth_date == UNKNOWN_BIRTH_DATE);
    }
    is_filler(squeezed(value).trim_matches('*'))
}

/// Whether a squeezed, lower-case text is a word for "none", one character again and again, or counting up or down.
pub(super) fn is_filler(text: &str) -> bool {
    if text.is_empty() || WORDS.contains(&text) {
        return true;
    }
    let steps = || text.bytes().zip(text.bytes().skip(1)).map(|(one, next)| next.wrapping_sub(one));
    // Short numbers repeat and count by chance.
    let counted = |step: u8, wrap: u8| steps().all(|found| found == step || found == wrap);
    text.len() >= 6 && text.is_ascii() && (counted(0, 0) || counted(1, 1_u8.wrapping_sub(10)) || counted(255, 9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_refused() {
        for (kind, value, expected) in [
            ("resident_id", "111111111111111111", true),
            ("resident_id", "000000000000000000", true),
            ("resident_id", "123456789012345678", true),
            ("resident_id", "110101190001011009", true),
            ("resident_id", "110101000101100", true),
            ("resident_id", "无", true),
            ("resident_id", "110101199003073458", false),
            ("passport", "none", true),
            ("passport", "N / A", true),
            ("passport", "不详", true),
            ("passport", "00000000", true),
            ("passport", "1234567890", true),
            ("passport", "987654321", true),
            ("passport", "", true),
            ("passport", "E12345678", false),
            ("mrn", "11", false),
            ("mrn", "123", false),
        ] {
            assert_eq!(is_placeholder(kind, value), expected, "{kind} {value}");
        }
    }
}
