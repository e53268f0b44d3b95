//! Raises the level of State once every member knows the rules of the new level.

use std::{collections::BTreeMap, time::Duration};

use conclave_raft::Role;
use conclave_store::{
    command::{Action, Command},
    id::NodeId,
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
/// Each level above 0, with the first version that knows it.
const KNOWN_SINCE: [(u32, [u64; 3]); 5] =
    [(1, [0, 2, 0]), (2, [0, 2, 1]), (3, [0, 3, 0]), (4, [0, 4, 0]), (5, [0, 5, 0])];

/// Returns the highest level that a version knows. A suffix, as in `0.2.0-rc1`, is ignored.
pub(crate) fn known_level(version: &str) -> u32 {
    let numbers = version.split(['-', '+']).next().unwrap_or_default().split('.');
    let numbers: Option<Vec<u64>> = numbers.map(|number| number.parse().ok()).collect();
    let numbers = numbers.unwrap_or_default();
    let known = KNOWN_SINCE.iter().filter(|(_, since)| numbers.as_slice() >= since.as_slice());
    known.map(|(level, _)| *level).max().unwrap_or(0)
}

/// Returns the first version that knows a level, for messages.
pub(crate) fn version_of(level: u32) -> String {
    let since = KNOWN_SINCE.iter().find(|(known, _)| *known == level).map(|(_, since)| since);
    let numbers = since.unwrap_or(&[0, 1, 0]).iter().map(ToString::to_string);
    numbers.collect::<Vec<_>>().join(".")
}

/// Hint of a change that an older member does not know.
pub(crate) const UPGRADE_HINT: &str = "conclave cluster upgrade    shows which node is missing";

impl Replica {
    /// Returns the version of every member, from the leader's knowledge; none for a silent one.
    pub async fn versions(&self) -> BTreeMap<NodeId, Option<String>> {
        let reports = self.all_reports().await;
        let point = self.point();
        let version = |id: &NodeId| reports.get(id).map(|report| report.version.clone());
        point.state.members().map(|(id, _)| (*id, version(id))).collect()
    }

    /// While this node leads, raises the level to the highest one that every member knows. Returns
    /// when the highest level of this program is reached.
    pub(crate) async fn raise_level(self) {
        let mut is_refused = false;
        while self.point().state.level() < LEVEL_MAX {
            tokio::time::sleep(LOOK_EVERY).await;
            let level = self.level_of_members();
            let is_leader = self.shared.raft.status().role == Role::Leader;
            if !is_leader || level <= self.point().state.level() {
                continue;
            }
            match self.order_level(level).await {
                Ok(Outcome::Done(_)) => tracing::info!(event = "level.raised", level),
                Ok(Outcome::Rejected(rejection)) if !is_refused => {
                    is_refused = true;
                    tracing::warn!(event = "level.refused", %rejection);
                }
                Ok(Outcome::Rejected(_)) => {}
                Err(error) => tracing::debug!(event = "level.not_raised", %error),
            }
        }
    }

    /// Returns the highest level that every member knows. A silent member may have any version, so
    /// it keeps the level at 0, and nothing is raised.
    fn level_of_members(&self) -> u32 {
        let known = self.shared.reports.known();
        let point = self.point();
        let levels = point
            .state
            .members()
            .map(|(id, _)| known.get(id).map_or(0, |report| known_level(&report.version)));
        levels.min().unwrap_or(0).min(LEVEL_MAX)
    }

    /// Orders a level that every member knows.
    pub(crate) async fn order_level(&self, level: u32) -> Result<Outcome, ExecuteError> {
        let now = clock::now();
        let action = Action::SetLevel(level);
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
            ("0.2.0", 1),
            ("0.2.0-rc1", 1),
            ("0.2.1", 2),
            ("0.2.9", 2),
            ("0.3.0-rc1", 3),
            ("0.4.0-alpha.1", 4),
            ("0.5.0-alpha.1", 5),
            ("0.10.1", 5),
            ("1.0", 5),
            ("0.1.9", 0),
            ("", 0),
            ("later", 0),
        ] {
            assert_eq!(known_level(version), expected, "{version}");
        }
    }

    #[test]
    fn this_version_knows_its_own_level() {
        assert_eq!(known_level(env!("CARGO_PKG_VERSION")), LEVEL_MAX);
    }
}
