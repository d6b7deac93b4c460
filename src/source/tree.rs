//! Trees that files are copied from: a build context as it was walked, or the mounted root of a stage or an image.

use std::fs::File;
use std::io;

use crate::oci::Digest;

/// A path inside a tree: bytes, relative, no leading or trailing slash, no `.` or `..`; empty for the tree's root.
pub type TreePath = Vec<u8>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    File,
    Directory,
    /// The link's target, as it stands in the link.
    Symlink(Vec<u8>),
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

/// What `lstat` tells of a path, as far as images keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub kind: NodeKind,
    /// Permission, setuid, setgid and sticky bits (07777).
    pub mode: u32,
    /// 0 in a build context.
    pub uid: u32,
    /// 0 in a build context.
    pub gid: u32,
    /// Bytes of content; 0 unless a file.
    pub size: u64,
    /// Seconds and nanoseconds since 1970.
    pub mtime: (i64, u32),
    /// Device and inode where the file has more than one link: files that share it are hard links of one another.
    pub hardlink: Option<(u64, u64)>,
}

pub trait Tree: Sync {
    /// The node at `path`; symbolic links are not followed in any component. `None` where nothing is there.
    fn lookup(&self, path: &[u8]) -> io::Result<Option<Node>>;
    /// The names in a directory, sorted by bytes.
    fn children(&self, path: &[u8]) -> io::Result<Vec<Vec<u8>>>;
    /// Opens a regular file for reading; a symbolic link is an error.
    fn open(&self, path: &[u8]) -> io::Result<File>;
    /// Sha256 of a regular file's content.
    fn digest(&self, path: &[u8]) -> io::Result<Digest>;
    /// Extended attributes (name, value), sorted; none in a build context.
    fn xattrs(&self, path: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>>;
}

/// One path that a COPY or ADD source stands for, after wildcards: a file, or a directory with all that is selected below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Where it lies in the tree, after symbolic links in the source path were followed.
    pub path: TreePath,
    /// The name as matched before links were followed: its last component names the copy inside a destination directory.
    pub name: TreePath,
    pub node: Node,
    /// With `--parents`: the path below the destination that is kept (directories of it are created with the source's metadata).
    pub parents: Option<TreePath>,
    /// All that is selected below a directory, parents before children, siblings sorted by bytes; paths relative to `path`.
    pub below: Vec<(TreePath, Node)>,
}
