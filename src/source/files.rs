//! Where a project is read: the disk, or a commit in place of it.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use super::context::Context;
use super::error::Error;
use super::ignore::IgnoreFile;
use super::stat_cache::StatCache;

/// Answers about absolute paths. Symbolic links are followed, and a path that cannot be looked at counts as missing.
pub trait Files: fmt::Debug + Send + Sync {
    /// The path without links, `.` and `..`; an error where nothing is there.
    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf>;
    fn is_file(&self, path: &Path) -> bool;
    fn is_dir(&self, path: &Path) -> bool;
    /// Opens a regular file.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>>;
    /// Names of the directories in a directory, sorted, and whether each is a link to one.
    fn directories(&self, path: &Path) -> io::Result<Vec<(OsString, bool)>>;
    /// Lists a directory as a build context; see [`Context::walk`].
    fn context(&self, path: &Path, ignore: &IgnoreFile, cache: &Arc<StatCache>) -> Result<Context, Error>;
}

/// No file that people write is larger (bytes): neither thousands of services nor a Dockerfile full of heredocs.
const LARGEST_TEXT: u64 = 8 << 20;

/// Reads a Dockerfile, a brik.toml, an ignore file.
///
/// # Errors
/// Where that is no regular file, or far too large for one of these.
pub fn read_text(files: &dyn Files, path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    files.open(path)?.take(LARGEST_TEXT + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > LARGEST_TEXT {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {LARGEST_TEXT} bytes"))),
        false => Ok(bytes),
    }
}

/// Whether a file is a link that leads neither to something below its directory, nor to its repository, nor to one of `homes`. What an
/// error quotes of such a file would be somebody else's: a stranger's repository may link to the credentials of whoever builds it.
pub fn leads_out(files: &dyn Files, file: &Path, homes: &[&Path]) -> bool {
    let canonical = |path: &Path| files.canonicalize(path).ok();
    let (Some(target), Some(directory)) = (canonical(file), file.parent().and_then(canonical)) else { return false };
    let repository = directory.ancestors().find(|above| above.join(".git").exists()).unwrap_or(&directory);
    !target.starts_with(repository) && !homes.iter().filter_map(|home| canonical(home)).any(|home| target.starts_with(home))
}

/// The files as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Files for Disk {
    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        path.canonicalize()
    }

    fn is_file(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        // A FIFO may have nobody at its other end, and a device no end.
        let file = File::from(rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?);
        if file.metadata()?.is_file() { Ok(Box::new(file)) } else { Err(io::Error::other("it is no regular file")) }
    }

    fn directories(&self, path: &Path) -> io::Result<Vec<(OsString, bool)>> {
        let directory = |entry: fs::DirEntry| {
            let kind = entry.file_type().ok()?;
            (kind.is_dir() || (kind.is_symlink() && entry.path().is_dir())).then(|| (entry.file_name(), kind.is_symlink()))
        };
        let mut names: Vec<_> = fs::read_dir(path)?.flatten().filter_map(directory).collect();
        names.sort();
        Ok(names)
    }

    fn context(&self, path: &Path, ignore: &IgnoreFile, cache: &Arc<StatCache>) -> Result<Context, Error> {
        Context::walk(path, ignore, cache)
    }
}
