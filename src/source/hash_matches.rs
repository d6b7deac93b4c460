//! What a COPY takes out of another file system state, hashed.

use std::collections::HashMap;

use rayon::prelude::*;

use super::content_hash::{ContentHash, FileHasher, Parts};
use super::error::{Error, shown};
use super::tree::{Match, Node, NodeKind, Tree};
use super::walk::{join, split};

/// Of names, types, modes, owners, attributes, link targets, devices, contents and which files are hard links of one another: all that
/// matches bring into an image whose files are dated. Every file is read.
pub fn hash_matches(tree: &dyn Tree, matches: &[Match]) -> Result<ContentHash, Error> {
    let mut met: Vec<(Vec<u8>, &Node)> = Vec::new();
    for found in matches {
        met.push((found.path.clone(), &found.node));
        met.extend(found.below.iter().map(|(path, node)| (join(&found.path, path), node)));
    }
    let failed = |path: &[u8], source| Error::Read { path: shown(path).into(), source };
    let contents: Vec<Option<ContentHash>> = met
        .par_iter()
        .with_min_len(16)
        .map_init(FileHasher::new, |hasher, (path, node)| match node.kind {
            NodeKind::File => tree.open(path).and_then(|file| hasher.hash(&file)).map(Some).map_err(|error| failed(path, error)),
            _ => Ok(None),
        })
        .collect::<Result<_, _>>()?;
    let mut parts = Parts::new(b"brik matches 1");
    let mut first_links: HashMap<(u64, u64), u64> = HashMap::new();
    let mut at = 0;
    for found in matches {
        // As in `Context::hash`: a directory's content is copied, its own name is no part of the result.
        parts.add(if found.node.kind == NodeKind::Directory { b"" } else { split(&found.name).1 });
        parts.add(if found.parents.is_some() { b"parents" } else { b"" });
        parts.add(found.parents.as_deref().unwrap_or_default());
        parts.add_number(found.below.len() as u64);
        let names = std::iter::once(&b""[..]).chain(found.below.iter().map(|(path, _)| &path[..]));
        for name in names {
            let (path, node) = &met[at];
            parts.add(name);
            [node.mode, node.uid, node.gid].into_iter().for_each(|number| parts.add_number(number.into()));
            match &node.kind {
                NodeKind::File => {
                    parts.add(b"file");
                    parts.add(contents[at].as_ref().map_or(&b""[..], |hash| hash.as_bytes()));
                    // 0: no other name.
                    let first = node.hardlink.map_or(0, |inode| *first_links.entry(inode).or_insert(at as u64 + 1));
                    parts.add_number(first);
                }
                NodeKind::Directory => parts.add(b"directory"),
                NodeKind::Symlink(target) => {
                    parts.add(b"link");
                    parts.add(target);
                }
                NodeKind::Fifo => parts.add(b"fifo"),
                NodeKind::Socket => parts.add(b"socket"),
                NodeKind::CharDevice { major, minor } | NodeKind::BlockDevice { major, minor } => {
                    parts.add(if matches!(node.kind, NodeKind::CharDevice { .. }) { b"char" } else { b"block" });
                    parts.add_number((*major).into());
                    parts.add_number((*minor).into());
                }
            }
            let attributes = tree.xattrs(path).map_err(|error| failed(path, error))?;
            parts.add_number(attributes.len() as u64);
            for (name, value) in attributes {
                parts.add(&name);
                parts.add(&value);
            }
            at += 1;
        }
    }
    Ok(parts.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{RootTree, SelectOptions, select};
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    fn hash(root: &Path, source: &str) -> ContentHash {
        let tree = RootTree::open(root).unwrap();
        let options = SelectOptions { wildcards: true, ..SelectOptions::default() };
        hash_matches(&tree, &select(&tree, source.as_bytes(), &options).unwrap()).unwrap()
    }

    #[test]
    fn the_hash_changes_with_what_is_copied_and_with_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let make = |path: &str, text: &str| fs::write(root.join(path), text).unwrap();
        fs::create_dir(root.join("out")).unwrap();
        make("out/a", "one");
        make("out/b", "two");
        make("elsewhere", "x");
        symlink("a", root.join("out/link")).unwrap();
        let first = hash(root, "/out");
        make("elsewhere", "changed");
        fs::File::open(root.join("out/a")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(hash(root, "/out"), first, "neither times nor other files count");
        let mut seen = vec![first, hash(root, "/out/a"), hash(root, "/out/b")];
        let mut differs = |what: &str| {
            let now = hash(root, "/out");
            assert!(!seen.contains(&now), "{what}");
            seen.push(now);
        };
        make("out/a", "three");
        differs("content");
        fs::set_permissions(root.join("out/b"), fs::Permissions::from_mode(0o755)).unwrap();
        differs("mode");
        fs::remove_file(root.join("out/link")).unwrap();
        differs("a link is gone");
        symlink("b", root.join("out/link")).unwrap();
        differs("the target of a link");
        fs::rename(root.join("out/b"), root.join("out/c")).unwrap();
        differs("a name");
        fs::hard_link(root.join("out/c"), root.join("out/d")).unwrap();
        differs("a hard link");
        fs::remove_file(root.join("out/d")).unwrap();
        fs::copy(root.join("out/c"), root.join("out/d")).unwrap();
        differs("a copy is no hard link");
    }
}
