//! An open directory of the destination and its path in the image.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, mkdirat, openat, statat};
use rustix::io::Errno;

use super::CopyError;

pub(super) struct Directory {
    fd: OwnedFd,
    /// Absolute in the image, free of links, no trailing slash; empty for the root.
    path: Vec<u8>,
    /// It was made when it was opened, so that nothing is in it but what was written through this.
    new: bool,
}

impl Directory {
    pub(super) fn root(fd: BorrowedFd<'_>) -> Result<Self, CopyError> {
        let fd = fd.try_clone_to_owned().map_err(|e| CopyError::write("open", Vec::new(), e))?;
        Ok(Self { fd, path: Vec::new(), new: false })
    }

    pub(super) fn is_new(&self) -> bool {
        self.new
    }

    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    pub(super) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        [&self.path, &b"/"[..], name].concat()
    }

    /// What `name` is, links not followed; `None` where nothing is there.
    pub(super) fn lookup(&self, name: &[u8]) -> Result<Option<Stat>, CopyError> {
        match statat(&self.fd, check(name)?, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(CopyError::write("look up", self.path_of(name), e)),
        }
    }

    /// Opens a directory that is there; a link to one is none.
    pub(super) fn open(&self, name: &[u8]) -> Result<Self, CopyError> {
        let path = self.path_of(name);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&self.fd, check(name)?, flags, Mode::empty()) {
            Ok(fd) => Ok(Self { fd, path, new: false }),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(CopyError::NotADirectory { path: path.into() }),
            Err(e) => Err(CopyError::write("open", path, e)),
        }
    }

    /// Opens the directory `name`, made for its owner only where nothing is there. Tells whether it was made.
    pub(super) fn open_or_make(&self, name: &[u8]) -> Result<(Self, bool), CopyError> {
        let made = match mkdirat(&self.fd, check(name)?, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(e) => return Err(CopyError::write("make directory", self.path_of(name), e)),
        };
        Ok((Self { new: made, ..self.open(name)? }, made))
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

pub(super) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// One path component: anything else could name a place outside the directory.
pub(super) fn check(name: &[u8]) -> Result<&[u8], CopyError> {
    if matches!(name, b"" | b"." | b"..") || name.iter().any(|&b| b == b'/' || b == 0) {
        return Err(CopyError::InvalidName { name: String::from_utf8_lossy(name).into_owned() });
    }
    Ok(name)
}
