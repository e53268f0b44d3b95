//! A node that comes back at another address tells the cluster.

use std::time::Duration;

use conclave_store::{
    command::{Action, Command, SetMember},
    outcome::Outcome,
    wire,
};
use conclave_system::{clock, entropy};
use tokio::time::Instant;

use super::address::NodeAddress;
use crate::replica::{Replica, Wait};

/// How often the node compares its address with the one in State.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(5);

impl Replica {
    /// Writes the address of this node into State whenever it is another one there. Runs until
    /// dropped.
    pub(crate) async fn tell_address(self, address: NodeAddress) {
        let (mut is_refused, mut is_cloned) = (false, false);
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let state = self.point().state.clone();
            let known = state.member(&self.id()).map(|member| member.address.as_str());
            if !self.has_proofs() || known.is_none_or(|known| known == address.as_str()) {
                continue;
            }
            if self.is_answered_elsewhere().await {
                if !is_cloned {
                    is_cloned = true;
                    tracing::error!(
                        event = "cluster.cloned",
                        address = address.as_str(),
                        answers = known.unwrap_or_default(),
                        "another process answers with the identity of this node: its data \
                         directory was copied; stop one of them"
                    );
                }
                continue;
            }
            match self.order_address(&address).await {
                Some(Outcome::Done(_)) => {
                    let address = address.as_str();
                    tracing::info!(event = "cluster.address_told", address);
                }
                Some(Outcome::Rejected(rejection)) if !is_refused => {
                    is_refused = true;
                    tracing::warn!(event = "cluster.address_refused", %rejection);
                }
                _ => {}
            }
        }
    }

    async fn order_address(&self, address: &NodeAddress) -> Option<Outcome> {
        let set = SetMember {
            id: self.id(),
            address: Some(address.as_str().to_owned()),
            role: None,
            place: None,
        };
        let action = Action::SetMember(Box::new(set));
        let command = Command::by_node(self.id(), entropy::array(), clock::now(), action);
        let bytes = wire::encode_command(&command).ok()?;
        let executed =
            self.execute(&bytes, Wait::Committed, Instant::now() + TIMEOUT).await.ok()?;
        // The next look must see the new address.
        self.wait_applied(executed.index.0, TIMEOUT).await;
        Some(executed.outcome)
    }
}
