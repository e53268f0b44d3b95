//! Raises the level of State once every member knows the rules of the new level.

use std::time::Duration;

use conclave_raft::Role;
use conclave_store::{
    command::{Action, Command},
    outcome::Outcome,
    record::LEVEL_MAX,
    wire,
};
use conclave_system::{clock, entropy};
use tokio::time::Instant;

use super::{ExecuteError, Replica, Wait};

/// How often the leader checks. An upgrade takes minutes, so this is often enough.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Longest time to order the command.
const ORDER_TIMEOUT: Duration = Duration::from_secs(5);
/// First version that knows every level up to [`LEVEL_MAX`].
const KNOWN_SINCE: [u64; 3] = [0, 2, 0];

/// Whether a version knows every level up to [`LEVEL_MAX`]. A suffix, as in `0.2.0-rc1`, is
/// ignored.
pub(crate) fn knows_level(version: &str) -> bool {
    let numbers = version.split(['-', '+']).next().unwrap_or_default().split('.');
    let numbers: Option<Vec<u64>> = numbers.map(|number| number.parse().ok()).collect();
    numbers.is_some_and(|numbers| numbers.as_slice() >= KNOWN_SINCE.as_slice())
}

impl Replica {
    /// While this node leads, raises the level as soon as every member reports a version that knows
    /// it. Returns when the level is reached.
    pub(crate) async fn raise_level(self) {
        let mut is_refused = false;
        while self.point().state.level() < LEVEL_MAX {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.shared.raft.status().role != Role::Leader || !self.members_know_level() {
                continue;
            }
            match self.order_level().await {
                Ok(Outcome::Done(_)) => tracing::info!(event = "level.raised", level = LEVEL_MAX),
                Ok(Outcome::Rejected(rejection)) if !is_refused => {
                    is_refused = true;
                    tracing::warn!(event = "level.refused", %rejection);
                }
                Ok(Outcome::Rejected(_)) => {}
                Err(error) => tracing::debug!(event = "level.not_raised", %error),
            }
        }
    }

    /// Whether every member answers with a version that knows the level. A silent member may have
    /// any version, so it blocks the level.
    fn members_know_level(&self) -> bool {
        let known = self.shared.reports.known();
        let point = self.point();
        let mut members = point.state.members().peekable();
        let is_founded = members.peek().is_some();
        is_founded
            && members
                .all(|(id, _)| known.get(id).is_some_and(|report| knows_level(&report.version)))
    }

    async fn order_level(&self) -> Result<Outcome, ExecuteError> {
        let now = clock::now();
        let action = Action::SetLevel(LEVEL_MAX);
        let command = Command::by_node(self.shared.id, entropy::array(), now, action);
        let bytes = wire::encode_command(&command)
            .map_err(|error| ExecuteError::Refused(error.to_string()))?;
        let deadline = Instant::now() + ORDER_TIMEOUT;
        let executed = self.execute_here(bytes, Wait::Committed, deadline).await?;
        // The next check must see the new level.
        self.wait_applied(executed.index.0, ORDER_TIMEOUT).await;
        Ok(executed.outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (version, expected) in [
            ("0.2.0", true),
            ("0.10.1", true),
            ("0.2.0-rc1", true),
            ("1.0", true),
            ("0.1.9", false),
            ("", false),
            ("later", false),
        ] {
            assert_eq!(knows_level(version), expected, "{version}");
        }
    }

    #[test]
    fn this_version_knows_its_own_level() {
        assert!(knows_level(env!("CARGO_PKG_VERSION")));
    }
}
