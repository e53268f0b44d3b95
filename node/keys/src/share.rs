//! Shares of an unlock key (Shamir's secret sharing over GF(2^8)): any `needed` of them give the
//! key, and fewer say nothing about it.
//!
//! The text of a share is `cvsN-…`: N is its number, and the rest are a version, the node, the set,
//! the number of needed shares, the share and a checksum, in base 32. A mistyped share is refused
//! by its number, and one of another node or another set is never combined.

use std::{collections::BTreeMap, convert::Infallible, sync::LazyLock};

use blahaj::{Share as Point, Sharks};
use conclave_system::entropy;
use data_encoding::{Encoding, Specification};
use rand::rand_core::{TryCryptoRng, TryRng};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::{
    limits::{SHARE_BYTES_MAX, SHARES_MAX, SHARES_NEEDED_MIN},
    seal::{GenerationKey, Secret},
};

const VERSION: u8 = 1;
const KEY_BYTES: usize = 32;
const SUM_BYTES: usize = 4;
/// Version, node, set, needed shares, share.
const BODY_BYTES: usize = 1 + 4 + 4 + 1 + KEY_BYTES;
/// Characters between two hyphens.
const GROUP_CHARS: usize = 4;
/// Crockford's base 32: no letter looks like a digit, and those that do are read as the digit.
static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut form = Specification::new();
    form.symbols.push_str("0123456789abcdefghjkmnpqrstvwxyz");
    form.ignore.push_str("- \t");
    form.translate.from.push_str("oil");
    form.translate.to.push_str("011");
    form.encoding().expect("the alphabet has 32 letters")
});

/// A set of shares of one key, as the node's file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShareSet {
    /// Random id.
    pub(crate) id: [u8; 4],
    /// Number of shares that give the key.
    pub(crate) needed: u8,
    /// Number of shares that were made.
    pub(crate) count: u8,
}

/// Errors of reading a share.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// The text has not the form of a share.
    #[error("this is not a share: a share begins with cvs and its number, as cvs3-7h3k-…")]
    NotAShare,
    /// The checksum is wrong.
    #[error("share {0} is mistyped: its checksum is wrong")]
    Mistyped(u8),
    /// The share has a version that this program does not know.
    #[error("share {0} was made by a later version of conclave")]
    Unknown(u8),
    /// The share is of another node.
    #[error("share {0} is of another node")]
    OfAnotherNode(u8),
    /// The share is of an older set of this node, or of a set that was never used.
    #[error("share {number} is of set {found}; this node opens with set {expected}")]
    OfAnotherSet {
        /// Number of the share.
        number: u8,
        /// Its set.
        found: String,
        /// The set of this node.
        expected: String,
    },
}

/// Writes an id of a set for people.
pub(crate) fn set_name(id: [u8; 4]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl ShareSet {
    /// Names a new set. Returns `None` for numbers that make no sense.
    pub(crate) fn make(needed: u8, count: u8) -> Option<ShareSet> {
        let set = ShareSet { id: entropy::array(), needed, count };
        set.is_bounded().then_some(set)
    }

    /// Returns whether the numbers are within the bounds of this program.
    pub(crate) fn is_bounded(&self) -> bool {
        (SHARES_NEEDED_MIN..=self.count).contains(&self.needed) && self.count <= SHARES_MAX
    }

    /// Splits a key into the texts of its shares.
    pub(crate) fn split(&self, node: [u8; 4], key: &GenerationKey) -> Vec<Zeroizing<String>> {
        let points = Sharks(self.needed).dealer_rng(key.expose(), &mut System);
        let texts = points.take(usize::from(self.count)).map(|point| {
            let bytes = Zeroizing::new(Vec::from(&point));
            let (number, value) = bytes.split_first().unwrap_or((&0, &[]));
            self.text(node, *number, value)
        });
        texts.collect()
    }

    fn text(&self, node: [u8; 4], number: u8, value: &[u8]) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(BODY_BYTES + SUM_BYTES));
        bytes.push(VERSION);
        bytes.extend_from_slice(&node);
        bytes.extend_from_slice(&self.id);
        bytes.push(self.needed);
        bytes.extend_from_slice(value);
        let sum = checksum(number, &bytes);
        bytes.extend_from_slice(&sum);
        let mut text = Zeroizing::new(format!("cvs{number}"));
        let letters = Zeroizing::new(BASE32.encode(&bytes));
        for (place, letter) in letters.chars().enumerate() {
            if place % GROUP_CHARS == 0 {
                text.push('-');
            }
            text.push(letter);
        }
        text
    }

    /// Reads a share of this set. Returns its number and its value.
    pub(crate) fn read(&self, node: [u8; 4], text: &str) -> Result<(u8, Secret), ShareError> {
        let (number, bytes) = parts(text).ok_or(ShareError::NotAShare)?;
        let bytes = bytes.ok_or(ShareError::Mistyped(number))?;
        let Some((body, sum)) = bytes.split_at_checked(BODY_BYTES) else {
            return Err(ShareError::Mistyped(number));
        };
        if sum != checksum(number, body) {
            return Err(ShareError::Mistyped(number));
        }
        let Some((&[VERSION, a, b, c, d], rest)) = body.split_first_chunk::<5>() else {
            return Err(ShareError::Unknown(number));
        };
        if [a, b, c, d] != node {
            return Err(ShareError::OfAnotherNode(number));
        }
        let (set, value) = rest.split_at_checked(5).ok_or(ShareError::Mistyped(number))?;
        if set != [&self.id[..], &[self.needed]].concat() {
            let found = set.first_chunk::<4>().map(|id| set_name(*id)).unwrap_or_default();
            let expected = set_name(self.id);
            return Err(ShareError::OfAnotherSet { number, found, expected });
        }
        Ok((number, Secret::new(value.to_vec())))
    }

    /// Combines shares. Returns `None` if they are too few.
    pub(crate) fn combine(&self, shares: &BTreeMap<u8, Secret>) -> Option<GenerationKey> {
        let point = |(number, value): (&u8, &Secret)| {
            let bytes = Zeroizing::new([&[*number], value.expose()].concat());
            Point::try_from(bytes.as_slice()).ok()
        };
        let points: Vec<Point> =
            shares.iter().take(usize::from(self.needed)).filter_map(point).collect();
        let mut bytes = Sharks(self.needed).recover(&points).ok()?;
        let key = bytes.as_slice().try_into().map(GenerationKey::from_bytes);
        bytes.zeroize();
        key.ok()
    }
}

fn checksum(number: u8, body: &[u8]) -> [u8; SUM_BYTES] {
    let mut text = Zeroizing::new(b"conclave share".to_vec());
    text.push(number);
    text.extend_from_slice(body);
    let sum = digest(&SHA256, &text);
    sum.as_ref().first_chunk().copied().unwrap_or_default()
}

/// Splits the text of a share into its number and its bytes, none if they are mistyped.
fn parts(text: &str) -> Option<(u8, Option<Zeroizing<Vec<u8>>>)> {
    let text = Zeroizing::new(text.trim().to_ascii_lowercase());
    if text.len() > SHARE_BYTES_MAX {
        return None;
    }
    let (number, rest) = text.strip_prefix("cvs")?.split_once('-')?;
    let number = number.parse().ok().filter(|number| (1..=SHARES_MAX).contains(number))?;
    Some((number, BASE32.decode(rest.as_bytes()).ok().map(Zeroizing::new)))
}

/// The randomness of the operating system for the crate that splits.
struct System;

impl TryRng for System {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_ne_bytes(entropy::array()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_ne_bytes(entropy::array()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        entropy::fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for System {}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: [u8; 4] = [7; 4];

    #[test]
    fn any_three_of_five_give_the_key_and_two_give_nothing() {
        let key = GenerationKey::make();
        let set = ShareSet::make(3, 5).unwrap();
        let texts = set.split(NODE, &key);
        assert_eq!(texts.len(), 5);
        let read = |text: &Zeroizing<String>| set.read(NODE, text).unwrap();
        for skipped in 0..32_u32 {
            let chosen = texts.iter().enumerate().filter(|(place, _)| skipped >> place & 1 == 0);
            let given: BTreeMap<u8, Secret> = chosen.map(|(_, text)| read(text)).collect();
            let combined = set.combine(&given);
            assert_eq!(combined.is_some(), given.len() >= 3, "{skipped:b}");
            assert!(combined.is_none_or(|combined| combined.expose() == key.expose()));
        }
        assert!(ShareSet::make(1, 5).is_none() && ShareSet::make(3, 2).is_none());
        assert!(ShareSet::make(2, 17).is_none());
    }

    #[test]
    fn a_share_is_read_as_people_type_it() {
        let set = ShareSet::make(2, 2).unwrap();
        let text = set.split(NODE, &GenerationKey::make()).remove(1);
        assert!(text.starts_with("cvs2-"), "the number is seen");
        let (_, value) = set.read(NODE, &text).unwrap();
        let typed = text.to_uppercase().replace('0', "O").replace('1', "l");
        let (prefix, rest) = typed.split_once('-').unwrap();
        let typed = format!("  {prefix}-{}\n", rest.replace('-', " "));
        let (number, again) = set.read(NODE, &typed).unwrap();
        assert_eq!((number, again.expose()), (2, value.expose()));
    }

    #[test]
    fn a_wrong_share_is_named() {
        let (set, key) = (ShareSet::make(2, 3).unwrap(), GenerationKey::make());
        let text = set.split(NODE, &key).remove(2);
        let refused = |set: &ShareSet, node, text: &str| set.read(node, text).err().unwrap();
        let (prefix, rest) = text.split_once('-').unwrap();
        for place in 0..rest.len() {
            if rest.as_bytes()[place] == b'-' {
                continue;
            }
            let other = if rest.as_bytes()[place] == b'q' { "z" } else { "q" };
            let mut typed = rest.to_owned();
            typed.replace_range(place..=place, other);
            let error = refused(&set, NODE, &format!("{prefix}-{typed}"));
            assert_eq!(error, ShareError::Mistyped(3), "{place}");
        }
        assert_eq!(refused(&set, NODE, &format!("cvs1-{rest}")), ShareError::Mistyped(1));
        assert_eq!(refused(&set, NODE, &text[..40]), ShareError::Mistyped(3));
        assert_eq!(refused(&set, NODE, "cvs1-uuuu"), ShareError::Mistyped(1));
        assert_eq!(refused(&set, [8; 4], &text), ShareError::OfAnotherNode(3));
        let newer = ShareSet { id: [1; 4], ..set.clone() };
        let error = refused(&newer, NODE, &text);
        assert!(error.to_string().contains("01010101"), "{error}");
        for wrong in ["", "hello", "cvj_1.2.3", "cvs-1", "cvs99-0000"] {
            assert_eq!(refused(&set, NODE, wrong), ShareError::NotAShare, "{wrong}");
        }
    }
}
