//! Index of the log in memory: the place of each entry and the effect of the notes.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use conclave_disk::DiskFile;

use crate::{types::Position, wire::NoteV1};

/// Place of an entry on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) position: Position,
    pub(super) segment: u64,
    pub(super) offset: u32,
    pub(super) length: u32,
}

/// Index of every entry of the log, in order and without gaps.
#[derive(Default)]
pub(super) struct Index {
    places: VecDeque<Place>,
    /// Open files by the number of their segment.
    pub(super) segments: BTreeMap<u64, Arc<dyn DiskFile>>,
    pub(super) last: Option<Position>,
    pub(super) purged: Option<Position>,
    pub(super) committed: Option<Position>,
    /// Bytes of all entries.
    pub(super) bytes: u64,
}

impl Index {
    /// Returns the note at the beginning of a new segment, which sums up the earlier ones.
    pub(super) fn base(&self) -> NoteV1 {
        NoteV1::Base { last: self.last, purged: self.purged, committed: self.committed }
    }

    /// Returns the index that the next entry must have; `None` if the log is empty and any index is
    /// valid.
    pub(super) fn next(&self) -> Option<u64> {
        self.last.map(|last| last.index + 1)
    }

    /// Returns the first existing entry.
    pub(super) fn first(&self) -> Option<Position> {
        self.places.front().map(|place| place.position)
    }

    pub(super) fn push(&mut self, place: Place) {
        self.bytes += u64::from(place.length);
        self.last = Some(place.position);
        self.places.push_back(place);
    }

    pub(super) fn note(&mut self, note: &NoteV1) {
        match note {
            NoteV1::TruncateAfter(after) => self.truncate_after(*after),
            NoteV1::Purged(upto) => self.purge(*upto),
            NoteV1::Committed(committed) => self.committed = self.committed.max(Some(*committed)),
            NoteV1::Base { last, purged, committed } => {
                if self.places.is_empty() {
                    (self.last, self.purged, self.committed) = (*last, *purged, *committed);
                }
            }
        }
    }

    fn truncate_after(&mut self, after: Option<Position>) {
        let keep = after.map_or(0, |position| position.index + 1);
        while let Some(place) = self.places.pop_back_if(|place| place.position.index >= keep) {
            self.bytes = self.bytes.saturating_sub(u64::from(place.length));
        }
        if self.last.is_some_and(|last| last.index >= keep) {
            self.last = after;
        }
    }

    fn purge(&mut self, upto: Position) {
        while let Some(place) = self.places.pop_front_if(|place| place.position.index <= upto.index)
        {
            self.bytes = self.bytes.saturating_sub(u64::from(place.length));
        }
        self.purged = self.purged.max(Some(upto));
        if self.last.is_none_or(|last| last.index < upto.index) {
            self.last = Some(upto);
        }
    }

    /// Removes and returns the segments before the first one with an entry. Keeps `current`.
    pub(super) fn take_unused(&mut self, current: u64) -> Vec<(u64, Arc<dyn DiskFile>)> {
        let first_used = self.places.front().map_or(current, |place| place.segment);
        let used = self.segments.split_off(&first_used);
        std::mem::replace(&mut self.segments, used).into_iter().collect()
    }

    /// Returns the places of the entries in `start..end` with their files: at most `bytes_max`
    /// bytes, but at least one entry.
    pub(super) fn find(
        &self,
        start: u64,
        end: u64,
        bytes_max: u64,
    ) -> Vec<(Place, Arc<dyn DiskFile>)> {
        let Some(first) = self.first() else { return Vec::new() };
        let skip = start.saturating_sub(first.index);
        let Ok(skip) = usize::try_from(skip) else { return Vec::new() };
        let mut bytes = 0;
        let within = self.places.iter().skip(skip).take_while(|place| place.position.index < end);
        within
            .take_while(|place| {
                let is_first = bytes == 0;
                bytes += u64::from(place.length);
                is_first || bytes <= bytes_max
            })
            .filter_map(|place| Some((*place, Arc::clone(self.segments.get(&place.segment)?))))
            .collect()
    }

    /// Returns whether an entry was purged or truncated.
    pub(super) fn lacks(&self, position: Position) -> bool {
        let Some(first) = self.first() else { return true };
        let skip = position.index.checked_sub(first.index).map(usize::try_from);
        match skip {
            Some(Ok(skip)) => self.places.get(skip).is_none_or(|place| place.position != position),
            _ => true,
        }
    }
}
