//! The golden record: what is shown of a person, chosen from the linked records.

use std::collections::BTreeMap;

use crate::record::Fields;

/// One record of a person.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    /// The source's name.
    pub source: &'a str,
    /// The patient record (`PatientState::record`).
    pub record: &'a Fields,
    /// Source time of each field (`PatientState::set_at`).
    pub set_at: BTreeMap<&'a str, i64>,
}

/// The golden record: patient fields by survivorship, the union of identifiers, and `sources`.
pub fn golden(members: &[Member<'_>]) -> Fields {
    let _ = members;
    Fields::new()
}
