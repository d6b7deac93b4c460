//! What is set of a file once it is there: owner, extended attributes, mode and time. In this order: chown(2) drops file capabilities
//! and set-id bits, and all of it changes times.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{
    AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmodat, chownat, fchmod, fchown, fremovexattr, fsetxattr,
    futimens, utimensat,
};
use rustix::io::Errno;

use super::xattr::{self, Xattrs};

/// Seconds and nanoseconds since 1970.
pub(super) type Time = (i64, u32);

/// Sets owners and attributes as far as this process may.
#[derive(Clone, Copy)]
pub(super) struct Setter {
    /// Whether an owner that cannot be set is recorded in [`super::OWNER`] instead.
    pub single_uid: bool,
}

impl Setter {
    /// The owner of an open file or directory that has none recorded.
    pub fn owner(self, fd: impl AsFd, (uid, gid): (u32, u32)) -> io::Result<()> {
        match fchown(&fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))) {
            Err(Errno::INVAL | Errno::PERM) if self.single_uid => {
                Ok(fsetxattr(&fd, xattr::OWNER, format!("{uid}:{gid}").as_bytes(), XattrFlags::empty())?)
            }
            result => Ok(result?),
        }
    }

    pub fn xattrs(self, fd: impl AsFd, xattrs: &Xattrs) -> io::Result<()> {
        for (name, value) in xattrs.iter().filter(|(name, _)| !xattr::private(name)) {
            match fsetxattr(&fd, name.as_slice(), value, XattrFlags::empty()) {
                Ok(()) | Err(Errno::NOTSUP) => {}
                // Labels and the like are the host's to grant; capabilities only where real or mapped root can set them.
                Err(Errno::PERM | Errno::ACCESS | Errno::INVAL) if self.single_uid || !xattr::kept(name) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// All of what cannot be opened: links (which have no `mode`), fifos, devices.
    pub fn special(self, parent: impl AsFd, name: &[u8], (uid, gid): (u32, u32), mode: Option<u32>, mtime: Time) -> io::Result<()> {
        match chownat(&parent, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW) {
            // Such files take no user attributes (xattr(7)): their owner is lost.
            Err(Errno::INVAL | Errno::PERM) if self.single_uid => {}
            result => result?,
        }
        if let Some(mode) = mode {
            chmodat(&parent, name, Mode::from(mode), AtFlags::empty())?;
        }
        Ok(utimensat(&parent, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

/// Forgets the owner that was recorded of a directory that has been there before.
pub(super) fn forget_owner(fd: impl AsFd) -> io::Result<()> {
    match fremovexattr(&fd, xattr::OWNER) {
        Ok(()) | Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn set_mode_and_time(fd: impl AsFd, mode: u32, mtime: Time) -> rustix::io::Result<()> {
    fchmod(&fd, Mode::from(mode))?;
    futimens(&fd, &times(mtime))
}

fn times((seconds, nanoseconds): Time) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() },
    }
}
