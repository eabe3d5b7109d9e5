//! The OpenAPI 3.1 document, made from the route table and the record schemas.
//!
//! A copy is committed as `docs/openapi.json`; a test fails when the two differ.

use serde_json::{Map, Value, json};

use super::parameter::Form;
use super::problem::{self, PROBLEMS, ProblemKind};
use super::routes::{Access, ROUTES, Route};
use super::schemas;
use super::stream::{EVENT_STREAM, LAST_EVENT_ID};
use super::tokens::Role;

/// The whole document.
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let operations = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(operations) = operations.as_object_mut() {
            operations.insert(route.method.name().to_lowercase(), operation(route));
        }
    }
    let mut components = Map::new();
    for (name, schema) in schemas::all() {
        components.insert(component_name(name).to_owned(), schema);
    }
    components.insert("problem".to_owned(), problem_schema());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Heyi",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "One identity per patient and one ordered, durable feed of patients, visits and lab results.\n\n\
                Errors are RFC 9457 problem documents. Lists carry `next`: give it back as `after` for the next page; \
                `null` means that there is none.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": components
        }
    })
}

/// A reference to the schema in this file (see `schemas::all`).
pub(crate) fn reference(file: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{}", component_name(file))})
}

pub(super) fn component_name(file: &str) -> &str {
    file.split('.').next().unwrap_or(file)
}

fn operation(route: &Route) -> Value {
    let path_parameters = path_parameters(route.path)
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
    let query_parameters = route.parameters.iter().map(|parameter| {
        json!({
            "name": parameter.name,
            "in": "query",
            "description": parameter.meaning,
            "schema": parameter.form.schema()
        })
    });
    // HTML Living Standard, 9.2.4: who comes back to a stream says where it was.
    let is_stream = route.answers.iter().any(|(media_type, _)| *media_type == EVENT_STREAM);
    let header_parameters = is_stream.then(|| {
        json!({
            "name": LAST_EVENT_ID,
            "in": "header",
            "description": "the last `id` received: the stream goes on behind it, whatever `after` says",
            "schema": Form::Cursor.schema()
        })
    });
    let mut operation = json!({
        "operationId": route.name,
        "summary": route.summary,
        "description": who(route.access),
        "responses": responses(route)
    });
    let Some(members) = operation.as_object_mut() else { return operation };
    let parameters: Vec<Value> = path_parameters.chain(query_parameters).chain(header_parameters).collect();
    if !parameters.is_empty() {
        members.insert("parameters".to_owned(), json!(parameters));
    }
    if let Some(body) = &route.body {
        let content = json!({"required": body.required, "content": {"application/json": {"schema": (body.schema)()}}});
        members.insert("requestBody".to_owned(), content);
    }
    if matches!(route.access, Access::Open) {
        members.insert("security".to_owned(), json!([]));
    }
    operation
}

/// Names in braces.
pub(crate) fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn who(access: Access) -> String {
    match access {
        Access::Open => "No token.".to_owned(),
        Access::AnyToken => "Any token.".to_owned(),
        Access::Roles(roles) => {
            let names: Vec<&str> = roles.iter().copied().map(Role::name).collect();
            format!("Roles: {}.", names.join(", "))
        }
    }
}

fn responses(route: &Route) -> Value {
    let content: Map<String, Value> = route
        .answers
        .iter()
        .map(|(media_type, schema)| ((*media_type).to_owned(), json!({"schema": schema()})))
        .collect();
    let mut responses = Map::new();
    responses.insert("200".to_owned(), json!({"description": "Done.", "content": content}));
    let mut kinds: Vec<ProblemKind> = route.problems();
    kinds.sort_by_key(|kind| (kind.status(), *kind));
    for same_status in kinds.chunk_by(|one, other| one.status() == other.status()) {
        let lines: Vec<String> =
            same_status.iter().map(|kind| format!("- `{}`: {}", kind.slug(), kind.title())).collect();
        let status = same_status.first().map_or(500, |kind| kind.status()).to_string();
        responses.insert(
            status,
            json!({
                "description": lines.join("\n"),
                "content": {problem::MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/problem"}}}
            }),
        );
    }
    Value::Object(responses)
}

fn problem_schema() -> Value {
    let types: Vec<String> = PROBLEMS.iter().map(|kind| kind.uri()).collect();
    json!({
        "type": "object",
        "title": "An error (RFC 9457)",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference", "enum": types},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "what is wrong and what to do; never a patient's value"}
        }
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// That the file holds what is served. `UPDATE_OPENAPI=1 cargo test --lib committed` writes the files anew after a wanted change.
    pub(in crate::http) fn expect_committed(name: &str, served: &Value) {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let served = serde_json::to_string_pretty(served).unwrap() + "\n";
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, &served).unwrap();
        }
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(committed == served, "{name} is not what is served: UPDATE_OPENAPI=1 cargo test --lib committed");
    }

    #[test]
    fn the_committed_document_is_the_one_served() {
        expect_committed("docs/openapi.json", &document());
    }

    #[test]
    fn every_operation_has_its_own_name_and_every_reference_a_target() {
        let document = document();
        let names: std::collections::BTreeSet<&str> = ROUTES.iter().map(|route| route.name).collect();
        assert_eq!(names.len(), ROUTES.len());
        check_references(&document, &document);
    }

    pub(in crate::http) fn check_references(value: &Value, document: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(target)) = members.get("$ref") {
                    assert!(document.pointer(&target[1..]).is_some(), "{target}");
                }
                members.values().for_each(|member| check_references(member, document));
            }
            Value::Array(items) => items.iter().for_each(|item| check_references(item, document)),
            _ => {}
        }
    }
}
