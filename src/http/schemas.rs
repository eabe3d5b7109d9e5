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
        ("person_notice.v1.json", person_notice()),
        ("consent_change.v1.json", consent_change()),
        ("patient.v1.json", patient()),
        ("evidence.v1.json", evidence()),
        ("visit.v1.json", visit()),
        ("lab_report.v1.json", lab_report()),
        ("checkpoint.v1.json", checkpoint()),
        ("epoch_change.v1.json", epoch_change()),
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
        "erased_at": {"type": "string", "format": "date-time", "description": "all that was held was erased then; nothing else is here"},
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
        "basis": {"description": "why; its `redirected`: One IDs retired before, all of whose records are among these, which answer as new_one_id from now on; its `emptied`: nothing is left under one_id"}
    });
    if let (Some(properties), Value::Object(added)) = (schema["properties"].as_object_mut(), added) {
        properties.extend(added);
    }
    schema["title"] = json!("Two One IDs become one, or records move from one to another");
    schema
}

fn person_notice() -> Value {
    json!({
        "type": "object",
        "title": "What must no longer be kept, or used, of a person; says nothing else of the person",
        "required": ["one_id", "version"],
        "properties": {
            "one_id": text("the One ID"),
            "erased": texts("patient.erased: the One IDs of which all was erased"),
            "erased_at": schema::json_schema(schema::Shape::DateTime),
            "restricted": {"type": "boolean", "description": "patient.restricted: true: nothing is told any more; false: it is told again"},
            "version": {"type": "integer", "minimum": 1},
            "changed": texts("names of the fields that differ"),
            "cause": text("manual")
        }
    })
}

fn consent_change() -> Value {
    json!({
        "type": "object",
        "title": "A consent is given, is withdrawn, or holds no more",
        "required": ["one_id", "purpose", "state"],
        "properties": {
            "one_id": text("the One ID that it is about"),
            "purpose": text("care, marketing or operations"),
            "state": text("given; withdrawn; none: after a split or merge it holds no more"),
            "since": text("in force from then on"),
            "until": text("ends by itself"),
            "basis": text("the paper, the form, the reason"),
            "source": text("who told it"),
            "said_by": text("who took it down"),
            "changed": texts("state"),
            "cause": text("message, import, poll, merge, split, retry or manual")
        }
    })
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

fn epoch_change() -> Value {
    json!({
        "type": "object",
        "title": "A backup was put back: told to whom events are pushed, before anything of the new epoch",
        "required": ["epoch", "began", "next", "head", "reconcile"],
        "properties": {
            "epoch": {"type": "integer", "minimum": 2, "description": "the new epoch; all that follows is of it"},
            "began": text("cursor of the newest event of the backup: what came after it in the old epoch may not be there"),
            "next": text("cursor after which events follow; some of them may have been delivered before, under the same ids"),
            "head": text("cursor of the newest event"),
            "reconcile": text("path that lists every record that there is, with its version")
        }
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
            "subject": text("the One ID; what is about the feed itself has none"),
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
    use crate::policy::{Document, Form};

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

    /// Every field below a schema that is not in the table of field classes.
    fn unclassified(document: Document, schema: &Value, path: &str, missing: &mut Vec<String>) {
        let properties = schema.get("properties").and_then(Value::as_object);
        match (properties, schema.get("items")) {
            _ if document.row(path).is_some_and(|row| row.form == Form::Subtree) => {}
            (Some(properties), _) => {
                for (name, inner) in properties {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    unclassified(document, inner, &path, missing);
                }
            }
            (None, Some(items)) => unclassified(document, items, path, missing),
            (None, None) if document.row(path).is_none() => missing.push(format!("{} {path}", document.name())),
            (None, None) => {}
        }
    }

    #[test]
    fn every_field_of_every_schema_that_leaves_has_a_class() {
        let mut missing = Vec::new();
        for (document, schema) in [
            (Document::Person, person()),
            (Document::Person, identity_change()),
            (Document::Visit, visit()),
            (Document::LabReport, lab_report()),
            (Document::Consent, consent_change()),
            (Document::Link, super::super::answers::history()["properties"]["history"].clone()),
        ] {
            unclassified(document, &schema, "", &mut missing);
        }
        let mut candidate = super::super::answers::candidates()["properties"]["candidates"]["items"].clone();
        candidate["properties"].as_object_mut().unwrap().remove("person");
        unclassified(Document::Candidate, &candidate, "", &mut missing);
        assert_eq!(missing, Vec::<String>::new(), "give them a line in policy/class.rs");
        // The walk sees what has none.
        let surprise = json!({"properties": {"list": {"items": {"properties": {"surprise": {"type": "string"}}}}}});
        unclassified(Document::Person, &surprise, "", &mut missing);
        assert_eq!(missing, ["person list.surprise"]);
    }

    #[test]
    fn the_envelope_has_no_member_that_a_policy_does_not_know_of() {
        // `disclosure` treats id, source and time; the others say nothing of a patient.
        let event = event();
        let members: Vec<&String> = event["properties"].as_object().unwrap().keys().collect();
        let known = [
            "data",
            "datacontenttype",
            "dataschema",
            "id",
            "sequence",
            "source",
            "specversion",
            "subject",
            "time",
            "type",
        ];
        let mut members: Vec<&str> = members.into_iter().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(members, known);
    }

    #[test]
    fn a_record_s_schema_has_the_fields_of_the_table_and_no_steering_ones() {
        let visit = named("visit.v1.json").unwrap();
        assert!(visit["properties"]["status"]["enum"].is_array());
        assert_eq!(visit["properties"]["event"], Value::Null);
        assert_eq!(visit["$id"], "/schemas/visit.v1.json");
    }
}
