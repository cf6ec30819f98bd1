//! Holds `docs/openapi.json` against the routes, and the answers of the API against its schemas.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::routes::{ALL, Access};
use super::{KEYS, accepted};
use crate::testing::{Reaction, Served};

fn document() -> Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// Follows `$ref`.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => {
            let found = document.pointer(reference.strip_prefix('#').unwrap());
            resolve(document, found.unwrap_or_else(|| panic!("{reference} leads nowhere")))
        }
        None => value,
    }
}

/// What is wrong with a value: keys that it must have, keys that it may not have, types and lists of values.
fn faults(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let schema = resolve(document, schema);
    let mut faults = Vec::new();
    if let Some(parts) = schema["allOf"].as_array() {
        let known: BTreeSet<_> = parts.iter().flat_map(|part| properties(document, part)).collect();
        faults.extend(unknown(value, &known, at));
        for part in parts {
            let part = resolve(document, part);
            let keys = properties(document, part);
            let own: Value = value
                .as_object()
                .unwrap()
                .clone()
                .into_iter()
                .filter(|(key, _)| keys.contains(key))
                .collect();
            faults.extend(self::faults(document, part, &own, at));
        }
        return faults;
    }
    let is_type = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("boolean") => value.is_boolean(),
        other => panic!("{at}: a test for {other:?} is missing"),
    };
    if !is_type {
        faults.push(format!("{at}: {value} is no {}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|values| !values.contains(value)) {
        faults.push(format!("{at}: {value} is none of {}", schema["enum"]));
    }
    for key in schema["required"].as_array().into_iter().flatten() {
        if value.get(key.as_str().unwrap()).is_none() {
            faults.push(format!("{at}: {key} is missing"));
        }
    }
    if let (Some(of), Some(object)) = (schema["properties"].as_object(), value.as_object()) {
        faults.extend(unknown(value, &of.keys().cloned().collect(), at));
        for (key, inner) in object {
            if let Some(schema) = of.get(key) {
                faults.extend(self::faults(document, schema, inner, &format!("{at}.{key}")));
            }
        }
    }
    for inner in value.as_array().into_iter().flatten() {
        faults.extend(self::faults(document, &schema["items"], inner, &format!("{at}[]")));
    }
    faults
}

fn properties(document: &Value, schema: &Value) -> Vec<String> {
    resolve(document, schema)["properties"]
        .as_object()
        .into_iter()
        .flat_map(|of| of.keys().cloned())
        .collect()
}

fn unknown(value: &Value, known: &BTreeSet<String>, at: &str) -> Vec<String> {
    let keys = value.as_object().into_iter().flat_map(|object| object.keys());
    keys.filter(|key| !known.contains(*key)).map(|key| format!("{at}: {key} is not documented")).collect()
}

#[test]
fn the_document_has_every_route_and_no_other() {
    let document = document();
    let mut documented = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            documented.insert((path.clone(), method.to_uppercase(), id));
        }
    }
    let methods =
        ALL.into_iter().flat_map(|route| route.methods.iter().map(move |method| (route.path, method)));
    let methods: Vec<_> = methods.filter(|(_, method)| !method.operation.is_empty()).collect();
    let routes: BTreeSet<_> = methods
        .iter()
        .map(|(path, method)| ((*path).to_owned(), method.name.to_owned(), method.operation.to_owned()))
        .collect();
    assert_eq!(documented, routes);
    for (path, method) in methods {
        let operation = &document["paths"][path][method.name.to_lowercase()];
        let security = operation.get("security").unwrap_or(&document["security"]);
        let access = match security.as_array().unwrap().len() {
            0 => Access::Anyone,
            1 => Access::Key,
            _ => Access::Identity,
        };
        assert_eq!(access, method.access, "{path}");
        assert!(operation["responses"].get("401").is_some(), "{path}");
        assert!(operation["summary"].as_str().unwrap().ends_with(['.', ',']), "{path}");
        let in_path: BTreeSet<_> = path.split(['{', '}']).skip(1).step_by(2).map(str::to_owned).collect();
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let named: BTreeSet<_> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(named, in_path, "{path}");
    }
}

#[test]
fn no_reference_leads_nowhere() {
    fn walk(document: &Value, value: &Value) {
        resolve(document, value);
        for inner in value.as_object().into_iter().flat_map(|object| object.values()) {
            walk(document, inner);
        }
        value.as_array().into_iter().flatten().for_each(|inner| walk(document, inner));
    }
    let document = document();
    walk(&document, &document);
}

/// An answer against what is documented for its status.
fn hold(document: &Value, path: &str, method: &str, status: u16, body: &Value) {
    let operation = &document["paths"][path][method.to_lowercase()];
    let response = operation["responses"].get(status.to_string());
    let response = response.unwrap_or_else(|| panic!("{method} {path}: {status} is not documented: {body}"));
    let schema = &resolve(document, response)["content"]["application/json"]["schema"];
    if schema.is_null() {
        return;
    }
    let faults = faults(document, schema, body, path);
    assert_eq!(faults, Vec::<String>::new(), "{method} {path}: {body}");
}

#[tokio::test]
async fn answers_are_as_documented() {
    let document = document();
    let targets = json!({ "v": 1, "host": "h1", "targets": [
        { "name": "log", "kind": "file", "title": "Log", "modes": ["ro"], "params": ["unit"], "terminal": true },
    ] });
    let served =
        Served::with(format!("STATE{KEYS}"), move |subject, _| match subject.ends_with(".targets") {
            true => Reaction::Answer(targets.to_string()),
            false => accepted(),
        });
    let served = served.await;
    let (_, opened) =
        served.ask("POST", "/api/v1/sessions", "secret", r#"{"host":"h1","target":"log","mode":"ro"}"#).await;
    let session = opened["session"].as_str().unwrap().to_owned();
    let alive = json!({ "v": 1, "host": "h1", "instance": "I", "version": "1", "since": "2026-11-29T20:00:00Z", "every": 60 });
    let ended = json!({ "v": 1, "event": "ended", "session": session, "host": "h1", "target": "log", "peer": "::1", "bytes_in": 1, "bytes_out": 1, "code": 1000 });
    let is_there = async {
        while served.ask("GET", &format!("/api/v1/sessions/{session}"), "secret", "").await.1["state"]
            != "ended"
        {
            served.publish("stream.v1.host.h1.alive", &alive);
            served.publish("stream.v1.host.h1.event.ended", &ended);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), is_there).await.unwrap();
    for route in ALL {
        for method in route.methods.iter().filter(|method| !method.operation.is_empty()) {
            for (key, host, id) in [
                ("secret", "h1", session.as_str()),
                ("other", "h2", "X"),
                ("none", "h1", "X"),
                ("secret", "a.b", "-"),
            ] {
                let path = route.path.replace("{host}", host).replace("{session}", id);
                for body in ["{}", "{", r#"{"host":"h1","target":"log","user":"me"}"#] {
                    let (status, answer) = match method.access {
                        Access::Anyone => {
                            let answer = served.browse(method.name, &path, "", body).await;
                            (answer.status, answer.body)
                        }
                        _ => {
                            let lines = format!("Authorization: Bearer {key}\r\n");
                            let answer = served.browse(method.name, &path, &lines, body).await;
                            (answer.status, answer.body)
                        }
                    };
                    hold(&document, route.path, method.name, status, &answer);
                }
            }
        }
    }
    let signed_in = served.browse("POST", "/api/v1/sign-in", "", r#"{"api_key":"secret"}"#).await;
    hold(&document, "/api/v1/sign-in", "POST", signed_in.status, &signed_in.body);
    let (_, link) = served.ask("POST", "/api/v1/sign-in-links", "secret", "{}").await;
    let secret = link["url"].as_str().unwrap().split('#').nth(1).unwrap();
    let preview = json!({ "link": secret }).to_string();
    let preview = served.browse("POST", "/api/v1/sign-in/preview", "", &preview).await;
    hold(&document, "/api/v1/sign-in/preview", "POST", preview.status, &preview.body);
}
