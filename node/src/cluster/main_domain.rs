//! Telling the cluster what this node's Main Domain is called: no shared domain may take the name.

use std::time::Duration;

use conclave_store::{
    command::{Action, Command},
    id::{DomainName, OperationId},
    outcome::Outcome,
    record::Principal,
    wire,
};
use conclave_system::{clock, entropy};

use tokio::time::Instant;

use crate::replica::{Replica, Wait};

const TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(1);
const FOUNDING_PAUSE: Duration = Duration::from_millis(50);
/// A shared domain that has the name stays for a while.
const TAKEN_PAUSE: Duration = Duration::from_secs(30);

impl Replica {
    /// Works until the cluster knows the name; a configuration may have changed it.
    pub(crate) async fn claim_main_domain(self, name: DomainName) {
        while self.point().state.main_domain(&self.id()) != Some(&name) {
            // While the cluster is being founded there is nothing to tell the name to.
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

    /// Tells the name once; none if the cluster cannot decide.
    pub(crate) async fn try_main_domain(&self, name: &DomainName) -> Option<Outcome> {
        let now = clock::now();
        let command = Command {
            operation: OperationId::new(now, entropy::array()),
            principal: Principal::Node(self.id()),
            request: [0; 32],
            time: now,
            reason: None,
            expects: Vec::new(),
            action: Action::SetMainDomain(self.id(), name.clone()),
        };
        let bytes = wire::encode_command(&command).ok()?;
        let deadline = Instant::now() + TIMEOUT;
        Some(self.execute(&bytes, Wait::Committed, deadline).await.ok()?.outcome)
    }
}
