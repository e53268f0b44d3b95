//! What survives a crash, and what damage does: a record is right, missing or refused, never
//! another value.
#![allow(missing_docs, clippy::as_conversions)]

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use conclave_disk::{Batch, Disk, DiskOptions};

fn open(dir: &std::path::Path) -> Result<Disk, conclave_disk::OpenError> {
    Disk::open(dir, DiskOptions { cache_bytes: 4 * 1024 * 1024 })
}

fn value(number: u32) -> Vec<u8> {
    number.to_be_bytes().repeat(50)
}

/// Not a test by itself: the child of the one below, killed in the middle of its writes.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(dir) = std::env::var("CONCLAVE_DISK_CHILD") else { return };
    let disk = open(dir.as_ref()).unwrap();
    let tree = disk.tree("t").unwrap();
    for number in 0u32.. {
        let mut batch = Batch::default();
        batch.put(&number.to_be_bytes(), &value(number));
        tree.apply(batch).unwrap();
        disk.sync().unwrap();
        println!("\nsynced {number}");
    }
}

#[test]
fn what_was_synced_before_a_kill_is_there_after_it() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let path = dir.path().join(round.to_string());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child_that_writes_until_it_is_killed", "--exact", "--nocapture"])
            .env("CONCLAVE_DISK_CHILD", &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let synced = lines
            .filter_map(|line| line.strip_prefix("synced ")?.parse::<u32>().ok())
            .take(50 + round * 37)
            .last()
            .unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let disk = open(&path).unwrap();
        let tree = disk.tree("t").unwrap();
        for number in 0..=synced {
            assert_eq!(tree.read(&number.to_be_bytes()).unwrap(), Some(value(number)));
        }
    }
}

#[test]
fn a_database_that_is_about_to_be_closed_can_be_opened() {
    let dir = tempfile::tempdir().unwrap();
    let held = open(dir.path()).unwrap();
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let closing = std::thread::spawn(move || {
        let _ = wait.recv_timeout(std::time::Duration::from_millis(200));
        drop(held);
    });
    open(dir.path()).unwrap();
    drop(release);
    closing.join().unwrap();
}

#[test]
fn a_flipped_bit_never_gives_another_value() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    {
        let disk = open(&path).unwrap();
        let tree = disk.tree("t").unwrap();
        for number in 0..200u32 {
            let mut batch = Batch::default();
            batch.put(&number.to_be_bytes(), &value(number));
            tree.apply(batch).unwrap();
        }
        disk.sync().unwrap();
    }
    let whole = std::fs::read(path.join("db")).unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let mut missing_or_refused = 0;
    for seed in 0..200usize {
        let copy = dir.path().join(format!("copy{seed}"));
        std::fs::create_dir(&copy).unwrap();
        for file in std::fs::read_dir(&path).unwrap().map(Result::unwrap) {
            if file.file_type().unwrap().is_file() {
                std::fs::copy(file.path(), copy.join(file.file_name())).unwrap();
            }
        }
        let mut bytes = whole.clone();
        bytes[seed * 7919 % used] ^= 1 << (seed % 8);
        std::fs::write(copy.join("db"), &bytes).unwrap();
        let Ok(disk) = open(&copy) else {
            missing_or_refused += 1;
            continue;
        };
        let Ok(tree) = disk.tree("t") else { continue };
        for number in 0..200u32 {
            match tree.read(&number.to_be_bytes()) {
                Ok(Some(found)) => assert_eq!(found, value(number), "seed {seed}"),
                Ok(None) | Err(_) => missing_or_refused += 1,
            }
        }
        drop((tree, disk));
        std::fs::remove_dir_all(&copy).unwrap();
    }
    assert!(missing_or_refused > 0, "no seed damaged anything: the test does not test");
}
