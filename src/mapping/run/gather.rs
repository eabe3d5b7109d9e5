//! A list of texts with several paths: it takes what each of them gives, and not what the first with a value gives.

use super::distinct::Distinct;
use super::draft::Draft;
use super::rule::{Found, Refused, Stop};
use super::{MAX_ITEMS, Place, Run, too_many};
use crate::mapping::compile::RulePlan;
use crate::mapping::input::{Scope, Value};
use crate::record::Value as Json;
use crate::record::schema::Shape;

/// Whether a rule takes what each of its paths gives.
pub(super) fn gathers(rule: &RulePlan) -> bool {
    rule.target.shape == Shape::TextList && rule.from.len() > 1
}

impl Run<'_> {
    /// A rule that [`gathers`].
    pub(super) fn gather<'p>(
        &mut self,
        rule: &'p RulePlan,
        scope: &Scope<'_>,
        draft: &mut Draft<'p>,
        place: Place,
    ) -> Result<(), Box<Stop>> {
        let mut items = Distinct::default();
        let mut sent: Vec<Value<'_>> = Vec::new();
        let mut refused = None;
        // Explanations and unknown codes that there were before the first items.
        let mut before = None;
        for path in &rule.from {
            let Some(value) = self.first_value(rule, path, scope, draft, place) else { continue };
            let (explained, unmapped) = (self.explained.len(), self.mapped.unmapped.len());
            let mut all = Vec::new();
            match self.taken(rule, (path, scope), &value, &mut all, draft, place) {
                Ok(Found::Nothing) => {}
                Ok(Found::Done) => {
                    draft.left.push(rule);
                    self.explain_all(explained, &all);
                }
                Ok(Found::Json(json)) => {
                    before.get_or_insert((explained, unmapped));
                    let found = if let Json::Array(found) = json { found } else { vec![json] };
                    for item in found {
                        items.add(item);
                    }
                    sent.extend(if all.is_empty() { vec![value] } else { all });
                }
                Err(Refused::Value(reason)) => self.refuse(rule, &reason, &value, &mut refused, draft, place),
                Err(Refused::Stop(stop)) => return Err(stop),
            }
        }
        let Some((explained, unmapped)) = before else { return self.give_up(rule, scope, refused, draft, place) };
        if let (Some(last), [_, ..]) = (sent.last(), items.kept.get(MAX_ITEMS..).unwrap_or_default()) {
            return Err(Box::new(Stop::Fail(too_many(place.target(&rule.target), last.location()))));
        }
        if let Some(first) = sent.first() {
            self.keep(rule, Json::Array(items.kept), first, draft, place);
        }
        self.explain_all(explained, &sent);
        self.explain_unmapped(explained, unmapped);
        Ok(())
    }
}
