//! Execution of a change: derive the command, order it, wait until it is served, answer.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use conclave_api::{
    API_VERSION,
    change::{Change, DryRun, Served},
    problem::{Code, Problem},
};
use conclave_store::{
    command::Command,
    id::{LogIndex, NodeId},
    machine,
    outcome::{Done, Outcome, Rejection},
    scope::Scope,
    wire,
};
use conclave_system::entropy;
use tokio::time::Instant;

use super::{
    Operator,
    derive::{Derive, Derived, Told, Unchanged, with_parts},
    dry_run,
};
use crate::{
    admit::{Admitted, View, rejection_problem},
    fault::{disk_full, internal},
    local::LocalError,
    replica::{ExecuteError, Executed, Wait},
};

/// Bounds of the pause before a stale command is derived again.
const CONFLICT_PAUSE_MIN: Duration = Duration::from_millis(2);
const CONFLICT_PAUSE_MAX: Duration = Duration::from_millis(100);
/// Longest pause of a caller whose command has parts, in tries of its own.
const PARTS_PAUSE_TRIES: u32 = 4;
/// Longest wait for this node to apply its own change.
const OWN_WRITE_TIMEOUT: Duration = Duration::from_millis(500);

impl Operator {
    /// Derives a command, has it ordered, waits until it is served and returns the answer. A stale
    /// command is derived again until the deadline, so only a caller that names a version sees a
    /// conflict. With `dry_run`, returns the effect without ordering anything.
    pub async fn change(
        &self,
        scope: Scope,
        derive: impl Fn(&View<'_>) -> Result<Admitted, Problem> + Send + Sync + 'static,
    ) -> Result<Change, Problem> {
        let change = self.ordered(scope, Arc::new(derive)).await?;
        self.explained(change).await
    }

    async fn ordered(&self, scope: Scope, derive: Derive) -> Result<Change, Problem> {
        if self.is_dry_run && scope == Scope::Shared {
            // A dry run must see everything that was acknowledged.
            self.read().await?;
        }
        // Taken after the first conflict. The callers of this node then change the object one after
        // the other, so that in each round of the cluster they do not conflict with each other.
        let mut turn = None;
        let mut pause = CONFLICT_PAUSE_MIN;
        loop {
            let begun = Instant::now();
            let (command, parts, admitted) = match self.admitted(scope, &derive).await? {
                Derived::Command(command, parts, told) => (command, parts, told),
                Derived::Repeated(done, index, told) => {
                    return Ok(self.told_again(scope, &done, index, told).await);
                }
                Derived::Unchanged(same) => return Ok(self.told_unchanged(scope, same).await),
            };
            let (object, has_parts) = (admitted.object.clone(), !parts.is_empty());
            let (executed, dry_run) = match (self.is_dry_run, scope) {
                (true, _) => self.try_out(scope, *command, parts).await?,
                (false, _) => {
                    self.order_parts(scope, parts).await?;
                    (self.execute(scope, *command, self.wait).await?, None)
                }
            };
            match &executed.outcome {
                Outcome::Done(done) => {
                    let change = self.told(scope, done, &executed, admitted);
                    return Ok(with_dry_run(change, dry_run));
                }
                // Another caller was faster, by this same command perhaps. Admission looks again.
                Outcome::Rejected(rejection) if self.excuses(rejection) && turn.is_none() => {}
                // Another long list of the set came between the parts of this one.
                Outcome::Rejected(Rejection::TrustedUnknown(_)) if has_parts => {}
                Outcome::Rejected(
                    Rejection::Stale(_)
                    | Rejection::WrapsMismatch
                    | Rejection::GenerationOld { .. },
                ) => {}
                Outcome::Rejected(rejection) => return Err(rejection_problem(rejection)),
            }
            if self.left() <= pause {
                return Err(self.overtaken(&object));
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
            } else if has_parts {
                // Two who send parts displace each other's for as long as both send. One of them
                // must wait for longer than the other needs.
                let most = (begun.elapsed() * PARTS_PAUSE_TRIES).min(self.left() / 2);
                tokio::time::sleep(random_part(most)).await;
            } else {
                tokio::time::sleep(jittered(pause)).await;
                pause = (pause * 2).min(CONFLICT_PAUSE_MAX);
            }
        }
    }

    fn overtaken(&self, object: &str) -> Problem {
        let seconds = self.timeout.as_secs();
        let title = format!("{object} was changed by others at every try for {seconds} s");
        Problem::new(Code::VersionConflict, title)
            .why("each time another change came between this one and what it was made from")
            .hint("repeat the command, or give it more time with --timeout")
    }

    /// Applies a command to a copy of State and compares. Orders nothing.
    async fn try_out(
        &self,
        scope: Scope,
        command: Command,
        parts: Vec<Command>,
    ) -> Result<(Executed, Option<DryRun>), Problem> {
        let point = match scope {
            Scope::Shared => self.node.replica()?.point(),
            Scope::Local => self.node.local().point(),
        };
        let tried = tokio::task::spawn_blocking(move || {
            // The index only becomes the `changed_at` of rows, which a dry run does not show.
            let before = with_parts(&point.state, &parts);
            let applied = machine::apply(&before, LogIndex(u64::MAX), &command);
            let (after, changes) = (&applied.state, &applied.changes);
            let compared = dry_run::compare(scope, &before, after, changes, command.time);
            (Executed::local(LogIndex(0), applied.outcome, None), Some(compared))
        });
        tried.await.map_err(|error| internal("the dry run", error))
    }

    /// Answers an operation that changes nothing, with the nodes that serve what there is.
    async fn told_unchanged(&self, scope: Scope, same: Unchanged) -> Change {
        let Unchanged { done, index, told, compared } = same;
        self.note_reached(scope, index);
        let (waits, is_dry_run) = (self.wait == Wait::Served, self.is_dry_run);
        let (served, missing) = match (scope, self.node.replica()) {
            (Scope::Shared, Ok(replica)) if waits && !is_dry_run => {
                replica.serving_present(index, &told.object).await
            }
            _ => (Vec::new(), Vec::new()),
        };
        let outcome = Outcome::Done(done.clone());
        let executed = Executed::new(LogIndex(0), outcome, served, missing);
        let change = self.told(scope, &done, &executed, told);
        with_dry_run(Change { changed: false, ..change }, compared)
    }

    /// Repeats the first answer of a finished operation, with the nodes that serve the change now.
    async fn told_again(&self, scope: Scope, done: &Done, index: LogIndex, told: Told) -> Change {
        self.note_reached(scope, index);
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

    /// Orders the parts of a command. Each means nothing by itself, so none of them need be served.
    async fn order_parts(&self, scope: Scope, parts: Vec<Command>) -> Result<(), Problem> {
        for part in parts {
            let executed = self.execute(scope, part, Wait::Committed).await?;
            if let Outcome::Rejected(rejection) = &executed.outcome {
                return Err(rejection_problem(rejection));
            }
        }
        Ok(())
    }

    async fn execute(
        &self,
        scope: Scope,
        command: Command,
        wait: Wait,
    ) -> Result<Executed, Problem> {
        match scope {
            Scope::Shared => self.execute_shared(&command, wait).await,
            Scope::Local => self.execute_local(command, wait).await,
        }
    }

    async fn execute_shared(&self, command: &Command, wait: Wait) -> Result<Executed, Problem> {
        let bytes = wire::encode_command(command).map_err(|error| {
            Problem::new(Code::LimitReached, "the change is larger than 64 KiB")
                .detail(error.to_string())
        })?;
        let replica = self.node.replica()?;
        let executed = replica.execute(&bytes, wait, self.deadline).await;
        if let Ok(executed) = &executed {
            self.note_reached(Scope::Shared, executed.index);
            // The next read from this node must see the change, even if so far only the leader has
            // applied it.
            replica.wait_applied(executed.index.0, OWN_WRITE_TIMEOUT).await;
        }
        executed.map_err(|error| {
            let problem = match error {
                ExecuteError::Unknown => {
                    let operation = &self.operation;
                    let seconds = self.timeout.as_secs();
                    let title =
                        format!("no answer after {seconds} s; the change may have been made");
                    Problem::new(Code::OutcomeUnknown, title).hint(format!(
                        "repeat with --operation {operation}: it will not be done twice"
                    ))
                }
                ExecuteError::NoLeader | ExecuteError::NotLeader(_) | ExecuteError::NoQuorum => {
                    self.no_leader()
                }
                ExecuteError::NotProved => self.sealed(error.to_string()),
                ExecuteError::NoRoom => disk_full("the disk of the leader has too little room"),
                ExecuteError::NotKnown => Problem::new(Code::VersionTooOld, error.to_string())
                    .hint("upgrade every node first: conclave status shows their versions"),
                ExecuteError::Refused(reason) => internal("the change was not ordered", reason),
            };
            Problem { operation: Some(self.operation.to_string()), ..problem }
        })
    }

    async fn execute_local(&self, command: Command, wait: Wait) -> Result<Executed, Problem> {
        let node = self.node.clone();
        let applied = tokio::task::spawn_blocking(move || node.local().apply(&command));
        let applied = applied.await.map_err(|error| internal("the local scope failed", error))?;
        let (index, outcome) = applied.map_err(|error| match error {
            LocalError::DiskFull { .. } => {
                disk_full("the disk of this node has too little room").detail(error.to_string())
            }
            LocalError::NotDurable { .. } => {
                let operation = &self.operation;
                Problem::new(Code::OutcomeUnknown, "the change may be lost at the next restart")
                    .detail(error.to_string())
                    .hint(format!("make room, then repeat with --operation {operation}"))
            }
            LocalError::Fault(fault) => {
                self.node.fail(format!("the local scope cannot be stored: {fault}"));
                internal("the local scope cannot be stored", fault)
            }
        })?;
        let mut reports = self.node.live().reports(Scope::Local);
        let waits = wait == Wait::Served && matches!(outcome, Outcome::Done(_));
        let is_served = waits && {
            let served = reports.wait_for(|report| report.index >= index);
            let served = tokio::time::timeout_at(self.deadline, served).await;
            matches!(served, Ok(Ok(report)) if !report.failed.contains(&index))
        };
        Ok(Executed::local(index, outcome, waits.then_some(is_served)))
    }

    /// Notes an index that the answer is about, for its header.
    fn note_reached(&self, scope: Scope, index: LogIndex) {
        if scope == Scope::Shared {
            self.reached.fetch_max(index.0, Ordering::Relaxed);
        }
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
                ..Served::default()
            },
            Scope::Local => {
                let own = vec![self.node.config().name.to_string()];
                match (executed.served.is_empty(), executed.missing.is_empty()) {
                    (false, _) => Served { nodes: own, ..Served::default() },
                    (_, false) => Served { missing: own, ..Served::default() },
                    _ => Served::default(),
                }
            }
        };
        Change {
            api_version: API_VERSION.to_owned(),
            kind: "Change".to_owned(),
            object: told.object,
            changed: true,
            version,
            index: executed.index.0,
            operation: self.operation.to_string(),
            served,
            took_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            warnings: told.warnings,
            dry_run: None,
        }
    }

    /// Returns the names of these members. One that has left, as by the change itself, need not serve
    /// it.
    fn names(&self, ids: &[NodeId]) -> Vec<String> {
        let Ok(replica) = self.node.replica() else { return Vec::new() };
        let point = replica.point();
        let name = |id: &NodeId| match point.state.member(id) {
            Some(member) => Some(member.name.to_string()),
            None if point.state.departed_member(id).is_some() => None,
            None => Some(format!("node {id}")),
        };
        ids.iter().filter_map(name).collect()
    }
}

/// Returns a random pause of half to all of `pause`, so that callers that conflicted do not
/// conflict again.
fn jittered(pause: Duration) -> Duration {
    pause / 2 + random_part(pause / 2)
}

/// Returns a random part of a time.
fn random_part(time: Duration) -> Duration {
    let [random] = entropy::array::<1>();
    time * u32::from(random) / 255
}

impl Executed {
    /// Makes the result of a command in the local scope. `is_served` is none if the caller did not
    /// wait.
    fn local(index: LogIndex, outcome: Outcome, is_served: Option<bool>) -> Executed {
        let own = |wanted| if is_served == Some(wanted) { vec![NodeId(0)] } else { Vec::new() };
        Executed::new(index, outcome, own(true), own(false))
    }
}

/// Adds a dry run to an answer. Of a problem and a warning about the same the warning stays: it has
/// a hint.
fn with_dry_run(change: Change, mut dry_run: Option<DryRun>) -> Change {
    if let Some(dry_run) = &mut dry_run {
        let is_told = |problem: &str| change.warnings.iter().any(|one| one.starts_with(problem));
        dry_run.problems.retain(|problem| !is_told(problem));
    }
    Change { dry_run, ..change }
}
