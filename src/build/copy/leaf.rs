//! One file, link or special file, in place of what was there.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, linkat, makedev, mknodat, openat, symlinkat, unlinkat};
use rustix::io::Errno;

use super::CopyError;
use super::content;
use super::directory::{Directory, check, file_type};
use super::job::Writer;
use crate::source::tree::{Node, NodeKind};

/// The first copy of each source file with several links, relative to the root, by device and inode of the source.
pub(super) type FirstLinks = HashMap<(u64, u64), Vec<u8>>;

impl Writer<'_, '_, '_> {
    /// Writes `node`, which is no directory, as `name` into `directory`. A file or link of that name is removed first, never written through.
    pub(super) fn leaf(&mut self, directory: &Directory, name: &[u8], source: &[u8], node: &Node) -> Result<(), CopyError> {
        // The names of one walk are different: nothing is in a directory that it has made itself.
        let found = if directory.is_new() { None } else { directory.lookup(name)? };
        if let Some(found) = found {
            if file_type(&found) == FileType::Directory {
                return Err(CopyError::DirectoryInTheWay { path: directory.path_of(name).into() });
            }
            unlinkat(directory, name, AtFlags::empty()).map_err(|e| CopyError::write("replace", directory.path_of(name), e))?;
        }
        self.stats.files += 1;
        if node.kind == NodeKind::File && self.borrowed(directory, check(name)?, source, node)? {
            return Ok(());
        }
        self.forget_borrowed(directory, name);
        match &node.kind {
            NodeKind::File => self.file(directory, name, source, node),
            NodeKind::Symlink(target) => {
                symlinkat(&target[..], directory, check(name)?).map_err(|e| CopyError::write("link", directory.path_of(name), e))?;
                self.metadata(source, node, false)?.set_at(directory, name, true)
            }
            NodeKind::Fifo => self.special(directory, name, source, node, FileType::Fifo, 0),
            // An image has no sockets: BuildKit leaves an empty file in its place.
            NodeKind::Socket => self.special(directory, name, source, node, FileType::RegularFile, 0),
            NodeKind::CharDevice { major, minor } => {
                self.special(directory, name, source, node, FileType::CharacterDevice, makedev(*major, *minor))
            }
            NodeKind::BlockDevice { major, minor } => {
                self.special(directory, name, source, node, FileType::BlockDevice, makedev(*major, *minor))
            }
            NodeKind::Directory => Err(CopyError::DirectoryInTheWay { path: directory.path_of(name).into() }),
        }
    }

    fn file(&mut self, directory: &Directory, name: &[u8], source: &[u8], node: &Node) -> Result<(), CopyError> {
        if let Some(id) = node.hardlink
            && self.link_to_first(directory, name, id)?
        {
            return Ok(());
        }
        let failed = |action| move |e| CopyError::write(action, directory.path_of(name), e);
        let from = self.job.tree.open(source).map_err(|e| CopyError::read(source, e))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = openat(directory, check(name)?, flags, Mode::RUSR | Mode::WUSR).map_err(|e| failed("create")(e.into()))?;
        let to = File::from(to);
        self.stats.bytes += content::copy(&from, &to).map_err(failed("write"))?;
        self.job.tree.unchanged(source, &from).map_err(|e| CopyError::read(source, e))?;
        self.metadata(source, node, true)?.set(to.as_fd(), &directory.path_of(name))?;
        if let Some(id) = node.hardlink {
            self.links.insert(id, relative(directory, name));
        }
        Ok(())
    }

    /// Links to the first copy of the same source file, unless that has no room for another link.
    fn link_to_first(&self, directory: &Directory, name: &[u8], id: (u64, u64)) -> Result<bool, CopyError> {
        let Some(first) = self.links.get(&id) else { return Ok(false) };
        Ok(linkat(self.job.root, &first[..], directory, check(name)?, AtFlags::empty()).is_ok())
    }

    fn special(
        &self,
        directory: &Directory,
        name: &[u8],
        source: &[u8],
        node: &Node,
        kind: FileType,
        device: u64,
    ) -> Result<(), CopyError> {
        mknodat(directory, check(name)?, kind, Mode::RUSR | Mode::WUSR, device).map_err(|e| match e {
            Errno::PERM => CopyError::DeviceRefused { path: directory.path_of(name).into() },
            e => CopyError::write("create", directory.path_of(name), e),
        })?;
        self.metadata(source, node, false)?.set_at(directory, name, false)
    }
}

/// Relative to the root.
fn relative(directory: &Directory, name: &[u8]) -> Vec<u8> {
    directory.path_of(name).split_off(1)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};

    use super::*;
    use crate::build::copy::testing::{Destination, copy, is_root, job, matched};
    use crate::build::copy::write_matches;
    use crate::source::tree::{Match, TreePath};

    #[test]
    fn a_file_replaces_files_and_links_but_no_directory() {
        let (source, root) = (Destination::new(), Destination::new());
        source.file("s/file", "new");
        source.file("s/link", "new");
        root.file("d/file", "old");
        root.file("target", "untouched");
        root.link("../target", "d/link");
        copy(&source, &["s"], &root, "/d").unwrap();
        assert_eq!((root.read("d/file"), root.read("d/link"), root.read("target")), ("new".into(), "new".into(), "untouched".into()));
        assert!(root.stat("d/link").is_file());

        root.directory("e/file");
        let error = copy(&source, &["s"], &root, "/e").unwrap_err();
        assert!(matches!(error, CopyError::DirectoryInTheWay { path } if path.0 == b"/e/file"));
    }

    #[test]
    fn a_file_that_lands_in_a_directory_does_not_write_through_a_link_there() {
        let (source, root) = (Destination::new(), Destination::new());
        source.file("x", "new");
        root.file("target", "untouched");
        root.link("/target", "d/x");
        copy(&source, &["x"], &root, "/d/").unwrap();
        assert_eq!((root.read("target"), root.stat("d/x").is_file()), ("untouched".into(), true));
    }

    #[test]
    fn links_and_fifos_are_copied_as_they_are() {
        let (source, root) = (Destination::new(), Destination::new());
        source.link("/etc/passwd", "s/absolute");
        source.link("nowhere", "s/dangling");
        source.fifo("s/fifo");
        source.chmod("s/fifo", 0o622);
        source.set_mtime("s/absolute", 1_000);
        source.set_mtime("s/fifo", 2_000);
        copy(&source, &["s"], &root, "/d").unwrap();
        assert_eq!(root.list(), ["d d755", "d/absolute -> /etc/passwd", "d/dangling -> nowhere", "d/fifo p622"]);
        assert_eq!((root.stat("d/absolute").mtime(), root.stat("d/fifo").mtime()), (1_000, 2_000));
    }

    #[test]
    fn hard_links_stay_hard_links() {
        let (source, root) = (Destination::new(), Destination::new());
        source.file("s/a", "x");
        source.directory("s/sub");
        source.hardlink("s/a", "s/sub/b");
        source.hardlink("s/a", "outside");
        source.file("s/c", "x");
        let stats = copy(&source, &["s"], &root, "/d").unwrap();
        assert_eq!(root.stat("d/a").ino(), root.stat("d/sub/b").ino());
        assert_eq!((root.stat("d/a").nlink(), root.stat("d/c").nlink()), (2, 1));
        assert_eq!((stats.files, stats.bytes), (3, 2));
    }

    #[test]
    fn hard_links_between_two_matches_are_kept_only_where_their_paths_are() {
        let source = Destination::new();
        source.file("one/x", "linked");
        source.directory("two");
        source.hardlink("one/x", "two/y");
        for (parents, expected) in [(false, 1), (true, 2)] {
            let root = Destination::new();
            let matches = ["one/x", "two/y"].map(|path| Match { parents: parents.then(|| path.into()), ..matched(&source, path) });
            write_matches(&job(&source, &matches, &root, "/d/"), None).unwrap();
            assert_eq!(root.stat(if parents { "d/one/x" } else { "d/x" }).nlink(), expected, "parents: {parents}");
        }
    }

    fn single(kind: NodeKind) -> Match {
        let node = Node { kind, mode: 0o640, uid: 0, gid: 0, size: 0, mtime: (0, 0), hardlink: None };
        let name: TreePath = b"node".to_vec();
        Match { path: name.clone(), name, node, parents: None, below: Vec::new() }
    }

    #[test]
    fn a_socket_becomes_an_empty_file() {
        let (source, root) = (Destination::new(), Destination::new());
        write_matches(&job(&source, &[single(NodeKind::Socket)], &root, "/"), None).unwrap();
        assert_eq!(root.list(), ["node f640"]);
    }

    #[test]
    fn a_device_is_made_or_refused_by_name() {
        let (source, root) = (Destination::new(), Destination::new());
        match write_matches(&job(&source, &[single(NodeKind::CharDevice { major: 1, minor: 3 })], &root, "/"), None) {
            Ok(_) => assert!(is_root() && root.stat("node").file_type().is_char_device() && root.stat("node").rdev() == makedev(1, 3)),
            Err(error) => assert!(matches!(error, CopyError::DeviceRefused { path } if path.0 == b"/node")),
        }
    }

    #[test]
    fn a_name_that_could_climb_is_refused() {
        for name in [&b".."[..], b".", b"", b"x/..", b"a\0b"] {
            let (source, root) = (Destination::new(), Destination::new());
            source.file("file", "x");
            let found = Match { name: name.to_vec(), ..matched(&source, "file") };
            let error = write_matches(&job(&source, &[found], &root, "/d/"), None).unwrap_err();
            assert!(matches!(error, CopyError::InvalidName { .. }), "{name:?}");
        }
    }
}
