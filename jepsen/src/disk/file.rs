//! A file of the simulated disk: its live content, and the content left by a power cut.

use std::collections::BTreeSet;

use super::{
    content::{Content, pages, wide},
    limits::{PAGE_BYTES, SECTOR_BYTES},
};
use crate::chance::Chance;

/// Part of the unsynced data that survives a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Survival {
    /// Nothing.
    Nothing,
    /// All: the device was faster than the cut.
    Everything,
    /// All but a part of each file's last write.
    LastTorn,
    /// Each sector at random, with this probability in percent.
    Sectors(u64),
    /// Each page at random, with this probability in percent.
    Pages(u64),
}

impl Survival {
    /// Returns a random variant.
    pub(crate) fn any(chance: &mut Chance) -> Survival {
        let percent = 10 + chance.below(81);
        match chance.below(6) {
            0 | 1 => Survival::Nothing,
            2 => Survival::Everything,
            3 => Survival::LastTorn,
            4 => Survival::Sectors(percent),
            _ => Survival::Pages(percent),
        }
    }
}

/// A change not yet durable.
#[derive(Debug, Clone)]
enum Pending {
    Write { offset: u64, data: Vec<u8> },
    Size(u64),
}

/// A file.
#[derive(Debug, Clone, Default)]
pub(crate) struct File {
    live: Content,
    durable: Content,
    pending: Vec<Pending>,
    /// Pages changed since the last sync.
    dirty: BTreeSet<u64>,
    /// Smallest size since the last sync, if the file was truncated.
    cut_to: Option<u64>,
}

impl File {
    pub(crate) fn live(&self) -> &Content {
        &self.live
    }

    pub(crate) fn durable(&self) -> &Content {
        &self.durable
    }

    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) {
        self.live.write(offset, data);
        self.dirty.extend(pages(offset, wide(data.len())));
        self.pending.push(Pending::Write { offset, data: data.to_vec() });
    }

    pub(crate) fn set_size(&mut self, size: u64) {
        if size < self.live.size() {
            self.cut_to = Some(self.cut_to.map_or(size, |least| least.min(size)));
            // The rest of the last page became zeros.
            self.dirty.extend(pages(size, 1));
        }
        self.live.set_size(size);
        self.pending.push(Pending::Size(size));
    }

    /// Allocates space, and extends the file unless `keeps_size` is set.
    pub(crate) fn allocate(&mut self, offset: u64, length: u64, keeps_size: bool) {
        for number in pages(offset, length) {
            if !self.live.has_page(number) {
                self.live.allocate(number);
                self.dirty.insert(number);
            }
        }
        let end = offset.saturating_add(length);
        if !keeps_size && end > self.live.size() {
            self.set_size(end);
        }
    }

    /// Returns the ranges written but not synced.
    pub(crate) fn unsynced(&self) -> Vec<(u64, u64)> {
        let range = |change: &Pending| match change {
            Pending::Write { offset, data } => (*offset, offset + wide(data.len())),
            Pending::Size(size) => (*size, *size),
        };
        self.pending.iter().map(range).collect()
    }

    /// Makes everything durable.
    pub(crate) fn sync(&mut self) {
        if let Some(least) = self.cut_to.take().filter(|least| *least < self.durable.size()) {
            self.durable.set_size(least);
        }
        for number in std::mem::take(&mut self.dirty) {
            self.durable.copy_page(&self.live, number);
        }
        self.durable.set_size(self.live.size());
        self.pending.clear();
    }

    /// Simulates a failed sync as in Linux: the dirty pages count as clean, readers still see them,
    /// and the next sync succeeds without writing them.
    pub(crate) fn fail_sync(&mut self) {
        self.pending.clear();
        self.dirty.clear();
        self.cut_to = None;
    }

    /// Cuts the power: of the unsynced changes, only those that survive are kept.
    pub(crate) fn cut(&mut self, survival: Survival, chance: &mut Chance) {
        let pending = std::mem::take(&mut self.pending);
        let last = pending.len().saturating_sub(1);
        if survival == Survival::Everything {
            self.sync();
        }
        for (place, change) in pending.into_iter().enumerate() {
            let (unit, percent) = match survival {
                Survival::Nothing | Survival::Everything => break,
                Survival::LastTorn if place < last => (PAGE_BYTES, 100),
                Survival::LastTorn => (SECTOR_BYTES, 50),
                Survival::Sectors(percent) => (SECTOR_BYTES, percent),
                Survival::Pages(percent) => (PAGE_BYTES, percent),
            };
            match change {
                Pending::Size(size) if chance.percent(percent) => self.durable.set_size(size),
                Pending::Size(_) => {}
                Pending::Write { offset, data } => {
                    survive(&mut self.durable, offset, &data, unit, || chance.percent(percent));
                }
            }
        }
        self.dirty.clear();
        self.cut_to = None;
        self.live = self.durable.clone();
    }

    /// Flips one bit, on the device and for readers.
    pub(crate) fn flip(&mut self, offset: u64, bit: u32) {
        self.durable.flip(offset, bit);
        self.live.flip(offset, bit);
    }
}

/// Writes the surviving units of a write. Units are aligned to their length.
fn survive(
    content: &mut Content,
    offset: u64,
    data: &[u8],
    unit: usize,
    mut survives: impl FnMut() -> bool,
) {
    let (mut at, mut rest) = (offset, data);
    while !rest.is_empty() {
        let within = usize::try_from(at % wide(unit)).unwrap_or(0);
        let (part, later) = rest.split_at((unit - within).min(rest.len()));
        if survives() {
            content.write(at, part);
        }
        at += wide(part.len());
        rest = later;
    }
}
