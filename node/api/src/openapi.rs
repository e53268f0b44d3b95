//! The contract of the admin API for other programs: OpenAPI 3.1.
//!
//! Made from the table of operations and the types of the API, so that it says what the node does.

mod answers;

use std::collections::BTreeSet;

use schemars::{
    Schema, SchemaGenerator,
    generate::SchemaSettings,
    transform::{Transform, transform_subschemas},
};
use serde_json::{Map, Value, json};

use crate::{
    API_VERSION,
    need::{About, Need},
    operation::{Body, OPERATIONS, Operation},
    parameter::{Parameter, Place},
    problem::Problem,
};

const DESCRIPTION: &str = "\
Administration of a Conclave cluster: certificates, private keys, and where TLS ends. Any node \
answers; a change is passed on to the leader. Private keys are write-only: no answer contains one.

Over HTTPS every request needs an access token. At the admin socket of a node the operating system \
decides who may ask, and no token is needed.

Names of operations, members of objects and error codes are stable. Answers may get more members \
in a later version of the program, so a client should ignore the ones that it does not know.";

/// Returns the OpenAPI document.
pub fn document() -> Value {
    // A type of an answer has all members that the node always sends; in a request most of them may
    // be left out.
    let (mut asked, mut answered) = (generator(false), generator(true));
    let problem = answered.subschema_for::<Problem>();
    let mut paths: Map<String, Value> = Map::new();
    for one in OPERATIONS {
        let method = one.method.as_str().to_ascii_lowercase();
        let item = paths.entry(one.path).or_insert_with(|| json!({}));
        if let Some(item) = item.as_object_mut() {
            item.insert(method, operation(one, &mut asked, &mut answered));
        }
    }
    let mut schemas = answered.take_definitions(true);
    // What is in both is as a request may have it: answers have all of its members.
    schemas.extend(asked.take_definitions(true));
    for (name, words) in
        OPERATIONS.iter().flat_map(parameters_of).filter_map(|one| one.value.named())
    {
        // A member of an object may have the same type, with more comments.
        schemas.entry(name).or_insert_with(|| words.into());
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Conclave",
            "version": API_VERSION.rsplit('/').next(),
            "description": DESCRIPTION,
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "servers": [{
            "url": "https://{node}:{port}",
            "variables": {
                "node": { "default": "localhost", "description": "Any node of the cluster." },
                "port": { "default": "7443", "description": "`[admin] bind` of the node." },
            },
        }],
        "security": [{ "bearer": [] }],
        "paths": paths,
        "components": {
            "parameters": OPERATIONS
                .iter()
                .flat_map(parameters_of)
                .map(|one| (parameter_key(one), parameter(one)))
                .collect::<Map<_, _>>(),
            "schemas": schemas,
            "headers": answers::known_headers(),
            "responses": answers::problems(&problem),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "cvt_ID.SECRET",
                    "description": "An access token: `conclave token create NAME`. Its third part, \
                                    the fingerprint of the cluster's authority, is not sent.",
                },
            },
        },
    })
}

pub(crate) fn generator(is_answer: bool) -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let settings = match is_answer {
        true => settings.for_serialize(),
        false => settings.for_deserialize(),
    };
    settings.with_transform(Plain { is_answer }).into_generator()
}

fn operation(
    one: &Operation,
    asked: &mut SchemaGenerator,
    answered: &mut SchemaGenerator,
) -> Value {
    let mut parameters = path_parameters(one.path);
    parameters.extend(parameters_of(one).map(|one| {
        let named = format!("#/components/parameters/{}", parameter_key(one));
        json!({ "$ref": named })
    }));
    let body = match one.body {
        Body::Empty => None,
        Body::Json(shape) => Some(("application/json", json!(shape.schema(asked)))),
        Body::Bytes => Some(("application/octet-stream", answers::bytes())),
    };
    let body = body.map(|(media, schema)| {
        // A node takes a missing body for an empty object.
        let is_required = media != "application/json" || has_required(&schema, asked);
        let content = json!({ media: { "schema": schema } });
        ("requestBody".to_owned(), json!({ "required": is_required, "content": content }))
    });
    let need = one.need().unwrap_or(Need::Socket);
    let mut made: Map<String, Value> = body.into_iter().collect();
    made.extend([
        ("operationId".to_owned(), one.id.into()),
        ("summary".to_owned(), one.summary.trim_end_matches('.').into()),
        ("description".to_owned(), format!("{} {}", one.summary, needed(need)).into()),
        ("x-conclave-right".to_owned(), right(need)),
        ("tags".to_owned(), json!([tag(one.path)])),
        ("parameters".to_owned(), parameters.into()),
        ("responses".to_owned(), answers::of(one, answered)),
    ]);
    if need == Need::Nothing {
        made.insert("security".to_owned(), json!([]));
    }
    made.into()
}

/// Whether an object of the schema has members that it cannot be without.
fn has_required(schema: &Value, asked: &SchemaGenerator) -> bool {
    let name =
        schema.get("$ref").and_then(Value::as_str).and_then(|place| place.rsplit('/').next());
    let schema = name.and_then(|name| asked.definitions().get(name)).unwrap_or(schema);
    schema.get("required").and_then(Value::as_array).is_some_and(|names| !names.is_empty())
}

/// Says what a caller needs, for programs.
fn right(need: Need) -> Value {
    match need {
        Need::Nothing => json!({ "name": "none", "by_domain": false }),
        Need::Login => json!({ "name": "login", "by_domain": false }),
        Need::Socket => json!({ "name": "socket", "by_domain": false }),
        Need::Right(right, about) => {
            json!({ "name": right.as_str(), "by_domain": about != About::Cluster })
        }
    }
}

/// Says what a caller needs, for people.
fn needed(need: Need) -> String {
    let (right, about) = match need {
        Need::Nothing => return "Needs no token.".to_owned(),
        Need::Login => return "Needs a valid token, and no right.".to_owned(),
        Need::Socket => {
            return "At the admin socket of the node only, whatever the token.".to_owned();
        }
        Need::Right(right, about) => (right, about),
    };
    let limit = match about {
        About::Cluster => "A token for certain domains is refused.",
        About::Domain => "A token for certain domains must be for this one.",
        About::TrustSet => "A token for certain domains is for the sets of these.",
        About::Account => "A token for certain domains is for the accounts of these.",
        About::OwnAccount => {
            "A token for certain domains is for the accounts of these; the owner of the account may do it too."
        }
        About::Some => "A token for certain domains is for these.",
    };
    format!("Needs the right `{right}`. {limit}")
}

/// Returns the noun of a path: `domains`.
fn tag(path: &str) -> &str {
    let noun = path.split('/').nth(2).unwrap_or_default();
    noun.split('.').next().unwrap_or_default()
}

fn parameters_of(one: &Operation) -> impl Iterator<Item = &Parameter> {
    one.parameters.iter().flat_map(|group| group.iter())
}

/// Returns the name of a parameter among all. One whose name means something else elsewhere, and
/// which only one noun has, is named after that noun.
fn parameter_key(one: &Parameter) -> String {
    let described = parameter(one);
    let all = || {
        OPERATIONS.iter().flat_map(|operation| {
            parameters_of(operation).map(|other| (tag(operation.path), other))
        })
    };
    let namesakes = || all().filter(|(_, other)| other.name == one.name);
    let is_same = |other: &Parameter| parameter(other) == described;
    let tags: BTreeSet<&str> =
        namesakes().filter(|(_, other)| is_same(other)).map(|(tag, _)| tag).collect();
    let is_alone = namesakes().all(|(_, other)| is_same(other));
    match tags.first() {
        Some(tag) if !is_alone && tags.len() == 1 => format!("{tag}_{}", one.name),
        _ => one.name.to_owned(),
    }
}

fn parameter(one: &Parameter) -> Value {
    let place = match one.place {
        Place::Query => "query",
        Place::Header => "header",
    };
    json!({
        "name": one.name,
        "in": place,
        "description": one.description,
        "schema": one.value.schema(),
    })
}

/// Describes what a caller fills into a path.
fn path_parameters(path: &str) -> Vec<Value> {
    let filled = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let describe = |name: &str| match (name, tag(path)) {
        ("ip", _) => "Address at which the client connects, or `-`.",
        (_, "tls") => "Server name that the client sends, or `-`.",
        (_, "domains") => "Name of the domain.",
        (_, "nodes") => "Name of the member.",
        (_, "listeners") => "Name of the listener.",
        (_, "trust") => "The set: `builtin`, `server`, `cluster` or `domain:NAME`.",
        (_, "tokens") => "Public id of the token.",
        _ => "Its name.",
    };
    let made = filled.map(|name| {
        json!({
            "name": name,
            "in": "path",
            "required": true,
            "description": describe(name),
            "schema": { "type": "string", "minLength": 1 },
        })
    });
    made.collect()
}

/// Makes a schema from a type's comments and variants say the same in a plainer way.
#[derive(Debug, Clone)]
struct Plain {
    is_answer: bool,
}

impl Transform for Plain {
    fn transform(&mut self, schema: &mut Schema) {
        unlink(schema);
        merge_words(schema);
        if self.is_answer {
            leave_out(schema);
        }
        if schema.get("default").is_some_and(Value::is_null) {
            schema.remove("default");
        }
        transform_subschemas(self, schema);
    }
}

/// Turns links inside the program's own documentation into plain words, and a member that always
/// has the same value into a constant.
fn unlink(schema: &mut Schema) {
    let Some(Value::String(text)) = schema.get("description") else { return };
    // Paragraphs and points of a list stay apart; lines of a paragraph do not.
    let text = text.replace("\n\n", "\u{1}").replace("\n- ", "\u{2}").replace('\n', " ");
    let text = text.replace('\u{1}', "\n\n").replace('\u{2}', "\n- ");
    let text = text.replace("[`crate::API_VERSION`]", &format!("`{API_VERSION}`"));
    let text = text.replace("[`crate::", "[`").replace("[`", "`").replace("`]", "`");
    let always = text.strip_prefix("Always `").and_then(|rest| rest.strip_suffix("`."));
    if let Some(value) = always {
        schema.insert("const".to_owned(), value.into());
    }
    schema.insert("description".to_owned(), text.into());
}

/// Turns a choice between described words into one list of words. Generators of clients make an
/// enum from it, not a type for each word.
fn merge_words(schema: &mut Schema) {
    let Some(Value::Array(choices)) = schema.get("oneOf") else { return };
    let word = |choice: &Value| {
        let (word, about) = (choice.get("const")?.as_str()?, choice.get("description")?.as_str()?);
        Some((word.to_owned(), about.to_owned()))
    };
    let Some(words) = choices.iter().map(word).collect::<Option<Vec<_>>>() else { return };
    let lines: Vec<String> =
        words.iter().map(|(word, about)| format!("- `{word}`: {about}")).collect();
    let about = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let described = format!("{about}\n\n{}", lines.join("\n"));
    let words: Vec<Value> = words.into_iter().map(|(word, _)| word.into()).collect();
    schema.remove("oneOf");
    schema.insert("type".to_owned(), "string".into());
    schema.insert("enum".to_owned(), words.into());
    schema.insert("description".to_owned(), described.trim().into());
}

/// Takes `null` from the members that an answer may lack: they are left out instead.
fn leave_out(schema: &mut Schema) {
    let required = schema.get("required").cloned().unwrap_or_default();
    let is_required = |name: &String| {
        required.as_array().is_some_and(|names| names.iter().any(|one| one.as_str() == Some(name)))
    };
    let Some(members) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (_, member) in members.iter_mut().filter(|(name, _)| !is_required(name)) {
        let Some(member) = member.as_object_mut() else { continue };
        if let Some(Value::Array(types)) = member.get_mut("type") {
            types.retain(|one| one != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                member.insert("type".to_owned(), only);
            }
        }
        if let Some(Value::Array(mut choices)) = member.remove("anyOf") {
            choices.retain(|one| one.get("type").is_none_or(|of| of != "null"));
            match choices.as_slice() {
                [Value::Object(only)] => member.extend(only.clone()),
                _ => drop(member.insert("anyOf".to_owned(), choices.into())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_parameter_is_described_as_it_is_meant_where_it_is_used() {
        let mut described = BTreeMap::new();
        for one in OPERATIONS.iter().flat_map(parameters_of) {
            let key = parameter_key(one);
            let first = described.entry(key.clone()).or_insert_with(|| parameter(one));
            assert_eq!(*first, parameter(one), "{key}");
        }
        assert!(described.contains_key("after") && described.contains_key("events_after"));
    }
}
