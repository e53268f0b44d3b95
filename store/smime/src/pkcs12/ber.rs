//! BER (X.690 §8) brought into DER, as far as PKCS#12 needs it.
//!
//! Java, NSS and old Windows write indefinite lengths, strings in pieces and long forms of short
//! lengths. SETs are not sorted: nothing here needs that.

use zeroize::Zeroizing;

use crate::limits::DEPTH_MAX;

const OCTET_STRING: u8 = 0x04;
const CONSTRUCTED: u8 = 0x20;
const END_OF_CONTENTS: &[u8] = &[0, 0];

/// Returns the one value that `input` consists of, with definite and shortest lengths and each
/// OCTET STRING in one piece. Returns `None` for damaged, trailing or too deeply nested bytes.
pub(super) fn to_der(input: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = buffer(input);
    element(input, 0, &mut out)?.is_empty().then_some(out)
}

/// Returns a buffer that never moves its content, which may be a key, to another place. A value of
/// indefinite length has at least 4 bytes and grows by at most one.
fn buffer(input: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Vec::with_capacity(input.len() + input.len() / 4))
}

/// Appends the first value of `input` to `out`, and returns what follows it.
fn element<'a>(input: &'a [u8], depth: usize, out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (&tag, rest) = input.split_first()?;
    // Numbers above 30 go on in further bytes. PKCS#12 has none.
    if tag & 0x1f == 0x1f || depth > DEPTH_MAX {
        return None;
    }
    let (length, rest) = length(rest)?;
    if tag & CONSTRUCTED == 0 {
        let (content, rest) = rest.split_at_checked(length?)?;
        append(tag, content, out)?;
        return Some(rest);
    }
    let mut inner = buffer(rest.get(..length.unwrap_or(rest.len()))?);
    let rest = match length {
        Some(length) => {
            let (mut content, rest) = rest.split_at_checked(length)?;
            while !content.is_empty() {
                content = element(content, depth + 1, &mut inner)?;
            }
            rest
        }
        None => {
            let mut content = rest;
            loop {
                if let Some(rest) = content.strip_prefix(END_OF_CONTENTS) {
                    break rest;
                }
                content = element(content, depth + 1, &mut inner)?;
            }
        }
    };
    if tag == OCTET_STRING | CONSTRUCTED {
        append(OCTET_STRING, &joined(&inner)?, out)?;
    } else {
        append(tag, &inner, out)?;
    }
    Some(rest)
}

/// Joins the pieces of a string, which are OCTET STRINGs in DER.
pub(super) fn joined(mut pieces: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut whole = buffer(pieces);
    while let Some((&tag, rest)) = pieces.split_first() {
        let (length, rest) = length(rest)?;
        let (content, rest) = rest.split_at_checked(length?)?;
        if tag != OCTET_STRING {
            return None;
        }
        whole.extend_from_slice(content);
        pieces = rest;
    }
    Some(whole)
}

/// Reads a length; the inner `None` is the indefinite one (X.690 §8.1.3).
fn length(input: &[u8]) -> Option<(Option<usize>, &[u8])> {
    let (&first, rest) = input.split_first()?;
    match first {
        0..0x80 => Some((Some(usize::from(first)), rest)),
        0x80 => Some((None, rest)),
        _ => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = bytes.iter().try_fold(0_usize, |length, byte| {
                length.checked_mul(256)?.checked_add(usize::from(*byte))
            })?;
            Some((Some(length), rest))
        }
    }
}

fn append(tag: u8, content: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let length = der::Length::try_from(content.len()).ok()?;
    out.push(tag);
    der::Encode::encode_to_vec(&length, out).ok()?;
    out.extend_from_slice(content);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_ber_becomes_der() {
        let check = |ber: &[u8], der: Option<&[u8]>| {
            assert_eq!(to_der(ber).as_deref().map(Vec::as_slice), der, "{ber:x?}");
        };
        check(&[0x30, 0], Some(&[0x30, 0]));
        check(&[0x30, 0x80, 2, 1, 5, 0, 0], Some(&[0x30, 3, 2, 1, 5]));
        check(&[0x30, 0x82, 0, 3, 2, 0x81, 1, 5], None);
        check(&[0x30, 0x82, 0, 4, 2, 0x81, 1, 5], Some(&[0x30, 3, 2, 1, 5]));
        check(&[0x24, 0x80, 4, 1, 7, 0x24, 3, 4, 1, 8, 0, 0], Some(&[4, 2, 7, 8]));
        check(&[0xa0, 0x80, 0x24, 0x80, 4, 1, 7, 0, 0, 0, 0], Some(&[0xa0, 3, 4, 1, 7]));
        let long = [&[0x24, 0x81, 204, 4, 0x81, 200][..], &[9; 200], &[4, 1, 8]];
        let whole = [&[4, 0x81, 201][..], &[9; 200], &[8]];
        check(&[&long.concat()[..3], &[0x81]].concat(), None);
        let mut long = long.concat();
        long[2] = 206;
        check(&long, Some(&whole.concat()));
        // No end, no length, bytes behind, a string of numbers, a long tag, an indefinite primitive.
        for broken in [
            &[0x30, 0x80, 2, 1, 5][..],
            &[0x30],
            &[0x30, 0, 0],
            &[0x24, 3, 2, 1, 5],
            &[0x1f, 0x81, 1, 0],
            &[4, 0x80, 0, 0],
            &[0x30, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1],
            &[],
        ] {
            check(broken, None);
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| {
            [[0x30, 0x80].repeat(depth), vec![0x30, 0], [0, 0].repeat(depth)].concat()
        };
        assert!(to_der(&nested(DEPTH_MAX)).is_some());
        assert!(to_der(&nested(DEPTH_MAX + 1)).is_none());
        assert!(to_der(&[0x30, 0x80].repeat(500_000)).is_none());
    }
}
