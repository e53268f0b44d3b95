//! A reader for big-endian numbers and length-prefixed bytes.

/// The unread bytes.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, bytes: usize) -> Option<u64> {
        let taken = self.take(bytes)?;
        Some(taken.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        u8::try_from(self.number(1)?).ok()
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        u16::try_from(self.number(2)?).ok()
    }

    pub(crate) fn u24(&mut self) -> Option<usize> {
        usize::try_from(self.number(3)?).ok()
    }

    pub(crate) fn u48(&mut self) -> Option<u64> {
        self.number(6)
    }

    pub(crate) fn prefixed_u8(&mut self) -> Option<&'a [u8]> {
        let count = self.u8()?;
        self.take(count.into())
    }

    pub(crate) fn prefixed_u16(&mut self) -> Option<&'a [u8]> {
        let count = self.u16()?;
        self.take(count.into())
    }

    pub(crate) fn prefixed_u24(&mut self) -> Option<&'a [u8]> {
        let count = self.u24()?;
        self.take(count)
    }
}
