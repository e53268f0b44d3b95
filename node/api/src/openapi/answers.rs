//! Answers with their statuses and headers.

use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::{
    operation::{Answer, Operation},
    problem::Code,
};

/// Statuses of problems: name of the response in the document, and what it says.
const PROBLEMS: [(u16, &str, &str); 14] = [
    (400, "Malformed", "The request is not what this document describes."),
    (401, "NotLoggedIn", "The request has no token that is valid, or the login is wrong."),
    (403, "NotAllowed", "The caller may not do this."),
    (404, "NotFound", "The object does not exist."),
    (409, "Conflict", "The request does not fit what is there. Nothing was changed."),
    (410, "Gone", "What was asked for is not kept any longer."),
    (413, "TooLarge", "The body is too large."),
    (422, "Refused", "A value in the request was refused. Nothing was changed."),
    (429, "TooOften", "Too many attempts. Wait."),
    (500, "Failed", "The node failed. Its log says more."),
    (502, "Untrusted", "Another node is not the one that is meant."),
    (503, "Unavailable", "The cluster or the node cannot answer now. A retry may succeed."),
    (504, "Unknown", "The answer was lost, or a change is not in use everywhere."),
    (507, "DiskFull", "The disk is full. Nothing was changed."),
];

/// Headers of an answer to a caller who is known.
const KNOWN: [&str; 4] = ["Cache-Control", "Conclave-Node", "Conclave-Leader", "Conclave-Index"];
const MEDIA_EVENTS: &str = "text/event-stream";

/// Returns the answers of an operation by status.
pub(super) fn of(one: &Operation, answered: &mut SchemaGenerator) -> Value {
    let content = |about: &str, media: &str, schema: Value| {
        json!({
            "description": about,
            "headers": headers(&KNOWN),
            "content": { media: { "schema": schema } },
        })
    };
    let success = match one.answer {
        Answer::Upgrade(protocol) => json!({
            "description": format!("The connection goes on with `{protocol}`."),
        }),
        Answer::Stream(media) => content("A stream.", media, bytes()),
        Answer::Document(media) => content("A document.", media, json!({ "type": "object" })),
        Answer::Events => {
            let schema = one.answer.shape().map(|shape| shape.schema(answered));
            let about = "Server-sent events. The `data` of each is one `Event`, or one `Problem` at \
                         the end.";
            content(about, MEDIA_EVENTS, json!({ "type": "string", "contentSchema": schema }))
        }
        Answer::Object(_) | Answer::List(_) | Answer::Change => {
            let schema = one.answer.shape().map(|shape| shape.schema(answered));
            content("Done.", "application/json", json!(schema))
        }
    };
    let mut answers = Map::from_iter([(one.success().to_string(), success)]);
    for (status, name, _) in PROBLEMS.iter().filter(|(status, ..)| one.answers_with(*status)) {
        let named = format!("#/components/responses/{name}");
        answers.insert(status.to_string(), json!({ "$ref": named }));
    }
    answers.into()
}

/// Returns the answers that tell of a problem, by name.
pub(super) fn problems(problem: &Schema) -> Value {
    let made = PROBLEMS.map(|(status, name, about)| {
        let codes = Code::ALL.iter().filter(|code| code.status() == status);
        let codes: Vec<String> = codes.map(|code| format!("`{}`", code.as_str())).collect();
        let sent: &[&str] = match status {
            401 => &["Cache-Control", "WWW-Authenticate"],
            429 | 503 | 504 | 507 => &["Cache-Control", "Retry-After"],
            _ => &["Cache-Control"],
        };
        let answer = json!({
            "description": format!("{about} Codes: {}.", codes.join(", ")),
            "headers": headers(sent),
            "content": { "application/problem+json": { "schema": problem } },
        });
        (name.to_owned(), answer)
    });
    Map::from_iter(made).into()
}

fn headers(names: &[&str]) -> Value {
    let named = |name: &&str| {
        let place = format!("#/components/headers/{name}");
        ((*name).to_owned(), json!({ "$ref": place }))
    };
    names.iter().map(named).collect::<Map<_, _>>().into()
}

/// Returns the headers of answers, by name.
pub(super) fn known_headers() -> Value {
    json!({
        "Cache-Control": {
            "description": "No cache may keep an answer: it may hold a token.",
            "required": true,
            "schema": { "type": "string", "const": "no-store" },
        },
        "WWW-Authenticate": {
            "description": "How to log in.",
            "required": true,
            "schema": { "type": "string", "const": "Bearer" },
        },
        "Conclave-Node": {
            "description": "Name of the answering node; to callers who are known.",
            "schema": { "type": "string" },
        },
        "Conclave-Leader": {
            "description": "Name of the leader, if the answering node knows one.",
            "schema": { "type": "string" },
        },
        "Conclave-Index": {
            "description": "Index up to which the answer contains everything; none before the node \
                            has a cluster.",
            "schema": { "type": "integer", "minimum": 0 },
        },
        "Retry-After": {
            "description": "Seconds to wait before a retry, if one may succeed.",
            "schema": { "type": "integer", "minimum": 0 },
        },
    })
}

/// Returns the schema of bytes.
pub(super) fn bytes() -> Value {
    json!({ "type": "string", "format": "binary" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::OPERATIONS;

    #[test]
    fn every_status_of_a_code_has_a_response_and_an_operation() {
        // One of no operation, as its name says.
        let of_operations = |code: &&Code| **code != Code::MethodUnknown;
        let failures = Code::ALL.iter().filter(|code| code.status() >= 400);
        for code in failures.filter(of_operations) {
            let is_it = |(status, ..): &&(u16, _, _)| *status == code.status();
            assert!(PROBLEMS.iter().any(|one| is_it(&one)), "{}", code.as_str());
        }
        for (status, ..) in PROBLEMS {
            assert!(OPERATIONS.iter().any(|one| one.answers_with(status)), "{status}");
            assert!(Code::ALL.iter().any(|code| code.status() == status), "{status}");
        }
    }
}
