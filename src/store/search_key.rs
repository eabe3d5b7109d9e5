//! The form in which people's names, birth dates and phones are looked up, the same for storing and for asking.

use std::collections::BTreeSet;

use crate::identity::{name_key, phone_digits};
use crate::record::{Fields, Value};

/// What a person can be searched by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum KeyKind {
    Name,
    BirthDate,
    Phone,
}

impl KeyKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::BirthDate => "birth_date",
            Self::Phone => "phone",
        }
    }

    /// `text` as a key; empty: nothing that could be searched by.
    pub(super) fn normalise(self, text: &str) -> String {
        match self {
            Self::Name => name_key(text),
            Self::BirthDate => text.trim().to_owned(),
            Self::Phone => phone_digits(text),
        }
    }
}

/// The fields of a golden record that keys come from.
pub(super) const KEY_FIELDS: [&str; 4] = ["name", "other_names", "birth_date", "phones"];

/// All keys of a golden record.
pub(super) fn keys(golden: &Fields) -> BTreeSet<(KeyKind, String)> {
    let phones = golden.get("phones").and_then(Value::as_array).into_iter().flatten();
    let phones = phones.filter_map(|phone| phone.get("value")).map(|value| (KeyKind::Phone, value));
    let others = golden.get("other_names").and_then(Value::as_array).into_iter().flatten();
    let names = golden.get("name").into_iter().chain(others).map(|value| (KeyKind::Name, value));
    let birth_date = golden.get("birth_date").map(|value| (KeyKind::BirthDate, value));
    names
        .chain(birth_date)
        .chain(phones)
        .filter_map(|(kind, value)| value.as_str().map(|text| (kind, kind.normalise(text))))
        .filter(|(_, text)| !text.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_phones_are_found_however_they_are_written() {
        let check = |kind: KeyKind, text: &str, expected: &str| assert_eq!(kind.normalise(text), expected, "{text}");
        check(KeyKind::Name, " 张 三 ", "张三");
        check(KeyKind::Name, "买买提·艾力", "买买提艾力");
        check(KeyKind::Name, "ＺＨＡＮＧ Wei", "zhangwei");
        check(KeyKind::Phone, "+86 138-0013-8000", "13800138000");
        check(KeyKind::Phone, "１３８００１３８０００", "13800138000");
        check(KeyKind::Phone, "0755-8612345", "07558612345");
        check(KeyKind::Phone, "86123456", "86123456");
    }
}
