//! Route for the events: what changes, as it changes.

use std::{collections::BTreeSet, convert::Infallible, time::Duration};

use axum::response::sse::{Event as Message, KeepAlive, Sse};
use conclave_api::{
    event::{Event, EventKind, Position},
    problem::{Code, Problem},
};
use futures::{Stream, stream::unfold};

use crate::{
    admin::{asked::Asked, problem::Failed},
    operate::Following,
};

/// Pause after which something is sent if there is no event, so that both sides notice a lost
/// connection, and what is between them does not end it.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Name of the last message of a stream that the node ends.
const PROBLEM: &str = "problem";

pub(super) async fn follow(
    asked: Asked,
) -> Result<Sse<impl Stream<Item = Result<Message, Infallible>>>, Failed> {
    let from = asked.last_event.as_deref().or(asked.page.after.as_deref());
    let from = from.map(|text| Position::parse(text).ok_or_else(|| no_position(text)));
    let kinds = kinds(asked.kinds.as_deref().unwrap_or_default())?;
    let following = asked.operator.follow(kinds, from.transpose()?).await?;
    Ok(Sse::new(unfold(Some(following), next)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

type Next = (Result<Message, Infallible>, Option<Following>);

async fn next(following: Option<Following>) -> Option<Next> {
    let mut following = following?;
    let (made, rest) = match following.next().await {
        Ok(event) => (message(&event), Some(following)),
        Err(problem) => (Message::default().event(PROBLEM).json_data(problem), None),
    };
    // Text and numbers only: it always serializes.
    Some((Ok(made.unwrap_or_default()), rest))
}

fn message(event: &Event) -> Result<Message, axum::Error> {
    let message = Message::default().event(event.kind.as_str());
    match &event.position {
        Some(position) => message.id(position),
        None => message,
    }
    .json_data(event)
}

fn no_position(text: &str) -> Problem {
    Problem::new(Code::Malformed, format!("{text:?} is not a position of an event"))
        .hint("give the id of an event, or the Conclave-Index of an answer")
}

fn kinds(text: &str) -> Result<BTreeSet<EventKind>, Problem> {
    let words = text.split(',').filter(|word| !word.is_empty());
    let kind = |word: &str| word.parse().map_err(|no: String| Problem::new(Code::Malformed, no));
    words.map(kind).collect()
}
