//! A block of a base with another `each` than its own: what its paths then do not find is one mistake, and not theirs.

use super::{Compiler, Format};
use crate::diagnostic::Diagnostic;
use crate::mapping::file::{Block, Located};
use crate::mapping::input::{ElementPath, Within};

/// What is told of paths by what they are asked of.
const OF_PATHS: &[&str] = &["M005", "M006", "M018", "M021", "M022", "M027"];

impl Compiler<'_, '_> {
    /// Tells once, at the `each`, what was found of the base's paths from problem `first` on.
    pub(super) fn fold_problems_of_base(&mut self, block: &Block, place: &str, first: usize) {
        let Some(each) = block.each.as_ref().filter(|each| each.file != block.file) else { return };
        let found = self.reader.problems.split_off(first);
        let is_of_base = |problem: &Diagnostic| {
            let mut later = self.reader.files.iter().skip(each.file + 1);
            OF_PATHS.contains(&problem.code) && later.any(|file| file.name == problem.file)
        };
        let (folded, others): (Vec<_>, Vec<_>) = found.into_iter().partition(is_of_base);
        self.reader.problems.extend(others);
        let Some(example) = folded.iter().find(|problem| problem.is_error()).or(folded.first()) else { return };
        let base = &self.reader.files[block.file];
        let paths = match folded.len() {
            1 => "a path does".to_owned(),
            many => format!("{many} of its paths do"),
        };
        let text = format!(
            "this takes the place of the each of the base's block of {place} in {}:{}, and {paths} not fit it: {}",
            base.name,
            base.line(block.span.start),
            example.text
        );
        let hint = "leave each as the base has it; a block of its own has a name of its own: block = \"…\"";
        if example.is_error() {
            self.error(each.file, each.span.clone(), "M020", text, hint);
        } else {
            self.reader.warn(each.file, each.span.clone(), "M020", text, hint);
        }
    }

    /// What paths are relative to inside an `each` that is none: what was probably meant, else anything.
    pub(super) fn probably_within(&self, each: &Located<String>, outer: &Within) -> Within {
        match self.format {
            Format::Fhir => ElementPath::meant_by(&each.value, outer).map(|path| path.inside(outer)),
            Format::Hl7v2 => None,
        }
        .unwrap_or_else(|| Within::unknown(self.format))
    }
}
