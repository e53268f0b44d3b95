//! The simulation itself.

use std::sync::Arc;

use conclave_disk::Files;
use conclave_raft::{
    executor::{SimRt, rng::Rng},
    mutant::Mutant,
};

use crate::{
    disk::{Directory, Disk},
    sweep::Plan,
};

#[test]
fn the_executor_keeps_openrafts_contract_of_a_runtime() {
    openraft_rt::testing::Suite::<SimRt>::test_all();
}

#[test]
fn a_seed_decides_everything() {
    let plan = Plan {
        seeds: 5..6,
        seconds: 30,
        nodes: 3,
        mutant: Mutant::None,
        trace: None,
        has_log: false,
    };
    let dir = std::env::temp_dir().join(format!("conclave-sim-test-{}", std::process::id()));
    let lives = [5, 5, 6].map(|seed| plan.life(seed, dir.clone()));
    let [first, again, other] = lives.map(|life| (life.hash, life.events, life.fault));
    assert_eq!(first, again);
    assert_ne!(first.0, other.0);
    std::fs::remove_dir_all(dir).unwrap();
}

/// What of eight sectors is there after a power cut, for many seeds.
fn after_power_cuts(is_synced: bool, is_named: bool) -> Vec<Option<[u8; 8]>> {
    let after = |seed| {
        let disk = Disk::new(1, Rng::new(seed, 1));
        let files = Directory::open(&disk);
        let file = files.create("file").unwrap();
        file.write_at(&[0; 8 * 512], 0).unwrap();
        file.sync().unwrap();
        if is_named {
            files.sync().unwrap();
        }
        file.write_at(&[7; 8 * 512], 0).unwrap();
        if is_synced {
            file.sync().unwrap();
        }
        disk.lock().unwrap().crash(true);
        assert!(file.write_at(&[9], 0).is_err(), "the process is gone");
        let file = Directory::open(&disk).open("file").ok()?;
        let mut bytes = [0; 8 * 512];
        file.read_at(&mut bytes, 0).unwrap();
        Some(std::array::from_fn(|sector| bytes[sector * 512]))
    };
    (0..200).map(after).collect()
}

#[test]
fn only_what_is_synced_survives_a_power_cut() {
    assert!(after_power_cuts(true, true).iter().all(|sectors| *sectors == Some([7; 8])));
    let torn = after_power_cuts(false, true);
    assert!(torn.iter().all(Option::is_some), "its name was synced");
    let has = |wanted: &dyn Fn(&[u8; 8]) -> bool| torn.iter().flatten().any(wanted);
    assert!(has(&|sectors| *sectors == [0; 8]), "sometimes all of it is lost");
    assert!(has(&|sectors| *sectors == [7; 8]), "sometimes nothing");
    assert!(has(&|sectors| sectors.contains(&0) && sectors.contains(&7)), "sometimes a part");
    assert!(after_power_cuts(true, false).iter().any(Option::is_none), "nor are names");
}

#[test]
fn a_kill_loses_nothing_and_a_failed_sync_does_not_count_later() {
    let disk = Disk::new(1, Rng::new(1, 1));
    let files = Directory::open(&disk);
    let file = files.create("file").unwrap();
    file.write_at(&[0; 512], 0).unwrap();
    file.sync().unwrap();
    files.sync().unwrap();
    file.write_at(&[7; 512], 0).unwrap();
    disk.lock().unwrap().failing_one_in = 1;
    assert!(file.sync().is_err());
    disk.lock().unwrap().failing_one_in = 0;
    file.sync().unwrap();
    let read = || {
        let mut byte = [0];
        Directory::open(&Arc::clone(&disk)).open("file").unwrap().read_at(&mut byte, 0).unwrap();
        byte[0]
    };
    disk.lock().unwrap().crash(false);
    assert_eq!(read(), 7, "the page cache is still there");
    disk.lock().unwrap().crash(true);
    assert_eq!(read(), 0, "the kernel had counted its pages as clean");
}
