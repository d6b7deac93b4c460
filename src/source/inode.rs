//! From what `stat` tells to a [`Node`].

use std::ffi::CString;
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Stat, major, minor, readlinkat};
use rustix::io::Errno;

use super::tree::{Node, NodeKind};

/// The node of `stat`, which is that of `name` in `directory`; asked again only for a symbolic link's target.
#[allow(clippy::unnecessary_cast, reason = "the fields' types differ between architectures")]
pub(super) fn node_of(directory: BorrowedFd<'_>, name: &[u8], stat: &Stat) -> Result<Node, Errno> {
    let device = || (major(stat.st_rdev), minor(stat.st_rdev));
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => NodeKind::File,
        FileType::Directory => NodeKind::Directory,
        FileType::Symlink => NodeKind::Symlink(readlinkat(directory, name, Vec::new()).map(CString::into_bytes)?),
        FileType::Fifo => NodeKind::Fifo,
        FileType::Socket => NodeKind::Socket,
        FileType::CharacterDevice => NodeKind::CharDevice { major: device().0, minor: device().1 },
        FileType::BlockDevice => NodeKind::BlockDevice { major: device().0, minor: device().1 },
        FileType::Unknown => return Err(Errno::INVAL),
    };
    let linked = stat.st_nlink > 1 && kind != NodeKind::Directory;
    Ok(Node {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: if kind == NodeKind::File { stat.st_size as u64 } else { 0 },
        mtime: (stat.st_mtime as i64, stat.st_mtime_nsec as u32),
        hardlink: linked.then_some((stat.st_dev as u64, stat.st_ino as u64)),
        kind,
    })
}
