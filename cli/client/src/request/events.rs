//! The stream of events (server-sent events, WHATWG HTML §9.2), followed from node to node.

use std::{collections::BTreeMap, time::Duration};

use conclave_api::{
    event::{Event, EventKind, PROBLEM},
    limits::EVENTS_SILENCE_S,
    path::{AFTER_PARAMETER, EVENTS, KIND_PARAMETER},
    problem::{Code, Problem},
};
use reqwest::Method;
use tokio::time::{Instant, sleep, timeout};

use super::{Client, GRACE, PAUSE_MAX, PAUSE_MIN, Target, failure};
use crate::Failure;

/// Longest silence of a node.
const SILENCE_MAX: Duration = Duration::from_secs(3 * EVENTS_SILENCE_S);
/// Longest line of a stream, in bytes.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Follows events. When a node ends its stream or falls silent, the next one goes on behind the last
/// event.
pub struct Following {
    client: Client,
    kinds: Vec<EventKind>,
    position: Option<String>,
    open: Option<Messages>,
    /// What the last stream observed, by kind and object: the next one begins with it again.
    observed: BTreeMap<(&'static str, String), Option<String>>,
}

/// The messages of one stream.
struct Messages {
    response: reqwest::Response,
    bytes: Vec<u8>,
}

/// A message: its name, its data, and the position behind it.
#[derive(Default)]
struct Message {
    event: String,
    data: String,
    position: Option<String>,
}

impl Following {
    /// Waits for the next event. Fails when no node has a stream within the time of a request, or
    /// when the events behind the last one are not kept any longer.
    pub async fn next(&mut self) -> Result<Event, Failure> {
        let mut pause = PAUSE_MIN;
        loop {
            let mut messages = match self.open.take() {
                Some(messages) => messages,
                None => self.connect().await?,
            };
            let Some(message) = messages.next().await else {
                // What broke is followed at another node. One whose streams end at once is not asked
                // again and again.
                self.client.turn_on();
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
                continue;
            };
            if message.event == PROBLEM {
                let problem: Problem = read(&message.data)?;
                if !is_for_another(&problem) {
                    return Err(failure(problem));
                }
                // The stream ends now.
                self.open = Some(messages);
                continue;
            }
            self.open = Some(messages);
            if message.position.is_some() {
                self.position = message.position;
            }
            // A message without data tells the position, and one of a later version may be of a kind
            // that is not known here.
            if message.data.is_empty() || message.event.parse::<EventKind>().is_err() {
                continue;
            }
            let mut event: Event = read(&message.data)?;
            if event.position.is_some() || self.is_new(&mut event) {
                return Ok(event);
            }
        }
    }

    /// Returns whether an observation tells something new, and sets what was before.
    fn is_new(&mut self, event: &mut Event) -> bool {
        let Some(one) = event.differences.first_mut() else { return true };
        let object =
            if event.kind == EventKind::Leader { String::new() } else { event.object.clone() };
        let known = self.observed.insert((event.kind.as_str(), object), one.after.clone());
        let is_same = known.as_ref() == Some(&one.after);
        one.before = known.flatten();
        !is_same
    }

    /// Opens a stream at a node that has one. Each node is asked once before one is asked again.
    async fn connect(&self) -> Result<Messages, Failure> {
        let client = &self.client;
        let deadline = Instant::now() + client.options.timeout;
        let mut untried = if client.is_for_one() { 0 } else { client.targets.len() - 1 };
        let mut pause = PAUSE_MIN;
        loop {
            let turn = client.turns.load(super::Ordering::Relaxed);
            let target = client.target(turn).ok_or_else(|| {
                failure(Problem::new(Code::NodeUnreachable, "no address of a node is given"))
            })?;
            let left = deadline.saturating_duration_since(Instant::now());
            let failed = match self.ask(target, client.share_of(left, untried)).await {
                Ok(messages) => return Ok(messages),
                Err(failed) => failed,
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if !is_for_another(&failed) || untried == 0 && left <= pause {
                return Err(failed);
            }
            client.turn_from(turn);
            if untried > 0 {
                untried -= 1;
                continue;
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn ask(&self, target: &Target, limit: Duration) -> Result<Messages, Failure> {
        let mut query = self.client.query();
        query.push(("timeout_ms", limit.as_millis().to_string()));
        query.extend(self.position.clone().map(|position| (AFTER_PARAMETER, position)));
        if !self.kinds.is_empty() {
            let kinds: Vec<&str> = self.kinds.iter().map(|kind| kind.as_str()).collect();
            query.push((KIND_PARAMETER, kinds.join(",")));
        }
        let request = target.request(Method::GET, EVENTS).query(&query);
        let request = match &self.client.bearer {
            Some(bearer) => request.bearer_auth(bearer),
            None => request,
        };
        let transport = |error: &reqwest::Error| self.client.transport(target, error).problem;
        let asking = async {
            let response = request.send().await.map_err(|error| transport(&error))?;
            if response.status().is_success() {
                return Ok(Messages { response, bytes: Vec::new() });
            }
            let body = response.bytes().await.map_err(|error| transport(&error))?;
            Err(failure(serde_json::from_slice(&body).map_err(|error| unreadable(&error))?))
        };
        timeout(limit + GRACE, asking).await.unwrap_or_else(|_| {
            let title = format!("{} gives no answer in time", target.address);
            Err(failure(Problem::new(Code::NodeUnreachable, title)))
        })
    }
}

impl Messages {
    /// Returns the next message; `None` when the stream has ended, broken or fallen silent.
    async fn next(&mut self) -> Option<Message> {
        let mut message = Message::default();
        loop {
            let line = self.line().await?;
            if line.is_empty() && (message.position.is_some() || !message.data.is_empty()) {
                return Some(message);
            }
            // A colon begins a comment, and stands between a name and its value.
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "event" => value.clone_into(&mut message.event),
                "data" => message.data.push_str(value),
                "id" => message.position = Some(value.to_owned()),
                _ => {}
            }
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                return Some(line.trim_end_matches(['\r', '\n']).to_owned());
            }
            if self.bytes.len() > LINE_BYTES_MAX {
                return None;
            }
            let piece = timeout(SILENCE_MAX, self.response.chunk()).await.ok()?;
            self.bytes.extend_from_slice(&piece.ok()??);
        }
    }
}

impl Client {
    /// Follows the events of these kinds, or of all, behind a position; without one, from now on.
    pub async fn events(
        &self,
        kinds: &[EventKind],
        after: Option<&str>,
    ) -> Result<Following, Failure> {
        // What is local differs from node to node, and so do its positions.
        if self.options.scope.as_deref() == Some(super::LOCAL) {
            self.for_one_node()?;
        }
        let mut following = Following {
            client: self.clone(),
            kinds: kinds.to_vec(),
            position: after.map(str::to_owned),
            open: None,
            observed: BTreeMap::new(),
        };
        following.open = Some(following.connect().await?);
        Ok(following)
    }
}

/// Returns whether another node, or the same one later, may have a stream.
fn is_for_another(problem: &Problem) -> bool {
    problem.retryable || matches!(problem.code, Code::NoCluster | Code::LimitReached)
}

fn read<T: serde::de::DeserializeOwned>(data: &str) -> Result<T, Failure> {
    serde_json::from_str(data).map_err(|error| unreadable(&error))
}

fn unreadable(error: &serde_json::Error) -> Failure {
    let title = "the node's answer cannot be read";
    failure(Problem::new(Code::Internal, title).detail(error.to_string()))
}
