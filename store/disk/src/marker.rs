//! The marker: a few bytes outside a log or database that record what it must still contain.
//!
//! Two slots of one file are written in turn, each with a sequence number and a checksum. A torn
//! write damages only the older slot; the newer one stays. Data that must never go back, even if
//! one slot is damaged later, is written to both.

use std::{io, sync::Arc};

use crate::{
    error::{Fault, OpenError},
    files::{DiskFile, Files},
    limits::MARKER_BYTES_MAX,
};

const MAGIC: [u8; 4] = *b"CVMK";
const SLOT_BYTES: usize = 4096;
const HEADER_BYTES: usize = 16;

/// The marker file, open for writing.
pub struct Marker {
    file: Arc<dyn DiskFile>,
    /// Sequence number of the newest slot; 0 if none was ever written.
    sequence: u64,
}

impl Marker {
    /// Opens the marker `name`, or creates an empty one, and returns its newest payload. That
    /// payload is durable, even if the process that wrote it was killed before its sync. A damaged
    /// slot is repaired.
    pub fn open(files: &dyn Files, name: &str) -> Result<(Marker, Option<Vec<u8>>), OpenError> {
        let path = files.path().join(name);
        let io_error = |source| OpenError::Io { path: path.clone(), source };
        let exists = files.names().map_err(io_error)?.iter().any(|found| found == name);
        if !exists {
            create(files, name).map_err(io_error)?;
        }
        let Found { file, newest, has_damage } = find(files, name)?;
        let Some((sequence, payload)) = newest else {
            return Ok((Marker { file, sequence: 0 }, None));
        };
        let mut marker = Marker { file, sequence };
        if has_damage {
            // Repair the damaged slot, which is the next one in turn.
            marker.sequence = sequence + 1;
            marker.write_slot(marker.sequence, &payload).map_err(io_error)?;
        }
        marker.file.sync().map_err(io_error)?;
        Ok((marker, Some(payload)))
    }

    /// Reads the newest payload of an existing marker. Changes nothing, so the payload may not be
    /// durable yet.
    pub fn read(files: &dyn Files, name: &str) -> Result<Option<Vec<u8>>, OpenError> {
        Ok(find(files, name)?.newest.map(|(_, payload)| payload))
    }

    /// Replaces the payload in one slot; durable on return. Blocks for one device sync.
    pub fn write(&mut self, payload: &[u8]) -> Result<(), Fault> {
        if payload.len() > MARKER_BYTES_MAX {
            return Err(Fault::TooLarge { bytes: payload.len(), max: MARKER_BYTES_MAX });
        }
        let sequence = self.sequence + 1;
        self.write_slot(sequence, payload).map_err(Fault::Marker)?;
        self.file.sync().map_err(Fault::Marker)?;
        self.sequence = sequence;
        Ok(())
    }

    /// Replaces the payload in both slots, so that damage to one of them does not bring back an
    /// older payload. Blocks for two device syncs.
    pub fn write_both(&mut self, payload: &[u8]) -> Result<(), Fault> {
        self.write(payload)?;
        self.write(payload)
    }

    fn write_slot(&self, sequence: u64, payload: &[u8]) -> io::Result<()> {
        let slot = slot_bytes(sequence, payload).map_err(io::Error::other)?;
        let offset = if sequence % 2 == 1 { 0 } else { SLOT_BYTES };
        self.file.write_at(&slot, u64::try_from(offset).map_err(io::Error::other)?)
    }
}

/// Content of a marker file.
struct Found {
    file: Arc<dyn DiskFile>,
    /// Sequence number and payload; none if nothing was ever written completely.
    newest: Option<(u64, Vec<u8>)>,
    has_damage: bool,
}

fn find(files: &dyn Files, name: &str) -> Result<Found, OpenError> {
    let path = files.path().join(name);
    let io_error = |source| OpenError::Io { path: path.clone(), source };
    let file = files.open(name).map_err(io_error)?;
    let mut bytes = [0; 2 * SLOT_BYTES];
    file.read_at(&mut bytes, 0).map_err(io_error)?;
    let slots = bytes.as_chunks::<SLOT_BYTES>().0;
    let newest = slots.iter().filter_map(slot_content).max_by_key(|(sequence, _)| *sequence);
    let is_untouched = |slot: &[u8; SLOT_BYTES]| slot.iter().all(|byte| *byte == 0);
    // If no slot is valid, but one is untouched, the first write was never completed.
    if newest.is_none() && !slots.iter().any(is_untouched) {
        return Err(OpenError::Marker { path });
    }
    let has_damage = slots.iter().any(|slot| slot_content(slot).is_none() && !is_untouched(slot));
    // A damaged slot beside an untouched one is the cut first write.
    let has_damage = has_damage && newest.is_some();
    Ok(Found { file, newest, has_damage })
}

/// Creates a marker of two empty slots, complete or not at all.
fn create(files: &dyn Files, name: &str) -> io::Result<()> {
    let unfinished = format!("{name}.new");
    let file = files.create(&unfinished)?;
    file.write_at(&[0; 2 * SLOT_BYTES], 0)?;
    file.sync()?;
    files.rename(&unfinished, name)?;
    files.sync()
}

/// Encodes a slot: magic, sequence, length of the payload, payload, CRC-32 of everything before it.
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

/// Returns sequence and payload of a valid slot.
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
    use crate::{
        files::Directory,
        samples::{Sample, check, meaning},
    };

    fn open(path: &std::path::Path) -> Result<(Marker, Option<Vec<u8>>), OpenError> {
        let name = path.file_name().unwrap().to_str().unwrap();
        Marker::open(&Directory::open(path.parent().unwrap()).unwrap(), name)
    }

    /// A crash cuts the write of a slot short: the tested results are prefixes of the new bytes
    /// over the old ones.
    #[test]
    fn a_torn_write_leaves_the_payload_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("marker");
        let payload = |n: u8| vec![n; 700];
        for written in 0..4u8 {
            let whole = |upto: u8| {
                let _ = std::fs::remove_file(&path);
                let (mut marker, _) = open(&path).unwrap();
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
                let found = open(&path).unwrap().1;
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
        let (mut marker, none) = open(&path).unwrap();
        assert!(none.is_none());
        marker.write(b"first").unwrap();
        marker.write(b"second").unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[SLOT_BYTES + 20] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(open(&path).unwrap().1.as_deref(), Some(&b"first"[..]));
        let repaired = std::fs::read(&path).unwrap();
        let slots = repaired.as_chunks::<SLOT_BYTES>().0;
        let payloads = slots.iter().map(|slot| slot_content(slot).unwrap().1);
        assert!(payloads.into_iter().all(|payload| payload == b"first"), "whole again");
        bytes[20] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(open(&path), Err(OpenError::Marker { .. })));
    }

    #[test]
    fn what_is_in_both_slots_survives_damage_to_either() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("marker");
        for damaged in [20, SLOT_BYTES + 20] {
            let _ = std::fs::remove_file(&path);
            let (mut marker, _) = open(&path).unwrap();
            marker.write_both(b"old vote").unwrap();
            marker.write_both(b"new vote").unwrap();
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[damaged] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            let (mut marker, payload) = open(&path).unwrap();
            assert_eq!(payload.as_deref(), Some(&b"new vote"[..]));
            marker.write(b"later").unwrap();
            assert_eq!(open(&path).unwrap().1.as_deref(), Some(&b"later"[..]));
        }
    }
}
