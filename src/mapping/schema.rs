//! JSON Schema of mapping files, for completion and checks in an editor: made from the tables that the loader reads by.
//!
//! Draft 7, which is what editors of TOML (taplo) know. It says less than `heyi check`: conditions and codes in tables are beyond it.

use serde_json::{Map, Value as Json, json};

use super::coerce::{self, Coercion};
use super::file::{BLOCK_KEYS, FILE_KEYS, RULE_KEYS};
use crate::record::Kind;
use crate::record::schema::{self, Field, Shape};

/// The schema of a mapping file.
pub fn document() -> Json {
    let mut properties = Map::new();
    for key in FILE_KEYS {
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == *key);
        let value = match kind {
            Some(kind) => one_or_more(block(schema::fields(kind), false), record_meaning(kind)),
            None => file_key(key),
        };
        properties.insert((*key).to_owned(), value);
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Heyi mapping file",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "definitions": {
            "path": {
                "type": "string",
                "description": "PID-8, PID-3.4.1, PID-3[2].1, PID-3[*], PID-3[5=PI].1, OBX[2]-5",
                "pattern": "^[A-Z][A-Z0-9]{2}(\\[[^\\]]+\\])?(-[0-9]+(\\[[^\\]]+\\])?(\\.[0-9]+){0,2})?$",
            },
            "paths": {
                "description": "one path, or several of which the first with a usable value counts",
                "anyOf": [reference("path"), {"type": "array", "minItems": 1, "items": reference("path")}],
            },
            "condition": {
                "type": "string",
                "description": "PV1 and MSH-9.2 not in ['A28', 'A31']; PID-19.1 is resident_id; OBX-5 is number",
            },
            "texts": {"anyOf": [text(), {"type": "array", "minItems": 1, "items": text()}]},
            "skip": {
                "type": "array",
                "description": "what is left out on purpose, and why",
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["when", "reason"],
                    "properties": {
                        "when": reference("condition"),
                        "reason": text(),
                        "deliberate": {"type": "boolean", "description": "false: the sender is at fault"},
                    },
                },
            },
        },
    })
}

fn reference(definition: &str) -> Json {
    json!({"$ref": format!("#/definitions/{definition}")})
}

fn text() -> Json {
    json!({"type": "string"})
}

fn file_key(key: &str) -> Json {
    let texts = reference("texts");
    match key {
        "description" => json!({"type": "string", "description": "for people"}),
        "extends" => {
            json!({"type": "string", "description": "the mapping that this one is laid over, relative to this file"})
        }
        "format" => json!({"type": "string", "enum": ["hl7v2"]}),
        "match" => json!({
            "type": "object",
            "description": "paths and patterns (*, ?); a message that fits none is kept as ignored",
            "additionalProperties": texts,
        }),
        "tables" => json!({
            "type": "object",
            "description": "names and CSV files; a later file's row replaces an earlier one's",
            "additionalProperties": texts,
        }),
        _ => json!({}),
    }
}

fn record_meaning(kind: Kind) -> &'static str {
    match kind {
        Kind::Patient => "what the message says of a patient",
        Kind::Visit => "a visit, stay or appointment",
        Kind::LabReport => "a report with its results",
        Kind::Merge => "two patient numbers that are one patient",
    }
}

fn one_or_more(block: Json, description: &str) -> Json {
    json!({"description": description, "anyOf": [block.clone(), {"type": "array", "items": block}]})
}

fn block(level: &'static [Field], is_item: bool) -> Json {
    let mut properties = Map::new();
    for key in BLOCK_KEYS {
        let value = match *key {
            "each" => json!({
                "allOf": [reference("path")],
                "description": if is_item { "one item for each of these" } else { "one record for each of these" },
            }),
            "when" => {
                json!({"allOf": [reference("condition")], "description": "the block counts only where this holds"})
            }
            "skip" => reference("skip"),
            "on_null" => on_null(),
            _ => json!({}),
        };
        properties.insert((*key).to_owned(), value);
    }
    for field in level {
        properties.insert(field.name.to_owned(), described(field_value(field), field.meaning));
    }
    let spread = "value";
    if coerce::is_spread(level, spread) {
        let meaning = "fills value_number, comparator, value_text and value_code";
        properties.insert(spread.to_owned(), described(rule(Shape::Text, &[Coercion::LabValue.name()]), meaning));
    }
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}

fn described(mut schema: Json, meaning: &str) -> Json {
    schema["description"] = json!(meaning);
    schema
}

fn on_null() -> Json {
    json!({"type": "string", "enum": ["clear", "keep"], "description": "what HL7's \"\" does"})
}

fn field_value(field: &'static Field) -> Json {
    if let Shape::List(inner) = field.shape {
        return one_or_more(block(inner, true), field.meaning);
    }
    let coercions: Vec<&str> = Coercion::names()
        .filter(|name| Coercion::named(name).is_some_and(|coercion| coercion.fits(field.shape)))
        .collect();
    let mut value = rule(field.shape, &coercions);
    if let (Shape::Object(inner), Some(forms)) = (field.shape, value["anyOf"].as_array_mut()) {
        let parts = inner.iter().map(|part| (part.name.to_owned(), described(field_value(part), part.meaning)));
        let parts: Map<String, Json> = parts.collect();
        forms.push(json!({"type": "object", "additionalProperties": false, "minProperties": 1, "properties": parts}));
    }
    value
}

/// Every form of a rule: a path, several, a table of keys, or `false`.
fn rule(shape: Shape, coercions: &[&str]) -> Json {
    let mut coercions = coercions.to_vec();
    coercions.sort_unstable();
    coercions.dedup();
    let mut properties = Map::new();
    for key in RULE_KEYS {
        let value = match *key {
            "from" => reference("paths"),
            "constant" => described(literal(shape), "instead of from: always this"),
            "as" => {
                json!({"type": "string", "enum": coercions, "description": "how to read the value; usually left out"})
            }
            "table" => json!({"type": "string", "description": "a name of [tables]"}),
            "default" => described(literal(shape), "if there is no value"),
            "on_unmapped" => json!({
                "description": "for a code that the table does not know",
                "anyOf": [{"type": "string", "enum": ["reject", "keep", "leave"]}, literal(shape)],
            }),
            "on_null" => on_null(),
            "required" => json!({
                "enum": [true, "skip", false],
                "description": "true: without it the message fails; skip: the record or item is left out",
            }),
            "when" => {
                json!({"allOf": [reference("condition")], "description": "the rule counts only where this holds"})
            }
            _ => json!({}),
        };
        properties.insert((*key).to_owned(), value);
    }
    json!({
        "anyOf": [
            reference("paths"),
            {"type": "boolean", "enum": [false]},
            {
                "type": "object",
                "additionalProperties": false,
                "properties": properties,
                "oneOf": [{"required": ["from"]}, {"required": ["constant"]}],
            },
        ],
    })
}

/// A value as it may be written for a field of this shape.
fn literal(shape: Shape) -> Json {
    match shape {
        Shape::Code(legal) => json!({"type": "string", "enum": legal}),
        Shape::Boolean => json!({"enum": [true, false, "true", "false"]}),
        Shape::Integer => json!({"type": ["integer", "string"]}),
        Shape::Decimal => json!({"type": ["number", "string"]}),
        _ => json!({"type": ["string", "number", "boolean"]}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of the first object that knows `key`, wherever it is.
    fn keys_beside<'s>(schema: &'s Json, key: &str) -> Option<Vec<&'s str>> {
        match schema {
            Json::Object(entries) => {
                let properties = entries.get("properties").and_then(Json::as_object);
                match properties.filter(|properties| properties.contains_key(key)) {
                    Some(properties) => Some(properties.keys().map(String::as_str).collect()),
                    None => entries.values().find_map(|value| keys_beside(value, key)),
                }
            }
            Json::Array(items) => items.iter().find_map(|item| keys_beside(item, key)),
            _ => None,
        }
    }

    #[test]
    fn every_key_that_the_loader_knows_says_what_it_may_hold() {
        fn check(value: &Json, place: &str) {
            match value {
                Json::Object(entries) => {
                    assert!(!entries.is_empty(), "nothing is said of {place}");
                    entries.iter().for_each(|(name, value)| check(value, &format!("{place}/{name}")));
                }
                Json::Array(items) => items.iter().for_each(|item| check(item, place)),
                _ => {}
            }
        }
        let schema = document();
        check(&schema, "#");
        let mut keys = keys_beside(&schema, "on_unmapped").unwrap();
        let mut known = RULE_KEYS.to_vec();
        (keys.sort_unstable(), known.sort_unstable());
        assert_eq!(keys, known);
    }

    #[test]
    fn a_field_names_its_legal_values_and_the_coercions_that_fit() {
        let schema = document();
        let sex = &schema["properties"]["patient"]["anyOf"][0]["properties"]["sex"];
        let keys = &sex["anyOf"][2]["properties"];
        assert_eq!(keys["default"]["enum"], json!(["male", "female", "other", "unknown"]));
        let coercions: Vec<&str> = keys["as"]["enum"].as_array().unwrap().iter().filter_map(Json::as_str).collect();
        assert!(coercions.contains(&"code") && !coercions.contains(&"date"), "{coercions:?}");
    }
}
