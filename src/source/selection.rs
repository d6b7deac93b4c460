//! What the source of a COPY or ADD selects in a build context, and the hash of it for CacheKeys.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::OnceLock;

use rustix::io::Errno;

use super::content_hash::{ContentHash, Parts};
use super::context::Context;
use super::error::{Error, shown};
use super::file_list::FileList;
use super::listing::{Entry, EntryId, EntryKind};
use super::select::{SelectOptions, select_with};
use super::tree::{Match, Node, NodeKind, TreePath};
use super::walk::{join, split};

/// Means something only to the context that it was made of. A file takes a few bytes of it.
#[derive(Debug)]
pub struct Selection {
    found: Vec<Match<EntryId>>,
    hash: OnceLock<ContentHash>,
}

/// Files of a selection that are listed: more would take longer than knowing which one changed is worth.
const MOST_LISTED: usize = 500_000;

impl Selection {
    /// Whether nothing but directories was matched, whose content it is that is selected.
    pub fn is_of_directories(&self) -> bool {
        self.found.iter().all(|found| found.node.kind == NodeKind::Directory)
    }

    /// What [`Context::hash`] has found out, if it was asked.
    pub fn known_hash(&self) -> Option<ContentHash> {
        self.hash.get().copied()
    }
}

impl Context {
    /// Expands a source as [`select`](super::select()) does.
    pub fn select(&self, source: &[u8], options: &SelectOptions) -> Result<Selection, Error> {
        let matches = select_with(self, source, options, &|directory, mut taken| {
            self.walk_entries(directory, &mut |path, id, entry| taken.meet(path, entry.is_directory(), || id))?;
            Ok(taken.finish())
        });
        matches.map(|found| Selection { found, hash: OnceLock::new() })
    }

    /// The matches with the paths and nodes of all that is below them.
    pub fn matches(&self, selection: &Selection) -> Vec<Match> {
        let with_nodes = |found: &Match<EntryId>| Match {
            path: found.path.clone(),
            name: found.name.clone(),
            node: found.node.clone(),
            parents: found.parents.clone(),
            below: found.below.iter().map(|id| self.below(&found.path, *id)).collect(),
        };
        selection.found.iter().map(with_nodes).collect()
    }

    fn below(&self, base: &[u8], id: EntryId) -> (TreePath, Node) {
        let (directory, entry) = self.at(id);
        (join(relative(&directory.path, base), directory.name(entry)), entry.node())
    }

    /// Of names, types, modes, link targets, devices, contents and which files are hard links of one another: all that a
    /// selection brings into an image. Never of times, nor of where the context or the source directory lies.
    pub fn hash(&self, selection: &Selection) -> Result<ContentHash, Error> {
        if let Some(known) = selection.hash.get() {
            return Ok(*known);
        }
        let hash = self.compute_hash(selection)?;
        Ok(*selection.hash.get_or_init(|| hash))
    }

    fn compute_hash(&self, selection: &Selection) -> Result<ContentHash, Error> {
        let mut files = Vec::new();
        for found in &selection.found {
            files.extend(self.entry_of(found)?);
            files.extend_from_slice(&found.below);
        }
        self.learn_contents(&files)?;
        let mut hashed = Hashed { parts: Parts::new(b"brik selection 2"), entries: 0, first_links: HashMap::new() };
        for found in &selection.found {
            // A directory's content is copied, so that its own name is no part of the result.
            hashed.parts.add(if found.node.kind == NodeKind::Directory { b"" } else { split(&found.name).1 });
            hashed.parts.add(if found.parents.is_some() { b"parents" } else { b"" });
            hashed.parts.add(found.parents.as_deref().unwrap_or_default());
            hashed.parts.add_number(found.below.len() as u64);
            match self.entry_of(found)? {
                Some(id) => self.add_entry(&mut hashed, id)?,
                None => hashed.parts.add_number(found.node.mode.into()),
            }
            for &id in &found.below {
                let (directory, entry) = self.at(id);
                hashed.parts.add_joined(relative(&directory.path, &found.path), directory.name(entry));
                self.add_entry(&mut hashed, id)?;
            }
        }
        Ok(hashed.parts.finish())
    }

    /// Paths, modes and contents of a selection that was hashed; nothing is read for it. None if it has very many files.
    pub fn file_list(&self, selection: &Selection) -> Option<FileList> {
        if selection.found.iter().map(|found| 1 + found.below.len()).sum::<usize>() > MOST_LISTED {
            return None;
        }
        let mut list = FileList::default();
        for found in &selection.found {
            match self.entry_of(found).ok()? {
                Some(id) => self.list_entry(&mut list, id)?,
                None => list.push(b'd', found.node.mode, [0; 8], (b"", b"")),
            }
            found.below.iter().try_for_each(|&id| self.list_entry(&mut list, id))?;
        }
        Some(list)
    }

    /// None for a file whose content is not known.
    fn list_entry(&self, list: &mut FileList, id: EntryId) -> Option<()> {
        let (directory, entry) = self.at(id);
        let device = |major: u32, minor: u32| (u64::from(major) << 32 | u64::from(minor)).to_le_bytes();
        let (kind, content) = match &entry.kind {
            EntryKind::File(content) => (b'f', content.get()?.beginning()),
            EntryKind::Directory(_) => (b'd', [0; 8]),
            EntryKind::Symlink(target) => (b'l', ContentHash::of(target).beginning()),
            EntryKind::Fifo => (b'p', [0; 8]),
            EntryKind::Socket => (b's', [0; 8]),
            EntryKind::CharDevice { major, minor } => (b'c', device(*major, *minor)),
            EntryKind::BlockDevice { major, minor } => (b'b', device(*major, *minor)),
        };
        list.push(kind, entry.mode(), content, (&directory.path, directory.name(entry)));
        Some(())
    }

    fn add_entry(&self, hashed: &mut Hashed, id: EntryId) -> Result<(), Error> {
        let (directory, entry) = self.at(id);
        let unread =
            || Error::Read { path: shown(&join(&directory.path, directory.name(entry))).into(), source: ErrorKind::NotFound.into() };
        hashed.add(entry).ok_or_else(unread)
    }

    /// The match itself; none if it is the root.
    fn entry_of(&self, found: &Match<EntryId>) -> Result<Option<EntryId>, Error> {
        let failed = |error: Errno| Error::Read { path: shown(&found.path).into(), source: error.into() };
        if found.path.is_empty() { Ok(None) } else { self.find(&found.path).map_err(failed) }
    }
}

/// A path below the directory `base`, as it is written from there.
fn relative<'p>(path: &'p [u8], base: &[u8]) -> &'p [u8] {
    let below = path.strip_prefix(base).unwrap_or(path);
    below.strip_prefix(b"/").unwrap_or(below)
}

/// What is hashed of entries, in the order in which they are copied.
struct Hashed {
    parts: Parts,
    entries: u64,
    /// Which was the first of each inode with several names.
    first_links: HashMap<(u64, u64), u64>,
}

impl Hashed {
    /// None for a file whose content is not known.
    fn add(&mut self, entry: &Entry) -> Option<()> {
        // The kind tells what follows.
        let mut start = |kind: u32| self.parts.add_number(u64::from(kind) << 32 | u64::from(entry.mode()));
        match &entry.kind {
            EntryKind::File(content) => {
                start(0);
                self.parts.add(content.get()?.as_bytes());
            }
            EntryKind::Directory(_) => start(1),
            EntryKind::Symlink(target) => {
                start(2);
                self.parts.add(target);
            }
            EntryKind::Fifo => start(3),
            EntryKind::Socket => start(4),
            EntryKind::CharDevice { major, minor } => {
                start(5);
                self.parts.add_number(u64::from(*major) << 32 | u64::from(*minor));
            }
            EntryKind::BlockDevice { major, minor } => {
                start(6);
                self.parts.add_number(u64::from(*major) << 32 | u64::from(*minor));
            }
        }
        let position = self.entries;
        let first = entry.hardlink().map_or(position, |inode| *self.first_links.entry(inode).or_insert(position));
        // How far back the first link to the same file is; 0 for the first.
        self.parts.add_number(position - first);
        self.entries += 1;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{IgnoreFile, StatCache, select};
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;
    use std::sync::Arc;

    fn walked(root: &Path) -> Context {
        Context::walk(root, &IgnoreFile::default(), &Arc::new(StatCache::in_memory())).unwrap()
    }

    fn options() -> SelectOptions {
        SelectOptions { wildcards: true, ..SelectOptions::default() }
    }

    fn key(root: &Path, source: &str) -> ContentHash {
        let context = walked(root);
        context.hash(&context.select(source.as_bytes(), &options()).unwrap()).unwrap()
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
    fn a_list_names_what_changed_in_a_selection() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        made(root);
        let list = || {
            let context = walked(root);
            let selection = context.select(b"d", &options()).unwrap();
            assert_eq!(context.file_list(&selection), None, "not hashed yet");
            let hash = context.hash(&selection).unwrap();
            assert_eq!(selection.known_hash(), Some(hash));
            context.file_list(&selection).unwrap()
        };
        let before = list();
        let paths: Vec<String> = before.files().map(|file| shown(file.path)).collect();
        assert_eq!(paths, ["/d", "/d/a", "/d/b", "/d/link", "/d/sub"]);
        fs::write(root.join("d/a"), "One").unwrap();
        fs::set_permissions(root.join("d/b"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::remove_file(root.join("d/link")).unwrap();
        symlink("b", root.join("d/link")).unwrap();
        let after = list();
        let changed: Vec<String> = before.changes(&after).iter().map(|change| format!("{change:?}").chars().take(4).collect()).collect();
        assert_eq!(changed, ["Cont", "Mode", "Cont"]);
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

    #[test]
    fn the_matches_are_those_of_any_tree() {
        let directory = tempfile::tempdir().unwrap();
        made(directory.path());
        made(&directory.path().join("deeper"));
        let context = walked(directory.path());
        for source in ["", "d", "deeper/d", "d/*", "deeper/d/a", "*"] {
            let selection = context.select(source.as_bytes(), &options()).unwrap();
            assert_eq!(context.matches(&selection), select(&context, source.as_bytes(), &options()).unwrap(), "{source:?}");
        }
    }
}
