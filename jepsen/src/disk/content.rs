//! Content of a file, in shared pages, so that a copy costs no memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use super::limits::PAGE_BYTES;

type Page = [u8; PAGE_BYTES];

/// The one page shared by all pages of zeros.
static ZERO: LazyLock<Arc<Page>> = LazyLock::new(|| Arc::new([0; PAGE_BYTES]));

/// Content of a file, with holes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    pages: BTreeMap<u64, Arc<Page>>,
    size: u64,
}

/// Converts a length to an offset. No machine has lengths that do not fit.
pub(crate) fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Converts an offset within a page to an index.
fn narrow(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// Returns the number of the page with a byte, and the index of the byte in it.
fn place(offset: u64) -> (u64, usize) {
    let page = wide(PAGE_BYTES);
    (offset / page, narrow(offset % page))
}

/// Returns the numbers of the pages that a range touches.
pub(crate) fn pages(offset: u64, length: u64) -> std::ops::Range<u64> {
    let page = wide(PAGE_BYTES);
    if length == 0 { 0..0 } else { offset / page..offset.saturating_add(length).div_ceil(page) }
}

impl Content {
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Returns the number of allocated pages.
    pub(crate) fn allocated(&self) -> u64 {
        wide(self.pages.len())
    }

    pub(crate) fn has_page(&self, number: u64) -> bool {
        self.pages.contains_key(&number)
    }

    /// Reads from an offset, up to the end of the file.
    pub(crate) fn read(&self, offset: u64, length: u64) -> Vec<u8> {
        let end = offset.saturating_add(length).min(self.size);
        let (mut bytes, mut at) = (Vec::new(), offset);
        while at < end {
            let (number, within) = place(at);
            let take = (PAGE_BYTES - within).min(narrow(end - at));
            let page = self.pages.get(&number);
            match page.and_then(|page| page.get(within..within + take)) {
                Some(part) => bytes.extend_from_slice(part),
                None => bytes.resize(bytes.len() + take, 0),
            }
            at += wide(take);
        }
        bytes
    }

    /// Writes, and extends the file if necessary.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) {
        let (mut at, mut rest) = (offset, data);
        while !rest.is_empty() {
            let (number, within) = place(at);
            let (part, later) = rest.split_at((PAGE_BYTES - within).min(rest.len()));
            let page = self.pages.entry(number).or_insert_with(|| Arc::clone(&ZERO));
            if part.len() == PAGE_BYTES && part.iter().all(|byte| *byte == 0) {
                *page = Arc::clone(&ZERO);
            } else if let Some(place) = Arc::make_mut(page).get_mut(within..within + part.len()) {
                place.copy_from_slice(part);
            }
            at += wide(part.len());
            rest = later;
        }
        self.size = self.size.max(at);
    }

    /// Truncates or extends the file; new bytes are zeros.
    pub(crate) fn set_size(&mut self, size: u64) {
        if size < self.size {
            self.pages.split_off(&size.div_ceil(wide(PAGE_BYTES)));
            let (number, within) = place(size);
            if let Some(page) = self.pages.get_mut(&number).filter(|_| within > 0)
                && let Some(tail) = Arc::make_mut(page).get_mut(within..)
            {
                tail.fill(0);
            }
        }
        self.size = size;
    }

    /// Allocates a page of zeros, unless the page is already allocated.
    pub(crate) fn allocate(&mut self, number: u64) {
        self.pages.entry(number).or_insert_with(|| Arc::clone(&ZERO));
    }

    /// Copies one page, or a hole, from another content.
    pub(crate) fn copy_page(&mut self, from: &Content, number: u64) {
        match from.pages.get(&number) {
            Some(page) => self.pages.insert(number, Arc::clone(page)),
            None => self.pages.remove(&number),
        };
    }

    /// Flips one bit.
    pub(crate) fn flip(&mut self, offset: u64, bit: u32) {
        if let [byte] = self.read(offset, 1).as_slice() {
            let flipped = byte ^ 1u8.rotate_left(bit);
            self.write(offset, &[flipped]);
        }
    }
}
