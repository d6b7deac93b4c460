//! How a snapshot says that something of the layers below is not there: as overlayfs wants it, or where overlayfs itself is the file system
//! that the snapshot lies on, which lets nobody make such files, in a form of brik's own. Nothing mounts those.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, Mode, Stat, XattrFlags, chmodat, fsetxattr, mknodat};
use rustix::io::Errno;

use super::xattr::{Xattrs, read_all, value};

/// The mark of an opaque directory in an overlay mounted with `userxattr`.
pub(super) const OPAQUE: &str = "user.overlay.opaque";
const OPAQUE_TRUSTED: &str = "trusted.overlay.opaque";
/// Where the other names are taken: an overlay on an overlay.
pub(super) const OPAQUE_OWN: &str = "user.brik.opaque";

/// A socket of this mode is a whiteout. No archive holds sockets, and no layer does.
pub const SOCKET_MODE: u32 = 0o7000;

/// Makes a whiteout: a character device 0:0 if it can be.
pub fn make_whiteout(parent: impl AsFd, name: &[u8]) -> rustix::io::Result<()> {
    match mknodat(&parent, name, FileType::CharacterDevice, Mode::empty(), 0) {
        Err(Errno::PERM) => {
            mknodat(&parent, name, FileType::Socket, Mode::empty(), 0)?;
            chmodat(&parent, name, Mode::from_raw_mode(SOCKET_MODE), AtFlags::empty())
        }
        other => other,
    }
}

pub fn is_whiteout(stat: &Stat) -> bool {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => stat.st_rdev == 0,
        FileType::Socket => stat.st_mode & 0o7777 == SOCKET_MODE,
        _ => false,
    }
}

/// Makes a directory hide those of the layers below.
pub fn mark_opaque(directory: impl AsFd) -> rustix::io::Result<()> {
    match fsetxattr(&directory, OPAQUE, b"y", XattrFlags::empty()) {
        Err(Errno::PERM | Errno::OPNOTSUPP) => fsetxattr(&directory, OPAQUE_OWN, b"y", XattrFlags::empty()),
        other => other,
    }
}

/// Snapshots, uppermost first, without those that one above hides as a whole by an opaque mark in its root. overlayfs takes no notice of
/// such a mark; the OCI image spec does.
pub fn without_hidden(mut snapshots: Vec<PathBuf>) -> io::Result<Vec<PathBuf>> {
    for (at, snapshot) in snapshots.iter().enumerate() {
        if is_opaque(&read_all(File::open(snapshot)?)?) {
            snapshots.truncate(at + 1);
            break;
        }
    }
    Ok(snapshots)
}

/// Whether a directory of a layer hides those of the layers below.
pub fn is_opaque(xattrs: &Xattrs) -> bool {
    [OPAQUE, OPAQUE_TRUSTED, OPAQUE_OWN].iter().any(|name| value(xattrs, name) == Some(b"y"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_whiteout_are_recognised_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let fd = std::fs::File::open(dir.path()).unwrap();
        let make = |name: &str, kind, mode| {
            mknodat(&fd, name, kind, Mode::empty(), 0).unwrap();
            chmodat(&fd, name, Mode::from_raw_mode(mode), AtFlags::empty()).unwrap();
        };
        make_whiteout(&fd, b"made").unwrap();
        make("own", FileType::Socket, SOCKET_MODE);
        make("socket", FileType::Socket, 0o755);
        make("fifo", FileType::Fifo, SOCKET_MODE);
        for (name, expected) in [("made", true), ("own", true), ("socket", false), ("fifo", false)] {
            let stat = rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
            assert_eq!(is_whiteout(&stat), expected, "{name}");
        }
    }
}
