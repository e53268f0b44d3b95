//! First elements of DER encodings, without parsing the rest.

use der::{Decode, Encode, SliceReader};

/// Returns the first element of a SEQUENCE, header included: the part that a signature covers.
pub(crate) fn first_element(der: &[u8]) -> Option<&[u8]> {
    let (start, _) = sizes(der)?;
    let inner = der.get(start..)?;
    let (header, content) = sizes(inner)?;
    inner.get(..header.checked_add(content)?)
}

/// Returns the lengths of header and content of the first element.
pub(crate) fn sizes(der: &[u8]) -> Option<(usize, usize)> {
    let header = der::Header::decode(&mut SliceReader::new(der).ok()?).ok()?;
    let length = usize::try_from(header.encoded_len().ok()?).ok()?;
    Some((length, usize::try_from(header.length()).ok()?))
}
