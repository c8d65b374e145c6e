//! A JSON schema of the file, for editors and checks.

use serde_json::{Map, Value, json};

use super::keys::{Key, keys};

/// The schema, of draft 7, which editors of TOML read.
pub(crate) fn schema() -> Value {
    let keys = keys(&crate::command());
    let keys = keys.iter().filter(|key| !key.refused);
    let mut properties: Map<String, Value> =
        keys.map(|key| (key.name.clone(), property(key))).collect();
    let build: Map<String, Value> = properties
        .keys()
        .map(|name| (name.clone(), json!({ "$ref": format!("#/properties/{name}") })))
        .collect();
    let builds = json!({
        "description": "What is built, each with the keys outside of all tables, too",
        "type": "array",
        "items": { "type": "object", "properties": build, "additionalProperties": false },
    });
    properties.insert(super::BUILDS.to_owned(), builds);
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "fleet-package.toml",
        "description": "Flags of `fleetctl package --spec`",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

fn property(key: &Key) -> Value {
    let text = json!({ "type": ["string", "integer"] });
    let mut property = match (key.switch, key.many) {
        (true, _) => json!({ "type": "boolean" }),
        (false, false) => text,
        (false, true) => json!({ "type": ["string", "integer", "array"], "items": text }),
    };
    property["description"] = Value::String(key.help.clone());
    property
}
