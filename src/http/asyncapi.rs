//! The AsyncAPI 3.0 document: which events there are, what they hold, and by which ways they reach a consumer. Made from the event types and
//! the record schemas, as the OpenAPI document is from the routes.
//!
//! It describes Heyi, so its operations `send`; a consumer's tools turn them round (AsyncAPI 3.0, "Operation Object", `action`).
//! A copy is committed as `docs/asyncapi.json`; a test fails when the two differ.

use serde_json::{Map, Value, json};

use super::openapi::{component_name, reference};
use super::routes::ROUTES;
use super::{feed, schemas};
use crate::feed::EventKind;

/// Media type of one event (CloudEvents 1.0, JSON format, 3: structured mode).
const CLOUD_EVENT: &str = "application/cloudevents+json";

/// A way by which events leave.
struct Way {
    name: &'static str,
    /// Its path; `None`: the consumer's own address.
    path: Option<&'static str>,
    method: &'static str,
    summary: &'static str,
    description: &'static str,
}

const WAYS: &[Way] = &[
    Way {
        name: "pull",
        path: Some("/v1/feed"),
        method: "GET",
        summary: "Events in pages, after a cursor; waits for one if asked to",
        description: "As one JSON document, or one event a line (NDJSON) with a checkpoint last. Whoever takes events commits the position with PUT /v1/feed/cursor.",
    },
    Way {
        name: "stream",
        path: Some("/v1/feed/stream"),
        method: "GET",
        summary: "Events as they come (server-sent events)",
        description: "`id` is the cursor after the event, `data` the event; `Last-Event-ID` is honoured. Where events are passed over that are not for the consumer, a checkpoint says the position.",
    },
    Way {
        name: "webhook",
        path: None,
        method: "POST",
        summary: "Each event posted to the consumer's address, signed (Standard Webhooks 1.0)",
        description: "The body is one event; `webhook-id` is its id. Taken is what is answered 2xx; events about one person come one after the other.",
    },
];

impl Way {
    /// A path that is not routed is not offered.
    fn is_open(&self) -> bool {
        self.path.is_none_or(|path| ROUTES.iter().any(|route| route.path == path))
    }

    /// A checkpoint says a position to who keeps one itself; who asks by a cursor is told of a new epoch by a 409.
    fn carries(&self, kind: EventKind) -> bool {
        match kind {
            EventKind::FeedCheckpoint => self.path.is_some(),
            EventKind::FeedEpochChanged => self.path.is_none(),
            _ => true,
        }
    }
}

/// The whole document.
pub(crate) fn document() -> Value {
    let ways: Vec<&Way> = WAYS.iter().filter(|way| way.is_open()).collect();
    let channels: Map<String, Value> = ways.iter().map(|way| (way.name.to_owned(), channel(way))).collect();
    let operations: Map<String, Value> = ways.iter().map(|way| (way.name.to_owned(), operation(way))).collect();
    let messages: Map<String, Value> =
        EventKind::ALL.iter().map(|kind| (kind.name().to_owned(), message(*kind))).collect();
    let named = |(name, schema): (&str, Value)| (component_name(name).to_owned(), schema);
    let schemas: Map<String, Value> = schemas::all().into_iter().map(named).collect();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Heyi: the feed",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "One ordered, durable log of patients, visits and lab results. Delivered at least once: what a consumer owes \
                (repeats, versions, merges, erasure, restores) `heyi feed rehearse` tries.\n\n\
                New types and members may come; none changes its meaning within a version of its schema.",
            "license": {"name": "Apache-2.0"}
        },
        "defaultContentType": CLOUD_EVENT,
        "servers": {
            "site": {
                "host": "127.0.0.1:8480",
                "protocol": "http",
                "description": "`listen` of [http]; https where a certificate is configured",
                "security": [{"$ref": "#/components/securitySchemes/token"}]
            }
        },
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}
        }
    })
}

fn channel(way: &Way) -> Value {
    let reference = |kind: &&EventKind| json!({"$ref": format!("#/components/messages/{}", kind.name())});
    let kinds = EventKind::ALL.iter().filter(|kind| way.carries(**kind));
    let messages: Map<String, Value> = kinds.map(|kind| (kind.name().to_owned(), reference(&kind))).collect();
    let mut channel =
        json!({"address": way.path, "title": way.summary, "description": way.description, "messages": messages});
    if way.path.is_some() {
        channel["servers"] = json!([{"$ref": "#/servers/site"}]);
    }
    channel
}

fn operation(way: &Way) -> Value {
    json!({
        "action": "send",
        "channel": {"$ref": format!("#/channels/{}", way.name)},
        "title": way.summary,
        "bindings": {"http": {"method": way.method, "bindingVersion": "0.3.0"}}
    })
}

/// One type of event: the envelope, and the schema that its data holds to.
fn message(kind: EventKind) -> Value {
    let file = kind.schema_path().trim_start_matches(schemas::PREFIX);
    let own = json!({
        "type": "object",
        "properties": {
            "type": {"const": kind.name()},
            "dataschema": {"const": kind.schema_path()},
            "data": reference(file)
        }
    });
    let content_type = if kind == EventKind::FeedCheckpoint { feed::NDJSON } else { CLOUD_EVENT };
    json!({
        "name": kind.name(),
        "title": kind.meaning(),
        "contentType": content_type,
        "payload": {"allOf": [reference("event.v1.json"), own]}
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::openapi::tests::{check_references, expect_committed};

    #[test]
    fn the_committed_document_of_events_is_the_one_served() {
        expect_committed("docs/asyncapi.json", &document());
    }

    #[test]
    fn every_event_type_is_a_message_of_every_way_and_every_reference_has_a_target() {
        let document = document();
        check_references(&document, &document);
        for kind in EventKind::ALL.iter().filter(|kind| kind.family() != "feed") {
            for (name, channel) in document["channels"].as_object().unwrap() {
                assert!(channel["messages"][kind.name()].is_object(), "{} is no message of {name}", kind.name());
            }
            let message = &document["components"]["messages"][kind.name()];
            assert_eq!(message["payload"]["allOf"][1]["properties"]["type"]["const"], kind.name());
        }
    }

    #[test]
    fn what_the_document_must_have_is_there() {
        let document = document();
        for (name, operation) in document["operations"].as_object().unwrap() {
            let channel = operation["channel"]["$ref"].as_str().unwrap();
            assert_eq!(channel, format!("#/channels/{name}"));
            assert!(["send", "receive"].contains(&operation["action"].as_str().unwrap()));
        }
        assert!(document["channels"]["pull"]["address"] == "/v1/feed" && document["info"]["version"].is_string());
        // AsyncAPI 3.0, "Components Object": the keys of components.
        let is_key = |key: &str| key.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c));
        for part in document["components"].as_object().unwrap().values() {
            assert!(part.as_object().unwrap().keys().all(|key| is_key(key)));
        }
    }
}
