//! Samples of the protocol names, labels and lane bytes that two nodes must agree on, see
//! `tests/src/samples.rs`.

use super::{
    identity::{ALPN_JOIN, ALPN_MEMBER, EXPORTER_JOIN, EXPORTER_MEMBER},
    lane::Lane,
};
use crate::samples::{Sample, check, meaning};

#[test]
fn nodes_greet_each_other_as_they_always_did() {
    let words = [ALPN_MEMBER, ALPN_JOIN, EXPORTER_JOIN, EXPORTER_MEMBER];
    let word = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut made: Vec<Sample> =
        words.iter().map(|bytes| Sample::new(&word(bytes), bytes.to_vec(), &word(bytes))).collect();
    for lane in [Lane::Appends, Lane::Heartbeat, Lane::Vote, Lane::Snapshot, Lane::Call] {
        let name = format!("{lane:?}");
        made.push(Sample::new(&name, vec![lane.byte()], &name));
    }
    check("raft-greeting.tsv", &made, &|name, bytes| {
        let is_word = words.contains(&bytes) && name == word(bytes);
        let lane = || Lane::from_byte(*bytes.first()?).ok().map(|lane| format!("{lane:?}"));
        let found = if is_word { name.to_owned() } else { lane()? };
        Some((meaning(&found), bytes.to_vec()))
    });
}
