//! Records: what a mapping yields and what consumers receive. Plain data, no behaviour beyond its own shape.
//!
//! A record is a JSON object whose fields are described by one table, [`schema`]: names, shapes, legal codes. Everything
//! that treats fields alike (mapping targets, merging, differences, JSON Schema, policies, documentation) reads that table, so
//! a field is named in exactly one place.
//!
//! In a *patch* (what one message says) an absent field says nothing and `null` clears, as in JSON Merge Patch (RFC 7396).
//! That is HL7's difference between an empty field and `""` (HL7 v2.5.1 chapter 2, 2.5.3.2). A stored record never holds `null`.

pub mod resident_id;
pub mod schema;
mod value;
pub mod when;

use serde::{Deserialize, Serialize};

pub(crate) use value::json;
pub use value::{Fields, Text, Value};

/// What a mapping can yield.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What one source says of a patient.
    Patient,
    /// One visit, stay or appointment.
    Visit,
    /// One report with its results.
    LabReport,
    /// One pair of patient identifiers that the source declares to be one patient (HL7 A40 and its older forms).
    Merge,
    /// What a patient has said of a purpose (HL7 v2 CON, FHIR Consent).
    Consent,
}

impl Kind {
    /// All kinds, in the order in which a unit applies them.
    pub const ALL: [Kind; 5] = [Kind::Merge, Kind::Patient, Kind::Consent, Kind::Visit, Kind::LabReport];

    /// The name in mapping files, explanations and schemas: `patient`, `visit`, `lab_report`, `merge`, `consent`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Patient => "patient",
            Kind::Visit => "visit",
            Kind::LabReport => "lab_report",
            Kind::Merge => "merge",
            Kind::Consent => "consent",
        }
    }
}

/// A patient number under its assigning authority, written `SYSTEM|VALUE` everywhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordNumber {
    /// The assigning authority (CX.4.1), or the source's name where the sender gives none.
    pub system: String,
    /// The number itself (CX.1).
    pub value: String,
}

impl std::fmt::Display for RecordNumber {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}|{}", self.system, self.value)
    }
}

impl std::str::FromStr for RecordNumber {
    type Err = String;

    /// Splits at the first `|`; an authority never holds one, a number may. Without an authority (`|VALUE`) it is any number of
    /// this value, whoever gave it out.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('|') {
            Some((system, value)) if !value.is_empty() => {
                Ok(Self { system: system.to_owned(), value: value.to_owned() })
            }
            _ => Err("expected SYSTEM|VALUE, for example HIS|P0001, or |VALUE whoever gave it out".to_owned()),
        }
    }
}
