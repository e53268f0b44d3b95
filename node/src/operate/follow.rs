//! Following what changes, from a position on.
//!
//! The audit trail holds every change in its order, the same on each node, so it is what is read
//! here: a reader that is slow, or comes back to another node, misses nothing.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use conclave_api::{
    event::{Event, EventKind, Position},
    problem::{Code, Problem},
};
use conclave_store::{
    id::{DomainName, LogIndex},
    machine::GRANTS_LEVEL,
    scope::Scope,
    state::State,
};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, timeout},
};

use super::Operator;
use crate::{node::Node, view};

/// Most entries that one step reads.
const READ_MAX: u64 = 256;
/// Time between two looks at what this node observes, and at whether the caller may still follow.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A caller that follows the changes of one scope.
pub(crate) struct Following {
    operator: Operator,
    scope: Scope,
    /// Wanted kinds of events; none: all.
    kinds: BTreeSet<EventKind>,
    /// Number of the last entry that was read.
    last: u64,
    /// Index up to which the trail was read; `None` before the first time.
    seen: Option<u64>,
    /// Events that were not told yet.
    waiting: VecDeque<Event>,
    /// What this node observes; `None` if the caller does not get it.
    observing: Option<watch::Receiver<Option<Observed>>>,
    /// What was told of it.
    observed: Observed,
    /// The place among all followers of this node.
    _place: OwnedSemaphorePermit,
}

/// What this node observes: not changes, but how it is now.
#[derive(Clone, Default, PartialEq, Eq)]
struct Observed {
    /// Who leads; `None`: nobody.
    leader: Option<String>,
    /// How each node is.
    nodes: BTreeMap<String, String>,
}

impl Operator {
    /// Begins to follow the events of these kinds, or of all if there are none, behind a position;
    /// without one, from now on. Waits until this node has applied what the position stands for.
    pub(crate) async fn follow(
        &self,
        kinds: BTreeSet<EventKind>,
        from: Option<Position>,
    ) -> Result<Following, Problem> {
        let scope = self.scope.unwrap_or(Scope::Shared);
        let place = self.node.followers().clone().try_acquire_owned().map_err(|_| {
            Problem::new(Code::LimitReached, "too many callers follow the events of this node")
                .hint("end one of them, or ask another node")
        })?;
        if let (Scope::Shared, Some(from)) = (scope, from) {
            wait_until(&self.node, from.index, self.deadline).await?;
        }
        let state = state(&self.node, scope)?;
        if state.level() < GRANTS_LEVEL && scope == Scope::Shared {
            let title = "events need a newer version than one of the members has";
            return Err(Problem::new(Code::VersionTooOld, title).hint("conclave cluster upgrade"));
        }
        let last = match from {
            None => view::audit_last(&state),
            Some(from) => start(&state, from).ok_or_else(|| gone(from))?,
        };
        let is_wanted = |kind| kinds.is_empty() || kinds.contains(&kind);
        let is_observed = is_wanted(EventKind::Leader) || is_wanted(EventKind::Node);
        let sees_all = scope == Scope::Shared && self.caller.access.domains().is_empty();
        let observing = (is_observed && sees_all).then(|| observe(self.node.clone()));
        Ok(Following {
            operator: self.clone(),
            scope,
            kinds,
            last,
            seen: None,
            waiting: VecDeque::new(),
            observing,
            observed: Observed::default(),
            _place: place,
        })
    }
}

/// Looks again and again, beside the one who follows: a look asks other nodes. Ends with its
/// receiver.
fn observe(node: Node) -> watch::Receiver<Option<Observed>> {
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        loop {
            if let Ok(seen) = look(&node).await {
                sender.send_if_modified(|last| {
                    let is_new = last.as_ref() != Some(&seen);
                    *last = Some(seen);
                    is_new
                });
            }
            if timeout(LOOK_EVERY, sender.closed()).await.is_ok() {
                return;
            }
        }
    });
    receiver
}

async fn look(node: &Node) -> Result<Observed, Problem> {
    let replica = node.replica()?;
    let outlook = replica.outlook().await;
    let (raft, point) = (replica.raft().status(), replica.point());
    let nodes = view::members(replica.id(), &point.state, &raft, &outlook);
    let leader = nodes.iter().find(|node| node.role == "leader").map(|node| node.name.clone());
    Ok(Observed { leader, nodes: nodes.into_iter().map(|node| (node.name, node.state)).collect() })
}

/// Waits until a node has applied an index, so that a caller reads there what it has written at
/// another node.
pub(crate) async fn wait_until(node: &Node, index: u64, deadline: Instant) -> Result<(), Problem> {
    let replica = node.replica()?;
    let left = deadline.saturating_duration_since(Instant::now());
    if replica.wait_applied(index, left).await {
        return Ok(());
    }
    let (name, applied) = (&node.config().name, replica.raft().status().applied);
    Err(Problem::new(Code::NodeLagging, format!("{name} has not reached the index {index}"))
        .detail(format!("it has applied everything up to {applied}"))
        .hint("repeat the request, or ask another node"))
}

/// Returns the number of the entry behind which a position is; `None` if this trail cannot tell.
fn start(state: &State, from: Position) -> Option<u64> {
    let Some(number) = from.sequence else { return state.audit_until(LogIndex(from.index)) };
    let is_last_removed = number.checked_add(1) == Some(state.audit_cut().first);
    let is_here = state.audit_index(number) == Some(LogIndex(from.index));
    (is_here || is_last_removed).then_some(number)
}

fn gone(from: Position) -> Problem {
    Problem::new(Code::EventsGone, format!("no events are kept behind {from}"))
        .why("they were removed from the audit trail, or the cluster was restored from a backup")
        .hint("read what there is now, then follow behind the Conclave-Index of that answer")
}

fn state(node: &Node, scope: Scope) -> Result<State, Problem> {
    Ok(match scope {
        Scope::Shared => node.replica()?.point().state.clone(),
        Scope::Local => node.local().point().state.clone(),
    })
}

impl Following {
    /// Waits for the next event. Fails when there can be no further one.
    pub(crate) async fn next(&mut self) -> Result<Event, Problem> {
        loop {
            while let Some(event) = self.waiting.pop_front() {
                if self.kinds.is_empty() || self.kinds.contains(&event.kind) {
                    return Ok(event);
                }
            }
            self.tell_observed().await;
            // Taken before State, which holds at least so much.
            let applied = self.applied()?;
            if self.seen != Some(applied) {
                let state = state(&self.operator.node, self.scope)?;
                self.read(&state, applied)?;
            }
            // By a State that is not older than what was read.
            self.operator.caller.check_still(&self.operator.node)?;
            if self.waiting.is_empty() && self.seen == Some(applied) {
                self.wait(applied).await?;
            }
        }
    }

    /// Returns an index up to which everything is in the State of the scope.
    fn applied(&self) -> Result<u64, Problem> {
        let node = &self.operator.node;
        if self.scope == Scope::Local {
            return Ok(node.live().reports(Scope::Local).borrow().index.0);
        }
        let raft = node.replica()?.raft().status();
        match raft.stopped {
            None => Ok(raft.applied),
            Some(_) => {
                let title = format!("{} has stopped", node.config().name);
                Err(Problem::new(Code::NodeUnreachable, title).hint("ask another node"))
            }
        }
    }

    /// Reads the next entries.
    fn read(&mut self, state: &State, applied: u64) -> Result<(), Problem> {
        let first = state.audit_cut().first;
        if self.last.saturating_add(1) < first {
            let index = self.seen.unwrap_or_default();
            return Err(gone(Position { index, sequence: Some(self.last) }));
        }
        let end = self.last.saturating_add(READ_MAX);
        for (number, entry) in state.audit(self.last.saturating_add(1)..=end) {
            self.last = number;
            let index = state.audit_index(number).unwrap_or_default();
            let event = view::event(state, (number, index), entry);
            self.waiting.extend(event.filter(|event| self.may_see(event)));
        }
        if self.last < end {
            self.seen = Some(applied);
        }
        Ok(())
    }

    /// Returns whether the caller may see an event: those with a limit see their domains alone.
    fn may_see(&self, event: &Event) -> bool {
        let access = &self.operator.caller.access;
        let domain = match event.kind {
            EventKind::Domain | EventKind::Certificate => Some(event.object.as_str()),
            EventKind::Trust => event.object.strip_prefix("domain:"),
            _ => None,
        };
        access.domains().is_empty()
            || domain.is_some_and(|name| {
                DomainName::parse(name).is_ok_and(|name| access.includes(&name))
            })
    }

    /// Notes what is observed and was not told. The first time, waits for the first look: a stream
    /// begins with it.
    async fn tell_observed(&mut self) {
        let Some(observing) = &mut self.observing else { return };
        let is_first = self.observed == Observed::default();
        let seen = match is_first {
            // It looks for as long as there is a receiver.
            true => observing.wait_for(Option::is_some).await.map(|seen| seen.clone()),
            false => Ok(observing.borrow_and_update().clone()),
        };
        let Ok(Some(seen)) = seen else { return };
        if seen == self.observed {
            return;
        }
        let before = std::mem::replace(&mut self.observed, seen.clone());
        if is_first || before.leader != seen.leader {
            let object = seen.leader.clone().unwrap_or_default();
            let values = (before.leader, seen.leader);
            self.waiting.push_back(view::observation(EventKind::Leader, &object, "leader", values));
        }
        let names: BTreeSet<&String> = before.nodes.keys().chain(seen.nodes.keys()).collect();
        for name in names {
            let values = (before.nodes.get(name).cloned(), seen.nodes.get(name).cloned());
            if values.0 != values.1 {
                self.waiting.push_back(view::observation(EventKind::Node, name, "state", values));
            }
        }
    }

    /// Waits for the next command or observation, and not longer than until the caller is looked at
    /// again.
    async fn wait(&mut self, applied: u64) -> Result<(), Problem> {
        let observed = async {
            match &mut self.observing {
                Some(observing) => drop(observing.changed().await),
                None => std::future::pending().await,
            }
        };
        let node = &self.operator.node;
        match self.scope {
            Scope::Shared => {
                let replica = node.replica()?;
                tokio::select! {
                    _ = replica.wait_applied(applied.saturating_add(1), LOOK_EVERY) => {}
                    () = observed => {}
                }
            }
            Scope::Local => {
                let mut reports = node.live().reports(Scope::Local);
                let changed = reports.wait_for(|report| report.index.0 > applied);
                // Its end at the next look is no failure.
                let _ = timeout(LOOK_EVERY, changed).await;
            }
        }
        Ok(())
    }
}
