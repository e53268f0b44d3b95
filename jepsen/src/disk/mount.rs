//! File system in user space (FUSE): passes the kernel's calls on to the device.

use std::{
    ffi::OsStr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::{
    content::wide,
    device::Device,
    directory::Directory,
    fault::Call,
    file::File,
    limits::{NAME_BYTES_MAX, PAGE_BYTES},
    volume::{Kind, Owner, Volume},
};

/// Cache lifetime in the kernel. Zero, because a power cut may change everything.
const REMEMBER: Duration = Duration::ZERO;
const GENERATION: Generation = Generation(0);

/// A device, presented as a file system.
pub(crate) struct Mounted {
    device: Arc<Device>,
}

impl Mounted {
    pub(crate) fn new(device: Arc<Device>) -> Mounted {
        Mounted { device }
    }
}

fn blocks() -> u32 {
    u32::try_from(PAGE_BYTES).unwrap_or(4096)
}

fn attributes(volume: &Volume, number: u64) -> Result<FileAttr, Errno> {
    let inode = volume.inode(number)?;
    let (kind, size, allocated) = match &inode.kind {
        Kind::File(file) => (FileType::RegularFile, file.live().size(), file.live().allocated()),
        Kind::Directory(_) => (FileType::Directory, 0, 1),
    };
    Ok(FileAttr {
        ino: INodeNo(number),
        size,
        blocks: allocated * 8,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm: u16::try_from(inode.owner.mode & 0o7777).unwrap_or(0),
        nlink: 1,
        uid: inode.owner.uid,
        gid: inode.owner.gid,
        rdev: 0,
        blksize: blocks(),
        flags: 0,
    })
}

fn owner(request: &Request, mode: u32, umask: u32) -> Owner {
    Owner { uid: request.uid(), gid: request.gid(), mode: mode & !umask & 0o7777 }
}

fn entry(reply: ReplyEntry, found: Result<FileAttr, Errno>) {
    match found {
        Ok(attributes) => reply.entry(&REMEMBER, &attributes, GENERATION),
        Err(errno) => reply.error(errno),
    }
}

fn empty(reply: ReplyEmpty, done: Result<(), Errno>) {
    match done {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

impl Filesystem for Mounted {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let act = |volume: &mut Volume| attributes(volume, volume.find(parent.0, name)?);
        self.device.serve(Call::Look, parent.0, reply, act, entry);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let act = |volume: &mut Volume| attributes(volume, ino.0);
        self.device.serve(Call::Look, ino.0, reply, act, |reply, found| match found {
            Ok(attributes) => reply.attr(&REMEMBER, &attributes),
            Err(errno) => reply.error(errno),
        });
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let act = |volume: &mut Volume| {
            if let Some(size) = size {
                volume.set_size(ino.0, size)?;
            }
            let owner = &mut volume.inode_mut(ino.0)?.owner;
            owner.mode = mode.unwrap_or(owner.mode);
            owner.uid = uid.unwrap_or(owner.uid);
            owner.gid = gid.unwrap_or(owner.gid);
            attributes(volume, ino.0)
        };
        self.device.serve(Call::Change, ino.0, reply, act, |reply, found| match found {
            Ok(attributes) => reply.attr(&REMEMBER, &attributes),
            Err(errno) => reply.error(errno),
        });
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let owner = owner(request, mode, umask);
        let act = |volume: &mut Volume| {
            let kind = Kind::Directory(Directory::default());
            let number = volume.create(parent.0, name, kind, owner)?;
            attributes(volume, number)
        };
        self.device.serve(Call::Change, parent.0, reply, act, entry);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let act = |volume: &mut Volume| volume.unlink(parent.0, name);
        self.device.serve(Call::Change, parent.0, reply, act, empty);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let act = |volume: &mut Volume| volume.rmdir(parent.0, name);
        self.device.serve(Call::Change, parent.0, reply, act, empty);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let act = |volume: &mut Volume| {
            if flags.contains(RenameFlags::RENAME_EXCHANGE) {
                return Err(Errno::EINVAL);
            }
            let is_there = volume.find(newparent.0, newname).is_ok();
            if flags.contains(RenameFlags::RENAME_NOREPLACE) && is_there {
                return Err(Errno::EEXIST);
            }
            volume.rename((parent.0, name), (newparent.0, newname))
        };
        self.device.serve(Call::Change, parent.0, reply, act, empty);
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let act = |volume: &mut Volume| volume.open(ino.0);
        self.device.serve(Call::Look, ino.0, reply, act, |reply, opened| match opened {
            // Direct I/O, so that each read and write arrives here: the kernel's cache would hide
            // faults.
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::FOPEN_DIRECT_IO),
            Err(errno) => reply.error(errno),
        });
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let owner = owner(request, mode, umask);
        let act = |volume: &mut Volume| {
            let kind = Kind::File(File::default());
            let number = volume.create(parent.0, name, kind, owner)?;
            let handle = volume.open(number)?;
            Ok((attributes(volume, number)?, handle))
        };
        self.device.serve(Call::Change, parent.0, reply, act, |reply, made| match made {
            Ok((attributes, handle)) => {
                let flags = FopenFlags::FOPEN_DIRECT_IO;
                reply.created(&REMEMBER, &attributes, GENERATION, FileHandle(handle), flags);
            }
            Err(errno) => reply.error(errno),
        });
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let act =
            |volume: &mut Volume| Ok(volume.file(ino.0)?.live().read(offset, u64::from(size)));
        self.device.serve(Call::Read, ino.0, reply, act, |reply, read| match read {
            Ok(data) => reply.data(&data),
            Err(errno) => reply.error(errno),
        });
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let act = |volume: &mut Volume| {
            let is_append = flags.0 & libc::O_APPEND != 0;
            let offset = if is_append { volume.file(ino.0)?.live().size() } else { offset };
            let written = volume.write(ino.0, offset, data)?;
            // O_SYNC contains O_DSYNC.
            if flags.0 & libc::O_DSYNC != 0 {
                volume.sync(ino.0)?;
            }
            Ok(written)
        };
        self.device.serve(Call::Write, ino.0, reply, act, |reply, written| match written {
            Ok(length) => reply.written(u32::try_from(length).unwrap_or(0)),
            Err(errno) => reply.error(errno),
        });
    }

    fn flush(&self, _: &Request, ino: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Closing makes nothing durable.
        self.device.serve(Call::Look, ino.0, reply, |_| Ok(()), empty);
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        let act = |volume: &mut Volume| {
            volume.release(ino.0, handle.0);
            Ok(())
        };
        self.device.serve(Call::Look, ino.0, reply, act, empty);
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let act = |volume: &mut Volume| volume.sync(ino.0);
        self.device.serve(Call::Sync, ino.0, reply, act, empty);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let act = |volume: &mut Volume| volume.sync(ino.0);
        self.device.serve(Call::Sync, ino.0, reply, act, empty);
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        reply: ReplyDirectory,
    ) {
        let act = |volume: &mut Volume| {
            let live = volume.directory(ino.0)?.live().iter();
            let own = [(".".into(), ino.0), ("..".into(), ino.0)].into_iter();
            let all = own.chain(live.map(|(name, number)| (name.clone(), *number)));
            let kinded = all.filter_map(|(name, number)| {
                let kind = attributes(volume, number).ok()?.kind;
                Some((name, number, kind))
            });
            Ok(kinded.collect::<Vec<_>>())
        };
        self.device.serve(Call::Look, ino.0, reply, act, |mut reply, listed| {
            let listed = match listed {
                Ok(listed) => listed,
                Err(errno) => return reply.error(errno),
            };
            let skip = usize::try_from(offset).unwrap_or(usize::MAX);
            for (place, (name, number, kind)) in listed.iter().enumerate().skip(skip) {
                if reply.add(INodeNo(*number), wide(place) + 1, *kind, name) {
                    break;
                }
            }
            reply.ok();
        });
    }

    fn statfs(&self, _: &Request, ino: INodeNo, reply: ReplyStatfs) {
        let act = |volume: &mut Volume| Ok(volume.space());
        self.device.serve(Call::Look, ino.0, reply, act, |reply, space| match space {
            Ok(space) => {
                let longest = u32::try_from(NAME_BYTES_MAX).unwrap_or(0);
                let (total, free) = (space.total, space.free);
                reply.statfs(total, free, free, total, free, blocks(), longest, blocks());
            }
            Err(errno) => reply.error(errno),
        });
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let act = |volume: &mut Volume| {
            if mode & !libc::FALLOC_FL_KEEP_SIZE != 0 {
                return Err(Errno::EOPNOTSUPP);
            }
            let keeps_size = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
            volume.allocate(ino.0, (offset, length), keeps_size)
        };
        self.device.serve(Call::Change, ino.0, reply, act, empty);
    }
}
