//! The table of operations: everything that the admin API can be asked.
//!
//! The routes of a node, the functions of the client and the OpenAPI document agree with it; a test
//! compares them.

mod status;
mod table;

use std::collections::BTreeSet;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;

use crate::{change::Change, event::Event, openapi, parameter::Parameter};

pub use table::OPERATIONS;

/// An operation of the admin API.
pub struct Operation {
    /// Its stable name, which is also the name of the client's function.
    pub id: &'static str,
    /// Method of the request.
    pub method: Method,
    /// Path of the request, with `{name}` for what a caller fills in.
    pub path: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// Body of the request.
    pub body: Body,
    /// Body of the answer.
    pub answer: Answer,
    /// Groups of the query parameters and headers that have an effect.
    pub parameters: &'static [&'static [Parameter]],
}

/// HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "RFC 9110 says what they are")]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// Returns the method as it is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

/// The schema of a type.
#[derive(Clone, Copy)]
pub struct Shape(fn(&mut SchemaGenerator) -> Schema);

impl Shape {
    const fn of<T: JsonSchema>() -> Shape {
        Shape(SchemaGenerator::subschema_for::<T>)
    }

    /// Returns a reference to the schema, which the generator keeps.
    pub fn schema(self, generator: &mut SchemaGenerator) -> Schema {
        (self.0)(generator)
    }
}

/// Body of a request.
#[derive(Clone, Copy)]
pub enum Body {
    /// None.
    Empty,
    /// JSON.
    Json(Shape),
    /// Bytes.
    Bytes,
}

/// Body of an answer.
#[derive(Clone, Copy)]
pub enum Answer {
    /// One object.
    Object(Shape),
    /// A [`crate::change::List`].
    List(Shape),
    /// The result of a change, [`Change`].
    Change,
    /// A document that is described elsewhere, of this media type.
    Document(&'static str),
    /// A stream of this media type.
    Stream(&'static str),
    /// Server-sent events, each with an [`Event`] as its data.
    Events,
    /// Another protocol on the same connection.
    Upgrade(&'static str),
}

impl Answer {
    /// Returns the schema of the JSON in an answer.
    pub fn shape(self) -> Option<Shape> {
        match self {
            Answer::Object(shape) | Answer::List(shape) => Some(shape),
            Answer::Change => Some(Shape::of::<Change>()),
            Answer::Events => Some(Shape::of::<Event>()),
            Answer::Document(_) | Answer::Stream(_) | Answer::Upgrade(_) => None,
        }
    }
}

impl Operation {
    /// Returns the names of the members of an answer, or of the items of a list: what the parameter
    /// `fields` chooses from. `None` if the answer is neither an object nor a list.
    pub fn members(&self) -> Option<BTreeSet<String>> {
        let (Answer::Object(shape) | Answer::List(shape)) = self.answer else { return None };
        let mut generator = openapi::generator(true);
        let schema = shape.schema(&mut generator).to_value();
        let definitions = generator.definitions();
        let named = |schema: &Value| {
            let name = schema.get("$ref")?.as_str()?.rsplit('/').next()?;
            definitions.get(name).cloned()
        };
        let mut schema = named(&schema).unwrap_or(schema);
        if matches!(self.answer, Answer::List(_)) {
            let items = schema.pointer("/properties/items/items")?;
            schema = named(items).unwrap_or_else(|| items.clone());
        }
        Some(schema.get("properties")?.as_object()?.keys().cloned().collect())
    }
}

/// Finds the operation of a method and a path with its placeholders, as `/v1/domains/{name}`.
pub fn find(method: &str, path: &str) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|one| one.path == path && one.method.as_str() == method)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path;

    #[test]
    fn every_operation_has_a_name_and_a_place_of_its_own() {
        let mut ids = BTreeSet::new();
        let mut places = BTreeSet::new();
        for one in OPERATIONS {
            assert!(ids.insert(one.id), "{} is in the table twice", one.id);
            assert!(places.insert((one.path, one.method.as_str())), "{} has no own place", one.id);
            assert!(one.summary.ends_with('.'), "{}: {}", one.id, one.summary);
            assert!(one.path.starts_with("/v1/"), "{}", one.id);
            let mut names = BTreeSet::new();
            for parameter in one.parameters.iter().flat_map(|group| group.iter()) {
                assert!(names.insert(parameter.name), "{}: {} twice", one.id, parameter.name);
            }
            let is_read = one.method == Method::Get;
            assert!(!is_read || matches!(one.body, Body::Empty), "{} has a body", one.id);
        }
    }

    #[test]
    fn every_object_and_list_has_members_to_choose() {
        for one in OPERATIONS {
            let has_members = one.members().is_some_and(|members| !members.is_empty());
            let is_chosen = matches!(one.answer, Answer::Object(_) | Answer::List(_));
            assert_eq!(has_members, is_chosen, "{}", one.id);
        }
        let members = find("GET", path::DOMAINS).and_then(Operation::members).unwrap();
        assert!(members.contains("name") && !members.contains("items"), "{members:?}");
    }

    #[test]
    fn operations_are_found_by_method_and_path() {
        assert_eq!(find("DELETE", path::KEY).map(|one| one.id), Some("remove_key"));
        assert!(find("PATCH", path::KEY).is_none() && find("GET", "/v1/domains/x").is_none());
    }
}
