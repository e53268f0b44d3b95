//! Requests, repeated as long as a retry is safe and useful.

mod events;
mod stream;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use conclave_api::{
    path::{
        IF_EXISTS_PARAMETER, IF_MATCH_HEADER, IF_MISSING_PARAMETER, OPERATION_HEADER,
        OWN_PARAMETER, PENDING_PARAMETER,
    },
    problem::{Code, Problem},
};
use reqwest::{Method, RequestBuilder};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::ServerName;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

pub use events::Following;
pub use stream::Download;

use crate::{AccessToken, Address, Failure, trust};

/// Pauses between tries. Short at first, because an election takes half a second.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(1000);
/// Shortest time for one node while others have not been tried.
const SHARE_MIN: Duration = Duration::from_millis(500);
/// Extra time of the client beyond the node's own timeout.
const GRACE: Duration = Duration::from_millis(500);

/// Scope of what belongs to one node.
const LOCAL: &str = "local";

/// Options of all requests of a client.
#[derive(Debug, Clone)]
pub struct Options {
    /// Longest time for one command, retries included.
    pub timeout: Duration,
    /// Accept the node's own state, without asking the leader.
    pub is_stale: bool,
    /// Scope, `shared` or `local`, if only one is meant.
    pub scope: Option<String>,
    /// Family of the key, `ec` or `rsa`, if the domain has two.
    pub family: Option<String>,
    /// Mean the key that waits for its certificate, in signing requests.
    pub is_pending: bool,
    /// Name or address that the certificate of the node must be for, instead of the one asked.
    pub node_name: Option<String>,
}

impl Default for Options {
    fn default() -> Options {
        let timeout = Duration::from_secs(15);
        Options {
            timeout,
            is_stale: false,
            scope: None,
            family: None,
            is_pending: false,
            node_name: None,
        }
    }
}

/// Options of a change.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Id of the operation; a new one if not given.
    pub operation: Option<String>,
    /// Wait for the commit only, not for the nodes.
    pub is_committed_enough: bool,
    /// Expected version.
    pub if_version: Option<u64>,
    /// Reason, for the history.
    pub reason: Option<String>,
    /// Only report the effects.
    pub is_dry_run: bool,
    /// Fail if the change is not in use on every node.
    pub is_all_required: bool,
    /// Adding what exists already is no error.
    pub is_if_missing: bool,
    /// Removing what does not exist is no error.
    pub is_if_exists: bool,
}

/// A node, and the way to it.
struct Target {
    http: reqwest::Client,
    base: String,
    address: Address,
}

/// A client of one node, or of any of several nodes, for any number of requests.
#[derive(Clone)]
pub struct Client {
    targets: Arc<[Target]>,
    /// Number of turns from one node to the next so far.
    turns: Arc<AtomicUsize>,
    /// Place of the only node that is asked.
    pinned: Option<usize>,
    bearer: Option<String>,
    /// Whether an account's owner asks, at a domain and not at a node.
    is_of_owner: bool,
    options: Options,
}

/// Returns whether the error means no answer from a node.
fn is_silence(code: Code) -> bool {
    matches!(code, Code::NodeUnreachable | Code::NotAllowed)
}

fn failure(problem: Problem) -> Failure {
    Box::new(problem)
}

/// Returns a new operation id, a UUID of version 7 (RFC 9562 §5.7). By its time a node
/// distinguishes a late retry from a first try.
pub(crate) fn new_operation() -> String {
    let mut bytes = [0u8; 16];
    // Without randomness the id may not be unique. The node then refuses another request under it.
    let _ = SystemRandom::new().fill(&mut bytes);
    let since = now().duration_since(std::time::UNIX_EPOCH);
    let made_ms = since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
    let [.., version, _, variant, _, _, _, _, _, _, _] = &mut bytes;
    *version = 0x70 | *version & 0x0f;
    *variant = 0x80 | *variant & 0x3f;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let [_, _, _, _, _, _, random @ ..] = bytes;
    let (time, random) = (format!("{:012x}", made_ms & 0xffff_ffff_ffff), hex(&random));
    let (high, low) = time.split_at(8);
    let (version, rest) = random.split_at(4);
    let (variant, node) = rest.split_at(4);
    format!("{high}-{low}-{version}-{variant}-{node}")
}

#[expect(clippy::disallowed_methods, reason = "an operation id tells when it was made")]
fn now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

impl Client {
    /// Prepares requests to the node at `address`. Sends nothing yet.
    pub fn new(
        address: &Address,
        token: Option<&AccessToken>,
        options: Options,
    ) -> Result<Client, Failure> {
        Client::among(vec![address.clone()], token, options)
    }

    /// Prepares requests to any of these nodes. The next one is asked if one does not answer. That
    /// is safe for changes too, because every try has the same operation id.
    pub fn among(
        addresses: Vec<Address>,
        token: Option<&AccessToken>,
        options: Options,
    ) -> Result<Client, Failure> {
        let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        // A host that is switched off must leave time for the others.
        let connect = (count > 1).then(|| options.timeout / count.saturating_add(1));
        let node_name = options.node_name.as_deref().map(node_name).transpose()?;
        let targets = addresses
            .into_iter()
            .map(|address| Target::new(address, token, (connect, node_name.clone())));
        Ok(Client {
            targets: targets.collect::<Result<_, _>>()?,
            turns: Arc::default(),
            pinned: None,
            is_of_owner: token.is_some_and(|token| token.authority.is_none()),
            bearer: token.map(|token| token.bearer.clone()).filter(|bearer| !bearer.is_empty()),
            options,
        })
    }

    /// Refuses several addresses for a command that is about one node.
    pub fn for_one_node(&self) -> Result<&Client, Failure> {
        if self.is_for_one() {
            return Ok(self);
        }
        let title =
            format!("this is done on one node, but {} addresses are given", self.targets.len());
        let hint = "--address of the node that should do it";
        Err(failure(Problem::new(Code::Malformed, title).hint(hint)))
    }

    fn is_for_one(&self) -> bool {
        self.targets.len() == 1 || self.pinned.is_some()
    }

    /// Returns the same client for the node that answered last, and for no other one.
    #[must_use]
    pub fn pinned(&self) -> Client {
        let turn = self.turns.load(Ordering::Relaxed);
        let mut client = self.clone();
        client.pinned = client.pinned.or_else(|| turn.checked_rem(self.targets.len()));
        client
    }

    fn target(&self, turn: usize) -> Option<&Target> {
        let place = self.pinned.or_else(|| turn.checked_rem(self.targets.len()))?;
        self.targets.get(place)
    }

    /// Turns to the next node.
    fn turn_on(&self) {
        self.turn_from(self.turns.load(Ordering::Relaxed));
    }

    /// Turns to the next node. Other requests may have met the same silence and turned already.
    fn turn_from(&self, turn: usize) -> usize {
        let next = turn.wrapping_add(1);
        let order = Ordering::Relaxed;
        let _ = self.turns.compare_exchange(turn, next, order, order);
        next
    }

    /// Returns the same client for the key of one family.
    #[must_use]
    pub fn with_family(&self, family: Option<String>) -> Client {
        let mut client = self.clone();
        client.options.family = family;
        client
    }

    /// Returns the same client for a domain of one scope, or of either.
    #[must_use]
    pub fn with_scope(&self, scope: Option<String>) -> Client {
        let mut client = self.clone();
        client.options.scope = scope;
        client
    }

    /// Returns the same client for reading what the asked node knows, without a quorum.
    #[must_use]
    pub fn with_stale(&self) -> Client {
        let mut client = self.clone();
        client.options.is_stale = true;
        client
    }

    /// Returns the same client for signing requests of the pending key.
    #[must_use]
    pub fn with_pending(&self) -> Client {
        let mut client = self.clone();
        client.options.is_pending = true;
        client
    }

    pub(crate) async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.read_with(path, self.query()).await
    }

    /// Reads a list without inherited entries.
    pub(crate) async fn read_own<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let mut query = self.query();
        query.push((OWN_PARAMETER, "true".to_owned()));
        self.read_with(path, query).await
    }

    pub(crate) async fn read_with<T: DeserializeOwned>(
        &self,
        path: &str,
        mut query: Vec<(&'static str, String)>,
    ) -> Result<T, Failure> {
        if self.options.is_stale {
            query.push(("consistency", "local".to_owned()));
        }
        query.push(("timeout_ms", self.options.timeout.as_millis().to_string()));
        self.send(None, |target| target.request(Method::GET, path).query(&query)).await
    }

    pub(crate) async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
        change: &Change,
    ) -> Result<T, Failure> {
        // What is local differs from node to node, and another node does not know the operation.
        if self.options.scope.as_deref() == Some(LOCAL) {
            self.for_one_node()?;
        }
        let mut query = self.query();
        let wait = if change.is_committed_enough { "committed" } else { "served" };
        query.push(("wait", wait.to_owned()));
        let timeout_ms = self.options.timeout.as_millis().to_string();
        query.push(("timeout_ms", timeout_ms));
        if let Some(reason) = &change.reason {
            query.push(("reason", reason.clone()));
        }
        if change.is_dry_run {
            query.push(("dry_run", "true".to_owned()));
        }
        if change.is_all_required {
            query.push(("require_all", "true".to_owned()));
        }
        for (name, is_on) in [
            (IF_MISSING_PARAMETER, change.is_if_missing),
            (IF_EXISTS_PARAMETER, change.is_if_exists),
        ] {
            query.extend(is_on.then(|| (name, "true".to_owned())));
        }
        // Every try has the same id, so that a change whose answer was lost is not done twice.
        let operation = change.operation.clone().unwrap_or_else(new_operation);
        let if_version = change.if_version.map(|version| format!("\"{version}\""));
        self.send(Some(&operation), |target| {
            let request = target.request(method.clone(), path).query(&query).json(body);
            let request = request.header(OPERATION_HEADER, &operation);
            match &if_version {
                Some(version) => request.header(IF_MATCH_HEADER, version),
                None => request,
            }
        })
        .await
    }

    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        let scope = self.options.scope.iter().map(|scope| ("scope", scope.clone()));
        let family = self.options.family.iter().map(|family| ("family", family.clone()));
        let pending = self.options.is_pending.then(|| (PENDING_PARAMETER, "true".to_owned()));
        scope.chain(family).chain(pending).collect()
    }

    /// Sends a request until a node has answered it or the time is over.
    async fn send<T: DeserializeOwned>(
        &self,
        operation: Option<&str>,
        request: impl Fn(&Target) -> RequestBuilder,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + self.options.timeout;
        let mut pause = PAUSE_MIN;
        let (mut may_be_done, mut may_help) = (false, false);
        // Nodes that this request has not been sent to yet.
        let mut untried = if self.is_for_one() { 0 } else { self.targets.len().saturating_sub(1) };
        let mut turn = self.turns.load(Ordering::Relaxed);
        loop {
            let target = self.target(turn).ok_or_else(|| {
                failure(Problem::new(Code::NodeUnreachable, "no address of a node is given"))
            })?;
            let left = deadline.saturating_duration_since(Instant::now());
            let tried = self.attempt(target, &request, self.share_of(left, untried)).await;
            let mut tried = match tried {
                Ok(answer) => return Ok(answer),
                Err(tried) => tried,
            };
            if operation.is_none() && tried.problem.code == Code::OutcomeUnknown {
                // A read changes nothing, so its outcome is not unknown.
                let title = format!("{} gives no answer in time", self.names());
                *tried.problem = Problem::new(Code::NoLeader, title)
                    .hint("repeat, or read what the node knows with --stale");
            }
            may_be_done |= tried.may_be_done && operation.is_some();
            may_help |= tried.is_worth_repeating;
            let left = deadline.saturating_duration_since(Instant::now());
            if tried.is_for_another {
                if !self.is_for_one() {
                    turn = self.turn_from(turn);
                }
                if untried > 0 && !left.is_zero() {
                    untried -= 1;
                    continue;
                }
            }
            let is_worth_repeating = tried.is_worth_repeating || tried.is_for_another && may_help;
            if !is_worth_repeating || left <= pause {
                return Err(self.given_up(tried, may_be_done, operation));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Returns the time for one try, so that enough is left for the nodes that were not tried yet.
    fn share_of(&self, left: Duration, untried: usize) -> Duration {
        match u32::try_from(untried) {
            Ok(0) | Err(_) => left + GRACE,
            Ok(untried) => (left / (untried.saturating_add(1))).max(SHARE_MIN).min(left + GRACE),
        }
    }

    /// Returns the error after the last try.
    fn given_up(&self, tried: Attempt, may_be_done: bool, operation: Option<&str>) -> Failure {
        let mut problem = tried.problem;
        // Only a node's answer to the same operation settles an earlier try. If no node answers
        // any longer, the outcome stays unknown.
        let settles = !tried.is_worth_repeating && !is_silence(problem.code);
        if may_be_done && problem.code != Code::OutcomeUnknown && !settles {
            *problem = self.unknown();
        }
        if problem.code == Code::NodeUnreachable && !self.is_for_one() {
            problem.title = format!("no node answers at {}", self.names());
        }
        if let (Code::OutcomeUnknown, Some(operation)) = (problem.code, operation) {
            problem.operation = Some(operation.to_owned());
            problem.hint =
                Some(format!("repeat with --operation {operation}: it will not be done twice"));
        }
        problem
    }

    /// Returns the addresses as they are shown.
    fn names(&self) -> String {
        let asked = self.targets.iter().enumerate();
        let asked = asked.filter(|(place, _)| self.pinned.is_none_or(|pinned| pinned == *place));
        let names: Vec<String> = asked.map(|(_, target)| target.address.to_string()).collect();
        names.join(", ")
    }

    fn unknown(&self) -> Problem {
        let seconds = self.options.timeout.as_secs();
        let title = format!("no answer after {seconds} s; the change may have been made");
        Problem::new(Code::OutcomeUnknown, title)
    }

    async fn attempt<T: DeserializeOwned>(
        &self,
        target: &Target,
        request: impl Fn(&Target) -> RequestBuilder,
        limit: Duration,
    ) -> Result<T, Attempt> {
        let mut request = request(target).timeout(limit);
        if let Some(bearer) = &self.bearer {
            request = request.bearer_auth(bearer);
        }
        let transport = |error: &reqwest::Error| self.transport(target, error);
        let response = request.send().await.map_err(|error| transport(&error))?;
        let is_success = response.status().is_success();
        let status = response.status();
        let body = response.bytes().await.map_err(|error| transport(&error))?;
        let unreadable = |what: String| Attempt {
            problem: failure(
                Problem::new(Code::Internal, "the node's answer cannot be read").detail(what),
            ),
            is_worth_repeating: false,
            is_for_another: false,
            may_be_done: true,
        };
        if is_success {
            return serde_json::from_slice(&body).map_err(|error| unreadable(error.to_string()));
        }
        let problem: Problem =
            serde_json::from_slice(&body).map_err(|_| unreadable(format!("status {status}")))?;
        let may_be_done = problem.code == Code::OutcomeUnknown;
        // A retry does not help a node that waits for a cluster or for its unlock key. An unknown
        // outcome is retried under the same operation id, so the change is not done twice.
        let is_worth_repeating =
            matches!(problem.code, Code::NoQuorum | Code::NoLeader | Code::OutcomeUnknown);
        // A sealed node, and one outside the cluster, have done nothing, and another can do it.
        let is_for_another = matches!(problem.code, Code::Sealed | Code::NoCluster);
        Err(Attempt { problem: failure(problem), is_worth_repeating, is_for_another, may_be_done })
    }

    fn transport(&self, target: &Target, error: &reqwest::Error) -> Attempt {
        let address = &target.address;
        let cause = deepest(error);
        let io = io_kind(error);
        if io == Some(std::io::ErrorKind::PermissionDenied) {
            let problem = Problem::new(Code::NotAllowed, format!("{address}: permission denied"))
                .hint(address.way_in());
            return Attempt {
                problem: failure(problem),
                is_worth_repeating: false,
                is_for_another: true,
                may_be_done: false,
            };
        }
        if error.is_timeout() && !error.is_connect() {
            return Attempt {
                problem: failure(self.unknown()),
                is_worth_repeating: true,
                is_for_another: true,
                may_be_done: true,
            };
        }
        let is_of_owner = self.is_of_owner;
        if let Some(problem) = trust::refusal(error, &address.to_string(), is_of_owner) {
            return Attempt {
                problem: failure(problem),
                is_worth_repeating: false,
                is_for_another: true,
                may_be_done: false,
            };
        }
        let problem = Problem::new(Code::NodeUnreachable, format!("no node answers at {address}"))
            .detail(cause)
            .hint("conclave server run --config FILE    or name another node with --address");
        let is_missing = io == Some(std::io::ErrorKind::NotFound);
        Attempt {
            problem: failure(problem),
            is_worth_repeating: !is_missing,
            is_for_another: true,
            may_be_done: !error.is_connect(),
        }
    }
}

/// A try without success.
struct Attempt {
    problem: Failure,
    is_worth_repeating: bool,
    /// Whether another node may do better at once.
    is_for_another: bool,
    may_be_done: bool,
}

impl Target {
    fn new(
        address: Address,
        token: Option<&AccessToken>,
        (connect, node_name): (Option<Duration>, Option<ServerName<'static>>),
    ) -> Result<Target, Failure> {
        let unusable = |error: String| {
            failure(
                Problem::new(Code::NodeUnreachable, "cannot prepare a connection").detail(error),
            )
        };
        let mut builder = reqwest::Client::builder().no_proxy();
        if let Some(connect) = connect {
            builder = builder.connect_timeout(connect);
        }
        let (builder, base) = match &address {
            // A socket needs no TLS, but the builder needs a configuration.
            Address::Unix(path) => {
                let tls = trust::config(Some([0; 32]), None, None)
                    .map_err(|error| unusable(error.to_string()))?;
                let builder = builder.tls_backend_preconfigured(tls);
                (builder.unix_socket(path.clone()), "http://conclave".to_owned())
            }
            Address::Https(url) => {
                let token = token.ok_or_else(|| {
                    failure(Problem::new(Code::NotLoggedIn, format!("{url} needs a token")).hint(
                        "--token-file FILE; on a member: conclave token create NAME --role ROLE",
                    ))
                })?;
                let tls = trust::config(token.authority, node_name, token.identity.as_deref())
                    .map_err(|error| unusable(error.to_string()))?;
                (builder.tls_backend_preconfigured(tls).https_only(true), url.clone())
            }
        };
        let http = builder.build().map_err(|error| unusable(error.to_string()))?;
        Ok(Target { http, base, address })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }
}

fn node_name(text: &str) -> Result<ServerName<'static>, Failure> {
    ServerName::try_from(text.to_owned()).map_err(|_| {
        let title = format!("--node-name {text:?} is neither a name nor an address");
        failure(Problem::new(Code::Malformed, title))
    })
}

fn io_kind(error: &reqwest::Error) -> Option<std::io::ErrorKind> {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(found) = cause {
        if let Some(io) = found.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        cause = found.source();
    }
    None
}

fn deepest(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}
