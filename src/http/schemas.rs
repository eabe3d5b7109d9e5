//! JSON Schemas of what leaves: records and events, from the one table of record fields. Copies are committed as `docs/schemas`; a test fails
//! when they differ.

use serde_json::{Map, Value, json};

use crate::feed::EventKind;
use crate::record::schema;

/// Path prefix of the schemas, as in an event's `dataschema`.
pub(crate) const PREFIX: &str = "/schemas/";

/// The schemas by file name.
pub(crate) fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("person.v1.json", person()),
        ("identity_change.v1.json", identity_change()),
        ("patient.v1.json", patient()),
        ("evidence.v1.json", evidence()),
        ("visit.v1.json", visit()),
        ("lab_report.v1.json", lab_report()),
        ("checkpoint.v1.json", checkpoint()),
        ("event.v1.json", event()),
    ]
}

/// The schema with this file name, as a document of its own.
pub(crate) fn named(name: &str) -> Option<Value> {
    let (name, schema) = all().into_iter().find(|(known, _)| *known == name)?;
    let mut document = Map::new();
    document.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    document.insert("$id".to_owned(), json!(format!("{PREFIX}{name}")));
    if let Value::Object(members) = schema {
        document.extend(members);
    }
    Some(Value::Object(document))
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn texts(description: &str) -> Value {
    json!({"type": "array", "items": {"type": "string"}, "description": description})
}

/// The table's fields and what Heyi itself adds to a record and to the `data` of its events.
fn record(title: &str, required: &[&str], fields: &'static [schema::Field], added: Value) -> Value {
    let mut record = schema::object_schema(fields);
    let of_every_record = json!({
        "one_id": text("the patient's One ID"),
        "version": {"type": "integer", "minimum": 1, "description": "grows by one with each change of the record"},
        "changed": texts("in an event: names of the fields that differ from the version before"),
        "cause": text("in an event: message, poll, import, merge, split, retry, rule or manual"),
        "reverses": {
            "type": "object",
            "description": "in an event: the event that this one takes back (HL7 A11, A12, A13)",
            "properties": {"type": text("its type"), "id": text("its id")}
        }
    });
    if let Some(properties) = record.get_mut("properties").and_then(Value::as_object_mut) {
        for members in [of_every_record, added] {
            if let Value::Object(members) = members {
                properties.extend(members);
            }
        }
    }
    if let Some(record) = record.as_object_mut() {
        record.insert("title".to_owned(), json!(title));
        record.insert("required".to_owned(), json!(required));
    }
    record
}

fn person() -> Value {
    let added = json!({
        "merged_into": text("the surviving One ID, where the one asked for is retired"),
        "sources": {
            "type": "array",
            "description": "the source records behind this person",
            "items": {
                "type": "object",
                "properties": {
                    "source": text("the source's name"),
                    "identifiers": schema::json_schema(identifiers()),
                    "updated_at": schema::json_schema(schema::Shape::DateTime),
                    "deactivated": {"type": "boolean", "description": "the source has deleted the patient"},
                    "mapping_version": mapping_version()
                }
            }
        }
    });
    record("The golden record of one person", &["one_id", "version"], schema::PATIENT, added)
}

fn patient() -> Value {
    let mut record = schema::object_schema(schema::PATIENT);
    if let Some(record) = record.as_object_mut() {
        record.insert("title".to_owned(), json!("What one source, or somebody who asks, says of a patient"));
        if let Some(properties) = record.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert("source".to_owned(), text("the source's name"));
        }
        record.insert("additionalProperties".to_owned(), json!(false));
    }
    record
}

fn evidence() -> Value {
    let bits = || json!({"type": "number", "description": "log2 of how much likelier for one patient than for two"});
    json!({
        "type": "object",
        "title": "What speaks for and against two records being one patient: prior + weights + household = bits",
        "required": ["model", "prior", "facts", "household", "bits", "probability", "vetoes"],
        "properties": {
            "model": text("version of the model"),
            "prior": {"type": "number", "description": "bits before any fact"},
            "facts": {"type": "array", "items": {
                "type": "object",
                "required": ["fact", "level", "weight"],
                "properties": {
                    "fact": text("name, birth_date, identity_number, card, phone, address or sex"),
                    "level": text("how far it agrees"),
                    "weight": bits(),
                    "frequency": {"type": "number", "description": "share of people who bear the agreeing value"}
                }
            }},
            "household": {"type": "number", "description": "what phone, address and surname are cut by, for a household shares them"},
            "bits": bits(),
            "probability": {"type": "number", "minimum": 0, "maximum": 1},
            "vetoes": texts("what forbids a link without somebody's decision"),
            "tie": text("same_number or same_visit: the sources' own word"),
            "gate": {"type": "boolean", "description": "an identity number with the name and the birth date: enough without weighing"}
        }
    })
}

/// Not in events: see `view`.
fn mapping_version() -> Value {
    text("where it is looked up by its One ID: version of the mapping by which it was last written")
}

fn identifiers() -> schema::Shape {
    schema::find(crate::record::Kind::Patient, "identifiers").map_or(schema::Shape::TextList, |field| field.shape)
}

/// The golden record of `one_id`, and what became of the other.
fn identity_change() -> Value {
    let mut schema = person();
    let added = json!({
        "one_id": text("the One ID that lives on, or that records leave; the record is its golden record"),
        "retired": texts("patient.merged: One IDs given up"),
        "new_one_id": text("patient.split: where the records are now"),
        "records": {
            "type": "object",
            "description": "what changed hands",
            "properties": {"visits": texts("visit_id"), "lab_reports": texts("report_id")}
        },
        "basis": {"description": "why; its `redirected`: One IDs retired before, all of whose records are among these, which answer as new_one_id from now on"}
    });
    if let (Some(properties), Value::Object(added)) = (schema["properties"].as_object_mut(), added) {
        properties.extend(added);
    }
    schema["title"] = json!("Two One IDs become one, or records move from one to another");
    schema
}

fn visit() -> Value {
    let added = json!({
        "visit_id": text("SOURCE:NUMBER"),
        "source": text("the source's name"),
        "mapping_version": mapping_version()
    });
    record("One visit, stay or appointment", &["visit_id", "one_id", "version"], schema::VISIT, added)
}

fn lab_report() -> Value {
    let added = json!({
        "report_id": text("SOURCE:FILLER"),
        "visit_id": text("the visit that it belongs to"),
        "source": text("the source's name"),
        "mapping_version": mapping_version(),
        "abnormal": {"type": "boolean", "description": "a result is abnormal"},
        "critical": {"type": "boolean", "description": "a result is critical"}
    });
    record("One report with its results", &["report_id", "one_id", "version"], schema::LAB_REPORT, added)
}

fn checkpoint() -> Value {
    json!({
        "type": "object",
        "title": "A position of the feed: the last line of an NDJSON page",
        "required": ["next", "head"],
        "properties": {"next": text("cursor to go on from"), "head": text("cursor of the newest event")}
    })
}

fn event() -> Value {
    let kinds: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
    let meanings: Vec<String> =
        EventKind::ALL.iter().map(|kind| format!("- `{}`: {}", kind.name(), kind.meaning())).collect();
    json!({
        "type": "object",
        "title": "An event: a CloudEvents 1.0 envelope",
        "required": ["specversion", "id", "source", "type", "time", "sequence", "dataschema", "datacontenttype", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": text("derived from what caused the event: a resend gives the same id"),
            "source": text("heyi/SOURCE"),
            "type": {"type": "string", "enum": kinds, "description": meanings.join("\n")},
            "subject": text("the One ID; a checkpoint has none"),
            "time": {"type": "string", "format": "date-time", "description": "when it happened at the source"},
            "sequence": {"type": "string", "pattern": "^[0-9]{12,}$", "description": "position in the log"},
            "dataschema": text("path of the JSON Schema of data"),
            "datacontenttype": {"const": "application/json"},
            "data": {"type": "object"}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::openapi::tests::expect_committed;

    #[test]
    fn the_committed_schemas_are_those_served_and_no_others() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schemas");
        let mut names: Vec<&str> = all().into_iter().map(|(name, _)| name).collect();
        for name in &names {
            expect_committed(&format!("docs/schemas/{name}"), &named(name).unwrap());
        }
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        files.sort();
        names.sort_unstable();
        assert_eq!(files, names);
    }

    #[test]
    fn every_event_type_names_a_schema_that_is_served() {
        for kind in EventKind::ALL {
            let name = kind.schema_path().strip_prefix(PREFIX).unwrap();
            assert!(named(name).is_some(), "{}", kind.name());
        }
    }

    #[test]
    fn a_record_s_schema_has_the_fields_of_the_table_and_no_steering_ones() {
        let visit = named("visit.v1.json").unwrap();
        assert!(visit["properties"]["status"]["enum"].is_array());
        assert_eq!(visit["properties"]["event"], Value::Null);
        assert_eq!(visit["$id"], "/schemas/visit.v1.json");
    }
}
