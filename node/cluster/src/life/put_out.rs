//! What is left to do after a recovery from a lost quorum: a generation of the keyring that the
//! former members never get, and what an operator has to know.

use std::time::Duration;

use conclave_api::problem::{Code, Problem};
use conclave_raft::Role;
use conclave_store::{
    command::Command,
    outcome::Outcome,
    record::{LEVEL_MAX, MemberRole, Principal},
    scope::Scope,
    state::State,
    time::UnixMillis,
    wire,
};
use conclave_system::{clock, entropy};
use tokio::time::Instant;

use crate::{
    admit::{self, View},
    fault::internal,
    node::Node,
    recovered::{Former, Recovered},
    replica::{Attention, Replica, Wait},
    rights::Access,
};

/// How often the node looks whether it can turn the keyring.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Longest wait for the highest level, on which a generation carries a proof. The only member
/// reaches it within a second.
const LEVEL_WAIT: Duration = Duration::from_secs(5);
/// Longest time to order the new generation.
const ORDER_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for which a status speaks of a recovery.
const SHOWN_MS: u64 = 30 * 24 * 60 * 60 * 1_000;

/// Turns the keyring once after a recovery, as soon as this node leads and is unsealed. The former
/// members can open the generation from before it.
pub(super) async fn turn_keyring(node: Node, replica: Replica, recovered: Recovered) {
    let started = Instant::now();
    let mut is_told = false;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let state = replica.point().state.clone();
        if !recovered.is_done(&state) || !recovered.is_exposed(&state) {
            return;
        }
        let is_leader = replica.raft().status().role == Role::Leader;
        let is_ready = state.level() >= LEVEL_MAX || started.elapsed() >= LEVEL_WAIT;
        if !is_leader || !is_ready || node.keyring().sealed_reason().is_some() {
            continue;
        }
        match order(&node, &replica).await {
            Ok(Outcome::Done(_)) => {
                tracing::info!(
                    event = "recovered.members_put_out",
                    former = names(&recovered.former).join(" "),
                    "the former members cannot open what is sealed from now on"
                );
            }
            // Another command changed the cluster; the next round derives it again.
            Ok(Outcome::Rejected(rejection)) => {
                tracing::debug!(event = "recovered.not_turned", %rejection);
            }
            Err(problem) if !is_told => {
                is_told = true;
                tracing::warn!(event = "recovered.not_turned", "{}", problem.title);
            }
            Err(_) => {}
        }
    }
}

async fn order(node: &Node, replica: &Replica) -> Result<Outcome, Problem> {
    let (node, point) = (node.clone(), replica.point());
    let (id, now) = (replica.id(), clock::now());
    let derived = tokio::task::spawn_blocking(move || {
        let view = View {
            node: &node,
            scope: Scope::Shared,
            state: &point.state,
            now,
            if_version: None,
            family: None,
            is_if_missing: false,
            is_if_exists: false,
            access: &Access::all_rights(),
            principal: &Principal::Node(id),
            reason: None,
        };
        admit::rotate_keyring(&view)
    });
    let admitted = derived.await.map_err(|error| internal("admission", error))??;
    let nothing = || internal("a rotation without a command", id);
    let action = admitted.action.ok_or_else(nothing)?;
    let command = Command::by_node(id, entropy::array(), now, action);
    let reason = Some("recovered from a lost quorum".to_owned());
    let command = Command { reason, expects: admitted.expects, ..command };
    let bytes = wire::encode_command(&command).map_err(|error| internal("command", error))?;
    let deadline = Instant::now() + ORDER_TIMEOUT;
    let executed = replica
        .execute(&bytes, Wait::Committed, deadline)
        .await
        .map_err(|error| Problem::new(Code::NoLeader, error.to_string()))?;
    // The next round must see it.
    replica.wait_applied(executed.index.0, ORDER_TIMEOUT).await;
    Ok(executed.outcome)
}

fn names(former: &[Former]) -> Vec<&str> {
    former.iter().map(|one| one.name.as_str()).collect()
}

/// Returns what an operator has to do after a recovery. Nothing is left when the keyring was turned
/// and every former name is that of a new member, when there are as many voters as before, or after
/// a month.
pub fn left_to_do(
    recovered: &Recovered,
    state: &State,
    name: &str,
    is_sealed: bool,
    now: UnixMillis,
) -> Option<Attention> {
    if !recovered.is_done(state) {
        return None;
    }
    let is_back = |former: &&Former| state.members().any(|(_, m)| m.name.as_str() == former.name);
    let (back, away): (Vec<&Former>, Vec<&Former>) = recovered.former.iter().partition(is_back);
    let exposed = recovered.is_exposed(state);
    let voters = state.members().filter(|(_, member)| member.role == MemberRole::Voter).count();
    let voters = u64::try_from(voters).unwrap_or(u64::MAX);
    let is_old = now.0.saturating_sub(recovered.time) > SHOWN_MS;
    if !exposed && (away.is_empty() || voters >= recovered.voters || is_old) {
        return None;
    }
    // While the keyring is not turned, all of them are named.
    let shown = if exposed { [back, away].concat() } else { away };
    let names: Vec<&str> = shown.iter().map(|one| one.name.as_str()).collect();
    let names = names.join(", ");
    let time = clock::rfc3339(UnixMillis(recovered.time));
    let from = format!("recovered at {time} from index {}", recovered.from_index);
    let (text, hint) = match (exposed, is_sealed) {
        (true, true) => (
            format!(
                "{from}: it is sealed, so the former members {names} can still open the keyring"
            ),
            "conclave keyring unseal: it then turns the keyring by itself",
        ),
        (true, false) => (
            format!("{from}: the former members {names} can still open the keyring"),
            "it turns the keyring by itself; if this stays so, look at its log",
        ),
        (false, _) => (
            format!("{from}: the former members {names} must be wiped and join anew"),
            "never start them with their old data: empty their data_dir, then conclave cluster join",
        ),
    };
    Some(Attention {
        code: Code::Recovered.as_str().to_owned(),
        is_error: exposed,
        object: name.to_owned(),
        text,
        hint: hint.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use conclave_store::{
        command::{Action, FoundCluster},
        id::{ClusterId, ClusterName, Generation, LogIndex, NodeId, NodeName},
        machine,
        record::{Cluster, KeyringGeneration, Member, Sealed},
    };
    use serde_bytes::ByteBuf;

    use super::*;

    /// A cluster whose only member is node 1, at this generation.
    fn state(generation: u64) -> State {
        let nonce = [0; 12];
        let sealed = Sealed { generation: Generation(generation), nonce, ciphertext: vec![0; 40] };
        let cluster = Cluster {
            id: ClusterId([1; 16]),
            name: ClusterName::parse("test").unwrap(),
            authority_der: Vec::new(),
            authority_key: sealed,
            generation: Generation(generation),
            node_last: NodeId(1),
            founded: UnixMillis(0),
        };
        let member = Member {
            id: NodeId(1),
            name: NodeName::parse("node-1").unwrap(),
            role: MemberRole::Voter,
            identity_der: Vec::new(),
            sealing_key: [0; 32],
            address: String::new(),
            joined: UnixMillis(0),
        };
        let wraps = BTreeMap::from([(NodeId(1), ByteBuf::from(vec![0; 80]))]);
        let keyring = KeyringGeneration { wraps, made: UnixMillis(0) };
        let found = Action::FoundCluster(Box::new(FoundCluster { cluster, member, keyring }));
        let command = Command::by_node(NodeId(1), [0; 10], UnixMillis(0), found);
        machine::apply(&State::default(), LogIndex(1), &command).state
    }

    fn former(id: u64, name: &str) -> Former {
        let (name, address) = (name.to_owned(), String::new());
        Former { id, name, address, is_voter: true }
    }

    fn left(
        former: Vec<Former>,
        voters: u64,
        generation: u64,
        days: u64,
    ) -> Option<(bool, String)> {
        let note = Recovered::new(UnixMillis(0), (3, 120), Generation(1), voters, former);
        let now = UnixMillis(days * 24 * 60 * 60 * 1_000);
        let left = left_to_do(&note, &state(generation), "node-1", false, now);
        left.map(|one| (one.is_error, one.text))
    }

    #[test]
    fn a_recovery_is_spoken_of_until_nothing_is_left_to_do() {
        let away = || vec![former(2, "node-2"), former(3, "node-3")];
        let (is_error, text) = left(away(), 3, 1, 0).unwrap();
        assert!(is_error && text.contains("can still open the keyring"), "{text}");
        let (is_error, text) = left(away(), 3, 2, 0).unwrap();
        assert!(!is_error && text.contains("from index 120"), "{text}");
        assert!(text.ends_with("node-2, node-3 must be wiped and join anew"), "{text}");
        assert!(left(away(), 3, 2, 31).is_none(), "a month has passed");
        assert!(left(away(), 1, 2, 0).is_none(), "as many voters as before");
        assert!(left(vec![former(7, "node-1")], 3, 2, 0).is_none(), "its name is back");
        assert!(left(away(), 3, 1, 31).is_some(), "the keyring is not turned");
        // A recovery that was interrupted before it replaced State: node 1 is still a member.
        assert!(left(vec![former(1, "node-1")], 3, 1, 0).is_none());
    }
}
