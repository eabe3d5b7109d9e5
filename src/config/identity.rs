//! `identity.toml`: the model of matching, read, checked and written. Every key is a setting of [`Model`]; a file holds what differs from the
//! defaults, or all of it.

use std::fmt::Write as _;
use std::path::Path;

use crate::diagnostic::{Diagnostic, SourceFile};
use crate::document::{self, Section};
use crate::identity::{Model, Setting};

/// Marks the diagnostics of this file.
const CODE: &str = "C003";

/// Reads a model file; `name` stands in its diagnostics.
///
/// # Errors
/// Every problem of the file: what cannot be read, keys that no setting has, values out of range, thresholds that contradict each other.
pub fn load(file: &Path, name: String) -> Result<Model, Vec<Diagnostic>> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        let problem = Diagnostic::unreadable(name.clone(), CODE, format!("cannot be read: {error}"));
        vec![problem.hint("make it readable UTF-8, or remove `[identity] model` to use the built-in defaults")]
    })?;
    parse(SourceFile { name, text })
}

/// [`load`] for a text at hand.
///
/// # Errors
/// As [`load`].
pub fn parse(file: SourceFile) -> Result<Model, Vec<Diagnostic>> {
    let (model, problems) = document::read(&file, CODE, read);
    match model {
        Some(model) if problems.is_empty() => Ok(model),
        _ => Err(problems),
    }
}

fn read(mut document: Section<'_>) -> Model {
    let problems = document.problems();
    let mut model = Model::default();
    if let Some(version) = document.text("version") {
        if version.value.trim().is_empty() {
            problems.report(version.span, "version is empty: decisions are stored under this name", None);
        } else {
            model.version = version.value;
        }
    }
    let settings: Vec<Setting> = model.settings().collect();
    let mut weights = document.section("weights");
    for settings in settings.chunk_by(|one, next| one.section == next.section) {
        let Some(first) = settings.first() else { continue };
        let mut section = match first.section.strip_prefix("weights.") {
            Some(name) => weights.section(name),
            None => document.section(first.section),
        };
        for setting in settings {
            let Some(number) = section.number(setting.key) else { continue };
            if !model.set(setting.section, setting.key, number.value) {
                let (least, greatest) = setting.range;
                let text = format!(
                    "{}.{}: {} is not between {least} and {greatest}",
                    setting.section, setting.key, number.value
                );
                problems.report(number.span, text, Some(format!("it is the {}", setting.meaning)));
            }
        }
        section.finish();
    }
    weights.finish();
    if model.review_bits() > model.link_bits() {
        let text = "decide.review is greater than decide.link: what is linked would be asked about as well";
        problems.report(document.span(), text, Some("the defaults are link = 0.999 and review = 0.5".into()));
    }
    document.finish();
    model
}

/// The whole model as a file that [`load`] reads back.
pub fn written(model: &Model) -> String {
    let mut text = String::from(HEAD);
    let _ = writeln!(text, "version = {}", toml_text(&model.version));
    let settings: Vec<Setting> = model.settings().collect();
    for settings in settings.chunk_by(|one, next| one.section == next.section) {
        let Some(first) = settings.first() else { continue };
        let _ = writeln!(text, "\n[{}]", first.section);
        let width = settings.iter().map(|setting| setting.key.len()).max().unwrap_or(0);
        for Setting { key, value, meaning, .. } in settings {
            let value = number(*value);
            let _ = writeln!(text, "{key:width$} = {value:<8} # {meaning}");
        }
    }
    text
}

const HEAD: &str = "\
# How Heyi decides which patient records are one person. Every key with its value; what is left out is as it is here.
#
# A weight is in bits, log2(m/u): how much more often that agreement is met in two records of one patient than in two of different
# patients. Weights and prior add up to the odds; a fact that one side does not give weighs nothing. `heyi identity train` estimates the
# weights from this site's own records into a new file, `heyi identity compare FILE` shows what it would change. A changed file takes
# effect at the next start, for records that come from then on: it moves nobody by itself.
#
# What no weight outweighs is a case for review: [veto], and, where no number of the patient's own agrees,
# - a name that is missing or a rendering, a birth date that is missing (but in letters), or another sex: a household has several such;
# - no more in common than name, birth date and sex, while a phone, a home or a card differs (decide.strangers_differ); two houses of one
#   street are two homes.
# Years of birth apart are a slip of one digit under the same name (in letters also under one with a slip, in the same home), and, under the
# same name in the same home, anything below the sixteen years that a parent of one's name is older: brothers and sisters do not bear one name.
# Addresses in letters are close with every part equal or a slip apart, and where two of street, number and name of the house agree in one
# town. A number of the patient's own outweighs a name in letters that disagrees where the birth date, the surname, the home or the street
# agrees too; the given name with a slip beside another surname is a marriage.
#
# The name under which decisions are stored; give a changed file a new one.
";

/// Digits enough to be read back as the same number, and no exponents where none are needed.
fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-3 {
        format!("{value:e}")
    } else if value.fract() == 0.0 {
        format!("{value:.1}")
    } else {
        value.to_string()
    }
}

fn toml_text(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace(char::is_control, " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let file = SourceFile { name: "identity.toml".to_owned(), text: text.to_owned() };
        let found = parse(file).err().unwrap_or_default();
        found.iter().map(|problem| format!("{}:{} {}", problem.line, problem.column, problem.text)).collect()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut model = Model::default();
        model.version = "site \"2\"".to_owned();
        for setting in Model::default().settings() {
            let (least, greatest) = setting.range;
            assert!(model.set(setting.section, setting.key, least + (greatest - least) * 0.123_456_789), "{setting:?}");
        }
        assert!(model.set("decide", "review", 0.4));
        let file = SourceFile { name: "identity.toml".to_owned(), text: written(&model) };
        assert_eq!(parse(file).map_err(|found| format!("{found:?}")), Ok(model));
    }

    #[test]
    fn the_shipped_file_holds_the_defaults() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/identity.toml");
        if std::env::var_os("HEYI_ACCEPT").is_some() {
            std::fs::write(&file, written(&Model::default())).unwrap();
        }
        assert_eq!(std::fs::read_to_string(file).unwrap(), written(&Model::default()), "HEYI_ACCEPT=1 writes it");
    }

    #[test]
    fn what_no_setting_has_is_told_with_its_place() {
        assert_eq!(problems("[decide]\nlink = 0.99"), Vec::<String>::new());
        for (text, expected) in [
            ("[decide]\nlnk = 0.99", "2:1 unknown key `decide.lnk`"),
            ("[decide]\nlink = 2", "2:8 decide.link: 2 is not between 0.9 and 1"),
            ("[decide]\nlink = \"high\"", "2:8 decide.link must be a number"),
            ("[weights.nam]\nexact = 1", "1:10 unknown key `weights.nam`"),
            ("[weights.name]\nexact = nan", "2:9 weights.name.exact: NaN is not between -40 and 40"),
            ("version = \"\"", "1:11 version is empty: decisions are stored under this name"),
        ] {
            let found = problems(text);
            assert!(found.iter().any(|problem| problem.starts_with(expected)), "{text}: {found:?}");
        }
    }
}
