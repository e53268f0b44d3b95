//! A change on its way: derived, ordered, waited for, told.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Query, Request},
};
use conclave_api::{
    API_VERSION, BODY_BYTES_MAX,
    change::{Change, DryRun, Served},
    domain::Scope as ApiScope,
    key::Family as ApiFamily,
    path::{IF_MATCH_HEADER, OPERATION_HEADER, PAGE_MAX},
    problem::{Code, Problem},
};
use conclave_store::{
    command::{Command, Expectation},
    id::{DomainName, LogIndex, NodeId, OperationId},
    limits::REASON_BYTES_MAX,
    machine,
    outcome::{Done, Outcome, Rejection},
    record::{KeyFamily, RowKey, Stamp},
    state::State,
    wire,
};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::Instant;

use super::{auth::Caller, dry_run, problem::Failed};
use crate::{
    admit::{Admitted, View, rejection_problem},
    clock, entropy,
    live::Scope,
    local::LocalError,
    node::{Node, disk_full, internal},
    replica::{ExecuteError, Executed, Wait},
};

const TIMEOUT_MS: u64 = 15_000;
const TIMEOUT_MS_MAX: u64 = 600_000;
/// Pauses after a change that another one overtook.
const CONFLICT_PAUSE_MIN: Duration = Duration::from_millis(2);
const CONFLICT_PAUSE_MAX: Duration = Duration::from_millis(100);
/// Longest time for this node to apply what the leader has applied.
const OWN_WRITE_TIMEOUT: Duration = Duration::from_millis(500);

/// Query parameters of changes and reads.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Parameters {
    wait: Option<String>,
    timeout_ms: Option<u64>,
    reason: Option<String>,
    consistency: Option<String>,
    scope: Option<ApiScope>,
    family: Option<ApiFamily>,
    dry_run: bool,
    limit: Option<usize>,
    after: Option<String>,
}

/// Which part of a long list is wanted.
#[derive(Clone)]
pub(super) struct Page {
    /// Begins after this; none: at the start.
    pub(super) after: Option<String>,
    /// 1 to [`PAGE_MAX`].
    pub(super) limit: usize,
}

/// A request, with all that a change or a read needs.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) node: Node,
    pub(super) caller: Caller,
    pub(super) body: Bytes,
    pub(super) scope: Option<Scope>,
    pub(super) family: Option<KeyFamily>,
    pub(super) page: Page,
    operation: OperationId,
    request: [u8; 32],
    wait: Wait,
    timeout: Duration,
    /// When the caller is answered at the latest; every part of the work gets what is left.
    deadline: Instant,
    reason: Option<String>,
    is_stale: bool,
    is_dry_run: bool,
    if_version: Option<u64>,
    started: Instant,
}

impl FromRequest<Node> for Asked {
    type Rejection = Failed;

    async fn from_request(request: Request, node: &Node) -> Result<Asked, Failed> {
        let started = Instant::now();
        let (mut parts, body) = request.into_parts();
        let caller = Caller::from_request_parts(&mut parts, node).await?;
        let malformed = |what: String| Problem::new(Code::X004, what);
        let Query(parameters) = Query::<Parameters>::try_from_uri(&parts.uri)
            .map_err(|error| malformed(error.body_text()))?;
        let body = axum::body::to_bytes(axum::body::Body::new(body), BODY_BYTES_MAX)
            .await
            .map_err(|_| Problem::new(Code::X006, "the request is larger than 2 MiB"))?;
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let operation = match header(OPERATION_HEADER) {
            Some(text) => OperationId::parse(text).map_err(|error| malformed(error.to_string()))?,
            None => random_operation(),
        };
        let if_version = header(IF_MATCH_HEADER)
            .map(|text| text.trim_matches('"').parse::<u64>())
            .transpose()
            .map_err(|_| malformed("If-Match is no version".to_owned()))?;
        let wait = match parameters.wait.as_deref() {
            None | Some("served") => Wait::Served,
            Some("committed") => Wait::Committed,
            Some(other) => return Err(malformed(format!("wait={other:?}")).into()),
        };
        let is_stale = match parameters.consistency.as_deref() {
            None | Some("linearizable") => false,
            Some("local") => true,
            Some(other) => return Err(malformed(format!("consistency={other:?}")).into()),
        };
        check_reason(parameters.reason.as_deref())?;
        let limit = parameters.limit.unwrap_or(PAGE_MAX).min(PAGE_MAX);
        if limit == 0 {
            return Err(malformed("limit=0".to_owned()).into());
        }
        let family = parameters.family.map(|family| match family {
            ApiFamily::Ec => KeyFamily::Ec,
            ApiFamily::Rsa => KeyFamily::Rsa,
        });
        let means = family.map(|family| family.to_string()).unwrap_or_default();
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        let (method, path) = (parts.method.as_str(), parts.uri.path());
        for part in [method.as_bytes(), path.as_bytes(), means.as_bytes(), &body] {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        let mut request = [0; 32];
        request.copy_from_slice(context.finish().as_ref());
        let timeout_ms = parameters.timeout_ms.unwrap_or(TIMEOUT_MS).min(TIMEOUT_MS_MAX);
        let timeout = Duration::from_millis(timeout_ms);
        Ok(Asked {
            node: node.clone(),
            caller,
            body,
            scope: parameters.scope.map(|scope| match scope {
                ApiScope::Shared => Scope::Shared,
                ApiScope::Local => Scope::Local,
            }),
            family,
            page: Page { after: parameters.after, limit },
            operation,
            request,
            wait,
            timeout,
            deadline: started + timeout,
            reason: parameters.reason,
            is_stale,
            is_dry_run: parameters.dry_run,
            if_version,
            started,
        })
    }
}

fn random_operation() -> OperationId {
    OperationId::new(clock::now(), entropy::array())
}

/// A reason is kept in the history, where everybody reads it.
fn check_reason(reason: Option<&str>) -> Result<(), Problem> {
    let reason = reason.unwrap_or_default();
    if reason.len() > REASON_BYTES_MAX {
        let title = format!("a reason has at most {REASON_BYTES_MAX} bytes");
        return Err(Problem::new(Code::X004, title));
    }
    match reason.contains("-----BEGIN") {
        true => Err(Problem::new(Code::X004, "a reason cannot hold a PEM block")),
        false => Ok(()),
    }
}

impl Asked {
    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// The body as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let body: &[u8] = if self.body.is_empty() { b"{}" } else { &self.body };
        serde_json::from_slice(body)
            .map_err(|error| Problem::new(Code::X004, format!("the request's body: {error}")))
    }

    /// Who asks, when and why.
    pub(super) fn stamp(&self) -> Stamp {
        Stamp {
            time: clock::now(),
            principal: self.caller.principal.clone(),
            reason: self.reason.clone(),
        }
    }

    /// The cluster's State: with all that was acknowledged, or what this node has if the caller
    /// is content with that.
    pub(super) async fn shared_state(&self) -> Result<State, Problem> {
        let replica = self.node.replica()?;
        if self.is_stale {
            return Ok(replica.point().state.clone());
        }
        let point = replica.linearizable(self.left()).await.map_err(|_| self.no_leader())?;
        Ok(point.state.clone())
    }

    pub(super) fn no_leader(&self) -> Problem {
        Problem::new(Code::R003, "the cluster has no leader that a quorum follows")
            .why("too few voters answer, or an election is running; TLS goes on with what is known")
            .hint("conclave status    or read what this node knows with --stale")
    }

    /// The scope of a domain: as asked for, else shared if it exists there, else local if it
    /// exists there, else shared.
    pub(super) fn scope_of(&self, name: &str) -> Scope {
        self.scope.unwrap_or_else(|| {
            let Ok(name) = DomainName::parse(name) else { return Scope::Shared };
            let is_shared = self
                .node
                .replica()
                .is_ok_and(|replica| replica.point().state.domain(&name).is_some());
            let is_local = self.node.local().point().state.domain(&name).is_some();
            if is_local && !is_shared { Scope::Local } else { Scope::Shared }
        })
    }

    /// Refuses a dry run of what cannot be tried.
    pub(super) fn for_real(&self) -> Result<(), Problem> {
        match self.is_dry_run {
            true => Err(Problem::new(Code::X004, "this cannot be tried with dry_run")
                .why("it makes a secret, or tells other nodes")),
            false => Ok(()),
        }
    }

    /// Derives a command, has it ordered and served, and tells what came of it. What is stale
    /// by then is derived afresh until the time is over: only a caller that names a version is
    /// told of a conflict. With `dry_run` it only tells.
    pub(super) async fn change(
        &self,
        scope: Scope,
        derive: impl Fn(&View<'_>) -> Result<Admitted, Problem> + Send + Sync + 'static,
    ) -> Result<Change, Failed> {
        let derive: Derive = Arc::new(derive);
        if self.is_dry_run && scope == Scope::Shared {
            // What is tried is tried on all that was acknowledged.
            self.shared_state().await?;
        }
        // Taken after the first conflict: the callers of this node then change the object one
        // after the other, so that each round of the cluster lets one of each node through.
        let mut turn = None;
        let mut pause = CONFLICT_PAUSE_MIN;
        loop {
            let (command, admitted) = match self.admitted(scope, &derive).await? {
                Derived::Command(command, told) => (command, told),
                Derived::Repeated(done, index, told) => {
                    return Ok(self.told_again(scope, &done, index, told).await);
                }
            };
            let object = admitted.object.clone();
            let (executed, dry_run) = match (self.is_dry_run, scope) {
                (true, _) => self.try_out(scope, *command).await?,
                (false, Scope::Shared) => (self.execute_shared(&command).await?, None),
                (false, Scope::Local) => (self.execute_local(*command).await?, None),
            };
            match &executed.outcome {
                Outcome::Done(done) => {
                    let change = self.told(scope, done, &executed, admitted);
                    return Ok(Change { dry_run, ..change });
                }
                Outcome::Rejected(
                    Rejection::Stale(_)
                    | Rejection::WrapsMismatch
                    | Rejection::GenerationOld { .. },
                ) => {}
                Outcome::Rejected(rejection) => return Err(rejection_problem(rejection).into()),
            }
            if self.left() <= pause {
                return Err(self.overtaken(&object).into());
            }
            if scope == Scope::Shared {
                self.node.replica()?.wait_applied(executed.index.0, self.left()).await;
            }
            if turn.is_none() {
                let turns = self.node.turns().wait(&object);
                turn = Some(
                    tokio::time::timeout_at(self.deadline, turns)
                        .await
                        .map_err(|_| self.overtaken(&object))?,
                );
            } else {
                tokio::time::sleep(jittered(pause)).await;
                pause = (pause * 2).min(CONFLICT_PAUSE_MAX);
            }
        }
    }

    fn overtaken(&self, object: &str) -> Problem {
        let seconds = self.timeout.as_secs();
        let title = format!("{object} was changed by others at every try for {seconds} s");
        Problem::new(Code::V002, title)
            .why("each time another change came between this one and what it was made from")
            .hint("repeat the command, or give it more time with --timeout")
    }

    /// What a command would come to now; nothing of it is ordered.
    async fn try_out(
        &self,
        scope: Scope,
        command: Command,
    ) -> Result<(Executed, Option<DryRun>), Failed> {
        let point = match scope {
            Scope::Shared => self.node.replica()?.point(),
            Scope::Local => self.node.local().point(),
        };
        let tried = tokio::task::spawn_blocking(move || {
            // The index is only that of a row's last change, which nobody is shown.
            let applied = machine::apply(&point.state, LogIndex(u64::MAX), &command);
            let (after, changes) = (&applied.state, &applied.changes);
            let compared = dry_run::compare(scope, &point.state, after, changes, command.time);
            (Executed::local(LogIndex(0), applied.outcome, None), Some(compared))
        });
        Ok(tried.await.map_err(|error| internal("the dry run", error))?)
    }

    /// Derives from what this node has. If that is refused, this node may only lag behind, so
    /// the refusal counts after a linearizable read, not before.
    async fn admitted(&self, scope: Scope, derive: &Derive) -> Result<Derived, Failed> {
        let problem = match self.derive(scope, Arc::clone(derive)).await {
            Ok((command, told)) => return Ok(Derived::Command(command, told)),
            Err(problem) => problem,
        };
        if scope == Scope::Local {
            return self.repeated(scope, problem);
        }
        if self.node.replica()?.linearizable(self.left()).await.is_err() {
            return Err(problem.into());
        }
        match self.derive(scope, Arc::clone(derive)).await {
            Ok((command, told)) => Ok(Derived::Command(command, told)),
            Err(problem) => self.repeated(scope, problem),
        }
    }

    async fn derive(&self, scope: Scope, derive: Derive) -> Result<(Box<Command>, Told), Problem> {
        let asked = self.clone();
        let derived = tokio::task::spawn_blocking(move || {
            let point = match scope {
                Scope::Shared => asked.node.replica()?.point(),
                Scope::Local => asked.node.local().point(),
            };
            let now = clock::now();
            let view = View {
                node: &asked.node,
                scope,
                state: &point.state,
                now,
                if_version: asked.if_version,
                family: asked.family,
            };
            let admitted = derive(&view)?;
            let mut expects = admitted.expects;
            let is_versioned =
                |one: &Expectation| matches!(one.key, RowKey::Domain(_) | RowKey::TlsSettings);
            if asked.if_version.is_some() && !expects.iter().any(is_versioned) {
                let title = format!("{} has no version that can be expected", admitted.object);
                return Err(Problem::new(Code::X004, title)
                    .why("domains that exist and the TLS settings have versions")
                    .hint("leave --if-version out"));
            }
            if scope == Scope::Shared {
                expects.extend(asked.caller.expects.clone());
            }
            let told = Told { object: admitted.object, warnings: admitted.warnings };
            let command = Command {
                operation: asked.operation.clone(),
                principal: asked.caller.principal.clone(),
                request: asked.request,
                time: now,
                reason: asked.reason.clone(),
                expects,
                action: admitted.action,
            };
            Ok::<_, Problem>((Box::new(command), told))
        });
        derived.await.map_err(|error| internal("admission failed", error))?
    }

    /// A repetition of a finished change may not be derivable any more, because the change is
    /// made: then the replicated answer of the first time counts, not today's problem.
    fn repeated(&self, scope: Scope, problem: Problem) -> Result<Derived, Failed> {
        let point = match scope {
            Scope::Shared => self.node.replica()?.point(),
            Scope::Local => self.node.local().point(),
        };
        let before = point.state.operation(&self.operation).filter(|before| {
            before.principal == self.caller.principal && before.request == self.request
        });
        let Some(before) = before else { return Err(problem.into()) };
        let object = match &before.done {
            Done::Domain { name, .. } => name.to_string(),
            _ => self.operation.to_string(),
        };
        let told = Told { object, warnings: Vec::new() };
        Ok(Derived::Repeated(before.done.clone(), before.index, told))
    }

    /// Tells the answer of the first time, and who serves the change by now.
    async fn told_again(&self, scope: Scope, done: &Done, index: LogIndex, told: Told) -> Change {
        let outcome = Outcome::Done(done.clone());
        let executed = match (scope, self.wait, self.node.replica()) {
            (Scope::Shared, Wait::Served, Ok(replica)) => {
                let (served, missing) = replica.serving(index).await;
                Executed::new(index, outcome, served, missing)
            }
            (Scope::Shared, ..) => Executed::new(index, outcome, Vec::new(), Vec::new()),
            (Scope::Local, wait, _) => {
                let report = self.node.live().reports(Scope::Local).borrow().clone();
                let is_served = report.index >= index && !report.failed.contains(&index);
                Executed::local(index, outcome, (wait == Wait::Served).then_some(is_served))
            }
        };
        self.told(scope, done, &executed, told)
    }

    async fn execute_shared(&self, command: &Command) -> Result<Executed, Failed> {
        let bytes = wire::encode_command(command).map_err(|error| {
            Problem::new(Code::D004, "the change is larger than 64 KiB").detail(error.to_string())
        })?;
        let replica = self.node.replica()?;
        let executed = replica.execute(&bytes, self.wait, self.deadline).await;
        if let Ok(executed) = &executed {
            // Whoever asks this node next sees the change, also if only the leader had it.
            replica.wait_applied(executed.index.0, OWN_WRITE_TIMEOUT).await;
        }
        executed.map_err(|error| {
            let problem = match error {
                ExecuteError::Unknown => {
                    let operation = &self.operation;
                    let seconds = self.timeout.as_secs();
                    let title =
                        format!("no answer after {seconds} s; the change may have been made");
                    Problem::new(Code::R004, title).hint(format!(
                        "repeat with --operation {operation}: it will not be done twice"
                    ))
                }
                ExecuteError::NoLeader | ExecuteError::NotLeader(_) | ExecuteError::NoQuorum => {
                    self.no_leader()
                }
                ExecuteError::NoRoom => disk_full("the disk of the leader has too little room"),
                ExecuteError::NotKnown => Problem::new(Code::V001, error.to_string())
                    .hint("upgrade every node first: conclave status shows their versions"),
                ExecuteError::Refused(reason) => internal("the change was not ordered", reason),
            };
            Failed::from(Problem { operation: Some(self.operation.to_string()), ..problem })
        })
    }

    async fn execute_local(&self, command: Command) -> Result<Executed, Failed> {
        let node = self.node.clone();
        let applied = tokio::task::spawn_blocking(move || node.local().apply(&command));
        let applied = applied.await.map_err(|error| internal("the local scope failed", error))?;
        let (index, outcome) = applied.map_err(|error| match error {
            LocalError::DiskFull { .. } => {
                disk_full("the disk of this node has too little room").detail(error.to_string())
            }
            LocalError::Fault(fault) => {
                self.node.fail(format!("the local scope cannot be stored: {fault}"));
                internal("the local scope cannot be stored", fault)
            }
        })?;
        let mut reports = self.node.live().reports(Scope::Local);
        let waits = self.wait == Wait::Served && matches!(outcome, Outcome::Done(_));
        let is_served = waits && {
            let served = reports.wait_for(|report| report.index >= index);
            let served = tokio::time::timeout_at(self.deadline, served).await;
            matches!(served, Ok(Ok(report)) if !report.failed.contains(&index))
        };
        Ok(Executed::local(index, outcome, waits.then_some(is_served)))
    }

    fn told(&self, scope: Scope, done: &Done, executed: &Executed, told: Told) -> Change {
        let version = match done {
            Done::Domain { version, .. } | Done::TlsSettings(version) => Some(version.0),
            _ => None,
        };
        let served = match scope {
            Scope::Shared => Served {
                nodes: self.names(&executed.served),
                missing: self.names(&executed.missing),
            },
            Scope::Local => {
                let own = vec![self.node.config().name.to_string()];
                match (executed.served.is_empty(), executed.missing.is_empty()) {
                    (false, _) => Served { nodes: own, missing: Vec::new() },
                    (_, false) => Served { nodes: Vec::new(), missing: own },
                    _ => Served::default(),
                }
            }
        };
        Change {
            api_version: API_VERSION.to_owned(),
            kind: "Change".to_owned(),
            object: told.object,
            version,
            index: executed.index.0,
            operation: self.operation.to_string(),
            served,
            took_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            warnings: told.warnings,
            dry_run: None,
        }
    }

    fn names(&self, ids: &[NodeId]) -> Vec<String> {
        let Ok(replica) = self.node.replica() else { return Vec::new() };
        let point = replica.point();
        let name = |id: &NodeId| match point.state.member(id) {
            Some(member) => member.name.to_string(),
            None => format!("node {id}"),
        };
        ids.iter().map(name).collect()
    }
}

/// Derives a command from what admission looks at; may be asked again.
type Derive = Arc<dyn Fn(&View<'_>) -> Result<Admitted, Problem> + Send + Sync>;

/// What an admission came to.
enum Derived {
    /// A command, to be ordered.
    Command(Box<Command>, Told),
    /// The operation was done before: its answer, and the command's place then.
    Repeated(Done, LogIndex, Told),
}

/// A pause between a half and the whole of this one: callers that met do not meet again.
fn jittered(pause: Duration) -> Duration {
    let [random] = entropy::array::<1>();
    pause / 2 + pause / 2 * u32::from(random) / 255
}

/// What of an admission is told.
struct Told {
    object: String,
    warnings: Vec<String>,
}

impl Executed {
    /// A change of the local scope; `is_served` if it was waited for.
    fn local(index: LogIndex, outcome: Outcome, is_served: Option<bool>) -> Executed {
        let own = |wanted| if is_served == Some(wanted) { vec![NodeId(0)] } else { Vec::new() };
        Executed::new(index, outcome, own(true), own(false))
    }
}
