//! (to come)
mod coerce;
use crate::hl7v2::{ErrorCode, Location, Message};
use crate::record::{Fields, Kind};
use jiff::tz::TimeZone;
#[derive(Debug)]
pub struct Mapping;
#[derive(Debug)]
pub struct Context<'a> {
    pub source: &'a str,
    pub zone: &'a TimeZone,
    pub facility: Option<&'a str>,
    pub explain: bool,
}
#[derive(Debug)]
pub enum Disposition {
    Records,
    Ignored { reason: String },
}
#[derive(Debug)]
pub struct Mapped {
    pub disposition: Disposition,
    pub records: Vec<MappedRecord>,
    pub skipped: Vec<Skipped>,
    pub rejected: Vec<Rejected>,
    pub unmapped: Vec<Unmapped>,
    pub notes: Vec<String>,
}
#[derive(Debug)]
pub struct MappedRecord {
    pub kind: Kind,
    pub fields: Fields,
}
#[derive(Debug)]
pub struct Skipped {
    pub path: String,
    pub rule: String,
    pub reason: String,
}
#[derive(Debug)]
pub struct Rejected {
    pub path: String,
    pub code: String,
    pub text: String,
}
#[derive(Debug)]
pub struct Unmapped {
    pub table: String,
    pub code: String,
    pub target: String,
}
#[derive(Debug)]
pub struct MapError {
    pub location: Location,
    pub code: ErrorCode,
    pub text: String,
}
impl Mapping {
    pub fn version(&self) -> &str {
        ""
    }
    pub fn apply(&self, _: &Message, _: &Context<'_>) -> Result<Mapped, MapError> {
        Err(MapError { location: Location::field("MSH", 9), code: ErrorCode::DataType, text: String::new() })
    }
}
impl Mapping {
    pub fn load(
        _: &std::path::Path,
        _: &std::path::Path,
        _: &dyn Fn(&std::path::Path) -> std::io::Result<String>,
    ) -> Result<Self, Vec<crate::diagnostic::Diagnostic>> {
        Ok(Mapping)
    }
}
impl Mapping {
    pub fn warnings(&self) -> &[crate::diagnostic::Diagnostic] {
        &[]
    }
}
