//! JSON Schema of mapping files, for completion and checks in an editor: made from the tables that the loader reads by.
//!
//! Draft 7, which is what editors of TOML (taplo) know. It says less than `heyi check`: conditions and codes in tables are beyond it.

use serde_json::{Map, Value as Json, json};

use super::coerce::{self, Coercion};
use super::file::{BLOCK_KEYS, FILE_KEYS, RULE_KEYS};
use super::input::Format;
use crate::record::Kind;
use crate::record::schema::{self, Field, Shape};

/// What other parts of the schema refer to, by name.
type Definitions = Map<String, Json>;

/// The schema of a mapping file.
pub fn document() -> Json {
    let mut definitions = shared();
    let mut properties = Map::new();
    for key in FILE_KEYS {
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == *key);
        let value = match kind {
            Some(kind) => {
                let record = block(kind.name(), schema::fields(kind), false, &mut definitions);
                described(one_or_more(&record), record_meaning(kind))
            }
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
        "definitions": definitions,
    })
}

fn shared() -> Definitions {
    let definitions = [
        (
            "path",
            json!({
                "type": "string",
                "description": "HL7 v2: PID-8, PID-3.4.1, PID-3[2].1, PID-3[*], PID-3[5=PI].1, OBX[2]-5; FHIR: a FHIRPath such as \
                                identifier.where(use = 'official').value or Patient.birthDate",
                // Elements begin with a small letter, types of FHIR with a capital and a small one, segments with two capitals.
                "pattern": "^([A-Z][A-Z0-9]{2}(\\[[^\\]]+\\])?(-[0-9]+(\\[[^\\]]+\\])?(\\.[0-9]+){0,2})?|([a-z%$(]|[A-Z][a-z]).*)$",
            }),
        ),
        ("paths", one_or_more(&reference("path"))),
        (
            "condition",
            json!({
                "type": "string",
                "description": "HL7 v2: PV1 and MSH-9.2 not in ['A28', 'A31']; PID-19.1 is resident_id; OBX-5 is number. FHIR: a FHIRPath \
                                that is true or false, such as status != 'planned' and period.end.exists()",
            }),
        ),
        ("texts", one_or_more(&json!({"type": "string"}))),
        (
            "on_null",
            json!({"type": "string", "enum": ["clear", "keep"], "description": "what HL7's \"\" does; of FHIR, what becomes of what is not in a resource"}),
        ),
        (
            "required",
            json!({
                "enum": [true, "skip", false],
                "description": "true: without it the message fails; skip: the record or item is left out",
            }),
        ),
        (
            "skip",
            json!({
                "type": "array",
                "description": "what is left out on purpose, and why",
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["when", "reason"],
                    "properties": {
                        "when": reference("condition"),
                        "reason": {"type": "string"},
                        "deliberate": {"type": "boolean", "description": "false: the sender is at fault"},
                    },
                },
            }),
        ),
    ];
    definitions.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

fn reference(definition: &str) -> Json {
    json!({"$ref": format!("#/definitions/{definition}")})
}

fn one_or_more(schema: &Json) -> Json {
    json!({"anyOf": [schema, {"type": "array", "minItems": 1, "items": schema}]})
}

/// Draft 7 looks at nothing that stands beside `$ref`.
fn described(schema: Json, meaning: &str) -> Json {
    match schema.get("$ref") {
        Some(_) => json!({"description": meaning, "allOf": [schema]}),
        None => {
            let mut schema = schema;
            schema["description"] = json!(meaning);
            schema
        }
    }
}

fn file_key(key: &str) -> Json {
    let texts = reference("texts");
    match key {
        "description" => json!({"type": "string", "description": "for people"}),
        "extends" => {
            json!({"type": "string", "description": "the mapping that this one is laid over, relative to this file"})
        }
        "format" => json!({
            "type": "string",
            "enum": Format::ALL.map(Format::name),
            "description": "what it reads; without it, what the mapping that it extends reads, else hl7v2",
        }),
        "match" => json!({
            "type": "object",
            "description": "paths and patterns (*, ?); a message that fits none is kept as ignored",
            "additionalProperties": texts,
        }),
        "segments" => json!({
            "type": "object",
            "description": "what the sender's own segments hold: ZPI = { 1 = \"ST\", 2 = \"CWE\" }; PV1 = { 60 = \"ST\" }",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": {
                    "anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": {"type": "string"}}],
                },
            },
        }),
        "tables" => json!({
            "type": "object",
            "description": "names and files, CSV or FHIR ConceptMap; a later file's row replaces an earlier one's",
            "additionalProperties": {"anyOf": [texts, table()]},
        }),
        _ => json!({}),
    }
}

fn table() -> Json {
    let extends =
        "the table whose rows come first; its own name: the base's; false: the base's rows are left out on purpose";
    json!({
        "type": "object",
        "additionalProperties": false,
        "minProperties": 1,
        "properties": {
            "extends": {"anyOf": [{"type": "string"}, {"const": false}], "description": extends},
            "files": reference("texts"),
        },
    })
}

fn record_meaning(kind: Kind) -> &'static str {
    match kind {
        Kind::Patient => "what the message says of a patient",
        Kind::Visit => "a visit, stay or appointment",
        Kind::LabReport => "a report with its results",
        Kind::Merge => "two patient numbers that are one patient, or what else happens to numbers",
        Kind::Consent => "what a patient has said of a purpose",
    }
}

/// A record or list item, defined as `name`.
fn block(name: &str, level: &'static [Field], is_item: bool, definitions: &mut Definitions) -> Json {
    let mut properties = Map::new();
    for key in BLOCK_KEYS.iter().filter(|key| is_item || **key != "when_none") {
        let value = match *key {
            "each" if is_item => described(reference("path"), "one item for each of these"),
            "each" => described(reference("path"), "one record for each of these"),
            "when" => described(reference("condition"), "the block counts only where this holds"),
            "when_none" => when_none(level),
            "skip" => reference("skip"),
            "on_null" => reference("on_null"),
            "block" => {
                json!({"type": "string", "description": "the name by which a mapping that extends this one means it"})
            }
            _ => json!({}),
        };
        properties.insert((*key).to_owned(), value);
    }
    for field in level {
        let value = match field.shape {
            Shape::List(inner) => one_or_more(&block(&format!("{name}.{}", field.name), inner, true, definitions)),
            _ => rule(&format!("{name}.{}", field.name), field.shape, definitions),
        };
        properties.insert(field.name.to_owned(), described(value, field.meaning));
    }
    if coerce::is_spread(level, "value") {
        let keys = rule_object(Shape::Text, &[Coercion::LabValue.name()]);
        definitions.insert("rule.lab_value".to_owned(), forms(keys));
        let meaning = "fills value_number, comparator, value_text and value_code";
        properties.insert("value".to_owned(), described(reference("rule.lab_value"), meaning));
    }
    let schema = json!({"type": "object", "additionalProperties": false, "properties": properties});
    definitions.insert(name.to_owned(), schema);
    reference(name)
}

/// Values of an item's fields.
fn when_none(level: &'static [Field]) -> Json {
    let literal = || json!({"type": ["string", "number", "boolean"]});
    let fields = level.iter().filter(|field| !matches!(field.shape, Shape::List(_) | Shape::Object(_)));
    let fields: Map<String, Json> = fields.map(|field| (field.name.to_owned(), literal())).collect();
    let meaning = "the block counts only where no other item of the list has these values";
    json!({"type": "object", "additionalProperties": false, "minProperties": 1, "properties": fields, "description": meaning})
}

/// The rule of a field called `place`. Fields of one shape share a definition; closed lists and objects have their own.
fn rule(place: &str, shape: Shape, definitions: &mut Definitions) -> Json {
    let name = match shape {
        Shape::Text => "rule.text".to_owned(),
        Shape::Date => "rule.date".to_owned(),
        Shape::DateTime => "rule.date_time".to_owned(),
        Shape::Integer => "rule.integer".to_owned(),
        Shape::Decimal => "rule.decimal".to_owned(),
        Shape::Boolean => "rule.boolean".to_owned(),
        Shape::TextList => "rule.texts".to_owned(),
        Shape::Code(_) | Shape::Object(_) | Shape::List(_) => format!("rule.{place}"),
    };
    if !definitions.contains_key(&name) {
        let fits = |name: &&str| Coercion::named(name).is_some_and(|coercion| coercion.fits(shape));
        let coercions: Vec<&str> = Coercion::names().filter(fits).collect();
        let mut schema = forms(rule_object(shape, &coercions));
        if let (Shape::Object(inner), Some(forms)) = (shape, schema["anyOf"].as_array_mut()) {
            let part = |part: &Field, definitions: &mut Definitions| {
                let value = rule(&format!("{place}.{}", part.name), part.shape, definitions);
                (part.name.to_owned(), described(value, part.meaning))
            };
            let parts: Map<String, Json> = inner.iter().map(|field| part(field, definitions)).collect();
            forms.push(
                json!({"type": "object", "additionalProperties": false, "minProperties": 1, "properties": parts}),
            );
        }
        definitions.insert(name.clone(), schema);
    }
    reference(&name)
}

/// Every form of a rule: a path, several, a table of keys, a list of these as alternatives, or `false`, which removes the base's.
fn forms(keys: Json) -> Json {
    let alternatives = json!({"type": "array", "minItems": 1, "items": {"anyOf": [reference("paths"), keys]}});
    json!({"anyOf": [reference("paths"), {"type": "boolean", "enum": [false]}, keys, alternatives]})
}

fn rule_object(shape: Shape, coercions: &[&str]) -> Json {
    let mut properties = Map::new();
    for key in RULE_KEYS {
        let value = match *key {
            "from" => described(reference("paths"), "the first with a usable value counts"),
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
            "on_null" => reference("on_null"),
            "required" => reference("required"),
            "when" => described(reference("condition"), "the rule counts only where this holds"),
            _ => json!({}),
        };
        properties.insert((*key).to_owned(), value);
    }
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "oneOf": [{"required": ["from"]}, {"required": ["constant"]}],
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
        keys.sort_unstable();
        known.sort_unstable();
        assert_eq!(keys, known);
    }

    #[test]
    fn a_field_names_its_legal_values_and_the_coercions_that_fit() {
        let schema = document();
        let keys = &schema["definitions"]["rule.patient.sex"]["anyOf"][2]["properties"];
        assert_eq!(keys["default"]["enum"], json!(["male", "female", "other", "unknown"]));
        let coercions: Vec<&str> = keys["as"]["enum"].as_array().unwrap().iter().filter_map(Json::as_str).collect();
        assert!(coercions.contains(&"code") && !coercions.contains(&"date"), "{coercions:?}");
    }

    /// Whether `value` is what `schema` describes, for the keywords that the schema uses but `pattern`.
    fn fits(root: &Json, schema: &Json, value: &Json) -> bool {
        let any =
            |key: &str| schema[key].as_array().map(|forms| forms.iter().filter(|form| fits(root, form, value)).count());
        let is_type = |name: &Json| match name.as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("boolean") => value.is_boolean(),
            Some("integer") => value.is_i64(),
            Some("number") => value.is_number(),
            other => panic!("{other:?}"),
        };
        let typed = match &schema["type"] {
            Json::Null => true,
            Json::Array(names) => names.iter().any(is_type),
            name => is_type(name),
        };
        let referred = schema["$ref"].as_str().is_none_or(|name| {
            fits(root, root.pointer(&name[1..]).unwrap_or_else(|| panic!("{name} is not defined")), value)
        });
        let known = schema["enum"].as_array().is_none_or(|values| values.contains(value));
        let entries = value.as_object().is_none_or(|entries| {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str);
            required.into_iter().all(|name| entries.contains_key(name))
                && entries.len() as u64 >= schema["minProperties"].as_u64().unwrap_or(0)
                && entries.iter().all(|(name, value)| {
                    match (schema["properties"].get(name), &schema["additionalProperties"]) {
                        (Some(schema), _) => fits(root, schema, value),
                        (None, Json::Bool(allowed)) => *allowed,
                        (None, Json::Null) => true,
                        (None, schema) => fits(root, schema, value),
                    }
                })
        });
        let items = value.as_array().is_none_or(|items| {
            items.len() as u64 >= schema["minItems"].as_u64().unwrap_or(0)
                && (schema["items"].is_null() || items.iter().all(|item| fits(root, &schema["items"], item)))
        });
        let all = schema["allOf"].as_array().is_none_or(|forms| any("allOf") == Some(forms.len()));
        typed
            && referred
            && known
            && entries
            && items
            && all
            && any("anyOf") != Some(0)
            && any("oneOf").is_none_or(|count| count == 1)
    }

    fn is_valid(toml: &str) -> bool {
        let value: Json = toml::from_str(toml).unwrap_or_else(|error| panic!("{error}"));
        let schema = document();
        fits(&schema, &schema, &value)
    }

    #[test]
    fn the_shipped_mappings_are_what_it_describes() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/mappings");
        let mut checked = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                assert!(is_valid(&std::fs::read_to_string(&path).unwrap()), "{}", path.display());
                checked += 1;
            }
        }
        assert!(checked >= 3, "{checked}");
    }

    #[test]
    fn what_the_loader_refuses_by_its_shape_is_refused_by_it() {
        let check = |toml: &str, expected: bool| assert_eq!(is_valid(toml), expected, "{toml}");
        check("[patient]\nsex = { from = \"PID-8\", table = \"sex\", on_unmapped = \"unknown\" }", true);
        check("[patient]\nsexx = \"PID-8\"", false);
        check("[patient]\nsex = { from = \"PID-8\", tabel = \"sex\" }", false);
        check("[patient]\nsex = { from = \"PID-8\", default = \"M\" }", false);
        check("[patient]\nsex = { from = \"PID-8\", constant = \"male\" }", false);
        check("[patient]\nsex = { table = \"sex\" }", false);
        check("[patient]\nsex = true", false);
        check("[patient]\nvip = false", true);
        check("[patient]\nbirth_date = { from = \"PID-7\", as = \"lab_value\" }", false);
        check("[[patient.identifiers]]\neach = \"PID-3\"\nvalue = \"PID-3.1\"", true);
        check("[patient]\nidentifiers = \"PID-3\"", false);
        check("[[lab_report.results]]\neach = \"OBX\"\nvalue = \"OBX-5\"", true);
        check("[lab_report]\ndepartment.name = \"OBX-23.1\"", true);
        check("[lab_report]\ndepartment.nam = \"OBX-23.1\"", false);
        check("[visit]\nskip = [{ when = \"PV1\" }]", false);
        check("extend = \"hl7v2.toml\"", false);
    }
}
