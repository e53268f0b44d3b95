//! Requests, repeated as long as a retry is safe and useful.

use std::time::Duration;

use conclave_api::{
    path::{AFTER_PARAMETER, IF_MATCH_HEADER, OPERATION_HEADER},
    problem::{Code, Problem},
};
use reqwest::Method;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use crate::{AccessToken, Address, Failure, trust};

/// Pauses between tries. Short at first, because an election takes half a second.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(1000);
/// Extra time of the client beyond the node's own timeout.
const GRACE: Duration = Duration::from_millis(500);

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
}

impl Default for Options {
    fn default() -> Options {
        Options { timeout: Duration::from_secs(15), is_stale: false, scope: None, family: None }
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
}

/// A client of one node, for any number of requests.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    address: Address,
    bearer: Option<String>,
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
        let unusable = |error: String| {
            failure(
                Problem::new(Code::NodeUnreachable, "cannot prepare a connection").detail(error),
            )
        };
        let builder = reqwest::Client::builder().no_proxy();
        let (builder, base) = match address {
            // A socket needs no TLS, but the builder needs a configuration.
            Address::Unix(path) => {
                let tls = trust::config([0; 32]).map_err(|error| unusable(error.to_string()))?;
                let builder = builder.tls_backend_preconfigured(tls);
                (builder.unix_socket(path.clone()), "http://conclave".to_owned())
            }
            Address::Https(url) => {
                let token = token.ok_or_else(|| {
                    failure(
                        Problem::new(Code::NotLoggedIn, format!("{url} needs a token"))
                            .hint("--token-file FILE; on a member: conclave token create NAME"),
                    )
                })?;
                let tls =
                    trust::config(token.authority).map_err(|error| unusable(error.to_string()))?;
                (builder.tls_backend_preconfigured(tls).https_only(true), url.clone())
            }
        };
        Ok(Client {
            http: builder.build().map_err(|error| unusable(error.to_string()))?,
            base,
            address: address.clone(),
            bearer: token.map(|token| token.bearer.clone()),
            options,
        })
    }

    /// Returns the same client for the key of one family.
    #[must_use]
    pub fn with_family(&self, family: Option<String>) -> Client {
        let mut client = self.clone();
        client.options.family = family;
        client
    }

    pub(crate) async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.read_with(path, self.query()).await
    }

    /// Reads the next page of a long list.
    pub(crate) async fn read_after<T: DeserializeOwned>(
        &self,
        path: &str,
        after: &str,
    ) -> Result<T, Failure> {
        let mut query = self.query();
        query.push((AFTER_PARAMETER, after.to_owned()));
        self.read_with(path, query).await
    }

    async fn read_with<T: DeserializeOwned>(
        &self,
        path: &str,
        mut query: Vec<(&'static str, String)>,
    ) -> Result<T, Failure> {
        if self.options.is_stale {
            query.push(("consistency", "local".to_owned()));
        }
        query.push(("timeout_ms", self.options.timeout.as_millis().to_string()));
        let request = self.http.request(Method::GET, self.url(path)).query(&query);
        self.send(request, None).await
    }

    pub(crate) async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
        change: &Change,
    ) -> Result<T, Failure> {
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
        // Every try has the same id, so that a change whose answer was lost is not done twice.
        let operation = change.operation.clone().unwrap_or_else(new_operation);
        let mut request = self
            .http
            .request(method, self.url(path))
            .query(&query)
            .header(OPERATION_HEADER, &operation)
            .json(body);
        if let Some(version) = change.if_version {
            request = request.header(IF_MATCH_HEADER, format!("\"{version}\""));
        }
        self.send(request, Some(&operation)).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let scope = self.options.scope.iter().map(|scope| ("scope", scope.clone()));
        let family = self.options.family.iter().map(|family| ("family", family.clone()));
        scope.chain(family).collect()
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
        operation: Option<&str>,
    ) -> Result<T, Failure> {
        let request = match &self.bearer {
            Some(bearer) => request.bearer_auth(bearer),
            None => request,
        };
        let deadline = Instant::now() + self.options.timeout;
        let mut pause = PAUSE_MIN;
        let mut may_be_done = false;
        loop {
            let again = request.try_clone().ok_or_else(|| {
                failure(Problem::new(Code::Internal, "a request that cannot be repeated"))
            })?;
            let left = deadline.saturating_duration_since(Instant::now());
            let tried = self.attempt(again.timeout(left + GRACE)).await;
            let mut tried = match tried {
                Ok(answer) => return Ok(answer),
                Err(tried) => tried,
            };
            if operation.is_none() && tried.problem.code == Code::OutcomeUnknown {
                // A read changes nothing, so its outcome is not unknown.
                let title = format!("{} gives no answer in time", self.address);
                *tried.problem = Problem::new(Code::NoLeader, title)
                    .hint("repeat, or read what the node knows with --stale");
            }
            may_be_done |= tried.may_be_done && operation.is_some();
            let left = deadline.saturating_duration_since(Instant::now());
            if !tried.is_worth_repeating || left <= pause {
                let mut problem = tried.problem;
                // Only a node's answer to the same operation settles an earlier try. If no node
                // answers any longer, the outcome stays unknown.
                let settles = !tried.is_worth_repeating && !is_silence(problem.code);
                if may_be_done && problem.code != Code::OutcomeUnknown && !settles {
                    *problem = self.unknown();
                }
                if let (Code::OutcomeUnknown, Some(operation)) = (problem.code, operation) {
                    problem.operation = Some(operation.to_owned());
                    problem.hint = Some(format!(
                        "repeat with --operation {operation}: it will not be done twice"
                    ));
                }
                return Err(problem);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn unknown(&self) -> Problem {
        let seconds = self.options.timeout.as_secs();
        let title = format!("no answer after {seconds} s; the change may have been made");
        Problem::new(Code::OutcomeUnknown, title)
    }

    async fn attempt<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, Attempt> {
        let response = request.send().await.map_err(|error| self.transport(&error))?;
        let is_success = response.status().is_success();
        let status = response.status();
        let body = response.bytes().await.map_err(|error| self.transport(&error))?;
        let unreadable = |what: String| Attempt {
            problem: failure(
                Problem::new(Code::Internal, "the node's answer cannot be read").detail(what),
            ),
            is_worth_repeating: false,
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
        Err(Attempt { problem: failure(problem), is_worth_repeating, may_be_done })
    }

    fn transport(&self, error: &reqwest::Error) -> Attempt {
        let address = &self.address;
        let cause = deepest(error);
        let io = io_kind(error);
        if io == Some(std::io::ErrorKind::PermissionDenied) {
            let problem = Problem::new(Code::NotAllowed, format!("{address}: permission denied"))
                .hint("sudo usermod -aG conclave $USER    then log in again, or use sudo");
            let problem = failure(problem);
            return Attempt { problem, is_worth_repeating: false, may_be_done: false };
        }
        if error.is_timeout() {
            let problem = failure(self.unknown());
            return Attempt { problem, is_worth_repeating: true, may_be_done: true };
        }
        let problem = Problem::new(Code::NodeUnreachable, format!("no node answers at {address}"))
            .detail(cause)
            .hint("conclave server run --config FILE    or name another node with --address");
        let is_missing = io == Some(std::io::ErrorKind::NotFound);
        Attempt {
            problem: failure(problem),
            is_worth_repeating: !is_missing,
            may_be_done: !error.is_connect(),
        }
    }
}

struct Attempt {
    problem: Failure,
    is_worth_repeating: bool,
    may_be_done: bool,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_id_is_a_uuid_that_tells_its_time() {
        let id = new_operation();
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
        assert_eq!(id.as_bytes()[14], b'7');
        assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
        let made_ms = u64::from_str_radix(&id.replace('-', "")[..12], 16).unwrap();
        let now = now().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert!(u64::try_from(now.as_millis()).unwrap() - made_ms < 60_000, "{id}");
        assert_ne!(id, new_operation());
    }

    /// Found by jepsen: a node took a change and stopped, and its socket was gone at the next try.
    /// The change then looked refused.
    #[tokio::test]
    async fn what_was_sent_stays_unknown_when_no_node_answers_any_more() {
        use tokio::io::AsyncReadExt;
        let path = std::env::temp_dir().join(format!("conclave-{}.sock", new_operation()));
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let gone = path.clone();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_u8().await.unwrap();
            std::fs::remove_file(gone).unwrap();
        });
        let options = Options { timeout: Duration::from_secs(5), ..Options::default() };
        let client = Client::new(&Address::Unix(path), None, options).unwrap();
        let create = conclave_api::domain::Create {
            name: "shop.example".to_owned(),
            aliases: Vec::new(),
            addresses: Vec::new(),
            scope: None,
            pki: None,
        };
        let failure = client.create_domain(&create, &Change::default()).await.unwrap_err();
        assert_eq!(failure.code, Code::OutcomeUnknown, "{}", failure.title);
    }
}
