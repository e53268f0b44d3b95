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

/// Returns tag and content of the first elements, at most `max`. A cut element is the last one. An
/// element of indefinite length (BER) has all that follows as its content.
pub(crate) fn elements(mut rest: &[u8], max: usize) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while found.len() < max
        && let Some((tag, content, after)) = split(rest)
    {
        found.push((tag, content));
        rest = after;
    }
    found
}

fn split(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [tag, first, rest @ ..] = input else { return None };
    let (length, rest) = match first {
        0..0x80 => (usize::from(*first), rest),
        0x80 => (rest.len(), rest),
        more => {
            let (bytes, rest) = rest.split_at_checked(usize::from(more & 0x7f))?;
            let length = bytes.iter().try_fold(0_usize, |length, byte| {
                length.checked_mul(256)?.checked_add(usize::from(*byte))
            });
            (length?, rest)
        }
    };
    let (content, after) = rest.split_at(length.min(rest.len()));
    Some((*tag, content, after))
}
