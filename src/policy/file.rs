//! `policies/NAME.toml`: a policy as written, checked.

use std::collections::{BTreeMap, BTreeSet};

use super::class::{Document, FieldClass, Treatment};
use super::joint;
use super::special::Categories;
use crate::diagnostic::{Diagnostic, SourceFile, similar};
use crate::document::{self, Placed};

/// Marks the diagnostics of policy files.
pub const CODE: &str = "P001";
/// The policy that leaves every field clear: what a consumer has that names none.
pub const FULL_POLICY: &str = "full";
/// The policies that ship, for installations that have no such file.
const SHIPPED: [(&str, &str); 4] = [
    (FULL_POLICY, include_str!("../../policies/full.toml")),
    ("care", include_str!("../../policies/care.toml")),
    ("operations", include_str!("../../policies/operations.toml")),
    ("marketing", include_str!("../../policies/marketing.toml")),
];

/// The text of a policy that ships under this name.
pub fn shipped(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// A field policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// What it is for, in a line.
    pub title: String,
    treatments: BTreeMap<FieldClass, Treatment>,
    /// The special categories that may leave.
    pub special: BTreeSet<String>,
}

/// The treatments as written, with their places: what the check of joint disclosure looks at.
#[derive(Debug, Default)]
pub(super) struct Written {
    treatments: BTreeMap<FieldClass, Placed<Treatment>>,
}

impl Written {
    pub(super) fn treatment(&self, class: FieldClass) -> Treatment {
        self.treatments.get(&class).map_or(Treatment::Omit, |placed| placed.value)
    }

    pub(super) fn span(&self, class: FieldClass) -> std::ops::Range<usize> {
        self.treatments.get(&class).map_or(0..0, |placed| placed.span.clone())
    }
}

impl Policy {
    /// Reads and checks a policy. `None`: the text is no TOML. With an error among the problems it must not be used.
    pub fn read(name: &str, file: &SourceFile, categories: &Categories) -> (Option<Self>, Vec<Diagnostic>) {
        document::read(file, CODE, |mut section| {
            let problems = section.problems();
            let title = section.text("title").map_or_else(String::new, |title| title.value);
            let mut special = BTreeSet::new();
            for category in section.texts("special").unwrap_or_default() {
                if categories.named(&category.value).is_none() {
                    let known: Vec<&str> = categories.iter().map(|category| category.name.as_str()).collect();
                    let hint = similar(&category.value, known.iter().copied()).map_or_else(
                        || format!("known: {}", known.join(", ")),
                        |known| format!("did you mean `{known}`?"),
                    );
                    problems.report(
                        category.span,
                        format!("no special category is called `{}`", category.value),
                        Some(hint),
                    );
                    continue;
                }
                special.insert(category.value);
            }
            let mut written = Written::default();
            let mut fields = section.section("fields");
            for class in FieldClass::ALL.iter().copied() {
                let Some(text) = fields.text(class.name()) else { continue };
                match treatment(class, &text.value) {
                    Ok(value) => drop(written.treatments.insert(class, Placed { value, span: text.span })),
                    Err(hint) => problems.report(
                        text.span,
                        format!("`{}` is not a treatment of {}", text.value, class.name()),
                        Some(hint),
                    ),
                }
            }
            fields.finish();
            section.finish();
            joint::check(&written, problems);
            let treatments = written.treatments.into_iter().map(|(class, placed)| (class, placed.value)).collect();
            Self { name: name.to_owned(), title, treatments, special }
        })
    }

    /// A policy as it ships; `None`: none does under this name.
    pub fn shipped(name: &str, categories: &Categories) -> Option<Self> {
        let file = SourceFile { name: name.to_owned(), text: shipped(name)?.to_owned() };
        Self::read(name, &file, categories).0
    }

    /// What becomes of the fields of a class.
    pub fn treatment(&self, class: FieldClass) -> Treatment {
        match class {
            FieldClass::Key => Treatment::Clear,
            class => self.treatments.get(&class).copied().unwrap_or(Treatment::Omit),
        }
    }

    /// Whether the fields of a class leave as they are.
    pub fn is_clear(&self, class: FieldClass) -> bool {
        self.treatment(class) == Treatment::Clear
    }

    /// Whether a field of a document's first level leaves as it is, with all its parts.
    pub fn is_clear_field(&self, document: Document, name: &str) -> bool {
        let mut rows = document
            .rows()
            .iter()
            .filter(|row| row.path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
            .peekable();
        rows.peek().is_some() && rows.all(|row| self.is_clear(row.class))
    }

    /// Whether nothing of the class leaves.
    pub fn omits(&self, class: FieldClass) -> bool {
        self.treatment(class) == Treatment::Omit
    }

    /// Whether everything leaves as it is.
    pub fn hides_nothing(&self, categories: &Categories) -> bool {
        FieldClass::ALL.iter().all(|class| self.is_clear(*class))
            && categories.iter().all(|category| self.special.contains(&category.name))
    }
}

/// The treatment of this name, if it fits the class; else what would.
fn treatment(class: FieldClass, text: &str) -> Result<Treatment, String> {
    let fitting = || class.treatments().iter().copied().chain([Treatment::Omit]);
    fitting()
        .find(|treatment| treatment.name() == text)
        .ok_or_else(|| format!("one of {}", fitting().map(Treatment::name).collect::<Vec<_>>().join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let file = SourceFile { name: "policies/own.toml".to_owned(), text: text.to_owned() };
        let (_, found) = Policy::read("own", &file, &Categories::shipped());
        found
            .iter()
            .map(|found| {
                format!("{}:{} {} ({})", found.line, found.column, found.text, found.hint.clone().unwrap_or_default())
            })
            .collect()
    }

    #[test]
    fn what_a_policy_cannot_mean_is_told_with_its_place() {
        assert_eq!(
            problems("special = [\"hvi\"]\n[fields]\nnam = \"clear\"\nsex = \"mask\"\nphone = \"mask\"\n"),
            [
                "1:12 no special category is called `hvi` (did you mean `hiv`?)",
                "3:1 unknown key `fields.nam` (did you mean `name`?)",
                "4:7 `mask` is not a treatment of sex (one of clear, omit)",
            ]
        );
    }

    #[test]
    fn the_shipped_policies_have_nothing_wrong_and_name_every_class() {
        for (name, text) in SHIPPED {
            assert_eq!(problems(text), Vec::<String>::new(), "{name}");
            for class in FieldClass::ALL {
                assert!(
                    text.lines().any(|line| line.split(' ').next() == Some(class.name())),
                    "{name} {}",
                    class.name()
                );
            }
        }
    }

    #[test]
    fn the_shipped_full_policy_hides_nothing_and_an_empty_one_everything() {
        let categories = Categories::shipped();
        let read = |text: &str| {
            let file = SourceFile { name: "policies/own.toml".to_owned(), text: text.to_owned() };
            let (policy, problems) = Policy::read("own", &file, &categories);
            assert_eq!(problems, []);
            policy.unwrap()
        };
        let full = shipped(FULL_POLICY).unwrap();
        assert!(read(full).hides_nothing(&categories));
        let empty = read("");
        assert!(FieldClass::ALL.iter().all(|class| empty.omits(*class)));
        let without_one = full.replace("\"hiv\", ", "");
        assert!(!read(&without_one).hides_nothing(&categories));
    }
}
