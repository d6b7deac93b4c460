//! A directory of a root, held open: it stays the same one wherever a RUN moves it and whatever it puts in its place. A path would
//! lead through the links of a RUN, out of the root.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat, Timespec, Timestamps, fstat, futimens, openat, statat};
use rustix::path::Arg;

#[derive(Debug)]
pub(super) struct Directory(OwnedFd);

/// Of last access and modification, in seconds and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    pub accessed: (i64, i64),
    pub modified: (i64, i64),
}

impl Directory {
    /// `path` must not be changed by others meanwhile.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(openat(CWD, path, flags, Mode::empty())?))
    }

    pub fn times(&self) -> io::Result<Times> {
        let stat = fstat(&self.0)?;
        Ok(Times { accessed: (stat.st_atime, stat.st_atime_nsec as i64), modified: (stat.st_mtime, stat.st_mtime_nsec as i64) })
    }

    pub fn set_times(&self, times: Times) -> rustix::io::Result<()> {
        let [last_access, last_modification] = [times.accessed, times.modified].map(|(tv_sec, tv_nsec)| Timespec { tv_sec, tv_nsec });
        futimens(&self.0, &Timestamps { last_access, last_modification })
    }

    /// When its content, attributes or name last changed, in nanoseconds.
    pub fn changed(&self) -> Option<i64> {
        fstat(&self.0).ok().map(|stat| stat.st_ctime.wrapping_mul(1_000_000_000).wrapping_add(stat.st_ctime_nsec as i64))
    }

    /// The same directory, open once more.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// What a name in it is; a link is not followed. Allocates nothing for a [`std::ffi::CStr`].
    pub fn lookup(&self, name: impl Arg) -> Option<Stat> {
        statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).ok()
    }

    /// Whether a name in it is the file that is open as `file`, which cannot have lost its number to another one. Allocates nothing for a
    /// [`std::ffi::CStr`].
    pub fn holds(&self, name: impl Arg, file: impl AsFd) -> bool {
        let id = |stat: Stat| (stat.st_dev, stat.st_ino);
        self.lookup(name).map(id).is_some_and(|there| fstat(file).is_ok_and(|ours| id(ours) == there))
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A descriptor that only says which file is meant: links are not followed.
pub(super) fn identify(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}
