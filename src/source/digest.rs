//! Content keys: what a COPY or ADD brings into an image, and nothing else.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};

use rayon::prelude::*;

use super::error::{Error, shown};
use super::tree::{Match, Node, NodeKind, Tree, TreePath};
use super::walk::{join, split};
use crate::oci::{Digest, Hasher};

/// The key of a selection: names, types, modes, owners, link targets, devices, extended attributes, contents and which
/// files are hard links of one another. Never times, and never where the tree or the source directory lies.
pub fn digest_matches(tree: &dyn Tree, matches: &[Match]) -> Result<Digest, Error> {
    let mut nodes: Vec<(TreePath, &Node)> = Vec::new();
    let mut parts = Parts::new(b"brik selection 1");
    let mut at = Vec::new();
    for found in matches {
        at.push(nodes.len());
        nodes.push((found.path.clone(), &found.node));
        nodes.extend(found.below.iter().map(|(path, node)| (join(&found.path, path), node)));
    }
    let contents: Vec<Content> = nodes.par_iter().map(|(path, node)| read(tree, path, node)).collect::<Result<_, _>>()?;
    let mut linked: HashMap<(u64, u64), usize> = HashMap::new();
    for (found, start) in matches.iter().zip(at) {
        // A directory's content is copied, so that its own name is no part of the result.
        let name = if found.node.kind == NodeKind::Directory { b"" } else { split(&found.name).1 };
        parts.add(name);
        parts.add(if found.parents.is_some() { b"parents" } else { b"" });
        parts.add(found.parents.as_deref().unwrap_or_default());
        parts.add_count(found.below.len());
        let below = found.below.iter().map(|(path, node)| (path.as_slice(), node));
        for (i, (path, node)) in [(&b""[..], &found.node)].into_iter().chain(below).enumerate() {
            let position = start + i;
            let first = node.hardlink.map_or(position, |inode| *linked.entry(inode).or_insert(position));
            parts.add(path);
            parts.add_node(node, &contents[position]);
            // How far back the first link to the same file is; 0 for the first.
            parts.add_count(position - first);
        }
    }
    Ok(parts.0.finish())
}

struct Content {
    digest: Option<Digest>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

fn read(tree: &dyn Tree, path: &[u8], node: &Node) -> Result<Content, Error> {
    let failed = |source| Error::Read { path: shown(path).into(), source };
    let digest = if node.kind == NodeKind::File { Some(tree.digest(path).map_err(failed)?) } else { None };
    Ok(Content { digest, xattrs: tree.xattrs(path).map_err(failed)? })
}

/// Sha256 of what is left to read.
pub(super) fn digest_file(mut file: &File) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    let mut buffer = [0; 32 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(length) => hasher.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Parts, each after its length: no two sequences of parts make the same bytes.
struct Parts(Hasher);

impl Parts {
    fn new(format: &[u8]) -> Self {
        let mut parts = Self(Hasher::new());
        parts.add(format);
        parts
    }

    fn add(&mut self, part: &[u8]) {
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    fn add_count(&mut self, count: usize) {
        self.add(&(count as u64).to_le_bytes());
    }

    /// One part of fixed layout for most nodes: a node is a few dozen bytes to hash.
    fn add_node(&mut self, node: &Node, content: &Content) {
        let (kind, detail) = match &node.kind {
            NodeKind::File => (0, content.digest.map(|digest| digest.as_bytes().to_vec()).unwrap_or_default()),
            NodeKind::Directory => (1, Vec::new()),
            NodeKind::Symlink(target) => (2, target.clone()),
            NodeKind::Fifo => (3, Vec::new()),
            NodeKind::Socket => (4, Vec::new()),
            NodeKind::CharDevice { major, minor } => (5, [major.to_le_bytes(), minor.to_le_bytes()].concat()),
            NodeKind::BlockDevice { major, minor } => (6, [major.to_le_bytes(), minor.to_le_bytes()].concat()),
        };
        let mut part = vec![kind];
        for number in [node.mode, node.uid, node.gid] {
            part.extend(number.to_le_bytes());
        }
        part.extend(detail);
        self.add(&part);
        self.add_count(content.xattrs.len());
        for (name, value) in &content.xattrs {
            self.add(name);
            self.add(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{RootTree, SelectOptions, select};
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    fn key(root: &Path, source: &str) -> Digest {
        let tree = RootTree::open(root).unwrap();
        let options = SelectOptions { wildcards: true, ..SelectOptions::default() };
        digest_matches(&tree, &select(&tree, source.as_bytes(), &options).unwrap()).unwrap()
    }

    fn made(root: &Path) {
        fs::create_dir_all(root.join("d/sub")).unwrap();
        fs::write(root.join("d/a"), "one").unwrap();
        fs::write(root.join("d/b"), "two").unwrap();
        symlink("a", root.join("d/link")).unwrap();
    }

    #[test]
    fn only_what_reaches_the_image_changes_the_key() {
        type Change = (&'static str, fn(&Path), bool);
        let changes: &[Change] = &[
            ("nothing", |_| {}, false),
            ("mtime", |root| fs::File::open(root.join("d/a")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap(), false),
            ("a file elsewhere", |root| fs::write(root.join("other"), "").unwrap(), false),
            ("content", |root| fs::write(root.join("d/a"), "One").unwrap(), true),
            ("mode", |root| fs::set_permissions(root.join("d/a"), fs::Permissions::from_mode(0o700)).unwrap(), true),
            ("directory mode", |root| fs::set_permissions(root.join("d/sub"), fs::Permissions::from_mode(0o700)).unwrap(), true),
            ("name", |root| fs::rename(root.join("d/a"), root.join("d/A")).unwrap(), true),
            ("one file less", |root| fs::remove_file(root.join("d/b")).unwrap(), true),
            ("one directory more", |root| fs::create_dir(root.join("d/new")).unwrap(), true),
            (
                "link target",
                |root| {
                    fs::remove_file(root.join("d/link")).unwrap();
                    symlink("b", root.join("d/link")).unwrap();
                },
                true,
            ),
            (
                "a file for a link",
                |root| {
                    fs::remove_file(root.join("d/link")).unwrap();
                    fs::write(root.join("d/link"), "one").unwrap();
                },
                true,
            ),
        ];
        for (what, change, expected) in changes {
            let directory = tempfile::tempdir().unwrap();
            made(directory.path());
            let before = key(directory.path(), "d");
            change(directory.path());
            assert_eq!(key(directory.path(), "d") != before, *expected, "{what}");
        }
    }

    #[test]
    fn hard_links_differ_from_equal_files() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for name in ["linked", "equal"] {
            fs::create_dir(root.join(name)).unwrap();
            fs::write(root.join(name).join("a"), "x").unwrap();
        }
        fs::hard_link(root.join("linked/a"), root.join("linked/b")).unwrap();
        fs::write(root.join("equal/b"), "x").unwrap();
        assert_ne!(key(root, "linked"), key(root, "equal"));
    }

    #[test]
    fn a_directory_s_own_name_and_place_are_no_part_but_a_file_s_name_is() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        made(root);
        made(&root.join("deeper"));
        assert_eq!(key(root, "d"), key(root, "deeper/d"));
        fs::write(root.join("d/c"), "one").unwrap();
        assert_ne!(key(root, "d/a"), key(root, "d/c"));
        assert_eq!(key(root, "d/a"), key(root, "deeper/d/a"));
    }
}
