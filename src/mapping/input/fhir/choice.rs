//! What a path chooses from by its first `where(…)`: the elements that it finds, and those that it passes over.

use super::{Element, ElementPath, ElementScope, is_without_value};
use crate::fhir::Path;

const WHERE: &str = ".where(";

impl ElementPath {
    /// The places of the elements that its first condition chooses from, and of those that it chooses. Nothing of a path without one.
    pub(crate) fn choice(&self, scope: &ElementScope<'_>) -> Option<[Vec<String>; 2]> {
        let source = self.path.source();
        let start = source.find(WHERE)?;
        let end = closing(source, start + WHERE.len())?;
        // In parentheses or a function it is not a path of its own.
        let from = Path::parse(&source[..start]).ok()?;
        let chosen = Path::parse(&source[..end]).ok()?;
        let places = |path: &Path| {
            let found = path.evaluate(scope.inner()).unwrap_or_default();
            let given = found.into_iter().filter(|node| !is_without_value(node));
            given.map(|node| Element(node).location()).collect::<Vec<_>>()
        };
        Some([places(&from), places(&chosen)])
    }
}

/// Where the parenthesis ends that is open before `start`, behind it; texts in quotes are passed over.
fn closing(source: &str, start: usize) -> Option<usize> {
    let (mut depth, mut is_text, mut is_escaped) = (1, false, false);
    for (position, character) in source.char_indices().skip_while(|(position, _)| *position < start) {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_text => is_escaped = true,
            '\'' => is_text = !is_text,
            '(' if !is_text => depth += 1,
            ')' if !is_text => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(position + 1);
        }
    }
    None
}
