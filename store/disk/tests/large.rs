//! Records of any allowed length, written again and again, never get where sled syncs nothing.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use conclave_disk::{Batch, Disk, DiskOptions};

/// A little generator: the test needs many values, not good ones.
fn next(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*seed >> 33).unwrap()
}

#[test]
fn no_page_is_ever_moved_into_a_file_that_nobody_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::open(dir.path(), DiskOptions::default()).unwrap();
    let tree = disk.tree("rows").unwrap();
    let (mut model, mut seed) = (BTreeMap::new(), 7);
    for round in 0..400 {
        let mut batch = Batch::default();
        for _ in 0..12 {
            let key = format!("{}{}", "k".repeat(next(&mut seed) % 350), next(&mut seed) % 60);
            if next(&mut seed).is_multiple_of(5) {
                batch.remove(key.as_bytes());
                model.remove(&key);
                continue;
            }
            let lengths = [8 * 1024, 13 * 1024, 22 * 1024, 96 * 1024, 50, 5_115, 5_116];
            let length = lengths[next(&mut seed) % lengths.len()];
            let value = vec![u8::try_from(round % 251).unwrap(); length];
            batch.put(key.as_bytes(), &value);
            model.insert(key, value);
        }
        tree.apply(batch).unwrap();
        disk.sync().unwrap();
    }
    let blobs = std::fs::read_dir(dir.path().join("blobs"));
    assert_eq!(blobs.map_or(0, Iterator::count), 0);
    let check = |tree: &conclave_disk::Tree| {
        let found: BTreeMap<Vec<u8>, Vec<u8>> = tree.records().map(Result::unwrap).collect();
        let expected: BTreeMap<Vec<u8>, Vec<u8>> =
            model.iter().map(|(key, value)| (key.clone().into_bytes(), value.clone())).collect();
        assert!(found == expected);
    };
    check(&tree);
    drop((tree, disk));
    let disk = Disk::open(dir.path(), DiskOptions::default()).unwrap();
    check(&disk.tree("rows").unwrap());
}

#[test]
fn a_blob_is_refused_before_it_is_counted_on() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::open(dir.path(), DiskOptions::default()).unwrap();
    // As version 0.1.0 wrote them: whole.
    let records = (0..17_u8).map(|key| (vec![key], vec![key; 22 * 1024])).collect::<Vec<_>>();
    disk.old_tree("rows").unwrap().put(&records).unwrap();
    assert!(disk.sync().is_err());
}
