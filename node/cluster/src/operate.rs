//! Execution of operations: reads, changes and dry runs, without HTTP.
//!
//! The admin API uses it, and so must everything else that makes changes. Idempotence and
//! expectations are decided here and nowhere else.

mod account;
mod backup;
mod change;
mod derive;
mod dry_run;
mod follow;
mod keyring;
mod login;
mod lost_trust;
mod missing;
mod owner;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use conclave_api::{
    need::Need,
    problem::{Code, Problem},
};
use conclave_store::{
    command::Expectation,
    id::{DomainName, EmailAddress, NodeId, OperationId},
    record::{AuditEvent, AuditResult, KeyFamily, Origin, Principal, Stamp},
    scope::Scope,
    state::State,
    time::UnixMillis,
};
use conclave_system::clock;
use tokio::time::Instant;

use crate::{node::Node, replica::Wait, rights::Access};

pub use account::FoundAccount;
pub use follow::{Told, wait_until};
pub use keyring::{catch_up, rekey, seal, unseal};
pub use login::{Shown, login};
pub use owner::{OwnerSession, enter, log_in, owner};

/// Longest time without a leader for which this node believes that no token was revoked.
pub const BELIEVED_MAX: Duration = Duration::from_secs(60);

/// The index of the last change of one request, or what this node had applied before it.
pub type Reached = Arc<AtomicU64>;

/// The authenticated caller of an operation.
#[derive(Clone)]
pub struct Caller {
    /// Who asks.
    pub principal: Principal,
    /// What the caller may do.
    pub access: Access,
    /// Address of the caller; `None`: the admin socket.
    pub remote: Option<IpAddr>,
    /// The rows that say who the caller is and what it may do. A change is rejected if one of them
    /// has changed in the meantime.
    pub expects: Vec<Expectation>,
    /// When the login ends by itself; `None`: it does not.
    pub ends: Option<UnixMillis>,
}

impl Caller {
    /// Decides about a request. `name` is the part of the path that names an object; for an account
    /// it is the name of its domain, and `account` its address.
    pub fn check(
        &self,
        need: Need,
        name: Option<&str>,
        account: Option<&EmailAddress>,
    ) -> Result<(), Problem> {
        self.access.check(&self.principal.to_string(), need, name, account)
    }

    /// Decides whether a caller may go on with what takes long: what it may do is as it was, and it
    /// has not ended.
    pub(crate) fn check_still(&self, node: &Node) -> Result<(), Problem> {
        if self.access.is_everything() {
            return Ok(());
        }
        let replica = node.replica()?;
        let ended = |title: &str| Problem::new(Code::NotLoggedIn, title).hint("log in again");
        if replica.confirmed_since().is_none_or(|since| since > BELIEVED_MAX) {
            let why = "so this node cannot tell whether the token was revoked";
            let title = "the cluster has no leader that a quorum follows";
            return Err(Problem::new(Code::NoLeader, title).why(why).hint("ask another node"));
        }
        let state = &replica.point().state;
        if self.expects.iter().any(|one| state.expectation(one.key.clone()) != *one) {
            return Err(ended("the login has ended, or what it allows was changed"));
        }
        match self.ends.is_some_and(|ends| clock::now() > ends) {
            true => Err(ended("the login has ended")),
            false => Ok(()),
        }
    }

    /// Returns the place from which the caller asks a node.
    pub(crate) fn origin(&self, node: &Node) -> Origin {
        let id = node.replica().map_or(NodeId(0), |replica| replica.id());
        Origin { node: id, remote: self.remote }
    }
}

/// One operation of a caller, with the options by which it is carried out.
#[derive(Clone)]
pub struct Operator {
    /// The node that is asked.
    pub node: Node,
    /// Who asks, and what they may do.
    pub caller: Caller,
    /// Selected scope; none: the scope of the object.
    pub scope: Option<Scope>,
    /// Selected key family, if the caller gave one.
    pub family: Option<KeyFamily>,
    /// Id of the operation, the same in every retry.
    pub operation: OperationId,
    /// Hash of the request. The same operation id with another hash is a conflict.
    pub request: [u8; 32],
    /// What the answer waits for.
    pub wait: Wait,
    /// Longest time for the answer.
    pub timeout: Duration,
    /// Time by which the caller gets an answer. Every step gets the time that is left.
    pub deadline: Instant,
    /// Why the caller does it.
    pub reason: Option<String>,
    /// Whether reads may use the State of this node without asking the leader.
    pub is_stale: bool,
    /// Only try out the change.
    pub is_dry_run: bool,
    /// Whether a change that is not in use on every node is a failure.
    pub is_all_required: bool,
    /// Version that the changed object must have.
    pub if_version: Option<u64>,
    /// Name of the object that the request removes, or removes a part of; none for other requests.
    pub removed: Option<String>,
    /// Whether adding what exists already is no error.
    pub is_if_missing: bool,
    /// Whether removing what does not exist is no error.
    pub is_if_exists: bool,
    /// When the request came.
    pub started: Instant,
    /// The index of the last change, for the answer.
    pub reached: Reached,
}

impl Operator {
    /// Returns the same caller with an operation of its own, for a step on the way to what was asked
    /// for.
    pub fn step(&self) -> Operator {
        let operation = OperationId::new(clock::now(), conclave_system::entropy::array());
        Operator { operation, if_version: None, removed: None, ..self.clone() }
    }

    /// Returns the time left for the answer.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Returns the stamp of the operation: principal, time and reason.
    pub fn stamp(&self) -> Stamp {
        Stamp {
            time: clock::now(),
            principal: self.caller.principal.clone(),
            reason: self.reason.clone(),
        }
    }

    /// Returns the cluster's State, by a linearizable read unless the caller accepts a stale one.
    pub async fn read(&self) -> Result<State, Problem> {
        let replica = self.node.replica()?;
        if self.is_stale {
            return Ok(replica.point().state.clone());
        }
        replica.linearizable(self.left()).await.map_err(|_| self.no_leader())?;
        // Taken before State, which holds at least so much.
        self.reached.fetch_max(replica.raft().status().applied, Ordering::Relaxed);
        Ok(replica.point().state.clone())
    }

    /// Tells the audit trail of something secret that the caller reads. Fails if the entry cannot be
    /// written: then it must not be read.
    pub async fn tell_read(&self, event: &str, object: &str) -> Result<(), Problem> {
        let event = AuditEvent {
            time: clock::now(),
            principal: self.caller.principal.clone(),
            origin: Some(self.caller.origin(&self.node)),
            event: event.to_owned(),
            result: AuditResult::Done,
            object: object.to_owned(),
            code: None,
            differences: Vec::new(),
            reason: self.reason.clone(),
            operation: Some(self.operation.clone()),
        };
        self.node.replica()?.note_audit_now(event, self.deadline).await.map_err(|error| {
            Problem::new(Code::NoLeader, "the audit trail cannot be written")
                .detail(error.to_string())
                .why("what is secret is not given out without an entry in the trail")
                .hint("conclave status")
        })
    }

    /// Makes the problem of a cluster without a leader.
    pub fn no_leader(&self) -> Problem {
        Problem::new(Code::NoLeader, "the cluster has no leader that a quorum follows")
            .why("too few voters answer, or an election is running; TLS goes on with what is known")
            .hint("conclave status    or read what this node knows with --stale")
    }

    /// Returns the scope of a domain: the one that the caller selected, otherwise local if only the
    /// local scope has the domain, otherwise shared.
    pub fn scope_of(&self, name: &str) -> Scope {
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
    pub fn for_real(&self) -> Result<(), Problem> {
        match self.is_dry_run {
            true => Err(Problem::new(Code::Malformed, "this cannot be tried with dry_run")
                .why("it makes a secret, or tells other nodes")),
            false => Ok(()),
        }
    }
}
