//! FHIRPath (N1, with FHIR's additions) for mapping files: parsed, checked against the dictionary and compiled once, evaluated often.
//!
//! What differs from other engines, and why:
//! - What is not supported is a [`PathError`] with its place when the path is compiled, never an empty result; so is an element
//!   that FHIR does not have where the type is known, a comparison that can never be true, a type that is never there.
//! - A path that begins with the name of a resource type is asked of that resource of the unit (see [`Scope`]), wherever the
//!   focus is. References are resolved inside the unit only.
//! - There is no clock (`now()`), no terminology (`memberOf()`), no log (`trace()`), no floating point (`sqrt()`).
//! - Texts are asked of dates too (`birthDate.substring(0, 4)`), for FHIR writes them as texts.
//! - Units of quantities are compared and not converted: what differs in unit yields nothing.
//!
//! What evaluation cannot do with what a resource holds (several nodes where one is expected) is a [`Fault`], not nothing.

mod call;
mod compile;
mod convert;
mod equality;
mod evaluate;
mod expect;
mod function;
mod lexer;
pub mod limits;
mod moment;
mod operator;
mod parser;
mod text;
mod types;
mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

pub use evaluate::Scope;
pub use types::{Types, extension_place};
pub use value::{IntoNodes, Node, Nodes};

use super::dictionary::{Dictionary, TypeId};
use crate::diagnostic;
use compile::{Compiled, Expression};

/// A compiled path.
#[derive(Debug, Clone)]
pub struct Path {
    source: String,
    expression: Expression,
    types: Types,
    mentioned: BTreeSet<String>,
    remarks: Vec<Remark>,
    roots: Vec<(TypeId, Range<usize>)>,
}

/// What a path says that can be answered and was hardly meant so, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// What it is about.
    pub kind: RemarkKind,
    /// Bytes in the path.
    pub span: Range<usize>,
    /// What happens.
    pub problem: String,
    /// What was probably meant.
    pub hint: String,
}

/// What a [`Remark`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemarkKind {
    /// A code that the closed list of the element does not have.
    UnknownCode,
    /// Several values where one is asked for.
    Several,
    /// What is neither true nor false, where that is asked for.
    NoTruth,
    /// A text that nobody sends so, such as one in full-width characters.
    UnlikelyText,
    /// The second of several, probably meant for the first.
    Second,
    /// What only one version of FHIR has there, where another has a value of another type.
    OneVersion,
}

/// Why a text is no path that can be used, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}{}", hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default())]
pub struct PathError {
    /// Byte offset in the path.
    pub offset: usize,
    /// Bytes that it is about; may be 0 at the end.
    pub length: usize,
    /// What is wrong.
    pub problem: String,
    /// What was probably meant.
    pub hint: Option<String>,
    /// What was probably meant in the place of these bytes.
    pub meant: Option<String>,
}

/// Why a path has no result for this unit. Says nothing of what the unit holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Fault {
    /// Byte offset in the path.
    pub offset: usize,
    /// Bytes that it is about.
    pub length: usize,
    /// What is wrong.
    pub problem: String,
}

/// What a condition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not, or there is nothing to ask.
    False,
    /// It cannot be answered, and counts as false.
    Unclear(Fault),
}

impl Truth {
    /// Whether it holds.
    pub fn holds(&self) -> bool {
        *self == Self::True
    }
}

impl PathError {
    pub(self) fn new(offset: usize, length: usize, problem: impl Into<String>) -> Self {
        Self { offset, length, problem: problem.into(), hint: None, meant: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With what was probably meant in its place.
    fn meaning(mut self, meant: &str) -> Self {
        self.meant = Some(meant.to_owned());
        self.hint(format!("did you mean {meant}?"))
    }

    /// With the nearest of what there is, if it is near.
    fn like<'k>(self, written: &str, known: impl IntoIterator<Item = &'k str>) -> Self {
        match diagnostic::similar(written, known) {
            Some(similar) => self.meaning(similar),
            None => self,
        }
    }
}

impl Remark {
    pub(self) fn new(kind: RemarkKind, span: &Range<usize>, problem: String, hint: String) -> Self {
        Self { kind, span: span.clone(), problem, hint }
    }
}

impl Path {
    /// Compiles a path that may be asked of anything: elements are checked from the first known type on, as in `Patient.name`.
    pub fn parse(source: &str) -> Result<Self, PathError> {
        Self::parse_in(source, &Types::any())
    }

    /// Compiles a path that is asked of nodes of these types: those of the enclosing block.
    pub fn parse_in(source: &str, focus: &Types) -> Result<Self, PathError> {
        let tree = parser::parse(source)?;
        let compiled = compile::compile(source, &tree, focus)?;
        let Compiled { expression, types, mentioned, remarks, roots } = compiled;
        Ok(Self { source: source.to_owned(), expression, types, mentioned, remarks, roots })
    }

    /// Compiles a condition: a path that yields true or false.
    pub fn condition_in(source: &str, focus: &Types) -> Result<Self, PathError> {
        let path = Self::parse_in(source, focus)?;
        if path.types.may_be_boolean() {
            return Ok(path);
        }
        let problem = format!("a condition must be true or false, and this is {}", path.types.names());
        Err(PathError::new(0, source.len(), problem).hint("compare it, or write .exists() behind it"))
    }

    /// The path as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What it may yield: what paths of an inner block are asked of.
    pub fn types(&self) -> &Types {
        &self.types
    }

    /// The elements that it asks for, from a resource or from its focus: `Patient.name.given`.
    pub fn mentioned(&self) -> impl Iterator<Item = &str> {
        self.mentioned.iter().map(String::as_str)
    }

    /// What it says that was hardly meant so.
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }

    /// The types of resources that it asks of the unit by name, and where (bytes).
    pub fn roots(&self) -> impl Iterator<Item = (&'static str, Range<usize>)> {
        self.roots.iter().map(|(id, span)| (id.name(), span.clone()))
    }

    /// What it finds.
    pub fn evaluate<'r>(&'r self, scope: &Scope<'r>) -> Result<Nodes<'r>, Fault> {
        evaluate::evaluate(&self.expression, scope).map_err(|fault| match fault.length {
            // Where a budget ends is chance: the whole path is too much.
            0 => Fault { length: self.source.len(), ..fault },
            _ => fault,
        })
    }

    /// The first that it finds.
    pub fn first<'r>(&'r self, scope: &Scope<'r>) -> Result<Option<Node<'r>>, Fault> {
        Ok(self.evaluate(scope)?.into_iter().next())
    }

    /// As a condition. Several nodes, and one that is no boolean, are unclear.
    pub fn truth(&self, scope: &Scope<'_>) -> Truth {
        let fault =
            |problem: &str| Truth::Unclear(Fault { offset: 0, length: self.source.len(), problem: problem.to_owned() });
        match self.evaluate(scope) {
            Err(fault) => Truth::Unclear(fault),
            Ok(nodes) => match nodes.as_slice() {
                [] => Truth::False,
                [node] => match node.atom() {
                    Some(value::Atom::Boolean(true)) => Truth::True,
                    Some(value::Atom::Boolean(false)) => Truth::False,
                    _ => fault("a condition must be true or false, and this is something else"),
                },
                _ => fault("a condition must be true or false, and this is several values"),
            },
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.source)
    }
}

/// For messages that list what can be written.
pub fn resource_types() -> impl Iterator<Item = &'static str> {
    let dictionary = Dictionary::standard();
    dictionary.type_names().filter(|name| dictionary.named(name).is_some_and(|id| dictionary.is_resource(id)))
}
