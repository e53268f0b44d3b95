//! The last backup and an unfinished restore, for the status.

use conclave_api::{
    finding::Severity,
    problem::Code,
    status::{BackupStatus, StatusProblem},
};
use conclave_store::{state::State, time::UnixMillis};
use conclave_system::clock;

/// Age from which on a backup is old: a day, and two hours for a late one.
const OLD_S: u64 = 26 * 60 * 60;

/// Converts the last backup that the cluster knows.
pub fn last_backup(state: &State, now: UnixMillis) -> Option<BackupStatus> {
    let last = state.last_backup()?;
    let node = state.member(&last.node).map(|member| member.name.to_string());
    Some(BackupStatus {
        time: clock::rfc3339(last.time),
        age_s: now.0.saturating_sub(last.time.0) / 1000,
        index: last.index.0,
        node: node.unwrap_or_else(|| format!("node {}", last.node)),
    })
}

/// Tells of an old backup, if there ever was one, and of an unfinished restore.
pub fn backup_problems(state: &State, now: UnixMillis) -> Vec<StatusProblem> {
    let object = state.cluster().map(|cluster| cluster.name.to_string()).unwrap_or_default();
    let mut problems = Vec::new();
    if let Some(last) = last_backup(state, now).filter(|last| last.age_s > OLD_S) {
        problems.push(StatusProblem {
            code: Code::BackupOld,
            severity: Severity::Warning,
            object: object.clone(),
            text: format!("the last backup is {} hours old", last.age_s / 3600),
            hint: "conclave backup create --recipient age1... --out FILE".to_owned(),
        });
    }
    if state.is_restoring() {
        problems.push(StatusProblem {
            code: Code::RestoreUnfinished,
            severity: Severity::Error,
            object,
            text: "a backup is being restored: domains may be missing".to_owned(),
            hint: "if it was interrupted, repeat: conclave backup restore FILE --identity KEYFILE"
                .to_owned(),
        });
    }
    problems
}

#[cfg(test)]
mod tests {
    use conclave_store::{
        command::{Action, Command},
        id::{LogIndex, NodeId},
        machine,
        record::LastBackup,
    };

    use super::*;

    #[test]
    fn a_backup_is_old_after_26_hours_and_none_is_no_problem() {
        let apply = |state: &State, index, action| {
            let command = Command::by_node(NodeId(1), [index; 10], UnixMillis(1), action);
            machine::apply(state, LogIndex(index.into()), &command).state
        };
        let state = apply(&State::default(), 1, Action::SetLevel(3));
        assert!(last_backup(&state, UnixMillis(1)).is_none());
        assert!(backup_problems(&state, UnixMillis(u64::MAX)).is_empty());
        let last = LastBackup { time: UnixMillis(1000), index: LogIndex(1), node: NodeId(7) };
        let state = apply(&state, 2, Action::NoteBackup(last));
        let at = |seconds: u64| UnixMillis(1000 + seconds * 1000);
        assert!(backup_problems(&state, at(OLD_S)).is_empty());
        let old = backup_problems(&state, at(OLD_S + 1));
        assert_eq!(old.iter().map(|one| one.code).collect::<Vec<_>>(), [Code::BackupOld]);
        assert_eq!(last_backup(&state, at(5)).unwrap().age_s, 5);
    }
}
