//! One slip, one problem: of several that one slip makes, the one that says most stays.
//!
//! What is left out here appears when the slip is mended, if it is one of its own.

use crate::diagnostic::{Diagnostic, Severity};

/// Problems of a rule that follow from what is wrong with its path: the rule stands in the place of the base's, and merges read otherwise.
const FOLLOWING: &[&str] = &["M026", "M028"];
/// What may be wrong with a path.
const OF_A_PATH: &[&str] = &["M018", "M021"];
/// Keys whose absence makes others: without `extends` there are no tables and blocks of a base.
const EXTENDS: &str = "did you mean extends?";

/// Leaves out what follows from another problem.
pub(in crate::mapping) fn once(problems: &mut Vec<Diagnostic>) {
    if problems.iter().any(|problem| problem.code == "M002" && problem.hint.as_deref() == Some(EXTENDS)) {
        problems.retain(|problem| !matches!(problem.code, "M004" | "M009" | "M023"));
    }
    misspelt_blocks(problems);
    let all = problems.clone();
    let is_at_a_line_of = |problem: &Diagnostic, codes: &[&str]| {
        all.iter()
            .any(|other| codes.contains(&other.code) && (&other.file, other.line) == (&problem.file, problem.line))
    };
    // A segment that is spelt otherwise where it is read is read.
    let meant = |segment: &str| {
        let hint = format!("did you mean {segment}?");
        all.iter().any(|other| other.code == "M016" && other.hint.as_deref() == Some(&*hint))
    };
    problems.retain(|problem| match problem.code {
        "M024" => !problem.text.strip_prefix("no path reads ").is_some_and(meant),
        code if FOLLOWING.contains(&code) => !is_at_a_line_of(problem, OF_A_PATH),
        _ => true,
    });
}

/// A block whose name is nearly that of the base's lacks what a new one needs: the name is the slip, and as bad.
fn misspelt_blocks(problems: &mut Vec<Diagnostic>) {
    let all = problems.clone();
    let is_lacking =
        |problem: &Diagnostic| problem.code == "M004" && problem.text.contains(" says what makes one record");
    let is_misspelt =
        |problem: &Diagnostic| problem.code == "M020" && problem.text.starts_with("the base has no block ");
    // From the head of a block to its name no other block begins.
    let name_of = |head: &Diagnostic| {
        let behind = all.iter().filter(|other| other.file == head.file && other.line >= head.line && *other != head);
        let next = behind.filter(|other| is_lacking(other) || is_misspelt(other)).min_by_key(|other| other.line)?;
        is_misspelt(next).then(|| next.clone())
    };
    let names: Vec<Diagnostic> = all.iter().filter(|problem| is_lacking(problem)).filter_map(name_of).collect();
    problems.retain(|problem| !is_lacking(problem) || name_of(problem).is_none());
    for problem in problems.iter_mut().filter(|problem| names.contains(problem)) {
        problem.severity = Severity::Error;
    }
}
