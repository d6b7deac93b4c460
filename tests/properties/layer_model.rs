//! What a layer makes of an empty directory, told from its listing, slow and obvious: by a map of paths.

use std::collections::BTreeMap;
use std::path::Path;

use brik::image::{Error, Listed, ListedKind, Listing, is_whiteout, walk};

/// By path; the root is not in it.
pub type Shape = BTreeMap<Vec<u8>, Node>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    Directory { mode: Option<u32> },
    File { size: u64, mode: Option<u32> },
    Symlink(Vec<u8>),
    Fifo,
    Device,
    Whiteout,
}

/// What the listing says that there is; `None` where that takes more than a map: links on the way, or devices, which not everybody makes.
pub fn of(listing: &Listing) -> Option<Shape> {
    let mut shape = Shape::new();
    for member in &listing.members {
        let Listed { path, kind, .. } = member;
        let above = if *kind == ListedKind::Opaque { Some(&path[..]) } else { path.iter().rposition(|b| *b == b'/').map(|at| &path[..at]) };
        imply(&mut shape, above.unwrap_or_default())?;
        let mode = Some(member.mode & 0o777);
        let node = match kind {
            ListedKind::Opaque => continue,
            ListedKind::Directory if path.is_empty() => continue,
            ListedKind::Directory => Node::Directory { mode },
            ListedKind::File => Node::File { size: member.size, mode },
            ListedKind::Symlink => Node::Symlink(member.link.clone()),
            ListedKind::Hardlink if member.link == *path => continue,
            ListedKind::Hardlink => shape.get(&member.link)?.clone(),
            ListedKind::Fifo => Node::Fifo,
            ListedKind::CharDevice | ListedKind::BlockDevice => return None,
            // Marks of aufs.
            ListedKind::Whiteout if path.rsplit(|b| *b == b'/').next()?.starts_with(b".wh.") => return None,
            ListedKind::Whiteout => Node::Whiteout,
        };
        if !matches!((&node, shape.get(path)), (Node::Directory { .. }, Some(Node::Directory { .. }))) {
            let below = [path, &b"/"[..]].concat();
            shape.retain(|other, _| !other.starts_with(&below));
        }
        shape.insert(path.clone(), node);
    }
    Some(shape)
}

/// Makes the directories that nothing was said of yet.
fn imply(shape: &mut Shape, path: &[u8]) -> Option<()> {
    let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at).chain((!path.is_empty()).then_some(path.len()));
    for end in ends {
        match shape.entry(path[..end].to_vec()).or_insert(Node::Directory { mode: None }) {
            Node::Directory { .. } => {}
            _ => return None,
        }
    }
    Some(())
}

/// What is there. `None` where it cannot be looked at.
pub fn shape(directory: &Path) -> Option<Shape> {
    let mut shape = Shape::new();
    walk(directory, |found| {
        let mode = Some(found.stat.st_mode & 0o777);
        let node = match found.stat.st_mode & 0o170_000 {
            0o040_000 => Node::Directory { mode },
            0o100_000 => Node::File { size: found.stat.st_size as u64, mode },
            0o120_000 => Node::Symlink(found.link_target().map_err(|source| Error::Read { path: String::new(), source })?),
            0o010_000 => Node::Fifo,
            _ if is_whiteout(&found.stat) => Node::Whiteout,
            _ => Node::Device,
        };
        shape.insert(found.path.to_vec(), node);
        Ok::<(), Error>(())
    })
    .ok()?;
    shape.remove(&b""[..]);
    Some(shape)
}

pub fn compare(expected: &Shape, found: &Shape) {
    let as_expected = |node: &Node, like: Option<&Node>| match (node, like) {
        // A mode that nobody asked for.
        (Node::Directory { .. }, Some(Node::Directory { mode: None })) => Node::Directory { mode: None },
        _ => node.clone(),
    };
    let found: Shape = found.iter().map(|(path, node)| (path.clone(), as_expected(node, expected.get(path)))).collect();
    assert_eq!(found, *expected);
}

/// As a table of contents has them: files without their sizes, and of what is neither file, directory nor link that it is there.
pub fn nodes(shape: &Shape) -> BTreeMap<Vec<u8>, String> {
    let node = |node: &Node| match node {
        Node::File { .. } | Node::Fifo | Node::Device => "other".to_owned(),
        node => format!("{node:?}"),
    };
    shape.iter().map(|(path, found)| (path.clone(), node(found))).collect()
}
