//! Tests of the simulated disk through the kernel: the data that a program can rely on after a
//! power cut.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{
    device::Disk,
    fault::{Call, Rule},
    file::Survival,
};
use crate::chance::Chance;

/// A mounted disk for one test.
struct Mount {
    disk: Disk,
    dir: tempfile::TempDir,
}

fn mount() -> Option<Mount> {
    let dir = tempfile::tempdir().unwrap();
    match Disk::mount(&dir.path().join("disk")) {
        Ok(disk) => Some(Mount { disk, dir }),
        Err(error) => {
            assert!(std::env::var_os("CONCLAVE_TEST_ALL").is_none(), "{error:#}");
            println!("SKIPPED: {error:#}");
            None
        }
    }
}

impl Mount {
    fn path(&self, name: &str) -> PathBuf {
        self.disk.path().join(name)
    }

    fn write(&self, name: &str, data: &[u8]) -> File {
        let mut file = File::create(self.path(name)).unwrap();
        file.write_all(data).unwrap();
        file
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn cut(&self, survival: Survival) {
        self.disk.cut(survival, &mut Chance::new(1));
    }
}

#[test]
fn data_survives_a_cut_only_if_the_file_and_its_name_were_synced() {
    let Some(mount) = mount() else { return };
    let file = mount.write("both", b"kept");
    file.sync_data().unwrap();
    mount.disk.sync_root().unwrap();
    mount.write("both", b"").write_all(b"lost").unwrap();
    drop(mount.write("name", b"never synced"));
    mount.disk.sync_root().unwrap();
    mount.write("data", b"synced, but its name was not").sync_all().unwrap();
    assert_eq!(mount.read("both"), b"lost");
    mount.cut(Survival::Nothing);
    assert_eq!(mount.read("both"), b"kept");
    assert_eq!(mount.read("name"), b"");
    assert!(!mount.path("data").exists());
}

#[test]
fn renames_and_removals_are_durable_with_their_directory() {
    let Some(mount) = mount() else { return };
    fs::create_dir(mount.path("d")).unwrap();
    mount.write("d/old", b"1").sync_all().unwrap();
    mount.write("d/gone", b"2").sync_all().unwrap();
    File::open(mount.path("d")).unwrap().sync_all().unwrap();
    mount.disk.sync_root().unwrap();
    fs::rename(mount.path("d/old"), mount.path("d/new")).unwrap();
    fs::remove_file(mount.path("d/gone")).unwrap();
    mount.cut(Survival::Nothing);
    assert_eq!((mount.read("d/old"), mount.read("d/gone")), (b"1".to_vec(), b"2".to_vec()));
    fs::rename(mount.path("d/old"), mount.path("d/new")).unwrap();
    File::open(mount.path("d")).unwrap().sync_all().unwrap();
    mount.cut(Survival::Nothing);
    assert_eq!(mount.read("d/new"), b"1");
    assert!(!mount.path("d/old").exists());
    fs::remove_dir(mount.path("d")).unwrap_err();
}

#[test]
fn a_write_with_o_dsync_is_durable_when_it_returns() {
    let Some(mount) = mount() else { return };
    let mut options = File::options();
    let options = options.write(true).create(true).custom_flags(libc::O_DSYNC);
    let mut file = options.open(mount.path("f")).unwrap();
    mount.disk.sync_root().unwrap();
    file.write_all(b"durable").unwrap();
    mount.cut(Survival::Nothing);
    assert_eq!(mount.read("f"), b"durable");
}

#[test]
fn after_a_failed_sync_the_next_one_succeeds_without_the_data() {
    let Some(mount) = mount() else { return };
    let file = mount.write("f", b"old");
    file.sync_all().unwrap();
    mount.disk.sync_root().unwrap();
    file.write_all_at(b"new", 0).unwrap();
    mount.disk.fail(Rule { call: Call::Sync, path: "f".to_owned(), skip: 0, count: 1 });
    file.sync_all().unwrap_err();
    file.sync_all().unwrap();
    assert_eq!(mount.read("f"), b"new");
    assert_eq!(mount.disk.failed(), ["Sync f"]);
    mount.cut(Survival::Nothing);
    assert_eq!(mount.read("f"), b"old");
}

#[test]
fn a_cut_keeps_later_pages_without_earlier_ones_and_tears_sectors() {
    let Some(mount) = mount() else { return };
    let file = mount.write("f", &[1; 64 * 4096]);
    file.sync_all().unwrap();
    mount.disk.sync_root().unwrap();
    let image = mount.disk.image();
    let mut kinds = [false; 2];
    for (survival, unit) in [(Survival::Pages(50), 4096), (Survival::Sectors(50), 512)] {
        for seed in 0..8 {
            mount.disk.restore(&image);
            let file = File::options().write(true).open(mount.path("f")).unwrap();
            file.write_all_at(&[2; 64 * 4096], 0).unwrap();
            mount.disk.cut(survival, &mut Chance::new(seed));
            let data = mount.read("f");
            let units: Vec<u8> = data.chunks(unit).map(|unit| unit[0]).collect();
            assert!(data.chunks(unit).all(|unit| unit.iter().all(|byte| *byte == unit[0])));
            kinds[0] |= units.windows(2).any(|pair| pair == [1, 2]);
            kinds[1] |= units.windows(2).any(|pair| pair == [2, 1]);
        }
    }
    assert_eq!(kinds, [true, true]);
    mount.disk.restore(&image);
    file.write_all_at(&[3; 4096], 0).unwrap();
    file.write_all_at(&[4; 4096], 4096).unwrap();
    mount.cut(Survival::LastTorn);
    let data = mount.read("f");
    assert!(data[..4096].iter().all(|byte| *byte == 3));
    let torn: Vec<u8> = data[4096..8192].chunks(512).map(|sector| sector[0]).collect();
    assert!(torn.contains(&1) && torn.contains(&4), "{torn:?}");
}

#[test]
fn a_full_disk_says_so_tells_its_room_and_takes_more_when_there_is_some() {
    let Some(mount) = mount() else { return };
    let mut file = mount.write("f", &[1; 4096]);
    mount.disk.leave_free(3 * 4096);
    let room = || {
        let output = std::process::Command::new("stat")
            .args(["-f", "-c", "%a %S"])
            .arg(mount.disk.path())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(room(), "3 4096");
    assert_eq!(file.write(&[2; 5 * 4096]).unwrap(), 3 * 4096);
    assert_eq!(file.write(&[2; 1]).unwrap_err().kind(), ErrorKind::StorageFull);
    let made = File::create(mount.path("g"));
    assert_eq!(made.unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(room(), "0 4096");
    // Overwriting an allocated page needs no free space.
    file.write_all_at(&[3; 4096], 4096).unwrap();
    mount.disk.leave_free(8 * 4096);
    file.write_all(&[4; 4096]).unwrap();
    assert_eq!(mount.read("f").len(), 5 * 4096);
    fs::remove_file(mount.path("f")).unwrap();
    drop(file);
    let deadline = Instant::now() + Duration::from_secs(10);
    // The kernel reports a close a little later.
    let freed = "13 4096";
    while room() != freed {
        assert!(Instant::now() < deadline, "{}", room());
    }
}

#[test]
fn a_crash_point_freezes_the_call_and_all_later_ones() {
    let Some(mount) = mount() else { return };
    let path = mount.path("f");
    mount.disk.sync_root().unwrap();
    // mkdir is 1, create 2, the first write 3, its sync 4.
    mount.disk.crash_at(4);
    let script = format!(
        "mkdir {0}d && dd if=/dev/zero of={0} bs=512 count=1 conv=fsync status=none; echo no > {0}2",
        path.display()
    );
    let mut child = std::process::Command::new("sh").arg("-c").arg(script).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !mount.disk.is_frozen() {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    // dd is a child of the shell. Its call is released with an error when the disk thaws.
    child.kill().unwrap();
    child.wait().unwrap();
    mount.disk.thaw();
    mount.cut(Survival::Everything);
    assert_eq!(mount.read("f").len(), 512);
    assert!(!mount.path("f2").exists());
}

#[test]
fn a_flipped_bit_is_read_and_is_there_after_a_cut() {
    let Some(mount) = mount() else { return };
    mount.write("f", b"abc").sync_all().unwrap();
    mount.disk.sync_root().unwrap();
    mount.disk.flip("f".as_ref(), 1, 0);
    assert_eq!(mount.read("f"), b"acc");
    mount.cut(Survival::Nothing);
    assert_eq!(mount.read("f"), b"acc");
}

#[test]
fn reads_and_writes_fail_on_demand_and_syncs_are_slow_on_demand() {
    let Some(mount) = mount() else { return };
    let mut file = mount.write("f", b"abc");
    mount.disk.fail(Rule { call: Call::Read, path: "f".to_owned(), skip: 1, count: 1 });
    mount.disk.fail(Rule { call: Call::Write, path: String::new(), skip: 0, count: 1 });
    file.write_all(b"d").unwrap_err();
    let mut read = [0; 3];
    let mut reader = File::open(mount.path("f")).unwrap();
    reader.read_exact(&mut read).unwrap();
    reader.read_exact(&mut read).unwrap_err();
    mount.disk.thaw();
    mount.disk.delay_syncs(Duration::from_millis(200));
    let started = Instant::now();
    file.sync_all().unwrap();
    assert!(started.elapsed() >= Duration::from_millis(200));
}

#[test]
fn what_a_database_needs_works() {
    let Some(mount) = mount() else { return };
    let file = mount.write("db", b"");
    file.lock().unwrap();
    let other = File::options().read(true).open(mount.path("db")).unwrap();
    other.try_lock().unwrap_err();
    file.set_len(10_000).unwrap();
    file.write_all_at(b"x", 9_999).unwrap();
    let status = std::process::Command::new("fallocate")
        .args(["-l", "65536"])
        .arg(mount.path("db"))
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(mount.read("db").len(), 65_536);
    fs::set_permissions(mount.path("db"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    let listed = fs::read_dir(mount.disk.path()).unwrap();
    assert_eq!(listed.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>(), ["db"]);
    drop(mount.dir);
}
