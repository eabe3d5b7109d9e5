//! FHIR resources as sources send them: read, found again by reference, and asked with FHIRPath.
//!
//! [`Unit`] is the FHIR "message": a focal resource and what it refers to. [`Path`] is a FHIRPath expression, compiled when a
//! mapping file is loaded and evaluated on a unit. [`Dictionary`] is what FHIR STU3, R4, R4B and R5 say that resources have; it
//! checks paths when they are compiled and types what JSON leaves untyped.
//!
//! Invariants
//! - Pure: nothing is looked up outside the unit, and no path can ask for the time.
//! - What the engine does not support is an error of the path, with its place, before any resource is read; never an empty result.
//! - Neither a path nor a resource can make evaluation run long, grow without end, or exhaust the stack: see [`path::limits`].

pub mod compose;
mod decimal;
pub mod dictionary;
pub mod documents;
pub mod path;
mod refer;
mod unit;

pub use dictionary::Dictionary;
pub use path::{Fault, Node, Nodes, Path, PathError, Remark, RemarkKind, Scope, Truth, Types, extension_place};
pub use refer::replaced_by;
pub use unit::{Resource, Unit, UnitError, read_resource};

/// What keeps a text from being JSON, without any of its content.
fn problem_of_json(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Data => "a value is out of range",
        serde_json::error::Category::Io | serde_json::error::Category::Syntax => "a syntax error",
    }
}
