//! Declarations to a plan: paths parsed, tables read, targets, literals and conditions checked. What compiles cannot fail for its
//! own sake at run time.

mod changed_each;
mod paths;
mod reads;
mod tables;

use std::ops::Range;

use crate::record::Value as Json;
use jiff::tz::TimeZone;

use super::RuleName;
use super::coerce::{self, Coercion, number};
use super::file::{Block, Declarations, Located, OnNull, Reader, Required, Rule};
use super::input::{Condition, Format, Path, Within};
use super::meant;
use super::table::{Looked, Row, Table};
use crate::diagnostic::similar;
use crate::record::schema::{self, Field, Shape};
use crate::record::{Kind, when};
pub(crate) use reads::Reads;

/// A mapping, ready to run.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) format: Format,
    pub(crate) matches: Vec<Match>,
    /// In the order of [`Kind::ALL`], so that a patient's sex is known when results are read.
    pub(crate) records: Vec<(Kind, BlockPlan)>,
    pub(crate) tables: Vec<Table>,
    /// The segments that its blocks and rules read, each once.
    pub(crate) segments: Vec<[u8; 3]>,
    /// Names of the files, for explanations.
    pub(crate) files: Vec<String>,
}

/// One condition of `match`.
#[derive(Debug)]
pub(crate) struct Match {
    pub(crate) path: Path,
    pub(crate) patterns: Vec<String>,
}

/// A record or list item.
#[derive(Debug)]
pub(crate) struct BlockPlan {
    /// The segments or repetitions that make one each; `None`: the scope around it makes one.
    pub(crate) each: Option<Path>,
    /// What `each` reads.
    pub(crate) reads: Reads,
    pub(crate) when: Option<Condition>,
    /// It makes items only where no other item of the list has all of these values.
    pub(crate) when_none: Vec<(&'static str, Json)>,
    pub(crate) skip: Vec<SkipPlan>,
    pub(crate) on_null: OnNull,
    /// The fields that its rules can fill, in the order of records.
    pub(crate) names: Vec<&'static str>,
    pub(crate) rules: Vec<RulePlan>,
    pub(crate) lists: Vec<ListPlan>,
    /// Where it is written: file and line.
    pub(crate) file: usize,
    pub(crate) line: usize,
}

/// One rule of `skip`.
#[derive(Debug)]
pub(crate) struct SkipPlan {
    pub(crate) when: Condition,
    pub(crate) reason: String,
    pub(crate) deliberate: bool,
}

/// A list of objects and the blocks that fill it, in order.
#[derive(Debug)]
pub(crate) struct ListPlan {
    pub(crate) name: &'static str,
    pub(crate) blocks: Vec<BlockPlan>,
}

/// One rule.
#[derive(Debug)]
pub(crate) struct RulePlan {
    pub(crate) target: Target,
    /// The first field that the target fills, by its position in the names of the block.
    pub(crate) slot: usize,
    /// A rule before it may have filled the target.
    pub(crate) is_alternative: bool,
    pub(crate) from: Vec<Path>,
    pub(crate) reads: Reads,
    pub(crate) constant: Option<Json>,
    pub(crate) coercion: Coercion,
    pub(crate) table: Option<usize>,
    pub(crate) default: Option<Json>,
    pub(crate) on_unmapped: OnUnmapped,
    pub(crate) on_null: OnNull,
    pub(crate) required: Required,
    pub(crate) when: Option<Condition>,
    pub(crate) file: usize,
    pub(crate) line: usize,
}

impl Plan {
    /// The rules by name, in order.
    pub(crate) fn rule_names(&self) -> Vec<RuleName> {
        let mut names = Vec::new();
        for (kind, block) in &self.records {
            self.name_rules(block, kind.name(), &mut names);
        }
        names
    }

    fn name_rules(&self, block: &BlockPlan, place: &str, names: &mut Vec<RuleName>) {
        for rule in &block.rules {
            let parent = rule.target.parent.map_or(String::new(), |parent| format!("{parent}."));
            let target = format!("{place}.{parent}{}", rule.target.name);
            names.push(RuleName { file: self.files[rule.file].clone(), line: rule.line, target });
        }
        for list in &block.lists {
            let place = format!("{place}.{}", list.name);
            list.blocks.iter().for_each(|block| self.name_rules(block, &place, names));
        }
    }

    /// See [`super::Mapping::knows`]. `name` is a table's, or that of a field with a closed list.
    pub(crate) fn knows(&self, name: &str, code: &str) -> bool {
        if let Some(table) = self.tables.iter().find(|table| table.name == name) {
            return table.look_up(code) != Looked::Unknown;
        }
        !self.records.iter().any(|(_, block)| has_closed_list_without(block, name, code))
    }
}

/// Whether a field called `name` in the block or its lists asks a closed list that lacks the code.
fn has_closed_list_without(block: &BlockPlan, name: &str, code: &str) -> bool {
    let lacks = |rule: &RulePlan| {
        rule.table.is_none()
            && rule.target.name == name
            && matches!(rule.target.shape, Shape::Code(legal) if !legal.contains(&code))
    };
    block.rules.iter().any(lacks)
        || block.lists.iter().flat_map(|list| &list.blocks).any(|block| has_closed_list_without(block, name, code))
}

impl RulePlan {
    /// Whether `""` clears the field. A time that orders messages is never cleared, the next path is asked.
    pub(crate) fn clears(&self) -> bool {
        self.on_null == OnNull::Clear && self.required == Required::No && self.coercion != Coercion::Instant
    }
}

/// Where a rule's value goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Target {
    /// The object field that holds it, for `department.code`.
    pub(crate) parent: Option<&'static str>,
    /// The field's name.
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    /// It fills several fields: `name` of a patient, `value` of a result.
    pub(crate) spread: bool,
}

impl Target {
    /// The fields that it can fill: an object where it is a part of one, several where it spreads.
    pub(crate) fn fills(&self) -> &[&'static str] {
        match (self.spread, self.name, &self.parent) {
            (true, "value", _) => &["value_number", "value_text", "value_code", "comparator", "unit"],
            (true, ..) => &["name", "family_name", "given_name"],
            (false, _, Some(parent)) => std::slice::from_ref(parent),
            (false, _, None) => std::slice::from_ref(&self.name),
        }
    }
}

/// What becomes of a code that the table, or the field's closed list, does not know. It is reported in any case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum OnUnmapped {
    /// The message fails; in a list item, the item is rejected.
    Reject,
    /// The sender's code stays; a closed list cannot hold it, there it is as `Leave`.
    Keep,
    /// The field is left as it was.
    Leave,
    /// This value instead.
    Literal(Json),
}

/// The words of `on_unmapped`; anything else is a value.
pub(crate) const ON_UNMAPPED: &[&str] = &["reject", "keep", "leave"];

/// Compiles declarations. Problems go to the reader; the plan is of use only if there is no error among them. Also gives the rows of
/// each table, in the order of the declarations.
pub(crate) fn compile(reader: &mut Reader<'_>, declared: &Declarations) -> (Plan, Vec<Vec<Row>>) {
    let format = declared.format();
    let mut compiler = Compiler {
        reader,
        format,
        rows: Vec::new(),
        read_files: Vec::new(),
        table_names: Vec::new(),
        entries: Vec::new(),
        names_of_base: Vec::new(),
    };
    let whole = Within::whole(format);
    let tables = compiler.tables(declared);
    let mut plan = Plan { format, tables, ..Plan::default() };
    for condition in declared.matches.iter().flatten() {
        if let Some(path) = compiler.path(&condition.path, &whole) {
            plan.matches
                .push(Match { path, patterns: condition.patterns.iter().map(|glob| glob.value.clone()).collect() });
        }
    }
    for kind in Kind::ALL {
        for (_, block) in declared.records.iter().filter(|(other, _)| *other == kind) {
            compiler.names_of_base = names_of_base(declared, kind, block);
            let block = compiler.block(block, kind.name(), schema::fields(kind), None);
            plan.records.push((kind, block));
        }
    }
    compiler.lost_rows(declared);
    plan.segments = reads::note(plan.records.iter_mut().map(|(_, block)| block));
    plan.files = compiler.reader.files.iter().map(|file| file.name.clone()).collect();
    (plan, compiler.rows)
}

/// The names of the base's blocks of a kind of record, of which a new block of a site may be meant for one.
fn names_of_base(declared: &Declarations, kind: Kind, block: &Block) -> Vec<String> {
    let others = declared.records.iter().filter(|(other, base)| *other == kind && base.file > block.file);
    others.filter_map(|(_, base)| base.label.as_ref()).map(|name| name.value.clone()).collect()
}

struct Compiler<'r, 'a> {
    reader: &'r mut Reader<'a>,
    format: Format,
    /// Of the record that is compiled: see [`names_of_base`].
    names_of_base: Vec<String>,
    /// Rows of each table, to check their targets against each field that uses it.
    rows: Vec<Vec<Row>>,
    /// Files of tables that were read, by their index, so that a file of two tables is read and complained of once.
    read_files: Vec<(usize, Vec<Row>)>,
    /// The names of the tables, where they stand.
    table_names: Vec<Located<String>>,
    /// The files of each.
    entries: Vec<tables::TableEntry>,
}

impl Compiler<'_, '_> {
    /// `outer`: what the record is made of, for an item of one of its lists.
    fn block(&mut self, block: &Block, place: &str, level: &'static [Field], outer: Option<&Within>) -> BlockPlan {
        let first = self.reader.problems.len();
        let plan = self.block_as_written(block, place, level, outer);
        self.fold_problems_of_base(block, place, first);
        plan
    }

    fn block_as_written(
        &mut self,
        block: &Block,
        place: &str,
        level: &'static [Field],
        outer: Option<&Within>,
    ) -> BlockPlan {
        let is_item = outer.is_some();
        let whole = Within::whole(self.format);
        let outer = outer.unwrap_or(&whole);
        let is_astray = self.reader.astray.contains(&(block.file, block.span.start));
        let (each, within) = match block.each.as_ref().map(|each| self.each(each, outer)) {
            Some(Some((each, _))) if is_astray => (Some(each), Within::unknown(self.format)),
            Some(Some((each, within))) => (Some(each), within),
            Some(None) => {
                (None, block.each.as_ref().map_or_else(|| outer.clone(), |each| self.probably_within(each, outer)))
            }
            None if block.is_unclear => (None, Within::unknown(self.format)),
            None => (None, outer.clone()),
        };
        if (is_item || self.format == Format::Fhir) && block.each.is_none() && !block.is_unclear {
            let one = if is_item { "one item" } else { "one record" };
            let text = format!("a block of {place} says what makes {one}");
            let hint = match self.format {
                Format::Hl7v2 => "add each = \"SEG\" or each = \"SEG-F\"",
                Format::Fhir => "add each = \"Encounter\", or what else makes one",
            };
            let hint = match (is_item, self.names_of_base.is_empty(), &block.label) {
                (false, false, Some(_)) => {
                    let names = self.names_of_base.join(", ");
                    format!(
                        "to change one of the base's blocks, write its name: block = \"…\", of {names}; for a new one, {hint}"
                    )
                }
                _ => hint.to_owned(),
            };
            self.error(block.file, block.span.clone(), "M004", text, &hint);
        }
        let mut skip = Vec::new();
        for rule in block.skip.iter().flatten() {
            if let Some(when) = self.condition(&rule.when, &within) {
                skip.push(SkipPlan { when, reason: rule.reason.clone(), deliberate: rule.deliberate });
            }
        }
        if let Some((field, _)) = block.when_none.iter().flatten().next().filter(|_| !is_item) {
            let text = "when_none is for the blocks of a list".to_owned();
            self.error(field.file, field.span.clone(), "M004", text, "use when");
        }
        let when_none =
            block.when_none.iter().flatten().filter_map(|(field, value)| self.item_value(field, value, place, level));
        let when_none = when_none.collect();
        let mut rules = Vec::new();
        for (target, rule) in &block.fields {
            if let Some(mut rule) =
                rule.as_ref().and_then(|rule| self.rule(target, rule, place, level, (is_item, block, &within)))
            {
                rule.is_alternative = rules.iter().any(|other: &RulePlan| other.target == rule.target);
                rules.push(rule);
            }
        }
        let mut names: Vec<&str> = rules.iter().flat_map(|rule| rule.target.fills()).copied().collect();
        names.sort_unstable();
        names.dedup();
        for rule in &mut rules {
            let slot = rule.target.fills().first().and_then(|name| names.binary_search(name).ok());
            rule.slot = slot.unwrap_or_default();
        }
        let mut lists = Vec::new();
        for (name, blocks) in &block.lists {
            let inner = match level.iter().find(|field| field.name == *name).map(|field| field.shape) {
                Some(Shape::List(inner)) => inner,
                _ => continue,
            };
            let place = format!("{place}.{name}");
            let mut blocks: Vec<_> =
                blocks.iter().map(|block| self.block(block, &place, inner, Some(&within))).collect();
            // What depends on the other items comes after them, wherever a site has added its own.
            blocks.sort_by_key(|block| !block.when_none.is_empty());
            lists.push(ListPlan { name, blocks });
        }
        BlockPlan {
            each,
            reads: Reads::Anything,
            when: block.when.as_ref().and_then(|when| self.condition(when, &within)),
            when_none,
            skip,
            on_null: block.on_null.as_ref().map_or(OnNull::Clear, |on_null| on_null.value),
            names,
            rules,
            lists,
            file: block.file,
            line: self.reader.files[block.file].line(block.span.start),
        }
    }

    /// A field of an item and a value of it, for `when_none`.
    fn item_value(
        &mut self,
        field: &Located<String>,
        value: &Located<String>,
        place: &str,
        level: &'static [Field],
    ) -> Option<(&'static str, Json)> {
        let Some(target) = target(level, &field.value).filter(|target| target.parent.is_none() && !target.spread)
        else {
            let hint = match similar(&field.value, level.iter().map(|field| field.name)) {
                Some(meant) => format!("did you mean {meant}?"),
                None => String::new(),
            };
            let text = format!("there is no field {} of {place} to compare", field.value);
            self.error(field.file, field.span.clone(), "M003", text, &hint);
            return None;
        };
        Some((target.name, self.literal(value, &target, place, &[])?))
    }

    fn rule(
        &mut self,
        target_name: &Located<String>,
        rule: &Rule,
        place: &str,
        level: &'static [Field],
        (is_item, block, within): (bool, &Block, &Within),
    ) -> Option<RulePlan> {
        let target = target(level, &target_name.value)?;
        let coercion = self.coercion(&target, level, rule)?;
        let mut from = self.sources(rule, within);
        self.element_types(rule, &from, coercion, &target);
        if coercion == Coercion::LabValue {
            // A value may have several repetitions, and all of them are the value.
            from = from.into_iter().map(Path::with_repetitions).collect();
        }
        let table = match &rule.table {
            Some(table) => Some(self.table(table, coercion, &target)?),
            None => None,
        };
        let literal = |this: &mut Self, literal: &Option<Located<String>>, words: &[&str]| {
            literal.as_ref().and_then(|literal| this.literal(literal, &target, place, words))
        };
        // A resource is complete, so a block may say at once what becomes of all that is not in it.
        let of_block = block.on_null.as_ref().filter(|_| self.format == Format::Fhir);
        let constant = literal(self, &rule.constant, &[]);
        let default = literal(self, &rule.default, &[]);
        let on_unmapped = match rule.on_unmapped.as_ref().map(|on_unmapped| on_unmapped.value.as_str()) {
            // What steers or is a closed list must not be guessed; in a result that costs one result, not the report.
            None if matches!(target.shape, Shape::Code(_)) => OnUnmapped::Reject,
            None => OnUnmapped::Keep,
            Some("reject") => OnUnmapped::Reject,
            Some("keep") => OnUnmapped::Keep,
            Some("leave") => OnUnmapped::Leave,
            Some(_) => OnUnmapped::Literal(literal(self, &rule.on_unmapped, ON_UNMAPPED)?),
        };
        if let (Some(written), None, false) = (&rule.on_unmapped, table, matches!(target.shape, Shape::Code(_))) {
            let text = "on_unmapped needs a table".to_owned();
            self.error(written.file, written.span.clone(), "M011", text, "add table = \"…\"");
        }
        Some(RulePlan {
            target,
            slot: 0,
            is_alternative: false,
            from,
            reads: Reads::Anything,
            constant,
            coercion,
            table,
            default,
            on_unmapped,
            // An item of a list is sent as a whole: what is not in it is not there, so nothing needs to be cleared.
            on_null: if is_item {
                OnNull::Keep
            } else {
                rule.on_null.as_ref().or(of_block).map_or(OnNull::Clear, |on_null| on_null.value)
            },
            required: rule.required.as_ref().map_or(Required::No, |required| required.value),
            when: rule.when.as_ref().and_then(|when| self.condition(when, within)),
            file: rule.file,
            line: self.reader.files[rule.file].line(rule.span.start),
        })
    }

    fn coercion(&mut self, target: &Target, level: &'static [Field], rule: &Rule) -> Option<Coercion> {
        let default = default_coercion(target, level, rule)?;
        let Some(written) = &rule.coercion else { return Some(default) };
        let Some(coercion) = Coercion::named(&written.value) else {
            let hint = match similar(&written.value, Coercion::names()) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("known: {}", Coercion::names().collect::<Vec<_>>().join(", ")),
            };
            let text = format!("there is no coercion {}", written.value);
            self.error(written.file, written.span.clone(), "M010", text, &hint);
            return None;
        };
        let fits = match target.spread {
            true if default == Coercion::LabValue => coercion == Coercion::LabValue,
            // A name may also come as one text.
            _ => coercion.fits(target.shape),
        };
        if !fits {
            let text = format!("{} cannot fill {}", written.value, target.name);
            self.error(
                written.file,
                written.span.clone(),
                "M011",
                text,
                "leave as out to use the field's own coercion",
            );
            return None;
        }
        Some(coercion)
    }

    fn literal(&mut self, literal: &Located<String>, target: &Target, place: &str, words: &[&str]) -> Option<Json> {
        let value = typed(&literal.value, target.shape);
        if value.is_none() || target.spread {
            let text = format!("{} is no legal value of {place}.{}", literal.value, target.name);
            let hint = match (similar(&literal.value, words.iter().copied()), target.shape) {
                (Some(meant), _) => format!("did you mean {meant}?"),
                (None, Shape::Object(inner)) => {
                    let parts: Vec<String> =
                        inner.iter().map(|part| format!("{}.{}", target.name, part.name)).collect();
                    format!("it has parts, write {} = …", parts.join(" = … or "))
                }
                (None, shape) => legal(shape, &literal.value),
            };
            self.error(literal.file, literal.span.clone(), "M015", text, &hint);
            return None;
        }
        if target.shape == Shape::Text && meant::is_field(&literal.value) {
            let text = format!("{} is a path, and here it is taken as the text itself", literal.value);
            let hint = "a path stands in from; of several, the first with a value counts: from = [\"…\", \"…\"]";
            self.reader.warn(literal.file, literal.span.clone(), "M015", text, hint);
        }
        value
    }

    fn error(&mut self, file: usize, span: Range<usize>, code: &'static str, text: String, hint: &str) {
        self.reader.error(file, span, code, text, hint);
    }
}

/// The coercion of a rule that names none.
pub(crate) fn default_coercion(target: &Target, level: &'static [Field], rule: &Rule) -> Option<Coercion> {
    let by_field = level.iter().find(|field| field.name == target.name && target.parent.is_none());
    let default = match (target.spread, by_field) {
        (true, None) => Coercion::LabValue,
        (true, Some(_)) => Coercion::Name,
        (false, Some(field)) => Coercion::default_for(field)?,
        (false, None) => Coercion::Text,
    };
    // A table is asked for a code, not for a code with its display text.
    Some(if rule.table.is_some() && default == Coercion::Text { Coercion::Code } else { default })
}

/// The target of this name; the reader has checked that there is one.
pub(crate) fn target(level: &'static [Field], name: &str) -> Option<Target> {
    if coerce::is_spread(level, name) {
        return Some(Target { parent: None, name: "value", shape: Shape::Text, spread: true });
    }
    let (parent, name) = match name.split_once('.') {
        Some((parent, name)) => (Some(parent), name),
        None => (None, name),
    };
    let field = match parent {
        Some(parent) => {
            let parent = level.iter().find(|field| field.name == parent)?;
            let Shape::Object(inner) = parent.shape else { return None };
            return inner.iter().find(|field| field.name == name).map(|field| Target {
                parent: Some(parent.name),
                name: field.name,
                shape: field.shape,
                spread: false,
            });
        }
        None => level.iter().find(|field| field.name == name)?,
    };
    let has_parts = level.iter().any(|field| field.name == "family_name");
    Some(Target { parent: None, name: field.name, shape: field.shape, spread: name == "name" && has_parts })
}

/// A text as a value of this shape, if it is one.
pub(crate) fn typed(text: &str, shape: Shape) -> Option<Json> {
    match shape {
        Shape::Text => Some(Json::from(text)),
        Shape::Date if text.contains('T') => None,
        Shape::Date | Shape::DateTime => when::instant(text, &TimeZone::UTC).map(|_| Json::from(text)),
        Shape::TextList => Some(Json::Array(vec![Json::from(text)])),
        Shape::Code(legal) => legal.contains(&text).then(|| Json::from(text)),
        Shape::Integer => number::integer(text).map(Json::from),
        Shape::Decimal => number::decimal(text).map(Json::Number),
        Shape::Boolean => text.parse::<bool>().ok().map(Json::from),
        Shape::Object(_) | Shape::List(_) => None,
    }
}

fn legal(shape: Shape, written: &str) -> String {
    match shape {
        Shape::Code(legal) => match similar(written, legal.iter().copied()) {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("legal: {}", legal.join(", ")),
        },
        Shape::Boolean => "legal: true, false".to_owned(),
        Shape::Integer => "legal: a whole number".to_owned(),
        Shape::Decimal => "legal: a number".to_owned(),
        Shape::Date => "legal: a date like 2024-03-05, 2024-03 or 2024".to_owned(),
        Shape::DateTime => "legal: a time like 2024-03-05T10:30:00+08:00, or a date".to_owned(),
        _ => String::new(),
    }
}
