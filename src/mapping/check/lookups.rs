//! Tables that belong to another field, or to other paths than the one that is looked up in them.

use super::Checker;
use super::texts::root_of;
use crate::diagnostic::Diagnostic;
use crate::hl7v2::Path;
use crate::mapping::compile;
use crate::mapping::file::{Block, Located};
use crate::mapping::input::Format;
use crate::record::schema::{Field, Shape};

/// One rule that looks something up.
#[derive(Clone)]
pub(super) struct LookUp<'d> {
    table: &'d Located<String>,
    /// The name of the field, without that of the object or list around it.
    field: &'static str,
    /// The name with that of the record or list.
    place: String,
    shape: Shape,
    from: &'d [Located<String>],
    /// The paths of the base's rules in whose place it stands.
    base_paths: &'d [Located<String>],
}

/// HL7 tables whose codes say yes and no (0136, and 0532 with more words for unknown).
pub(super) const YES_OR_NO: &[&str] = &["0136", "0532"];

impl<'d> Checker<'_, '_, 'd> {
    /// Notes the rules of a block, and of its lists, that look something up.
    pub(super) fn note_look_ups(&mut self, block: &'d Block, place: &str, level: &'static [Field]) {
        for (target, rule) in &block.fields {
            let Some(rule) = rule else { continue };
            let (Some(table), Some(found)) = (&rule.table, compile::target(level, &target.value)) else { continue };
            let place = format!("{place}.{}", found.name);
            self.asked_tables.insert(&table.value);
            self.all_look_ups.push(LookUp {
                table,
                field: found.name,
                place,
                shape: found.shape,
                from: &rule.from,
                base_paths: &rule.base_paths,
            });
        }
        for (name, blocks) in &block.lists {
            if let Some(Shape::List(inner)) = level.iter().find(|field| field.name == *name).map(|field| field.shape) {
                let place = format!("{place}.{name}");
                blocks.iter().for_each(|block| self.note_look_ups(block, &place, inner));
            }
        }
    }

    /// Files of which a table of another field has the name: `sex.csv` in the table `marital`, where `sex` has it as well.
    pub(super) fn foreign_files(&mut self) {
        let fields = |table: &str| -> Vec<&'static str> {
            let uses = self.all_look_ups.iter().filter(|look_up| look_up.table.value == table);
            uses.map(|look_up| look_up.field).collect()
        };
        let stem = |file: &Located<String>| {
            let name = file.value.rsplit('/').next().unwrap_or_default();
            name.split('.').next().unwrap_or_default().replace('-', "_").to_ascii_lowercase()
        };
        let mut found = Vec::new();
        for table in &self.declared.tables {
            let own = fields(&table.name.value);
            // A file alone is a table in the place of another, and told by what that loses.
            for file in table.files.iter().filter(|_| table.files.len() > 1) {
                let (stem, Some(index)) = (stem(file), self.reader.known(file)) else { continue };
                let owner = self.declared.tables.iter().find(|other| {
                    other.name.value != table.name.value
                        && stem.contains(&other.name.value)
                        && !stem.contains(&table.name.value)
                        && !fields(&other.name.value).iter().any(|field| own.contains(field))
                        && other.files.iter().any(|other| self.reader.known(other) == Some(index))
                });
                if let Some(owner) = owner.filter(|_| !own.is_empty()) {
                    found.push((table.name.value.clone(), index, file.clone(), owner.name.value.clone()));
                }
            }
        }
        for (table, index, file, owner) in found {
            let text = format!("{} is a file of the table {owner}, and {table} is one of another field", file.value);
            self.reader.warn(file.file, file.span, "M008", text, "is another file meant?");
            self.foreign_files.entry(table).or_default().insert(index);
        }
    }

    /// Rows of tables in which the systems of numbers are looked up, as FHIR has them: a URI, or an object identifier without its scheme.
    /// A word alone may be what a server sends all the same.
    pub(super) fn systems_of_numbers(&mut self) {
        if self.declared.format() != Format::Fhir {
            return;
        }
        let is_system = |path: &Located<String>| {
            let path = path.value.trim();
            let path = path.split_once(".replace(").map_or(path, |(path, _)| path);
            path == "system" || path.ends_with("identifier.system")
        };
        let mut told: Vec<&str> = Vec::new();
        for own in self.all_look_ups.clone() {
            let name = own.table.value.as_str();
            if told.contains(&name) || own.from.is_empty() || !own.from.iter().all(is_system) {
                continue;
            }
            told.push(name);
            let tables = self.declared.tables.iter().zip(self.rows);
            let rows = tables.filter(|(table, _)| table.name.value == name).flat_map(|(_, rows)| rows);
            for row in rows.filter(|row| !self.reader.swapped_files.contains(&row.file)).collect::<Vec<_>>() {
                if let Some(meant) = broken_uri(&row.source) {
                    let span = row.span.start..row.span.start + row.source.len();
                    let text = format!("{} is no URI, and no system of a number is written so", row.source);
                    self.tell(row, span, "M021", text, &format!("is {meant} meant?"));
                }
            }
        }
    }

    /// Each look-up in a table that belongs to something else.
    pub(super) fn foreign_look_ups(&mut self) {
        let all = std::mem::take(&mut self.all_look_ups);
        let mut told: Vec<(usize, usize)> = Vec::new();
        for own in &all {
            let place = (own.table.file, own.table.span.start);
            if told.contains(&place) {
                continue;
            }
            if self.table_of_another_field(own, &all)
                || self.path_of_another_table(own, &all)
                || self.codes_of_another_table(own, &all)
            {
                told.push(place);
            }
        }
    }

    /// A text that is looked up in the table of a field of another name: of a closed list, or, as the base has it, of any other.
    fn table_of_another_field(&mut self, own: &LookUp<'d>, all: &[LookUp<'d>]) -> bool {
        if !matches!(own.shape, Shape::Text | Shape::TextList) {
            return false;
        }
        let same_table = || all.iter().filter(|other| other.table.value == own.table.value);
        let is_its_own = same_table().any(|other| {
            other.field == own.field
                && (other.table.file, other.table.span.start) != (own.table.file, own.table.span.start)
        });
        let is_of_base = self.is_of_base(own);
        let mut owners = same_table().filter(|other| {
            let is_closed = matches!(other.shape, Shape::Code(_));
            other.field != own.field
                && ((is_closed && other.table.file >= own.table.file)
                    || (is_of_base && other.table.file > own.table.file))
        });
        let Some(owner) = owners.next().filter(|_| !is_its_own) else { return false };
        let file = &self.reader.files[owner.table.file];
        let text = format!(
            "the table {} is that of {} ({}:{}), and {} is something else",
            own.table.value,
            owner.place,
            file.name,
            file.line(owner.table.span.start),
            own.field
        );
        let names = self.declared.tables.iter().map(|table| table.name.value.as_str());
        let meant = names.into_iter().find(|name| own.field.starts_with(name) || name.starts_with(own.field));
        let hint = match meant {
            Some(meant) => format!("is the table {meant} meant?"),
            None => format!("name a table of its own in [tables]: {} = \"tables/….csv\"", own.field),
        };
        self.reader.warn(own.table.file, own.table.span.clone(), "M008", text, &hint);
        true
    }

    /// A path that the base looks up in another table than this one, which the base has for other paths and the site has left as it is.
    fn path_of_another_table(&mut self, own: &LookUp<'d>, all: &[LookUp<'d>]) -> bool {
        let roots = |from: &[Located<String>]| -> Vec<String> {
            from.iter().filter_map(|written| Path::parse(&written.value).ok().map(|path| root_of(&path))).collect()
        };
        let place = (&self.reader.files[own.table.file], own.table.span.start);
        let is_at_table = |problem: &Diagnostic| {
            problem.is_error() && problem.file == place.0.name && problem.line == place.0.line(place.1)
        };
        // That the table does not fit the field is told of it.
        if !self.is_of_base(own) || self.reader.problems.iter().any(is_at_table) {
            return false;
        }
        let of_base = || all.iter().filter(|other| other.table.file > own.table.file);
        for written in own.from {
            let Some(root) = Path::parse(&written.value).ok().map(|path| root_of(&path)) else { continue };
            let mut readers = of_base().filter(|other| roots(other.from).contains(&root)).peekable();
            let Some(reader) = readers.peek().copied() else { continue };
            if readers.any(|other| other.table.value == own.table.value) {
                continue;
            }
            let file = &self.reader.files[reader.table.file];
            let text = format!(
                "{} is looked up in {} for {} ({}:{}), and {} has codes of something else",
                written.value,
                reader.table.value,
                reader.place,
                file.name,
                file.line(reader.table.span.start),
                own.table.value
            );
            self.reader.warn(
                written.file,
                written.span.clone(),
                "M022",
                text,
                "is another path or another table meant?",
            );
            self.paths_of_others.insert((written.file, written.span.start));
            return true;
        }
        false
    }

    /// A path whose codes are of another HL7 table than those of all paths that the base looks up in this table, which the site has left as
    /// it is.
    fn codes_of_another_table(&mut self, own: &LookUp<'d>, all: &[LookUp<'d>]) -> bool {
        if self.declared.format() != Format::Hl7v2 || !self.is_of_base(own) {
            return false;
        }
        let name = own.table.value.as_str();
        let of_base = all.iter().filter(|other| other.table.value == name && other.table.file > own.table.file);
        let mut of_base = of_base.flat_map(|other| other.from).peekable();
        // In whose place this rule stands, that may be the only one that asks the table.
        let of_field = if of_base.peek().is_none() { own.base_paths } else { &[] };
        let paths = of_base.chain(of_field);
        let known: Vec<(&'static str, &Located<String>)> =
            paths.filter_map(|path| Some((self.hl7_table(path)?, path))).collect();
        let Some((number_of_base, path_of_base)) = known.first() else { return false };
        // A later path may be a site's stopgap; and in its own field a sender may well say yes and no.
        let Some(written) = own.from.first() else { return false };
        let Some(number) = self.hl7_table(written) else { return false };
        let is_same = |other: &str| other == number || [number, other].iter().all(|table| YES_OR_NO.contains(table));
        let of_field = || own.base_paths.iter().any(|path| path.value == written.value);
        if known.iter().any(|(other, _)| is_same(other))
            || self.has_rows_for(name, number)
            || (own.shape == Shape::Boolean && of_field())
        {
            return false;
        }
        let text = format!(
            "{} has codes of HL7 table {number}, and {name} those of table {number_of_base}, as {}",
            written.value, path_of_base.value
        );
        let hint = "is another path or another table meant?";
        self.reader.warn(written.file, written.span.clone(), "M022", text, hint);
        self.paths_of_others.insert((written.file, written.span.start));
        true
    }

    /// The HL7 table of a path's codes; that of a coded field for its first component as well.
    fn hl7_table(&self, written: &Located<String>) -> Option<&'static str> {
        let path = Path::parse(&written.value).ok()?;
        let table = self.meaning(&path).ok()?.table;
        if !table.is_empty() || path.component() != Some(1) || path.subcomponent().is_some() {
            return Some(table).filter(|table| !table.is_empty());
        }
        let whole = Path::parse(&format!("{}-{}", path.segment(), path.field()?)).ok()?;
        Some(self.meaning(&whole).ok()?.table).filter(|table| !table.is_empty())
    }

    /// Whether a table has a row for some code of an HL7 table.
    fn has_rows_for(&self, name: &str, number: &str) -> bool {
        let Some(codes) = self.dictionary.codes(number) else { return false };
        let mut tables = self.declared.tables.iter().zip(self.rows);
        let rows = tables.find(|(table, _)| table.name.value == name).map(|(_, rows)| rows);
        rows.is_some_and(|rows| rows.iter().any(|row| codes.contains(&row.source.as_str())))
    }

    /// Whether the table is the base's, as it is: what a site has added to it is for what the site looks up.
    fn is_of_base(&self, own: &LookUp<'d>) -> bool {
        let table = self.declared.tables.iter().find(|table| table.name.value == own.table.value);
        table.is_some_and(|table| table.name.file > own.table.file)
    }
}

/// What a text was probably to be that looks like a URI and has no `:`.
fn broken_uri(text: &str) -> Option<String> {
    let small = text.to_ascii_lowercase();
    if text.contains(':') {
        return None;
    }
    let after = |scheme: &str| small.starts_with(scheme).then(|| text[scheme.len()..].trim_start_matches('/'));
    if let Some(number) = after("urnoid").or_else(|| after("oid")) {
        return number.starts_with(|digit: char| digit.is_ascii_digit()).then(|| number.to_owned());
    }
    for (written, scheme) in [("https", "https://"), ("http", "http://"), ("urn", "urn:")] {
        if let Some(rest) = after(written).filter(|rest| !rest.is_empty()) {
            return Some(format!("{scheme}{rest}"));
        }
    }
    (text.contains('/') || small.starts_with("www.")).then(|| format!("http://{}", text.trim_start_matches('/')))
}
