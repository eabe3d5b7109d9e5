//! Blocks and rules of a mapping file, as written.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{BLOCK_KEYS, Block, Located, OnNull, RULE_KEYS, Reader, Required, Rule, SKIP_KEYS, SkipRule, in_order};
use crate::mapping::coerce;
use crate::record::schema::{Field, Shape};

impl Reader<'_> {
    /// One block or several: `[visit]`, `[[lab_report]]`.
    pub(super) fn blocks(&mut self, file: usize, value: &Spanned<DeValue<'_>>, level: &'static [Field]) -> Vec<Block> {
        match value.get_ref() {
            DeValue::Table(table) => vec![self.block(file, value.span(), table, level)],
            DeValue::Array(array) => {
                let mut blocks: Vec<Block> = Vec::new();
                for item in array.iter() {
                    let DeValue::Table(table) = item.get_ref() else {
                        self.wrong_type(file, item, "a block of fields");
                        continue;
                    };
                    let block = self.block(file, item.span(), table, level);
                    if let Some(label) = &block.label
                        && blocks.iter().any(|other| other.is_called(&label.value))
                    {
                        let text = format!("two blocks are called {}", label.value);
                        self.error(file, label.span.clone(), "M004", text, "give each a name of its own");
                    }
                    blocks.push(block);
                }
                blocks
            }
            _ => {
                self.wrong_type(file, value, "a block of fields");
                Vec::new()
            }
        }
    }

    fn block(&mut self, file: usize, span: Range<usize>, table: &DeTable<'_>, level: &'static [Field]) -> Block {
        let mut block = Block {
            file,
            span,
            label: None,
            each: None,
            when: None,
            when_none: None,
            skip: None,
            on_null: None,
            fields: Vec::new(),
            lists: Vec::new(),
            is_unclear: false,
        };
        for (key, value) in in_order(table) {
            let before = self.problems.len();
            match key.get_ref().as_ref() {
                "block" => block.label = self.text(file, value),
                "each" => block.each = self.text(file, value),
                "when" => block.when = self.text(file, value),
                "when_none" => block.when_none = self.when_none(file, value),
                "skip" => {
                    let before = self.problems.len();
                    block.skip = self.skip_rules(file, value);
                    if self.problems.len() > before {
                        self.unclear_skips.insert((file, block.span.start));
                    }
                }
                "on_null" => block.on_null = self.on_null(file, value),
                name => self.field(file, key, name, value, level, &mut block),
            }
            let is_field = level.iter().any(|field| field.name == key.get_ref().as_ref());
            block.is_unclear |= !is_field && self.problems.len() > before;
        }
        if table.is_empty() {
            let text = "this block says nothing".to_owned();
            self.warn(file, block.span.clone(), "M023", text, "fill it, or remove it");
        }
        block
    }

    fn field(
        &mut self,
        file: usize,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        name: &str,
        value: &Spanned<DeValue<'_>>,
        level: &'static [Field],
        block: &mut Block,
    ) {
        let target = |name: String| Located { value: name, file, span: key.span() };
        let field = level.iter().find(|field| field.name == name);
        match (field.map(|field| (field.name, field.shape)), value.get_ref()) {
            (Some((name, Shape::List(inner))), DeValue::Table(_) | DeValue::Array(_)) => {
                let blocks = self.blocks(file, value, inner);
                block.lists.push((name, blocks));
            }
            (Some((name, Shape::List(_))), _) => {
                let hint = format!("[[….{name}]] with each = \"SEG-F\" and its fields below");
                self.error(file, value.span(), "M004", format!("{name} is a list and needs blocks"), &hint);
            }
            (Some((_, Shape::Object(inner))), DeValue::Table(table)) if !is_rule(table) => {
                for (key, value) in in_order(table) {
                    let part = key.get_ref();
                    if inner.iter().any(|field| field.name == part) {
                        for rule in self.rules_or_removal(file, value) {
                            let target = Located { value: format!("{name}.{part}"), file, span: key.span() };
                            block.fields.push((target, rule));
                        }
                    } else {
                        self.unknown(file, key.span(), "field", part, inner.iter().map(|field| field.name));
                    }
                }
            }
            (field, _) if field.is_some() || coerce::is_spread(level, name) => {
                for rule in self.rules_or_removal(file, value) {
                    block.fields.push((target(name.to_owned()), rule));
                }
            }
            _ => {
                let known = level.iter().map(|field| field.name).chain(BLOCK_KEYS.iter().copied());
                self.unknown(file, key.span(), "field", name, known);
            }
        }
    }

    /// One rule; several, of which the first that gives a value counts; or `None`, which removes the base's.
    fn rules_or_removal(&mut self, file: usize, value: &Spanned<DeValue<'_>>) -> Vec<Option<Rule>> {
        let alternatives = match value.get_ref() {
            DeValue::Boolean(false) => return vec![None],
            DeValue::Array(array) if array.iter().any(|item| item.get_ref().is_table()) => array,
            _ => return self.rule(file, value).map(Some).into_iter().collect(),
        };
        let mut rules: Vec<Option<Rule>> = Vec::new();
        for (place, item) in alternatives.iter().enumerate() {
            let Some(rule) = self.rule(file, item) else { continue };
            let is_required = rule.required.as_ref().is_some_and(|required| required.value != Required::No);
            if is_required && place + 1 < alternatives.len() {
                let text = "required counts for all alternatives and stands in the last one".to_owned();
                self.error(file, item.span(), "M004", text, "");
            }
            rules.push(Some(rule));
        }
        rules
    }

    fn rule(&mut self, file: usize, value: &Spanned<DeValue<'_>>) -> Option<Rule> {
        let mut rule = Rule {
            file,
            span: value.span(),
            from: Vec::new(),
            constant: None,
            coercion: None,
            table: None,
            default: None,
            on_unmapped: None,
            on_null: None,
            required: None,
            when: None,
            left_out: Vec::new(),
            is_unclear: false,
            base_paths: Vec::new(),
            base_table: None,
        };
        match value.get_ref() {
            DeValue::String(_) | DeValue::Array(_) => {
                rule.from = self.texts(file, value);
                // What is no text has been told.
                if rule.from.is_empty() {
                    return None;
                }
            }
            DeValue::Table(table) => {
                let before = self.problems.len();
                for (key, value) in in_order(table) {
                    match key.get_ref().as_ref() {
                        "from" => rule.from = self.texts(file, value),
                        "constant" => rule.constant = self.literal(file, value),
                        "as" => rule.coercion = self.text(file, value),
                        "table" => {
                            rule.table = self.text(file, value);
                            self.used_tables.extend(rule.table.iter().map(|name| name.value.clone()));
                        }
                        "default" => rule.default = self.literal(file, value),
                        "on_unmapped" => rule.on_unmapped = self.literal(file, value),
                        "on_null" => rule.on_null = self.on_null(file, value),
                        "required" => rule.required = self.required(file, value),
                        "when" => rule.when = self.text(file, value),
                        name => self.unknown(file, key.span(), "key of a rule", name, RULE_KEYS.iter().copied()),
                    }
                }
                // A key that is misspelled may be the one that is missing.
                rule.is_unclear = self.problems.len() > before;
                if rule.from.is_empty() && rule.constant.is_none() && rule.is_unclear {
                    return None;
                }
            }
            _ => {
                self.wrong_type(file, value, "a path like \"PID-8\", a list of paths, { from = \"…\" } or false");
                return None;
            }
        }
        if rule.from.is_empty() == rule.constant.is_none() {
            let text = "a rule has either from (one path or several) or constant".to_owned();
            self.error(file, value.span(), "M004", text, "for example { from = \"PID-8\", table = \"sex\" }");
            return None;
        }
        Some(rule)
    }

    fn skip_rules(&mut self, file: usize, value: &Spanned<DeValue<'_>>) -> Option<Vec<SkipRule>> {
        let hint = "skip = [{ when = \"OBX-2 = 'ED'\", reason = \"attached document\" }]";
        let Some(array) = value.get_ref().as_array() else {
            self.error(file, value.span(), "M004", "skip is a list of rules".to_owned(), hint);
            return None;
        };
        let mut rules = Vec::new();
        for item in array.iter() {
            let Some(table) = item.get_ref().as_table() else {
                self.error(file, item.span(), "M004", "a rule of skip has when and reason".to_owned(), hint);
                continue;
            };
            let (mut when, mut reason, mut deliberate) = (None, None, true);
            let before = self.problems.len();
            for (key, value) in in_order(table) {
                match key.get_ref().as_ref() {
                    "when" => when = self.text(file, value),
                    "reason" => reason = self.text(file, value),
                    "deliberate" => match value.get_ref().as_bool() {
                        Some(truth) => deliberate = truth,
                        None => self.wrong_type(file, value, "true or false"),
                    },
                    name => self.unknown(file, key.span(), "key of a rule of skip", name, SKIP_KEYS.iter().copied()),
                }
            }
            match (when, reason) {
                (Some(when), Some(reason)) => rules.push(SkipRule { when, reason: reason.value, deliberate }),
                _ if self.problems.len() > before => {}
                _ => self.error(file, item.span(), "M004", "a rule of skip has when and reason".to_owned(), hint),
            }
        }
        Some(rules)
    }

    fn when_none(
        &mut self,
        file: usize,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<Vec<(Located<String>, Located<String>)>> {
        let Some(table) = value.get_ref().as_table().filter(|table| !table.is_empty()) else {
            self.wrong_type(file, value, "fields and their values, as in { type = \"mrn\" }");
            return None;
        };
        let part = |(key, value): (&Spanned<std::borrow::Cow<'_, str>>, _)| {
            let field = Located { value: key.get_ref().to_string(), file, span: key.span() };
            Some((field, self.literal(file, value)?))
        };
        Some(in_order(table).into_iter().filter_map(part).collect())
    }

    fn on_null(&mut self, file: usize, value: &Spanned<DeValue<'_>>) -> Option<Located<OnNull>> {
        let on_null = match value.get_ref().as_str() {
            Some("clear") => OnNull::Clear,
            Some("keep") => OnNull::Keep,
            _ => {
                self.wrong_type(file, value, "\"clear\" or \"keep\"");
                return None;
            }
        };
        Some(Located { value: on_null, file, span: value.span() })
    }

    fn required(&mut self, file: usize, value: &Spanned<DeValue<'_>>) -> Option<Located<Required>> {
        let required = match (value.get_ref().as_bool(), value.get_ref().as_str()) {
            (Some(true), _) => Required::Message,
            (Some(false), _) => Required::No,
            (_, Some("skip")) => Required::Block,
            _ => {
                self.wrong_type(file, value, "true (the message fails), \"skip\" (this record is left out) or false");
                return None;
            }
        };
        Some(Located { value: required, file, span: value.span() })
    }
}

/// A table is a rule, not an object's fields, if it has a rule's key.
fn is_rule(table: &DeTable<'_>) -> bool {
    table.is_empty() || table.keys().any(|key| RULE_KEYS.contains(&key.get_ref().as_ref()))
}
