//! The API as a contract: routes, table of operations, client and OpenAPI document say the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use conclave_api::{need::Need, operation::OPERATIONS};
use serde_json::Value;

fn source(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(root.join(path)).unwrap()
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// Operations without a function of the client, each with its caller.
const NOT_OF_THE_CLIENT: [(&str, &str); 2] =
    [("openapi", "other programs"), ("take_over", "the next process of a node")];
/// Functions of the client that ask an operation in another way.
const VARIANTS: [(&str, &str); 2] = [("own_trusted", "trusted"), ("chosen_domains", "domains")];

/// Returns method and path of each route of the router.
fn routes() -> BTreeSet<(String, String)> {
    let paths = source("node/api/src/path.rs");
    let paths: BTreeMap<&str, &str> = paths
        .split("pub const ")
        .filter_map(|rest| Some((word(rest), rest.split_once("\"/v1/")?.1.split_once('"')?.0)))
        .collect();
    let router = source("node/admin/src/routes.rs");
    let mut found = BTreeSet::new();
    for rest in router.split(".route(").skip(1) {
        let mut depth = 1;
        let end = rest.find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0
        });
        let route = &rest[..end.unwrap()];
        let name = word(route.split("path::").nth(1).unwrap());
        let path = paths.get(name).unwrap_or_else(|| panic!("no path {name}"));
        for method in ["get", "post", "put", "patch", "delete"] {
            let calls = route.split(&format!("{method}(")).collect::<Vec<_>>();
            let is_method =
                |before: &str| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
            for _ in calls[..calls.len() - 1].iter().filter(|before| is_method(before)) {
                found.insert((method.to_uppercase(), format!("/v1/{path}")));
            }
        }
    }
    found
}

#[test]
fn the_router_has_every_operation_and_no_other() {
    let table: BTreeSet<_> = OPERATIONS
        .iter()
        .map(|one| (one.method.as_str().to_owned(), one.path.to_owned()))
        .collect();
    assert_eq!(routes(), table);
}

#[test]
fn the_client_has_every_operation_and_the_command_line_uses_it() {
    let client =
        ["nouns.rs", "nouns/access.rs", "nouns/mail.rs", "request/events.rs", "request/stream.rs"];
    let client = client.map(|file| source(&format!("cli/client/src/{file}")));
    let functions: BTreeSet<&str> = client
        .iter()
        .flat_map(|text| text.split("impl Client {").nth(1).unwrap().split("pub async fn ").skip(1))
        .map(word)
        .filter(|name| VARIANTS.iter().all(|(variant, _)| variant != name))
        .collect();
    let table: BTreeSet<&str> = OPERATIONS
        .iter()
        .map(|one| one.id)
        .filter(|id| NOT_OF_THE_CLIENT.iter().all(|(other, _)| other != id))
        .collect();
    assert_eq!(functions, table);
    let mut commands = String::new();
    let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("cli/src")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            match entry.is_dir() {
                true => dirs.push(entry),
                false => commands.push_str(&std::fs::read_to_string(entry).unwrap()),
            }
        }
    }
    for id in table {
        assert!(commands.contains(&format!(".{id}(")), "no command uses {id}");
    }
}

#[test]
fn the_document_has_every_operation_with_its_answer_and_problem() {
    let document = conclave_api::openapi::document();
    let part = |place: &Value| document.pointer(&place.as_str().unwrap()[1..]).unwrap().clone();
    for one in OPERATIONS {
        let method = one.method.as_str().to_lowercase();
        let found = &document["paths"][one.path][&method];
        assert_eq!(found["operationId"], one.id);
        assert_eq!(
            found.get("security").is_some(),
            one.need() == Some(Need::Nothing),
            "{}",
            one.id
        );
        let answers = found["responses"].as_object().unwrap();
        // Every caller may be refused, and may find no leader.
        for status in ["401", "403", "500", "503"] {
            assert!(answers.contains_key(status), "{}: {status}", one.id);
        }
        for (status, answer) in answers {
            let number: u16 = status.parse().unwrap();
            assert!(one.answers_with(number), "{}: {status}", one.id);
            if number < 400 {
                continue;
            }
            let problem = part(&answer["$ref"]);
            let schema = &problem["content"]["application/problem+json"]["schema"]["$ref"];
            assert_eq!(schema, "#/components/schemas/Problem", "{}: {status}", one.id);
            assert!(problem["headers"]["Cache-Control"].is_object(), "{}: {status}", one.id);
        }
    }
    // A second type of the same name gets a number.
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in schemas.keys() {
        assert!(!name.ends_with(|c: char| c.is_ascii_digit()), "{name} is there twice");
    }
}

/// Generators of clients make a type of their own from each of these, with a name that they invent.
#[test]
fn every_object_and_every_choice_has_a_name() {
    fn check(place: &str, schema: &Value) {
        let is_object = schema.get("properties").is_some();
        assert!(!is_object && schema.get("enum").is_none(), "{place} has no name: {schema}");
        for (key, inner) in schema.as_object().into_iter().flatten() {
            each(&format!("{place}/{key}"), inner);
        }
    }
    fn each(place: &str, value: &Value) {
        match value {
            Value::Object(_) => check(place, value),
            Value::Array(all) => all.iter().for_each(|one| each(place, one)),
            _ => {}
        }
    }
    let document = conclave_api::openapi::document();
    check("paths", &document["paths"]);
    check("parameters", &document["components"]["parameters"]);
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
            check(&format!("{name}/{key}"), inner);
        }
    }
}

/// What an answer may lack is left out of it, so a client needs no third case.
#[test]
fn members_that_an_answer_may_lack_are_never_null() {
    let document = conclave_api::openapi::document();
    let change = &document["components"]["schemas"]["Change"];
    assert!(!change["required"].as_array().unwrap().contains(&"version".into()), "{change}");
    assert_eq!(change["properties"]["version"]["type"], "integer");
    assert_eq!(change["properties"]["dry_run"]["$ref"], "#/components/schemas/DryRun");
    // One that is always there may have no value.
    let domain = &document["components"]["schemas"]["Domain"];
    assert!(domain["required"].as_array().unwrap().contains(&"reason".into()), "{domain}");
    assert_eq!(domain["properties"]["reason"]["type"][1], "null");
}
