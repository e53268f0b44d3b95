//! Admission of a higher level of the rules: the end of a rolling upgrade.

use conclave_api::{
    cluster::Upgrade,
    problem::{Code, Problem},
};
use conclave_store::{command::Action, state::State};

use super::Admitted;
use crate::replica::{UPGRADE_HINT, version_of};

/// Refuses what members of earlier versions do not know.
pub(super) fn check(state: &State, level: u32) -> Result<(), Problem> {
    if state.level() >= level {
        return Ok(());
    }
    let version = version_of(level);
    let title = format!("members of versions before {version} do not know this change");
    Err(Problem::new(Code::VersionTooOld, title).hint(UPGRADE_HINT))
}

/// Raises the level to the highest one that a member knows. Refused while another member does not
/// know it, or does not answer, because it could not go on.
pub fn finalize(upgrade: &Upgrade) -> Result<Admitted, Problem> {
    let highest = upgrade.nodes.iter().filter_map(|node| node.level).max();
    for node in &upgrade.nodes {
        let name = &node.name;
        match (node.level, &node.version) {
            (Some(level), Some(version)) if Some(level) < highest => {
                let title = format!("{name} is still of version {version}");
                return Err(Problem::new(Code::VersionTooOld, title)
                    .why("it could not read what the others would write")
                    .hint(format!("upgrade {name}, then repeat the command")));
            }
            (Some(_), _) => {}
            (None, _) => {
                let title = format!("{name} does not answer, so its version is not known");
                return Err(Problem::new(Code::VersionTooOld, title)
                    .why("an earlier version could not read what the others would write")
                    .hint(format!("start {name}; if it is gone: conclave node remove {name}")));
            }
        }
    }
    let object = format!("level {}", upgrade.possible);
    Ok(Admitted::new(Action::SetLevel(upgrade.possible), object))
}
