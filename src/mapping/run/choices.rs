//! Elements, segments and repetitions that no condition of the mapping chooses, such as a participant of a type that no rule asks for: their
//! values would be lost without a word. Looked at only where an explanation is asked for.

use std::collections::{BTreeMap, BTreeSet};

use super::{Place, Run};
use crate::mapping::compile::RulePlan;
use crate::mapping::input::{Path, Scope};

/// The elements that conditions chose from, by their places.
#[derive(Default)]
pub(super) struct Choices {
    /// What was passed over, and for which fields.
    passed: BTreeMap<String, BTreeSet<String>>,
    chosen: BTreeSet<String>,
}

impl Run<'_> {
    /// Notes what the paths of a rule choose from.
    pub(super) fn note_choices(&mut self, rule: &RulePlan, scope: &Scope<'_>, place: Place) {
        rule.from.iter().for_each(|path| self.note_choice(path, scope, &place.target(&rule.target)));
    }

    /// Notes what a path chooses from, for a field or list.
    pub(super) fn note_choice(&mut self, path: &Path, scope: &Scope<'_>, target: &str) {
        let Some([from, chosen]) = path.choice(scope) else {
            // A path that chooses nothing may come to the same value, whether or not it is the one that is taken.
            if path.hl7v2().is_some_and(|path| path.field().is_some()) {
                self.choices.chosen.extend(path.values(scope).iter().map(|value| value.location().to_string()));
            }
            return;
        };
        for place in from.into_iter().filter(|place| !chosen.contains(place)) {
            self.choices.passed.entry(place).or_default().insert(target.to_owned());
        }
        self.choices.chosen.extend(chosen);
    }

    /// What was passed over by all, and of which no other rule took anything.
    pub(super) fn explain_choices(&mut self) {
        let Choices { passed, chosen } = std::mem::take(&mut self.choices);
        let read: Vec<&str> = self.mapped.explanation.iter().filter_map(|field| field.path.as_deref()).collect();
        let is_within = |path: &str, place: &str| {
            path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
        };
        // What was left out or could not be taken is told by itself.
        let skipped = self.mapped.skipped.iter().map(|skipped| &skipped.path);
        let told: Vec<&String> = skipped.chain(self.mapped.rejected.iter().map(|rejected| &rejected.path)).collect();
        let is_lost = |place: &str| {
            !chosen.iter().any(|chosen| is_within(chosen, place) || is_within(place, chosen))
                && !read.iter().any(|path| is_within(path, place))
                && !told.iter().any(|path| is_within(path, place))
        };
        self.mapped.trace.unchosen = passed.into_iter().filter(|(place, _)| is_lost(place)).collect();
    }
}
