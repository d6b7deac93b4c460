//! Symbolic links in a path, resolved inside a tree as if its root were `/`.

use super::error::{Error, shown};
use super::tree::{NodeKind, Tree, TreePath};
use super::walk::join;

/// As many as containerd's `fs.RootPath` follows, which BuildKit uses.
const MOST_LINKS: usize = 255;

/// The path without links that `path` leads to, its last component followed, too. `..` stops at the root. What does not
/// exist is kept as it is written.
pub(super) fn resolve(tree: &dyn Tree, path: &[u8]) -> Result<TreePath, Error> {
    let mut resolved = TreePath::new();
    let mut rest: Vec<Vec<u8>> = components(path);
    let mut links = 0;
    while let Some(component) = rest.pop() {
        if component == b".." {
            let parent = resolved.iter().rposition(|&b| b == b'/').unwrap_or(0);
            resolved.truncate(parent);
            continue;
        }
        let next = join(&resolved, &component);
        let node = tree.lookup(&next).map_err(|source| Error::Read { path: shown(&next).into(), source })?;
        let Some(NodeKind::Symlink(target)) = node.map(|node| node.kind) else {
            resolved = next;
            continue;
        };
        links += 1;
        if links > MOST_LINKS {
            return Err(Error::LinkLoop(shown(path)));
        }
        if target.starts_with(b"/") {
            resolved.clear();
        }
        rest.extend(components(&target));
    }
    Ok(resolved)
}

/// The components, the first one last.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|&b| b == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.rev().map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::RootTree;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_inside_the_root() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        for (target, link) in
            [("b", "a/rel"), ("/a", "abs"), ("../../../a/b", "a/b/up"), ("abs/rel", "chain"), ("x", "loop"), ("loop", "x")]
        {
            symlink(target, root.join(link)).unwrap();
        }
        let tree = RootTree::open(root).unwrap();
        for (path, expected) in [
            ("a/rel", "a/b"),
            ("abs/b", "a/b"),
            ("chain", "a/b"),
            ("a/b/up", "a/b"),
            ("a/rel/../rel", "a/b"),
            ("../..", ""),
            ("missing/x", "missing/x"),
        ] {
            assert_eq!(String::from_utf8(resolve(&tree, path.as_bytes()).unwrap()).unwrap(), expected, "{path}");
        }
        assert!(matches!(resolve(&tree, b"loop"), Err(Error::LinkLoop(path)) if path == "/loop"));
    }
}
