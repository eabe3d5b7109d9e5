//! Resident identity numbers of China (GB 11643-1999): the one place that says whether a text is one, and what it says.

use jiff::civil::Date;
use unicode_normalization::UnicodeNormalization;

/// A valid resident identity number (GB 11643-1999) and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResidentId {
    /// All 18 characters; the last may be `X`.
    pub number: String,
    /// `YYYY-MM-DD`.
    pub birth_date: String,
    /// `male` or `female`.
    pub sex: &'static str,
}

/// First two digits of a division code (GB/T 2260); 81 to 83 are residence permits, 91 and over foreign residents.
const PROVINCES: [&str; 36] = [
    "11", "12", "13", "14", "15", "21", "22", "23", "31", "32", "33", "34", "35", "36", "37", "41", "42", "43", "44",
    "45", "46", "50", "51", "52", "53", "54", "61", "62", "63", "64", "65", "71", "81", "82", "83", "91",
];

impl ResidentId {
    /// Reads a resident identity number: NFKC, blanks and hyphens off, 15 to 18 digits, `x`, a missing or spelt-out check
    /// character (`10`), ISO 7064 MOD 11-2, a real province and a real birth date. `None`: not a valid one.
    pub fn read(text: &str) -> Option<Self> {
        let is_part = |letter: &char| !letter.is_whitespace() && *letter != '-';
        let upper = |letter: char| letter.to_ascii_uppercase();
        let text: String = match text.is_ascii() {
            true => text.chars().filter(is_part).map(upper).collect(),
            false => text.nfkc().filter(is_part).map(upper).collect(),
        };
        if !text.is_ascii() {
            return None;
        }
        let body = match text.len() {
            // Two-digit years are 19xx; serials 996 to 999 marked those born in 18xx, of whom nobody is alive.
            15 if !("996"..="999").contains(&text.get(12..)?) => format!("{}19{}", &text[..6], &text[6..]),
            17..=19 => text[..17].to_owned(),
            _ => return None,
        };
        if !body.bytes().all(|byte| byte.is_ascii_digit()) || !PROVINCES.contains(&&body[..2]) {
            return None;
        }
        let check = check_character(&body);
        let agrees = match text.len() {
            15 => true,
            // A keyboard without X: left out, or written as the value that X stands for.
            17 => check == 'X',
            18 => text.ends_with(check),
            _ => check == 'X' && text.ends_with("10"),
        };
        if !agrees {
            return None;
        }
        let (year, month, day) = (body[6..10].parse().ok()?, body[10..12].parse().ok()?, body[12..14].parse().ok()?);
        let birth_date = Date::new(year, month, day).ok().filter(|_| (1900..=2099).contains(&year))?.to_string();
        let sex = if body.as_bytes()[16] % 2 == 1 { "male" } else { "female" };
        Some(Self { number: format!("{body}{check}"), birth_date, sex })
    }
}

/// ISO 7064 MOD 11-2 over 17 digits.
fn check_character(digits: &str) -> char {
    // The weight of a place is 2 to the power of its distance from the check character, modulo 11.
    let sum = digits.bytes().fold(0, |sum, digit| (sum + u32::from(digit - b'0')) * 2 % 11);
    match (12 - sum) % 11 {
        10 => 'X',
        value => char::from_digit(value, 10).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_resident_number_is_read_in_all_its_spellings() {
        let number = "11010519491231002X";
        for text in [
            number,
            "11010519491231002x",
            "１１０１０５１９４９１２３１００２Ｘ",
            " 110105 19491231 002X ",
            "110105-19491231-002X",
            "11010519491231002",
            "1101051949123100210",
            "110105491231002",
        ] {
            let read = ResidentId::read(text).unwrap();
            assert_eq!((read.number.as_str(), read.birth_date.as_str(), read.sex), (number, "1949-12-31", "female"));
        }
        assert_eq!(ResidentId::read("110101199003073458").unwrap().sex, "male");
        // A residence permit of Hong Kong.
        assert!(ResidentId::read(&with_check("81000019900307345")).is_some());
    }

    #[test]
    fn what_is_no_resident_number_is_refused() {
        let cases = [
            "",
            "无",
            "110105194912310021",  // check character
            "11010119900307345",   // 17 digits whose check character is not X
            "1101011990030734510", // spelt out, and not X either
            "110101900307998",     // born in 18xx
            "1101051949123100",
            "11010519491231002XX",
            "11010519491231002甲",
        ];
        for text in cases.map(str::to_owned).into_iter().chain([
            with_check("00010119900307345"),
            with_check("11010119901307345"),
            with_check("11010118990307345"),
        ]) {
            assert_eq!(ResidentId::read(&text), None, "{text}");
        }
    }

    fn with_check(body: &str) -> String {
        format!("{body}{}", check_character(body))
    }

    proptest! {
        #[test]
        fn one_wrong_digit_is_found(serial in 0..1000_u32, place in 0..17_usize, shift in 1..10_u8) {
            let mut number = with_check(&format!("11010119900307{serial:03}")).into_bytes();
            prop_assert!(ResidentId::read(std::str::from_utf8(&number).unwrap()).is_some());
            number[place] = b'0' + (number[place] - b'0' + shift) % 10;
            prop_assert_eq!(ResidentId::read(std::str::from_utf8(&number).unwrap()), None);
        }

        #[test]
        fn no_text_panics(text in ".*", digits in "[0-9xX -]{14,20}") {
            let _ = (ResidentId::read(&text), ResidentId::read(&digits));
        }
    }
}
