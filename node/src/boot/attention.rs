//! Looks in the background for what needs attention on this node, so that every member's status
//! can say it, and judges domains before a status asks for them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use conclave_api::status::DomainCounts;
use conclave_cluster::{
    life,
    node::Node,
    observe::DomainFacts,
    operate,
    view::{self, Expiry, Serving},
};
use conclave_store::{scope::Scope, state::State, time::UnixMillis};
use conclave_system::clock;

/// Pause between two rounds.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// Longest time to judge domains in one round: a small share of one processor.
const INSPECT_TIME_MAX: Duration = Duration::from_millis(200);
/// Pause before the next round while domains are left to judge.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(800);
/// Rounds after which the memory of deleted domains is freed.
const FORGET_AFTER: u32 = 200;

/// Runs until the node ends.
pub(super) async fn watch(node: Node) {
    let expiry = Arc::new(Mutex::new(Expiry::default()));
    for round in 0_u32.. {
        let (looked, expiry) = (node.clone(), Arc::clone(&expiry));
        let look = move || {
            let mut expiry = expiry.lock().unwrap_or_else(PoisonError::into_inner);
            look(&looked, &mut expiry, round.is_multiple_of(FORGET_AFTER))
        };
        let is_all = tokio::task::spawn_blocking(look).await.unwrap_or(true);
        tokio::time::sleep(if is_all { LOOK_EVERY } else { CATCH_UP_PAUSE }).await;
    }
}

/// Looks once. Returns whether all domains are judged.
fn look(node: &Node, expiry: &mut Expiry, is_forgetting: bool) -> bool {
    let (inspections, now) = (node.inspections(), clock::now());
    node.lock().forget_old_shares();
    operate::catch_up(node);
    let deadline = Instant::now() + INSPECT_TIME_MAX;
    let local = node.local().point();
    let own = view::domains(inspections, Scope::Local, &local.state, now, deadline);
    let Some(member) = node.member() else {
        let is_all = own.counts.unchecked == 0;
        note_domains(node, expiry, own.counts, &State::default(), now);
        return is_all;
    };
    let space = conclave_disk::space(node.data_dir()).ok();
    let has_room = member.replica.raft().has_room();
    let name = node.config().name.as_str();
    let mut attention = view::of_node(name, space, has_room, &own.problems);
    attention.extend(node.lock().exposure().map(|text| view::unlock_exposed(name, &text)));
    if let Some(recovered) = &member.recovered {
        let state = &member.replica.point().state;
        let is_sealed = node.keyring().is_sealed();
        attention.extend(life::left_to_do(recovered, state, name, is_sealed, now));
    }
    member.replica.note_attention(attention);
    let point = member.replica.point();
    let shared = view::domains(inspections, Scope::Shared, &point.state, now, deadline);
    if is_forgetting {
        expiry.forget();
        view::forget_deleted(inspections, Scope::Local, &local.state);
        view::forget_deleted(inspections, Scope::Shared, &point.state);
    }
    let counts = own.counts.sum(&shared.counts);
    let is_all = counts.unchecked == 0;
    note_domains(node, expiry, counts, &point.state, now);
    is_all
}

/// Notes the domains in numbers for the metrics.
fn note_domains(
    node: &Node,
    expiry: &mut Expiry,
    counts: DomainCounts,
    shared: &State,
    now: UnixMillis,
) {
    let is_each = node.config().per_domain.is_on(counts.total);
    let mut facts = DomainFacts { counts, ..DomainFacts::default() };
    let local = node.local().point();
    for (scope, state) in [(Scope::Local, &local.state), (Scope::Shared, shared)] {
        let failed = node.live().reports(scope).borrow().failed.clone();
        let serving = Serving { failed: &failed, is_sealed: node.keyring().is_sealed() };
        expiry.add(scope, state, &serving, now, is_each, &mut facts);
    }
    node.observed().note_domains(facts);
}
