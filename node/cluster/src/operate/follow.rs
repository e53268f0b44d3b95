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
    limits::EVENTS_SILENCE_S,
    problem::{Code, Problem},
};
use conclave_store::{
    id::{DomainName, EmailAddress, LogIndex},
    machine::GRANTS_LEVEL,
    record::Right,
    scope::Scope,
    state::State,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout},
};

use super::Operator;
use crate::{
    followers::{FOLLOWERS_EACH_MAX, FOLLOWERS_MAX, FollowerPlace},
    node::Node,
    view,
};

/// Event of a rename. Its object is the old name.
const RENAMED: &str = "domain.rename";
/// The difference that holds the names of a domain, its own name first.
const NAMES: &str = "names";
/// Most entries that one step reads.
const READ_MAX: u64 = 256;
/// Time between two looks at what this node observes, and at whether the caller may still follow.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Events on the way to a caller.
const SENT_MAX: usize = 16;
/// Longest time for a caller to take one.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// What a follower is told.
pub enum Told {
    /// A change, or what the node observes.
    Event(Box<Event>),
    /// The position behind everything that was read. It moves also where nothing is told.
    Position(Position),
    /// Why there can be nothing further.
    End(Box<Problem>),
}

/// A caller that follows the changes of one scope.
struct Following {
    operator: Operator,
    scope: Scope,
    /// Wanted kinds of events; none: all.
    kinds: BTreeSet<EventKind>,
    /// Number of the last entry that was read, and the index of the command that wrote it; none if
    /// it is not kept.
    last: u64,
    last_index: Option<LogIndex>,
    /// Index up to which the trail was read; `None` before the first time.
    seen: Option<u64>,
    /// Events that were not told yet.
    waiting: VecDeque<Event>,
    /// What this node observes; `None` if the caller does not get it.
    observing: Option<watch::Receiver<Option<Observed>>>,
    /// What was told of it; `None`: nothing yet.
    observed: Option<Observed>,
    told_at: Instant,
    _place: FollowerPlace,
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
    pub async fn follow(
        &self,
        kinds: BTreeSet<EventKind>,
        from: Option<Position>,
    ) -> Result<mpsc::Receiver<Told>, Problem> {
        let scope = self.scope.unwrap_or(Scope::Shared);
        if let (Scope::Shared, Some(from)) = (scope, from) {
            wait_until(&self.node, from.index, self.deadline).await?;
        }
        let state = state(&self.node, scope)?;
        if state.level() < GRANTS_LEVEL && scope == Scope::Shared {
            let title = "events need a newer version than one of the members has";
            return Err(Problem::new(Code::VersionTooOld, title).hint("conclave cluster upgrade"));
        }
        let place = self.node.followers().take(&self.caller.principal).ok_or_else(|| {
            Problem::new(Code::LimitReached, "too many streams of events are open on this node")
                .detail(format!("{FOLLOWERS_MAX} in all, {FOLLOWERS_EACH_MAX} of one caller"))
                .hint("end one of them, or ask another node")
        })?;
        let last = match from {
            None => view::audit_last(&state),
            Some(from) => start(&state, from).ok_or_else(|| gone(from))?,
        };
        let is_wanted = |kind| kinds.is_empty() || kinds.contains(&kind);
        let is_observed = is_wanted(EventKind::Leader) || is_wanted(EventKind::Node);
        let sees_all = scope == Scope::Shared && self.caller.access.domains().is_empty();
        let observing = (is_observed && sees_all).then(|| observe(self.node.clone()));
        // First where it begins, before anything is read: a caller that hears nothing else, or not
        // all, goes on from there.
        let last_index = state.audit_index(last);
        let begin = position(last, last_index, from.map_or(0, |from| from.index));
        let (sender, receiver) = mpsc::channel(SENT_MAX);
        // The channel has room, and its other end is here.
        let _ = sender.try_send(Told::Position(begin));
        let following = Following {
            operator: self.clone(),
            scope,
            kinds,
            last,
            last_index,
            seen: None,
            waiting: VecDeque::new(),
            observing,
            observed: None,
            told_at: Instant::now(),
            _place: place,
        };
        tokio::spawn(following.run(sender));
        Ok(receiver)
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
pub async fn wait_until(node: &Node, index: u64, deadline: Instant) -> Result<(), Problem> {
    let left = deadline.saturating_duration_since(Instant::now());
    // A node without a cluster has applied nothing.
    let applied = match node.replica() {
        Ok(replica) if replica.wait_applied(index, left).await => return Ok(()),
        Ok(replica) => replica.raft().status().applied,
        Err(_) => 0,
    };
    let name = &node.config().name;
    Err(Problem::new(Code::NodeLagging, format!("{name} has not reached the index {index}"))
        .detail(format!("it has applied everything up to {applied}"))
        .hint("repeat the request, or ask another node; an index of another cluster never comes"))
}

/// Returns the number of the entry behind which a position is; `None` if this trail cannot tell.
fn start(state: &State, from: Position) -> Option<u64> {
    let Some(number) = from.sequence else { return state.audit_until(LogIndex(from.index)) };
    let is_last_removed = number.checked_add(1) == Some(state.audit_cut().first);
    let is_here = state.audit_index(number) == Some(LogIndex(from.index));
    (is_here || is_last_removed).then_some(number)
}

/// Returns the position behind an entry, or behind an index if the entry is not kept.
fn position(last: u64, of_entry: Option<LogIndex>, index: u64) -> Position {
    match of_entry {
        Some(index) => Position { index: index.0, sequence: Some(last) },
        None => Position { index, sequence: None },
    }
}

fn gone(from: Position) -> Problem {
    Problem::new(Code::EventsGone, format!("no events are kept behind {from}"))
        .why("they were removed from the audit trail, or the position is of another trail")
        .hint("read what there is now, then follow behind the Conclave-Index of that answer")
}

fn state(node: &Node, scope: Scope) -> Result<State, Problem> {
    Ok(match scope {
        Scope::Shared => node.replica()?.point().state.clone(),
        Scope::Local => node.local().point().state.clone(),
    })
}

impl Following {
    /// Tells until the receiver is gone, or takes nothing for too long: a place is not held by one
    /// that does not read.
    async fn run(mut self, sender: mpsc::Sender<Told>) {
        while !sender.is_closed() {
            let told = match self.step().await {
                Ok(()) => self.next(),
                Err(problem) => Some(Told::End(Box::new(problem))),
            };
            let Some(told) = told else { continue };
            let is_end = matches!(told, Told::End(_));
            self.told_at = Instant::now();
            let sent = sender.send_timeout(told, SEND_TIMEOUT).await;
            if sent.is_err() || is_end {
                return;
            }
        }
    }

    /// Returns what is to be told now. A position never comes before an event that it is behind.
    fn next(&mut self) -> Option<Told> {
        if let Some(event) = self.waiting.pop_front() {
            return Some(Told::Event(Box::new(event)));
        }
        let is_silent = self.told_at.elapsed().as_secs() >= EVENTS_SILENCE_S;
        let seen = self.seen.unwrap_or_default();
        is_silent.then(|| Told::Position(position(self.last, self.last_index, seen)))
    }

    /// Reads what there is, or waits a moment for more.
    async fn step(&mut self) -> Result<(), Problem> {
        if !self.waiting.is_empty() {
            return Ok(());
        }
        self.tell_observed().await;
        // Taken before State, which holds at least so much.
        let applied = self.applied()?;
        if self.seen != Some(applied) {
            let state = state(&self.operator.node, self.scope)?;
            self.read(&state, applied)?;
            // Others have their turn between two steps of a long way.
            tokio::task::yield_now().await;
        }
        // By a State that is not older than what was read.
        self.operator.caller.check_still(&self.operator.node)?;
        if self.waiting.is_empty() && self.seen == Some(applied) {
            self.wait(applied).await?;
        }
        Ok(())
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
            let index = state.audit_index(number);
            (self.last, self.last_index) = (number, index);
            let event = view::event(state, (number, index.unwrap_or_default()), entry);
            let is_wanted =
                |event: &Event| self.kinds.is_empty() || self.kinds.contains(&event.kind);
            self.waiting.extend(event.filter(is_wanted).and_then(|event| self.shown(state, event)));
        }
        if self.last < end {
            self.seen = Some(applied);
        }
        Ok(())
    }

    /// Returns an event as the caller may see it. Those with a limit see their domains alone; who
    /// did it, and why, is for those who may read the audit trail.
    fn shown(&self, state: &State, mut event: Event) -> Option<Event> {
        let access = &self.operator.caller.access;
        if !access.has(Right::Audit) {
            (event.who, event.reason, event.operation) = (None, None, None);
        }
        if access.domains().is_empty() {
            return Some(event);
        }
        let may_see = |name: &str| DomainName::parse(name).is_ok_and(|name| access.includes(&name));
        let owner = domain_of_account(state, &event);
        let domain = match event.kind {
            EventKind::Domain | EventKind::Certificate | EventKind::Smime => {
                Some(event.object.as_str())
            }
            EventKind::Account => owner.as_deref(),
            EventKind::Trust => event.object.strip_prefix("domain:"),
            _ => None,
        };
        if event.event != RENAMED {
            return domain.is_some_and(may_see).then_some(event);
        }
        // A domain that comes to the caller by its new name, or leaves it: told by the name that
        // the caller may see, without the other one. The new name is the first of its names.
        let names = event.differences.iter().find(|one| one.what == NAMES);
        let after = names.and_then(|one| one.after.as_deref()).unwrap_or_default();
        let new = after.split_whitespace().next().filter(|name| may_see(name));
        match (domain.filter(|name| may_see(name)), new) {
            (Some(_), Some(_)) => Some(event),
            (old, new) => {
                let object = old.or(new)?.to_owned();
                Some(Event { object, differences: Vec::new(), ..event })
            }
        }
    }

    /// Notes what is observed and was not told. The first time, waits for the first look: a stream
    /// begins with it.
    async fn tell_observed(&mut self) {
        let Some(observing) = &mut self.observing else { return };
        let seen = match &self.observed {
            // It looks for as long as there is a receiver.
            None => observing.wait_for(Option::is_some).await.ok().and_then(|seen| seen.clone()),
            Some(_) => observing.borrow_and_update().clone(),
        };
        let Some(seen) = seen.filter(|seen| self.observed.as_ref() != Some(seen)) else { return };
        let is_first = self.observed.is_none();
        let before = self.observed.replace(seen.clone()).unwrap_or_default();
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
        let kinds = &self.kinds;
        self.waiting.retain(|event| kinds.is_empty() || kinds.contains(&event.kind));
    }

    /// Waits for the next command or observation, and not longer than until the caller is looked at
    /// again.
    async fn wait(&mut self, applied: u64) -> Result<(), Problem> {
        let observed = async {
            let Some(observing) = &mut self.observing else { return std::future::pending().await };
            // Nobody looks any longer: then the time ends the wait.
            if observing.changed().await.is_err() {
                std::future::pending::<()>().await;
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

/// Returns the domain to which the account of an event belongs, or belonged; `None` if it is about
/// something else.
fn domain_of_account(state: &State, event: &Event) -> Option<String> {
    let is_of_account = event.kind == EventKind::Account;
    let address = EmailAddress::parse(&event.object).ok().filter(|_| is_of_account)?;
    let present = state.domain_of(&address).map(|domain| &domain.name);
    Some(present.unwrap_or(address.domain()).to_string())
}
