//! The note of a recovery from a lost quorum: what the node was recovered from, and which members
//! it put out. The node shows it, and turns the keyring because of it.

use std::{io, path::Path};

use conclave_store::{
    id::{Generation, NodeId},
    state::State,
    time::UnixMillis,
};
use conclave_system::files;
use serde::{Deserialize, Serialize};

const FILE: &str = "recovered.json";
const FORMAT: u32 = 1;

/// A former member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Former {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) is_voter: bool,
}

/// The last recovery of this node. Written before State changes, and never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recovered {
    format: u32,
    /// Milliseconds since 1970.
    pub(crate) time: u64,
    /// Last entry that the node had. Later ones may be missing.
    pub(crate) from_term: u64,
    pub(crate) from_index: u64,
    /// Generation of the keyring that the former members can open.
    pub(crate) generation: u64,
    /// Number of voters before.
    pub(crate) voters: u64,
    pub(crate) former: Vec<Former>,
    /// SHA-256 of all other fields. Set only in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checksum: Option<Vec<u8>>,
}

/// Error of the note.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RecoveredError {
    /// The file cannot be read or written.
    #[error("cannot use {path}: {source}")]
    File {
        /// Path of the file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The file is damaged or has an unknown format.
    #[error("{path} is damaged, or of a format that this program does not know")]
    Damaged {
        /// Path of the file.
        path: String,
    },
}

impl Recovered {
    pub(crate) fn new(
        time: UnixMillis,
        (from_term, from_index): (u64, u64),
        generation: Generation,
        voters: u64,
        former: Vec<Former>,
    ) -> Recovered {
        Recovered {
            format: FORMAT,
            time: time.0,
            from_term,
            from_index,
            generation: generation.0,
            voters,
            former,
            checksum: None,
        }
    }

    /// Reads the note; none if this node was never recovered.
    pub(crate) fn read(data_dir: &Path) -> Result<Option<Recovered>, RecoveredError> {
        let path = data_dir.join(FILE);
        let shown = || path.display().to_string();
        match std::fs::read(&path) {
            Ok(bytes) => match Recovered::parse(&bytes) {
                Some(note) => Ok(Some(note)),
                None => Err(RecoveredError::Damaged { path: shown() }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(RecoveredError::File { path: shown(), source }),
        }
    }

    fn parse(bytes: &[u8]) -> Option<Recovered> {
        let note: Recovered = serde_json::from_slice(bytes).ok()?;
        let expected = note.clone().checked().ok()?;
        (note.format == FORMAT && note == expected).then_some(Recovered { checksum: None, ..note })
    }

    fn checked(self) -> Result<Recovered, serde_json::Error> {
        let bare = Recovered { checksum: None, ..self };
        let checksum = Some(files::checksum(&bare)?);
        Ok(Recovered { checksum, ..bare })
    }

    /// Writes the note durably.
    pub(crate) fn write(&self, data_dir: &Path) -> Result<(), RecoveredError> {
        let path = data_dir.join(FILE);
        let written = self
            .clone()
            .checked()
            .and_then(|checked| serde_json::to_vec_pretty(&checked))
            .map_err(io::Error::other)
            .and_then(|bytes| files::write_private(&path, &bytes));
        written.map_err(|source| RecoveredError::File { path: path.display().to_string(), source })
    }

    /// Returns whether State is that of this recovery. It is not if the recovery was interrupted
    /// before it replaced State.
    pub(crate) fn is_done(&self, state: &State) -> bool {
        self.former.iter().all(|former| state.member(&NodeId(former.id)).is_none())
    }

    /// Returns whether the former members can still open what is sealed now.
    pub(crate) fn is_exposed(&self, state: &State) -> bool {
        state.cluster().is_some_and(|cluster| cluster.generation.0 <= self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_and_no_flipped_bit_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Recovered::read(dir.path()).unwrap().is_none());
        let former = Former {
            id: 2,
            name: "node-2".to_owned(),
            address: "10.0.0.2:7444".to_owned(),
            is_voter: true,
        };
        let note = Recovered::new(UnixMillis(7), (3, 120), Generation(1), 3, vec![former]);
        note.write(dir.path()).unwrap();
        assert_eq!(Recovered::read(dir.path()).unwrap(), Some(note.clone()));
        let path = dir.path().join(FILE);
        let whole = std::fs::read(&path).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read = Recovered::parse(&flipped);
            assert!(read.is_none_or(|read| read == note), "bit {bit}");
        }
        std::fs::write(&path, b"{}").unwrap();
        assert!(matches!(Recovered::read(dir.path()), Err(RecoveredError::Damaged { .. })));
    }
}
