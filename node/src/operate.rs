//! Execution of operations: reads, changes and dry runs, without HTTP.
//!
//! The admin API uses it, and so must everything else that makes changes. Idempotence and
//! expectations are decided here and nowhere else.

mod backup;
mod change;
mod derive;
mod dry_run;
mod keyring;
mod missing;

use std::time::Duration;

use conclave_api::problem::{Code, Problem};
use conclave_store::{
    command::Expectation,
    id::{DomainName, OperationId},
    record::{KeyFamily, Principal, Stamp},
    scope::Scope,
    state::State,
};
use conclave_system::clock;
use tokio::time::Instant;

use crate::{node::Node, replica::Wait};

pub(crate) use keyring::{catch_up, rekey, seal, unseal};

/// The authenticated caller of an operation.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    /// The row of the caller's token. A change is rejected if the token was revoked in the
    /// meantime.
    pub(crate) expects: Option<Expectation>,
}

/// One operation of a caller, with the options by which it is carried out.
#[derive(Clone)]
pub(crate) struct Operator {
    pub(crate) node: Node,
    pub(crate) caller: Caller,
    /// Selected scope; none: the scope of the object.
    pub(crate) scope: Option<Scope>,
    /// Selected key family, if the caller gave one.
    pub(crate) family: Option<KeyFamily>,
    pub(crate) operation: OperationId,
    /// Hash of the request. The same operation id with another hash is a conflict.
    pub(crate) request: [u8; 32],
    pub(crate) wait: Wait,
    pub(crate) timeout: Duration,
    /// Time by which the caller gets an answer. Every step gets the time that is left.
    pub(crate) deadline: Instant,
    pub(crate) reason: Option<String>,
    /// Whether reads may use the State of this node without asking the leader.
    pub(crate) is_stale: bool,
    pub(crate) is_dry_run: bool,
    /// Whether a change that is not in use on every node is a failure.
    pub(crate) is_all_required: bool,
    pub(crate) if_version: Option<u64>,
    /// Name of the object that the request removes, or removes a part of; none for other requests.
    pub(crate) removed: Option<String>,
    /// Whether adding what exists already is no error.
    pub(crate) is_if_missing: bool,
    /// Whether removing what does not exist is no error.
    pub(crate) is_if_exists: bool,
    pub(crate) started: Instant,
}

impl Operator {
    /// Returns the same caller with an operation of its own, for a step on the way to what was asked
    /// for.
    pub(crate) fn step(&self) -> Operator {
        let operation = OperationId::new(clock::now(), conclave_system::entropy::array());
        Operator { operation, if_version: None, removed: None, ..self.clone() }
    }

    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Returns the stamp of the operation: principal, time and reason.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp {
            time: clock::now(),
            principal: self.caller.principal.clone(),
            reason: self.reason.clone(),
        }
    }

    /// Returns the cluster's State, by a linearizable read unless the caller accepts a stale one.
    pub(crate) async fn read(&self) -> Result<State, Problem> {
        let replica = self.node.replica()?;
        if self.is_stale {
            return Ok(replica.point().state.clone());
        }
        let point = replica.linearizable(self.left()).await.map_err(|_| self.no_leader())?;
        Ok(point.state.clone())
    }

    pub(crate) fn no_leader(&self) -> Problem {
        Problem::new(Code::NoLeader, "the cluster has no leader that a quorum follows")
            .why("too few voters answer, or an election is running; TLS goes on with what is known")
            .hint("conclave status    or read what this node knows with --stale")
    }

    /// Returns the scope of a domain: the one that the caller selected, otherwise local if only the
    /// local scope has the domain, otherwise shared.
    pub(crate) fn scope_of(&self, name: &str) -> Scope {
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

    /// Says that this node is sealed, and therefore may not do something.
    pub(crate) fn sealed(&self, why: String) -> Problem {
        let name = &self.node.config().name;
        Problem::new(Code::Sealed, format!("{name} is sealed: it cannot order this"))
            .why(why)
            .hint(format!("ask an unsealed node    or: {}", self.node.how_to_unseal()))
    }

    /// Refuses a dry run, for operations that have none.
    pub(crate) fn for_real(&self) -> Result<(), Problem> {
        match self.is_dry_run {
            true => Err(Problem::new(Code::Malformed, "this cannot be tried with dry_run")
                .why("it makes a secret, or tells other nodes")),
            false => Ok(()),
        }
    }
}
