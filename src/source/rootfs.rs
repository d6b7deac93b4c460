//! The root directory of a stage or an image, as mounted: read on demand, never left.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, OFlags, statat};
use rustix::io::Errno;

use super::beneath::open_beneath;
use super::error::Error;
use super::inode::node_of;
use super::tree::{Meet, Node, Tree, walk_listed};
use super::walk::sorted_names;
use super::xattrs;

#[derive(Debug)]
pub struct RootTree {
    root: OwnedFd,
}

impl RootTree {
    pub fn open(path: &Path) -> io::Result<Self> {
        let root = File::open(path)?;
        if !root.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { root: root.into() })
    }

    fn fd(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        open_beneath(self.root.as_fd(), path, flags)
    }

    /// The names and nodes in a directory, sorted, for which it is opened once.
    fn entries(&self, path: &[u8]) -> io::Result<Vec<(Vec<u8>, Node)>> {
        let directory = self.fd(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut entries = Vec::new();
        for name in sorted_names(&directory)? {
            let node = statat(&directory, &name[..], AtFlags::SYMLINK_NOFOLLOW).and_then(|stat| node_of(directory.as_fd(), &name, &stat));
            match node {
                Ok(node) => entries.push((name, node)),
                // Gone since the directory was listed.
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(entries)
    }
}

impl Tree for RootTree {
    fn lookup(&self, path: &[u8]) -> io::Result<Option<Node>> {
        let fd = match self.fd(path, OFlags::PATH) {
            Ok(fd) => fd,
            // A component that is missing, no directory, or a link, which is not followed: nothing lies there.
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let stat = statat(&fd, "", AtFlags::EMPTY_PATH)?;
        Ok(Some(node_of(fd.as_fd(), b"", &stat)?))
    }

    fn children(&self, path: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        Ok(sorted_names(&self.fd(path, OFlags::RDONLY | OFlags::DIRECTORY)?)?)
    }

    fn walk(&self, path: &[u8], meet: &mut Meet<'_>) -> Result<(), Error> {
        walk_listed(path, &|directory| self.entries(directory), meet)
    }

    fn open(&self, path: &[u8]) -> io::Result<File> {
        // O_NONBLOCK: should it be a FIFO, opening it must not wait for a writer.
        let fd = self.fd(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
        let file = File::from(fd);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(file)
    }

    fn xattrs(&self, path: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        // overlayfs' own marks are no part of the image, and SELinux labels are the host's.
        let host = |name: &[u8]| name.starts_with(b"user.overlay.") || name.starts_with(b"trusted.overlay.") || name == b"security.selinux";
        xattrs::read(self.fd(path, OFlags::PATH)?.as_fd(), |name| !host(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::NodeKind;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_outside_is_reached_and_links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        fs::create_dir_all(root.join("dir")).unwrap();
        fs::write(root.join("dir/file"), "text").unwrap();
        fs::write(directory.path().join("secret"), "").unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink("dir", root.join("in")).unwrap();
        let tree = RootTree::open(&root).unwrap();
        assert_eq!(tree.children(b"").unwrap(), [&b"dir"[..], b"in", b"out"]);
        assert_eq!(tree.lookup(b"out").unwrap().unwrap().kind, NodeKind::Symlink(b"../secret".to_vec()));
        assert_eq!(tree.lookup(b"").unwrap().unwrap().kind, NodeKind::Directory);
        for path in ["in/file", "dir/file/x", "missing"] {
            assert_eq!(tree.lookup(path.as_bytes()).unwrap(), None, "{path}");
        }
        for path in ["out", "in/file", "../secret", "dir"] {
            assert!(tree.open(path.as_bytes()).is_err(), "{path}");
        }
        assert!(tree.open(b"dir/file").is_ok());
    }

    #[test]
    fn attributes_are_listed_without_those_of_overlayfs() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        for name in ["user.b", "user.a", "user.overlay.opaque"] {
            if rustix::fs::setxattr(&file, name, b"1", rustix::fs::XattrFlags::empty()).is_err() {
                eprintln!("skipped: no extended attributes in {}", file.display());
                return;
            }
        }
        let tree = RootTree::open(directory.path()).unwrap();
        let names: Vec<_> = tree.xattrs(b"file").unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, [b"user.a".to_vec(), b"user.b".to_vec()]);
    }
}
