//! The gate for requests of members: what only a holder of the keyring may ask.
//!
//! A member is known by its identity key, which is not under its unlock key, so that a sealed node
//! can vote and replicate. A stolen data directory has that key too. What orders changes, seals or
//! drains therefore needs a proof under the keyring, which holds for one connection and one request.

use std::time::Duration;

use conclave_keys::{Claim, Purpose};
use conclave_raft::CallError;
use conclave_store::{
    command::{Action, Command, SetMember},
    id::{Generation, NodeId},
    record::{Principal, Proof},
    wire,
};
use serde_bytes::ByteBuf;

use super::{
    Replica,
    call::{RequestV1, decode, encode},
};

/// First level at which every member proves what it asks.
const PROOFS_LEVEL: u32 = 3;

impl Replica {
    /// Sends a request that needs a proof.
    pub(super) async fn call_proved(
        &self,
        to: NodeId,
        request: Vec<u8>,
        patience: Duration,
    ) -> Result<Vec<u8>, CallError> {
        let to = conclave_raft::NodeId(to.0);
        if !self.has_proofs() || self.shared.keyring.current().is_none() {
            return self.shared.raft.call(to, request, patience).await;
        }
        let keyring = &self.shared.keyring;
        let build = |exporter: [u8; 32]| {
            match keyring.prove(&Claim::Call { exporter: &exporter, request: &request }) {
                Ok(proof) => encode(&RequestV1::Proved { proof, request: ByteBuf::from(request) }),
                // The keyring was turned and this node does not hold the new generation yet.
                Err(_) => request,
            }
        };
        self.shared.raft.call_bound(to, build, patience).await
    }

    /// Returns whether members prove what they ask.
    pub(crate) fn has_proofs(&self) -> bool {
        self.point().state.level() >= PROOFS_LEVEL
    }

    /// Returns the request behind a proof; none if the proof does not hold here.
    pub(super) fn proved(
        &self,
        exporter: [u8; 32],
        proof: &Proof,
        request: &[u8],
    ) -> Option<RequestV1> {
        let claim = Claim::Call { exporter: &exporter, request };
        let current = self.shared.keyring.current()?;
        // The sender may not have applied the last rotation yet.
        let is_current = proof.generation >= Generation(current.0.saturating_sub(1));
        let is_proved = is_current && self.shared.keyring.verifies(proof, &claim);
        is_proved.then(|| decode(request)).flatten()
    }

    /// Returns whether a member may ask this without a proof.
    pub(super) fn may_ask(&self, from: NodeId, request: &RequestV1) -> bool {
        if !self.has_proofs() {
            return true;
        }
        match request {
            RequestV1::Execute { command, .. } => {
                wire::decode_command(command).is_ok_and(|command| may_order(from, &command))
            }
            RequestV1::Seal { purpose, .. } => {
                matches!(
                    purpose,
                    Purpose::DomainKey(_)
                        | Purpose::PendingKey(_)
                        | Purpose::SmimeIssuer(_)
                        | Purpose::AccountKey(_)
                )
            }
            RequestV1::Drain(_) | RequestV1::Transfer { .. } => false,
            _ => true,
        }
    }
}

/// Returns whether a sealed member may have this ordered: what a person typed at its socket, if it
/// does not decide who opens secrets, and what it says about itself.
fn may_order(from: NodeId, command: &Command) -> bool {
    match (&command.principal, &command.action) {
        (Principal::SealedSocket { node, .. }, action) => *node == from && !action.is_of_trust(),
        (Principal::Node(node), Action::SetMainDomain(id, _)) => (*node, *id) == (from, from),
        // What was denied at a sealed node. It can add to the trail, and remove nothing from it.
        (Principal::Node(node), Action::NoteAudit(_)) => *node == from,
        (Principal::Node(node), Action::SetMember(set)) => {
            let SetMember { id, address: _, role, place } = &**set;
            (*node, *id) == (from, from) && role.is_none() && place.is_none()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use conclave_store::{
        id::{DomainName, OperationId, TokenId},
        record::MemberRole,
        time::UnixMillis,
    };

    #[test]
    fn a_member_without_the_keyring_orders_nothing_that_opens_secrets() {
        let me = NodeId(2);
        let typed = |node| Principal::SealedSocket { uid: 0, node: NodeId(node) };
        let set = |id, role| {
            let address = Some("10.0.0.2:7444".to_owned());
            Action::SetMember(Box::new(SetMember { id: NodeId(id), address, role, place: None }))
        };
        let main = Action::SetMainDomain(me, DomainName::parse("node-2.main").unwrap());
        let revoke = || Action::RevokeAccessToken(TokenId([1; 8]));
        for (principal, action, may) in [
            (typed(2), Action::FlushSessions, true),
            (typed(3), Action::FlushSessions, false),
            (Principal::Socket { uid: 0 }, Action::FlushSessions, false),
            (Principal::Node(me), Action::FlushSessions, false),
            (typed(2), Action::SetLevel(4), false),
            (typed(2), Action::DropGenerations(Generation(2)), false),
            (typed(2), revoke(), true),
            (Principal::Token { id: TokenId([1; 8]), name: "x".to_owned() }, revoke(), false),
            (Principal::Node(me), main, true),
            (Principal::Node(me), Action::NoteAudit(Vec::new()), true),
            (Principal::Node(NodeId(3)), Action::NoteAudit(Vec::new()), false),
            (typed(2), Action::KeepAudit(1_000), false),
            (Principal::Node(me), set(2, None), true),
            (Principal::Node(me), set(3, None), false),
            (Principal::Node(me), set(2, Some(MemberRole::Voter)), false),
        ] {
            let command = Command {
                operation: OperationId::parse("op").unwrap(),
                principal,
                request: [0; 32],
                time: UnixMillis(0),
                reason: None,
                expects: Vec::new(),
                action,
                origin: None,
            };
            assert_eq!(may_order(me, &command), may, "{command:?}");
        }
    }
}
