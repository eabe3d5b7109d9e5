//! The targets of tables whose fields take any text, so that nothing else can tell a slip: units, flags, and words.

use std::collections::{BTreeMap, BTreeSet};

use super::Checker;
use crate::diagnostic::{is_one_letter_away, similar};
use crate::mapping::coerce::Coercion;
use crate::mapping::compile::{ON_UNMAPPED, Target};
use crate::mapping::file::{Located, Rule, TableFiles};
use crate::mapping::table::Row;
use crate::record::schema::Shape;

/// What a table's targets are, by the field that it fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vocabulary {
    /// The Unified Code for Units of Measure.
    Units,
    /// HL7 table 0078.
    Flags,
    /// Words of the mapping's own, each of which stands for many codes.
    Words,
}

/// HL7 table 0078 of v2.8.2: interpretation codes.
const FLAGS: &[&str] = &[
    "<", ">", "A", "AA", "AC", "B", "CAR", "D", "DET", "E", "EX", "EXP", "H", "HH", "HM", "HU", "HX", "I", "IE", "IND",
    "L", "LL", "LU", "LX", "MS", "N", "NCL", "ND", "NEG", "NR", "NS", "OBX", "POS", "QCF", "R", "RR", "S", "SDD",
    "SYN-R", "SYN-S", "TOX", "U", "UNE", "VS", "W", "WR",
];

/// Metric units of UCUM 2.1 and others that laboratories use with a prefix.
const METRIC: &[&str] = &[
    "m", "g", "s", "l", "L", "mol", "U", "eq", "osm", "Pa", "Hz", "J", "W", "N", "V", "A", "K", "C", "F", "Ohm", "S",
    "Wb", "T", "H", "lm", "lx", "Bq", "Gy", "Sv", "kat", "Cel", "cal", "B", "bar", "eV", "t", "cd", "rad", "sr", "Ci",
    "P", "st", "R", "mho", "ar", "u", "by", "bit", "Bd", "m[Hg]", "m[H2O]", "g%", "B[V]", "B[W]",
];
/// Those that take no prefix.
const OTHERS: &[&str] = &["%", "min", "h", "d", "wk", "mo", "a", "deg", "'", "''", "10*", "10^"];
const PREFIXES: &[&str] =
    &["Y", "Z", "E", "P", "T", "G", "M", "k", "h", "da", "d", "c", "m", "u", "n", "p", "f", "a", "z", "y"];
/// Shortest word of which one letter more or less is sooner a slip than another word.
const LEAST_WORD: usize = 4;

impl Vocabulary {
    /// What a table gives a field; `None`: its codes are checked elsewhere.
    pub(super) fn of(target: &Target, coercion: Option<Coercion>) -> Option<Self> {
        match target.shape {
            _ if coercion == Some(Coercion::Unit) => Some(Self::Units),
            Shape::TextList if target.name == "flags" => Some(Self::Flags),
            Shape::Text | Shape::TextList => Some(Self::Words),
            _ => None,
        }
    }
}

impl Checker<'_, '_, '_> {
    /// Targets that the vocabulary does not have.
    pub(super) fn targets(&mut self, vocabulary: Vocabulary, table: &TableFiles, rows: &[Row]) {
        // What stands for itself is left as sent, on purpose.
        let says_more = |row: &&Row| !row.target.is_empty() && row.target != row.source;
        let rows: Vec<&Row> = rows.iter().filter(says_more).collect();
        match vocabulary {
            Vocabulary::Units => {
                for row in rows.iter().filter(|row| !is_unit(&row.target)) {
                    let known = rows.iter().map(|row| row.target.as_str()).filter(|target| is_unit(target));
                    let meant = meant_unit(&row.target, known);
                    self.target(row, "no unit of UCUM", meant.as_deref());
                }
                for row in rows.iter().filter(|row| is_of_another_prefix(&row.source, &row.target)) {
                    let problem = format!("another unit than {}, and no value is converted", row.source);
                    self.target(row, &problem, Some(row.source.as_str()));
                }
            }
            Vocabulary::Flags => {
                // A letter and a digit more: codes of a site's own, as in all HL7 tables.
                let is_own = |flag: &str| flag.starts_with('Z');
                for row in rows.iter().filter(|row| !FLAGS.contains(&row.target.as_str()) && !is_own(&row.target)) {
                    self.target(row, "no flag of HL7 table 0078", similar(&row.target, FLAGS.iter().copied()));
                }
            }
            Vocabulary::Words => {
                let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
                rows.iter().for_each(|row| *counts.entry(row.target.as_str()).or_default() += 1);
                for row in rows.iter().filter(|row| counts[row.target.as_str()] == 1) {
                    let mut others =
                        counts.iter().filter(|(other, count)| **count > 1 || other.len() < row.target.len());
                    if let Some((other, _)) = others.find(|(other, _)| {
                        other.len().max(row.target.len()) > LEAST_WORD && may_mean(&row.target, other)
                    }) {
                        // A base's words are sound: the site's is the slip.
                        let level = |row: &Row| {
                            let named = table.files.iter().filter(|file| self.reader.known(file) == Some(row.file));
                            named.map(|file| file.file).min().unwrap_or(usize::MAX)
                        };
                        let of_other = rows.iter().filter(|row| row.target == **other);
                        let site_s = of_other.max_by_key(|other| std::cmp::Reverse(level(other)));
                        let all_in_site =
                            rows.iter().filter(|row| row.target == **other).all(|other| level(other) < level(row));
                        let (slip, meant) = match site_s.filter(|_| all_in_site) {
                            Some(slip) => (*slip, row.target.as_str()),
                            None => (*row, *other),
                        };
                        self.target(slip, "one letter away from another target of the table", Some(meant));
                    }
                }
            }
        }
    }

    /// The texts of a rule that stand beside what its table gives: a word that is nearly a target of the table.
    pub(super) fn words_beside(&mut self, rule: &Rule, target: &Target, coercion: Option<Coercion>) {
        let Some(table) = rule.table.as_ref().filter(|_| Vocabulary::of(target, coercion) == Some(Vocabulary::Words))
        else {
            return;
        };
        let mut tables = self.declared.tables.iter().zip(self.rows);
        let Some((_, rows)) = tables.find(|(other, _)| other.name.value == table.value) else { return };
        let targets: BTreeSet<&str> = rows.iter().map(|row| row.target.as_str()).collect();
        let is_other = |word: &&Located<String>| {
            !targets.contains(word.value.as_str()) && !ON_UNMAPPED.contains(&word.value.as_str())
        };
        for word in [&rule.default, &rule.on_unmapped].into_iter().flatten().filter(is_other) {
            if let Some(meant) = targets.iter().find(|known| may_mean(&word.value, known)) {
                let text = format!("{} is one letter away from a target of the table {}", word.value, table.value);
                self.reader.warn(word.file, word.span.clone(), "M025", text, &format!("did you mean {meant}?"));
            }
        }
    }

    fn target(&mut self, row: &Row, problem: &str, meant: Option<&str>) {
        let text = format!("{} is {problem}", row.target);
        let hint = meant.map_or_else(String::new, |meant| format!("did you mean {meant}?"));
        self.tell(row, row.target_span.clone(), "M025", text, &hint);
    }
}

/// Whether a word may be a slip for another one.
fn may_mean(word: &str, other: &str) -> bool {
    let is_word = |word: &str| {
        word.len() + 1 >= LEAST_WORD && word.bytes().all(|letter| letter.is_ascii_lowercase() || letter == b'_')
    };
    is_word(word) && is_word(other) && is_one_letter_away(word, other)
}

/// The unit that a text was probably meant for: the same with UCUM's brackets and case, else the nearest of the known ones in which no prefix
/// is another, for that would be another value by some power of ten.
fn meant_unit<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let known: Vec<&str> = known.collect();
    let plain = |unit: &str| unit.replace(['[', ']'], "").to_lowercase();
    let same = known.iter().find(|unit| plain(unit) == plain(written)).map(|unit| (*unit).to_owned());
    let in_form = || Some(in_form_of_ucum(written)).filter(|unit| unit != written && is_unit(unit));
    let of_same_prefixes = known.iter().copied().filter(|unit| !differs_in_prefix(&plain(unit), &plain(written)));
    same.or_else(in_form).or_else(|| similar(written, of_same_prefixes).map(str::to_owned))
}

/// `m[IU]/mL` for `mIU/ml`: units that UCUM has in brackets, with the case that it gives them, and L for the litre.
fn in_form_of_ucum(written: &str) -> String {
    const IN_BRACKETS: &[(&str, &str)] = &[
        ("iu", "[IU]"),
        ("mmhg", "mm[Hg]"),
        ("cmh2o", "cm[H2O]"),
        ("hpf", "[HPF]"),
        ("lpf", "[LPF]"),
        ("pfu", "[PFU]"),
    ];
    let term = |term: &str| {
        let plain = term.replace(['[', ']'], "");
        let small = plain.to_ascii_lowercase();
        let bracketed = IN_BRACKETS.iter().find_map(|(name, unit)| {
            let prefix = plain.get(..small.strip_suffix(name)?.len())?;
            let prefix = prefix.replace(['μ', 'µ'], "u");
            (prefix.is_empty() || PREFIXES.contains(&prefix.as_str())).then(|| format!("{prefix}{unit}"))
        });
        let litre = || {
            let prefix =
                small.strip_suffix('l').filter(|prefix| ["", "d", "m", "u", "n", "p", "f"].contains(prefix))?;
            Some(format!("{prefix}L"))
        };
        bracketed.or_else(litre).unwrap_or_else(|| term.to_owned())
    };
    written.trim().split('/').map(term).collect::<Vec<_>>().join("/")
}

/// Whether one part of two units is the same but for what stands before it: `mmol` and `mol`, `mg` and `ug`.
fn differs_in_prefix(one: &str, other: &str) -> bool {
    let parts = |unit: &str| unit.split(['/', '.']).map(str::to_owned).collect::<Vec<_>>();
    let with_prefix = |long: &str, short: &str| {
        let prefix = long.strip_suffix(short);
        prefix.is_some_and(|prefix| PREFIXES.iter().any(|known| known.to_lowercase() == prefix))
    };
    let (one, other) = (parts(one), parts(other));
    let differs = |(one, other): (&String, &String)| {
        let bases = PREFIXES.iter().filter_map(|prefix| one.strip_prefix(&prefix.to_lowercase()));
        let mut bases = bases.filter(|base| !base.is_empty());
        let at_most_a_letter = |lead: &str| lead.chars().nth(1).is_none();
        let is_of_base = |base: &str| other.strip_suffix(base).is_some_and(at_most_a_letter);
        one != other && (with_prefix(one, other) || with_prefix(other, one) || bases.any(is_of_base))
    };
    one.len() == other.len() && one.iter().zip(&other).any(differs)
}

/// Whether two units are the same but for what stands before one part of them: values of one are some power of ten of the other's.
/// (`ug/mL` and `mg/L` differ in two, and are the same.)
fn is_of_another_prefix(one: &str, other: &str) -> bool {
    let parts = |unit: &str| unit.split(['/', '.']).map(str::to_owned).collect::<Vec<_>>();
    let (first, second) = (parts(one), parts(other));
    let differing = first.iter().zip(&second).filter(|(one, other)| one != other).count();
    is_unit(one) && is_unit(other) && differing == 1 && differs_in_prefix(one, other)
}

/// Whether a text has the form of a unit in UCUM (version 2.1, case sensitive). Of units in brackets only the form is asked.
pub(super) fn is_unit(text: &str) -> bool {
    let text = text.strip_prefix('/').unwrap_or(text);
    let mut depth = 0;
    let mut start = 0;
    let mut is_annotation = false;
    for (position, character) in text.char_indices() {
        match character {
            '{' if is_annotation => return false,
            '{' => is_annotation = true,
            '}' => is_annotation = false,
            _ if is_annotation => {}
            '(' => depth += 1,
            ')' => depth -= 1,
            '.' | '/' if depth == 0 => {
                if !is_term(&text[start..position]) {
                    return false;
                }
                start = position + 1;
            }
            _ => {}
        }
        if depth < 0 {
            return false;
        }
    }
    depth == 0 && !is_annotation && is_term(&text[start..])
}

/// `mm`, `m2`, `10*9`, `24`, `100{WBC}`, `{copies}`, `(24.h)`.
fn is_term(term: &str) -> bool {
    if let Some(inner) = term.strip_prefix('(').and_then(|term| term.strip_suffix(')')) {
        return is_unit(inner);
    }
    let (term, annotation) = match term.find('{') {
        Some(open) => (&term[..open], &term[open..]),
        None => (term, ""),
    };
    let is_annotation = annotation.len() > 2 && annotation.find('}') == Some(annotation.len() - 1);
    if term.is_empty() {
        return is_annotation;
    }
    let without_exponent = term.trim_end_matches(|digit: char| digit.is_ascii_digit());
    let without_exponent = match term.len() - without_exponent.len() {
        0 => term,
        _ => without_exponent.trim_end_matches(['+', '-']),
    };
    (annotation.is_empty() || is_annotation)
        && (without_exponent.is_empty() || is_simple(without_exponent) || is_simple(term))
}

fn is_simple(unit: &str) -> bool {
    let in_brackets = |unit: &str| {
        let inner = unit.strip_prefix('[').and_then(|unit| unit.strip_suffix(']'));
        inner.is_some_and(|inner| {
            !inner.is_empty() && inner.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_'.-".contains(&byte))
        })
    };
    let is_metric = |unit: &str| METRIC.contains(&unit) || in_brackets(unit);
    OTHERS.contains(&unit)
        || is_metric(unit)
        || PREFIXES.iter().any(|prefix| unit.strip_prefix(prefix).is_some_and(is_metric))
}

#[cfg(test)]
mod tests {
    use super::{is_unit, meant_unit};

    #[test]
    fn a_unit_is_never_taken_for_one_of_another_prefix() {
        let known = ["U/L", "[IU]/mL", "mmol/L", "mg/dL", "10*9/L", "g/L"];
        for (written, meant) in [
            ("mIU/ml", Some("m[IU]/mL")),
            ("IU/L", Some("[IU]/L")),
            ("IU/l", Some("[IU]/L")),
            ("iu/ml", Some("[IU]/mL")),
            ("uIU/mL", Some("u[IU]/mL")),
            ("mmHg", Some("mm[Hg]")),
            ("mmoI/L", Some("mmol/L")),
            ("MMOL/L", Some("mmol/L")),
            ("mmol/LL", Some("mmol/L")),
            ("qmol/L", None),
            ("10*9L", Some("10*9/L")),
            ("xyzzy", None),
        ] {
            assert_eq!(meant_unit(written, known.iter().copied()).as_deref(), meant, "{written}");
        }
        assert_eq!(meant_unit("umol/Lx", ["mmol/L"].into_iter()), None);
        assert_eq!(meant_unit("umol/Lx", ["umol/L"].into_iter()).as_deref(), Some("umol/L"));
    }

    #[test]
    fn units_have_the_form_of_ucum() {
        for unit in [
            "g/L",
            "10*9/L",
            "/[HPF]",
            "%",
            "mm[Hg]",
            "cm[H2O]",
            "u[IU]/mL",
            "mL/min/{1.73_m2}",
            "mg/(24.h)",
            "{copies}/mL",
            "/100{WBC}",
            "kg/m2",
            "m/s2",
            "mosm/kg{H2O}",
            "[arb'U]/mL",
            "g%",
            "dB",
            "10*",
            "L/L",
            "nmol/min/mL",
            "mm3",
            "s-1",
            "1",
            "/L",
        ] {
            assert!(is_unit(unit), "{unit}");
        }
        for text in [
            "",
            "/",
            "mmol/Lq",
            "mmol/",
            "mmol//L",
            "10*9/Lq",
            "xg/L",
            "个/HP",
            "μmol/L",
            "mg/(24.h",
            "mg/24.h)",
            "{copies",
            "copies}",
            "{}",
            "g/L{a}{b}",
            "10^9/L ",
            "mm Hg",
            "[IU/mL",
            "IU/mL",
        ] {
            assert_eq!(is_unit(text), text == "{text}");
        }
    }
}
