//! The one table of record fields: name, shape, meaning. Contract: records of version 1.

use serde_json::{Map, Value as Json, json};

use super::{Fields, Kind, Value, when};

/// The JSON shape of a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// Free text.
    Text,
    /// One of a closed list; what steers behaviour.
    Code(&'static [&'static str]),
    /// `YYYY`, `YYYY-MM` or `YYYY-MM-DD`.
    Date,
    /// RFC 3339 with offset, or a date of lower precision.
    DateTime,
    /// A whole number.
    Integer,
    /// A decimal number, digits kept as sent.
    Decimal,
    /// `true` or `false`.
    Boolean,
    /// An object with these fields.
    Object(&'static [Field]),
    /// A list of objects with these fields.
    List(&'static [Field]),
    /// A list of texts.
    TextList,
}

/// One field of a record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Field {
    /// Name in records, mapping files and policies.
    pub name: &'static str,
    /// Its JSON shape.
    pub shape: Shape,
    /// One line of meaning.
    pub meaning: &'static str,
    /// Fields of one group are one fact (one HL7 field): a message that sets one of them replaces them all.
    pub group: Option<&'static str>,
    /// Steers the engine and is not part of the published record.
    pub steering: bool,
}

const fn field(name: &'static str, shape: Shape, meaning: &'static str) -> Field {
    Field { name, shape, meaning, group: None, steering: false }
}

const fn grouped(name: &'static str, group: &'static str, shape: Shape, meaning: &'static str) -> Field {
    Field { name, shape, meaning, group: Some(group), steering: false }
}

const fn steering(name: &'static str, shape: Shape, meaning: &'static str) -> Field {
    Field { name, shape, meaning, group: None, steering: true }
}

use Shape::{Boolean, Code, Date, DateTime, Decimal, Integer, List, Object, Text, TextList};

/// Identifier types.
pub const IDENTIFIER_TYPES: &[&str] = &[
    "mrn",
    "resident_id",
    "passport",
    "hk_macau_permit",
    "taiwan_permit",
    "officer_id",
    "household_book",
    "health_card",
    "insurance_card",
    "visit_card",
    "account",
    "other",
];
/// Administrative sex.
pub const SEXES: &[&str] = &["male", "female", "other", "unknown"];
/// Visit classes.
pub const VISIT_CLASSES: &[&str] =
    &["outpatient", "emergency", "inpatient", "day_care", "checkup", "home", "virtual", "other"];
/// Visit statuses.
pub const VISIT_STATUSES: &[&str] =
    &["planned", "arrived", "in_progress", "finished", "cancelled", "no_show", "entered_in_error"];
/// What happened to a visit, from the trigger event; see `state::visit`.
pub const VISIT_EVENTS: &[&str] = &[
    "scheduled",
    "rescheduled",
    "arrived",
    "admitted",
    "transferred",
    "discharged",
    "cancelled",
    "no_show",
    "admit_cancelled",
    "transfer_cancelled",
    "discharge_cancelled",
    "deleted",
];
/// Report kinds.
pub const REPORT_KINDS: &[&str] = &["laboratory", "imaging", "pathology", "microbiology", "other"];
/// Report statuses.
pub const REPORT_STATUSES: &[&str] =
    &["registered", "partial", "preliminary", "final", "corrected", "cancelled", "entered_in_error"];
/// Result statuses. `final_without_value` is OBX-11 `U`: it turns a held value final and is published as `final`.
pub const RESULT_STATUSES: &[&str] =
    &["registered", "preliminary", "final", "final_without_value", "corrected", "cancelled", "entered_in_error"];

const IDENTIFIER: &[Field] = &[
    field("type", Code(IDENTIFIER_TYPES), "what kind of number it is"),
    field("system", Text, "assigning authority"),
    field("value", Text, "the number"),
];
/// The same in another coding system, as LOINC beside a laboratory's own code.
const ALTERNATE: &[Field] = &[
    field("code", Text, "code as sent"),
    field("system", Text, "coding system as sent"),
    field("name", Text, "display text"),
];
const CODED: &[Field] = &[
    field("code", Text, "code as sent"),
    field("system", Text, "coding system as sent"),
    field("name", Text, "display text"),
    field("alternate", Object(ALTERNATE), "the same in another coding system, where the source says it in two"),
];
const CODE_AND_NAME: &[Field] = &[field("code", Text, "code"), field("name", Text, "display text")];
const STAFF: &[Field] = &[field("id", Text, "staff number"), field("name", Text, "name")];
const PHONE: &[Field] = &[
    field("use", Text, "home, work, mobile"),
    field("value", Text, "as dialled in China (0755-86123456-801), else as sent, without blanks"),
];
const ADDRESS: &[Field] = &[
    field("use", Text, "home, work, temp, birth"),
    field("text", Text, "the whole address"),
    field("province", Text, "province, state"),
    field("city", Text, "city"),
    field("district", Text, "district or county"),
    field("street", Text, "street and house"),
    field("postal_code", Text, "postal code"),
];
const CONTACT: &[Field] = &[
    field("name", Text, "name"),
    field("relationship", Text, "relationship to the patient"),
    field("phone", Text, "phone"),
];
const INSURANCE: &[Field] = &[field("kind", Text, "kind of insurance"), field("number", Text, "insured number")];
const RECORD_NUMBER: &[Field] = &[field("system", Text, "assigning authority"), field("value", Text, "the number")];
const RANGE: &[Field] = &[
    field("low", Decimal, "lower limit"),
    field("high", Decimal, "upper limit"),
    field("text", Text, "the range as sent"),
];
const DIAGNOSIS: &[Field] = &[
    field("code", Text, "code as sent"),
    field("system", Text, "coding system as sent"),
    field("name", Text, "display text"),
    field("alternate", Object(ALTERNATE), "the same in another coding system, where the source says it in two"),
    field("kind", Text, "admitting, working, final"),
    field("rank", Integer, "1 is the main diagnosis"),
    field("recorded_at", DateTime, "when it was made"),
];
const PROCEDURE: &[Field] = &[
    field("code", Text, "code as sent"),
    field("system", Text, "coding system as sent"),
    field("name", Text, "display text"),
    field("alternate", Object(ALTERNATE), "the same in another coding system, where the source says it in two"),
    field("performed_at", DateTime, "when it was done"),
];
const RESULT: &[Field] = &[
    field("code", Text, "observation code (OBX-3.1)"),
    field("system", Text, "coding system (OBX-3.3)"),
    field("name", Text, "observation name (OBX-3.2)"),
    field("alternate", Object(ALTERNATE), "the same in another coding system, where the source says it in two"),
    field("sub_id", Text, "OBX-4, tells results of one code apart"),
    field("status", Code(RESULT_STATUSES), "status of this result"),
    field("value_number", Decimal, "numeric value"),
    field("value_text", Text, "value as sent, where it is not only a number"),
    field("value_code", Object(CODED), "coded value"),
    field("comparator", Code(&["<", "<=", ">", ">="]), "what stood before the number"),
    field("unit", Text, "unit, UCUM where the table knows it"),
    field("reference_range", Object(RANGE), "reference range"),
    field("flags", TextList, "abnormal flags (HL7 table 0078)"),
    field("abnormal", Boolean, "outside the reference range, by flag or range"),
    field("critical", Boolean, "critical value"),
    field("observed_at", DateTime, "when it was observed"),
    field("note", Text, "comment"),
];

/// Fields of a patient record.
pub const PATIENT: &[Field] = &[
    field("identifiers", List(IDENTIFIER), "all numbers of the patient"),
    grouped("name", "name", Text, "whole name"),
    grouped("family_name", "name", Text, "family name"),
    grouped("given_name", "name", Text, "given name"),
    field("other_names", TextList, "former names, aliases, other scripts"),
    field("sex", Code(SEXES), "administrative sex"),
    field("birth_date", Date, "date of birth"),
    field("deceased", Boolean, "known to be dead"),
    field("deceased_at", DateTime, "when the patient died"),
    field("phones", List(PHONE), "phone numbers"),
    field("emails", TextList, "e-mail addresses"),
    field("addresses", List(ADDRESS), "addresses"),
    field("marital_status", Text, "marital status"),
    field("ethnicity", Text, "ethnic group"),
    field("nationality", Text, "nationality"),
    field("occupation", Text, "occupation"),
    field("language", Text, "language"),
    field("multiple_birth", Integer, "birth order in a multiple birth"),
    field("mother_identifier", Object(RECORD_NUMBER), "the mother's number (PID-21); a relation, never an identity"),
    field("contacts", List(CONTACT), "next of kin"),
    field("insurance", List(INSURANCE), "insurances"),
    field("vip", Boolean, "treated as VIP"),
    field("updated_at", DateTime, "when the source says that this was so"),
];

/// Fields of a visit.
pub const VISIT: &[Field] = &[
    field("number", Text, "visit number; with the source it names the visit"),
    steering(
        "number_system",
        Text,
        "assigning authority of the number: where another source owns it, the visit is that source's",
    ),
    steering("event", Code(VISIT_EVENTS), "what happened, from the trigger event"),
    field("stay_number", Text, "number of the stay that holds several visits"),
    field("class", Code(VISIT_CLASSES), "class of visit"),
    field("status", Code(VISIT_STATUSES), "status"),
    field("facility", Text, "facility"),
    field("department", Object(CODE_AND_NAME), "department"),
    grouped("ward", "location", Text, "ward (PV1-3.1)"),
    grouped("room", "location", Text, "room (PV1-3.2)"),
    grouped("bed", "location", Text, "bed (PV1-3.3)"),
    field("attending", Object(STAFF), "attending doctor"),
    field("referring", Object(STAFF), "referring doctor"),
    field("scheduled_at", DateTime, "appointed time"),
    field("started_at", DateTime, "admission or arrival"),
    field("ended_at", DateTime, "discharge or end"),
    field("reason", Text, "reason for the visit"),
    field("diagnoses", List(DIAGNOSIS), "diagnoses"),
    field("procedures", List(PROCEDURE), "procedures"),
    field("disposition", Text, "discharge disposition"),
    field("first_visit", Boolean, "first visit of the patient, by the source's word"),
    field("updated_at", DateTime, "when the source says that this was so"),
];

/// Fields of a lab report.
pub const LAB_REPORT: &[Field] = &[
    steering("visit_number", Text, "number of the visit; with visit_source it gives visit_id"),
    steering("visit_source", Text, "the source that owns the visit number; default: this source"),
    steering(
        "visit_system",
        Text,
        "assigning authority of the visit number, in place of visit_source: its owner's visit is meant",
    ),
    steering(
        "number_system",
        Text,
        "assigning authority of the filler number: where another source owns it, the report is that source's",
    ),
    field("kind", Code(REPORT_KINDS), "kind of report"),
    field("status", Code(REPORT_STATUSES), "status"),
    field("placer_order_number", Text, "placer order number"),
    field("filler_order_number", Text, "filler order number; with the source it names the report"),
    field("specimen", Text, "specimen"),
    field("panel", Object(CODED), "what was asked for (OBR-4)"),
    field("ordered_at", DateTime, "when it was ordered"),
    field("collected_at", DateTime, "when the specimen was taken"),
    field("received_at", DateTime, "when the laboratory received the specimen"),
    field("reported_at", DateTime, "when it was reported"),
    field("requester", Object(STAFF), "who asked for it"),
    field("performer", Object(STAFF), "who answers for the result"),
    field("department", Object(CODE_AND_NAME), "performing department"),
    field("conclusion", Text, "conclusion in words"),
    field("note", Text, "notes on the report that are no part of its conclusion"),
    field("abnormal", Boolean, "whether a result is abnormal; derived from the results"),
    field("critical", Boolean, "whether a result is critical; derived from the results"),
    field("results", List(RESULT), "results"),
    field("updated_at", DateTime, "when the source says that this was so"),
];

/// What a message does to numbers, the first one where it says nothing else. See `pipeline::merge`.
pub const MERGE_ACTIONS: &[&str] =
    &["merge", "rename", "move", "link", "unlink", "deactivate", "merge_visit", "merge_account", "move_visit"];

/// Fields of a merge, or of what else happens to numbers: never published as a record, its effect is told by events.
pub const MERGE: &[Field] = &[
    steering("action", Code(MERGE_ACTIONS), "what happens to the numbers; default: merge"),
    steering("survivor", List(IDENTIFIER), "the numbers that live on, or that the action is about (PID-3)"),
    steering("retired", List(IDENTIFIER), "the numbers that are given up, or that move (MRG-1)"),
    steering("visit", Text, "the visit number that lives on, or that moves (PV1-19)"),
    steering("retired_visit", Text, "the visit number that is given up (MRG-5)"),
    steering("updated_at", DateTime, "when the source says that this was so"),
];

/// What personal data is used for, as policies and consents name it.
pub const PURPOSES: &[&str] = &["care", "marketing", "operations"];
/// What a source says of a consent; `none`: it counts no more, or not yet.
pub const CONSENT_STATES: &[&str] = &["given", "withdrawn", "none"];

/// Fields of a consent: never published as a record, what it changes is told by `patient.consent_changed`. See `pipeline::consent`.
pub const CONSENT: &[Field] = &[
    steering("number", Text, "the source's number of the consent; without one it has one word for each purpose"),
    steering("purpose", Code(PURPOSES), "what for"),
    steering("state", Code(CONSENT_STATES), "what was said; none: it counts no more, or not yet"),
    steering("since", DateTime, "in force from then on; default: when the source said it"),
    steering("until", DateTime, "ends by itself"),
    steering("basis", Text, "the paper, the form, the reason"),
    steering("mode", Text, "how it was said: written, verbal, telephone; becomes a part of the basis"),
    steering("said_by", Text, "who said it, or took it down; default: the source"),
    steering("updated_at", DateTime, "when the source says that this was so"),
];

/// The fields of a kind, as a mapping may set them.
pub fn fields(kind: Kind) -> &'static [Field] {
    match kind {
        Kind::Patient => PATIENT,
        Kind::Visit => VISIT,
        Kind::LabReport => LAB_REPORT,
        Kind::Merge => MERGE,
        Kind::Consent => CONSENT,
    }
}

/// The field `name` of `kind`; dotted names reach into objects and lists (`results.status`).
pub fn find(kind: Kind, name: &str) -> Option<&'static Field> {
    let mut level = fields(kind);
    let mut found = None;
    for part in name.split('.') {
        let field = level.iter().find(|field| field.name == part)?;
        level = match field.shape {
            Object(inner) | List(inner) => inner,
            _ => &[],
        };
        found = Some(field);
    }
    found
}

/// What is wrong with `record` by the table, one sentence each, without its values. Empty: nothing.
pub fn violations(kind: Kind, record: &Fields) -> Vec<String> {
    let mut found = Vec::new();
    check_object(fields(kind), record, kind.name(), &mut found);
    found
}

/// A patient record as somebody asks with it: checked, and without the name of its source, which a record that was shown has.
///
/// # Errors
/// A sentence without anything of the record.
pub fn asked_patient(mut record: Fields) -> Result<Fields, String> {
    record.remove("source");
    match violations(Kind::Patient, &record).into_iter().next() {
        // The name of the field is the asker's own text.
        Some(unknown) if unknown.ends_with("no such field") => {
            Err("the patient record has a field that no patient record has".to_owned())
        }
        Some(violation) => Err(format!("the patient record is not valid: {violation}")),
        None if record.get("birth_date").and_then(Value::as_str).is_some_and(|date| !when::is_date(date)) => {
            Err("the birth date is not a date as YYYY-MM-DD".to_owned())
        }
        None => Ok(record),
    }
}

fn check_object(level: &[Field], object: &Fields, place: &str, found: &mut Vec<String>) {
    for (name, value) in object {
        match level.iter().find(|field| field.name == name) {
            Some(field) => check_value(field, value, &format!("{place}.{name}"), found),
            None => found.push(format!("{place}.{name}: no such field")),
        }
    }
}

/// What a value of this shape is, in words.
fn expected(shape: Shape) -> String {
    let words = match shape {
        Text => "a text",
        Code(legal) => return format!("one of {}", legal.join(", ")),
        Date => "a text with a date",
        DateTime => "a text with a date and time",
        Integer => "a whole number",
        Decimal => "a number",
        Boolean => "true or false",
        Object(_) => "an object",
        List(_) => "a list of objects",
        TextList => "a list of texts",
    };
    words.to_owned()
}

fn check_value(field: &Field, value: &Value, place: &str, found: &mut Vec<String>) {
    let fits = match field.shape {
        Text | Date | DateTime => matches!(value, Value::String(_)),
        Code(legal) => value.as_str().is_some_and(|code| legal.contains(&code)),
        Integer => matches!(value, Value::Number(number) if number.is_i64() || number.is_u64()),
        Decimal => matches!(value, Value::Number(_)),
        Boolean => matches!(value, Value::Bool(_)),
        TextList => value.as_array().is_some_and(|list| list.iter().all(|item| matches!(item, Value::String(_)))),
        Object(inner) => match value.as_object() {
            Some(object) => return check_object(inner, object, place, found),
            None => false,
        },
        List(inner) => match value.as_array() {
            Some(list) => {
                for (index, item) in list.iter().enumerate() {
                    match item.as_object() {
                        Some(object) => check_object(inner, object, &format!("{place}[{index}]"), found),
                        None => found.push(format!("{place}[{index}]: not an object")),
                    }
                }
                return;
            }
            None => false,
        },
    };
    if !fits {
        found.push(format!("{place}: not {}", expected(field.shape)));
    }
}

/// JSON Schema (2020-12) of one field's shape.
pub fn json_schema(shape: Shape) -> Json {
    match shape {
        Text => json!({"type": "string"}),
        Code(legal) => json!({"type": "string", "enum": legal}),
        Date => json!({"type": "string", "pattern": "^[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?$"}),
        DateTime => json!({"type": "string", "description": "RFC 3339 with offset, or a date of lower precision"}),
        Integer => json!({"type": "integer"}),
        Decimal => json!({"type": "number"}),
        Boolean => json!({"type": "boolean"}),
        TextList => json!({"type": "array", "items": {"type": "string"}}),
        Object(inner) => object_schema(inner),
        List(inner) => json!({"type": "array", "items": object_schema(inner)}),
    }
}

/// JSON Schema of an object with these fields, steering fields left out.
pub fn object_schema(level: &[Field]) -> Json {
    let mut properties = Map::new();
    for field in level.iter().filter(|field| !field.steering) {
        let mut schema = json_schema(field.shape);
        if let Some(object) = schema.as_object_mut() {
            object.insert("description".to_owned(), json!(field.meaning));
        }
        properties.insert(field.name.to_owned(), schema);
    }
    json!({"type": "object", "properties": properties})
}
