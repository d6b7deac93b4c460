//! Snapshots as the tree that overlayfs would show, read without a mount.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::image::{SOCKET_MODE, is_opaque, read_xattrs};
use crate::source::tree::{Node, NodeKind, Tree};
use crate::source::{RootTree, TreePath};

/// A stack of snapshots.
pub struct MergedTree {
    /// Uppermost first.
    lowers: Vec<(PathBuf, RootTree)>,
    /// The directory looked at last, and which lowers are merged there: trees are walked directory by directory.
    recent: Mutex<Option<(TreePath, Arc<Vec<usize>>)>>,
}

impl MergedTree {
    /// `lowers` are snapshots, uppermost first.
    pub fn open(lowers: Vec<PathBuf>) -> io::Result<Self> {
        let open = |path: PathBuf| RootTree::open(&path).map(|tree| (path, tree));
        Ok(Self { lowers: lowers.into_iter().map(open).collect::<Result<_, _>>()?, recent: Mutex::default() })
    }

    /// The lowers that have a part in the directory `path`; none if there is no such directory.
    fn merged(&self, path: &[u8]) -> io::Result<Arc<Vec<usize>>> {
        if let Some((_, known)) = self.recent().as_ref().filter(|(recent, _)| recent == path) {
            return Ok(known.clone());
        }
        let mut merged: Vec<usize> = (0..self.lowers.len()).collect();
        let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at).chain([path.len()]);
        for end in ends.filter(|end| *end > 0) {
            merged = self.directories(&merged, &path[..end])?;
        }
        let merged = Arc::new(merged);
        *self.recent() = Some((path.to_vec(), merged.clone()));
        Ok(merged)
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, Option<(TreePath, Arc<Vec<usize>>)>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of `among`, the lowers merged in the directory above, that are merged in `path`.
    fn directories(&self, among: &[usize], path: &[u8]) -> io::Result<Vec<usize>> {
        let mut merged = Vec::new();
        for &index in among {
            let (lower, tree) = &self.lowers[index];
            match tree.lookup(path)? {
                None => {}
                Some(node) if node.kind == NodeKind::Directory => {
                    merged.push(index);
                    // No link leads there: `lookup` follows none.
                    if is_opaque(&read_xattrs(File::open(super::below(lower, path))?)?) {
                        break;
                    }
                }
                // A whiteout or a file hides what is under it.
                Some(_) => break,
            }
        }
        Ok(merged)
    }

    /// The lower whose node is to be seen at `path`, and that.
    fn find(&self, path: &[u8]) -> io::Result<Option<(&RootTree, Node)>> {
        let above = path.iter().rposition(|&b| b == b'/').map_or(&b""[..], |slash| &path[..slash]);
        let among = if path.is_empty() { Arc::new((0..self.lowers.len()).collect()) } else { self.merged(above)? };
        for &index in among.iter() {
            let tree = &self.lowers[index].1;
            if let Some(node) = tree.lookup(path)? {
                return Ok(Some((tree, node)).filter(|(_, node)| !is_whiteout(node)));
            }
        }
        Ok(None)
    }

    fn tree_of(&self, path: &[u8]) -> io::Result<&RootTree> {
        self.find(path)?.map(|(tree, _)| tree).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn is_whiteout(node: &Node) -> bool {
    node.kind == NodeKind::CharDevice { major: 0, minor: 0 } || (node.kind == NodeKind::Socket && node.mode == SOCKET_MODE)
}

impl Tree for MergedTree {
    fn lookup(&self, path: &[u8]) -> io::Result<Option<Node>> {
        if path.is_empty() && self.lowers.is_empty() {
            let (kind, mtime) = (NodeKind::Directory, (0, 0));
            return Ok(Some(Node { kind, mode: 0o755, uid: 0, gid: 0, size: 0, mtime, hardlink: None }));
        }
        Ok(self.find(path)?.map(|(_, node)| node))
    }

    fn children(&self, path: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let mut names: BTreeMap<Vec<u8>, bool> = BTreeMap::new();
        for &index in self.merged(path)?.iter() {
            let tree = &self.lowers[index].1;
            for name in tree.children(path)? {
                let below = if path.is_empty() { name.clone() } else { [path, b"/", &name].concat() };
                if let std::collections::btree_map::Entry::Vacant(vacant) = names.entry(name) {
                    vacant.insert(tree.lookup(&below)?.is_some_and(|node| !is_whiteout(&node)));
                }
            }
        }
        Ok(names.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect())
    }

    fn open(&self, path: &[u8]) -> io::Result<File> {
        self.tree_of(path)?.open(path)
    }

    fn xattrs(&self, path: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        if self.lowers.is_empty() { Ok(Vec::new()) } else { self.tree_of(path)?.xattrs(path) }
    }
}
