//! A destination root and a source tree for the room's tests.

use std::fs;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::{CopyError, CopyJob, CopyStats, write_matches};
use crate::source::tree::{Match, Node, NodeKind, Tree};

/// Whom this process may give files to.
pub(super) fn me() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

pub(super) fn is_root() -> bool {
    me().0 == 0
}

/// Not so without root, nor as the root of a user namespace of a single uid.
pub(super) fn may_give_files_away() -> bool {
    let probe = Destination::new();
    probe.file("probe", "");
    std::os::unix::fs::chown(probe.path("probe"), Some(300), Some(400)).is_ok()
}

/// A temporary directory with a descriptor. Helpers take paths relative to it.
pub(super) struct Destination {
    directory: tempfile::TempDir,
    fd: File,
}

impl Destination {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let fd = File::open(directory.path()).unwrap();
        Self { directory, fd }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path.trim_start_matches('/'))
    }

    pub(super) fn directory(&self, path: &str) {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(self.path(path)).unwrap();
    }

    pub(super) fn file(&self, path: &str, content: &str) {
        self.parent(path);
        let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o644).open(self.path(path)).unwrap();
        io::Write::write_all(&mut file, content.as_bytes()).unwrap();
        self.chmod(path, 0o644);
    }

    pub(super) fn link(&self, target: &str, path: &str) {
        self.parent(path);
        symlink(target, self.path(path)).unwrap();
    }

    pub(super) fn hardlink(&self, existing: &str, path: &str) {
        fs::hard_link(self.path(existing), self.path(path)).unwrap();
    }

    pub(super) fn fifo(&self, path: &str) {
        rustix::fs::mkfifoat(rustix::fs::CWD, self.path(path), rustix::fs::Mode::from_raw_mode(0o644)).unwrap();
    }

    pub(super) fn chmod(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(super) fn set_mtime(&self, path: &str, seconds: i64) {
        let times = rustix::fs::Timestamps {
            last_access: rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 0 },
            last_modification: rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 42 },
        };
        rustix::fs::utimensat(rustix::fs::CWD, self.path(path), &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }

    pub(super) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    pub(super) fn stat(&self, path: &str) -> fs::Metadata {
        fs::symlink_metadata(self.path(path)).unwrap()
    }

    fn parent(&self, path: &str) {
        if let Some(parent) = Path::new(path).parent() {
            self.directory(parent.to_str().unwrap());
        }
    }

    /// Everything below, sorted: `path d755`, `path f644`, `path -> target`, `path p644`.
    pub(super) fn list(&self) -> Vec<String> {
        fn walk(top: &Path, directory: &Path, out: &mut Vec<String>) {
            let mut entries: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
            entries.sort();
            for path in entries {
                let name = path.strip_prefix(top).unwrap().display();
                let stat = fs::symlink_metadata(&path).unwrap();
                let mode = stat.mode() & 0o7777;
                if stat.is_symlink() {
                    out.push(format!("{name} -> {}", fs::read_link(&path).unwrap().display()));
                } else if stat.is_dir() {
                    out.push(format!("{name} d{mode:o}"));
                    walk(top, &path, out);
                } else {
                    out.push(format!("{name} {}{mode:o}", if stat.is_file() { "f" } else { "p" }));
                }
            }
        }
        let mut out = Vec::new();
        walk(self.directory.path(), self.directory.path(), &mut out);
        out
    }
}

/// The same directory, as a source: owners are this process's own.
impl Tree for Destination {
    fn lookup(&self, path: &[u8]) -> io::Result<Option<Node>> {
        let path = self.path(std::str::from_utf8(path).unwrap());
        let stat = fs::symlink_metadata(&path)?;
        let kind = if stat.is_dir() {
            NodeKind::Directory
        } else if stat.is_symlink() {
            NodeKind::Symlink(fs::read_link(&path)?.as_os_str().as_bytes().to_vec())
        } else if stat.is_file() {
            NodeKind::File
        } else {
            NodeKind::Fifo
        };
        let hardlink = (kind == NodeKind::File && stat.nlink() > 1).then(|| (stat.dev(), stat.ino()));
        let (uid, gid) = (stat.uid(), stat.gid());
        Ok(Some(Node {
            kind,
            mode: stat.mode() & 0o7777,
            uid,
            gid,
            size: stat.len(),
            mtime: (stat.mtime(), stat.mtime_nsec() as u32),
            hardlink,
        }))
    }

    fn children(&self, path: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let entries = fs::read_dir(self.path(std::str::from_utf8(path).unwrap()))?;
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().as_bytes().to_vec()).collect();
        names.sort();
        Ok(names)
    }

    fn open(&self, path: &[u8]) -> io::Result<File> {
        File::open(self.path(std::str::from_utf8(path).unwrap()))
    }

    fn xattrs(&self, path: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let path = self.path(std::str::from_utf8(path).unwrap());
        let mut out = Vec::new();
        for name in ["user.test", "user.overlay.opaque", "security.capability"] {
            let mut value = vec![0; 100];
            if let Ok(length) = rustix::fs::lgetxattr(&path, name, &mut value[..]) {
                value.truncate(length);
                out.push((name.as_bytes().to_vec(), value));
            }
        }
        Ok(out)
    }
}

/// A job whose implicit directories this process may own.
pub(super) fn job<'a>(source: &'a Destination, matches: &'a [Match], root: &'a Destination, destination: &'a str) -> CopyJob<'a> {
    let (root, destination) = (root.fd(), destination.as_bytes());
    CopyJob { tree: source, matches, root, destination, owner: Some(me()), mode: None, unpack: None, record_owner: false }
}

/// Copies `paths` of `source`.
pub(super) fn copy(source: &Destination, paths: &[&str], root: &Destination, destination: &str) -> Result<CopyStats, CopyError> {
    let matches: Vec<_> = paths.iter().map(|path| matched(source, path)).collect();
    write_matches(&job(source, &matches, root, destination), None)
}

/// The match of `path` with all that is below it.
pub(super) fn matched(tree: &Destination, path: &str) -> Match {
    fn walk(tree: &Destination, top: &str, path: &str, out: &mut Vec<(Vec<u8>, Node)>) {
        let full = if path.is_empty() { top.to_owned() } else { format!("{top}/{path}") };
        for name in tree.children(full.as_bytes()).unwrap() {
            let name = String::from_utf8(name).unwrap();
            let child = if path.is_empty() { name } else { format!("{path}/{name}") };
            let node = tree.lookup(format!("{top}/{child}").as_bytes()).unwrap().unwrap();
            let is_directory = node.kind == NodeKind::Directory;
            out.push((child.clone().into_bytes(), node));
            if is_directory {
                walk(tree, top, &child, out);
            }
        }
    }
    let node = tree.lookup(path.as_bytes()).unwrap().unwrap();
    let mut below = Vec::new();
    if node.kind == NodeKind::Directory {
        walk(tree, path, "", &mut below);
    }
    Match { path: path.as_bytes().to_vec(), name: path.as_bytes().to_vec(), node, parents: None, below }
}
