//! Directories: what is below a copied one, and those that `--parents` keeps.

use std::os::fd::AsFd;

use rustix::fs::{Mode, fchmod};

use super::CopyError;
use super::directory::Directory;
use super::job::{Writer, split};
use super::metadata::set_mtime;
use crate::source::tree::{Match, Node, NodeKind};

/// A directory that is being filled. Its metadata is set when it is left, so that a read-only one can be filled and its mtime stays.
struct Open<'m> {
    directory: Directory,
    /// Relative to where the walk began.
    path: &'m [u8],
    finish: Finish,
}

enum Finish {
    /// A directory below a source overwrites the metadata of one that was there.
    Like {
        source: Vec<u8>,
        node: Node,
    },
    /// A directory that `--parents` keeps overwrites only the mode and mtime of one that was there (so does BuildKit).
    ModeAndTime {
        node: Node,
    },
    Nothing,
}

impl Writer<'_, '_, '_> {
    /// Merges what is below the source directory `found` into `top`.
    pub(super) fn below(&mut self, top: &Directory, found: &Match) -> Result<(), CopyError> {
        let mut open: Vec<Open<'_>> = Vec::new();
        for (path, node) in &found.below {
            let (parent, name) = split(path);
            self.enter(&mut open, top, found, parent)?;
            let directory = open.last().map_or(top, |open| &open.directory);
            let source = join(&found.path, path);
            if node.kind == NodeKind::Directory {
                let (directory, _) = self.directory(directory, name)?;
                open.push(Open { directory, path, finish: Finish::Like { source, node: node.clone() } });
            } else {
                self.leaf(directory, name, &source, node)?;
            }
        }
        self.leave(&mut open, 0)
    }

    /// Makes `parent` the innermost open directory. A directory that the selection skipped although it has something of it below (excluded,
    /// but with an exception) is made like the source's.
    fn enter<'m>(&mut self, open: &mut Vec<Open<'m>>, top: &Directory, found: &Match, parent: &'m [u8]) -> Result<(), CopyError> {
        let keep = open.iter().take_while(|open| is_at_or_below(parent, open.path)).count();
        self.leave(open, keep)?;
        for path in prefixes(parent).skip(open.len()) {
            let source = join(&found.path, path);
            let node = self.source_directory(&source)?;
            let (directory, _) = self.directory(open.last().map_or(top, |open| &open.directory), split(path).1)?;
            open.push(Open { directory, path, finish: Finish::Like { source, node } });
        }
        Ok(())
    }

    /// Finishes the open directories from the innermost up to the one at `keep`.
    fn leave(&mut self, open: &mut Vec<Open<'_>>, keep: usize) -> Result<(), CopyError> {
        while open.len() > keep {
            let Some(last) = open.pop() else { break };
            let path = last.directory.path();
            match last.finish {
                Finish::Like { source, node } => self.metadata(&source, &node, true)?.set(last.directory.as_fd(), path)?,
                Finish::ModeAndTime { node } => {
                    let mode = Mode::from_raw_mode(self.mode_of(&node));
                    fchmod(&last.directory, mode).map_err(|e| CopyError::write("change the mode of", path.to_vec(), e))?;
                    set_mtime(&last.directory, node.mtime)?;
                }
                Finish::Nothing => {}
            }
        }
        Ok(())
    }

    /// Writes `found` at the path `kept` below `top` (`--parents`).
    pub(super) fn kept(&mut self, top: &Directory, found: &Match, kept: &[u8]) -> Result<(), CopyError> {
        let (parent, name) = split(kept);
        // What of the source's path is not kept: nothing is known of the directories where links were followed on the way.
        let pivot = found.path.strip_suffix(kept).filter(|pivot| pivot.is_empty() || pivot.ends_with(b"/"));
        let mut open: Vec<Open<'_>> = Vec::new();
        for path in prefixes(parent) {
            let (directory, made) = self.directory(open.last().map_or(top, |open| &open.directory), split(path).1)?;
            let finish = if let Some(pivot) = pivot {
                let source = [pivot, path].concat();
                let node = self.source_directory(&source)?;
                if made { Finish::Like { source, node } } else { Finish::ModeAndTime { node } }
            } else {
                if made {
                    self.implicit(&directory, self.implicit_mode())?;
                }
                Finish::Nothing
            };
            open.push(Open { directory, path, finish });
        }
        let inner = open.last().map_or(top, |open| &open.directory);
        if found.node.kind != NodeKind::Directory {
            self.leaf(inner, name, &found.path, &found.node)?;
        } else if name.is_empty() {
            self.below(top, found)?;
        } else {
            let (directory, _) = self.directory(inner, name)?;
            self.below(&directory, found)?;
            let finish = Finish::Like { source: found.path.clone(), node: found.node.clone() };
            open.push(Open { directory, path: kept, finish });
        }
        self.leave(&mut open, 0)
    }

    fn directory(&mut self, parent: &Directory, name: &[u8]) -> Result<(Directory, bool), CopyError> {
        let (directory, made) = parent.open_or_make(name)?;
        if made {
            self.refuse_borrowed(&directory)?;
        }
        self.stats.directories += u64::from(made);
        Ok((directory, made))
    }

    fn source_directory(&self, path: &[u8]) -> Result<Node, CopyError> {
        match self.job.tree.lookup(path).map_err(|e| CopyError::read(path, e))? {
            Some(node) if node.kind == NodeKind::Directory => Ok(node),
            _ => Err(CopyError::SourceGone { path: path.to_vec().into() }),
        }
    }
}

/// `a`, `a/b`, `a/b/c` of `a/b/c`.
fn prefixes(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
    ends.chain((!path.is_empty()).then_some(path.len())).map(|end| &path[..end])
}

fn is_at_or_below(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

fn join(directory: &[u8], path: &[u8]) -> Vec<u8> {
    if directory.is_empty() { path.to_vec() } else { [directory, b"/", path].concat() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::build::copy::testing::{Destination, copy, job, matched};
    use crate::build::copy::write_matches;
    use crate::plan::ModeChange;

    #[test]
    fn directories_below_merge_and_take_the_sources_metadata() {
        let (source, root) = (Destination::new(), Destination::new());
        source.file("s/sub/new", "x");
        source.chmod("s/sub", 0o555);
        source.set_mtime("s/sub", 5_000);
        source.set_mtime("s", 6_000);
        root.file("d/sub/old", "x");
        root.chmod("d", 0o711);
        copy(&source, &["s"], &root, "/d").unwrap();
        assert_eq!(root.list(), ["d d711", "d/sub d555", "d/sub/new f644", "d/sub/old f644"]);
        assert_eq!((root.stat("d/sub").mtime(), root.stat("d/sub").mtime_nsec()), (5_000, 42));
        assert_eq!(root.stat("d").mtime(), 6_000);
        root.chmod("d/sub", 0o755);
        source.chmod("s/sub", 0o755);
    }

    #[test]
    fn a_directory_is_not_merged_into_a_file_or_through_a_link() {
        for link in [false, true] {
            let (source, root) = (Destination::new(), Destination::new());
            source.file("s/sub/x", "x");
            root.directory("d");
            root.directory("real");
            if link {
                root.link("../real", "d/sub")
            } else {
                root.file("d/sub", "x")
            }
            let error = copy(&source, &["s"], &root, "/d").unwrap_err();
            assert!(matches!(error, CopyError::NotADirectory { path } if path.0 == b"/d/sub"), "link: {link}");
            assert!(!root.path("real/x").exists());
        }
    }

    #[test]
    fn siblings_that_sort_between_a_directory_and_its_children_are_no_trouble() {
        let (source, root) = (Destination::new(), Destination::new());
        source.file("s/a/x", "x");
        source.file("s/a-b", "x");
        let mut found = matched(&source, "s");
        found.below.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(found.below[1].0, b"a-b");
        write_matches(&job(&source, &[found], &root, "/d"), None).unwrap();
        assert_eq!(root.list(), ["d d755", "d/a d755", "d/a/x f644", "d/a-b f644"]);
    }

    #[test]
    fn a_directory_that_the_selection_skipped_is_made_like_the_sources() {
        let (source, root) = (Destination::new(), Destination::new());
        source.file("s/a/b/x", "x");
        source.chmod("s/a", 0o750);
        let mut found = matched(&source, "s");
        found.below.retain(|(path, _)| path == b"a/b/x");
        write_matches(&job(&source, &[found], &root, "/d"), None).unwrap();
        assert_eq!(root.list(), ["d d755", "d/a d750", "d/a/b d755", "d/a/b/x f644"]);
    }

    #[test]
    fn parents_keep_the_path_and_the_metadata_of_its_directories() {
        let source = Destination::new();
        source.file("p/a/b/x", "x");
        source.file("p/a/b/y", "y");
        source.chmod("p/a", 0o700);
        source.chmod("p/a/b", 0o711);
        source.set_mtime("p/a", 3_000);
        source.set_mtime("p/a/b", 4_000);
        for (path, kept, expected) in [
            ("p/a/b/x", "p/a/b/x", &["out d755", "out/p d755", "out/p/a d700", "out/p/a/b d711", "out/p/a/b/x f644"][..]),
            ("p/a/b/x", "b/x", &["out d755", "out/b d711", "out/b/x f644"]),
            ("p/a/b", "a/b", &["out d755", "out/a d700", "out/a/b d711", "out/a/b/x f644", "out/a/b/y f644"]),
            ("p/a", "a", &["out d755", "out/a d700", "out/a/b d711", "out/a/b/x f644", "out/a/b/y f644"]),
            ("p/a/b/x", "link/x", &["out d755", "out/link d755", "out/link/x f644"]),
            ("p/a/b", "", &["out d755", "out/x f644", "out/y f644"]),
        ] {
            let root = Destination::new();
            let mut found = matched(&source, path);
            found.parents = Some(kept.as_bytes().to_vec());
            write_matches(&job(&source, &[found], &root, "/out"), None).unwrap();
            assert_eq!(root.list(), expected, "{path} as {kept}");
        }
    }

    #[test]
    fn parents_shared_by_two_matches_keep_their_chmod_and_mtime() {
        let (source, root) = (Destination::new(), Destination::new());
        source.file("a/x", "x");
        source.file("a/y", "y");
        source.set_mtime("a", 3_000);
        let matches = ["a/x", "a/y"].map(|path| {
            let mut found = matched(&source, path);
            found.parents = Some(path.into());
            found
        });
        let mode = ModeChange::parse("0770").unwrap();
        write_matches(&super::super::CopyJob { mode: Some(&mode), ..job(&source, &matches, &root, "/") }, None).unwrap();
        assert_eq!(root.list(), ["a d770", "a/x f770", "a/y f770"]);
        assert_eq!(root.stat("a").mtime(), 3_000);
    }
}
