//! A directory that nothing leads out of: every path is resolved by the kernel with the directory as `/` (openat2(2),
//! `RESOLVE_IN_ROOT`), whatever symbolic links lie below it.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, openat, openat2, statat, unlinkat};
use rustix::io::Errno;

/// Descriptors of directories kept open.
const CACHE: usize = 64;

pub(super) struct Root {
    fd: OwnedFd,
    /// By path as asked for. Emptied whenever something is removed: a path may then mean another directory.
    cache: HashMap<Vec<u8>, Rc<Directory>>,
}

/// An open directory, and a path that leads to it in the root alone.
pub(super) struct Directory {
    pub fd: OwnedFd,
    pub path: Vec<u8>,
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let fd = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { fd, cache: HashMap::new() })
    }

    /// Opens what is at `path`, symbolic links followed inside the root (the last component's only without `NOFOLLOW` in `flags`).
    pub(super) fn open_at(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let mut attempts = 0;
        loop {
            match openat2(&self.fd, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                // A rename anywhere on the system raced with a `..` (openat2(2), EAGAIN).
                Err(Errno::AGAIN) if attempts < 100 => attempts += 1,
                other => return other,
            }
        }
    }

    /// The directory that [`Root::keep`] was given for `path`.
    pub(super) fn known(&self, path: &[u8]) -> Option<Rc<Directory>> {
        self.cache.get(path).map(Rc::clone)
    }

    /// Keeps what `path` leads to.
    pub(super) fn keep(&mut self, path: &[u8], directory: Directory) -> Rc<Directory> {
        if self.cache.len() >= CACHE {
            self.cache.clear();
        }
        let directory = Rc::new(directory);
        self.cache.insert(path.to_vec(), Rc::clone(&directory));
        directory
    }

    /// Removes `name` in `parent` with all below it; nothing there is fine.
    pub(super) fn remove(&mut self, parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
        match unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) => self.cache.clear(),
            Err(Errno::NOENT) => {}
            // unlink(2): EISDIR on Linux, EPERM in POSIX and for immutable files.
            Err(Errno::ISDIR | Errno::PERM) if is_directory(parent, name)? => {
                self.cache.clear();
                remove_tree(parent, name)?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

fn is_directory(parent: &OwnedFd, name: &[u8]) -> io::Result<bool> {
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Removes a directory without following a link and without recursion: how deep it is was decided by others.
fn remove_tree(parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut stack = vec![(openat(parent, name, flags, Mode::empty())?, name.to_vec())];
    while let Some((fd, _)) = stack.last() {
        let mut child = None;
        for entry in Dir::read_from(fd)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match unlinkat(fd, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR | Errno::PERM) => {
                    child = Some(name.to_bytes().to_vec());
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(name) = child {
            let fd = openat(fd, name.as_slice(), flags, Mode::empty())?;
            stack.push((fd, name));
        } else if let Some((_, name)) = stack.pop() {
            let above = stack.last().map_or(parent, |(fd, _)| fd);
            unlinkat(above, name.as_slice(), AtFlags::REMOVEDIR)?;
        }
    }
    Ok(())
}
