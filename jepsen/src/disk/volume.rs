//! All files and directories of a simulated disk, independent of the kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use fuser::Errno;

use super::{
    content::{pages, wide},
    directory::{Directory, NameChange},
    file::{File, Survival},
    limits::{FILE_BYTES_MAX, NAME_BYTES_MAX, PAGES_DEFAULT},
};
use crate::chance::Chance;

/// Inode number of the root directory, as FUSE requires.
pub(crate) const ROOT: u64 = 1;

/// Content of an inode.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    File(File),
    Directory(Directory),
}

/// Owner and permissions of an inode.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
}

/// A file or directory, independent of its names.
#[derive(Debug, Clone)]
pub(crate) struct Inode {
    pub(crate) kind: Kind,
    pub(crate) owner: Owner,
    /// Handles held open by processes.
    opened: BTreeSet<u64>,
}

/// Space, in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) total: u64,
    pub(crate) free: u64,
}

/// Content of a disk. A clone is an image of it.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    inodes: BTreeMap<u64, Inode>,
    next: u64,
    handles: u64,
    total: u64,
}

type Done<T> = Result<T, Errno>;

impl Volume {
    pub(crate) fn new(owner: Owner) -> Volume {
        let root =
            Inode { kind: Kind::Directory(Directory::default()), owner, opened: BTreeSet::new() };
        Volume {
            inodes: BTreeMap::from([(ROOT, root)]),
            next: ROOT + 1,
            handles: 0,
            total: PAGES_DEFAULT,
        }
    }

    /// Clones this content. New inodes and handles of the clone get numbers that the kernel has not
    /// seen on `other`, and no file is open.
    pub(crate) fn clone_after(&self, other: &Volume) -> Volume {
        let (next, handles) = (self.next.max(other.next), self.handles.max(other.handles));
        let mut clone = Volume { next, handles, ..self.clone() };
        clone.inodes.values_mut().for_each(|inode| inode.opened.clear());
        clone
    }

    pub(crate) fn inode(&self, number: u64) -> Done<&Inode> {
        self.inodes.get(&number).ok_or(Errno::ENOENT)
    }

    pub(crate) fn inode_mut(&mut self, number: u64) -> Done<&mut Inode> {
        self.inodes.get_mut(&number).ok_or(Errno::ENOENT)
    }

    pub(crate) fn directory(&self, number: u64) -> Done<&Directory> {
        match &self.inode(number)?.kind {
            Kind::Directory(directory) => Ok(directory),
            Kind::File(_) => Err(Errno::ENOTDIR),
        }
    }

    fn directory_mut(&mut self, number: u64) -> Done<&mut Directory> {
        match &mut self.inode_mut(number)?.kind {
            Kind::Directory(directory) => Ok(directory),
            Kind::File(_) => Err(Errno::ENOTDIR),
        }
    }

    pub(crate) fn file(&self, number: u64) -> Done<&File> {
        match &self.inode(number)?.kind {
            Kind::File(file) => Ok(file),
            Kind::Directory(_) => Err(Errno::EISDIR),
        }
    }

    fn file_mut(&mut self, number: u64) -> Done<&mut File> {
        match &mut self.inode_mut(number)?.kind {
            Kind::File(file) => Ok(file),
            Kind::Directory(_) => Err(Errno::EISDIR),
        }
    }

    pub(crate) fn find(&self, parent: u64, name: &OsStr) -> Done<u64> {
        self.directory(parent)?.find(name).ok_or(Errno::ENOENT)
    }

    /// Creates a file or directory.
    pub(crate) fn create(
        &mut self,
        parent: u64,
        name: &OsStr,
        kind: Kind,
        owner: Owner,
    ) -> Done<u64> {
        if name.len() > NAME_BYTES_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        if self.directory(parent)?.find(name).is_some() {
            return Err(Errno::EEXIST);
        }
        self.has_room(1)?;
        let number = self.next;
        self.next += 1;
        self.inodes.insert(number, Inode { kind, owner, opened: BTreeSet::new() });
        let add = NameChange::Add(name.to_owned(), number);
        self.directory_mut(parent)?.change(vec![add]);
        Ok(number)
    }

    pub(crate) fn unlink(&mut self, parent: u64, name: &OsStr) -> Done<()> {
        self.file(self.find(parent, name)?)?;
        self.directory_mut(parent)?.change(vec![NameChange::Remove(name.to_owned())]);
        Ok(())
    }

    pub(crate) fn rmdir(&mut self, parent: u64, name: &OsStr) -> Done<()> {
        if !self.directory(self.find(parent, name)?)?.live().is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.directory_mut(parent)?.change(vec![NameChange::Remove(name.to_owned())]);
        Ok(())
    }

    pub(crate) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Done<()> {
        let number = self.find(from.0, from.1)?;
        if let Ok(replaced) = self.find(to.0, to.1) {
            match (&self.inode(number)?.kind, &self.inode(replaced)?.kind) {
                (Kind::File(_), Kind::Directory(_)) => return Err(Errno::EISDIR),
                (Kind::Directory(_), Kind::File(_)) => return Err(Errno::ENOTDIR),
                (_, Kind::Directory(directory)) if !directory.live().is_empty() => {
                    return Err(Errno::ENOTEMPTY);
                }
                _ => {}
            }
        }
        let remove = NameChange::Remove(from.1.to_owned());
        let add = NameChange::Add(to.1.to_owned(), number);
        if from.0 == to.0 {
            self.directory_mut(from.0)?.change(vec![remove, add]);
        } else {
            self.directory_mut(to.0)?.change(vec![add]);
            self.directory_mut(from.0)?.change(vec![remove]);
        }
        Ok(())
    }

    /// Opens an inode and returns a handle. The inode stays while it is open, even without a name.
    pub(crate) fn open(&mut self, number: u64) -> Done<u64> {
        self.handles += 1;
        let handle = self.handles;
        self.inode_mut(number)?.opened.insert(handle);
        Ok(handle)
    }

    /// Closes a handle. The handle may be unknown after a power cut.
    pub(crate) fn release(&mut self, number: u64, handle: u64) {
        if let Ok(inode) = self.inode_mut(number) {
            inode.opened.remove(&handle);
        }
    }

    /// Writes as much as there is room for, and returns the number of bytes.
    pub(crate) fn write(&mut self, number: u64, offset: u64, data: &[u8]) -> Done<usize> {
        let end = offset.checked_add(wide(data.len())).ok_or(Errno::EFBIG)?;
        if end > FILE_BYTES_MAX {
            return Err(Errno::EFBIG);
        }
        let file = self.file(number)?;
        let touched = pages(offset, wide(data.len()));
        let new: Vec<u64> = touched.filter(|page| !file.live().has_page(*page)).collect();
        let mut length = data.len();
        if self.has_room(wide(new.len())).is_err() {
            // A full disk accepts the first pages of a write, and reports a short write.
            let free = usize::try_from(self.space().free).unwrap_or(0);
            let first_missing = new.get(free).copied().unwrap_or(0);
            let start = first_missing.saturating_mul(wide(super::limits::PAGE_BYTES));
            let fits = usize::try_from(start.saturating_sub(offset)).unwrap_or(0);
            length = length.min(fits);
            if length == 0 {
                return Err(Errno::ENOSPC);
            }
        }
        self.file_mut(number)?.write(offset, data.get(..length).unwrap_or_default());
        Ok(length)
    }

    pub(crate) fn set_size(&mut self, number: u64, size: u64) -> Done<()> {
        if size > FILE_BYTES_MAX {
            return Err(Errno::EFBIG);
        }
        self.file_mut(number)?.set_size(size);
        Ok(())
    }

    pub(crate) fn allocate(
        &mut self,
        number: u64,
        (offset, length): (u64, u64),
        keeps_size: bool,
    ) -> Done<()> {
        if offset.checked_add(length).is_none_or(|end| end > FILE_BYTES_MAX) {
            return Err(Errno::EFBIG);
        }
        let file = self.file(number)?;
        let new = pages(offset, length).filter(|page| !file.live().has_page(*page)).count();
        self.has_room(wide(new))?;
        self.file_mut(number)?.allocate(offset, length, keeps_size);
        Ok(())
    }

    /// Makes a file's bytes or a directory's names durable.
    pub(crate) fn sync(&mut self, number: u64) -> Done<()> {
        match &mut self.inode_mut(number)?.kind {
            Kind::File(file) => file.sync(),
            Kind::Directory(directory) => {
                directory.sync();
                self.forget_lost();
            }
        }
        Ok(())
    }

    /// Makes everything durable.
    pub(crate) fn settle(&mut self) {
        for inode in self.inodes.values_mut() {
            match &mut inode.kind {
                Kind::File(file) => file.sync(),
                Kind::Directory(directory) => directory.sync(),
            }
        }
        self.forget_lost();
    }

    /// Simulates a failed sync of a file or directory.
    pub(crate) fn fail_sync(&mut self, number: u64) {
        match self.inode_mut(number).map(|inode| &mut inode.kind) {
            Ok(Kind::File(file)) => file.fail_sync(),
            Ok(Kind::Directory(directory)) => directory.fail_sync(),
            Err(_) => {}
        }
    }

    /// Cuts the power: closes everything, and keeps the durable content and the surviving part of
    /// the rest.
    pub(crate) fn cut(&mut self, survival: Survival, chance: &mut Chance) {
        for inode in self.inodes.values_mut() {
            inode.opened.clear();
            match &mut inode.kind {
                Kind::File(file) => file.cut(survival, chance),
                Kind::Directory(directory) => directory.cut(survival, chance),
            }
        }
        self.forget_lost();
    }

    pub(crate) fn set_total(&mut self, pages: u64) {
        self.total = pages;
    }

    pub(crate) fn space(&self) -> Space {
        let linked = self.linked();
        let held = self
            .inodes
            .iter()
            .filter(|(number, inode)| !inode.opened.is_empty() || linked.contains(number));
        let used: u64 = held
            .map(|(_, inode)| match &inode.kind {
                Kind::File(file) => 1 + file.live().allocated(),
                Kind::Directory(_) => 1,
            })
            .sum();
        Space { total: self.total, free: self.total.saturating_sub(used) }
    }

    /// Returns the files with a name, and their paths below the root.
    pub(crate) fn files(&self) -> Vec<(PathBuf, u64)> {
        let (mut found, mut left) = (Vec::new(), vec![(PathBuf::new(), ROOT)]);
        while let Some((path, number)) = left.pop() {
            match self.inode(number).map(|inode| &inode.kind) {
                Ok(Kind::Directory(directory)) => {
                    let live = directory.live().iter();
                    left.extend(live.map(|(name, number)| (path.join(name), *number)));
                }
                Ok(Kind::File(_)) => found.push((path, number)),
                Err(_) => {}
            }
        }
        found.sort();
        found
    }

    /// Describes the unsynced changes: ranges of files, and numbers of calls that changed names in
    /// directories.
    pub(crate) fn unsynced(&self) -> String {
        let mut found = Vec::new();
        for (number, inode) in &self.inodes {
            let path = self.path(*number);
            match &inode.kind {
                Kind::File(file) if !file.unsynced().is_empty() => {
                    found.push(format!("{} {:?}", path.display(), file.unsynced()));
                }
                Kind::Directory(directory) if directory.unsynced() > 0 => {
                    found.push(format!("{}/ {}", path.display(), directory.unsynced()));
                }
                _ => {}
            }
        }
        found.join(", ")
    }

    /// Returns the path of an inode below the root; empty if it has no name.
    pub(crate) fn path(&self, number: u64) -> PathBuf {
        let (mut path, mut wanted) = (PathBuf::new(), number);
        while wanted != ROOT {
            let Some((parent, name)) = self.parent(wanted) else { return PathBuf::new() };
            path = if path.as_os_str().is_empty() {
                PathBuf::from(name)
            } else {
                Path::new(&name).join(path)
            };
            wanted = parent;
        }
        path
    }

    /// Flips one bit of a file.
    pub(crate) fn flip(&mut self, number: u64, offset: u64, bit: u32) {
        if let Ok(file) = self.file_mut(number) {
            file.flip(offset, bit);
        }
    }

    fn parent(&self, wanted: u64) -> Option<(u64, OsString)> {
        self.inodes.iter().find_map(|(parent, inode)| match &inode.kind {
            Kind::Directory(directory) => {
                let name = directory.live().iter().find(|(_, number)| **number == wanted);
                name.map(|(name, _)| (*parent, name.clone()))
            }
            Kind::File(_) => None,
        })
    }

    fn has_room(&self, wanted: u64) -> Done<()> {
        if wanted > 0 && self.space().free < wanted { Err(Errno::ENOSPC) } else { Ok(()) }
    }

    /// Returns the inodes with a name visible to readers.
    fn linked(&self) -> BTreeSet<u64> {
        let mut linked = BTreeSet::from([ROOT]);
        for inode in self.inodes.values() {
            if let Kind::Directory(directory) = &inode.kind {
                linked.extend(directory.live().values());
            }
        }
        linked
    }

    /// Drops inodes without an open handle and without any live, durable or pending name.
    fn forget_lost(&mut self) {
        let mut kept = self.linked();
        for inode in self.inodes.values() {
            if let Kind::Directory(directory) = &inode.kind {
                kept.extend(directory.durable().values());
                kept.extend(directory.pending());
            }
        }
        self.inodes.retain(|number, inode| !inode.opened.is_empty() || kept.contains(number));
    }
}
