//! Facts for one scrape that take a question to another task, to the leader or to the disk.

use std::path::Path;

use conclave_cluster::{node::Node, replica::Contact};
use conclave_disk::Space;
use conclave_system::usage::{Usage, usage};

/// Most files whose sizes are added up.
const FILES_MAX: usize = 20_000;

/// Facts for one scrape.
pub(super) struct Sample {
    /// What a member hears of the others; none: this node is no member.
    pub(super) contact: Option<Contact>,
    pub(super) usage: Usage,
    /// Bytes of all files in the data directory.
    pub(super) stored_bytes: u64,
    /// Room on the disk of the data directory, if the system tells.
    pub(super) space: Option<Space>,
}

/// Takes a sample.
pub(super) async fn take(node: &Node) -> Sample {
    let contact = async {
        match node.member() {
            Some(member) => Some(member.replica.contact().await),
            None => None,
        }
    };
    let dir = node.data_dir().to_owned();
    let local =
        tokio::task::spawn_blocking(move || (usage(), size(&dir), conclave_disk::space(&dir).ok()));
    let (contact, local) = tokio::join!(contact, local);
    // The task panics never and is not aborted.
    let (usage, stored_bytes, space) = local.unwrap_or_default();
    Sample { contact, usage, stored_bytes, space }
}

/// Adds up the sizes of the files below a directory. A file that goes away meanwhile counts
/// nothing.
fn size(dir: &Path) -> u64 {
    let (mut dirs, mut bytes, mut left) = (vec![dir.to_owned()], 0_u64, FILES_MAX);
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                dirs.push(entry.path());
            } else {
                bytes = bytes.saturating_add(meta.len());
            }
            left = left.saturating_sub(1);
            if left == 0 {
                return bytes;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_directory_is_that_of_all_files_in_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("inner")).unwrap();
        std::fs::write(dir.path().join("one"), [0; 10]).unwrap();
        std::fs::write(dir.path().join("inner/two"), [0; 5]).unwrap();
        assert_eq!(size(dir.path()), 15);
        assert_eq!(size(&dir.path().join("none")), 0);
    }
}
