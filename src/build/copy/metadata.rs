//! Owner, extended attributes, mode and mtime of what was written.
//!
//! The order is the kernel's: chown clears setuid bits and file capabilities, so it comes first; `user.*` attributes need a writable inode,
//! so they come before the mode; the mtime comes last, and a directory's after all that is below it.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{
    AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid, XattrFlags, chmodat, chownat, fchmod, fchown, fremovexattr,
    fsetxattr, futimens, utimensat,
};
use rustix::io::Errno;

use super::CopyError;
use super::directory::Directory;

/// Where the owner (`uid:gid`, decimal) of a file or directory is kept in a user namespace of a single uid.
pub const OWNER_XATTR: &str = "user.brik.owner";

pub(super) struct Metadata {
    pub(super) owner: (u32, u32),
    /// 07777.
    pub(super) mode: u32,
    /// Seconds and nanoseconds since 1970; `None` leaves it at now.
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// A chown that the kernel refuses is kept in [`OWNER_XATTR`], or forgotten for what has no such attributes, instead of being an error.
    pub(super) record_owner: bool,
}

impl Metadata {
    /// Of an open file or directory; `path` is for the error.
    pub(super) fn set(&self, fd: BorrowedFd<'_>, path: &[u8]) -> Result<(), CopyError> {
        let failed = |action| move |e: Errno| CopyError::write(action, path.to_vec(), e);
        self.own(fd).map_err(failed("change the owner of"))?;
        for (name, value) in &self.xattrs {
            // A file system or a namespace that refuses an attribute does not fail the build (nor does BuildKit).
            if is_portable(name) {
                let _ = fsetxattr(fd, &name[..], value, XattrFlags::empty());
            }
        }
        fchmod(fd, Mode::from_raw_mode(self.mode)).map_err(failed("change the mode of"))?;
        if let Some(times) = self.times() {
            futimens(fd, &times).map_err(failed("set the time of"))?;
        }
        Ok(())
    }

    /// Of what cannot be opened: a link (which has no mode) or a special file.
    pub(super) fn set_at(&self, directory: &Directory, name: &[u8], is_link: bool) -> Result<(), CopyError> {
        let failed = |action| move |e: Errno| CopyError::write(action, directory.path_of(name), e);
        let (uid, gid) = ids(self.owner).map_err(failed("change the owner of"))?;
        match chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::PERM | Errno::INVAL) if self.record_owner => {}
            result => result.map_err(failed("change the owner of"))?,
        }
        if !is_link {
            chmodat(directory, name, Mode::from_raw_mode(self.mode), AtFlags::empty()).map_err(failed("change the mode of"))?;
        }
        if let Some(times) = self.times() {
            utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("set the time of"))?;
        }
        Ok(())
    }

    fn own(&self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        let (uid, gid) = ids(self.owner)?;
        match fchown(fd, Some(uid), Some(gid)) {
            Err(Errno::PERM | Errno::INVAL) if self.record_owner => {
                let value = format!("{}:{}", self.owner.0, self.owner.1);
                fsetxattr(fd, OWNER_XATTR, value.as_bytes(), XattrFlags::empty())
            }
            Ok(()) if self.record_owner => {
                // What an earlier step recorded is true no more.
                let _ = fremovexattr(fd, OWNER_XATTR);
                Ok(())
            }
            result => result,
        }
    }

    fn times(&self) -> Option<Timestamps> {
        self.mtime.map(timestamps)
    }
}

fn timestamps((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds.min(999_999_999).into() },
    }
}

/// Sets only the mtime, of a directory that keeps the rest.
pub(super) fn set_mtime(directory: &Directory, mtime: (i64, u32)) -> Result<(), CopyError> {
    futimens(directory.as_fd(), &timestamps(mtime)).map_err(|e| CopyError::write("set the time of", directory.path().to_vec(), e))
}

/// Sets the mtime to now, as the kernel does where a file is made in a directory.
pub(super) fn touch(directory: &Directory) -> Result<(), CopyError> {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: now };
    futimens(directory.as_fd(), &times).map_err(|e| CopyError::write("set the time of", directory.path().to_vec(), e))
}

/// Attributes of overlayfs and of brik's own bookkeeping belong to a place, not to a file.
fn is_portable(name: &[u8]) -> bool {
    !(name.starts_with(b"user.overlay.") || name.starts_with(b"trusted.overlay.") || name == OWNER_XATTR.as_bytes())
}

/// -1 would mean "leave it" to the kernel.
pub(super) fn ids((uid, gid): (u32, u32)) -> Result<(Uid, Gid), Errno> {
    if uid == u32::MAX || gid == u32::MAX {
        return Err(Errno::INVAL);
    }
    Ok((Uid::from_raw(uid), Gid::from_raw(gid)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use rustix::fs::{lgetxattr, lsetxattr};

    use super::*;
    use crate::build::copy::testing::{Destination, copy, is_root, me};

    #[test]
    fn modes_are_exact_and_times_have_nanoseconds() {
        let (source, root) = (Destination::new(), Destination::new());
        for mode in [0o4755, 0o2711, 0o666, 0o400] {
            let name = format!("s/{mode:o}");
            source.file(&name, "x");
            source.chmod(&name, mode);
            source.set_mtime(&name, 1_234);
        }
        copy(&source, &["s"], &root, "/d").unwrap();
        assert_eq!(root.list(), ["d d755", "d/2711 f2711", "d/400 f400", "d/4755 f4755", "d/666 f666"]);
        assert_eq!((root.stat("d/666").mtime(), root.stat("d/666").mtime_nsec()), (1_234, 42));
    }

    #[test]
    fn attributes_of_users_are_copied_and_those_of_overlayfs_are_not() {
        let (source, root) = (Destination::new(), Destination::new());
        source.file("f", "x");
        for name in ["user.test", "user.overlay.opaque"] {
            if lsetxattr(source.path("f"), name, b"y", XattrFlags::empty()).is_err() {
                eprintln!("skipped: the temporary directory has no extended attributes");
                return;
            }
        }
        copy(&source, &["f"], &root, "/f").unwrap();
        let mut value = [0; 8];
        assert_eq!(lgetxattr(root.path("f"), "user.test", &mut value[..]), Ok(1));
        assert!(lgetxattr(root.path("f"), "user.overlay.opaque", &mut value[..]).is_err());
    }

    #[test]
    fn file_capabilities_survive_the_chown() {
        if !is_root() {
            eprintln!("skipped: only root may set file capabilities");
            return;
        }
        // vfs_cap_data, revision 2: cap_net_bind_service permitted and effective.
        let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let (source, root) = (Destination::new(), Destination::new());
        source.file("f", "x");
        if lsetxattr(source.path("f"), "security.capability", &capability, XattrFlags::empty()).is_err() {
            eprintln!("skipped: file capabilities cannot be set here");
            return;
        }
        copy(&source, &["f"], &root, "/f").unwrap();
        let mut value = [0; 64];
        assert_eq!(lgetxattr(root.path("f"), "security.capability", &mut value[..]), Ok(20));
        assert_eq!(value[..20], capability);
    }

    #[test]
    fn the_id_that_means_no_change_is_refused() {
        let root = Destination::new();
        let metadata = Metadata { owner: (u32::MAX, me().1), mode: 0o755, mtime: None, xattrs: Vec::new(), record_owner: true };
        assert!(matches!(metadata.set(root.fd(), b""), Err(CopyError::Write { action: "change the owner of", .. })));
    }
}
