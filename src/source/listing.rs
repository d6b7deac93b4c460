//! Directories of a build context as the walk found them, in little memory: a context may have millions of files.

use std::ops::Range;
use std::sync::OnceLock;

use rustix::io::Errno;

use super::content_hash::ContentHash;
use super::stamp::Stamp;
use super::tree::{Node, NodeKind, TreePath};

/// Index into the directories of a context.
pub(super) type DirectoryId = u32;

/// A file, directory or link of a context: the directory that it is in, and its place there. In this order a directory's entries
/// stand together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EntryId {
    pub directory: DirectoryId,
    pub place: u32,
}

#[derive(Debug)]
pub(super) struct Directory {
    pub path: TreePath,
    /// Sorted by name.
    pub entries: Vec<Entry>,
    /// All names, one after the other.
    pub names: Vec<u8>,
    /// Why there are no entries: it could not be read.
    pub failed: Option<Errno>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub name: Range<u32>,
    pub stamp: Stamp,
    /// The inode has other names.
    pub linked: bool,
    pub kind: EntryKind,
}

#[derive(Debug)]
pub(super) enum EntryKind {
    /// With what is known of the content.
    File(OnceLock<ContentHash>),
    Directory(DirectoryId),
    Symlink(Box<[u8]>),
    Fifo,
    Socket,
    CharDevice {
        major: u32,
        minor: u32,
    },
    BlockDevice {
        major: u32,
        minor: u32,
    },
}

impl Directory {
    pub fn name(&self, entry: &Entry) -> &[u8] {
        &self.names[entry.name.start as usize..entry.name.end as usize]
    }

    /// The place of the entry of this name.
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        self.entries.binary_search_by(|entry| self.name(entry).cmp(name)).ok()
    }
}

impl Entry {
    /// Owned by 0:0, as BuildKit sends files.
    pub fn node(&self) -> Node {
        let kind = match &self.kind {
            EntryKind::File(_) => NodeKind::File,
            EntryKind::Directory(_) => NodeKind::Directory,
            EntryKind::Symlink(target) => NodeKind::Symlink(target.to_vec()),
            EntryKind::Fifo => NodeKind::Fifo,
            EntryKind::Socket => NodeKind::Socket,
            EntryKind::CharDevice { major, minor } => NodeKind::CharDevice { major: *major, minor: *minor },
            EntryKind::BlockDevice { major, minor } => NodeKind::BlockDevice { major: *major, minor: *minor },
        };
        Node {
            mode: self.mode(),
            uid: 0,
            gid: 0,
            size: if kind == NodeKind::File { self.stamp.size } else { 0 },
            mtime: self.stamp.mtime,
            hardlink: self.hardlink(),
            kind,
        }
    }

    pub fn is_directory(&self) -> bool {
        matches!(self.kind, EntryKind::Directory(_))
    }

    pub fn mode(&self) -> u32 {
        self.stamp.mode & 0o7777
    }

    /// What it shares with the other names of its inode.
    pub fn hardlink(&self) -> Option<(u64, u64)> {
        self.linked.then(|| self.stamp.key())
    }
}
