//! One file, link, node or directory made like another one, in another tree: owner, mode, attributes, time and holes.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmodat, chownat, fchmod, fchown,
    fremovexattr, fsetxattr, fstat, futimens, ioctl_ficlone, mknodat, openat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::super::copy::content;
use crate::image::{Found, is_private_xattr, read_xattrs};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Makes `path` in `root` like `found`, which is no directory. What stands there must have been removed.
pub(super) fn copy(found: &Found<'_>, root: BorrowedFd<'_>, path: &[u8]) -> io::Result<()> {
    let stat = &found.stat;
    match found.file_type() {
        FileType::RegularFile => return copy_file(&found.open()?, stat, root, path),
        FileType::Symlink => symlinkat(found.link_target()?.as_slice(), root, path)?,
        kind => match mknodat(root, path, kind, Mode::from_raw_mode(0o600), stat.st_rdev) {
            // As where layers are unpacked: a machine that grants no device nodes has images without them.
            Err(Errno::PERM) if matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) => return Ok(()),
            other => other?,
        },
    }
    chownat(root, path, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)), AtFlags::SYMLINK_NOFOLLOW)?;
    if found.file_type() != FileType::Symlink {
        chmodat(root, path, mode(stat), AtFlags::empty())?;
    }
    Ok(utimensat(root, path, &modified(stat), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn copy_file(from: &OwnedFd, stat: &Stat, root: BorrowedFd<'_>, path: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let to = openat(root, path, flags, Mode::from_raw_mode(0o600))?;
    let to = File::from(to);
    if stat.st_size > 0 && ioctl_ficlone(&to, from).is_err() {
        content::copy(&File::from(from.try_clone()?), &to)?;
    }
    describe(&to, from, stat)?;
    Ok(futimens(&to, &modified(stat))?)
}

/// Makes the existing directory `path` of `root` like another one, but for its entries and its time: that is [`date`]'s, when the entries
/// are there.
pub(super) fn describe_directory(from: BorrowedFd<'_>, root: BorrowedFd<'_>, path: &[u8]) -> io::Result<Stat> {
    let stat = fstat(from)?;
    let to = openat(root, path, DIRECTORY, Mode::empty())?;
    for (name, _) in read_xattrs(&to)? {
        let _ = fremovexattr(&to, name.as_slice());
    }
    describe(&to, from, &stat)?;
    Ok(stat)
}

/// Gives a directory the time of the one that it was made like.
pub(super) fn date(root: BorrowedFd<'_>, path: &[u8], stat: &Stat) -> io::Result<()> {
    Ok(utimensat(root, path, &modified(stat), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Opens a directory of a tree that nobody changes meanwhile.
pub(super) fn open_directory(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<OwnedFd> {
    Ok(openat(root, if path.is_empty() { b"." } else { path }, DIRECTORY, Mode::empty())?)
}

/// The directory that a tree of our own lies in.
pub(super) fn open_root(path: &std::path::Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Removes what is at `path`, whatever it is; nothing there is fine.
pub(super) fn remove(root: BorrowedFd<'_>, tree: &std::path::Path, path: &[u8]) -> io::Result<()> {
    match unlinkat(root, path, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        // unlink(2): EISDIR on Linux, EPERM in POSIX.
        Err(Errno::ISDIR | Errno::PERM) => std::fs::remove_dir_all(super::below(tree, path)),
        Err(error) => Err(error.into()),
    }
}

/// Owner, attributes and mode, in this order: chown(2) drops file capabilities and set-id bits.
fn describe(to: impl AsFd, from: impl AsFd, stat: &Stat) -> io::Result<()> {
    fchown(&to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    for (name, value) in read_xattrs(from)?.iter().filter(|(name, _)| !is_private_xattr(name)) {
        match fsetxattr(&to, name.as_slice(), value, XattrFlags::empty()) {
            Ok(()) => {}
            // Capabilities are part of an image; labels are the host's to grant.
            Err(error) if name.as_slice() == b"security.capability" => return Err(error.into()),
            Err(_) => {}
        }
    }
    Ok(fchmod(&to, mode(stat))?)
}

fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o7777)
}

#[allow(clippy::unnecessary_cast, reason = "the fields' types differ between architectures")]
fn modified(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: stat.st_mtime as i64, tv_nsec: stat.st_mtime_nsec as _ },
    }
}
