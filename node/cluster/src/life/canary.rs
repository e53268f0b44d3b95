//! The watch over canaries: the other members look at the one that serves a new certificate.
//!
//! Each of them makes a handshake with it about once a second, as a client would. One that sees
//! something else several times in a row ends the canary. At its end a member that has seen the
//! certificate, and sees it still, has it served everywhere. The leader also reads the reports of
//! the canary's member, and decides alone where no listener can be probed.

mod probe;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use conclave_raft::Role;
use conclave_store::{
    command::{Action, Command},
    id::{DomainName, ListenerName},
    outcome::Outcome,
    record::{Canary, RowKey},
    state::State,
    time::UnixMillis,
    wire,
};
use conclave_system::{clock, entropy};
use futures::future::join_all;
use tokio::time::Instant;

use super::limits::{CANARY_FAILURES_MAX, CANARY_GRACE_MS};
use crate::{
    node::Node,
    replica::{Replica, Wait},
};
use probe::Seen;

/// How often a member looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Longest time to order the end of a canary.
const ORDER_TIMEOUT: Duration = Duration::from_secs(5);

/// Watches all canaries of the cluster. Runs until dropped.
pub(super) async fn watch(node: Node, replica: Replica) {
    let mut watched: BTreeMap<DomainName, Watched> = BTreeMap::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let state = replica.point().state.clone();
        let is_present = |name: &DomainName, one: &Watched| {
            state.canary(name).is_some_and(|canary| canary.since == one.since)
        };
        watched.retain(|name, one| is_present(name, one));
        // A sealed member may order nothing that only holders of the keyring order.
        if state.is_restoring() || node.keyring().sealed_reason().is_some() {
            continue;
        }
        for (name, canary) in state.canaries() {
            watched.entry(name.clone()).or_insert_with(|| Watched::new(canary.since));
        }
        let looks = watched.iter_mut().map(|(name, one)| look(&replica, &state, name, one));
        join_all(looks).await;
    }
}

async fn look(replica: &Replica, state: &State, name: &DomainName, watched: &mut Watched) {
    let Some(canary) = state.canary(name) else { return };
    let is_own = canary.node == replica.id();
    let seen = match is_own {
        true => Vec::new(),
        false => probe::all(state, canary, watched.looks).await,
    };
    watched.looks = watched.looks.wrapping_add(1);
    let reported = match replica.raft().status().role == Role::Leader {
        true => Some(is_reported(replica, state, name, canary).await),
        false => None,
    };
    let member = state.member(&canary.node).map(|member| member.name.to_string());
    let verdict = match &member {
        Some(_) => watched.judge(seen, reported, is_own, clock::now(), canary.until),
        None => Verdict::Stop("its node has left".to_owned()),
    };
    let node = member.unwrap_or_else(|| canary.node.to_string());
    match verdict {
        Verdict::Wait => {}
        Verdict::Promote => {
            if end(replica, state, name, true).await {
                tracing::info!(event = "canary.promoted", domain = %name, node);
            }
        }
        Verdict::Stop(reason) => {
            if end(replica, state, name, false).await {
                tracing::warn!(event = "canary.stopped", domain = %name, node, reason);
            }
        }
    }
}

/// Returns whether the canary's member reports to the leader that it serves the certificate.
async fn is_reported(replica: &Replica, state: &State, name: &DomainName, canary: &Canary) -> bool {
    let row = state.row(&RowKey::Canary(name.clone()));
    let Some(changed_at) = row.map(|row| row.changed_at) else { return false };
    replica.serving_present(changed_at, name.as_str()).await.0.contains(&canary.node)
}

/// Orders the end of a canary. Returns whether this member ended it: another one may be faster.
async fn end(replica: &Replica, state: &State, name: &DomainName, is_promoted: bool) -> bool {
    let action = Action::EndCanary(name.clone(), is_promoted);
    let command = Command::by_node(replica.id(), entropy::array(), clock::now(), action);
    // Not a later canary of the same domain.
    let expects = vec![state.expectation(RowKey::Canary(name.clone()))];
    let Ok(bytes) = wire::encode_command(&Command { expects, ..command }) else { return false };
    let deadline = Instant::now() + ORDER_TIMEOUT;
    match replica.execute(&bytes, Wait::Committed, deadline).await {
        Ok(executed) => matches!(executed.outcome, Outcome::Done(_)),
        Err(error) => {
            tracing::warn!(event = "canary.not_ended", domain = %name, %error);
            false
        }
    }
}

/// What to do about a canary.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Wait,
    Promote,
    Stop(String),
}

/// What this member has seen of a canary so far.
struct Watched {
    since: UnixMillis,
    /// Number of looks.
    looks: usize,
    /// Listeners that have shown the certificate. What has never answered may be out of reach.
    answered: BTreeSet<ListenerName>,
    /// Looks in a row at which something was wrong.
    failures: u32,
    /// Looks in a row at which the member reported nothing, or that it fails.
    unreported: u32,
}

impl Watched {
    fn new(since: UnixMillis) -> Watched {
        Watched { since, looks: 0, answered: BTreeSet::new(), failures: 0, unreported: 0 }
    }

    /// Judges one look. `reported` is whether the canary's member reports that it serves it; none
    /// if this member does not lead. `is_own` says that this member is the canary's.
    fn judge(
        &mut self,
        seen: Vec<(ListenerName, Seen)>,
        reported: Option<bool>,
        is_own: bool,
        now: UnixMillis,
        until: UnixMillis,
    ) -> Verdict {
        let mut wrong = None;
        for (listener, seen) in seen {
            match seen {
                Seen::Right => {
                    self.answered.insert(listener);
                }
                Seen::Wrong(text) => wrong = Some(text),
                Seen::Silent(text) if self.answered.contains(&listener) => wrong = Some(text),
                Seen::Silent(_) => {}
            }
        }
        self.failures = if wrong.is_some() { self.failures + 1 } else { 0 };
        self.unreported = if reported == Some(false) { self.unreported + 1 } else { 0 };
        if let Some(text) = wrong.filter(|_| self.failures >= CANARY_FAILURES_MAX) {
            return Verdict::Stop(text);
        }
        if self.unreported >= CANARY_FAILURES_MAX {
            return Verdict::Stop("its node does not report that it serves it".to_owned());
        }
        // The members that probe come first: a leader that is the canary has seen nothing.
        let until = if is_own { until.plus(CANARY_GRACE_MS) } else { until };
        let is_right = self.failures == 0 && self.unreported == 0;
        let has_seen = !self.answered.is_empty() || reported == Some(true);
        if now >= until && is_right && has_seen { Verdict::Promote } else { Verdict::Wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNTIL: UnixMillis = UnixMillis(100_000);
    const LATER: UnixMillis = UnixMillis(UNTIL.0 + CANARY_GRACE_MS);
    const EARLY: UnixMillis = UnixMillis(1);

    fn watched() -> Watched {
        Watched::new(EARLY)
    }

    fn seen(seen: Seen) -> Vec<(ListenerName, Seen)> {
        vec![(ListenerName::parse("https").unwrap(), seen)]
    }

    fn wrong() -> Vec<(ListenerName, Seen)> {
        seen(Seen::Wrong("wrong".to_owned()))
    }

    fn silent() -> Vec<(ListenerName, Seen)> {
        seen(Seen::Silent("silent".to_owned()))
    }

    #[test]
    fn who_has_seen_it_and_sees_it_still_promotes_it_at_its_end() {
        let mut one = watched();
        assert_eq!(one.judge(seen(Seen::Right), None, false, EARLY, UNTIL), Verdict::Wait);
        assert_eq!(one.judge(wrong(), None, false, UNTIL, UNTIL), Verdict::Wait, "wrong once");
        assert_eq!(one.judge(silent(), None, false, UNTIL, UNTIL), Verdict::Wait, "silent once");
        assert_eq!(one.judge(seen(Seen::Right), None, false, UNTIL, UNTIL), Verdict::Promote);
        assert_eq!(watched().judge(silent(), None, false, UNTIL, UNTIL), Verdict::Wait);
    }

    #[test]
    fn what_is_wrong_again_and_again_ends_it() {
        let mut one = watched();
        for _ in 1..CANARY_FAILURES_MAX {
            assert_eq!(one.judge(wrong(), Some(true), false, UNTIL, UNTIL), Verdict::Wait);
        }
        let verdict = one.judge(wrong(), Some(true), false, UNTIL, UNTIL);
        assert_eq!(verdict, Verdict::Stop("wrong".to_owned()));
    }

    #[test]
    fn silence_counts_only_of_what_has_answered() {
        let (mut never, mut once) = (watched(), watched());
        once.judge(seen(Seen::Right), None, false, EARLY, UNTIL);
        let looks = |one: &mut Watched| {
            let look = |_| one.judge(silent(), None, false, EARLY, UNTIL);
            (0..CANARY_FAILURES_MAX).map(look).last().unwrap()
        };
        assert_eq!(looks(&mut never), Verdict::Wait);
        assert_eq!(looks(&mut once), Verdict::Stop("silent".to_owned()));
    }

    #[test]
    fn the_leader_goes_by_reports_and_waits_for_others_about_itself() {
        let mut leader = watched();
        assert_eq!(leader.judge(Vec::new(), Some(true), false, UNTIL, UNTIL), Verdict::Promote);
        assert_eq!(leader.judge(Vec::new(), Some(true), true, UNTIL, UNTIL), Verdict::Wait);
        assert_eq!(leader.judge(Vec::new(), Some(true), true, LATER, UNTIL), Verdict::Promote);
        for _ in 1..CANARY_FAILURES_MAX {
            let verdict = leader.judge(Vec::new(), Some(false), false, LATER, UNTIL);
            assert_eq!(verdict, Verdict::Wait);
        }
        let verdict = leader.judge(Vec::new(), Some(false), false, LATER, UNTIL);
        assert!(matches!(verdict, Verdict::Stop(_)));
    }
}
