//! A mounted disk: its content, its faults, and the calls left unanswered.

use std::{
    any::Any,
    fs::File,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::channel},
    time::Duration,
};

use anyhow::Context;
use fuser::{BackgroundSession, Config, Errno, MountOption};

use super::{
    fault::{Call, Faults, Passage, Rule},
    file::Survival,
    limits::{PAGE_BYTES, THREADS},
    mount::Mounted,
    volume::{Owner, Volume},
};
use crate::chance::Chance;

/// State shared by the kernel's threads and the harness.
pub(crate) struct Device {
    inner: Mutex<Inner>,
}

struct Inner {
    volume: Volume,
    faults: Faults,
    /// Replies held back; dropping one answers EIO.
    held: Vec<Box<dyn Any + Send>>,
}

impl Device {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves one call of the kernel: `act` changes the disk, `answer` replies to the kernel.
    pub(crate) fn serve<T, R: Send + 'static>(
        &self,
        call: Call,
        inode: u64,
        reply: R,
        act: impl FnOnce(&mut Volume) -> Result<T, Errno>,
        answer: impl FnOnce(R, Result<T, Errno>),
    ) {
        let mut guard = self.inner();
        let inner = &mut *guard;
        let volume = &inner.volume;
        match inner.faults.pass(call, || volume.path(inode)) {
            Passage::Go => {
                let result = act(&mut inner.volume);
                let delay = inner.faults.sync_delay;
                drop(guard);
                if call == Call::Sync && !delay.is_zero() {
                    // Sleeps: nothing is ever sent on this channel.
                    let (_sender, never) = channel::<()>();
                    let _ = never.recv_timeout(delay);
                }
                answer(reply, result);
            }
            Passage::Freeze => {
                // An unanswered sync guarantees nothing, so take the worst case and do not execute
                // it.
                if call != Call::Sync {
                    let _ = act(&mut inner.volume);
                }
                inner.held.push(Box::new(reply));
            }
            Passage::Hold => inner.held.push(Box::new(reply)),
            Passage::Fail => {
                if call == Call::Sync {
                    inner.volume.fail_sync(inode);
                }
                drop(guard);
                answer(reply, Err(Errno::EIO));
            }
        }
    }
}

/// A mounted disk of one node.
pub(crate) struct Disk {
    device: Arc<Device>,
    session: Option<BackgroundSession>,
    path: PathBuf,
}

impl Disk {
    /// Mounts an empty disk on a directory, and creates the directory if it is missing.
    pub(crate) fn mount(path: &Path) -> anyhow::Result<Disk> {
        std::fs::create_dir_all(path)?;
        let meta = std::fs::metadata(path)?;
        let owner = Owner { uid: meta.uid(), gid: meta.gid(), mode: 0o755 };
        let volume = Volume::new(owner);
        let inner = Inner { volume, faults: Faults::default(), held: Vec::new() };
        let device = Arc::new(Device { inner: Mutex::new(inner) });
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("conclave-jepsen".to_owned())];
        config.n_threads = Some(THREADS);
        let session = fuser::spawn_mount(Mounted::new(Arc::clone(&device)), path, &config)
            .with_context(|| format!("a FUSE disk cannot be mounted on {}", path.display()))?;
        Ok(Disk { device, session: Some(session), path: path.to_owned() })
    }

    /// Returns the mount point.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the names in the root durable, as on a disk that was set up long ago.
    pub(crate) fn sync_root(&self) -> anyhow::Result<()> {
        Ok(File::open(&self.path)?.sync_all()?)
    }

    /// Freezes the disk at a counted call from now on; the next one is number 1.
    pub(crate) fn crash_at(&self, call: u64) {
        self.device.inner().faults.countdown = Some(call);
    }

    /// Freezes the disk now.
    pub(crate) fn freeze(&self) {
        self.device.inner().faults.is_frozen = true;
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.device.inner().faults.is_frozen
    }

    /// Ends all faults except a delay of syncs, and releases the held calls. The process that made
    /// them must have been killed.
    pub(crate) fn thaw(&self) {
        let mut inner = self.device.inner();
        inner.faults.is_frozen = false;
        inner.faults.countdown = None;
        inner.faults.rules.clear();
        inner.faults.failed.clear();
        let held = std::mem::take(&mut inner.held);
        drop(inner);
        drop(held);
    }

    /// Cuts the power. The process must have been killed.
    pub(crate) fn cut(&self, survival: Survival, chance: &mut Chance) {
        self.device.inner().volume.cut(survival, chance);
    }

    /// Describes the unsynced changes and the call at the crash point.
    pub(crate) fn unsynced(&self) -> String {
        let mut inner = self.device.inner();
        let crashed = std::mem::take(&mut inner.faults.crashed);
        format!("{}; crash point: {crashed}", inner.volume.unsynced())
    }

    /// Adds a rule for calls that fail.
    pub(crate) fn fail(&self, rule: Rule) {
        self.device.inner().faults.rules.push(rule);
    }

    /// Returns the calls failed since the last thaw.
    pub(crate) fn failed(&self) -> Vec<String> {
        self.device.inner().faults.failed.clone()
    }

    /// Returns whether any call failed since the last thaw.
    pub(crate) fn has_failed(&self) -> bool {
        !self.device.inner().faults.failed.is_empty()
    }

    /// Makes everything durable, as the system does by itself within half a minute.
    pub(crate) fn settle(&self) {
        self.device.inner().volume.settle();
    }

    /// Delays each sync by this time.
    pub(crate) fn delay_syncs(&self, delay: Duration) {
        self.device.inner().faults.sync_delay = delay;
    }

    /// Resizes the disk to leave this many bytes free, rounded down to pages.
    pub(crate) fn leave_free(&self, bytes: u64) {
        let mut inner = self.device.inner();
        let space = inner.volume.space();
        let page = u64::try_from(PAGE_BYTES).unwrap_or(1);
        let used = space.total.saturating_sub(space.free);
        inner.volume.set_total(used + bytes / page);
    }

    /// Sets the size of the disk, in pages.
    pub(crate) fn set_pages(&self, pages: u64) {
        self.device.inner().volume.set_total(pages);
    }

    /// Flips one bit of a file.
    pub(crate) fn flip(&self, path: &Path, offset: u64, bit: u32) {
        let mut inner = self.device.inner();
        let found = inner.volume.files().into_iter().find(|(other, _)| other == path);
        if let Some((_, number)) = found {
            inner.volume.flip(number, offset, bit);
        }
    }

    /// Returns an image of the current disk.
    pub(crate) fn image(&self) -> Volume {
        self.device.inner().volume.clone()
    }

    /// Restores an image. No process may have a file open.
    pub(crate) fn restore(&self, image: &Volume) {
        let mut inner = self.device.inner();
        inner.volume = image.clone_after(&inner.volume);
    }

    /// Returns the number of counted calls so far.
    pub(crate) fn counted(&self) -> u64 {
        self.device.inner().faults.counted
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.thaw();
        if let Some(session) = self.session.take() {
            let _ = session.umount_and_join();
        }
    }
}
