//! Founding of a cluster: makes its authority, the first keyring generation and the first member.

use std::{collections::BTreeMap, time::Duration};

use conclave_api::problem::Problem;
use conclave_keys::{GenerationKey, Purpose, wrap};
use conclave_store::{
    command::{Action, Command, FoundCluster},
    id::{ClusterId, ClusterName, Generation, NodeId, OperationId},
    outcome::Outcome,
    record::{Cluster, KeyringGeneration, LEVEL_MAX, Member, MemberRole, Principal},
    scope::Scope,
    wire,
};
use conclave_system::{clock, entropy};
use serde_bytes::ByteBuf;
use tokio::time::Instant;

use super::leftover;
use crate::{
    authority::Authority,
    fault::internal,
    member,
    membership::{Introduced, Membership},
    node::Node,
    replica::{Replica, Wait},
};

const TIMEOUT: Duration = Duration::from_secs(20);

/// Makes this node the first member of a new cluster.
pub async fn found(node: &Node, name: ClusterName, principal: Principal) -> Result<(), Problem> {
    node.check_unsealed()?;
    let _joining = node.membership_change()?;
    let id = ClusterId(entropy::array());
    let first = NodeId(1);
    let (found, mut membership) = prepare(node, id, name, first)?;
    // Written first. After a crash the next start then knows that the cluster may be incomplete and
    // that nothing of it was acknowledged.
    membership.founding = true;
    write(node, &membership)?;
    match order(node, &membership, found, principal).await {
        Ok(mut member) => {
            membership.founding = false;
            if let Err(problem) = write(node, &membership) {
                member.give_up().await;
                abandon(node)?;
                return Err(problem);
            }
            // Only now can callers reach the cluster and get changes acknowledged.
            member.membership = membership;
            node.publish(member);
            super::start::certified(node).await;
            Ok(())
        }
        Err(problem) => {
            abandon(node)?;
            Err(problem)
        }
    }
}

fn write(node: &Node, membership: &Membership) -> Result<(), Problem> {
    membership.write(node.data_dir()).map_err(|e| internal("cannot note the membership", e))
}

/// Puts the leftovers of an unfinished founding aside. Removes the membership file last, because it
/// identifies the rest.
pub fn abandon(node: &Node) -> Result<(), Problem> {
    let abandoned = leftover::abandon(node.data_dir(), clock::now());
    let abandoned = abandoned.map_err(|e| internal("cannot put a founding aside", e))?;
    for path in abandoned {
        tracing::warn!(event = "founding.abandoned", path = %path.display());
    }
    Membership::remove(node.data_dir()).map_err(|e| internal("cannot put a founding aside", e))
}

/// Starts the first member and executes the founding command as its first change. Stops the member
/// if that fails.
async fn order(
    node: &Node,
    membership: &Membership,
    found: FoundCluster,
    principal: Principal,
) -> Result<member::Member, Problem> {
    let member = super::start::open(node, membership).await?;
    match order_at(node, &member.replica, found, principal).await {
        Ok(()) => Ok(member),
        Err(problem) => {
            member.give_up().await;
            Err(problem)
        }
    }
}

async fn order_at(
    node: &Node,
    replica: &Replica,
    mut found: FoundCluster,
    principal: Principal,
) -> Result<(), Problem> {
    let address = node.advertised()?;
    let started = replica.raft().initialize(&address).await;
    started.map_err(|error| internal("cannot start the cluster", error))?;
    found.member.address = address;
    let command = Command {
        operation: OperationId::parse("found").map_err(|e| internal("operation", e))?,
        principal,
        request: [0; 32],
        time: clock::now(),
        reason: None,
        expects: Vec::new(),
        action: Action::FoundCluster(Box::new(found)),
        origin: None,
    };
    let bytes = wire::encode_command(&command).map_err(|e| internal("command", e))?;
    let done = replica.execute(&bytes, Wait::Served, Instant::now() + TIMEOUT).await;
    let done = done.map_err(|error| internal("cannot found the cluster", error))?;
    if let Outcome::Rejected(rejection) = done.outcome {
        return Err(internal("cannot found the cluster", rejection));
    }
    // A new cluster has no earlier version to go back to. If this fails, the leader retries, unless
    // upgrades are finalized by hand.
    if let Err(error) = replica.order_level(LEVEL_MAX).await {
        tracing::warn!(event = "level.not_raised", %error);
    }
    // No shared domain can have the name yet. If this fails, `claim_main_domain` retries in the
    // background.
    let _ = replica.try_main_domain(&node.config().main_domain).await;
    Ok(())
}

fn prepare(
    node: &Node,
    id: ClusterId,
    name: ClusterName,
    first: NodeId,
) -> Result<(FoundCluster, Membership), Problem> {
    let now = clock::now();
    let authority = Authority::make(name.as_str())?;
    let certificate = authority
        .certify_node(first, node.keys().identity_public())
        .map_err(|e| internal("cannot make the node's certificate", e))?;
    let generation = Generation(1);
    let generation_key = GenerationKey::make();
    let wrapped = wrap(&generation_key, node.keys().sealing_public(), id, generation, first)
        .map_err(|e| internal("cannot wrap the keyring", e))?;
    node.keyring().found(id, generation, generation_key);
    let authority_key = node
        .keyring()
        .seal(Scope::Shared, Purpose::Authority, authority.key.pkcs8_der())
        .map_err(|e| internal("cannot seal the authority's key", e))?;
    let membership = Membership::new(
        id.0,
        name.to_string(),
        first.0,
        authority.certificate.der().to_vec(),
        certificate.der().to_vec(),
        vec![Introduced {
            id: first.0,
            identity_der: node.keys().identity_public().to_vec(),
            address: String::new(),
        }],
    );
    let found = FoundCluster {
        cluster: Cluster {
            id,
            name,
            authority_der: authority.certificate.der().to_vec(),
            authority_key,
            generation,
            node_last: first,
            founded: now,
        },
        member: Member {
            id: first,
            name: node.config().name.clone(),
            role: MemberRole::Voter,
            identity_der: node.keys().identity_public().to_vec(),
            sealing_key: *node.keys().sealing_public(),
            // Set in `order_at`, when the socket is open.
            address: String::new(),
            joined: now,
        },
        keyring: KeyringGeneration {
            wraps: BTreeMap::from([(first, ByteBuf::from(wrapped))]),
            made: now,
        },
    };
    Ok((found, membership))
}
