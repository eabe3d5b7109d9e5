//! A site's declarations over its base's: what `extends` means.
//!
//! - A field's rule, a block's `each`, `when`, `skip` or `on_null`, a table and `match` replace the base's; `false` removes a rule.
//! - A block lies over the base's block of its name; without a name, over the one with the same `each` (the n-th such over the n-th,
//!   those without a name first); without either, over the one at its place. A block without a counterpart is added.

use super::file::{Block, Declarations, Located, OwnField, Reader};
use crate::diagnostic::similar;
use crate::record::Kind;

/// A site's declarations over its base's.
pub(super) fn overlay(reader: &mut Reader<'_>, mut base: Declarations, site: Declarations) -> Declarations {
    if let Some(format) = site.format.filter(|format| format.value != base.format()) {
        let text = format!("this mapping extends one for format = {:?}", base.format().name());
        reader.error(format.file, format.span, "M013", text, "extend another base, or leave format out");
    }
    if site.matches.is_some() {
        base.matches = site.matches;
    }
    for segment in site.segments {
        let place = |own: &OwnField| (own.segment.value.clone(), own.number, own.component);
        let is_same = |own: &OwnField| place(own) == place(&segment);
        base.segments.retain(|own| !is_same(own));
        base.segments.push(segment);
    }
    for mut table in site.tables {
        match base.tables.iter_mut().find(|other| other.name.value == table.name.value) {
            Some(other) => {
                if table.extends.as_ref().is_some_and(|extends| extends.value == table.name.value) {
                    table.extends = other.extends.take();
                    table.files.splice(0..0, other.files.drain(..));
                }
                *other = table;
            }
            None => base.tables.push(table),
        }
    }
    for kind in Kind::ALL {
        let site_blocks: Vec<Block> =
            site.records.iter().filter(|(other, _)| *other == kind).map(|(_, block)| block.clone()).collect();
        let (of_kind, others) = std::mem::take(&mut base.records).into_iter().partition(|(other, _)| *other == kind);
        let mut blocks: Vec<Block> =
            Vec::from_iter(of_kind).into_iter().map(|(_, block): (Kind, Block)| block).collect();
        overlay_blocks(reader, &mut blocks, site_blocks, kind.name());
        base.records = others;
        base.records.extend(blocks.into_iter().map(|block| (kind, block)));
    }
    base
}

fn overlay_blocks(reader: &mut Reader<'_>, base: &mut Vec<Block>, site: Vec<Block>, place: &str) {
    let base_length = base.len();
    let mut taken = vec![false; base_length];
    for (position, block) in site.into_iter().enumerate() {
        let counterpart = match (&block.label, &block.each) {
            (Some(_), _) => (0..base_length).find(|&index| !taken[index] && same(&base[index].label, &block.label)),
            (None, Some(_)) => {
                let alike = |index: &usize| !taken[*index] && same(&base[*index].each, &block.each);
                let unnamed = (0..base_length).find(|index| alike(index) && base[*index].label.is_none());
                unnamed.or_else(|| (0..base_length).find(alike))
            }
            (None, None) => Some(position).filter(|&position| position < base_length && !taken[position]),
        };
        check_counterpart(reader, &base[..base_length], &block, counterpart, place);
        match counterpart {
            Some(index) => {
                taken[index] = true;
                overlay_block(reader, &mut base[index], block, place);
            }
            None => base.push(block),
        }
    }
}

fn same(one: &Option<Located<String>>, other: &Option<Located<String>>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one.value == other.value)
}

/// Warns where a block may lie over another one than was meant.
fn check_counterpart(reader: &mut Reader<'_>, base: &[Block], block: &Block, counterpart: Option<usize>, place: &str) {
    let names = || base.iter().filter_map(|block| block.label.as_ref()).map(|name| name.value.as_str());
    let known = names().collect::<Vec<_>>().join(", ");
    match (&block.label, counterpart) {
        // Two of one name have been told.
        (Some(name), None) if names().any(|known| known == name.value) => {}
        (Some(name), None) => {
            if let Some(meant) = similar(&name.value, names()) {
                let text = format!("the base has no block {} of {place}", name.value);
                reader.warn(name.file, name.span.clone(), "M020", text, &format!("did you mean {meant}?"));
            }
        }
        (None, Some(counterpart)) => {
            let is_named = |other: &Block| other.label.is_some();
            let taken = base.get(counterpart).is_some_and(is_named);
            let candidates = base.iter().filter(|other| block.each.is_none() || same(&other.each, &block.each));
            let candidates = candidates.filter(|other| block.each.is_none() || is_named(other) == taken).count();
            if candidates > 1 {
                let text = format!("the base has {candidates} blocks of {place} that this one may be meant for");
                let hint = if known.is_empty() {
                    "name them with block = \"…\" in the base and here".to_owned()
                } else {
                    format!("add block = \"…\" with the name of one: {known}")
                };
                reader.warn(block.file, block.span.clone(), "M020", text, &hint);
            }
        }
        (None, None) | (Some(_), Some(_)) => {}
    }
}

fn overlay_block(reader: &mut Reader<'_>, base: &mut Block, site: Block, place: &str) {
    base.each = site.each.or(base.each.take());
    base.when = site.when.or(base.when.take());
    base.when_none = site.when_none.or(base.when_none.take());
    base.skip = site.skip.or(base.skip.take());
    base.on_null = site.on_null.or(base.on_null.take());
    // A rule for a whole object replaces rules for its parts, and the other way round.
    base.fields.retain(|(other, _)| {
        site.fields.iter().all(|(target, _)| {
            let (other, target) = (other.value.as_str(), target.value.as_str());
            let inside = |outer: &str, inner: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'));
            other != target && !inside(other, target) && !inside(target, other)
        })
    });
    base.fields.extend(site.fields);
    for (name, blocks) in site.lists {
        match base.lists.iter_mut().find(|(other, _)| *other == name) {
            Some((_, base_blocks)) => overlay_blocks(reader, base_blocks, blocks, &format!("{place}.{name}")),
            None => base.lists.push((name, blocks)),
        }
    }
}
