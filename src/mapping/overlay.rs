//! A site's declarations over its base's: what `extends` means.
//!
//! - A field's rule, a block's `each`, `when`, `skip` or `on_null`, a table and `match` replace the base's; `false` removes a rule.
//! - A block lies over the base's block of its name; without a name, over the one with the same `each` (the n-th such over the n-th,
//!   those without a name first); without either, over the one at its place. A block without a counterpart is added.
//! - A rule is replaced as a whole; what it leaves out of the base's is kept for the check ([`LeftOut`]).

use super::file::{Block, Declarations, LeftOut, Located, OnNull, OwnField, Reader, Required, Rule, SkipRule};
use super::input::Format;
use super::truth;
use crate::diagnostic::similar;
use crate::hl7v2::Path;
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
                    table.replaces = other.replaces.take();
                } else if !table.is_apart {
                    table.replaces = Some(Box::new(other.clone()));
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
        let format = base.format();
        overlay_blocks(reader, &mut blocks, site_blocks, kind.name(), format);
        base.records = others;
        base.records.extend(blocks.into_iter().map(|block| (kind, block)));
    }
    base
}

fn overlay_blocks(reader: &mut Reader<'_>, base: &mut Vec<Block>, site: Vec<Block>, place: &str, format: Format) {
    let base_length = base.len();
    let mut taken = vec![false; base_length];
    // How many of the site's blocks without a name have each of these.
    let unnamed: Vec<Option<Located<String>>> =
        site.iter().filter(|block| block.label.is_none()).map(|block| block.each.clone()).collect();
    for (position, block) in site.into_iter().enumerate() {
        let counterpart = match (&block.label, &block.each) {
            (Some(_), _) => (0..base_length).find(|&index| !taken[index] && same(&base[index].label, &block.label)),
            (None, Some(_)) => {
                let alike = |index: &usize| !taken[*index] && same(&base[*index].each, &block.each);
                let unnamed = (0..base_length).find(|index| alike(index) && base[*index].label.is_none());
                unnamed.or_else(|| (0..base_length).find(alike))
            }
            // Its place is the one that it would say.
            (None, None) if block.is_unclear => None,
            (None, None) => Some(position).filter(|&position| position < base_length && !taken[position]),
        };
        let alike =
            unnamed.iter().filter(|each| same(each, &block.each) || (each.is_none() && block.each.is_none())).count();
        check_counterpart(reader, &base[..base_length], &block, (counterpart, alike), place);
        match counterpart {
            Some(index) => {
                taken[index] = true;
                overlay_block(reader, &mut base[index], block, place, format);
            }
            None => {
                check_each(reader, &base[..base_length], &taken, &block, place, format);
                check_fills(reader, &base[..base_length], &block, place);
                base.push(block);
            }
        }
    }
}

fn same(one: &Option<Located<String>>, other: &Option<Located<String>>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one.value == other.value)
}

/// Warns where a block may lie over another one than was meant. `alike`: how many blocks of the site have its `each` and no name.
fn check_counterpart(
    reader: &mut Reader<'_>,
    base: &[Block],
    block: &Block,
    (counterpart, alike): (Option<usize>, usize),
    place: &str,
) {
    if block.says_nothing() || block.is_unclear {
        return;
    }
    let names = || base.iter().filter_map(|block| block.label.as_ref()).map(|name| name.value.as_str());
    match (&block.label, counterpart) {
        // Two of one name have been told.
        (Some(name), None) if names().any(|known| known == name.value) => {}
        (Some(name), None) => {
            if let Some(meant) = similar(&name.value, names()) {
                let text = format!("the base has no block {} of {place}, so this makes a new one", name.value);
                reader.warn(name.file, name.span.clone(), "M020", text, &format!("did you mean {meant}?"));
                reader.astray.insert((block.file, block.span.start));
            }
        }
        (None, Some(counterpart)) => {
            let is_named = |other: &Block| other.label.is_some();
            let taken = base.get(counterpart).is_some_and(is_named);
            let candidates = base.iter().filter(|other| block.each.is_none() || same(&other.each, &block.each));
            let candidates: Vec<&Block> =
                candidates.filter(|other| block.each.is_none() || is_named(other) == taken).collect();
            let count = candidates.len();
            // Who writes all of them means each by its place.
            if count > 1 && alike != count {
                let text = format!("the base has {count} blocks of {place} that this one may be meant for");
                let names: Vec<&str> = candidates
                    .iter()
                    .filter_map(|other| other.label.as_ref())
                    .map(|name| name.value.as_str())
                    .collect();
                let hint = if names.is_empty() {
                    let file = &reader.files[candidates[0].file];
                    let lines: Vec<String> =
                        candidates.iter().map(|other| file.line(other.span.start).to_string()).collect();
                    format!(
                        "it lies over the first; write all {count} here, in the order of {} (lines {}): one without rules changes nothing",
                        file.name,
                        lines.join(", ")
                    )
                } else {
                    format!("add block = \"…\" with the name of one: {}", names.join(", "))
                };
                reader.warn(block.file, block.span.clone(), "M020", text, &hint);
            }
        }
        (None, None) | (Some(_), Some(_)) => {}
    }
}

/// Warns of a new block whose `each` means the same as that of a block of the base, written otherwise: `OBX[*]`, `PID-3[1]` for `PID-3`,
/// `identifier` for `identifier.where(…)`, `encounter`; or a field of the segment that makes the base's items (`NK1-2` for `NK1`). One with
/// a name of its own is meant to be new.
fn check_each(reader: &mut Reader<'_>, base: &[Block], taken: &[bool], block: &Block, place: &str, format: Format) {
    let Some((each, root)) = block.each.as_ref().and_then(|each| Some((each, root(&each.value, format)?))) else {
        return;
    };
    let alike =
        |other: &Block| other.each.as_ref().and_then(|each| self::root(&each.value, format)) == Some(root.clone());
    let is_field_of = |other: &Block| {
        let of_base = other.each.as_ref().filter(|_| format == Format::Hl7v2);
        let segment = of_base.and_then(|each| Path::parse(&each.value).ok()).filter(|path| path.field().is_none());
        let own = Path::parse(&each.value).ok().filter(|path| path.field().is_some());
        own.zip(segment).is_some_and(|(own, segment)| own.segment() == segment.segment())
    };
    let alike = |other: &Block| alike(other) || is_field_of(other);
    let mut alike = base.iter().zip(taken).filter(|(other, _)| alike(other)).peekable();
    let Some((Block { each: Some(meant), .. }, _)) = alike.peek().copied() else { return };
    if block.label.is_some() || alike.any(|(_, is_taken)| *is_taken) {
        return;
    }
    let file = &reader.files[meant.file];
    let line = file.line(meant.span.start);
    let text = format!(
        "the base's block of {place} has each = {:?} ({}:{line}), so this makes a new one beside it",
        meant.value, file.name
    );
    let hint = "did you mean to change that one? write each as it does; a new one has a name of its own: block = \"…\"";
    reader.warn(each.file, each.span.clone(), "M020", text, hint);
    reader.astray.insert((block.file, block.span.start));
}

/// Warns of a new block without any rule: it was meant to change one of the base's.
fn check_fills(reader: &mut Reader<'_>, base: &[Block], block: &Block, place: &str) {
    let is_told = reader.astray.contains(&(block.file, block.span.start));
    let fills = !block.fields.is_empty() || !block.lists.is_empty();
    if is_told || fills || base.is_empty() || block.says_nothing() || block.is_unclear {
        return;
    }
    let what = if block.label.is_some() { "name" } else { "each" };
    let text = format!("the base has no block of {place} with this {what}, and this one fills nothing by itself");
    let names: Vec<&str> =
        base.iter().filter_map(|block| block.label.as_ref()).map(|name| name.value.as_str()).collect();
    let hint = match names.is_empty() {
        true => "write each as the base's block has it, or rules".to_owned(),
        false => format!("to change one of the base's, write its name: block = \"…\", of {}", names.join(", ")),
    };
    reader.warn(block.file, block.span.clone(), "M020", text, &hint);
}

/// What an `each` is of, however it chooses among it: `PID-3` of `PID-3[5=MR]`, `identifier` of `identifier.where(…)`.
fn root(each: &str, format: Format) -> Option<String> {
    match format {
        Format::Hl7v2 => Path::parse(each).ok().map(|path| format!("{}-{}", path.segment(), path.field().unwrap_or(0))),
        Format::Fhir => {
            let end = each.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(each.len());
            Some(each[..end].to_ascii_lowercase()).filter(|root| !root.is_empty())
        }
    }
}

/// What the base's rules for a field say of what is missing or unknown, and those in their place do not.
fn left_out(base: &[&Rule], site: &[&Rule]) -> Vec<LeftOut> {
    let mut found = Vec::new();
    let reads_as_text =
        site.iter().any(|rule| rule.table.is_some() || rule.coercion.is_some() || rule.constant.is_some());
    let mut add = |key, value: Option<String>, rule: &Rule, is_said: bool| {
        let value = value.filter(|_| !is_said && !found.iter().any(|known: &LeftOut| known.key == key));
        found.extend(value.map(|value| LeftOut { key, value, place: (rule.file, rule.span.start) }));
    };
    for rule in base {
        // Of several rules each speaks of its own table.
        let table = |rule: &Rule| rule.table.as_ref().map(|table| table.value.clone());
        let is_of_table = base.len() == 1 || site.iter().any(|own| table(own) == table(rule));
        let on_unmapped =
            rule.on_unmapped.as_ref().filter(|_| is_of_table).map(|on_unmapped| on_unmapped.value.clone());
        add("table", rule.table.as_ref().map(|table| table.value.clone()), rule, reads_as_text);
        let is_constant = site.iter().all(|rule| rule.constant.is_some());
        add("on_unmapped", on_unmapped, rule, is_constant || site.iter().any(|rule| rule.on_unmapped.is_some()));
        let required = rule.required.as_ref().and_then(|required| match required.value {
            Required::No => None,
            Required::Message => Some("true".to_owned()),
            Required::Block => Some("skip".to_owned()),
        });
        let has_always =
            site.iter().any(|rule| rule.required.is_some() || rule.default.is_some() || rule.constant.is_some());
        add("required", required, rule, has_always);
        let on_null = rule.on_null.as_ref().filter(|on_null| on_null.value == OnNull::Keep).map(|_| "keep".to_owned());
        add("on_null", on_null, rule, is_constant || site.iter().any(|rule| rule.on_null.is_some()));
    }
    found
}

fn overlay_block(reader: &mut Reader<'_>, base: &mut Block, mut site: Block, place: &str, format: Format) {
    note_what_is_left_out(base, &mut site);
    note_skips_left_out(reader, base, &site);
    // The same said once more is the base's own.
    let is_said_again = same(&base.each, &site.each);
    base.each = site.each.filter(|_| !is_said_again).or(base.each.take());
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
            Some((_, base_blocks)) => overlay_blocks(reader, base_blocks, blocks, &format!("{place}.{name}"), format),
            None => base.lists.push((name, blocks)),
        }
    }
}

/// A site's `skip` replaces the base's: its rules that are left out are named. An empty list says that it is meant.
fn note_skips_left_out(reader: &mut Reader<'_>, base: &Block, site: &Block) {
    let (Some(of_base), Some(of_site)) = (&base.skip, &site.skip) else { return };
    if reader.unclear_skips.contains(&(site.file, site.span.start)) {
        return;
    }
    let Some(first) = of_site.first() else { return };
    // A rule of the same reason is in its place, also one that says when = "false"; one that takes all that it takes keeps it.
    let is_kept = |rule: &&SkipRule| {
        of_site.iter().any(|other| {
            other.when.value == rule.when.value
                || other.reason == rule.reason
                || truth::implies(&rule.when.value, &other.when.value)
        })
    };
    let lost: Vec<String> =
        of_base.iter().filter(|rule| !is_kept(rule)).map(|rule| format!("{:?}", rule.reason)).collect();
    if !lost.is_empty() {
        let text = format!("this skip is in place of the base's, whose rules count no more: {}", lost.join(", "));
        let hint = "write those that shall count here too; one that shall not, or that a rule here is in place of, is named by its reason: { when = \"false\", reason = … }";
        reader.warn(first.when.file, first.when.span.clone(), "M026", text, hint);
    }
}

/// The table in which the base looks up a path that the site's rule looks up in another one.
fn other_table(of_base: &[&Rule], rule: &Rule) -> Option<Located<String>> {
    let own = rule.table.as_ref()?;
    let reads_same = |base: &Rule| base.from.iter().any(|path| rule.from.iter().any(|own| own.value == path.value));
    let mut tables = of_base.iter().filter(|base| reads_same(base)).filter_map(|base| base.table.as_ref());
    tables.next().filter(|table| table.value != own.value && tables.next().is_none()).cloned()
}

/// The first of a site's rules for a field bears what they leave out; each bears what the base's read.
fn note_what_is_left_out(base: &Block, site: &mut Block) {
    fn of<'b>(block: &'b Block, target: &str) -> Vec<&'b Rule> {
        let rules = block.fields.iter().filter(|(other, _)| other.value == target);
        rules.filter_map(|(_, rule)| rule.as_ref()).collect()
    }
    for index in 0..site.fields.len() {
        let target = site.fields[index].0.value.clone();
        let is_first = !site.fields[..index].iter().any(|(other, _)| other.value == target);
        let of_base = of(base, &target);
        let of_site = of(site, &target);
        let is_judged = is_first && !of_site.iter().any(|rule| rule.is_unclear);
        let found = if is_judged { left_out(&of_base, &of_site) } else { Vec::new() };
        if let Some(rule) = &mut site.fields[index].1 {
            rule.left_out = found;
            rule.base_paths = of_base.iter().flat_map(|rule| &rule.from).cloned().collect();
            rule.base_table = other_table(&of_base, rule);
        }
    }
}
