//! What a mapping says in vain: rules, paths, conditions and rows that are never reached or say what is said already.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Checker;
use crate::hl7v2::Path;
use crate::mapping::compile::Target;
use crate::mapping::expression::Expression;
use crate::mapping::file::{Block, LeftOut, Located, Required, Rule};
use crate::mapping::input::Format;
use crate::mapping::truth::{self, Facts};
use crate::record::schema::Shape;

/// Targets that fill others, in one place.
const FILLS: &[(&str, &[&str])] =
    &[("name", &["family_name", "given_name"]), ("value", &["value_number", "value_text", "value_code", "comparator"])];

impl Checker<'_, '_, '_> {
    /// Rules of `skip`: their conditions, and whether an earlier one takes all that a later one names.
    pub(super) fn skips(&mut self, block: &Block, facts: &Facts, within: Option<&Path>) {
        let mut earlier: Vec<(usize, Expression)> = Vec::new();
        for rule in block.skip.iter().flatten() {
            self.condition(&rule.when, facts, within);
            let Ok(when) = Expression::parse(&rule.when.value) else { continue };
            let mut here = facts.clone();
            here.assume(&when, true);
            if let Some((line, _)) = earlier.iter().find(|(_, before)| here.ask(before) == Some(true)) {
                let text = format!("this rule is never reached: the one in line {line} skips all that it names");
                self.reader.warn(
                    rule.when.file,
                    rule.when.span.clone(),
                    "M021",
                    text,
                    "put the narrower rule first, or leave it out",
                );
            }
            earlier.push((self.reader.files[rule.when.file].line(rule.when.span.start), when));
        }
    }

    /// Keys that change nothing.
    pub(super) fn without_effect(&mut self, rule: &Rule, is_item: bool) {
        fn place<T>(written: &Option<Located<T>>) -> Option<(usize, Range<usize>)> {
            written.as_ref().map(|written| (written.file, written.span.clone()))
        }
        let required = rule.required.clone().filter(|required| required.value != Required::No);
        let beside_constant = [
            ("as", place(&rule.coercion)),
            ("table", place(&rule.table)),
            ("default", place(&rule.default)),
            ("on_unmapped", place(&rule.on_unmapped)),
            ("on_null", place(&rule.on_null)),
            ("required", place(&required)),
        ];
        let mut found = Vec::new();
        if rule.constant.is_some() {
            found.extend(beside_constant.map(|(key, place)| (key, place, "the rule has a constant")));
        } else {
            if rule.default.is_some() {
                found.push(("required", place(&required), "with a default there is always a value"));
            }
            if is_item {
                let reason = "an item is sent as a whole: what is not in it is not there";
                found.push(("on_null", place(&rule.on_null), reason));
            }
        }
        for (key, place, reason) in found {
            if let Some((file, span)) = place {
                let text = format!("{key} has no effect here: {reason}");
                self.reader.warn(file, span, "M021", text, "leave it out");
            }
        }
    }

    /// Paths of a list that are never asked, because an earlier one has a value whenever they have.
    /// `gathers`: the values of all paths are taken, so that a part says something else than the whole.
    pub(super) fn fallbacks(&mut self, rule: &Rule, within: Option<&Path>, gathers: bool) {
        let parsed: Vec<Option<Path>> = rule.from.iter().map(|written| Path::parse(&written.value).ok()).collect();
        for (index, written) in rule.from.iter().enumerate() {
            let Some(path) = &parsed[index] else { continue };
            let says_so = |before: &&Path| before.component() == path.component() || !gathers;
            let found = parsed[..index].iter().flatten().find(|before| before.covers(path, within) && says_so(before));
            let Some(before) = found else { continue };
            let text = if before == path {
                format!("{path} is named twice")
            } else {
                format!("{path} is never asked: {before}, before it, has a value whenever it has one")
            };
            self.reader.warn(
                written.file,
                written.span.clone(),
                "M021",
                text,
                "leave it out, or put the narrower path first",
            );
        }
    }

    /// Paths of a rule that its own condition leaves nothing to: one before them then always has a value, or they have none.
    pub(super) fn decided_by_condition(&mut self, rule: &Rule) {
        let Some(when) = rule.when.as_ref().filter(|_| self.declared.format() == Format::Hl7v2) else { return };
        if rule.from.len() < 2 || rule.table.is_some() {
            return;
        }
        let has_value = |written: &Located<String>| truth::implies(&when.value, written.value.trim());
        let is_empty =
            |written: &Located<String>| truth::implies(&when.value, &format!("not {}", written.value.trim()));
        for (index, written) in rule.from.iter().enumerate() {
            let before = rule.from[..index].iter().find(|before| has_value(before));
            let text = match before {
                Some(before) => {
                    format!("{} is never asked: when says that {}, before it, has a value", written.value, before.value)
                }
                None if is_empty(written) => format!("{} has no value where when holds", written.value),
                None => continue,
            };
            let hint = "leave it out, or say in when for which messages it is meant, as in: PV1-44 or MSH-9.2 = 'A01'";
            self.reader.warn(written.file, written.span.clone(), "M021", text, hint);
        }
    }

    /// What a site says of a base's block that no message of its `match` comes to.
    pub(super) fn never_entered(&mut self, block: &Block) {
        let Some(match_file) = self.match_file else { return };
        let of_base = |written: &&Located<String>| written.file > match_file;
        let each = block.each.as_ref().filter(of_base).and_then(|each| Path::parse(&each.value).ok());
        let when = block.when.as_ref().filter(of_base);
        let is_never = |when: &Located<String>| {
            Expression::parse(&when.value).is_ok_and(|when| self.match_facts.ask(&when) == Some(false))
        };
        let why = match (each.filter(|each| self.match_facts.lacks(each.segment())), when) {
            (Some(each), _) => format!("is made of {}", each.segment()),
            (None, Some(when)) if is_never(when) => {
                format!("counts where {}", when.value.split_whitespace().collect::<Vec<_>>().join(" "))
            }
            _ => return,
        };
        // Where the site says something of it itself.
        let Some(place) = first_of_site(block, match_file) else { return };
        let name = block.label.as_ref().map_or_else(String::new, |label| format!(" {}", label.value));
        let text = format!("the block{name} {why}, and match lets no such message through: this has no effect");
        self.reader.warn(place.file, place.span.clone(), "M021", text, "widen match, or leave the block out");
    }

    /// Rules of one field behind one that always gives a value.
    pub(super) fn alternatives(&mut self, rules: &[(&Located<String>, &Rule)]) {
        let always = |rule: &Rule| rule.when.is_none() && (rule.constant.is_some() || rule.default.is_some());
        for (index, (target, rule)) in rules.iter().enumerate() {
            let before = rules[..index].iter().find(|(other, rule)| other.value == target.value && always(rule));
            if let Some((_, before)) = before {
                let line = self.reader.files[before.file].line(before.span.start);
                let text = format!("this rule is never asked: the one in line {line} always gives a value");
                let hint = "a constant or default stands in the last rule";
                self.reader.warn(rule.file, rule.span.clone(), "M021", text, hint);
            }
        }
    }

    /// A field that a rule fills and another sets.
    pub(super) fn set_twice(&mut self, targets: &[&Located<String>]) {
        for (whole, parts) in FILLS {
            let Some(whole) = targets.iter().find(|target| target.value == *whole) else { continue };
            for part in targets.iter().filter(|target| parts.contains(&target.value.as_str())) {
                // In the file that lies over the other, or at the later of two lines.
                let (at, other) = if (whole.file, part.span.start) < (part.file, whole.span.start) {
                    (whole, part)
                } else {
                    (part, whole)
                };
                let text = format!("{} is set twice: {} fills it as well", part.value, whole.value);
                let line = self.reader.files[other.file].line(other.span.start);
                let hint =
                    format!("remove one: {} stands in {}:{line}", other.value, self.reader.files[other.file].name);
                self.reader.warn(at.file, at.span.clone(), "M019", text, &hint);
            }
        }
    }

    /// What the base's rule says of unknown codes and of what is missing, and the rule in its place does not.
    pub(super) fn left_out(&mut self, rule: &Rule, target: &Target) {
        let by_itself = if matches!(target.shape, Shape::Code(_)) { "reject" } else { "keep" };
        let differs = |left: &&LeftOut| match left.key {
            "on_unmapped" => left.value != by_itself && (rule.table.is_some() || by_itself == "reject"),
            _ => true,
        };
        // Without a table a closed list is told by itself.
        if matches!(target.shape, Shape::Code(_)) && rule.table.is_none() && rule.constant.is_none() {
            return;
        }
        let left: Vec<&LeftOut> = rule.left_out.iter().filter(differs).collect();
        let Some(first) = left.first() else { return };
        let says = left.iter().map(|left| match left.value.as_str() {
            "true" => format!("{} = true", left.key),
            value => format!("{} = {value:?}", left.key),
        });
        let says = says.collect::<Vec<_>>().join(", ");
        let base = &self.reader.files[first.place.0];
        let text = format!(
            "this rule takes the place of the base's in {}:{} as a whole, which says {says}",
            base.name,
            base.line(first.place.1)
        );
        let instead = left.iter().map(|left| match left.key {
            "on_unmapped" => format!("on_unmapped = {by_itself:?}"),
            "required" => "required = false".to_owned(),
            "table" => format!("as = {:?}", if target.shape == Shape::Boolean { "boolean" } else { "text" }),
            _ => "on_null = \"clear\"".to_owned(),
        });
        let instead = instead.collect::<Vec<_>>().join(", ");
        let hint = format!("say so here as well; if it is not meant to hold any more, say {instead}");
        self.reader.warn(rule.file, rule.span.clone(), "M026", text, &hint);
    }

    /// Two blocks that make the same items.
    pub(super) fn twins(&mut self, blocks: &[&Block], place: &str) {
        let text_of =
            |written: &Option<Located<String>>| written.as_ref().map(|written| written.value.trim().to_owned());
        for (index, block) in blocks.iter().enumerate() {
            let is_off = text_of(&block.when).is_some_and(|when| when == "false");
            let twin = blocks[..index].iter().find(|other| {
                !is_off
                    && !other.fields.is_empty()
                    && text_of(&other.each) == text_of(&block.each)
                    && text_of(&other.when) == text_of(&block.when)
            });
            let is_astray = block.is_unclear || self.reader.astray.contains(&(block.file, block.span.start));
            let Some(twin) = twin.filter(|_| !is_astray) else { continue };
            let line = self.reader.files[twin.file].line(twin.span.start);
            let text = format!(
                "this block and the one in {}:{line} make the same {place} twice",
                self.reader.files[twin.file].name
            );
            // Where a site made them alike by another each, that is the place.
            let changed = [block, twin].into_iter().find_map(|block| changed_each(block));
            let (file, span) = changed.map_or((block.file, &block.span), |each| (each.file, &each.span));
            self.reader.warn(file, span.clone(), "M019", text, "give them different conditions with when");
        }
    }

    /// A site's `each` over a base's block whose rules read something else: they give the same for every item.
    pub(super) fn foreign_each(&mut self, block: &Block, place: &str, each: &Path) {
        let Some(written) = changed_each(block) else { return };
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let rules = block.fields.iter().filter_map(|(_, rule)| rule.as_ref());
        let paths: Vec<Path> =
            rules.flat_map(|rule| &rule.from).filter_map(|path| Path::parse(&path.value).ok()).collect();
        for path in &paths {
            let root = match (each.field(), path.field()) {
                (Some(_), Some(field)) => format!("{}-{field}", path.segment()),
                _ => path.segment().to_owned(),
            };
            *counts.entry(root).or_default() += 1;
        }
        let own = match each.field() {
            Some(field) => format!("{}-{field}", each.segment()),
            None => each.segment().to_owned(),
        };
        let read = counts.get(&own).copied().unwrap_or_default();
        let Some((most, count)) = counts.iter().max_by_key(|(_, count)| **count).filter(|(_, count)| **count > read)
        else {
            return;
        };
        let base = &self.reader.files[block.file];
        let text = format!(
            "this takes the place of the each of the base's block of {place} in {}:{}, which reads {most} ({count} of {} paths) and {own} with {read}",
            base.name,
            base.line(block.span.start),
            paths.len()
        );
        let hint = "leave each as the base has it; a block of its own has a name of its own: block = \"…\"";
        self.reader.warn(written.file, written.span.clone(), "M020", text, hint);
    }
}

/// The first field that a file, or one over it, says something of in a block, or in its lists.
fn first_of_site(block: &Block, file: usize) -> Option<&Located<String>> {
    let own = block.fields.iter().map(|(target, _)| target).find(|target| target.file <= file);
    let of_lists = || block.lists.iter().flat_map(|(_, blocks)| blocks).find_map(|inner| first_of_site(inner, file));
    own.or_else(of_lists)
}

/// The `each` that a site gave to a block of its base.
fn changed_each(block: &Block) -> Option<&Located<String>> {
    block.each.as_ref().filter(|each| each.file != block.file)
}
