//! What a data directory holds of a cluster that this node does not belong to.
//!
//! Nothing of it is deleted: it may be all that is left of a cluster whose membership got lost.

use std::{
    io,
    path::{Path, PathBuf},
};

use conclave_disk::DiskOptions;
use conclave_raft::checkpoint_index;
use conclave_store::{id::ClusterId, time::UnixMillis};
use conclave_store_sled::{Home, OpenError, migrate};
use conclave_system::files;

use super::limits::ABANDONED_MAX;

/// Directories that a member has, of any release.
const DIRECTORIES: [&str; 4] = ["raft", "state", "state.v2", "state.v2.unfinished"];
const ABANDONED: &str = ".abandoned-";

/// Why what is left cannot be put aside.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LeftoverError {
    /// It is a whole cluster, whose membership is gone.
    #[error("{path} holds the cluster {cluster}, and membership.json is missing")]
    HoldsCluster {
        /// Where.
        path: String,
        /// Which one.
        cluster: ClusterId,
    },
    /// What it is cannot be told.
    #[error("{path} cannot be read")]
    Unreadable {
        /// Where.
        path: String,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// The directory cannot be changed.
    #[error("cannot rename {path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// Puts what an unfinished founding left aside; gives the new names.
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
    Ok(renamed)
}

/// The same, where nothing tells of a founding: a whole cluster is refused.
pub(crate) fn abandon_unknown(
    data_dir: &Path,
    now: UnixMillis,
) -> Result<Vec<PathBuf>, LeftoverError> {
    let (old, dir) = (data_dir.join("state"), data_dir.join("state.v2"));
    if old.exists() || dir.exists() {
        let path = data_dir.display().to_string();
        match cluster(&old, &dir) {
            Ok(None) => {}
            Ok(Some(cluster)) => return Err(LeftoverError::HoldsCluster { path, cluster }),
            Err(source) => return Err(LeftoverError::Unreadable { path, source }),
        }
    }
    abandon(data_dir, now)
}

/// The cluster of a State, which is rewritten first if it is of version 0.1.0.
fn cluster(old: &Path, dir: &Path) -> Result<Option<ClusterId>, OpenError> {
    migrate(old, dir, &DiskOptions::default(), checkpoint_index)?;
    let loaded = Home::open(dir, DiskOptions::default())?;
    Ok(loaded.state.cluster().map(|cluster| cluster.id))
}

/// A name after those of all that was put aside before, whatever the clock says.
fn unused(data_dir: &Path, name: &str, seconds: u64) -> PathBuf {
    let after = put_aside(data_dir, name).pop().map_or(0, |(last, _)| last.saturating_add(1));
    data_dir.join(format!("{name}{ABANDONED}{}", seconds.max(after)))
}

/// What was put aside before, oldest first.
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

/// Foundings that fail again and again do not fill the disk. What goes was never acknowledged, or
/// was looked at before it was put aside.
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
    fn what_cannot_be_read_stays_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("raft")).unwrap();
        std::fs::write(dir.path().join("state.v2"), "no directory").unwrap();
        let refused = abandon_unknown(dir.path(), UnixMillis(1));
        assert!(matches!(refused, Err(LeftoverError::Unreadable { .. })), "{refused:?}");
        assert!(dir.path().join("raft").exists());
    }
}
