//! The API as a contract: routes, table of operations, client and OpenAPI document say the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use conclave_api::operation::OPERATIONS;

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
const VARIANTS: [(&str, &str); 1] = [("own_trusted", "trusted")];

/// Returns method and path of each route of the router.
fn routes() -> BTreeSet<(String, String)> {
    let paths = source("node/api/src/path.rs");
    let paths: BTreeMap<&str, &str> = paths
        .split("pub const ")
        .filter_map(|rest| Some((word(rest), rest.split_once("\"/v1/")?.1.split_once('"')?.0)))
        .collect();
    let router = source("node/src/admin/routes.rs");
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
    let client = ["nouns.rs", "nouns/access.rs", "request/events.rs", "request/stream.rs"];
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
    for one in OPERATIONS {
        let method = one.method.as_str().to_lowercase();
        let found = &document["paths"][one.path][&method];
        assert_eq!(found["operationId"], one.id);
        let problem = "#/components/responses/Problem";
        assert_eq!(found["responses"]["default"]["$ref"], problem, "{}", one.id);
    }
    // A second type of the same name gets a number.
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in schemas.keys() {
        assert!(!name.ends_with(|c: char| c.is_ascii_digit()), "{name} stands twice");
    }
}
