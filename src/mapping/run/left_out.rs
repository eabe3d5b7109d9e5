//! Notes on results that a rule of `skip` leaves out. What somebody wrote beside the text of a report, or beside an address of its
//! images, is about the report: it becomes a part of the report's own note, behind what that says.
//!
//! Invariants
//! - A note is read by the `note` of the block that leaves the result out, as it would be of a result.
//! - Where another block of the list takes the same OBX or Observation, the note is that result's and not the report's.

use std::collections::HashSet;

use super::draft::Draft;
use super::{Place, Run};
use crate::mapping::compile::{BlockPlan, ListPlan};
use crate::mapping::input::Scope;
use crate::record::{Fields, Text, Value as Json};

/// The only list whose items have notes of their own, and the field of item and record.
const LIST: &str = "results";
const NOTE: &str = "note";

/// The note on a result that was left out.
pub(super) struct Note {
    /// Where the OBX or Observation is.
    path: String,
    text: Text,
}

impl<'r> Run<'r> {
    /// The note on the item in `scope`, which `block` leaves out.
    pub(super) fn note_left_out(&mut self, block: &'r BlockPlan, scope: &Scope<'_>, place: Place) -> Option<Note> {
        if place.list_name() != LIST {
            return None;
        }
        let explained = self.explained.len();
        let mut draft = Draft::of(block);
        for rule in block.rules.iter().filter(|rule| rule.target.name == NOTE && rule.target.parent.is_none()) {
            if self.rule(rule, scope, &mut draft, place).is_err() {
                self.explained.truncate(explained);
                return None;
            }
        }
        self.explained[explained..].iter_mut().for_each(|told| told.field = NOTE.to_owned());
        match draft.into_fields().remove(NOTE) {
            Some(Json::String(text)) => Some(Note { path: scope.path(block.each.as_ref()), text }),
            _ => None,
        }
    }

    /// Adds notes on items that were left out to the note of their record. `list`: theirs, in `scope`.
    pub(super) fn add_left_out(&mut self, notes: Vec<Note>, list: &ListPlan, scope: &Scope<'_>, fields: &mut Fields) {
        let mut told = if list.blocks.len() > 1 && !notes.is_empty() { taken(list, scope) } else { HashSet::new() };
        let mut lines: Vec<Text> = Vec::new();
        if let Some(Json::String(own)) = fields.get(NOTE) {
            lines.push(own.clone());
        }
        let before = lines.len();
        lines.extend(notes.into_iter().filter_map(|note| told.insert(note.path).then_some(note.text)));
        if lines.len() > before {
            fields.insert(NOTE, Json::from(lines.join("\n")));
        }
    }
}

/// Where the items are that some block of a list takes.
fn taken(list: &ListPlan, scope: &Scope<'_>) -> HashSet<String> {
    let is_taken = |block: &BlockPlan, item: &Scope<'_>| {
        block.when.as_ref().is_none_or(|when| when.holds(item)) && !block.skip.iter().any(|rule| rule.when.holds(item))
    };
    let blocks = list.blocks.iter().filter_map(|block| Some((block, block.each.as_ref()?)));
    blocks
        .flat_map(|(block, each)| {
            let items = scope.each(each).into_iter().filter(|item| is_taken(block, item));
            items.map(|item| item.path(Some(each))).collect::<Vec<_>>()
        })
        .collect()
}
