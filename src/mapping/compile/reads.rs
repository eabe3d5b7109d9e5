//! What of a message the rules and blocks of a plan read, so that a run passes over those for which a message has nothing. Most of a
//! base's rules are for segments and fields that a given message does not have.

use super::{BlockPlan, RulePlan};
use crate::hl7v2::FieldSet;
use crate::mapping::file::Required;
use crate::mapping::input::Path;

/// The fields that a rule or block cannot do without.
#[derive(Debug, Default)]
pub(crate) enum Reads {
    /// It may give something of whatever there is, and of nothing.
    #[default]
    Anything,
    /// It gives nothing, and says nothing of it, where all of these are empty: segments by their place in the plan's, and their fields.
    Fields(Vec<(usize, FieldSet)>),
}

/// Notes in every block and rule what it reads; gives the segments that are read.
pub(super) fn note<'b>(blocks: impl Iterator<Item = &'b mut BlockPlan>) -> Vec<[u8; 3]> {
    let mut segments = Vec::new();
    blocks.for_each(|block| note_block(block, &mut segments));
    segments
}

fn note_block(block: &mut BlockPlan, segments: &mut Vec<[u8; 3]>) {
    if let Some(each) = &block.each {
        block.reads = fields(std::slice::from_ref(each), segments);
    }
    for rule in block.rules.iter_mut().filter(|rule| is_silent(rule)) {
        rule.reads = fields(&rule.from, segments);
    }
    block.lists.iter_mut().flat_map(|list| &mut list.blocks).for_each(|block| note_block(block, segments));
}

/// Whether the rule gives nothing and reports nothing where its paths lead to nothing.
fn is_silent(rule: &RulePlan) -> bool {
    rule.constant.is_none() && rule.default.is_none() && rule.required == Required::No
}

fn fields(paths: &[Path], segments: &mut Vec<[u8; 3]>) -> Reads {
    let mut fields: Vec<(usize, FieldSet)> = Vec::new();
    for path in paths {
        let Path::Hl7v2(path) = path else { return Reads::Anything };
        for (name, set) in path.reads() {
            let place = segments.iter().position(|known| *known == name).unwrap_or_else(|| {
                segments.push(name);
                segments.len() - 1
            });
            match fields.iter_mut().find(|(known, _)| *known == place) {
                Some((_, known)) => *known = known.and(set),
                None => fields.push((place, set)),
            }
        }
    }
    Reads::Fields(fields)
}
