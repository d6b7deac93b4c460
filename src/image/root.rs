//! A directory that nothing leads out of: every path is resolved by the kernel with the directory as `/` (openat2(2),
//! `RESOLVE_IN_ROOT`), whatever symbolic links lie below it.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, chmodat, mkdirat, openat, openat2, statat, unlinkat};
use rustix::io::Errno;

/// Descriptors of directories kept open.
const CACHE: usize = 64;

pub(super) struct Root {
    fd: OwnedFd,
    /// By path as asked for. Emptied whenever something is removed: a path may then mean another directory.
    cache: HashMap<Vec<u8>, Rc<OwnedFd>>,
    /// Directories that were made because a path went through them.
    pub implied: Vec<Vec<u8>>,
}

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let fd = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { fd, cache: HashMap::new(), implied: Vec::new() })
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

    /// The directory at `path`; what is missing of it is created with mode 0755.
    pub(super) fn directory(&mut self, path: &[u8]) -> io::Result<Rc<OwnedFd>> {
        if let Some(fd) = self.cache.get(path) {
            return Ok(Rc::clone(fd));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let mut existing = path.len();
        let mut fd = loop {
            match self.open_at(&path[..existing], flags) {
                Ok(fd) => break fd,
                Err(Errno::NOENT) if existing > 0 => existing = path[..existing].iter().rposition(|&b| b == b'/').unwrap_or(0),
                Err(error) => return Err(error.into()),
            }
        };
        while existing < path.len() {
            let start = if existing == 0 { 0 } else { existing + 1 };
            let end = path[start..].iter().position(|&b| b == b'/').map_or(path.len(), |slash| start + slash);
            mkdirat(&fd, &path[start..end], Mode::from(0o755))?;
            // The umask must not show in an image.
            chmodat(&fd, &path[start..end], Mode::from(0o755), AtFlags::empty())?;
            self.implied.push(path[..end].to_vec());
            existing = end;
            fd = self.open_at(&path[..end], flags)?;
        }
        if self.cache.len() >= CACHE {
            self.cache.clear();
        }
        let fd = Rc::new(fd);
        self.cache.insert(path.to_vec(), Rc::clone(&fd));
        Ok(fd)
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
