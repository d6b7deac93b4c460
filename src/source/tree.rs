//! Trees that files are copied from: a build context as it was walked, or the mounted root of a stage or an image.

use std::fs::File;
use std::io;

use super::error::{Error, shown};
use super::walk::join;

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

/// Takes the path of a node, from where a walk began, and the node. Whether the walk is to enter it, if it is a directory.
pub type Meet<'m> = dyn FnMut(&[u8], &Node) -> bool + 'm;

pub trait Tree: Sync {
    /// The node at `path`; symbolic links are not followed in any component. `None` where nothing is there.
    fn lookup(&self, path: &[u8]) -> io::Result<Option<Node>>;
    /// The names in a directory, sorted by bytes.
    fn children(&self, path: &[u8]) -> io::Result<Vec<Vec<u8>>>;
    /// Meets everything below the directory `path`, parents before children, siblings sorted by bytes.
    fn walk(&self, path: &[u8], meet: &mut Meet<'_>) -> Result<(), Error> {
        let list = |directory: &[u8]| {
            let mut entries = Vec::new();
            for name in self.children(directory)? {
                // None: gone since the directory was listed.
                let node = self.lookup(&join(directory, &name))?;
                entries.extend(node.map(|node| (name, node)));
            }
            Ok(entries)
        };
        walk_listed(path, &list, meet)
    }
    /// Opens a regular file for reading; a symbolic link is an error.
    fn open(&self, path: &[u8]) -> io::Result<File>;
    /// To be asked when `file`, opened at `path`, has been read: an error where others have changed it meanwhile, so that what was read is
    /// of no use. Trees that nobody changes need not look.
    fn unchanged(&self, _path: &[u8], _file: &File) -> io::Result<()> {
        Ok(())
    }
    /// Extended attributes (name, value), sorted; none in a build context.
    fn xattrs(&self, path: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>>;
}

/// One path that a COPY or ADD source stands for, after wildcards: a file, or a directory with all that is selected below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match<Below = (TreePath, Node)> {
    /// Where it lies in the tree, after symbolic links in the source path were followed.
    pub path: TreePath,
    /// The name as matched before links were followed: its last component names the copy inside a destination directory.
    pub name: TreePath,
    pub node: Node,
    /// With `--parents`: the path below the destination that is kept (directories of it are created with the source's metadata).
    pub parents: Option<TreePath>,
    /// All that is selected below a directory, parents before children, siblings sorted by bytes; paths relative to `path`.
    pub below: Vec<Below>,
}

/// Tells the names and nodes in a directory, sorted.
pub(super) type List<'l> = dyn Fn(&[u8]) -> io::Result<Vec<(Vec<u8>, Node)>> + 'l;

/// Walks below `base` by what `list` tells of each directory: names and nodes, sorted.
pub(super) fn walk_listed(base: &[u8], list: &List<'_>, meet: &mut Meet<'_>) -> Result<(), Error> {
    let list = |path: &[u8]| list(path).map(Vec::into_iter).map_err(|source| Error::Read { path: shown(path).into(), source });
    // The directories that the walk is in: what is to come of each, and the length of its path.
    let mut open = vec![(list(base)?, 0)];
    let mut path = TreePath::new();
    while let Some((entries, length)) = open.last_mut() {
        let Some((name, node)) = entries.next() else {
            open.pop();
            continue;
        };
        path.truncate(*length);
        path.extend((!path.is_empty()).then_some(b'/'));
        path.extend_from_slice(&name);
        if meet(&path, &node) && node.kind == NodeKind::Directory {
            open.push((list(&join(base, &path))?, path.len()));
        }
    }
    Ok(())
}
