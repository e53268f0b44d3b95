//! The parameter `fields`: only the wanted members of an answer, or of each item of a list.

use axum::{
    body::{Body, to_bytes},
    extract::Query,
    http::{Method, Uri, header::CONTENT_LENGTH},
    response::{IntoResponse, Response},
};
use conclave_api::{
    limits::FILTER_BYTES_MAX,
    operation::{Answer, find},
    path::FIELDS_PARAMETER,
    problem::{Code, Problem},
};
use conclave_cluster::fault::internal;
use serde_json::{Map, Value};

use super::problem::Failed;

/// The members that a caller wants.
pub(super) struct Fields {
    wanted: Vec<String>,
    is_list: bool,
}

impl Fields {
    /// Reads the parameter; `None` if it is not given. Refuses members that no answer of this
    /// operation has: a mistyped one would else look like a value that is not set.
    pub(super) fn read(
        method: &Method,
        uri: &Uri,
        matched: &str,
    ) -> Result<Option<Fields>, Problem> {
        // What cannot be read is refused later, with all parameters.
        let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
            return Ok(None);
        };
        let given = pairs.into_iter().find(|(name, _)| name == FIELDS_PARAMETER);
        let Some((_, text)) = given else { return Ok(None) };
        let malformed = |title: &str| Problem::new(Code::Malformed, title);
        if text.len() > FILTER_BYTES_MAX {
            return Err(malformed("fields is too long"));
        }
        // The answer to HEAD is that to GET without its body.
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        let operation = find("GET", matched).filter(|_| is_read);
        let members = operation.and_then(|operation| operation.members());
        let (Some(operation), Some(members)) = (operation, members) else {
            return Err(malformed("fields is for reads whose answer is an object or a list"));
        };
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let wanted: Vec<String> = words.map(str::to_owned).collect();
        let wrong = wanted.iter().find(|word| !members.contains(*word));
        if wanted.is_empty() || wrong.is_some() {
            let wrong = wrong.map_or("", String::as_str);
            let known: Vec<&str> = members.iter().map(String::as_str).collect();
            return Err(malformed(&format!("{wrong:?} is not a member of this answer"))
                .hint(format!("fields=NAME,NAME with names among {}", known.join(" "))));
        }
        Ok(Some(Fields { wanted, is_list: matches!(operation.answer, Answer::List(_)) }))
    }

    /// Leaves in an answer what is wanted. Does not change one that tells of a failure.
    pub(super) async fn choose(&self, answer: Response) -> Response {
        if !answer.status().is_success() {
            return answer;
        }
        match self.chosen(answer).await {
            Ok(answer) => answer,
            Err(problem) => Failed::from(problem).into_response(),
        }
    }

    async fn chosen(&self, answer: Response) -> Result<Response, Problem> {
        let (mut head, body) = answer.into_parts();
        // It is in memory already: the route has made it as a whole.
        let body = to_bytes(body, usize::MAX).await.map_err(|error| internal("fields", error))?;
        if body.is_empty() {
            return Ok(Response::from_parts(head, Body::empty()));
        }
        let mut value: Value =
            serde_json::from_slice(&body).map_err(|error| internal("fields", error))?;
        match value.get_mut("items") {
            Some(Value::Array(items)) if self.is_list => {
                items.iter_mut().filter_map(Value::as_object_mut).for_each(|item| self.keep(item));
            }
            _ => {
                if let Value::Object(object) = &mut value {
                    self.keep(object);
                }
            }
        }
        head.headers.remove(CONTENT_LENGTH);
        Ok(Response::from_parts(head, Body::from(value.to_string())))
    }

    fn keep(&self, object: &mut Map<String, Value>) {
        object.retain(|name, _| self.wanted.iter().any(|wanted| wanted == name));
    }
}
