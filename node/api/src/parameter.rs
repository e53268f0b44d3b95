//! Query parameters and headers of the operations.

use schemars::{Schema, json_schema};

use crate::{limits, path};

/// A query parameter or header of a request.
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Where it is sent.
    pub place: Place,
    /// Its values.
    pub value: Value,
    /// What it does, in one sentence.
    pub description: &'static str,
}

/// Place of a parameter in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Behind the `?` of the URL.
    Query,
    /// A header.
    Header,
}

/// Values of a parameter.
#[derive(Debug, Clone, Copy)]
pub enum Value {
    /// `true` or `false`; `false` if not given.
    Flag,
    /// A whole number, at least this one.
    Number(u64),
    /// A text of this many bytes at most.
    Text(usize),
    /// A text of one form, as a regular expression.
    Form(&'static str),
    /// One of these words, of the type of this name; the first one if not given.
    Word(&'static str, &'static [&'static str]),
    /// One of these words, of the type of this name; none of them if not given.
    Choice(&'static str, &'static [&'static str]),
}

impl Value {
    /// Returns the schema of the values.
    pub fn schema(self) -> Schema {
        match self {
            Value::Flag => json_schema!({ "type": "boolean", "default": false }),
            Value::Number(least) => json_schema!({ "type": "integer", "minimum": least }),
            Value::Text(bytes) => json_schema!({ "type": "string", "maxLength": bytes }),
            Value::Form(pattern) => json_schema!({ "type": "string", "pattern": pattern }),
            Value::Word(name, words) => {
                let first = words.first();
                json_schema!({ "$ref": place(name), "default": first })
            }
            Value::Choice(name, _) => json_schema!({ "$ref": place(name) }),
        }
    }

    /// Returns the type of the words with its name, so that generators of clients make one type.
    pub fn named(self) -> Option<(&'static str, Schema)> {
        match self {
            Value::Word(name, words) | Value::Choice(name, words) => {
                Some((name, json_schema!({ "type": "string", "enum": words })))
            }
            Value::Flag | Value::Number(_) | Value::Text(_) | Value::Form(_) => None,
        }
    }
}

fn place(name: &str) -> String {
    format!("#/components/schemas/{name}")
}

const fn query(name: &'static str, value: Value, description: &'static str) -> Parameter {
    Parameter { name, place: Place::Query, value, description }
}

const fn header(name: &'static str, value: Value, description: &'static str) -> Parameter {
    Parameter { name, place: Place::Header, value, description }
}

const TIMEOUT: Parameter = query(
    path::TIMEOUT_PARAMETER,
    Value::Number(0),
    "Milliseconds until the answer at the latest; 15000 if not given, 600000 at most.",
);
const CONSISTENCY: Parameter = query(
    path::CONSISTENCY_PARAMETER,
    Value::Word("Consistency", &["linearizable", "local"]),
    "`linearizable`: the answer contains every change that was acknowledged before. `local`: what \
     the answering node knows, also without a leader.",
);
const DRY_RUN: Parameter = query(
    path::DRY_RUN_PARAMETER,
    Value::Flag,
    "Answer with the effects, and change nothing. Requests without a dry run answer `X004`.",
);
const WAIT: Parameter = query(
    path::WAIT_PARAMETER,
    Value::Word("Wait", &["served", "committed"]),
    "`served`: the answer waits until every live node serves the change. `committed`: until the \
     change is committed.",
);
const REQUIRE_ALL: Parameter = query(
    path::REQUIRE_ALL_PARAMETER,
    Value::Flag,
    "Fail with `R011` if the change is not in use on every node. The change stays.",
);
const REASON: Parameter = query(
    path::REASON_PARAMETER,
    Value::Text(limits::REASON_BYTES_MAX),
    "Reason of the change, one line, for the history.",
);
const OPERATION: Parameter = header(
    "Idempotency-Key",
    Value::Form("^[A-Za-z0-9_-]{1,64}$"),
    "Id of the operation, best a UUID of version 7: a node then recognizes a late repetition. A \
     request that is repeated with the same id is done at most once.",
);
const VERSION: Parameter = header(
    "If-Match",
    Value::Form("^(\"[0-9]{1,19}\"|[0-9]{1,19})$"),
    "Expected version of the object, as `\"17\"`. The change fails with `V002` if the object has \
     another version. Domains that exist and the TLS settings have versions; for anything else the \
     answer is `X004`.",
);

const FIELDS: Parameter = query(
    path::FIELDS_PARAMETER,
    Value::Text(limits::FILTER_BYTES_MAX),
    "Only these members of the answer, or of each item of a list, with commas between them. Then \
     the answer does not have what is required otherwise.",
);
const MIN_INDEX: Parameter = header(
    "Conclave-Min-Index",
    Value::Number(0),
    "The answer contains everything up to this index: the `Conclave-Index` of an earlier answer, \
     of any node. The answer is `R005` if the node does not get there in time.",
);

/// Of reads that any node answers from its own knowledge.
pub const HERE: &[Parameter] = &[TIMEOUT, MIN_INDEX, FIELDS];
/// Of reads of State.
pub const READ: &[Parameter] = &[CONSISTENCY, TIMEOUT, MIN_INDEX, FIELDS];
/// Of reads of State whose answer is no JSON, or that make something new.
pub const READ_AND_MAKE: &[Parameter] = &[CONSISTENCY, TIMEOUT];
/// Of changes.
pub const CHANGE: &[Parameter] = &[DRY_RUN, WAIT, REQUIRE_ALL, TIMEOUT, REASON, OPERATION];
/// Of changes of what has a version.
pub const VERSIONED: &[Parameter] = &[VERSION];
/// Of changes that have no place in the history and only one effect, however often they are asked.
pub const ACT: &[Parameter] = &[TIMEOUT];
/// Of changes of that kind with a dry run.
pub const ACT_OR_TRY: &[Parameter] = &[DRY_RUN, TIMEOUT];
/// Of everything about domains.
pub const SCOPED: &[Parameter] = &[query(
    path::SCOPE_PARAMETER,
    Value::Choice("Scope", &["shared", "local"]),
    "Scope of the domain. If not given, the shared domain of that name if it exists, otherwise the \
     local one.",
)];
/// Of what is about one of the keys of a domain.
pub const OF_KEY: &[Parameter] = &[query(
    path::FAMILY_PARAMETER,
    Value::Choice("KeyFamily", &["ec", "rsa"]),
    "Family of the key, if the domain has two.",
)];
/// Of signing requests.
pub const PENDING: &[Parameter] = &[query(
    path::PENDING_PARAMETER,
    Value::Flag,
    "Make the request for the key that waits for its certificate.",
)];
/// Of changes that add something.
pub const ADDS: &[Parameter] = &[query(
    path::IF_MISSING_PARAMETER,
    Value::Flag,
    "Adding what exists already is no error, and changes nothing.",
)];
/// Of changes that remove something.
pub const REMOVES: &[Parameter] = &[query(
    path::IF_EXISTS_PARAMETER,
    Value::Flag,
    "Removing what does not exist is no error, and changes nothing.",
)];
/// Of lists of trusted certificates.
pub const OWN: &[Parameter] =
    &[query(path::OWN_PARAMETER, Value::Flag, "Leave out what the set inherits.")];
/// Of lists, which can be had in pages.
pub const PAGE: &[Parameter] = &[
    query(
        path::LIMIT_PARAMETER,
        Value::Number(1),
        "Page size, 1000 at most. If not given, it is 1000 for domains and the audit trail, and \
         other lists are whole.",
    ),
    query(
        path::AFTER_PARAMETER,
        Value::Text(limits::AFTER_BYTES_MAX),
        "Begin after the page that gave this value as `next`.",
    ),
];
/// Of the list of domains.
pub const CHOSEN: &[Parameter] = &[
    query(
        "search",
        Value::Text(limits::FILTER_BYTES_MAX),
        "Only domains with a name or an alias that contains this.",
    ),
    query(
        "state",
        Value::Choice("DomainState", &["valid", "expiring", "problem", "test", "disabled"]),
        "Only domains that are like this, as far as the node has checked them. The counts of a \
         status say the same.",
    ),
    query(
        "sort",
        Value::Word("DomainOrder", &["name", "expiry"]),
        "`name`: by name. `expiry`: those whose certificate ends first; those without one are the \
         last.",
    ),
];
/// Of the list of the audit trail.
pub const AUDIT: &[Parameter] = &[
    query(
        "who",
        Value::Text(limits::FILTER_BYTES_MAX),
        "Only entries by this principal: `user alice`, or the name alone.",
    ),
    query(
        "event",
        Value::Text(limits::FILTER_BYTES_MAX),
        "Only this event, or all of this noun: `domain`.",
    ),
    query("object", Value::Text(limits::FILTER_BYTES_MAX), "Only entries about this object."),
    query(
        "result",
        Value::Choice("AuditResult", &["done", "denied", "failed"]),
        "Only what ended in this way.",
    ),
];
/// Of the stream of events.
pub const EVENTS: &[Parameter] = &[
    query(
        path::AFTER_PARAMETER,
        Value::Form("^[0-9]{1,20}(\\.[0-9]{1,20})?$"),
        "Begin behind this position: the `id` of an event, or the `Conclave-Index` of an answer. If \
         not given, the stream begins with what changes next.",
    ),
    query(
        path::KIND_PARAMETER,
        Value::Text(limits::FILTER_BYTES_MAX),
        "Only events of these kinds, with commas between them.",
    ),
    header(
        "Last-Event-ID",
        Value::Form("^[0-9]{1,20}(\\.[0-9]{1,20})?$"),
        "The `id` of the last event that was read: the stream goes on behind it. It counts before \
         `after`.",
    ),
];
