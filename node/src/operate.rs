//! The one way of a change, without HTTP: read, derive, try out or order, wait, tell.
//!
//! The API stands on it, and so will whatever else makes changes. Idempotence and expectations are
//! decided here and nowhere else.

mod change;
mod dry_run;

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

/// Who wants something.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    /// The row of its token: a change is rejected if the token ended in between.
    pub(crate) expects: Option<Expectation>,
}

/// One operation of a caller, and how it is carried out.
#[derive(Clone)]
pub(crate) struct Operator {
    pub(crate) node: Node,
    pub(crate) caller: Caller,
    /// The only scope that is meant; none: whichever has the object.
    pub(crate) scope: Option<Scope>,
    /// Which of a domain's two keys is meant.
    pub(crate) family: Option<KeyFamily>,
    pub(crate) operation: OperationId,
    /// Hash of what is asked for: the same operation id with another one is a conflict.
    pub(crate) request: [u8; 32],
    pub(crate) wait: Wait,
    pub(crate) timeout: Duration,
    /// When the caller is answered at the latest; every part of the work gets what is left.
    pub(crate) deadline: Instant,
    pub(crate) reason: Option<String>,
    /// A read is content with what this node knows.
    pub(crate) is_stale: bool,
    pub(crate) is_dry_run: bool,
    pub(crate) if_version: Option<u64>,
    pub(crate) started: Instant,
}

impl Operator {
    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Who asks, when and why.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp {
            time: clock::now(),
            principal: self.caller.principal.clone(),
            reason: self.reason.clone(),
        }
    }

    /// The cluster's State: with all that was acknowledged, or what this node has if the caller
    /// is content with that.
    pub(crate) async fn read(&self) -> Result<State, Problem> {
        let replica = self.node.replica()?;
        if self.is_stale {
            return Ok(replica.point().state.clone());
        }
        let point = replica.linearizable(self.left()).await.map_err(|_| self.no_leader())?;
        Ok(point.state.clone())
    }

    pub(crate) fn no_leader(&self) -> Problem {
        Problem::new(Code::R003, "the cluster has no leader that a quorum follows")
            .why("too few voters answer, or an election is running; TLS goes on with what is known")
            .hint("conclave status    or read what this node knows with --stale")
    }

    /// The scope of a domain: as asked for, else shared if it exists there, else local if it
    /// exists there, else shared.
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

    /// Refuses a dry run of what cannot be tried.
    pub(crate) fn for_real(&self) -> Result<(), Problem> {
        match self.is_dry_run {
            true => Err(Problem::new(Code::X004, "this cannot be tried with dry_run")
                .why("it makes a secret, or tells other nodes")),
            false => Ok(()),
        }
    }
}
