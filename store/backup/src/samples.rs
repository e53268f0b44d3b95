//! Sample of a backup, see `tests/src/samples.rs`. It contains randomness, so the test checks that
//! backups of every release open.

use super::{
    Identities, Item, NewIdentity, inspect, read,
    tests::{authority, state, written},
};
use crate::samples_of_formats::{Sample, check, meaning};

/// Length of an identity as text, with the newline behind it.
const IDENTITY_BYTES: usize = 75;

/// Tells what is in a backup: facts of its header, its keys, and its rows.
fn told(bytes: &[u8]) -> Option<String> {
    let (identity, file) = bytes.split_at_checked(IDENTITY_BYTES)?;
    let header = inspect(file).ok()?.header;
    let (mut keys, mut rows) = (Vec::new(), Vec::new());
    let identities = Identities::parse(std::str::from_utf8(identity).ok()?).ok()?;
    read(file, &identities, &mut |_, item| {
        match item {
            Item::Key(key) => keys.push((key.scope_id, key.generation, *key.key)),
            Item::Row { key, record, .. } => rows.push((key, record)),
        }
        true
    })
    .ok()?;
    let facts = (header.cluster.to_string(), header.made, header.index, header.level);
    Some(meaning(&(facts, keys, rows)))
}

#[test]
fn a_backup_of_any_release_opens() {
    let identity = NewIdentity::make();
    let recipients = [identity.recipient];
    let file = written(&state(2), &authority(1), &recipients);
    let bytes = [identity.secret.as_bytes(), b"\n", &file].concat();
    let meant = told(&bytes).unwrap();
    let name = "identity, backup".to_owned();
    let made = [Sample { name, bytes, meaning: meant, is_random: true }];
    check("backup.tsv", &made, &|_, bytes| Some((told(bytes)?, bytes.to_vec())));
}
