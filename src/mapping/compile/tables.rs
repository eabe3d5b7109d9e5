//! Code tables: their rows from all files that make them, and whether a rule can use one.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use super::{Compiler, Target, legal, typed};
use crate::diagnostic::{listed, similar};
use crate::mapping::coerce::Coercion;
use crate::mapping::file::{Declarations, Located, TableFiles};
use crate::mapping::table::{self, OTHERS, Row, Table};
use crate::record::schema::Shape;

impl Compiler<'_, '_> {
    pub(super) fn tables(&mut self, declared: &Declarations) -> Vec<Table> {
        let mut tables = Vec::new();
        for table in &declared.tables {
            let rows = self.table_rows(table, &declared.tables, &mut Vec::new());
            self.lost_rows(table, &rows, &declared.tables);
            tables.push(Table::new(&table.name.value, &rows));
            self.rows.push(rows);
            self.table_names.push(table.name.clone());
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
                // It is the base's, which could not be read.
                Some(_) if self.reader.lacks_base && extends.value == table.name.value => {}
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

    /// Codes of the base's table that a site's table of the same name does not have, because it takes its place as a whole.
    fn lost_rows(&mut self, table: &TableFiles, rows: &[Row], all: &[TableFiles]) {
        let Some(replaced) = &table.replaces else { return };
        let known: HashSet<&str> = rows.iter().map(|row| row.source.as_str()).collect();
        // What is not known of the site's own file is told; what its rows are is not known then.
        if rows.is_empty() || known.contains(OTHERS) {
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
            table.name.value,
            file.name,
            file.line(replaced.name.span.start),
            lost.len(),
            base.len(),
            listed(lost)
        );
        let files = table.files.iter().map(|file| format!("{:?}", file.value)).collect::<Vec<_>>().join(", ");
        let hint = format!(
            "write {{ extends = {:?}, files = [{files}] }} to keep them; if they are not meant to hold any more, extends = false",
            table.name.value
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
        if self.reader.lacks_base {
            return;
        }
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
        let is_legal = |row: &&Row| typed(&row.target, target.shape).is_some();
        let mut filled = rows.iter().filter(|row| !row.target.is_empty()).peekable();
        if filled.peek().is_some() && rows.len() > 1 && !filled.any(|row| is_legal(&row)) {
            let text = format!("no row of the table {} has a legal value of {}", written.value, target.name);
            self.error(written.file, written.span.clone(), "M008", text, &legal(target.shape, ""));
            self.rows[index] = rows;
            return None;
        }
        for row in rows.iter().filter(|row| !row.target.is_empty() && typed(&row.target, target.shape).is_none()) {
            let text = format!("{} is no legal value of {}", row.target, target.name);
            // One wrong row is one message, however many fields use the table.
            let position = (row.file, row.span.clone());
            if !self.is_reported(&position, "M008") {
                self.error(row.file, row.target_span.clone(), "M008", text, &legal(target.shape, &row.target));
            }
        }
        self.rows[index] = rows;
        Some(index)
    }

    fn is_reported(&self, (file, span): &(usize, Range<usize>), code: &str) -> bool {
        let file = &self.reader.files[*file];
        let line = file.line(span.start);
        self.reader.problems.iter().any(|found| found.code == code && found.file == file.name && found.line == line)
    }
}
