//! A few bytes outside sled that say what sled must still hold.
//!
//! Two slots of one file are written in turn, each with a sequence number and a checksum: a
//! torn write damages the older slot only, and the newer one stays.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use crate::{
    error::{Fault, OpenError},
    limits::MARKER_BYTES_MAX,
};

const MAGIC: [u8; 4] = *b"CVMK";
const SLOT_BYTES: usize = 4096;
const HEADER_BYTES: usize = 16;

/// The marker file, open for writing.
pub struct Marker {
    file: File,
    /// Sequence number of the newest slot; 0: none was ever written.
    sequence: u64,
}

impl Marker {
    /// Opens the marker, or makes an empty one, and gives its newest payload.
    pub fn open(path: &Path) -> Result<(Marker, Option<Vec<u8>>), OpenError> {
        let io_error = |source| OpenError::Io { path: path.to_owned(), source };
        if !path.try_exists().map_err(io_error)? {
            create(path).map_err(io_error)?;
        }
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(io_error)?;
        let mut bytes = [0; 2 * SLOT_BYTES];
        file.read_exact_at(&mut bytes, 0).map_err(io_error)?;
        let slots = bytes.as_chunks::<SLOT_BYTES>().0;
        let newest = slots.iter().filter_map(slot_content).max_by_key(|(sequence, _)| *sequence);
        // An untouched slot beside a torn one: the first write never ended.
        let is_new = slots.iter().any(|slot| slot.iter().all(|byte| *byte == 0));
        match newest {
            Some((sequence, payload)) => Ok((Marker { file, sequence }, Some(payload))),
            None if is_new => Ok((Marker { file, sequence: 0 }, None)),
            None => Err(OpenError::Marker { path: path.to_owned() }),
        }
    }

    /// Replaces the payload; durable when it returns. Blocks for one device sync.
    pub fn write(&mut self, payload: &[u8]) -> Result<(), Fault> {
        if payload.len() > MARKER_BYTES_MAX {
            return Err(Fault::TooLarge { bytes: payload.len(), max: MARKER_BYTES_MAX });
        }
        let sequence = self.sequence + 1;
        let slot = slot_bytes(sequence, payload)?;
        let offset = if sequence % 2 == 1 { 0 } else { SLOT_BYTES };
        let offset = u64::try_from(offset).unwrap_or(0);
        self.file.write_all_at(&slot, offset).map_err(Fault::Marker)?;
        self.file.sync_data().map_err(Fault::Marker)?;
        self.sequence = sequence;
        Ok(())
    }
}

/// Makes a marker of two empty slots, whole or not at all.
fn create(path: &Path) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all_at(&[0; 2 * SLOT_BYTES], 0)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Slot: magic, sequence, length of the payload, payload, CRC-32 of all before it.
fn slot_bytes(sequence: u64, payload: &[u8]) -> Result<Vec<u8>, Fault> {
    let length = u32::try_from(payload.len())
        .map_err(|_| Fault::TooLarge { bytes: payload.len(), max: MARKER_BYTES_MAX })?;
    let mut slot = Vec::with_capacity(SLOT_BYTES);
    slot.extend_from_slice(&MAGIC);
    slot.extend_from_slice(&sequence.to_be_bytes());
    slot.extend_from_slice(&length.to_be_bytes());
    slot.extend_from_slice(payload);
    slot.extend_from_slice(&crc32fast::hash(&slot).to_be_bytes());
    slot.resize(SLOT_BYTES, 0);
    Ok(slot)
}

/// Sequence and payload of a whole slot.
fn slot_content(slot: &[u8; SLOT_BYTES]) -> Option<(u64, Vec<u8>)> {
    let (header, rest) = slot.split_at_checked(HEADER_BYTES)?;
    let (magic, numbers) = header.split_at_checked(MAGIC.len())?;
    let (sequence, length) = numbers.split_at_checked(8)?;
    let length = usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?;
    let (payload, rest) = rest.split_at_checked(length)?;
    let checksum = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?);
    let covered = slot.get(..HEADER_BYTES + length)?;
    let is_whole = magic == MAGIC && crc32fast::hash(covered) == checksum;
    is_whole.then_some((u64::from_be_bytes(sequence.try_into().ok()?), payload.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{Sample, check, meaning};

    /// Every way in which a write of a slot can be cut short by a crash: any prefix of the new
    /// bytes over the old ones, or any single block of 512 bytes of it.
    #[test]
    fn a_torn_write_leaves_the_payload_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("marker");
        let payload = |n: u8| vec![n; 700];
        for written in 0..4u8 {
            let whole = |upto: u8| {
                let _ = std::fs::remove_file(&path);
                let (mut marker, _) = Marker::open(&path).unwrap();
                (1..=upto).for_each(|n| marker.write(&payload(n)).unwrap());
                std::fs::read(&path).unwrap()
            };
            let before = whole(written);
            let after = whole(written + 1);
            let base = if (written + 1) % 2 == 1 { 0 } else { SLOT_BYTES };
            for cut in (0..=SLOT_BYTES).step_by(7) {
                let mut torn = before.clone();
                torn[base..base + cut].copy_from_slice(&after[base..base + cut]);
                std::fs::write(&path, &torn).unwrap();
                let found = Marker::open(&path).unwrap().1;
                let expected = (written > 0).then(|| payload(written));
                let complete = torn == after;
                assert!(
                    found == expected || complete && found == Some(payload(written + 1)),
                    "after {written}, cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn a_slot_is_read_as_it_was_written() {
        let whole = slot_bytes(258, b"payload").unwrap();
        let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
        let made = [Sample::new("slot", whole[..=end].to_vec(), &(258, "payload"))];
        check("disk-marker.tsv", &made, &|_, bytes| {
            let mut slot = [0; SLOT_BYTES];
            slot[..bytes.len()].copy_from_slice(bytes);
            let (sequence, payload) = slot_content(&slot)?;
            let again = slot_bytes(sequence, &payload).ok()?[..bytes.len()].to_vec();
            Some((meaning(&(sequence, String::from_utf8(payload).ok()?)), again))
        });
    }

    #[test]
    fn a_damaged_newest_slot_is_never_read_and_two_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("marker");
        let (mut marker, none) = Marker::open(&path).unwrap();
        assert!(none.is_none());
        marker.write(b"first").unwrap();
        marker.write(b"second").unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[SLOT_BYTES + 20] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(Marker::open(&path).unwrap().1.as_deref(), Some(&b"first"[..]));
        bytes[20] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(Marker::open(&path), Err(OpenError::Marker { .. })));
    }
}
