//! A stack of snapshots copied into one directory, which a Step changes and a scan compares.

use std::collections::BTreeSet;
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::super::error::Error;
use super::apply::apply;
use super::collect::Collector;
use super::merged_tree::MergedTree;
use super::scan::{Change, Scan};
use super::trees::{Left, Tree, Trees};
use crate::image::{Found, read_xattrs, remove_unkept_xattrs};
use crate::source::Tree as _;
use crate::store::Store;

/// The tree of one Step.
pub struct Copied {
    tree: Tree,
    upper: PathBuf,
    lowers: Vec<PathBuf>,
    before: Scan,
    untouched: BTreeSet<Vec<u8>>,
}

impl Copied {
    /// Makes a tree of `lowers` (uppermost first), out of one that an earlier Step has left if there is one. The change will be put into
    /// the empty directory `upper`.
    pub fn open(store: &Store, trees: &Trees, lowers: Vec<PathBuf>, upper: PathBuf) -> Result<Self, Error> {
        let (tree, missing) = match trees.take(&lowers) {
            Some(found) => found,
            None => (Tree::new(store.temp_dir()?)?, lowers.len()),
        };
        for lower in lowers[..missing].iter().rev() {
            apply(lower, &tree.root)?;
        }
        // Whatever a layer or a RUN did to it: the root of a stage is that of a fresh upper directory.
        let reset = std::fs::set_permissions(&tree.root, Permissions::from_mode(0o755));
        let reset = reset.and_then(|()| std::os::unix::fs::chown(&tree.root, Some(0), Some(0)));
        let reset = reset.and_then(|()| {
            let root = File::open(&tree.root)?;
            remove_unkept_xattrs(&root, &read_xattrs(&root)?);
            Ok(())
        });
        reset.map_err(|source| Error::Io { action: "set the owner of", path: tree.root.clone(), source })?;
        let before = Scan::of(&tree.root)?;
        Ok(Self { tree, upper, lowers, before, untouched: BTreeSet::new() })
    }

    pub fn path(&self) -> &Path {
        &self.tree.root
    }

    pub fn untouched(&mut self, paths: &[PathBuf]) {
        self.untouched.extend(paths.iter().map(|path| path.as_os_str().as_bytes().to_vec()));
    }

    /// Collects the change: the upper directory, and the tree, if it is to be `kept`, is what the
    /// layers are, and is nobody else's; else its files are taken.
    pub fn finish(self, kept: bool) -> Result<(PathBuf, Option<Left>), Error> {
        let Self { tree, upper, lowers, before, untouched } = self;
        let failed = |source| Error::Io { action: "read the layers of", path: tree.root.clone(), source };
        let original = MergedTree::open(lowers.clone()).map_err(failed)?;
        let mut collector = Collector::new(&tree.root, &upper, !kept)?;
        let same = |found: &Found<'_>| is_same(&original, found).map_err(failed);
        let names = before.changes(&tree.root, &untouched, same, |change: Change<'_>| collector.add(&change))?;
        let whole = collector.finish()?;
        // What has a name elsewhere, in a cache, is written to by others.
        Ok((upper, (kept && whole && names.are_all()).then_some(Left { tree, lowers })))
    }
}

/// Whether a file has the owner, mode, attributes and bytes that it has in the layers below.
fn is_same(original: &MergedTree, found: &Found<'_>) -> io::Result<bool> {
    let Some(node) = original.lookup(found.path)? else { return Ok(false) };
    let stat = &found.stat;
    if (node.uid, node.gid, node.mode) != (stat.st_uid, stat.st_gid, stat.st_mode & 0o7777) {
        return Ok(false);
    }
    if found.file_type() != rustix::fs::FileType::RegularFile {
        return Ok(true);
    }
    let (mut now, mut was) = (File::from(found.open()?), original.open(found.path)?);
    if now.metadata()?.size() != was.metadata()?.size() || read_xattrs(&now)? != read_xattrs(&was)? {
        return Ok(false);
    }
    let (mut ours, mut theirs) = (vec![0; 128 << 10], vec![0; 128 << 10]);
    loop {
        let length = now.read(&mut ours)?;
        if length == 0 {
            return Ok(true);
        }
        if was.read_exact(&mut theirs[..length]).is_err() || ours[..length] != theirs[..length] {
            return Ok(false);
        }
    }
}
