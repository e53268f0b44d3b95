//! Byte format of a segment: a header block, then groups, each on a boundary of [`BLOCK_BYTES`].
//!
//! Segment files are reused, so groups of an earlier use may lie behind the new ones. Every
//! checksum covers a random salt, which is new at each use. A group of an earlier use is therefore
//! never valid in this one, and no payload can pose as a group.

use conclave_disk::DiskFile;

use crate::{
    limits::{GROUP_RECORDS_MAX, SEGMENT_BYTES},
    types::GroupPoint,
    wire::{self, WireError},
};

/// Alignment of groups. No two groups share a block, so a synced block is never rewritten.
pub(super) const BLOCK_BYTES: usize = 4096;

const SEGMENT_MAGIC: [u8; 4] = *b"CVSG";
const GROUP_MAGIC: [u8; 4] = *b"CVGR";
const FORMAT: u8 = 1;
const SEGMENT_HEADER_BYTES: usize = 61;
const GROUP_HEADER_BYTES: usize = 36;
/// Bytes of the length in front of each record.
const LENGTH_BYTES: usize = 4;

/// Random bytes for one use of a segment file.
pub(super) type Salt = [u8; 16];

/// Header of a segment: its owner, number and salt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) cluster: [u8; 16],
    pub(super) incarnation: u64,
    pub(super) number: u64,
    pub(super) salt: Salt,
}

impl SegmentHeader {
    /// Encodes the header block: magic, format, cluster, incarnation, number, salt, segment length,
    /// CRC-32; then zeros.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        block.extend_from_slice(&SEGMENT_MAGIC);
        block.push(FORMAT);
        block.extend_from_slice(&self.cluster);
        block.extend_from_slice(&self.incarnation.to_be_bytes());
        block.extend_from_slice(&self.number.to_be_bytes());
        block.extend_from_slice(&self.salt);
        block.extend_from_slice(&SEGMENT_BYTES.to_be_bytes());
        block.extend_from_slice(&crc32fast::hash(&block).to_be_bytes());
        block.resize(BLOCK_BYTES, 0);
        block
    }

    /// Decodes a header block. Returns `None` if it is damaged or of another format.
    pub(super) fn decode(block: &[u8]) -> Option<SegmentHeader> {
        let (header, rest) = block.split_at_checked(SEGMENT_HEADER_BYTES)?;
        let mut read = Reading(header);
        let is_known = read.take::<4>()? == SEGMENT_MAGIC && read.take::<1>()? == [FORMAT];
        let cluster = read.take()?;
        let incarnation = u64::from_be_bytes(read.take()?);
        let number = u64::from_be_bytes(read.take()?);
        let salt = read.take()?;
        let is_sized = u64::from_be_bytes(read.take()?) == SEGMENT_BYTES;
        let checksum = u32::from_be_bytes(rest.first_chunk().copied()?);
        let is_whole = is_known && is_sized && crc32fast::hash(header) == checksum;
        is_whole.then_some(SegmentHeader { cluster, incarnation, number, salt })
    }
}

/// A group being assembled: records for one write and one sync.
#[derive(Default)]
pub(super) struct GroupBuffer {
    bytes: Vec<u8>,
    count: u32,
}

impl GroupBuffer {
    /// Appends a message and returns the offset of its bytes within the group.
    pub(super) fn push(&mut self, message: &[u8]) -> Result<u32, WireError> {
        let too_large = |_| wire::TOO_LARGE;
        let length = u32::try_from(message.len()).map_err(too_large)?;
        if self.bytes.is_empty() {
            self.bytes.resize(GROUP_HEADER_BYTES, 0);
        }
        self.bytes.extend_from_slice(&length.to_be_bytes());
        let offset = u32::try_from(self.bytes.len()).map_err(too_large)?;
        self.bytes.extend_from_slice(message);
        self.count += 1;
        Ok(offset)
    }

    /// Fills in the header and pads the group to whole blocks. Call [`Self::clear`] before the next
    /// group.
    pub(super) fn seal(&mut self, salt: &Salt, before: GroupPoint) -> (&[u8], GroupPoint) {
        let body = self.bytes.get(GROUP_HEADER_BYTES..).unwrap_or_default();
        let body_checksum = salted(salt, body);
        let after = before.next(body_checksum);
        let mut header = Vec::with_capacity(GROUP_HEADER_BYTES);
        header.extend_from_slice(&GROUP_MAGIC);
        header.extend_from_slice(&after.sequence.to_be_bytes());
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        header.extend_from_slice(&length.to_be_bytes());
        header.extend_from_slice(&self.count.to_be_bytes());
        header.extend_from_slice(&before.chain.to_be_bytes());
        header.extend_from_slice(&body_checksum.to_be_bytes());
        header.extend_from_slice(&after.chain.to_be_bytes());
        let checksum = salted(salt, &header);
        header.extend_from_slice(&checksum.to_be_bytes());
        if let Some(place) = self.bytes.get_mut(..GROUP_HEADER_BYTES) {
            place.copy_from_slice(&header);
        }
        let padded = self.bytes.len().next_multiple_of(BLOCK_BYTES);
        self.bytes.resize(padded, 0);
        (&self.bytes, after)
    }

    /// Returns the bytes on disk of the group so far.
    pub(super) fn padded_bytes(&self) -> usize {
        self.bytes.len().next_multiple_of(BLOCK_BYTES)
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }
}

/// A valid group read from a segment.
#[derive(Debug)]
pub(super) struct FoundGroup<'a> {
    /// Offset within the segment, and bytes, of each record.
    pub(super) records: Vec<(u32, &'a [u8])>,
    /// Point of the group before it, by its own header.
    pub(super) before: GroupPoint,
    /// Point of this group.
    pub(super) point: GroupPoint,
    /// Offset of the next group.
    pub(super) end: usize,
}

/// Reads the group at `offset` of a segment. Returns `None` if there is no complete and valid one.
pub(super) fn group_at<'a>(
    segment: &'a [u8],
    offset: usize,
    salt: &Salt,
) -> Option<FoundGroup<'a>> {
    let header = header_at(segment, offset, salt)?;
    let start = offset + GROUP_HEADER_BYTES;
    let body = segment.get(start..start.checked_add(header.body_bytes)?)?;
    if salted(salt, body) != header.body_checksum {
        return None;
    }
    let mut records = Vec::new();
    let mut rest = body;
    let mut at = start;
    for _ in 0..header.count {
        let (length, behind) = rest.split_first_chunk::<LENGTH_BYTES>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (record, behind) = behind.split_at_checked(length)?;
        records.push((u32::try_from(at + LENGTH_BYTES).ok()?, record));
        at += LENGTH_BYTES + length;
        rest = behind;
    }
    let end = (start + header.body_bytes).next_multiple_of(BLOCK_BYTES);
    let FoundHeader { before, point, .. } = header;
    rest.is_empty().then_some(FoundGroup { records, before, point, end })
}

/// Returns the sequence number of the group header at `offset`, if that header is valid. The body
/// may be damaged.
pub(super) fn sequence_at(segment: &[u8], offset: usize, salt: &Salt) -> Option<u64> {
    header_at(segment, offset, salt).map(|header| header.point.sequence)
}

struct FoundHeader {
    before: GroupPoint,
    point: GroupPoint,
    body_bytes: usize,
    body_checksum: u32,
    count: u32,
}

fn header_at(segment: &[u8], offset: usize, salt: &Salt) -> Option<FoundHeader> {
    let header = segment.get(offset..offset.checked_add(GROUP_HEADER_BYTES)?)?;
    let (covered, checksum) = header.split_last_chunk::<4>()?;
    let mut read = Reading(covered);
    let magic = read.take::<4>()?;
    let sequence = u64::from_be_bytes(read.take()?);
    let body_bytes = usize::try_from(u32::from_be_bytes(read.take()?)).ok()?;
    let count = u32::from_be_bytes(read.take()?);
    let before_chain = u32::from_be_bytes(read.take()?);
    let body_checksum = u32::from_be_bytes(read.take()?);
    let chain = u32::from_be_bytes(read.take()?);
    let before = GroupPoint { sequence: sequence.checked_sub(1)?, chain: before_chain };
    let point = before.next(body_checksum);
    let is_whole = magic == GROUP_MAGIC
        && salted(salt, covered) == u32::from_be_bytes(*checksum)
        && count <= GROUP_RECORDS_MAX
        && point.chain == chain;
    is_whole.then_some(FoundHeader { before, point, body_bytes, body_checksum, count })
}

/// Reads a record at a known place again.
pub(super) fn read_record(
    file: &dyn DiskFile,
    offset: u32,
    length: u32,
) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).map_err(std::io::Error::other)?];
    file.read_at(&mut bytes, u64::from(offset))?;
    Ok(bytes)
}

fn salted(salt: &Salt, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(salt);
    hasher.update(bytes);
    hasher.finalize()
}

/// Reader of fixed-size parts from the front of a slice.
struct Reading<'a>(&'a [u8]);

impl Reading<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (part, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{Sample, check, meaning};

    const SALT: Salt = [9; 16];

    fn header_meaning(header: &SegmentHeader) -> String {
        let SegmentHeader { cluster, incarnation, number, salt } = header;
        meaning(&(cluster, incarnation, number, salt))
    }

    fn trimmed(bytes: &[u8]) -> Vec<u8> {
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[..=end].to_vec()
    }

    fn padded(bytes: &[u8]) -> Vec<u8> {
        let mut block = bytes.to_vec();
        block.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
        block
    }

    fn group(before: GroupPoint, records: &[Vec<u8>]) -> Vec<u8> {
        let mut buffer = GroupBuffer::default();
        for record in records {
            buffer.push(record).unwrap();
        }
        trimmed(buffer.seal(&SALT, before).0)
    }

    #[test]
    fn a_segment_is_read_as_it_was_written() {
        let header =
            SegmentHeader { cluster: [1; 16], incarnation: u64::MAX, number: 70_000, salt: SALT };
        let meant = header_meaning(&header);
        let bytes = trimmed(&header.encode());
        let before = GroupPoint { sequence: 41, chain: 0xDEAD_BEEF };
        let records = [b"first record".to_vec(), b"second record".to_vec()];
        let made = [
            Sample { name: "header".to_owned(), bytes, meaning: meant, is_random: false },
            Sample::new("group", group(before, &records), &(before, &records)),
        ];
        check("raft-segment.tsv", &made, &|name, bytes| {
            let block = padded(bytes);
            if name == "header" {
                let header = SegmentHeader::decode(&block)?;
                return Some((header_meaning(&header), trimmed(&header.encode())));
            }
            let found = group_at(&block, 0, &SALT)?;
            let records: Vec<Vec<u8>> =
                found.records.iter().map(|(_, record)| record.to_vec()).collect();
            Some((meaning(&(found.before, &records)), group(found.before, &records)))
        });
        let other_use = group_at(&padded(&group(before, &records)), 0, &[8; 16]).is_none();
        assert!(other_use, "an earlier use of the segment");
    }
}
