//! Code tables: their rows from all files that make them, and whether a rule can use one.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use super::{Compiler, Target, legal, typed};
use crate::diagnostic::{listed, similar};
use crate::mapping::coerce::Coercion;
use crate::mapping::file::{Block, Declarations, Located, TableFiles};
use crate::mapping::table::{self, OTHERS, Row, Table};
use crate::record::schema::Shape;

/// The files that a table names: by their index, and where it names them.
pub(super) struct TableEntry {
    files: Vec<(usize, Located<String>)>,
}

impl Compiler<'_, '_> {
    pub(super) fn tables(&mut self, declared: &Declarations) -> Vec<Table> {
        let mut tables = Vec::new();
        for table in &declared.tables {
            let rows = self.table_rows(table, &declared.tables, &mut Vec::new());
            tables.push(Table::new(&table.name.value, &rows));
            self.rows.push(rows);
            self.table_names.push(table.name.clone());
            let files = table.files.iter().filter_map(|file| Some((self.reader.known(file)?, file.clone())));
            self.entries.push(TableEntry { files: files.collect() });
        }
        tables
    }

    /// The rows of the table that it extends, then its own. `chain`: the tables that extend it.
    fn table_rows<'d>(&mut self, table: &'d TableFiles, all: &'d [TableFiles], chain: &mut Vec<&'d str>) -> Vec<Row> {
        let mut rows = Vec::new();
        chain.push(&table.name.value);
        if let Some(extends) = &table.extends {
            match all.iter().find(|other| other.name.value == extends.value) {
                Some(other) if !chain.contains(&other.name.value.as_str()) => rows = self.table_rows(other, all, chain),
                // Told once, however many tables lead there.
                _ if self.is_reported(&(extends.file, extends.span.clone()), "M009") => {}
                Some(_) if extends.value == table.name.value => {
                    let text = format!("no base has a table {} that this one could extend", extends.value);
                    self.error(
                        extends.file,
                        extends.span.clone(),
                        "M009",
                        text,
                        "leave extends out, or name another table",
                    );
                }
                Some(other) => {
                    let text = format!("{} extends {} in turn", other.name.value, table.name.value);
                    self.error(extends.file, extends.span.clone(), "M009", text, "leave one of them out");
                }
                None => {
                    let text = format!("there is no table {} to extend", extends.value);
                    let names: Vec<_> = all.iter().map(|table| table.name.clone()).collect();
                    self.unknown_table(extends, text, &names);
                }
            }
        }
        for file in &table.files {
            if let Some(index) = self.reader.open(file) {
                let known = self.read_files.iter().position(|(known, _)| *known == index);
                let position = known.unwrap_or_else(|| {
                    let source = self.reader.files[index].clone();
                    self.read_files.push((index, table::rows(&source, index, &mut self.reader.problems)));
                    self.read_files.len() - 1
                });
                rows.extend_from_slice(&self.read_files[position].1);
            }
        }
        rows
    }

    /// Codes of the base's tables that a site's of the same names do not have, because they take their places as a whole.
    pub(super) fn lost_rows(&mut self, declared: &Declarations) {
        let all_rows = std::mem::take(&mut self.rows);
        for (table, rows) in declared.tables.iter().zip(&all_rows) {
            // What is wrong with the table is told, and comes first.
            if !table.files.iter().any(|file| self.is_reported(&(file.file, file.span.clone()), "M008")) {
                self.lost_rows_of(table, rows, &declared.tables);
            }
        }
        for (_, block) in &declared.records {
            self.lost_rows_of_rules(block, declared, &all_rows);
        }
        self.rows = all_rows;
    }

    /// The same of a table of another name, in which a site's rule looks up what the base's rule looks up in its own.
    fn lost_rows_of_rules(&mut self, block: &Block, declared: &Declarations, all_rows: &[Vec<Row>]) {
        for rule in block.fields.iter().filter_map(|(_, rule)| rule.as_ref()) {
            let (Some(own), Some(of_base)) = (&rule.table, &rule.base_table) else { continue };
            let position = |name: &str| declared.tables.iter().position(|table| table.name.value == name);
            let (Some(at), Some(base)) = (position(&own.value), position(&of_base.value)) else { continue };
            let (table, replaced) = (&declared.tables[at], &declared.tables[base]);
            let is_site_s = table.name.file < replaced.name.file && table.replaces.is_none() && !table.is_apart;
            // What it holds belongs to something else: that is the mistake.
            let is_told = self.is_reported(&(own.file, own.span.clone()), "M008");
            if is_site_s && !is_told && !self.is_reported(&(table.name.file, table.name.span.clone()), "M026") {
                self.tell_lost_rows(table, replaced, &all_rows[at], &declared.tables);
            }
        }
        for block in block.lists.iter().flat_map(|(_, blocks)| blocks) {
            self.lost_rows_of_rules(block, declared, all_rows);
        }
    }

    fn lost_rows_of(&mut self, table: &TableFiles, rows: &[Row], all: &[TableFiles]) {
        if let Some(replaced) = &table.replaces {
            self.tell_lost_rows(table, replaced, rows, all);
        }
    }

    fn tell_lost_rows(&mut self, table: &TableFiles, replaced: &TableFiles, rows: &[Row], all: &[TableFiles]) {
        let known: HashSet<&str> = rows.iter().map(|row| row.source.as_str()).collect();
        // What is not known of the site's own file is told; what its rows are is not known then.
        let is_unclear =
            table.extends.as_ref().is_some_and(|name| self.is_reported(&(name.file, name.span.clone()), "M009"))
                || table.files.iter().any(|file| self.reader.known(file).is_none())
                || rows.iter().any(|row| self.reader.swapped_files.contains(&row.file));
        if rows.is_empty() || known.contains(OTHERS) || is_unclear {
            return;
        }
        let base = self.rows_of_base(replaced, all, &mut Vec::new());
        let base: BTreeSet<&str> = base.iter().map(|row| row.source.as_str()).collect();
        let lost: Vec<&str> = base.iter().copied().filter(|source| !known.contains(source)).collect();
        if lost.is_empty() {
            return;
        }
        let file = &self.reader.files[replaced.name.file];
        let text = format!(
            "this takes the place of the table {} in {}:{}, and {} of its {} codes have no row any more: {}",
            replaced.name.value,
            file.name,
            file.line(replaced.name.span.start),
            lost.len(),
            base.len(),
            listed(lost)
        );
        let files = table.files.iter().map(|file| format!("{:?}", file.value)).collect::<Vec<_>>().join(", ");
        let hint = format!(
            "write {{ extends = {:?}, files = [{files}] }} to keep them; if they are not meant to hold any more, extends = false",
            replaced.name.value
        );
        self.reader.warn(table.name.file, table.name.span.clone(), "M026", text, &hint);
    }

    /// The rows of a table that is no part of the mapping any more, as far as its files can be read.
    fn rows_of_base<'d>(&self, table: &'d TableFiles, all: &'d [TableFiles], chain: &mut Vec<&'d str>) -> Vec<Row> {
        chain.push(&table.name.value);
        let extended = table.extends.as_ref().and_then(|name| {
            let other = all.iter().find(|other| other.name.value == name.value);
            other.filter(|other| !chain.contains(&other.name.value.as_str()))
        });
        let mut rows = extended.map_or_else(Vec::new, |other| self.rows_of_base(other, all, chain));
        for file in table.files.iter().filter_map(|file| self.reader.peek(file)) {
            rows.extend(table::rows(&file, 0, &mut Vec::new()));
        }
        rows
    }

    /// One that is not used and has nearly the same name may be the one that is misspelled: both places are told at once.
    fn unknown_table(&mut self, written: &Located<String>, text: String, known: &[Located<String>]) {
        let meant = similar(&written.value, known.iter().map(|name| name.value.as_str()));
        let meant = known.iter().find(|name| Some(name.value.as_str()) == meant);
        let unused = meant.filter(|name| !self.reader.used_tables.contains(&name.value));
        let text = match unused {
            Some(name) => {
                let file = &self.reader.files[name.file];
                let place = if name.file == written.file { String::new() } else { format!("in {} ", file.name) };
                format!("{text}, and no rule uses {} {place}in line {}", name.value, file.line(name.span.start))
            }
            None => text,
        };
        let hint = match meant {
            Some(name) => format!("did you mean {}?", name.value),
            None => format!("add {} = \"tables/….csv\" to [tables]", written.value),
        };
        self.error(written.file, written.span.clone(), "M009", text, &hint);
    }

    pub(super) fn table(&mut self, written: &Located<String>, coercion: Coercion, target: &Target) -> Option<usize> {
        let Some(index) = self.table_names.iter().position(|name| name.value == written.value) else {
            let names = self.table_names.clone();
            let text = format!("there is no table {}", written.value);
            self.unknown_table(written, text, &names);
            return None;
        };
        let legal_shape =
            matches!(target.shape, Shape::Text | Shape::Code(_) | Shape::TextList | Shape::Boolean | Shape::Integer);
        if !coercion.gives_a_code() || !legal_shape || target.spread {
            let text = format!("a table gives single codes, {} is something else", target.name);
            self.error(written.file, written.span.clone(), "M011", text, "");
            return None;
        }
        let rows = std::mem::take(&mut self.rows[index]);
        let files: BTreeSet<usize> = rows.iter().map(|row| row.file).collect();
        for file in files {
            let filled: Vec<&Row> = rows.iter().filter(|row| row.file == file && !row.target.is_empty()).collect();
            self.targets(written, index, &filled, target);
            rows.iter().filter(|row| row.file == file).for_each(|row| self.target_in_note(row, target));
        }
        self.rows[index] = rows;
        Some(index)
    }

    /// A row that says nothing, and has a value of the field for its note: a comma too many.
    fn target_in_note(&mut self, row: &Row, target: &Target) {
        let is_value =
            matches!(target.shape, Shape::Code(_) | Shape::Boolean) && typed(&row.note, target.shape).is_some();
        let place = (row.file, row.span.clone());
        if is_value && row.target.is_empty() && !self.is_reported(&place, "M007") {
            let text = format!(
                "{} stands in the column of notes, and the target is empty: the code {} is known and says nothing",
                row.note, row.source
            );
            let hint = format!("write {},{}; another note says that it is meant", row.source, row.note);
            self.reader.warn(place.0, place.1, "M007", text, &hint);
        }
    }

    /// The targets of one file of a table. Where most are of another field, or the file is sound in another table, the file or the table is
    /// the mistake and not its rows.
    fn targets(&mut self, written: &Located<String>, index: usize, rows: &[&Row], target: &Target) {
        let wrong: Vec<&&Row> = rows.iter().filter(|row| typed(&row.target, target.shape).is_none()).collect();
        let Some(first) = wrong.first() else { return };
        if self.are_swapped(&wrong, rows, target) {
            return;
        }
        let is_another_s = wrong.len() > 1 && wrong.len() * 2 > rows.len();
        if let Some((culprit, what)) = self.culprit(written, index, first, target, is_another_s) {
            let place = (culprit.file, culprit.span.clone());
            if !self.is_reported(&place, "M008") {
                let count = match (wrong.len(), rows.len()) {
                    (wrong, all) if wrong == all => format!("no row of {what} has a legal value of {}", target.name),
                    (wrong, all) => {
                        let row = format!("{}:{}", self.reader.files[first.file].name, first.line);
                        let of = format!("{wrong} of the {all} rows of {what}");
                        format!(
                            "{of} {} no legal value of {}: {} ({row})",
                            if wrong == 1 { "has" } else { "have" },
                            target.name,
                            first.target
                        )
                    }
                };
                self.error(place.0, place.1, "M008", count, &legal(target.shape, ""));
            }
            return;
        }
        for row in wrong {
            let text = format!("{} is no legal value of {}", row.target, target.name);
            // One wrong row is one message, however many fields use the table.
            let position = (row.file, row.span.clone());
            if !self.is_reported(&position, "M008") {
                self.error(row.file, row.target_span.clone(), "M008", text, &legal(target.shape, &row.target));
            }
        }
    }

    /// Tells of a file whose codes are legal values of the field and whose targets are not: its columns are swapped. Whether it did.
    fn are_swapped(&mut self, wrong: &[&&Row], rows: &[&Row], target: &Target) -> bool {
        let Some(first) = wrong.first().filter(|_| wrong.len() * 2 > rows.len()) else { return false };
        if !wrong.iter().all(|row| typed(&row.source, target.shape).is_some()) {
            return false;
        }
        if self.reader.swapped_files.insert(first.file) {
            let text = format!(
                "the columns of this file are swapped: {} is a value of {}, and stands where the sender's code is",
                first.source, target.name
            );
            let hint = "the sender's code comes first: source,target";
            self.error(first.file, first.span.clone(), "M008", text, hint);
        }
        true
    }

    /// Where a file came into a table that it does not belong to: the rule that names the table, or the table that names the file, whichever
    /// lies over the other. `None`: it belongs there.
    fn culprit(
        &self,
        written: &Located<String>,
        index: usize,
        row: &Row,
        target: &Target,
        is_another_s: bool,
    ) -> Option<(Located<String>, String)> {
        let name = &self.reader.files[row.file].name;
        let entries =
            |table: &TableEntry| table.files.iter().find(|(file, _)| *file == row.file).map(|(_, entry)| entry.clone());
        let entry = entries(&self.entries[index]);
        let entry_file = entry.as_ref().map_or(usize::MAX, |entry| entry.file);
        // The base reads it otherwise, and is sound.
        let is_base_s = self
            .entries
            .iter()
            .flat_map(|table| &table.files)
            .any(|(file, other)| *file == row.file && other.file > written.file.min(entry_file));
        if !is_another_s && !is_base_s {
            return None;
        }
        let table = &self.table_names[index];
        let is_of_rule = written.file < entry_file || (written.file == entry_file && table.value != target.name);
        match entry.filter(|_| !is_of_rule) {
            Some(entry) => Some((entry, name.clone())),
            None => Some((written.clone(), format!("the table {}", written.value))),
        }
    }

    fn is_reported(&self, (file, span): &(usize, Range<usize>), code: &str) -> bool {
        let file = &self.reader.files[*file];
        let line = file.line(span.start);
        self.reader.problems.iter().any(|found| found.code == code && found.file == file.name && found.line == line)
    }
}
