//! Leftover cluster data in the data directory of a node that belongs to no cluster.
//!
//! Leftovers are renamed, not deleted: they may be all that remains of a cluster whose membership
//! file was lost. Only the oldest of several renamed leftovers are removed.

use std::{
    io,
    path::{Path, PathBuf},
};

use conclave_disk::DiskOptions;
use conclave_raft::checkpoint_index;
use conclave_store::{id::ClusterId, time::UnixMillis};
use conclave_store_sled::{Home, OpenError, migrate};
use conclave_system::files;

use super::{audit_copy::SENT, limits::ABANDONED_MAX};

/// Directories of a member's cluster data, in all releases.
const DIRECTORIES: [&str; 4] = ["raft", "state", "state.v2", "state.v2.unfinished"];
const ABANDONED: &str = ".abandoned-";

/// Errors of putting leftovers aside.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeftoverError {
    /// The data is a whole cluster, and its membership file is missing.
    #[error("{path} holds the cluster {cluster}, and membership.json is missing")]
    HoldsCluster {
        /// Path of the data.
        path: String,
        /// Id of the cluster.
        cluster: ClusterId,
    },
    /// The data cannot be read, so it may be a whole cluster.
    #[error("{path} cannot be read")]
    Unreadable {
        /// Path of the data.
        path: String,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// There is a log without State.
    #[error("{path} holds the log of a node; its State and membership.json are missing")]
    LogAlone {
        /// Path of the data directory.
        path: String,
    },
    /// A directory cannot be renamed, or a file not removed.
    #[error("cannot rename or remove {path}: {source}")]
    File {
        /// Its path.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// Puts the leftovers of an unfinished founding aside. Returns the new paths.
pub(crate) fn abandon(data_dir: &Path, now: UnixMillis) -> Result<Vec<PathBuf>, LeftoverError> {
    let mut renamed = Vec::new();
    for name in DIRECTORIES {
        let from = data_dir.join(name);
        if !from.exists() {
            continue;
        }
        let to = unused(data_dir, name, now.0 / 1_000);
        files::rename(&from, &to)
            .map_err(|source| LeftoverError::File { path: from.display().to_string(), source })?;
        renamed.push(to);
        forget_oldest(data_dir, name);
    }
    // Of the trail of an earlier membership: the next one may be in another cluster.
    let sent = data_dir.join(SENT);
    match std::fs::remove_file(&sent) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(LeftoverError::File { path: sent.display().to_string(), source })
        }
        _ => Ok(renamed),
    }
}

/// Puts leftovers aside when no membership file says that they are an unfinished founding. Fails if
/// they are a whole cluster.
pub fn abandon_unknown(data_dir: &Path, now: UnixMillis) -> Result<Vec<PathBuf>, LeftoverError> {
    let (old, dir) = (data_dir.join("state"), data_dir.join("state.v2"));
    if old.exists() || dir.exists() {
        let path = data_dir.display().to_string();
        match cluster(&old, &dir) {
            Ok(None) => {}
            Ok(Some(cluster)) => return Err(LeftoverError::HoldsCluster { path, cluster }),
            Err(source) => return Err(LeftoverError::Unreadable { path, source }),
        }
    } else if data_dir.join("raft").exists() {
        // A founding makes State before the log, so this is no unfinished one.
        return Err(LeftoverError::LogAlone { path: data_dir.display().to_string() });
    }
    abandon(data_dir, now)
}

/// Returns the cluster id in a State. A State of version 0.1.0 is migrated first.
fn cluster(old: &Path, dir: &Path) -> Result<Option<ClusterId>, OpenError> {
    migrate(old, dir, &DiskOptions::default(), checkpoint_index)?;
    let loaded = Home::open(dir, DiskOptions::default())?;
    Ok(loaded.state.cluster().map(|cluster| cluster.id))
}

/// Returns an unused path. Its number is higher than those of earlier leftovers even if the clock
/// went back, because the numbers give the order of age.
fn unused(data_dir: &Path, name: &str, seconds: u64) -> PathBuf {
    let after = put_aside(data_dir, name).pop().map_or(0, |(last, _)| last.saturating_add(1));
    data_dir.join(format!("{name}{ABANDONED}{}", seconds.max(after)))
}

/// Lists earlier leftovers of one directory, oldest first.
fn put_aside(data_dir: &Path, name: &str) -> Vec<(u64, PathBuf)> {
    let prefix = format!("{name}{ABANDONED}");
    let entries = std::fs::read_dir(data_dir).into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| {
            let seconds = entry.file_name().to_str()?.strip_prefix(&prefix)?.parse().ok()?;
            Some((seconds, entry.path()))
        })
        .collect();
    found.sort();
    found
}

/// Removes the oldest leftovers, so that repeated failed foundings do not fill the disk. This loses
/// nothing acknowledged: a leftover is an unfinished founding, or [`abandon_unknown`] found no
/// cluster in it.
fn forget_oldest(data_dir: &Path, name: &str) {
    let found = put_aside(data_dir, name);
    let surplus = found.len().saturating_sub(ABANDONED_MAX);
    for (_, path) in found.into_iter().take(surplus) {
        if let Err(error) = std::fs::remove_dir_all(&path) {
            tracing::warn!(event = "leftover.not_removed", path = %path.display(), %error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_deleted_but_the_oldest_of_many() {
        let dir = tempfile::tempdir().unwrap();
        for round in 0..6u8 {
            std::fs::create_dir(dir.path().join("raft")).unwrap();
            std::fs::write(dir.path().join("raft/content"), [round]).unwrap();
            let renamed = abandon(dir.path(), UnixMillis(7_000)).unwrap();
            assert_eq!(std::fs::read(renamed[0].join("content")).unwrap(), [round]);
            assert!(!dir.path().join("raft").exists());
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), ABANDONED_MAX);
    }

    #[test]
    fn a_log_without_its_state_is_no_leftover() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("raft")).unwrap();
        let refused = abandon_unknown(dir.path(), UnixMillis(1));
        assert!(matches!(refused, Err(LeftoverError::LogAlone { .. })), "{refused:?}");
        assert!(dir.path().join("raft").exists());
    }

    #[test]
    fn what_cannot_be_read_stays_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("raft")).unwrap();
        std::fs::write(dir.path().join("state.v2"), "no directory").unwrap();
        let refused = abandon_unknown(dir.path(), UnixMillis(1));
        assert!(matches!(refused, Err(LeftoverError::Unreadable { .. })), "{refused:?}");
        assert!(dir.path().join("raft").exists());
    }
}
