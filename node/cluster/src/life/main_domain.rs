//! Claims the name of this node's Main Domain in the cluster, so that no shared domain can take it.

use std::time::Duration;

use conclave_store::{
    command::{Action, Command},
    id::DomainName,
    outcome::Outcome,
    wire,
};
use conclave_system::{clock, entropy};

use tokio::time::Instant;

use crate::replica::{Replica, Wait};

const TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(1);
const FOUNDING_PAUSE: Duration = Duration::from_millis(50);
/// Pause after a shared domain was found to have the name: an operator must rename it first.
const TAKEN_PAUSE: Duration = Duration::from_secs(30);

impl Replica {
    /// Retries until the cluster has stored the name. Runs at each start, because the configuration
    /// may have changed the name.
    pub(crate) async fn claim_main_domain(self, name: DomainName) {
        while self.point().state.main_domain(&self.id()) != Some(&name) {
            // The cluster is still being founded, so it cannot store a name.
            if self.point().state.cluster().is_none() {
                tokio::time::sleep(FOUNDING_PAUSE).await;
                continue;
            }
            let pause = match self.try_main_domain(&name).await {
                Some(Outcome::Rejected(taken)) => {
                    tracing::warn!(event = "cluster.main_domain_taken", domain = %name, %taken);
                    TAKEN_PAUSE
                }
                Some(Outcome::Done(_)) => return,
                None => PAUSE,
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Proposes the name once. Returns `None` if the cluster cannot decide.
    pub(crate) async fn try_main_domain(&self, name: &DomainName) -> Option<Outcome> {
        let now = clock::now();
        let action = Action::SetMainDomain(self.id(), name.clone());
        let command = Command::by_node(self.id(), entropy::array(), now, action);
        let bytes = wire::encode_command(&command).ok()?;
        let deadline = Instant::now() + TIMEOUT;
        Some(self.execute(&bytes, Wait::Committed, deadline).await.ok()?.outcome)
    }
}
