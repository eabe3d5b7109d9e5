//! Special categories: what a record must hold to be about HIV, a sexually transmitted disease, psychiatry, genetics or an abortion.
//!
//! The lists are a file, `policies/special-categories.toml`, that a hospital completes with its own departments and codes.
//!
//! The rule of what is withheld, so that nothing shows by its absence:
//! - A **visit** is withheld as a whole if its department, ward, facility, reason or disposition, one of its procedures, or its main
//!   diagnosis falls in a category; and if all its diagnoses do. The main diagnosis is that of rank 1; without ranks, the first.
//! - Of other visits a **diagnosis** that falls in a category is taken out: what is left looks like a visit on which it was never made.
//! - A **report** is withheld as a whole if its panel, specimen, department, conclusion or note falls in a category, or all its results do; and if
//!   its visit is withheld (that is decided in `disclosure`, which knows the visit).
//! - Of other reports a **result** that falls in a category is taken out, whatever its value: that it was asked for is no news where it is
//!   part of what everybody is asked for. `abnormal` and `critical` of the report are those of the results that are left.

use crate::diagnostic::{Diagnostic, SourceFile};
use crate::document;
use crate::record::{Fields, Value};

/// Name of the file, beside the policies.
pub const SPECIAL_FILE: &str = "special-categories.toml";
/// That file as it ships, for installations that have none.
pub const SPECIAL_TEXT: &str = include_str!("../../policies/special-categories.toml");

/// All special categories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Categories(Vec<Category>);

/// One special category.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Category {
    /// As policies name it.
    pub name: String,
    /// What it is called for people.
    pub title: String,
    diagnoses: Vec<Codes>,
    procedures: Vec<String>,
    tests: Vec<String>,
    departments: Vec<String>,
    words: Vec<String>,
}

/// ICD-10 codes: a range of categories, `A50-A64`, or all codes that begin so, `Z21`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Codes {
    Range(String, String),
    Prefix(String),
}

impl Codes {
    fn read(text: &str) -> Option<Self> {
        let is_category = |text: &str| {
            let bytes = text.as_bytes();
            bytes.len() == 3 && bytes[0].is_ascii_uppercase() && bytes[1..].iter().all(u8::is_ascii_digit)
        };
        if let Some((first, last)) = text.split_once('-') {
            let fits = is_category(first) && is_category(last) && first <= last;
            return fits.then(|| Self::Range(first.to_owned(), last.to_owned()));
        }
        text.get(..3).filter(|start| is_category(start)).map(|_| Self::Prefix(text.to_owned()))
    }

    fn hold(&self, code: &str) -> bool {
        match self {
            Self::Range(first, last) => {
                code.get(..3).is_some_and(|category| (first.as_str()..=last.as_str()).contains(&category))
            }
            Self::Prefix(prefix) => code.starts_with(prefix.as_str()),
        }
    }
}

impl Categories {
    /// Those that ship.
    pub fn shipped() -> Self {
        let file = SourceFile { name: SPECIAL_FILE.to_owned(), text: SPECIAL_TEXT.to_owned() };
        Self::read(&file).0.unwrap_or_default()
    }

    /// Reads and checks the file. `None`: the text is no TOML. With an error among the problems it must not be used.
    pub fn read(file: &SourceFile) -> (Option<Self>, Vec<Diagnostic>) {
        document::read(file, super::CODE, |mut root| {
            let problems = root.problems();
            let mut categories: Vec<Category> = Vec::new();
            for mut section in root.sections("categories") {
                let name = section.required("name");
                let title = section.text("title").map_or_else(String::new, |title| title.value);
                let mut diagnoses = Vec::new();
                for code in section.texts("diagnoses").unwrap_or_default() {
                    match Codes::read(&code.value) {
                        Some(codes) => diagnoses.push(codes),
                        None => problems.report(
                            code.span,
                            "not a code or range of ICD-10",
                            Some("for example \"Z21\", \"O98.1\" or \"A50-A64\"".to_owned()),
                        ),
                    }
                }
                let mut list = |key| -> Vec<String> {
                    let mut kept = Vec::new();
                    for text in section.texts(key).unwrap_or_default() {
                        // An empty word is in every text.
                        if text.value.trim().is_empty() {
                            problems.report(text.span, format!("{key}: an empty text"), None);
                        } else {
                            kept.push(folded(&text.value));
                        }
                    }
                    kept
                };
                let (procedures, tests) = (list("procedures"), list("tests"));
                let (departments, words) = (list("departments"), list("words"));
                if let Some(name) = &name
                    && categories.iter().any(|known| known.name == name.value)
                {
                    problems.report(name.span.clone(), format!("a second category is called `{}`", name.value), None);
                }
                section.finish();
                let name = name.map_or_else(String::new, |name| name.value);
                categories.push(Category { name, title, diagnoses, procedures, tests, departments, words });
            }
            root.finish();
            Self(categories)
        })
    }

    /// The categories.
    pub fn iter(&self) -> impl Iterator<Item = &Category> {
        self.0.iter()
    }

    /// The category of this name.
    pub fn named(&self, name: &str) -> Option<&Category> {
        self.iter().find(|category| category.name == name)
    }
}

/// Small letters, full-width ones narrow.
fn folded(text: &str) -> String {
    let narrow = |letter: char| match u32::from(letter) {
        wide @ 0xff01..=0xff5e => char::from_u32(wide - 0xfee0).unwrap_or(letter),
        _ => letter,
    };
    text.chars().map(narrow).flat_map(char::to_lowercase).collect()
}

/// Whether a folded text holds a folded word: one in Latin letters as a word of its own, any other anywhere.
fn holds(text: &str, word: &str) -> bool {
    let is_letter = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphabetic());
    text.match_indices(word).any(|(place, found)| {
        let latin = |edge: Option<char>| is_letter(edge);
        let before = latin(word.chars().next()) && is_letter(text[..place].chars().next_back());
        let after = latin(word.chars().next_back()) && is_letter(text[place + found.len()..].chars().next());
        !before && !after
    })
}

impl Category {
    fn texts_fall<'t>(&self, texts: impl IntoIterator<Item = &'t str>) -> bool {
        texts.into_iter().any(|text| {
            let text = folded(text);
            self.words.iter().any(|word| holds(&text, word))
        })
    }

    fn place_falls<'t>(&self, texts: impl IntoIterator<Item = &'t str>) -> bool {
        texts.into_iter().any(|text| {
            let text = folded(text);
            self.departments.iter().chain(&self.words).any(|word| holds(&text, word))
        })
    }

    fn diagnosis_falls(&self, diagnosis: &Value) -> bool {
        let mut codes = codes(diagnosis).map(|code| code.trim().to_ascii_uppercase());
        codes.any(|code| self.diagnoses.iter().any(|codes| codes.hold(&code))) || self.texts_fall(all_texts(diagnosis))
    }

    fn visit_falls(&self, visit: &Fields) -> bool {
        let of = |names: &[&str]| -> Vec<&str> {
            names.iter().filter_map(|name| visit.get(name)).flat_map(all_texts).collect()
        };
        let procedures = list(visit, "procedures");
        let by_code = |procedure: &Value| {
            codes(procedure).any(|code| self.procedures.iter().any(|known| folded(code).starts_with(known)))
        };
        let diagnoses = list(visit, "diagnoses");
        self.place_falls(of(&["department", "ward", "facility"]))
            || self.place_falls(of(&["reason", "disposition"]))
            || procedures.iter().any(|procedure| by_code(procedure) || self.texts_fall(all_texts(procedure)))
            || main_diagnoses(diagnoses).any(|diagnosis| self.diagnosis_falls(diagnosis))
    }

    fn test_falls(&self, coded: &Value) -> bool {
        codes(coded).any(|code| self.tests.contains(&folded(code.trim()))) || self.texts_fall(all_texts(coded))
    }

    /// A result falls by what was examined, by any text, and by a value that is a diagnosis.
    fn result_falls(&self, result: &Value) -> bool {
        let value = result.get("value_code");
        let values = value.into_iter().chain(value.and_then(|value| value.get("alternate")));
        let mut diagnoses = values
            .filter(|coded| text(coded, "system").is_some_and(is_icd))
            .filter_map(|coded| text(coded, "code"))
            .map(|code| code.trim().to_ascii_uppercase());
        diagnoses.any(|code| self.diagnoses.iter().any(|codes| codes.hold(&code))) || self.test_falls(result)
    }

    fn report_falls(&self, report: &Fields) -> bool {
        let of = |name: &str| report.get(name).map(all_texts).unwrap_or_default();
        report.get("panel").is_some_and(|panel| self.test_falls(panel))
            || self.texts_fall(of("specimen"))
            || self.texts_fall(of("conclusion"))
            || self.texts_fall(of("note"))
            || self.place_falls(of("department"))
    }
}

fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name).and_then(Value::as_str)
}

/// The code of a test, diagnosis or procedure, and that of another coding system beside it.
fn codes(coded: &Value) -> impl Iterator<Item = &str> {
    let alternate = coded.get("alternate").and_then(|alternate| text(alternate, "code"));
    text(coded, "code").into_iter().chain(alternate)
}

/// Whether a coding system is an ICD-10: `ICD10CN`, `http://hl7.org/fhir/sid/icd-10`, `I10` (HL7 table 0396).
fn is_icd(system: &str) -> bool {
    let system = folded(system);
    system.contains("icd") || system.starts_with("i10")
}

fn list<'f>(record: &'f Fields, name: &str) -> &'f [Value] {
    record.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Every text in a value.
fn all_texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text.as_str()],
        Value::Array(items) => items.iter().flat_map(all_texts).collect(),
        Value::Object(fields) => fields.values().flat_map(all_texts).collect(),
        _ => Vec::new(),
    }
}

/// Those of rank 1; where none has a rank, the first.
fn main_diagnoses(diagnoses: &[Value]) -> impl Iterator<Item = &Value> {
    let ranked = diagnoses.iter().any(|diagnosis| diagnosis.get("rank").is_some());
    diagnoses
        .iter()
        .enumerate()
        .filter(move |(place, diagnosis)| match diagnosis.get("rank").and_then(Value::as_i64) {
            Some(rank) => rank == 1,
            None => !ranked && *place == 0,
        })
        .map(|(_, diagnosis)| diagnosis)
}

/// The visit without the diagnoses that fall in one of `withheld`. `None`: it is withheld as a whole.
pub(super) fn visit(withheld: &[&Category], mut visit: Fields) -> Option<Fields> {
    if withheld.iter().any(|category| category.visit_falls(&visit)) {
        return None;
    }
    let falls = |diagnosis: &Value| withheld.iter().any(|category| category.diagnosis_falls(diagnosis));
    take_out(&mut visit, "diagnoses", falls).then_some(visit)
}

/// The report without the results that fall in one of `withheld`. `None`: it is withheld as a whole.
pub(super) fn lab_report(withheld: &[&Category], mut report: Fields) -> Option<Fields> {
    if withheld.iter().any(|category| category.report_falls(&report)) {
        return None;
    }
    let falls = |result: &Value| withheld.iter().any(|category| category.result_falls(result));
    let before = list(&report, "results").len();
    if !take_out(&mut report, "results", falls) {
        return None;
    }
    if list(&report, "results").len() < before {
        for flag in ["abnormal", "critical"] {
            let said: Vec<bool> = list(&report, "results")
                .iter()
                .filter_map(|result| result.get(flag).and_then(Value::as_bool))
                .collect();
            report.remove(flag);
            if !said.is_empty() {
                report.insert(flag, said.contains(&true).into());
            }
        }
    }
    Some(report)
}

/// Takes entries out of a list; `false`: there were some and none is left.
fn take_out(record: &mut Fields, name: &str, falls: impl Fn(&Value) -> bool) -> bool {
    let Some(entries) = record.get_mut(name).and_then(Value::as_array_mut) else { return true };
    if entries.is_empty() {
        return true;
    }
    entries.retain(|entry| !falls(entry));
    !entries.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::json;

    fn fields(value: Value) -> Fields {
        value.as_object().unwrap().clone()
    }

    /// What is left of a visit when only `allowed` may leave.
    fn left(value: Value, allowed: &[&str], of: fn(&[&Category], Fields) -> Option<Fields>) -> Option<Value> {
        let categories = Categories::shipped();
        let withheld: Vec<&Category> =
            categories.iter().filter(|category| !allowed.contains(&category.name.as_str())).collect();
        of(&withheld, fields(value)).map(Value::Object)
    }

    #[test]
    fn the_shipped_file_has_nothing_wrong_and_names_five_categories() {
        let file = SourceFile { name: SPECIAL_FILE.to_owned(), text: SPECIAL_TEXT.to_owned() };
        assert_eq!(Categories::read(&file).1, []);
        let names: Vec<String> = Categories::shipped().iter().map(|category| category.name.clone()).collect();
        assert_eq!(names, ["hiv", "std", "psychiatric", "genetic", "abortion"]);
    }

    #[test]
    fn a_visit_that_is_about_a_category_is_withheld_and_another_loses_the_diagnosis_alone() {
        let stay = |more: Value| {
            let mut visit = fields(json!({"status": "finished", "department": {"code": "05", "name": "普外科"}}));
            visit.extend(fields(more));
            Value::Object(visit)
        };
        let appendix = json!({"code": "K35.900", "name": "急性阑尾炎", "rank": 1});
        let hiv = json!({"code": "b24", "name": "艾滋病", "rank": 2});
        let check = |more: Value, expected: Option<Value>| assert_eq!(left(stay(more), &[], visit), expected.map(stay));
        check(json!({}), Some(json!({})));
        check(json!({"diagnoses": [appendix, hiv]}), Some(json!({"diagnoses": [appendix]})));
        check(json!({"diagnoses": [hiv]}), None);
        check(json!({"diagnoses": [{"code": "F32.9"}, {"code": "K35"}]}), None);
        check(
            json!({"diagnoses": [{"code": "K35"}, {"code": "F32.9"}]}),
            Some(json!({"diagnoses": [{"code": "K35"}]})),
        );
        check(json!({"department": {"code": "31", "name": "精神科门诊"}}), None);
        check(json!({"procedures": [{"code": "69.5100", "name": "负压吸引术"}]}), None);
        check(json!({"reason": "ＨＩＶ 咨询"}), None);
        check(json!({"reason": "archiving hives"}), Some(json!({"reason": "archiving hives"})));
        check(
            json!({"department": {"code": "12", "name": "皮肤性病科"}}),
            Some(json!({"department": {"code": "12", "name": "皮肤性病科"}})),
        );
        assert_eq!(left(stay(json!({"diagnoses": [hiv]})), &["hiv"], visit), Some(stay(json!({"diagnoses": [hiv]}))));
        assert_eq!(left(stay(json!({"diagnoses": [hiv]})), &["std"], visit), None, "each category by its name");
    }

    #[test]
    fn a_report_of_a_category_is_withheld_and_a_common_panel_loses_the_result_and_its_flags() {
        let glucose = json!({"code": "GLU", "name": "葡萄糖", "abnormal": false});
        let hiv = json!({"code": "HIV", "name": "人类免疫缺陷病毒抗体", "abnormal": true, "critical": true});
        let panel = |code: &str, name: &str, results: Value, more: Value| {
            let mut report = fields(json!({"panel": {"code": code, "name": name}, "results": results}));
            report.extend(fields(more));
            Value::Object(report)
        };
        let flags = json!({"abnormal": true, "critical": true});
        let whole = panel("X4", "术前四项", json!([glucose, hiv]), flags.clone());
        let expected = panel("X4", "术前四项", json!([glucose]), json!({"abnormal": false}));
        assert_eq!(left(whole.clone(), &[], lab_report), Some(expected));
        assert_eq!(left(whole.clone(), &["hiv"], lab_report), Some(whole));
        let found = |value: Value| json!({"code": "DX", "name": "诊断", "value_code": value});
        for (value, falls) in [
            (json!({"code": "B24", "system": "ICD10CN"}), true),
            (json!({"code": "X", "system": "L", "alternate": {"code": "b24.x00", "system": "I10"}}), true),
            (json!({"code": "K35", "system": "ICD10CN"}), false),
            (json!({"code": "B24", "system": "L"}), false),
            (json!({"code": "1", "alternate": {"code": "2", "name": "梅毒螺旋体"}}), true),
        ] {
            let both = panel("X4", "术前四项", json!([glucose, found(value.clone())]), json!({}));
            let kept = left(both, &[], lab_report).unwrap();
            assert_eq!(list(&fields(kept), "results").len(), if falls { 1 } else { 2 }, "{value}");
        }
        for withheld in [
            panel("H1", "HIV抗体初筛", json!([glucose]), json!({})),
            panel("7917-8", "Ab", json!([glucose]), json!({})),
            panel("X4", "A", json!([glucose]), json!({"panel": {"code": "X4", "alternate": {"code": "7917-8"}}})),
            panel("X4", "术前四项", json!([hiv]), flags),
            panel("X4", "术前四项", json!([glucose]), json!({"conclusion": "建议复查梅毒滴度"})),
            panel("X4", "术前四项", json!([glucose]), json!({"note": "建议复查梅毒滴度"})),
            panel("X4", "术前四项", json!([glucose]), json!({"department": {"name": "遗传实验室"}})),
        ] {
            assert_eq!(left(withheld.clone(), &[], lab_report), None, "{withheld}");
        }
    }

    #[test]
    fn what_the_file_cannot_mean_is_told_with_its_place() {
        let text = "[[categories]]\nname = \"hiv\"\ndiagnoses = [\"B20-24\"]\nwords = [\"\"]\nword = []\n";
        let file = SourceFile { name: SPECIAL_FILE.to_owned(), text: text.to_owned() };
        let found: Vec<(usize, String)> =
            Categories::read(&file).1.into_iter().map(|found| (found.line, found.text)).collect();
        assert_eq!(
            found,
            [
                (3, "not a code or range of ICD-10".to_owned()),
                (4, "words: an empty text".to_owned()),
                (5, "unknown key `categories[1].word`".to_owned())
            ]
        );
    }
}
